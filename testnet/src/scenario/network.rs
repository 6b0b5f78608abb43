//! The network's parameters, under the keys of the section `[network]` of a node's configuration.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::params::{Algorithm, DEFAULT_DELAY_MS, Params, StreamParams};

use super::range::optional_within;

/// The network's parameters, under the keys of the section `[network]` of a node's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// One stream.
    Chain,
    /// Streams A, B and C.
    #[default]
    Tri,
}

/// The name of a stream in a file.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StreamSection {
    /// The hash by which work is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AlgorithmName>")]
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

impl NetworkSection {
    /// The parameters that this section makes, without allocations.
    ///
    /// # Errors
    ///
    /// A stream that the preset does not have.
    pub fn params(&self) -> Result<Params, StreamName> {
        let mut params = match self.preset {
            Preset::Chain => Params::chain(),
            Preset::Tri => Params::tri(),
        };
        set(&mut params.name, self.name.clone());
        set(&mut params.address_prefix, self.address_prefix.clone());
        set(&mut params.max_future_ms, self.max_future_ms);
        for (name, section) in &self.streams {
            match params.streams.get_mut(Stream::from(*name).index()) {
                Some(target) => section.apply(target),
                None => return Err(*name),
            }
        }
        set(&mut params.merge_depth, self.merge_depth);
        set(&mut params.finality_depth, self.finality_depth);
        if params.max_parents > 1 {
            params.merge_blocks(self.delay_ms.unwrap_or(DEFAULT_DELAY_MS));
        }
        if let Some(hashrate) = self.initial_hashrate {
            for stream in &mut params.streams {
                stream.tune(hashrate);
            }
        }
        Ok(params)
    }
}

impl Preset {
    /// The streams that it has.
    pub const fn streams(self) -> &'static [StreamName] {
        match self {
            Self::Chain => &[StreamName::A],
            Self::Tri => &[StreamName::A, StreamName::B, StreamName::C],
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Stream::from(*self).fmt(formatter)
    }
}

/// The hash by which work is measured, in the schema.
struct AlgorithmName;

impl JsonSchema for AlgorithmName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Algorithm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": ["sha256d", "blake3", "sha3", "none"] })
    }
}
