//! What a node says: plain lines for people, the same facts as fields for programs.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::{BlockId, NodeKey};
use crate::protocol::endpoint::Endpoint;
use crate::protocol::machine::io::{Direction, Event, Origin};
use crate::rpc::NodeConditions;

use super::coins;
use super::descriptors::TooFew;
use super::progress::Progress;

/// The target of the one event that every change of the tip is.
pub const TIP_TARGET: &str = "triskel::tip";

/// The target of the lines from which the way of a block through the network is put together: for programs, at debug level.
pub const HOP_TARGET: &str = "triskel::hop";

/// Who this node is, for whoever puts the lines of several together.
pub fn identity(key: &NodeKey) {
    debug!(target: HOP_TARGET, key = %key, "this is node {key:.12}");
}

/// A block has arrived, and was checked by itself, which took so long. From whom, [`announce`] says once it is taken in.
pub fn checked(id: &BlockId, duration: Duration) {
    let check_us = duration.as_micros() as u64;
    debug!(target: HOP_TARGET, block = %id, check_us, "checked {id:.12}");
}

/// A block was placed, which took so long. What others are to have of it is handed to their connections next.
pub fn placed(id: &BlockId, duration: Duration) {
    let place_us = duration.as_micros() as u64;
    debug!(target: HOP_TARGET, block = %id, place_us, "placed {id:.12}");
}

/// The node accepts peers.
pub fn listening(address: SocketAddr) {
    info!(target: "triskel::peer", %address, "listening on {address}");
}

/// The control interface or metrics are served.
pub fn serving(service: &str, address: SocketAddr) {
    info!(target: "triskel::node", service, %address, "serving {service} on http://{address}");
}

/// The system gives fewer file descriptors than the node may need.
pub fn few_descriptors(error: &TooFew) {
    let TooFew { wanted, given } = error;
    warn!(target: "triskel::node", wanted, given, "{error}");
}

/// A dial begins.
pub fn connecting(endpoint: &Endpoint) {
    info!(target: "triskel::peer", %endpoint, "connecting to {endpoint}");
}

/// A dial has succeeded; the handshake follows.
pub fn connected(endpoint: &Endpoint) {
    info!(target: "triskel::peer", %endpoint, "connected to {endpoint}");
}

/// The miner starts.
pub fn mining_started(address: &str) {
    info!(target: "triskel::miner", address, "mining started, rewards go to {address}");
}

/// The miner stops.
pub fn mining_stopped() {
    info!(target: "triskel::miner", "mining stopped");
}

/// What is done to the node's links and machine has changed, or is what it was before the start.
pub fn conditions(conditions: &NodeConditions) {
    let NodeConditions {
        default,
        peers,
        clock_offset_ms,
        disk_full,
        seed_outage,
    } = conditions;
    let disk = if *disk_full { ", the disk is full" } else { "" };
    let seeds = if *seed_outage {
        ", no seed is resolved"
    } else {
        ""
    };
    info!(
        target: "triskel::node", ?default, peers = peers.len(), clock_offset_ms, disk_full, seed_outage,
        "links and machine are changed by order: {} peers have conditions of their own, all others {default:?}, \
         the clock is ahead by {clock_offset_ms} ms{disk}{seeds}", peers.len()
    );
}

/// How far catching up is.
pub(super) fn synchronising(number: u64, progress: &Progress) {
    let Progress {
        ratio,
        blocks_per_s,
        left,
    } = progress;
    let percent = ratio * 100.0;
    let left_s = left.map(|left| left.as_secs());
    info!(
        target: "triskel::sync", number, percent, blocks_per_s, left_s,
        "synchronising: {percent:.1} %, block #{number}, {blocks_per_s:.0} blocks/s, {} left", Left(*left)
    );
}

/// Says what the machine reports.
pub fn announce(event: &Event) {
    match event {
        Event::PeerJoined { .. }
        | Event::PeerLeft { .. }
        | Event::HandshakeFailed { .. }
        | Event::DialFailed { .. }
        | Event::Banned { .. }
        | Event::AddressesRefused { .. } => announce_peer(event),
        Event::BlockAccepted { .. } | Event::BlockRejected { .. } => announce_block(event),
        Event::TipChanged { .. } => announce_tip(event),
        Event::BlockRebuilt { rebuilt } => {
            let result = rebuilt.label();
            debug!(target: "triskel::block", result, "a compact block was rebuilt: {result}");
        }
        Event::TransactionAdmitted { id, own } => {
            debug!(
                target: "triskel::mempool", transaction = %id, own,
                "transaction {id:.12} waits for a block"
            );
        }
        Event::RoundTrip {
            conn,
            round_trip_us,
        } => {
            debug!(
                target: "triskel::peer", conn = conn.0, round_trip_us,
                "a ping was answered after {round_trip_us} us"
            );
        }
        Event::TransactionRefused { label } => {
            debug!(target: "triskel::mempool", reason = label, "transaction refused: {label}");
        }
        Event::OutOfReach {
            key,
            remote,
            pruned,
            number,
        } => {
            warn!(
                target: "triskel::sync", peer = %key, pruned, number,
                "{key:.12} has dropped the blocks up to #{pruned}, this node ends at #{number}: unless another peer \
                 has them, start in an empty directory with `node snapshot import --from {remote}`"
            );
        }
        Event::Sync { remaining: 0 } => {
            info!(target: "triskel::sync", remaining = 0, "synchronised");
        }
        // Page by page: how far it is, `synchronising` says at intervals.
        Event::Sync { remaining } => {
            debug!(target: "triskel::sync", remaining, "headings have shown {remaining} blocks");
        }
    }
}

fn announce_peer(event: &Event) {
    match event {
        Event::PeerJoined {
            key,
            direction,
            remote,
            handshake_ms,
            ..
        } => {
            let direction = match direction {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            };
            info!(
                target: "triskel::peer", peer = %key, direction, remote = %remote, handshake_ms,
                "new peer {key:.12} ({direction}, {remote})"
            );
        }
        Event::PeerLeft { key, reason, .. } => {
            let label = reason.as_ref().map_or("remote", |reason| reason.label());
            let reason = reason.as_ref().map(ToString::to_string);
            let text = reason
                .as_deref()
                .unwrap_or("the peer closed the connection");
            info!(
                target: "triskel::peer", peer = %key, reason = label,
                "peer {key:.12} left: {text}"
            );
        }
        Event::HandshakeFailed { remote, reason, .. } => {
            let label = reason.as_ref().map_or("remote", |reason| reason.label());
            let reason = reason.as_ref().map(ToString::to_string);
            let text = reason
                .as_deref()
                .unwrap_or("the peer closed the connection");
            info!(
                target: "triskel::peer", remote = %remote, reason = label,
                "no session with {remote}: {text}"
            );
        }
        Event::DialFailed { endpoint, retry_ms } => {
            let delay = Delay(*retry_ms);
            info!(
                target: "triskel::peer", endpoint = %endpoint, retry_ms,
                "{endpoint} is unreachable, next attempt in {delay}"
            );
        }
        Event::Banned { key, for_ms } => {
            let delay = Delay(*for_ms);
            warn!(
                target: "triskel::peer", peer = %key, for_ms,
                "{key:.12} broke the rules and is banned for {delay}"
            );
        }
        Event::AddressesRefused { count } => {
            debug!(
                target: "triskel::peer", count,
                "{count} addresses are not looked at: a peer tells of too many"
            );
        }
        _ => {}
    }
}

fn announce_block(event: &Event) {
    match event {
        Event::BlockAccepted {
            block,
            number,
            origin,
            reward,
            age_ms,
        } => announce_accepted(block, *number, origin, *reward, *age_ms),
        Event::BlockRejected {
            id,
            stream,
            origin,
            label,
            reason,
        } => {
            let origin_label = origin.label();
            warn!(
                target: "triskel::block", block = %id, stream = %stream, origin = origin_label,
                reason = label,
                "block {id:.12} of stream {stream} from {} is refused: {reason}", From(origin)
            );
        }
        _ => {}
    }
}

fn announce_accepted(block: &Block, number: u64, origin: &Origin, reward: u64, age_ms: u64) {
    let id = block.id();
    let stream = block.header().stream;
    let transactions = block.body().transactions.len();
    match origin {
        Origin::Mined => info!(
            target: "triskel::block", block = %id, number, stream = %stream, origin = "mined",
            transactions, reward, age_ms,
            "Stream {stream}: mined block #{number} with {transactions} txs, reward {}",
            coins::format(reward)
        ),
        Origin::Relayed(key) => info!(
            target: "triskel::block", block = %id, number, stream = %stream, origin = "relayed",
            from = %key, transactions, age_ms, "received block #{number} from {key:.12}"
        ),
        // Thousands at a time: the lines of the synchronisation tell how far it is.
        Origin::Synced(key) => debug!(
            target: "triskel::block", block = %id, number, stream = %stream, origin = "synced",
            from = %key, transactions, "received block #{number} from {key:.12}"
        ),
    }
}

fn announce_tip(event: &Event) {
    let Event::TipChanged {
        id,
        number,
        stream,
        origin,
        abandoned,
        undone,
        applied,
        transactions,
    } = event
    else {
        return;
    };
    // Exactly one event a change: outsiders measure by it, down to the names of the fields.
    info!(
        target: TIP_TARGET, block = %id, number, stream = %stream, origin = origin.label(), undone,
        applied, transactions,
        "tip #{number} {id:.12}"
    );
    if *abandoned > 0 {
        info!(
            target: "triskel::chain", block = %id, number, abandoned, undone, applied,
            "reorganisation: {abandoned} blocks left the selected chain, the tip is #{number} {id:.12}"
        );
    }
}

/// What is shown every few seconds and on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// The tip's number.
    pub blocks: u64,
    /// Transactions applied since genesis.
    pub transactions: u64,
    /// Units that the miner's address holds.
    pub balance: u64,
    /// Sessions that stand.
    pub peers: usize,
    /// Transactions that wait.
    pub mempool: usize,
}

/// The line of statistics.
pub fn statistics(statistics: &Statistics) -> String {
    let Statistics {
        blocks,
        transactions,
        balance,
        peers,
        mempool,
    } = statistics;
    let balance = coins::format(*balance);
    format!(
        "blocks {blocks} | transactions {transactions} | miner balance {balance} | \
         connected peers {peers} | mempool {mempool}"
    )
}

/// Says the line of statistics.
pub fn announce_statistics(facts: &Statistics) {
    info!(
        target: "triskel::statistics", blocks = facts.blocks, transactions = facts.transactions,
        balance = facts.balance, peers = facts.peers, mempool = facts.mempool,
        "{}", statistics(facts)
    );
}

struct From<'a>(&'a Origin);

impl fmt::Display for From<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Origin::Mined => formatter.write_str("this node"),
            Origin::Relayed(key) | Origin::Synced(key) => write!(formatter, "{key:.12}"),
        }
    }
}

/// The time that is left, as people say it.
pub(super) struct Left(pub(super) Option<Duration>);

impl fmt::Display for Left {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.map(|left| left.as_secs()) {
            None => formatter.write_str("unknown time"),
            Some(seconds @ ..120) => write!(formatter, "{seconds} s"),
            Some(seconds @ ..7_200) => write!(formatter, "{} min", seconds / 60),
            Some(seconds) => write!(formatter, "{} h", seconds / 3_600),
        }
    }
}

/// Milliseconds as people say them.
struct Delay(u64);

impl fmt::Display for Delay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            short @ ..1_000 => write!(formatter, "{short} ms"),
            long => write!(formatter, "{:.1} s", long as f64 / 1_000.0),
        }
    }
}
