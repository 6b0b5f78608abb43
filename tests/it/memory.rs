//! What the tests of the chain stand on: a store in memory, and a naive model of the ledger beside it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use triskel::protocol::chain::block::{Block, Stream};
use triskel::protocol::chain::digest::Accumulator;
use triskel::protocol::chain::id::{AccountId, BlockId, StateDigest, TransactionId};
use triskel::protocol::chain::key::KeyPair;
use triskel::protocol::chain::ledger::{Account, Undo};
use triskel::protocol::chain::ordering::Ordered;
use triskel::protocol::chain::ordering::dag::{Dag, Entry};
use triskel::protocol::chain::params::{Algorithm, Allocation, Network, Params};
use triskel::protocol::chain::rules;
use triskel::protocol::chain::template::{Search, Template};
use triskel::protocol::chain::transaction::{SharedTransaction, Transfer};
use triskel::protocol::chain::view::{Batch, Fault, KnownAddress, Location, Record, Tip, View};

/// Everything that batches have written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) blocks: BTreeMap<BlockId, Arc<Block>>,
    pub(crate) records: BTreeMap<BlockId, Arc<Record>>,
    pub(crate) order: BTreeMap<u64, Ordered>,
    pub(crate) positions: BTreeMap<BlockId, u64>,
    pub(crate) accounts: BTreeMap<AccountId, Account>,
    pub(crate) undo: BTreeMap<BlockId, Arc<Undo>>,
    pub(crate) transactions: BTreeMap<TransactionId, Location>,
    pub(crate) pending: BTreeMap<TransactionId, SharedTransaction>,
    pub(crate) addresses: BTreeMap<SocketAddr, KnownAddress>,
    pub(crate) tip: Option<Arc<Tip>>,
}

fn write<K: Ord, V>(map: &mut BTreeMap<K, V>, changes: BTreeMap<K, Option<V>>) {
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}

impl Memory {
    pub(crate) fn commit(&mut self, batch: Batch) {
        self.blocks.extend(batch.blocks);
        self.records.extend(batch.records);
        for id in batch.pruned {
            self.blocks.remove(&id);
            self.undo.remove(&id);
        }
        write(&mut self.order, batch.order);
        write(&mut self.positions, batch.positions);
        let kept = |(id, account): (_, Account)| (id, (!account.is_empty()).then_some(account));
        let accounts = batch.accounts.into_iter().map(kept).collect();
        write(&mut self.accounts, accounts);
        write(&mut self.undo, batch.undo);
        write(&mut self.transactions, batch.transactions);
        write(&mut self.pending, batch.pending);
        write(&mut self.addresses, batch.addresses);
        self.tip = batch.tip.or_else(|| self.tip.take());
    }
}

impl View for Memory {
    fn record(&self, id: &BlockId) -> Result<Option<Arc<Record>>, Fault> {
        Ok(self.records.get(id).cloned())
    }
    fn block(&self, id: &BlockId) -> Result<Option<Arc<Block>>, Fault> {
        Ok(self.blocks.get(id).cloned())
    }
    fn ordered(&self, number: u64) -> Result<Option<Ordered>, Fault> {
        Ok(self.order.get(&number).copied())
    }
    fn position(&self, id: &BlockId) -> Result<Option<u64>, Fault> {
        Ok(self.positions.get(id).copied())
    }
    fn account(&self, id: &AccountId) -> Result<Account, Fault> {
        Ok(self.accounts.get(id).copied().unwrap_or_default())
    }
    fn accounts(
        &self,
        after: Option<&AccountId>,
        count: usize,
    ) -> Result<Vec<(AccountId, Account)>, Fault> {
        let rows = self.accounts.iter().filter(|(id, _)| Some(*id) > after);
        let rows = rows.filter(|(_, account)| !account.is_empty());
        Ok(rows
            .take(count)
            .map(|(id, account)| (*id, *account))
            .collect())
    }
    fn undo(&self, id: &BlockId) -> Result<Option<Arc<Undo>>, Fault> {
        Ok(self.undo.get(id).cloned())
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

/// The keys of test persons, by number.
pub(crate) fn person(number: usize) -> KeyPair {
    KeyPair::from_seed(format!("person {number}").as_bytes())
}

/// The account of a test person.
pub(crate) fn account(number: usize) -> AccountId {
    person(number).public()
}

/// Three streams of one-parent blocks without proof of work; the first `rich` persons own 1,000 units each.
pub(crate) fn params(rich: usize) -> Params {
    let mut params = Params::tri();
    params.name = "test".to_owned();
    (params.max_parents, params.k, params.merge_limit) = (1, 0, 0);
    for (stream, reward) in params.streams.iter_mut().zip([50, 25, 0]) {
        stream.algorithm = Algorithm::None;
        stream.reward = reward;
    }
    params.allocations = (0..rich)
        .map(|number| Allocation {
            account: account(number),
            balance: 1_000,
        })
        .collect();
    params
        .allocations
        .sort_by_key(|allocation| allocation.account);
    params
}

/// The network of [`params`].
pub(crate) fn network(rich: usize) -> Arc<Network> {
    Arc::new(Network::new(params(rich)).unwrap())
}

/// A signed transfer between test persons.
pub(crate) fn transfer(
    network: &Network,
    (sender, recipient): (usize, usize),
    (amount, fee, nonce): (u64, u64, u64),
) -> SharedTransaction {
    let keys = person(sender);
    let transfer = Transfer {
        sender: keys.public(),
        recipient: account(recipient),
        amount,
        fee,
        nonce,
    };
    Arc::new(transfer.sign(&network.id(), &keys))
}

/// The ledger in the plainest words: all accounts after a block, kept whole for every block.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) accounts: BTreeMap<AccountId, Account>,
    pub(crate) issued: u128,
    pub(crate) applied: u64,
}

impl State {
    pub(crate) fn genesis(network: &Network) -> Self {
        let mut state = Self::default();
        for allocation in &network.params().allocations {
            let balance = allocation.balance;
            let account = Account { balance, nonce: 0 };
            state.accounts.insert(allocation.account, account);
            state.issued += u128::from(balance);
        }
        state
    }

    pub(crate) fn after(&self, network: &Network, block: &Block) -> Self {
        let mut state = self.clone();
        let mut income = 0;
        for transaction in &block.body().transactions {
            let order = transaction.transfer();
            let sender = state.accounts.entry(order.sender).or_default();
            let cost = u128::from(order.amount) + u128::from(order.fee);
            if sender.nonce != order.nonce || cost > u128::from(sender.balance) {
                continue;
            }
            sender.nonce += 1;
            sender.balance -= order.amount + order.fee;
            state.accounts.entry(order.recipient).or_default().balance += order.amount;
            income += order.fee;
            state.applied += 1;
        }
        let reward = network.stream(block.header().stream).unwrap().params.reward;
        let reward = u128::from(reward).min(u128::from(u64::MAX) - state.issued);
        state.issued += reward;
        income += reward as u64;
        state
            .accounts
            .entry(block.body().miner)
            .or_default()
            .balance += income;
        state.accounts.retain(|_, account| !account.is_empty());
        state
    }

    pub(crate) fn digest(&self) -> StateDigest {
        self.accumulator().digest()
    }

    fn accumulator(&self) -> Accumulator {
        let mut accumulator = Accumulator::default();
        for (id, account) in &self.accounts {
            accumulator.add(id, account);
        }
        accumulator
    }
}

/// Every block that a test has made, each with its place and the state after it.
pub(crate) struct Model {
    pub(crate) network: Arc<Network>,
    dag: Dag,
    pub(crate) blocks: BTreeMap<BlockId, (Arc<Block>, Arc<Record>, State)>,
}

/// What a test says of a block that it wants.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) stream: Stream,
    pub(crate) miner: usize,
    pub(crate) gap_ms: u64,
    pub(crate) transactions: Vec<SharedTransaction>,
    pub(crate) accumulator: Option<Accumulator>,
    pub(crate) bits: Option<u32>,
    pub(crate) extra_nonce: u64,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            stream: Stream::A,
            miner: 9,
            gap_ms: 1_000,
            transactions: Vec::new(),
            accumulator: None,
            bits: None,
            extra_nonce: 0,
        }
    }
}

impl Model {
    pub(crate) fn new(network: &Arc<Network>) -> Self {
        let genesis = Arc::clone(network.genesis());
        let record = Arc::new(rules::genesis_record(network));
        let state = State::genesis(network);
        let blocks = BTreeMap::from([(genesis.id(), (genesis, record, state))]);
        let mut dag = Dag::new(network.limits());
        dag.insert(rules::stored_place(&dag, &rules::genesis_record(network)));
        let network = Arc::clone(network);
        Self {
            network,
            dag,
            blocks,
        }
    }

    /// A block upon any block of the model, which is not added to it.
    pub(crate) fn build(&self, parent: &BlockId, wish: Wish) -> Arc<Block> {
        let (_, record, state) = &self.blocks[parent];
        let bits = rules::next_target(&self.network, &record.streams, wish.stream)
            .unwrap()
            .to_bits();
        let template = Template {
            stream: wish.stream,
            parents: vec![*parent],
            accumulator: wish.accumulator.unwrap_or_else(|| state.accumulator()),
            bits: wish.bits.unwrap_or(bits),
            min_timestamp_ms: 0,
            miner: account(wish.miner),
            transactions: wish.transactions,
        };
        let mut search = Search::new(template, wish.extra_nonce, &self.network);
        // Where there is no proof of work the first header is solved.
        let found = search.attempt(record.timestamp_ms() + wish.gap_ms, 1 << 20);
        Arc::new(found.expect("targets are easy"))
    }

    /// Where a block stands whose parents are in the model.
    pub(crate) fn place(&self, block: &Block) -> (Record, Entry) {
        let parents = block.heading().parents().iter();
        let parents = parents
            .map(|parent| self.dag.index(parent).unwrap())
            .collect();
        let entry = rules::place(&self.network, &self.dag, block.heading(), parents).unwrap();
        (rules::record(&self.dag, block.heading(), &entry), entry)
    }

    /// A block upon any block of the model, added to it.
    pub(crate) fn grow(&mut self, parent: &BlockId, wish: Wish) -> Arc<Block> {
        let block = self.build(parent, wish);
        let (record, entry) = self.place(&block);
        self.dag.insert(entry);
        let (_, _, state) = &self.blocks[parent];
        let state = state.after(&self.network, &block);
        self.blocks
            .insert(block.id(), (Arc::clone(&block), Arc::new(record), state));
        block
    }
}
