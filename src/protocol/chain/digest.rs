//! LtHash: a hash of a set that is updated and undone in time proportional to what changed.
//!
//! Source: Bellare and Micciancio 1997; Lewi, Kim, Maykov and Weis, "Securing Update Propagation with Homomorphic Hashing",
//! 2019: 1,024 lanes of 16 bits, each element stretched by an extendable-output function (here BLAKE3), lanes added modulo 2^16.

use std::fmt;
use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};

use super::id::{AccountId, StateDigest};
use super::ledger::Account;

const LANES: usize = 1_024;

/// The number of bytes of an accumulator.
pub const ACCUMULATOR_BYTES: usize = 2 * LANES;

/// The multiset hash of all accounts. Adding and removing commute and cancel. A clone costs nothing until it is changed, and the
/// digest is computed once.
#[derive(Clone, Default)]
pub struct Accumulator(Arc<Sum>);

#[derive(Clone)]
struct Sum {
    lanes: [u16; LANES],
    digest: OnceLock<StateDigest>,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            lanes: [0; LANES],
            digest: OnceLock::new(),
        }
    }
}

impl PartialEq for Accumulator {
    fn eq(&self, other: &Self) -> bool {
        self.0.lanes == other.0.lanes
    }
}

impl Eq for Accumulator {}

impl fmt::Debug for Accumulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Accumulator({:.12})", self.digest())
    }
}

impl Accumulator {
    /// Adds one account. An empty account is not in the set: nothing is added.
    pub fn add(&mut self, id: &AccountId, account: &Account) {
        self.combine(id, account, u16::wrapping_add);
    }

    /// Takes one account out again.
    pub fn remove(&mut self, id: &AccountId, account: &Account) {
        self.combine(id, account, u16::wrapping_sub);
    }

    fn combine(
        &mut self,
        id: &AccountId,
        account: &Account,
        // Not a pointer: 1,024 calls of one cost as much as the hash.
        operation: impl Fn(u16, u16) -> u16,
    ) {
        if account.is_empty() {
            return;
        }
        let mut hasher = blake3::Hasher::new_derive_key("triskel 2026 account");
        hasher
            .update(&id.0)
            .update(&account.balance.to_le_bytes())
            .update(&account.nonce.to_le_bytes());
        let mut element = [0; ACCUMULATOR_BYTES];
        hasher.finalize_xof().fill(&mut element);
        let sum = Arc::make_mut(&mut self.0);
        sum.digest = OnceLock::new();
        for (lane, bytes) in sum.lanes.iter_mut().zip(element.chunks_exact(2)) {
            *lane = operation(*lane, u16::from_le_bytes([bytes[0], bytes[1]]));
        }
    }

    /// The 32 bytes that a header commits to.
    pub fn digest(&self) -> StateDigest {
        let digest = || StateDigest(Sha256::digest(self.to_bytes()).into());
        *self.0.digest.get_or_init(digest)
    }

    /// The lanes, little-endian.
    pub fn to_bytes(&self) -> [u8; ACCUMULATOR_BYTES] {
        let mut bytes = [0; ACCUMULATOR_BYTES];
        for (slot, lane) in bytes.chunks_exact_mut(2).zip(&self.0.lanes) {
            slot.copy_from_slice(&lane.to_le_bytes());
        }
        bytes
    }

    /// The accumulator whose lanes are `bytes`.
    pub fn from_bytes(bytes: &[u8; ACCUMULATOR_BYTES]) -> Self {
        let mut sum = Sum::default();
        for (lane, slot) in sum.lanes.iter_mut().zip(bytes.chunks_exact(2)) {
            *lane = u16::from_le_bytes([slot[0], slot[1]]);
        }
        Self(Arc::new(sum))
    }
}
