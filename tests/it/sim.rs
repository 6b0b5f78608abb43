//! Networks under virtual time.

use std::sync::Arc;

use triskel::protocol::chain::params::{Network, Params};
use triskel::sim::plan::Plan;
use triskel::sim::{World, WorldConfig, simulated};

/// A simulated network tuned to so many nodes of the default hash rate, blocks `interval_ms` apart.
fn network(nodes: u64, interval_ms: u64) -> Arc<Network> {
    let mut params = simulated(Params::chain());
    for stream in &mut params.streams {
        stream.interval_ms = interval_ms;
        stream.half_life_ms = 60 * interval_ms;
        stream.tune(2_000 * nodes);
    }
    Arc::new(Network::new(params).unwrap())
}

fn world(seed: u64, nodes: usize, interval_ms: u64) -> World {
    let network = network(nodes as u64, interval_ms);
    World::new(WorldConfig::new(seed, network, nodes)).unwrap()
}

/// Stops mining everywhere and waits until all have one tip.
fn settle(world: &mut World) {
    for node in 0..world.nodes() {
        world.mine(node, false).unwrap();
    }
    assert!(
        world.run_until(120_000, World::agrees).unwrap(),
        "no agreement: {:?}",
        tips(world)
    );
}

fn tips(world: &World) -> Vec<Option<u64>> {
    (0..world.nodes())
        .map(|node| world.tip(node).map(|tip| tip.number))
        .collect()
}

#[test]
fn five_nodes_converge() {
    let mut world = world(1, 5, 1_000);
    world.run_for(120_000).unwrap();
    settle(&mut world);
    let number = world.tip(0).unwrap().number;
    assert!(
        (60..240).contains(&number),
        "{number} blocks in 120 intervals"
    );
}

#[test]
fn a_seed_has_one_trace() {
    let run = |seed| {
        let mut world = world(seed, 6, 500);
        world.run_for(30_000).unwrap();
        world.partition(&[0, 0, 0, 1, 1, 1]).unwrap();
        world.run_for(20_000).unwrap();
        world.crash(2).unwrap();
        world.heal().unwrap();
        world.restart(2).unwrap();
        world.run_for(20_000).unwrap();
        world.trace()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}

#[test]
fn a_partition_heals_to_the_heavier_side() {
    let mut world = world(3, 6, 500);
    world.run_for(20_000).unwrap();
    world.partition(&[0, 0, 0, 0, 1, 1]).unwrap();
    world.run_for(120_000).unwrap();
    assert!(!world.agrees(), "a partition that nobody notices");
    world.heal().unwrap();
    settle(&mut world);
}

#[test]
fn crashed_nodes_come_back_with_what_was_durable() {
    let mut world = world(4, 5, 300);
    for round in 0..20 {
        world.run_for(2_000).unwrap();
        world.crash(round % 5).unwrap();
        world.run_for(1_000).unwrap();
        world.restart(round % 5).unwrap();
    }
    settle(&mut world);
}

#[test]
fn a_late_joiner_fetches_the_whole_chain() {
    let network = network(1, 200);
    let mut world = World::new(WorldConfig::new(5, network, 3)).unwrap();
    world.crash(2).unwrap();
    world.run_for(400_000).unwrap();
    world.restart(2).unwrap();
    settle(&mut world);
    assert!(world.tip(2).unwrap().number > 1_000);
}

/// Random plans: `TRISKEL_SEED` runs one of them, `TRISKEL_SEEDS` that many from 1 on.
#[test]
fn swarm() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let seeds = match number("TRISKEL_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("TRISKEL_SEEDS").unwrap_or(40),
    };
    for seed in seeds {
        let plan = Plan::random(seed);
        if let Err(violation) = plan.run() {
            let replay =
                format!("TRISKEL_SEED={seed} cargo test --test it sim::swarm -- --nocapture");
            panic!("{plan}\n{violation}\nreplay with: {replay}");
        }
    }
}

#[test]
fn a_plan_has_one_trace() {
    let run = |seed| Plan::random(seed).run().unwrap();
    assert_eq!(run(11), run(11));
    assert_ne!(run(11).trace, run(12).trace);
}
