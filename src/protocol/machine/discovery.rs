//! Finding peers: dialling, seeds, and the exchange of addresses.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::addresses::Wish;
use super::groups::Group;
use super::io::{ConnId, Direction, Effect, Event, Reason};
use super::timers::Timer;
use super::{Machine, Turn};
use crate::protocol::bugs::{Bug, Defence, bug, lacks};
use crate::protocol::chain::id::NodeKey;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::wire::limits::{ADDRESSES_PER_1000_S, MAX_PEERS};
use crate::protocol::wire::message::{Message, PeerAddress};

/// How soon more peers are looked for when some place is free and nobody is known, in milliseconds.
const SEARCH_MS: u64 = 2_000;

/// How often it is checked whether peers are missing when none is, in milliseconds.
const SATISFIED_MS: u64 = 30_000;

/// How often an address is tested while no peer is missing, in milliseconds: every two minutes, as in Bitcoin Core.
const FEELER_MS: u64 = 120_000;

/// How long changes of the address book are gathered before they are stored, in milliseconds.
const GATHERING_MS: u64 = 5_000;

/// How many addresses a peer may tell of: a bucket of tokens. What is not taken is not saved up beyond one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// In millionths of an address.
    tokens: u64,
    at_ms: u64,
}

impl Allowance {
    const ONE: u64 = 1_000_000;

    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            tokens: 0,
            at_ms: now_ms,
        }
    }

    fn add(&mut self, tokens: u64) {
        self.tokens = (self.tokens + tokens).min(MAX_PEERS as u64 * Self::ONE);
    }

    /// How many of `count` addresses may be looked at.
    fn take(&mut self, now_ms: u64, count: usize) -> usize {
        let elapsed_ms = now_ms - std::mem::replace(&mut self.at_ms, now_ms);
        self.add(elapsed_ms.saturating_mul(ADDRESSES_PER_1000_S));
        let taken = (self.tokens / Self::ONE).min(count as u64);
        self.tokens -= taken * Self::ONE;
        taken as usize
    }
}

impl Machine {
    pub(super) fn keep(&mut self, turn: &mut Turn<'_>, endpoint: Endpoint) {
        self.addresses.keep(endpoint.clone());
        self.timers
            .set(Timer::Dial(endpoint), turn.now.monotonic_ms);
    }

    pub(super) fn dial_due(&mut self, turn: &mut Turn<'_>, endpoint: Endpoint) {
        let connected = |key: NodeKey| self.connections.keys().contains(&key);
        let now_ms = turn.now.monotonic_ms;
        let key = self.addresses.key(&endpoint);
        if key.is_some_and(connected) {
            self.recheck(turn, &endpoint);
        } else if let Some(banned_ms) =
            key.and_then(|key| self.penalties.remaining_ms(&key, now_ms))
        {
            self.timers.set(Timer::Dial(endpoint), now_ms + banned_ms);
        } else if self.addresses.occupy(&endpoint, false) {
            turn.out.push(Effect::Dial(endpoint));
        }
    }

    pub(super) fn refused(&mut self, turn: &mut Turn<'_>, endpoint: Endpoint) {
        let now_ms = turn.now.monotonic_ms;
        let Some(retry_ms) = self.redial_delay(turn, &endpoint, false) else {
            return;
        };
        if self.addresses.is_kept(&endpoint) && !bug(Bug::DialNotRepeated) {
            self.timers
                .set(Timer::Dial(endpoint.clone()), now_ms + retry_ms);
            turn.notify(Event::DialFailed { endpoint, retry_ms });
        }
    }

    /// Gives an endpoint free at which a connection has ended that had `stood`, or came to nothing. The delay until it is dialled
    /// again, if it is.
    pub(super) fn redial_delay(
        &mut self,
        turn: &Turn<'_>,
        endpoint: &Endpoint,
        stood: bool,
    ) -> Option<u64> {
        let alone = self.connections.greeted().next().is_none();
        let delays_ms = (self.config.retry_min_ms, self.config.retry_max_ms);
        let rng = &mut self.rng;
        self.addresses
            .released(endpoint, (stood, alone), turn.now, delays_ms, rng)
    }

    /// Dials what waits to be dialled again, whatever has failed before.
    pub(super) fn redial(&mut self, turn: &mut Turn<'_>) {
        let now_ms = turn.now.monotonic_ms;
        for endpoint in self.addresses.forgive() {
            self.timers.hasten(Timer::Dial(endpoint), now_ms);
        }
        if !self.config.seeds.is_empty() {
            self.timers.hasten(Timer::Seeds, now_ms);
        }
        if self.config.target_outbound > 0 {
            self.timers.hasten(Timer::Discover, now_ms);
        }
    }

    pub(super) fn seeds_due(&mut self, turn: &mut Turn<'_>) {
        let alone = self.connections.keys().is_empty();
        if alone || self.places_free() > 0 {
            for seed in &self.config.seeds {
                turn.out.push(Effect::Resolve(seed.clone()));
            }
        }
        let wait_ms = self
            .rng
            .jitter(if alone { SEARCH_MS } else { SATISFIED_MS });
        self.timers
            .set(Timer::Seeds, turn.now.monotonic_ms + wait_ms);
    }

    /// A seed's name leads to these addresses.
    pub(super) fn resolved(
        &mut self,
        turn: &mut Turn<'_>,
        seed: &Endpoint,
        mut addresses: Vec<SocketAddr>,
    ) {
        // There may be more than the book takes of one source: any of them are as good as the first.
        self.rng.shuffle(&mut addresses);
        self.learn(turn, &Group::of_seed(seed), &addresses);
    }

    /// A peer tells of addresses.
    pub(super) fn told(&mut self, turn: &mut Turn<'_>, conn: ConnId, addresses: &[SocketAddr]) {
        let Some(connection) = self.connections.0.get_mut(&conn) else {
            return;
        };
        // Who shares its address with others tells as all of them do together.
        let source = Group::of(connection.remote, true);
        let Some(session) = &mut connection.session else {
            return;
        };
        let allowance = &mut session.allowance;
        let allowed = match lacks(Defence::AddressAllowance) {
            true => addresses.len(),
            false => allowance.take(turn.now.monotonic_ms, addresses.len()),
        };
        if allowed < addresses.len() {
            let count = addresses.len() - allowed;
            turn.notify(Event::AddressesRefused { count });
        }
        self.learn(turn, &source, &addresses[..allowed]);
    }

    fn learn(&mut self, turn: &mut Turn<'_>, source: &Group, addresses: &[SocketAddr]) {
        let mut any = false;
        for address in addresses {
            any |= self.addresses.learn(*address, source);
        }
        if any && self.places_free() > 0 {
            self.timers.hasten(Timer::Discover, turn.now.monotonic_ms);
        }
    }

    /// Asks a peer for addresses, and allows it to answer.
    pub(super) fn request_peers(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        if let Some(session) = self.connections.session(conn) {
            session.allowance.add(MAX_PEERS as u64 * Allowance::ONE);
            turn.send(conn, Message::RequestPeers);
        }
    }

    fn places_taken(&self) -> usize {
        self.connections.count(Direction::Outbound) + self.dialling
    }

    fn places_free(&self) -> usize {
        let target = self.config.target_outbound;
        target.saturating_sub(self.places_taken())
    }

    /// Whether a connection that was opened as a test has a place after all.
    pub(super) fn keeps_tested(&self) -> bool {
        self.places_taken() <= self.config.target_outbound
    }

    /// Ends the youngest outbound session with a learned endpoint if there is one session too many. While an endpoint that is kept
    /// did not answer, another took its place; so a network is as it was meant to be again once all of it is up.
    pub(super) fn give_surplus_up(&mut self, turn: &mut Turn<'_>) {
        let sessions = self.connections.sessions();
        let outbound: Vec<_> = sessions
            .filter_map(|(conn, connection, session)| {
                Some((session.since_ms, conn, connection.dialled.as_ref()?))
            })
            .collect();
        let learned = outbound
            .iter()
            .filter(|(.., endpoint)| !self.addresses.is_kept(endpoint));
        let youngest = learned.max_by_key(|(since_ms, conn, _)| (*since_ms, *conn));
        let surplus = youngest.filter(|_| outbound.len() > self.config.target_outbound);
        if let Some(conn) = surplus.map(|(_, conn, _)| *conn) {
            self.disconnect(turn, conn, Reason::Surplus);
        }
    }

    fn wish(&self, now_ms: u64) -> Wish {
        let banned = self.penalties.bans(now_ms).map(|ban| ban.key);
        Wish {
            now_ms,
            avoid: self.connections.keys().into_iter().chain(banned).collect(),
            max_per_group: self.config.max_outbound_per_group,
        }
    }

    fn dial_learned(&mut self, turn: &mut Turn<'_>, endpoint: Endpoint, is_test: bool) {
        self.addresses.occupy(&endpoint, is_test);
        self.dialling += 1;
        turn.out.push(Effect::Dial(endpoint));
    }

    /// Dials one learned endpoint if a place is free; asks for more where none is known.
    pub(super) fn discover_due(&mut self, turn: &mut Turn<'_>) {
        let now_ms = turn.now.monotonic_ms;
        let mut wait_ms = SATISFIED_MS;
        if self.places_free() > 0 {
            wait_ms = SEARCH_MS;
            let wish = self.wish(now_ms);
            if let Some(endpoint) = self.addresses.pick(&wish, &mut self.rng) {
                wait_ms = 10;
                self.dial_learned(turn, endpoint, false);
            } else if let Some(conn) = self.any_session() {
                // Nobody is left to try: the others may have met somebody.
                wait_ms = SATISFIED_MS;
                self.request_peers(turn, conn);
            }
        }
        let next_ms = now_ms + self.rng.jitter(wait_ms);
        self.timers.hasten(Timer::Discover, next_ms);
    }

    /// Dials an address to see whether somebody is there, while no peer is missing: so the book knows whom to dial when one is.
    pub(super) fn feeler_due(&mut self, turn: &mut Turn<'_>) {
        let now_ms = turn.now.monotonic_ms;
        if self.places_free() == 0 {
            let wish = self.wish(now_ms);
            if let Some(endpoint) = self.addresses.pick_test(&wish, &mut self.rng) {
                self.dial_learned(turn, endpoint, true);
            }
        }
        self.feeler_later(now_ms);
    }

    pub(super) fn feeler_later(&mut self, now_ms: u64) {
        let next_ms = now_ms + self.rng.jitter(FEELER_MS);
        self.timers.set(Timer::Feeler, next_ms);
    }

    /// Sees to it that what has changed in the address book is stored. A node that opens no connections by itself needs no book.
    pub(super) fn note_addresses(&mut self, now_ms: u64) {
        if self.config.target_outbound > 0 && self.addresses.has_changed() {
            self.timers.hasten(Timer::Addresses, now_ms + GATHERING_MS);
        }
    }

    /// Stores what has changed in the address book.
    pub(super) fn addresses_due(&mut self, turn: &mut Turn<'_>) {
        let mut opened: Vec<_> = self
            .connections
            .sessions()
            .filter_map(|(_, connection, session)| {
                Some((session.since_ms, connection.dialled.clone()?))
            })
            .collect();
        opened.sort();
        let oldest_first = opened.into_iter().map(|(_, endpoint)| endpoint);
        self.addresses.set_anchors(oldest_first.collect());
        turn.overlay
            .batch
            .addresses
            .extend(self.addresses.take_changed());
    }

    fn any_session(&mut self) -> Option<ConnId> {
        let conns: Vec<_> = self.connections.sessions().map(|(conn, ..)| conn).collect();
        conns
            .get(self.rng.below(conns.len() as u64) as usize)
            .copied()
    }

    /// Tells where the peers of this node accept connections.
    pub(super) fn peers_requested(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let mut addresses: Vec<_> = self
            .connections
            .sessions()
            .filter(|(other, ..)| *other != conn)
            .filter_map(|(_, connection, session)| match &connection.dialled {
                Some(endpoint) if endpoint.address().is_some() => endpoint.address(),
                Some(_) => Some(connection.remote),
                None => Some(SocketAddr::new(connection.remote.ip(), session.port)),
            })
            .filter(|address| address.port() != 0)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        self.rng.shuffle(&mut addresses);
        addresses.truncate(MAX_PEERS);
        let peers = addresses.into_iter().map(PeerAddress::from).collect();
        turn.send(conn, Message::Peers(peers));
    }
}
