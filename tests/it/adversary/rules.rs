//! Rows 23, 24, 25, 30 and 32: what headers and requests may say. The rules of time are tried in `attacks`; here is what others do.

use std::sync::Arc;

use triskel::node::NodeConfig;
use triskel::node::config::Preset;
use triskel::protocol::chain::block::{Block, Stream};
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::rules::next_target;
use triskel::protocol::chain::template::{Search, Template};

use super::bare::Bare;
use super::honest::new_block;
use super::program::Program;
use super::{Bound, EASIEST, Victim, ensure};
use crate::memory::{Model, Wish, account};

/// A network whose blocks have several parents.
fn with_parents(config: &mut NodeConfig) {
    config.network.preset = Preset::Tri;
}

/// A block upon parents of which the last in `model` is one, with its work and whatever else is needed.
fn upon(
    victim: &impl Victim,
    model: &Model,
    tip: &BlockId,
    mut parents: Vec<BlockId>,
) -> Arc<Block> {
    parents.sort();
    let (_, record, _) = &model.blocks[tip];
    // As it would be for a node that merges what the last one has in its past already: nothing else is wrong with the block.
    let mut streams = record.streams;
    streams[Stream::A.index()].blocks += parents.len() as u64 - 1;
    let target = next_target(victim.network(), &streams, Stream::A);
    let template = Template {
        stream: Stream::A,
        parents,
        accumulator: Default::default(),
        bits: target.expect("the network has the stream").to_bits(),
        min_timestamp_ms: record.timestamp_ms() + 1_000,
        miner: account(9),
        transactions: Vec::new(),
    };
    let mut search = Search::new(template, 0, victim.network());
    Arc::new(search.attempt(0, 1 << 20).expect("the target is easy"))
}

/// Row 30. Parents that are each other's ancestors, and more of them than are allowed: the end of who sends them, and no place.
fn too_many_relations(victim: &mut impl Victim) -> Bound {
    let network = Arc::clone(victim.network());
    let mut model = Model::new(&network);
    let begin_ms = victim.wall_ms() - 600_000;
    let grow = |model: &mut Model, parent: BlockId, gap_ms: u64| {
        let wish = Wish {
            gap_ms,
            ..Wish::default()
        };
        model.grow(&parent, wish)
    };
    let first = grow(&mut model, network.id(), begin_ms);
    let second = grow(&mut model, first.id(), 1_000);
    let honest = victim.greet(1);
    for block in [&first, &second] {
        victim.say(honest, &new_block(block));
    }
    victim.until("the tip", |victim| victim.tip() == second.id())?;
    let most = network.params().max_parents;
    let invented = (0..most).map(|number| BlockId([number; 32]));
    let crowd: Vec<_> = invented.chain([second.id()]).collect();
    let hostile = [vec![first.id(), second.id()], crowd];
    for (person, parents) in (2..).zip(hostile) {
        let peer = victim.greet(person);
        let block = upon(victim, &model, &second.id(), parents);
        victim.say(peer, &new_block(&block));
        victim.until(
            "the end of who relates what is not to be related",
            |victim| !victim.is_open(peer),
        )?;
    }
    let bans = victim.bans();
    ensure(bans == 2, || format!("{bans} are banned"))?;
    let third = grow(&mut model, second.id(), 1_000);
    victim.say(honest, &new_block(&third));
    victim.until("what keeps the rules", |victim| victim.tip() == third.id())
}

#[test]
fn the_machine_takes_no_parents_that_are_related_or_too_many() {
    too_many_relations(&mut Bare::start(with_parents)).unwrap();
}

#[test]
fn the_program_takes_no_parents_that_are_related_or_too_many() {
    too_many_relations(&mut Program::start(with_parents)).unwrap();
}

const WEEK_MS: u64 = 7 * 24 * 3_600_000;

/// Row 25. After a pause of a week somebody sends a block of the least difficulty, as if all that time counted.
fn storm_after_a_pause(victim: &mut impl Victim) -> Bound {
    let network = Arc::clone(victim.network());
    let mut model = Model::new(&network);
    let before_ms = victim.wall_ms() - 60_000 - WEEK_MS;
    let wish = |gap_ms, bits| Wish {
        gap_ms,
        bits,
        ..Wish::default()
    };
    let last = model.grow(&network.id(), wish(before_ms, None));
    let honest = victim.greet(1);
    victim.say(honest, &new_block(&last));
    victim.until("the block before the pause", |victim| {
        victim.tip() == last.id()
    })?;
    // The first one after it is as hard as those before.
    let first = model.grow(&last.id(), wish(WEEK_MS, None));
    victim.say(honest, &new_block(&first));
    victim.until("the block after the pause", |victim| {
        victim.tip() == first.id()
    })?;
    let hostile = victim.greet(2);
    let easy = model.build(&first.id(), wish(1_000, Some(EASIEST)));
    victim.say(hostile, &new_block(&easy));
    victim.until("the end of who finds it too easy", |victim| {
        !victim.is_open(hostile)
    })?;
    let next = model.grow(&first.id(), wish(2_000, None));
    ensure(next.header().bits != EASIEST, || {
        "a week makes every block easy".to_owned()
    })?;
    victim.say(honest, &new_block(&next));
    victim.until("the next block", |victim| victim.tip() == next.id())
}

#[test]
fn the_machine_knows_no_storm_after_a_pause() {
    storm_after_a_pause(&mut Bare::start(|_| ())).unwrap();
}

#[test]
fn the_program_knows_no_storm_after_a_pause() {
    storm_after_a_pause(&mut Program::start(|_| ())).unwrap();
}

mod proofs {
    use serde_json::json;
    use triskel::protocol::chain::rules::MAX_GAP_HALF_LIVES;
    use triskel::rpc::GetHeaders;

    use super::*;

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn where_parents_may_be_related_they_are_taken() {
        use triskel::protocol::bugs::Defence;
        let defence = Defence::UnrelatedParents;
        super::super::lacking(defence, with_parents, too_many_relations);
    }

    /// A retarget over windows of blocks that leaves out the time between two windows, as Bitcoin's does: the difficulty after so
    /// many windows, relative to the first, where all hashes are the attacker's. He dates all blocks of a window a second apart
    /// but the last, which he dates two hours ahead (BIP54, "timewarp").
    fn difficulty_after(windows: u32) -> f64 {
        const BLOCKS: f64 = 2_016.0;
        const INTERVAL_S: f64 = 600.0;
        let (mut difficulty, mut real_s, mut first_s) = (1.0, 0.0, 0.0);
        for _ in 0..windows {
            real_s += BLOCKS * INTERVAL_S * difficulty;
            let last_s = real_s + 7_200.0;
            let seen: f64 = last_s - first_s;
            let allowed = (INTERVAL_S * BLOCKS / 4.0, INTERVAL_S * BLOCKS * 4.0);
            difficulty *= INTERVAL_S * BLOCKS / seen.clamp(allowed.0, allowed.1);
            // The next window begins a second after the blocks before the last, so the two hours, and all time since, count again.
            first_s += BLOCKS;
        }
        difficulty
    }

    /// Row 23.
    #[test]
    fn windows_that_do_not_join_let_time_be_counted_twice() {
        assert!(difficulty_after(1) > 0.9);
        assert!(difficulty_after(12) < 0.01, "{}", difficulty_after(12));
    }

    /// Blocks in the time of one where a third of them are dated ahead, by the mean of the last sixty solving times, none of which
    /// counts as less than a second: what was dated ahead counts, and what comes after it takes nothing back (Karbo, 2018).
    fn blocks_by_the_mean(ahead_s: f64) -> f64 {
        const WINDOW: usize = 60;
        const INTERVAL_S: f64 = 120.0;
        const BLOCKS: usize = 2_000;
        let mut last = vec![(INTERVAL_S, 1.0); WINDOW];
        let (mut real_s, mut dated_s) = (0.0, 0.0);
        for number in 0..BLOCKS {
            let window = &last[number..];
            let seen_s: f64 = window.iter().map(|(solving_s, _)| solving_s).sum();
            let mean: f64 =
                window.iter().map(|(_, difficulty)| difficulty).sum::<f64>() / WINDOW as f64;
            let difficulty = mean * INTERVAL_S * WINDOW as f64 / seen_s;
            real_s += INTERVAL_S * difficulty;
            let date_s = real_s + if number % 3 == 0 { ahead_s } else { 0.0 };
            last.push((f64::max(date_s - dated_s, 1.0), difficulty));
            dated_s = date_s;
        }
        BLOCKS as f64 * INTERVAL_S / real_s
    }

    /// Row 24.
    #[test]
    fn where_solving_times_are_averaged_dates_ahead_bring_blocks() {
        let honest = blocks_by_the_mean(0.0);
        assert!((0.95..1.05).contains(&honest), "{honest}");
        let dated = blocks_by_the_mean(7_200.0);
        assert!(dated > 1.2, "{dated}");
    }

    /// Row 25, as test networks had it: a pause counts as long as it was, and what follows is a storm of blocks (BIP94). Here it
    /// counts for four half-lives.
    #[test]
    fn where_a_pause_counts_in_full_the_next_target_is_the_easiest() {
        let machine = Bare::start(with_parents);
        let stream = machine.network().stream(Stream::A).unwrap();
        let (schedule, half_life_ms) = (stream.schedule, stream.params.half_life_ms);
        let after = |pause_ms: u64| schedule.target(pause_ms.into(), 1);
        assert_eq!(after(7 * 24 * 3_600_000), schedule.limit);
        let counted = after(MAX_GAP_HALF_LIVES * half_life_ms);
        assert!(counted.expected_hashes() * 17.0 > schedule.anchor.expected_hashes());
        assert!(counted < schedule.limit);
    }

    /// Row 32: others read numbers without a type, and took one below zero for one beyond all limits.
    #[test]
    fn a_number_below_zero_becomes_a_great_one_where_it_has_no_type() {
        let parameters = json!({ "from": 1, "count": -1 });
        let untyped = parameters["count"].as_i64().unwrap() as u64;
        assert_eq!(untyped, u64::MAX);
        assert!(serde_json::from_value::<GetHeaders>(parameters).is_err());
    }
}
