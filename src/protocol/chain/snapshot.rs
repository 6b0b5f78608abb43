//! Starting from a snapshot: all headers, and the accounts before a settled block, to whose digest that block's header commits.
//!
//! The headers carry their work, and follow from genesis by the same rules as those of whole blocks; so whoever would forge the
//! accounts has to redo the work upon the settled block. What is missing are the bodies of old blocks: the node ends where one that
//! has pruned them is.

use std::sync::Arc;

use super::block::Heading;
use super::digest::Accumulator;
use super::id::{AccountId, BlockId};
use super::ledger::Account;
use super::ordering::dag::{Dag, Index};
use super::ordering::{Colour, Ordered};
use super::params::Network;
use super::rules::{self, HeaderError};
use super::view::{Batch, Fault, Overlay, Tip, View};

/// Why a snapshot is refused. Whatever was written of it must be thrown away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A header breaks a rule.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A header came before its parents.
    #[error("block {0} comes before one of its parents, or long after it was settled")]
    Orphan(BlockId),
    /// Accounts do not ascend from page to page.
    #[error("account {0} does not come after the one before it")]
    Order(AccountId),
    /// The accounts are not those of the header.
    #[error("its accounts are not those that the header of block {0} commits to")]
    Digest(BlockId),
    /// The settled block is not among the headers.
    #[error("its headers end before block {0}, whose accounts it has")]
    Missing(BlockId),
    /// Headers stand before the settled block that it does not continue.
    #[error("it has headers before block {0} that are not in its past")]
    Beside(BlockId),
    /// Too little stands upon the settled block.
    #[error("only {above} blue blocks stand upon block {id}; {wanted} make it final")]
    Shallow {
        /// The block.
        id: BlockId,
        /// Blue blocks upon it.
        above: u64,
        /// How many there must be.
        wanted: u64,
    },
    /// The node's own storage failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Positions that are written at a time.
const ORDER_BATCH: usize = 4_096;

/// Every so many headers old ones are forgotten.
const FORGET_EVERY: u64 = 1_024;

/// Reads a snapshot into an empty store, piece by piece.
#[derive(Debug)]
pub struct Loader {
    network: Arc<Network>,
    dag: Dag,
    id: BlockId,
    /// The settled block, once its header has come, and what will be the tip: its parents.
    base: Option<(Heading, Index, Tip)>,
    /// Headers so far, genesis included.
    headers: u64,
    best: Index,
    accumulator: Accumulator,
    last: Option<AccountId>,
    issued: u64,
    transactions: u64,
}

impl Loader {
    /// Begins with genesis, for the accounts before block `id`.
    pub fn new(network: Arc<Network>, id: BlockId, overlay: &mut Overlay<'_>) -> Self {
        let mut dag = Dag::new(network.limits());
        let genesis = super::resume::write_first_block(&network, overlay);
        let best = dag.insert(rules::stored_place(&dag, &genesis));
        Self {
            network,
            dag,
            id,
            base: None,
            headers: 1,
            best,
            accumulator: Accumulator::default(),
            last: None,
            issued: 0,
            transactions: 0,
        }
    }

    /// The settled block.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// Headers so far, genesis included.
    pub fn headers(&self) -> u64 {
        self.headers
    }

    /// Takes a page of accounts.
    ///
    /// # Errors
    ///
    /// An account does not come after the one before.
    pub fn accounts(
        &mut self,
        accounts: &[(AccountId, Account)],
        batch: &mut Batch,
    ) -> Result<(), SnapshotError> {
        for (id, account) in accounts {
            if self.last.is_some_and(|last| last >= *id) {
                return Err(SnapshotError::Order(*id));
            }
            self.last = Some(*id);
            self.accumulator.add(id, account);
            // Sums that pass 64 bits belong to no state that a header commits to.
            self.issued = self.issued.saturating_add(account.balance);
            // Each transfer is one step of its sender's nonce.
            self.transactions = self.transactions.saturating_add(account.nonce);
            batch.accounts.insert(*id, *account);
        }
        Ok(())
    }

    /// Takes a header. Those in the past of the settled block are kept; those upon it show how deep it is.
    ///
    /// # Errors
    ///
    /// The header breaks a rule, or comes before its parents.
    pub fn header(&mut self, heading: &Heading, batch: &mut Batch) -> Result<(), SnapshotError> {
        let id = heading.id();
        if self.dag.index(&id).is_some() {
            return Ok(());
        }
        let parents = heading.parents().iter().map(|id| self.dag.index(id));
        let parents: Option<Vec<_>> = parents.collect();
        let parents = parents.ok_or(SnapshotError::Orphan(id))?;
        let entry = rules::place(&self.network, &self.dag, heading, parents)?;
        let record = rules::record(&self.dag, heading, &entry);
        let own = (id == self.id).then(|| entry.colouring.clone());
        let index = self.dag.insert(entry);
        if self.dag.rank(index) > self.dag.rank(self.best) {
            self.best = index;
        }
        self.headers += 1;
        if self.base.is_some() {
            return Ok(());
        }
        if let Some(colouring) = own {
            if self.headers - 1 != record.number {
                return Err(SnapshotError::Beside(id));
            }
            let parents = heading.parents().to_vec();
            let tip = Tip {
                id: record.selected_parent,
                tips: parents.clone(),
                parents,
                number: record.number - 1,
                work: self.dag.rank(colouring.selected_parent).0,
                blue_score: colouring.blue_score,
                streams: colouring.streams,
                accumulator: self.accumulator.clone(),
                issued: self.issued,
                transactions: self.transactions,
                pruned: record.number - 1,
            };
            self.base = Some((heading.clone(), index, tip));
            // The block itself comes later, and its place with it.
            return Ok(());
        }
        if self.headers.is_multiple_of(FORGET_EVERY) {
            let score = self.dag.blue_score(self.best);
            self.dag.forget_below(self.best, score);
        }
        batch.records.insert(id, Arc::new(record));
        Ok(())
    }

    /// Blue blocks upon the settled block; 0 if its header has not come yet, or what stands upon it is not the best.
    pub fn above(&self) -> u64 {
        let (Some((_, base, _)), Some(selection)) = (&self.base, self.dag.select()) else {
            return 0;
        };
        let colouring = selection.colouring;
        if self.dag.is_in_chain_of(*base, colouring.selected_parent) {
            colouring.blue_score - self.dag.blue_score(*base)
        } else {
            0
        }
    }

    /// Checks the whole, and writes the order and the tip. The header of the settled block is left out: the block itself comes
    /// next, and [`Chain::accept`](super::Chain::accept) takes it in.
    ///
    /// # Errors
    ///
    /// The snapshot contradicts itself, or the store failed.
    pub fn finish(
        self,
        view: &dyn View,
        mut write: impl FnMut(&Batch) -> Result<(), Fault>,
    ) -> Result<Arc<Tip>, SnapshotError> {
        let above = self.above();
        let (id, limits) = (self.id, self.network.limits());
        let (heading, base, tip) = self.base.ok_or(SnapshotError::Missing(id))?;
        if heading.header().state_digest != tip.accumulator.digest() {
            return Err(SnapshotError::Digest(id));
        }
        if above < limits.finality_depth {
            let wanted = limits.finality_depth;
            return Err(SnapshotError::Shallow { id, above, wanted });
        }
        let mut batch = Batch::default();
        let place = |batch: &mut Batch, number: u64, id: BlockId, colour: Colour| {
            batch.order.insert(number, Some(Ordered { id, colour }));
            batch.positions.insert(id, Some(number));
        };
        let colouring = self.dag.colour(self.dag.parents(base));
        let colouring = colouring.expect("the header was placed upon the same parents");
        for (number, (merged, blue)) in (0..=tip.number).rev().zip(colouring.merged.iter().rev()) {
            place(&mut batch, number, self.dag.id(*merged), of_merged(*blue));
        }
        let mut at = super::resume::stored_record(view, &tip.id)?;
        while at.number > 0 {
            place(&mut batch, at.number, at.id(), Colour::Chain);
            for (number, merged) in (0..at.number).rev().zip(at.merged.iter().rev()) {
                place(&mut batch, number, merged.id, of_merged(merged.blue));
            }
            if batch.order.len() >= ORDER_BATCH {
                write(&std::mem::take(&mut batch))?;
            }
            at = super::resume::stored_record(view, &at.selected_parent)?;
        }
        let tip = Arc::new(tip);
        batch.tip = Some(Arc::clone(&tip));
        write(&batch)?;
        Ok(tip)
    }
}

fn of_merged(blue: bool) -> Colour {
    if blue { Colour::Blue } else { Colour::Red }
}
