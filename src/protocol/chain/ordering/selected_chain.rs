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
    /// For each blue score from that of the first member to that of the last: the youngest block whose own is at most that. A
    /// search among the members would look at ten places that no cache holds.
    by_score: VecDeque<Index>,
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
        let (first, last) = (self.members.front()?, self.members.back()?);
        let score = score.min(last.blue_score);
        let place = score.checked_sub(first.blue_score)?;
        self.by_score.get(place as usize).copied()
    }

    /// Leaves nothing, so that the next first one has this depth.
    pub(super) fn restart_at(&mut self, depth: u64) {
        self.members.clear();
        self.by_score.clear();
        self.first_depth = depth;
    }

    /// Puts `blocks`, youngest first and with their blue scores, in the place of everything from `depth` on.
    pub(super) fn replace_from(&mut self, depth: u64, blocks: Vec<(Index, u64)>) {
        self.members.truncate((depth - self.first_depth) as usize);
        self.by_score.truncate(self.scores());
        for (block, blue_score) in blocks.into_iter().rev() {
            let before = self.members.back().map(|member| member.block);
            self.members.push_back(Member { block, blue_score });
            self.by_score
                .resize(self.scores() - 1, before.unwrap_or(block));
            self.by_score.push_back(block);
        }
    }

    /// Blue scores from that of the first member to that of the last.
    fn scores(&self) -> usize {
        let (first, last) = (self.members.front(), self.members.back());
        let scores = first.zip(last);
        scores.map_or(0, |(first, last)| {
            (last.blue_score - first.blue_score) as usize + 1
        })
    }

    /// Forgets what came before a block.
    pub(super) fn forget_before(&mut self, block: Index) {
        let gone = self.members.partition_point(|member| member.block < block);
        self.members.drain(..gone);
        self.by_score.drain(..self.by_score.len() - self.scores());
        self.first_depth += gone as u64;
    }
}
