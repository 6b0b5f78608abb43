//! The clock that stands still, against a real chain with its accounts: what an honest node undoes.

use std::collections::VecDeque;
use std::sync::Arc;

use triskel::protocol::chain::Accepted;
use triskel::protocol::chain::block::{Block, Stream};
use triskel::protocol::chain::params::Params;
use triskel::protocol::rng::Rng;

use super::super::memory::account;
use super::party::{Party, date};
use super::{network, race, rate, replay, seeds, streams};

/// When the branch is published, if it is the heavier one.
const DURATION_MS: f64 = 800_000.0;

/// The honest blocks that an honest node takes back when somebody with so much of stream A's honest hash rate publishes what he
/// built since genesis, dated as early as allowed, merging what it outweighs.
fn undone(strength: f64, seed: u64) -> usize {
    let network = network(Params::tri());
    let mut rng = Rng::new(seed);
    let (mut public, mut private) = (Party::new(&network), Party::new(&network));
    let [attacker, others] = [1, 2].map(account);
    let mut ignored: VecDeque<Arc<Block>> = VecDeque::new();
    let mut withheld = Vec::new();
    let mut at_ms = 0.0;
    while at_ms < DURATION_MS {
        let honest = streams(&network).into_iter();
        let mut rates: Vec<_> = honest
            .map(|stream| ((stream, false), rate(public.target(stream), 1.0)))
            .collect();
        let his = rate(private.target(Stream::A), strength);
        rates.push(((Stream::A, true), his));
        let (after_ms, (stream, is_his)) = race(&mut rng, &rates);
        at_ms += after_ms;
        if !is_his {
            let block = public.mine(stream, others, date(at_ms));
            public.accept(&block, at_ms);
            ignored.push_back(block);
            continue;
        }
        let block = private.mine(stream, attacker, 0);
        private.accept(&block, at_ms);
        withheld.push(block);
        let room = usize::from(network.params().merge_limit);
        for _ in 0..room {
            let is_lighter = |block: &Arc<Block>| {
                public.memory.records[&block.id()].work
                    < private.memory.records[&private.chain.tip().id].work
            };
            let Some(next) = ignored.front().filter(|block| is_lighter(block)).cloned() else {
                break;
            };
            ignored.pop_front();
            private.accept(&next, at_ms);
        }
    }
    let mut undone = 0;
    for block in withheld {
        if let Accepted::Ordered { undone: blocks, .. } = public.accept(&block, at_ms) {
            undone = undone.max(blocks.len());
        }
    }
    undone
}

#[test]
fn an_honest_node_undoes_no_more_than_two_minutes() {
    let most = 120.0 * Params::tri().blocks_per_second();
    for seed in seeds(1) {
        let found = [0.15, 0.5, 1.0].map(|strength| {
            let undone = undone(strength, seed);
            println!("{strength} of stream A, seed {seed}: {undone} blocks undone");
            undone
        });
        let again = replay(
            seed,
            "clock::an_honest_node_undoes_no_more_than_two_minutes",
        );
        let is_kept = found.iter().all(|undone| *undone as f64 <= most);
        assert!(is_kept, "{found:?} blocks undone\n{again}");
    }
}
