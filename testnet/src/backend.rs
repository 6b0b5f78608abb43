//! What nodes are made of: child processes, containers, or machines in virtual time.
//!
//! A backend starts and ends nodes and shows their logs; everything else goes through [`crate::network`]. Nothing of
//! a run is left after [`Backend::cleanup`], which may be called at any moment and more than once.

pub mod docker;
pub mod process;
pub mod sim;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use triskel::protocol::link::Conditions;

use crate::cli::{BackendChoice, RunOptions};
use crate::network::{Access, CallError};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::scenario::{ActionKind, Capability, Loaded, Problem};

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

    /// Ends a node: without warning, or as it is asked to.
    pub async fn end(
        &mut self,
        access: &Access,
        node: usize,
        kill: bool,
    ) -> Result<(), BackendError> {
        match (self, access) {
            (_, Access::Sim(simulation, _)) => violated(simulation.end(node)),
            (Self::Process(process), _) => {
                process.end(node, kill).await;
                Ok(())
            }
            (backend, _) => Err(backend.cannot("end nodes")),
        }
    }

    /// Starts a node that is down. It need not answer yet.
    pub fn launch(
        &mut self,
        plan: &Plan,
        access: &Access,
        node: usize,
    ) -> Result<(), BackendError> {
        match (self, access) {
            (_, Access::Sim(simulation, _)) => violated(simulation.restart(node)),
            (Self::Process(process), _) => process.launch(plan, node),
            (backend, _) => Err(backend.cannot("start nodes again")),
        }
    }

    /// Removes what a node that is down has stored. Its key and its conditions stay: they are who it is and where it stands.
    pub fn wipe(&mut self, plan: &Plan, access: &Access, node: usize) -> Result<(), BackendError> {
        match (self, access) {
            (_, Access::Sim(simulation, _)) => {
                simulation.wipe(node);
                Ok(())
            }
            (Self::Process(_), _) => process::wipe(plan, node),
            (backend, _) => Err(backend.cannot("remove stores")),
        }
    }

    /// Has a node that runs stand still, or go on.
    pub async fn pause(&mut self, node: usize, paused: bool) -> Result<(), BackendError> {
        match self {
            Self::Process(process) => process.pause(node, paused).await,
            backend => Err(backend.cannot("pause nodes")),
        }
    }

    /// As [`Access::set_conditions`], for a node that is down.
    pub fn keep_conditions(
        &mut self,
        plan: &Plan,
        access: &Access,
        node: usize,
        links: &BTreeMap<usize, Conditions>,
        changed: &BTreeSet<usize>,
        clock_offset_ms: i64,
    ) -> Result<Result<(), CallError>, BackendError> {
        match (self, access) {
            (_, Access::Sim(simulation, _)) => {
                Ok(simulation.set_conditions(node, links, changed, clock_offset_ms))
            }
            (Self::Process(_), _) => {
                process::keep_conditions(plan, node, links, clock_offset_ms)?;
                Ok(Ok(()))
            }
            (backend, _) => Err(backend.cannot("set conditions of links")),
        }
    }

    fn cannot(&self, what: &str) -> BackendError {
        BackendError(format!("backend {}: it cannot {what}", self.name()))
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

/// What is calculated of mining as a whole.
const STATISTICS: [&str; 5] = [
    "interval_p_value",
    "red_rate_error",
    "stale_rate_error",
    "reorganisation_depth",
    "revenue_error",
];

/// A violation is kept by the simulation, and shown by everything that is asked afterwards.
fn violated(result: Result<(), CallError>) -> Result<(), BackendError> {
    result.map_err(|error| BackendError(format!("backend sim: {error}")))
}

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
    ];
    let others = [
        Capability::LinkDelay,
        Capability::LinkJitter,
        Capability::LinkLoss,
        Capability::LinkRate,
        Capability::AtBlock,
        Capability::AtEvent,
        Capability::Check,
    ];
    let faults = faults.map(Capability::Fault);
    faults.into_iter().chain(others).collect()
}

/// What a backend can do beside what all can. Whoever teaches one something adds it here.
pub fn capabilities(backend: &str) -> BTreeSet<Capability> {
    let mut capabilities = match backend {
        "process" | "sim" => engine_capabilities(),
        _ => BTreeSet::new(),
    };
    capabilities.extend(match backend {
        "process" => vec![
            Capability::Config,
            Capability::Streams,
            Capability::Program,
            #[cfg(unix)]
            Capability::Fault(ActionKind::Pause),
        ],
        "docker" => vec![
            Capability::Config,
            Capability::Streams,
            Capability::Image,
            Capability::Check,
        ],
        // Its oracle replays every order of every node, and compares accounts and supply. Its nodes run in this program: one that
        // panics ends it.
        "sim" => vec![
            Capability::Invariant("supply"),
            Capability::Invariant("no_invalid_block"),
            Capability::Invariant("no_unexpected_restart"),
            Capability::Invariant("no_panic"),
        ],
        _ => Vec::new(),
    });
    // They are functions of what every backend records.
    capabilities.extend(STATISTICS.map(Capability::Statistic));
    capabilities
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
