//! From the `[network]` section to the network.

use serde::{Deserialize, Serialize};

use crate::protocol::chain::block::Stream;
use crate::protocol::chain::params::{
    Allocation, DEFAULT_DELAY_MS, DEFAULT_HASHRATE, Network, Params, StreamParams,
};

use super::{ConfigError, NetworkConfig, NodeConfig, StreamConfig};

/// A network that others are described by their differences from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Three streams: see [`Params::tri`].
    #[default]
    Tri,
    /// One stream: see [`Params::chain`].
    Chain,
}

impl Preset {
    fn params(self) -> Params {
        match self {
            Self::Tri => Params::tri(),
            Self::Chain => Params::chain(),
        }
    }
}

impl NodeConfig {
    /// The network that the node is part of.
    pub fn network(&self) -> Result<Network, ConfigError> {
        let network = Network::new(self.network.params()?)?;
        if network.is_simulated() {
            return Err(ConfigError::Simulated);
        }
        Ok(network)
    }
}

impl NetworkConfig {
    /// The parameters, not yet checked as a whole.
    fn params(&self) -> Result<Params, ConfigError> {
        let mut params = self.preset.params();
        if let Some(name) = &self.name {
            params.name.clone_from(name);
        }
        if let Some(prefix) = &self.address_prefix {
            params.address_prefix.clone_from(prefix);
        }
        if let Some(max_future_ms) = self.max_future_ms {
            params.max_future_ms = max_future_ms;
        }
        let hashrate = self.initial_hashrate.unwrap_or(DEFAULT_HASHRATE);
        let streams = [&self.streams.a, &self.streams.b, &self.streams.c];
        for (stream, changes) in Stream::ALL.into_iter().zip(streams) {
            match params.streams.get_mut(stream.index()) {
                Some(stream) => {
                    changes.apply(stream);
                    stream.tune(hashrate);
                }
                None => self.refuse_changes(stream, changes)?,
            }
        }
        set(&mut params.merge_depth, self.merge_depth);
        set(&mut params.finality_depth, self.finality_depth);
        if params.max_parents > 1 {
            params.merge_blocks(self.delay_ms.unwrap_or(DEFAULT_DELAY_MS));
        } else {
            let unset = self.delay_ms.is_none();
            let allowed = "nothing, for the preset chain merges no blocks";
            ConfigError::ensure(unset, "network.delay_ms", "set", allowed.to_owned())?;
        }
        let allocations = self.allocations.iter().map(|allocation| Allocation {
            account: allocation.account,
            balance: allocation.balance,
        });
        params.allocations = allocations.collect();
        params
            .allocations
            .sort_by_key(|allocation| allocation.account);
        Ok(params)
    }

    fn refuse_changes(&self, stream: Stream, changes: &StreamConfig) -> Result<(), ConfigError> {
        let key = [
            "network.streams.A",
            "network.streams.B",
            "network.streams.C",
        ][stream.index()];
        let allowed = format!(
            "nothing, for the preset {:?} has no such stream",
            self.preset
        );
        let unchanged = *changes == StreamConfig::default();
        ConfigError::ensure(unchanged, key, "set", allowed.to_lowercase())
    }
}

impl StreamConfig {
    fn apply(&self, stream: &mut StreamParams) {
        // Retargeting is as quick, counted in blocks, whatever the interval.
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

fn set<T: Copy>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
