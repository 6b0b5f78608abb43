//! What must hold after every event, checked against a ledger of its own.
//!
//! The oracle replays every block from genesis by the plainest code that can do it: all accounts in one map, the digest computed
//! anew. A node is compared with it whenever its tip has moved, so that the check costs what the change was.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::protocol::chain::block::Block;
use crate::protocol::chain::digest::Accumulator;
use crate::protocol::chain::id::{AccountId, BlockId, StateDigest};
use crate::protocol::chain::ledger::Account;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::view::{Tip, View};

/// Something that must never be was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {at_ms} ms, node {node}: {what}")]
pub struct Violation {
    /// Virtual time since the start, in milliseconds.
    pub at_ms: u64,
    /// The node.
    pub node: usize,
    /// What was wrong.
    pub what: String,
}

/// The state after a block, by plain replay.
#[derive(Clone, Debug)]
struct State {
    number: u64,
    parent: BlockId,
    accounts: Arc<BTreeMap<AccountId, Account>>,
    digest: StateDigest,
    issued: u64,
}

/// States of all blocks that any node accepted.
#[derive(Clone, Debug)]
pub(super) struct Oracle {
    network: Arc<Network>,
    states: BTreeMap<BlockId, State>,
}

impl Oracle {
    pub(super) fn new(network: Arc<Network>) -> Self {
        let endowed = network.params().allocations.iter();
        let endow = |balance| Account { balance, nonce: 0 };
        let accounts: BTreeMap<_, _> = endowed
            .map(|allocation| (allocation.account, endow(allocation.balance)))
            .collect();
        let genesis = State {
            number: 0,
            parent: network.id(),
            digest: digest(&accounts),
            accounts: Arc::new(accounts),
            issued: network.genesis_supply(),
        };
        Self {
            states: BTreeMap::from([(network.id(), genesis)]),
            network,
        }
    }

    /// Replays a block upon its parent. Blocks of several parents are not replayed: this oracle knows chains.
    pub(super) fn add(&mut self, block: &Block) -> Result<(), String> {
        if self.states.contains_key(&block.id()) {
            return Ok(());
        }
        let [parent] = block.heading().parents() else {
            return Err(format!("block {} has several parents", block.id()));
        };
        let Some(before) = self.states.get(parent) else {
            return Err(format!(
                "block {} was accepted before its parent",
                block.id()
            ));
        };
        let mut accounts = BTreeMap::clone(&before.accounts);
        let mut fees = 0;
        for transaction in &block.body().transactions {
            let transfer = transaction.transfer();
            let sender = accounts.get(&transfer.sender).copied().unwrap_or_default();
            let cost = transfer.amount + transfer.fee;
            if sender.nonce != transfer.nonce || sender.balance < cost {
                continue;
            }
            let paid = Account {
                balance: sender.balance - cost,
                nonce: sender.nonce + 1,
            };
            accounts.insert(transfer.sender, paid);
            accounts.entry(transfer.recipient).or_default().balance += transfer.amount;
            fees += transfer.fee;
        }
        let stream = self.network.stream(block.header().stream);
        let reward = stream.map_or(0, |stream| stream.params.reward);
        accounts.entry(block.body().miner).or_default().balance += reward + fees;
        let issued = before.issued + reward;
        let supply: u64 = accounts.values().map(|account| account.balance).sum();
        if supply != issued {
            return Err(format!(
                "block {}: balances sum to {supply}, issued are {issued}",
                block.id()
            ));
        }
        let state = State {
            number: before.number + 1,
            parent: *parent,
            digest: digest(&accounts),
            accounts: Arc::new(accounts),
            issued,
        };
        self.states.insert(block.id(), state);
        Ok(())
    }

    /// Compares a node's tip and order with the replay. `checked` is the order as it was found good before, and is brought up to
    /// date.
    pub(super) fn compare(
        &self,
        tip: &Tip,
        view: &dyn View,
        checked: &mut Vec<BlockId>,
    ) -> Result<(), String> {
        let Some(state) = self.states.get(&tip.id) else {
            return Err(format!("its tip {} was never accepted by anybody", tip.id));
        };
        let found = (tip.number, tip.accumulator.digest(), tip.issued);
        let wanted = (state.number, state.digest, state.issued);
        if found != wanted {
            return Err(format!(
                "after {} it has {found:?}, a replay has {wanted:?}",
                tip.id
            ));
        }
        checked.truncate(tip.number as usize + 1);
        let known = checked.len();
        checked.resize(tip.number as usize + 1, BlockId::default());
        let (mut id, mut number) = (tip.id, tip.number);
        loop {
            let index = number as usize;
            if index < known && checked[index] == id {
                return Ok(());
            }
            let selected = view.selected(number).map_err(|fault| fault.to_string())?;
            if selected != Some(id) {
                return Err(format!(
                    "number {number} is {selected:?}, its tip descends from {id}"
                ));
            }
            checked[index] = id;
            if number == 0 {
                return Ok(());
            }
            id = self.states[&id].parent;
            number -= 1;
        }
    }

    /// What an account holds after a block, by plain replay.
    pub(super) fn account(&self, block: &BlockId, account: &AccountId) -> Option<Account> {
        let state = self.states.get(block)?;
        Some(state.accounts.get(account).copied().unwrap_or_default())
    }
}

fn digest(accounts: &BTreeMap<AccountId, Account>) -> StateDigest {
    let mut accumulator = Accumulator::default();
    for (id, account) in accounts {
        accumulator.add(id, account);
    }
    accumulator.digest()
}
