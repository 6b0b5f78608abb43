//! What a world is at its start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::adversary::Role;
use crate::protocol::chain::params::Network;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::link::Conditions;
use crate::protocol::machine::MachineConfig;
use crate::protocol::rng::Rng;

/// The port of every simulated node.
pub(super) const PORT: u16 = 9_000;

/// What a node answers that is asked for blocks and does not give them. None of it breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withholding {
    /// Nothing at all.
    Silence,
    /// That it has none of them.
    Emptiness,
    /// Another block.
    AnotherBlock,
}

/// A world at its start.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// From which all draws follow.
    pub seed: u64,
    /// The network, without proof of work: see [`super::simulated`].
    pub network: Arc<Network>,
    /// Nodes.
    pub nodes: usize,
    /// Who keeps a connection to whom: the first dials the second.
    pub edges: Vec<(usize, usize)>,
    /// The time that a frame takes, in microseconds: at least, at most.
    pub latency_us: (u64, u64),
    /// The region of each node: frames take what [`super::map`] says beside that. Empty for a network on one site.
    pub regions: Vec<usize>,
    /// What is done beside that to all that one node sends another. It can be changed: see [`super::World::set_conditions`].
    pub conditions: BTreeMap<(usize, usize), Conditions>,
    /// The time that a write takes to be durable, in microseconds: at least, at most.
    pub persist_us: (u64, u64),
    /// Hashes per second that each node spends on each stream.
    pub hashrate: u64,
    /// Nodes that are set up otherwise than [`WorldConfig::machine`] has it. Names, keys, peers and port are the world's.
    pub machines: BTreeMap<usize, MachineConfig>,
    /// Nodes that break the rules, and how.
    pub roles: BTreeMap<usize, Role>,
    /// Nodes that do not give the blocks that they are asked for, and what they do instead.
    pub withholding: BTreeMap<usize, Withholding>,
    /// Nodes that drop bodies that no reorganisation reaches.
    pub pruning: BTreeSet<usize>,
    /// Addresses of nodes, where they are not those of the world's own range, 10.0.0.0/8.
    pub addresses: BTreeMap<usize, IpAddr>,
    /// Where all connections seem to come from; from the node that opens it, if nothing stands here.
    pub gateway: Option<IpAddr>,
    /// Connections that a node opens by itself to nodes that it hears of.
    pub target_outbound: usize,
    /// The time between two signs of life that are asked for, in milliseconds.
    pub ping_interval_ms: u64,
}

impl WorldConfig {
    /// A small network on one site: node i keeps a connection to i-1 and to one random earlier node.
    pub fn new(seed: u64, network: Arc<Network>, nodes: usize) -> Self {
        let mut rng = Rng::new(seed ^ 0x7472_6565);
        let mut edges = Vec::new();
        for node in 1..nodes {
            edges.push((node, node - 1));
            if node > 1 {
                edges.push((node, rng.below(node as u64 - 1) as usize));
            }
        }
        Self {
            seed,
            network,
            nodes,
            edges,
            latency_us: (1_000, 20_000),
            regions: Vec::new(),
            conditions: BTreeMap::new(),
            persist_us: (500, 10_000),
            hashrate: 2_000,
            machines: BTreeMap::new(),
            roles: BTreeMap::new(),
            withholding: BTreeMap::new(),
            pruning: BTreeSet::new(),
            addresses: BTreeMap::new(),
            gateway: None,
            target_outbound: 0,
            ping_interval_ms: 10_000,
        }
    }

    /// Where a node is dialled.
    pub(super) fn endpoint(&self, node: usize) -> Endpoint {
        self.address(node, PORT).into()
    }

    pub(super) fn address(&self, node: usize, port: u16) -> SocketAddr {
        let [_, high, middle, low] = (node as u32).to_be_bytes();
        let own = IpAddr::V4(Ipv4Addr::new(10, high, middle, low));
        SocketAddr::new(self.addresses.get(&node).copied().unwrap_or(own), port)
    }

    /// The node behind an endpoint.
    pub(super) fn node_at(&self, endpoint: &Endpoint) -> Option<usize> {
        let ip = endpoint.address()?.ip();
        let mut named = self.addresses.iter();
        match ip {
            _ if endpoint.port != PORT => None,
            IpAddr::V4(own) if own.octets()[0] == 10 => {
                let [_, high, middle, low] = own.octets();
                Some(u32::from_be_bytes([0, high, middle, low]) as usize)
            }
            _ => named
                .find(|(_, other)| **other == ip)
                .map(|(node, _)| *node),
        }
    }

    /// How all nodes are set up of which nothing else is said.
    pub fn machine(&self) -> MachineConfig {
        MachineConfig {
            target_outbound: self.target_outbound,
            max_inbound: self.nodes,
            ping_interval_ms: self.ping_interval_ms,
            silent_timeout_ms: 3 * self.ping_interval_ms,
            ..MachineConfig::default()
        }
    }
}
