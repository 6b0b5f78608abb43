//! Rows 9 to 13: lies about what there is to catch up with.

use triskel::node::NodeConfig;
use triskel::protocol::chain::block::{Header, Heading, Stream, parents_root};
use triskel::protocol::chain::id::StateDigest;
use triskel::protocol::chain::params::Network;
use triskel::protocol::wire::limits::MAX_HEADERS;
use triskel::protocol::wire::message::Message;

use super::bare::Bare;
use super::honest::{Chain, new_block};
use super::program::Program;
use super::{Bound, EASIEST, Victim, ensure};
use crate::stage::endless;

/// So many headings upon genesis, one upon the other, as cheap as they can be.
fn cheap(network: &Network, count: usize, wall_ms: u64) -> Vec<Vec<u8>> {
    let mut parent = network.id();
    let mut headings = Vec::with_capacity(count);
    let mut nonce = 0;
    while headings.len() < count {
        nonce += 1;
        let header = Header {
            stream: Stream::A,
            parents_root: parents_root(&[parent]),
            body_root: [0; 32],
            state_digest: StateDigest::default(),
            timestamp_ms: wall_ms - 60_000,
            bits: EASIEST,
            nonce,
        };
        let bytes = [&header.to_bytes()[..], &[1], &parent.0].concat();
        if let Ok(heading) = Heading::decode(&bytes, network) {
            parent = heading.id();
            headings.push(bytes);
        }
    }
    headings
}

fn is_question(message: &Message) -> bool {
    matches!(message, Message::RequestHeaders { .. })
}

/// Row 9. Pages of cheap headings without end, whenever they are asked for: none is kept, and new blocks are taken in meanwhile.
fn cheap_headings(victim: &mut impl Victim) -> Bound {
    const PAGES: usize = 10;
    let mut chain = Chain::new(victim, 300, 1);
    let honest = chain.join(victim, 1);
    chain.bring(victim, honest)?;
    let all = cheap(victim.network(), PAGES * MAX_HEADERS, victim.wall_ms());
    let liar = victim.greet_claiming(2, endless(2));
    for (page, headers) in all.chunks(MAX_HEADERS).enumerate() {
        victim.until("a question", |victim| {
            victim.hear(liar).iter().any(is_question)
        })?;
        let planned = victim.planned();
        ensure(planned == 0, || format!("{planned} headings are kept"))?;
        let message = Message::Headers {
            from_block: (page * MAX_HEADERS) as u64 + 1,
            headers: headers.to_vec(),
            more: true,
        };
        victim.say(liar, &message);
    }
    let next = chain.grow(&[]);
    victim.say(honest, &new_block(&next));
    victim.until("a new block", |victim| victim.tip() == next.id())?;
    let (planned, bans) = (victim.planned(), victim.bans());
    ensure(planned == 0, || format!("{planned} headings are kept"))?;
    ensure(bans == 0, || "cheap is not forbidden".to_owned())
}

#[test]
fn the_machine_keeps_no_cheap_headings() {
    cheap_headings(&mut Bare::start(|_| ())).unwrap();
}

#[test]
fn the_program_keeps_no_cheap_headings() {
    cheap_headings(&mut Program::start(|_| ())).unwrap();
}

/// Row 10. Peers claim a height of 10^9 and more work than there is, and never answer: nothing is dropped, nobody is banned, and
/// new blocks are taken in. What the miner does its own tests say.
fn claims(victim: &mut impl Victim) -> Bound {
    const LIARS: usize = 20;
    let mut chain = Chain::new(victim, 20, 1);
    let honest = chain.join(victim, 1);
    chain.bring(victim, honest)?;
    for number in 0..LIARS {
        victim.greet_claiming(2 + number, endless(number as u8));
    }
    victim.until("a session with everybody", |victim| {
        victim.sessions() == 1 + LIARS
    })?;
    victim.pass(2_000);
    let tip = victim.tip();
    ensure(tip == chain.tip(), || {
        "claims have moved the tip".to_owned()
    })?;
    let next = chain.grow(&[]);
    victim.say(honest, &new_block(&next));
    victim.until("a new block", |victim| victim.tip() == next.id())?;
    let bans = victim.bans();
    ensure(bans == 0, || format!("{bans} are banned"))?;
    let planned = victim.planned();
    ensure(planned == 0, || format!("{planned} headings are kept"))?;
    ensure(victim.is_open(honest), || {
        "the honest one is left".to_owned()
    })
}

fn mines(config: &mut NodeConfig) {
    config.mining.enabled = true;
}

/// The same, and the miner goes on.
fn claims_before_a_miner(machine: &mut Bare) -> Bound {
    claims(machine)?;
    // Templates are renewed within this.
    machine.pass(1_000);
    ensure(machine.stage.mines, || "claims stop the miner".to_owned())
}

/// A program that mines is told the same, and goes on.
fn claims_before_a_mining_program(program: &mut Program) -> Bound {
    for number in 0..5 {
        program.greet_claiming(1 + number, endless(number as u8));
    }
    program.until("sessions", |program| program.sessions() == 5)?;
    let begin = program.status().blocks;
    // What was being mined then may be found still.
    program.until("further blocks", |program| {
        program.status().blocks > begin + 3
    })
}

#[test]
fn the_machine_believes_no_claim() {
    claims_before_a_miner(&mut Bare::start(mines)).unwrap();
}

#[test]
fn the_program_believes_no_claim() {
    claims(&mut Program::start(|_| ())).unwrap();
    claims_before_a_mining_program(&mut Program::start(mines)).unwrap();
}

/// Row 11. One of two peers shows all headings and delivers no block: the other delivers what was asked of it in vain.
fn black_hole(victim: &mut impl Victim) -> Bound {
    let chain = Chain::new(victim, 600, 1);
    let honest = chain.join(victim, 1);
    let hole = chain.join(victim, 2);
    let (tip, mut asked) = (chain.tip(), 0);
    victim.until("the tip of who delivers", |victim| {
        chain.serve(victim, honest, |_| true);
        chain.serve(victim, hole, |question| {
            asked += usize::from(matches!(question, Message::RequestBlocksById { .. }));
            is_question(question)
        });
        victim.tip() == tip
    })?;
    ensure(asked > 0, || "nothing was asked of it".to_owned())?;
    let bans = victim.bans();
    ensure(bans == 0, || "slowness is no fault".to_owned())
}

#[test]
fn the_machine_asks_elsewhere() {
    black_hole(&mut Bare::start(|_| ())).unwrap();
}

#[test]
fn the_program_asks_elsewhere() {
    black_hole(&mut Program::start(|_| ())).unwrap();
}

/// Row 12. A peer claims most, answers at once, and has nothing to show: others get their turn.
fn empty_answers(victim: &mut impl Victim) -> Bound {
    let known = Chain::new(victim, 20, 1);
    let first = known.join(victim, 1);
    known.bring(victim, first)?;
    let better = Chain::new(victim, 40, 2);
    let liar = victim.greet_claiming(2, endless(2));
    let honest = better.join(victim, 3);
    let (tip, mut asked) = (better.tip(), 0);
    victim.until("the tip of who has something", |victim| {
        for question in victim.hear(liar) {
            if is_question(&question) {
                asked += 1;
                let message = Message::Headers {
                    from_block: 21,
                    headers: Vec::new(),
                    more: false,
                };
                victim.say(liar, &message);
            }
        }
        better.serve(victim, honest, |_| true);
        victim.tip() == tip
    })?;
    ensure(asked > 0, || "it was never asked".to_owned())
}

#[test]
fn the_machine_leaves_alone_who_has_nothing() {
    empty_answers(&mut Bare::start(|_| ())).unwrap();
}

#[test]
fn the_program_leaves_alone_who_has_nothing() {
    empty_answers(&mut Program::start(|_| ())).unwrap();
}

/// Row 13. A node that has a part and is kept from the rest by who delivers nothing more serves what it has.
fn caught_up_with_half(victim: &mut impl Victim) -> Bound {
    let chain = Chain::new(victim, 400, 1);
    let staller = chain.join(victim, 1);
    let mut answered = false;
    victim.until("a part", |victim| {
        chain.serve(victim, staller, |question| {
            is_question(question) || !std::mem::replace(&mut answered, true)
        });
        victim.tip() != victim.network().id()
    })?;
    let planned = victim.planned();
    ensure(planned > 0, || "it has caught up".to_owned())?;
    let newcomer = victim.greet(2);
    let locator = vec![victim.network().id()];
    victim.say(newcomer, &Message::RequestHeaders { locator });
    let is_answer = |message: &Message| matches!(message, Message::Headers { headers, .. } if headers.len() > 100);
    victim.until("what it has", |victim| {
        victim.hear(newcomer).iter().any(is_answer)
    })
}

#[test]
fn the_machine_serves_while_it_catches_up() {
    caught_up_with_half(&mut Bare::start(|_| ())).unwrap();
}

#[test]
fn the_program_serves_while_it_catches_up() {
    caught_up_with_half(&mut Program::start(|_| ())).unwrap();
}

#[cfg(feature = "seeded-bugs")]
mod proofs {
    use triskel::protocol::bugs::Defence;

    use super::super::lacking;
    use super::*;

    #[test]
    fn without_proven_work_cheap_headings_are_kept() {
        let broken = lacking(Defence::ProvenWork, |_| (), cheap_headings);
        assert!(broken.contains("are kept"), "{broken}");
        let mut program = Program::lacking(Defence::ProvenWork, |_| ());
        let broken = cheap_headings(&mut program).unwrap_err();
        assert!(broken.contains("are kept"), "{broken}");
    }

    #[test]
    fn where_claims_prove_something_they_stop_the_miner() {
        let broken = lacking(Defence::ClaimsProveNothing, mines, claims_before_a_miner);
        assert!(broken.contains("stop the miner"), "{broken}");
        let mut program = Program::lacking(Defence::ClaimsProveNothing, mines);
        claims_before_a_mining_program(&mut program).unwrap_err();
    }

    #[test]
    fn where_no_answer_is_due_who_delivers_nothing_stops_all() {
        let broken = lacking(Defence::AnswersAreDue, |_| (), black_hole);
        assert!(broken.contains("who delivers"), "{broken}");
    }

    #[test]
    fn where_nobody_rests_who_has_nothing_keeps_the_turn() {
        let broken = lacking(Defence::EmptyAnswersRest, |_| (), empty_answers);
        assert!(broken.contains("who has something"), "{broken}");
    }

    #[test]
    fn where_who_catches_up_serves_nobody_two_such_wait_for_each_other() {
        let broken = lacking(Defence::ServedWhileBehind, |_| (), caught_up_with_half);
        assert!(broken.contains("what it has"), "{broken}");
        let mut program = Program::lacking(Defence::ServedWhileBehind, |_| ());
        caught_up_with_half(&mut program).unwrap_err();
    }
}
