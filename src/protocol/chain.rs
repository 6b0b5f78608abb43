//! The chain: what blocks are, which rules they keep, and which of them is the tip.
//!
//! [`Chain::accept`] is the one way in. It reads through a [`View`] and writes into an overlay's batch alone.

pub mod address;
pub mod block;
pub mod codec;
pub mod difficulty;
pub mod digest;
pub mod id;
pub mod key;
pub mod ledger;
pub mod merkle;
pub mod ordering;
pub mod params;
pub mod rules;
pub mod template;
pub mod transaction;
pub mod view;
pub mod work;

use std::sync::Arc;

use block::{Block, Heading, Stream};
use id::BlockId;
use params::Network;
use rules::HeaderError;
use view::{Fault, Overlay, Record, Tip, View};

/// What an accepted block led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The block is stored; another one stays selected.
    Beside,
    /// The block is the new tip. In the order of the work: blocks undone, newest first, then blocks applied, oldest first.
    Selected {
        /// Blocks that are no longer in the order.
        undone: Vec<Arc<Block>>,
        /// Blocks that now are, the new tip last.
        applied: Vec<Arc<Block>>,
    },
}

/// Why a block is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is stored already.
    #[error("block {0} is known")]
    Known(BlockId),
    /// Parents are not stored yet. Nobody's fault.
    #[error("block {0} has unknown parents")]
    Orphan(BlockId),
    /// Its time has not come yet. Clocks differ, so this proves nothing.
    #[error("block {id} is dated {ahead_ms} ms ahead of this node's clock")]
    Early {
        /// The block.
        id: BlockId,
        /// How far ahead.
        ahead_ms: u64,
    },
    /// It breaks a rule. Provable.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It commits to accounts that its past does not lead to. Provable.
    #[error("block {0} commits to accounts that its past does not lead to")]
    StateDigest(BlockId),
    /// The node's own storage failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Rejected {
    /// Whether the block itself proves that its sender breaks the rules.
    pub fn is_provable(&self) -> bool {
        matches!(self, Self::Header(_) | Self::StateDigest(_))
    }
}

/// The selected chain's end, and the one way to move it.
#[derive(Clone, Debug)]
pub struct Chain {
    network: Arc<Network>,
    tip: Tip,
    record: Arc<Record>,
}

impl Chain {
    /// Resumes from the stored tip, or writes genesis into the batch of an empty store.
    pub fn restore(network: Arc<Network>, overlay: &mut Overlay<'_>) -> Result<Self, Fault> {
        if let Some(tip) = overlay.tip()? {
            let record = overlay
                .record(&tip.id)?
                .ok_or_else(|| Fault::missing("record of the tip", tip.id))?;
            return Ok(Self {
                network,
                tip,
                record,
            });
        }
        let genesis = network.genesis();
        let record = Arc::new(rules::genesis_record(&network));
        let tip = Tip {
            id: genesis.id(),
            number: 0,
            work: record.work,
            accumulator: network.genesis_accumulator().clone(),
            issued: network.genesis_supply(),
            transactions: 0,
        };
        let batch = &mut overlay.batch;
        batch.blocks.insert(genesis.id(), Arc::clone(genesis));
        batch.records.insert(genesis.id(), Arc::clone(&record));
        batch.selected.insert(0, Some(genesis.id()));
        for allocation in &network.params().allocations {
            let account = ledger::Account {
                balance: allocation.balance,
                nonce: 0,
            };
            batch.accounts.insert(allocation.account, account);
        }
        batch.tip = Some(tip.clone());
        Ok(Self {
            network,
            tip,
            record,
        })
    }

    /// The network.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// The tip and the state after it.
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// The tip's place.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Takes a block in, and moves the tip if the block is better.
    pub fn accept(
        &mut self,
        block: &Arc<Block>,
        wall_ms: u64,
        overlay: &mut Overlay<'_>,
    ) -> Result<Accepted, Rejected> {
        let id = block.id();
        if overlay.record(&id)?.is_some() {
            return Err(Rejected::Known(id));
        }
        let parent = self.selected_parent(block.heading(), overlay)?;
        let parent = parent.ok_or(Rejected::Orphan(id))?;
        let record = rules::place(&self.network, &parent, block.heading())?;
        let ahead_ms = record.timestamp_ms().saturating_sub(wall_ms);
        if ahead_ms > self.network.params().max_future_ms {
            return Err(Rejected::Early { id, ahead_ms });
        }
        let better = ordering::is_better((record.work, id), (self.tip.work, self.tip.id));
        overlay.batch.blocks.insert(id, Arc::clone(block));
        overlay.batch.records.insert(id, Arc::new(record));
        if better {
            self.select(&id, overlay)
        } else {
            Ok(Accepted::Beside)
        }
    }

    /// The parent that a block continues, if all its parents are stored.
    pub fn selected_parent(
        &self,
        heading: &Heading,
        view: &dyn View,
    ) -> Result<Option<Arc<Record>>, Fault> {
        let mut selected: Option<Arc<Record>> = None;
        for parent in heading.parents() {
            let Some(parent) = view.record(parent)? else {
                return Ok(None);
            };
            let better = |old: &Arc<Record>| {
                ordering::is_better((parent.work, parent.id()), (old.work, old.id()))
            };
            if selected.as_ref().is_none_or(better) {
                selected = Some(parent);
            }
        }
        Ok(selected)
    }

    /// Moves the tip to a stored block, or marks what makes that impossible as invalid and stays.
    fn select(&mut self, id: &BlockId, overlay: &mut Overlay<'_>) -> Result<Accepted, Rejected> {
        let route = ordering::route(overlay, &self.tip.id, id)?;
        let mut trial = Overlay::new(overlay);
        let mut tip = self.tip.clone();
        let mut undone = Vec::with_capacity(route.undo.len());
        for id in &route.undo {
            let block = stored_block(&trial, id)?;
            ledger::undo(&mut trial, &mut tip, &block)?;
            trial.batch.selected.insert(tip.number, None);
            tip.number -= 1;
            undone.push(block);
        }
        let mut applied = Vec::with_capacity(route.apply.len());
        for (position, id) in route.apply.iter().enumerate() {
            let block = stored_block(&trial, id)?;
            if block.header().state_digest != tip.accumulator.digest() {
                drop(trial);
                mark_invalid(&route.apply[position..], overlay)?;
                return Err(Rejected::StateDigest(*id));
            }
            ledger::apply(&self.network, &mut trial, &mut tip, &block)?;
            tip.number += 1;
            trial.batch.selected.insert(tip.number, Some(*id));
            applied.push(block);
        }
        let record = trial
            .record(id)?
            .ok_or_else(|| Fault::missing("record of block", id))?;
        tip.id = *id;
        tip.work = record.work;
        trial.batch.tip = Some(tip.clone());
        let changes = trial.batch;
        overlay.batch.merge(changes);
        self.tip = tip;
        self.record = record;
        Ok(Accepted::Selected { undone, applied })
    }

    /// The target of the next block of `stream` upon the tip.
    pub fn next_bits(&self, stream: Stream) -> Option<u32> {
        rules::next_target(&self.network, &self.record, stream).map(work::Target::to_bits)
    }
}

fn stored_block(view: &dyn View, id: &BlockId) -> Result<Arc<Block>, Fault> {
    view.block(id)?.ok_or_else(|| Fault::missing("block", id))
}

fn mark_invalid(ids: &[BlockId], overlay: &mut Overlay<'_>) -> Result<(), Fault> {
    for id in ids {
        let record = overlay
            .record(id)?
            .ok_or_else(|| Fault::missing("record of block", id))?;
        let invalid = Record {
            invalid: true,
            ..Record::clone(&record)
        };
        overlay.batch.records.insert(*id, Arc::new(invalid));
    }
    Ok(())
}
