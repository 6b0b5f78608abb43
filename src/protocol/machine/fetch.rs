//! New blocks from peers that send them in compact form or announce them: what they lack, and who is asked for it.
//!
//! A block is asked for from one peer at a time. Who does not answer in a few round trips has had its time, and the next one is
//! asked that has told of the block; none of that is a fault.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::io::{ConnId, Event, Rebuilt};
use super::orphans::Purpose;
use super::sessions::Session;
use super::timers::Timer;
use super::{Machine, Turn};
use crate::protocol::bugs::{Defence, lacks};
use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::BlockId;
use crate::protocol::chain::transaction::SharedTransaction;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::wire::compact::Sketch;
use crate::protocol::wire::limits::{MAX_FETCHES, MAX_FETCHES_OF_PEER};
use crate::protocol::wire::message::Message;

/// Round trips that a peer has for an answer: one, twice over for what else is on the line, and twice over for a round that was
/// measured in a quiet moment.
const ROUND_TRIPS: u64 = 4;

/// Bounds of that in milliseconds: a busy node next door is not slow, and nobody is waited for longer than for a claim.
const LEAST_MS: u64 = 200;
const MOST_MS: u64 = 2_000;

/// A block that is being fetched.
#[derive(Clone, Debug)]
struct Fetch {
    from: ConnId,
    until_ms: u64,
    wanted: Wanted,
    /// Others that have it.
    others: VecDeque<ConnId>,
}

/// What of a block a peer is asked for.
#[derive(Clone, Debug)]
enum Wanted {
    /// The block, without transactions.
    Compact,
    /// The transactions that were not at hand.
    Transactions(Box<Sketch>),
    /// All of it.
    Whole,
}

/// The blocks that are being fetched.
#[derive(Clone, Debug, Default)]
pub(super) struct Fetches {
    blocks: BTreeMap<BlockId, Fetch>,
}

impl Fetches {
    /// A block is here.
    pub(super) fn end(&mut self, id: &BlockId) {
        self.blocks.remove(id);
    }

    fn has_room(&self, conn: ConnId) -> bool {
        let of_peer = self.blocks.values().filter(|fetch| fetch.from == conn);
        self.blocks.len() < MAX_FETCHES && of_peer.count() < MAX_FETCHES_OF_PEER
    }

    /// Another peer has a block. False if nobody is being asked for it.
    fn add_source(&mut self, id: &BlockId, conn: ConnId) -> bool {
        let Some(fetch) = self.blocks.get_mut(id) else {
            return false;
        };
        if fetch.from != conn && !fetch.others.contains(&conn) {
            fetch.others.push_back(conn);
        }
        true
    }
}

impl Machine {
    /// Blocks that are being fetched.
    pub fn fetches(&self) -> usize {
        self.fetches.blocks.len()
    }

    fn is_here(&self, turn: &Turn<'_>, id: &BlockId) -> Result<bool, Fault> {
        let is_young = self.chain.dag().index(id).is_some() || self.orphans.contains(id);
        Ok(is_young || turn.overlay.record(id)?.is_some())
    }

    /// A peer tells of a block.
    pub(super) fn announced(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        id: BlockId,
    ) -> Result<(), Fault> {
        self.block_holders.add(id, conn);
        // While this node catches up, it gets what is new with the rest.
        if self.is_behind() || self.is_here(turn, &id)? || self.fetches.add_source(&id, conn) {
            return Ok(());
        }
        if self.fetches.has_room(conn) {
            self.ask(turn, id, conn, Wanted::Compact, VecDeque::new());
        }
        Ok(())
    }

    /// A peer sends a block in compact form.
    pub(super) fn sketched(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        mut sketch: Box<Sketch>,
    ) -> Result<(), Fault> {
        let id = sketch.heading().id();
        self.block_holders.add(id, conn);
        if self.is_here(turn, &id)? {
            return Ok(());
        }
        let is_sought = |fetch: &Fetch| matches!(fetch.wanted, Wanted::Compact);
        let known = self.fetches.blocks.get(&id);
        if known.is_some_and(|fetch| !is_sought(fetch)) {
            self.fetches.add_source(&id, conn);
            return Ok(());
        }
        // Whoever brings it first.
        let others = match self.fetches.blocks.remove(&id) {
            Some(Fetch {
                from, mut others, ..
            }) => {
                others.push_back(from);
                others.retain(|other| *other != conn);
                others
            }
            None => VecDeque::new(),
        };
        if !self.fetches.has_room(conn) {
            return Ok(());
        }
        if !self.fill(&mut sketch) {
            self.ask(turn, id, conn, Wanted::Whole, others);
            return Ok(());
        }
        if !sketch.missing().is_empty() {
            self.ask(turn, id, conn, Wanted::Transactions(sketch), others);
            return Ok(());
        }
        self.rebuilt(turn, conn, *sketch, others, Rebuilt::AtOnce)
    }

    /// Fills a block with the transactions that wait, and with those of the last blocks: a parallel one may have applied them.
    /// False if its short ids are of no use.
    fn fill(&self, sketch: &mut Sketch) -> bool {
        let is_useful = sketch.fill(self.mempool.by_id());
        if is_useful && !sketch.missing().is_empty() {
            let id = sketch.heading().id();
            let applied = self.chain.recent_transactions_beside(&id);
            sketch.fill(applied.map(|transaction| (transaction.id(), transaction)));
        }
        is_useful
    }

    /// All transactions of a block are here.
    fn rebuilt(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        sketch: Sketch,
        others: VecDeque<ConnId>,
        rebuilt: Rebuilt,
    ) -> Result<(), Fault> {
        let id = sketch.heading().id();
        let Some(block) = sketch.into_block() else {
            self.ask(turn, id, conn, Wanted::Whole, others);
            return Ok(());
        };
        turn.notify(Event::BlockRebuilt { rebuilt });
        self.new_block(turn, conn, Arc::new(block))
    }

    /// A peer sends the transactions that a block lacked.
    pub(super) fn block_transactions(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        id: BlockId,
        transactions: Vec<SharedTransaction>,
    ) -> Result<(), Fault> {
        // An answer that nobody waits for any more is no fault.
        let Some(fetch) = self.fetches.blocks.remove(&id) else {
            return Ok(());
        };
        let (mut sketch, others) = match fetch {
            Fetch {
                from,
                wanted: Wanted::Transactions(sketch),
                others,
                ..
            } if from == conn && !transactions.is_empty() => (sketch, others),
            Fetch {
                from,
                wanted: Wanted::Transactions(_),
                ..
            } if from == conn => {
                self.ask_next(turn, id, fetch);
                return Ok(());
            }
            other => {
                self.fetches.blocks.insert(id, other);
                return Ok(());
            }
        };
        if !sketch.complete(transactions) {
            self.ask(turn, id, conn, Wanted::Whole, others);
            return Ok(());
        }
        self.rebuilt(turn, conn, *sketch, others, Rebuilt::AfterRound)
    }

    /// A peer has been asked for a whole block, and has answered. It is asked for elsewhere if it was not in the answer.
    pub(super) fn whole_block(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        asked: &[BlockId],
        blocks: Vec<Arc<Block>>,
    ) -> Result<(), Fault> {
        for block in blocks {
            if asked.contains(&block.id()) {
                self.new_block(turn, conn, block)?;
            }
        }
        for id in asked {
            let is_open = |fetch: &Fetch| fetch.from == conn;
            if self.fetches.blocks.get(id).is_some_and(is_open)
                && let Some(fetch) = self.fetches.blocks.remove(id)
            {
                self.ask_next(turn, *id, fetch);
            }
        }
        Ok(())
    }

    fn ask(
        &mut self,
        turn: &mut Turn<'_>,
        id: BlockId,
        conn: ConnId,
        wanted: Wanted,
        others: VecDeque<ConnId>,
    ) {
        let Some(session) = self.connections.session(conn) else {
            return;
        };
        let until_ms = turn.now.monotonic_ms + patience_ms(session);
        match &wanted {
            Wanted::Compact => turn.send(conn, Message::RequestCompactBlock { id }),
            Wanted::Transactions(sketch) => {
                let (block, indexes) = (id, sketch.missing());
                turn.send(conn, Message::RequestBlockTransactions { block, indexes });
            }
            Wanted::Whole if lacks(Defence::WholeBlocks) => return,
            Wanted::Whole => {
                turn.notify(Event::BlockRebuilt {
                    rebuilt: Rebuilt::Whole,
                });
                self.request_blocks(turn, conn, vec![id], Purpose::Relay);
            }
        }
        self.timers.hasten(Timer::Fetch, until_ms);
        let fetch = Fetch {
            from: conn,
            until_ms,
            wanted,
            others,
        };
        self.fetches.blocks.insert(id, fetch);
    }

    /// Asks the next peer that has a block. If there is none and the block's work was shown, it is left to synchronisation.
    fn ask_next(&mut self, turn: &mut Turn<'_>, id: BlockId, fetch: Fetch) {
        let (wanted, mut others) = (fetch.wanted, fetch.others);
        while let Some(next) = others.pop_front() {
            if self.connections.session(next).is_some() {
                return self.ask(turn, id, next, wanted, others);
            }
        }
        if !matches!(wanted, Wanted::Compact)
            && let Some(session) = self.connections.session(fetch.from)
        {
            session.wanted.insert(id);
            if !self.is_syncing() {
                self.timers.hasten(Timer::Sync, turn.now.monotonic_ms);
            }
        }
    }

    /// Somebody has had its time.
    pub(super) fn fetch_due(&mut self, turn: &mut Turn<'_>) {
        let now_ms = turn.now.monotonic_ms;
        self.give_up(turn, |fetch| fetch.until_ms <= now_ms);
        let next_ms = self.fetches.blocks.values().map(|fetch| fetch.until_ms);
        if let Some(next_ms) = next_ms.min() {
            self.timers.set(Timer::Fetch, next_ms);
        }
    }

    /// A connection has ended.
    pub(super) fn fetches_left(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        self.give_up(turn, |fetch| fetch.from == conn);
    }

    fn give_up(&mut self, turn: &mut Turn<'_>, is_over: impl Fn(&Fetch) -> bool) {
        let over = self
            .fetches
            .blocks
            .extract_if(.., |_, fetch| is_over(fetch));
        let over: Vec<_> = over.collect();
        for (id, fetch) in over {
            self.ask_next(turn, id, fetch);
        }
    }
}

/// How long a peer has for an answer, in milliseconds.
fn patience_ms(session: &Session) -> u64 {
    let round_trip = session.meter.round_trip();
    let round_trip_ms = round_trip.map(|measured| measured.smoothed_us / 1_000);
    round_trip_ms.map_or(MOST_MS / 2, |ms| {
        (ROUND_TRIPS * ms).clamp(LEAST_MS, MOST_MS)
    })
}
