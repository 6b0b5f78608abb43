//! Claims, cheap headings and wrong bodies: what they cost is bounded, and they decide nothing.

use std::sync::Arc;

use triskel::protocol::chain::block::{Block, Heading};
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::chain::rules::Scale;
use triskel::protocol::chain::work::Work;
use triskel::protocol::machine::SyncHeld;
use triskel::protocol::machine::io::Reason;
use triskel::protocol::wire::limits::{MAX_HEADERS, MAX_PLANNED};
use triskel::protocol::wire::message::{Message, Received};
use triskel::sim::simulated;

use super::rig::{Rig, cheap, claim_of};
use crate::memory::{Model, Wish};
use crate::stage::endless;

/// The easiest target that the network allows.
const EASIEST: u32 = 0x207f_ffff;

/// The network's first target.
const FIRST: u32 = 0x1f20_c49b;

/// One stream, without proof of work.
fn network() -> Arc<Network> {
    Arc::new(Network::new(simulated(Params::chain())).unwrap())
}

/// What so many headings of the first target prove.
fn proven(network: &Network, count: u64) -> Work {
    let scale = Scale::new(network, &Default::default());
    let first = cheap(network, network.id(), 1, FIRST);
    (0..count).map(|_| scale.of(first[0].header())).sum()
}

/// A chain of so many blocks upon genesis.
fn chain(model: &mut Model, count: usize, miner: usize) -> Vec<Arc<Block>> {
    let mut parent = model.network.id();
    let mut blocks = Vec::new();
    for _ in 0..count {
        // The first block dates the network.
        let gap_ms = if blocks.is_empty() {
            1_767_225_000_000
        } else {
            1_000
        };
        let wish = Wish {
            miner,
            gap_ms,
            ..Wish::default()
        };
        let block = model.grow(&parent, wish);
        parent = block.id();
        blocks.push(block);
    }
    blocks
}

fn headings(blocks: &[Arc<Block>]) -> Vec<Heading> {
    blocks.iter().map(|block| block.heading().clone()).collect()
}

fn work(model: &Model, block: &Block) -> Work {
    model.blocks[&block.id()].1.work
}

/// Answers what a peer was asked for from these blocks, until nothing more is asked.
fn serve(rig: &mut Rig, conn: u64, blocks: &[Arc<Block>]) {
    loop {
        let mut answered = false;
        for message in rig.taken(conn) {
            match message {
                Message::RequestHeaders { locator } => {
                    let known = |id: &BlockId| blocks.iter().position(|block| block.id() == *id);
                    let from = locator.iter().find_map(known).map_or(0, |at| at + 1);
                    let page: Vec<_> = blocks[from..].iter().take(MAX_HEADERS).cloned().collect();
                    let message = Received::Headers {
                        from_block: from as u64 + 1,
                        more: from + page.len() < blocks.len(),
                        headers: headings(&page),
                    };
                    rig.hear(conn, message);
                    answered = true;
                }
                Message::RequestBlocksById { ids } => {
                    let wanted = |block: &&Arc<Block>| ids.contains(&block.id());
                    let message = Received::Blocks {
                        from_block: 0,
                        blocks: blocks.iter().filter(wanted).cloned().collect(),
                    };
                    rig.hear(conn, message);
                    answered = true;
                }
                _ => {}
            }
        }
        rig.pass(5);
        if !answered {
            return;
        }
    }
}

/// A machine that has a chain, and the model of it.
fn grown(count: usize) -> (Rig, Model, Vec<Arc<Block>>) {
    let network = network();
    let mut model = Model::new(&network);
    let blocks = chain(&mut model, count, 1);
    let mut rig = Rig::new(&network, Work::ZERO);
    let last = blocks.last().unwrap();
    rig.greet(1, claim_of(last, work(&model, last), count as u64));
    serve(&mut rig, 1, &blocks);
    assert_eq!(rig.tip().id, last.id());
    (rig, model, blocks)
}

#[test]
fn cheap_headings_cost_no_memory_and_others_get_their_turn() {
    const PAGES: u64 = 20;
    let (mut rig, mut model, _) = grown(60);
    let network = Arc::clone(&rig.stage.network);
    let own = rig.tip().id;
    let better = chain(&mut model, 70, 2);
    rig.greet(2, endless(2));
    assert!(rig.asks_for_headings(2));
    let last = better.last().unwrap();
    rig.greet(3, claim_of(last, work(&model, last), 70));
    // As cheap as headings can be, and more of them whenever they are asked for.
    let all = cheap(&network, network.id(), PAGES * MAX_HEADERS as u64, EASIEST);
    for (page, headers) in all.chunks(MAX_HEADERS).enumerate() {
        rig.hear(
            2,
            Received::Headers {
                from_block: (page * MAX_HEADERS) as u64 + 1,
                headers: headers.to_vec(),
                more: true,
            },
        );
        let held = rig.stage.machine.sync_held();
        let bounded = SyncHeld {
            proofs: held.proofs,
            pages: page + 1,
            ..SyncHeld::default()
        };
        assert_eq!(held, bounded);
        assert!(rig.asks_for_headings(2));
        assert!(rig.stage.mines, "claims stop the miner");
    }
    // Its turn is over at the latest when the next answer is late: the other one is asked.
    rig.pass(11_000);
    assert_eq!(rig.stage.machine.sync_held().pages, 0);
    serve(&mut rig, 3, &better);
    assert_eq!(rig.tip().id, last.id());
    assert_ne!(rig.tip().id, own);
    assert!(
        rig.stage
            .ended
            .iter()
            .all(|(_, reason)| !matches!(reason, Reason::Fault(_)))
    );
}

/// The page of a chain of headings from an index, as a peer sends it that has them all.
fn page(all: &[Heading], from: usize) -> Received {
    let end = all.len().min(from + MAX_HEADERS);
    Received::Headers {
        from_block: from as u64 + 1,
        headers: all[from..end].to_vec(),
        more: end < all.len(),
    }
}

#[test]
fn less_work_than_is_known_to_be_there_is_not_kept() {
    let network = network();
    let all = cheap(&network, network.id(), 3_000, FIRST);
    let mut rig = Rig::new(&network, proven(&network, 2_500));
    rig.pass(1);
    assert!(
        !rig.stage.mines,
        "it mines upon less than it knows to be there"
    );
    // One has too little.
    rig.greet(1, endless(1));
    rig.hear(1, page(&all[..2_400], 0));
    assert_eq!(rig.stage.machine.sync_held().pages, 1);
    rig.hear(1, page(&all[..2_400], MAX_HEADERS));
    assert_eq!(rig.stage.machine.sync_held(), SyncHeld::default());
    // The other proves it on the second page, and is asked for both once more.
    rig.greet(2, endless(2));
    for from in [0, MAX_HEADERS] {
        assert!(rig.asks_for_headings(2));
        rig.hear(2, page(&all, from));
        assert_eq!(rig.stage.machine.sync_held().planned, 0);
    }
    assert!(rig.asks_for_headings(2));
    rig.hear(2, page(&all, 0));
    assert_eq!(rig.stage.machine.sync_held().planned, MAX_HEADERS);
    let first = rig.asked_for(2).concat();
    let ids: Vec<_> = all.iter().map(Heading::id).collect();
    assert!(!first.is_empty() && ids.starts_with(&first));
    rig.hear(2, page(&all, MAX_HEADERS));
    assert_eq!(rig.stage.machine.sync_held().planned, all.len());
}

#[test]
fn headings_that_differ_the_second_time_lead_to_nothing() {
    let network = network();
    let all = cheap(&network, network.id(), 3_000, FIRST);
    let mut rig = Rig::new(&network, proven(&network, 2_500));
    rig.greet(1, endless(1));
    rig.hear(1, page(&all, 0));
    assert_eq!(rig.stage.machine.sync_held().pages, 1);
    rig.hear(1, page(&all, MAX_HEADERS));
    let other = cheap(&network, network.id(), 3_000, EASIEST);
    rig.hear(1, page(&other, 0));
    assert_eq!(rig.stage.machine.sync_held(), SyncHeld::default());
    assert!(rig.asked_for(1).is_empty());
}

#[test]
fn headings_beside_a_heavy_block_are_not_believed_to_follow_it() {
    let (mut rig, _, blocks) = grown(60);
    let network = Arc::clone(&rig.stage.network);
    rig.greet(2, endless(2));
    let message = Received::Headers {
        from_block: blocks.len() as u64 + 1,
        headers: cheap(&network, network.id(), 100, EASIEST),
        more: false,
    };
    rig.hear(2, message);
    assert_eq!(rig.stage.machine.sync_held(), SyncHeld::default());
    assert!(rig.asked_for(2).is_empty());
}

#[test]
fn whoever_proves_more_takes_the_lead_from_endless_cheap_headings() {
    let network = network();
    let mut model = Model::new(&network);
    let blocks = chain(&mut model, 40, 1);
    let mut rig = Rig::new(&network, Work::ZERO);
    rig.greet(1, endless(1));
    // A node that has nothing believes what it is shown: it plans as much as there is room for.
    let all = cheap(&network, network.id(), 2 * MAX_HEADERS as u64, EASIEST);
    for (page, headers) in all.chunks(MAX_HEADERS).enumerate() {
        let message = Received::Headers {
            from_block: (page * MAX_HEADERS) as u64 + 1,
            headers: headers.to_vec(),
            more: true,
        };
        rig.hear(1, message);
    }
    assert_eq!(rig.stage.machine.sync_held().planned, MAX_PLANNED);
    rig.taken(1);
    let last = blocks.last().unwrap();
    rig.greet(2, claim_of(last, work(&model, last), 40));
    serve(&mut rig, 2, &blocks);
    assert_eq!(rig.tip().id, last.id());
}

#[test]
fn who_has_answered_late_is_asked_again() {
    let (mut rig, mut model, _) = grown(20);
    let better = chain(&mut model, 30, 2);
    let last = better.last().unwrap();
    rig.greet(2, endless(2));
    rig.greet(3, claim_of(last, work(&model, last), 30));
    // One never answers, the other when its time is over. Nobody waits for the first a second time.
    rig.pass(31_000);
    serve(&mut rig, 3, &better);
    assert_eq!(rig.tip().id, last.id());
}

#[test]
fn nothing_is_remembered_of_claims_alone() {
    let (mut rig, ..) = grown(10);
    let tip = rig.tip().id;
    for conn in 2..20 {
        rig.greet(conn, endless(conn as u8));
    }
    // They claim, and never answer.
    rig.pass(20_000);
    assert_eq!(rig.tip().id, tip);
    let held = rig.stage.machine.sync_held();
    assert!(held.proofs <= 2, "{held:?}");
    assert_eq!((held.planned, held.pages), (0, 0));
    assert!(rig.stage.mines);
    assert!(
        rig.stage
            .ended
            .iter()
            .all(|(_, reason)| !matches!(reason, Reason::Fault(_)))
    );
}

#[test]
fn however_many_claim_most_and_stay_silent_who_was_dialled_waits_for_one_of_them() {
    const LIARS: u64 = 20;
    let (mut rig, mut model, _) = grown(20);
    let better = chain(&mut model, 30, 2);
    for liar in 0..LIARS {
        rig.greet(100 + liar, endless(liar as u8));
    }
    let last = better.last().unwrap();
    rig.reach(2, claim_of(last, work(&model, last), 30));
    // The first of them has the lead until its answer is late.
    rig.pass(11_000);
    serve(&mut rig, 2, &better);
    assert_eq!(rig.tip().id, last.id());
    // So do others, when there is nothing else to ask for; and who was dialled goes before those that have waited for longer.
    let best = chain(&mut model, 40, 3);
    let last = best.last().unwrap();
    rig.reach(3, claim_of(last, work(&model, last), 40));
    rig.pass(11_000);
    serve(&mut rig, 3, &best);
    assert_eq!(rig.tip().id, last.id());
}
