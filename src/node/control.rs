//! What the control interface and the metrics see of a running node, and what they can ask of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::protocol::chain::block::Stream;
use crate::protocol::chain::id::{AccountId, NodeKey, TransactionId};
use crate::protocol::chain::ledger::Account;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::transaction::SharedTransaction;
use crate::protocol::chain::view::{Fault, Record, Tip, View};
use crate::protocol::link::RoundTrip;
use crate::protocol::machine::Ban;
use crate::protocol::machine::io::{Command, Direction};
use crate::protocol::mempool::AdmissionError;

use super::announce::Statistics;
use super::checker::Checker;
use super::links::Links;
use super::memory::Pool;
use super::store::Store;

/// A running node, seen from beside: cheap to clone, valid until the node ends.
#[derive(Clone)]
pub struct Control {
    /// The network.
    pub network: Arc<Network>,
    /// The node's key.
    pub key: NodeKey,
    /// The account that receives what the node mines.
    pub miner: AccountId,
    /// Where peers connect.
    pub listening: SocketAddr,
    /// When the node was started.
    pub started: std::time::Instant,
    /// What is stored.
    pub store: Arc<Store>,
    /// What connections take of the memory.
    pub(super) pool: Arc<Pool>,
    /// The newest published state. What it says is on disk.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Who checks the signatures of what users bring.
    pub(super) checker: Arc<Checker>,
    /// What is done to the node's links and clock.
    pub links: Arc<Links>,
    /// The way to the driver. Closed once the node ends.
    pub orders: mpsc::Sender<Order>,
}

impl Control {
    /// What is shown every few seconds and on request.
    ///
    /// # Errors
    ///
    /// The store failed, or is closed.
    pub fn statistics(&self) -> Result<Statistics, Fault> {
        let snapshot = self.snapshot.borrow().clone();
        Ok(Statistics {
            blocks: snapshot.tip.number,
            transactions: snapshot.tip.transactions,
            balance: self.store.account(&self.miner)?.balance,
            peers: snapshot.sessions.len(),
            mempool: snapshot.mempool_transactions,
        })
    }
}

/// What a node publishes of itself.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The tip and the state after it.
    pub tip: Arc<Tip>,
    /// The tip's place.
    pub record: Arc<Record>,
    /// The sessions that stand.
    pub sessions: Arc<Vec<Session>>,
    /// Waiting transactions.
    pub mempool_transactions: usize,
    /// Their canonical bytes.
    pub mempool_bytes: usize,
    /// Whether the node mines.
    pub mining: bool,
    /// Hashes per second by stream.
    pub hashrate: BTreeMap<Stream, u64>,
    /// Blocks mined since the start, by stream.
    pub mined: BTreeMap<Stream, u64>,
    /// Blocks still to be fetched from a peer; 0 if none.
    pub sync_remaining: u64,
    /// Nodes that are banned.
    pub bans: Vec<Ban>,
    /// How many addresses are known at which nobody was met yet, and at which somebody was.
    pub known_addresses: (usize, usize),
    /// What the connection takes of the memory that takes most, in bytes.
    pub greatest_connection_bytes: usize,
}

/// A session that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The peer's key.
    pub key: NodeKey,
    /// The address at the other end.
    pub remote: SocketAddr,
    /// Who opened the connection.
    pub direction: Direction,
    /// Program and version, as the peer says.
    pub agent: String,
    /// Where the peer accepts connections, as it says.
    pub port: u16,
    /// Since when, on the machine's monotonic clock, in milliseconds.
    pub since_ms: u64,
    /// How long it has stood when the snapshot was taken, in milliseconds.
    pub connected_ms: u64,
    /// How long pings take, once one was answered.
    pub round_trip: Option<RoundTrip>,
    /// Bytes of frames sent over the connection.
    pub sent_bytes: u64,
    /// Bytes of frames received over it.
    pub received_bytes: u64,
    /// Bytes of frames that wait to be sent, or are held back by order.
    pub queued_bytes: u64,
    /// Segments sent while some are lost by order.
    pub segments: u64,
    /// How many of them were.
    pub losses: u64,
    /// The number of the peer's tip, as it says.
    pub claimed_number: u64,
}

/// Something asked of the driver.
#[derive(Debug)]
pub enum Order {
    /// Hands in a transaction. The answer comes once it is on disk.
    Submit {
        /// Checked.
        transaction: SharedTransaction,
        /// The answer.
        reply: oneshot::Sender<Result<TransactionId, AdmissionError>>,
    },
    /// Something for the machine. The answer comes once it is done, and the snapshot shows all that the node did before.
    Command {
        /// What.
        command: Command,
        /// The answer.
        reply: oneshot::Sender<()>,
    },
    /// Sets hashes per second: of one stream, or of all.
    Hashrate {
        /// Which.
        stream: Option<Stream>,
        /// How many.
        hashrate: u64,
    },
    /// Lists the sessions that stand, as they are now: those of the snapshot may be a second old.
    Sessions {
        /// The answer.
        reply: oneshot::Sender<Vec<Session>>,
    },
    /// Lists ids of waiting transactions.
    Mempool {
        /// How many at most.
        limit: usize,
        /// The answer.
        reply: oneshot::Sender<Vec<TransactionId>>,
    },
    /// Finds a waiting transaction.
    Waiting {
        /// Its id.
        id: TransactionId,
        /// The answer.
        reply: oneshot::Sender<Option<SharedTransaction>>,
    },
    /// An account as it is stored, and the nonce that its next transfer should have.
    Account {
        /// Whose.
        id: AccountId,
        /// The answer.
        reply: oneshot::Sender<Result<(Account, u64), Fault>>,
    },
    /// Ends the node.
    Stop,
}
