//! The young part of the DAG, in memory: parents, colours, and who is in whose past.
//!
//! **Reachability** in nearly constant time. The selected parents form a tree. A block is in the past of another if it is an
//! ancestor of it in the tree, or if some block that merged it is, or is the other itself: exactly those blocks add it to a past
//! that did not have it, so they are as few as blocks are parallel. Ancestors in the tree are found by jump pointers (Myers: "An
//! applicative random-access stack", 1983): a logarithm of the distance, and blocks that are compared are near each other.
//!
//! Blocks are numbered as they come, parents first, so an ancestor has the lower number. What a reorganisation cannot reach any
//! more is forgotten from the front; it is in the past of everything that is left.

use std::collections::{BTreeSet, VecDeque};

use super::super::block::Stream;
use super::super::id::BlockId;
use super::super::view::Progress;
use super::super::work::Work;
use super::colouring::Colouring;
use super::selected_chain::SelectedChain;
use crate::protocol::bugs::{Bug, bug};
use crate::protocol::table::Table;

/// A block in a [`Dag`]: the number under which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index(u64);

/// A block that joins a [`Dag`].
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its id.
    pub id: BlockId,
    /// Its stream.
    pub stream: Stream,
    /// Its date, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// Its parents, without those that are forgotten.
    pub parents: Vec<Index>,
    /// What follows from them.
    pub colouring: Colouring,
    /// What the block itself counts.
    pub own_work: Work,
    /// How far the streams have come with it.
    pub streams: [Progress; 3],
    /// Its state digest is wrong, or that of a block of its chain: it is never part of the selected chain.
    pub invalid: bool,
}

/// A block, as far as its descendants need to know it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: BlockId,
    pub(super) stream: Stream,
    pub(super) timestamp_ms: u64,
    pub(super) parents: Vec<Index>,
    pub(super) selected_parent: Index,
    /// Blocks in the past.
    pub(super) past: u64,
    /// Blue blocks in the past.
    pub(super) blue_score: u64,
    /// What the block itself counts.
    pub(super) own_work: Work,
    /// What the block and the blue blocks of its past count.
    pub(super) work: Work,
    pub(super) streams: [Progress; 3],
    /// The merge set in order, and which of it is blue.
    pub(super) merged: Vec<(Index, bool)>,
    /// Sizes of blue anticones, as the block changed them.
    pub(super) anticones: Vec<(Index, u16)>,
    pub(super) invalid: bool,
    /// Blocks that merged this one.
    mergers: Vec<Index>,
    /// Steps to genesis in the tree of selected parents.
    depth: u64,
    /// A block further down its chain, and that one's depth.
    jump: Index,
    jump_depth: u64,
}

/// The young part of the DAG.
#[derive(Clone, Debug)]
pub struct Dag {
    pub(super) limits: Limits,
    nodes: VecDeque<Node>,
    /// The number of the first node.
    first: u64,
    indices: Table<BlockId, Index>,
    tips: BTreeSet<Index>,
    selected: SelectedChain,
}

/// The parameters of GHOSTDAG. See [`Params`](super::super::params::Params).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many blue blocks a blue block may have in its anticone.
    pub k: u16,
    /// Parents of a block.
    pub max_parents: usize,
    /// Blocks in a merge set.
    pub merge_limit: usize,
    /// How far back, in blue blocks, the past of what is merged must reach.
    pub merge_depth: u64,
    /// How far back, in blue blocks, the selected chain may change.
    pub finality_depth: u64,
}

impl Limits {
    /// How far back, in blue blocks, blocks are kept in memory: the reach of a reorganisation, of the blocks by whose targets its
    /// work counts, and of what its blocks merge.
    pub fn window(&self) -> u64 {
        2 * self.finality_depth
            + 2 * self.merge_depth
            + 4 * u64::from(self.k) * self.merge_limit as u64
    }
}

impl Dag {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            nodes: VecDeque::new(),
            first: 0,
            indices: Table::default(),
            tips: BTreeSet::new(),
            selected: SelectedChain::default(),
        }
    }

    /// The parameters.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Blocks in memory.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Finds a block.
    pub fn index(&self, id: &BlockId) -> Option<Index> {
        self.indices.get(id).copied()
    }

    /// The id of a block.
    pub fn id(&self, index: Index) -> BlockId {
        self.node(index).id
    }

    /// The selected parent of a block; genesis has itself.
    pub fn selected_parent(&self, index: Index) -> Index {
        self.node(index).selected_parent
    }

    /// The parents of a block, without those that are forgotten.
    pub fn parents(&self, index: Index) -> &[Index] {
        &self.node(index).parents
    }

    /// Blocks without children.
    pub fn tips(&self) -> impl Iterator<Item = Index> {
        self.tips.iter().copied()
    }

    /// The work by which a block is preferred, and its id, which decides between equals: bytewise, the greater is better.
    pub fn rank(&self, index: Index) -> (Work, BlockId) {
        let node = self.node(index);
        if bug(Bug::TieByArrival) {
            let earlier = (!index.0).to_be_bytes();
            return (
                node.work,
                BlockId(std::array::from_fn(|at| earlier[at % 8])),
            );
        }
        (node.work, node.id)
    }

    /// Blocks in the past of a block, which is its number if it is in the selected chain.
    pub fn past(&self, index: Index) -> u64 {
        self.node(index).past
    }

    /// Blue blocks in the past of a block.
    pub fn blue_score(&self, index: Index) -> u64 {
        self.node(index).blue_score
    }

    /// Whether the block can never be part of the selected chain.
    pub fn is_invalid(&self, index: Index) -> bool {
        self.node(index).invalid
    }

    /// The date of a block, in milliseconds since 1970-01-01 UTC.
    pub fn timestamp_ms(&self, index: Index) -> u64 {
        self.node(index).timestamp_ms
    }

    /// How far the streams had come with a block.
    pub fn streams(&self, index: Index) -> [Progress; 3] {
        self.node(index).streams
    }

    pub(super) fn node(&self, index: Index) -> &Node {
        &self.nodes[(index.0 - self.first) as usize]
    }

    /// Whether a block is still in memory.
    pub(super) fn holds(&self, index: Index) -> bool {
        index.0 >= self.first
    }

    /// The number of the block that comes next. The first one has itself as its selected parent.
    pub fn next(&self) -> Index {
        Index(self.first + self.nodes.len() as u64)
    }

    /// Adds a block.
    pub fn insert(&mut self, entry: Entry) -> Index {
        let index = self.next();
        let Colouring {
            selected_parent,
            merged,
            anticones,
            blue_score,
            work,
            past,
            ..
        } = entry.colouring;
        let (depth, jump, jump_depth) = self.jump(selected_parent, index);
        let inherits = selected_parent != index && self.node(selected_parent).invalid;
        for parent in &entry.parents {
            self.tips.remove(parent);
        }
        for (merged, _) in &merged {
            self.nodes[(merged.0 - self.first) as usize]
                .mergers
                .push(index);
        }
        self.tips.insert(index);
        self.indices.insert(entry.id, index);
        self.nodes.push_back(Node {
            id: entry.id,
            stream: entry.stream,
            timestamp_ms: entry.timestamp_ms,
            parents: entry.parents,
            selected_parent,
            past,
            blue_score,
            own_work: entry.own_work,
            work: work + entry.own_work,
            streams: entry.streams,
            merged,
            anticones,
            invalid: entry.invalid || inherits,
            mergers: Vec::new(),
            depth,
            jump,
            jump_depth,
        });
        index
    }

    /// The depth of a new block upon `parent`, and where its jump pointer leads.
    fn jump(&self, parent: Index, itself: Index) -> (u64, Index, u64) {
        if parent == itself {
            return (0, itself, 0);
        }
        let node = self.node(parent);
        let depth = node.depth + 1;
        if !self.holds(node.jump) {
            return (depth, parent, node.depth);
        }
        let over = self.node(node.jump);
        // Two jumps of equal length join into one that is twice as long.
        if node.depth - node.jump_depth == node.jump_depth - over.jump_depth {
            (depth, over.jump, over.jump_depth)
        } else {
            (depth, parent, node.depth)
        }
    }

    /// Lets the chain that ends with a block be the selected one: what is asked of it, or of one that leaves it near its end, is
    /// answered at once.
    pub fn select_chain(&mut self, sink: Index) {
        let (mut at, mut joining) = (sink, Vec::new());
        let depth = loop {
            let node = self.node(at);
            if self.selected.has(at, node.depth) {
                break node.depth + 1;
            }
            joining.push((at, node.blue_score));
            let (depth, parent) = (node.depth, node.selected_parent);
            if parent == at || !self.holds(parent) {
                self.selected.restart_at(depth);
                break depth;
            }
            at = parent;
        };
        self.selected.replace_from(depth, joining);
    }

    /// Marks a block and all that descend from it in the tree as never to be selected.
    pub fn disqualify(&mut self, index: Index) {
        for at in (index.0 - self.first) as usize..self.nodes.len() {
            let parent = self.nodes[at].selected_parent;
            let inherits = self.holds(parent) && self.node(parent).invalid;
            if at as u64 + self.first == index.0 || inherits {
                self.nodes[at].invalid = true;
            }
        }
    }

    /// Whether `ancestor` is `block`, or a block of its chain.
    pub fn is_in_chain_of(&self, ancestor: Index, block: Index) -> bool {
        let depth = self.node(ancestor).depth;
        let mut at = block;
        // Whatever is forgotten came before `ancestor`, so it is none of its descendants.
        while at > ancestor && self.holds(at) {
            let node = self.node(at);
            if self.selected.has(at, node.depth) {
                return self.selected.has(ancestor, depth);
            }
            let next = if node.jump_depth >= depth {
                node.jump
            } else {
                node.selected_parent
            };
            if next == at {
                return false;
            }
            at = next;
        }
        at == ancestor
    }

    /// Whether `ancestor` is in the past of `block`.
    pub fn is_in_past_of(&self, ancestor: Index, block: Index) -> bool {
        if ancestor >= block {
            return false;
        }
        if !self.holds(ancestor) {
            return true;
        }
        let mergers = &self.node(ancestor).mergers;
        self.is_in_chain_of(ancestor, block)
            || mergers
                .iter()
                .any(|merger| *merger <= block && self.is_in_chain_of(*merger, block))
    }

    /// The youngest block of a chain whose blue score is at most `score`; `None` if that is forgotten.
    pub fn chain_block_at(&self, block: Index, score: u64) -> Option<Index> {
        let mut at = block;
        while self.node(at).blue_score > score {
            let node = self.node(at);
            if self.selected.has(at, node.depth) {
                return self.selected.at(score);
            }
            let jumps = self.holds(node.jump) && self.node(node.jump).blue_score > score;
            let next = if jumps {
                node.jump
            } else {
                node.selected_parent
            };
            if next == at || !self.holds(next) {
                return None;
            }
            at = next;
        }
        Some(at)
    }

    /// Forgets what lies below the window of a past that ends with `block` and has the blue score `score`. Tells the oldest block
    /// of the chain that is left, if anything lay below.
    pub fn forget_below(&mut self, block: Index, score: u64) -> Option<Index> {
        let bottom = score.checked_sub(self.limits.window())?;
        let root = self.chain_block_at(block, bottom)?;
        self.forget_before(root);
        Some(root)
    }

    /// Forgets what came before a block. That is its past, and what was parallel to it and will not be merged any more.
    fn forget_before(&mut self, index: Index) {
        while self.first < index.0 {
            let Some(node) = self.nodes.pop_front() else {
                break;
            };
            self.tips.remove(&Index(self.first));
            self.indices.remove(&node.id);
            self.first += 1;
        }
        self.selected.forget_before(index);
    }
}
