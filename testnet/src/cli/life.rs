//! The command line of networks that stay up.

use clap::Args;

use super::{BackendOptions, KubernetesOptions, ScenarioOptions};
use crate::scenario::Span;

/// Which network.
#[derive(Clone, Debug, Default, Args)]
pub struct WhichOptions {
    /// The network's name; the only one if absent
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
}

/// What a network is to be.
#[derive(Clone, Debug, Args)]
pub struct UpOptions {
    /// Which scenario.
    #[command(flatten)]
    pub what: ScenarioOptions,
    /// What the nodes are.
    #[command(flatten)]
    pub backend: BackendOptions,
    /// Its name.
    #[command(flatten)]
    pub network: WhichOptions,
}

/// What is to be shown.
#[derive(Clone, Debug, Args)]
pub struct StatusOptions {
    /// Which network.
    #[command(flatten)]
    pub network: WhichOptions,
    /// Prints JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What is to be watched.
#[derive(Clone, Debug, Args)]
pub struct TopOptions {
    /// Which network.
    #[command(flatten)]
    pub network: WhichOptions,
}

/// Whose logs.
#[derive(Clone, Debug, Args)]
pub struct LogsOptions {
    /// Nodes, groups, or `all`
    #[arg(value_name = "WHO", default_value = "all")]
    pub nodes: Vec<String>,
    /// Goes on with what is logged from now on, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// So many of the last lines of each node
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub lines: usize,
    /// Which network.
    #[command(flatten)]
    pub network: WhichOptions,
}

/// What is to be run.
#[derive(Clone, Debug, Args)]
pub struct ExecOptions {
    /// The node
    pub node: String,
    /// A command of the `node` program, behind `--`, as `status` or `dag --last 20`
    #[arg(last = true, required = true)]
    pub arguments: Vec<std::ffi::OsString>,
    /// Which network.
    #[command(flatten)]
    pub network: WhichOptions,
}

/// Which nodes.
#[derive(Clone, Debug, Args)]
pub struct NodesOptions {
    /// Nodes, groups, `all`, `random 2`, `half of GROUP`: who, as a scenario says it
    #[arg(value_name = "WHO", required = true)]
    pub nodes: Vec<String>,
    /// Which network.
    #[command(flatten)]
    pub network: WhichOptions,
}

/// How many nodes.
#[derive(Clone, Debug, Args)]
pub struct AddOptions {
    /// Nodes to add
    #[arg(default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub count: u64,
    /// Which network.
    #[command(flatten)]
    pub network: WhichOptions,
}

/// What goes wrong.
#[derive(Clone, Debug, Args)]
pub struct FaultOptions {
    /// What, as a scenario says it: kill, isolate, partition=2, cut=node-2, degrade.link=3g, clock-skew=-2s, hashrate=0
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// Whom it concerns, as a scenario says it
    #[arg(value_name = "WHO", default_value = "all")]
    pub who: Vec<String>,
    /// How long it lasts: this command stays until then and heals; until `heal` if absent
    #[arg(long = "for", value_name = "TIME")]
    pub lasts: Option<Span>,
    /// Which network.
    #[command(flatten)]
    pub network: WhichOptions,
}

/// What is to end.
#[derive(Clone, Debug, Args)]
pub struct HealOptions {
    /// Faults, by the numbers that `status` shows; all if absent
    #[arg(value_name = "FAULT")]
    pub faults: Vec<u64>,
    /// Which network.
    #[command(flatten)]
    pub network: WhichOptions,
}

/// What is to be kept.
#[derive(Clone, Debug, Args)]
pub struct SnapshotOptions {
    /// What the snapshot is called; lists all snapshots if absent
    pub name: Option<String>,
    /// Removes it instead
    #[arg(long, requires = "name")]
    pub remove: bool,
    /// Which network.
    #[command(flatten)]
    pub network: WhichOptions,
}

/// What is to be made of a snapshot.
#[derive(Clone, Debug, Args)]
pub struct RestoreOptions {
    /// The snapshot
    pub name: String,
    /// So many networks, called NAME-1 and so on, each of a seed of its own
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub copies: u64,
    /// The seed of the first of them; drawn if absent
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// What the network is called; as the snapshot if absent
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
}

/// What is to go.
#[derive(Clone, Debug, Args)]
pub struct CleanOptions {
    /// Removes all networks and all snapshots
    #[arg(long, conflicts_with = "network")]
    pub all: bool,
    /// Which network.
    #[command(flatten)]
    pub network: WhichOptions,
}

/// For what the machine is looked at.
#[derive(Clone, Debug, Args)]
pub struct DoctorOptions {
    /// So many nodes are to run
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub nodes: u64,
    /// Which cluster is to be looked at too.
    #[command(flatten)]
    pub kubernetes: KubernetesOptions,
    /// Prints JSON instead of lines
    #[arg(long)]
    pub json: bool,
}
