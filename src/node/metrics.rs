//! Prometheus metrics: each node has a registry of its own, so that several can live in one process.
//!
//! Units stand in the names. Labels have few values, all of them this program's: nothing that a peer says becomes one.

mod catalogue;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, TextEncoder};

use catalogue::Catalogue;

use super::control::{Control, Snapshot};
use crate::protocol::chain::block::Stream;
use crate::protocol::chain::ordering::Ordered;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::rules::next_target;
use crate::protocol::chain::view::View;
use crate::protocol::machine::io::{Direction, Event, Origin};

/// A checkpoint lies at least this far below the tip, where blocks are hardly ever undone.
const CHECKPOINT_DEPTH: u64 = 32;

/// Checkpoints are the multiples of this: seconds apart where blocks come fast, so that nearly all scrapes of one round see the
/// same.
const CHECKPOINT_STEP: u64 = 64;

/// The metrics of one node.
pub struct Metrics {
    catalogue: Catalogue,
}

impl Metrics {
    /// All metrics at zero, for the streams of a network.
    pub fn new(network: &Network) -> Self {
        Self {
            catalogue: Catalogue::new(network),
        }
    }

    /// A message of a kind, in a frame of so many bytes, was written.
    pub fn sent(&self, kind: usize, bytes: usize) {
        self.catalogue.sent[kind].count(bytes);
    }

    /// A message of a kind, in a frame of so many bytes, was read.
    pub fn received(&self, kind: usize, bytes: usize) {
        self.catalogue.received[kind].count(bytes);
    }

    /// Blocks of a message took so long in a phase: `check`, `place` or `apply`.
    pub fn validated(&self, phase: &str, duration: Duration) {
        self.catalogue
            .validation
            .with_label_values(&[phase])
            .observe(duration.as_secs_f64());
    }

    /// Making a write durable took so long.
    pub fn committed(&self, duration: Duration) {
        self.catalogue.store_commit.observe(duration.as_secs_f64());
    }

    /// A peer's transaction came while too many were being checked.
    pub fn busy(&self) {
        self.catalogue.refused.with_label_values(&["busy"]).inc();
    }

    /// Counts what the machine reports.
    pub fn event(&self, event: &Event) {
        let all = &self.catalogue;
        match event {
            Event::PeerJoined { handshake_ms, .. } => {
                all.handshakes.with_label_values(&["joined"]).inc();
                all.handshake_seconds
                    .observe(*handshake_ms as f64 / 1_000.0);
            }
            Event::PeerLeft { reason, .. } => {
                let label = reason.as_ref().map_or("closed", |reason| reason.label());
                all.disconnects.with_label_values(&[label]).inc();
            }
            Event::HandshakeFailed { reason, .. } => {
                let label = reason.as_ref().map_or("closed", |reason| reason.label());
                all.handshakes.with_label_values(&[label]).inc();
            }
            Event::DialFailed { .. } => all.dial_failures.inc(),
            Event::Banned { .. } => all.bans.inc(),
            Event::AddressesRefused { count } => all.refused_addresses.inc_by(*count as f64),
            Event::RoundTrip { round_trip_us, .. } => {
                all.round_trip.observe(*round_trip_us as f64 / 1e6);
            }
            Event::BlockAccepted {
                block,
                origin,
                age_ms,
                ..
            } => {
                let stream = block.header().stream.to_string();
                match origin {
                    Origin::Mined => all.mined.with_label_values(&[&stream]).inc(),
                    _ => all
                        .accepted
                        .with_label_values(&[&stream, origin.label()])
                        .inc(),
                }
                if matches!(origin, Origin::Relayed(_)) {
                    let seconds = *age_ms as f64 / 1_000.0;
                    all.propagation
                        .with_label_values(&[&stream])
                        .observe(seconds);
                }
            }
            Event::BlockRebuilt { rebuilt } => {
                all.compact_blocks
                    .with_label_values(&[rebuilt.label()])
                    .inc();
            }
            Event::BlockRejected { stream, label, .. } => {
                all.rejected
                    .with_label_values(&[stream.to_string().as_str(), label])
                    .inc();
            }
            Event::TipChanged {
                abandoned: undone, ..
            } if *undone > 0 => {
                all.reorganisations.inc();
                all.reorganisation_depth.observe(*undone as f64);
            }
            Event::TipChanged { .. } | Event::OutOfReach { .. } => {}
            Event::TransactionAdmitted { own, .. } => {
                let label = if *own { "submitted" } else { "relayed" };
                all.admitted.with_label_values(&[label]).inc();
            }
            Event::TransactionRefused { label } => all.refused.with_label_values(&[label]).inc(),
            Event::Sync { remaining } => all.sync_remaining.set(*remaining as f64),
        }
    }

    /// How far catching up is, from 0 to 1.
    pub(super) fn progressed(&self, ratio: f64) {
        self.catalogue.sync_progress.set(ratio);
    }

    fn show(&self, snapshot: &Snapshot, control: &Control) {
        let all = &self.catalogue;
        for (direction, label) in [
            (Direction::Inbound, "inbound"),
            (Direction::Outbound, "outbound"),
        ] {
            let sessions = snapshot.sessions.iter();
            let count = sessions
                .filter(|session| session.direction == direction)
                .count();
            all.peers.with_label_values(&[label]).set(count as f64);
        }
        all.banned_peers.set(snapshot.bans.len() as f64);
        let (new, tried) = snapshot.known_addresses;
        for (label, count) in [("new", new), ("tried", tried)] {
            let addresses = all.known_addresses.with_label_values(&[label]);
            addresses.set(count as f64);
        }
        let tip = &snapshot.tip;
        all.tip_number.set(tip.number as f64);
        all.dag_tips.set(tip.tips.len() as f64);
        all.red_blocks.set(tip.red() as f64);
        all.pruned_number.set(tip.pruned as f64);
        all.tip_work.set(tip.work.to_f64());
        all.tip_timestamp
            .set(snapshot.record.timestamp_ms() as f64 / 1_000.0);
        all.tip_prefix.set(prefix(&tip.id.0));
        all.digest_prefix.set(prefix(&tip.accumulator.digest().0));
        let checkpoint =
            tip.number.saturating_sub(CHECKPOINT_DEPTH) / CHECKPOINT_STEP * CHECKPOINT_STEP;
        if let Ok(Some(Ordered { id, .. })) = control.store.ordered(checkpoint) {
            all.checkpoint_number.set(checkpoint as f64);
            all.checkpoint_prefix.set(prefix(&id.0));
        }
        all.transactions.set(tip.transactions as f64);
        all.issued.set(tip.issued as f64);
        all.mempool_transactions
            .set(snapshot.mempool_transactions as f64);
        all.mempool_bytes.set(snapshot.mempool_bytes as f64);
        all.sync_remaining.set(snapshot.sync_remaining as f64);
        all.mining.set(f64::from(u8::from(snapshot.mining)));
        for stream in Stream::ALL {
            let name = stream.to_string();
            if let Some(target) = next_target(&control.network, &tip.streams, stream) {
                all.difficulty
                    .with_label_values(&[&name])
                    .set(target.expected_hashes());
            }
            if let Some(hashrate) = snapshot.hashrate.get(&stream) {
                let spent = if snapshot.mining {
                    *hashrate as f64
                } else {
                    0.0
                };
                all.hashrate.with_label_values(&[&name]).set(spent);
            }
        }
        let ceilings = control.pool.ceilings;
        for (of, ceiling_bytes) in [
            ("node", ceilings.node_bytes),
            ("connections", ceilings.peers_bytes),
            ("connection", ceilings.peer_bytes),
        ] {
            let ceiling = all.memory_ceiling.with_label_values(&[of]);
            ceiling.set(ceiling_bytes as f64);
        }
        for (of, taken_bytes) in [
            ("connections", control.pool.taken_bytes()),
            ("connection", snapshot.greatest_connection_bytes),
        ] {
            let taken = all.memory_taken.with_label_values(&[of]);
            taken.set(taken_bytes as f64);
        }
        all.store_size.set(control.store.size_bytes() as f64);
        let used = processor_seconds() - all.processor.get();
        all.processor.inc_by(used.max(0.0));
        all.uptime.set(control.started.elapsed().as_secs_f64());
    }

    /// Everything in Prometheus' text format.
    pub fn encode(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.catalogue.registry.gather(), &mut text)
            .expect("a registry's metrics have names and help");
        String::from_utf8(text).expect("the text format is UTF-8")
    }
}

/// The first 48 bits as a number that a floating-point value holds exactly, so that one query says whether all nodes agree.
fn prefix(bytes: &[u8; 32]) -> f64 {
    bytes[..6]
        .iter()
        .fold(0.0, |number, byte| number * 256.0 + f64::from(*byte))
}

#[derive(Clone)]
struct Pages {
    metrics: Arc<Metrics>,
    control: Control,
    ready_peers: usize,
}

/// Serves `/metrics`, `/health` and `/ready`.
pub fn router(metrics: Arc<Metrics>, control: Control, ready_peers: usize) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .with_state(Pages {
            metrics,
            control,
            ready_peers,
        })
}

async fn scrape(State(pages): State<Pages>) -> Response {
    let snapshot = Arc::clone(&pages.control.snapshot.borrow());
    pages.metrics.show(&snapshot, &pages.control);
    let kind = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
    (kind, pages.metrics.encode()).into_response()
}

/// Whether the node lives at all: nothing but a restart helps if not.
async fn health(State(pages): State<Pages>) -> Response {
    if pages.control.orders.is_closed() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the node is stopping\n").into_response();
    }
    "ok\n".into_response()
}

/// Whether the node is of use: it listens, its store is open, and it has the peers that it should have.
async fn ready(State(pages): State<Pages>) -> Response {
    let peers = pages.control.snapshot.borrow().sessions.len();
    let reason = if pages.control.orders.is_closed() {
        "the node is stopping\n".to_owned()
    } else if peers < pages.ready_peers {
        format!("{peers} of {} peers\n", pages.ready_peers)
    } else {
        return "ready\n".into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
}

/// Processor time that this process has used, in seconds.
#[cfg(unix)]
fn processor_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// Nothing tells it elsewhere.
#[cfg(not(unix))]
fn processor_seconds() -> f64 {
    0.0
}
