//! How far back the hash rate of one stream rewrites what all three have built.
//!
//! From each of many blocks of the honest branch somebody mines blocks of one stream and keeps them back. How deep he got is
//! measured at the last moment at which his branch had more work than the honest one: had he published it then, every honest node
//! would have followed it.

use std::fmt;

use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::ordering::dag::Index;
use triskel::protocol::chain::params::Params;
use triskel::protocol::rng::Rng;

use super::line::{Field, Found, Line};
use super::{EPOCH_MS, HASHRATE, network, rate, replay, seeds, wait};

/// How the attacker dates the blocks that he keeps back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dating {
    /// As early as allowed: his clock stands still, no target of his branch eases.
    Early,
    /// As late as allowed when he finds them.
    Late,
}

#[derive(Clone, Copy, Debug)]
struct Attack {
    stream: Stream,
    strength: f64,
    dating: Dating,
    /// Whether his blocks merge what they outweigh of the honest branch, so that its blue blocks count in his too.
    merging: bool,
}

/// The deepest rewrite of one start: the honest blocks that are replaced, and the time over which they were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
struct Rewrite {
    seconds: f64,
    blocks: usize,
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s, {} blocks", self.seconds, self.blocks)
    }
}

impl Attack {
    /// One start upon the first of the honest blocks. He gives up when he is so many seconds of the network's work behind.
    fn start(&self, field: &mut Field, honest: &[Found], give_up_s: f64, rng: &mut Rng) -> Rewrite {
        let future_ms = field.network.params().max_future_ms;
        let mut deepest = Rewrite::default();
        let fork = honest[0];
        let mut tip = fork.index;
        let mut at_ms = fork.at_ms;
        let (mut known, mut merged) = (0, 0);
        loop {
            let mut parents = vec![tip];
            if self.merging
                && let Some(best) = self.outweighed(field, tip, &honest[..=known])
                && best > merged
            {
                let best = best.min(merged + usize::from(field.network.params().merge_limit));
                parents.push(honest[best].index);
                merged = best;
            }
            let target = field.target(&parents, self.stream);
            at_ms += wait(rng, rate(target, self.strength));
            while honest
                .get(known + 1)
                .is_some_and(|found| found.at_ms <= at_ms)
            {
                known += 1;
                if field.work(tip) > field.work(honest[known - 1].index) && known > 1 {
                    let seconds = (honest[known].at_ms - honest[1].at_ms) / 1_000.0;
                    deepest = Rewrite {
                        seconds,
                        blocks: known - 1,
                    };
                }
            }
            let behind = field.work(honest[known].index) - field.work(tip);
            // All three streams count their interval times the hashes of a second in each second.
            let second = 3.0 * 1_000.0 * HASHRATE;
            if behind.to_f64() > give_up_s * second || known + 1 == honest.len() {
                return deepest;
            }
            let date_ms = match self.dating {
                Dating::Early => 0,
                Dating::Late => EPOCH_MS + at_ms as u64 + future_ms,
            };
            tip = field.mine(&parents, self.stream, date_ms);
        }
    }

    /// The last honest block that has less work than his own tip, so that he can merge it and still continue his own.
    fn outweighed(&self, field: &Field, tip: Index, honest: &[Found]) -> Option<usize> {
        let lighter = honest.partition_point(|found| field.work(found.index) < field.work(tip));
        (lighter > 1).then(|| lighter - 1)
    }
}

/// What others do while the attack goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// As many hashes as ever in all streams.
    MineAll,
    /// The attacker's stream was his alone, and has no blocks any more.
    MineTheRest,
}

/// All starts of an attack, from the shallowest rewrite to the deepest.
fn rewrites(attack: &Attack, others: Others, seed: u64) -> Vec<Rewrite> {
    let network = network(Params::tri());
    let mut field = Field::new(&network);
    let mut rng = Rng::new(seed);
    let mut line = Line::new(&field);
    let mut rewrites = Vec::new();
    let is_strong = attack.strength > 1.0;
    line.grow(&mut field, [1.0; 3], 20_000.0, &mut rng);
    match others {
        Others::MineAll => {
            let (length_ms, after, step) = if is_strong {
                (1_000_000.0, 8_000, 800)
            } else {
                (600_000.0, 2_000, [9, 9, 45][attack.stream.index()])
            };
            line.grow(&mut field, [1.0; 3], length_ms, &mut rng);
            for fork in (200..line.0.len() - after).step_by(step) {
                let honest = &line.0[fork..];
                let give_up_s = if is_strong { 100.0 } else { 25.0 };
                rewrites.push(attack.start(&mut field, honest, give_up_s, &mut rng));
            }
        }
        Others::MineTheRest => {
            let mut strengths = [1.0; 3];
            strengths[attack.stream.index()] = 0.0;
            let fork = line.0.len() - 1;
            for _ in 0..8 {
                let mut line = line.clone();
                line.grow(&mut field, strengths, 420_000.0, &mut rng);
                for _ in 0..5 {
                    rewrites.push(attack.start(&mut field, &line.0[fork..], 40.0, &mut rng));
                }
            }
        }
    }
    rewrites.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    rewrites
}

/// Tries each way of dating, with as many hashes as all honest miners have in the stream, times `strength`.
fn try_all(
    (stream, strength, merging): (Stream, f64, bool),
    others: Others,
    stated_s: f64,
    test: &str,
) {
    let mut deepest = Rewrite::default();
    for seed in seeds(1) {
        for dating in [Dating::Early, Dating::Late] {
            let attack = Attack {
                stream,
                strength,
                dating,
                merging,
            };
            let rewrites = rewrites(&attack, others, seed);
            let at = |percent| rewrites[(rewrites.len() - 1) * percent / 100];
            println!(
                "{attack:?}, others {others:?}, seed {seed}, {} starts: {} at 50 %, {} at 99 %, {} at most",
                rewrites.len(),
                at(50),
                at(99),
                at(100)
            );
            if at(100).seconds > deepest.seconds {
                deepest = at(100);
            }
        }
        let again = replay(seed, test);
        assert!(deepest.seconds <= stated_s, "{stream}: {deepest}\n{again}");
    }
}

#[test]
fn a_branch_of_stream_a_that_merges_nothing_rewrites_less_than_two_minutes() {
    let test = "depth::a_branch_of_stream_a_that_merges_nothing_rewrites_less_than_two_minutes";
    try_all((Stream::A, 1.0, false), Others::MineAll, 120.0, test);
}

#[test]
fn a_branch_of_stream_b_that_merges_nothing_rewrites_less_than_forty_seconds() {
    let test = "depth::a_branch_of_stream_b_that_merges_nothing_rewrites_less_than_forty_seconds";
    try_all((Stream::B, 1.0, false), Others::MineAll, 40.0, test);
}

#[test]
fn a_branch_of_stream_c_rewrites_less_than_twenty_seconds() {
    let test = "depth::a_branch_of_stream_c_rewrites_less_than_twenty_seconds";
    try_all((Stream::C, 1.0, true), Others::MineAll, 20.0, test);
}

#[test]
fn ten_times_the_hash_rate_of_a_stream_rewrites_no_more_than_stated() {
    let test = "depth::ten_times_the_hash_rate_of_a_stream_rewrites_no_more_than_stated";
    for (stream, stated_s) in [(Stream::A, 900.0), (Stream::B, 150.0), (Stream::C, 80.0)] {
        try_all((stream, 10.0, false), Others::MineAll, stated_s, test);
    }
}

#[test]
fn merging_what_it_outweighs_takes_a_branch_of_stream_a_no_deeper() {
    let test = "depth::merging_what_it_outweighs_takes_a_branch_of_stream_a_no_deeper";
    try_all((Stream::A, 1.0, true), Others::MineAll, 120.0, test);
}

#[test]
fn merging_what_it_outweighs_takes_a_branch_of_stream_b_no_deeper() {
    let test = "depth::merging_what_it_outweighs_takes_a_branch_of_stream_b_no_deeper";
    try_all((Stream::B, 1.0, true), Others::MineAll, 40.0, test);
}

#[test]
fn whoever_takes_all_of_a_stream_away_rewrites_no_more_than_stated() {
    let test = "depth::whoever_takes_all_of_a_stream_away_rewrites_no_more_than_stated";
    for (stream, stated_s) in [(Stream::C, 90.0), (Stream::B, 120.0), (Stream::A, 240.0)] {
        for merging in [false, true] {
            try_all((stream, 1.0, merging), Others::MineTheRest, stated_s, test);
        }
    }
}
