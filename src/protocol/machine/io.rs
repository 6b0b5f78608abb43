//! The boundary: every fact that can reach the machine, and every order that it can give.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::protocol::chain::block::{Block, Stream};
use crate::protocol::chain::id::{AccountId, BlockId, NodeKey, TransactionId};
use crate::protocol::chain::template::Template;
use crate::protocol::chain::transaction::SharedTransaction;
use crate::protocol::chain::view::Batch;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::mempool::AdmissionError;
use crate::protocol::wire::message::{Message, MessageError, OtherTransport, Received};

/// One connection. Numbered by the driver and never used again: addresses are shared and change, connections do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// A question of a user of this node, by which the answer finds its way back. Numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The peer did.
    Inbound,
    /// This node did.
    Outbound,
}

/// A fact about the world.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection stands.
    Connected {
        /// Its name from now on.
        conn: ConnId,
        /// What was dialled; `None` for a connection that the peer opened.
        dialled: Option<Endpoint>,
        /// The address at the other end.
        remote: SocketAddr,
    },
    /// A dial failed.
    Refused {
        /// What was dialled.
        endpoint: Endpoint,
    },
    /// A connection has ended, whoever ended it.
    Disconnected {
        /// Which.
        conn: ConnId,
    },
    /// A message arrived, read and checked.
    Message {
        /// From where.
        conn: ConnId,
        /// What.
        message: Received,
    },
    /// Something arrived that cannot be read, or that no honest node sends. Nothing more is read from this connection.
    Malformed {
        /// From where.
        conn: ConnId,
        /// What is wrong with it.
        error: MessageError,
    },
    /// Too much waits for the peer, or of it: something was dropped, or the memory of all connections is full.
    Slow {
        /// Which connection.
        conn: ConnId,
    },
    /// A seed's name was looked up.
    Resolved {
        /// The seed.
        seed: Endpoint,
        /// What stands behind it; empty if nothing does, or the lookup failed.
        addresses: Vec<SocketAddr>,
    },
    /// The miner found a block. Nothing comes of it once the node does not mine any more.
    Solved {
        /// The block.
        block: Arc<Block>,
    },
    /// A user of this node hands in a transaction. Answered by [`Effect::Answer`].
    Submitted {
        /// Where the answer goes.
        ticket: Ticket,
        /// The transaction.
        transaction: SharedTransaction,
    },
    /// The operator wants something.
    Command(Command),
    /// The moment that [`next_deadline`](super::Machine::next_deadline) named has come.
    Wake,
}

/// What an operator can order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Starts or stops mining.
    Mine(bool),
    /// Keeps a connection to this endpoint from now on.
    Connect(Endpoint),
    /// Ends the sessions with this node and no longer dials where they were dialled.
    Disconnect(NodeKey),
    /// Asks all peers for a sign of life now, to measure round trips.
    Ping,
    /// Dials at once what could not be reached: the operator says that it can be now.
    Redial,
}

/// Why this node ends a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No `Hello` in time.
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// No sign of life in time.
    #[error("no sign of life")]
    Silent,
    /// The peer does not read as fast as it is written to, or leaves most of all undone while there is no memory for more.
    #[error("too much waits for the peer, or of it")]
    Slow,
    /// The connection leads to this very node.
    #[error("a connection to myself")]
    Itself,
    /// Another connection to the same node is kept.
    #[error("a second connection to the same node")]
    Duplicate,
    /// All places for inbound sessions are taken by peers that are worth more than a stranger.
    #[error("no place for another inbound session")]
    Full,
    /// Too many inbound connections come from one address.
    #[error("too many connections from one address")]
    Crowded,
    /// Another inbound connection got the place.
    #[error("the place was given to another peer")]
    Displaced,
    /// The connection was opened to see whether a node is there. One is.
    #[error("the address was only tested")]
    Tested,
    /// Another outbound connection has taken the place, to an endpoint that this node keeps.
    #[error("one outbound connection more than wanted")]
    Surplus,
    /// The peer has broken the rules lately.
    #[error("the peer is banned for another {0} ms")]
    Banned(u64),
    /// The peer is of another network.
    #[error("the peer is of network {0:.12}")]
    OtherNetwork(BlockId),
    /// The peer speaks another version.
    #[error("the peer speaks protocol version {0}")]
    OtherVersion(u32),
    /// The peer speaks in another way.
    #[error(transparent)]
    OtherTransport(OtherTransport),
    /// The operator said so.
    #[error("ordered by the operator")]
    Ordered,
    /// The peer broke the rules in a way that it cannot deny.
    #[error("the peer broke the rules: {0}")]
    Fault(String),
}

impl Reason {
    /// A fixed word, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::Itself => "itself",
            Self::Duplicate => "duplicate",
            Self::Full => "full",
            Self::Crowded => "crowded",
            Self::Displaced => "displaced",
            Self::Tested => "tested",
            Self::Surplus => "surplus",
            Self::Banned(_) => "banned",
            Self::OtherNetwork(_) => "other_network",
            Self::OtherVersion(_) => "other_version",
            Self::OtherTransport(other) => other.label(),
            Self::Ordered => "ordered",
            Self::Fault(_) => "fault",
        }
    }
}

impl From<MessageError> for Reason {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Transport(other) => Self::OtherTransport(other),
            error => Self::Fault(error.to_string()),
        }
    }
}

/// An old part of the chain that a peer asks for. Read from the store when the connection is ready for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// See [`Message::RequestBlocks`].
    Blocks {
        /// The first number wanted.
        from_block: u64,
        /// How many.
        count: u32,
    },
    /// See [`Message::RequestBlocksById`].
    BlocksById {
        /// Which.
        ids: Vec<BlockId>,
    },
    /// See [`Message::RequestHeaders`].
    Headers {
        /// Ids, youngest first.
        locator: Vec<BlockId>,
    },
    /// See [`Message::RequestAccounts`].
    Accounts {
        /// The block before which the accounts are wanted; zero if nothing is settled.
        block: BlockId,
        /// Where the page before ended.
        after: Option<AccountId>,
    },
}

/// An order to the driver. Orders are performed in the order in which they were given.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Makes all changes durable, as a whole. What comes after it in the outbox waits until that has happened.
    Persist(Box<Batch>),
    /// Sends one message to some connections. A connection that cannot take it is reported as [`Input::Slow`].
    Send {
        /// To whom.
        to: Vec<ConnId>,
        /// What.
        message: Message,
    },
    /// Answers a peer's request from the store, by [`serve`](super::serve::serve).
    Serve {
        /// To whom.
        to: ConnId,
        /// What was asked.
        request: Request,
    },
    /// Opens a connection. Answered by `Connected` or `Refused`.
    Dial(Endpoint),
    /// Looks up a seed. Answered by `Resolved`.
    Resolve(Endpoint),
    /// Ends a connection after what was sent to it. Answered by `Disconnected`.
    Disconnect {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: Reason,
    },
    /// Replaces what the miner works on; nothing at all stops it.
    Mine(Vec<Template>),
    /// Answers `Submitted`.
    Answer {
        /// The question.
        ticket: Ticket,
        /// The transaction is in the mempool and on disk, or why not.
        result: Result<TransactionId, AdmissionError>,
    },
    /// Something happened that people and metrics want to know.
    Notify(Event),
}

/// Where a block came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This node mined it.
    Mined,
    /// A peer passed it on as new.
    Relayed(NodeKey),
    /// A peer answered a request for it.
    Synced(NodeKey),
}

impl Origin {
    /// A fixed word, for logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Mined => "mined",
            Self::Relayed(_) => "relayed",
            Self::Synced(_) => "synced",
        }
    }
}

/// What it took to have all of a block that came in compact form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    /// Nothing: all transactions were here.
    AtOnce,
    /// Asking for those that were not.
    AfterRound,
    /// Asking for the whole block: short ids collided, or the answer did not fit.
    Whole,
}

impl Rebuilt {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AtOnce, Self::AfterRound, Self::Whole];

    /// A fixed word, for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::AtOnce => "at_once",
            Self::AfterRound => "after_round",
            Self::Whole => "whole",
        }
    }
}

/// Something that people and metrics want to know.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session stands.
    PeerJoined {
        /// The connection.
        conn: ConnId,
        /// The peer.
        key: NodeKey,
        /// Who opened the connection.
        direction: Direction,
        /// The address at the other end.
        remote: SocketAddr,
        /// How long the handshake took, in milliseconds.
        handshake_ms: u64,
    },
    /// A session has ended.
    PeerLeft {
        /// The connection.
        conn: ConnId,
        /// The peer.
        key: NodeKey,
        /// Why, if this node ended it.
        reason: Option<Reason>,
    },
    /// A peer has answered a ping.
    RoundTrip {
        /// The connection.
        conn: ConnId,
        /// How long it took, in microseconds.
        round_trip_us: u64,
    },
    /// A connection ended before a session stood.
    HandshakeFailed {
        /// The connection.
        conn: ConnId,
        /// The address at the other end.
        remote: SocketAddr,
        /// Why, if this node ended it.
        reason: Option<Reason>,
    },
    /// A dial failed; another follows.
    DialFailed {
        /// What was dialled.
        endpoint: Endpoint,
        /// When it is dialled again, in milliseconds from now.
        retry_ms: u64,
    },
    /// A node is banned: it has broken a rule in a way that it cannot deny.
    Banned {
        /// The node.
        key: NodeKey,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// A peer told of more addresses than it may: these were not looked at.
    AddressesRefused {
        /// How many.
        count: usize,
    },
    /// A block was taken in at its place; what it leads to follows.
    BlockAccepted {
        /// The block.
        block: Arc<Block>,
        /// How many blocks are in its past: its position in the order, if it is in the selected chain.
        number: u64,
        /// Where it came from.
        origin: Origin,
        /// Units of reward that its stream pays.
        reward: u64,
        /// Milliseconds between the block's timestamp and this node's clock; negative clocks count as 0.
        age_ms: u64,
    },
    /// A peer has sent a block in compact form.
    BlockRebuilt {
        /// What it took to have all of it.
        rebuilt: Rebuilt,
    },
    /// A block was not taken in.
    BlockRejected {
        /// Its id.
        id: BlockId,
        /// Its stream.
        stream: Stream,
        /// Where it came from.
        origin: Origin,
        /// A fixed word for the reason.
        label: &'static str,
        /// The reason.
        reason: String,
    },
    /// The order changed.
    TipChanged {
        /// The youngest block of the selected chain.
        id: BlockId,
        /// The last position in the order.
        number: u64,
        /// The stream of the last block that changed it.
        stream: Stream,
        /// Where that came from.
        origin: Origin,
        /// The depth of a reorganisation: how many blocks left the selected chain. 0 if no more did than are parallel anyway, k.
        abandoned: usize,
        /// How many blocks were undone.
        undone: usize,
        /// How many blocks were applied.
        applied: usize,
        /// Transactions in the blocks applied.
        transactions: usize,
    },
    /// A transaction entered the mempool.
    TransactionAdmitted {
        /// Its id.
        id: TransactionId,
        /// Whether a user of this node handed it in; otherwise a peer passed it on.
        own: bool,
    },
    /// A transaction did not enter the mempool.
    TransactionRefused {
        /// A fixed word for the reason.
        label: &'static str,
    },
    /// What peers have more is being fetched, or that has ended.
    Sync {
        /// Blocks still to be fetched, as far as headings have shown them; 0 if it has ended.
        remaining: u64,
    },
    /// A peer has dropped blocks that this node would need first: there is no catching up from it.
    OutOfReach {
        /// The peer.
        key: NodeKey,
        /// The address at the other end.
        remote: SocketAddr,
        /// The blocks up to this number are dropped there.
        pruned: u64,
        /// The last number here.
        number: u64,
    },
}

/// Orders, in the order in which they must be performed.
#[derive(Debug, Default)]
pub struct Outbox(pub Vec<Effect>);

impl Outbox {
    /// Adds an order.
    pub fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }
}
