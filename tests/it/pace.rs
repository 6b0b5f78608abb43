//! How full miners make blocks follows from how long blocks take.

use std::sync::Arc;

use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::key::KeyPair;
use triskel::protocol::chain::params::{Allocation, Network, Params};
use triskel::protocol::chain::transaction::{Transfer, UNITS_PER_COIN};
use triskel::sim::{World, WorldConfig, simulated};

const NODES: usize = 3;
const SENDERS: u64 = 40;
const TRANSFERS: u64 = 25;

fn sender(number: u64) -> KeyPair {
    KeyPair::from_seed(format!("sender {number}").as_bytes())
}

/// The most transactions that a block of stream C carries when many wait, after a minute of blocks that take `latency_ms`.
fn fullest_block(latency_ms: u64) -> usize {
    let mut params = simulated(Params::tri());
    for stream in &mut params.streams {
        stream.tune(2_000 * NODES as u64);
    }
    let allocation = |number| Allocation {
        account: sender(number).public(),
        balance: 1_000 * UNITS_PER_COIN,
    };
    params.allocations = (0..SENDERS).map(allocation).collect();
    params.allocations.sort_by_key(|one| one.account);
    let network = Arc::new(Network::new(params).unwrap());
    let mut config = WorldConfig::new(1, Arc::clone(&network), NODES);
    config.latency_us = (1_000 * latency_ms, 1_100 * latency_ms);
    let mut world = World::new(config).unwrap();
    world.run_for(60_000).unwrap();
    let before = world.tip(0).unwrap().number;
    for nonce in 0..TRANSFERS {
        for number in 0..SENDERS {
            let keys = sender(number);
            let transfer = Transfer {
                sender: keys.public(),
                recipient: sender((number + 1) % SENDERS).public(),
                amount: 1,
                fee: 1,
                nonce,
            };
            let signed = Arc::new(transfer.sign(&network.id(), &keys));
            world.submit(0, signed).unwrap();
        }
    }
    world.run_for(5_000).unwrap();
    let store = world.store(0);
    let numbers = before + 1..=world.tip(0).unwrap().number;
    let blocks = numbers.map(|number| {
        let id = store.ordered(number).unwrap().unwrap().id;
        store.block(&id).unwrap().unwrap()
    });
    let quick = blocks.filter(|block| block.header().stream == Stream::C);
    let counts = quick.map(|block| block.body().transactions.len());
    counts.max().unwrap()
}

#[test]
fn blocks_that_take_long_are_filled_less() {
    let (near, far) = (fullest_block(20), fullest_block(1_200));
    // A block of stream C may carry 1,000; within a minute, the share falls to some hundredths of that.
    assert!(near > 300, "{near} in blocks that arrive at once");
    assert!(far < 150, "{far} in blocks that take longer than k allows");
}
