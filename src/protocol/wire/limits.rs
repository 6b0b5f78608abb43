//! Everything that a peer can grow, and how far. Each with its reason.
//!
//! Limits of the wire are derived from those of consensus, never smaller: a block that the rules allow must be able to travel
//! (btcd fell off the chain twice in 2022 over the opposite).

use crate::protocol::chain::block::{HEADER_BYTES, MAX_BLOCK_BYTES, MAX_PARENTS, MAX_TRANSACTIONS};
use crate::protocol::chain::transaction::TRANSACTION_BYTES;

/// Bytes of a frame before the handshake has ended: a `Hello` has at most 730.
pub const MAX_FRAME_BEFORE_HANDSHAKE: usize = 1_024;

/// Bytes of a Noise message, as its specification limits them: longer frames are cut into several.
pub const MAX_NOISE_MESSAGE: usize = 65_535;

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

/// Accounts in one `Accounts`: as many bytes as a full `Headers`.
pub const MAX_ACCOUNTS: usize = 8_192;

/// Bytes of an account and its id.
const ACCOUNT_BYTES: usize = 32 + 8 + 8;

/// Ids in a locator: steps double, so 64 reach back 2^54 blocks.
pub const MAX_LOCATOR: usize = 64;

/// Addresses in one `Peers`: enough to fill every outbound place, too few to flood an address book.
pub const MAX_PEERS: usize = 64;

/// Bytes of the user agent in a `Hello`: shown to people, never used as a label.
pub const MAX_AGENT_BYTES: usize = 64;

/// Tips in a claim beside the first: together they are the parents of a block.
pub const MAX_BESIDE: usize = MAX_PARENTS - 1;

/// Bytes of a claim: work, tip, number, other tips, what is pruned.
const CLAIM_BYTES: usize = 32 + 32 + 8 + 8 + 32 * MAX_BESIDE + 8;

/// Bytes of a message by its kind, in the order of [`Message`](super::message::Message): what the largest honest one takes.
///
/// So the first eight bytes of a frame tell whether the rest of it is worth holding. A variant costs 4 bytes, a length 8.
pub const MAX_MESSAGE_BYTES: [usize; 22] = [
    4 + 4 + 32 + 32 + 8 + 2 + CLAIM_BYTES + 8 + 8 + MAX_AGENT_BYTES,
    4 + 8 + CLAIM_BYTES,
    4 + 8 + CLAIM_BYTES,
    4,
    4 + 8 + 18 * MAX_PEERS,
    4 + 8 + MAX_BLOCK_BYTES,
    4 + 8 + TRANSACTION_BYTES,
    4 + 8 + 4,
    MAX_FRAME,
    4 + 8 + 32 * MAX_LOCATOR,
    4 + 8 + 8 + (8 + MAX_HEADING_BYTES) * MAX_HEADERS + 1,
    4 + 8 + 32 * MAX_BLOCKS,
    4 + 1 + 32 + 1 + 32,
    4 + 32 + 8 + ACCOUNT_BYTES * MAX_ACCOUNTS + 1,
    // A compact block that is not smaller than the block is not sent.
    4 + 8 + MAX_BLOCK_BYTES,
    4 + 32 + 8 + 4 * MAX_TRANSACTIONS,
    4 + 32 + 8 + TRANSACTION_BYTES * MAX_TRANSACTIONS,
    4 + 32,
    4 + 32,
    4 + 1,
    4 + 8 + 32 * MAX_ANNOUNCED,
    4 + 8 + 32 * MAX_ASKED_OF_PEER,
];

/// Bytes of a frame: the largest message is `Blocks`, whose entries cost 8 bytes of length each, behind variant, number and count.
pub const MAX_FRAME: usize = 4 + 8 + 8 + MAX_BLOCKS_BYTES + 8 * MAX_BLOCKS;

/// What bincode may allocate for one message. It counts what entries take in memory: at most 24 bytes for a list of bytes, whose
/// length alone takes 8 on the wire. The headers of a full `Headers` need 48 kB more than their frame, so 64 KiB are enough.
pub const MAX_DECODED: usize = MAX_FRAME + (64 << 10);

/// The same for a frame that is allowed before the handshake. Three times its bytes are the most that lists can need (24 for 8).
pub const MAX_DECODED_BEFORE_HANDSHAKE: usize = 3 * MAX_FRAME_BEFORE_HANDSHAKE;

/// Addresses in one bucket of the address book: all of a small network fit into any, so that nothing collides there.
pub const MAX_BUCKET: usize = 64;

/// Buckets of addresses that nobody has met: with the bound above 4,096 of them, 1 MB.
pub const NEW_BUCKETS: u64 = 64;

/// How many of these one network group can fill with what it tells: an eighth of the book, as one of many that tell.
pub const NEW_BUCKETS_OF_SOURCE: u64 = 8;

/// Buckets of addresses at which somebody was met: 1,024 of them, a large network well sampled.
pub const TRIED_BUCKETS: u64 = 16;

/// How many of these addresses of one network group can fill: a quarter.
pub const TRIED_BUCKETS_OF_GROUP: u64 = 4;

/// Addresses that wait for the outcome of a test: some feelers' worth.
pub const MAX_CONTESTS: usize = 16;

/// Addresses at which a node has met itself: its interfaces, and some that are forged.
pub const MAX_OWN_ADDRESSES: usize = 64;

/// Addresses that a peer may tell of unasked, in thousandths a second: one in ten seconds, as in Bitcoin Core. An answer to a
/// question may hold `MAX_PEERS` beside.
pub const ADDRESSES_PER_1000_S: u64 = 100;

/// Connections that have not greeted, where fewer sessions are accepted: a flood of thousands a second does not displace a peer
/// that greets within some milliseconds.
pub const MIN_HANDSHAKES: usize = 64;

/// Nodes of which faults are remembered: keys cost nothing, so a bound there must be; each has cost a connection and a fault.
pub const MAX_PENALISED: usize = 1_024;

/// Blocks of which a node remembers which peers have them: 20 seconds of 11 blocks a second, and some. Copies of a block meet
/// within one or two.
pub const MAX_HELD_BLOCKS: usize = 256;

/// Transactions of which a node remembers which peers have them: some seconds of 5,000 a second.
pub const MAX_HELD_TRANSACTIONS: usize = 16_384;

/// Peers that are remembered to have one item, those of connections that have ended among them: more than most nodes have. The
/// oldest is forgotten, and told of the item once more.
pub const MAX_HOLDERS: usize = 256;

/// Peers of which a node wants blocks pushed, as in BIP152: those that were first with the most. One would be a weak spot, and
/// more than a few send what nobody needs.
pub const MAX_PUSHING: usize = 3;

/// Bytes of a block that is pushed to all peers: to announce it and be asked costs some 100 and a round trip.
pub const MAX_PUSHED_TO_ALL: usize = 1_024;

/// Blocks that are being fetched from peers that have told of them: some seconds of 11 blocks a second.
pub const MAX_FETCHES: usize = 64;

/// How many of them from one peer: announcements cost nothing, and nobody shall take the places of others.
pub const MAX_FETCHES_OF_PEER: usize = 16;

/// Blocks of which a node remembers which transactions it lacked, which are those that others lack: as many as it has at hand.
pub const MAX_MISSED: usize = 64;

/// Blocks whose parents are unknown: they bridge the moments in which a parent overtakes its child, no more.
pub const MAX_ORPHANS: usize = 128;

/// Bytes of such blocks, whatever their number.
pub const MAX_ORPHAN_BYTES: usize = 8 << 20;

/// Blocks of a peer that this node lacks and remembers for it, beside those of its claim: one is reason enough to ask it, and those
/// that wait for their parents are no more.
pub const MAX_WANTED_BLOCKS: usize = MAX_ORPHANS;

/// Blocks that are placed before the order follows: those of one `Blocks`, so that what is not followed takes no more memory than
/// what has just arrived.
pub const MAX_PLACED: usize = MAX_BLOCKS;

/// Pages of headings that a node counts before they have proven enough, and of which it remembers eight bytes each: 131 million
/// headings, which are four months of 11 blocks a second, in 512 kB. Whoever has more to prove is joined from a snapshot.
pub const MAX_HEADER_PAGES: usize = 65_536;

/// Conversations about headings at a time: one that leads, and one that may prove more.
pub const MAX_PROOFS: usize = 2;

/// Headings that have proven enough, and whose blocks are not here: the page that is being fetched and the next.
pub const MAX_PLANNED: usize = 2 * MAX_HEADERS;

/// Blocks of those that are under way, or wait for others before them: 24 requests of 128 small ones are 3,072, and those of eight
/// peers are under way at once.
pub const MAX_SYNC_BLOCKS: usize = 3_072;

/// Bytes of blocks that wait for others before them, and those that answers to all questions under way may have: room for eight
/// peers with three full answers each, and for some that wait.
pub const MAX_SYNC_BYTES: usize = 64 << 20;

/// Transactions in the mempool: ten full blocks of stream A.
pub const MAX_MEMPOOL_TRANSACTIONS: usize = 100_000;

/// Bytes of the mempool's transactions, counted as canonical bytes: what the limit above holds, and a bound of its own for the day
/// on which transactions differ in size.
pub const MAX_MEMPOOL_BYTES: usize = 16 << 20;

/// Transactions of one sender in the mempool: one account cannot fill it, and one block's worth of a busy one fits.
pub const MAX_MEMPOOL_PER_SENDER: usize = 4_096;

/// Transactions that a reorganisation took back and the mempool does not take for now: a few blocks' worth.
pub const MAX_TAKEN_BACK: usize = 4_096;

/// Those of them that a node looks at again with each block: all within seconds, at a cost that is small beside the block's.
pub const MAX_RETRIED: usize = 64;

/// Ids in one `AnnounceTransactions`: a greeting, and some tenths of a second of 5,000 a second.
pub const MAX_ANNOUNCED: usize = 2_048;

/// Ids of transactions that a peer may send in a millisecond, in announcements and questions: more than nodes check signatures.
/// What is beyond that is not looked at.
pub const IDS_PER_MS: u64 = 8;

/// How many of them at once: two full messages.
pub const MAX_IDS_AT_ONCE: u64 = 4_096;

/// Transactions that are wanted because one peer has announced them: as many as a message tells of. Each peer has a share of its
/// own, so that nobody takes that of others.
pub const MAX_WANTED_OF_PEER: usize = MAX_ANNOUNCED;

/// Transactions for which one peer is asked at a time, and that wait to be checked of those that it sends, asked or not: a
/// twentieth of a second of checks.
pub const MAX_ASKED_OF_PEER: usize = 1_024;

/// Transactions of which a node tells a peer when they meet: what a user submitted while they were apart gets through.
pub const MAX_GREETING_TRANSACTIONS: usize = 2_000;

/// Transactions of which a node tells a peer again with each ping: 8 kB every 10 s, and a mempool of some thousands within minutes.
pub const MAX_REMINDED: usize = 256;

/// Own submissions among them, which come first.
pub const MAX_REMINDED_OWN: usize = 16;
