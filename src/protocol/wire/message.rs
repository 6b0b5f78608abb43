//! The messages, as they travel and as the machine receives them.
//!
//! [`Message`] is what is on the wire: blocks, headers and transactions are opaque canonical bytes inside a bincode envelope.
//! [`Message::check`] turns it into [`Received`], in which they have been read, and their work and signatures checked.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bincode::{Decode, Encode};

use super::limits;
use crate::protocol::chain::block::{Block, BlockError, Heading};
use crate::protocol::chain::id::{AccountId, BlockId, NodeKey, TransactionId};
use crate::protocol::chain::ledger::Account;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::transaction::{SharedTransaction, Transaction, TransactionError};
use crate::protocol::chain::work::Work;

/// The version of this protocol. Nodes of different versions part at the handshake.
pub const PROTOCOL_VERSION: u32 = 2;

/// What a peer says of its chain. A claim: it leads to questions, never to decisions.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// The work of the tip.
    pub work: Work,
    /// The youngest block of the selected chain.
    pub tip: BlockId,
    /// The last position in the order, for people.
    pub number: u64,
    /// The other parents of the block that would be found next.
    pub beside: Vec<BlockId>,
    /// Blocks of the order up to this number are not served; 0 if all are.
    pub pruned: u64,
}

impl Claim {
    /// All blocks that the claim names. Everything that is ordered is in their past.
    pub fn tips(&self) -> impl Iterator<Item = BlockId> {
        std::iter::once(self.tip).chain(self.beside.iter().copied())
    }
}

/// The first message in each direction.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The id of genesis.
    pub network: BlockId,
    /// Who is speaking.
    pub key: NodeKey,
    /// Chosen anew at each start of the node.
    pub nonce: u64,
    /// Where the speaker accepts connections; 0 if nowhere.
    pub port: u16,
    /// The speaker's chain.
    pub claim: Claim,
    /// Bit flags; none is defined yet, unknown ones are ignored.
    pub features: u64,
    /// Program and version, for people.
    pub agent: String,
}

/// An address in `Peers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PeerAddress {
    /// IPv6, or IPv4 mapped into it.
    pub ip: [u8; 16],
    /// TCP port.
    pub port: u16,
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self {
            ip: ip.octets(),
            port: address.port(),
        }
    }
}

impl From<PeerAddress> for SocketAddr {
    fn from(address: PeerAddress) -> Self {
        Self::new(Ipv6Addr::from(address.ip).to_canonical(), address.port)
    }
}

/// A message on the wire. The order of the variants is part of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// Opens a session.
    Hello(Hello),
    /// Asks for a `Pong`, and tells of one's chain.
    Ping {
        /// Comes back in the `Pong`.
        nonce: u64,
        /// The speaker's chain.
        claim: Claim,
    },
    /// Answers a `Ping`.
    Pong {
        /// From the `Ping`.
        nonce: u64,
        /// The speaker's chain.
        claim: Claim,
    },
    /// Asks for addresses.
    RequestPeers,
    /// Answers `RequestPeers`.
    Peers(Vec<PeerAddress>),
    /// Passes a new block on.
    NewBlock(Arc<[u8]>),
    /// Passes a new transaction on.
    NewTransaction(Arc<[u8]>),
    /// Asks for blocks of the order by number.
    RequestBlocks {
        /// The first number wanted.
        from_block: u64,
        /// How many; the answer may hold fewer.
        count: u32,
    },
    /// Answers `RequestBlocks` and `RequestBlocksById`, in the order of the question; empty if there are none.
    Blocks {
        /// The number that was asked for; 0 if the question was for ids.
        from_block: u64,
        /// Canonical bytes.
        blocks: Vec<Arc<[u8]>>,
    },
    /// Asks for the headers that follow the first block of the locator that is in the answering node's selected chain.
    RequestHeaders {
        /// Ids of the asking node's selected chain, youngest first.
        locator: Vec<BlockId>,
    },
    /// Answers `RequestHeaders`, in order.
    Headers {
        /// The number of the first header.
        from_block: u64,
        /// Canonical bytes of headers with their parents.
        headers: Vec<Vec<u8>>,
        /// Whether more follow.
        more: bool,
    },
    /// Asks for blocks by their ids.
    RequestBlocksById {
        /// Which, parents before children.
        ids: Vec<BlockId>,
    },
    /// Asks for the accounts before a settled block, which are those that its header commits to.
    RequestAccounts {
        /// The block; whichever the answering node chooses if absent.
        block: Option<BlockId>,
        /// The last account of the page before.
        after: Option<AccountId>,
    },
    /// Answers `RequestAccounts`.
    Accounts {
        /// The block; zero if nothing is settled yet, or the wanted block is not served.
        block: BlockId,
        /// Those that are not empty, ascending.
        accounts: Vec<(AccountId, Account)>,
        /// Whether more follow.
        more: bool,
    },
}

impl Message {
    /// A short name, for metrics and logs.
    pub fn name(&self) -> &'static str {
        MESSAGE_NAMES[self.kind()]
    }

    /// The index of the variant, as on the wire.
    pub fn kind(&self) -> usize {
        match self {
            Self::Hello(_) => 0,
            Self::Ping { .. } => 1,
            Self::Pong { .. } => 2,
            Self::RequestPeers => 3,
            Self::Peers(_) => 4,
            Self::NewBlock(_) => 5,
            Self::NewTransaction(_) => 6,
            Self::RequestBlocks { .. } => 7,
            Self::Blocks { .. } => 8,
            Self::RequestHeaders { .. } => 9,
            Self::Headers { .. } => 10,
            Self::RequestBlocksById { .. } => 11,
            Self::RequestAccounts { .. } => 12,
            Self::Accounts { .. } => 13,
        }
    }

    /// Reads what is inside and checks everything that needs no state: counts, proof of work, commitments, signatures.
    pub fn check(self, network: &Network) -> Result<Received, MessageError> {
        self.check_knowing(network, &|_| false)
    }

    /// The same, without the signatures of transactions that `is_checked` says were checked before.
    pub fn check_knowing(
        self,
        network: &Network,
        is_checked: &dyn Fn(&TransactionId) -> bool,
    ) -> Result<Received, MessageError> {
        let block = |bytes| Block::decode_knowing(bytes, network, is_checked).map(Arc::new);
        Ok(match self {
            Self::Hello(hello) => {
                count("agent bytes", hello.agent.len(), limits::MAX_AGENT_BYTES)?;
                check_claim(&hello.claim)?;
                Received::Hello(hello)
            }
            Self::Ping { nonce, claim } => {
                check_claim(&claim)?;
                Received::Ping { nonce, claim }
            }
            Self::Pong { nonce, claim } => {
                check_claim(&claim)?;
                Received::Pong { nonce, claim }
            }
            Self::RequestPeers => Received::RequestPeers,
            Self::Peers(peers) => {
                count("peers", peers.len(), limits::MAX_PEERS)?;
                Received::Peers(peers.into_iter().map(SocketAddr::from).collect())
            }
            Self::NewBlock(bytes) => Received::NewBlock(block(bytes)?),
            Self::NewTransaction(bytes) => {
                let transaction = Transaction::decode_knowing(&bytes, &network.id(), is_checked)?;
                Received::NewTransaction(Arc::new(transaction))
            }
            Self::RequestBlocks { from_block, count } => {
                Received::RequestBlocks { from_block, count }
            }
            Self::Blocks { from_block, blocks } => {
                count("blocks", blocks.len(), limits::MAX_BLOCKS)?;
                let blocks = blocks.into_iter().map(block).collect::<Result<_, _>>()?;
                Received::Blocks { from_block, blocks }
            }
            Self::RequestHeaders { locator } => {
                count("locator", locator.len(), limits::MAX_LOCATOR)?;
                Received::RequestHeaders { locator }
            }
            Self::RequestBlocksById { ids } => {
                count("ids", ids.len(), limits::MAX_BLOCKS)?;
                Received::RequestBlocksById { ids }
            }
            Self::RequestAccounts { block, after } => Received::RequestAccounts { block, after },
            Self::Accounts {
                block,
                accounts,
                more,
            } => {
                count("accounts", accounts.len(), limits::MAX_ACCOUNTS)?;
                if !accounts.is_sorted_by(|(id, _), (next, _)| id < next) {
                    return Err(MessageError::Order);
                }
                Received::Accounts {
                    block,
                    accounts,
                    more,
                }
            }
            Self::Headers {
                from_block,
                headers,
                more,
            } => {
                count("headers", headers.len(), limits::MAX_HEADERS)?;
                let decode = |bytes: Vec<u8>| Heading::decode(&bytes, network);
                let headers = headers.into_iter().map(decode).collect::<Result<_, _>>()?;
                Received::Headers {
                    from_block,
                    headers,
                    more,
                }
            }
        })
    }
}

/// Names of the message kinds, by their index on the wire.
pub const MESSAGE_NAMES: [&str; 14] = [
    "hello",
    "ping",
    "pong",
    "request_peers",
    "peers",
    "new_block",
    "new_transaction",
    "request_blocks",
    "blocks",
    "request_headers",
    "headers",
    "request_blocks_by_id",
    "request_accounts",
    "accounts",
];

fn check_claim(claim: &Claim) -> Result<(), MessageError> {
    count("tips", claim.beside.len(), limits::MAX_BESIDE)
}

fn count(what: &'static str, count: usize, limit: usize) -> Result<(), MessageError> {
    if count > limit {
        Err(MessageError::Count { what, count, limit })
    } else {
        Ok(())
    }
}

/// Why two nodes cannot read each other. Nobody's fault: they are set up differently, or bytes were changed on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherTransport {
    /// This node speaks noise, the peer something else.
    #[error("the peer does not speak noise, as this node does: set peer.transport alike on both")]
    Plain,
    /// This node speaks plain, the peer noise.
    #[error("the peer speaks noise, this node plain: set peer.transport alike on both")]
    Noise,
    /// The peer has a pre-shared key, this node has none.
    #[error(
        "the peer's network is closed with a pre-shared key, this node has none: set peer.preshared_key_file"
    )]
    Closed,
    /// This node has a pre-shared key, the peer has none.
    #[error("the peer has no pre-shared key, with which this node's network is closed")]
    Open,
    /// Both have a pre-shared key, and not the same.
    #[error(
        "the peer has another pre-shared key: peer.preshared_key_file differs, or the network is not one's own"
    )]
    OtherKey,
    /// What arrived was changed on its way, or not made for this connection.
    #[error("what the peer sent cannot be deciphered: something between both has changed it")]
    Undecipherable,
}

impl OtherTransport {
    /// A fixed word, for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Plain | Self::Noise => "other_transport",
            Self::Closed | Self::Open | Self::OtherKey => "other_preshared_key",
            Self::Undecipherable => "undecipherable",
        }
    }
}

/// Why bytes are not a message, or a message is not one that an honest node sends. Provable in each case but the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The peer's transport is another: nothing that it sends can be read.
    #[error(transparent)]
    Transport(#[from] OtherTransport),
    /// The key that the peer gives for its own is not the one that it has proven.
    #[error("the key {claimed:.12} is claimed and not proven")]
    Unproven {
        /// The key.
        claimed: NodeKey,
    },
    /// A frame longer than allowed at this point.
    #[error("a frame of {length} bytes, allowed are {limit}")]
    TooLong {
        /// What the length prefix says.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// bincode refuses the bytes.
    #[error("not a message: {0}")]
    Encoding(String),
    /// Bytes follow the message in its frame.
    #[error("{0} bytes follow the message in its frame")]
    Trailing(usize),
    /// A list longer than allowed.
    #[error("{count} {what}, allowed are {limit}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Accounts that do not ascend.
    #[error("accounts that are not in ascending order")]
    Order,
    /// A block or header that cannot be part of this network.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A transaction that no block may carry.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
}

/// A message whose content has been read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `Message`")]
pub enum Received {
    /// See [`Message::Hello`].
    Hello(Hello),
    /// See [`Message::Ping`].
    Ping { nonce: u64, claim: Claim },
    /// See [`Message::Pong`].
    Pong { nonce: u64, claim: Claim },
    /// See [`Message::RequestPeers`].
    RequestPeers,
    /// See [`Message::Peers`].
    Peers(Vec<SocketAddr>),
    /// See [`Message::NewBlock`].
    NewBlock(Arc<Block>),
    /// See [`Message::NewTransaction`].
    NewTransaction(SharedTransaction),
    /// See [`Message::RequestBlocks`].
    RequestBlocks { from_block: u64, count: u32 },
    /// See [`Message::Blocks`].
    Blocks {
        from_block: u64,
        blocks: Vec<Arc<Block>>,
    },
    /// See [`Message::RequestHeaders`].
    RequestHeaders { locator: Vec<BlockId> },
    /// See [`Message::Headers`].
    Headers {
        from_block: u64,
        headers: Vec<Heading>,
        more: bool,
    },
    /// See [`Message::RequestBlocksById`].
    RequestBlocksById { ids: Vec<BlockId> },
    /// See [`Message::RequestAccounts`].
    RequestAccounts {
        block: Option<BlockId>,
        after: Option<AccountId>,
    },
    /// See [`Message::Accounts`].
    Accounts {
        block: BlockId,
        accounts: Vec<(AccountId, Account)>,
        more: bool,
    },
}

impl Received {
    /// Whether blocks are inside, whose applying takes time.
    pub fn has_blocks(&self) -> bool {
        matches!(self, Self::NewBlock(_) | Self::Blocks { .. })
    }
}
