//! Catching up: headings first, from the peer that proves most work, and then bodies, from all peers that have them.
//!
//! ```text
//!  a peer claims unknown tips ──> counting ──> repeating ──> following ──> caught up
//!                                    │ a rival that proves more takes the lead
//!                                    └─> resting: too little work, late, or nothing to give; twice as long each time
//! ```
//!
//! * **Counting** keeps nothing of headings but their work and eight bytes a page ([`proof`]). What must be proven: see
//!   [`Machine::work_needed`]. One page that is enough at once is followed at once; this is the usual case.
//! * **Repeating**: the pages that were counted come a second time, must be the same, and are planned.
//! * **Following**: headings are planned as they come, up to two pages ahead; the bodies of what is planned are fetched from all
//!   peers in parallel ([`window`]), each asked as often as it delivers and left aside when it does not ([`sources`]).
//! * Meanwhile one **rival** at a time, who claims more than the leader has proven, is counted: so whoever leads with endless
//!   cheap headings, or none, leads only until somebody else has proven more.
//!
//! Claims lead to questions alone. Serving needs no state ([`super::serve`]), so nodes that catch up serve each other.

mod bodies;
mod headings;
mod proof;
mod sources;
mod window;

use std::collections::BTreeSet;

use proof::Proof;
use sources::Sources;
use window::Window;

use super::io::{ConnId, Event};
use super::timers::Timer;
use super::{Machine, Session, Turn};
use crate::protocol::bugs::{Defence, lacks};
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::chain::work::Work;
use crate::protocol::wire::limits::{MAX_HEADERS, MAX_PLANNED};
use crate::protocol::wire::message::Claim;

/// A node that lacks more blocks than this does not mine, if they prove more work than its own, and passes nothing on.
const MINING_LAG: usize = 16;

/// What a peer has just claimed is most likely on its way already, as new blocks. Unless it is here, and waits for its parents.
const GRACE_MS: u64 = 1_000;

/// How many times the timeout of an answer a peer has to prove enough while others wait to be asked.
const TURN_ANSWERS: u64 = 3;

/// Catching up.
#[derive(Clone, Debug, Default)]
pub(super) struct Sync {
    /// The conversations about headings: the first one leads, the other is its rival.
    proofs: Vec<Proof>,
    /// Peers that were found to have what the leader has.
    allies: BTreeSet<ConnId>,
    window: Window,
    sources: Sources,
    /// Blocks taken in since it began.
    taken: usize,
    /// When somebody should be asked who is not asked yet.
    seek_ms: Option<u64>,
}

/// What a node that catches up holds in memory for it: all of it bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncHeld {
    /// Conversations about headings.
    pub proofs: usize,
    /// Pages of headings of which eight bytes are remembered.
    pub pages: usize,
    /// Blocks whose headings have proven enough, and which are not taken in yet.
    pub planned: usize,
    /// Those of them that are here.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
}

impl Machine {
    /// Blocks that are known to be still to be fetched.
    pub fn sync_remaining(&self) -> u64 {
        self.sync.window.len() as u64
    }

    /// What catching up takes in memory now.
    pub fn sync_held(&self) -> SyncHeld {
        let (waiting, waiting_bytes) = self.sync.window.waiting();
        SyncHeld {
            proofs: self.sync.proofs.len(),
            pages: self.sync.proofs.iter().map(Proof::pages).sum(),
            planned: self.sync.window.len(),
            waiting,
            waiting_bytes,
        }
    }

    /// Whether blocks are being fetched whose headings have proven enough.
    pub(super) fn is_syncing(&self) -> bool {
        !self.sync.window.is_empty() || self.sync.proofs.first().is_some_and(Proof::is_followed)
    }

    /// Whether this node lacks so many blocks that what it takes in is no news.
    pub(super) fn is_behind(&self) -> bool {
        self.sync.window.len() > MINING_LAG
    }

    /// Whether what this node would mine now is of no use: it has less work than its operator knows the network to have, or lacks
    /// blocks that prove more than its own. Claims change nothing here, and neither does a lighter branch.
    pub(super) fn is_stale(&self) -> bool {
        let work = self.chain.tip().work;
        let leader = self.sync.proofs.first();
        let leads = leader.is_some_and(|leader| leader.proven > work);
        let claims_more = |(_, _, session): (_, _, &Session)| session.claim.work > work;
        let is_fooled =
            lacks(Defence::ClaimsProveNothing) && self.connections.sessions().any(claims_more);
        work < self.config.minimum_work || (leads && self.is_behind()) || is_fooled
    }

    /// The work that headings must prove before anything of them is kept: the minimum that the operator knows of; and where nothing
    /// is merged as much as this node's own, for a lighter fork is of no use; and where blocks are merged as much as the block has
    /// `merge_depth` below the tip, for what has less cannot have that one in its past, and nobody may merge it.
    fn work_needed(&self) -> Work {
        let (tip, limits) = (self.chain.tip(), self.chain.dag().limits());
        let own = if limits.max_parents == 1 {
            tip.work
        } else {
            let dag = self.chain.dag();
            let score = tip.blue_score.checked_sub(limits.merge_depth);
            let root = score
                .zip(dag.index(&tip.id))
                .and_then(|(score, tip)| dag.chain_block_at(tip, score));
            root.map_or(Work::ZERO, |root| dag.rank(root).0)
        };
        own.max(self.config.minimum_work)
    }

    /// A peer tells of its tips. Unknown ones are asked for, though not before they had time to arrive by themselves.
    pub(super) fn claimed(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        claim: Claim,
    ) -> Result<(), Fault> {
        let mut wanted = BTreeSet::new();
        let mut grace_ms = GRACE_MS;
        for id in claim.tips() {
            if turn.overlay.record(&id)?.is_none() {
                wanted.insert(id);
            }
            if self.orphans.contains(&id) {
                grace_ms = 0;
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
        if has_any && self.sync.proofs.is_empty() {
            self.seek_by(turn.now.monotonic_ms + grace_ms);
            self.set_sync_timer(turn);
        }
        Ok(())
    }

    fn seek_by(&mut self, at_ms: u64) {
        let at_ms = self
            .sync
            .seek_ms
            .map_or(at_ms, |seek_ms| seek_ms.min(at_ms));
        self.sync.seek_ms = Some(at_ms);
    }

    /// Does what can be done now: takes blocks in, asks for more of them and for more headings, or ends.
    fn progress(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        self.take_synced(turn)?;
        let now_ms = turn.now.monotonic_ms;
        let has_room = self.sync.window.len() + MAX_HEADERS <= MAX_PLANNED;
        let leader = self.sync.proofs.first();
        if leader.is_some_and(|leader| leader.is_followed() && leader.due_ms.is_none()) {
            if leader.is_some_and(|leader| leader.more) {
                if has_room {
                    self.request_page(turn, 0)?;
                }
            } else if self.sync.window.is_empty() {
                return self.caught_up(turn);
            }
        }
        let leads = self
            .sync
            .proofs
            .first()
            .is_some_and(|leader| !leader.is_followed());
        if leads && self.sync.proofs[0].due_ms.is_none() {
            self.request_page(turn, 0)?;
        }
        self.ask_for_bodies(turn);
        if self.sync.seek_ms.is_some_and(|at_ms| at_ms <= now_ms) || self.sync.proofs.is_empty() {
            return self.seek(turn);
        }
        self.set_sync_timer(turn);
        Ok(())
    }

    /// All that the leader has shown is here.
    fn caught_up(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let conn = self.sync.proofs[0].conn;
        let mut lacks_any = false;
        if let Some(session) = self.connections.session(conn) {
            for id in &session.wanted {
                lacks_any |= turn.overlay.record(id)?.is_none();
            }
        }
        if lacks_any && !lacks(Defence::EmptyAnswersRest) {
            // It claims what its headers did not lead to: asking again at once would lead to the same.
            self.end_conversation(turn, conn);
        }
        let was_far = self.sync.taken > MINING_LAG;
        self.end_sync(turn);
        self.announce_tips(turn)?;
        if was_far {
            // Whoever lacks as much learns more from a claim than from the last block alone, and need not wait for the next ping.
            self.ping_all(turn);
        }
        self.seek(turn)
    }

    fn end_sync(&mut self, turn: &mut Turn<'_>) {
        self.sync.window.clear();
        self.sync.taken = 0;
        for proof in std::mem::take(&mut self.sync.proofs) {
            if proof.due_ms.is_some() {
                self.sync.sources.give_up(proof.conn);
            }
        }
        self.sync.allies.clear();
        turn.notify(Event::Sync { remaining: 0 });
        self.refresh_templates(turn, 0);
    }

    /// Somebody has had its time, or somebody may be asked, or there is more to take in.
    pub(super) fn sync_due(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let now_ms = turn.now.monotonic_ms;
        let (most_ms, turn_ms) = (
            self.config.sync_timeout_ms,
            TURN_ANSWERS * self.config.sync_timeout_ms,
        );
        let (sources, window) = (&self.sync.sources, &mut self.sync.window);
        let is_used_up = window.is_used_up();
        window.expire(now_ms, |conn| {
            sources.patience_ms(conn, most_ms, is_used_up)
        });
        let is_over = |proof: &&Proof| {
            let its_turn_ms = sources.extended_ms(proof.conn, turn_ms);
            proof.due_ms.is_some_and(|due_ms| due_ms <= now_ms)
                || (!proof.is_followed() && proof.since_ms + its_turn_ms <= now_ms)
        };
        let over: Vec<_> = self
            .sync
            .proofs
            .iter()
            .filter(is_over)
            .map(|proof| proof.conn)
            .collect();
        for conn in over {
            self.end_conversation(turn, conn);
        }
        self.progress(turn)
    }

    /// A connection has ended.
    pub(super) fn sync_left(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        self.sync.window.left(conn);
        self.sync.sources.left(conn);
        self.sync.allies.remove(&conn);
        if self
            .sync
            .proofs
            .first()
            .is_some_and(|leader| leader.conn == conn)
        {
            self.sync.allies.clear();
        }
        self.sync.proofs.retain(|proof| proof.conn != conn);
        self.seek_by(turn.now.monotonic_ms);
        self.set_sync_timer(turn);
    }

    fn set_sync_timer(&mut self, turn: &Turn<'_>) {
        let sync = &self.sync;
        let ready = sync.window.is_ready().then_some(turn.now.monotonic_ms + 1);
        let proofs = sync.proofs.iter().filter_map(|proof| proof.due_ms);
        let most_ms = self.config.sync_timeout_ms;
        let is_used_up = sync.window.is_used_up();
        let patience_ms = |conn| sync.sources.patience_ms(conn, most_ms, is_used_up);
        let late = sync.window.due_ms(patience_ms);
        let next = [ready, sync.seek_ms, late];
        match next.into_iter().flatten().chain(proofs).min() {
            Some(at_ms) => self.timers.set(Timer::Sync, at_ms),
            None => self.timers.cancel(&Timer::Sync),
        }
    }
}
