//! How fast virtual time goes: 100 nodes of 8 peers each, for an hour, on one chain (a block every 10 s) and with three streams
//! (11.1 blocks a second) around the world. Prints JSON.
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
use triskel::protocol::chain::ordering::Colour;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::rng::Rng;
use triskel::sim::map::REGIONS;
use triskel::sim::{World, WorldConfig, simulated};

/// A node and a simulation allocate much and little: jemalloc takes a tenth less time for it than the C library.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const HOUR_MS: u64 = 3_600_000;

fn main() {
    let arguments = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let mut sizes: Vec<usize> = arguments
        .map(|arg| arg.parse().expect("a number of nodes"))
        .collect();
    if sizes.is_empty() {
        sizes = vec![100];
    }
    let results: Vec<Value> = sizes
        .into_iter()
        .flat_map(|nodes| [chain(nodes), streams(nodes)])
        .collect();
    println!("{:#}", json!({ "simulator": results }));
}

fn chain(nodes: usize) -> Value {
    let mut params = simulated(Params::chain());
    for stream in &mut params.streams {
        stream.interval_ms = 10_000;
        stream.half_life_ms = 600_000;
    }
    let mut config = config(params, nodes);
    config.latency_us = (10_000, 100_000);
    hour("chain", config, 5.0)
}

fn streams(nodes: usize) -> Value {
    let mut config = config(simulated(Params::tri()), nodes);
    config.regions = (0..nodes).map(|node| node % REGIONS.len()).collect();
    config.latency_us = (100, 5_000);
    hour("tri", config, 60.0)
}

/// Each node dials four: on average, four others dial it.
fn config(mut params: Params, nodes: usize) -> WorldConfig {
    for stream in &mut params.streams {
        stream.tune(2_000 * nodes as u64);
    }
    let network = Arc::new(Network::new(params).expect("the parameters make a network"));
    let mut config = WorldConfig::new(1, network, nodes);
    let mut rng = Rng::new(2);
    config.edges.clear();
    for node in 1..nodes {
        let mut earlier: Vec<usize> = (0..node).collect();
        rng.shuffle(&mut earlier);
        let dialled = earlier.into_iter().take(4);
        config.edges.extend(dialled.map(|other| (node, other)));
    }
    config
}

fn hour(name: &str, config: WorldConfig, goal_seconds: f64) -> Value {
    let nodes = config.nodes;
    let duration_ms = std::env::var("VIRTUAL_SECONDS").map_or(HOUR_MS, |text| {
        1_000 * text.parse::<u64>().expect("a number of seconds")
    });
    let begin = Instant::now();
    let mut world = World::new(config).expect("the world starts");
    world
        .run_for(duration_ms)
        .expect("no invariant is violated");
    let seconds = begin.elapsed().as_secs_f64();
    let (frames, bytes) = world.traffic();
    let (_, events) = world.trace();
    let is_goal = nodes == 100 && duration_ms == HOUR_MS;
    json!({
        "network": name,
        "nodes": nodes,
        "virtual_seconds": duration_ms / 1_000,
        "seconds": (seconds * 1_000.0).round() / 1_000.0,
        "times_real_time": (duration_ms as f64 / 1_000.0 / seconds).round(),
        "blocks": world.tip(0).map(|tip| tip.number),
        "red": world.ordered_as(0, Colour::Red),
        "frames": frames,
        "bytes": bytes,
        "events": events,
        "goal_seconds": is_goal.then_some(goal_seconds),
    })
}
