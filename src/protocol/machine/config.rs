//! What a machine is told at its start.

use crate::protocol::chain::id::{AccountId, NodeKey};
use crate::protocol::chain::work::Work;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::mempool::MempoolLimits;
use crate::protocol::wire::limits::{
    MAX_MEMPOOL_BYTES, MAX_MEMPOOL_PER_SENDER, MAX_MEMPOOL_TRANSACTIONS,
};

/// What a machine is told at its start. All times in milliseconds.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// The node's key.
    pub key: NodeKey,
    /// Who receives what this node mines.
    pub miner: AccountId,
    /// Where this node accepts connections; 0 if nowhere.
    pub port: u16,
    /// Program and version, for people.
    pub agent: String,
    /// Endpoints to which a connection is kept for ever.
    pub peers: Vec<Endpoint>,
    /// Names behind which peers are found.
    pub seeds: Vec<Endpoint>,
    /// Whether to mine from the start.
    pub mining: bool,
    /// Connections that this node opens by itself, the kept ones counted in.
    pub target_outbound: usize,
    /// How many of those lead to one network group.
    pub max_outbound_per_group: usize,
    /// Connections that this node lets others open.
    pub max_inbound: usize,
    /// How many of those may come from one address.
    pub max_inbound_per_address: usize,
    /// Whether private ranges have groups, and addresses a limit, as public ones have.
    pub group_private: bool,
    /// How long a node is banned that has broken a rule for the first time; 0 bans nobody. Only where keys are proven.
    pub ban_ms: u64,
    /// Limits of the mempool.
    pub mempool: MempoolLimits,
    /// The time in which a handshake must end.
    pub handshake_timeout_ms: u64,
    /// The time between two signs of life that are asked for.
    pub ping_interval_ms: u64,
    /// The time without a sign of life after which a session ends.
    pub silent_timeout_ms: u64,
    /// The delay after the first failure of a dial.
    pub retry_min_ms: u64,
    /// The longest delay between two dials.
    pub retry_max_ms: u64,
    /// The time in which a peer must answer a question about headings, and the most for one about blocks.
    pub sync_timeout_ms: u64,
    /// The work that the network is known to have: headings that prove less are not kept, and with less nothing is mined.
    pub minimum_work: Work,
    /// How long the miner's templates may lag behind the mempool.
    pub template_delay_ms: u64,
    /// Whether bodies are dropped that no reorganisation reaches.
    pub prune: bool,
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self {
            key: NodeKey::default(),
            miner: AccountId::default(),
            port: 0,
            agent: concat!("triskel/", env!("CARGO_PKG_VERSION")).to_owned(),
            peers: Vec::new(),
            seeds: Vec::new(),
            mining: true,
            target_outbound: 8,
            max_outbound_per_group: 1,
            max_inbound: 64,
            max_inbound_per_address: 8,
            group_private: false,
            ban_ms: 600_000,
            mempool: MempoolLimits {
                transactions: MAX_MEMPOOL_TRANSACTIONS,
                bytes: MAX_MEMPOOL_BYTES,
                per_sender: MAX_MEMPOOL_PER_SENDER,
                min_fee: 1,
            },
            handshake_timeout_ms: 3_000,
            ping_interval_ms: 10_000,
            silent_timeout_ms: 30_000,
            retry_min_ms: 250,
            retry_max_ms: 30_000,
            sync_timeout_ms: 10_000,
            minimum_work: Work::ZERO,
            template_delay_ms: 250,
            prune: false,
        }
    }
}
