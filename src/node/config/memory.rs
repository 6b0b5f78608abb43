//! What a configuration takes in memory, part by part, against the ceilings that it names.

use super::{ConfigError, NodeConfig};
use crate::node::http;
use crate::node::memory::{ANSWERS, BYTES_IN_MEMORY, Ceilings, MIN_PEER_BYTES};
use crate::protocol::chain::params::Network;
use crate::protocol::wire::limits::{
    MAX_FRAME, MAX_HELD_TRANSACTIONS, MAX_HOLDERS, MAX_ORPHAN_BYTES, MAX_SYNC_BYTES, MIN_HANDSHAKES,
};

/// The program, its threads and its metrics: a node that has just started takes 20 MiB.
const PROGRAM_BYTES: usize = 32 << 20;

/// What of the store is in memory beside its cache: what sled writes, the accounts that were used last.
const STORE_BYTES: usize = 16 << 20;

/// An answer that is read from the store: a block with its transactions, the message, and its frame, in a buffer that doubles as it
/// grows.
const ANSWER_BYTES: usize = (BYTES_IN_MEMORY + 1 + 2 + 1) * MAX_FRAME;

/// A block of the young part of the DAG.
const DAG_BLOCK_BYTES: usize = 1 << 10;

/// A waiting transaction: itself, and its places in the orders by sender and by fee. 674 bytes were counted.
pub const MEMPOOL_TRANSACTION_BYTES: usize = 768;

/// What the machine remembers of a session: transactions that are wanted from it, asked for, told of. 536,971 bytes were counted.
pub const SESSION_BYTES: usize = 768 << 10;

/// A connection: its task, its handshake, and what it reads into.
pub const CONNECTION_BYTES: usize = 64 << 10;

impl NodeConfig {
    /// How much memory the node may take.
    ///
    /// # Errors
    ///
    /// The ceilings are below what the configuration needs.
    pub fn ceilings(&self, network: &Network) -> Result<Ceilings, ConfigError> {
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        let bytes = |mib: u64| (mib as usize).saturating_mul(1 << 20);
        let (node_bytes, peer_bytes) = (bytes(self.memory.node_mib), bytes(self.memory.peer_mib));
        ConfigError::ensure(
            peer_bytes >= MIN_PEER_BYTES,
            "memory.peer_mib",
            self.memory.peer_mib,
            format!(
                "at least {}, for the largest message in each direction",
                mib(MIN_PEER_BYTES)
            ),
        )?;
        let parts = self.parts(network);
        let rest: usize = parts.iter().map(|(_, bytes)| bytes).sum();
        // An eighth of all of it is what the allocator holds between: so all of it is eight sevenths of the parts.
        let least = mib((rest + peer_bytes) / 7 * 8);
        ConfigError::ensure(
            node_bytes >> 20 >= least,
            "memory.node_mib",
            self.memory.node_mib,
            format!(
                "at least {least}: an eighth for the allocator, memory.peer_mib {}, {}",
                mib(peer_bytes),
                parts
                    .map(|(name, bytes)| format!("{name} {}", mib(bytes)))
                    .join(", "),
            ),
        )?;
        Ok(Ceilings {
            node_bytes,
            peer_bytes,
            peers_bytes: node_bytes / 8 * 7 - rest,
        })
    }

    /// How many file descriptors the node may need: for connections, for clients of the control interface and the metrics, for the
    /// store and the log.
    pub fn descriptors(&self) -> u64 {
        const CLIENTS: usize = 2 * http::MAX_CONNECTIONS;
        const FILES: usize = 64;
        (self.connections() + CLIENTS + FILES) as u64
    }

    /// How many connections there may be: sessions, and those that have not greeted.
    fn connections(&self) -> usize {
        let peer = &self.peer;
        let outbound = peer.target_outbound + self.peers.len();
        peer.max_inbound + peer.max_inbound.max(MIN_HANDSHAKES) + 2 * outbound
    }

    /// What the node takes beside its connections, at most.
    fn parts(&self, network: &Network) -> [(&'static str, usize); 9] {
        let sessions = self.peer.max_inbound + self.peer.target_outbound + self.peers.len();
        let blocks = network.limits().window() as usize;
        let cache = (self.store.cache_mib as usize).saturating_mul(2 << 20);
        [
            ("the program", PROGRAM_BYTES),
            (
                "twice store.cache_mib and what is beside it",
                cache.saturating_add(STORE_BYTES),
            ),
            (
                "mempool.max_transactions",
                self.mempool.max_transactions * MEMPOOL_TRANSACTION_BYTES,
            ),
            (
                "blocks that may still change their order",
                blocks * DAG_BLOCK_BYTES,
            ),
            (
                "blocks that wait for their parents",
                BYTES_IN_MEMORY * MAX_ORPHAN_BYTES,
            ),
            ("blocks of catching up", BYTES_IN_MEMORY * MAX_SYNC_BYTES),
            ("answers", ANSWERS * ANSWER_BYTES),
            (
                "who has which transaction",
                MAX_HELD_TRANSACTIONS * (8 * MAX_HOLDERS + 128),
            ),
            (
                "sessions and handshakes by peer.max_inbound",
                sessions * SESSION_BYTES + self.connections() * CONNECTION_BYTES,
            ),
        ]
    }
}
