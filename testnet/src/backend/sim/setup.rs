//! How a simulated node is set up where its group says so.

use triskel::protocol::machine::MachineConfig;

use crate::scenario::Node;

/// The name behind which seeded nodes look for the others.
const SEED: &str = "seed:9000";

/// The keys of a node's configuration that mean something under virtual time. The others are about sockets, caches, logs and pages
/// that a simulated node does not have.
pub(in crate::backend) const CONFIG_KEYS: [&str; 16] = [
    "peer.target_outbound",
    "peer.max_outbound_per_group",
    "peer.max_inbound",
    "peer.max_inbound_per_address",
    "peer.group_private",
    "peer.ban_ms",
    "peer.ping_interval_ms",
    "peer.silent_timeout_ms",
    "peer.handshake_timeout_ms",
    "peer.retry_min_ms",
    "peer.retry_max_ms",
    "mempool.max_transactions",
    "mempool.max_bytes",
    "mempool.max_per_sender",
    "mempool.min_fee",
    "store.prune",
];

/// What a node is told at its start, if that is anything but `base`.
pub(super) fn machine(base: MachineConfig, node: &Node) -> Option<MachineConfig> {
    if node.config.is_empty() && !node.seeded {
        return None;
    }
    let mut machine = base;
    if node.seeded {
        machine.seeds = SEED.parse().into_iter().collect();
        machine.target_outbound = node.dials.len();
    }
    for key in CONFIG_KEYS {
        if let Some(value) = node.setting(key) {
            set(&mut machine, key, value);
        }
    }
    Some(machine)
}

/// Values are of their kind: the scenario was checked.
fn set(machine: &mut MachineConfig, key: &str, value: &toml::Value) {
    let number = value.as_integer().unwrap_or_default() as u64;
    let mempool = &mut machine.mempool;
    match key {
        "peer.target_outbound" => machine.target_outbound = number as usize,
        "peer.max_outbound_per_group" => machine.max_outbound_per_group = number as usize,
        "peer.max_inbound" => machine.max_inbound = number as usize,
        "peer.max_inbound_per_address" => machine.max_inbound_per_address = number as usize,
        "peer.group_private" => machine.group_private = value.as_bool().unwrap_or_default(),
        "peer.ban_ms" => machine.ban_ms = number,
        "peer.ping_interval_ms" => machine.ping_interval_ms = number,
        "peer.silent_timeout_ms" => machine.silent_timeout_ms = number,
        "peer.handshake_timeout_ms" => machine.handshake_timeout_ms = number,
        "peer.retry_min_ms" => machine.retry_min_ms = number,
        "peer.retry_max_ms" => machine.retry_max_ms = number,
        "mempool.max_transactions" => mempool.transactions = number as usize,
        "mempool.max_bytes" => mempool.bytes = number as usize,
        "mempool.max_per_sender" => mempool.per_sender = number as usize,
        "mempool.min_fee" => mempool.min_fee = number,
        "store.prune" => machine.prune = value.as_bool().unwrap_or_default(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_sets_is_what_the_machine_is_told() {
        let config = "store.prune = true\n[peer]\nping_interval_ms = 500\n[mempool]\nmin_fee = 7";
        let node = Node {
            config: toml::from_str(config).unwrap(),
            dials: vec![0, 1],
            ..Node::default()
        };
        let set = machine(MachineConfig::default(), &node).unwrap();
        assert_eq!(
            (set.ping_interval_ms, set.mempool.min_fee, set.prune),
            (500, 7, true)
        );
        assert_eq!(
            set.silent_timeout_ms,
            MachineConfig::default().silent_timeout_ms
        );
        let seeded = Node {
            seeded: true,
            config: toml::Table::new(),
            ..node
        };
        let set = machine(MachineConfig::default(), &seeded).unwrap();
        assert_eq!((set.seeds.len(), set.target_outbound), (1, 2));
        assert!(machine(MachineConfig::default(), &Node::default()).is_none());
    }
}
