//! A disk that forgets what was not durable when its node crashes.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::{AccountId, BlockId, TransactionId};
use crate::protocol::chain::ledger::{Account, Undo};
use crate::protocol::chain::ordering::{Colour, Ordered};
use crate::protocol::chain::transaction::SharedTransaction;
use crate::protocol::chain::view::{Batch, Fault, KnownAddress, Location, Record, Tip, View};
use crate::protocol::table::Table;

/// What a batch changed: values as they were before it. `None` was not there.
#[derive(Clone, Debug, Default)]
struct Inverse {
    blocks: Vec<(BlockId, Option<Arc<Block>>)>,
    records: Vec<(BlockId, Option<Arc<Record>>)>,
    order: Vec<(u64, Option<Ordered>)>,
    positions: Vec<(BlockId, Option<u64>)>,
    accounts: Vec<(AccountId, Option<Account>)>,
    undo: Vec<(BlockId, Option<Arc<Undo>>)>,
    transactions: Vec<(TransactionId, Option<Location>)>,
    pending: Vec<(TransactionId, Option<SharedTransaction>)>,
    addresses: Vec<(SocketAddr, Option<KnownAddress>)>,
    pruned: Vec<(BlockId, Pruned)>,
    tip: Option<Option<Arc<Tip>>>,
}

/// What pruning takes away of a block.
type Pruned = (Option<Arc<Block>>, Option<Arc<Undo>>);

/// Tables in memory, and how to take back what is not durable yet.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    blocks: Blocks,
    order: Vec<Option<Ordered>>,
    accounts: BTreeMap<AccountId, Account>,
    transactions: Table<TransactionId, Location>,
    pending: BTreeMap<TransactionId, SharedTransaction>,
    addresses: BTreeMap<SocketAddr, KnownAddress>,
    tip: Option<Arc<Tip>>,
    written: u64,
    volatile: VecDeque<(u64, Inverse)>,
}

/// Numbers of blocks, the same for all disks of a world: who looks for a block looks where somebody has just looked, and finds it
/// beside those that came with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(Arc<Mutex<Table<BlockId, usize>>>);

impl Numbers {
    fn find(&self, id: &BlockId) -> Option<usize> {
        self.lock().get(id).copied()
    }

    fn find_or_give(&self, id: BlockId) -> usize {
        let mut numbers = self.lock();
        let next = numbers.len();
        *numbers.or_insert(id, next)
    }

    fn lock(&self) -> MutexGuard<'_, Table<BlockId, usize>> {
        self.0.lock().expect("nobody panics while looking")
    }
}

/// What is stored of blocks.
#[derive(Clone, Debug, Default)]
struct Blocks {
    numbers: Numbers,
    rows: Vec<Row>,
}

impl Blocks {
    fn get(&self, id: &BlockId) -> Option<&Row> {
        self.rows.get(self.numbers.find(id)?)
    }

    fn row(&mut self, id: BlockId) -> &mut Row {
        let number = self.numbers.find_or_give(id);
        if number >= self.rows.len() {
            self.rows.resize_with(number + 1, Row::default);
        }
        &mut self.rows[number]
    }
}

/// What is stored of a block, in one place: it is written, and read, together.
#[derive(Clone, Debug, Default)]
struct Row {
    block: Option<Arc<Block>>,
    record: Option<Arc<Record>>,
    position: Option<u64>,
    undo: Option<Arc<Undo>>,
}

/// One column of the table of blocks.
struct Column<'a, V>(&'a mut Blocks, fn(&mut Row) -> &mut Option<V>);

impl<V> Rows<BlockId, V> for Column<'_, V> {
    fn replace(&mut self, id: BlockId, value: Option<V>) -> Option<V> {
        std::mem::replace(self.1(self.0.row(id)), value)
    }
}

/// Rows by key.
trait Rows<K, V> {
    /// Sets or removes a row, and tells what was there.
    fn replace(&mut self, key: K, value: Option<V>) -> Option<V>;
}

impl<K: Ord, V> Rows<K, V> for BTreeMap<K, V> {
    fn replace(&mut self, key: K, value: Option<V>) -> Option<V> {
        match value {
            Some(value) => self.insert(key, value),
            None => self.remove(&key),
        }
    }
}

impl<K: Eq + Hash, V> Rows<K, V> for Table<K, V> {
    fn replace(&mut self, key: K, value: Option<V>) -> Option<V> {
        match value {
            Some(value) => self.insert(key, value),
            None => self.remove(&key),
        }
    }
}

impl Rows<u64, Ordered> for Vec<Option<Ordered>> {
    fn replace(&mut self, number: u64, value: Option<Ordered>) -> Option<Ordered> {
        let index = number as usize;
        if index >= self.len() {
            self.resize(index + 1, None);
        }
        std::mem::replace(&mut self[index], value)
    }
}

/// Sets or removes rows, and tells what was there.
fn set<K: Clone, V>(
    rows: &mut impl Rows<K, V>,
    changes: impl IntoIterator<IntoIter: ExactSizeIterator<Item = (K, Option<V>)>>,
) -> Vec<(K, Option<V>)> {
    let changes = changes.into_iter();
    // Most batches change few tables.
    if changes.len() == 0 {
        return Vec::new();
    }
    let change = |(key, value): (K, Option<V>)| (key.clone(), rows.replace(key, value));
    changes.map(change).collect()
}

fn bodies(blocks: &mut Blocks) -> Column<'_, Arc<Block>> {
    Column(blocks, |row| &mut row.block)
}

fn records(blocks: &mut Blocks) -> Column<'_, Arc<Record>> {
    Column(blocks, |row| &mut row.record)
}

fn positions(blocks: &mut Blocks) -> Column<'_, u64> {
    Column(blocks, |row| &mut row.position)
}

fn undo(blocks: &mut Blocks) -> Column<'_, Arc<Undo>> {
    Column(blocks, |row| &mut row.undo)
}

/// Changes that remove nothing.
fn all<K, V>(rows: BTreeMap<K, V>) -> impl ExactSizeIterator<Item = (K, Option<V>)> {
    rows.into_iter().map(|(key, value)| (key, Some(value)))
}

impl Disk {
    /// An empty one.
    pub(super) fn new(numbers: &Numbers) -> Self {
        let mut disk = Self::default();
        disk.blocks.numbers = numbers.clone();
        disk
    }

    /// Writes a batch and returns its number. Visible at once, durable when [`Disk::sync`] says so.
    pub fn write(&mut self, batch: Batch) -> u64 {
        let present = |(key, account): (AccountId, Account)| {
            (key, Some(account).filter(|account| !account.is_empty()))
        };
        let blocks = &mut self.blocks;
        let inverse = Inverse {
            blocks: set(&mut bodies(blocks), all(batch.blocks)),
            records: set(&mut records(blocks), all(batch.records)),
            order: set(&mut self.order, batch.order),
            positions: set(&mut positions(blocks), batch.positions),
            accounts: set(&mut self.accounts, batch.accounts.into_iter().map(present)),
            undo: set(&mut undo(blocks), batch.undo),
            transactions: set(&mut self.transactions, batch.transactions),
            pruned: batch
                .pruned
                .into_iter()
                .map(|id| {
                    let row = blocks.row(id);
                    (id, (row.block.take(), row.undo.take()))
                })
                .collect(),
            pending: set(&mut self.pending, batch.pending),
            addresses: set(&mut self.addresses, batch.addresses),
            tip: batch.tip.map(|tip| self.tip.replace(tip)),
        };
        self.written += 1;
        self.volatile.push_back((self.written, inverse));
        self.written
    }

    /// Everything up to a batch's number is durable from now on.
    pub fn sync(&mut self, number: u64) {
        while self
            .volatile
            .front()
            .is_some_and(|(written, _)| *written <= number)
        {
            self.volatile.pop_front();
        }
    }

    /// How many blocks of the order have a colour.
    pub fn ordered_as(&self, colour: Colour) -> u64 {
        let same = self
            .order
            .iter()
            .flatten()
            .filter(|ordered| ordered.colour == colour);
        same.count() as u64
    }

    /// Loses what is not durable.
    pub fn crash(&mut self) {
        while let Some((_, inverse)) = self.volatile.pop_back() {
            let blocks = &mut self.blocks;
            for (id, (body, taken_back)) in inverse.pruned {
                set(&mut bodies(blocks), [(id, body)]);
                set(&mut undo(blocks), [(id, taken_back)]);
            }
            set(&mut bodies(blocks), inverse.blocks);
            set(&mut records(blocks), inverse.records);
            set(&mut self.order, inverse.order);
            set(&mut positions(blocks), inverse.positions);
            set(&mut self.accounts, inverse.accounts);
            set(&mut undo(blocks), inverse.undo);
            set(&mut self.transactions, inverse.transactions);
            set(&mut self.pending, inverse.pending);
            set(&mut self.addresses, inverse.addresses);
            if let Some(tip) = inverse.tip {
                self.tip = tip;
            }
        }
    }
}

impl View for Disk {
    fn record(&self, id: &BlockId) -> Result<Option<Arc<Record>>, Fault> {
        Ok(self.blocks.get(id).and_then(|row| row.record.clone()))
    }

    fn block(&self, id: &BlockId) -> Result<Option<Arc<Block>>, Fault> {
        Ok(self.blocks.get(id).and_then(|row| row.block.clone()))
    }

    fn ordered(&self, number: u64) -> Result<Option<Ordered>, Fault> {
        Ok(self.order.get(number as usize).copied().flatten())
    }

    fn position(&self, id: &BlockId) -> Result<Option<u64>, Fault> {
        Ok(self.blocks.get(id).and_then(|row| row.position))
    }

    fn account(&self, id: &AccountId) -> Result<Account, Fault> {
        Ok(self.accounts.get(id).copied().unwrap_or_default())
    }

    fn accounts(
        &self,
        after: Option<&AccountId>,
        count: usize,
    ) -> Result<Vec<(AccountId, Account)>, Fault> {
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        let rows = self.accounts.range::<AccountId, _>(range).take(count);
        Ok(rows.map(|(id, account)| (*id, *account)).collect())
    }

    fn undo(&self, id: &BlockId) -> Result<Option<Arc<Undo>>, Fault> {
        Ok(self.blocks.get(id).and_then(|row| row.undo.clone()))
    }

    fn transaction(&self, id: &TransactionId) -> Result<Option<Location>, Fault> {
        Ok(self.transactions.get(id).copied())
    }

    fn pending(&self) -> Result<Vec<SharedTransaction>, Fault> {
        Ok(self.pending.values().cloned().collect())
    }

    fn addresses(&self) -> Result<Vec<(SocketAddr, KnownAddress)>, Fault> {
        let rows = self.addresses.iter();
        Ok(rows
            .map(|(address, known)| (*address, known.clone()))
            .collect())
    }

    fn tip(&self) -> Result<Option<Arc<Tip>>, Fault> {
        Ok(self.tip.clone())
    }
}
