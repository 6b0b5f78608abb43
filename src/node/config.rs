//! The configuration of a node: one structure, one table of keys, four layers.
//!
//! Defaults < file < environment < flags. Programs that embed a node write
//! `NodeConfig { port: 9000, ..Default::default() }`.

mod error;
mod keys;
mod load;
mod memory;
mod network;
mod print;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::chain::block::Stream;
use crate::protocol::chain::id::AccountId;
use crate::protocol::chain::params::{Algorithm, DEFAULT_HASHRATE, Network};
use crate::protocol::chain::work::Work;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::mempool::MempoolLimits;

pub use error::{ConfigError, Problem};
pub use keys::{Key, Kind};
pub use load::{ENVIRONMENT_PREFIX, Loaded, Origin, Override, load};
pub use memory::{CONNECTION_BYTES, MEMPOOL_TRANSACTION_BYTES, SESSION_BYTES};
pub use network::Preset;
pub use print::{effective_json, effective_text, example};

use keys::{MOST, section};

section! {
    /// Everything that one node can be told.
    NodeConfig {
        /// The TCP port for peers; 0 takes any free one.
        port: u16 = 9_000, Kind::PORT;
        /// The IP address on which peers are accepted.
        listen: IpAddr = Ipv4Addr::UNSPECIFIED.into(), Kind::Ip;
        /// Nodes to which a connection is kept for ever, as host:port. Names are looked up again at every dial.
        peers: Vec<Endpoint> = Vec::new(), Kind::Endpoints, "[\"node1:9000\", \"192.0.2.7:9000\"]";
        /// Names behind which many nodes stand, as host:port: a DNS seed, a compose service, a headless service.
        seeds: Vec<Endpoint> = Vec::new(), Kind::Endpoints, "[\"tasks.node:9000\"]";
        /// Where the node keeps its key and its blocks. {port} stands for the port; {slot} for the first number
        /// from 1 whose directory no other node uses.
        data_dir: String = "triskel-data/node-{port}".to_owned(), Kind::Text;
        /// What all nodes of one network agree on. Nodes whose values differ part at the handshake.
        network: NetworkConfig = NetworkConfig::default(), Kind::Section(NetworkConfig::KEYS);
        /// Mining.
        mining: MiningConfig = MiningConfig::default(), Kind::Section(MiningConfig::KEYS);
        /// How the node speaks with peers, and limits toward them.
        peer: PeerConfig = PeerConfig::default(), Kind::Section(PeerConfig::KEYS);
        /// Transactions that wait for a block.
        mempool: MempoolConfig = MempoolConfig::default(), Kind::Section(MempoolConfig::KEYS);
        /// The control interface: JSON-RPC 2.0 over HTTP. It commands the node, so it stays on loopback unless told.
        rpc: RpcConfig = RpcConfig::default(), Kind::Section(RpcConfig::KEYS);
        /// Prometheus metrics at /metrics, and /health and /ready.
        metrics: MetricsConfig = MetricsConfig::default(), Kind::Section(MetricsConfig::KEYS);
        /// Ceilings: what the node takes of the machine's memory at most, whatever peers do.
        memory: MemoryConfig = MemoryConfig::default(), Kind::Section(MemoryConfig::KEYS);
        /// The store.
        store: StoreConfig = StoreConfig::default(), Kind::Section(StoreConfig::KEYS);
        /// What the node says.
        log: LogConfig = LogConfig::default(), Kind::Section(LogConfig::KEYS);
    }
}

section! {
    /// What all nodes of one network agree on: a preset, and what differs from it.
    NetworkConfig {
        /// tri: streams A (10 s), B (1 s) and C (100 ms). chain: one stream, a block a second.
        preset: Preset = Preset::Tri, Kind::Choice(&["tri", "chain"]);
        /// A name for people, at most 64 bytes. Another name makes another network. Unset: the preset's.
        name: Option<String> = None, Kind::Text, "\"my-testnet\"";
        /// What addresses start with: 1 to 16 lower-case letters and digits. Unset: tsk.
        address_prefix: Option<String> = None, Kind::Text, "\"tsk\"";
        /// How far a block's time may lie ahead of a node's clock, in milliseconds. Unset: the preset's.
        max_future_ms: Option<u64> = None, Kind::Integer(0, MOST), "10000";
        /// The delay within which a block reaches every node, in milliseconds: from it and the rate of blocks follows how many
        /// parallel blocks count (GHOSTDAG's k), see `node params`. For tri alone. Unset: 500.
        delay_ms: Option<u64> = None, Kind::Integer(1, 60_000), "500";
        /// How far back, in blue blocks, a merged block may go. Unset: the preset's.
        merge_depth: Option<u32> = None, Kind::Integer(1, 1_000_000), "3600";
        /// How far back, in blue blocks, the selected chain may change. Unset: the preset's.
        finality_depth: Option<u32> = None, Kind::Integer(1, 1_000_000), "10800";
        /// The hash rate of the whole network, in hashes per second and stream, for which the first blocks are as
        /// hard as the intervals ask for. Unset: that of one node.
        initial_hashrate: Option<u64> = None, Kind::Integer(1, MOST), "10000";
        /// What differs from the preset, by stream.
        streams: StreamsConfig = StreamsConfig::default(), Kind::Section(StreamsConfig::KEYS);
        /// Accounts that genesis endows; balances are in units, 100000000 to a coin.
        allocations: Vec<AllocationConfig> = Vec::new(), Kind::Allocations,
            "[{ account = \"f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9\", \
               balance = 100000000 }]";
    }
}

section! {
    /// What differs from the preset, by stream.
    StreamsConfig {
        /// Stream A.
        a as "A": StreamConfig = StreamConfig::default(), Kind::Section(StreamConfig::KEYS);
        /// Stream B, where the preset has it.
        b as "B": StreamConfig = StreamConfig::default(), Kind::Section(StreamConfig::KEYS);
        /// Stream C, where the preset has it.
        c as "C": StreamConfig = StreamConfig::default(), Kind::Section(StreamConfig::KEYS);
    }
}

section! {
    /// What differs from the preset in one stream. What is unset is the preset's.
    StreamConfig {
        /// The wanted time between two blocks, in milliseconds.
        interval_ms: Option<u64> = None, Kind::Integer(1, MOST), "1000";
        /// The delay that halves the difficulty, in milliseconds. Unset: as many intervals as in the preset.
        half_life_ms: Option<u64> = None, Kind::Integer(1, MOST), "60000";
        /// The hash by which work is measured. (none is for the simulator alone.)
        algorithm: Option<Algorithm> = None, Kind::Choice(&["sha256d", "blake3", "sha3", "none"]),
            "\"sha256d\"";
        /// What the miner of a block receives beside the fees, in units.
        reward: Option<u64> = None, Kind::Integer(0, MOST), "5000000000";
        /// The most transactions in one block.
        max_transactions: Option<u32> = None, Kind::Integer(0, 10_000), "1000";
        /// The easiest target, in compact form.
        limit_bits: Option<u32> = None, Kind::Integer(1, 4_294_967_295), "0x207fffff";
    }
}

/// An account that genesis endows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllocationConfig {
    /// The account's public key.
    pub account: keys::Account,
    /// Its balance, in units.
    pub balance: u64,
}

section! {
    /// Mining.
    MiningConfig {
        /// Whether the node mines from its start. It can be changed while the node runs.
        enabled: bool = true, Kind::Switch;
        /// The address that receives rewards and fees. Unset: that of the node's own key.
        address: Option<String> = None, Kind::Text, "\"tsk1...\"";
        /// How many hashes per second the node spends on each stream. 0 mines nothing.
        hashrate: u64 = DEFAULT_HASHRATE, Kind::Integer(0, MOST);
        /// Hashes per second of single streams.
        hashrates: HashratesConfig = HashratesConfig::default(),
            Kind::Section(HashratesConfig::KEYS);
    }
}

section! {
    /// Hashes per second of single streams. What is unset is `mining.hashrate`.
    HashratesConfig {
        /// Stream A.
        a as "A": Option<u64> = None, Kind::Integer(0, MOST), "500";
        /// Stream B.
        b as "B": Option<u64> = None, Kind::Integer(0, MOST), "1000";
        /// Stream C.
        c as "C": Option<u64> = None, Kind::Integer(0, MOST), "4000";
    }
}

section! {
    /// How the node speaks with peers, and limits toward them.
    PeerConfig {
        /// noise: connections are encrypted, and both ends prove their keys. plain: anybody on the way can read them, and a key is
        /// only claimed; for teaching and capture. All nodes of a network speak the same.
        transport: Transport = Transport::Noise, Kind::Choice(&["noise", "plain"]);
        /// A file with 64 hexadecimal digits, the same on all nodes of a network: whoever has not this key is refused. (A file,
        /// for what stands here is shown by `node config`.) Unset: anybody may join.
        preshared_key_file: Option<PathBuf> = None, Kind::Text, "\"network.key\"";
        /// The work that the network is known to have, in hexadecimal digits: a peer whose headings prove less is not
        /// believed, and nothing is mined upon less. Unset: none.
        minimum_work: Option<String> = None, Kind::Text, "\"0x5f5e100\"";
        /// How many sessions the node opens by itself, with addresses that it learns.
        target_outbound: usize = 8, Kind::Integer(0, 1_000);
        /// How many of those may lead to one network group: 65,536 IPv4 addresses that begin alike.
        max_outbound_per_group: usize = 1, Kind::Integer(1, 1_000);
        /// How many sessions that peers open are accepted. As many connections beside, at least 64, may be in their handshake.
        max_inbound: usize = 64, Kind::Integer(0, 10_000);
        /// How many connections are accepted from one address.
        max_inbound_per_address: usize = 8, Kind::Integer(1, 10_000);
        /// Whether the limits per group and per address hold in private ranges too. Containers may all share one gateway.
        group_private: bool = false, Kind::Switch;
        /// How long a node is banned that has broken a rule for the first time, in milliseconds; each further time
        /// doubles it. It is banned by its key, so where keys are only claimed nobody is. 0 bans nobody anywhere.
        ban_ms: u64 = 600_000, Kind::Integer(0, 86_400_000);
        /// How often a peer is asked for a sign of life, in milliseconds.
        ping_interval_ms: u64 = 10_000, Kind::Integer(1, 86_400_000);
        /// A peer that is silent for this long is left, in milliseconds. More than ping_interval_ms.
        silent_timeout_ms: u64 = 30_000, Kind::Integer(1, 86_400_000);
        /// A peer that has not said Hello for this long is left, in milliseconds.
        handshake_timeout_ms: u64 = 3_000, Kind::Integer(1, 86_400_000);
        /// A connection that does not stand for this long is given up, in milliseconds.
        dial_timeout_ms: u64 = 5_000, Kind::Integer(1, 86_400_000);
        /// The first delay before an unreachable peer is dialled again, in milliseconds. It doubles, with jitter.
        retry_min_ms: u64 = 250, Kind::Integer(1, 86_400_000);
        /// The longest delay before an unreachable peer is dialled again, in milliseconds.
        retry_max_ms: u64 = 30_000, Kind::Integer(1, 86_400_000);
    }
}

section! {
    /// Transactions that wait for a block.
    MempoolConfig {
        /// How many wait at most.
        max_transactions: usize = 50_000, Kind::Integer(0, 10_000_000);
        /// How many bytes they have at most.
        max_bytes: usize = 8_000_000, Kind::Integer(0, 4_000_000_000);
        /// How many of one sender wait at most.
        max_per_sender: usize = 10_000, Kind::Integer(1, 10_000_000);
        /// The least fee, in units.
        min_fee: u64 = 1, Kind::Integer(0, MOST);
    }
}

section! {
    /// The control interface.
    RpcConfig {
        /// Whether it is served.
        enabled: bool = true, Kind::Switch;
        /// The IP address on which it is served.
        listen: IpAddr = Ipv4Addr::LOCALHOST.into(), Kind::Ip;
        /// Its TCP port; 0 takes any free one. Unset: port + 1000.
        port: Option<u16> = None, Kind::PORT, "10000";
    }
}

section! {
    /// Metrics and health.
    MetricsConfig {
        /// Whether they are served.
        enabled: bool = true, Kind::Switch;
        /// The IP address on which they are served.
        listen: IpAddr = Ipv4Addr::LOCALHOST.into(), Kind::Ip;
        /// Their TCP port; 0 takes any free one. Unset: port + 2000.
        port: Option<u16> = None, Kind::PORT, "11000";
        /// How many sessions must stand before /ready says yes.
        ready_peers: usize = 0, Kind::Integer(0, 10_000);
    }
}

section! {
    /// Ceilings of memory.
    MemoryConfig {
        /// How much the whole node may take, in MiB. What the mempool, catching up and the like leave of it is for connections;
        /// where all of them together take more, those end that take most.
        node_mib: u64 = 1_024, Kind::Integer(1, 1_000_000);
        /// How much one connection may take, in MiB: what waits to be written to the peer, what was read of it and is not handled
        /// yet, and the buffers between. Whoever lets more wait is left; of whom sends more nothing is read until it is handled.
        peer_mib: u64 = 48, Kind::Integer(1, 100_000);
    }
}

section! {
    /// The store.
    StoreConfig {
        /// How much of it is kept in memory, in MiB.
        cache_mib: u64 = 8, Kind::Integer(1, 1_000_000);
        /// Whether bodies of blocks are dropped once no reorganisation can reach them. Such a node cannot serve those who begin.
        prune: bool = false, Kind::Switch;
    }
}

section! {
    /// What the node says.
    LogConfig {
        /// How much: a level, and more exactly by target, as in "info,triskel::tip=debug".
        level: String = "info".to_owned(), Kind::Filter;
        /// text for people, json for programs: one object a line, times in UTC with microseconds.
        format: LogFormat = LogFormat::Text, Kind::Choice(&["text", "json"]);
        /// How often statistics are shown, in milliseconds; 0 is never. Unset: 5000 on a terminal, else never.
        statistics_interval_ms: Option<u64> = None, Kind::Integer(0, 86_400_000), "5000";
    }
}

/// What connections of peers speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Frames inside Noise.
    #[default]
    Noise,
    /// Frames as they are.
    Plain,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl NodeConfig {
    /// Where peers connect.
    pub fn listen_address(&self) -> SocketAddr {
        SocketAddr::new(self.listen, self.port)
    }

    /// Where the control interface is served; `None` if it is not.
    pub fn rpc_address(&self) -> Option<SocketAddr> {
        let port = self.rpc.port.unwrap_or_else(|| self.port_beside(1_000));
        self.rpc
            .enabled
            .then(|| SocketAddr::new(self.rpc.listen, port))
    }

    /// Where metrics and health are served; `None` if they are not.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        let port = self.metrics.port.unwrap_or_else(|| self.port_beside(2_000));
        self.metrics
            .enabled
            .then(|| SocketAddr::new(self.metrics.listen, port))
    }

    /// Any free port for peers means any free port for the rest.
    fn port_beside(&self, distance: u16) -> u16 {
        match self.port {
            0 => 0,
            port => port.saturating_add(distance),
        }
    }

    /// The data directory, `{port}` replaced. `{slot}` is left for the store, which knows what is in use.
    pub fn data_directory(&self) -> PathBuf {
        PathBuf::from(self.data_dir.replace("{port}", &self.port.to_string()))
    }

    /// Hashes per second that the node spends on a stream.
    pub fn hashrate(&self, stream: Stream) -> u64 {
        let own = match stream {
            Stream::A => self.mining.hashrates.a,
            Stream::B => self.mining.hashrates.b,
            Stream::C => self.mining.hashrates.c,
        };
        own.unwrap_or(self.mining.hashrate)
    }

    /// The account that receives what the node mines: the configured one, or else `own`.
    pub fn miner(&self, network: &Network, own: AccountId) -> Result<AccountId, ConfigError> {
        let Some(address) = &self.mining.address else {
            return Ok(own);
        };
        Ok(network.account(address)?)
    }

    /// The work that the network is known to have.
    pub fn minimum_work(&self) -> Result<Work, ConfigError> {
        let Some(text) = &self.peer.minimum_work else {
            return Ok(Work::ZERO);
        };
        let allowed = "hexadecimal digits, at most 64".to_owned();
        ConfigError::ensure(
            text.parse::<Work>().is_ok(),
            "peer.minimum_work",
            text,
            allowed,
        )?;
        Ok(text.parse().unwrap_or_default())
    }

    /// What the mempool may hold.
    pub fn mempool_limits(&self) -> MempoolLimits {
        MempoolLimits {
            transactions: self.mempool.max_transactions,
            bytes: self.mempool.max_bytes,
            per_sender: self.mempool.max_per_sender,
            min_fee: self.mempool.min_fee,
        }
    }

    /// How often statistics are shown; `None` if never.
    pub fn statistics_interval(&self, on_terminal: bool) -> Option<Duration> {
        let unless_told = if on_terminal { 5_000 } else { 0 };
        match self.log.statistics_interval_ms.unwrap_or(unless_told) {
            0 => None,
            interval_ms => Some(Duration::from_millis(interval_ms)),
        }
    }

    /// Checks what no key can know alone: ports that collide, limits that contradict each other, network and address.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_ports()?;
        let peer = &self.peer;
        let above = |key, value: u64, other: &str, least: u64| {
            let allowed = format!("more than {other} ({least})");
            ConfigError::ensure(value > least, key, value, allowed)
        };
        let (silent, ping) = (peer.silent_timeout_ms, peer.ping_interval_ms);
        above(
            "peer.silent_timeout_ms",
            silent,
            "peer.ping_interval_ms",
            ping,
        )?;
        let (most, least) = (peer.retry_max_ms, peer.retry_min_ms);
        let allowed = format!("at least peer.retry_min_ms ({least})");
        ConfigError::ensure(most >= least, "peer.retry_max_ms", most, allowed)?;
        ConfigError::ensure(
            peer.transport == Transport::Noise || peer.preshared_key_file.is_none(),
            "peer.preshared_key_file",
            "set",
            "nothing, for peer.transport is plain and proves no key".to_owned(),
        )?;
        let allowed = Kind::Text.allowed();
        ConfigError::ensure(
            !self.data_dir.trim().is_empty(),
            "data_dir",
            "empty",
            allowed,
        )?;
        let network = self.network()?;
        self.miner(&network, AccountId::default())?;
        self.minimum_work()?;
        self.ceilings(&network)?;
        Ok(())
    }

    fn check_ports(&self) -> Result<(), ConfigError> {
        for (key, set, distance) in [
            (
                "rpc.port",
                self.rpc.port.is_some() || !self.rpc.enabled,
                1_000,
            ),
            (
                "metrics.port",
                self.metrics.port.is_some() || !self.metrics.enabled,
                2_000,
            ),
        ] {
            let fits = set || self.port <= u16::MAX - distance;
            let allowed = format!("set beside a port above {}", u16::MAX - distance);
            ConfigError::ensure(
                fits,
                key,
                format!("unset, which means port + {distance}"),
                allowed,
            )?;
        }
        let rpc = self.rpc_address().map_or(0, |address| address.port());
        let metrics = self.metrics_address().map_or(0, |address| address.port());
        let allowed = |other| format!("another number than {other}");
        let distinct = |left: u16, right: u16| left == 0 || left != right;
        ConfigError::ensure(distinct(rpc, self.port), "rpc.port", rpc, allowed("port"))?;
        ConfigError::ensure(
            distinct(metrics, self.port),
            "metrics.port",
            metrics,
            allowed("port"),
        )?;
        ConfigError::ensure(
            distinct(metrics, rpc),
            "metrics.port",
            metrics,
            allowed("rpc.port"),
        )
    }

    /// The configuration with everything written out that follows from something else.
    pub fn resolved(&self) -> Self {
        let mut resolved = self.clone();
        resolved.data_dir = self.data_directory().display().to_string();
        resolved.rpc.port = self.rpc.port.or_else(|| Some(self.port_beside(1_000)));
        resolved.metrics.port = self.metrics.port.or_else(|| Some(self.port_beside(2_000)));
        resolved
    }
}
