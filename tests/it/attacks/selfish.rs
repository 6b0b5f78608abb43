//! Miners with 30 % of the hash rate who keep their blocks back.
//!
//! The model: I. Eyal and E. G. Sirer, "Majority is not enough: Bitcoin mining is vulnerable", FC 2014, equation (8).

use std::sync::Arc;

use triskel::protocol::chain::block::{Block, Stream};
use triskel::protocol::chain::id::AccountId;
use triskel::protocol::chain::ordering::Colour;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::rng::Rng;

use super::super::memory::account;
use super::party::{Party, date};
use super::{network, race, rate, replay, seeds, streams};

const ALPHA: f64 = 0.3;

/// Ties go to the greater id, whatever came first: on average half of the honest hash rate follows each side.
const GAMMA: f64 = 0.5;

/// Three standard deviations of a share in 8,000 blocks: the model says what is expected.
const SPREAD: f64 = 0.02;

/// The selfish pool's share of the revenue.
pub(crate) fn model(alpha: f64, gamma: f64) -> f64 {
    let gained = alpha * (1.0 - alpha).powi(2) * (4.0 * alpha + gamma * (1.0 - 2.0 * alpha));
    (gained - alpha.powi(3)) / (1.0 - alpha * (1.0 + (2.0 - alpha) * alpha))
}

/// Two views of one network: what is published, and what the pool builds upon.
struct Race {
    public: Party,
    private: Party,
    /// The pool's blocks that are not published.
    withheld: Vec<Arc<Block>>,
    /// Others' blocks that the pool does not build upon.
    ignored: Vec<Arc<Block>>,
    at_ms: f64,
    rng: Rng,
    pool: AccountId,
    others: AccountId,
}

impl Race {
    fn new(network: &Arc<Network>, seed: u64) -> Self {
        Self {
            public: Party::new(network),
            private: Party::new(network),
            withheld: Vec::new(),
            ignored: Vec::new(),
            at_ms: 0.0,
            rng: Rng::new(seed),
            pool: account(1),
            others: account(2),
        }
    }

    /// Waits for the next block of anybody. Whether it is the pool's.
    fn step(&mut self) -> (bool, Arc<Block>) {
        let mut rates = Vec::new();
        for stream in streams(self.public.chain.network()) {
            rates.push(((stream, true), rate(self.private.target(stream), ALPHA)));
            let others = rate(self.public.target(stream), 1.0 - ALPHA);
            rates.push(((stream, false), others));
        }
        let (after_ms, (stream, is_pool)) = race(&mut self.rng, &rates);
        self.at_ms += after_ms;
        let block = if is_pool {
            let block = self.private.mine(stream, self.pool, date(self.at_ms));
            self.private.accept(&block, self.at_ms);
            self.withheld.push(Arc::clone(&block));
            block
        } else {
            let block = self.public.mine(stream, self.others, date(self.at_ms));
            self.public.accept(&block, self.at_ms);
            self.ignored.push(Arc::clone(&block));
            block
        };
        (is_pool, block)
    }

    fn publish(&mut self) {
        for block in std::mem::take(&mut self.withheld) {
            self.public.accept(&block, self.at_ms);
        }
    }

    /// Builds upon the best of all that there is.
    fn adopt(&mut self) {
        for block in std::mem::take(&mut self.ignored) {
            self.private.accept(&block, self.at_ms);
        }
    }

    fn share(&self) -> f64 {
        let [pool, others] = [self.pool, self.others].map(|who| self.public.balance(&who));
        pool / (pool + others)
    }
}

/// The pool of the paper, in a chain. It publishes a first block at once that would lose a tie with a greater probability than
/// `caution` allows: ids are known before the tie is.
fn chain_share(seed: u64, blocks: usize, caution: f64) -> f64 {
    let mut params = Params::chain();
    // What is stale stays a tip until nothing reaches it: this keeps the DAG small.
    (params.merge_depth, params.finality_depth) = (100, 200);
    let network = network(params);
    let mut race = Race::new(&network, seed);
    let mut tied = false;
    for _ in 0..blocks {
        let (is_pool, block) = race.step();
        let height = |party: &Party| party.chain.tip().number as i64;
        let lead = height(&race.private) - height(&race.public);
        let luck = f64::from(block.id().0[0]) / 256.0;
        let is_settled = if is_pool {
            tied || (lead == 1 && race.withheld.len() == 1 && luck < caution)
        } else {
            lead < 0 || lead == 1
        };
        if is_settled {
            race.publish();
            race.adopt();
            tied = false;
        } else if !is_pool && lead == 0 {
            race.publish();
            tied = true;
        }
    }
    race.publish();
    race.share()
}

#[test]
fn a_selfish_pool_in_a_chain_earns_what_the_model_says() {
    let test = "selfish::a_selfish_pool_in_a_chain_earns_what_the_model_says";
    assert!(
        (model(ALPHA, GAMMA) - 0.327).abs() < 0.001,
        "{}",
        model(ALPHA, GAMMA)
    );
    for seed in seeds(1) {
        for caution in [0.0, 0.4] {
            let share = chain_share(seed, 8_000, caution);
            let limit = model(ALPHA, GAMMA);
            println!("chain, seed {seed}, caution {caution}: share {share:.4}, model {limit:.4}");
            let again = replay(seed, test);
            assert!(share < limit + SPREAD, "a share of {share}\n{again}");
        }
    }
}

/// What a pool does in three streams.
#[derive(Clone, Copy, Debug)]
struct Policy {
    /// It begins to withhold with a block of these streams.
    begins: &'static [Stream],
    /// So many blocks it withholds before it releases them.
    aim: usize,
    /// It releases when its lead is below so many milliseconds of all miners' work.
    margin_ms: f64,
}

/// How much of what each side mined is blue, by stream.
fn blue_parts(race: &Race) -> [[f64; 3]; 2] {
    let mut counts = [[(0u32, 0u32); 3]; 2];
    for ordered in race.public.memory.order.values().skip(1) {
        let block = &race.public.memory.blocks[&ordered.id];
        let side = usize::from(block.body().miner != race.pool);
        let (blue, all) = &mut counts[side][block.header().stream.index()];
        *blue += u32::from(ordered.colour != Colour::Red);
        *all += 1;
    }
    counts.map(|side| side.map(|(blue, all)| f64::from(blue) / f64::from(all.max(1))))
}

/// What the pool earns: its share, and relative to honest mining. Red blocks count in the schedules like any other, so how many
/// blocks somebody finds does not depend on who is blue: the luck of their number is left out.
fn tri_earnings(seed: u64, duration_ms: f64, policy: Policy) -> (f64, f64) {
    let network = network(Params::tri());
    let mut race = Race::new(&network, seed);
    // One second of all streams.
    let second = 3.0 * 1_000.0 * super::HASHRATE;
    while race.at_ms < duration_ms {
        let (is_pool, block) = race.step();
        let lead = race.private.work().to_f64() - race.public.work().to_f64();
        let is_close = lead < policy.margin_ms / 1_000.0 * second;
        let is_first = race.withheld.len() == 1 && race.ignored.is_empty();
        let release = if is_pool {
            is_first && !policy.begins.contains(&block.header().stream)
        } else {
            let is_over = lead < 0.0 || race.withheld.is_empty();
            is_over || (is_close && race.withheld.len() >= policy.aim)
        };
        if release {
            race.publish();
            race.adopt();
        }
    }
    race.publish();
    race.adopt();
    let parts = blue_parts(&race);
    let [pool, others] = parts.map(|parts| {
        let income = network.streams().map(|(stream, rules)| {
            let params = &rules.params;
            parts[stream.index()] * params.reward as f64 / params.interval_ms as f64
        });
        income.sum::<f64>()
    });
    let whole: f64 = network
        .streams()
        .map(|(_, rules)| rules.params.reward as f64 / rules.params.interval_ms as f64)
        .sum();
    let share = ALPHA * pool / (ALPHA * pool + (1.0 - ALPHA) * others);
    println!(
        "blue, pool {:.3?}, others {:.3?}; share of balances {:.3}",
        parts[0],
        parts[1],
        race.share()
    );
    (share, pool / whole)
}

#[test]
fn a_selfish_pool_in_three_streams_earns_no_more_than_the_model_says() {
    let test = "selfish::a_selfish_pool_in_three_streams_earns_no_more_than_the_model_says";
    for seed in seeds(1) {
        for policy in [
            Policy {
                begins: &[Stream::A],
                aim: 21,
                margin_ms: 350.0,
            },
            Policy {
                begins: &Stream::ALL,
                aim: 1,
                margin_ms: 100.0,
            },
        ] {
            let (share, gain) = tri_earnings(seed, 200_000.0, policy);
            let limit = model(ALPHA, GAMMA);
            println!(
                "tri, seed {seed}, {policy:?}: share {share:.4}, model {limit:.4}; {gain:.3} of honest income"
            );
            let again = replay(seed, test);
            assert!(share < limit, "{policy:?}: a share of {share}\n{again}");
            assert!(gain < 1.0, "{policy:?}: {gain} of honest income\n{again}");
        }
    }
}
