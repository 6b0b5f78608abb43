//! The control interface: the words of JSON-RPC 2.0 that a node answers, and a client for them.
//!
//! One method is one type that implements [`Method`]; its fields are the named parameters. `tests` and the `testnet` program speak
//! through [`client::Client`], people through curl.

pub mod client;
pub mod conditions;
pub mod dag;
pub mod drawing;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::protocol::chain::id::{BlockId, NodeKey, StateDigest, TransactionId};
use crate::protocol::endpoint::Endpoint;
use crate::protocol::link::{Conditions, RoundTrip};

pub use conditions::NodeConditions;

/// A method of the control interface.
pub trait Method: Serialize + DeserializeOwned + Send {
    /// Its name.
    const NAME: &'static str;
    /// What it answers.
    type Answer: Serialize + DeserializeOwned + Send;
}

macro_rules! methods {
    ($($(#[$doc:meta])* $type:ident = $name:literal { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* } -> $answer:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $type { $($(#[$field_doc])* pub $field: $kind,)* }

            impl Method for $type {
                const NAME: &'static str = $name;
                type Answer = $answer;
            }
        )*

        /// The names of all methods, in the order of the documentation.
        pub const METHODS: &[&str] = &[$($name),*];
    };
}

methods! {
    /// How the node is.
    GetStatus = "status" {} -> Status;
    /// The sessions that stand.
    GetPeers = "peers" {} -> Vec<Peer>;
    /// A block, by id or by its number in the selected order. Exactly one of both.
    GetBlock = "block" {
        /// Its id.
        #[serde(default)]
        id: Option<BlockId>,
        /// Its number.
        #[serde(default)]
        number: Option<u64>,
    } -> Block;
    /// Headers of the selected order.
    GetHeaders = "headers" {
        /// The first number.
        from: u64,
        /// How many, at most 2,000.
        count: u32,
    } -> Vec<Header>;
    /// The end of the order as a DAG, as `node dag` draws it.
    GetDag = "dag" {
        /// How many blocks, from 1 to 2,000; 200 if absent.
        #[serde(default)]
        last: Option<u32>,
    } -> Dag;
    /// A transaction, applied or waiting.
    GetTransaction = "transaction" {
        /// Its id.
        id: TransactionId,
    } -> Transaction;
    /// An account.
    GetAccount = "account" {
        /// Its address.
        address: String,
    } -> Account;
    /// The waiting transactions.
    GetMempool = "mempool" {
        /// How many ids to list at most; 1,000 if absent.
        #[serde(default)]
        limit: Option<u32>,
    } -> Mempool;
    /// Hands in a signed transaction. The answer says that it is in the mempool and on disk.
    SubmitTransaction = "submit_transaction" {
        /// Its canonical bytes, in hexadecimal.
        transaction: String,
    } -> Submitted;
    /// Starts mining.
    StartMining = "start_mining" {} -> ();
    /// Stops mining. The answer says that all blocks of the node's own are in its `status`: none follows.
    StopMining = "stop_mining" {} -> ();
    /// Sets how many hashes per second are spent on a stream.
    SetHashrate = "set_hashrate" {
        /// A, B or C; all streams if absent.
        #[serde(default)]
        stream: Option<String>,
        /// Hashes per second; 0 mines nothing.
        hashrate: u64,
    } -> ();
    /// Keeps a connection to an endpoint from now on.
    Connect = "connect" {
        /// `host:port`.
        endpoint: Endpoint,
    } -> ();
    /// Ends the sessions with a node.
    Disconnect = "disconnect" {
        /// Its key.
        key: NodeKey,
    } -> ();
    /// Sends all peers a Ping, but those that owe an answer. `peers` has the round trips as they come.
    Ping = "ping" {} -> ();
    /// The sum of all balances as they are stored, to be compared with what was issued. It reads every account.
    GetSupply = "supply" {} -> Supply;
    /// What is done to all that this node sends to its peers, and to its machine.
    GetConditions = "conditions" {} -> NodeConditions;
    /// Replaces all that is done to what this node sends to its peers, and to its machine: for testnets that have to bear a bad
    /// environment. It holds at once, also for connections that stand, and after a restart; when it takes away a cut, the node
    /// dials at once whom it lost. What is absent is nothing: without parameters all is well again.
    SetConditions = "set_conditions" {
        /// For peers that are not named.
        #[serde(default)]
        default: Conditions,
        /// For peers by their keys, in place of `default`.
        #[serde(default)]
        peers: BTreeMap<NodeKey, Conditions>,
        /// By how much the node's wall clock is ahead of the system's, in milliseconds; at most a year either way.
        #[serde(default)]
        clock_offset_ms: i64,
        /// Whether the store can write nothing, as on a disk that is full: the node ends as soon as it has to.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        disk_full: bool,
        /// Whether no name of a seed is resolved.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        seed_outage: bool,
    } -> ();
    /// Ends the node. The answer comes before the end.
    Stop = "stop" {} -> ();
}

/// Answers [`GetStatus`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The network's name.
    pub network: String,
    /// The id of genesis.
    pub network_id: BlockId,
    /// The node's key.
    pub key: NodeKey,
    /// The address that receives what this node mines.
    pub miner: String,
    /// What that address holds, in units.
    pub balance: u64,
    /// The TCP port for peers.
    pub port: u16,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Blocks in the order, genesis left out.
    pub blocks: u64,
    /// How many of them are red.
    pub red: u64,
    /// The youngest block of the selected chain.
    pub tip: Header,
    /// What the next block names as parents.
    pub parents: Vec<BlockId>,
    /// The digest of all accounts after the tip.
    pub state_digest: StateDigest,
    /// Units issued so far.
    pub issued: u64,
    /// Transactions applied since genesis.
    pub transactions: u64,
    /// Sessions that peers opened.
    pub peers_inbound: u32,
    /// Sessions that this node opened.
    pub peers_outbound: u32,
    /// Waiting transactions.
    pub mempool_transactions: u64,
    /// Their canonical bytes.
    pub mempool_bytes: u64,
    /// Whether the node mines.
    pub mining: bool,
    /// Hashes per second by stream.
    pub hashrate: BTreeMap<String, u64>,
    /// Blocks that this node mined since its start, by stream.
    pub mined: BTreeMap<String, u64>,
    /// Blocks that are still to be fetched from a peer; 0 if none.
    pub sync_remaining: u64,
    /// Bodies of blocks up to this number are dropped; 0 if all are kept.
    pub pruned: u64,
    /// Nodes that are banned because they broke a rule in a way that they cannot deny.
    #[serde(default)]
    pub bans: Vec<Ban>,
}

/// A node that is banned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Its key.
    pub key: NodeKey,
    /// Its faults that are not forgotten.
    pub faults: u32,
    /// Milliseconds until the ban ends.
    pub remaining_ms: u64,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// The peer's key.
    pub key: NodeKey,
    /// The address at the other end.
    pub remote: String,
    /// Whether the peer opened the connection.
    pub inbound: bool,
    /// Program and version, as the peer says.
    pub agent: String,
    /// Where the peer accepts connections, as it says; 0 if nowhere.
    pub port: u16,
    /// Milliseconds since the session stands.
    pub connected_ms: u64,
    /// How long pings take, once one was answered.
    pub round_trip: Option<RoundTrip>,
    /// Bytes of frames sent in this session.
    pub sent_bytes: u64,
    /// Bytes of frames received in this session.
    pub received_bytes: u64,
    /// Bytes of frames that wait to be sent, or are held back by [`Conditions`].
    #[serde(default)]
    pub queued_bytes: u64,
    /// Segments sent in this session while [`Conditions`] had some of them lost.
    pub segments: u64,
    /// How many of them were lost.
    pub losses: u64,
    /// The number of the peer's tip, as it says.
    pub claimed_number: u64,
}

/// A block's header, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its id.
    pub id: BlockId,
    /// Its position in the order.
    pub number: u64,
    /// A, B or C.
    pub stream: String,
    /// Its parents.
    pub parents: Vec<BlockId>,
    /// When its miner found it, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// Its target, in compact form.
    pub bits: u32,
    /// What its miner searched for.
    pub nonce: u64,
    /// Total work, in hexadecimal.
    pub work: String,
    /// The digest of all accounts before it.
    pub state_digest: StateDigest,
}

/// Answers [`GetBlock`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Header and place.
    #[serde(flatten)]
    pub header: Header,
    /// Whether it is in the selected order.
    pub selected: bool,
    /// The address that receives reward and fees.
    pub miner: String,
    /// Units of reward that its stream pays.
    pub reward: u64,
    /// Canonical bytes.
    pub size: u64,
    /// Transactions, in order.
    pub transactions: Vec<TransactionId>,
}

/// Answers [`GetDag`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dag {
    /// The network's name.
    pub network: String,
    /// GHOSTDAG's k.
    pub k: u16,
    /// The last blocks of the order, in order. Between two blocks of the selected chain stand those that the second merges; behind
    /// the last of the chain, those that the next block will merge.
    pub blocks: Vec<DagBlock>,
    /// Blocks as young as these that are not in the order, the oldest first: not mergeable any more, or not yet.
    pub beside: Vec<DagBlock>,
    /// What the next block names as parents.
    pub parents: Vec<BlockId>,
}

/// A block in a DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DagBlock {
    /// Its id.
    pub id: BlockId,
    /// Its position in the order; absent if it has none.
    pub number: Option<u64>,
    /// A, B or C.
    pub stream: String,
    /// Its parents.
    pub parents: Vec<BlockId>,
    /// Which of them it continues. Genesis names itself.
    pub selected_parent: BlockId,
    /// What the order counts it as; absent if it is not in the order.
    pub colour: Option<DagColour>,
    /// Whether it is in the selected chain.
    pub chain: bool,
    /// When its miner found it, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// The address that receives its reward; absent if its body is dropped.
    pub miner: Option<String>,
    /// How many transactions it holds; absent if its body is dropped.
    pub transactions: Option<u32>,
}

/// A colour of GHOSTDAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DagColour {
    /// Well connected: rewarded, and its work counts.
    Blue,
    /// Too many blue blocks have never seen it, nor it them: merged without reward.
    Red,
}

/// Answers [`GetTransaction`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Its id.
    pub id: TransactionId,
    /// The address that pays.
    pub sender: String,
    /// The address that receives.
    pub recipient: String,
    /// Units moved.
    pub amount: u64,
    /// Units for the miner.
    pub fee: u64,
    /// The number of transfers that the sender made before.
    pub nonce: u64,
    /// Where it was applied; absent while it waits.
    pub applied: Option<Applied>,
}

/// Where a transaction was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The block.
    pub block: BlockId,
    /// The block's number.
    pub number: u64,
    /// The index in the block.
    pub index: u32,
}

/// Answers [`GetAccount`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its address.
    pub address: String,
    /// Units.
    pub balance: u64,
    /// Transfers applied.
    pub nonce: u64,
    /// The nonce that the next transfer should have, counting those that wait.
    pub next_nonce: u64,
}

/// Answers [`GetMempool`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mempool {
    /// Waiting transactions.
    pub transactions: u64,
    /// Their canonical bytes.
    pub bytes: u64,
    /// Ids, by sender and nonce, at most as many as asked for.
    pub ids: Vec<TransactionId>,
}

/// Answers [`GetSupply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supply {
    /// Blocks in the order after which the accounts are so.
    pub blocks: u64,
    /// Accounts that are not empty.
    pub accounts: u64,
    /// What they hold together, in units.
    pub balances: u64,
    /// Units issued by genesis and rewards. The same number, or the node is wrong.
    pub issued: u64,
}

/// Answers [`SubmitTransaction`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// The transaction's id.
    pub id: TransactionId,
}

/// Codes of errors beside those of JSON-RPC 2.0.
pub mod code {
    /// The bytes are not JSON.
    pub const PARSE: i32 = -32_700;
    /// Not a request.
    pub const INVALID_REQUEST: i32 = -32_600;
    /// No such method.
    pub const METHOD_NOT_FOUND: i32 = -32_601;
    /// The parameters do not fit the method.
    pub const INVALID_PARAMS: i32 = -32_602;
    /// The node failed.
    pub const INTERNAL: i32 = -32_603;
    /// No such block, transaction or peer.
    pub const NOT_FOUND: i32 = -32_001;
    /// The transaction does not enter the mempool; the message says why.
    pub const REFUSED: i32 = -32_002;
}
