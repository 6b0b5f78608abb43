//! Dates that are not true, and hash rate that follows the targets.

use std::sync::Arc;

use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::rng::Rng;

use super::super::memory::account;
use super::party::{Party, date};
use super::{network, race, rate, replay, seeds, streams};

/// No attack of this kind may bring as much as this, relative to honest mining with the same hashes.
const MOST_GAIN: f64 = 1.2;

/// What somebody gets out of a network that others mine in too.
#[derive(Default)]
struct Outcome {
    /// Blocks that his hashes are worth at the targets of the moment, by stream. The luck of his own draws is not in it.
    expected: [f64; 3],
    /// Hashes spent, by stream, in units of what honest miners spend in a millisecond.
    hashes: [f64; 3],
}

impl Outcome {
    /// Seconds' worth of blocks for each unit of hashes: all streams are worth the same in each second.
    fn yield_per_hash(&self, network: &Network) -> f64 {
        let value =
            |(stream, rules): (Stream, &triskel::protocol::chain::params::NetworkStream)| {
                self.expected[stream.index()] * rules.params.interval_ms as f64
            };
        network.streams().map(value).sum::<f64>() / self.hashes.iter().sum::<f64>()
    }
}

/// A miner's habits.
struct Miner<'a> {
    /// What others spend, by stream.
    others: [f64; 3],
    /// What he spends, given how hard each stream is relative to its schedule, and the time.
    spends: &'a dyn Fn([f64; 3], f64) -> [f64; 3],
    /// How he dates a block found at a time.
    dates: &'a dyn Fn(f64) -> u64,
}

impl Miner<'_> {
    fn run(&self, network: &Arc<Network>, seed: u64, duration_ms: f64) -> Outcome {
        let mut rng = Rng::new(seed);
        let mut party = Party::new(network);
        let mut outcome = Outcome::default();
        let [miner, other] = [1, 2].map(account);
        let streams = streams(network);
        let mut at_ms = 0.0;
        while at_ms < duration_ms {
            let mut hardness = [f64::INFINITY; 3];
            for stream in &streams {
                let schedule = &network.stream(*stream).unwrap().schedule;
                hardness[stream.index()] =
                    party.target(*stream).expected_hashes() / schedule.anchor.expected_hashes();
            }
            let spent = (self.spends)(hardness, at_ms);
            let mut rates = Vec::new();
            for stream in &streams {
                let target = party.target(*stream);
                rates.push(((*stream, true), rate(target, spent[stream.index()])));
                rates.push(((*stream, false), rate(target, self.others[stream.index()])));
            }
            let (after_ms, (stream, is_his)) = race(&mut rng, &rates);
            for ((stream, is_his), rate) in &rates {
                if *is_his {
                    outcome.expected[stream.index()] += rate * after_ms;
                    outcome.hashes[stream.index()] += spent[stream.index()] * after_ms;
                }
            }
            at_ms += after_ms;
            let (who, date_ms) = if is_his {
                (miner, (self.dates)(at_ms))
            } else {
                (other, date(at_ms))
            };
            let block = party.mine(stream, who, date_ms);
            party.accept(&block, at_ms);
        }
        outcome
    }
}

/// What false dates bring, relative to true ones: for the stream in which they bring the most.
fn gain_of_dates(
    preset: Params,
    (his, others): ([f64; 3], [f64; 3]),
    dates: &dyn Fn(f64, u64) -> u64,
    (test, name): (&str, &str),
) {
    const DURATION_MS: f64 = 300_000.0;
    let network = network(preset);
    let future_ms = network.params().max_future_ms;
    for seed in seeds(1) {
        let run = |dates: &dyn Fn(f64) -> u64| {
            let spends = |_, _| his;
            let miner = Miner {
                others,
                spends: &spends,
                dates,
            };
            miner.run(&network, seed, DURATION_MS)
        };
        let (honest, attack) = (run(&date), run(&|at_ms| dates(at_ms, future_ms)));
        for stream in streams(&network) {
            let [before, after] =
                [&honest, &attack].map(|outcome| outcome.expected[stream.index()]);
            if before == 0.0 {
                continue;
            }
            let gain = after / before;
            println!("{name}, seed {seed}, stream {stream}: {gain:.3} times the blocks");
            assert!(gain < MOST_GAIN, "{name}: {gain}\n{}", replay(seed, test));
        }
    }
}

#[test]
fn dates_as_late_as_allowed_bring_nothing() {
    let test = "dating::dates_as_late_as_allowed_bring_nothing";
    let late = |at_ms, future_ms| date(at_ms) + future_ms;
    let shares = ([0.3; 3], [0.7; 3]);
    gain_of_dates(
        Params::tri(),
        shares,
        &late,
        (test, "30 % dated late in tri"),
    );
    gain_of_dates(
        Params::chain(),
        shares,
        &late,
        (test, "30 % dated late in chain"),
    );
}

#[test]
fn a_clock_that_stops_and_jumps_brings_nothing() {
    let test = "dating::a_clock_that_stops_and_jumps_brings_nothing";
    // As early as allowed for a while, then as late as allowed for as long.
    let warp = |period_ms: f64| {
        move |at_ms: f64, future_ms| {
            if at_ms % period_ms < period_ms / 2.0 {
                0
            } else {
                date(at_ms) + future_ms
            }
        }
    };
    let most = ([0.51; 3], [0.49; 3]);
    let all_of_c = ([0.0, 0.0, 1.0], [1.0, 1.0, 0.0]);
    for period_ms in [500.0, 12_000.0] {
        let warp = warp(period_ms);
        let name = format!("51 % with a clock that stops and jumps each {period_ms} ms");
        gain_of_dates(Params::tri(), most, &warp, (test, &name));
        let name = format!("all of C with a clock that stops and jumps each {period_ms} ms");
        gain_of_dates(Params::tri(), all_of_c, &warp, (test, &name));
    }
}

/// What a way to spend hashes brings, relative to a steady one with the same mean in each stream.
fn gain_of_hopping(name: &str, spends: &dyn Fn([f64; 3], f64) -> [f64; 3]) {
    const DURATION_MS: f64 = 400_000.0;
    let network = network(Params::tri());
    for seed in seeds(1) {
        let run = |spends: &dyn Fn([f64; 3], f64) -> [f64; 3]| {
            let miner = Miner {
                others: [1.0; 3],
                spends,
                dates: &date,
            };
            miner.run(&network, seed, DURATION_MS)
        };
        let hopping = run(spends);
        let mean = hopping.hashes.map(|hashes| hashes / DURATION_MS);
        let steady = run(&|_, _| mean);
        let gain = hopping.yield_per_hash(&network) / steady.yield_per_hash(&network);
        println!("{name}, seed {seed}: {gain:.3} times the yield");
        let again = replay(seed, "dating::hopping_between_streams_brings_little");
        assert!(gain < MOST_GAIN, "{name}: {gain}\n{again}");
    }
}

#[test]
fn hopping_between_streams_brings_little() {
    for strength in [0.1, 1.0] {
        let name = format!("always the easiest stream, with {strength} of an honest stream");
        gain_of_hopping(&name, &|hardness, _| {
            let least = hardness.into_iter().fold(f64::INFINITY, f64::min);
            hardness.map(|hardness| if hardness == least { strength } else { 0.0 })
        });
    }
    for strength in [0.1, 1.0] {
        let name = format!("only streams easier than usual, with {strength} of each");
        gain_of_hopping(&name, &|hardness, _| {
            hardness.map(|hardness| if hardness < 1.0 { strength } else { 0.0 })
        });
        let name = format!("each stream in turn for a quarter of a minute, with {strength}");
        gain_of_hopping(&name, &|_, at_ms| {
            let turn = (at_ms / 15_000.0) as usize % 3;
            std::array::from_fn(|stream| if stream == turn { strength } else { 0.0 })
        });
    }
}
