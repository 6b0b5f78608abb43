//! The colouring: selected parent, merge set, blue and red, from the parents alone.

use super::dag::{Dag, Index, Limits};
use crate::protocol::bugs::{Defence, lacks};
use crate::protocol::chain::view::Progress;
use crate::protocol::chain::work::Work;

/// What follows from a set of parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Colouring {
    /// The parent that is continued.
    pub selected_parent: Index,
    /// The rest of the past that the selected parent does not have, in order, and which of it is blue.
    pub merged: Vec<(Index, bool)>,
    /// For blue blocks, how many blue blocks are in their anticone now.
    pub anticones: Vec<(Index, u16)>,
    /// Blue blocks in the past.
    pub blue_score: u64,
    /// What they count.
    pub work: Work,
    /// Blocks in the past.
    pub past: u64,
    /// How far the streams have come in the past.
    pub streams: [Progress; 3],
}

/// Why parents go together in no block. Provable from their pasts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// One parent is in the past of another.
    #[error("one parent is an ancestor of another")]
    Redundant,
    /// Too much is merged at once.
    #[error("more than {limit} blocks are merged")]
    Size {
        /// What is allowed.
        limit: usize,
    },
    /// A red block that is merged goes back too far.
    #[error("a merged block goes back further than {depth} blue blocks")]
    Depth {
        /// What is allowed.
        depth: u64,
    },
}

impl Dag {
    /// Colours the past of a block with these parents, of which there is at least one.
    pub fn colour(&self, parents: &[Index]) -> Result<Colouring, MergeError> {
        let selected = parents
            .iter()
            .copied()
            .max_by_key(|parent| self.rank(*parent));
        let selected_parent = selected.expect("the caller has at least one parent");
        let mut merge_set = self.merge_set(selected_parent, parents)?;
        merge_set.sort_unstable_by_key(|block| self.rank(*block));
        let mut painter = Painter::new(self, selected_parent, merge_set.len());
        let merged: Vec<_> = merge_set
            .into_iter()
            .map(|block| (block, painter.paint(block)))
            .collect();
        let base = self.node(selected_parent);
        let mut colouring = Colouring {
            selected_parent,
            anticones: painter.anticones,
            blue_score: base.blue_score + painter.blues.len() as u64,
            work: base.work,
            past: base.past + 1 + merged.len() as u64,
            streams: base.streams,
            merged,
        };
        for (block, blue) in &colouring.merged {
            let node = self.node(*block);
            colouring.streams[node.stream.index()].blocks += 1;
            if *blue {
                colouring.work = colouring.work + node.own_work;
            }
        }
        self.check_depth(&colouring)?;
        Ok(colouring)
    }

    /// The past of the parents that the selected one neither is nor has.
    fn merge_set(&self, selected: Index, parents: &[Index]) -> Result<Vec<Index>, MergeError> {
        let Limits {
            merge_limit: limit, ..
        } = self.limits;
        let mut open: Vec<_> = parents
            .iter()
            .copied()
            .filter(|parent| *parent != selected)
            .collect();
        for parent in &open {
            if self.is_in_past_of(*parent, selected) && !lacks(Defence::UnrelatedParents) {
                return Err(MergeError::Redundant);
            }
        }
        let mut found = open.clone();
        found.sort_unstable();
        while let Some(block) = open.pop() {
            for parent in &self.node(block).parents {
                let known = !self.holds(*parent)
                    || *parent == selected
                    || self.is_in_past_of(*parent, selected);
                if known {
                    continue;
                }
                if parents.contains(parent) {
                    return Err(MergeError::Redundant);
                }
                if let Err(place) = found.binary_search(parent) {
                    found.insert(place, *parent);
                    open.push(*parent);
                }
            }
            if found.len() > limit {
                return Err(MergeError::Size { limit });
            }
        }
        Ok(found)
    }

    /// A red block from long ago would let a few who merge it reorder what others have settled, so it must not be merged any more;
    /// unless it is in the past of a blue block that is young enough itself, else whoever merged it in time would be shut out with
    /// it (Kaspa's bounded merge). Blue blocks need no check: the anticone of one from so long ago would exceed k.
    fn check_depth(&self, colouring: &Colouring) -> Result<(), MergeError> {
        let depth = self.limits.merge_depth;
        let mut reds = colouring.merged.iter().filter(|(_, blue)| !blue).peekable();
        if reds.peek().is_none() || colouring.blue_score <= depth {
            return Ok(());
        }
        let root = self.chain_block_at(colouring.selected_parent, colouring.blue_score - depth);
        let is_young = |block: Index| root.is_none_or(|root| self.is_in_past_of(root, block));
        let vouches = |red: Index| {
            let mut blues = colouring.merged.iter().filter(|(_, blue)| *blue);
            blues.any(|(blue, _)| self.is_in_past_of(red, *blue) && is_young(*blue))
        };
        if reds.all(|(red, _)| is_young(*red) || vouches(*red)) {
            Ok(())
        } else {
            Err(MergeError::Depth { depth })
        }
    }
}

/// Decides the colours of a merge set, one block after the other.
struct Painter<'a> {
    dag: &'a Dag,
    selected_parent: Index,
    /// The selected parent and the blue blocks so far.
    blues: Vec<Index>,
    /// Sizes of anticones that have changed, ascending by block.
    anticones: Vec<(Index, u16)>,
}

impl<'a> Painter<'a> {
    fn new(dag: &'a Dag, selected_parent: Index, merged: usize) -> Self {
        let mut blues = Vec::with_capacity(1 + merged);
        blues.push(selected_parent);
        Self {
            dag,
            selected_parent,
            blues,
            anticones: vec![(selected_parent, 0)],
        }
    }

    /// Whether the next block is blue.
    fn paint(&mut self, block: Index) -> bool {
        let Some((size, touched)) = self.anticone(block) else {
            return false;
        };
        self.set(block, size);
        for (blue, size) in touched {
            self.set(blue, size + 1);
        }
        self.blues.push(block);
        true
    }

    fn set(&mut self, blue: Index, size: u16) {
        match self.find(blue) {
            Ok(place) => self.anticones[place].1 = size,
            Err(place) => self.anticones.insert(place, (blue, size)),
        }
    }

    fn find(&self, blue: Index) -> Result<usize, usize> {
        self.anticones
            .binary_search_by_key(&blue, |(other, _)| *other)
    }

    /// The blue blocks in the anticone of `block`: how many, and each with the size of its own blue anticone so far. `None` if the
    /// block or one of them would have more than k.
    fn anticone(&self, block: Index) -> Option<(u16, Vec<(Index, u16)>)> {
        let (dag, k) = (self.dag, self.dag.limits.k);
        // Those that this merge set has made blue are at least as many as the anticone that remains to be counted allows.
        if self.blues.len() > usize::from(k) {
            return None;
        }
        let mut touched: Vec<(Index, u16)> = Vec::new();
        let mut meet = |blue: Index| {
            if dag.is_in_past_of(blue, block) {
                return true;
            }
            let size = self.anticone_size(blue);
            touched.push((blue, size));
            size < k && touched.len() <= usize::from(k)
        };
        if !self.blues.iter().all(|blue| meet(*blue)) {
            return None;
        }
        let mut chain = self.selected_parent;
        while dag.holds(chain) && chain != block && !dag.is_in_past_of(chain, block) {
            let node = dag.node(chain);
            let blues = node
                .merged
                .iter()
                .filter(|(_, blue)| *blue)
                .map(|(merged, _)| *merged);
            let parent = (node.selected_parent != chain).then_some(node.selected_parent);
            if !parent
                .into_iter()
                .chain(blues)
                .filter(|blue| dag.holds(*blue))
                .all(&mut meet)
            {
                return None;
            }
            if parent.is_none() {
                break;
            }
            chain = node.selected_parent;
        }
        Some((touched.len() as u16, touched))
    }

    /// The size of a blue block's blue anticone, as the last block of the chain that changed it has left it.
    fn anticone_size(&self, blue: Index) -> u16 {
        if let Ok(place) = self.find(blue) {
            return self.anticones[place].1;
        }
        let mut chain = self.selected_parent;
        while self.dag.holds(chain) {
            let node = self.dag.node(chain);
            if let Some((_, size)) = node.anticones.iter().find(|(other, _)| *other == blue) {
                return *size;
            }
            if node.selected_parent == chain {
                break;
            }
            chain = node.selected_parent;
        }
        0
    }
}
