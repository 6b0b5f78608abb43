//! Ceilings of memory: what a peer can make a node hold, by an allocator that counts, and a crowd of hostile connections against
//! the real program.

// What a process has of the memory is read from /proc.
#[cfg(target_os = "linux")]
mod crowd;

use std::sync::Arc;

use allocation_counter::measure;
use triskel::node::NodeConfig;
use triskel::node::config::{MEMPOOL_TRANSACTION_BYTES, Preset, SESSION_BYTES};
use triskel::node::memory::{BUFFER_BYTES, BYTES_IN_MEMORY, Ceilings, MIN_PEER_BYTES};
use triskel::protocol::chain::id::{BlockId, TransactionId};
use triskel::protocol::chain::ledger::Account;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::mempool::{Mempool, MempoolLimits};
use triskel::protocol::wire::frame::{self, Decoder};
use triskel::protocol::wire::limits::{
    MAX_ANNOUNCED, MAX_FRAME, MAX_HOLDERS, MAX_PEERS, MAX_WANTED_OF_PEER,
};
use triskel::protocol::wire::message::{Message, Received};

use super::frames::largest_block;
use super::memory::{network, transfer};
use super::stage::{Stage, key};

fn transaction_id(number: usize) -> TransactionId {
    let mut id = TransactionId::default();
    id.0[..8].copy_from_slice(&number.to_le_bytes());
    id
}

fn block_id(number: usize) -> BlockId {
    BlockId(transaction_id(number).0)
}

#[test]
fn what_a_machine_remembers_of_a_session_is_below_its_part() {
    const SESSIONS: usize = 32;
    let mut stage = Stage::new(|_| ());
    let counted = measure(|| {
        for session in 0..SESSIONS {
            let conn = stage.join(key(1 + session as u64), &format!("10.0.{session}.1:9000"));
            // More than its share, of all that it can tell of.
            for round in 0..2 {
                let first = (2 * session + round) * MAX_ANNOUNCED;
                let ids = (first..first + MAX_ANNOUNCED).map(transaction_id).collect();
                stage.say(conn, Received::AnnounceTransactions { ids });
            }
            for number in 0..100 {
                let id = block_id(100 * session + number);
                stage.say(conn, Received::AnnounceBlock { id });
            }
            let address = |number: usize| ([10, 1, session as u8, number as u8], 9_000).into();
            stage.say(conn, Received::Peers((0..MAX_PEERS).map(address).collect()));
        }
        (stage.sent, stage.told) = (Vec::new(), Vec::new());
    });
    let wanted = stage.machine.wanted_transactions();
    assert_eq!(wanted, SESSIONS * MAX_WANTED_OF_PEER, "its tables are full");
    let each = counted.bytes_current / SESSIONS as i64;
    println!("{each} bytes a session");
    assert!(
        (100_000..SESSION_BYTES as i64).contains(&each),
        "{each} bytes a session"
    );
}

#[test]
fn peers_that_come_and_go_are_not_remembered_for_ever() {
    const WAITING: usize = 100;
    let mut stage = Stage::new(|_| ());
    let first = stage.join(key(1), "10.0.0.1:9000");
    let ids = |stage: &mut Stage, conn| {
        let ids = (0..WAITING).map(transaction_id).collect();
        stage.pass(20);
        stage.say(conn, Received::AnnounceTransactions { ids });
    };
    ids(&mut stage, first);
    let mut come_and_go = |count: u64| {
        measure(|| {
            for number in 0..count {
                let conn = stage.join(key(2 + number), "10.0.0.2:9000");
                ids(&mut stage, conn);
                stage.feed(triskel::protocol::machine::io::Input::Disconnected { conn });
                (stage.sent, stage.told) = (Vec::new(), Vec::new());
                stage.ended.clear();
            }
        })
        .bytes_current
    };
    come_and_go(2 * MAX_HOLDERS as u64);
    let more = come_and_go(4_000);
    // Eight bytes for each of them and each transaction would be 3.2 MB.
    assert!(more < 500_000, "{more} bytes for peers that have gone");
}

#[test]
fn a_waiting_transaction_takes_no_more_than_is_counted_for_it() {
    const WAITING: usize = 500;
    let network = network(0);
    let limits = MempoolLimits {
        transactions: WAITING,
        bytes: usize::MAX,
        per_sender: WAITING,
        min_fee: 1,
    };
    // Each of another sender takes most.
    let transfers: Vec<_> = (0..WAITING)
        .map(|sender| transfer(&network, (sender, 0), (1, 1, 0)).to_bytes())
        .collect();
    let mut mempool = Mempool::new(limits);
    let counted = measure(|| {
        for bytes in &transfers {
            let id = network.id();
            let read = triskel::protocol::chain::transaction::Transaction::decode(bytes, &id);
            let holder = Account {
                balance: 2,
                nonce: 0,
            };
            mempool.admit(Arc::new(read.unwrap()), &holder).unwrap();
        }
    });
    assert_eq!(mempool.len(), WAITING);
    let each = counted.bytes_current / WAITING as i64;
    println!("{each} bytes a transaction");
    assert!(
        (250..=MEMPOOL_TRANSACTION_BYTES as i64).contains(&each),
        "{each} bytes a transaction"
    );
}

#[test]
fn the_largest_message_takes_no_more_than_is_counted_for_it() {
    let (network, block) = largest_block();
    let frame = frame::encode(&Message::NewBlock(Arc::clone(block.bytes())));
    let mut read = None;
    let counted = measure(|| {
        let mut decoder = Decoder::default();
        decoder.greeted();
        // As it comes from a socket.
        for piece in frame.chunks(16 << 10) {
            decoder.extend(piece);
        }
        let (message, bytes) = decoder.next_message().unwrap().unwrap();
        assert_eq!(bytes, frame.len());
        read = Some(message.check(&network).unwrap());
    });
    let (kept, most) = (counted.bytes_current as usize, counted.bytes_max as usize);
    println!("{kept} bytes stay of {}, {most} at most", frame.len());
    assert!(
        kept <= BYTES_IN_MEMORY * frame.len(),
        "{kept} bytes stay of {}",
        frame.len()
    );
    assert!(
        kept > 2 * frame.len(),
        "{kept} bytes: less is counted for it than could be"
    );
    assert!(
        most <= (BYTES_IN_MEMORY + 3) * MAX_FRAME,
        "{most} bytes at most"
    );
}

#[test]
fn whoever_leaves_the_beginning_of_a_next_frame_holds_no_more_than_that() {
    let (_, block) = largest_block();
    let mut frames = frame::encode(&Message::NewBlock(Arc::clone(block.bytes())));
    let mut decoder = Decoder::default();
    decoder.greeted();
    let next = frame::encode(&Message::RequestPeers);
    frames.extend_from_slice(&next[..5]);
    decoder.extend(&frames);
    assert!(decoder.next_message().unwrap().is_some());
    // The rest comes byte by byte, and again a beginning behind it: the buffer is never empty.
    for _ in 0..2 {
        decoder.extend(&next[5..]);
        decoder.extend(&next[..5]);
        assert!(decoder.next_message().unwrap().is_some());
    }
    assert!(
        decoder.capacity() < 16 << 10,
        "{} bytes are held",
        decoder.capacity()
    );
}

fn ceilings(change: impl FnOnce(&mut NodeConfig)) -> Result<Ceilings, String> {
    let mut config = NodeConfig::default();
    change(&mut config);
    let network = config.network().unwrap();
    config.ceilings(&network).map_err(|error| error.to_string())
}

#[test]
fn ceilings_hold_what_they_are_made_of() {
    let default = ceilings(|_| ()).unwrap();
    assert_eq!(
        (default.node_bytes, default.peer_bytes),
        (1 << 30, 48 << 20)
    );
    assert!(default.peers_bytes > 4 * default.peer_bytes, "{default:?}");
    assert!(BUFFER_BYTES + 2 * default.queue_bytes() <= default.peer_bytes);
    assert!(default.queue_bytes() >= BYTES_IN_MEMORY * MAX_FRAME);
    // What is for the rest is not for connections.
    let more = |change: fn(&mut NodeConfig)| ceilings(change).unwrap().peers_bytes;
    let less = [
        more(|config| config.mempool.max_transactions += 100_000),
        more(|config| config.store.cache_mib += 50),
        more(|config| config.peer.max_inbound += 100),
    ];
    for peers_bytes in less {
        assert!(
            peers_bytes < default.peers_bytes - (50 << 20),
            "{peers_bytes}"
        );
    }
    let least = MIN_PEER_BYTES.div_ceil(1 << 20) as u64;
    assert!(ceilings(|config| config.memory.peer_mib = least).is_ok());
    assert_eq!(
        ceilings(|config| config.memory.peer_mib = 8).unwrap_err(),
        format!(
            "`memory.peer_mib` is 8, allowed is at least {least}, for the largest message in each direction"
        )
    );
    for change in [
        (|config| config.memory.node_mib = 100) as fn(&mut NodeConfig),
        |config| config.peer.max_inbound = 5_000,
        |config| config.mempool.max_transactions = 5_000_000,
    ] {
        let refusal = ceilings(change).unwrap_err();
        assert!(refusal.starts_with("`memory.node_mib` is 1"), "{refusal}");
        assert!(refusal.contains("allowed is at least "), "{refusal}");
    }
    // Every preset has room.
    for preset in [Preset::Tri, Preset::Chain] {
        assert!(ceilings(|config| config.network.preset = preset).is_ok());
    }
    assert!(Network::new(Params::tri()).unwrap().limits().window() > 20_000);
}
