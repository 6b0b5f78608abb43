//! Nodes that break the rules, see [`crate::adversary`]: what the others may hold against them, and what slows them down.

use super::world::World;
use crate::adversary::{Role, SLOW_READER_BYTES_PER_S};
use crate::protocol::chain::id::BlockId;
use crate::protocol::machine::io::ConnId;

impl World {
    /// Whether a node has a role.
    pub fn breaks_rules(&self, node: usize) -> bool {
        self.config.roles.contains_key(&node)
    }

    /// Whether a fault at the other end of a connection is no wonder. What a node says that has a role proves nothing.
    pub(super) fn may_fault(&self, node: usize, conn: ConnId) -> bool {
        let link = self.members[node].conns.get(&conn);
        let link = link.and_then(|link| self.links.get(*link));
        let ends = link.map_or([node; 2], |link| link.nodes);
        ends.into_iter().any(|end| self.breaks_rules(end))
    }

    /// Whether a block may be refused: one that such a node has mined, or by such a node.
    pub(super) fn may_refuse(&self, node: usize, block: &BlockId) -> bool {
        if self.config.roles.is_empty() {
            return false;
        }
        let miner = self.blocks.get(block).map(|block| block.body().miner);
        let mut rogues = self.config.roles.keys();
        self.breaks_rules(node)
            || rogues.any(|rogue| Some(self.members[*rogue].config.miner) == miner)
    }

    /// How fast a node reads, where that is less than it is sent.
    pub(super) fn reads_bytes_per_s(&self, node: usize) -> Option<u64> {
        let role = self.config.roles.get(&node);
        (role == Some(&Role::SlowReader)).then_some(SLOW_READER_BYTES_PER_S)
    }
}
