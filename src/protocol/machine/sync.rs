//! Catching up: the headers of what a peer has and this node has not, page by page, and then their blocks.
//!
//! What a peer claims leads to a question; its headers must carry their work and follow what is known before any block is fetched;
//! its blocks decide. One peer at a time; a peer that does not deliver is left alone for a while, which is no fault.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::io::{ConnId, Event, Origin};
use super::orphans::Purpose;
use super::timers::Timer;
use super::{Machine, Turn, serve};
use crate::protocol::chain::block::{Block, Heading};
use crate::protocol::chain::id::{BlockId, NodeKey};
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::wire::limits::MAX_LOCATOR;
use crate::protocol::wire::message::{Claim, Message};

/// Blocks in one request: small ones fit an answer by the hundred.
const REQUEST_BLOCKS: usize = 128;

/// Requests under way: the next answer is on its way while one is being applied.
const REQUESTS: usize = 2;

/// A node that is further behind than this does not mine: its blocks would be stale.
const MINING_LAG: usize = 16;

/// What a peer has just claimed is most likely on its way already, as new blocks.
const GRACE_MS: u64 = 1_000;

/// Catching up, from one peer at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Sync {
    current: Option<Download>,
    /// Peers that are left alone until a moment.
    resting: BTreeMap<ConnId, u64>,
}

/// What is being fetched from a peer.
#[derive(Clone, Debug)]
struct Download {
    conn: ConnId,
    key: NodeKey,
    /// A page of headers is under way.
    page_asked: bool,
    /// The last header of the page before, and whether more follow.
    last: Option<BlockId>,
    more: bool,
    /// Blocks of the page that were not asked for yet, in order.
    wanted: VecDeque<BlockId>,
    /// Blocks that were.
    under_way: usize,
    /// The page before had many blocks that were new.
    is_behind: bool,
}

impl Machine {
    /// Blocks that are known to be still to be fetched.
    pub fn sync_remaining(&self) -> u64 {
        let remaining = |download: &Download| download.wanted.len() + download.under_way;
        self.sync.current.as_ref().map_or(0, remaining) as u64
    }

    pub(super) fn is_syncing(&self) -> bool {
        self.sync.current.is_some()
    }

    /// Whether this node is too far behind to mine.
    pub(super) fn is_behind(&self) -> bool {
        self.sync
            .current
            .as_ref()
            .is_some_and(|download| download.is_behind)
    }

    /// A peer tells of its tips. Unknown ones are asked for, though not before they had time to arrive by themselves.
    pub(super) fn claimed(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        claim: Claim,
    ) -> Result<(), Fault> {
        let mut wanted = BTreeSet::new();
        for id in claim.tips() {
            if turn.overlay.record(&id)?.is_none() {
                wanted.insert(id);
            }
        }
        // A lighter fork is of no use where nothing is merged.
        let merges = self.network.params().max_parents > 1;
        if !merges && (claim.work, claim.tip) < (self.chain.tip().work, self.chain.tip().id) {
            wanted.clear();
        }
        let has_any = !wanted.is_empty();
        if let Some(session) = self.connections.session(conn) {
            session.claim = claim;
            session.wanted = wanted;
        }
        if has_any && !self.is_syncing() {
            self.timers
                .hasten(Timer::Sync, turn.now.monotonic_ms + GRACE_MS);
        }
        Ok(())
    }

    /// Asks the most promising peer for its headers, if one has what this node has not.
    pub(super) fn seek(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        if self.is_syncing() {
            return Ok(());
        }
        let now_ms = turn.now.monotonic_ms;
        self.sync.resting.retain(|_, until_ms| *until_ms > now_ms);
        let number = self.chain.tip().number;
        let mut best: Option<(bool, Claim, ConnId, NodeKey)> = None;
        let Self {
            connections, sync, ..
        } = self;
        for (conn, session) in connections.sessions_mut() {
            let mut still = BTreeSet::new();
            for id in &session.wanted {
                if turn.overlay.record(id)?.is_none() {
                    still.insert(*id);
                }
            }
            session.wanted = still;
            if session.wanted.is_empty() {
                continue;
            }
            // It has dropped what this node would need first.
            if session.claim.pruned > number {
                continue;
            }
            let is_free = !sync.resting.contains_key(&conn);
            let rank = |free: bool, claim: &Claim| (free, claim.work, claim.tip);
            let better = best
                .as_ref()
                .is_none_or(|(free, claim, ..)| rank(is_free, &session.claim) > rank(*free, claim));
            if better {
                best = Some((is_free, session.claim.clone(), conn, session.key));
            }
        }
        let Some((_, _, conn, key)) = best else {
            return Ok(());
        };
        if let Some(until_ms) = self.sync.resting.get(&conn) {
            self.timers.hasten(Timer::Sync, *until_ms);
            return Ok(());
        }
        let download = Download {
            conn,
            key,
            page_asked: false,
            last: None,
            more: true,
            wanted: VecDeque::new(),
            under_way: 0,
            is_behind: false,
        };
        self.request_headers(turn, download)
    }

    /// Asks for the next page of headers: those after the last page, or after what both nodes have.
    fn request_headers(
        &mut self,
        turn: &mut Turn<'_>,
        mut download: Download,
    ) -> Result<(), Fault> {
        let mut locator: Vec<_> = download.last.into_iter().collect();
        locator.extend(serve::locator(&turn.overlay, self.chain.tip().number)?);
        locator.truncate(MAX_LOCATOR);
        turn.send(download.conn, Message::RequestHeaders { locator });
        download.page_asked = true;
        self.sync.current = Some(download);
        self.expect_progress(turn);
        Ok(())
    }

    fn expect_progress(&mut self, turn: &mut Turn<'_>) {
        let at_ms = turn.now.monotonic_ms + self.config.sync_timeout_ms;
        self.timers.set(Timer::Sync, at_ms);
    }

    /// A page of headers has arrived.
    pub(super) fn headers(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        headers: &[Heading],
        more: bool,
    ) -> Result<(), Fault> {
        // An answer that nobody waits for any more is no fault.
        let is_awaited = |download: &mut Download| download.conn == conn && download.page_asked;
        let Some(mut download) = self.sync.current.take_if(is_awaited) else {
            return Ok(());
        };
        let mut page = BTreeSet::new();
        for heading in headers {
            let id = heading.id();
            if turn.overlay.record(&id)?.is_some() {
                continue;
            }
            for parent in heading.parents() {
                if !page.contains(parent) && turn.overlay.record(parent)?.is_none() {
                    // The peer's order has changed between two pages.
                    self.sync.current = Some(download);
                    return self.rest(turn, conn);
                }
            }
            page.insert(id);
            download.wanted.push_back(id);
        }
        let advances = headers
            .last()
            .is_some_and(|last| download.last != Some(last.id()));
        download.page_asked = false;
        download.last = headers.last().map(Heading::id);
        download.more = more && advances;
        download.is_behind = download.wanted.len() > MINING_LAG;
        if !download.wanted.is_empty() {
            let (remaining, from) = (download.wanted.len() as u64, download.key);
            turn.notify(Event::Sync { remaining, from });
        }
        self.refresh_templates(turn, 0);
        self.sync.current = Some(download);
        self.advance(turn)
    }

    /// Asks for the next blocks, the next page, or ends.
    fn advance(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let Some(mut download) = self.sync.current.take() else {
            return Ok(());
        };
        let conn = download.conn;
        while download.under_way <= REQUEST_BLOCKS * (REQUESTS - 1) && !download.wanted.is_empty() {
            let count = download.wanted.len().min(REQUEST_BLOCKS);
            let ids: Vec<_> = download.wanted.drain(..count).collect();
            download.under_way += count;
            self.request_blocks(turn, conn, ids, Purpose::Sync);
        }
        if download.under_way > 0 {
            self.sync.current = Some(download);
            self.expect_progress(turn);
            return Ok(());
        }
        if download.more {
            return self.request_headers(turn, download);
        }
        self.sync.current = Some(download);
        let mut lacks = false;
        if let Some(session) = self.connections.session(conn) {
            for id in &session.wanted {
                lacks |= turn.overlay.record(id)?.is_none();
            }
        }
        if lacks {
            // It claims what its headers did not lead to, or something was not taken in, as what is dated ahead: asking again at
            // once would lead to the same.
            return self.rest(turn, conn);
        }
        self.stop(turn);
        self.announce_tips(turn)?;
        self.seek(turn)
    }

    /// Blocks that were asked for have arrived.
    pub(super) fn synced_blocks(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        mut asked: Vec<BlockId>,
        blocks: Vec<Arc<Block>>,
    ) -> Result<(), Fault> {
        let is_awaited = |download: &&mut Download| download.conn == conn;
        let Some(download) = self.sync.current.as_mut().filter(is_awaited) else {
            return Ok(());
        };
        download.under_way = download.under_way.saturating_sub(asked.len());
        let key = download.key;
        let mut received = blocks;
        received.retain(|block| asked.contains(&block.id()));
        if received.is_empty() {
            return self.rest(turn, conn);
        }
        asked.retain(|id| received.iter().all(|block| block.id() != *id));
        if !asked.is_empty() {
            self.ask_again(conn, asked);
        }
        for block in received {
            if self.take_from(turn, conn, block, Origin::Synced(key))? {
                // The connection has ended over it.
                return Ok(());
            }
        }
        self.advance(turn)
    }

    /// An answer was cut short by its size. Children must not come before their parents, so what was asked for behind the missing
    /// blocks is asked for again with them.
    fn ask_again(&mut self, conn: ConnId, mut missing: Vec<BlockId>) {
        if let Some(session) = self.connections.session(conn) {
            for asked in session
                .asked
                .iter_mut()
                .filter(|asked| asked.purpose == Purpose::Sync)
            {
                asked.purpose = Purpose::Nothing;
                missing.append(&mut asked.ids);
            }
        }
        if let Some(download) = &mut self.sync.current {
            download.under_way = 0;
            for id in missing.into_iter().rev() {
                download.wanted.push_front(id);
            }
        }
    }

    /// Leaves a peer alone for a while and tries another.
    fn rest(&mut self, turn: &mut Turn<'_>, conn: ConnId) -> Result<(), Fault> {
        let until_ms = turn.now.monotonic_ms + self.config.sync_timeout_ms;
        self.sync.resting.insert(conn, until_ms);
        self.stop(turn);
        self.seek(turn)
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.timers.cancel(&Timer::Sync);
        if let Some(download) = self.sync.current.take() {
            if let Some(session) = self.connections.session(download.conn) {
                for asked in session
                    .asked
                    .iter_mut()
                    .filter(|asked| asked.purpose == Purpose::Sync)
                {
                    asked.purpose = Purpose::Nothing;
                }
            }
            let (remaining, from) = (0, download.key);
            turn.notify(Event::Sync { remaining, from });
            self.refresh_templates(turn, 0);
        }
    }

    /// The peer had its time, or somebody may be asked.
    pub(super) fn sync_due(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        match &self.sync.current {
            None => self.seek(turn),
            Some(download) => {
                let conn = download.conn;
                self.rest(turn, conn)
            }
        }
    }

    /// A connection has ended.
    pub(super) fn sync_left(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        self.sync.resting.remove(&conn);
        if self
            .sync
            .current
            .as_ref()
            .is_some_and(|download| download.conn == conn)
        {
            self.stop(turn);
            self.timers.set(Timer::Sync, turn.now.monotonic_ms);
        }
    }
}
