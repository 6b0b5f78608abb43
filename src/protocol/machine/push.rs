//! New blocks to peers: in the form that takes the fewest bytes, sent to some and announced to others. And who does so for this
//! node.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::io::{ConnId, Direction, Origin, Reason};
use super::sessions::Session;
use super::{Machine, Turn};
use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::BlockId;
use crate::protocol::wire::compact::CompactBlock;
use crate::protocol::wire::limits::{MAX_MISSED, MAX_PUSHED_TO_ALL, MAX_PUSHING};
use crate::protocol::wire::message::Message;

/// After so many blocks a node looks again at who was first with them.
const REVIEW_BLOCKS: u64 = 16;

/// What a node remembers of new blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Pushed {
    /// Which transactions this node lacked of the last blocks that it passed on.
    missed: VecDeque<(BlockId, Vec<u32>)>,
    /// New blocks from peers since who pushes was last reviewed.
    reviewed: u64,
}

impl Machine {
    /// A peer asks for a block that was announced to it. What is not among the last is not new, and left to synchronisation.
    pub(super) fn compact_block_requested(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        id: BlockId,
    ) {
        if let Some(block) = self.chain.recent_block(&id).cloned() {
            let message = self.compact(&block);
            turn.send(conn, message);
        }
    }

    /// A peer asks for transactions of a block.
    pub(super) fn block_transactions_requested(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        id: BlockId,
        indexes: &[u32],
    ) {
        let mut transactions = Vec::new();
        if let Some(block) = self.chain.recent_block(&id) {
            let all = &block.body().transactions;
            let wanted = indexes.iter().map(|index| all.get(*index as usize));
            let Some(wanted) = wanted.collect::<Option<Vec<_>>>() else {
                let fault = format!("transactions beyond the end of block {id}");
                return self.disconnect(turn, conn, Reason::Fault(fault));
            };
            transactions.extend(wanted.into_iter().map(|transaction| transaction.to_bytes()));
        }
        let answer = Message::BlockTransactions {
            block: id,
            transactions,
        };
        turn.send(conn, answer);
    }

    /// Passes a block on to peers that lack it: to all of them if it is small, or this node's own; else to those that want it
    /// pushed, and the others are told of it.
    pub(super) fn push(
        &mut self,
        turn: &mut Turn<'_>,
        block: &Arc<Block>,
        origin: Origin,
        mut to: Vec<ConnId>,
    ) {
        if block.bytes().len() <= MAX_PUSHED_TO_ALL {
            return turn.send_all(to, || Message::NewBlock(Arc::clone(block.bytes())));
        }
        let id = block.id();
        if self.pushed.missed.len() == MAX_MISSED {
            self.pushed.missed.pop_front();
        }
        let lacked = match origin {
            Origin::Mined => Vec::new(),
            _ => self.lacked(block),
        };
        self.pushed.missed.push_back((id, lacked));
        let is_told = |conn: &mut ConnId| {
            let session = self.connections.session(*conn);
            origin != Origin::Mined && session.is_some_and(|session| !session.wants_push)
        };
        let told: Vec<_> = to.extract_if(.., is_told).collect();
        if !to.is_empty() {
            let message = self.compact(block);
            turn.send_all(to, || message);
        }
        turn.send_all(told, || Message::AnnounceBlock { id });
    }

    /// The transactions of a block that neither wait here nor are in another of the last blocks: others lack them as well.
    fn lacked(&self, block: &Block) -> Vec<u32> {
        let all = (0..).zip(&block.body().transactions);
        let lacked = all.filter(|(_, transaction)| !self.mempool.contains(&transaction.id()));
        let mut lacked: Vec<_> = lacked.map(|(index, one)| (index, one.id())).collect();
        if !lacked.is_empty() {
            let mut ids: BTreeSet<_> = lacked.iter().map(|(_, id)| *id).collect();
            for transaction in self.chain.recent_transactions_beside(&block.id()) {
                ids.remove(&transaction.id());
            }
            lacked.retain(|(_, id)| ids.contains(id));
        }
        lacked.into_iter().map(|(index, _)| index).collect()
    }

    /// A block in the form in which it takes the fewest bytes.
    fn compact(&mut self, block: &Block) -> Message {
        let nonce = self.rng.next_u64();
        let mut missed = self.pushed.missed.iter();
        let missed = missed.find(|(id, _)| *id == block.id());
        let lacked = missed.map_or(&[][..], |(_, lacked)| lacked);
        let compact = CompactBlock::new(block, nonce, lacked);
        match compact.message_bytes() < 4 + 8 + block.bytes().len() {
            true => Message::CompactBlock(compact),
            false => Message::NewBlock(Arc::clone(block.bytes())),
        }
    }

    /// A peer says how it wants to hear of new blocks.
    pub(super) fn push_wanted(&mut self, conn: ConnId, push: bool) {
        if let Some(session) = self.connections.session(conn) {
            session.wants_push = push;
        }
    }

    /// A peer was first with a block. Now and then those push that were first with the most.
    pub(super) fn was_first(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        if let Some(session) = self.connections.session(conn) {
            session.firsts += 1;
        }
        self.pushed.reviewed += 1;
        if self.pushed.reviewed == REVIEW_BLOCKS {
            self.pushed.reviewed = 0;
            self.review(turn);
            for (_, session) in self.connections.sessions_mut() {
                session.firsts /= 2;
            }
        }
    }

    /// Chooses who pushes: who was first with the most blocks, then who does already, then who came first; and one of them that
    /// this node has chosen itself, lest others take all places.
    pub(super) fn review(&mut self, turn: &mut Turn<'_>) {
        let rank = |session: &Session| (session.firsts, session.pushes);
        let sessions = self.connections.sessions();
        let mut best: Vec<_> = sessions
            .map(|(conn, connection, session)| (rank(session), conn, connection.direction))
            .collect();
        // Stable: of equals the oldest stays first.
        best.sort_by(|(one, ..), (other, ..)| other.cmp(one));
        let outbound = |(.., direction): &(_, _, Direction)| *direction == Direction::Outbound;
        if let Some(at) = best.iter().position(outbound)
            && at >= MAX_PUSHING
        {
            best.swap(at, MAX_PUSHING - 1);
        }
        let chosen: BTreeSet<_> = best
            .iter()
            .take(MAX_PUSHING)
            .map(|(_, conn, _)| *conn)
            .collect();
        let mut changed = Vec::new();
        for (conn, session) in self.connections.sessions_mut() {
            let push = chosen.contains(&conn);
            if session.pushes != push {
                session.pushes = push;
                changed.push((conn, push));
            }
        }
        for (conn, push) in changed {
            turn.send(conn, Message::PushBlocks { push });
        }
    }
}
