//! Whom to ask for headings, and what becomes of a page.

use std::collections::BTreeSet;

use super::proof::{Proof, Step};
use crate::protocol::bugs::{Defence, lacks};
use crate::protocol::chain::Rejected;
use crate::protocol::chain::block::Heading;
use crate::protocol::chain::id::BlockId;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::chain::work::Work;
use crate::protocol::machine::io::{ConnId, Direction, Event, Origin};
use crate::protocol::machine::{Machine, Turn, serve};
use crate::protocol::wire::limits::{MAX_LOCATOR, MAX_PROOFS};
use crate::protocol::wire::message::Message;

impl Machine {
    /// Asks the most promising peer for its headings, if one has what this node has not: to lead if nobody does, and else as a
    /// rival if it claims more than the leader has proven. First those that this node has dialled, then who claims most.
    pub(in crate::protocol::machine) fn seek(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let now_ms = turn.now.monotonic_ms;
        self.sync.seek_ms = None;
        while self.sync.proofs.len() < MAX_PROOFS {
            let Some(proof) = self.most_promising(turn)? else {
                break;
            };
            self.sync.proofs.push(proof);
            let last = self.sync.proofs.len() - 1;
            self.request_page(turn, last)?;
        }
        if self.sync.proofs.is_empty() {
            // Somebody may be of use once it has rested.
            let wanted = self
                .connections
                .sessions()
                .filter(|(.., session)| !session.wanted.is_empty());
            let resting =
                wanted.filter_map(|(conn, ..)| self.sync.sources.rests_until_ms(conn, now_ms));
            if let Some(until_ms) = resting.min() {
                self.seek_by(until_ms);
            } else if !self.sync.window.is_empty() {
                self.end_sync(turn);
            }
        }
        self.set_sync_timer(turn);
        Ok(())
    }

    pub(super) fn most_promising(&mut self, turn: &Turn<'_>) -> Result<Option<Proof>, Fault> {
        let (now_ms, number) = (turn.now.monotonic_ms, self.chain.tip().number);
        let Self {
            connections, sync, ..
        } = self;
        let leader = sync.proofs.first();
        if leader.is_some_and(|leader| !leader.is_followed()) {
            return Ok(None);
        }
        let leading = leader.map(|leader| leader.proven);
        let mut best: Option<(bool, Work, BlockId, ConnId)> = None;
        for (conn, connection) in &mut connections.0 {
            let conn = *conn;
            let is_chosen = connection.direction == Direction::Outbound;
            let Some(session) = &mut connection.session else {
                continue;
            };
            let is_asked = sync.proofs.iter().any(|proof| proof.conn == conn);
            let is_rival = leading
                .is_some_and(|proven| session.claim.work <= proven || sync.allies.contains(&conn));
            // It has dropped what this node would need first.
            let is_pruned = session.claim.pruned > number;
            let rests = sync.sources.rests_until_ms(conn, now_ms).is_some();
            if session.wanted.is_empty()
                || is_asked
                || is_rival
                || is_pruned
                || rests
                || sync.sources.owes(conn)
            {
                continue;
            }
            let mut still = BTreeSet::new();
            for id in &session.wanted {
                if turn.overlay.record(id)?.is_none() {
                    still.insert(*id);
                }
            }
            session.wanted = still;
            // Who connects may claim anything, as often as there are places; whom this node has dialled it has chosen itself.
            let rank = (is_chosen, session.claim.work, session.claim.tip, conn);
            if !session.wanted.is_empty() && best.is_none_or(|best| rank > best) {
                best = Some(rank);
            }
        }
        let Some((.., conn)) = best else {
            return Ok(None);
        };
        let salt = self.rng.next_u64();
        Ok(Some(Proof::new(conn, now_ms, salt)))
    }

    /// Asks for the next page of headings: those after the last page, or after what both nodes have. A rival says first whether it
    /// has what the leader has.
    pub(super) fn request_page(&mut self, turn: &mut Turn<'_>, at: usize) -> Result<(), Fault> {
        let now_ms = turn.now.monotonic_ms;
        let proofs = &self.sync.proofs;
        let leader = proofs.first().filter(|_| at > 0);
        let ally_at = leader.map(|leader| leader.next);
        let mut locator: Vec<_> = leader.and_then(|leader| leader.last).into_iter().collect();
        locator.extend(proofs[at].last);
        locator.extend(serve::locator(&turn.overlay, self.chain.tip().number)?);
        locator.truncate(MAX_LOCATOR);
        let conn = proofs[at].conn;
        turn.send(conn, Message::RequestHeaders { locator });
        let timeout_ms = self
            .sync
            .sources
            .extended_ms(conn, self.config.sync_timeout_ms);
        let proof = &mut self.sync.proofs[at];
        (proof.due_ms, proof.ally_at) = (Some(now_ms + timeout_ms), ally_at);
        Ok(())
    }

    /// A page of headings has arrived.
    pub(in crate::protocol::machine) fn headers(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        from_block: u64,
        headings: &[Heading],
        more: bool,
    ) -> Result<(), Fault> {
        // An answer that nobody waits for any more is no fault.
        if self.sync.sources.is_given_up(conn) {
            return self.seek(turn);
        }
        let mut proofs = self.sync.proofs.iter();
        let at = proofs.position(|proof| proof.conn == conn && proof.due_ms.is_some());
        let Some(at) = at else {
            return Ok(());
        };
        self.sync.proofs[at].due_ms = None;
        if self.sync.proofs[at].ally_at == Some(from_block) {
            // It has all that the leader has shown.
            self.sync.allies.insert(conn);
            self.sync.proofs.remove(at);
            self.seek_by(turn.now.monotonic_ms);
            return self.progress(turn);
        }
        if self.sync.proofs[at].last.is_none() && self.is_final(turn, conn, headings)? {
            self.end_conversation(turn, conn);
            return self.progress(turn);
        }
        let needed = self.work_needed();
        let leading = self.sync.proofs[0].proven;
        let enough =
            |work| (work >= needed || lacks(Defence::ProvenWork)) && (at == 0 || work > leading);
        let page = (from_block, headings, more);
        let proof = &mut self.sync.proofs[at];
        match proof.page(&self.chain, &turn.overlay, page, enough)? {
            Step::Follow => self.plan(turn, at, headings)?,
            Step::Ask => self.request_page(turn, at)?,
            Step::Low | Step::Changed => self.end_conversation(turn, conn),
        }
        self.progress(turn)
    }

    /// Whether the first heading that is new parts from this node's chain before what is final. Then no body is fetched, and people
    /// are told.
    fn is_final(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        headings: &[Heading],
    ) -> Result<bool, Fault> {
        for heading in headings {
            let id = heading.id();
            if turn.overlay.record(&id)?.is_some() {
                continue;
            }
            let mut is_known = true;
            for parent in heading.parents() {
                is_known &= turn.overlay.record(parent)?.is_some();
            }
            let is_final = is_known && self.chain.contradicts_final(heading);
            if is_final {
                let key = self.connections.session(conn).map(|session| session.key);
                let rejected = Rejected::Final(id);
                turn.notify(Event::BlockRejected {
                    id,
                    stream: heading.header().stream,
                    origin: Origin::Synced(key.unwrap_or_default()),
                    label: "final",
                    reason: rejected.to_string(),
                });
            }
            return Ok(is_final);
        }
        Ok(false)
    }

    /// Plans what a page leads to. Whoever has proven more than the leader leads from now on.
    fn plan(&mut self, turn: &mut Turn<'_>, at: usize, headings: &[Heading]) -> Result<(), Fault> {
        if at > 0 {
            let conn = self.sync.proofs[0].conn;
            self.sync.window.clear();
            self.end_conversation(turn, conn);
        }
        let conn = self.sync.proofs[0].conn;
        for heading in headings {
            let id = heading.id();
            if self.sync.window.contains(&id) || turn.overlay.record(&id)?.is_some() {
                continue;
            }
            for parent in heading.parents() {
                if !self.sync.window.contains(parent) && turn.overlay.record(parent)?.is_none() {
                    // The peer's order has changed between two pages.
                    self.end_conversation(turn, conn);
                    return Ok(());
                }
            }
            self.sync.window.plan(id);
        }
        if !self.sync.window.is_empty() {
            let remaining = self.sync_remaining();
            turn.notify(Event::Sync { remaining });
        }
        self.refresh_templates(turn, 0);
        self.seek_by(turn.now.monotonic_ms);
        Ok(())
    }

    /// Ends a conversation and leaves the peer alone for a while. Bodies of what it has proven are fetched all the same.
    pub(super) fn end_conversation(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let given_up = self.sync.proofs.iter().position(|proof| proof.conn == conn);
        if let Some(at) = given_up {
            let proof = self.sync.proofs.remove(at);
            if proof.due_ms.is_some() {
                self.sync.sources.give_up(conn);
            }
            if at == 0 {
                self.sync.allies.clear();
            }
        }
        let (now_ms, rest_ms) = (turn.now.monotonic_ms, self.config.sync_timeout_ms);
        self.sync.sources.rest(conn, now_ms, rest_ms);
        self.seek_by(now_ms);
    }
}
