//! What nodes are made of: child processes, containers, or machines in virtual time.
//!
//! A backend starts and ends nodes and shows their logs; everything else goes through [`crate::network`]. Nothing of
//! a run is left after [`Backend::cleanup`], which may be called at any moment and more than once.

mod able;
mod disk;
pub mod docker;
pub mod kubernetes;
pub mod lasting;
mod logs;
pub(crate) mod ports;
pub mod process;
pub mod sim;
pub mod swarm;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use triskel::protocol::link::Conditions;

use crate::cli::{BackendChoice, BackendOptions};
use crate::engine::schedule::Surroundings;
use crate::evidence::record::Program;
use crate::network::{Access, CallError};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::scenario::{Loaded, Problem, Upgrade};

pub use able::capabilities;

use docker::Docker;
use kubernetes::Kubernetes;
use process::Process;
use sim::Simulation;
use swarm::Swarm;

/// Starts and ends nodes.
#[derive(Debug)]
pub enum Backend {
    /// Child processes on the loopback address.
    Process(Process),
    /// Containers on a network of their own.
    Docker(Docker),
    /// Services on several machines.
    Swarm(Swarm),
    /// Pods of Kubernetes.
    Kubernetes(Kubernetes),
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
    /// Its exit code; `None` if a signal ended it, or nobody was there to see.
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
            None => formatter.write_str("was ended by a signal, or while nobody watched"),
        }
    }
}

impl Backend {
    /// Its name, as on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Docker(_) => "docker",
            Self::Swarm(_) => "swarm",
            Self::Kubernetes(_) => "kubernetes",
            Self::Sim => "sim",
        }
    }

    /// What its nodes run, for who runs it again. A simulated node is this program.
    pub fn program(&self) -> Option<Program> {
        match self {
            Self::Process(process) => Program::file(process.program()),
            Self::Docker(docker) => Some(docker.program()),
            Self::Swarm(swarm) => Some(swarm.program()),
            Self::Kubernetes(kubernetes) => Some(kubernetes.program()),
            Self::Sim => Program::file(&std::env::current_exe().ok()?),
        }
    }

    /// Starts all nodes of the plan. They need not answer yet.
    pub async fn start(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        match self {
            Self::Process(process) => process.start(plan),
            Self::Docker(docker) => docker.start(plan).await,
            Self::Swarm(swarm) => swarm.start(plan).await,
            Self::Kubernetes(kubernetes) => kubernetes.start(plan).await,
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
        plan: &Plan,
        access: &Access,
        node: usize,
        kill: bool,
    ) -> Result<(), BackendError> {
        match (self, access) {
            (_, Access::Sim(simulation, _)) => violated(simulation.end(node)),
            (Self::Process(process), _) => process.end(plan, node, kill).await,
            (Self::Docker(docker), _) => docker.end(node, kill).await,
            (Self::Swarm(swarm), _) => swarm.end(node, kill).await,
            (Self::Kubernetes(kubernetes), _) => kubernetes.end(node, kill).await,
            (Self::Sim, _) => Err(not_simulated()),
        }
    }

    /// Starts a node that is down, as what its last upgrade made of it. It need not answer yet.
    pub async fn launch(
        &mut self,
        plan: &Plan,
        access: &Access,
        node: usize,
        upgrade: Option<&Upgrade>,
    ) -> Result<(), BackendError> {
        match (self, access) {
            (_, Access::Sim(simulation, _)) => violated(simulation.restart(node)),
            (Self::Process(process), _) => process.launch(plan, node, upgrade),
            (Self::Docker(docker), _) => docker.launch(plan, node, upgrade).await,
            (Self::Swarm(swarm), _) => swarm.launch(plan, node, upgrade).await,
            (Self::Kubernetes(kubernetes), _) => kubernetes.launch(plan, node, upgrade).await,
            (Self::Sim, _) => Err(not_simulated()),
        }
    }

    /// Removes what a node that is down has stored. Its key and its conditions stay: they are who it is and where it stands.
    pub fn wipe(&mut self, plan: &Plan, access: &Access, node: usize) -> Result<(), BackendError> {
        match (self, access) {
            (_, Access::Sim(simulation, _)) => {
                simulation.wipe(node);
                Ok(())
            }
            (Self::Swarm(swarm), _) => {
                swarm.wipe(node);
                Ok(())
            }
            (Self::Kubernetes(kubernetes), _) => {
                kubernetes.wipe(node);
                Ok(())
            }
            _ => disk::wipe(plan, node),
        }
    }

    /// Has a node that runs stand still, or go on.
    #[cfg_attr(
        not(unix),
        allow(unused_variables, reason = "processes are paused by signals")
    )]
    pub async fn pause(
        &mut self,
        access: &Access,
        node: usize,
        paused: bool,
    ) -> Result<(), BackendError> {
        match (self, access) {
            (_, Access::Sim(simulation, _)) => violated(simulation.pause(node, paused)),
            #[cfg(unix)]
            (Self::Process(process), _) => {
                process.pause(node, paused);
                Ok(())
            }
            #[cfg(not(unix))]
            (backend @ Self::Process(_), _) => Err(backend.cannot("pause nodes")),
            (Self::Docker(docker), _) => docker.pause(node, paused).await,
            (Self::Swarm(swarm), _) => swarm.pause(node, paused).await,
            (Self::Kubernetes(kubernetes), _) => kubernetes.pause(node, paused).await,
            (Self::Sim, _) => Err(not_simulated()),
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
        surroundings: &Surroundings,
    ) -> Result<Result<(), CallError>, BackendError> {
        match (self, access) {
            (_, Access::Sim(simulation, _)) => {
                Ok(simulation.set_conditions(node, links, changed, surroundings))
            }
            (Self::Swarm(swarm), _) => {
                swarm.keep_conditions(node, disk::conditions(plan, links, surroundings));
                Ok(Ok(()))
            }
            (Self::Kubernetes(kubernetes), _) => {
                kubernetes.keep_conditions(node, disk::conditions(plan, links, surroundings));
                Ok(Ok(()))
            }
            _ => {
                disk::keep_conditions(plan, node, links, surroundings)?;
                Ok(Ok(()))
            }
        }
    }

    /// Takes a machine away, by its number from 1, with all that runs on it.
    pub async fn lose(&mut self, machine: u64) -> Result<(), BackendError> {
        match self {
            Self::Swarm(swarm) => swarm.lose(machine).await,
            backend => Err(backend.cannot("lose machines")),
        }
    }

    /// Brings a machine back. What ran on it does not run until it is launched.
    pub async fn regain(&mut self, machine: u64) -> Result<(), BackendError> {
        match self {
            Self::Swarm(swarm) => swarm.regain(machine).await,
            backend => Err(backend.cannot("bring machines back")),
        }
    }

    fn cannot(&self, what: &str) -> BackendError {
        BackendError(format!("backend {}: it cannot {what}", self.name()))
    }

    /// Whether a node has ended by itself, and how.
    pub async fn ended(&mut self, access: &Access, node: usize) -> Option<Ended> {
        match (self, access) {
            (_, Access::Sim(simulation, _)) => simulation.ended(node),
            (Self::Process(process), _) => process.ended(node),
            (Self::Docker(docker), _) => docker.ended(node).await,
            (Self::Swarm(swarm), _) => swarm.ended(node).await,
            (Self::Kubernetes(kubernetes), _) => kubernetes.ended(node).await,
            (Self::Sim, Access::Rpc(_)) => None,
        }
    }

    /// The last log lines of a node.
    pub async fn logs(&mut self, plan: &Plan, node: usize, lines: usize) -> Vec<String> {
        match self {
            Self::Process(_) => process::logs(plan, node, lines),
            Self::Docker(docker) => docker.logs(node, lines).await,
            Self::Swarm(swarm) => swarm.logs(plan, node, lines).await,
            Self::Kubernetes(_) => Kubernetes::logs(plan, node, lines),
            // What happened is told by the seed.
            Self::Sim => Vec::new(),
        }
    }

    /// Copies the nodes' logs into the run's directory, where they are not there already.
    pub async fn save_logs(&mut self, plan: &Plan) {
        match self {
            Self::Process(_) | Self::Sim => {}
            Self::Docker(docker) => docker.save_logs(plan).await,
            Self::Swarm(swarm) => swarm.save_logs(plan).await,
            Self::Kubernetes(kubernetes) => kubernetes.save_logs(plan).await,
        }
    }

    /// Ends all nodes and removes everything that the backend made, the run's directory left out.
    pub async fn cleanup(&mut self) {
        match self {
            Self::Process(process) => process.cleanup().await,
            Self::Docker(docker) => docker.cleanup().await,
            Self::Swarm(swarm) => swarm.cleanup().await,
            Self::Kubernetes(kubernetes) => kubernetes.cleanup().await,
            Self::Sim => {}
        }
    }
}

/// The backend that a command line asks for, and why it is this one.
pub async fn choose(
    options: &BackendOptions,
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
        BackendChoice::Swarm => {
            let image = options.image.as_deref();
            let swarm = Swarm::find(image, &options.swarm, progress).await?;
            let reason = format!("{asked}, {}", swarm.description());
            Ok((Backend::Swarm(swarm), reason))
        }
        BackendChoice::Kubernetes => {
            let image = options.image.as_deref();
            let kubernetes = Kubernetes::find(image, &options.kubernetes).await?;
            let reason = format!("{asked}, {}", kubernetes.description());
            Ok((Backend::Kubernetes(kubernetes), reason))
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

/// A violation is kept by the simulation, and shown by everything that is asked afterwards.
fn violated(result: Result<(), CallError>) -> Result<(), BackendError> {
    result.map_err(|error| BackendError(format!("backend sim: {error}")))
}

/// The nodes of a simulation are reached through the simulation alone.
fn not_simulated() -> BackendError {
    BackendError("backend sim: a node is not simulated".to_owned())
}

/// What a scenario asks for that the chosen backend cannot do; nothing is known of `auto` before it has chosen.
pub fn missing(choice: BackendChoice, loaded: &Loaded) -> Vec<Problem> {
    match choice {
        BackendChoice::Auto => Vec::new(),
        choice => loaded.missing(choice.name(), &capabilities(choice.name())),
    }
}

/// The repository that the current directory is part of, if it is.
fn repository_root() -> Option<PathBuf> {
    let current = std::env::current_dir().ok()?;
    let is_root = |directory: &&Path| {
        directory.join("docker/Dockerfile").is_file() && directory.join("Cargo.lock").is_file()
    };
    current.ancestors().find(is_root).map(Path::to_owned)
}
