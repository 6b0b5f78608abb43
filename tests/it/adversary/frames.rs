//! Rows 1 and 2: frames that claim more memory than they bring.

use allocation_counter::measure;
use triskel::node::NodeConfig;
use triskel::protocol::wire::frame::{PREFIX_BYTES, decode, encode};
use triskel::protocol::wire::limits::{
    MAX_BLOCKS_BYTES, MAX_FRAME, MAX_FRAME_BEFORE_HANDSHAKE, MAX_MESSAGE_BYTES,
};
use triskel::protocol::wire::message::Message;

use super::bare::Bare;
use super::program::Program;
use super::{Bound, Victim, ensure};

/// Bytes of memory that a connection may take that brings nothing: sixteen times less than a frame may claim.
const MOST_BYTES_OF_CONNECTION: u64 = 64 << 10;

/// The kind of a `Blocks`, whose frames may be longest.
const BLOCKS: u32 = 8;

/// A frame that says of itself that it is so long, and ends there.
fn beginning(length: usize, kind: u32) -> Vec<u8> {
    [(length as u32).to_be_bytes(), kind.to_le_bytes()].concat()
}

fn crowded(config: &mut NodeConfig) {
    config.peer.max_inbound = 2_000;
    config.memory.node_mib = 4_096;
}

/// Whoever is silent for two seconds is left.
fn impatient(config: &mut NodeConfig) {
    config.peer.ping_interval_ms = 500;
    config.peer.silent_timeout_ms = 2_000;
}

/// Whoever claims more than its state and its message allow is left for that, at the prefix or at the kind behind it; and who
/// claims no more and brings nothing, when it has been silent for too long.
fn claims_beyond_all_limits(victim: &mut impl Victim) -> Bound {
    let unbounded = u32::MAX as usize;
    let strangers = [
        beginning(unbounded, u32::MAX),
        beginning(MAX_FRAME_BEFORE_HANDSHAKE + 1, 0),
    ];
    let before = strangers.map(|bytes| {
        let peer = victim.connect();
        victim.write(peer, &bytes);
        peer
    });
    let acquaintances = [
        beginning(unbounded, u32::MAX),
        beginning(MAX_FRAME + 1, BLOCKS),
        // A Ping as long as blocks may be.
        beginning(MAX_FRAME, 1),
        beginning(MAX_MESSAGE_BYTES[3] + 1, 3),
        beginning(MAX_FRAME, BLOCKS),
    ];
    let numbers = 1..;
    let after: Vec<_> = numbers
        .zip(acquaintances)
        .map(|(number, bytes)| {
            let peer = victim.greet(number);
            victim.write(peer, &bytes);
            peer
        })
        .collect();
    let acquaintances = after.len();
    for peer in before.into_iter().chain(after) {
        victim.until("the end of who claims too much", |victim| {
            !victim.is_open(peer)
        })?;
    }
    let (bans, faults) = (victim.bans(), acquaintances - 1);
    ensure(bans == faults, || {
        format!("{bans} bans for {faults} faults")
    })
}

/// So many peers claim as much as they may, and bring nothing of it.
fn claims_within_limits(victim: &mut impl Victim, count: usize) -> Bound {
    let peers: Vec<_> = (1..=count).map(|number| victim.greet(number)).collect();
    for peer in peers {
        victim.write(peer, &beginning(MAX_FRAME, BLOCKS));
    }
    victim.until("all of them", |victim| victim.sessions() == count)
}

#[test]
fn the_machine_believes_no_length() {
    claims_beyond_all_limits(&mut Bare::start(impatient)).unwrap();
    const COUNT: usize = 1_000;
    let mut machine = Bare::start(crowded);
    let held = measure(|| claims_within_limits(&mut machine, COUNT).unwrap());
    let most = COUNT as u64 * MOST_BYTES_OF_CONNECTION;
    assert!(held.bytes_max < most, "{} of {most}", held.bytes_max);
}

#[test]
fn the_program_believes_no_length() {
    claims_beyond_all_limits(&mut Program::start(impatient)).unwrap();
    const COUNT: usize = 300;
    let mut program = Program::start(crowded);
    let before = program.resident_bytes();
    claims_within_limits(&mut program, COUNT).unwrap();
    let grown = program.resident_bytes().saturating_sub(before);
    let most = COUNT as u64 * MOST_BYTES_OF_CONNECTION;
    println!("{COUNT} connections that claim {MAX_FRAME} bytes each take {grown} bytes");
    assert!(grown < most, "{grown} of {most}");
}

/// Frames whose inner counts are far beyond what they hold, and frames full of entries that are nothing.
fn bombs() -> Vec<Vec<u8>> {
    // Each kind with a list: what stands before its count.
    let lists = [
        (4, 0),
        (5, 0),
        (6, 0),
        (8, 8),
        (9, 0),
        (10, 8),
        (11, 0),
        (13, 32),
        (14, 0),
        (15, 32),
        (16, 32),
        (20, 0),
        (21, 0),
    ];
    let mut bodies = Vec::new();
    for (kind, before) in lists {
        for count in [u64::MAX, 1 << 40, 1 << 32, 1 << 26] {
            let mut body = u32::to_le_bytes(kind).to_vec();
            body.extend(vec![0; before]);
            body.extend(count.to_le_bytes());
            bodies.push(body);
        }
    }
    // As many empty blocks and empty headings as frames hold.
    for (kind, before) in [(BLOCKS, 8), (10, 8)] {
        let bytes = MAX_BLOCKS_BYTES - 64;
        let count = (bytes / 8) as u64;
        let mut body = kind.to_le_bytes().to_vec();
        body.extend(vec![0; before]);
        body.extend(count.to_le_bytes());
        body.extend(vec![0; bytes]);
        body.truncate(MAX_MESSAGE_BYTES[kind as usize]);
        bodies.push(body);
    }
    bodies
}

/// What decoding may take at most at any moment: some times what has arrived, and a message about what is wrong.
fn most_bytes(body: &[u8]) -> u64 {
    4 * body.len() as u64 + 4_096
}

/// Each bomb ends its session and bars its sender; whoever sends none is served meanwhile.
fn bombs_over_frames(victim: &mut impl Victim) -> Bound {
    let bombs = bombs();
    let honest = victim.greet(bombs.len() + 1);
    for (number, bomb) in (1..).zip(&bombs) {
        let peer = victim.greet(number);
        let length = (bomb.len() as u32).to_be_bytes();
        victim.write(peer, &[&length, bomb.as_slice()].concat());
        victim.until("the end of who sent a bomb", |victim| !victim.is_open(peer))?;
    }
    let bans = victim.bans();
    ensure(bans == bombs.len(), || {
        format!("{bans} bans for {} bombs", bombs.len())
    })?;
    victim.say(honest, &Message::RequestPeers);
    let is_answer = |message: &Message| matches!(message, Message::Peers(_));
    victim.until("an answer", |victim| {
        victim.hear(honest).iter().any(is_answer)
    })
}

#[test]
fn the_machine_makes_no_room_for_counts() {
    for body in bombs() {
        let mut refused = false;
        let took = measure(|| refused = decode(&body).is_err());
        let most = most_bytes(&body);
        assert!(
            refused && took.bytes_max <= most,
            "{} of {most}",
            took.bytes_max
        );
    }
    // What is honest takes no more.
    let headers = vec![Vec::new(); 2_000];
    let full = Message::Headers {
        from_block: 0,
        headers,
        more: false,
    };
    let frame = encode(&full);
    let took = measure(|| assert!(decode(&frame[PREFIX_BYTES..]).is_ok()));
    assert!(took.bytes_max <= most_bytes(&frame), "{}", took.bytes_max);
    bombs_over_frames(&mut Bare::start(|_| ())).unwrap();
}

#[test]
fn the_program_makes_no_room_for_counts() {
    let mut program = Program::start(|_| ());
    let before = program.resident_bytes();
    bombs_over_frames(&mut program).unwrap();
    let grown = program.resident_bytes().saturating_sub(before);
    println!("bombs leave {grown} bytes");
    // Some frames of 2 MiB were read.
    assert!(grown < 32 << 20, "{grown}");
}

mod proofs {
    use super::*;

    /// Row 1, as others had it: room for a frame is made when its length is known.
    #[test]
    fn a_reader_that_believes_lengths_holds_what_peers_claim() {
        const COUNT: usize = 100;
        let held = measure(|| {
            let frames = (0..COUNT).map(|_| Vec::<u8>::with_capacity(MAX_FRAME));
            let frames: Vec<_> = frames.collect();
            assert_eq!(frames.len(), COUNT);
        });
        assert!(held.bytes_max > COUNT as u64 * MOST_BYTES_OF_CONNECTION);
    }

    /// Row 2, as others had it: the same decoder without a limit.
    #[test]
    fn a_decoder_without_a_limit_holds_what_counts_claim() {
        let mut body = u32::to_le_bytes(5).to_vec();
        body.extend(u64::to_le_bytes(1 << 26));
        let took = measure(|| {
            let legacy = bincode::config::legacy();
            let decoded = bincode::decode_from_slice::<Message, _>(&body, legacy);
            assert!(decoded.is_err());
        });
        assert!(took.bytes_max > most_bytes(&body), "{}", took.bytes_max);
    }

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn without_limits_of_frames_who_claims_too_much_stays() {
        use triskel::protocol::bugs::{Defence, take_away};
        take_away(Some(Defence::FrameLimits));
        claims_beyond_all_limits(&mut Bare::start(impatient)).unwrap_err();
        take_away(None);
        let mut program = Program::lacking(Defence::FrameLimits, |_| ());
        claims_beyond_all_limits(&mut program).unwrap_err();
    }
}
