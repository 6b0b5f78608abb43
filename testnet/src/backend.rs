//! What nodes are made of: child processes, containers, or machines in virtual time.
//!
//! A backend starts and ends nodes and shows their logs; everything else goes through [`crate::network`]. Nothing of
//! a run is left after [`Backend::cleanup`], which may be called at any moment and more than once.

pub mod docker;
pub mod process;
pub mod sim;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cli::{BackendChoice, RunOptions};
use crate::network::Access;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::scenario::{Capability, Loaded, Problem};

use docker::Docker;
use process::Process;
use sim::Simulation;

/// Starts and ends nodes.
#[derive(Debug)]
pub enum Backend {
    /// Child processes on the loopback address.
    Process(Process),
    /// Containers on a network of their own.
    Docker(Docker),
    /// Machines in this process, under virtual time.
    Sim,
}

/// Why a backend cannot do its part. The environment is at fault, not the nodes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// A node that is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
}

/// The code with which a node exits that cannot listen on its port.
const EXIT_PORT_IN_USE: i32 = 3;

impl Ended {
    /// Whether the node found its port taken.
    pub fn port_in_use(&self) -> bool {
        self.code == Some(EXIT_PORT_IN_USE)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(formatter, "ended with code {code}"),
            None => formatter.write_str("was ended by a signal"),
        }
    }
}

impl Backend {
    /// Its name, as on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Docker(_) => "docker",
            Self::Sim => "sim",
        }
    }

    /// Starts all nodes of the plan. They need not answer yet.
    pub async fn start(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        match self {
            Self::Process(process) => process.start(plan),
            Self::Docker(docker) => docker.start(plan).await,
            Self::Sim => {
                let simulation = Simulation::new(plan)?;
                let access = |node| Access::Sim(simulation.clone(), node);
                Ok((0..plan.nodes.len()).map(access).collect())
            }
        }
    }

    /// Whether a node has ended by itself, and how.
    pub async fn ended(&mut self, node: usize) -> Option<Ended> {
        match self {
            Self::Process(process) => process.ended(node),
            Self::Docker(docker) => docker.ended(node).await,
            Self::Sim => None,
        }
    }

    /// The last log lines of a node.
    pub async fn logs(&mut self, plan: &Plan, node: usize, lines: usize) -> Vec<String> {
        match self {
            Self::Process(_) => process::logs(plan, node, lines),
            Self::Docker(docker) => docker.logs(node, lines).await,
            // What happened is told by the seed.
            Self::Sim => Vec::new(),
        }
    }

    /// Copies the nodes' logs into the run's directory, where they are not there already.
    pub async fn save_logs(&mut self, plan: &Plan) {
        match self {
            Self::Process(_) | Self::Sim => {}
            Self::Docker(docker) => docker.save_logs(plan).await,
        }
    }

    /// Ends all nodes and removes everything that the backend made, the run's directory left out.
    pub async fn cleanup(&mut self) {
        match self {
            Self::Process(process) => process.cleanup().await,
            Self::Docker(docker) => docker.cleanup().await,
            Self::Sim => {}
        }
    }
}

/// The backend that a command line asks for, and why it is this one.
pub async fn choose(
    options: &RunOptions,
    progress: &mut Progress,
) -> Result<(Backend, String), BackendError> {
    let asked = "as asked";
    match options.backend {
        BackendChoice::Process => {
            let process = Process::find(options.node.as_deref())?;
            let program = process.program();
            // Shorter, and the same wherever the checkout is.
            let here = std::env::current_dir().unwrap_or_default();
            let shown = program.strip_prefix(&here).unwrap_or(program);
            let reason = format!("{asked}, {}", shown.display());
            Ok((Backend::Process(process), reason))
        }
        BackendChoice::Docker => {
            let docker = Docker::find(options.image.as_deref(), progress).await?;
            let reason = format!("{asked}, {}", docker.description());
            Ok((Backend::Docker(docker), reason))
        }
        BackendChoice::Sim => Ok((Backend::Sim, format!("{asked}, virtual time"))),
        BackendChoice::Auto => match Docker::find(options.image.as_deref(), progress).await {
            Ok(docker) => {
                let reason = docker.description();
                Ok((Backend::Docker(docker), reason))
            }
            Err(BackendError(why)) => {
                let process = Process::find(options.node.as_deref())?;
                Ok((Backend::Process(process), why))
            }
        },
    }
}

/// What a backend can do beside what all can. Whoever teaches one something adds it here.
pub fn capabilities(backend: &str) -> BTreeSet<Capability> {
    match backend {
        "process" => BTreeSet::from([Capability::Config, Capability::Streams, Capability::Program]),
        "docker" => BTreeSet::from([Capability::Config, Capability::Streams, Capability::Image]),
        // Its oracle replays every order of every node, and compares accounts and supply.
        "sim" => BTreeSet::from([
            Capability::Invariant("supply"),
            Capability::Invariant("no_invalid_block"),
            Capability::Invariant("no_unexpected_restart"),
        ]),
        _ => BTreeSet::new(),
    }
}

/// What a scenario asks for that the chosen backend cannot do; nothing is known of `auto` before it has chosen.
pub fn missing(choice: BackendChoice, loaded: &Loaded) -> Vec<Problem> {
    let name = match choice {
        BackendChoice::Auto => return Vec::new(),
        BackendChoice::Docker => "docker",
        BackendChoice::Process => "process",
        BackendChoice::Sim => "sim",
    };
    loaded.missing(name, &capabilities(name))
}

/// The repository that the current directory is part of, if it is.
fn repository_root() -> Option<PathBuf> {
    let current = std::env::current_dir().ok()?;
    let is_root = |directory: &&Path| {
        directory.join("docker/Dockerfile").is_file() && directory.join("Cargo.lock").is_file()
    };
    current.ancestors().find(is_root).map(Path::to_owned)
}
