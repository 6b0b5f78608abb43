//! Mining against theory: are intervals exponential, are as many blocks red or stale as delay and rate let expect, does everybody
//! earn what their part of the hash rate is worth?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use triskel::protocol::chain::ordering::anticone_exceeds;

use super::recording::{Judged, Recording};
use super::statistics::{exponential_probabilities, kolmogorov, mean, proportion_interval};
use crate::scenario::Statistics;
use crate::verdict::NodeState;

/// Intervals that are compared with each other: enough to know their mean within a fifth, few enough to follow the difficulty.
pub const WINDOW: usize = 32;

/// Fewer intervals say nothing of their distribution.
pub const LEAST_INTERVALS: usize = 50;

/// Fewer blocks say nothing of rates and shares.
const LEAST_BLOCKS: u64 = 50;

/// How mining went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mining {
    /// Intervals by stream.
    pub streams: Vec<Intervals>,
    /// The mean time from a block's being found until hash rate elsewhere works on it, in milliseconds.
    pub delay_ms: Option<f64>,
    /// The part of the ordered blocks that are red.
    pub red: Option<Rate>,
    /// The part of the mined blocks that are not on the selected chain.
    pub stale: Option<Rate>,
    /// Blocks that the deepest reorganisation took back.
    pub undone_most: u64,
    /// What groups earned.
    pub revenue: Vec<Share>,
}

/// The times between the blocks of one stream, on whatever node they were mined.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Intervals {
    /// The stream.
    pub stream: String,
    /// How many intervals there were.
    pub count: usize,
    /// Their mean.
    pub mean_ms: f64,
    /// What difficulty aims at.
    pub target_ms: u64,
    /// The greatest distance between what was found and the exponential law.
    pub distance: Option<f64>,
    /// How likely it is to be as great by chance (Kolmogorov and Smirnov).
    pub p_value: Option<f64>,
}

/// A part of all blocks, found and expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// Of so many blocks.
    pub count: u64,
    /// So large a part.
    pub found: f64,
    /// With 95 % confidence the probability is at least this.
    pub low: f64,
    /// And at most this.
    pub high: f64,
    /// What delay and rate let expect.
    pub expected: Option<f64>,
}

/// What a group earned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// The group.
    pub group: String,
    /// Whether it breaks the rules.
    #[serde(default)]
    pub breaks_rules: bool,
    /// Its part of the rewards if luck were even: its part of the hash rate, by what streams paid.
    pub expected: f64,
    /// Where its part lies in 95 of 100 runs by luck alone: at least this.
    pub low: f64,
    /// And at most this.
    pub high: f64,
    /// What it was.
    pub found: f64,
}

impl Recording {
    /// How mining went. `states` is what the nodes said last.
    pub fn mining(&self, states: &[Option<NodeState>]) -> Mining {
        let delay_ms = self.mining_delay_ms();
        let streams = self.manifest.streams.iter();
        let streams = streams.map(|stream| {
            let intervals = self.intervals_ms(&stream.name);
            let judged = (intervals.len() >= LEAST_INTERVALS)
                .then(|| kolmogorov(exponential_probabilities(&intervals, WINDOW)))
                .flatten();
            Intervals {
                stream: stream.name.clone(),
                count: intervals.len(),
                mean_ms: mean(&intervals),
                target_ms: stream.interval_ms,
                distance: judged.map(|(distance, _)| distance),
                p_value: judged.map(|(_, p_value)| p_value),
            }
        });
        Mining {
            streams: streams.collect(),
            delay_ms,
            red: self.red(delay_ms),
            stale: self.stale(delay_ms),
            undone_most: self.undone().into_iter().max().unwrap_or_default(),
            revenue: self.revenue(states),
        }
    }

    /// The times between the blocks of a stream, in milliseconds, in their order.
    pub fn intervals_ms(&self, stream: &str) -> Vec<f64> {
        let whole = self.blocks.iter().filter(|trace| trace.is_whole());
        let mined = whole.filter(|trace| trace.stream == stream);
        let births: Vec<_> = mined.map(|trace| trace.born_us()).collect();
        births
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as f64 / 1_000.0)
            .collect()
    }

    /// The mean over blocks of the time until a hash, wherever it is spent, is spent on what follows them.
    fn mining_delay_ms(&self) -> Option<f64> {
        let hashrate = |node: usize| -> f64 {
            let member = self.manifest.nodes.get(node);
            member.map_or(0.0, |member| member.hashrates.values().sum::<u64>() as f64)
        };
        let total: f64 = (0..self.manifest.nodes.len()).map(hashrate).sum();
        let mut delays = Vec::new();
        for trace in self.blocks.iter().filter(|trace| trace.is_whole()) {
            let relayed = trace.hops.iter().filter(|hop| hop.origin == "relayed");
            let (mut weighted, mut reached) = (0.0, 0);
            let age_us = 1_000 * trace.age_ms;
            for hop in relayed {
                weighted += hashrate(hop.node) * (age_us + hop.at_us - trace.born_us()) as f64;
                reached += 1;
            }
            // Of blocks that are recorded but for their birth alone nothing is known.
            if reached > 0 {
                delays.push(weighted / total / 1_000.0);
            }
        }
        (!delays.is_empty() && total > 0.0).then(|| mean(&delays))
    }

    fn rate_per_ms(&self) -> Option<f64> {
        let mined = self.blocks.iter().filter(|trace| trace.is_whole()).count();
        Some(mined as f64 / (self.mining_s()? * 1_000.0))
    }

    /// A block is red if more than k blocks know nothing of it, nor it of them: those of one delay before and one after, as
    /// [`triskel::protocol::chain::ordering::k_for`] has it.
    fn red(&self, delay_ms: Option<f64>) -> Option<Rate> {
        let last = self.samples.iter().rev().find(|sample| sample.blocks > 0)?;
        if self.manifest.max_parents <= 1 {
            return None;
        }
        let expected = delay_ms.zip(self.rate_per_ms());
        Some(rate(
            last.red,
            last.blocks,
            expected.map(|(delay_ms, rate)| {
                anticone_exceeds(2.0 * delay_ms * rate, self.manifest.k).max(0.0)
            }),
        ))
    }

    /// A chain whose blocks take `delay` to arrive grows by one block in `1 / rate + delay`, so that of all blocks a part of
    /// `rate * delay / (1 + rate * delay)` is beside it (Sompolinsky and Zohar, 2015, section 5: equal miners, far apart).
    fn stale(&self, delay_ms: Option<f64>) -> Option<Rate> {
        let (beside, count) = if self.manifest.max_parents <= 1 {
            let mined = self.blocks.iter().filter(|trace| trace.is_whole()).count() as u64;
            let ordered = self.samples.iter().map(|sample| sample.blocks).max()?;
            (mined.saturating_sub(ordered), mined)
        } else {
            let dag = self.dag.as_ref()?;
            let all = dag.blocks.len() + dag.beside.len();
            let chain = dag.blocks.iter().filter(|block| block.chain).count();
            ((all - chain) as u64, all as u64)
        };
        let expected = delay_ms.zip(self.rate_per_ms());
        (count > 0).then(|| {
            rate(
                beside,
                count,
                expected.map(|(delay_ms, rate)| delay_ms * rate / (1.0 + delay_ms * rate)),
            )
        })
    }

    fn revenue(&self, states: &[Option<NodeState>]) -> Vec<Share> {
        let nodes = || self.manifest.nodes.iter().zip(states);
        let total: f64 = states
            .iter()
            .flatten()
            .map(|state| state.balance as f64)
            .sum();
        if total <= 0.0 {
            return Vec::new();
        }
        // What each stream paid, and in how many blocks.
        let paid: Vec<(&str, f64, f64)> = self
            .manifest
            .streams
            .iter()
            .map(|stream| {
                let mined = |state: &NodeState| state.mined.get(&stream.name).copied();
                let blocks = states.iter().flatten().filter_map(mined).sum::<u64>() as f64;
                (stream.name.as_str(), blocks * stream.reward as f64, blocks)
            })
            .collect();
        let rewards: f64 = paid.iter().map(|(_, paid, _)| paid).sum();
        let mut groups: BTreeMap<&str, Share> = BTreeMap::new();
        for (member, state) in nodes() {
            let share = groups.entry(&member.group).or_default();
            share.group.clone_from(&member.group);
            share.breaks_rules = !member.honest;
            share.found += state.as_ref().map_or(0.0, |state| state.balance as f64) / total;
        }
        for share in groups.values_mut() {
            let (mut expected, mut variance) = (0.0, 0.0);
            for (stream, paid, blocks) in paid.iter().filter(|(_, paid, _)| *paid > 0.0) {
                let hashes = |member: &super::record::Member| {
                    member.hashrates.get(*stream).copied().unwrap_or_default() as f64
                };
                let all: f64 = self.manifest.nodes.iter().map(hashes).sum();
                let own = self.manifest.nodes.iter();
                let own = own.filter(|member| member.group == share.group);
                let part = own.map(hashes).sum::<f64>() / all.max(1.0);
                let weight = paid / rewards;
                expected += weight * part;
                variance += weight * weight * part * (1.0 - part) / blocks;
            }
            let reach = 1.959_964 * variance.sqrt();
            share.expected = expected;
            share.low = (expected - reach).max(0.0);
            share.high = (expected + reach).min(1.0);
        }
        match rewards > 0.0 {
            true => groups.into_values().collect(),
            false => Vec::new(),
        }
    }
}

fn rate(hits: u64, count: u64, expected: Option<f64>) -> Rate {
    let (low, high) = proportion_interval(hits, count);
    Rate {
        count,
        found: hits as f64 / count.max(1) as f64,
        low,
        high,
        expected,
    }
}

impl Mining {
    /// What the verdict's terms demand, judged. What cannot be judged for want of blocks does not hold.
    pub fn judge(&self, terms: &Statistics) -> Vec<Judged> {
        let mut judged = Vec::new();
        let mut judge = |name: String, holds: bool, reason: String| {
            let reason = if holds { String::new() } else { reason };
            judged.push(Judged {
                name,
                holds,
                reason,
            });
        };
        if let Some(least) = terms.interval_p_value {
            for stream in &self.streams {
                let name = format!("statistics: intervals of stream {}", stream.stream);
                let reason = match stream.p_value {
                    Some(p_value) => format!("p = {p_value:.2e} is below {least}"),
                    None => format!(
                        "{} intervals say nothing, {LEAST_INTERVALS} would",
                        stream.count
                    ),
                };
                let holds = stream.p_value.is_some_and(|p_value| p_value >= least);
                judge(name, holds, reason);
            }
        }
        for (name, term, rate) in [
            ("red rate", terms.red_rate_error, self.red),
            ("stale rate", terms.stale_rate_error, self.stale),
        ] {
            if let Some(most) = term {
                let (holds, reason) = judge_rate(rate, most);
                judge(format!("statistics: {name}"), holds, reason);
            }
        }
        if let Some(most) = terms.reorganisation_depth {
            let reason = format!(
                "{} blocks were undone at once, at most {most}",
                self.undone_most
            );
            let holds = self.undone_most <= most;
            judge("statistics: reorganisation depth".to_owned(), holds, reason);
        }
        if let Some(most) = terms.revenue_error {
            if self.revenue.is_empty() {
                let reason = "nobody earned anything".to_owned();
                judge("statistics: revenue".to_owned(), false, reason);
            }
            let breaks_rules = |share: &Share| share.breaks_rules;
            let are_rules_broken = self.revenue.iter().any(breaks_rules);
            for share in &self.revenue {
                // What luck explains is no error.
                let (lack, excess) = (share.low - share.found, share.found - share.high);
                let error = match (are_rules_broken, share.breaks_rules) {
                    (false, _) => lack.max(excess),
                    // Whoever breaks the rules may lose by it, and what he loses the others gain.
                    (true, true) => excess,
                    (true, false) => lack,
                };
                let reason = format!(
                    "{:.3} of the revenue for {:.3} of the hash rate, by luck {:.3} to {:.3}, at most {most} beyond",
                    share.found, share.expected, share.low, share.high
                );
                let name = format!("statistics: revenue of {}", share.group);
                judge(name, error <= most, reason);
            }
        }
        judged
    }
}

fn judge_rate(rate: Option<Rate>, most: f64) -> (bool, String) {
    match rate {
        Some(Rate {
            count,
            found,
            expected: Some(expected),
            ..
        }) if count >= LEAST_BLOCKS => {
            let reason =
                format!("{found:.4} was found and {expected:.4} expected, at most {most} apart");
            ((found - expected).abs() <= most, reason)
        }
        _ => (
            false,
            format!("too little is known: {LEAST_BLOCKS} blocks and their ways are needed"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::blocks::{Logs, tests::arrival, traces};
    use crate::evidence::record::{ArrivalLine, Manifest, Member, StreamFacts};
    use crate::verdict::tests::state;

    fn two_miners() -> Recording {
        let member = |name: &str, hashrate| Member {
            name: name.to_owned(),
            group: name.to_owned(),
            honest: true,
            hashrates: BTreeMap::from([("A".to_owned(), hashrate)]),
        };
        Recording {
            manifest: Manifest {
                max_parents: 1,
                nodes: vec![member("small", 100), member("large", 300)],
                streams: vec![StreamFacts {
                    name: "A".to_owned(),
                    interval_ms: 1_000,
                    reward: 10,
                }],
                ..Manifest::default()
            },
            ..Recording::default()
        }
    }

    #[test]
    fn revenue_is_compared_with_hash_rate_and_luck() {
        let paid = |balance, mined| {
            let mut state = state(9, 1, 1).unwrap();
            state.balance = balance;
            state.mined = BTreeMap::from([("A".to_owned(), mined)]);
            Some(state)
        };
        let mining = two_miners().mining(&[paid(450, 45), paid(550, 55)]);
        let [large, small] = &mining.revenue[..] else {
            panic!("two groups: {mining:?}")
        };
        assert_eq!((large.expected, small.expected), (0.75, 0.25));
        assert!((small.found - 0.45).abs() < 1e-12);
        // 1.96 * sqrt(0.25 * 0.75 / 100)
        assert!((small.high - 0.25 - 0.0849).abs() < 1e-3);
        let terms = Statistics {
            revenue_error: Some(0.04),
            interval_p_value: Some(0.01),
            ..Statistics::default()
        };
        let judged = mining.judge(&terms);
        assert!(judged.iter().all(|judged| !judged.holds), "{judged:?}");
        assert!(judged[0].reason.contains("0 intervals say nothing"));
        // The large one has lost: that is as it should be where it breaks the rules, and not where the small one does.
        for (liar, holds) in [(0, true), (1, false)] {
            let mut mining = mining.clone();
            mining.revenue[liar].breaks_rules = true;
            let judged = mining.judge(&terms);
            let of_revenue = judged.iter().filter(|one| one.name.contains("revenue"));
            assert!(of_revenue.clone().count() == 2);
            assert!(
                of_revenue.clone().all(|one| one.holds == holds),
                "{judged:?}"
            );
        }
    }

    #[test]
    fn the_delay_counts_hash_rate_that_works_on_something_old() {
        let mut recording = two_miners();
        recording.blocks = traces(
            vec![
                arrival(0, 0, "x", None),
                arrival(8_000, 1, "x", Some(0)),
                ArrivalLine {
                    // Found four milliseconds before anybody, its own node included, knew of it.
                    age_ms: 4,
                    ..arrival(10_000, 1, "y", None)
                },
                arrival(18_000, 0, "y", Some(1)),
            ],
            &Logs::default(),
        );
        // Three quarters of the hash rate wait 8 ms for x, one quarter 12 ms for y.
        let mining = recording.mining(&[]);
        assert!((mining.delay_ms.unwrap() - 4.5).abs() < 1e-9);
        assert_eq!(recording.intervals_ms("A"), [10.0]);
    }
}
