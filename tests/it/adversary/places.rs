//! Rows 3 and 8: places that are taken and not used.

use triskel::node::NodeConfig;
use triskel::protocol::chain::id::NodeKey;
use triskel::protocol::wire::frame::encode;
use triskel::protocol::wire::limits::MIN_HANDSHAKES;

use super::bare::Bare;
use super::honest::{Chain, new_block};
use super::program::Program;
use super::{Bound, Victim, ensure, hello, nothing};

/// How long a handshake may take here, in milliseconds: short, but long enough for an honest peer on a busy machine.
const HANDSHAKE_MS: u64 = 5_000;

/// Connections that drip.
const DRIPPING: usize = 500;

fn impatient(config: &mut NodeConfig) {
    config.peer.handshake_timeout_ms = HANDSHAKE_MS;
}

/// Hundreds of connections say a byte a second of what would be a greeting. They neither pile up nor stay, and whoever comes
/// meanwhile is let in before the first of them has to go.
fn drips(victim: &mut impl Victim) -> Bound {
    let claim = nothing(victim.network());
    let greeting = encode(&hello(victim.network(), NodeKey::default(), claim));
    let dripping: Vec<_> = (0..DRIPPING).map(|_| victim.connect()).collect();
    let mut honest = 0;
    for bytes in greeting.chunks(1).take(3) {
        for peer in &dripping {
            victim.write(*peer, bytes);
        }
        victim.until("places that are given up", |victim| {
            victim.connections() <= MIN_HANDSHAKES + honest
        })?;
        honest += 1;
        let peer = victim.greet(honest);
        victim.until("a session with who means it", |victim| {
            victim.sessions() == honest
        })?;
        ensure(victim.is_open(peer), || "it was ended".to_owned())?;
        victim.pass(1_000);
    }
    victim.until("the end of all who drip", |victim| {
        victim.connections() == honest
    })
}

#[test]
fn the_machine_waits_for_no_drops() {
    drips(&mut Bare::start(impatient)).unwrap();
}

#[test]
fn the_program_waits_for_no_drops() {
    let mut program = Program::start(impatient);
    drips(&mut program).unwrap();
    let displaced = program.metric("triskel_handshakes_total{outcome=\"displaced\"}");
    println!("{displaced} of those that dripped were displaced, the others had their time");
    assert!(displaced >= (DRIPPING - MIN_HANDSHAKES) as f64);
}

/// Inbound places of the victim.
const PLACES: usize = 16;

fn small(config: &mut NodeConfig) {
    config.peer.max_inbound = PLACES;
}

/// Three times as many sessions as there are places, all of one attacker: who comes then gets in, and so does its block.
fn sitters(victim: &mut impl Victim) -> Bound {
    let mut chain = Chain::new(victim, 10, 1);
    let first = chain.join(victim, 1);
    chain.bring(victim, first)?;
    for number in 0..3 * PLACES {
        victim.greet(100 + number);
    }
    victim.until("a full house", |victim| victim.sessions() == PLACES)?;
    let next = chain.grow(&[]);
    let newcomer = chain.join(victim, 2);
    victim.say(newcomer, &new_block(&next));
    victim.until("a block of a newcomer", |victim| victim.tip() == next.id())?;
    ensure(victim.is_open(first), || {
        "who was useful lost its place".to_owned()
    })?;
    let sessions = victim.sessions();
    ensure(sessions <= PLACES, || format!("{sessions} sessions"))
}

#[test]
fn the_machine_lends_places_and_takes_them_back() {
    sitters(&mut Bare::start(small)).unwrap();
}

#[test]
fn the_program_lends_places_and_takes_them_back() {
    sitters(&mut Program::start(small)).unwrap();
}

mod proofs {
    use super::*;

    fn patient(config: &mut NodeConfig) {
        config.peer.handshake_timeout_ms = 86_400_000;
    }

    /// A deadline that each byte moves is none, and neither is one of a day.
    #[test]
    fn without_a_deadline_drops_last_for_ever() {
        let broken = drips(&mut Bare::start(patient)).unwrap_err();
        assert!(broken.contains("all who drip"), "{broken}");
    }

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn without_places_for_handshakes_they_pile_up() {
        use triskel::protocol::bugs::Defence;
        let broken = super::super::lacking(Defence::HandshakePlaces, patient, drips);
        assert!(broken.contains("given up"), "{broken}");
    }

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn where_places_are_kept_who_sits_keeps_others_out() {
        use triskel::protocol::bugs::Defence;
        let broken = super::super::lacking(Defence::InboundEviction, small, sitters);
        assert!(broken.contains("newcomer"), "{broken}");
        let mut program = Program::lacking(Defence::InboundEviction, small);
        sitters(&mut program).unwrap_err();
    }
}
