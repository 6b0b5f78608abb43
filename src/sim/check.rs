//! What must hold after every event, checked against a ledger of its own.
//!
//! The oracle replays the order that a node says it has by the plainest code that can do it. Nodes that have the same order share
//! its states, and a node is compared whenever its order has changed, so that the check costs what the change was.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use crate::protocol::chain::block::Block;
use crate::protocol::chain::digest::Accumulator;
use crate::protocol::chain::id::{AccountId, BlockId};
use crate::protocol::chain::ledger::{Account, POT};
use crate::protocol::chain::ordering::{Colour, Ordered};
use crate::protocol::chain::params::Network;
use crate::protocol::chain::view::{Tip, View};
use crate::protocol::table::Table;

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

/// States that are remembered for each node: further back than its order changes, as a rule.
const DEPTH: usize = 256;

/// The state after a beginning of an order, by plain replay.
#[derive(Debug)]
struct State {
    /// The hash of that beginning.
    prefix: [u8; 32],
    accounts: BTreeMap<AccountId, Account>,
    accumulator: Accumulator,
    issued: u64,
    /// What nodes have found to follow: others find the same.
    next: Mutex<Vec<(Ordered, Weak<Self>)>>,
    /// The parents, found first, whose order ends here.
    end: OnceLock<Vec<BlockId>>,
}

/// What was found good of a node's order.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The last places, each with the state after it.
    places: VecDeque<(Ordered, Arc<State>)>,
    /// The number of the place that follows them.
    next: usize,
}

/// The states of all nodes.
#[derive(Debug)]
pub(super) struct Oracle {
    network: Arc<Network>,
    genesis: Arc<State>,
    states: Table<[u8; 32], Weak<State>>,
    /// The order that each set of parents has led to.
    orders: BTreeMap<Vec<BlockId>, [u8; 32]>,
}

impl Oracle {
    pub(super) fn new(network: Arc<Network>) -> Self {
        let endowed = network.params().allocations.iter();
        let endow = |balance| Account { balance, nonce: 0 };
        let accounts: BTreeMap<_, _> = endowed
            .map(|allocation| (allocation.account, endow(allocation.balance)))
            .collect();
        let mut accumulator = Accumulator::default();
        for (id, account) in &accounts {
            accumulator.add(id, account);
        }
        let genesis = State {
            prefix: network.id().0,
            accounts,
            accumulator,
            issued: network.genesis_supply(),
            next: Mutex::default(),
            end: OnceLock::new(),
        };
        Self {
            genesis: Arc::new(genesis),
            states: Table::default(),
            orders: BTreeMap::new(),
            network,
        }
    }

    /// Compares a node's tip and order with the replay, and brings `checked` up to date.
    pub(super) fn compare(
        &mut self,
        tip: &Tip,
        view: &dyn View,
        checked: &mut Checked,
    ) -> Result<(), String> {
        let Checked { places, next } = checked;
        // A block of the selected chain has its whole past before it: where two orders share one, they are the same up to it.
        while let Some((last, _)) = places.back() {
            let number = *next - 1;
            let is_shared = number <= tip.number as usize
                && last.colour == Colour::Chain
                && place(view, number)? == *last;
            if is_shared {
                break;
            }
            places.pop_back();
            *next = number;
        }
        if places.is_empty() {
            places.push_back((place(view, 0)?, Arc::clone(&self.genesis)));
            *next = 1;
        }
        for number in *next..=tip.number as usize {
            let ordered = place(view, number)?;
            let block = view.block(&ordered.id).map_err(|fault| fault.to_string())?;
            let block = block.ok_or_else(|| format!("it has no block {}", ordered.id))?;
            if position(view, &ordered.id)? != Some(number as u64) {
                return Err(format!("block {} is not where its number says", ordered.id));
            }
            let (_, before) = places.back().expect("genesis has a state");
            let state = self.after(before, &block, ordered, view)?;
            places.push_back((ordered, state));
            *next = number + 1;
            if places.len() > DEPTH {
                places.pop_front();
            }
        }
        let (_, state) = places.back().expect("genesis has a state");
        let (found, wanted) = (&tip.accumulator, &state.accumulator);
        if (found, tip.issued) != (wanted, state.issued) {
            let issued = (tip.issued, state.issued);
            return Err(format!(
                "after {} it has {found:?}, a replay has {wanted:?}; issued {issued:?}",
                tip.id
            ));
        }
        if state.end.get() == Some(&tip.parents) {
            return Ok(());
        }
        match self.orders.get(&tip.parents) {
            Some(prefix) if *prefix == state.prefix => {}
            Some(_) => {
                return Err(format!(
                    "another node orders the past of {:?} otherwise",
                    tip.parents
                ));
            }
            None => drop(self.orders.insert(tip.parents.clone(), state.prefix)),
        }
        state.end.get_or_init(|| tip.parents.clone());
        Ok(())
    }

    fn after(
        &mut self,
        before: &Arc<State>,
        block: &Block,
        ordered: Ordered,
        view: &dyn View,
    ) -> Result<Arc<State>, String> {
        let mut next = before.next.lock().expect("nobody panics while looking");
        let same = |(other, _): &&(Ordered, Weak<State>)| *other == ordered;
        if let Some(state) = next
            .iter()
            .find(same)
            .and_then(|(_, state)| state.upgrade())
        {
            return Ok(state);
        }
        next.retain(|(_, state)| state.strong_count() > 0);
        let state = self.join(before, block, ordered, view)?;
        next.push((ordered, Arc::downgrade(&state)));
        Ok(state)
    }

    /// Finds the state of a node that came there another way, or replays the block.
    fn join(
        &mut self,
        before: &State,
        block: &Block,
        ordered: Ordered,
        view: &dyn View,
    ) -> Result<Arc<State>, String> {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&before.prefix)
            .update(&ordered.id.0)
            .update(&[ordered.colour as u8]);
        let prefix = *hasher.finalize().as_bytes();
        if let Some(state) = self.states.get(&prefix).and_then(Weak::upgrade) {
            return Ok(state);
        }
        check_parents(view, block)?;
        let state = Arc::new(self.replay(before, prefix, block, ordered.colour)?);
        if self.states.len() > 100 * DEPTH {
            self.states.retain(|state| state.strong_count() > 0);
        }
        self.states.insert(prefix, Arc::downgrade(&state));
        Ok(state)
    }

    fn replay(
        &self,
        before: &State,
        prefix: [u8; 32],
        block: &Block,
        colour: Colour,
    ) -> Result<State, String> {
        let is_chain = colour == Colour::Chain;
        if is_chain && block.header().state_digest != before.accumulator.digest() {
            return Err(format!(
                "block {} is in the selected chain with a wrong digest",
                block.id()
            ));
        }
        let mut ledger = Ledger {
            accounts: before.accounts.clone(),
            accumulator: before.accumulator.clone(),
        };
        let mut fees = 0;
        for transaction in &block.body().transactions {
            let transfer = transaction.transfer();
            let sender = ledger
                .accounts
                .get(&transfer.sender)
                .copied()
                .unwrap_or_default();
            let cost = transfer.amount + transfer.fee;
            if sender.nonce != transfer.nonce || sender.balance < cost {
                continue;
            }
            ledger.change(transfer.sender, |account| {
                account.balance -= cost;
                account.nonce += 1;
            });
            ledger.change(transfer.recipient, |account| {
                account.balance += transfer.amount
            });
            fees += transfer.fee;
        }
        let stream = self.network.stream(block.header().stream);
        let reward = match colour {
            Colour::Red => 0,
            Colour::Chain | Colour::Blue => stream.map_or(0, |stream| stream.params.reward),
        };
        let mut pot = 0;
        if is_chain {
            ledger.change(POT, |account| pot = std::mem::take(&mut account.balance));
        }
        let miner = if colour == Colour::Red {
            POT
        } else {
            block.body().miner
        };
        ledger.change(miner, |account| account.balance += reward + fees + pot);
        let issued = before.issued + reward;
        let supply: u64 = ledger
            .accounts
            .values()
            .map(|account| account.balance)
            .sum();
        if supply != issued {
            let id = block.id();
            return Err(format!(
                "block {id}: balances sum to {supply}, issued are {issued}"
            ));
        }
        let Ledger {
            accounts,
            accumulator,
        } = ledger;
        Ok(State {
            prefix,
            accounts,
            accumulator,
            issued,
            next: Mutex::default(),
            end: OnceLock::new(),
        })
    }
}

struct Ledger {
    accounts: BTreeMap<AccountId, Account>,
    accumulator: Accumulator,
}

impl Ledger {
    fn change(&mut self, id: AccountId, change: impl FnOnce(&mut Account)) {
        let account = self.accounts.entry(id).or_default();
        let before = *account;
        change(account);
        if *account != before {
            self.accumulator.remove(&id, &before);
            self.accumulator.add(&id, account);
        }
    }
}

fn place(view: &dyn View, number: usize) -> Result<Ordered, String> {
    let ordered = view
        .ordered(number as u64)
        .map_err(|fault| fault.to_string())?;
    ordered.ok_or_else(|| format!("nothing is ordered at {number}"))
}

fn position(view: &dyn View, id: &BlockId) -> Result<Option<u64>, String> {
    view.position(id).map_err(|fault| fault.to_string())
}

/// That a block comes after its parents. Where orders are the same, they are so in all of them.
fn check_parents(view: &dyn View, block: &Block) -> Result<(), String> {
    let number = position(view, &block.id())?;
    for parent in block.heading().parents() {
        if position(view, parent)?.is_none_or(|position| Some(position) >= number) {
            return Err(format!(
                "block {} is ordered before its parent {parent}",
                block.id()
            ));
        }
    }
    Ok(())
}
