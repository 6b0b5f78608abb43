//! Whom to ask for bodies, and taking them in.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::BlockId;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::machine::io::{ConnId, Direction, Origin};
use crate::protocol::machine::orphans::Purpose;
use crate::protocol::machine::{Machine, Turn};
use crate::protocol::wire::limits::{MAX_BLOCKS, MAX_BLOCKS_BYTES};

impl Machine {
    /// Blocks that were asked for have arrived.
    pub(in crate::protocol::machine) fn synced_blocks(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        asked: Vec<BlockId>,
        blocks: Vec<Arc<Block>>,
    ) -> Result<(), Fault> {
        let now_ms = turn.now.monotonic_ms;
        let Some(took_ms) = self.sync.window.answered(conn, now_ms) else {
            return Ok(());
        };
        let mut missing: BTreeSet<_> = asked.into_iter().collect();
        let (window, sources) = (&mut self.sync.window, &mut self.sync.sources);
        let mut is_of_use = false;
        for block in blocks {
            if missing.remove(&block.id()) {
                is_of_use = true;
                window.put(block, conn);
            }
        }
        // An answer may be cut short by its size; one that has nothing of what was asked for is of no use.
        for id in &missing {
            window.want_again(id, conn);
        }
        if is_of_use {
            sources.delivered(conn, took_ms);
        } else {
            sources.rest(conn, now_ms, self.config.sync_timeout_ms);
        }
        self.progress(turn)
    }

    /// Takes in what is here in its order; so much at a time as one message may bring, for others wait too.
    pub(super) fn take_synced(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let (mut blocks, mut bytes) = (0, 0);
        while blocks < MAX_BLOCKS && bytes < MAX_BLOCKS_BYTES {
            let awaited = self.sync.window.awaited();
            if awaited.is_some_and(|id| self.chain.dag().index(&id).is_some()) {
                self.sync.window.skip();
                continue;
            }
            let Some((block, conn)) = self.sync.window.next() else {
                break;
            };
            (blocks, bytes) = (blocks + 1, bytes + block.bytes().len());
            self.sync.taken += 1;
            let id = block.id();
            let key = self.connections.session(conn).map(|session| session.key);
            let origin = Origin::Synced(key.unwrap_or_default());
            self.take_from(turn, conn, block, origin)?;
            if turn.overlay.record(&id)?.is_none() {
                // Dated ahead, against what is final, or broken: what continues it cannot be taken in either.
                self.sync.window.clear();
                if let Some(leader) = self.sync.proofs.first().map(|leader| leader.conn) {
                    self.end_conversation(turn, leader);
                }
            }
        }
        Ok(())
    }

    /// Asks for bodies, as many as there is room for, always the peer that has least to deliver and does it soonest. Of those with
    /// equally much first who has shown that it has them, or was dialled: the others have claimed it, and may be many.
    pub(super) fn ask_for_bodies(&mut self, turn: &mut Turn<'_>) {
        let now_ms = turn.now.monotonic_ms;
        let number = self.chain.tip().number;
        loop {
            let sync = &self.sync;
            let has_blocks = |conn: ConnId| sync.proofs.iter().any(|proof| proof.conn == conn);
            let leader = sync.proofs.first().map(|proof| proof.conn);
            let has_shown = |conn| leader == Some(conn) || sync.allies.contains(&conn);
            let free = self
                .connections
                .sessions()
                .filter_map(|(conn, connection, session)| {
                    let is_source = (has_blocks(conn) || !session.wanted.is_empty())
                        && session.claim.pruned <= number
                        && !sync.sources.owes(conn)
                        && sync.sources.rests_until_ms(conn, now_ms).is_none();
                    let load = sync.window.load(conn).filter(|_| is_source)?;
                    let is_chosen = connection.direction == Direction::Outbound;
                    let only_claims = !is_chosen && !has_shown(conn);
                    Some((load, only_claims, sync.sources.average_ms(conn), conn))
                });
            let Some((.., conn)) = free.min() else {
                return;
            };
            let ids = self.sync.window.ask(conn, now_ms);
            if ids.is_empty() {
                return;
            }
            self.request_blocks(turn, conn, ids, Purpose::Sync);
        }
    }
}
