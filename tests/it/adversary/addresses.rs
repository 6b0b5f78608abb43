//! Row 7: an address book that is filled with what an attacker tells.

use std::net::SocketAddr;

use triskel::protocol::wire::limits::MAX_PEERS;
use triskel::protocol::wire::message::Message;

use super::bare::Bare;
use super::program::Program;
use super::{Bound, Victim, ensure};

/// Addresses of which one peer tells unasked.
const TOLD: usize = 4_096;

/// One peer tells of thousands of addresses in as many groups, unasked: one in ten seconds is taken in.
fn told(victim: &mut impl Victim) -> Bound {
    let before = victim.addresses();
    let begin_ms = victim.wall_ms();
    let hostile = victim.greet(1);
    let addresses: Vec<_> = (0..TOLD)
        .map(|number| {
            let [low, high] = (number as u16).to_le_bytes();
            SocketAddr::from(([100 + high, low, 0, 1], 9_000)).into()
        })
        .collect();
    for peers in addresses.chunks(MAX_PEERS) {
        victim.say(hostile, &Message::Peers(peers.to_vec()));
        victim.pass(10);
    }
    // What came before this is taken in, or not.
    victim.say(hostile, &Message::RequestPeers);
    let is_answer = |message: &Message| matches!(message, Message::Peers(_));
    victim.until("an answer", |victim| {
        victim.hear(hostile).iter().any(is_answer)
    })?;
    victim.pass(1_500);
    let taken = victim.addresses() - before;
    let most = (victim.wall_ms() - begin_ms) as usize / 10_000 + 2;
    ensure(taken <= most, || format!("{taken} of them are in the book"))?;
    ensure(victim.is_open(hostile), || "it was ended".to_owned())
}

#[test]
fn the_machine_learns_at_its_own_pace() {
    told(&mut Bare::start(|_| ())).unwrap();
}

#[test]
fn the_program_learns_at_its_own_pace() {
    told(&mut Program::start(|_| ())).unwrap();
}

#[cfg(feature = "seeded-bugs")]
mod proofs {
    use triskel::protocol::bugs::Defence;

    use super::*;

    #[test]
    fn without_an_allowance_one_peer_fills_its_part_of_the_book() {
        let broken = super::super::lacking(Defence::AddressAllowance, |_| (), told);
        assert!(broken.contains("in the book"), "{broken}");
        let mut program = Program::lacking(Defence::AddressAllowance, |_| ());
        let broken = told(&mut program).unwrap_err();
        assert!(broken.contains("in the book"), "{broken}");
    }
}
