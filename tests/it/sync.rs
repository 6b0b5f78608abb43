//! Catching up: fast with some good peers, whatever others claim or keep back, and in bounded memory.

mod rig;
mod spam;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use triskel::node::progress::Meter;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::link::Conditions;
use triskel::sim::setup::Withholding;
use triskel::sim::{World, WorldConfig, simulated};

/// Nodes of which the last dials all others, who do not know of each other; only the first mines.
fn star(seed: u64, preset: Params, nodes: usize) -> WorldConfig {
    let mut params = simulated(preset);
    for stream in &mut params.streams {
        stream.tune(2_000);
    }
    let network = Arc::new(Network::new(params).unwrap());
    let mut config = WorldConfig::new(seed, network, nodes);
    config.edges = (0..nodes - 1).map(|node| (nodes - 1, node)).collect();
    config.latency_us = (20_000, 30_000);
    config
}

/// Has the first node mine so many blocks, and gives them to all others but the last, which is down. Nobody mines any more.
fn grown(config: WorldConfig, blocks: u64) -> World {
    let mut world = World::new(config).unwrap();
    let last = world.nodes() - 1;
    for node in 1..=last {
        world.crash(node).unwrap();
    }
    let is_long = |world: &World| world.tip(0).unwrap().number >= blocks;
    assert!(world.run_until(4_000 * blocks, is_long).unwrap());
    for node in 0..=last {
        world.mine(node, false).unwrap();
    }
    world.run_for(1_000).unwrap();
    for node in 1..last {
        world.copy_store(0, node);
        world.restart(node).unwrap();
    }
    world
}

/// How long the last node takes to have the tip of the first, in virtual milliseconds.
fn join(world: &mut World, limit_ms: u64) -> u64 {
    let last = world.nodes() - 1;
    let begin_ms = world.now_ms();
    world.restart(last).unwrap();
    let has_all =
        |world: &World| world.tip(last).map(|tip| tip.id) == world.tip(0).map(|tip| tip.id);
    assert!(
        world.run_until(limit_ms, has_all).unwrap(),
        "node {last} is at {:?} of {:?}",
        world.tip(last).map(|tip| tip.number),
        world.tip(0).map(|tip| tip.number)
    );
    world.now_ms() - begin_ms
}

fn rate(bytes_per_s: u64) -> Conditions {
    Conditions {
        rate_bytes_per_s: Some(bytes_per_s),
        ..Conditions::default()
    }
}

/// How many blocks the last node had from each other.
fn delivered(world: &mut World) -> BTreeMap<Option<usize>, usize> {
    let last = world.nodes() - 1;
    let mut counts = BTreeMap::new();
    for arrival in world.seen().arrivals {
        if arrival.node == last && arrival.synced {
            *counts.entry(arrival.from).or_default() += 1;
        }
    }
    counts
}

/// How long it takes to join two nodes, who send so many bytes a second each, and a third that does this with its blocks.
fn join_with(third: Option<Option<Withholding>>) -> (u64, BTreeMap<Option<usize>, usize>) {
    let mut config = star(1, Params::chain(), 3 + usize::from(third.is_some()));
    let joining = config.nodes - 1;
    config.withholding = third.flatten().map(|how| (2, how)).into_iter().collect();
    config.conditions = (0..joining)
        .map(|node| ((node, joining), rate(100_000)))
        .collect();
    let mut world = grown(config, 1_600);
    world.watch(1);
    let took_ms = join(&mut world, 60_000);
    (took_ms, delivered(&mut world))
}

#[test]
fn peers_who_keep_bodies_back_cost_little_and_nobody_is_blamed() {
    let (two_ms, _) = join_with(None);
    let (three_ms, counts) = join_with(Some(None));
    println!("two deliver: {two_ms} ms; three: {three_ms} ms, {counts:?}");
    assert!(three_ms < two_ms);
    let shares = (0..3).map(|node| counts.get(&Some(node)).copied().unwrap_or_default());
    assert!(shares.min() > Some(250), "{counts:?}");
    for withholding in [
        Withholding::Silence,
        Withholding::Emptiness,
        Withholding::AnotherBlock,
    ] {
        // Whoever faults an honest peer violates an invariant of the world.
        let (took_ms, counts) = join_with(Some(Some(withholding)));
        println!("two, and one with {withholding:?}: {took_ms} ms, {counts:?}");
        assert!(10 * took_ms < 13 * two_ms, "{took_ms} ms of {two_ms}");
        assert_eq!(counts.get(&Some(2)), None);
    }
}

#[test]
fn a_slow_peer_holds_nobody_up() {
    let mut world = grown(star(2, Params::chain(), 4), 1_200);
    world.set_conditions(1, 3, rate(10_000)).unwrap();
    // Alone it would take a minute: 1,200 headings and bodies are half a megabyte.
    let took_ms = join(&mut world, 120_000);
    assert!(took_ms < 25_000, "{took_ms} ms");
}

#[test]
fn the_slowest_peer_is_enough_where_there_is_no_other() {
    let mut world = grown(star(3, Params::chain(), 2), 500);
    world.set_conditions(0, 1, rate(4_000)).unwrap();
    // 76 kB of headings and 150 kB of blocks: a minute, and as much again for what was asked for in vain.
    let took_ms = join(&mut world, 600_000);
    assert!(took_ms < 150_000, "{took_ms} ms");
}

#[test]
fn a_node_joins_at_fifty_thousand_blocks() {
    const BLOCKS: u64 = 50_000;
    let mut world = grown(star(7, Params::chain(), 2), BLOCKS);
    world.watch(1);
    let (_, before) = world.traffic();
    let took_ms = join(&mut world, 600_000);
    let (_, after) = world.traffic();
    println!("{took_ms} ms, {} bytes", after - before);
    let last = world.tip(0).unwrap().number;
    assert_eq!(delivered(&mut world), [(Some(0), last as usize)].into());
    // A heading takes 152 bytes, and a block without transactions some 240: each comes once.
    assert!(after - before < 450 * last, "{} bytes", after - before);
}

#[test]
fn nodes_that_catch_up_serve_each_other() {
    // The first half of the chain is with one node, all of it with another, and the third begins: 2 - 0 - 1.
    let mut config = star(4, Params::chain(), 3);
    config.edges = vec![(1, 0), (2, 0)];
    // Who catches up tells by pings how far it is.
    config.ping_interval_ms = 2_000;
    let mut world = World::new(config).unwrap();
    world.crash(0).unwrap();
    world.crash(2).unwrap();
    let has = |blocks: u64| move |world: &World| world.tip(1).unwrap().number >= blocks;
    assert!(world.run_until(20_000_000, has(400)).unwrap());
    world.copy_store(1, 0);
    assert!(world.run_until(20_000_000, has(1_600)).unwrap());
    for node in 0..3 {
        world.mine(node, false).unwrap();
    }
    world.watch(1);
    // Slow, so that the one in the middle is not done when the other comes.
    world.set_conditions(1, 0, rate(50_000)).unwrap();
    world.restart(0).unwrap();
    world.restart(2).unwrap();
    assert!(world.run_until(120_000, World::agrees).unwrap());
    let seen = world.seen().arrivals;
    let end_us = seen
        .iter()
        .filter(|seen| seen.node == 0)
        .map(|seen| seen.at_us)
        .max();
    let early = seen
        .iter()
        .filter(|seen| seen.node == 2 && Some(seen.at_us) < end_us);
    assert!(early.count() > 500, "nobody was served meanwhile");
}

#[test]
fn a_network_that_was_off_for_two_days_goes_on() {
    for preset in [Params::chain(), Params::tri()] {
        let mut config = star(5, preset, 3);
        config.edges = vec![(1, 0), (2, 1)];
        let mut world = World::new(config).unwrap();
        world.run_for(10_000).unwrap();
        // They do not stop in the same moment: each has another end.
        for node in 0..3 {
            world.run_for(2_000).unwrap();
            world.crash(node).unwrap();
        }
        world.run_for(48 * 3_600_000).unwrap();
        for node in 0..3 {
            world.restart(node).unwrap();
        }
        let before = world.tip(2).unwrap().number;
        world.run_for(20_000).unwrap();
        for node in 0..3 {
            world.mine(node, false).unwrap();
        }
        assert!(world.run_until(60_000, World::agrees).unwrap());
        let after = world.tip(0).unwrap().number;
        assert!(after > before + 10, "{before} blocks, and then {after}");
    }
}

#[test]
fn a_fork_of_a_thousand_blocks_on_both_sides_heals() {
    let mut world = World::new(star(6, Params::chain(), 2)).unwrap();
    world.run_for(20_000).unwrap();
    world.partition(&[0, 1]).unwrap();
    let parted = world.tip(0).unwrap().number;
    let is_long = |world: &World| {
        [0, 1]
            .iter()
            .all(|node| world.tip(*node).unwrap().number > parted + 1_000)
    };
    assert!(world.run_until(4_000_000, is_long).unwrap());
    for node in 0..2 {
        world.mine(node, false).unwrap();
    }
    world.run_for(1_000).unwrap();
    let [one, other] = [0, 1].map(|node| world.tip(node).unwrap());
    let block = if one.work > other.work {
        one.id
    } else {
        other.id
    };
    world.heal().unwrap();
    assert!(world.run_until(30_000, World::agrees).unwrap());
    assert!(world.store(0).position(&block).unwrap().is_some());
}

#[test]
fn who_has_caught_up_leads_those_behind_it_at_once() {
    // 0 - 1 - 2 - 3, of which only the first has the chain.
    let mut config = star(8, Params::chain(), 4);
    config.edges = (1..4).map(|node| (node, node - 1)).collect();
    let mut world = World::new(config).unwrap();
    world.partition(&[0, 1, 1, 1]).unwrap();
    for node in 1..4 {
        world.mine(node, false).unwrap();
    }
    let is_long = |world: &World| world.tip(0).unwrap().number >= 400;
    assert!(world.run_until(4_000_000, is_long).unwrap());
    world.mine(0, false).unwrap();
    let begin_ms = world.now_ms();
    world.heal().unwrap();
    assert!(world.run_until(60_000, World::agrees).unwrap());
    let took_ms = world.now_ms() - begin_ms;
    println!("{took_ms} ms");
    // Each has to ask twice, for headings and for blocks; a link takes 25 ms. Pings come every ten seconds.
    assert!(took_ms < 1_000, "{took_ms} ms");
}

#[test]
fn how_far_it_is_follows_from_dates_and_not_from_claims() {
    let begin = Instant::now();
    let mut meter = Meter::default();
    let mut see = |seconds: u64, number, date_ms| {
        meter.see(
            begin + Duration::from_secs(seconds),
            number,
            date_ms,
            101_000,
        )
    };
    // Genesis has no date.
    let first = see(0, 0, 0);
    assert_eq!((first.ratio, first.left), (0.0, None));
    assert_eq!(see(1, 10, 1_000).ratio, 0.0);
    let half = see(2, 5_010, 51_000);
    assert_eq!((half.ratio, half.blocks_per_s), (0.5, 2_505.0));
    let all = see(3, 10_010, 101_000);
    assert_eq!(all.ratio, 1.0);
    // A clock that is behind the last block changes nothing.
    assert_eq!(see(4, 10_011, 200_000).ratio, 1.0);
}
