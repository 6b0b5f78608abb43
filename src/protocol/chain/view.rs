//! What the chain remembers, how it is read and how it is changed.
//!
//! Reading goes through [`View`], writing through a [`Batch`] that a driver makes durable as a whole. An [`Overlay`] is a view of
//! what would be if its batch were written, so that a decision over several blocks reads its own changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use bincode::{Decode, Encode};

use super::block::{Block, Heading, Stream};
use super::digest::Accumulator;
use super::id::{AccountId, BlockId, NodeKey, TransactionId};
use super::ledger::{Account, Undo};
use super::ordering::Ordered;
use super::transaction::SharedTransaction;
use super::work::Work;

/// The node's own storage failed or contradicts itself. Never a peer's fault; the node cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

impl Fault {
    /// Something that must be stored is not.
    pub fn missing(what: &str, name: impl std::fmt::Display) -> Self {
        Self(format!("the store has no {what} {name}, though it should"))
    }
}

/// How far a stream has come in a block's past, the block included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Progress {
    /// Blocks of the stream.
    pub blocks: u64,
    /// Milliseconds that ASERT has counted for the stream.
    pub elapsed_ms: u64,
}

/// A block's place: everything that children need to know of it without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Header, id and parents.
    pub heading: Heading,
    /// Which of the parents the block continues. Genesis names itself.
    pub selected_parent: BlockId,
    /// Blocks in the past. In the selected chain this is the position in the order; genesis is 0.
    pub number: u64,
    /// Blue blocks in the past.
    pub blue_score: u64,
    /// What the block itself counts.
    pub own_work: Work,
    /// The work of the block and of all blue blocks in its past.
    pub work: Work,
    /// Per stream, in order.
    pub streams: [Progress; 3],
    /// The merge set, in order.
    pub merged: Vec<Merged>,
    /// How many blue blocks are in the anticone of a blue one, where this block has changed that.
    pub anticones: Vec<(BlockId, u16)>,
    /// Found wrong when it was executed: neither it nor a block that continues it is ever selected.
    pub invalid: bool,
}

/// A block in a merge set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Merged {
    /// The block.
    pub id: BlockId,
    /// Whether it is blue.
    pub blue: bool,
}

impl Record {
    /// The block's id.
    pub fn id(&self) -> BlockId {
        self.heading.id()
    }

    /// The block's stream.
    pub fn stream(&self) -> Stream {
        self.heading.header().stream
    }

    /// When the block says it was found, in milliseconds since 1970-01-01 UTC.
    pub fn timestamp_ms(&self) -> u64 {
        self.heading.header().timestamp_ms
    }
}

/// The end of the order, and the state there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The youngest block of the selected chain.
    pub id: BlockId,
    /// What the next block names as parents: that one and whatever is merged with it, ascending.
    pub parents: Vec<BlockId>,
    /// All blocks without children.
    pub tips: Vec<BlockId>,
    /// The last position in the order, which is how many blocks are ordered beside genesis.
    pub number: u64,
    /// The work of the youngest block of the selected chain and of all blue blocks in its past.
    pub work: Work,
    /// How many of the blocks in the order are blue, genesis included.
    pub blue_score: u64,
    /// How far the streams have come.
    pub streams: [Progress; 3],
    /// The hash of all accounts.
    pub accumulator: Accumulator,
    /// Units issued by genesis and rewards.
    pub issued: u64,
    /// Transactions applied.
    pub transactions: u64,
    /// The bodies of blocks up to this position are dropped; 0 if all are kept.
    pub pruned: u64,
}

impl Tip {
    /// How many of the blocks in the order are red.
    pub fn red(&self) -> u64 {
        (self.number + 1).saturating_sub(self.blue_score)
    }
}

/// Where a transaction was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Location {
    /// The block.
    pub block: BlockId,
    /// Its index in the block's body.
    pub index: u32,
}

/// What is stored of an address at which a node may be.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KnownAddress {
    /// The network group of whoever told of it.
    pub source: Vec<u8>,
    /// The node last met there.
    pub key: Option<NodeKey>,
    /// When that was, in milliseconds since 1970-01-01 UTC; 0 if nobody was ever met there.
    pub met_ms: u64,
    /// Whether it is dialled first after a restart.
    pub anchor: bool,
}

/// Read-only access to what is stored.
pub trait View {
    /// A block's place, for every block that was ever accepted, genesis included.
    fn record(&self, id: &BlockId) -> Result<Option<Arc<Record>>, Fault>;
    /// A whole block; `None` if it was never accepted, or its body is dropped.
    fn block(&self, id: &BlockId) -> Result<Option<Arc<Block>>, Fault>;
    /// The block at a position of the order, and its colour.
    fn ordered(&self, number: u64) -> Result<Option<Ordered>, Fault>;
    /// The position of a block in the order.
    fn position(&self, id: &BlockId) -> Result<Option<u64>, Fault>;
    /// An account after the tip; empty if it never was touched.
    fn account(&self, id: &AccountId) -> Result<Account, Fault>;
    /// Accounts after the tip that are not empty, ascending, from the first that is greater than `after`; at most `count`.
    fn accounts(
        &self,
        after: Option<&AccountId>,
        count: usize,
    ) -> Result<Vec<(AccountId, Account)>, Fault>;
    /// What undoing a selected block needs.
    fn undo(&self, id: &BlockId) -> Result<Option<Arc<Undo>>, Fault>;
    /// Where a transaction was applied in the selected order.
    fn transaction(&self, id: &TransactionId) -> Result<Option<Location>, Fault>;
    /// Transactions that users of this node submitted and that are not applied yet.
    fn pending(&self) -> Result<Vec<SharedTransaction>, Fault>;
    /// Addresses at which nodes may be.
    fn addresses(&self) -> Result<Vec<(SocketAddr, KnownAddress)>, Fault>;
    /// The tip; `None` in an empty store.
    fn tip(&self) -> Result<Option<Arc<Tip>>, Fault>;
}

/// Changes that become durable together or not at all. `None` removes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Whole blocks.
    pub blocks: BTreeMap<BlockId, Arc<Block>>,
    /// Places of blocks.
    pub records: BTreeMap<BlockId, Arc<Record>>,
    /// The order.
    pub order: BTreeMap<u64, Option<Ordered>>,
    /// The positions of blocks in it.
    pub positions: BTreeMap<BlockId, Option<u64>>,
    /// Accounts after the tip; an empty account is removed.
    pub accounts: BTreeMap<AccountId, Account>,
    /// Undo data of selected blocks.
    pub undo: BTreeMap<BlockId, Option<Arc<Undo>>>,
    /// Where transactions were applied.
    pub transactions: BTreeMap<TransactionId, Option<Location>>,
    /// Blocks whose bodies and undo data are dropped.
    pub pruned: BTreeSet<BlockId>,
    /// Own submissions not applied yet.
    pub pending: BTreeMap<TransactionId, Option<SharedTransaction>>,
    /// Addresses at which nodes may be.
    pub addresses: BTreeMap<SocketAddr, Option<KnownAddress>>,
    /// The new tip.
    pub tip: Option<Arc<Tip>>,
}

impl Batch {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
            && self.records.is_empty()
            && self.order.is_empty()
            && self.positions.is_empty()
            && self.accounts.is_empty()
            && self.undo.is_empty()
            && self.transactions.is_empty()
            && self.pruned.is_empty()
            && self.pending.is_empty()
            && self.addresses.is_empty()
            && self.tip.is_none()
    }

    /// Adds later changes, which win.
    pub fn merge(&mut self, later: Self) {
        add(&mut self.blocks, later.blocks);
        add(&mut self.records, later.records);
        add(&mut self.order, later.order);
        add(&mut self.positions, later.positions);
        add(&mut self.accounts, later.accounts);
        add(&mut self.undo, later.undo);
        add(&mut self.transactions, later.transactions);
        self.pruned.extend(later.pruned);
        add(&mut self.pending, later.pending);
        add(&mut self.addresses, later.addresses);
        self.tip = later.tip.or_else(|| self.tip.take());
    }
}

fn add<K: Ord, V>(table: &mut BTreeMap<K, V>, mut later: BTreeMap<K, V>) {
    // `append` builds the whole table anew, which is quicker unless little is added.
    if later.len() < table.len() / 8 {
        table.extend(later);
    } else {
        table.append(&mut later);
    }
}

/// A view as it would be after a batch.
pub struct Overlay<'a> {
    base: &'a dyn View,
    /// The changes so far.
    pub batch: Batch,
}

impl<'a> Overlay<'a> {
    /// No changes yet.
    pub fn new(base: &'a dyn View) -> Self {
        Self {
            base,
            batch: Batch::default(),
        }
    }
}

impl View for Overlay<'_> {
    fn record(&self, id: &BlockId) -> Result<Option<Arc<Record>>, Fault> {
        match self.batch.records.get(id) {
            Some(record) => Ok(Some(Arc::clone(record))),
            None => self.base.record(id),
        }
    }

    fn block(&self, id: &BlockId) -> Result<Option<Arc<Block>>, Fault> {
        match self.batch.blocks.get(id) {
            Some(block) => Ok(Some(Arc::clone(block))),
            None => self.base.block(id),
        }
    }

    fn ordered(&self, number: u64) -> Result<Option<Ordered>, Fault> {
        match self.batch.order.get(&number) {
            Some(ordered) => Ok(*ordered),
            None => self.base.ordered(number),
        }
    }

    fn position(&self, id: &BlockId) -> Result<Option<u64>, Fault> {
        match self.batch.positions.get(id) {
            Some(number) => Ok(*number),
            None => self.base.position(id),
        }
    }

    fn account(&self, id: &AccountId) -> Result<Account, Fault> {
        match self.batch.accounts.get(id) {
            Some(account) => Ok(*account),
            None => self.base.account(id),
        }
    }

    fn accounts(
        &self,
        after: Option<&AccountId>,
        count: usize,
    ) -> Result<Vec<(AccountId, Account)>, Fault> {
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        let changed = self.batch.accounts.range::<AccountId, _>(range);
        // Each change can empty one account of the base.
        let base = self.base.accounts(after, count + changed.clone().count())?;
        let mut merged: BTreeMap<_, _> = base.into_iter().collect();
        merged.extend(changed.map(|(id, account)| (*id, *account)));
        merged.retain(|_, account| !account.is_empty());
        Ok(merged.into_iter().take(count).collect())
    }

    fn undo(&self, id: &BlockId) -> Result<Option<Arc<Undo>>, Fault> {
        match self.batch.undo.get(id) {
            Some(undo) => Ok(undo.clone()),
            None => self.base.undo(id),
        }
    }

    fn transaction(&self, id: &TransactionId) -> Result<Option<Location>, Fault> {
        match self.batch.transactions.get(id) {
            Some(location) => Ok(*location),
            None => self.base.transaction(id),
        }
    }

    fn pending(&self) -> Result<Vec<SharedTransaction>, Fault> {
        let mut pending = self.base.pending()?;
        pending.retain(|transaction| !self.batch.pending.contains_key(&transaction.id()));
        pending.extend(self.batch.pending.values().flatten().cloned());
        Ok(pending)
    }

    fn addresses(&self) -> Result<Vec<(SocketAddr, KnownAddress)>, Fault> {
        let mut addresses: BTreeMap<_, _> = self.base.addresses()?.into_iter().collect();
        for (address, known) in &self.batch.addresses {
            match known {
                Some(known) => addresses.insert(*address, known.clone()),
                None => addresses.remove(address),
            };
        }
        Ok(addresses.into_iter().collect())
    }

    fn tip(&self) -> Result<Option<Arc<Tip>>, Fault> {
        match &self.batch.tip {
            Some(tip) => Ok(Some(tip.clone())),
            None => self.base.tip(),
        }
    }
}
