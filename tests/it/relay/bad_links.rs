//! Blocks of transactions over links that lose, delay and scatter what they carry.

use std::sync::Arc;

use triskel::protocol::chain::params::{Allocation, Network, Params};
use triskel::protocol::link::Conditions;
use triskel::protocol::machine::io::Rebuilt;
use triskel::protocol::wire::limits::MAX_PUSHED_TO_ALL;
use triskel::sim::watch::Arrival;
use triskel::sim::{World, WorldConfig, simulated};

use crate::memory::{account, transfer};

const NODES: usize = 10;

/// Persons who pay, each at a node of its own.
const SENDERS: usize = 8;

/// Ten nodes upon links of which each is bad in both directions.
fn bad(seed: u64) -> WorldConfig {
    let mut params = simulated(Params::chain());
    for stream in &mut params.streams {
        stream.tune(2_000 * NODES as u64);
    }
    let endow = |number| Allocation {
        account: account(number),
        balance: 1_000_000,
    };
    params.allocations = (0..SENDERS).map(endow).collect();
    params.allocations.sort_by_key(|owner| owner.account);
    let network = Arc::new(Network::new(params).unwrap());
    let mut config = WorldConfig::new(seed, network, NODES);
    let conditions = Conditions {
        delay_us: 40_000,
        jitter_us: 60_000,
        loss_ppm: 30_000,
        ..Conditions::default()
    };
    for (one, other) in config.edges.clone() {
        config.conditions.insert((one, other), conditions);
        config.conditions.insert((other, one), conditions);
    }
    config
}

#[test]
fn blocks_are_rebuilt_where_links_lose_and_scatter_and_nobody_is_blamed() {
    const SECONDS: u64 = 60;
    const PER_SECOND: u64 = 20;
    let seed = std::env::var("TRISKEL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("replay with: TRISKEL_SEED={seed} cargo test --test it -- relay::bad_links");
    let mut world = World::new(bad(seed)).unwrap();
    world.watch(1);
    for number in 0..SECONDS * PER_SECOND {
        let (sender, nonce) = (number as usize % SENDERS, number / SENDERS as u64);
        let transfer = transfer(world.network(), (sender, 9), (1, 1, nonce));
        world.submit(sender, transfer).unwrap();
        world.run_for(1_000 / PER_SECOND).unwrap();
    }
    // What was handed in is applied everywhere, and then nobody mines any more.
    let each = SECONDS * PER_SECOND / SENDERS as u64;
    let are_applied = |world: &World| {
        let applied =
            |node| (0..SENDERS).all(|sender| world.account(node, &account(sender)).nonce == each);
        (0..NODES).all(applied)
    };
    assert!(
        world.run_until(60_000, are_applied).unwrap(),
        "some were not applied"
    );
    for node in 0..NODES {
        world.mine(node, false).unwrap();
    }
    assert!(world.run_until(60_000, World::agrees).unwrap());
    // Whoever faults an honest peer violates an invariant of the world.
    for node in 0..NODES {
        let status = world.status(node).unwrap();
        assert_eq!((status.faults, status.bans), (0, 0), "node {node}");
    }
    let seen = world.seen();
    let count = |wanted| {
        let rebuilt = seen.rebuilt.iter();
        rebuilt.filter(|(.., rebuilt)| *rebuilt == wanted).count()
    };
    let [at_once, after_round, whole] = Rebuilt::ALL.map(count);
    // Small ones go whole to everybody.
    let is_large = |seen: &&Arrival| {
        let block = world.store(seen.node).block(&seen.block).unwrap().unwrap();
        seen.from.is_some() && block.bytes().len() > MAX_PUSHED_TO_ALL
    };
    let large: Vec<_> = seen.arrivals.iter().filter(is_large).collect();
    let fetched = whole + large.iter().filter(|seen| seen.synced).count();
    let large = large.len();
    println!(
        "{large} large blocks: {at_once} rebuilt at once, {after_round} after a round, {fetched} fetched whole"
    );
    assert!(large > 300);
    assert!(20 * (at_once + after_round) > 19 * large);
    assert!(20 * fetched < large);
}
