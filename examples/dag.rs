//! The picture of ARCHITECTURE.md: `cargo run --example dag > docs/dag.svg`.
//!
//! Thirteen simulated nodes, one in each region of the map, mine three streams. k is smaller than so slow a network should have, so
//! that the picture shows red blocks.

use std::sync::Arc;

use anyhow::Context as _;
use triskel::protocol::chain::params::{Network, Params};
use triskel::rpc::dag;
use triskel::rpc::drawing;
use triskel::sim::map::REGIONS;
use triskel::sim::{World, WorldConfig, simulated};

/// What makes a picture worth looking at.
const SEED: u64 = 9;
const K: u16 = 3;
const AFTER_MS: u64 = 20_000;
const BLOCKS: u32 = 30;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut argument = |value: u64| arguments.next().unwrap_or(Ok(value));
    let (seed, k) = (argument(SEED)?, argument(K.into())?);
    let (after_ms, blocks) = (argument(AFTER_MS)?, argument(BLOCKS.into())?);
    let nodes = REGIONS.len();
    let mut params = simulated(Params::tri());
    params.k = k as u16;
    for stream in &mut params.streams {
        stream.tune(2_000 * nodes as u64);
    }
    let network = Arc::new(Network::new(params)?);
    let mut config = WorldConfig::new(seed, Arc::clone(&network), nodes);
    config.regions = (0..nodes).collect();
    config.latency_us = (100, 5_000);
    let mut world = World::new(config).map_err(|violation| anyhow::anyhow!("{violation}"))?;
    world
        .run_for(after_ms)
        .map_err(|violation| anyhow::anyhow!("{violation}"))?;
    let dag = dag::last(world.store(0), &network, blocks as u32).context("reading the DAG")?;
    print!("{}", drawing::svg(&dag));
    Ok(())
}
