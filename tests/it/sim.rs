//! Networks under virtual time.

use std::sync::Arc;

use triskel::protocol::chain::key::KeyPair;
use triskel::protocol::chain::params::{Allocation, Network, Params};
use triskel::protocol::chain::transaction::{SharedTransaction, Transfer};
use triskel::protocol::wire::limits::MAX_GREETING_TRANSACTIONS;
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

/// A network that does not mine, in which one account owns something, and its first transfers.
fn endowed(
    seed: u64,
    nodes: usize,
    persist_us: (u64, u64),
) -> (World, impl Fn(u64, u64) -> SharedTransaction) {
    let keys = KeyPair::from_seed(b"somebody");
    let mut params = simulated(Params::chain());
    params.allocations = vec![Allocation {
        account: keys.public(),
        balance: 1_000_000,
    }];
    let network = Arc::new(Network::new(params).unwrap());
    let id = network.id();
    let mut config = WorldConfig::new(seed, network, nodes);
    config.persist_us = persist_us;
    let mut world = World::new(config).unwrap();
    for node in 0..nodes {
        world.mine(node, false).unwrap();
    }
    world.run_for(5_000).unwrap();
    let transfer = move |nonce, fee| {
        let sender = keys.public();
        let transfer = Transfer {
            sender,
            recipient: sender,
            amount: 1,
            fee,
            nonce,
        };
        Arc::new(transfer.sign(&id, &keys))
    };
    (world, transfer)
}

#[test]
fn what_replaced_an_answered_transfer_survives_in_its_place() {
    const PERSIST_MS: u64 = 5_000;
    let (mut world, transfer) = endowed(6, 2, (PERSIST_MS * 1_000, PERSIST_MS * 1_000));
    let ticket = world.submit(0, transfer(0, 1)).unwrap().unwrap();
    world.run_for(2 * PERSIST_MS).unwrap();
    assert!(world.answer(ticket).is_some_and(Result::is_ok));
    // The other node passes its replacement on and is gone before it is on its disk.
    world.submit(1, transfer(0, 10)).unwrap();
    world.run_for(PERSIST_MS / 2).unwrap();
    world.crash(1).unwrap();
    world.run_for(2 * PERSIST_MS).unwrap();
    world.crash(0).unwrap();
    world.restart(0).unwrap();
    assert_eq!(world.status(0).unwrap().mempool, 1);
}

#[test]
fn an_applied_transfer_is_confirmed_when_its_block_is_durable() {
    const PERSIST_MS: u64 = 20_000;
    let (mut world, transfer) = endowed(7, 1, (PERSIST_MS * 1_000, PERSIST_MS * 1_000));
    let transaction = transfer(0, 1);
    world.submit(0, Arc::clone(&transaction)).unwrap();
    world.mine(0, true).unwrap();
    let id = transaction.id();
    assert!(
        world
            .run_until(PERSIST_MS, |world| world.transaction(0, &id).is_some())
            .unwrap()
    );
    let again = world.submit(0, transaction).unwrap().unwrap();
    assert!(
        world.answer(again).is_none(),
        "its block is not on disk yet"
    );
    world.run_for(PERSIST_MS + 1).unwrap();
    assert!(world.answer(again).is_some_and(Result::is_ok));
}

#[test]
fn a_peer_hears_again_of_transfers_that_it_does_not_have() {
    let (mut world, transfer) = endowed(8, 2, (500, 1_000));
    // More than a greeting holds.
    world.crash(1).unwrap();
    let count = MAX_GREETING_TRANSACTIONS + 20;
    for nonce in 0..count as u64 {
        world.submit(0, transfer(nonce, 1)).unwrap();
    }
    world.restart(1).unwrap();
    let all = |world: &World| world.status(1).is_some_and(|is| is.mempool == count);
    assert!(world.run_until(24 * 3_600_000, all).unwrap());
}

/// Waits until the mempools of all nodes hold so many transactions.
fn fill(world: &mut World, count: usize, patience_ms: u64) {
    let full = |world: &World| {
        let mempools = (0..world.nodes()).map(|node| world.mempool(node).unwrap());
        mempools.into_iter().all(|ids| ids.len() == count)
    };
    let is_full = world.run_until(patience_ms, full).unwrap();
    let mempools = (0..world.nodes()).map(|node| world.mempool(node).unwrap().len());
    let mempools: Vec<_> = mempools.collect();
    assert!(is_full, "{mempools:?} of {count} transfers");
    let first = world.mempool(0);
    assert!((1..world.nodes()).all(|node| world.mempool(node) == first));
}

#[test]
fn transfers_reach_all_nodes_before_any_reminder() {
    const NODES: usize = 20;
    let (mut world, transfer) = endowed(10, NODES, (500, 1_000));
    let count = 400;
    for nonce in 0..count {
        let node = nonce as usize % NODES;
        world.submit(node, transfer(nonce, 1)).unwrap();
        world.run_for(1).unwrap();
    }
    fill(&mut world, count as usize, 2_000);
}

#[test]
fn mempools_agree_again_after_a_partition() {
    for seed in 11..15 {
        let (mut world, transfer) = endowed(seed, 6, (500, 1_000));
        world.partition(&[0, 0, 0, 1, 1, 1]).unwrap();
        let count = 1_500;
        for nonce in 0..count {
            let node = nonce as usize % 6;
            world.submit(node, transfer(nonce, 1)).unwrap();
            if nonce % 100 == 0 {
                world.run_for(200).unwrap();
            }
        }
        world.run_for(60_000).unwrap();
        let half = world.mempool(0).unwrap().len();
        assert_eq!(
            half,
            count as usize / 2,
            "seed {seed}: a partition that leaks"
        );
        world.heal().unwrap();
        fill(&mut world, count as usize, 600_000);
    }
}

#[test]
fn a_late_joiner_finds_the_one_that_has_not_pruned() {
    let mut params = simulated(Params::chain());
    params.streams[0].interval_ms = 200;
    params.streams[0].half_life_ms = 12_000;
    params.streams[0].tune(2_000);
    (params.merge_depth, params.finality_depth) = (20, 40);
    let network = Arc::new(Network::new(params).unwrap());
    let mut config = WorldConfig::new(9, network, 4);
    // The joiner knows two that prune first; the archive is at the far end.
    config.edges = vec![(1, 0), (2, 1), (3, 2), (3, 1), (3, 0)];
    config.pruning = [1, 2].into();
    let mut world = World::new(config).unwrap();
    world.crash(3).unwrap();
    world.run_for(100_000).unwrap();
    let pruned = world.status(1).unwrap().tip.pruned;
    assert!(pruned > 100, "{pruned}");
    world.restart(3).unwrap();
    settle(&mut world);
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
