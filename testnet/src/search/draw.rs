//! Scenarios drawn from a seed. Whatever is drawn, a network of honest nodes must come through it: a draw that asks for more than
//! that would find nothing but itself.
//!
//! So nobody ends for good, whatever breaks heals, links stay good enough to greet over, and nobody is parted for so long that
//! what the parts have is final. A disk is removed only where no transfer can be lost with it.

use triskel::protocol::rng::Rng;

use crate::backend;
use crate::scenario::{
    Action, Capability, Conditions, Fault, Group, Invariants, LinkChoice, LinkRule, Links, Load,
    NetworkSection, Offset, Parts, Preset, Region, Scenario, Span, StreamName, StreamSection,
    Terms, Topology, When, Who,
};
use crate::scenario::{Arrivals, Distribution};

/// Virtual time within which faults begin, at most, in milliseconds.
const MAX_TROUBLE_MS: u64 = 30_000;

/// The longest that a fault lasts, in milliseconds.
const MAX_FAULT_MS: u64 = 12_000;

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    let mut draw = Draw {
        rng: Rng::new(seed ^ 0x6672_7a7a),
        trouble_ms: 0,
        transfers: false,
    };
    draw.trouble_ms = 2_000 + draw.rng.below(MAX_TROUBLE_MS - 2_000);
    draw.transfers = draw.one_in(2);
    let mut scenario = Scenario::new(format!("drawn-{seed}"))
        .seed(seed)
        .nodes(2 + draw.rng.below(7))
        .blocks(1 + draw.rng.below(60))
        .transfers(if draw.transfers {
            1 + draw.rng.below(60)
        } else {
            0
        })
        .verdict(draw.terms());
    if draw.one_in(2) {
        scenario.duration = Some(Span::from_ms(draw.trouble_ms));
    }
    scenario.network = draw.network();
    draw.groups(&mut scenario);
    scenario.topology = draw.topology(scenario.node_count());
    scenario.links = draw.links();
    draw.load(&mut scenario);
    let faults = draw.rng.below(9);
    for _ in 0..faults {
        let fault = draw.fault(&scenario);
        scenario.faults.push(fault);
    }
    let able = backend::capabilities("sim");
    scenario
        .faults
        .retain(|fault| able.contains(&Capability::Fault(fault.what.kind())));
    if !able.contains(&Capability::Load) {
        scenario.load.clear();
    }
    scenario
}

struct Draw {
    rng: Rng,
    /// Faults begin before this.
    trouble_ms: u64,
    /// Whether a disk may hold what nobody else has.
    transfers: bool,
}

impl Draw {
    fn one_in(&mut self, count: u64) -> bool {
        self.rng.below(count) == 0
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.rng.below(choices.len() as u64) as usize].clone()
    }

    fn span(&mut self, least_ms: u64, most_ms: u64) -> Span {
        // As often short as long: what matters is how a span compares with others.
        let most_ms = least_ms + 1 + self.rng.below(most_ms - least_ms);
        Span::from_ms(least_ms + self.rng.below(most_ms - least_ms))
    }

    /// Generous, because only what never comes is a bug here; all that the simulator can look at.
    fn terms(&mut self) -> Terms {
        Terms {
            start_within: Span::from_ms(120_000),
            blocks_within: Some(Span::from_ms(1_200_000)),
            convergence_within: Span::from_ms(300_000),
            fresh_blocks: 1 + self.rng.below(10),
            invariants: Invariants {
                no_panic: Some(true),
                no_unexpected_restart: Some(true),
                supply: Some(true),
                no_invalid_block: Some(true),
                ..Invariants::default()
            },
            ..Terms::default()
        }
    }

    fn network(&mut self) -> NetworkSection {
        let preset = self.of(&[Preset::Chain, Preset::Tri]);
        let mut network = NetworkSection {
            preset,
            ..NetworkSection::default()
        };
        for (index, stream) in preset.streams().iter().enumerate() {
            // A chain of the preset's pace would take half an hour for its blocks.
            if *stream == StreamName::A || self.one_in(2) {
                let interval_ms = [4_000, 1_500, 600][index] / self.of(&[1, 2, 5, 10]);
                let section = StreamSection {
                    interval_ms: Some(interval_ms),
                    reward: self.one_in(4).then(|| self.rng.below(100)),
                    ..StreamSection::default()
                };
                network.streams.insert(*stream, section);
            }
        }
        network
    }

    fn groups(&mut self, scenario: &mut Scenario) {
        if self.one_in(3) {
            let share = 0.1 * (1 + self.rng.below(8)) as f64;
            scenario.groups.push(Group::new("big").share(share));
        }
        if self.one_in(4) {
            let mut idle = Group::new("idle");
            (idle.count, idle.hashrate) = (Some(1 + self.rng.below(2)), Some(0));
            scenario.groups.push(idle);
        }
        if self.one_in(4) {
            let regions: Vec<_> = Region::all().collect();
            let mut abroad = Group::new("abroad");
            abroad.count = Some(1 + self.rng.below(3));
            abroad.regions = (0..3).map(|_| self.of(&regions)).collect();
            scenario.groups.push(abroad);
        }
    }

    fn topology(&mut self, nodes: u64) -> Topology {
        let even = |degree: u64| degree < nodes && (nodes * degree).is_multiple_of(2);
        match self.rng.below(9) {
            0 => Topology::Line,
            1 if nodes > 2 => Topology::Ring,
            2 => Topology::Star,
            3 => Topology::Grid { columns: None },
            4 if even(3) => Topology::Regular { degree: 3 },
            5 => Topology::Random { degree: 2 },
            6 if nodes > 4 => Topology::SmallWorld {
                degree: 4,
                rewired: 0.3,
            },
            7 if nodes > 3 => Topology::ScaleFree { dials: 2 },
            _ => Topology::LineWithChords,
        }
    }

    fn conditions(&mut self) -> Conditions {
        Conditions {
            delay: self.span(0, 300),
            jitter: self.span(0, 100),
            loss: if self.one_in(2) {
                0.01 * self.rng.below(15) as f64
            } else {
                0.0
            },
            rate_bytes_per_s: self.one_in(4).then(|| 50_000 + self.rng.below(1_000_000)),
        }
    }

    fn link(&mut self) -> LinkChoice {
        match self.one_in(2) {
            true => LinkChoice::from(self.of(&["lan", "wifi", "cable", "dsl", "4g", "lossy"])),
            false => self.conditions().into(),
        }
    }

    fn links(&mut self) -> Links {
        let mut links = Links {
            default: self.one_in(2).then(|| self.link()),
            regions: self.one_in(2),
            ..Links::default()
        };
        for _ in 0..self.rng.below(3) {
            links.rules.push(LinkRule {
                from: Who::Random(1, Box::default()),
                to: Who::Half(Box::default()),
                both: self.one_in(2),
                link: self.link(),
            });
        }
        links
    }

    fn load(&mut self, scenario: &mut Scenario) {
        let rate = 1.0 + self.rng.below(20) as f64;
        let arrivals = match self.rng.below(3) {
            0 => Arrivals::Constant(rate),
            1 => Arrivals::Poisson(rate),
            _ => Arrivals::Burst {
                size: 1 + self.rng.below(50),
                every: self.span(1_000, 10_000),
            },
        };
        let mut load = Load::new(arrivals).lasting(self.span(1_000, MAX_TROUBLE_MS));
        load.senders = 1 + self.rng.below(20);
        load.fee = Distribution::Uniform {
            least: 1,
            most: 1 + self.rng.below(100),
        };
        if self.transfers && self.one_in(3) {
            scenario.load.push(load);
        }
    }

    fn who(&mut self) -> Who {
        match self.rng.below(6) {
            0 => Who::Half(Box::default()),
            1 => Who::All,
            2 => Who::Share(0.3, Box::default()),
            _ => Who::Random(1 + self.rng.below(2), Box::default()),
        }
    }

    fn when(&mut self, scenario: &Scenario) -> When {
        let time = When::At(self.span(0, self.trouble_ms));
        let block = When::Block(1 + self.rng.below(scenario.blocks));
        match (self.rng.below(10), scenario.duration) {
            (0, Some(_)) => When::Every(self.span(4_000, 4_000 + self.trouble_ms)),
            (1, Some(_)) => When::Poisson(0.05),
            (2 | 3, _) => block,
            _ => time,
        }
    }

    fn offset(&mut self, most_ms: u64) -> Offset {
        let offset = Offset::from(self.span(0, most_ms));
        match self.one_in(2) {
            true => -offset,
            false => offset,
        }
    }

    fn fault(&mut self, scenario: &Scenario) -> Fault {
        let parts = 2 + self
            .rng
            .below(2)
            .min(scenario.node_count().saturating_sub(2));
        let what = match self.rng.below(16) {
            0 => Action::Stop,
            1 | 2 => Action::Kill,
            3 => Action::Restart,
            4 if !self.transfers => Action::Wipe,
            5 => Action::Isolate,
            6 | 7 => Action::Partition(Parts::Count(parts)),
            8 => Action::cut(Who::Random(1, Box::default())),
            9 => Action::Flap(self.span(200, 4_000)),
            10 => Action::Degrade {
                to: self.who(),
                both: self.one_in(2),
                link: self.link(),
            },
            11 => Action::ClockSkew(self.offset(4_000)),
            12 => Action::ClockJump(self.offset(1_000)),
            13 => Action::Hashrate(self.of(&[0.0, 0.1, 3.0, 10.0])),
            14 if can_join(scenario) => Action::Join,
            _ => Action::Pause,
        };
        let when = self.when(scenario);
        let lasts = what.kind().lasts().then(|| self.span(100, MAX_FAULT_MS));
        let (when, who) = match what {
            Action::Join => {
                let last = format!("node-{}", scenario.nodes);
                (When::At(self.span(0, self.trouble_ms)), Who::Named(last))
            }
            Action::Partition(_) => (when, Who::All),
            // Who loses the disk must find somebody who has not.
            Action::Wipe => (when, Who::Random(1, Box::default())),
            _ => (when, self.who()),
        };
        Fault {
            lasts,
            ..Fault::new(when, what).of(who)
        }
    }
}

/// Whether the last node can come late: once, and nobody has it as the only neighbour.
fn can_join(scenario: &Scenario) -> bool {
    let alone = matches!(
        scenario.topology,
        Topology::Line | Topology::Ring | Topology::Star | Topology::LineWithChords
    );
    let joined = |fault: &Fault| fault.what == Action::Join;
    alone && scenario.nodes > 2 && scenario.groups.is_empty() && !scenario.faults.iter().any(joined)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn whatever_is_drawn_is_a_scenario_that_the_simulator_can_run() {
        let able = backend::capabilities("sim");
        let mut kinds = BTreeSet::new();
        for seed in 0..300 {
            let drawn = scenario(seed);
            assert_eq!(drawn, scenario(seed));
            let expanded = drawn.clone().expand();
            let expanded = expanded.unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
            kinds.extend(drawn.faults.iter().map(|fault| fault.what.kind()));
            for (need, key) in expanded.scenario.needs() {
                assert!(able.contains(&need), "seed {seed}: {key}: {need}");
            }
        }
        assert!(kinds.len() >= 13, "{kinds:?}");
    }
}
