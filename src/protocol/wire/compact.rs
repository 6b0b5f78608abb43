//! Compact blocks: a block without the transactions that its receiver most likely has. The form is that of BIP152.
//!
//! A short id is 6 bytes of SipHash-2-4 of the transaction's id, under a key that follows from the header and a number that
//! the sender draws: whoever makes transactions cannot choose two that collide, and what collides by
//! chance does so for one sender only.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use bincode::{Decode, Encode};
use sha2::{Digest as _, Sha256};
use siphasher::sip::SipHasher24;

use super::message::MessageError;
use crate::protocol::chain::block::{Block, Body, Header, Heading};
use crate::protocol::chain::id::{AccountId, TransactionId};
use crate::protocol::chain::params::Network;
use crate::protocol::chain::transaction::{SharedTransaction, TRANSACTION_BYTES, Transaction};

/// What stands for a transaction of which only the id is known.
pub type ShortId = [u8; 6];

/// Canonical bytes of a transaction.
pub type TransactionBytes = [u8; TRANSACTION_BYTES];

/// A block in which short ids stand for transactions, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CompactBlock {
    /// Canonical bytes of the header with its parents.
    pub heading: Vec<u8>,
    /// See [`Body`].
    pub miner: AccountId,
    /// See [`Body`].
    pub extra_nonce: u64,
    /// Drawn by the sender: part of the key of the short ids.
    pub nonce: u64,
    /// In the order of the block, without those that are prefilled.
    pub short_ids: Vec<ShortId>,
    /// Transactions that the receiver most likely lacks, with their indexes in the block, ascending.
    pub prefilled: Vec<(u32, TransactionBytes)>,
}

/// The key of a block's short ids.
struct ShortIds(SipHasher24);

impl ShortIds {
    fn new(header: &Header, nonce: u64) -> Self {
        let key = Sha256::new()
            .chain_update(header.to_bytes())
            .chain_update(nonce.to_le_bytes())
            .finalize();
        let half = |at: usize| {
            let bytes = key[at..at + 8].try_into();
            u64::from_le_bytes(bytes.expect("a SHA-256 has 32 bytes"))
        };
        Self(SipHasher24::new_with_keys(half(0), half(8)))
    }

    fn of(&self, id: &TransactionId) -> ShortId {
        let mut hasher = self.0;
        hasher.write(&id.0);
        let [a, b, c, d, e, f, ..] = hasher.finish().to_le_bytes();
        [a, b, c, d, e, f]
    }
}

impl CompactBlock {
    /// A block without its transactions, but for those at `prefilled`, ascending.
    pub fn new(block: &Block, nonce: u64, prefilled: &[u32]) -> Self {
        let (body, keyed) = (block.body(), ShortIds::new(block.header(), nonce));
        let mut compact = Self {
            heading: block.heading().to_bytes(),
            miner: body.miner,
            extra_nonce: body.extra_nonce,
            nonce,
            short_ids: Vec::with_capacity(body.transactions.len()),
            prefilled: Vec::with_capacity(prefilled.len()),
        };
        let mut prefilled = prefilled.iter().copied().peekable();
        for (index, transaction) in (0..).zip(&body.transactions) {
            match prefilled.next_if_eq(&index) {
                Some(_) => compact.prefilled.push((index, transaction.to_bytes())),
                None => compact.short_ids.push(keyed.of(&transaction.id())),
            }
        }
        compact
    }

    /// Bytes that its message takes, without the prefix of the frame.
    pub fn message_bytes(&self) -> usize {
        let lists = 6 * self.short_ids.len() + (4 + TRANSACTION_BYTES) * self.prefilled.len();
        4 + 8 + self.heading.len() + 32 + 8 + 8 + 8 + 8 + lists
    }

    /// Reads what is inside and checks everything that needs no mempool.
    pub(super) fn check(
        self,
        network: &Network,
        is_checked: &dyn Fn(&TransactionId) -> bool,
    ) -> Result<Sketch, MessageError> {
        let heading = Heading::decode(&self.heading, network)?;
        let count = self.short_ids.len() + self.prefilled.len();
        let stream = network.stream(heading.header().stream);
        let limit = stream.map_or(0, |stream| stream.params.max_transactions as usize);
        if count > limit {
            let what = "transactions in a compact block";
            return Err(MessageError::Count { what, count, limit });
        }
        let indexes = self.prefilled.iter().map(|(index, _)| *index);
        check_indexes(indexes, count)?;
        let mut slots = vec![None; count];
        for (index, bytes) in &self.prefilled {
            let transaction = Transaction::decode_knowing(bytes, &network.id(), is_checked)?;
            slots[*index as usize] = Some(SharedTransaction::new(transaction));
        }
        let empty = (0..count).filter(|index| slots[*index].is_none());
        let short_ids = self.short_ids.into_iter().zip(empty).collect();
        Ok(Sketch {
            heading,
            miner: self.miner,
            extra_nonce: self.extra_nonce,
            nonce: self.nonce,
            short_ids,
            slots,
        })
    }
}

/// Holds indexes against the number of transactions in a block: ascending, none twice, none beyond the end.
pub(super) fn check_indexes(
    indexes: impl Iterator<Item = u32> + Clone,
    count: usize,
) -> Result<(), MessageError> {
    let ascends = indexes.clone().is_sorted_by(|index, next| index < next);
    match ascends && indexes.last().is_none_or(|last| (last as usize) < count) {
        true => Ok(()),
        false => Err(MessageError::Indexes),
    }
}

/// A compact block whose work was checked, and whose transactions are being put in their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    heading: Heading,
    miner: AccountId,
    extra_nonce: u64,
    nonce: u64,
    /// With the slots that they are for.
    short_ids: Vec<(ShortId, usize)>,
    slots: Vec<Option<SharedTransaction>>,
}

impl Sketch {
    /// Header, id and parents.
    pub fn heading(&self) -> &Heading {
        &self.heading
    }

    /// Puts transactions in the places for which their short ids say that they are meant, of all that are offered.
    ///
    /// A place for which two are offered stays empty: which of them is meant the sender knows. False if the block itself has a
    /// short id twice: then none of its short ids says anything. All of this is chance, and nobody's fault.
    pub fn fill<'a>(
        &mut self,
        offered: impl Iterator<Item = (TransactionId, &'a SharedTransaction)>,
    ) -> bool {
        let mut wanted = BTreeMap::new();
        for (short_id, index) in &self.short_ids {
            if self.slots[*index].is_none() && wanted.insert(*short_id, (*index, None)).is_some() {
                return false;
            }
        }
        let keyed = ShortIds::new(self.heading.header(), self.nonce);
        for (id, one) in offered {
            let Some((index, found)) = wanted.get_mut(&keyed.of(&id)) else {
                continue;
            };
            match found {
                None => {
                    *found = Some(id);
                    self.slots[*index] = Some(SharedTransaction::clone(one));
                }
                Some(other) if *other == id => {}
                Some(_) => self.slots[*index] = None,
            }
        }
        true
    }

    /// The places that are empty.
    pub fn missing(&self) -> Vec<u32> {
        let slots = (0..).zip(&self.slots);
        let empty = slots.filter(|(_, slot)| slot.is_none());
        empty.map(|(index, _)| index).collect()
    }

    /// Puts transactions in the places that are empty, in order. False if they are not as many.
    pub fn complete(&mut self, transactions: Vec<SharedTransaction>) -> bool {
        let mut transactions = transactions.into_iter();
        for slot in self.slots.iter_mut().filter(|slot| slot.is_none()) {
            *slot = transactions.next();
        }
        transactions.next().is_none() && self.slots.iter().all(Option::is_some)
    }

    /// The block, once no place is empty. `None` if it is not the one that the header commits to, because a transaction was put
    /// in the place of another with the same short id: nobody's fault either.
    pub fn into_block(self) -> Option<Block> {
        let transactions = self.slots.into_iter().collect::<Option<Vec<_>>>()?;
        let body = Body {
            miner: self.miner,
            extra_nonce: self.extra_nonce,
            transactions,
        };
        Block::join(self.heading, body)
    }
}
