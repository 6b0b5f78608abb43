//! The messages, as they travel and as the machine receives them.
//!
//! [`Message`] is what is on the wire: blocks, headers and transactions are opaque canonical bytes inside a bincode envelope.
//! [`Message::check`] turns it into [`Received`], in which they have been read, and their work and signatures checked.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bincode::{Decode, Encode};

use super::compact::{self, CompactBlock, Sketch, TransactionBytes};
pub use super::error::{MessageError, OtherTransport};
use super::limits;
use crate::protocol::chain::block::{Block, Heading, MAX_TRANSACTIONS};
use crate::protocol::chain::id::{AccountId, BlockId, NodeKey, TransactionId};
use crate::protocol::chain::ledger::Account;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::transaction::{SharedTransaction, Transaction};
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
    /// Passes a new block on to whom most likely has its transactions.
    CompactBlock(CompactBlock),
    /// Asks for transactions of a block that was passed on as a compact one.
    RequestBlockTransactions {
        /// The block.
        block: BlockId,
        /// Which: places in the block, ascending.
        indexes: Vec<u32>,
    },
    /// Answers `RequestBlockTransactions`, in its order; with none if the block is not at hand.
    BlockTransactions {
        /// The block.
        block: BlockId,
        /// Canonical bytes.
        transactions: Vec<TransactionBytes>,
    },
    /// Tells of a new block.
    AnnounceBlock {
        /// The block.
        id: BlockId,
    },
    /// Asks for a block that was announced. Answered by `CompactBlock` or `NewBlock`.
    RequestCompactBlock {
        /// The block.
        id: BlockId,
    },
    /// Says how the speaker wants to hear of new blocks.
    PushBlocks {
        /// Whether they are sent unasked; announced otherwise. At the beginning they are.
        push: bool,
    },
    /// Tells of transactions that wait.
    AnnounceTransactions {
        /// Which.
        ids: Vec<TransactionId>,
    },
    /// Asks for transactions that were announced. Answered by a `NewTransaction` for each that still waits.
    RequestTransactions {
        /// Which.
        ids: Vec<TransactionId>,
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
            Self::CompactBlock(_) => 14,
            Self::RequestBlockTransactions { .. } => 15,
            Self::BlockTransactions { .. } => 16,
            Self::AnnounceBlock { .. } => 17,
            Self::RequestCompactBlock { .. } => 18,
            Self::PushBlocks { .. } => 19,
            Self::AnnounceTransactions { .. } => 20,
            Self::RequestTransactions { .. } => 21,
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
            Self::CompactBlock(compact) => {
                Received::CompactBlock(Box::new(compact.check(network, is_checked)?))
            }
            Self::RequestBlockTransactions { block, indexes } => {
                compact::check_indexes(indexes.iter().copied(), MAX_TRANSACTIONS)?;
                Received::RequestBlockTransactions { block, indexes }
            }
            Self::BlockTransactions {
                block,
                transactions,
            } => {
                count("transactions", transactions.len(), MAX_TRANSACTIONS)?;
                let decode = |bytes: &TransactionBytes| {
                    Transaction::decode_knowing(bytes, &network.id(), is_checked).map(Arc::new)
                };
                let transactions = transactions.iter().map(decode).collect::<Result<_, _>>()?;
                Received::BlockTransactions {
                    block,
                    transactions,
                }
            }
            Self::AnnounceBlock { id } => Received::AnnounceBlock { id },
            Self::RequestCompactBlock { id } => Received::RequestCompactBlock { id },
            Self::PushBlocks { push } => Received::PushBlocks { push },
            Self::AnnounceTransactions { ids } => {
                count("ids", ids.len(), limits::MAX_ANNOUNCED)?;
                Received::AnnounceTransactions { ids }
            }
            Self::RequestTransactions { ids } => {
                count("ids", ids.len(), limits::MAX_ASKED_OF_PEER)?;
                Received::RequestTransactions { ids }
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
pub const MESSAGE_NAMES: [&str; 22] = [
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
    "compact_block",
    "request_block_transactions",
    "block_transactions",
    "announce_block",
    "request_compact_block",
    "push_blocks",
    "announce_transactions",
    "request_transactions",
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
    /// See [`Message::CompactBlock`].
    CompactBlock(Box<Sketch>),
    /// See [`Message::RequestBlockTransactions`].
    RequestBlockTransactions { block: BlockId, indexes: Vec<u32> },
    /// See [`Message::BlockTransactions`].
    BlockTransactions {
        block: BlockId,
        transactions: Vec<SharedTransaction>,
    },
    /// See [`Message::AnnounceBlock`].
    AnnounceBlock { id: BlockId },
    /// See [`Message::RequestCompactBlock`].
    RequestCompactBlock { id: BlockId },
    /// See [`Message::PushBlocks`].
    PushBlocks { push: bool },
    /// See [`Message::AnnounceTransactions`].
    AnnounceTransactions { ids: Vec<TransactionId> },
    /// See [`Message::RequestTransactions`].
    RequestTransactions { ids: Vec<TransactionId> },
}

impl Received {
    /// The new block of which this is all, or what it lacked.
    pub fn new_block(&self) -> Option<BlockId> {
        match self {
            Self::NewBlock(block) => Some(block.id()),
            Self::CompactBlock(sketch) => Some(sketch.heading().id()),
            Self::BlockTransactions { block, .. } => Some(*block),
            _ => None,
        }
    }

    /// Whether blocks are inside, whose applying takes time.
    pub fn has_blocks(&self) -> bool {
        matches!(
            self,
            Self::NewBlock(_)
                | Self::Blocks { .. }
                | Self::CompactBlock(_)
                | Self::BlockTransactions { .. }
        )
    }
}
