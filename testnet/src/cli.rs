//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Launches networks of Triskel nodes and says whether they converge.
#[derive(Debug, Parser)]
#[command(
    name = "testnet",
    version,
    after_help = "Exit codes: 0 the verdict holds, 1 it does not, 2 bad usage or scenario, \
                  3 the environment was not what the scenario asked for, 130 interrupted."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A verb of the command line.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a scenario and gives a verdict
    Run(RunOptions),
    /// Checks a scenario without running it
    Validate {
        /// The scenario
        file: PathBuf,
    },
}

/// What a run is asked for.
#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// The scenario; the built-in baseline if absent
    pub scenario: Option<PathBuf>,
    /// Nodes, instead of the scenario's number
    #[arg(long, value_name = "N")]
    pub nodes: Option<u64>,
    /// Transfers, instead of the scenario's number
    #[arg(long, value_name = "N")]
    pub transfers: Option<u64>,
    /// Blocks that every node must reach, instead of the scenario's number
    #[arg(long, value_name = "N")]
    pub blocks: Option<u64>,
    /// What the nodes are
    #[arg(long, value_enum, default_value_t = BackendChoice::Auto)]
    pub backend: BackendChoice,
    /// The seed of keys and topology, instead of the scenario's
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// The node program of the process backend; the one beside this program if absent
    #[arg(long, value_name = "PATH", env = "TRISKEL_NODE")]
    pub node: Option<PathBuf>,
    /// The image of the docker backend; built from this repository if absent
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// Where runs leave their evidence
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Prints the result as JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Keeps the nodes' data after a verdict that holds, too
    #[arg(long)]
    pub keep: bool,
}

/// Which backend to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// Docker where an engine answers and the image can be had, else processes
    Auto,
    /// Containers
    Docker,
    /// Child processes
    Process,
    /// Simulated machines in virtual time
    Sim,
}
