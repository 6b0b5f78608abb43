//! Miners who share one view: a real chain with its accounts.

use std::sync::Arc;

use triskel::protocol::chain::block::{Block, Stream};
use triskel::protocol::chain::id::AccountId;
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::template::{Search, Template};
use triskel::protocol::chain::view::Overlay;
use triskel::protocol::chain::work::{Target, Work};
use triskel::protocol::chain::{Accepted, Chain};

use super::super::memory::Memory;
use super::EPOCH_MS;

const DELAY_MS: u64 = 10;

/// What some miners know, and the accounts as they see them.
pub(super) struct Party {
    pub(super) chain: Chain,
    pub(super) memory: Memory,
    mined: u64,
}

impl Party {
    pub(super) fn new(network: &Arc<Network>) -> Self {
        let mut memory = Memory::default();
        let mut overlay = Overlay::new(&memory);
        let chain = Chain::restore(Arc::clone(network), false, &mut overlay).unwrap();
        let batch = overlay.batch;
        memory.commit(batch);
        Self {
            chain,
            memory,
            mined: 0,
        }
    }

    pub(super) fn target(&self, stream: Stream) -> Target {
        Target::from_bits(self.chain.next_bits(stream).unwrap()).unwrap()
    }

    /// The work by which its selected chain is preferred.
    pub(super) fn work(&self) -> Work {
        self.chain.tip().work
    }

    /// The next block, dated so or as early as allowed after that. It is not taken in yet.
    pub(super) fn mine(&mut self, stream: Stream, miner: AccountId, date_ms: u64) -> Arc<Block> {
        let tip = self.chain.tip();
        let template = Template {
            stream,
            parents: tip.parents.clone(),
            accumulator: tip.accumulator.clone(),
            bits: self.chain.next_bits(stream).unwrap(),
            min_timestamp_ms: self.chain.next_timestamp_ms(),
            miner,
            transactions: Vec::new(),
        };
        self.mined += 1;
        let found = Search::new(template, self.mined, self.chain.network()).attempt(date_ms, 1);
        Arc::new(found.expect("every header solves"))
    }

    /// Takes in a block that was found at a time. On its way it was for [`DELAY_MS`]: upon a parent dated as late as allowed, the
    /// earliest date is a millisecond too late for whoever hears of both at once.
    pub(super) fn accept(&mut self, block: &Arc<Block>, at_ms: f64) -> Accepted {
        let mut overlay = Overlay::new(&self.memory);
        let accepted = self
            .chain
            .accept(block, date(at_ms) + DELAY_MS, &mut overlay)
            .unwrap();
        let batch = overlay.batch;
        self.memory.commit(batch);
        accepted
    }

    pub(super) fn balance(&self, account: &AccountId) -> f64 {
        self.memory
            .accounts
            .get(account)
            .map_or(0.0, |account| account.balance as f64)
    }
}

/// What the clock shows.
pub(super) fn date(at_ms: f64) -> u64 {
    EPOCH_MS + at_ms as u64
}
