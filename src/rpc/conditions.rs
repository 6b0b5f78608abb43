//! What an operator does to a node's links, clock, disk and names, to see what the network makes of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::SetConditions;
use crate::protocol::chain::id::NodeKey;
use crate::protocol::link::{Conditions, ConditionsError};

/// The most by which a clock can be off, in milliseconds: a year.
const MAX_CLOCK_OFFSET_MS: u64 = 365 * 86_400_000;

/// Peers that can have conditions of their own: more than a node has sessions.
const MAX_PEERS: usize = 10_000;

/// What is done to all that a node sends to its peers, and to its machine. The default is nothing. What its peers send is for their
/// own nodes to delay: a link has conditions in each direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConditions {
    /// For peers that are not named.
    pub default: Conditions,
    /// For peers by their keys, in place of `default`.
    pub peers: BTreeMap<NodeKey, Conditions>,
    /// By how much the node's wall clock is ahead of the system's, in milliseconds; at most a year either way.
    pub clock_offset_ms: i64,
    /// Whether the store can write nothing, as on a disk that is full.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disk_full: bool,
    /// Whether no name of a seed is resolved.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub seed_outage: bool,
}

/// Conditions that a node cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeConditionsError {
    /// Of the links to all that are not named.
    #[error("default: {0}")]
    Default(ConditionsError),
    /// Of the link to a peer.
    #[error("peers: {0}: {1}")]
    Peer(NodeKey, ConditionsError),
    /// Too many peers.
    #[error("peers: {0} are named, allowed are {MAX_PEERS}")]
    Peers(usize),
    /// Of the clock.
    #[error("clock_offset_ms is {0}, allowed is a year ({MAX_CLOCK_OFFSET_MS}) either way")]
    ClockOffset(i64),
}

impl From<SetConditions> for NodeConditions {
    fn from(method: SetConditions) -> Self {
        let SetConditions {
            default,
            peers,
            clock_offset_ms,
            disk_full,
            seed_outage,
        } = method;
        Self {
            default,
            peers,
            clock_offset_ms,
            disk_full,
            seed_outage,
        }
    }
}

impl From<NodeConditions> for SetConditions {
    fn from(conditions: NodeConditions) -> Self {
        let NodeConditions {
            default,
            peers,
            clock_offset_ms,
            disk_full,
            seed_outage,
        } = conditions;
        Self {
            default,
            peers,
            clock_offset_ms,
            disk_full,
            seed_outage,
        }
    }
}

impl NodeConditions {
    /// Checks the ranges.
    ///
    /// # Errors
    ///
    /// A value is out of its range.
    pub fn check(&self) -> Result<(), NodeConditionsError> {
        self.default.check().map_err(NodeConditionsError::Default)?;
        for (key, conditions) in &self.peers {
            let checked = conditions.check();
            checked.map_err(|error| NodeConditionsError::Peer(*key, error))?;
        }
        if self.peers.len() > MAX_PEERS {
            return Err(NodeConditionsError::Peers(self.peers.len()));
        }
        if self.clock_offset_ms.unsigned_abs() > MAX_CLOCK_OFFSET_MS {
            return Err(NodeConditionsError::ClockOffset(self.clock_offset_ms));
        }
        Ok(())
    }

    /// What is done to what goes to a peer.
    pub fn of(&self, peer: &NodeKey) -> &Conditions {
        self.peers.get(peer).unwrap_or(&self.default)
    }

    /// Whether nothing is done to any peer.
    pub fn links_are_clear(&self) -> bool {
        self.default.are_clear() && self.peers.values().all(Conditions::are_clear)
    }

    /// Whether all peers are cut off.
    pub fn isolate(&self) -> bool {
        let mut all = self.peers.values().chain([&self.default]);
        all.all(|conditions| conditions.cut.is_some())
    }

    /// Whether a peer is cut off here that is not after `next`.
    pub fn lose_a_cut_in(&self, next: &Self) -> bool {
        let is_lifted =
            |before: &Conditions, after: &Conditions| before.cut.is_some() && after.cut.is_none();
        let named: BTreeSet<_> = self.peers.keys().chain(next.peers.keys()).collect();
        let mut named = named.into_iter();
        is_lifted(&self.default, &next.default)
            || named.any(|key| is_lifted(self.of(key), next.of(key)))
    }
}
