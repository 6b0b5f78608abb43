//! Transfers: the one kind of transaction. Canonical bytes, identity and signature.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::codec::{CodecError, Reader};
use super::id::{AccountId, BlockId, TransactionId};
use super::key::{self, KeyPair};
use super::merkle;

/// Units in one coin. Amounts are counted in units everywhere but in texts for people.
pub const UNITS_PER_COIN: u64 = 100_000_000;

/// The number of canonical bytes of every transaction.
pub const TRANSACTION_BYTES: usize = UNSIGNED_BYTES + 64;

const UNSIGNED_BYTES: usize = 1 + 32 + 32 + 8 + 8 + 8;
const VERSION: u8 = 1;
const SIGNING_TAG: &str = "triskel/transfer";

/// What a sender orders: `amount` units to `recipient`, `fee` units to the miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Who pays, and whose key signs.
    pub sender: AccountId,
    /// Who receives.
    pub recipient: AccountId,
    /// Units moved. May be 0.
    pub amount: u64,
    /// Units for the miner of the block.
    pub fee: u64,
    /// The number of transfers that the sender has made before this one.
    pub nonce: u64,
}

impl Transfer {
    fn bytes(&self) -> [u8; UNSIGNED_BYTES] {
        let mut bytes = [0; UNSIGNED_BYTES];
        bytes[0] = VERSION;
        bytes[1..33].copy_from_slice(&self.sender.0);
        bytes[33..65].copy_from_slice(&self.recipient.0);
        bytes[65..73].copy_from_slice(&self.amount.to_le_bytes());
        bytes[73..81].copy_from_slice(&self.fee.to_le_bytes());
        bytes[81..89].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// The 32 bytes that are signed. The network's id is among what they hash, so no other network accepts the signature.
    pub fn signing_hash(&self, network: &BlockId) -> [u8; 32] {
        key::tagged_hash(SIGNING_TAG, &[&network.0, &self.bytes()])
    }

    /// Signs the transfer for one network. `keys` must be the sender's.
    pub fn sign(self, network: &BlockId, keys: &KeyPair) -> Transaction {
        debug_assert_eq!(
            self.sender,
            keys.public(),
            "a transfer is signed by its sender"
        );
        let signature = keys.sign(&self.signing_hash(network));
        Transaction::assemble(self, signature)
    }

    /// What leaves the sender's balance; `None` when it does not fit 64 bits.
    pub fn cost(&self) -> Option<u64> {
        self.amount.checked_add(self.fee)
    }
}

/// Why bytes are not a transaction that a block may carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Not canonical bytes.
    #[error("transaction: {0}")]
    Codec(#[from] CodecError),
    /// Amount and fee together exceed 64 bits.
    #[error("transaction {0}: amount and fee overflow")]
    Overflow(TransactionId),
    /// Not signed by the sender for this network.
    #[error("transaction {0}: the signature is not the sender's for this network")]
    Signature(TransactionId),
}

/// A transfer with a signature that has been checked for one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    transfer: Transfer,
    signature: [u8; 64],
    id: TransactionId,
    leaf: [u8; 32],
}

impl Transaction {
    fn assemble(transfer: Transfer, signature: [u8; 64]) -> Self {
        let mut transaction = Self {
            transfer,
            signature,
            id: TransactionId::default(),
            leaf: [0; 32],
        };
        let bytes = transaction.to_bytes();
        transaction.id = TransactionId(Sha256::digest(Sha256::digest(bytes)).into());
        transaction.leaf = merkle::leaf(&bytes);
        transaction
    }

    /// Reads canonical bytes and checks everything that needs no ledger, the signature included.
    pub fn decode(bytes: &[u8], network: &BlockId) -> Result<Self, TransactionError> {
        Self::decode_knowing(bytes, network, &|_| false)
    }

    /// The same, without the signature if `is_checked` says that it was checked before.
    pub fn decode_knowing(
        bytes: &[u8],
        network: &BlockId,
        is_checked: &dyn Fn(&TransactionId) -> bool,
    ) -> Result<Self, TransactionError> {
        let transaction = Self::decode_checked_before(bytes)?;
        if !is_checked(&transaction.id) {
            transaction.check_signature(network)?;
        }
        Ok(transaction)
    }

    pub(super) fn check_signature(&self, network: &BlockId) -> Result<(), TransactionError> {
        let hash = self.transfer.signing_hash(network);
        if key::verify(&self.transfer.sender, &hash, &self.signature) {
            return Ok(());
        }
        Err(TransactionError::Signature(self.id))
    }

    /// Reads canonical bytes whose signature this node has checked before it stored them.
    pub fn decode_checked_before(bytes: &[u8]) -> Result<Self, TransactionError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            let unknown = CodecError::Unknown {
                what: "transaction version",
                value: version.into(),
            };
            return Err(unknown.into());
        }
        let transfer = Transfer {
            sender: AccountId(reader.array()?),
            recipient: AccountId(reader.array()?),
            amount: reader.u64()?,
            fee: reader.u64()?,
            nonce: reader.u64()?,
        };
        let signature = reader.array()?;
        reader.finish()?;
        let transaction = Self::assemble(transfer, signature);
        match transfer.cost() {
            Some(_) => Ok(transaction),
            None => Err(TransactionError::Overflow(transaction.id)),
        }
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> [u8; TRANSACTION_BYTES] {
        let mut bytes = [0; TRANSACTION_BYTES];
        bytes[..UNSIGNED_BYTES].copy_from_slice(&self.transfer.bytes());
        bytes[UNSIGNED_BYTES..].copy_from_slice(&self.signature);
        bytes
    }

    /// SHA-256d of the canonical bytes.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// What the sender ordered.
    pub fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// The leaf that stands for this transaction in a block's Merkle tree.
    pub(crate) fn leaf(&self) -> [u8; 32] {
        self.leaf
    }
}

/// Transactions are shared between the mempool, templates and blocks.
pub type SharedTransaction = Arc<Transaction>;
