//! Finding peers: dialling, seeds, and the exchange of addresses.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::io::{ConnId, Direction, Effect, Event};
use super::timers::Timer;
use super::{Machine, Turn};
use crate::protocol::bugs::{Bug, bug};
use crate::protocol::chain::id::NodeKey;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::wire::limits::MAX_PEERS;
use crate::protocol::wire::message::{Message, PeerAddress};

/// How soon more peers are looked for when some place is free and nobody is known, in milliseconds.
const SEARCH_MS: u64 = 2_000;

/// How often it is checked whether peers are missing when none is, in milliseconds.
const SATISFIED_MS: u64 = 30_000;

impl Machine {
    pub(super) fn keep(&mut self, turn: &mut Turn<'_>, endpoint: Endpoint) {
        self.addresses.keep(endpoint.clone());
        self.timers
            .set(Timer::Dial(endpoint), turn.now.monotonic_ms);
    }

    pub(super) fn dial_due(&mut self, turn: &mut Turn<'_>, endpoint: Endpoint) {
        let connected = |key: NodeKey| self.connections.keys().contains(&key);
        if self.addresses.key(&endpoint).is_some_and(connected) {
            self.recheck(turn, &endpoint);
        } else if self.addresses.occupy(&endpoint) {
            turn.out.push(Effect::Dial(endpoint));
        }
    }

    pub(super) fn refused(&mut self, turn: &mut Turn<'_>, endpoint: Endpoint) {
        let now_ms = turn.now.monotonic_ms;
        let delays = (self.config.retry_min_ms, self.config.retry_max_ms);
        let delay = self
            .addresses
            .released(&endpoint, now_ms, delays, &mut self.rng);
        let Some(retry_ms) = delay else { return };
        if self.addresses.is_kept(&endpoint) && !bug(Bug::DialNotRepeated) {
            self.timers
                .set(Timer::Dial(endpoint.clone()), now_ms + retry_ms);
            turn.notify(Event::DialFailed { endpoint, retry_ms });
        }
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

    pub(super) fn learn(&mut self, turn: &mut Turn<'_>, addresses: Vec<SocketAddr>) {
        let mut any = false;
        for address in addresses {
            any |= self.addresses.learn(Endpoint::from(address));
        }
        if any && self.places_free() > 0 {
            self.timers.hasten(Timer::Discover, turn.now.monotonic_ms);
        }
    }

    fn places_free(&self) -> usize {
        let outbound = self.connections.count(Direction::Outbound) + self.dialling;
        self.config.target_outbound.saturating_sub(outbound)
    }

    /// Dials one learned endpoint if a place is free; asks for more where none is known.
    pub(super) fn discover_due(&mut self, turn: &mut Turn<'_>) {
        let now_ms = turn.now.monotonic_ms;
        let mut wait_ms = SATISFIED_MS;
        if self.places_free() > 0 {
            wait_ms = SEARCH_MS;
            let connected = self.connections.keys();
            if let Some(endpoint) = self.addresses.pick(now_ms, &connected, &mut self.rng) {
                wait_ms = 10;
                self.addresses.occupy(&endpoint);
                self.dialling += 1;
                turn.out.push(Effect::Dial(endpoint));
            } else if let Some(conn) = self.any_session() {
                // Nobody is left to try: the others may have met somebody.
                wait_ms = SATISFIED_MS;
                turn.send(conn, Message::RequestPeers);
            }
        }
        let next_ms = now_ms + self.rng.jitter(wait_ms);
        self.timers.hasten(Timer::Discover, next_ms);
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
