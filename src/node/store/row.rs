//! Rows: the keys and values of the one tree. bincode envelopes around canonical bytes.
//!
//! | key | value |
//! |---|---|
//! | `m` and a name | format version, network id, tip |
//! | `h` and a block's id | its place |
//! | `b`, a body's number, a chunk's number | a chunk of the block's canonical bytes, until that is pruned |
//! | `u`, a body's number, a chunk's number | a chunk of what undoing the block needs |
//! | `n` and a number | the block at that position of the order, and its colour |
//! | `o` and a block's id | its position in the order |
//! | `a` and an account | what it holds |
//! | `t` and a transaction's id | where it was applied |
//! | `p` and a transaction's id | a submission that waits |
//! | `d` and an address | what is known of it: a node may be dialled there |

use std::net::SocketAddr;

use bincode::{Decode, Encode};

use crate::protocol::chain::block::{HEADER_BYTES, Heading};
use crate::protocol::chain::digest::{ACCUMULATOR_BYTES, Accumulator};
use crate::protocol::chain::id::BlockId;
use crate::protocol::chain::view::{Fault, Merged, Progress, Record, Tip};
use crate::protocol::chain::work::Work;
use crate::protocol::wire::message::PeerAddress;

/// The format that this program reads and writes.
pub(super) const FORMAT: u32 = 2;

pub(super) const FORMAT_KEY: &[u8] = b"mformat";
pub(super) const NETWORK_KEY: &[u8] = b"mnetwork";
pub(super) const TIP_KEY: &[u8] = b"mtip";

/// Bytes of a chunk. sled moves a leaf whose values exceed a quarter of a segment (512 KiB) into a file of its own, which it never
/// syncs: 17 values of 6 KiB stay below, and 7,000 bytes were measured to.
pub(super) const CHUNK_BYTES: usize = 6 * 1_024;

/// The key of a row that is named by 32 bytes.
pub(super) fn named(kind: u8, name: &[u8; 32]) -> [u8; 33] {
    let mut key = [kind; 33];
    key[1..].copy_from_slice(name);
    key
}

/// The key of a position, or the prefix of a body's chunks. Big-endian, so that keys sort as numbers do.
pub(super) fn numbered(kind: u8, number: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The key of a chunk.
pub(super) fn chunk(kind: u8, number: u64, index: usize) -> [u8; 13] {
    let mut key = [0; 13];
    key[..9].copy_from_slice(&numbered(kind, number));
    key[9..].copy_from_slice(&(index as u32).to_be_bytes());
    key
}

/// The key of an address.
pub(super) fn dialled(address: SocketAddr) -> Vec<u8> {
    [&b"d"[..], &encode(&PeerAddress::from(address))].concat()
}

/// A block's place, and the number of its body.
#[derive(Encode, Decode)]
pub(super) struct RecordRow {
    heading: Vec<u8>,
    selected_parent: BlockId,
    number: u64,
    blue_score: u64,
    own_work: Work,
    work: Work,
    streams: [Progress; 3],
    merged: Vec<Merged>,
    anticones: Vec<(BlockId, u16)>,
    invalid: bool,
    pub(super) body: u64,
}

impl RecordRow {
    pub(super) fn new(record: &Record, body: u64) -> Self {
        Self {
            heading: record.heading.to_bytes(),
            selected_parent: record.selected_parent,
            number: record.number,
            blue_score: record.blue_score,
            own_work: record.own_work,
            work: record.work,
            streams: record.streams,
            merged: record.merged.clone(),
            anticones: record.anticones.clone(),
            invalid: record.invalid,
            body,
        }
    }

    pub(super) fn record(self) -> Result<Record, Fault> {
        debug_assert!(
            self.heading.len() > HEADER_BYTES,
            "a heading is a header and more"
        );
        let heading = Heading::decode_checked_before(&self.heading);
        Ok(Record {
            heading: heading
                .map_err(|error| Fault(format!("a stored header is damaged: {error}")))?,
            selected_parent: self.selected_parent,
            number: self.number,
            blue_score: self.blue_score,
            own_work: self.own_work,
            work: self.work,
            streams: self.streams,
            merged: self.merged,
            anticones: self.anticones,
            invalid: self.invalid,
        })
    }
}

/// The tip and the state after it.
#[derive(Encode, Decode)]
pub(super) struct TipRow {
    id: BlockId,
    parents: Vec<BlockId>,
    tips: Vec<BlockId>,
    number: u64,
    work: Work,
    blue_score: u64,
    streams: [Progress; 3],
    accumulator: Vec<u8>,
    issued: u64,
    transactions: u64,
    pruned: u64,
}

impl TipRow {
    pub(super) fn new(tip: &Tip) -> Self {
        Self {
            id: tip.id,
            parents: tip.parents.clone(),
            tips: tip.tips.clone(),
            number: tip.number,
            work: tip.work,
            blue_score: tip.blue_score,
            streams: tip.streams,
            accumulator: tip.accumulator.to_bytes().to_vec(),
            issued: tip.issued,
            transactions: tip.transactions,
            pruned: tip.pruned,
        }
    }

    pub(super) fn tip(self) -> Result<Tip, Fault> {
        let lanes: Result<[u8; ACCUMULATOR_BYTES], _> = self.accumulator.try_into();
        let lanes = lanes
            .map_err(|_| Fault("the stored tip is damaged: its digest has no lanes".into()))?;
        Ok(Tip {
            id: self.id,
            parents: self.parents,
            tips: self.tips,
            number: self.number,
            work: self.work,
            blue_score: self.blue_score,
            streams: self.streams,
            accumulator: Accumulator::from_bytes(&lanes),
            issued: self.issued,
            transactions: self.transactions,
            pruned: self.pruned,
        })
    }
}

const fn encoding() -> impl bincode::config::Config {
    bincode::config::legacy().with_limit::<{ 64 << 20 }>()
}

/// The bytes of a row.
pub(super) fn encode(row: &impl Encode) -> Vec<u8> {
    bincode::encode_to_vec(row, encoding())
        .expect("rows hold numbers and bytes, which can be encoded")
}

/// The row of bytes, which must be all of it.
pub(super) fn decode<T: Decode<()>>(what: &str, bytes: &[u8]) -> Result<T, Fault> {
    match bincode::decode_from_slice(bytes, encoding()) {
        Ok((row, read)) if read == bytes.len() => Ok(row),
        Ok(_) => Err(Fault(format!(
            "a stored {what} is damaged: bytes follow its end"
        ))),
        Err(error) => Err(Fault(format!("a stored {what} is damaged: {error}"))),
    }
}
