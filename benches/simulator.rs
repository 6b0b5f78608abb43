//! How fast virtual time goes, and what a node takes: an hour of nodes with 8 peers each. Prints JSON.
//!
//! `cargo bench --bench simulator [NETWORK:NODES]...`, where a network is `chain` (one chain, a block every 10 s), `world` (the
//! same around the world) or `tri` (three streams, 11.1 blocks a second, around the world).
//!
//! Each is measured in a process of its own, so that the memory of one is not that of another.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures the real world"
)]

use std::process::Command;
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

/// Says that one network is to be measured in this process.
const ALONE: &str = "SIMULATOR_ALONE";

/// What is measured if nothing is named, with the goals for an hour.
const GOALS: [(&str, usize, Goal); 3] = [
    (
        "chain",
        100,
        Goal {
            seconds: 5.0,
            node_mib: None,
        },
    ),
    (
        "world",
        1_000,
        Goal {
            seconds: 30.0,
            node_mib: Some(2.0),
        },
    ),
    (
        "tri",
        100,
        Goal {
            seconds: 60.0,
            node_mib: None,
        },
    ),
];

#[derive(Clone, Copy, serde::Serialize)]
struct Goal {
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_mib: Option<f64>,
}

fn main() {
    let arguments = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let mut chosen: Vec<String> = arguments.collect();
    if std::env::var_os(ALONE).is_some() {
        return println!("{}", measure(&chosen[0]));
    }
    if chosen.is_empty() {
        let all = GOALS.iter();
        chosen.extend(all.map(|(network, nodes, _)| format!("{network}:{nodes}")));
    }
    let results: Vec<Value> = chosen.iter().map(|one| alone(one)).collect();
    println!("{:#}", json!({ "simulator": results }));
}

fn alone(one: &str) -> Value {
    let program = std::env::current_exe().expect("this program is somewhere");
    let mut command = Command::new(program);
    let output = command.arg(one).env(ALONE, "1").output();
    let output = output.expect("this program can be started");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{one} was not measured");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

fn measure(one: &str) -> Value {
    let (network, nodes) = one.split_once(':').expect("NETWORK:NODES");
    let nodes = nodes.parse().expect("a number of nodes");
    match network {
        "chain" => hour(network, chain(nodes)),
        "world" => hour(network, around_the_world(chain(nodes))),
        "tri" => hour(network, around_the_world(streams(nodes))),
        _ => panic!("there is no network `{network}`; there are chain, world, tri"),
    }
}

fn chain(nodes: usize) -> WorldConfig {
    let mut params = simulated(Params::chain());
    for stream in &mut params.streams {
        stream.interval_ms = 10_000;
        stream.half_life_ms = 600_000;
    }
    let mut config = config(params, nodes);
    config.latency_us = (10_000, 100_000);
    config
}

fn streams(nodes: usize) -> WorldConfig {
    config(simulated(Params::tri()), nodes)
}

/// Nodes take turns at the regions of the map; the rest of a way takes up to 5 ms.
fn around_the_world(mut config: WorldConfig) -> WorldConfig {
    config.regions = (0..config.nodes).map(|node| node % REGIONS.len()).collect();
    config.latency_us = (100, 5_000);
    config
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

fn hour(name: &str, config: WorldConfig) -> Value {
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
    let goal = GOALS
        .iter()
        .find(|(network, size, _)| (*network, *size, HOUR_MS) == (name, nodes, duration_ms));
    let peak_mib = peak_mib();
    json!({
        "network": name,
        "nodes": nodes,
        "virtual_seconds": duration_ms / 1_000,
        "seconds": rounded(seconds),
        "times_real_time": (duration_ms as f64 / 1_000.0 / seconds).round(),
        "peak_mib": peak_mib.map(rounded),
        "node_mib": peak_mib.map(|all| rounded(all / nodes as f64)),
        "blocks": world.tip(0).map(|tip| tip.number),
        "red": world.ordered_as(0, Colour::Red),
        "frames": frames,
        "bytes": bytes,
        "events": events,
        "goal": goal.map(|(_, _, goal)| goal),
    })
}

/// The most memory that this process has had at once, where the system says so.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1_024.0)
}

fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
