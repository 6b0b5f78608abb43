//! Transactions that wait for a block: admission, replacement, selection, eviction.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::chain::id::{AccountId, TransactionId};
use crate::protocol::chain::ledger::Account;
use crate::protocol::chain::transaction::{SharedTransaction, TRANSACTION_BYTES, Transfer};

/// How much a mempool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MempoolLimits {
    /// Transactions in all.
    pub transactions: usize,
    /// Canonical bytes in all.
    pub bytes: usize,
    /// Transactions of one sender.
    pub per_sender: usize,
    /// The least fee, in units.
    pub min_fee: u64,
}

/// Why a transaction does not enter the mempool. None of these is provable: a peer's ledger may be ahead or behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// It is there already.
    #[error("transaction {0} is in the mempool already")]
    Known(TransactionId),
    /// Its nonce was used.
    #[error("nonce {nonce} was used already: the account's next is {next}")]
    Used {
        /// Of the transaction.
        nonce: u64,
        /// Of the account.
        next: u64,
    },
    /// Its nonce leaves too large a gap.
    #[error(
        "nonce {nonce} is too far ahead: the account's next is {next}, at most {limit} may wait"
    )]
    Ahead {
        /// Of the transaction.
        nonce: u64,
        /// Of the account.
        next: u64,
        /// Transactions that may wait for one sender.
        limit: usize,
    },
    /// The account cannot pay it beside what it already has waiting.
    #[error("the account holds {balance} units, this and what waits beside it cost {cost}")]
    Balance {
        /// Of the account.
        balance: u64,
        /// Of the transaction and the others that wait, less the one that it would replace.
        cost: u128,
    },
    /// The fee is below the least.
    #[error("a fee of {fee} units is below the least, {min_fee}")]
    Fee {
        /// Of the transaction.
        fee: u64,
        /// The least.
        min_fee: u64,
    },
    /// Another transaction has this nonce, and the fee is not enough to replace it.
    #[error("a fee of {fee} units does not replace transaction {other}: {wanted} would")]
    Replacement {
        /// Of the transaction.
        fee: u64,
        /// What it would replace.
        other: TransactionId,
        /// What would be enough.
        wanted: u64,
    },
    /// The mempool is full of transactions with higher fees.
    #[error("the mempool is full; a fee above {lowest} units gets in")]
    Full {
        /// The lowest fee in it.
        lowest: u64,
    },
}

impl AdmissionError {
    /// A fixed word, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Known(_) => "known",
            Self::Used { .. } => "used_nonce",
            Self::Ahead { .. } => "nonce_ahead",
            Self::Balance { .. } => "balance",
            Self::Fee { .. } => "fee",
            Self::Replacement { .. } => "replacement",
            Self::Full { .. } => "full",
        }
    }
}

/// What admission changed beside the new transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// The transaction of the same sender and nonce in whose place it is.
    pub replaced: Option<TransactionId>,
    /// Transactions that made room.
    pub evicted: Vec<TransactionId>,
}

/// The waiting transactions.
#[derive(Clone, Debug)]
pub struct Mempool {
    limits: MempoolLimits,
    /// Each sender's transactions by nonce.
    senders: BTreeMap<AccountId, BTreeMap<u64, SharedTransaction>>,
    by_id: BTreeMap<TransactionId, SharedTransaction>,
    /// By fee, lowest first; of equal fees the one with the greater id goes first.
    by_fee: BTreeSet<(u64, Reverse<TransactionId>)>,
}

impl Mempool {
    /// An empty one.
    pub fn new(limits: MempoolLimits) -> Self {
        Self {
            limits,
            senders: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_fee: BTreeSet::new(),
        }
    }

    /// Transactions.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Canonical bytes of all transactions.
    pub fn bytes(&self) -> usize {
        self.len() * TRANSACTION_BYTES
    }

    /// Whether a transaction waits.
    pub fn contains(&self, id: &TransactionId) -> bool {
        self.by_id.contains_key(id)
    }

    /// A waiting transaction.
    pub fn get(&self, id: &TransactionId) -> Option<&SharedTransaction> {
        self.by_id.get(id)
    }

    /// All transactions, by their ids ascending.
    pub fn by_id(&self) -> impl Iterator<Item = (TransactionId, &SharedTransaction)> {
        self.by_id
            .iter()
            .map(|(id, transaction)| (*id, transaction))
    }

    /// The ids of all transactions, ascending.
    pub fn ids(&self) -> impl Iterator<Item = TransactionId> {
        self.by_id.keys().copied()
    }

    /// Those of them from one on.
    pub fn ids_from(&self, from: &TransactionId) -> impl Iterator<Item = TransactionId> {
        self.by_id.range(from..).map(|(id, _)| *id)
    }

    /// All transactions: by sender, then by nonce.
    pub fn iter(&self) -> impl Iterator<Item = &SharedTransaction> {
        self.senders.values().flat_map(BTreeMap::values)
    }

    /// The nonce that the next transfer of `sender` should have, given the account's.
    pub fn next_nonce(&self, sender: &AccountId, account: &Account) -> u64 {
        let Some(waiting) = self.senders.get(sender) else {
            return account.nonce;
        };
        (account.nonce..)
            .find(|nonce| !waiting.contains_key(nonce))
            .unwrap_or(account.nonce)
    }

    /// Takes a transaction in, given its sender's account.
    pub fn admit(
        &mut self,
        transaction: SharedTransaction,
        account: &Account,
    ) -> Result<Admitted, AdmissionError> {
        let (id, transfer) = (transaction.id(), *transaction.transfer());
        if self.contains(&id) {
            return Err(AdmissionError::Known(id));
        }
        let min_fee = self.limits.min_fee;
        if transfer.fee < min_fee {
            return Err(AdmissionError::Fee {
                fee: transfer.fee,
                min_fee,
            });
        }
        self.check_sender(&transaction, account)?;
        let mut admitted = Admitted::default();
        if let Some(old) = self.at(&transfer.sender, transfer.nonce) {
            // A tenth more, so that a flood of replacements has a price (BIP125 asks for its relay's cost likewise).
            let fee = old.transfer().fee;
            let wanted = fee.saturating_add((fee / 10).max(1));
            if transfer.fee < wanted {
                let other = old.id();
                return Err(AdmissionError::Replacement {
                    fee: transfer.fee,
                    other,
                    wanted,
                });
            }
            let old = old.id();
            self.remove(&old);
            admitted.replaced = Some(old);
        } else {
            while self.is_full() {
                admitted.evicted.extend(self.make_room(&transfer)?);
            }
        }
        self.by_id
            .insert(id, SharedTransaction::clone(&transaction));
        self.by_fee.insert((transfer.fee, Reverse(id)));
        self.senders
            .entry(transfer.sender)
            .or_default()
            .insert(transfer.nonce, transaction);
        Ok(admitted)
    }

    fn check_sender(
        &self,
        transaction: &SharedTransaction,
        account: &Account,
    ) -> Result<(), AdmissionError> {
        let transfer = transaction.transfer();
        let (nonce, next, limit) = (transfer.nonce, account.nonce, self.limits.per_sender);
        if nonce < next {
            return Err(AdmissionError::Used { nonce, next });
        }
        if nonce - next >= limit as u64 {
            return Err(AdmissionError::Ahead { nonce, next, limit });
        }
        let cost = |transfer: &Transfer| u128::from(transfer.amount) + u128::from(transfer.fee);
        // Higher nonces count as well: else one balance, behind a gap that is never filled, offers its fees many times over.
        let beside: u128 = self.senders.get(&transfer.sender).map_or(0, |waiting| {
            waiting
                .range(next..)
                .filter(|(other, _)| **other != nonce)
                .map(|(_, transaction)| cost(transaction.transfer()))
                .sum()
        });
        let cost = beside + cost(transfer);
        if cost > u128::from(account.balance) {
            return Err(AdmissionError::Balance {
                balance: account.balance,
                cost,
            });
        }
        Ok(())
    }

    fn at(&self, sender: &AccountId, nonce: u64) -> Option<&SharedTransaction> {
        self.senders.get(sender)?.get(&nonce)
    }

    fn is_full(&self) -> bool {
        self.len() >= self.limits.transactions
            || self.bytes() + TRANSACTION_BYTES > self.limits.bytes
    }

    /// Evicts the transaction of the lowest fee and what its sender has waiting behind it, if `newcomer` pays more.
    fn make_room(&mut self, newcomer: &Transfer) -> Result<Vec<TransactionId>, AdmissionError> {
        let Some((lowest, Reverse(id))) = self.by_fee.first().copied() else {
            return Err(AdmissionError::Full { lowest: u64::MAX });
        };
        let &Transfer { sender, nonce, .. } = self.by_id[&id].transfer();
        // What would be evicted comes before the newcomer, which could then never be applied.
        let is_needed = sender == newcomer.sender && nonce < newcomer.nonce;
        if newcomer.fee <= lowest || is_needed {
            return Err(AdmissionError::Full { lowest });
        }
        let behind: Vec<_> = self.senders[&sender]
            .range(nonce..)
            .map(|(_, transaction)| transaction.id())
            .collect();
        for id in &behind {
            self.remove(id);
        }
        Ok(behind)
    }

    /// Takes a transaction out.
    pub fn remove(&mut self, id: &TransactionId) -> Option<SharedTransaction> {
        let transaction = self.by_id.remove(id)?;
        let transfer = transaction.transfer();
        self.by_fee.remove(&(transfer.fee, Reverse(*id)));
        if let Entry::Occupied(mut waiting) = self.senders.entry(transfer.sender) {
            waiting.get_mut().remove(&transfer.nonce);
            if waiting.get().is_empty() {
                waiting.remove();
            }
        }
        Some(transaction)
    }

    /// Takes out what `account`, the sender's new state, no longer allows: used nonces. Returns what went.
    pub fn forget_used(&mut self, sender: &AccountId, account: &Account) -> Vec<TransactionId> {
        let Entry::Occupied(mut waiting) = self.senders.entry(*sender) else {
            return Vec::new();
        };
        let left = waiting.get_mut().split_off(&account.nonce);
        let used = match left.is_empty() {
            true => waiting.remove(),
            false => waiting.insert(left),
        };
        for transaction in used.values() {
            let id = transaction.id();
            self.by_id.remove(&id);
            self.by_fee
                .remove(&(transaction.transfer().fee, Reverse(id)));
        }
        used.values().map(|transaction| transaction.id()).collect()
    }

    /// The most profitable transactions that can be applied in order, at most `limit`.
    ///
    /// Repeatedly the highest fee among each sender's next transaction. Ties go to the one whose id is lower under `salt`: miners
    /// with salts of their own choose different ones, so that parallel blocks do not carry the same. `account` reads the ledger.
    pub fn select<E>(
        &self,
        limit: usize,
        salt: u64,
        mut account: impl FnMut(&AccountId) -> Result<Account, E>,
    ) -> Result<Vec<SharedTransaction>, E> {
        let mut ready = BTreeSet::new();
        let mut states = BTreeMap::new();
        for (sender, waiting) in &self.senders {
            let state = account(sender)?;
            if let Some(next) = waiting.get(&state.nonce) {
                ready.insert(rank(next, salt));
            }
            states.insert(*sender, state);
        }
        let mut selected = Vec::new();
        while selected.len() < limit {
            let Some((_, _, sender)) = ready.pop_last() else {
                break;
            };
            let state = states
                .get_mut(&sender)
                .expect("every ready sender has a state");
            let transaction = &self.senders[&sender][&state.nonce];
            // What the sender receives in the same block is not counted on.
            if !state.allows(transaction.transfer()) {
                continue;
            }
            state.balance -= transaction.transfer().amount + transaction.transfer().fee;
            state.nonce += 1;
            selected.push(SharedTransaction::clone(transaction));
            if let Some(next) = self.senders[&sender].get(&state.nonce) {
                ready.insert(rank(next, salt));
            }
        }
        Ok(selected)
    }
}

/// By fee; then by the id under a salt, the lower the better. The sender comes along.
fn rank(
    transaction: &SharedTransaction,
    salt: u64,
) -> (u64, Reverse<(u64, TransactionId)>, AccountId) {
    let (id, transfer) = (transaction.id(), transaction.transfer());
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    let salted = u64::from_be_bytes([a, b, c, d, e, f, g, h]) ^ salt;
    (transfer.fee, Reverse((salted, id)), transfer.sender)
}
