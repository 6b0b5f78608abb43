//! Everything that a peer can grow, and how far. Each with its reason.
//!
//! Limits of the wire are derived from those of consensus, never smaller: a block that the rules allow must be able to travel
//! (btcd fell off the chain twice in 2022 over the opposite).

use crate::protocol::chain::block::{HEADER_BYTES, MAX_BLOCK_BYTES, MAX_PARENTS};

/// Bytes of a frame before the handshake has ended: a `Hello` is below 300.
pub const MAX_FRAME_BEFORE_HANDSHAKE: usize = 1_024;

/// Bytes of the blocks in one `Blocks`: at least one block of any size, and enough small ones to fill a round trip.
pub const MAX_BLOCKS_BYTES: usize = if MAX_BLOCK_BYTES > 2 << 20 {
    MAX_BLOCK_BYTES
} else {
    2 << 20
};

/// Blocks in one `Blocks`: keeps the time that one message takes in the state machine to a few milliseconds.
pub const MAX_BLOCKS: usize = 256;

/// Headers in one `Headers`: 2,000 are 306 kB with one parent each, as in Bitcoin.
pub const MAX_HEADERS: usize = 2_000;

/// Bytes of one header with its parents.
pub const MAX_HEADING_BYTES: usize = HEADER_BYTES + 1 + 32 * MAX_PARENTS;

/// Ids in a locator: steps double, so 64 reach back 2^54 blocks.
pub const MAX_LOCATOR: usize = 64;

/// Addresses in one `Peers`: enough to fill every outbound place, too few to flood an address book.
pub const MAX_PEERS: usize = 64;

/// Bytes of the user agent in a `Hello`: shown to people, never used as a label.
pub const MAX_AGENT_BYTES: usize = 64;

/// Bytes of a frame: the largest message is `Blocks`, whose entries cost 8 bytes of length each, behind a variant of 4.
pub const MAX_FRAME: usize = MAX_BLOCKS_BYTES + 8 * MAX_BLOCKS + 64;

/// What bincode may allocate for one message. It counts sizes in memory, which exceed those on the wire by the fat pointers of
/// the entries; eight times a frame's cap would already be 17 MiB, and 2 MiB beside the frame hold 80,000 pointers.
pub const MAX_DECODED: usize = MAX_FRAME + (2 << 20);

/// Addresses that a node remembers: a small network whole, a large one well sampled.
pub const MAX_ADDRESS_BOOK: usize = 1_024;

/// Ids of blocks that a node remembers to be known to a peer: a minute of 11 blocks a second, and some.
pub const MAX_KNOWN_BLOCKS: usize = 1_024;

/// Ids of transactions that a node remembers to be known to a peer: a few blocks' worth.
pub const MAX_KNOWN_TRANSACTIONS: usize = 4_096;

/// Blocks whose parents are unknown: they bridge the moments in which a parent overtakes its child, no more.
pub const MAX_ORPHANS: usize = 128;

/// Bytes of such blocks, whatever their number.
pub const MAX_ORPHAN_BYTES: usize = 8 << 20;

/// Headers that a node holds while it asks one peer for a better chain: 40 bytes each, so at most 8 MB for one peer at a time.
pub const MAX_SYNC_HEADERS: usize = 200_000;

/// Transactions in the mempool: ten full blocks of stream A.
pub const MAX_MEMPOOL_TRANSACTIONS: usize = 100_000;

/// Bytes of the mempool's transactions, counted as canonical bytes: what the limit above holds, and a bound of its own for the day
/// on which transactions differ in size.
pub const MAX_MEMPOOL_BYTES: usize = 16 << 20;

/// Transactions of one sender in the mempool: one account cannot fill it, and one block's worth of a busy one fits.
pub const MAX_MEMPOOL_PER_SENDER: usize = 4_096;

/// Transactions that a node sends a peer when they meet: what a user submitted while they were apart gets through.
pub const MAX_GREETING_TRANSACTIONS: usize = 2_000;
