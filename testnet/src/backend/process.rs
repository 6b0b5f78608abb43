//! Nodes as child processes on the loopback address: no Docker, no root.

mod handle;
mod identity;
mod kept;

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::ports::{Held, Ports};
use super::{BackendError, Ended, disk};
use crate::engine::links::desired;
use crate::journal;
use crate::network::Access;
use crate::plan::{Place, Plan};
use crate::scenario::Upgrade;

use handle::Handle;
use kept::Kept;

pub use kept::ports_kept;

/// A node ends in well under a second once its standard input closes; one that hangs is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// What a node has in its directory.
const CONFIG_FILE: &str = "node.toml";

/// Nodes that outlive this program may have much to write before they end, and share the machine.
const LASTING_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts nodes as processes.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    nodes: Vec<Option<Handle>>,
    ports: Vec<Ports>,
    /// Where nodes outlive this program: ports that are not to be taken, for others come back to them.
    lasting: Option<BTreeSet<u16>>,
}

impl Process {
    /// Finds the node's program: the given one, or the one beside this program.
    pub fn find(given: Option<&Path>) -> Result<Self, BackendError> {
        let candidates = match given {
            Some(path) => vec![path.to_owned()],
            None => beside_this_program(),
        };
        let shown = |path: &PathBuf| path.display().to_string();
        match candidates.iter().find(|path| path.is_file()) {
            Some(program) => Ok(Self::with_program(program)),
            None => Err(BackendError(format!(
                "backend process: no node program at {}; build it with \
                 `cargo build --workspace`, or \
                 name it with --node",
                candidates
                    .iter()
                    .map(shown)
                    .collect::<Vec<_>>()
                    .join(" or ")
            ))),
        }
    }

    /// Takes this to be the node's program, without a look whether it is there: enough to end what it started.
    pub(super) fn with_program(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            nodes: Vec::new(),
            ports: Vec::new(),
            lasting: None,
        }
    }

    /// The node's program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The program of those who break the rules stands beside the node's.
    fn adversary(&self) -> Result<PathBuf, BackendError> {
        let name = format!("adversary{}", std::env::consts::EXE_SUFFIX);
        let program = self.program.with_file_name(name);
        match program.is_file() {
            true => Ok(program),
            false => Err(BackendError(format!(
                "backend process: the scenario has nodes with roles, and no adversary program is at {}; \
                 build it with `cargo build --workspace`",
                program.display()
            ))),
        }
    }

    /// From now on, nodes are started so that they outlive this program, and take none of the ports to which others come back.
    pub fn outlive(&mut self, taken: BTreeSet<u16>) {
        self.lasting = Some(taken);
    }

    pub(super) fn start(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        let accesses = self.place_all(plan)?;
        for node in 0..plan.nodes.len() {
            if !plan.nodes[node].joins_later {
                self.launch(plan, node, None)?;
            }
        }
        Ok(accesses)
    }

    /// Prepares all nodes, and starts none.
    pub(super) fn place_all(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        let all: Vec<_> = (0..plan.nodes.len()).collect();
        self.nodes.clear();
        self.ports.clear();
        self.prepare(plan, &all)?;
        Ok(self.accesses())
    }

    /// Gives nodes that were never started, the last of the plan, ports, keys and conditions. No other run takes the ports
    /// meanwhile. They are let go of before any node starts: a child that is about to become its node has what is open here for
    /// a moment still, and where many start that moment is long enough for another to find its port taken.
    fn prepare(&mut self, plan: &Plan, nodes: &[usize]) -> Result<(), BackendError> {
        let held = Held::take(nodes.len(), self.lasting.as_ref())?;
        let links = desired(plan.nodes.len(), &plan.edges, &[]);
        for (&node, held) in nodes.iter().zip(&held) {
            self.ports.push(held.ports());
            self.nodes.push(None);
            disk::prepare(plan, node, &links[node])?;
            self.keep(plan, node)?;
        }
        Ok(())
    }

    /// Adds the last node of the plan to those that run, without starting it.
    pub(super) fn add(&mut self, plan: &Plan) -> Result<Access, BackendError> {
        self.prepare(plan, &[self.nodes.len()])?;
        let accesses = self.accesses();
        Ok(accesses.last().expect("one was added").clone())
    }

    /// Finds the nodes again that an earlier program started.
    pub(super) fn attach(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        self.nodes.clear();
        self.ports.clear();
        for node in 0..plan.nodes.len() {
            let kept = Kept::read(&plan.node_directory(node))
                .map_err(|error| failed(plan, node, &error))?;
            self.ports.push(kept.ports);
            self.nodes.push(kept.process.and_then(Handle::found));
        }
        Ok(self.accesses())
    }

    /// As [`attach`](Self::attach), of nodes that are only to be ended: those of which nothing is kept were never started.
    pub(super) fn find_again(&mut self, plan: &Plan) {
        self.lasting = Some(BTreeSet::new());
        let kept =
            (0..plan.nodes.len()).filter_map(|node| Kept::read(&plan.node_directory(node)).ok());
        self.nodes = kept
            .map(|kept| kept.process.and_then(Handle::found))
            .collect();
    }

    /// Takes other ports where somebody else has taken those of a node. Where nobody runs, nobody knows them.
    pub(super) fn renew(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        for node in 0..plan.nodes.len() {
            if !self.ports[node].are_free() {
                let held = Held::take(1, self.lasting.as_ref())?;
                self.ports[node] = held[0].ports();
                self.keep(plan, node)?;
            }
        }
        Ok(self.accesses())
    }

    fn accesses(&self) -> Vec<Access> {
        let address = |ports: &Ports| SocketAddr::from((Ipv4Addr::LOCALHOST, ports.rpc));
        self.ports
            .iter()
            .map(|ports| Access::rpc(address(ports)))
            .collect()
    }

    /// Writes down which process the node is, where it outlives this program.
    fn keep(&self, plan: &Plan, node: usize) -> Result<(), BackendError> {
        if self.lasting.is_none() {
            return Ok(());
        }
        let process = self.nodes[node].as_ref().and_then(Handle::identity);
        let kept = Kept {
            ports: self.ports[node],
            process: process.cloned(),
        };
        let written = kept.write(&plan.node_directory(node));
        written.map_err(|error| failed(plan, node, &error))
    }

    /// Where peers reach a node.
    pub(super) fn endpoint(&self, node: usize) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.ports[node].peers)
    }

    /// Starts a node that does not run, as another program if it is to become that.
    pub(super) fn launch(
        &mut self,
        plan: &Plan,
        node: usize,
        upgrade: Option<&Upgrade>,
    ) -> Result<(), BackendError> {
        let command = self.daemon(plan, node, upgrade)?;
        let started = match self.lasting {
            Some(_) => Handle::lasting(command),
            None => Handle::tied(command),
        };
        self.nodes[node] = Some(started.map_err(|error| failed(plan, node, &error))?);
        self.keep(plan, node)
    }

    /// Ends a node. One that does not end when it is asked to is killed.
    pub(super) async fn end(
        &mut self,
        plan: &Plan,
        node: usize,
        kill: bool,
    ) -> Result<(), BackendError> {
        let Some(mut running) = self.nodes.get_mut(node).and_then(Option::take) else {
            return Ok(());
        };
        match kill {
            true => running.kill().await,
            false => {
                running.ask();
                running.end(self.stop_deadline()).await;
            }
        }
        self.keep(plan, node)
    }

    fn stop_deadline(&self) -> tokio::time::Instant {
        let timeout = match self.lasting {
            Some(_) => LASTING_STOP_TIMEOUT,
            None => STOP_TIMEOUT,
        };
        tokio::time::Instant::now() + timeout
    }

    /// Has a node stand still, or go on.
    #[cfg(unix)]
    pub(super) fn pause(&self, node: usize, paused: bool) {
        if let Some(Some(running)) = self.nodes.get(node) {
            running.pause(paused);
        }
    }

    fn daemon(
        &self,
        plan: &Plan,
        node: usize,
        upgrade: Option<&Upgrade>,
    ) -> Result<Command, BackendError> {
        let failed = |error| failed(plan, node, &error);
        let directory = plan.node_directory(node);
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let config = directory.join(CONFIG_FILE);
        std::fs::write(&config, plan.node_toml(node, &self.place(plan, node))).map_err(failed)?;
        // A node that starts again writes on.
        let mut log = File::options();
        let log = log.create(true).append(true);
        let log = log.open(plan.node_log(node)).map_err(failed)?;
        let role = plan.nodes[node].role;
        let named = match upgrade {
            Some(upgrade) => upgrade.program.as_ref(),
            None => plan.nodes[node].program.as_ref(),
        };
        let program = match (named, role.is_honest()) {
            (Some(program), _) => program.clone(),
            (None, true) => self.program.clone(),
            (None, false) => self.adversary()?,
        };
        let mut command = Command::new(program);
        command
            .args((!role.is_honest()).then_some(role.name()))
            .arg("daemon")
            .args(self.lasting.is_none().then_some("--stop-with-stdin"))
            .arg("--config")
            .arg(&config)
            .current_dir(&directory)
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log);
        // The terminal's Ctrl-C is for this program, which then ends the nodes.
        #[cfg(unix)]
        command.process_group(0);
        Ok(command)
    }

    /// The node's own program, which asks the node that runs.
    pub(super) fn tool(&self, plan: &Plan, node: usize) -> Command {
        let directory = plan.node_directory(node);
        let program = plan.nodes[node].program.as_ref();
        let mut command = Command::new(program.unwrap_or(&self.program));
        command.env("TRISKEL_CONFIG", directory.join(CONFIG_FILE));
        command
    }

    fn place(&self, plan: &Plan, node: usize) -> Place {
        let localhost = Ipv4Addr::LOCALHOST.to_string();
        let dials = plan.nodes[node].dials.iter();
        Place {
            listen: localhost.clone(),
            port: self.ports[node].peers,
            peers: dials.map(|&other| self.endpoint(other)).collect(),
            // One node has one port, so one name stands for all of them only together with all ports.
            seeds: (0..self.ports.len())
                .filter(|&other| other != node)
                .map(|other| format!("localhost:{}", self.ports[other].peers))
                .collect(),
            data_dir: disk::directory(plan, node).display().to_string(),
            rpc_listen: localhost,
            rpc_port: self.ports[node].rpc,
        }
    }

    pub(super) fn ended(&mut self, node: usize) -> Option<Ended> {
        self.nodes.get_mut(node)?.as_mut()?.ended()
    }

    /// Whether a node has a process, and which, if it outlives this program.
    pub(super) fn runs(&mut self, node: usize) -> bool {
        let running = self.nodes.get_mut(node).and_then(Option::as_mut);
        running.is_some_and(|running| running.ended().is_none())
    }

    /// Ends a node for good.
    pub(crate) async fn discard(&mut self, plan: &Plan, node: usize) -> Result<(), BackendError> {
        self.end(plan, node, false).await?;
        self.nodes.remove(node);
        self.ports.remove(node);
        Ok(())
    }

    /// Ends all nodes, and keeps what they need to start again.
    pub(super) async fn halt(&mut self, plan: &Plan) -> Result<(), BackendError> {
        self.end_all().await;
        for node in 0..self.nodes.len() {
            self.nodes[node] = None;
            self.keep(plan, node)?;
        }
        Ok(())
    }

    pub(super) async fn cleanup(&mut self) {
        self.end_all().await;
        self.nodes.clear();
        self.ports.clear();
    }

    async fn end_all(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            node.ask();
        }
        let deadline = self.stop_deadline();
        for node in self.nodes.iter_mut().flatten() {
            node.end(deadline).await;
        }
    }
}

fn failed(plan: &Plan, node: usize, error: &std::io::Error) -> BackendError {
    let name = &plan.nodes[node].name;
    BackendError(format!("backend process: {name}: {error}"))
}

pub(super) fn logs(plan: &Plan, node: usize, lines: usize) -> Vec<String> {
    journal::tail(&plan.node_log(node), lines)
}

/// In a build directory, this program stands beside the node, and its tests one directory below.
fn beside_this_program() -> Vec<PathBuf> {
    let name = format!("node{}", std::env::consts::EXE_SUFFIX);
    let Ok(program) = std::env::current_exe() else {
        return vec![PathBuf::from(name)];
    };
    let directories = program.ancestors().skip(1).take(2);
    directories.map(|directory| directory.join(&name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let error = Process::find(Some(Path::new("/no/such/node"))).unwrap_err();
        assert!(error.to_string().contains("/no/such/node"), "{error}");
    }
}
