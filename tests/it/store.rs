//! The store: what is written is read again, now and after reopening, and what cannot be used is refused with a reason.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;
use triskel::node::store::{Claim, Store, StoreError};
use triskel::protocol::chain::block::Block;
use triskel::protocol::chain::digest::Accumulator;
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::ledger::{Account, Undo};
use triskel::protocol::chain::ordering::{Colour, Ordered};
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::transaction::SharedTransaction;
use triskel::protocol::chain::view::{Batch, Location, Record, Tip, View};

use super::memory::{Memory, Model, Wish, account, network, transfer};

const CACHE_BYTES: u64 = 8 << 20;

fn open_at(path: &Path, network: &Network) -> Result<Arc<Store>, StoreError> {
    Store::open(Claim::take(path)?, network, CACHE_BYTES)
}

/// Blocks in a row and transactions, of which batches are made.
struct Pool {
    network: Arc<Network>,
    blocks: Vec<(Arc<Block>, Arc<Record>)>,
    transactions: Vec<SharedTransaction>,
}

const POOL: usize = 6;

const COLOURS: [Colour; 3] = [Colour::Chain, Colour::Blue, Colour::Red];

impl Pool {
    fn new() -> Self {
        let network = network(1);
        let mut model = Model::new(&network);
        let mut parent = network.id();
        let mut blocks = Vec::new();
        let transactions: Vec<_> = (0..POOL as u64)
            .map(|nonce| transfer(&network, (0, 1), (1, 1, nonce)))
            .collect();
        for index in 0..POOL {
            let transactions = transactions[..index].to_vec();
            let wish = Wish {
                transactions,
                ..Wish::default()
            };
            parent = model.grow(&parent, wish).id();
            let (block, record, _) = &model.blocks[&parent];
            blocks.push((Arc::clone(block), Arc::clone(record)));
        }
        Self {
            network,
            blocks,
            transactions,
        }
    }

    fn add(&self, batch: &mut Batch, index: usize) {
        let (block, record) = &self.blocks[index];
        batch.blocks.insert(block.id(), Arc::clone(block));
        batch.records.insert(block.id(), Arc::clone(record));
    }

    fn id(&self, index: usize) -> BlockId {
        self.blocks[index].0.id()
    }

    fn tip(&self, index: usize, issued: u64) -> Tip {
        let mut accumulator = Accumulator::default();
        let holding = Account {
            balance: issued,
            nonce: 0,
        };
        accumulator.add(&account(index), &holding);
        let record = &self.blocks[index].1;
        Tip {
            id: record.id(),
            parents: vec![record.id()],
            tips: vec![record.id(), self.id(0)],
            number: record.number,
            work: record.work,
            blue_score: record.blue_score + 1,
            streams: record.streams,
            accumulator,
            issued,
            transactions: issued / 2,
            pruned: issued / 3,
        }
    }

    /// Asks the store for everything that a batch can have named.
    fn assert_holds(&self, store: &Store, memory: &Memory) {
        for (index, (block, record)) in self.blocks.iter().enumerate() {
            let id = block.id();
            assert_eq!(store.record(&id).unwrap(), memory.record(&id).unwrap());
            let stored = store
                .block(&id)
                .unwrap()
                .map(|block| block.bytes().to_vec());
            let wanted = memory.block(&id).unwrap();
            assert_eq!(stored, wanted.map(|block| block.bytes().to_vec()));
            assert_eq!(store.undo(&id).unwrap(), memory.undo(&id).unwrap());
            let number = record.number;
            assert_eq!(store.ordered(number), memory.ordered(number));
            assert_eq!(store.position(&id), memory.position(&id));
            let id = account(index);
            assert_eq!(store.account(&id), memory.account(&id));
            let id = self.transactions[index].id();
            assert_eq!(store.transaction(&id), memory.transaction(&id));
        }
        let ids = |view: &dyn View| -> BTreeSet<_> {
            let pending = view.pending().unwrap();
            pending.iter().map(|transaction| transaction.id()).collect()
        };
        assert_eq!(ids(store), ids(memory));
        assert_eq!(store.tip().unwrap(), memory.tip().unwrap());
    }
}

/// Undo data of so many accounts: 48 bytes each, so some hundreds need several chunks.
fn undo(accounts: usize) -> Undo {
    let before = |number: usize| {
        let mut id = account(0);
        id.0[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let balance = number as u64;
        (id, Account { balance, nonce: 7 })
    };
    Undo {
        accounts: (0..accounts).map(before).collect(),
        issued: 50,
        applied: vec![true; accounts / 2],
    }
}

/// A change of one row, or of a few that belong together.
#[derive(Clone, Debug)]
enum Change {
    Block(usize),
    Invalid(usize, bool),
    Select(usize, bool),
    Undo(usize, Option<usize>),
    Account(usize, u64),
    Transaction(usize, Option<u32>),
    Pending(usize, bool),
    Tip(usize, u64),
}

fn change() -> impl Strategy<Value = Change> {
    let index = 0..POOL;
    prop_oneof![
        3 => index.clone().prop_map(Change::Block),
        1 => (index.clone(), any::<bool>()).prop_map(|(index, to)| Change::Invalid(index, to)),
        2 => (index.clone(), any::<bool>()).prop_map(|(index, on)| Change::Select(index, on)),
        3 => (index.clone(), proptest::option::of(0_usize..600))
            .prop_map(|(index, accounts)| Change::Undo(index, accounts)),
        2 => (index.clone(), 0_u64..3).prop_map(|(index, balance)| Change::Account(index, balance)),
        2 => (index.clone(), proptest::option::of(any::<u32>()))
            .prop_map(|(index, at)| Change::Transaction(index, at)),
        2 => (index.clone(), any::<bool>()).prop_map(|(index, on)| Change::Pending(index, on)),
        1 => (index, any::<u64>()).prop_map(|(index, issued)| Change::Tip(index, issued)),
    ]
}

/// A batch as the chain would write it: it writes a block once, and nothing about a block that is not there.
fn batch(pool: &Pool, memory: &Memory, changes: &[Change]) -> Batch {
    let mut batch = Batch::default();
    for change in changes {
        let known = |batch: &Batch, index: usize| {
            let id = pool.id(index);
            memory.blocks.contains_key(&id) || batch.blocks.contains_key(&id)
        };
        match *change {
            Change::Block(index) if !known(&batch, index) => pool.add(&mut batch, index),
            Change::Invalid(index, invalid) if known(&batch, index) => {
                let mut record = Record::clone(&pool.blocks[index].1);
                record.invalid = invalid;
                batch.records.insert(pool.id(index), Arc::new(record));
            }
            Change::Undo(index, accounts) if known(&batch, index) => {
                batch
                    .undo
                    .insert(pool.id(index), accounts.map(|count| Arc::new(undo(count))));
            }
            Change::Block(_) | Change::Invalid(..) | Change::Undo(..) => {}
            Change::Select(index, on) => {
                let number = pool.blocks[index].1.number;
                let (id, colour) = (pool.id(index), COLOURS[index % COLOURS.len()]);
                let ordered = Ordered { id, colour };
                batch.order.insert(number, on.then_some(ordered));
                batch.positions.insert(id, on.then_some(number));
            }
            Change::Account(index, balance) => {
                let holding = Account { balance, nonce: 0 };
                batch.accounts.insert(account(index), holding);
            }
            Change::Transaction(index, at) => {
                let block = pool.id(index);
                let location = at.map(|index| Location { block, index });
                let id = pool.transactions[index].id();
                batch.transactions.insert(id, location);
            }
            Change::Pending(index, on) => {
                let transaction = &pool.transactions[index];
                let kept = on.then(|| Arc::clone(transaction));
                batch.pending.insert(transaction.id(), kept);
            }
            Change::Tip(index, issued) => batch.tip = Some(Arc::new(pool.tip(index, issued))),
        }
    }
    batch
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_store_reads_as_a_map_would(
        rounds in proptest::collection::vec(
            (proptest::collection::vec(change(), 0..8), proptest::bool::weighted(0.2)),
            1..12,
        )
    ) {
        let pool = Pool::new();
        let folder = TempDir::new().unwrap();
        let mut memory = Memory::default();
        let mut store = open_at(folder.path(), &pool.network).unwrap();
        for (changes, reopen) in rounds {
            let batch = batch(&pool, &memory, &changes);
            store.apply(&batch).unwrap();
            memory.commit(batch);
            if reopen {
                store.close().unwrap();
                store = open_at(folder.path(), &pool.network).unwrap();
            }
            pool.assert_holds(&store, &memory);
        }
    }
}

#[tokio::test]
async fn what_is_written_becomes_durable_and_is_read_after_reopening() {
    let pool = Pool::new();
    let folder = TempDir::new().unwrap();
    let store = open_at(folder.path(), &pool.network).unwrap();
    assert_eq!(store.tip().unwrap(), None);
    let every = |on: bool| {
        let mut changes = Vec::new();
        for index in 0..POOL {
            changes.push(Change::Block(index));
            changes.push(Change::Select(index, on));
            changes.push(Change::Undo(index, on.then_some(300)));
            changes.push(Change::Account(index, u64::from(on)));
            changes.push(Change::Transaction(index, on.then_some(3)));
            changes.push(Change::Pending(index, on));
            changes.push(Change::Tip(index, u64::from(on)));
        }
        changes
    };
    let mut memory = Memory::default();
    for on in [true, false] {
        let batch = batch(&pool, &memory, &every(on));
        let sequence = store.apply(&batch).unwrap();
        store.settled().await.unwrap();
        assert!(*store.durable().borrow() >= sequence);
        memory.commit(batch);
        pool.assert_holds(&store, &memory);
    }
    assert!(
        memory.order.is_empty()
            && memory.positions.is_empty()
            && memory.accounts.is_empty()
            && memory.undo.is_empty()
    );
    store.close().unwrap();
    let refused = store.record(&pool.id(0)).unwrap_err().to_string();
    assert_eq!(refused, "the store is closed");
    assert!(store.apply(&Batch::default()).is_err());
    let again = open_at(folder.path(), &pool.network).unwrap();
    pool.assert_holds(&again, &memory);
}

#[test]
fn the_largest_block_and_its_undo_data_fit() {
    let network = network(1);
    let mut model = Model::new(&network);
    let transactions: Vec<_> = (0..10_000)
        .map(|nonce| transfer(&network, (0, 1), (1, 0, nonce)))
        .collect();
    let wish = Wish {
        transactions,
        ..Wish::default()
    };
    let block = model.grow(&network.id(), wish);
    let id = block.id();
    let mut batch = Batch::default();
    batch.blocks.insert(id, Arc::clone(&block));
    batch.records.insert(id, Arc::clone(&model.blocks[&id].1));
    batch.undo.insert(id, Some(Arc::new(undo(20_000))));
    let folder = TempDir::new().unwrap();
    let store = open_at(folder.path(), &network).unwrap();
    store.apply(&batch).unwrap();
    store.close().unwrap();
    let store = open_at(folder.path(), &network).unwrap();
    assert_eq!(store.block(&id).unwrap().unwrap().bytes(), block.bytes());
    assert_eq!(store.undo(&id).unwrap(), Some(Arc::new(undo(20_000))));
    let mut batch = Batch::default();
    batch.undo.insert(id, Some(Arc::new(undo(1))));
    store.apply(&batch).unwrap();
    assert_eq!(store.undo(&id).unwrap(), Some(Arc::new(undo(1))));
}
