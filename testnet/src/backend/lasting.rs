//! What a backend can do where its nodes outlive the command that started them: find them again, and show them to people.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::process::Command;

use super::docker::Docker;
use super::process::Process;
use super::{Backend, BackendError};
use crate::cli::BackendChoice;
use crate::network::Access;
use crate::plan::Plan;

/// Refuses a backend whose nodes cannot outlive this program, before anything is built for it.
///
/// # Errors
///
/// It is one.
pub fn check_outlives(choice: BackendChoice) -> Result<(), BackendError> {
    let why = match choice {
        BackendChoice::Auto | BackendChoice::Process | BackendChoice::Docker => return Ok(()),
        BackendChoice::Swarm => {
            "backend swarm: a network that stays up is `docker stack deploy` of docker/swarm/stack.yaml; `testnet up` needs \
             --backend process or docker"
        }
        BackendChoice::Kubernetes => {
            "backend kubernetes: a network that stays up is `kubectl apply --kustomize docker/kubernetes`; `testnet up` needs \
             --backend process or docker"
        }
        BackendChoice::Sim => {
            "backend sim: its nodes live in one command and end with it: `testnet run --backend sim`; \
             a network that stays up needs --backend process or docker"
        }
    };
    Err(BackendError(why.to_owned()))
}

impl Backend {
    /// The backend of a network that an earlier command has made. `means` is what [`Self::means`] said then.
    ///
    /// # Errors
    ///
    /// Program or engine are gone.
    pub async fn again(name: &str, means: &str) -> Result<Self, BackendError> {
        match name {
            "process" => Process::find(Some(Path::new(means))).map(Self::Process),
            "docker" => Docker::again(means).await.map(Self::Docker),
            other => Err(BackendError(format!(
                "backend {other}: no network of it can be up"
            ))),
        }
    }

    /// The same, if nothing is to be started any more: nothing but what was made needs to be there.
    ///
    /// # Errors
    ///
    /// No network of this backend can have been made.
    pub fn to_remove(name: &str, means: &str) -> Result<Self, BackendError> {
        match name {
            "process" => Ok(Self::Process(Process::with_program(Path::new(means)))),
            "docker" => Ok(Self::Docker(Docker::of(means))),
            other => Err(BackendError(format!(
                "backend {other}: no network of it can be up"
            ))),
        }
    }

    /// With what its nodes are started: an image, or a program, wherever a later command is called.
    ///
    /// # Errors
    ///
    /// The current directory is gone.
    pub fn means(&self) -> std::io::Result<String> {
        match self {
            Self::Process(process) => Ok(std::path::absolute(process.program())?
                .display()
                .to_string()),
            Self::Docker(docker) => Ok(docker.image().to_owned()),
            Self::Swarm(_) | Self::Kubernetes(_) | Self::Sim => Ok(String::new()),
        }
    }

    /// From now on, nodes are started so that they outlive this program. These TCP ports of the loopback address are not taken, for
    /// others come back to them.
    pub fn outlive(&mut self, taken: BTreeSet<u16>) {
        match self {
            Self::Process(process) => process.outlive(taken),
            Self::Docker(docker) => docker.outlive(taken),
            Self::Swarm(_) | Self::Kubernetes(_) | Self::Sim => {}
        }
    }

    /// Finds the nodes of a plan again.
    ///
    /// # Errors
    ///
    /// What is kept of them cannot be read, or the engine does not answer.
    pub async fn attach(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        match self {
            Self::Process(process) => process.attach(plan),
            Self::Docker(docker) => docker.attach(plan).await,
            backend => Err(backend.cannot("find nodes again")),
        }
    }

    /// Sees that nodes of which none runs can start: their ports may have been taken meanwhile. Gives the ways to all.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn renew(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        match self {
            Self::Process(process) => process.renew(plan),
            Self::Docker(docker) => docker.renew(plan).await,
            backend => Err(backend.cannot("start nodes again")),
        }
    }

    /// Prepares all nodes of a plan, whose stores are there already. None runs yet.
    ///
    /// # Errors
    ///
    /// No port is free, or a file cannot be written.
    pub async fn place(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        match self {
            Self::Process(process) => process.place_all(plan),
            Self::Docker(docker) => docker.make(plan, |_| false).await,
            backend => Err(backend.cannot("start nodes on stores of others")),
        }
    }

    /// Prepares the last node of a plan, the others of which were started or found. It does not run yet.
    ///
    /// # Errors
    ///
    /// No port is free, or a file cannot be written.
    pub async fn add(&mut self, plan: &Plan) -> Result<Access, BackendError> {
        match self {
            Self::Process(process) => process.add(plan),
            Self::Docker(docker) => docker.add(plan).await,
            backend => Err(backend.cannot("add nodes")),
        }
    }

    /// Ends all nodes, and keeps what they need to start again.
    ///
    /// # Errors
    ///
    /// What is kept of them cannot be written, or the engine refuses.
    pub async fn halt(&mut self, plan: &Plan) -> Result<(), BackendError> {
        match self {
            Self::Process(process) => process.halt(plan).await,
            Self::Docker(docker) => docker.halt().await,
            backend => Err(backend.cannot("end nodes for a while")),
        }
    }

    /// Ends all nodes of a plan, and removes everything that the backend made for them, files in their directories left out.
    pub async fn erase(&mut self, plan: &Plan) {
        match self {
            Self::Process(process) => {
                process.find_again(plan);
                process.cleanup().await;
            }
            Self::Docker(docker) => docker.erase(plan).await,
            Self::Swarm(_) | Self::Kubernetes(_) | Self::Sim => {}
        }
    }

    /// Whether a node runs, paused or not.
    pub async fn runs(&mut self, node: usize) -> bool {
        match self {
            Self::Process(process) => process.runs(node),
            Self::Docker(docker) => docker.runs(node).await,
            Self::Swarm(_) | Self::Kubernetes(_) | Self::Sim => true,
        }
    }

    /// Where peers reach a node, as host:port.
    ///
    /// # Errors
    ///
    /// Its nodes are not reached from outside.
    pub fn endpoint(&self, plan: &Plan, node: usize) -> Result<String, BackendError> {
        match self {
            Self::Process(process) => Ok(process.endpoint(node)),
            Self::Docker(_) => Ok(Docker::endpoint(plan, node)),
            backend => Err(backend.cannot("tell where a node is")),
        }
    }

    /// The `node` program where a node runs, with that node's configuration. Arguments are still to be added.
    ///
    /// # Errors
    ///
    /// Its nodes have no program of their own.
    pub fn tool(&self, plan: &Plan, node: usize) -> Result<Command, BackendError> {
        match self {
            Self::Process(process) => Ok(process.tool(plan, node)),
            Self::Docker(docker) => Ok(docker.tool(node)),
            backend => Err(backend.cannot("run programs beside nodes")),
        }
    }

    /// Prints a node's last log lines, and goes on with those that come if `follow` says so.
    ///
    /// # Errors
    ///
    /// Its nodes have no logs.
    pub fn log_command(
        &self,
        plan: &Plan,
        node: usize,
        lines: usize,
        follow: bool,
    ) -> Result<Command, BackendError> {
        match self {
            Self::Process(_) => {}
            Self::Docker(docker) => return Ok(docker.log_command(node, lines, follow)),
            backend => return Err(backend.cannot("show logs of nodes that stay up")),
        }
        let mut command = Command::new("tail");
        command.args(["-n", &lines.to_string()]);
        if follow {
            command.arg("-F");
        }
        command.arg(plan.node_log(node));
        Ok(command)
    }
}
