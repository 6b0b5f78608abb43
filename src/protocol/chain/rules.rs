//! The rules that need a block's ancestors, but neither its body nor the accounts.

use super::block::{Heading, Stream};
use super::id::BlockId;
use super::params::Network;
use super::view::{Progress, Record};
use super::work::{Target, Work};

/// Why a header cannot follow its parent. Every one of these is provable from the header and its past alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Time does not advance.
    #[error("block {id}: its timestamp {timestamp_ms} is not after its parent's, {parent_ms}")]
    NotAfterParent {
        /// The block.
        id: BlockId,
        /// What it says.
        timestamp_ms: u64,
        /// What its parent says.
        parent_ms: u64,
    },
    /// The target is not the one that ASERT gives.
    #[error("block {id}: its bits are {bits:#010x}, wanted are {wanted:#010x}")]
    Bits {
        /// The block.
        id: BlockId,
        /// What it says.
        bits: u32,
        /// What follows from its past.
        wanted: u32,
    },
    /// An ancestor was found invalid.
    #[error("block {0} descends from an invalid block")]
    InvalidAncestor(BlockId),
}

/// A gap between two blocks counts in ASERT for at most this many half-lives.
///
/// A network that was switched off for a week would otherwise owe a week's worth of blocks and find each at the easiest target.
/// Four half-lives make the next block 16 times easier, and 20 intervals or more fit in: hash rate that fell is still seen.
pub const MAX_GAP_HALF_LIVES: u64 = 4;

/// The target of the next block of `stream` upon `parent`.
pub fn next_target(network: &Network, parent: &Record, stream: Stream) -> Option<Target> {
    let schedule = &network.stream(stream)?.schedule;
    let progress = parent.streams[stream.index()];
    Some(schedule.target(progress.elapsed_ms.into(), progress.blocks.into()))
}

/// The place of genesis.
pub fn genesis_record(network: &Network) -> Record {
    let genesis = network.genesis();
    Record {
        heading: genesis.heading().clone(),
        selected_parent: genesis.id(),
        number: 0,
        work: Work::ZERO,
        streams: Default::default(),
        invalid: false,
    }
}

/// Checks a header against its selected parent and finds its place.
pub fn place(network: &Network, parent: &Record, heading: &Heading) -> Result<Record, HeaderError> {
    let (id, header) = (heading.id(), heading.header());
    if parent.invalid {
        return Err(HeaderError::InvalidAncestor(id));
    }
    if header.timestamp_ms <= parent.timestamp_ms() {
        let (timestamp_ms, parent_ms) = (header.timestamp_ms, parent.timestamp_ms());
        return Err(HeaderError::NotAfterParent {
            id,
            timestamp_ms,
            parent_ms,
        });
    }
    let target = next_target(network, parent, header.stream)
        .expect("the stream was checked with the header's work");
    if header.bits != target.to_bits() {
        return Err(HeaderError::Bits {
            id,
            bits: header.bits,
            wanted: target.to_bits(),
        });
    }
    Ok(Record {
        heading: heading.clone(),
        selected_parent: parent.id(),
        number: parent.number + 1,
        work: parent.work + block_work(network, heading),
        streams: progress(network, parent, heading),
        invalid: false,
    })
}

/// What a block counts toward fork choice: the expected hashes of its target, times its stream's weight.
fn block_work(network: &Network, heading: &Heading) -> Work {
    let header = heading.header();
    let weight = network
        .stream(header.stream)
        .map_or(1, |stream| stream.params.work_weight);
    Target::from_bits(header.bits).map_or(Work::ZERO, |target| target.work().weighted(weight))
}

fn progress(network: &Network, parent: &Record, heading: &Heading) -> [Progress; 3] {
    let header = heading.header();
    // Genesis has no date: the schedule of every stream starts with the first block after it.
    let gap_ms = if parent.number == 0 {
        0
    } else {
        header.timestamp_ms - parent.timestamp_ms()
    };
    let mut streams = parent.streams;
    for (stream, rules) in network.streams() {
        let progress = &mut streams[stream.index()];
        let counted_ms = gap_ms.min(MAX_GAP_HALF_LIVES * rules.params.half_life_ms);
        progress.elapsed_ms = progress.elapsed_ms.saturating_add(counted_ms);
        progress.blocks += u64::from(stream == header.stream);
    }
    streams
}
