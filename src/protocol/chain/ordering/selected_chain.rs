//! The selected chain, as a list: whoever asks for an old block of it need not go there step by step.
//!
//! Nearly all chains of which something is asked leave the selected one near its end, and what is asked is what was settled long
//! ago: without the list that is a look at some twenty blocks that no cache holds any more.

use std::collections::VecDeque;

use super::dag::Index;

/// A block of the chain.
#[derive(Clone, Copy, Debug)]
struct Member {
    block: Index,
    blue_score: u64,
}

/// The part of a chain that is in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct SelectedChain {
    /// Oldest first.
    members: VecDeque<Member>,
    /// The depth of the first one. Each block is one deeper than its selected parent.
    first_depth: u64,
}

impl SelectedChain {
    /// Whether a block of this depth is part of the chain.
    pub(super) fn has(&self, block: Index, depth: u64) -> bool {
        let position = depth.checked_sub(self.first_depth);
        let member = position.and_then(|position| self.members.get(position as usize));
        member.is_some_and(|member| member.block == block)
    }

    /// The youngest block whose blue score is at most `score`; `None` if that is forgotten.
    pub(super) fn at(&self, score: u64) -> Option<Index> {
        let after = self
            .members
            .partition_point(|member| member.blue_score <= score);
        Some(self.members[after.checked_sub(1)?].block)
    }

    /// Leaves nothing, so that the next first one has this depth.
    pub(super) fn restart_at(&mut self, depth: u64) {
        self.members.clear();
        self.first_depth = depth;
    }

    /// Puts `blocks`, youngest first and with their blue scores, in the place of everything from `depth` on.
    pub(super) fn replace_from(&mut self, depth: u64, blocks: Vec<(Index, u64)>) {
        self.members.truncate((depth - self.first_depth) as usize);
        let members = blocks.into_iter().rev();
        self.members
            .extend(members.map(|(block, blue_score)| Member { block, blue_score }));
    }

    /// Forgets what came before a block.
    pub(super) fn forget_before(&mut self, block: Index) {
        let gone = self.members.partition_point(|member| member.block < block);
        self.members.drain(..gone);
        self.first_depth += gone as u64;
    }
}
