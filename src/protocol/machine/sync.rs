//! Catching up: headers first, and bodies only of a chain that has proven to be better.
//!
//! What a peer claims leads to a question; what its headers prove decides whether bodies are fetched; what its blocks lead to
//! decides which chain is selected. One peer at a time; a peer that does not deliver is left alone for a while, which is no fault.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::io::{ConnId, Event, Origin, Reason};
use super::relay::Taken;
use super::timers::Timer;
use super::{Machine, Turn, serve};
use crate::protocol::chain::block::{Block, Heading};
use crate::protocol::chain::id::{BlockId, NodeKey};
use crate::protocol::chain::ordering::is_better;
use crate::protocol::chain::rules;
use crate::protocol::chain::view::{Fault, Record, View};
use crate::protocol::wire::limits::{MAX_HEADERS, MAX_SYNC_HEADERS};
use crate::protocol::wire::message::Message;

/// Blocks in one request: small ones fit an answer by the hundred.
const REQUEST_BLOCKS: u32 = 128;

/// Requests under way: the next answer is on its way while one is being applied.
const REQUESTS: usize = 2;

/// A node that is further behind than this does not mine: its blocks would be stale.
const MINING_LAG: u64 = 16;

/// Catching up, from one peer at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Sync {
    state: State,
    /// Peers that are left alone until a moment.
    resting: BTreeMap<ConnId, u64>,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Idle,
    Headers(Download),
    Blocks(Download),
}

/// What is known of the chain that a peer is sending.
#[derive(Clone, Debug)]
struct Download {
    conn: ConnId,
    key: NodeKey,
    /// The last header and its place, once there is one.
    last: Option<Arc<Record>>,
    /// Blocks that are wanted and have not arrived, in order.
    wanted: VecDeque<BlockId>,
    /// The number of the first of them.
    from_block: u64,
    /// Requests under way: first number and count.
    requests: VecDeque<(u64, u32)>,
    /// Answers to come that are of no use any more.
    stale_answers: usize,
}

impl Machine {
    /// Blocks that are still to be fetched.
    pub fn sync_remaining(&self) -> u64 {
        match &self.sync.state {
            State::Blocks(download) => download.wanted.len() as u64,
            State::Idle | State::Headers(_) => 0,
        }
    }

    /// Whether this node is too far behind to mine.
    pub(super) fn is_behind(&self) -> bool {
        self.sync_remaining() > MINING_LAG
    }

    /// Asks the most promising peer for its headers, if one claims more than this node has.
    pub(super) fn seek_better(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        if !matches!(self.sync.state, State::Idle) {
            return Ok(());
        }
        let now_ms = turn.now.monotonic_ms;
        self.sync.resting.retain(|_, until_ms| *until_ms > now_ms);
        let own = (self.chain.tip().work, self.chain.tip().id);
        let promising = self
            .connections
            .sessions()
            .filter(|(.., session)| {
                session.is_ahead || is_better((session.claim.work, session.claim.tip), own)
            })
            .max_by_key(|(conn, _, session)| {
                (
                    !self.sync.resting.contains_key(conn),
                    session.claim.work,
                    session.claim.tip,
                )
            })
            .map(|(conn, _, session)| (conn, session.key));
        let Some((conn, key)) = promising else {
            return Ok(());
        };
        if let Some(until_ms) = self.sync.resting.get(&conn) {
            self.timers.hasten(Timer::Sync, *until_ms);
            return Ok(());
        }
        if let Some(session) = self.connections.session(conn) {
            session.is_ahead = false;
        }
        let locator = serve::locator(&turn.overlay, self.chain.tip().number)?;
        turn.send(conn, Message::RequestHeaders { locator });
        self.sync.state = State::Headers(Download {
            conn,
            key,
            last: None,
            wanted: VecDeque::new(),
            from_block: 0,
            requests: VecDeque::new(),
            stale_answers: 0,
        });
        self.expect_progress(turn);
        Ok(())
    }

    fn expect_progress(&mut self, turn: &mut Turn<'_>) {
        self.timers.set(
            Timer::Sync,
            turn.now.monotonic_ms + self.config.sync_timeout_ms,
        );
    }

    pub(super) fn headers(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        from_block: u64,
        headers: Vec<Heading>,
    ) -> Result<(), Fault> {
        // An answer that nobody waits for any more is no fault.
        let mut download = match std::mem::take(&mut self.sync.state) {
            State::Headers(download) if download.conn == conn => download,
            other => {
                self.sync.state = other;
                return Ok(());
            }
        };
        let complete = headers.len() < MAX_HEADERS;
        if download.last.is_none() {
            download.from_block = from_block;
        }
        match self.extend(turn, &mut download, headers)? {
            Extended::Linked => {}
            Extended::Unlinked => return self.rest(turn, conn),
            Extended::Broken(reason) => {
                self.disconnect(turn, conn, Reason::Fault(reason));
                return self.seek_better(turn);
            }
        }
        let own = (self.chain.tip().work, self.chain.tip().id);
        let better = |last: &Arc<Record>| is_better((last.work, last.id()), own);
        if download.last.as_ref().is_some_and(better) {
            return self.fetch(turn, download);
        }
        if complete || download.wanted.len() >= MAX_SYNC_HEADERS {
            return self.rest(turn, conn);
        }
        let last = download.last.iter().map(|last| last.id());
        let locator = last.collect();
        turn.send(conn, Message::RequestHeaders { locator });
        self.sync.state = State::Headers(download);
        self.expect_progress(turn);
        Ok(())
    }

    /// Links headers to what is known and checks them.
    fn extend(
        &mut self,
        turn: &Turn<'_>,
        download: &mut Download,
        headers: Vec<Heading>,
    ) -> Result<Extended, Fault> {
        for heading in headers {
            let stored = turn.overlay.record(&heading.id())?;
            let record = match stored {
                Some(record) => record,
                None => {
                    let last = download
                        .last
                        .take_if(|last| heading.parents().contains(&last.id()));
                    let parent = match last {
                        Some(last) => Some(last),
                        None => self.chain.selected_parent(&heading, &turn.overlay)?,
                    };
                    let Some(parent) = parent else {
                        return Ok(Extended::Unlinked);
                    };
                    match rules::place(&self.network, &parent, &heading) {
                        Ok(record) => Arc::new(record),
                        Err(error) => return Ok(Extended::Broken(error.to_string())),
                    }
                }
            };
            // Leading blocks that are stored already need not be fetched again.
            let stored = turn.overlay.record(&heading.id())?.is_some();
            if stored && download.wanted.is_empty() {
                download.from_block = record.number + 1;
            } else {
                download.wanted.push_back(heading.id());
            }
            download.last = Some(record);
        }
        Ok(Extended::Linked)
    }

    fn fetch(&mut self, turn: &mut Turn<'_>, mut download: Download) -> Result<(), Fault> {
        if download.wanted.is_empty() {
            // All of it is stored, and yet not selected: it was found invalid.
            return self.rest(turn, download.conn);
        }
        let (remaining, from) = (download.wanted.len() as u64, download.key);
        turn.notify(Event::Sync { remaining, from });
        Self::request(turn, &mut download);
        self.sync.state = State::Blocks(download);
        self.expect_progress(turn);
        self.refresh_templates(turn, 0);
        Ok(())
    }

    fn request(turn: &mut Turn<'_>, download: &mut Download) {
        while download.requests.len() < REQUESTS {
            let asked: u64 = download
                .requests
                .iter()
                .map(|(_, count)| u64::from(*count))
                .sum();
            let left = (download.wanted.len() as u64).saturating_sub(asked);
            if left == 0 {
                break;
            }
            let (from_block, count) = (
                download.from_block + asked,
                left.min(u64::from(REQUEST_BLOCKS)) as u32,
            );
            download.requests.push_back((from_block, count));
            turn.send(download.conn, Message::RequestBlocks { from_block, count });
        }
    }

    pub(super) fn blocks(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        from_block: u64,
        blocks: Vec<Arc<Block>>,
    ) -> Result<(), Fault> {
        let mut download = match std::mem::take(&mut self.sync.state) {
            State::Blocks(download) if download.conn == conn => download,
            other => {
                self.sync.state = other;
                return Ok(());
            }
        };
        if download.stale_answers > 0 {
            download.stale_answers -= 1;
            self.sync.state = State::Blocks(download);
            return Ok(());
        }
        let Some((_, count)) = download.requests.pop_front() else {
            return self.rest(turn, conn);
        };
        let wanted = |blocks: &[Arc<Block>]| {
            blocks
                .iter()
                .zip(&download.wanted)
                .all(|(block, id)| block.id() == *id)
        };
        let fits = !blocks.is_empty() && blocks.len() <= count as usize;
        if !fits || from_block != download.from_block || !wanted(&blocks) {
            // The peer has selected another chain since: its headers are asked for anew.
            self.sync.state = State::Blocks(download);
            self.stop(turn);
            return self.seek_better(turn);
        }
        let received = blocks.len();
        let key = download.key;
        download.wanted.drain(..received);
        download.from_block += received as u64;
        if received < count as usize {
            // The answer was cut short by its size: what was asked for behind it leaves a gap.
            download.stale_answers = download.requests.len();
            download.requests.clear();
        }
        Self::request(turn, &mut download);
        let proven = download.last.as_ref().map(|last| (last.work, last.id()));
        let complete = download.wanted.is_empty();
        self.sync.state = State::Blocks(download);
        for block in blocks {
            if let Some(session) = self.connections.session(conn) {
                session.blocks.insert(block.id());
            }
            if let Taken::Broken(reason) = self.take_block(turn, block, Origin::Synced(key))? {
                self.disconnect(turn, conn, Reason::Fault(reason));
                return self.seek_better(turn);
            }
        }
        self.expect_progress(turn);
        if !complete {
            return Ok(());
        }
        let own = (self.chain.tip().work, self.chain.tip().id);
        if proven.is_some_and(|proven| is_better(proven, own)) {
            // Some block was not taken in, as one that is dated ahead: asking again at once would lead to the same.
            return self.rest(turn, conn);
        }
        self.stop(turn);
        self.seek_better(turn)
    }

    /// Leaves a peer alone for a while and tries another.
    fn rest(&mut self, turn: &mut Turn<'_>, conn: ConnId) -> Result<(), Fault> {
        let until_ms = turn.now.monotonic_ms + self.config.sync_timeout_ms;
        self.sync.resting.insert(conn, until_ms);
        self.stop(turn);
        self.seek_better(turn)
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.timers.cancel(&Timer::Sync);
        if let State::Blocks(download) = std::mem::take(&mut self.sync.state) {
            turn.notify(Event::Sync {
                remaining: 0,
                from: download.key,
            });
            self.refresh_templates(turn, 0);
        }
    }

    /// The peer had its time, or somebody may be asked again.
    pub(super) fn sync_due(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        match &self.sync.state {
            State::Idle => self.seek_better(turn),
            State::Headers(download) | State::Blocks(download) => {
                let conn = download.conn;
                self.rest(turn, conn)
            }
        }
    }

    /// A connection has ended.
    pub(super) fn sync_left(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        self.sync.resting.remove(&conn);
        let current = match &self.sync.state {
            State::Idle => None,
            State::Headers(download) | State::Blocks(download) => Some(download.conn),
        };
        if current == Some(conn) {
            self.stop(turn);
            self.timers.set(Timer::Sync, turn.now.monotonic_ms);
        }
    }
}

/// What headers turned out to be.
enum Extended {
    /// They follow what is known.
    Linked,
    /// They follow nothing that is known: the peer's selection changed in between.
    Unlinked,
    /// They break a rule, provably.
    Broken(String),
}
