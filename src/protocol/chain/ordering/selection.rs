//! What the next block names as parents: the best tip that may be continued, and whatever else can be merged with it.

use std::collections::{BTreeSet, BinaryHeap};

use super::colouring::{Colouring, MergeError};
use super::dag::{Dag, Index};
use crate::protocol::chain::id::BlockId;
use crate::protocol::chain::work::Work;

/// The block that would be found next, if nobody knew more than this node: all the DAG that is ordered is in its past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Its parents, ascending by id.
    pub parents: Vec<Index>,
    /// Its colouring.
    pub colouring: Colouring,
}

impl Dag {
    /// Chooses among all tips; `None` if there is no block at all.
    pub fn select(&self) -> Option<Selection> {
        let mut candidates = Candidates::new(self);
        let sink = loop {
            let block = candidates.next()?;
            if !self.node(block).invalid {
                break block;
            }
            // Nobody shall hide a good block behind a bad one.
            candidates.extend(&self.node(block).parents);
        };
        let others: Vec<_> = candidates
            .filter(|other| !self.is_in_past_of(*other, sink))
            .collect();
        Some(self.join(sink, &others))
    }

    /// Adds to the best tip as many of the others as the rules allow, the best first.
    fn join(&self, sink: Index, others: &[Index]) -> Selection {
        let all = std::iter::once(&sink).chain(others);
        let mut parents: Vec<_> = all.copied().take(self.limits.max_parents).collect();
        // As a rule all of them go together.
        let colouring = match self.colour(&parents) {
            Ok(colouring) => colouring,
            Err(_) => self.join_some(&mut parents, others),
        };
        parents.sort_unstable_by_key(|parent| self.node(*parent).id);
        Selection { parents, colouring }
    }

    fn join_some(&self, parents: &mut Vec<Index>, others: &[Index]) -> Colouring {
        parents.truncate(1);
        let mut colouring = self.colour(parents).expect("a block alone merges nothing");
        for other in others {
            if parents.len() == self.limits.max_parents {
                break;
            }
            let mut with = parents.clone();
            with.push(*other);
            let mut joined = self.colour(&with);
            if joined
                == Err(MergeError::Size {
                    limit: self.limits.merge_limit,
                })
            {
                // After a long partition: its older part goes first, the rest with the blocks to come.
                let room = self.limits.merge_limit - colouring.merged.len();
                if let Some(part) = self.older_part(*other, parents[0], room) {
                    with.pop();
                    with.push(part);
                    joined = self.colour(&with);
                }
            }
            if let Ok(joined) = joined {
                *parents = with;
                colouring = joined;
            }
        }
        colouring
    }

    /// A block in the past of `block`, as young as may be, by which at most `room` blocks join the past of `sink`.
    fn older_part(&self, block: Index, sink: Index, room: usize) -> Option<Index> {
        let mut block = block;
        loop {
            let mut chain = Vec::new();
            let mut at = block;
            while !self.is_in_past_of(at, sink) {
                chain.push(at);
                let parent = self.node(at).selected_parent;
                if parent == at || !self.holds(parent) {
                    return None;
                }
                at = parent;
            }
            let common = self.node(at).past;
            let oldest = *chain.last()?;
            // At most so many: the sink may have some of what they merge.
            let joining = |part: Index| self.node(part).past - common;
            let fitting = |part: &Index| joining(*part) <= room as u64;
            if let Some(part) = chain.into_iter().find(fitting) {
                return Some(part);
            }
            // A block that merges as much as it may is too much for another one together with that. What it merges goes first.
            let mut merged = self
                .node(oldest)
                .merged
                .iter()
                .rev()
                .map(|(merged, _)| *merged);
            let is_new = |merged: &Index| self.holds(*merged) && !self.is_in_past_of(*merged, sink);
            match merged.find(is_new) {
                Some(merged) => block = merged,
                None => return (room > 0).then_some(oldest),
            }
        }
    }
}

/// Blocks from the best to the worst, each once.
struct Candidates<'a> {
    dag: &'a Dag,
    heap: BinaryHeap<(Work, BlockId, Index)>,
    /// Those that are no tips: they can be met again.
    seen: BTreeSet<Index>,
}

impl<'a> Candidates<'a> {
    fn new(dag: &'a Dag) -> Self {
        let mut candidates = Self {
            dag,
            heap: BinaryHeap::new(),
            seen: BTreeSet::new(),
        };
        dag.tips().for_each(|tip| candidates.push(tip));
        candidates
    }

    fn extend(&mut self, parents: &[Index]) {
        for parent in parents.iter().filter(|parent| self.dag.holds(**parent)) {
            if self.seen.insert(*parent) {
                self.push(*parent);
            }
        }
    }

    fn push(&mut self, block: Index) {
        let (work, id) = self.dag.rank(block);
        self.heap.push((work, id, block));
    }
}

impl Iterator for Candidates<'_> {
    type Item = Index;

    fn next(&mut self) -> Option<Index> {
        self.heap.pop().map(|(_, _, block)| block)
    }
}
