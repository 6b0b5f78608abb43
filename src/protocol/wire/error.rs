//! What is wrong with bytes that a peer sends.

use crate::protocol::chain::block::BlockError;
use crate::protocol::chain::id::NodeKey;
use crate::protocol::chain::transaction::TransactionError;

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
    /// Places in a block that do not ascend, or lie beyond its end.
    #[error("indexes of transactions that do not ascend, or lie beyond the block's end")]
    Indexes,
    /// A block or header that cannot be part of this network.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A transaction that no block may carry.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
}
