//! When faults begin and end, and what all of them together make of each node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::snapshot::Snapshot;
use crate::scenario::{Act, Node, Occurrence, When};

/// The faults of a run, and how far each is. All times count from the start of mining.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    faults: Vec<Entry>,
    /// The last upgrade of each node that had one.
    upgrades: BTreeMap<usize, usize>,
}

#[derive(Clone, Debug)]
struct Entry {
    fault: Occurrence,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Active {
        since: Duration,
        /// Absent where it lasts until mining ends, or for good.
        until: Option<Duration>,
    },
    Over,
}

/// A fault that begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The fault of this index begins.
    Begins(usize),
    /// It ends.
    Ends(usize),
}

/// What the faults make of the machine that a node runs on. The default is a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// By how much the clock is off, in milliseconds.
    pub clock_offset_ms: i64,
    /// Whether nothing can be written.
    pub disk_full: bool,
    /// Whether no seed is resolved.
    pub seed_outage: bool,
}

/// What the faults make of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// Whether it runs.
    pub up: bool,
    /// Whether it stands still.
    pub paused: bool,
    /// What its machine is like.
    pub surroundings: Surroundings,
    /// So many times its hash rate.
    pub hashrate_factor: f64,
    /// The upgrade that made it what it is, by the fault's index.
    pub upgrade: Option<usize>,
}

impl Schedule {
    /// Nothing has happened yet.
    pub fn new(faults: &[Occurrence]) -> Self {
        let entry = |fault: &Occurrence| Entry {
            fault: fault.clone(),
            phase: Phase::Waiting,
        };
        Self {
            faults: faults.iter().map(entry).collect(),
            upgrades: BTreeMap::new(),
        }
    }

    /// Takes a fault to begin at a moment, whenever it says that it does.
    pub fn begin(&mut self, fault: Occurrence, since: Duration, until: Option<Duration>) -> Turn {
        let phase = Phase::Active { since, until };
        self.faults.push(Entry { fault, phase });
        Turn::Begins(self.faults.len() - 1)
    }

    /// Takes a fault to end now.
    pub fn end(&mut self, index: usize) -> Turn {
        self.faults[index].phase = Phase::Over;
        Turn::Ends(index)
    }

    /// Whether a node flaps now.
    pub fn flaps(&self) -> bool {
        let flaps = |entry: &Entry| {
            matches!(entry.phase, Phase::Active { .. }) && matches!(entry.fault.act, Act::Flap(_))
        };
        self.faults.iter().any(flaps)
    }

    /// Whether there are no faults at all.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// A fault.
    pub fn fault(&self, index: usize) -> &Occurrence {
        &self.faults[index].fault
    }

    /// The next fault that begins or ends at a moment, if one does: ask until none does. What ends does so before anything
    /// begins.
    pub fn turn(&mut self, now: Duration, snapshot: &Snapshot<'_>) -> Option<Turn> {
        let ends = |entry: &Entry| matches!(entry.phase, Phase::Active { until: Some(until), .. } if until <= now);
        if let Some(index) = self.faults.iter().position(ends) {
            self.faults[index].phase = Phase::Over;
            return Some(Turn::Ends(index));
        }
        let begins = |entry: &Entry| {
            entry.phase == Phase::Waiting
                && match &entry.fault.when {
                    When::At(span) => span.as_duration() <= now,
                    When::Block(number) => snapshot.most_blocks() >= *number,
                    When::Event(condition) => condition.evaluate(snapshot) == Some(true),
                    // An expanded scenario has none of these.
                    When::Every(_) | When::Poisson(_) | When::FaultsOver => false,
                }
        };
        let index = self.faults.iter().position(begins)?;
        let Entry { fault, phase } = &mut self.faults[index];
        let at_once = matches!(
            fault.act,
            Act::Restart | Act::Wipe | Act::ClockJump(_) | Act::Join | Act::Leave | Act::Upgrade(_)
        );
        if let Act::Upgrade(_) = fault.act {
            let upgraded = fault.nodes.iter().map(|&node| (node, index));
            self.upgrades.extend(upgraded);
        }
        let lasts = match fault.lasts {
            None if at_once => Some(Duration::ZERO),
            lasts => lasts.map(|lasts| lasts.as_duration()),
        };
        *phase = Phase::Active {
            since: now,
            until: lasts.map(|lasts| now + lasts),
        };
        Some(Turn::Begins(index))
    }

    /// Ends the next fault that lasts until mining ends, if there is one: ask until there is none.
    pub fn heal(&mut self) -> Option<Turn> {
        let index = self.faults.iter().position(Entry::heals_with_mining)?;
        self.faults[index].phase = Phase::Over;
        Some(Turn::Ends(index))
    }

    /// Whether nothing goes wrong any more, and nothing will. Nodes that are down for good do not count.
    pub fn is_over(&self) -> bool {
        self.unfinished().is_none() && !self.faults.iter().any(Entry::heals_with_mining)
    }

    /// A fault that has not begun, or not ended though it says when.
    pub fn unfinished(&self) -> Option<&Occurrence> {
        let open = |entry: &&Entry| match entry.phase {
            Phase::Waiting => true,
            Phase::Active { until, .. } => until.is_some(),
            Phase::Over => false,
        };
        self.faults.iter().find(open).map(|entry| &entry.fault)
    }

    /// The faults that do something to links at a moment.
    pub fn on_links(&self, now: Duration) -> Vec<usize> {
        let indices = 0..self.faults.len();
        indices
            .filter(|&index| self.faults[index].is_on_links(now))
            .collect()
    }

    /// The machines that are lost now, by their numbers.
    pub fn lost_machines(&self, nodes: &[Node]) -> BTreeSet<u64> {
        let losses = self.faults.iter().filter(|entry| {
            matches!(entry.phase, Phase::Active { .. }) && entry.fault.act == Act::MachineLoss
        });
        let lost = losses.flat_map(|entry| &entry.fault.nodes);
        lost.filter_map(|&node| nodes[node].machine).collect()
    }

    /// What the faults make of a node.
    pub fn wanted(&self, index: usize, node: &Node) -> Wanted {
        let mut wanted = Wanted {
            up: !node.joins_later,
            paused: false,
            surroundings: Surroundings::default(),
            hashrate_factor: 1.0,
            upgrade: self.upgrades.get(&index).copied(),
        };
        let begun = self.faults.iter().filter(|entry| {
            entry.phase != Phase::Waiting && entry.fault.nodes.binary_search(&index).is_ok()
        });
        let mut down = false;
        let surroundings = &mut wanted.surroundings;
        for Entry { fault, phase } in begun {
            let active = *phase != Phase::Over;
            match &fault.act {
                Act::Join => wanted.up = true,
                Act::Leave => down = true,
                Act::ClockJump(offset) => surroundings.clock_offset_ms += offset.as_us() / 1_000,
                Act::Stop
                | Act::Kill
                | Act::Restart
                | Act::Wipe
                | Act::Upgrade(_)
                | Act::MachineLoss => down |= active,
                Act::Pause => wanted.paused |= active,
                Act::ClockSkew(offset) if active => {
                    surroundings.clock_offset_ms += offset.as_us() / 1_000;
                }
                Act::DiskFull => surroundings.disk_full |= active,
                Act::SeedOutage => surroundings.seed_outage |= active,
                Act::Hashrate(factor) if active => wanted.hashrate_factor *= factor,
                _ => {}
            }
        }
        wanted.up &= !down;
        wanted
    }
}

impl Entry {
    fn heals_with_mining(&self) -> bool {
        let stays = matches!(self.fault.act, Act::Stop | Act::Kill | Act::MachineLoss);
        matches!(self.phase, Phase::Active { until: None, .. }) && !stays
    }

    fn is_on_links(&self, now: Duration) -> bool {
        let Phase::Active { since, .. } = self.phase else {
            return false;
        };
        match &self.fault.act {
            Act::Flap(every) => {
                let period_us = every.as_us().max(2) as u128;
                (now.saturating_sub(since)).as_micros() % period_us < period_us / 2
            }
            Act::Isolate
            | Act::Partition(_)
            | Act::Bridge(_)
            | Act::Cut(_)
            | Act::Degrade { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::readings::Readings;
    use crate::plan::{Plan, new_run_id};
    use crate::scenario::Scenario;

    fn plan(faults: &str) -> Plan {
        let text = format!("name = 'test'\nnodes = 3\nfaults = [{faults}]");
        let expanded = Scenario::parse(&text, "test", &[]).unwrap().expand();
        Plan::new(
            expanded.unwrap(),
            new_run_id(),
            std::path::Path::new("runs"),
        )
        .unwrap()
    }

    fn turns(schedule: &mut Schedule, plan: &Plan, at_ms: u64) -> Vec<Turn> {
        let readings = Readings::new(plan);
        let snapshot = Snapshot {
            plan,
            states: &[None, None, None],
            readings: &readings,
        };
        let now = Duration::from_millis(at_ms);
        std::iter::from_fn(|| schedule.turn(now, &snapshot)).collect()
    }

    #[test]
    fn a_node_is_down_until_the_last_fault_that_wants_it_is_over() {
        let plan = plan(
            "{ when = '1s', what = 'kill', who = 'node-1', for = '4s' },
             { when = '2s', what = 'stop', who = 'node-1', for = '1s' },
             { when = '2s', what = 'restart', who = 'node-2' }",
        );
        let mut schedule = Schedule::new(&plan.faults);
        let up = |schedule: &Schedule| schedule.wanted(0, &plan.nodes[0]).up;
        assert_eq!(turns(&mut schedule, &plan, 999), []);
        assert_eq!(turns(&mut schedule, &plan, 1_000), [Turn::Begins(0)]);
        let both = [Turn::Begins(1), Turn::Begins(2), Turn::Ends(2)];
        assert!(
            turns(&mut schedule, &plan, 2_000)
                .iter()
                .all(|turn| both.contains(turn))
        );
        assert_eq!(turns(&mut schedule, &plan, 3_000), [Turn::Ends(1)]);
        assert!(!up(&schedule) && !schedule.is_over());
        assert_eq!(turns(&mut schedule, &plan, 5_000), [Turn::Ends(0)]);
        assert!(up(&schedule) && schedule.is_over());
    }

    #[test]
    fn what_says_no_end_heals_with_mining_but_who_ended_stays_down() {
        let plan = plan(
            "{ when = '1s', what = 'isolate', who = 'node-1' },
             { when = '1s', what = 'kill', who = 'node-2' },
             { when = '1s', what = { hashrate = 2.0 } },
             { when = '1s', what = { clock-jump = '-1s' } }",
        );
        let mut schedule = Schedule::new(&plan.faults);
        assert_eq!(turns(&mut schedule, &plan, 1_000).len(), 5);
        assert!(schedule.unfinished().is_none() && !schedule.is_over());
        let healed: Vec<_> = std::iter::from_fn(|| schedule.heal()).collect();
        assert_eq!(healed, [Turn::Ends(0), Turn::Ends(2)]);
        let wanted = schedule.wanted(1, &plan.nodes[1]);
        assert!(schedule.is_over() && !wanted.up);
        assert_eq!(
            (wanted.surroundings.clock_offset_ms, wanted.hashrate_factor),
            (-1_000, 1.0)
        );
    }

    #[test]
    fn a_flapping_node_is_cut_off_half_of_the_time() {
        let plan = plan("{ when = '1s', what = { flap = '2s' }, who = 'node-1', for = '10s' }");
        let mut schedule = Schedule::new(&plan.faults);
        turns(&mut schedule, &plan, 1_000);
        let cut = |at_ms| !schedule.on_links(Duration::from_millis(at_ms)).is_empty();
        assert!(cut(1_000) && cut(1_999) && !cut(2_000) && !cut(2_999) && cut(3_000));
    }
}
