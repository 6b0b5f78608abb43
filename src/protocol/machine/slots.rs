//! Places for connections that others open: who gets one, and who gives one up.
//!
//! They are counted apart from those that this node opens, so inbound connections never take an outbound place. When all are
//! taken a newcomer takes that of a session which has nothing to its name: so a flood displaces itself. The order of protection is
//! that of Bitcoin Core (`SelectNodeToEvict`): what an attacker would have to do better than everybody else in every respect.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::groups::{Group, is_private};
use super::io::{ConnId, Direction, Effect, Event, Reason};
use super::sessions::Connection;
use super::{Machine, Turn};
use crate::protocol::bugs::{Defence, lacks};
use crate::protocol::wire::limits::MIN_HANDSHAKES;

/// One of so many places is protected for each virtue.
const SHARE: usize = 8;

/// An inbound session, and what speaks for it.
struct Candidate {
    conn: ConnId,
    group: Group,
    since_ms: u64,
    round_trip_us: u64,
    block_ms: Option<u64>,
    transaction_ms: Option<u64>,
}

impl Machine {
    /// Holds a new inbound connection against the limits of connections that have not greeted and of those from one address.
    /// False if it is refused.
    pub(super) fn let_in(&mut self, turn: &mut Turn<'_>, conn: ConnId, remote: SocketAddr) -> bool {
        let ip = remote.ip();
        let others = || {
            let all = self.connections.0.iter();
            all.filter(|(_, other)| other.direction == Direction::Inbound)
        };
        let same = others().filter(|(_, other)| other.remote.ip() == ip);
        let is_counted = self.config.group_private || !is_private(ip);
        if is_counted && same.count() > self.config.max_inbound_per_address {
            self.disconnect(turn, conn, Reason::Crowded);
            return false;
        }
        let waiting = others().filter(|(_, other)| other.session.is_none());
        let places = self.config.max_inbound.max(MIN_HANDSHAKES);
        if waiting.clone().count() > places && !lacks(Defence::HandshakePlaces) {
            // Who means it greets within a round trip: the one that has had the most time is the least likely to.
            let oldest = waiting.min_by_key(|(conn, other)| (other.since_ms, **conn));
            if let Some(oldest) = oldest.map(|(conn, _)| *conn) {
                self.disconnect(turn, oldest, Reason::Displaced);
            }
        }
        true
    }

    /// Remembers in a peer's favour what came of its message: the orders from the `before`th on.
    pub(super) fn credit(&mut self, turn: &Turn<'_>, conn: ConnId, before: usize) {
        let Some(session) = self.connections.session(conn) else {
            return;
        };
        let now_ms = Some(turn.now.monotonic_ms);
        for effect in &turn.out[before..] {
            match effect {
                Effect::Notify(Event::BlockAccepted { .. }) => session.block_ms = now_ms,
                Effect::Notify(Event::TransactionAdmitted { .. }) => {
                    session.transaction_ms = now_ms
                }
                _ => {}
            }
        }
    }

    /// Makes room for one more inbound session. False if every one that stands is worth more than a stranger.
    pub(super) fn make_room(&mut self, turn: &mut Turn<'_>) -> bool {
        let sessions = self.connections.sessions();
        let inbound = sessions.filter(|(_, other, _)| other.direction == Direction::Inbound);
        if inbound.count() < self.config.max_inbound {
            return true;
        }
        let victim = self.least_useful();
        let victim = victim.filter(|_| !lacks(Defence::InboundEviction));
        if let Some(victim) = victim {
            self.disconnect(turn, victim, Reason::Displaced);
        }
        victim.is_some()
    }

    fn least_useful(&self) -> Option<ConnId> {
        let mut candidates = self.candidates();
        let share = (self.config.max_inbound / SHARE).max(1);
        // One of each of some groups: which, nobody outside can know.
        let mut groups = BTreeSet::new();
        candidates.sort_by_key(|one| (self.addresses.rank(&one.group), one.since_ms, one.conn));
        candidates.retain(|one| groups.len() >= share || !groups.insert(one.group.clone()));
        protect(&mut candidates, share, |one| one.round_trip_us);
        protect_some(&mut candidates, share, |one| one.block_ms);
        protect_some(&mut candidates, share, |one| one.transaction_ms);
        let half = candidates.len() / 2;
        protect(&mut candidates, half, |one| one.since_ms);
        let mut members: BTreeMap<&Group, usize> = BTreeMap::new();
        for one in &candidates {
            *members.entry(&one.group).or_default() += 1;
        }
        let worst = |one: &&Candidate| (members[&one.group], one.since_ms, one.conn);
        candidates.iter().max_by_key(worst).map(|one| one.conn)
    }

    fn candidates(&self) -> Vec<Candidate> {
        let sessions = self.connections.sessions();
        let inbound = sessions.filter(|(_, other, _)| other.direction == Direction::Inbound);
        let candidate = |(conn, connection, session): (_, &Connection, &super::Session)| {
            let ip = connection.remote.ip();
            // Behind a shared address the key alone tells nodes apart.
            let group = match is_private(ip) && !self.config.group_private {
                true => Group(session.key.0.to_vec()),
                false => Group::of(connection.remote, true),
            };
            let round_trip = session.meter.round_trip();
            Candidate {
                conn,
                group,
                since_ms: session.since_ms,
                round_trip_us: round_trip.map_or(u64::MAX, |round_trip| round_trip.least_us),
                block_ms: session.block_ms,
                transaction_ms: session.transaction_ms,
            }
        };
        inbound.map(candidate).collect()
    }
}

/// Takes away those that are first by `key`: they keep their places.
fn protect<K: Ord>(candidates: &mut Vec<Candidate>, count: usize, key: impl Fn(&Candidate) -> K) {
    candidates.sort_by_key(|one| (key(one), one.conn));
    candidates.drain(..count.min(candidates.len()));
}

/// Takes away those that have done something last.
fn protect_some(
    candidates: &mut Vec<Candidate>,
    count: usize,
    when_ms: impl Fn(&Candidate) -> Option<u64>,
) {
    let able = candidates.iter().filter(|one| when_ms(one).is_some());
    let count = able.count().min(count);
    protect(candidates, count, |one| Reverse(when_ms(one)));
}
