//! Scenarios: what a network is, what happens to it, and what must hold in the end.
//!
//! A file is read in layers ([`read`]): what it extends, itself, the flags. [`Scenario`] is what it says, the same struct whether
//! a file or a program made it. [`Scenario::expand`] checks it, draws what is random, derives what is absent, and gives
//! [`Expanded`]: nodes, edges and faults, one by one, which a backend executes.

mod builder;
pub mod capability;
pub mod check;
mod deserialize;
mod expand;
pub mod explain;
pub mod explicit;
pub mod expression;
pub mod fault;
pub mod graph;
pub mod group;
mod import;
pub mod limits;
pub mod link;
pub mod load;
mod nearest;
pub mod network;
mod overrides;
pub mod problem;
mod range;
pub mod read;
pub mod region;
mod schema;
mod shapes;
pub mod span;
pub mod terms;
pub mod topology;
mod tree;
pub mod when;
pub mod who;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use capability::{Capability, Needs};
pub use check::{Check, Claim};
pub use explicit::{Act, Edge, Expanded, Node, Occurrence};
pub use expression::{Expression, Quantities, Quantity};
pub use fault::{Action, ActionKind, Fault, Parts, Upgrade};
pub use group::{Group, ORDINARY, Role, check_name};
pub use link::{Conditions, LinkChoice, LinkRule, Links};
pub use load::{Arrivals, Distribution, Load};
pub use network::{NetworkSection, Preset, StreamName, StreamSection};
pub use overrides::config_keys;
pub use problem::{Problem, ScenarioError};
pub use read::{Loaded, Setting};
pub use region::Region;
pub use schema::schema;
pub use span::{Offset, Span, Spans};
pub use terms::{Invariants, Statistics, Terms};
pub use topology::Topology;
pub use when::When;
pub use who::Who;

pub use limits::MAX_NAME_BYTES;
use limits::{MAX_MACHINES, MAX_NODES};
use range::{optional_within, within};

/// The scenario of a run that names none.
pub const BASELINE: &str = include_str!("../scenarios/baseline.toml");

/// A scenario of a testnet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A name for people.
    pub name: String,
    /// What it shows, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// What keys, topology and faults are drawn from. Drawn itself if absent.
    #[serde(
        default,
        deserialize_with = "optional_within::<_, 0, MAX_SEED>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 9_223_372_036_854_775_807_u64))]
    pub seed: Option<u64>,
    /// Ordinary nodes, called node-1, node-2 and so on; at most 5,000 together with those of the groups.
    #[serde(default, deserialize_with = "within::<_, 0, MAX_NODES>")]
    #[schemars(range(min = 0, max = 5_000))]
    pub nodes: u64,
    /// Blocks that every honest node must reach, 1 to 1,000,000.
    #[serde(default = "twenty", deserialize_with = "within::<_, 1, 1_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub blocks: u64,
    /// The least time that the nodes mine; as long as blocks, transfers and faults need if absent. Faults that repeat do so
    /// meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// Signed transfers, handed to the nodes in turn while they mine, each when the one before was taken; at most 1,000,000.
    #[serde(default, deserialize_with = "within::<_, 0, 1_000_000>")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub transfers: u64,
    /// Hashes per second and stream that each node spends of which nothing else is said. If absent, so few that any number of nodes
    /// shares two cores.
    #[serde(
        default,
        deserialize_with = "optional_within::<_, 1, 1_000_000_000>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub hashrate: Option<u64>,
    /// Machines over which the nodes are spread, in turn: node-1 on machine 1, node-2 on machine 2 and so on. Where nothing is
    /// said, a backend of several machines spreads them over all that it has.
    #[serde(
        default,
        deserialize_with = "optional_within::<_, 1, MAX_MACHINES>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 1_000))]
    pub machines: Option<u64>,
    /// Who dials whom.
    #[serde(default)]
    pub topology: Topology,
    /// What the nodes agree on.
    #[serde(default)]
    pub network: NetworkSection,
    /// Groups of nodes beside the ordinary ones, or, called `node`, what the ordinary ones are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// What frames meet on their way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub links: Links,
    /// Transfers beside `transfers`, at times of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load: Vec<Load>,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// The verdict's terms.
    #[serde(default)]
    pub verdict: Terms,
    /// Claims of one's own about the run, beside the verdict's terms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// TOML's integers are signed, and the expanded scenario must be readable again.
const MAX_SEED: u64 = i64::MAX as u64;

const fn twenty() -> u64 {
    20
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: String::new(),
            about: String::new(),
            seed: None,
            nodes: 0,
            blocks: twenty(),
            duration: None,
            transfers: 0,
            hashrate: None,
            machines: None,
            topology: Topology::default(),
            network: NetworkSection::default(),
            groups: Vec::new(),
            links: Links::default(),
            load: Vec::new(),
            faults: Vec::new(),
            verdict: Terms::default(),
            checks: Vec::new(),
        }
    }
}

impl Scenario {
    /// The scenario as a file, without what it leaves to defaults where that is nothing.
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(self).expect("texts, numbers, lists and tables are TOML");
        let shown = |line: &str| match line.starts_with("edges = [[") {
            // A line each, so that two networks can be compared by line.
            true => line
                .replace("[[", "[\n    [")
                .replace("], [", "],\n    [")
                .replace("]]", "],\n]"),
            false => line.to_owned(),
        };
        text.lines().map(|line| shown(line) + "\n").collect()
    }

    /// The scenario in one line.
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }

    /// Nodes, those of the groups included.
    pub fn node_count(&self) -> u64 {
        let others = self.groups.iter().filter(|group| group.name != ORDINARY);
        let counts = others.map(|group| group.count.unwrap_or(1));
        counts.fold(self.nodes, u64::saturating_add)
    }
}

/// Shows a scenario in one line.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a>(&'a Scenario);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario {
            name,
            blocks,
            transfers,
            faults,
            ..
        } = self.0;
        let nodes = self.0.node_count();
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        write!(
            formatter,
            "{name}: {nodes} node{}, at least {blocks} blocks, {transfers} transfers",
            plural(nodes)
        )?;
        match faults.len() as u64 {
            0 => Ok(()),
            count => write!(formatter, ", {count} fault{}", plural(count)),
        }
    }
}

#[cfg(test)]
mod tests;
