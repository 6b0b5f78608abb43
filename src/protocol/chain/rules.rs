//! The rules that need a block's ancestors, but neither its body nor the accounts.

use super::block::{Header, Heading, Stream};
use super::id::BlockId;
use super::ordering::colouring::{Colouring, MergeError};
use super::ordering::dag::{Dag, Entry, Index};
use super::params::Network;
use super::view::{Merged, Progress, Record};
use super::work::{Growth, Target, Work};
use crate::protocol::bugs::{Bug, bug};

/// Why a header cannot follow its parents. Every one of these is provable from the header and its past alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Time does not advance.
    #[error(
        "block {id}: its timestamp {timestamp_ms} is not after its youngest parent's, {parent_ms}"
    )]
    NotAfterParent {
        /// The block.
        id: BlockId,
        /// What it says.
        timestamp_ms: u64,
        /// What the youngest of its parents says.
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
    /// It continues a block from before what is final. Nobody's fault.
    #[error("block {0} continues a block that was final long ago")]
    Deep(BlockId),
    /// Its parents do not go together.
    #[error("block {id}: {error}")]
    Merge {
        /// The block.
        id: BlockId,
        /// Why.
        error: MergeError,
    },
}

/// A gap between two blocks counts in ASERT for at most this many half-lives.
///
/// A network that was switched off for a week would otherwise owe a week's worth of blocks and find each at the easiest target.
/// Four half-lives make the next block 16 times easier, and 20 intervals or more fit in: hash rate that fell is still seen.
pub const MAX_GAP_HALF_LIVES: u64 = 4;

/// The target of the next block of `stream`, when the streams have come so far in its past.
pub fn next_target(network: &Network, past: &[Progress; 3], stream: Stream) -> Option<Target> {
    let schedule = &network.stream(stream)?.schedule;
    let progress = past[stream.index() * usize::from(!bug(Bug::DifficultyOfFirstStream))];
    Some(schedule.target(progress.elapsed_ms.into(), progress.blocks.into()))
}

/// The place of genesis.
pub fn genesis_record(network: &Network) -> Record {
    let genesis = network.genesis();
    Record {
        heading: genesis.heading().clone(),
        selected_parent: genesis.id(),
        number: 0,
        blue_score: 0,
        own_work: Work::ZERO,
        work: Work::ZERO,
        streams: Default::default(),
        merged: Vec::new(),
        anticones: Vec::new(),
        invalid: false,
    }
}

/// Checks a header against its past and finds its place.
pub fn place(
    network: &Network,
    dag: &Dag,
    heading: &Heading,
    parents: Vec<Index>,
) -> Result<Entry, HeaderError> {
    let (id, header) = (heading.id(), heading.header());
    let colouring = dag
        .colour(&parents)
        .map_err(|error| HeaderError::Merge { id, error })?;
    let parent = colouring.selected_parent;
    // Every parent's, lest a branch take in what others date later and let no time pass: its targets would harden for nothing.
    let dates = parents.iter().map(|parent| dag.timestamp_ms(*parent));
    let (timestamp_ms, parent_ms) = (header.timestamp_ms, dates.max().unwrap_or(0));
    if timestamp_ms <= parent_ms {
        return Err(HeaderError::NotAfterParent {
            id,
            timestamp_ms,
            parent_ms,
        });
    }
    let target = next_target(network, &colouring.streams, header.stream)
        .expect("the stream was checked with the header's work");
    if header.bits != target.to_bits() {
        let (bits, wanted) = (header.bits, target.to_bits());
        return Err(HeaderError::Bits { id, bits, wanted });
    }
    let reference = reference(network, dag, &colouring).ok_or(HeaderError::Deep(id))?;
    Ok(Entry {
        id,
        stream: header.stream,
        timestamp_ms,
        parents,
        own_work: block_work(network, &reference, &colouring.streams, header.stream),
        streams: progress(network, dag, &colouring, heading),
        invalid: dag.is_invalid(parent),
        colouring,
    })
}

/// What is stored of a block's place.
pub fn record(dag: &Dag, heading: &Heading, entry: &Entry) -> Record {
    let colouring = &entry.colouring;
    let merged = colouring.merged.iter().map(|(merged, blue)| Merged {
        id: dag.id(*merged),
        blue: *blue,
    });
    let anticones = colouring
        .anticones
        .iter()
        .map(|(blue, size)| (dag.id(*blue), *size));
    Record {
        heading: heading.clone(),
        selected_parent: dag.id(colouring.selected_parent),
        number: colouring.past,
        blue_score: colouring.blue_score,
        own_work: entry.own_work,
        work: colouring.work + entry.own_work,
        streams: entry.streams,
        merged: merged.collect(),
        anticones: anticones.collect(),
        invalid: entry.invalid,
    }
}

/// The place of a stored block. What is forgotten is left out: everything that is left has it in its past.
pub fn stored_place(dag: &Dag, record: &Record) -> Entry {
    let find = |id: &BlockId| dag.index(id);
    let merged = record
        .merged
        .iter()
        .filter_map(|merged| Some((find(&merged.id)?, merged.blue)));
    let anticones = record
        .anticones
        .iter()
        .filter_map(|(id, size)| Some((find(id)?, *size)));
    Entry {
        id: record.id(),
        stream: record.stream(),
        timestamp_ms: record.timestamp_ms(),
        parents: record.heading.parents().iter().filter_map(find).collect(),
        own_work: record.own_work,
        streams: record.streams,
        invalid: record.invalid,
        colouring: Colouring {
            selected_parent: find(&record.selected_parent).unwrap_or_else(|| dag.next()),
            merged: merged.collect(),
            anticones: anticones.collect(),
            blue_score: record.blue_score,
            work: record.work - record.own_work,
            past: record.number,
            streams: record.streams,
        },
    }
}

/// How far the streams had come `finality_depth` blue blocks before the end of a past; none at all if that is before genesis.
///
/// `None` if that block is forgotten: the past ends at a block that was settled long ago.
fn reference(network: &Network, dag: &Dag, colouring: &Colouring) -> Option<[Progress; 3]> {
    reference_below(
        network,
        dag,
        colouring.selected_parent,
        colouring.blue_score,
    )
}

/// The same for the past of a block.
pub fn reference_at(network: &Network, dag: &Dag, block: Index) -> Option<[Progress; 3]> {
    reference_below(network, dag, block, dag.blue_score(block))
}

fn reference_below(
    network: &Network,
    dag: &Dag,
    block: Index,
    blue_score: u64,
) -> Option<[Progress; 3]> {
    let depth = network.limits().finality_depth;
    match blue_score.checked_sub(depth) {
        None => Some(Default::default()),
        Some(score) => Some(dag.streams(dag.chain_block_at(block, score)?)),
    }
}

/// What blocks count as far as their headers alone show it, measured by the targets at one reference block.
///
/// With one stream it is what they count, for `unit * D / B` is `interval_ms * D` whatever `B` is. With several it is no less
/// where it matters, over a branch: red blocks count too, and where streams have become harder by different factors, of which the
/// rules take the geometric mean, these add up to the arithmetic one. And it is proven: so many hashes were tried.
#[derive(Clone, Debug)]
pub struct Scale(Vec<(Work, Work)>);

impl Scale {
    /// The scale of a reference block.
    pub fn new(network: &Network, reference: &[Progress; 3]) -> Self {
        let work_at =
            |stream| next_target(network, reference, stream).map_or(Work::ZERO, Target::work);
        let before: Vec<_> = network
            .streams()
            .map(|(stream, rules)| (work_at(stream), rules.params.interval_ms))
            .collect();
        let works = before.iter().map(|(work, _)| *work);
        let scale = before
            .iter()
            .map(|(work, interval_ms)| (Work::geometric_mean(works.clone(), *interval_ms), *work));
        Self(scale.collect())
    }

    /// What a block with this header may count.
    pub fn of(&self, header: &Header) -> Work {
        let target = Target::from_bits(header.bits);
        match (self.0.get(header.stream.index()), target) {
            (Some((unit, before)), Ok(target)) => unit.times(Growth {
                now: target.work(),
                before: *before,
            }),
            _ => Work::ZERO,
        }
    }
}

/// What a block counts toward fork choice: its stream's interval, times the geometric mean of what one block of each stream took
/// at a reference block, which competing branches share; times how much harder its stream's target has become since then, but at
/// most as much as the median stream's has.
///
/// So in each second all streams count alike, however many blocks they make and however cheap their hashes are: whoever has all
/// of one stream's hash rate has a third of the work. A stream that nobody mines any more lowers nothing in the others, and one
/// that is mined ten times harder raises nothing. With one stream this is the work of the block, times a constant. The mean is
/// DigiByte's answer to the same question (its `GetGeometricMeanPrevWork`), but of the moment alone it is open to both.
pub fn block_work(
    network: &Network,
    reference: &[Progress; 3],
    past: &[Progress; 3],
    stream: Stream,
) -> Work {
    let work_at = |progress: &[Progress; 3], stream| {
        next_target(network, progress, stream).map_or(Work::ZERO, Target::work)
    };
    let growth = |stream| Growth {
        now: work_at(past, stream),
        before: work_at(reference, stream),
    };
    let mut growths: Vec<_> = network
        .streams()
        .map(|(stream, _)| growth(stream))
        .collect();
    let interval_ms = network
        .stream(stream)
        .map_or(1, |stream| stream.params.interval_ms);
    let before = growths.iter().map(|growth| growth.before);
    let unit = Work::geometric_mean(before, interval_ms);
    // The header's check found the stream in the network, whose streams are in the order of their indices.
    let own = growths[stream.index()];
    growths.sort_unstable();
    let median = growths[(growths.len() - 1) / 2];
    unit.times(own.min(median))
}

fn progress(
    network: &Network,
    dag: &Dag,
    colouring: &Colouring,
    heading: &Heading,
) -> [Progress; 3] {
    let (header, parent) = (heading.header(), colouring.selected_parent);
    // Genesis has no date: the schedule of every stream starts with the first block after it.
    let gap_ms = if dag.past(parent) == 0 {
        0
    } else {
        header.timestamp_ms - dag.timestamp_ms(parent)
    };
    let mut streams = colouring.streams;
    for (stream, rules) in network.streams() {
        let progress = &mut streams[stream.index()];
        let counted_ms = gap_ms.min(MAX_GAP_HALF_LIVES * rules.params.half_life_ms);
        progress.elapsed_ms = progress.elapsed_ms.saturating_add(counted_ms);
        progress.blocks += u64::from(stream == header.stream);
    }
    streams
}
