//! Accounts as they are stored, as far as they were read or written lately. sled takes 4 to 14 µs to find one, and each transfer
//! asks for two, some of them several times.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::protocol::chain::id::AccountId;
use crate::protocol::chain::ledger::Account;

/// Accounts in a generation: two of them take some 3 MB.
const MOST: usize = 16_384;

/// Kept by generations: what is not used while a whole one fills is forgotten.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<Generations>);

#[derive(Debug, Default)]
pub(super) struct Generations {
    young: BTreeMap<AccountId, Account>,
    old: BTreeMap<AccountId, Account>,
}

impl Accounts {
    /// Nobody reads while the guard is held: a write to the store and to this belong together, and a read and what is kept of it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    pub(super) fn get(&mut self, id: &AccountId) -> Option<Account> {
        if let Some(account) = self.young.get(id) {
            return Some(*account);
        }
        let account = self.old.remove(id)?;
        self.keep(*id, account);
        Some(account)
    }

    pub(super) fn keep(&mut self, id: AccountId, account: Account) {
        if self.young.len() == MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, account);
    }

    /// For a store that is closed, or of whose last write it is not known how much was done.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
