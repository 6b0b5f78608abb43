//! Rows 4 to 6: connections that are not read, that come in crumbs, and that were heard before.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use triskel::node::config::Transport;
use triskel::node::noise::{Credentials, Handshake, Next};
use triskel::protocol::chain::id::NodeKey;
use triskel::protocol::wire::frame::encode;
use triskel::protocol::wire::message::Message;

use super::bare::Bare;
use super::honest::{Chain, new_block};
use super::program::Program;
use super::{Bound, Victim, ensure, hello, nothing};
use crate::memory::person;
use crate::node::PATIENCE;

/// Row 4. A peer asks for everything again and again and reads nothing: it is left, and blocks go from one to the other meanwhile.
fn deaf_peer(program: &mut Program) -> Bound {
    let mut chain = Chain::new(program, 300, 1);
    let first = chain.join(program, 1);
    chain.bring(program, first)?;
    let second = chain.join(program, 2);
    let deaf = program.greet(3);
    program.until("three sessions", |program| program.sessions() == 3)?;
    program.deafen(deaf);
    let (from_block, count) = (1, 256);
    let question = encode(&Message::RequestBlocks { from_block, count });
    for _ in 0..5 {
        program.write(deaf, &question.repeat(1_000));
        let next = new_block(&chain.grow(&[]));
        program.say(first, &next);
        program.until("a block on its way", |program| {
            program.hear(second).contains(&next)
        })?;
    }
    let slow = "triskel_disconnects_total{reason=\"slow\"}";
    program.until("the end of who does not read", |program| {
        program.metrics().contains(slow)
    })
}

#[test]
fn the_program_waits_for_nobody_who_does_not_read() {
    let mut program = Program::start(|_| ());
    let before = program.resident_bytes();
    deaf_peer(&mut program).unwrap();
    let grown = program.resident_bytes().saturating_sub(before);
    println!("who does not read takes {grown} bytes");
    assert!(grown < 64 << 20, "{grown}");
}

/// Row 5. A greeting and a question that come byte by byte are one greeting and one question.
fn crumbs(victim: &mut impl Victim) -> Bound {
    let peer = victim.shake(1);
    let claim = nothing(victim.network());
    let greeting = hello(victim.network(), NodeKey(person(1).public().0), claim);
    victim.crumble(peer, &encode(&greeting));
    for nonce in 1..=3 {
        let claim = nothing(victim.network());
        victim.crumble(peer, &encode(&Message::Ping { nonce, claim }));
        let is_answer = |message: &Message| matches!(message, Message::Pong { nonce: own, .. } if *own == nonce);
        victim.until("an answer", |victim| {
            victim.hear(peer).iter().any(is_answer)
        })?;
    }
    Ok(())
}

#[test]
fn the_machine_joins_crumbs() {
    crumbs(&mut Bare::start(|_| ())).unwrap();
}

#[test]
fn the_program_joins_crumbs() {
    crumbs(&mut Program::start(|_| ())).unwrap();
}

/// Opens a session as an honest peer, and writes down what it sends: each piece after an answer to the one before.
fn overheard(program: &Program) -> (TcpStream, Vec<Vec<u8>>) {
    let keys = person(1);
    let claim = nothing(program.network());
    let greeting = encode(&hello(program.network(), NodeKey(keys.public().0), claim));
    let mut stream = TcpStream::connect(program.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    if program.transport == Transport::Plain {
        stream.write_all(&greeting).unwrap();
        return (stream, vec![greeting]);
    }
    let credentials = Credentials::new(&keys, None).unwrap();
    let mut handshake = Handshake::new(&credentials, true);
    let mut pieces = Vec::new();
    let mut buffer = [0; 1_024];
    loop {
        match handshake.step() {
            Next::Send(frame) => {
                stream.write_all(&frame).unwrap();
                pieces.push(frame);
            }
            Next::Receive => {
                let count = stream.read(&mut buffer).unwrap();
                handshake.arrived(&buffer[..count]);
            }
            Next::Done => break,
            Next::Refused(error) => panic!("{error}"),
        }
    }
    let sealed = handshake.finish().sealer.seal(&greeting).to_vec();
    stream.write_all(&sealed).unwrap();
    pieces.push(sealed);
    (stream, pieces)
}

/// Whether a connection ends in this time.
fn ends(stream: &mut TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    let mut buffer = [0; 1_024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                let waits = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                return !waits.contains(&error.kind());
            }
        }
    }
}

/// Row 6. Who has overheard a session and says the same again has none.
fn replay(program: &mut Program, patience: Duration) -> Bound {
    let (mut honest, pieces) = overheard(program);
    program.until("a session", |program| program.sessions() == 1)?;
    let mut again = TcpStream::connect(program.address).unwrap();
    again.set_read_timeout(Some(PATIENCE)).unwrap();
    let (first, rest) = pieces.split_first().unwrap();
    again.write_all(first).unwrap();
    let mut answer = [0; 1];
    again.read_exact(&mut answer).unwrap();
    for piece in rest {
        // The victim may have ended it by now.
        again.write_all(piece).ok();
    }
    ensure(ends(&mut again, patience), || {
        "what was heard is a session again".to_owned()
    })?;
    ensure(!ends(&mut honest, Duration::from_millis(100)), || {
        "the session that was overheard is lost".to_owned()
    })?;
    let sessions = program.sessions();
    ensure(sessions == 1, || format!("{sessions} sessions"))
}

#[test]
fn the_program_takes_nothing_twice() {
    replay(&mut Program::start(|_| ()), PATIENCE).unwrap();
}

/// The handshake without sockets: who listens draws a key for each, and what was made for another opens nothing.
#[test]
fn a_handshake_that_was_heard_is_refused() {
    let [dials, listens] = [1, 2].map(|number| Credentials::new(&person(number), None).unwrap());
    let mut ends = [
        Handshake::new(&dials, true),
        Handshake::new(&listens, false),
    ];
    let mut heard = Vec::new();
    for end in [0, 1, 0] {
        let Next::Send(frame) = ends[end].step() else {
            panic!("three frames are a handshake");
        };
        ends[1 - end].arrived(&frame);
        heard.push(frame);
    }
    assert!(matches!(ends[1].step(), Next::Done));
    let mut other = Handshake::new(&listens, false);
    other.arrived(&heard[0]);
    assert!(matches!(other.step(), Next::Send(_)));
    other.arrived(&heard[2]);
    // It says so, and that was all.
    assert!(matches!(other.step(), Next::Send(_)));
    assert!(matches!(other.step(), Next::Refused(_)));
}

mod proofs {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{sleep, timeout};

    use super::*;

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn without_a_bound_who_does_not_read_is_waited_for() {
        let defence = triskel::protocol::bugs::Defence::QueueLimits;
        let broken = deaf_peer(&mut Program::lacking(defence, |_| ())).unwrap_err();
        assert!(broken.contains("does not read"), "{broken}");
    }

    /// Row 5, as others had it: each read has its time, and what had come of it by then is lost.
    #[tokio::test(start_paused = true)]
    async fn a_reader_with_a_timeout_around_each_read_loses_its_place() {
        const FRAMES: usize = 10;
        let frame = encode(&Message::PushBlocks { push: true });
        let (mut sending, mut receiving) = duplex(1_024);
        let crumbs = frame.repeat(FRAMES);
        tokio::spawn(async move {
            for byte in crumbs {
                sending.write_all(&[byte]).await.unwrap();
                sleep(Duration::from_millis(20)).await;
            }
        });
        let mut read = 0;
        loop {
            let mut prefix = [0; 4];
            let reading = receiving.read_exact(&mut prefix);
            match timeout(Duration::from_millis(70), reading).await {
                // Nobody says anything: time to look after something else.
                Err(_) => continue,
                Ok(Err(_)) => break,
                Ok(Ok(_)) => {}
            }
            let length = u32::from_be_bytes(prefix) as usize;
            if length != frame.len() - 4 {
                break;
            }
            let mut body = vec![0; length];
            if receiving.read_exact(&mut body).await.is_err() {
                break;
            }
            read += 1;
        }
        assert!(read < FRAMES, "{read} frames");
    }

    /// Row 6. Where a connection is plain, what was heard once is a session whenever it is said again: that is for teaching.
    #[test]
    fn where_connections_are_plain_what_was_heard_is_a_session_again() {
        let plain = |config: &mut triskel::node::NodeConfig| {
            config.peer.transport = Transport::Plain;
        };
        let broken = replay(&mut Program::start(plain), Duration::from_secs(2)).unwrap_err();
        assert!(broken.contains("a session again"), "{broken}");
    }
}
