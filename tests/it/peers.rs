//! Who is dialled, who gets a place, who is banned: whole networks under virtual time, one machine among scripted peers
//! ([`stage`]), and real nodes over loopback.

mod places;
mod real;
mod tables;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::link::Conditions;
use triskel::protocol::machine::MachineConfig;
use triskel::sim::{World, WorldConfig, simulated};

/// A network that does not mine, whose nodes find each other by themselves.
fn quiet(seed: u64, nodes: usize, target_outbound: usize) -> WorldConfig {
    let network = Network::new(simulated(Params::chain())).unwrap();
    let mut config = WorldConfig::new(seed, Arc::new(network), nodes);
    config.hashrate = 0;
    config.target_outbound = target_outbound;
    config
}

fn neighbours(world: &World, node: usize) -> BTreeSet<usize> {
    let sessions = world.sessions(node).into_iter();
    sessions.map(|session| session.peer).collect()
}

/// The most of a victim's outbound places that an attacker ever has with thirty nodes in three network groups, all of which dial
/// the victim too. Nine honest nodes are spread over as many groups. The victim learns of all from one of these, and restarts
/// again and again; it always has five honest neighbours.
fn outbound_places_of_attacker(max_outbound_per_group: usize) -> usize {
    const HONEST: usize = 10;
    const NODES: usize = HONEST + 30;
    const VICTIM: usize = 1;
    let mut config = quiet(1, NODES, 8);
    config.addresses = (0..NODES)
        .map(|node| {
            let group = if node < HONEST { node } else { 100 + node % 3 };
            let ip = Ipv4Addr::new(50, group as u8, 0, node as u8);
            (node, IpAddr::V4(ip))
        })
        .collect();
    config.edges = (1..HONEST).map(|node| (node, 0)).collect();
    config
        .edges
        .extend((HONEST..NODES).map(|node| (node, VICTIM)));
    let victim = MachineConfig {
        max_inbound: 16,
        max_outbound_per_group,
        ..config.machine()
    };
    config.machines.insert(VICTIM, victim);
    let mut world = World::new(config).unwrap();
    let mut most = 0;
    for _ in 0..5 {
        world.run_for(30_000).unwrap();
        let attackers = world.outbound(VICTIM).into_iter();
        most = most.max(attackers.filter(|peer| *peer >= HONEST).count());
        world.crash(VICTIM).unwrap();
        world.run_for(5_000).unwrap();
        world.restart(VICTIM).unwrap();
    }
    most
}

#[test]
fn many_addresses_of_few_groups_do_not_take_all_outbound_places() {
    assert!(outbound_places_of_attacker(1) <= 3);
    // Where groups do not count, they do.
    assert!(outbound_places_of_attacker(8) > 3);
}

/// All connections seem to come from one address, as where containers share a gateway, and one name leads to all nodes.
#[test]
fn a_whole_network_behind_one_gateway_meshes() {
    const NODES: usize = 24;
    let mut config = quiet(4, NODES, 4);
    config.edges.clear();
    config.gateway = Some("172.17.0.1".parse().unwrap());
    let seeded = MachineConfig {
        seeds: vec!["tasks.node:9000".parse().unwrap()],
        ..config.machine()
    };
    config.machines = (0..NODES).map(|node| (node, seeded.clone())).collect();
    let mut world = World::new(config).unwrap();
    let meshed = |world: &World| (0..NODES).all(|node| neighbours(world, node).len() >= 4);
    assert!(
        world.run_until(60_000, meshed).unwrap(),
        "{:?}",
        (0..NODES)
            .map(|node| neighbours(&world, node))
            .collect::<Vec<_>>()
    );
    let bans = |node| world.status(node).unwrap().bans;
    assert_eq!((0..NODES).map(bans).sum::<u64>(), 0);
}

/// Buckets hold small networks whole: nobody is missing in anybody's book. Who is not heard of at once is by the next question.
#[test]
fn a_small_network_meshes_wholly() {
    const NODES: usize = 12;
    let mut config = quiet(5, NODES, NODES - 1);
    config.edges = (1..NODES).map(|node| (node, node - 1)).collect();
    let mut world = World::new(config).unwrap();
    let full = |world: &World| (0..NODES).all(|node| neighbours(world, node).len() == NODES - 1);
    assert!(world.run_until(60_000, full).unwrap());
}

/// Learned peers survive an outage of any length: nothing is forgotten while nobody at all is reached.
#[test]
fn who_was_cut_off_for_an_hour_finds_its_peers_again() {
    const NODES: usize = 6;
    let mut config = quiet(6, NODES, 3);
    config.edges = (1..NODES).map(|node| (node, 0)).collect();
    let mut world = World::new(config).unwrap();
    world.run_for(60_000).unwrap();
    let before = world.status(5).unwrap().known_addresses;
    let mut groups = vec![0; NODES];
    groups[5] = 1;
    world.partition(&groups).unwrap();
    // The only node that the operator named does not come back.
    world.run_for(3_600_000).unwrap();
    world.crash(0).unwrap();
    let after = world.status(5).unwrap().known_addresses;
    assert_eq!(before.0 + before.1, after.0 + after.1);
    world.heal().unwrap();
    let back = |world: &World| world.outbound(5).len() >= 2;
    assert!(world.run_until(60_000, back).unwrap());
}

/// Loss, delay, partitions, resets and restarts: bans of honest nodes are counted, and there is none.
#[test]
fn a_bad_network_bans_nobody() {
    const NODES: usize = 8;
    let mut params = simulated(Params::chain());
    params
        .streams
        .iter_mut()
        .for_each(|stream| stream.tune(2_000 * NODES as u64));
    let network = Arc::new(Network::new(params).unwrap());
    let mut config = WorldConfig::new(7, network, NODES);
    config.target_outbound = 4;
    let bad = Conditions {
        delay_us: 100_000,
        jitter_us: 200_000,
        loss_ppm: 200_000,
        ..Conditions::default()
    };
    config.conditions = (0..NODES)
        .flat_map(|from| (0..NODES).map(move |to| (from, to)))
        .map(|ends| (ends, bad))
        .collect();
    let mut world = World::new(config).unwrap();
    for round in 0..NODES {
        world.run_for(5_000).unwrap();
        let groups: Vec<usize> = (0..NODES).map(|node| (node + round) % 2).collect();
        world.partition(&groups).unwrap();
        world.run_for(5_000).unwrap();
        world.crash(round).unwrap();
        world.heal().unwrap();
        world.run_for(2_000).unwrap();
        world.restart(round).unwrap();
        (0..NODES).for_each(|node| world.reset_one(node));
    }
    for node in 0..NODES {
        world.mine(node, false).unwrap();
    }
    assert!(world.run_until(120_000, World::agrees).unwrap());
    let statuses = (0..NODES).map(|node| world.status(node).unwrap());
    let (faults, bans) = statuses.fold((0, 0), |(faults, bans), status| {
        (faults + status.faults, bans + status.bans)
    });
    assert_eq!((faults, bans), (0, 0));
}
