//! When faults begin and end, and what all of them together make of each node.

use std::time::Duration;

use super::snapshot::Snapshot;
use crate::scenario::{Act, Node, Occurrence, When};

/// The faults of a run, and how far each is. All times count from the start of mining.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    faults: Vec<Entry>,
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

/// What the faults make of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// Whether it runs.
    pub up: bool,
    /// Whether it stands still.
    pub paused: bool,
    /// By how much its clock is off, in milliseconds.
    pub clock_offset_ms: i64,
    /// So many times its hash rate.
    pub hashrate_factor: f64,
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
        }
    }

    /// A fault.
    pub fn fault(&self, index: usize) -> &Occurrence {
        &self.faults[index].fault
    }

    /// The next fault that begins or ends at a moment, if one does: ask until none does. What ends makes room before something begins.
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
            Act::Restart | Act::Wipe | Act::ClockJump(_) | Act::Join | Act::Leave
        );
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

    /// What the faults make of a node.
    pub fn wanted(&self, index: usize, node: &Node) -> Wanted {
        let mut wanted = Wanted {
            up: !node.joins_later,
            paused: false,
            clock_offset_ms: 0,
            hashrate_factor: 1.0,
        };
        let begun = self.faults.iter().filter(|entry| {
            entry.phase != Phase::Waiting && entry.fault.nodes.binary_search(&index).is_ok()
        });
        let mut down = false;
        for Entry { fault, phase } in begun {
            let active = *phase != Phase::Over;
            match &fault.act {
                Act::Join => wanted.up = true,
                Act::Leave => down = true,
                Act::ClockJump(offset) => wanted.clock_offset_ms += offset.as_us() / 1_000,
                Act::Stop | Act::Kill | Act::Restart | Act::Wipe => down |= active,
                Act::Pause => wanted.paused |= active,
                Act::ClockSkew(offset) if active => {
                    wanted.clock_offset_ms += offset.as_us() / 1_000;
                }
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
        let stays = matches!(self.fault.act, Act::Stop | Act::Kill);
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
