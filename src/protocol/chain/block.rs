//! Blocks: header, parents and body; their canonical bytes, identity and the checks that need no ledger.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::codec::{CodecError, Reader};
use super::id::{AccountId, BlockId, StateDigest, TransactionId};
use super::merkle;
use super::params::{Algorithm, Network};
use super::transaction::{SharedTransaction, TRANSACTION_BYTES, Transaction, TransactionError};
use super::work::{BitsError, Target};
use crate::protocol::bugs::{Defence, lacks};

/// The number of canonical bytes of a header: three SHA-256 compressions for a SHA-256d, the first of which a midstate saves.
pub const HEADER_BYTES: usize = 119;

/// The version that every header carries.
pub const HEADER_VERSION: u16 = 1;

/// One of the up to three streams of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// The slowest, with the largest blocks.
    #[default]
    A,
    /// The middle one.
    B,
    /// The fastest.
    C,
}

impl Stream {
    /// All streams, in order.
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    /// 0 for A, 1 for B, 2 for C.
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(["A", "B", "C"][self.index()])
    }
}

/// A text that is not the name of a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stream: A, B or C")]
pub struct ParseStreamError(String);

impl FromStr for Stream {
    type Err = ParseStreamError;

    fn from_str(text: &str) -> Result<Self, ParseStreamError> {
        let wanted = |stream: &Self| stream.to_string().eq_ignore_ascii_case(text);
        Self::ALL
            .into_iter()
            .find(wanted)
            .ok_or_else(|| ParseStreamError(text.to_owned()))
    }
}

/// What is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The stream that the block was mined in.
    pub stream: Stream,
    /// The Merkle root of the parents' ids.
    pub parents_root: [u8; 32],
    /// The Merkle root of the body.
    pub body_root: [u8; 32],
    /// The digest of all accounts after everything that the parents stand for, before this block.
    pub state_digest: StateDigest,
    /// When the miner found the block, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// The target, in compact form.
    pub bits: u32,
    /// What the miner searched for.
    pub nonce: u64,
}

impl Header {
    /// The canonical bytes. Timestamp, bits and nonce come last: a midstate covers what a miner does not change.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..2].copy_from_slice(&HEADER_VERSION.to_le_bytes());
        bytes[2] = self.stream as u8;
        bytes[3..35].copy_from_slice(&self.parents_root);
        bytes[35..67].copy_from_slice(&self.body_root);
        bytes[67..99].copy_from_slice(&self.state_digest.0);
        bytes[99..107].copy_from_slice(&self.timestamp_ms.to_le_bytes());
        bytes[107..111].copy_from_slice(&self.bits.to_le_bytes());
        bytes[111..119].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u16()?;
        if version != HEADER_VERSION {
            return Err(CodecError::Unknown {
                what: "header version",
                value: version.into(),
            });
        }
        let stream = reader.u8()?;
        let stream = *Stream::ALL
            .get(usize::from(stream))
            .ok_or_else(|| CodecError::Unknown {
                what: "stream",
                value: stream.into(),
            })?;
        Ok(Self {
            stream,
            parents_root: reader.array()?,
            body_root: reader.array()?,
            state_digest: StateDigest(reader.array()?),
            timestamp_ms: reader.u64()?,
            bits: reader.u32()?,
            nonce: reader.u64()?,
        })
    }

    /// SHA-256d of the canonical bytes.
    pub fn id(&self) -> BlockId {
        BlockId(Sha256::digest(Sha256::digest(self.to_bytes())).into())
    }
}

/// Why bytes are not a block that could ever be part of this network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not canonical bytes.
    #[error("block: {0}")]
    Codec(#[from] CodecError),
    /// A stream that this network does not have.
    #[error("block {0}: this network has no stream {1}")]
    NoSuchStream(BlockId, Stream),
    /// The bits are no target.
    #[error("block {0}: {1}")]
    Bits(BlockId, BitsError),
    /// The target is easier than the stream allows.
    #[error("block {0}: its target is easier than the limit of stream {1}")]
    TooEasy(BlockId, Stream),
    /// The hash does not reach the target.
    #[error("block {0}: its hash does not reach its target")]
    NoWork(BlockId),
    /// The parents are none, too many, not ascending, or not those that the header commits to.
    #[error("block {0}: {1}")]
    Parents(BlockId, &'static str),
    /// The body is not the one that the header commits to.
    #[error("block {0}: the body is not the one that its header commits to")]
    BodyRoot(BlockId),
    /// More transactions than the stream allows.
    #[error("block {id}: {count} transactions, stream {stream} allows {limit}")]
    TooManyTransactions {
        /// The block.
        id: BlockId,
        /// Its stream.
        stream: Stream,
        /// What it carries.
        count: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A transaction that no block may carry.
    #[error("block {0}: {1}")]
    Transaction(BlockId, TransactionError),
}

/// A header with the parents that it commits to, its proof of work checked. What sync exchanges before bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    header: Header,
    id: BlockId,
    parents: Vec<BlockId>,
}

impl Heading {
    /// Reads canonical bytes (header, count of parents, parents) and checks proof of work and parents.
    pub fn decode(bytes: &[u8], network: &Network) -> Result<Self, BlockError> {
        let mut reader = Reader::new(bytes);
        let heading = Self::read(&mut reader)?;
        reader.finish()?;
        heading.check(network)?;
        Ok(heading)
    }

    /// Reads canonical bytes that this node has checked before it stored them.
    pub fn decode_checked_before(bytes: &[u8]) -> Result<Self, BlockError> {
        let mut reader = Reader::new(bytes);
        let heading = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(heading)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let header = Header::from_bytes(&reader.array()?)?;
        let count = Reader::bounded(reader.u8()?, MAX_PARENTS as u64)?;
        let parents = (0..count)
            .map(|_| reader.array().map(BlockId))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            header,
            id: header.id(),
            parents,
        })
    }

    fn check(&self, network: &Network) -> Result<(), BlockError> {
        let (header, id) = (&self.header, self.id);
        let Some(stream) = network.stream(header.stream) else {
            return Err(BlockError::NoSuchStream(id, header.stream));
        };
        let target = Target::from_bits(header.bits).map_err(|error| BlockError::Bits(id, error))?;
        if target > stream.schedule.limit {
            return Err(BlockError::TooEasy(id, header.stream));
        }
        if !is_solved(stream.params.algorithm, header, target) {
            return Err(BlockError::NoWork(id));
        }
        if self.parents.is_empty() || self.parents.len() > network.params().max_parents.into() {
            return Err(BlockError::Parents(
                id,
                "no parents, or more than this network allows",
            ));
        }
        if !self.parents.is_sorted_by(|left, right| left < right) {
            return Err(BlockError::Parents(
                id,
                "the parents are not distinct and ascending",
            ));
        }
        if parents_root(&self.parents) != header.parents_root {
            return Err(BlockError::Parents(
                id,
                "the parents are not those of the header",
            ));
        }
        Ok(())
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The block's id.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// The parents, distinct and ascending. None in genesis alone.
    pub fn parents(&self) -> &[BlockId] {
        &self.parents
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 1 + 32 * self.parents.len());
        bytes.extend_from_slice(&self.header.to_bytes());
        bytes.push(self.parents.len() as u8);
        bytes.extend(self.parents.iter().flat_map(|parent| parent.0));
        bytes
    }
}

/// The most parents that any network may allow: a byte counts them, and a DAG needs no more (Kaspa's range is 10 to 16).
pub const MAX_PARENTS: usize = 16;

/// The most transactions that any network may allow in one block.
pub const MAX_TRANSACTIONS: usize = 10_000;

/// The most canonical bytes that any block of any network can have.
pub const MAX_BLOCK_BYTES: usize =
    HEADER_BYTES + 1 + 32 * MAX_PARENTS + 32 + 8 + 4 + MAX_TRANSACTIONS * TRANSACTION_BYTES;

/// A whole block. Whoever holds one knows that its proof of work, its commitments and its signatures were checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    heading: Heading,
    body: Body,
    bytes: Arc<[u8]>,
}

/// What a block carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Who receives reward and fees.
    pub miner: AccountId,
    /// Makes two blocks of one miner differ when all else is equal.
    pub extra_nonce: u64,
    /// In the order in which they are applied.
    pub transactions: Vec<SharedTransaction>,
}

impl Body {
    /// The Merkle root: the first leaf is miner and extra nonce, the others are the transactions.
    pub fn root(&self) -> [u8; 32] {
        let mut leaves = Vec::with_capacity(1 + self.transactions.len());
        leaves.push(merkle::leaf(&self.first_leaf()));
        leaves.extend(
            self.transactions
                .iter()
                .map(|transaction| transaction.leaf()),
        );
        merkle::root(leaves)
    }

    fn first_leaf(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(&self.miner.0);
        bytes[32..].copy_from_slice(&self.extra_nonce.to_le_bytes());
        bytes
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Block({:.12}, {} bytes)",
            self.id(),
            self.bytes.len()
        )
    }
}

impl Block {
    /// Reads canonical bytes and checks everything that needs no other block: form, proof of work, commitments, signatures.
    pub fn decode(bytes: Arc<[u8]>, network: &Network) -> Result<Self, BlockError> {
        Self::decode_knowing(bytes, network, &|_| false)
    }

    /// The same, without the signatures of transactions that `is_checked` says were checked before.
    pub fn decode_knowing(
        bytes: Arc<[u8]>,
        network: &Network,
        is_checked: &dyn Fn(&TransactionId) -> bool,
    ) -> Result<Self, BlockError> {
        let block = Self::read(bytes, Some(network))?;
        for transaction in &block.body.transactions {
            if !is_checked(&transaction.id()) {
                let checked = transaction.check_signature(&network.id());
                checked.map_err(|error| BlockError::Transaction(block.id(), error))?;
            }
        }
        Ok(block)
    }

    /// Reads canonical bytes that this node has checked before it stored them.
    pub fn decode_checked_before(bytes: Arc<[u8]>) -> Result<Self, BlockError> {
        Self::read(bytes, None)
    }

    fn read(bytes: Arc<[u8]>, network: Option<&Network>) -> Result<Self, BlockError> {
        let mut reader = Reader::new(&bytes);
        let heading = Heading::read(&mut reader)?;
        let id = heading.id;
        // Work first: whoever has none to show costs no further time.
        let mut limit = MAX_TRANSACTIONS;
        if let Some(network) = network {
            heading.check(network)?;
            let stream = network
                .stream(heading.header.stream)
                .expect("check found the stream");
            limit = stream.params.max_transactions as usize;
        }
        let miner = AccountId(reader.array()?);
        let extra_nonce = reader.u64()?;
        let count = Reader::bounded(reader.u32()?, MAX_TRANSACTIONS as u64)?;
        if count > limit {
            let stream = heading.header.stream;
            return Err(BlockError::TooManyTransactions {
                id,
                stream,
                count,
                limit,
            });
        }
        let encoded = reader.take(count * TRANSACTION_BYTES)?;
        reader.finish()?;
        let refuse = |error| BlockError::Transaction(id, error);
        let unsigned = encoded
            .chunks_exact(TRANSACTION_BYTES)
            .map(|bytes| {
                Transaction::decode_checked_before(bytes)
                    .map(Arc::new)
                    .map_err(refuse)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let body = Body {
            miner,
            extra_nonce,
            transactions: unsigned,
        };
        // The commitment before the signatures: a body that is not the header's proves nothing against the header.
        let is_other = network.is_some() && body.root() != heading.header.body_root;
        if is_other && !lacks(Defence::BodyCommitment) {
            return Err(BlockError::BodyRoot(id));
        }
        Ok(Self {
            heading,
            body,
            bytes,
        })
    }

    /// Joins what a miner found. The caller has checked the proof of work.
    pub(super) fn assemble(header: Header, parents: Vec<BlockId>, body: Body) -> Self {
        let id = header.id();
        let heading = Heading {
            header,
            id,
            parents,
        };
        Self::bind(heading, body)
    }

    /// Joins a heading with the body that it commits to; `None` if that is another. The body's signatures were checked.
    pub fn join(heading: Heading, body: Body) -> Option<Self> {
        (body.root() == heading.header.body_root).then(|| Self::bind(heading, body))
    }

    fn bind(heading: Heading, body: Body) -> Self {
        let mut bytes = heading.to_bytes();
        bytes.reserve_exact(44 + body.transactions.len() * TRANSACTION_BYTES);
        bytes.extend_from_slice(&body.first_leaf());
        bytes.extend_from_slice(&(body.transactions.len() as u32).to_le_bytes());
        for transaction in &body.transactions {
            bytes.extend_from_slice(&transaction.to_bytes());
        }
        Self {
            heading,
            body,
            bytes: bytes.into(),
        }
    }

    /// Header, id and parents.
    pub fn heading(&self) -> &Heading {
        &self.heading
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.heading.header
    }

    /// The block's id.
    pub fn id(&self) -> BlockId {
        self.heading.id
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The canonical bytes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

/// The root that commits to a list of parents.
pub fn parents_root(parents: &[BlockId]) -> [u8; 32] {
    merkle::root(
        parents
            .iter()
            .map(|parent| merkle::leaf(&parent.0))
            .collect(),
    )
}

/// The hash of a header by which its stream measures work.
pub fn work_hash(algorithm: Algorithm, header: &[u8; HEADER_BYTES]) -> [u8; 32] {
    match algorithm {
        Algorithm::None => [0; 32],
        Algorithm::Sha256d => Sha256::digest(Sha256::digest(header)).into(),
        Algorithm::Blake3 => *blake3::hash(header).as_bytes(),
        Algorithm::Sha3 => sha3::Sha3_256::digest(header).into(),
    }
}

pub(super) fn is_solved(algorithm: Algorithm, header: &Header, target: Target) -> bool {
    target.is_reached_by(work_hash(algorithm, &header.to_bytes()))
}
