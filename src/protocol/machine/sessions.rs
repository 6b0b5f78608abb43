//! Connections and sessions: the handshake, one session a node, keepalive.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::discovery::Allowance;
use super::groups::Group;
use super::io::{ConnId, Direction, Effect, Event, Reason};
use super::orphans::Asked;
use super::timers::Timer;
use super::{Machine, Turn};
use crate::protocol::bugs::{Bug, bug};
use crate::protocol::chain::id::{BlockId, NodeKey};
use crate::protocol::chain::view::Fault;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::link::Meter;
use crate::protocol::wire::message::{Claim, Hello, Message, PROTOCOL_VERSION};

/// A connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) direction: Direction,
    pub(super) dialled: Option<Endpoint>,
    pub(super) remote: SocketAddr,
    pub(super) since_ms: u64,
    pub(super) session: Option<Session>,
}

/// What stands once both sides have greeted.
#[derive(Clone, Debug)]
pub struct Session {
    /// The peer.
    pub key: NodeKey,
    /// Program and version, as the peer says.
    pub agent: String,
    /// Where the peer accepts connections, as it says; 0 if nowhere.
    pub port: u16,
    /// Since when, on the monotonic clock, in milliseconds.
    pub since_ms: u64,
    /// How long pings take.
    pub meter: Meter,
    /// The peer's chain, as it says.
    pub claim: Claim,
    /// Blocks that the peer has and this node did not, when last looked at.
    pub(super) wanted: BTreeSet<BlockId>,
    /// Requests for blocks that the peer has not answered, in the order of its answers.
    pub(super) asked: VecDeque<Asked>,
    /// When the peer last brought a block that was new, and a transaction, on the monotonic clock, in milliseconds.
    pub(super) block_ms: Option<u64>,
    pub(super) transaction_ms: Option<u64>,
    /// Addresses that the peer may tell of.
    pub(super) allowance: Allowance,
    pub(super) heard_ms: u64,
    /// Whether the peer wants blocks to be pushed, and whether it pushes.
    pub(super) wants_push: bool,
    pub(super) pushes: bool,
    /// New blocks with which the peer was first; the older the less they count.
    pub(super) firsts: u64,
    /// The ping that has no answer yet: its nonce, and when it was sent, in microseconds.
    pub(super) ping: Option<(u64, u64)>,
}

impl Session {
    /// Whether the peer has been asked for a block and has not answered.
    pub(super) fn asks_for(&self, id: &BlockId) -> bool {
        self.asked.iter().any(|asked| asked.ids.contains(id))
    }
}

/// All connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(pub(super) BTreeMap<ConnId, Connection>);

impl Connections {
    pub(super) fn session(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.0.get_mut(&conn)?.session.as_mut()
    }

    /// The connections on which both sides have greeted.
    pub(super) fn greeted(&self) -> impl Iterator<Item = ConnId> {
        self.sessions().map(|(conn, ..)| conn)
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = (ConnId, &Connection, &Session)> {
        self.0.iter().filter_map(|(conn, connection)| {
            connection
                .session
                .as_ref()
                .map(|session| (*conn, connection, session))
        })
    }

    pub(super) fn sessions_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut Session)> {
        let connections = self.0.iter_mut();
        connections.filter_map(|(conn, connection)| Some((*conn, connection.session.as_mut()?)))
    }

    pub(super) fn keys(&self) -> BTreeSet<NodeKey> {
        self.sessions().map(|(_, _, session)| session.key).collect()
    }

    pub(super) fn count(&self, direction: Direction) -> usize {
        self.0
            .values()
            .filter(|connection| connection.direction == direction)
            .count()
    }
}

impl Machine {
    pub(super) fn connected(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        dialled: Option<Endpoint>,
        remote: SocketAddr,
    ) {
        let direction = if dialled.is_some() {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        let since_ms = turn.now.monotonic_ms;
        let connection = Connection {
            direction,
            dialled,
            remote,
            since_ms,
            session: None,
        };
        self.connections.0.insert(conn, connection);
        if direction == Direction::Inbound && !self.let_in(turn, conn, remote) {
            return;
        }
        let hello = Hello {
            version: PROTOCOL_VERSION,
            network: self.network.id(),
            key: self.config.key,
            nonce: self.nonce,
            port: self.config.port,
            claim: self.claim(),
            features: 0,
            agent: self.config.agent.clone(),
        };
        turn.send(conn, Message::Hello(hello));
        self.timers.set(
            Timer::Handshake(conn),
            since_ms + self.config.handshake_timeout_ms,
        );
    }

    /// What this node says of its chain.
    pub(super) fn claim(&self) -> Claim {
        let tip = self.chain.tip();
        let beside = tip
            .parents
            .iter()
            .copied()
            .filter(|parent| *parent != tip.id);
        Claim {
            work: tip.work,
            tip: tip.id,
            number: tip.number,
            beside: beside.collect(),
            pruned: tip.pruned,
        }
    }

    pub(super) fn hello(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        hello: Hello,
    ) -> Result<(), Fault> {
        let Some(connection) = self.connections.0.get(&conn) else {
            return Ok(());
        };
        if connection.session.is_some() {
            self.disconnect(turn, conn, Reason::Fault("a second hello".to_owned()));
            return Ok(());
        }
        let now = turn.now;
        if let Some(reason) = self.refusal(&hello, now.monotonic_ms) {
            self.disconnect(turn, conn, reason);
            return Ok(());
        }
        let (remote, direction) = (connection.remote, connection.direction);
        if let Some(endpoint) = connection.dialled.clone() {
            self.addresses.met(&endpoint, hello.key, now.wall_ms);
            if self.addresses.is_test(&endpoint) && !self.keeps_tested() {
                self.disconnect(turn, conn, Reason::Tested);
                return Ok(());
            }
            self.addresses.occupy(&endpoint, false);
        }
        if let Some(loser) = self.duplicate(conn, direction, &hello.key) {
            self.disconnect(turn, loser, Reason::Duplicate);
            if loser == conn {
                return Ok(());
            }
        }
        if direction == Direction::Inbound && !self.make_room(turn) {
            self.disconnect(turn, conn, Reason::Full);
            return Ok(());
        }
        let claim = hello.claim.clone();
        let key = hello.key;
        let (pruned, number) = (claim.pruned, self.chain.tip().number);
        self.join(turn, conn, hello);
        self.give_surplus_up(turn);
        if pruned > number {
            turn.notify(Event::OutOfReach {
                key,
                remote,
                pruned,
                number,
            });
        }
        self.review(turn);
        self.greet(turn, conn);
        self.claimed(turn, conn, claim)?;
        // What a peer has from before is not on its way.
        self.seek(turn)
    }

    fn refusal(&self, hello: &Hello, now_ms: u64) -> Option<Reason> {
        if hello.key == self.config.key {
            return Some(Reason::Itself);
        }
        if let Some(remaining_ms) = self.penalties.remaining_ms(&hello.key, now_ms) {
            return Some(Reason::Banned(remaining_ms));
        }
        if hello.network != self.network.id() {
            return Some(Reason::OtherNetwork(hello.network));
        }
        (hello.version != PROTOCOL_VERSION).then_some(Reason::OtherVersion(hello.version))
    }

    /// Which of two connections to the same node has to go, if there are two.
    ///
    /// Of two in opposite directions the one dialled by the greater key is kept, so that both sides keep the same one. Of two in
    /// the same direction the newer is kept: the older may be what a crash left behind.
    fn duplicate(&self, conn: ConnId, direction: Direction, key: &NodeKey) -> Option<ConnId> {
        let (other, old, _) = self
            .connections
            .sessions()
            .find(|(_, _, session)| session.key == *key)?;
        let dialled_by_greater = match direction {
            Direction::Outbound => self.config.key > *key,
            Direction::Inbound => *key > self.config.key,
        };
        let keep_new = old.direction == direction || dialled_by_greater;
        Some(if keep_new { other } else { conn })
    }

    fn join(&mut self, turn: &mut Turn<'_>, conn: ConnId, hello: Hello) {
        let now_ms = turn.now.monotonic_ms;
        let Some(connection) = self.connections.0.get_mut(&conn) else {
            return;
        };
        let key = hello.key;
        connection.session = Some(Session {
            key,
            agent: hello.agent,
            port: hello.port,
            since_ms: now_ms,
            meter: Meter::default(),
            claim: hello.claim,
            wanted: BTreeSet::new(),
            asked: VecDeque::new(),
            block_ms: None,
            transaction_ms: None,
            allowance: Allowance::new(now_ms),
            heard_ms: now_ms,
            wants_push: true,
            pushes: true,
            firsts: 0,
            ping: None,
        });
        let (direction, remote) = (connection.direction, connection.remote);
        turn.notify(Event::PeerJoined {
            conn,
            key,
            direction,
            remote,
            handshake_ms: now_ms - connection.since_ms,
        });
        self.timers.cancel(&Timer::Handshake(conn));
        let ping_ms = self.rng.jitter(self.config.ping_interval_ms);
        self.timers.set(Timer::Keepalive(conn), now_ms + ping_ms);
        match &connection.dialled {
            Some(_) => self.request_peers(turn, conn),
            // Where the peer accepts connections, if it is not behind somebody else's address.
            None => {
                let address = SocketAddr::new(remote.ip(), hello.port);
                let source = Group::of(remote, true);
                if self.addresses.learn(address, &source) {
                    self.addresses.named(&address.into(), key);
                }
            }
        }
    }

    pub(super) fn handshake_due(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        self.disconnect(turn, conn, Reason::HandshakeTimeout);
    }

    pub(super) fn keepalive_due(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let now_ms = turn.now.monotonic_ms;
        let Some(session) = self.connections.session(conn) else {
            return;
        };
        if now_ms - session.heard_ms >= self.config.silent_timeout_ms {
            self.disconnect(turn, conn, Reason::Silent);
            return;
        }
        if self.ping(turn, conn) {
            self.remind(turn, conn);
        }
        let next_ms = self.rng.jitter(self.config.ping_interval_ms);
        self.timers.set(Timer::Keepalive(conn), now_ms + next_ms);
    }

    /// Sends a ping, unless one waits for its answer. Whether it was sent.
    fn ping(&mut self, turn: &mut Turn<'_>, conn: ConnId) -> bool {
        let (nonce, claim) = (self.rng.next_u64(), self.claim());
        match self.connections.session(conn) {
            Some(session) if session.ping.is_none() => {
                session.ping = Some((nonce, turn.now.monotonic_us));
                turn.send(conn, Message::Ping { nonce, claim });
                true
            }
            _ => false,
        }
    }

    /// Sends pings to all that owe none.
    pub(super) fn ping_all(&mut self, turn: &mut Turn<'_>) {
        let conns: Vec<_> = self.connections.sessions().map(|(conn, ..)| conn).collect();
        for conn in conns {
            self.ping(turn, conn);
        }
    }

    pub(super) fn pinged(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        nonce: u64,
        claim: Claim,
    ) -> Result<(), Fault> {
        let own = self.claim();
        turn.send(conn, Message::Pong { nonce, claim: own });
        self.claimed(turn, conn, claim)
    }

    pub(super) fn ponged(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        nonce: u64,
        claim: Claim,
    ) -> Result<(), Fault> {
        let Some(session) = self.connections.session(conn) else {
            return Ok(());
        };
        if let Some((_, sent_us)) = session.ping.take_if(|(expected, _)| *expected == nonce) {
            let round_trip_us = turn.now.monotonic_us - sent_us;
            session.meter.add(round_trip_us);
            turn.notify(Event::RoundTrip {
                conn,
                round_trip_us,
            });
        }
        self.claimed(turn, conn, claim)
    }

    /// Ends a connection, as this node's decision.
    pub(super) fn disconnect(&mut self, turn: &mut Turn<'_>, conn: ConnId, reason: Reason) {
        if let Some(connection) = self.connections.0.get(&conn) {
            if let (Some(session), Reason::Fault(_)) = (&connection.session, &reason) {
                let key = session.key;
                if let Some(for_ms) = self.penalties.add(key, turn.now.monotonic_ms) {
                    turn.notify(Event::Banned { key, for_ms });
                }
            }
            turn.out.push(Effect::Disconnect {
                conn,
                reason: reason.clone(),
            });
            self.remove(turn, conn, Some(reason));
        }
    }

    /// Forgets a connection that has ended or is about to.
    pub(super) fn remove(&mut self, turn: &mut Turn<'_>, conn: ConnId, reason: Option<Reason>) {
        let Some(connection) = self.connections.0.remove(&conn) else {
            return;
        };
        self.timers.cancel(&Timer::Handshake(conn));
        self.timers.cancel(&Timer::Keepalive(conn));
        self.sync_left(turn, conn);
        self.fetches_left(turn, conn);
        self.announcements_left(turn, conn);
        self.review(turn);
        if let Some(endpoint) = &connection.dialled {
            self.undialled(turn, endpoint, connection.session.is_some(), &reason);
        }
        if let Some(session) = &connection.session
            && !bug(Bug::LostPeerNotDialled)
            && !self.connections.keys().contains(&session.key)
        {
            // Where the operator wants a connection to this node, it was not dialled while there was this one.
            let mut kept = self.addresses.kept_at(&session.key);
            kept.retain(|endpoint| connection.dialled.as_ref() != Some(endpoint));
            for endpoint in kept {
                let at_ms = turn.now.monotonic_ms + self.rng.jitter(self.config.retry_min_ms);
                self.timers.hasten(Timer::Dial(endpoint), at_ms);
            }
        }
        let remote = connection.remote;
        turn.notify(match connection.session {
            Some(session) => Event::PeerLeft {
                conn,
                key: session.key,
                reason,
            },
            None => Event::HandshakeFailed {
                conn,
                remote,
                reason,
            },
        });
        self.timers.hasten(Timer::Discover, turn.now.monotonic_ms);
    }

    fn undialled(
        &mut self,
        turn: &mut Turn<'_>,
        endpoint: &Endpoint,
        stood: bool,
        reason: &Option<Reason>,
    ) {
        match reason {
            Some(Reason::Itself) => self.addresses.own(endpoint),
            Some(Reason::Duplicate | Reason::Tested | Reason::Surplus) => {
                self.recheck(turn, endpoint)
            }
            _ => {
                let delay = self.redial_delay(turn, endpoint, stood);
                let is_kept = self.addresses.is_kept(endpoint) && !bug(Bug::LostPeerNotDialled);
                if let Some(delay_ms) = delay.filter(|_| is_kept) {
                    let at_ms = turn.now.monotonic_ms + delay_ms;
                    self.timers.set(Timer::Dial(endpoint.clone()), at_ms);
                }
            }
        }
    }

    /// Looks again later whether an endpoint has to be dialled: the node there is connected by another way.
    pub(super) fn recheck(&mut self, turn: &mut Turn<'_>, endpoint: &Endpoint) {
        let later_ms = turn.now.monotonic_ms + self.rng.jitter(self.config.retry_max_ms);
        self.addresses.satisfied(endpoint, later_ms);
        if self.addresses.is_kept(endpoint) {
            self.timers.set(Timer::Dial(endpoint.clone()), later_ms);
        }
    }
}
