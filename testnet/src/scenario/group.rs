//! Groups of nodes: how many, what they run, what they mine, and how they behave.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::{MAX_NAME_BYTES, MAX_NODES};
use super::network::StreamName;
use super::range::{optional_part, optional_within};
use super::region::Region;

/// The group of the ordinary nodes, of which `nodes` is the count.
pub const ORDINARY: &str = "node";

/// Nodes that are alike. Those of the group `x` are called x-1, x-2 and so on; where it has one, x.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What the group is called: lower-case letters, digits and hyphens. `node` describes the ordinary nodes.
    pub name: String,
    /// Nodes; 1 if absent. For the group `node` the key `nodes` says it instead.
    #[serde(
        default,
        deserialize_with = "optional_within::<_, 1, MAX_NODES>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 5_000))]
    pub count: Option<u64>,
    /// How the nodes behave.
    #[serde(default, skip_serializing_if = "Role::is_honest")]
    pub role: Role,
    /// Where the nodes are: the first node in the first region, and so around the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Region>,
    /// The machines on which the nodes are, by number from 1: the first node on the first of them, and so around the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<u64>,
    /// The image of the nodes, where they are containers; that of the run if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The program of the nodes, where they are processes, relative to the file; that of the run if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// The part of the whole network's hash rate that the group has together, 0 to 1.
    #[serde(
        default,
        deserialize_with = "optional_part",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 1))]
    pub share: Option<f64>,
    /// Hashes per second and stream that each node spends; 0 mines nothing. Not beside `share`.
    #[serde(
        default,
        deserialize_with = "optional_within::<_, 0, 1_000_000_000>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub hashrate: Option<u64>,
    /// The streams that the nodes mine; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<StreamName>>,
    /// Whether the nodes are told no peers, but a name behind which all others stand: of those they choose as many as the graph has
    /// them dial.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seeded: bool,
    /// What differs in the nodes' configuration, under its own keys.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub config: toml::Table,
}

/// How a node behaves. All but the honest are left out of the verdict.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// By the rules.
    #[default]
    Honest,
    /// Mines in secret and publishes when that takes the reward from others.
    SelfishMiner,
    /// Mines, and publishes nothing until the end.
    Withholder,
    /// Sends blocks that break a rule.
    InvalidBlockRelayer,
    /// Sends transactions that break a rule.
    InvalidTransactionRelayer,
    /// Writes times into its blocks that are not the clock's.
    TimestampLiar,
    /// Reads what it is sent as slowly as a session bears.
    SlowReader,
    /// Sends as much as a session bears, and more.
    Flooder,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Honest,
        Self::SelfishMiner,
        Self::Withholder,
        Self::InvalidBlockRelayer,
        Self::InvalidTransactionRelayer,
        Self::TimestampLiar,
        Self::SlowReader,
        Self::Flooder,
    ];

    /// What the simulator and the program `adversary` have for it; nothing for the honest.
    pub fn adversary(self) -> Option<triskel::adversary::Role> {
        self.name().parse().ok()
    }

    /// Whether the node keeps the rules.
    pub fn is_honest(&self) -> bool {
        *self == Self::Honest
    }

    /// As a file has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::SelfishMiner => "selfish-miner",
            Self::Withholder => "withholder",
            Self::InvalidBlockRelayer => "invalid-block-relayer",
            Self::InvalidTransactionRelayer => "invalid-transaction-relayer",
            Self::TimestampLiar => "timestamp-liar",
            Self::SlowReader => "slow-reader",
            Self::Flooder => "flooder",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl Group {
    /// A group of one honest node.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// So many nodes.
    pub fn count(self, count: u64) -> Self {
        let count = Some(count);
        Self { count, ..self }
    }

    /// That behave like this.
    pub fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// With this part of the network's hash rate together.
    pub fn share(self, share: f64) -> Self {
        let share = Some(share);
        Self { share, ..self }
    }

    /// With so many hashes per second and stream each.
    pub fn hashrate(self, hashrate: u64) -> Self {
        let hashrate = Some(hashrate);
        Self { hashrate, ..self }
    }

    /// That mine these streams alone.
    pub fn streams(self, streams: impl IntoIterator<Item = StreamName>) -> Self {
        let streams = Some(streams.into_iter().collect());
        Self { streams, ..self }
    }

    /// In these regions, in turn.
    pub fn regions(self, regions: impl IntoIterator<Item = Region>) -> Self {
        let regions = regions.into_iter().collect();
        Self { regions, ..self }
    }

    /// On these machines, in turn.
    pub fn machines(self, machines: impl IntoIterator<Item = u64>) -> Self {
        let machines = machines.into_iter().collect();
        Self { machines, ..self }
    }

    /// The name of a node of this group, of `count`.
    pub(crate) fn node_name(&self, index: u64, count: u64) -> String {
        match count == 1 && self.name != ORDINARY {
            true => self.name.clone(),
            false => format!("{}-{}", self.name, index + 1),
        }
    }
}

/// Whether a name can be a host name and a directory.
///
/// # Errors
///
/// It cannot: the text says what is allowed.
pub fn check_name(name: &str) -> Result<(), String> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins_well = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    let fits = name.len() <= MAX_NAME_BYTES && !name.ends_with('-');
    if !begins_well || !fits || !name.bytes().all(letters) {
        return Err(format!(
            "{name:?} is not allowed here, at most {MAX_NAME_BYTES} lower-case letters, digits and hyphens are, a letter first"
        ));
    }
    match RESERVED.contains(&name) {
        true => Err(format!(
            "{name:?} has a meaning of its own where nodes are chosen; take another name"
        )),
        false => Ok(()),
    }
}

/// Words that choose nodes, see [`Who`](super::Who).
const RESERVED: [&str; 8] = [
    "all", "honest", "half", "random", "share", "region", "machine", "of",
];
