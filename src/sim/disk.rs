//! A disk that forgets what was not durable when its node crashes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::{AccountId, BlockId, TransactionId};
use crate::protocol::chain::ledger::{Account, Undo};
use crate::protocol::chain::transaction::SharedTransaction;
use crate::protocol::chain::view::{Batch, Fault, Location, Record, Tip, View};

/// What a batch changed: values as they were before it. `None` was not there.
#[derive(Clone, Debug, Default)]
struct Inverse {
    blocks: Vec<(BlockId, Option<Arc<Block>>)>,
    records: Vec<(BlockId, Option<Arc<Record>>)>,
    selected: Vec<(u64, Option<BlockId>)>,
    accounts: Vec<(AccountId, Option<Account>)>,
    undo: Vec<(BlockId, Option<Undo>)>,
    transactions: Vec<(TransactionId, Option<Location>)>,
    pending: Vec<(TransactionId, Option<SharedTransaction>)>,
    tip: Option<Option<Tip>>,
}

/// Tables in memory, and how to take back what is not durable yet.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    blocks: BTreeMap<BlockId, Arc<Block>>,
    records: BTreeMap<BlockId, Arc<Record>>,
    selected: BTreeMap<u64, BlockId>,
    accounts: BTreeMap<AccountId, Account>,
    undo: BTreeMap<BlockId, Undo>,
    transactions: BTreeMap<TransactionId, Location>,
    pending: BTreeMap<TransactionId, SharedTransaction>,
    tip: Option<Tip>,
    written: u64,
    volatile: VecDeque<(u64, Inverse)>,
}

/// Sets or removes, and tells what was there.
fn set<K: Ord + Clone, V>(
    table: &mut BTreeMap<K, V>,
    changes: impl IntoIterator<Item = (K, Option<V>)>,
) -> Vec<(K, Option<V>)> {
    let change = |(key, value): (K, Option<V>)| {
        let old = match value {
            Some(value) => table.insert(key.clone(), value),
            None => table.remove(&key),
        };
        (key, old)
    };
    changes.into_iter().map(change).collect()
}

impl Disk {
    /// Writes a batch and returns its number. Visible at once, durable when [`Disk::sync`] says so.
    pub fn write(&mut self, batch: Batch) -> u64 {
        let present = |(key, account): (AccountId, Account)| {
            (key, Some(account).filter(|account| !account.is_empty()))
        };
        let inverse = Inverse {
            blocks: set(
                &mut self.blocks,
                batch
                    .blocks
                    .into_iter()
                    .map(|(id, block)| (id, Some(block))),
            ),
            records: set(
                &mut self.records,
                batch
                    .records
                    .into_iter()
                    .map(|(id, record)| (id, Some(record))),
            ),
            selected: set(&mut self.selected, batch.selected),
            accounts: set(&mut self.accounts, batch.accounts.into_iter().map(present)),
            undo: set(&mut self.undo, batch.undo),
            transactions: set(&mut self.transactions, batch.transactions),
            pending: set(&mut self.pending, batch.pending),
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

    /// Loses what is not durable.
    pub fn crash(&mut self) {
        while let Some((_, inverse)) = self.volatile.pop_back() {
            set(&mut self.blocks, inverse.blocks);
            set(&mut self.records, inverse.records);
            set(&mut self.selected, inverse.selected);
            set(&mut self.accounts, inverse.accounts);
            set(&mut self.undo, inverse.undo);
            set(&mut self.transactions, inverse.transactions);
            set(&mut self.pending, inverse.pending);
            if let Some(tip) = inverse.tip {
                self.tip = tip;
            }
        }
    }
}

impl View for Disk {
    fn record(&self, id: &BlockId) -> Result<Option<Arc<Record>>, Fault> {
        Ok(self.records.get(id).cloned())
    }

    fn block(&self, id: &BlockId) -> Result<Option<Arc<Block>>, Fault> {
        Ok(self.blocks.get(id).cloned())
    }

    fn selected(&self, number: u64) -> Result<Option<BlockId>, Fault> {
        Ok(self.selected.get(&number).copied())
    }

    fn account(&self, id: &AccountId) -> Result<Account, Fault> {
        Ok(self.accounts.get(id).copied().unwrap_or_default())
    }

    fn undo(&self, id: &BlockId) -> Result<Option<Undo>, Fault> {
        Ok(self.undo.get(id).cloned())
    }

    fn transaction(&self, id: &TransactionId) -> Result<Option<Location>, Fault> {
        Ok(self.transactions.get(id).copied())
    }

    fn pending(&self) -> Result<Vec<SharedTransaction>, Fault> {
        Ok(self.pending.values().cloned().collect())
    }

    fn tip(&self) -> Result<Option<Tip>, Fault> {
        Ok(self.tip.clone())
    }
}
