//! The metrics by name, with their help texts. Every series that can be known beforehand exists from the start, at zero: a query
//! over a counter that has not counted yet should say 0, not nothing.

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, Opts, Registry,
};

use crate::protocol::chain::params::Network;
use crate::protocol::machine::io::Rebuilt;
use crate::protocol::wire::message::MESSAGE_NAMES;

const NAMESPACE: &str = "triskel";

/// Seconds, from a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Blocks.
const DEPTHS: [f64; 9] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1_000.0];

/// Messages of one kind in one direction. Resolved once: these count every message.
pub(super) struct Traffic {
    messages: Counter,
    bytes: Counter,
}

impl Traffic {
    pub(super) fn count(&self, bytes: usize) {
        self.messages.inc();
        self.bytes.inc_by(bytes as f64);
    }
}

pub(super) struct Catalogue {
    pub(super) registry: Registry,
    pub(super) peers: GaugeVec,
    pub(super) handshakes: CounterVec,
    pub(super) handshake_seconds: Histogram,
    pub(super) disconnects: CounterVec,
    pub(super) dial_failures: Counter,
    pub(super) bans: Counter,
    pub(super) banned_peers: Gauge,
    pub(super) known_addresses: GaugeVec,
    pub(super) refused_addresses: Counter,
    pub(super) round_trip: Histogram,
    pub(super) sent: Vec<Traffic>,
    pub(super) received: Vec<Traffic>,
    pub(super) mined: CounterVec,
    pub(super) accepted: CounterVec,
    pub(super) rejected: CounterVec,
    pub(super) compact_blocks: CounterVec,
    pub(super) tip_number: Gauge,
    pub(super) dag_tips: Gauge,
    pub(super) red_blocks: Gauge,
    pub(super) pruned_number: Gauge,
    pub(super) tip_work: Gauge,
    pub(super) tip_timestamp: Gauge,
    pub(super) tip_prefix: Gauge,
    pub(super) digest_prefix: Gauge,
    pub(super) checkpoint_number: Gauge,
    pub(super) checkpoint_prefix: Gauge,
    pub(super) reorganisations: Counter,
    pub(super) reorganisation_depth: Histogram,
    pub(super) propagation: HistogramVec,
    pub(super) validation: HistogramVec,
    pub(super) mempool_transactions: Gauge,
    pub(super) mempool_bytes: Gauge,
    pub(super) admitted: CounterVec,
    pub(super) refused: CounterVec,
    pub(super) transactions: Gauge,
    pub(super) issued: Gauge,
    pub(super) sync_remaining: Gauge,
    pub(super) sync_progress: Gauge,
    pub(super) mining: Gauge,
    pub(super) hashrate: GaugeVec,
    pub(super) difficulty: GaugeVec,
    pub(super) store_commit: Histogram,
    pub(super) store_size: Gauge,
    pub(super) memory_ceiling: GaugeVec,
    pub(super) memory_taken: GaugeVec,
    pub(super) processor: Counter,
    pub(super) uptime: Gauge,
}

impl Catalogue {
    pub(super) fn new(network: &Network) -> Self {
        let make = Maker(Registry::new());
        let streams: Vec<String> = network
            .streams()
            .map(|(stream, _)| stream.to_string())
            .collect();
        let streams: Vec<&str> = streams.iter().map(String::as_str).collect();
        let (sent, received) = make.traffic();
        make.facts(network);
        let catalogue = Self {
            peers: make.gauges(
                "peers",
                "Sessions that stand, by who opened the connection.",
                "direction",
            ),
            handshakes: make.counters(
                "handshakes_total",
                "Handshakes, by outcome: joined, or why not.",
                &["outcome"],
            ),
            handshake_seconds: make.histogram(
                "handshake_duration_seconds",
                "From a connection to a session.",
                &SECONDS,
            ),
            disconnects: make.counters(
                "disconnects_total",
                "Sessions that ended, by this node's reason, or closed by the peer.",
                &["reason"],
            ),
            dial_failures: make.counter(
                "dial_failures_total",
                "Dials of configured peers that failed.",
            ),
            bans: make.counter(
                "bans_total",
                "Nodes banned, by their keys, for breaking a rule in a way that they cannot deny.",
            ),
            banned_peers: make.gauge("banned_peers", "Nodes that are banned now."),
            known_addresses: make.gauges(
                "known_addresses",
                "Addresses in the address book: new, or tried because a node was met there.",
                "table",
            ),
            refused_addresses: make.counter(
                "addresses_refused_total",
                "Addresses not looked at because a peer told of more than it may.",
            ),
            round_trip: make.histogram(
                "peer_round_trip_seconds",
                "From a ping to its answer.",
                &SECONDS,
            ),
            sent,
            received,
            mined: make.counters(
                "blocks_mined_total",
                "Blocks that this node mined.",
                &["stream"],
            ),
            accepted: make.counters(
                "blocks_received_total",
                "Blocks of other nodes taken in, by stream and by how they came.",
                &["stream", "origin"],
            ),
            compact_blocks: make.counters(
                "compact_blocks_total",
                "Blocks that came in compact form: rebuilt at once, rebuilt after a round for what \
                 was missing, or asked for as a whole.",
                &["result"],
            ),
            rejected: make.counters(
                "blocks_rejected_total",
                "Blocks not taken in, by stream and reason.",
                &["stream", "reason"],
            ),
            tip_number: make.gauge("tip_number", "Blocks in the order, genesis left out."),
            dag_tips: make.gauge("dag_tips", "Blocks without children."),
            red_blocks: make.gauge(
                "red_blocks",
                "Blocks of the order that too many others had never seen.",
            ),
            pruned_number: make.gauge(
                "pruned_number",
                "Bodies of blocks up to this number are dropped; 0 if all are kept.",
            ),
            tip_work: make.gauge("tip_work", "Expected hashes of the selected chain."),
            tip_timestamp: make.gauge(
                "tip_timestamp_seconds",
                "When the selected block was found, Unix time.",
            ),
            tip_prefix: make.gauge(
                "tip_hash_prefix",
                "The first 48 bits of the selected block's id: equal where nodes agree.",
            ),
            digest_prefix: make.gauge(
                "state_digest_prefix",
                "The first 48 bits of the accounts' digest: equal where nodes agree.",
            ),
            checkpoint_number: make.gauge(
                "checkpoint_number",
                "A round number some blocks below the tip: the same for a while, so that nodes \
                 scraped at different moments can be compared.",
            ),
            checkpoint_prefix: make.gauge(
                "checkpoint_hash_prefix",
                "The first 48 bits of the id of the block at the checkpoint's number: equal \
                 where nodes agree.",
            ),
            reorganisations: make.counter(
                "reorganisations_total",
                "Changes by which more blocks left the selected chain than are parallel anyway.",
            ),
            reorganisation_depth: make.histogram(
                "reorganisation_depth_blocks",
                "Blocks that left the selected chain by a reorganisation.",
                &DEPTHS,
            ),
            propagation: make.histograms(
                "block_propagation_seconds",
                "From a relayed block's timestamp to its arrival; includes the difference of \
                 two clocks.",
                "stream",
            ),
            validation: make.histograms(
                "block_validation_seconds",
                "Time that blocks take: check (work, signatures), place (headers) and apply (ledger; several \
                 at once if they come so).",
                "phase",
            ),
            mempool_transactions: make.gauge("mempool_transactions", "Waiting transactions."),
            mempool_bytes: make.gauge(
                "mempool_bytes",
                "Canonical bytes of the waiting transactions.",
            ),
            admitted: make.counters(
                "mempool_admitted_total",
                "Transactions taken into the mempool: submitted here, or relayed.",
                &["origin"],
            ),
            refused: make.counters(
                "mempool_refused_total",
                "Transactions not taken into the mempool.",
                &["reason"],
            ),
            transactions: make.gauge(
                "transactions_applied",
                "Transactions applied by the selected chain; falls in a reorganisation.",
            ),
            issued: make.gauge("issued_units", "Units issued by genesis and rewards."),
            sync_remaining: make.gauge(
                "sync_remaining_blocks",
                "Blocks whose headings have proven enough, and which are still to be fetched.",
            ),
            sync_progress: make.gauge(
                "sync_progress_ratio",
                "How far catching up is, by the dates of blocks: 1 when it is over.",
            ),
            mining: make.gauge("mining", "1 while the node mines."),
            hashrate: make.gauges(
                "hashrate_hashes_per_second",
                "Hashes per second spent on a stream.",
                "stream",
            ),
            difficulty: make.gauges(
                "difficulty_hashes",
                "Expected hashes for the next block of a stream.",
                "stream",
            ),
            store_commit: make.histogram(
                "store_commit_seconds",
                "Time to make writes durable.",
                &SECONDS,
            ),
            store_size: make.gauge("store_size_bytes", "Bytes of the store on disk."),
            memory_ceiling: make.gauges(
                "memory_ceiling_bytes",
                "What may be taken of the memory: by the whole node, by all connections together, by \
                 one.",
                "of",
            ),
            memory_taken: make.gauges(
                "memory_taken_bytes",
                "What is taken of the memory: by all connections together, and by the one that takes most. \
                 The whole node's is process_resident_memory_bytes.",
                "of",
            ),
            processor: make.counter(
                "processor_seconds_total",
                "Processor time that the process has used. process_cpu_seconds_total counts whole seconds alone.",
            ),
            uptime: make.gauge("uptime_seconds", "Time since the node was started."),
            registry: make.0,
        };
        catalogue.start_at_zero(&streams);
        catalogue
    }

    fn start_at_zero(&self, streams: &[&str]) {
        for stream in streams {
            self.mined.with_label_values(&[stream]);
            self.propagation.with_label_values(&[stream]);
            for origin in ["relayed", "synced"] {
                self.accepted.with_label_values(&[stream, origin]);
            }
            for reason in ["orphan", "early", "final", "header", "state_digest"] {
                self.rejected.with_label_values(&[stream, reason]);
            }
        }
        for rebuilt in Rebuilt::ALL {
            self.compact_blocks.with_label_values(&[rebuilt.label()]);
        }
        for phase in ["check", "place", "apply"] {
            self.validation.with_label_values(&[phase]);
        }
        self.handshakes.with_label_values(&["joined"]);
        self.disconnects.with_label_values(&["closed"]);
        for origin in ["submitted", "relayed"] {
            self.admitted.with_label_values(&[origin]);
        }
        for reason in [
            "used_nonce",
            "nonce_ahead",
            "balance",
            "fee",
            "replacement",
            "full",
            "busy",
        ] {
            self.refused.with_label_values(&[reason]);
        }
    }
}

/// Makes metrics and registers them. Names and labels are constants of this file, so what can fail does at the first start.
struct Maker(Registry);

impl Maker {
    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect("names, labels and buckets of this file are well formed");
        self.0
            .register(Box::new(metric.clone()))
            .expect("no name of this file occurs twice");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> Counter {
        self.register(Counter::with_opts(
            Opts::new(name, help).namespace(NAMESPACE),
        ))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.register(CounterVec::new(
            Opts::new(name, help).namespace(NAMESPACE),
            labels,
        ))
    }

    fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::with_opts(Opts::new(name, help).namespace(NAMESPACE)))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> GaugeVec {
        self.register(GaugeVec::new(
            Opts::new(name, help).namespace(NAMESPACE),
            &[label],
        ))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help)
            .namespace(NAMESPACE)
            .buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options))
    }

    fn histograms(&self, name: &str, help: &str, label: &str) -> HistogramVec {
        let options = HistogramOpts::new(name, help)
            .namespace(NAMESPACE)
            .buckets(SECONDS.to_vec());
        self.register(HistogramVec::new(options, &[label]))
    }

    /// Traffic by kind of message: sent, received.
    fn traffic(&self) -> (Vec<Traffic>, Vec<Traffic>) {
        let labels = &["direction", "message"];
        let messages = self.counters(
            "network_messages_total",
            "Messages, by direction and kind.",
            labels,
        );
        let bytes = self.counters(
            "network_bytes_total",
            "Bytes of frames, by direction and kind.",
            labels,
        );
        let traffic = |direction: &str| {
            let one = |name: &&str| Traffic {
                messages: messages.with_label_values(&[direction, name]),
                bytes: bytes.with_label_values(&[direction, name]),
            };
            MESSAGE_NAMES.iter().map(one).collect()
        };
        (traffic("sent"), traffic("received"))
    }

    /// What does not change while the node runs, and what the system knows of the process.
    fn facts(&self, network: &Network) {
        let version = env!("CARGO_PKG_VERSION");
        let build = self.gauges("build_info", "The program, as a label.", "version");
        build.with_label_values(&[version]).set(1.0);
        let options = Opts::new("network_info", "The network, as labels.").namespace(NAMESPACE);
        let info = self.register(GaugeVec::new(options, &["network", "id"]));
        let id = format!("{:.16}", network.id());
        info.with_label_values(&[network.params().name.as_str(), &id])
            .set(1.0);
        #[cfg(target_os = "linux")]
        self.0
            .register(Box::new(
                prometheus::process_collector::ProcessCollector::for_self(),
            ))
            .expect("the process is registered once");
    }
}
