//! Blocks at hand: those at the end of the order are undone and applied again whenever a block comes between them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::block::Block;
use super::id::BlockId;
use super::view::{Fault, View};

/// So many: what a reorganisation of a healthy network touches.
const RECENT_BLOCKS: usize = 64;

/// Blocks that were added last, oldest first. Whoever looks for one means one of the last few, as a rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(VecDeque<Arc<Block>>);

impl Recent {
    /// Keeps a block, and lets the oldest go.
    pub(super) fn add(&mut self, block: &Arc<Block>) {
        if self.0.len() == RECENT_BLOCKS {
            self.0.pop_front();
        }
        self.0.push_back(Arc::clone(block));
    }

    /// A block, if it is here.
    pub(super) fn get(&self, id: &BlockId) -> Option<&Arc<Block>> {
        self.iter().rev().find(|block| block.id() == *id)
    }

    /// The blocks that are here.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Block>> {
        self.0.iter()
    }

    /// A block, from here or from the store.
    pub(super) fn block(&self, id: &BlockId, view: &dyn View) -> Result<Arc<Block>, Fault> {
        match self.get(id) {
            Some(block) => Ok(Arc::clone(block)),
            None => view.block(id)?.ok_or_else(|| Fault::missing("block", id)),
        }
    }
}
