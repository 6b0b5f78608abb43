//! What the protocol takes by itself, under virtual time, so that every machine measures the same: the time from the end of a
//! partition, when nodes dial at once whom they lost, to one tip; and the bytes of a block on a link. Prints JSON.
//!
//! `cargo bench --bench protocol [healing|bytes]...`; both without a name. `SEEDS` is how many networks are healed of each kind.

#![allow(
    clippy::disallowed_methods,
    reason = "how much is measured is a variable of the environment"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use triskel::protocol::chain::key::KeyPair;
use triskel::protocol::chain::params::{Allocation, Network, Params};
use triskel::protocol::chain::transaction::Transfer;
use triskel::protocol::rng::Rng;
use triskel::sim::map::{REGIONS, delay_ms};
use triskel::sim::{World, WorldConfig, simulated};

/// It is the simulator's allocator as well.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What each node hashes in a second.
const HASHRATE: u64 = 2_000;

fn main() {
    let arguments = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let chosen: Vec<String> = arguments.collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|other| other == name);
    let mut results = serde_json::Map::new();
    if wanted("healing") {
        results.insert("healing".to_owned(), healing());
    }
    if wanted("bytes") {
        results.insert("bytes".to_owned(), [100, 500, 2_000].map(bytes).into());
    }
    println!("{:#}", Value::Object(results));
}

/// Nodes of a network that is parted.
const NODES: usize = 50;

/// Blocks that each side finds meanwhile.
const FORKS: [u64; 4] = [1, 10, 100, 1_000];

/// How the sides hang together when they do.
#[derive(Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Between {
    /// Each node has dialled two of the other side.
    Everybody,
    /// Two links are all: the rest of a side learns from those who have caught up.
    TwoLinks,
}

fn healing() -> Value {
    let seeds = std::env::var("SEEDS").map_or(20, |text| text.parse().expect("a number"));
    let mut rows = Vec::new();
    let networks = [("chain", Params::chain()), ("tri", Params::tri())];
    let kinds = [Between::Everybody, Between::TwoLinks];
    for ((name, params), between) in networks
        .iter()
        .flat_map(|one| kinds.map(|kind| (one, kind)))
    {
        for fork in FORKS {
            let healed: Vec<_> = (1..=seeds)
                .map(|seed| heal(around_the_world(seed, params.clone(), between), fork))
                .collect();
            let column = |value: fn(&Healed) -> f64| summary(healed.iter().map(value).collect());
            rows.push(json!({
                "network": name,
                "nodes": NODES,
                "links_between": between,
                "fork": fork,
                "runs": seeds,
                "milliseconds": column(|run| run.took_ms),
                "diameter_milliseconds": column(|run| run.diameter_ms),
                "milliseconds_allowed": column(Healed::allowed_ms),
                "share_of_what_is_allowed": column(|run| run.took_ms / run.allowed_ms()),
                "goal": { "share_p95": 1.0 },
            }));
        }
    }
    rows.into()
}

/// A network that was parted and is one again.
struct Healed {
    took_ms: f64,
    /// The longest time that a frame takes, on its quickest way, from one node to another.
    diameter_ms: f64,
}

impl Healed {
    fn allowed_ms(&self) -> f64 {
        3.0 * self.diameter_ms + 1_000.0
    }
}

/// Parts a network around the world until each side has a fork of its own, and heals it. Nobody mines then: what is measured is how
/// long it takes to agree, and not luck.
fn heal(config: WorldConfig, fork: u64) -> Healed {
    let seed = config.seed;
    let diameter_ms = diameter_ms(&config);
    let mut world = World::new(config).expect("the world starts");
    let run_for = |world: &mut World, duration_ms| {
        let ran = world.run_for(duration_ms);
        ran.expect("no invariant is violated");
    };
    run_for(&mut world, 10_000);
    mine(&mut world, |_| true, false);
    run_for(&mut world, 5_000);
    assert!(world.agrees(), "seed {seed}: it disagrees before");
    let parted = world.tip(0).map_or(0, |tip| tip.number);
    let groups: Vec<_> = (0..NODES).map(|node| node % 2).collect();
    world.partition(&groups).expect("no invariant is violated");
    mine(&mut world, |_| true, true);
    let is_long = |world: &World, side| {
        let tip = world.tip(side);
        tip.is_some_and(|tip| tip.number >= parted + fork)
    };
    let mut open = vec![0, 1];
    while !open.is_empty() {
        let any = |world: &World| open.iter().any(|side| is_long(world, *side));
        let ran = world.run_until(100_000_000, any);
        assert!(ran.expect("no invariant is violated"), "seed {seed}");
        for side in open
            .extract_if(.., |side| is_long(&world, *side))
            .collect::<Vec<_>>()
        {
            mine(&mut world, |node| groups[node] == side, false);
        }
    }
    run_for(&mut world, 5_000);
    let begin_ms = world.now_ms();
    world.heal().expect("no invariant is violated");
    let healed = world.run_until(600_000, World::agrees);
    assert!(
        healed.expect("no invariant is violated"),
        "seed {seed}: it is not one again"
    );
    Healed {
        took_ms: (world.now_ms() - begin_ms) as f64,
        diameter_ms,
    }
}

fn mine(world: &mut World, chosen: impl Fn(usize) -> bool, mining: bool) {
    for node in (0..world.nodes()).filter(|node| chosen(*node)) {
        let told = world.mine(node, mining);
        told.expect("no invariant is violated");
    }
}

/// Each node dials two of its own side, so that neither falls apart. Those of each side are everywhere.
fn around_the_world(seed: u64, params: Params, between: Between) -> WorldConfig {
    let mut config = config(seed, params, NODES);
    let mut rng = Rng::new(seed);
    let mut places: Vec<usize> = (0..NODES).map(|node| node % REGIONS.len()).collect();
    rng.shuffle(&mut places);
    config.regions = places;
    config.latency_us = (100, 5_000);
    config.edges.clear();
    for node in 1..NODES {
        for side in 0..2 {
            let is_bridge = node % (NODES / 2) == 1;
            let count = match between {
                _ if node % 2 == side => 2,
                Between::Everybody => 2,
                Between::TwoLinks => usize::from(is_bridge),
            };
            let mut earlier: Vec<usize> = (0..node).filter(|other| other % 2 == side).collect();
            rng.shuffle(&mut earlier);
            let dialled = earlier.into_iter().take(count);
            config.edges.extend(dialled.map(|other| (node, other)));
        }
    }
    config
}

fn config(seed: u64, params: Params, nodes: usize) -> WorldConfig {
    let mut params = simulated(params);
    for stream in &mut params.streams {
        stream.tune(HASHRATE * nodes as u64);
    }
    let network = Arc::new(Network::new(params).expect("the parameters make a network"));
    WorldConfig::new(seed, network, nodes)
}

/// By Floyd and Warshall; each link counted with the middle of what it takes.
fn diameter_ms(config: &WorldConfig) -> f64 {
    let (least_us, most_us) = config.latency_us;
    let site_ms = (least_us + most_us) as f64 / 2_000.0;
    let mut ways_ms = vec![vec![f64::INFINITY; config.nodes]; config.nodes];
    for (node, ways_ms) in ways_ms.iter_mut().enumerate() {
        ways_ms[node] = 0.0;
    }
    for (one, other) in &config.edges {
        let way_ms = site_ms + delay_ms(config.regions[*one], config.regions[*other]) as f64;
        (ways_ms[*one][*other], ways_ms[*other][*one]) = (way_ms, way_ms);
    }
    for between in 0..config.nodes {
        for one in 0..config.nodes {
            for other in 0..config.nodes {
                let way_ms = ways_ms[one][between] + ways_ms[between][other];
                ways_ms[one][other] = ways_ms[one][other].min(way_ms);
            }
        }
    }
    ways_ms.concat().into_iter().fold(0.0, f64::max)
}

/// Nodes among which a block travels.
const MEMBERS: usize = 16;

/// What a short id takes, and which part of the block's bytes may come beside them.
const SHORT_ID_BYTES: u64 = 6;
const GOAL: f64 = 0.02;

/// A block of so many transactions that all mempools hold: the bytes of all frames, by the link that they went over.
fn bytes(transactions: u64) -> Value {
    const SENDERS: u64 = 20;
    let senders: Vec<_> = (0..SENDERS)
        .map(|number| KeyPair::from_seed(&number.to_le_bytes()))
        .collect();
    let mut params = Params::chain();
    let owners = senders.iter().map(|keys| Allocation {
        account: keys.public(),
        balance: 1_000_000,
    });
    params.allocations = owners.collect();
    params.allocations.sort_by_key(|owner| owner.account);
    let mut config = config(1, params, MEMBERS);
    // Nothing else is on its way.
    config.ping_interval_ms = 1_000_000_000;
    let mut world = World::new(config).expect("the world starts");
    mine(&mut world, |_| true, false);
    let network = world.network().id();
    for number in 0..transactions {
        let keys = &senders[(number % SENDERS) as usize];
        let transfer = Transfer {
            sender: keys.public(),
            recipient: senders[0].public(),
            amount: 1,
            fee: 1,
            nonce: number / SENDERS,
        };
        let transfer = Arc::new(transfer.sign(&network, keys));
        let told = world.submit((number % SENDERS) as usize % MEMBERS, transfer);
        told.expect("no invariant is violated");
    }
    world.run_for(60_000).expect("no invariant is violated");
    for node in 0..MEMBERS {
        let waiting = world.status(node).map(|status| status.mempool as u64);
        assert_eq!(waiting, Some(transactions), "node {node} lacks some");
    }
    let before = sent(&world);
    mine(&mut world, |node| node == 0, true);
    let mined = world.run_until(100_000_000, |world| {
        world.tip(0).is_some_and(|tip| tip.number == 1)
    });
    assert!(mined.expect("no invariant is violated"));
    mine(&mut world, |_| true, false);
    world.run_for(10_000).expect("no invariant is violated");
    assert!(world.agrees());
    let tip = world.tip(0).expect("it runs").id;
    let block = world.store(0).block(&tip).expect("it can be read");
    let block = block.expect("it is stored");
    assert_eq!(block.body().transactions.len() as u64, transactions);
    let whole = block.bytes().len() as u64;
    let ids = SHORT_ID_BYTES * transactions;
    let after = sent(&world);
    let taken = after.iter().map(|(link, bytes)| bytes - before[link]);
    // Others only tell of it, or are told.
    let carried: Vec<_> = taken.clone().filter(|bytes| *bytes >= ids).collect();
    let beside = |bytes: &u64| bytes.saturating_sub(ids) as f64 / whole as f64;
    json!({
        "transactions": transactions,
        "nodes": MEMBERS,
        "block_bytes": whole,
        "short_ids_bytes": ids,
        "directions": after.len(),
        "directions_that_carried_it": carried.len(),
        "bytes_where_it_was_carried": summary(carried.iter().map(|bytes| *bytes as f64).collect()),
        "share_beside_short_ids": summary(carried.iter().map(beside).collect()),
        "bytes_of_all_frames": taken.sum::<u64>(),
        "goal": { "share_beside_short_ids": GOAL },
    })
}

/// Bytes of frames that have arrived, by link and direction.
fn sent(world: &World) -> BTreeMap<(usize, usize), u64> {
    let of_node = |node| {
        let sessions = world.sessions(node).into_iter();
        sessions.map(move |session| ((node, session.peer), session.sent_bytes))
    };
    (0..world.nodes()).flat_map(of_node).collect()
}

fn summary(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |fraction: f64| {
        let rank = (values.len() as f64 * fraction).ceil() as usize;
        let value = values.get(rank.saturating_sub(1));
        value.map(|value| (value * 1_000.0).round() / 1_000.0)
    };
    json!({ "p50": at(0.5), "p95": at(0.95), "max": at(1.0) })
}
