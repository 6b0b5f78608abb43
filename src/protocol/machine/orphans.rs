//! Blocks that arrived before their parents.
//!
//! Links have different delays, so a child overtakes its parent now and then. It waits, and the parents that nobody has sent are
//! asked for where the child came from. Whoever is far behind has more to ask for than fits here, and catches up by headers
//! instead.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::io::{ConnId, Origin};
use super::{Machine, Turn};
use crate::protocol::bugs::{Defence, lacks};
use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::BlockId;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::wire::limits::{MAX_ORPHAN_BYTES, MAX_ORPHANS, MAX_WANTED_BLOCKS};
use crate::protocol::wire::message::Message;

/// More blocks than this that wait are the sign of a gap, not of a detour.
const GAP: usize = MAX_ORPHANS / 2;

/// Blocks whose parents are unknown, until those arrive. The oldest makes room.
#[derive(Clone, Debug, Default)]
pub(super) struct Orphans {
    blocks: BTreeMap<BlockId, (Arc<Block>, Origin)>,
    order: VecDeque<BlockId>,
    bytes: usize,
}

impl Orphans {
    pub(super) fn insert(&mut self, block: Arc<Block>, origin: Origin) {
        let (id, bytes) = (block.id(), block.bytes().len());
        if bytes > MAX_ORPHAN_BYTES || self.blocks.contains_key(&id) {
            return;
        }
        let is_full = |orphans: &Self| {
            orphans.blocks.len() >= MAX_ORPHANS || orphans.bytes + bytes > MAX_ORPHAN_BYTES
        };
        while is_full(self) && !lacks(Defence::OrphanLimits) {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.take(&oldest);
        }
        self.bytes += bytes;
        self.blocks.insert(id, (block, origin));
        self.order.push_back(id);
    }

    fn take(&mut self, id: &BlockId) -> Option<(Arc<Block>, Origin)> {
        let (block, origin) = self.blocks.remove(id)?;
        self.bytes -= block.bytes().len();
        self.order.retain(|other| other != id);
        Some((block, origin))
    }

    pub(super) fn contains(&self, id: &BlockId) -> bool {
        self.blocks.contains_key(id)
    }

    /// Takes those that have `parent` among their parents.
    pub(super) fn children(&mut self, parent: &BlockId) -> Vec<(Arc<Block>, Origin)> {
        let has = |block: &Block| block.heading().parents().contains(parent);
        let waiting = self.blocks.iter().filter(|(_, (block, _))| has(block));
        let ids: Vec<_> = waiting.map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| self.take(id)).collect()
    }
}

/// A request for blocks that a peer has not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) ids: Vec<BlockId>,
    pub(super) purpose: Purpose,
}

/// What blocks were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// This node catches up.
    Sync,
    /// Orphans wait for them.
    Parents,
    /// It is new, and could not be rebuilt from its compact form.
    Relay,
}

impl Machine {
    /// Blocks that wait for their parents.
    pub fn orphans(&self) -> usize {
        self.orphans.blocks.len()
    }

    /// A peer has sent a block whose parents are unknown: asks it for them, or for its headers if the gap is wide.
    pub(super) fn ask_for_parents(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        block: &Block,
    ) -> Result<(), Fault> {
        let mut missing = Vec::new();
        for parent in block.heading().parents() {
            let is_here =
                self.orphans.blocks.contains_key(parent) || turn.overlay.record(parent)?.is_some();
            if !is_here {
                missing.push(*parent);
            }
        }
        let is_gap = self.orphans.blocks.len() > GAP;
        let Some(session) = self.connections.session(conn) else {
            return Ok(());
        };
        if session.wanted.len() < MAX_WANTED_BLOCKS {
            session.wanted.insert(block.id());
        }
        if is_gap {
            return self.seek(turn);
        }
        missing.retain(|parent| !session.asks_for(parent));
        if !missing.is_empty() && !self.is_syncing() {
            self.request_blocks(turn, conn, missing, Purpose::Parents);
        }
        Ok(())
    }

    /// Asks a peer for blocks by their ids.
    pub(super) fn request_blocks(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        ids: Vec<BlockId>,
        purpose: Purpose,
    ) {
        if let Some(session) = self.connections.session(conn) {
            session.asked.push_back(Asked {
                ids: ids.clone(),
                purpose,
            });
            turn.send(conn, Message::RequestBlocksById { ids });
        }
    }

    /// A peer has answered a request for blocks.
    pub(super) fn blocks(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        blocks: Vec<Arc<Block>>,
    ) -> Result<(), Fault> {
        let Some(session) = self.connections.session(conn) else {
            return Ok(());
        };
        // An answer to no question is no fault: it may be one that was given up.
        let Some(asked) = session.asked.pop_front() else {
            return Ok(());
        };
        let key = session.key;
        match asked.purpose {
            Purpose::Sync => return self.synced_blocks(turn, conn, asked.ids, blocks),
            Purpose::Relay => return self.whole_block(turn, conn, &asked.ids, blocks),
            Purpose::Parents => {
                for block in blocks
                    .into_iter()
                    .filter(|block| asked.ids.contains(&block.id()))
                {
                    self.take_from(turn, conn, block, Origin::Synced(key))?;
                }
            }
        }
        Ok(())
    }
}
