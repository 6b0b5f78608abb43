//! The command line.

pub mod life;
mod means;
pub mod pod;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use life::{
    AddOptions, CleanOptions, DoctorOptions, ExecOptions, FaultOptions, HealOptions, LogsOptions,
    NodesOptions, RestoreOptions, SnapshotOptions, StatusOptions, TopOptions, UpOptions,
    WhichOptions,
};
pub use means::{BackendChoice, BackendOptions, KubernetesOptions, SwarmOptions};
use pod::PodOptions;

use crate::scenario::{BASELINE, Loaded, Scenario, ScenarioError, Setting, Span};

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
    /// Where networks that stay up are kept; $XDG_STATE_HOME/triskel or ~/.local/state/triskel if absent
    #[arg(
        long,
        value_name = "DIR",
        env = "TRISKEL_STATE",
        global = true,
        help_heading = "Networks that stay up"
    )]
    pub state: Option<PathBuf>,
}

/// A verb of the command line.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a scenario and gives a verdict
    Run(RunOptions),
    /// Runs scenarios by seeds and sizes, several at a time; ends as the worst of them
    Matrix(MatrixOptions),
    /// Does a run again, from its directory or an archive of that
    Reproduce(ReproduceOptions),
    /// Runs scenarios that are drawn from a seed, under virtual time, and keeps those that fail, made smaller
    Fuzz(FuzzOptions),
    /// Finds the smallest scenario that still fails in the same way, under virtual time
    Shrink(ShrinkOptions),
    /// Starts a network that stays up, mining; does nothing where it is up
    Up(UpOptions),
    /// Shows how a network that is up is
    Status(StatusOptions),
    /// Shows the same, live, with keys to hurt and heal
    Top(TopOptions),
    /// Prints what nodes log
    Logs(LogsOptions),
    /// Runs a command of the `node` program against a node, as `testnet exec node-1 -- status`
    Exec(ExecOptions),
    /// Ends nodes until they are started again
    Stop(NodesOptions),
    /// Starts nodes that were stopped or have ended
    Start(NodesOptions),
    /// Adds nodes to a network that is up
    Add(AddOptions),
    /// Removes nodes for good, with what they have stored
    Remove(NodesOptions),
    /// Hurts a network that is up, as `testnet fault kill node-1` or `testnet fault partition=2`
    Fault(FaultOptions),
    /// Ends faults
    Heal(HealOptions),
    /// Keeps what all nodes have stored
    Snapshot(SnapshotOptions),
    /// Makes networks of a snapshot
    Restore(RestoreOptions),
    /// Ends all nodes of a network, and keeps what they have stored
    Down(WhichOptions),
    /// Removes networks, with all that is kept of them
    Clean(CleanOptions),
    /// Says what this machine lacks for a network, and what to do
    Doctor(DoctorOptions),
    /// Checks a scenario without running it
    Validate(ValidateOptions),
    /// Shows what a scenario comes to: as TOML that can be run, as JSON, or as a picture of the graph
    Explain(ExplainOptions),
    /// Prints the JSON Schema of scenarios, for editors, or of results
    Schema(SchemaOptions),
    /// Writes report.html, junit.xml and summary.md of a run anew
    Report(ReportOptions),
    /// Shows how a block travelled: who had it from whom, when, and where the time went
    Trace(TraceOptions),
    /// Compares runs; fails where something has become worse, and not by chance. Says how differently blocks travel
    Compare(CompareOptions),
    /// Marks the faults of a run in Grafana
    Annotate(AnnotateOptions),
    /// Does what the backend kubernetes needs done in a node's pod
    #[command(hide = true)]
    Pod(PodOptions),
}

/// Which schema.
#[derive(Clone, Copy, Debug, Args)]
pub struct SchemaOptions {
    /// That of result.json
    #[arg(long)]
    pub result: bool,
}

/// Which run.
#[derive(Clone, Debug, Args)]
pub struct ReportOptions {
    /// The run's directory
    pub run: PathBuf,
}

/// Which block of which run.
#[derive(Clone, Debug, Args)]
pub struct TraceOptions {
    /// The run's directory
    pub run: PathBuf,
    /// The beginning of a block's id, or its number; the slowest block if absent
    pub block: Option<String>,
    /// Prints JSON instead of a tree
    #[arg(long)]
    pub json: bool,
}

/// Which runs.
#[derive(Clone, Debug, Args)]
pub struct CompareOptions {
    /// A run's directory, or one of many runs: what was before
    pub before: PathBuf,
    /// The same, of what is after; runs of one seed are compared with each other
    pub after: PathBuf,
    /// Prints JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Which run, and where.
#[derive(Clone, Debug, Args)]
pub struct AnnotateOptions {
    /// The run's directory
    pub run: PathBuf,
    /// Grafana, as http://127.0.0.1:3000; with a name and a password before the host if it asks for them
    #[arg(long, value_name = "URL")]
    pub grafana: String,
}

/// Which scenario, and what is different from its file. Later flags win.
#[derive(Clone, Debug, Default, Args)]
pub struct ScenarioOptions {
    /// The scenario; the built-in baseline if absent
    pub scenario: Option<PathBuf>,
    /// Sets a key, as topology=ring, network.preset=chain or faults.0.for=30s; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = Setting::parse)]
    pub set: Vec<Setting>,
    /// Ordinary nodes, as --set nodes=N
    #[arg(long, value_name = "N")]
    pub nodes: Option<u64>,
    /// Transfers, as --set transfers=N
    #[arg(long, value_name = "N")]
    pub transfers: Option<u64>,
    /// Blocks that every node must reach, as --set blocks=N
    #[arg(long, value_name = "N")]
    pub blocks: Option<u64>,
    /// The seed of keys, topology and faults, as --set seed=S
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
}

impl ScenarioOptions {
    /// The flags that set a number, with their keys.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let flags = [
            ("nodes", self.nodes),
            ("transfers", self.transfers),
            ("blocks", self.blocks),
            ("seed", self.seed),
        ];
        let set = |(name, value): (_, Option<u64>)| Some((name, value?));
        flags.into_iter().filter_map(set)
    }

    /// Reads the scenario.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a value is not allowed.
    pub fn load(&self) -> Result<Loaded, ScenarioError> {
        let mut settings = self.set.clone();
        settings.extend(
            self.counts()
                .map(|(name, value)| Setting::flag(name, value)),
        );
        match &self.scenario {
            Some(file) => Scenario::read(file, &settings),
            None => Scenario::parse(BASELINE, "baseline", &settings),
        }
    }
}

/// What a check is asked for.
#[derive(Clone, Debug, Args)]
pub struct ValidateOptions {
    /// Which scenario.
    #[command(flatten)]
    pub what: ScenarioOptions,
    /// Checks too that this backend can do all that the scenario asks for
    #[arg(long, value_enum, default_value_t = BackendChoice::Auto)]
    pub backend: BackendChoice,
}

/// What an explanation is asked for.
#[derive(Clone, Debug, Args)]
pub struct ExplainOptions {
    /// Which scenario.
    #[command(flatten)]
    pub what: ScenarioOptions,
    /// Prints nodes, edges, faults and the graph's measures as JSON
    #[arg(long, conflicts_with_all = ["dot", "mermaid"])]
    pub json: bool,
    /// Prints the graph for Graphviz
    #[arg(long, conflicts_with = "mermaid")]
    pub dot: bool,
    /// Prints the graph for Mermaid
    #[arg(long)]
    pub mermaid: bool,
}

/// What a run is asked for.
#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// Which scenario.
    #[command(flatten)]
    pub what: ScenarioOptions,
    /// What the nodes are.
    #[command(flatten)]
    pub backend: BackendOptions,
    /// Where runs leave their evidence
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Prints the result as JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Marks the faults in Grafana when the run is over, as `annotate` does
    #[arg(long, value_name = "URL")]
    pub grafana: Option<String>,
    /// Keeps the nodes' data after a verdict that holds, too
    #[arg(long)]
    pub keep: bool,
    /// Does this to a network that is up, by its name if there are several: faults, checks and verdict are the scenario's, all else
    /// the network's
    #[arg(long, value_name = "NETWORK", num_args = 0..=1, require_equals = true)]
    pub attach: Option<Option<String>>,
}

/// Which runs.
#[derive(Clone, Debug, Args)]
pub struct MatrixOptions {
    /// The scenarios
    #[arg(required = true)]
    pub scenarios: Vec<PathBuf>,
    /// Seeds, from 1 to N; the scenarios' own if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub seeds: Option<u64>,
    /// Ordinary nodes, as 5,20; the scenarios' own if absent
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub sizes: Vec<u64>,
    /// How often each is run; under virtual time all must come out the same
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub repeat: u64,
    /// What the nodes are
    #[arg(long, value_enum, default_value_t = BackendChoice::Sim)]
    pub backend: BackendChoice,
    /// Runs at a time; as many as there are processors on sim, else one
    #[arg(long, value_name = "J")]
    pub jobs: Option<usize>,
    /// Leaves out, by name, scenarios that the backend cannot do here; else they count as not tried
    #[arg(long)]
    pub able: bool,
    /// The node program of the process backend; the one beside this program if absent
    #[arg(long, value_name = "PATH", env = "TRISKEL_NODE")]
    pub node: Option<PathBuf>,
    /// The image of the docker backend; built from this repository if absent
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// Where runs leave their evidence, in a directory for all of them
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Prints the result as JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Which run is done again, and what is different.
#[derive(Clone, Debug, Args)]
pub struct ReproduceOptions {
    /// The run's directory, or an archive of it that `tar` reads
    pub bundle: PathBuf,
    /// What the nodes are; what they were if absent
    #[arg(long, value_enum)]
    pub backend: Option<BackendChoice>,
    /// The node program of the process backend; the one that was run if absent and still there
    #[arg(long, value_name = "PATH", env = "TRISKEL_NODE")]
    pub node: Option<PathBuf>,
    /// The image of the docker backend; the one that was run if absent
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// Which machines.
    #[command(flatten)]
    pub swarm: SwarmOptions,
    /// Which cluster.
    #[command(flatten)]
    pub kubernetes: KubernetesOptions,
    /// Where the run leaves its evidence
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Prints the result as JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What is searched for, and for how long.
#[derive(Clone, Debug, Args)]
pub struct FuzzOptions {
    /// How long to draw and run scenarios, as 30s or 10m
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub budget: Span,
    /// The most scenarios; as many as the budget allows if absent
    #[arg(long, value_name = "N")]
    pub scenarios: Option<u64>,
    /// From which the scenarios follow; drawn, and told, if absent
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Scenarios at a time
    #[arg(long, value_name = "J", default_value_t = 1)]
    pub jobs: usize,
    /// How long to make smaller what fails in one way
    #[arg(long, value_name = "TIME", default_value = "2m")]
    pub shrink: Span,
    /// Where the smallest scenarios that fail are kept
    #[arg(long, value_name = "DIR", default_value = "testnet/regressions")]
    pub regressions: PathBuf,
    /// Where they are kept as they were drawn
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
}

/// What is made smaller, and for how long.
#[derive(Clone, Debug, Args)]
pub struct ShrinkOptions {
    /// Which scenario.
    #[command(flatten)]
    pub what: ScenarioOptions,
    /// How long to try
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub budget: Span,
    /// Where the result is kept
    #[arg(long, value_name = "DIR", default_value = "testnet/regressions")]
    pub regressions: PathBuf,
}
