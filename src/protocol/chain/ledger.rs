//! Accounts, and how a block changes them and is undone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bincode::{Decode, Encode};

use super::block::Block;
use super::id::AccountId;
use super::ordering::Colour;
use super::params::Network;
use super::transaction::Transfer;
use super::view::{Fault, Location, Overlay, Tip, View};
use crate::protocol::bugs::{Bug, bug};

/// What an account holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Account {
    /// Units.
    pub balance: u64,
    /// Transfers made so far.
    pub nonce: u64,
}

impl Account {
    /// Whether nothing is stored for it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `transfer`, ordered by the owner of this account, can be applied now.
    pub fn allows(&self, transfer: &Transfer) -> bool {
        self.nonce == transfer.nonce && transfer.cost().is_some_and(|cost| cost <= self.balance)
    }
}

/// The account that holds the fees of red blocks. No key signs for it: zero is the x-coordinate of no point of secp256k1.
pub const POT: AccountId = AccountId([0; 32]);

/// What a block changed: enough to take it back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Undo {
    /// The accounts as they were before, ascending.
    pub accounts: Vec<(AccountId, Account)>,
    /// Units that the block issued.
    pub issued: u64,
    /// Bit by bit in the order of the body, whether a transaction was applied; others were skipped.
    pub applied: Vec<bool>,
}

impl Undo {
    /// The number of transactions that were applied.
    pub fn applied_count(&self) -> usize {
        self.applied.iter().filter(|applied| **applied).count()
    }
}

/// Applies `block` to the state that `tip` describes, which becomes the state after the block.
///
/// Transactions are applied in order; one that the accounts do not allow is skipped, in every node alike. The miner of a blue block
/// receives the stream's reward and the fees of what was applied. A red block is rewarded nothing, and its fees go into the
/// [`POT`], which the miner of the next block of the selected chain receives: so keeping a block back until it is red does not
/// pay, and merging it does. The reward ends where issued units would pass 64 bits, so balances cannot.
pub fn apply(
    network: &Network,
    overlay: &mut Overlay<'_>,
    tip: &mut Tip,
    block: &Block,
    colour: Colour,
) -> Result<(), Fault> {
    let mut accounts = Changes::default();
    let mut fees = 0;
    let mut applied = Vec::with_capacity(block.body().transactions.len());
    for (index, transaction) in block.body().transactions.iter().enumerate() {
        let transfer = transaction.transfer();
        let sender = accounts.get(overlay, &transfer.sender)?;
        let allowed = sender.allows(transfer);
        applied.push(allowed);
        if !allowed {
            fees += u64::from(bug(Bug::FeeOfSkipped)) * transfer.fee;
            continue;
        }
        sender.balance -= transfer.amount + transfer.fee;
        sender.nonce += 1;
        fees += transfer.fee;
        accounts.get(overlay, &transfer.recipient)?.balance += transfer.amount;
        let location = Location {
            block: block.id(),
            index: index as u32,
        };
        overlay
            .batch
            .transactions
            .insert(transaction.id(), Some(location));
    }
    let stream = network.stream(block.header().stream);
    let reward = stream
        .filter(|_| colour != Colour::Red || bug(Bug::RewardForRed))
        .map_or(0, |stream| stream.params.reward)
        .min(u64::MAX - tip.issued);
    let (recipient, income) = match colour {
        Colour::Red => (POT, fees),
        Colour::Blue => (block.body().miner, reward + fees),
        Colour::Chain => {
            let pot = std::mem::take(&mut accounts.get(overlay, &POT)?.balance);
            (block.body().miner, reward + fees + pot)
        }
    };
    if income > 0 {
        accounts.get(overlay, &recipient)?.balance += income;
    }
    tip.issued += reward;
    tip.transactions += applied.iter().filter(|applied| **applied).count() as u64;
    let mut before = Vec::with_capacity(accounts.0.len());
    for (id, (old, new)) in accounts.0 {
        if old != new {
            tip.accumulator.remove(&id, &old);
            tip.accumulator.add(&id, &new);
            overlay.batch.accounts.insert(id, new);
            before.push((id, old));
        }
    }
    let undo = Undo {
        accounts: before,
        issued: reward,
        applied,
    };
    overlay.batch.undo.insert(block.id(), Some(Arc::new(undo)));
    Ok(())
}

/// Takes back `block`, which must be the last that was applied.
pub fn undo(overlay: &mut Overlay<'_>, tip: &mut Tip, block: &Arc<Block>) -> Result<(), Fault> {
    let undo = overlay
        .undo(&block.id())?
        .ok_or_else(|| Fault::missing("undo data of block", block.id()))?;
    let forgotten = usize::from(bug(Bug::UndoForgetsAnAccount));
    for (id, old) in undo.accounts.iter().skip(forgotten) {
        tip.accumulator.remove(id, &overlay.account(id)?);
        tip.accumulator.add(id, old);
        overlay.batch.accounts.insert(*id, *old);
    }
    tip.issued -= u64::from(!bug(Bug::UndoForgetsIssued)) * undo.issued;
    tip.transactions -= undo.applied_count() as u64;
    for (transaction, applied) in block.body().transactions.iter().zip(&undo.applied) {
        if *applied {
            overlay.batch.transactions.insert(transaction.id(), None);
        }
    }
    overlay.batch.undo.insert(block.id(), None);
    Ok(())
}

/// Accounts that a block touches, as they were and as they are.
#[derive(Default)]
struct Changes(BTreeMap<AccountId, (Account, Account)>);

impl Changes {
    fn get(&mut self, view: &dyn View, id: &AccountId) -> Result<&mut Account, Fault> {
        let (_, account) = match self.0.entry(*id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let account = view.account(id)?;
                entry.insert((account, account))
            }
        };
        Ok(account)
    }
}
