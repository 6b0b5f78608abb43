//! What a scenario asks of a backend, so that one that cannot do it is refused before anything starts.

use std::collections::BTreeMap;
use std::fmt;

use super::Scenario;
use super::expression::Expression;
use super::fault::{Action, ActionKind};
use super::group::Role;
use super::link::{Conditions, LinkChoice};
use super::overrides::{self, config_keys};
use super::when::When;

/// Something that a backend can do or cannot. Every backend can start nodes of any hash rate, in any graph, hand in a fixed
/// number of transfers, and see whether the nodes agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// A key of a node's configuration.
    Config(&'static str),
    /// Nodes that mine some streams and not others.
    Streams,
    /// Nodes that find their peers by a seed's name.
    Seeded,
    /// Nodes on several machines.
    Machines,
    /// An image for some nodes.
    Image,
    /// A program for some nodes.
    Program,
    /// Nodes that do not keep the rules.
    Role(Role),
    /// Links on which frames take their time.
    LinkDelay,
    /// Links on which they take sometimes more.
    LinkJitter,
    /// Links that lose packets.
    LinkLoss,
    /// Links that are narrow.
    LinkRate,
    /// Transfers at times of their own.
    Load,
    /// A fault.
    Fault(ActionKind),
    /// Faults that begin at a block.
    AtBlock,
    /// Faults that begin at an event.
    AtEvent,
    /// Claims about how conditions hold over time.
    Check,
    /// Conditions on a quantity that not every backend can tell.
    Quantity(&'static str),
    /// Conditions on metrics.
    Metric,
    /// Conditions on logs.
    Log,
    /// An invariant, by its key.
    Invariant(&'static str),
    /// A statistic, by its key.
    Statistic(&'static str),
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Config(key) => return write!(formatter, "configuration {key} by node"),
            Self::Seeded => "seeds",
            Self::Streams => "streams by node",
            Self::Machines => "placement on machines",
            Self::Image => "images by node",
            Self::Program => "programs by node",
            Self::Role(role) => return write!(formatter, "role {role}"),
            Self::LinkDelay => "delay of links",
            Self::LinkJitter => "jitter of links",
            Self::LinkLoss => "loss on links",
            Self::LinkRate => "rate of links",
            Self::Load => "open-loop load",
            Self::Fault(kind) => return write!(formatter, "fault {kind}"),
            Self::AtBlock => "faults at a block",
            Self::AtEvent => "faults at an event",
            Self::Check => "checks",
            Self::Quantity(name) => return write!(formatter, "conditions on {name}"),
            Self::Metric => "conditions on metrics",
            Self::Log => "conditions on logs",
            Self::Invariant(name) => return write!(formatter, "invariant {name}"),
            Self::Statistic(name) => return write!(formatter, "statistic {name}"),
        };
        formatter.pad(text)
    }
}

/// Capabilities, each with the first key that asks for it.
pub type Needs = BTreeMap<Capability, String>;

impl Scenario {
    /// What a backend must be able to do to run this, each with the first key that asks for it.
    pub fn needs(&self) -> Needs {
        let mut list = List(Needs::new());
        self.need_nodes(&mut list);
        self.need_links(&mut list);
        for (index, _) in self.load.iter().enumerate() {
            list.add(Capability::Load, format!("load[{index}]"));
        }
        for (index, fault) in self.faults.iter().enumerate() {
            let key = format!("faults[{index}]");
            list.add(Capability::Fault(fault.what.kind()), format!("{key}.what"));
            list.add_moment(&fault.when, &format!("{key}.when"));
            match &fault.what {
                Action::Degrade { link, .. } => {
                    self.need_link(link, &format!("{key}.what.degrade.link"), &mut list);
                }
                // What names both leaves it to the backend.
                Action::Upgrade(upgrade) => match (&upgrade.image, &upgrade.program) {
                    (Some(_), None) => {
                        list.add(Capability::Image, format!("{key}.what.upgrade.image"));
                    }
                    (None, Some(_)) => {
                        list.add(Capability::Program, format!("{key}.what.upgrade.program"));
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        for (index, check) in self.checks.iter().enumerate() {
            let key = format!("checks[{index}]");
            list.add(Capability::Check, key.clone());
            list.add_condition(&check.condition, &key);
            if let Some(When::Event(condition)) = &check.after {
                list.add_condition(condition, &format!("{key}.after"));
            }
        }
        for name in self.verdict.invariants.demanded() {
            list.add(
                Capability::Invariant(name),
                format!("verdict.invariants.{name}"),
            );
        }
        for name in self.verdict.statistics.demanded() {
            list.add(
                Capability::Statistic(name),
                format!("verdict.statistics.{name}"),
            );
        }
        list.0
    }

    fn need_nodes(&self, list: &mut List) {
        if self.machines.is_some() {
            list.add(Capability::Machines, "machines".to_owned());
        }
        for (index, group) in self.groups.iter().enumerate() {
            let key = |name: &str| format!("groups[{index}].{name}");
            if !group.role.is_honest() {
                list.add(Capability::Role(group.role), key("role"));
            }
            if group.image.is_some() {
                list.add(Capability::Image, key("image"));
            }
            if group.program.is_some() {
                list.add(Capability::Program, key("program"));
            }
            let all = self.network.preset.streams();
            let some = |streams: &Vec<_>| all.iter().any(|stream| !streams.contains(stream));
            if group.streams.as_ref().is_some_and(some) {
                list.add(Capability::Streams, key("streams"));
            }
            if group.seeded {
                list.add(Capability::Seeded, key("seeded"));
            }
            for name in config_keys() {
                if overrides::setting(&group.config, name).is_some() {
                    list.add(Capability::Config(name), key(&format!("config.{name}")));
                }
            }
        }
    }

    fn need_links(&self, list: &mut List) {
        if self.links.regions {
            list.add(Capability::LinkDelay, "links.regions".to_owned());
        }
        if let Some(choice) = &self.links.default {
            self.need_link(choice, "links.default", list);
        }
        for (index, rule) in self.links.rules.iter().enumerate() {
            self.need_link(&rule.link, &format!("links.rules[{index}].link"), list);
        }
    }

    fn need_link(&self, choice: &LinkChoice, key: &str, list: &mut List) {
        // A profile that does not exist is told when the scenario is expanded.
        let Conditions {
            delay,
            jitter,
            loss,
            rate_bytes_per_s,
        } = self.links.conditions(choice).unwrap_or_default();
        let asked = [
            (!delay.is_zero(), Capability::LinkDelay),
            (!jitter.is_zero(), Capability::LinkJitter),
            (loss > 0.0, Capability::LinkLoss),
            (rate_bytes_per_s.is_some(), Capability::LinkRate),
        ];
        for (_, capability) in asked.into_iter().filter(|(asked, _)| *asked) {
            list.add(capability, key.to_owned());
        }
    }
}

struct List(Needs);

impl List {
    fn add(&mut self, capability: Capability, key: String) {
        self.0.entry(capability).or_insert(key);
    }

    fn add_moment(&mut self, when: &When, key: &str) {
        match when {
            When::Block(_) => self.add(Capability::AtBlock, key.to_owned()),
            When::Event(condition) => {
                self.add(Capability::AtEvent, key.to_owned());
                self.add_condition(condition, key);
            }
            _ => {}
        }
    }

    fn add_condition(&mut self, condition: &Expression, key: &str) {
        use super::expression::Quantity;

        // An unknown quantity would let a check hold that was never looked at.
        for (name, quantity) in &Quantity::NAMED {
            let is_rare = matches!(
                quantity,
                Quantity::StaleRate
                    | Quantity::Reorganisation
                    | Quantity::Memory
                    | Quantity::Descriptors
            );
            if is_rare && condition.quantities().contains(&quantity) {
                self.add(Capability::Quantity(name), key.to_owned());
            }
        }
        if !condition.texts().is_empty() {
            self.add(Capability::Log, key.to_owned());
        }
        if condition
            .quantities()
            .iter()
            .any(|quantity| matches!(quantity, Quantity::Metric(_)))
        {
            self.add(Capability::Metric, key.to_owned());
        }
    }
}
