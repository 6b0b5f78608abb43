//! How fast virtual time goes: 100 nodes of 8 peers each, a block every 10 s, for an hour. Prints JSON.
//!
//! `cargo bench --bench simulator [NODES]...`

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures the real world"
)]

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::rng::Rng;
use triskel::sim::{World, WorldConfig, simulated};

const HOUR_MS: u64 = 3_600_000;

fn main() {
    let arguments = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let mut sizes: Vec<usize> = arguments
        .map(|arg| arg.parse().expect("a number of nodes"))
        .collect();
    if sizes.is_empty() {
        sizes = vec![100];
    }
    let results: Vec<Value> = sizes.into_iter().map(hour).collect();
    println!("{:#}", json!({ "simulator": results }));
}

fn hour(nodes: usize) -> Value {
    let mut params = simulated(Params::chain());
    for stream in &mut params.streams {
        stream.interval_ms = 10_000;
        stream.half_life_ms = 600_000;
        stream.tune(2_000 * nodes as u64);
    }
    let network = Arc::new(Network::new(params).expect("the parameters make a network"));
    let mut config = WorldConfig::new(1, network, nodes);
    let mut rng = Rng::new(2);
    // Each node dials four: on average, four others dial it.
    config.edges = (1..nodes)
        .flat_map(|node| {
            let mut earlier: Vec<usize> = (0..node).collect();
            rng.shuffle(&mut earlier);
            earlier.truncate(4);
            earlier
                .into_iter()
                .map(move |other| (node, other))
                .collect::<Vec<_>>()
        })
        .collect();
    config.latency_us = (10_000, 100_000);
    let begin = Instant::now();
    let mut world = World::new(config).expect("the world starts");
    world.run_for(HOUR_MS).expect("no invariant is violated");
    let seconds = begin.elapsed().as_secs_f64();
    let (frames, bytes) = world.traffic();
    let (_, events) = world.trace();
    json!({
        "nodes": nodes,
        "virtual_seconds": HOUR_MS / 1_000,
        "seconds": (seconds * 1_000.0).round() / 1_000.0,
        "times_real_time": (HOUR_MS as f64 / 1_000.0 / seconds).round(),
        "blocks": world.tip(0).map(|tip| tip.number),
        "frames": frames,
        "bytes": bytes,
        "events": events,
        "goal_seconds": if nodes == 100 { json!(5.0) } else { Value::Null },
    })
}
