//! A hundred nodes around the world, three streams at full speed: what is mined ends in every node's order.

use std::sync::Arc;

use triskel::protocol::chain::ordering::Colour;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::rng::Rng;
use triskel::sim::map::{REGIONS, delay_ms};
use triskel::sim::{World, WorldConfig, simulated};

const NODES: usize = 100;

/// Nodes in all regions in turn, upon a preset whose first targets suit so many hashes per second and stream; each dials four
/// earlier ones, so that on average it has eight peers.
pub(crate) fn around_the_world(
    preset: Params,
    seed: u64,
    nodes: usize,
    hashrate: u64,
) -> WorldConfig {
    let mut params = simulated(preset);
    for stream in &mut params.streams {
        stream.tune(hashrate);
    }
    let mut config = WorldConfig::new(seed, Arc::new(Network::new(params).unwrap()), nodes);
    let mut rng = Rng::new(seed);
    config.edges.clear();
    for node in 1..nodes {
        let mut earlier: Vec<usize> = (0..node).collect();
        rng.shuffle(&mut earlier);
        config
            .edges
            .extend(earlier.into_iter().take(4).map(|other| (node, other)));
    }
    config.regions = (0..nodes).map(|node| node % REGIONS.len()).collect();
    config.latency_us = (100, 5_000);
    config
}

#[test]
fn all_blocks_of_a_hundred_nodes_end_in_one_order() {
    let config = around_the_world(Params::tri(), 1, NODES, 2_000 * NODES as u64);
    let mut world = World::new(config).unwrap();
    world.run_for(60_000).unwrap();
    for node in 0..NODES {
        world.mine(node, false).unwrap();
    }
    assert!(
        world.run_until(60_000, World::agrees).unwrap(),
        "no agreement"
    );
    let status = |node| world.status(node).unwrap();
    let mined: u64 = (0..NODES)
        .map(|node| status(node).mined.values().sum::<u64>())
        .sum();
    let tip = status(0).tip;
    assert_eq!(tip.number, mined, "a block was lost");
    for node in 1..NODES {
        let other = status(node).tip;
        assert_eq!(
            (other.number, other.accumulator.clone()),
            (tip.number, tip.accumulator.clone())
        );
    }
    let [_, _, red] =
        [Colour::Chain, Colour::Blue, Colour::Red].map(|colour| world.ordered_as(0, colour));
    assert!(red * 100 <= mined, "{red} of {mined} blocks are red");
    // The schedule wants 666 of them; the spread of a minute is 26.
    assert!((530..800).contains(&mined), "{mined} blocks in a minute");
}

#[test]
fn the_map_is_the_size_of_the_world() {
    let delays = |from: usize| (0..REGIONS.len()).map(move |to| delay_ms(from, to));
    for from in 0..REGIONS.len() {
        assert_eq!(delay_ms(from, from), 1);
        assert!(delays(from).eq((0..REGIONS.len()).map(|to| delay_ms(to, from))));
    }
    // The shortest cables between these cities are some 10,900 and 1,100 km of great circle.
    let longest = (0..REGIONS.len()).flat_map(delays).max();
    assert!((100..150).contains(&longest.unwrap()), "{longest:?}");
}
