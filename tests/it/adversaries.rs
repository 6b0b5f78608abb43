//! Nodes that break the rules among five honest ones: what those bear, and what they do about it. That no honest node is blamed,
//! that all ledgers are right and that no tip goes back is what the simulator checks at every step.

use std::sync::Arc;

use triskel::adversary::Role;
use triskel::protocol::chain::id::AccountId;
use triskel::protocol::chain::ordering::Colour;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::machine::MachineConfig;
use triskel::sim::world::NodeStatus;
use triskel::sim::{World, WorldConfig, simulated};

use super::attacks::selfish::model;

const HONEST: usize = 5;

/// The node that has the role.
const ROGUE: usize = HONEST;

/// Hashes per second and stream of each node.
const HASHRATE: u64 = 2_000;

/// A ring of honest nodes, three of which have the one that is not as a peer.
fn world(mut params: Params, role: Role, rogue_hashrate: u64, seed: u64) -> World {
    for stream in &mut params.streams {
        stream.tune(HASHRATE * HONEST as u64 + rogue_hashrate);
    }
    let network = Arc::new(Network::new(simulated(params)).unwrap());
    let mut config = WorldConfig::new(seed, network, HONEST + 1);
    config.edges = (1..HONEST).map(|node| (node, node - 1)).collect();
    config
        .edges
        .extend([(0, HONEST - 1), (ROGUE, 0), (ROGUE, 2), (3, ROGUE)]);
    config.roles.insert(ROGUE, role);
    // A node that is banned shows its neighbours one fault each: here they are to see all of them.
    let machine = config.machine();
    config.machines = (0..=HONEST)
        .map(|node| {
            (
                node,
                MachineConfig {
                    ban_ms: 0,
                    ..machine.clone()
                },
            )
        })
        .collect();
    let mut world = World::new(config).unwrap();
    world.set_hashrate(ROGUE, rogue_hashrate);
    world
}

fn tri(role: Role) -> World {
    world(Params::tri(), role, HASHRATE, 1)
}

/// Stops mining, and waits until all honest nodes agree.
fn settle(world: &mut World) {
    for node in 0..world.nodes() {
        world.mine(node, false).unwrap();
    }
    // The honest nodes may agree already, while what was kept back is on its way to them.
    world.run_for(1_000).unwrap();
    assert!(
        world.run_until(120_000, World::agrees).unwrap(),
        "no agreement: {:?}",
        statuses(world)
    );
}

fn statuses(world: &World) -> Vec<NodeStatus> {
    (0..HONEST)
        .map(|node| world.status(node).unwrap())
        .collect()
}

/// How many blocks of an account are in the order of the first node, or in its selected chain.
fn ordered_of(world: &World, miner: &AccountId, in_chain: bool) -> u64 {
    let is_wanted = |number: &u64| {
        let ordered = world.store(0).ordered(*number).unwrap().unwrap();
        let block = world.store(0).block(&ordered.id).unwrap().unwrap();
        block.body().miner == *miner && (!in_chain || ordered.colour == Colour::Chain)
    };
    let numbers = 1..=world.tip(0).unwrap().number;
    numbers.filter(is_wanted).count() as u64
}

fn refused(world: &World, label: &str) -> u64 {
    let statuses = statuses(world).into_iter();
    statuses
        .map(|status| status.refused.get(label).copied().unwrap_or_default())
        .sum()
}

fn faults(world: &World) -> u64 {
    statuses(world).iter().map(|status| status.faults).sum()
}

/// Three streams make 11 blocks a second.
fn assert_grown(world: &World, seconds: u64) {
    let number = world.tip(0).unwrap().number;
    // Ten standard deviations, and a fifth that an adversary might add.
    let expected = 11 * seconds;
    assert!(
        (expected * 6 / 10..expected * 14 / 10).contains(&number),
        "{number} blocks in {seconds} s"
    );
}

#[test]
fn invalid_blocks_are_refused_and_their_sender_is_dropped() {
    let mut world = tri(Role::InvalidBlockRelayer);
    world.run_for(60_000).unwrap();
    settle(&mut world);
    assert!(refused(&world, "header") > 0, "{:?}", statuses(&world));
    assert!(
        refused(&world, "state_digest") > 0,
        "{:?}",
        statuses(&world)
    );
    assert!(
        faults(&world) > refused(&world, "header"),
        "damaged blocks are faults too"
    );
    // Whose accounts are wrong may be merged, as its past is right; nothing continues it.
    let rogue = world.status(ROGUE).unwrap().miner;
    assert_eq!(ordered_of(&world, &rogue, true), 0);
    assert_grown(&world, 60);
}

#[test]
fn invalid_transactions_wait_nowhere() {
    let mut world = tri(Role::InvalidTransactionRelayer);
    world.run_for(30_000).unwrap();
    settle(&mut world);
    assert!(faults(&world) > 0, "some of them are provable");
    assert!(statuses(&world).iter().all(|status| status.mempool == 0));
    assert_eq!(world.tip(0).unwrap().transactions, 0);
    assert_grown(&world, 30);
}

#[test]
fn dates_ahead_are_nobody_s_fault_and_speed_nothing_up() {
    let mut world = tri(Role::TimestampLiar);
    world.run_for(60_000).unwrap();
    settle(&mut world);
    assert!(refused(&world, "early") > 0, "{:?}", statuses(&world));
    assert_eq!(faults(&world), 0);
    assert_grown(&world, 60);
}

#[test]
fn a_flood_breaks_no_rule_and_stops_nobody() {
    let mut world = tri(Role::Flooder);
    world.run_for(10_000).unwrap();
    settle(&mut world);
    assert_eq!(faults(&world), 0);
    assert!(statuses(&world).iter().all(|status| status.mempool == 0));
    let (frames, _) = world.traffic();
    // Twenty messages to three peers, ten times a second.
    assert!(frames > 6_000, "{frames} frames");
    assert_grown(&world, 10);
}

#[test]
fn a_slow_reader_falls_behind_alone() {
    let mut world = tri(Role::SlowReader);
    world.run_for(60_000).unwrap();
    let number = |node| world.tip(node).unwrap().number;
    assert!(
        number(ROGUE) + 100 < number(0),
        "{} of {}",
        number(ROGUE),
        number(0)
    );
    let behind = (1..HONEST)
        .map(|node| number(0).abs_diff(number(node)))
        .max();
    assert!(behind < Some(20), "{behind:?}");
    settle(&mut world);
    assert_eq!(faults(&world), 0);
}

#[test]
fn a_withholder_shows_nothing_until_it_stops_and_all_in_the_end() {
    let mut world = tri(Role::Withholder);
    world.run_for(20_000).unwrap();
    let rogue = world.status(ROGUE).unwrap();
    assert!(rogue.mining);
    assert_eq!(ordered_of(&world, &rogue.miner, false), 0);
    settle(&mut world);
    let rogue = world.status(ROGUE).unwrap();
    let mined: u64 = rogue.mined.values().sum();
    assert!(mined > 10, "{mined}");
    assert_eq!(ordered_of(&world, &rogue.miner, false), mined);
    assert!(!rogue.mining);
    assert_eq!(faults(&world), 0);
}

/// Where nothing is merged the selfish miner gains what the model says, so what it does is an attack.
#[test]
fn a_selfish_miner_gains_in_a_chain() {
    const ALPHA: f64 = 0.35;
    let mut params = Params::chain();
    // What is stale stays a tip until nothing reaches it: this keeps the DAG small.
    (params.merge_depth, params.finality_depth) = (50, 60);
    let honest = (HASHRATE * HONEST as u64) as f64;
    let hashrate = (honest * ALPHA / (1.0 - ALPHA)) as u64;
    let mut world = world(params, Role::SelfishMiner, hashrate, 1);
    world.run_for(3_000_000).unwrap();
    settle(&mut world);
    let miner = world.status(ROGUE).unwrap().miner;
    let issued = world.tip(0).unwrap().issued;
    let share = world.account(0, &miner).balance as f64 / issued as f64;
    // Ties go to the greater id. The rest is luck: three standard deviations in so many blocks.
    assert!(
        (share - model(ALPHA, 0.5)).abs() < 0.04,
        "a share of {share}"
    );
    assert!(share > ALPHA, "a share of {share}");
    assert_eq!(faults(&world), 0);
}

/// Where blocks are merged it does not pay, and no block of anybody is lost.
#[test]
fn a_selfish_miner_loses_nothing_for_others_where_blocks_are_merged() {
    let mut world = tri(Role::SelfishMiner);
    world.run_for(60_000).unwrap();
    settle(&mut world);
    let mined = |status: NodeStatus| status.mined.values().sum::<u64>();
    let all: u64 = (0..world.nodes())
        .map(|node| mined(world.status(node).unwrap()))
        .sum();
    assert_eq!(world.tip(0).unwrap().number, all);
    assert_eq!(faults(&world), 0);
}
