//! Blocks at hand: those at the end of the order are undone and applied again whenever a block comes between them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::block::Block;
use super::id::BlockId;
use super::view::{Fault, View};

/// So many: what a reorganisation of a healthy network touches.
const RECENT_BLOCKS: usize = 64;

/// Blocks that were added last.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    blocks: BTreeMap<BlockId, Arc<Block>>,
    order: VecDeque<BlockId>,
}

impl Recent {
    /// Keeps a block, and lets the oldest go.
    pub(super) fn add(&mut self, block: &Arc<Block>) {
        if self.blocks.insert(block.id(), Arc::clone(block)).is_none() {
            self.order.push_back(block.id());
        }
        if self.order.len() > RECENT_BLOCKS
            && let Some(oldest) = self.order.pop_front()
        {
            self.blocks.remove(&oldest);
        }
    }

    /// A block, if it is here.
    pub(super) fn get(&self, id: &BlockId) -> Option<&Arc<Block>> {
        self.blocks.get(id)
    }

    /// The blocks that are here.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.values()
    }

    /// A block, from here or from the store.
    pub(super) fn block(&self, id: &BlockId, view: &dyn View) -> Result<Arc<Block>, Fault> {
        match self.blocks.get(id) {
            Some(block) => Ok(Arc::clone(block)),
            None => view.block(id)?.ok_or_else(|| Fault::missing("block", id)),
        }
    }
}
