//! What ordering a block costs: colouring, reachability, selection and the change of the order, at 11.1 blocks a second that reach
//! everybody within 500 ms, for 100,000 blocks. Prints JSON.
//!
//! `cargo bench --bench ordering`

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures the real world"
)]

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::json;
use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::ordering::dag::{Dag, Entry, Index};
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::chain::rules;
use triskel::protocol::rng::Rng;

const BLOCKS: usize = 100_000;
const DELAY_MS: f64 = 500.0;

/// Blocks over which a median is taken.
const SPAN: usize = 1_000;

fn main() {
    let params = Params::tri();
    let rate = params.blocks_per_second();
    let network = Network::new(params).expect("the preset makes a network");
    let mut rng = Rng::new(1);
    let genesis = rules::genesis_record(&network);
    let mut dag = Dag::new(network.limits());
    let mut colouring = {
        let entry = rules::stored_place(&dag, &genesis);
        dag.insert(entry);
        dag.select().expect("there is genesis").colouring
    };
    // Blocks that their miner has just found and others do not know yet.
    let mut fresh: VecDeque<(f64, Index)> = VecDeque::new();
    let mut costs = Vec::with_capacity(BLOCKS);
    let (mut now_ms, mut red, mut late, mut most_parents) = (0.0, 0, 0, 0);
    for _ in 0..BLOCKS {
        now_ms -= (1.0 - rng.fraction()).ln() / rate * 1_000.0;
        let parents = known(&dag, &mut fresh, now_ms);
        most_parents = most_parents.max(parents.len());
        let mut id = BlockId::default();
        rng.fill(&mut id.0);
        let begin = Instant::now();
        let placed = dag.colour(&parents).expect("what is known goes together");
        let work = rules::block_work(&network, &placed.streams, &placed.streams, Stream::C);
        let index = dag.insert(Entry {
            id,
            stream: Stream::C,
            timestamp_ms: now_ms as u64,
            parents,
            streams: placed.streams,
            colouring: placed,
            own_work: work,
            invalid: false,
        });
        let selection = dag.select().expect("there are blocks");
        let route = dag.route(&colouring, &selection.colouring);
        colouring = selection.colouring;
        dag.forget_below(colouring.selected_parent, colouring.blue_score);
        costs.push(begin.elapsed().as_nanos() as f64 / 1_000.0);
        // More tips than a block has parents leave some to the next.
        late += usize::from(route.apply.is_empty());
        fresh.push_back((now_ms, index));
        red += colouring.merged.iter().filter(|(_, blue)| !blue).count();
    }
    let at = |end: usize| median(&costs[end.saturating_sub(SPAN)..end]);
    let (first, last) = (at(SPAN), at(BLOCKS));
    println!(
        "{:#}",
        json!({ "ordering": {
            "blocks": BLOCKS,
            "blocks_per_second": rate,
            "delay_ms": DELAY_MS,
            "k": network.params().k,
            "most_parents": most_parents,
            "red_seen": red,
            "late": late,
            "blocks_in_memory": dag.len(),
            "median_us_at": { "1000": first, "10000": at(10_000), "50000": at(50_000), "100000": last },
            "goal_median_us": 100.0,
            "ratio_last_to_first": last / first,
            "goal_ratio": 1.5,
        } })
    );
}

/// The tips among the blocks that have had their delay. As blocks of one time do not know each other, that is about eleven.
fn known(dag: &Dag, fresh: &mut VecDeque<(f64, Index)>, now_ms: f64) -> Vec<Index> {
    while fresh
        .front()
        .is_some_and(|(found_ms, _)| now_ms - found_ms > DELAY_MS)
    {
        fresh.pop_front();
    }
    let unknown = |index: &Index| fresh.iter().any(|(_, other)| other == index);
    let mut candidates: Vec<Index> = dag.tips().filter(|tip| !unknown(tip)).collect();
    // What unknown blocks have as parents is a tip for those who do not know them.
    for (_, block) in fresh.iter() {
        candidates.extend(dag.parents(*block).iter().filter(|parent| !unknown(parent)));
    }
    candidates.sort_unstable();
    candidates.dedup();
    let all = candidates.clone();
    candidates.retain(|one| !all.iter().any(|other| dag.is_in_past_of(*one, *other)));
    candidates.sort_by_key(|block| std::cmp::Reverse(dag.rank(*block)));
    candidates.truncate(dag.limits().max_parents);
    candidates
}

fn median(costs: &[f64]) -> f64 {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
