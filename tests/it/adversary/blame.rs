//! Row 20: what honest nodes do as well, or pass on without knowing better, is held against nobody.

use std::sync::Arc;

use triskel::protocol::chain::digest::Accumulator;
use triskel::protocol::chain::ledger::Account;
use triskel::protocol::wire::message::{Claim, Message};

use super::bare::Bare;
use super::honest::new_block;
use super::program::Program;
use super::{Bound, EASIEST, Victim, ensure, nothing};
use crate::memory::{Model, Wish, account};

/// Blocks that are passed on before they are executed, before their parents, or by another clock; news of what nobody has, and a
/// claim of it.
fn deniable(victim: &mut impl Victim) -> Bound {
    let network = Arc::clone(victim.network());
    let genesis = network.id();
    let mut model = Model::new(&network);
    let mut accumulator = Accumulator::default();
    let holder = Account {
        balance: 1,
        nonce: 0,
    };
    accumulator.add(&account(5), &holder);
    let wrong_state = Wish {
        accumulator: Some(accumulator),
        ..Wish::default()
    };
    let hour_ms = 3_600_000;
    let early = Wish {
        gap_ms: victim.wall_ms() + hour_ms - network.genesis().header().timestamp_ms,
        ..Wish::default()
    };
    let (wrong_state, early) = (
        model.build(&genesis, wrong_state),
        model.build(&genesis, early),
    );
    let parent = model.grow(&genesis, Wish::default());
    let orphan = model.build(&parent.id(), Wish::default());
    let blocks = [wrong_state, early, orphan];
    let mut said: Vec<_> = blocks.iter().map(|block| new_block(block)).collect();
    said.push(Message::AnnounceBlock { id: parent.id() });
    said.push(Message::Ping {
        nonce: 0,
        claim: Claim {
            tip: parent.id(),
            number: 1_000_000_000,
            ..nothing(&network)
        },
    });
    for (number, message) in said.iter().enumerate() {
        let peer = victim.greet(1 + number);
        victim.say(peer, message);
        victim.settle(peer)?;
        let bans = victim.bans();
        ensure(bans == 0, || format!("{} bans its sender", message.name()))?;
        let is_open = victim.is_open(peer);
        ensure(is_open, || {
            format!("{} costs its sender the session", message.name())
        })?;
    }
    Ok(())
}

#[test]
fn the_machine_blames_nobody_for_what_can_be_denied() {
    deniable(&mut Bare::start(|_| ())).unwrap();
}

#[test]
fn the_program_blames_nobody_for_what_can_be_denied() {
    deniable(&mut Program::start(|_| ())).unwrap();
}

mod proofs {
    use super::*;

    /// Row 20, were it held against them: a block that breaks a rule of its header, which anybody sees who passes it on.
    #[test]
    fn who_is_blamed_is_banned() {
        let mut victim = Bare::start(|_| ());
        let network = Arc::clone(victim.network());
        let too_easy = Wish {
            bits: Some(EASIEST),
            ..Wish::default()
        };
        let block = Model::new(&network).build(&network.id(), too_easy);
        let peer = victim.greet(1);
        victim.say(peer, &new_block(&block));
        assert_eq!((victim.bans(), victim.is_open(peer)), (1, false));
    }

    /// Row 20, as others had it: a block that is early, or whose parents are unknown, is a fault.
    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn scoring_what_can_be_denied_bans_honest_peers() {
        use triskel::protocol::bugs::{Bug, sow};
        for bug in [Bug::EarlyIsFault, Bug::OrphanIsFault] {
            sow(Some(bug));
            let bound = deniable(&mut Bare::start(|_| ()));
            sow(None);
            // Its session is over, so its ping has no answer.
            assert_eq!(bound, Err("an answer is not reached".to_owned()));
        }
    }
}
