//! Scenarios: what a network is, what happens to it, and what must hold in the end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::params::{
    Algorithm, DEFAULT_DELAY_MS, Network, Params, ParamsError, StreamParams,
};

/// The scenario of a run that names none.
pub const BASELINE: &str = include_str!("../scenarios/baseline.toml");

/// A scenario, as its file says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A name for people.
    pub name: String,
    /// What keys and topology are drawn from. Drawn itself if absent.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Nodes, 1 to 1,000.
    #[serde(deserialize_with = "within::<_, 1, 1_000>")]
    pub nodes: u64,
    /// Blocks that every node must reach, 1 to 1,000,000.
    #[serde(
        default = "defaults::blocks",
        deserialize_with = "within::<_, 1, 1_000_000>"
    )]
    pub blocks: u64,
    /// Signed transfers, handed to the nodes in turn while they mine; at most 1,000,000.
    #[serde(default, deserialize_with = "within::<_, 0, 1_000_000>")]
    pub transfers: u64,
    /// Hashes per second and stream that every node spends. If absent, so few that any number of nodes shares two
    /// cores.
    #[serde(default, deserialize_with = "optional_within::<_, 1, 1_000_000_000>")]
    pub hashrate: Option<u64>,
    /// What the nodes agree on.
    #[serde(default)]
    pub network: NetworkSection,
    /// Who dials whom.
    #[serde(default)]
    pub topology: Topology,
    /// The verdict's terms.
    #[serde(default)]
    pub verdict: Terms,
}

/// The network's parameters, under the keys of the section `[network]` of a node's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSection {
    /// What the parameters start from.
    pub preset: Preset,
    /// A name, at most 64 bytes. Another name makes another network; the run's id if absent, so that no two runs mix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What addresses start with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_prefix: Option<String>,
    /// How far a block's time may lie ahead of a node's clock, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_future_ms: Option<u64>,
    /// The delay within which a block reaches every node, in milliseconds, from which GHOSTDAG's k follows. For tri alone.
    #[serde(
        deserialize_with = "optional_within::<_, 1, 60_000>",
        skip_serializing_if = "Option::is_none"
    )]
    pub delay_ms: Option<u64>,
    /// How far back, in blue blocks, a merged block may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge_depth: Option<u32>,
    /// How far back, in blue blocks, the selected chain may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finality_depth: Option<u32>,
    /// Hashes per second and stream that the first targets fit; that of all nodes together if absent.
    #[serde(
        deserialize_with = "optional_within::<_, 1, 1_000_000_000_000>",
        skip_serializing_if = "Option::is_none"
    )]
    pub initial_hashrate: Option<u64>,
    /// What differs from the preset, by stream.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<StreamName, StreamSection>,
}

/// What parameters start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// One stream.
    Chain,
    /// Streams A, B and C.
    #[default]
    Tri,
}

/// The name of a stream in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StreamName {
    /// The slowest.
    A,
    /// The middle one.
    B,
    /// The fastest.
    C,
}

impl From<StreamName> for Stream {
    fn from(name: StreamName) -> Self {
        match name {
            StreamName::A => Self::A,
            StreamName::B => Self::B,
            StreamName::C => Self::C,
        }
    }
}

/// What differs from the preset in one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamSection {
    /// The hash by which work is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// The wanted time between two blocks, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// The delay that doubles the target, in milliseconds. As many intervals as in the preset, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_life_ms: Option<u64>,
    /// Units that the miner of a block receives beside the fees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<u64>,
    /// The most transactions in one block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_transactions: Option<u32>,
    /// The easiest target, in compact form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bits: Option<u32>,
}

impl StreamSection {
    fn apply(&self, stream: &mut StreamParams) {
        // As a node does: retargeting is as quick, counted in blocks, whatever the interval.
        let half_life_blocks = stream.half_life_ms / stream.interval_ms;
        set(&mut stream.interval_ms, self.interval_ms);
        stream.half_life_ms = stream.interval_ms.saturating_mul(half_life_blocks);
        set(&mut stream.half_life_ms, self.half_life_ms);
        set(&mut stream.algorithm, self.algorithm);
        set(&mut stream.reward, self.reward);
        set(&mut stream.max_transactions, self.max_transactions);
        set(&mut stream.limit_bits, self.limit_bits);
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Who dials whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// The form of the graph.
    #[serde(default)]
    pub shape: Shape,
}

/// The form of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Node i dials node i-1.
    Line,
    /// Node i dials node i-1 and one random earlier node.
    #[default]
    LineWithChords,
}

/// The verdict's terms: how long each step may take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// From the start of the first node until all answer and have a peer.
    #[serde(deserialize_with = "within::<_, 1, DAY_MS>")]
    pub start_within_ms: u64,
    /// From the start of mining until every node has the blocks and the transfers.
    #[serde(deserialize_with = "within::<_, 1, DAY_MS>")]
    pub blocks_within_ms: u64,
    /// From the end of mining until all nodes agree.
    #[serde(deserialize_with = "within::<_, 1, DAY_MS>")]
    pub convergence_within_ms: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            start_within_ms: 60_000,
            blocks_within_ms: 120_000,
            convergence_within_ms: 60_000,
        }
    }
}

/// The longest that a step may be given, in milliseconds.
const DAY_MS: u64 = 86_400_000;

/// What a command line says otherwise than the scenario.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides {
    /// Nodes.
    pub nodes: Option<u64>,
    /// Blocks that every node must reach.
    pub blocks: Option<u64>,
    /// Transfers.
    pub transfers: Option<u64>,
    /// The seed.
    pub seed: Option<u64>,
}

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("scenario {}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no scenario. The text of the error names line, key and what is allowed.
    #[error("scenario {origin}: {source}")]
    Malformed {
        /// The file, or what stands in its place.
        origin: String,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// The parameters make no network.
    #[error("scenario {name}: {source}")]
    Network {
        /// The scenario.
        name: String,
        /// Why.
        source: ParamsError,
    },
    /// A stream that the preset does not have.
    #[error("scenario {name}: network.streams.{stream}: the preset has no such stream")]
    NoStream {
        /// The scenario.
        name: String,
        /// The stream.
        stream: Stream,
    },
    /// A value of the command line is outside its range.
    #[error("{flag} is {value}, allowed is {low} to {high}")]
    Range {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: u64,
        /// The least.
        low: u64,
        /// The most.
        high: u64,
    },
}

impl Scenario {
    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self, ScenarioError> {
        let unreadable = |source| ScenarioError::Unreadable {
            file: file.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        Self::parse(&text, &file.display().to_string())
    }

    /// Reads a text; `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ScenarioError> {
        toml::from_str(text).map_err(|source| ScenarioError::Malformed {
            origin: origin.to_owned(),
            source: Box::new(source),
        })
    }

    /// Replaces what the command line says otherwise.
    pub fn with(mut self, overrides: Overrides) -> Result<Self, ScenarioError> {
        let replace = |flag, target: &mut u64, value: Option<u64>, low, high| match value {
            Some(value) if !(low..=high).contains(&value) => Err(ScenarioError::Range {
                flag,
                value,
                low,
                high,
            }),
            Some(value) => {
                *target = value;
                Ok(())
            }
            None => Ok(()),
        };
        replace("--nodes", &mut self.nodes, overrides.nodes, 1, 1_000)?;
        replace("--blocks", &mut self.blocks, overrides.blocks, 1, 1_000_000)?;
        if overrides.blocks.is_some() {
            // Who asks for many does not want to be told that they took their time: twice what the schedules say is enough.
            let rate = self.params()?.blocks_per_second();
            let needed_ms = (2_000.0 * self.blocks as f64 / rate) as u64;
            let within_ms = &mut self.verdict.blocks_within_ms;
            *within_ms = needed_ms.max(*within_ms).min(DAY_MS);
        }
        replace(
            "--transfers",
            &mut self.transfers,
            overrides.transfers,
            0,
            1_000_000,
        )?;
        let mut seed = self.seed.unwrap_or_default();
        // TOML's integers are signed, and the expanded scenario must be readable again.
        replace("--seed", &mut seed, overrides.seed, 0, i64::MAX as u64)?;
        if overrides.seed.is_some() {
            self.seed = Some(seed);
        }
        Ok(self)
    }

    /// Fills in everything that is drawn or derived, and checks that the parameters make a network.
    pub fn expand(mut self) -> Result<Self, ScenarioError> {
        let hashrate = *self
            .hashrate
            .get_or_insert_with(|| (10_000 / self.nodes).max(200));
        self.network
            .initial_hashrate
            .get_or_insert(hashrate * self.nodes);
        // 32 bits are enough to tell runs apart, and short enough to be typed again.
        self.seed
            .get_or_insert_with(|| getrandom::u32().map_or(1, u64::from));
        let params = self.params()?;
        Network::new(params).map_err(|source| ScenarioError::Network {
            name: self.name.clone(),
            source,
        })?;
        Ok(self)
    }

    /// The network's parameters, without allocations.
    pub fn params(&self) -> Result<Params, ScenarioError> {
        let mut params = match self.network.preset {
            Preset::Chain => Params::chain(),
            Preset::Tri => Params::tri(),
        };
        set(&mut params.name, self.network.name.clone());
        set(
            &mut params.address_prefix,
            self.network.address_prefix.clone(),
        );
        set(&mut params.max_future_ms, self.network.max_future_ms);
        for (name, section) in &self.network.streams {
            let stream = Stream::from(*name);
            match params.streams.get_mut(stream.index()) {
                Some(target) => section.apply(target),
                None => {
                    let name = self.name.clone();
                    return Err(ScenarioError::NoStream { name, stream });
                }
            }
        }
        set(&mut params.merge_depth, self.network.merge_depth);
        set(&mut params.finality_depth, self.network.finality_depth);
        if params.max_parents > 1 {
            params.merge_blocks(self.network.delay_ms.unwrap_or(DEFAULT_DELAY_MS));
        }
        if let Some(hashrate) = self.network.initial_hashrate {
            for stream in &mut params.streams {
                stream.tune(hashrate);
            }
        }
        Ok(params)
    }

    /// The scenario in one line.
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }
}

/// Shows a scenario in one line.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a>(&'a Scenario);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario {
            name,
            nodes,
            blocks,
            transfers,
            ..
        } = self.0;
        let plural = if *nodes == 1 { "" } else { "s" };
        write!(
            formatter,
            "{name}: {nodes} node{plural}, at least {blocks} blocks, {transfers} transfers"
        )
    }
}

/// An integer of a range; the message says which, and `toml` adds line and key.
fn within<'de, D: Deserializer<'de>, const LOW: u64, const HIGH: u64>(
    deserializer: D,
) -> Result<u64, D::Error> {
    let value = i64::deserialize(deserializer)?;
    match u64::try_from(value) {
        Ok(value) if (LOW..=HIGH).contains(&value) => Ok(value),
        _ => Err(D::Error::custom(format_args!(
            "{value} is not allowed here, {LOW} to {HIGH} is"
        ))),
    }
}

fn optional_within<'de, D: Deserializer<'de>, const LOW: u64, const HIGH: u64>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    within::<D, LOW, HIGH>(deserializer).map(Some)
}

mod defaults {
    pub(super) fn blocks() -> u64 {
        20
    }
}

#[cfg(test)]
mod tests;
