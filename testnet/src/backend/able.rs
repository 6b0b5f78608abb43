//! What each backend can do. Whoever teaches one something adds it here.

use std::collections::BTreeSet;

use super::sim;
use crate::scenario::{ActionKind, Capability, Role, config_keys};

/// What is calculated of mining as a whole.
const STATISTICS: [&str; 5] = [
    "interval_p_value",
    "red_rate_error",
    "stale_rate_error",
    "reorganisation_depth",
    "revenue_error",
];

/// What every backend can do whose links and nodes the [`engine`](crate::engine) has in its hands.
fn engine_capabilities() -> BTreeSet<Capability> {
    let faults = [
        ActionKind::Stop,
        ActionKind::Kill,
        ActionKind::Restart,
        ActionKind::Wipe,
        ActionKind::Isolate,
        ActionKind::Partition,
        ActionKind::Bridge,
        ActionKind::Cut,
        ActionKind::Flap,
        ActionKind::Degrade,
        ActionKind::ClockSkew,
        ActionKind::ClockJump,
        ActionKind::Join,
        ActionKind::Leave,
        ActionKind::Hashrate,
        ActionKind::DiskFull,
        ActionKind::SeedOutage,
        ActionKind::Upgrade,
    ];
    let others = [
        Capability::LinkDelay,
        Capability::LinkJitter,
        Capability::LinkLoss,
        Capability::LinkRate,
        Capability::AtBlock,
        Capability::AtEvent,
        Capability::Check,
        Capability::Load,
        Capability::Seeded,
        Capability::Quantity("stale_rate"),
    ];
    let faults = faults.map(Capability::Fault);
    let roles = roles();
    faults.into_iter().chain(others).chain(roles).collect()
}

fn roles() -> impl Iterator<Item = Capability> {
    let roles = Role::ALL.into_iter().filter(|role| !role.is_honest());
    roles.map(Capability::Role)
}

/// What a backend can do beside what all can. Whoever teaches one something adds it here.
pub fn capabilities(backend: &str) -> BTreeSet<Capability> {
    let mut capabilities = match backend {
        "process" | "docker" | "swarm" | "kubernetes" | "sim" => engine_capabilities(),
        _ => BTreeSet::new(),
    };
    // Nodes that are programs of their own: what they say and show is read.
    let read = [
        Capability::Streams,
        Capability::Metric,
        Capability::Log,
        Capability::Quantity("reorganisation"),
        Capability::Invariant("no_panic"),
        Capability::Invariant("no_unexpected_restart"),
        Capability::Invariant("supply"),
        Capability::Invariant("no_invalid_block"),
        Capability::Invariant("no_honest_penalty"),
    ];
    if matches!(backend, "process" | "docker" | "swarm" | "kubernetes") {
        capabilities.extend(read);
    }
    capabilities.extend(match backend {
        "process" => vec![
            Capability::Program,
            #[cfg(unix)]
            Capability::Fault(ActionKind::Pause),
            // What the system says of a process is in its metrics on Linux alone.
            #[cfg(target_os = "linux")]
            Capability::Quantity("memory_mib"),
            #[cfg(target_os = "linux")]
            Capability::Quantity("descriptors"),
            #[cfg(target_os = "linux")]
            Capability::Invariant("memory_mib"),
            #[cfg(target_os = "linux")]
            Capability::Invariant("descriptors"),
        ],
        "docker" | "swarm" | "kubernetes" => vec![
            Capability::Image,
            Capability::Fault(ActionKind::Pause),
            Capability::Quantity("memory_mib"),
            Capability::Quantity("descriptors"),
            Capability::Invariant("memory_mib"),
            Capability::Invariant("descriptors"),
        ],
        // Its oracle replays every order of every node, and compares accounts and supply, and no honest node may fault another. Its
        // nodes run in this program: one that panics ends it. What they have open are their connections.
        "sim" => vec![
            Capability::Streams,
            Capability::Fault(ActionKind::Pause),
            Capability::Invariant("no_honest_penalty"),
            Capability::Invariant("descriptors"),
            Capability::Quantity("descriptors"),
            Capability::Quantity("reorganisation"),
            Capability::Invariant("supply"),
            Capability::Invariant("no_invalid_block"),
            Capability::Invariant("no_unexpected_restart"),
            Capability::Invariant("no_panic"),
        ],
        _ => Vec::new(),
    });
    if backend == "swarm" {
        let machines = Capability::Fault(ActionKind::MachineLoss);
        capabilities.extend([Capability::Machines, machines]);
    }
    match backend {
        "sim" => capabilities.extend(sim::CONFIG_KEYS.map(Capability::Config)),
        _ => capabilities.extend(config_keys().map(Capability::Config)),
    }
    // They are functions of what every backend records.
    capabilities.extend(STATISTICS.map(Capability::Statistic));
    capabilities
}
