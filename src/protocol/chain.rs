//! The chain: what blocks are, which rules they keep, and which of them is the tip.
//!
//! [`Chain::place`] is the one way in, and [`Chain::follow`] moves the order to where what was placed leads. Both read through a
//! [`View`] and write into an overlay's batch alone.

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
mod recent;
mod resume;
pub mod rules;
pub mod snapshot;
pub mod template;
pub mod transaction;
pub mod view;
pub mod work;

use std::sync::Arc;

use block::{Block, Heading, Stream};
use id::BlockId;
use ordering::dag::{Dag, Index};
use ordering::route::Route;
use ordering::selection::Selection;
use ordering::{Colour, Ordered};
use params::Network;
use recent::Recent;
use resume::{load_window, stored_record, write_genesis};
use rules::HeaderError;
use transaction::SharedTransaction;
use view::{Fault, Overlay, Record, Tip, View};

use crate::protocol::bugs::{Bug, bug};

/// What accepted blocks led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The order stays as it was.
    Beside,
    /// The order has changed. First blocks are undone, newest first, then blocks are applied, oldest first.
    Ordered {
        /// Blocks that are no longer where they were.
        undone: Vec<Arc<Block>>,
        /// Blocks from there to the new end.
        applied: Vec<Arc<Block>>,
        /// How many of the undone ones were in the selected chain and no longer are.
        abandoned: usize,
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
    /// It continues a chain that parted from this node's so long ago that what it would undo is final. Nobody's fault: the network
    /// was parted for too long, and people have to decide.
    #[error("block {0} contradicts what is final here")]
    Final(BlockId),
    /// It breaks a rule. Provable.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The node's own storage failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Rejected {
    /// Whether the block itself proves that its sender breaks the rules.
    pub fn is_provable(&self) -> bool {
        matches!(self, Self::Header(_))
    }
}

/// Every so many blue blocks old ones are forgotten.
const FORGET_EVERY: u64 = 64;

/// At most so many bodies are dropped at a time: more than come, and a batch stays small.
const MAX_PRUNED: u64 = 512;

/// The young part of the DAG and the end of its order, and the one way to move it.
#[derive(Clone, Debug)]
pub struct Chain {
    network: Arc<Network>,
    tip: Arc<Tip>,
    record: Arc<Record>,
    dag: Dag,
    selection: Selection,
    recent: Recent,
    /// Whether bodies are dropped that no reorganisation reaches.
    prune: bool,
    /// The oldest block of the selected chain whose body is here, if older ones are not: nothing before it can be undone.
    base: Option<BlockId>,
    /// Blocks that were found to commit to a wrong state.
    pub disqualified: Vec<BlockId>,
}

impl Chain {
    /// Resumes from the stored tip, or writes genesis into the batch of an empty store.
    pub fn restore(
        network: Arc<Network>,
        prune: bool,
        overlay: &mut Overlay<'_>,
    ) -> Result<Self, Fault> {
        let tip = match overlay.tip()? {
            Some(tip) => tip,
            None => write_genesis(&network, overlay),
        };
        let record = stored_record(overlay, &tip.id)?;
        let mut dag = Dag::new(network.limits());
        load_window(&mut dag, &tip, &record, overlay)?;
        let find = |id: &BlockId| {
            dag.index(id)
                .ok_or_else(|| Fault::missing("parent of the next block", id))
        };
        let parents = tip
            .parents
            .iter()
            .map(find)
            .collect::<Result<Vec<_>, _>>()?;
        let colouring = dag
            .colour(&parents)
            .map_err(|error| Fault(format!("the stored tip is damaged: {error}")))?;
        dag.select_chain(colouring.selected_parent);
        let base = match tip.pruned {
            0 => None,
            pruned => overlay.ordered(pruned + 1)?.map(|ordered| ordered.id),
        };
        Ok(Self {
            base,
            network,
            tip,
            record,
            dag,
            selection: Selection { parents, colouring },
            recent: Recent::default(),
            prune,
            disqualified: Vec::new(),
        })
    }

    /// The network.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// The end of the order and the state there.
    pub fn tip(&self) -> &Arc<Tip> {
        &self.tip
    }

    /// The youngest block of the selected chain.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// The young part of the DAG.
    pub fn dag(&self) -> &Dag {
        &self.dag
    }

    /// Takes a block in, and moves the end of the order to where it now is.
    pub fn accept(
        &mut self,
        block: &Arc<Block>,
        wall_ms: u64,
        overlay: &mut Overlay<'_>,
    ) -> Result<Accepted, Rejected> {
        self.place(block, wall_ms, overlay)?;
        Ok(self.follow(overlay)?)
    }

    /// Takes a block in among the headers: all that can be said of it without the accounts. The order stays as it was until
    /// [`follow`](Self::follow).
    pub fn place(
        &mut self,
        block: &Arc<Block>,
        wall_ms: u64,
        overlay: &mut Overlay<'_>,
    ) -> Result<Arc<Record>, Rejected> {
        let id = block.id();
        let is_known = self.dag.index(&id).is_some() || overlay.record(&id)?.is_some();
        if is_known && !bug(Bug::KnownBlockTakenAgain) {
            return Err(Rejected::Known(id));
        }
        let parents = self.parents(block.heading(), overlay)?;
        let placed = rules::place(&self.network, &self.dag, block.heading(), parents);
        let mut entry = match placed {
            Err(HeaderError::Deep(id)) => return Err(Rejected::Final(id)),
            placed => placed?,
        };
        let ahead_ms = entry.timestamp_ms.saturating_sub(wall_ms);
        if ahead_ms > self.network.params().max_future_ms {
            return Err(Rejected::Early { id, ahead_ms });
        }
        let parent = entry.colouring.selected_parent;
        let leaves = |block: Option<Index>| {
            block.is_some_and(|block| !self.dag.is_in_chain_of(block, parent))
        };
        if leaves(self.settled_index()) {
            return Err(Rejected::Final(id));
        }
        if leaves(self.base.and_then(|base| self.dag.index(&base))) {
            // It may be merged, but is not continued.
            entry.invalid = true;
            if entry.colouring.work + entry.own_work > self.tip.work {
                return Err(Rejected::Final(id));
            }
        }
        let record = Arc::new(rules::record(&self.dag, block.heading(), &entry));
        self.dag.insert(entry);
        overlay.batch.blocks.insert(id, Arc::clone(block));
        overlay.batch.records.insert(id, Arc::clone(&record));
        self.recent.add(block);
        // Whoever is started again finds the block by this, whether or not the order had followed.
        let tips = self.tips();
        Arc::make_mut(&mut self.tip).tips = tips;
        overlay.batch.tip = Some(Arc::clone(&self.tip));
        Ok(record)
    }

    /// The parents of a block, if all of them are at hand.
    fn parents(
        &mut self,
        heading: &Heading,
        overlay: &Overlay<'_>,
    ) -> Result<Vec<Index>, Rejected> {
        let mut parents = Vec::with_capacity(heading.parents().len());
        for id in heading.parents() {
            let index = match self.dag.index(id) {
                Some(index) => index,
                None if overlay.record(id)?.is_none() => {
                    return Err(Rejected::Orphan(heading.id()));
                }
                // Stored, and yet not part of what may change.
                None => return Err(Rejected::Final(heading.id())),
            };
            parents.push(index);
        }
        Ok(parents)
    }

    /// Whether a heading whose parents are stored continues what parted from this node's chain before what is final.
    pub fn contradicts_final(&self, heading: &Heading) -> bool {
        let find = |id: &BlockId| self.dag.index(id);
        let Some(parents) = heading
            .parents()
            .iter()
            .map(find)
            .collect::<Option<Vec<_>>>()
        else {
            return true;
        };
        let settled = self.settled_index();
        match self.dag.colour(&parents) {
            Ok(colouring) => settled.is_some_and(|settled| {
                !self.dag.is_in_chain_of(settled, colouring.selected_parent)
            }),
            // The block itself will show what is wrong.
            Err(_) => false,
        }
    }

    /// The block that the selected chain does not leave any more; none in a young network.
    pub fn settled(&self) -> Option<BlockId> {
        self.settled_index().map(|index| self.dag.id(index))
    }

    fn settled_index(&self) -> Option<Index> {
        let colouring = &self.selection.colouring;
        let score = colouring
            .blue_score
            .checked_sub(self.network.limits().finality_depth)?;
        self.dag.chain_block_at(colouring.selected_parent, score)
    }

    /// Moves the end of the order to what is now the best selection, over all blocks that were placed. A block that turns out to
    /// commit to a wrong state is never part of the selected chain; the next best selection is tried.
    pub fn follow(&mut self, overlay: &mut Overlay<'_>) -> Result<Accepted, Fault> {
        loop {
            let selection = self
                .dag
                .select()
                .expect("genesis is valid, and never forgotten before others come");
            if selection.parents == self.selection.parents {
                return Ok(Accepted::Beside);
            }
            let route = self
                .dag
                .route(&self.selection.colouring, &selection.colouring);
            match self.travel(&route, &selection, overlay)? {
                Ok(accepted) => {
                    let old = std::mem::replace(&mut self.selection, selection);
                    let sink = self.selection.colouring.selected_parent;
                    self.dag.select_chain(sink);
                    self.forget(old.colouring.blue_score, overlay)?;
                    return Ok(accepted);
                }
                Err(id) => self.disqualify(&id, overlay)?,
            }
        }
    }

    /// Undoes and applies what is between two orders; or names the block of the new selected chain whose state digest is wrong, and
    /// leaves the accounts as they were.
    fn travel(
        &mut self,
        route: &Route,
        selection: &Selection,
        overlay: &mut Overlay<'_>,
    ) -> Result<Result<Accepted, BlockId>, Fault> {
        let mut tip = Tip::clone(&self.tip);
        let mut undone = Vec::with_capacity(route.undo.len());
        for ordered in &route.undo {
            undone.push(self.undo(ordered, &mut tip, overlay)?);
        }
        let mut applied = Vec::with_capacity(route.apply.len());
        for ordered in &route.apply {
            let block = self.recent.block(&ordered.id, overlay)?;
            let is_checked = ordered.colour == Colour::Chain;
            if is_checked && block.header().state_digest != tip.accumulator.digest() {
                for ordered in route.apply[..applied.len()].iter().rev() {
                    self.undo(ordered, &mut tip, overlay)?;
                }
                for (ordered, block) in route.undo.iter().zip(&undone).rev() {
                    self.apply(ordered, block, &mut tip, overlay)?;
                }
                return Ok(Err(ordered.id));
            }
            self.apply(ordered, &block, &mut tip, overlay)?;
            applied.push(block);
        }
        let was_chain = route.undo.iter().filter(|old| old.colour == Colour::Chain);
        let abandoned = was_chain.filter(|old| !route.apply.contains(old)).count();
        let sink = selection.colouring.selected_parent;
        tip.id = self.dag.id(sink);
        tip.work = self.dag.rank(sink).0;
        tip.parents = selection
            .parents
            .iter()
            .map(|parent| self.dag.id(*parent))
            .collect();
        tip.streams = selection.colouring.streams;
        tip.blue_score = selection.colouring.blue_score;
        self.record = stored_record(overlay, &tip.id)?;
        self.tip = Arc::new(tip);
        overlay.batch.tip = Some(Arc::clone(&self.tip));
        Ok(Ok(Accepted::Ordered {
            undone,
            applied,
            abandoned,
        }))
    }

    /// Takes the last block off the order.
    fn undo(
        &self,
        ordered: &Ordered,
        tip: &mut Tip,
        overlay: &mut Overlay<'_>,
    ) -> Result<Arc<Block>, Fault> {
        let block = self.recent.block(&ordered.id, overlay)?;
        ledger::undo(overlay, tip, &block)?;
        overlay.batch.order.insert(tip.number, None);
        overlay.batch.positions.insert(ordered.id, None);
        tip.number -= 1;
        Ok(block)
    }

    /// Adds a block to the end of the order.
    fn apply(
        &self,
        ordered: &Ordered,
        block: &Block,
        tip: &mut Tip,
        overlay: &mut Overlay<'_>,
    ) -> Result<(), Fault> {
        ledger::apply(&self.network, overlay, tip, block, ordered.colour)?;
        tip.number += 1;
        overlay.batch.order.insert(tip.number, Some(*ordered));
        overlay.batch.positions.insert(ordered.id, Some(tip.number));
        Ok(())
    }

    fn tips(&self) -> Vec<BlockId> {
        self.dag.tips().map(|tip| self.dag.id(tip)).collect()
    }

    fn disqualify(&mut self, id: &BlockId, overlay: &mut Overlay<'_>) -> Result<(), Fault> {
        let index = self
            .dag
            .index(id)
            .ok_or_else(|| Fault::missing("young block", id))?;
        self.dag.disqualify(index);
        let record = stored_record(overlay, id)?;
        let invalid = Record {
            invalid: true,
            ..Record::clone(&record)
        };
        overlay.batch.records.insert(*id, Arc::new(invalid));
        self.disqualified.push(*id);
        Ok(())
    }

    /// Forgets what no reorganisation reaches any more, now and then.
    fn forget(&mut self, old_score: u64, overlay: &mut Overlay<'_>) -> Result<(), Fault> {
        let colouring = &self.selection.colouring;
        let (sink, score) = (colouring.selected_parent, colouring.blue_score);
        if score / FORGET_EVERY == old_score / FORGET_EVERY {
            return Ok(());
        }
        let Some(root) = self.dag.forget_below(sink, score) else {
            return Ok(());
        };
        if self.prune {
            let reached = self.dag.past(root).saturating_sub(1);
            let from = self.tip.pruned;
            let pruned = reached.clamp(from, from + MAX_PRUNED);
            for number in from + 1..=pruned {
                let ordered = overlay.ordered(number)?;
                let Ordered { id, .. } =
                    ordered.ok_or_else(|| Fault::missing("block at position", number))?;
                overlay.batch.pruned.insert(id);
            }
            Arc::make_mut(&mut self.tip).pruned = pruned;
            overlay.batch.tip = Some(Arc::clone(&self.tip));
        }
        Ok(())
    }

    /// One of the last blocks that were taken in.
    pub fn recent_block(&self, id: &BlockId) -> Option<&Arc<Block>> {
        self.recent.get(id)
    }

    /// The transactions of the last blocks that were taken in, but for one of them.
    pub fn recent_transactions_beside(
        &self,
        id: &BlockId,
    ) -> impl Iterator<Item = &SharedTransaction> {
        let others = self.recent.iter().filter(|block| block.id() != *id);
        others.flat_map(|block| &block.body().transactions)
    }

    /// What the next block names as parents.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The earliest date that the next block can have, in milliseconds since 1970-01-01 UTC.
    pub fn next_timestamp_ms(&self) -> u64 {
        let parents = self.selection.parents.iter();
        let dates = parents.map(|parent| self.dag.timestamp_ms(*parent));
        if bug(Bug::DateOfOldestParent) {
            return dates.min().map_or(0, |oldest| oldest + 1);
        }
        dates.max().map_or(0, |latest| latest + 1)
    }

    /// The target of the next block of `stream`.
    pub fn next_bits(&self, stream: Stream) -> Option<u32> {
        rules::next_target(&self.network, &self.tip.streams, stream).map(work::Target::to_bits)
    }
}
