//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::scenario::{BASELINE, Loaded, Scenario, ScenarioError, Setting};

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
    Validate(ValidateOptions),
    /// Shows what a scenario comes to: as TOML that can be run, as JSON, or as a picture of the graph
    Explain(ExplainOptions),
    /// Prints the JSON Schema of scenarios, for editors, or of results
    Schema(SchemaOptions),
    /// Writes report.html, junit.xml and summary.md of a run anew
    Report(ReportOptions),
    /// Shows how a block travelled: who had it from whom, when, and where the time went
    Trace(TraceOptions),
    /// Compares runs; fails where something has become worse, and not by chance
    Compare(CompareOptions),
    /// Marks the faults of a run in Grafana
    Annotate(AnnotateOptions),
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
    /// Reads the scenario.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a value is not allowed.
    pub fn load(&self) -> Result<Loaded, ScenarioError> {
        let flags = [
            ("nodes", self.nodes),
            ("transfers", self.transfers),
            ("blocks", self.blocks),
            ("seed", self.seed),
        ];
        let flags = flags
            .iter()
            .filter_map(|(name, value)| Some((*name, (*value)?)));
        let mut settings = self.set.clone();
        settings.extend(flags.map(|(name, value)| Setting::flag(name, value)));
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
    /// What the nodes are
    #[arg(long, value_enum, default_value_t = BackendChoice::Auto)]
    pub backend: BackendChoice,
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
    /// Marks the faults in Grafana when the run is over, as `annotate` does
    #[arg(long, value_name = "URL")]
    pub grafana: Option<String>,
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
