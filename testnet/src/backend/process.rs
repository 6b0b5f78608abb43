//! Nodes as child processes on the loopback address: no Docker, no root.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::{Child, ChildStdin, Command};
use triskel::protocol::link::Conditions;

use super::{BackendError, Ended};
use crate::engine::links::desired;
use crate::journal;
use crate::network::Access;
use crate::plan::{Place, Plan};

/// Ports to choose from: below those that Linux (from 32768), macOS and Windows (from 49152) give to outgoing
/// connections, which otherwise take a chosen port now and then before its node listens on it.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 31_999;

/// A node ends in well under a second once its standard input closes; one that hangs is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// What a node has in its data directory beside what it stored of the network.
const KEY_FILE: &str = "node.key";
const CONDITIONS_FILE: &str = "conditions.json";
const CONDITIONS_VERSION: u64 = 1;

/// Starts nodes as child processes.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    nodes: Vec<Option<Running>>,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// The node ends when this closes, however this program ends: even if it is killed, no node outlives it.
    stdin: Option<ChildStdin>,
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
            Some(program) => Ok(Self {
                program: program.clone(),
                nodes: Vec::new(),
                places: Vec::new(),
            }),
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

    /// The node's program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn start(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        // Two ports a node, held until its process starts, so that no other run takes them.
        let mut held = free_ports(2 * plan.nodes.len())?.into_iter();
        let mut reserved = Vec::new();
        while let (Some(peers), Some(rpc)) = (held.next(), held.next()) {
            reserved.push((peers, rpc));
        }
        self.places = (0..plan.nodes.len())
            .map(|node| place(plan, node, &reserved))
            .collect();
        let links = desired(plan.nodes.len(), &plan.edges, &[]);
        let mut nodes = Vec::new();
        for (node, (ports, links)) in reserved.into_iter().zip(&links).enumerate() {
            give_key(plan, node)?;
            keep_conditions(plan, node, links, 0)?;
            drop(ports);
            self.nodes.push(None);
            if !plan.nodes[node].joins_later {
                self.launch(plan, node)?;
            }
            let rpc = SocketAddr::from((Ipv4Addr::LOCALHOST, self.places[node].rpc_port));
            nodes.push(Access::rpc(rpc));
        }
        Ok(nodes)
    }

    /// Starts a node that does not run.
    pub(super) fn launch(&mut self, plan: &Plan, node: usize) -> Result<(), BackendError> {
        let running = self.spawn(plan, node, &self.places[node])?;
        self.nodes[node] = Some(running);
        Ok(())
    }

    /// Ends a node. One that does not end when it is asked to is killed.
    pub(super) async fn end(&mut self, node: usize, kill: bool) {
        let Some(mut running) = self.nodes.get_mut(node).and_then(Option::take) else {
            return;
        };
        running.stdin = None;
        let ended = match kill {
            true => false,
            false => {
                let stopped = tokio::time::timeout(STOP_TIMEOUT, running.child.wait()).await;
                stopped.is_ok()
            }
        };
        if !ended {
            // The only way this fails is that the node has ended meanwhile.
            let _ = running.child.kill().await;
        }
    }

    /// Has a node stand still, or go on.
    pub(super) async fn pause(&mut self, node: usize, paused: bool) -> Result<(), BackendError> {
        let running = self.nodes.get(node).and_then(Option::as_ref);
        let Some(id) = running.and_then(|running| running.child.id()) else {
            return Ok(());
        };
        let signal = if paused { "-STOP" } else { "-CONT" };
        let mut command = Command::new("kill");
        command.args([signal, &id.to_string()]);
        let status = command.status().await;
        match status.map(|status| status.success()) {
            Ok(true) => Ok(()),
            _ => Err(BackendError(format!(
                "backend process: `kill {signal} {id}` fails"
            ))),
        }
    }

    fn spawn(&self, plan: &Plan, node: usize, place: &Place) -> Result<Running, BackendError> {
        let name = &plan.nodes[node].name;
        let failed = |error| BackendError(format!("backend process: {name}: {error}"));
        let directory = plan.node_directory(node);
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let config = directory.join("node.toml");
        std::fs::write(&config, plan.node_toml(node, place)).map_err(failed)?;
        // A node that starts again writes on.
        let mut log = File::options();
        let log = log.create(true).append(true);
        let log = log.open(directory.join("node.log")).map_err(failed)?;
        let program = plan.nodes[node].program.as_ref();
        let mut command = Command::new(program.unwrap_or(&self.program));
        command
            .args(["daemon", "--stop-with-stdin", "--config"])
            .arg(&config)
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .kill_on_drop(true);
        // The terminal's Ctrl-C is for this program, which then ends the nodes.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let stdin = child.stdin.take();
        Ok(Running { child, stdin })
    }

    pub(super) fn ended(&mut self, node: usize) -> Option<Ended> {
        let status = self
            .nodes
            .get_mut(node)?
            .as_mut()?
            .child
            .try_wait()
            .ok()??;
        let code = status.code();
        Some(Ended { code })
    }

    pub(super) async fn cleanup(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            node.stdin = None;
        }
        let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
        for mut node in self.nodes.drain(..).flatten() {
            let stopped = tokio::time::timeout_at(deadline, node.child.wait()).await;
            if stopped.is_err() {
                // The only way this fails is that the node has ended meanwhile.
                let _ = node.child.kill().await;
            }
        }
    }
}

/// Gives a node its key before its first start: the conditions of links name nodes by their keys.
fn give_key(plan: &Plan, node: usize) -> Result<(), BackendError> {
    let data = data_directory(plan, node);
    let secret = plan.node_keys(node).secret();
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::create_dir_all(&data)
        .and_then(|()| std::fs::write(data.join(KEY_FILE), text + "\n"))
        .map_err(|error| failed(plan, node, &error))
}

/// Writes what a node that is down does to its links and clock once it starts.
pub(super) fn keep_conditions(
    plan: &Plan,
    node: usize,
    links: &BTreeMap<usize, Conditions>,
    clock_offset_ms: i64,
) -> Result<(), BackendError> {
    let mut conditions = json!(plan.node_conditions(links, clock_offset_ms));
    conditions["version"] = CONDITIONS_VERSION.into();
    let file = data_directory(plan, node).join(CONDITIONS_FILE);
    let written = std::fs::write(file, format!("{conditions:#}\n"));
    written.map_err(|error| failed(plan, node, &error))
}

/// Removes what a node has stored of the network.
pub(super) fn wipe(plan: &Plan, node: usize) -> Result<(), BackendError> {
    let remove = || -> std::io::Result<()> {
        for entry in std::fs::read_dir(data_directory(plan, node))? {
            let entry = entry?;
            let name = entry.file_name();
            if name == KEY_FILE || name == CONDITIONS_FILE {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false => std::fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    };
    remove().map_err(|error| failed(plan, node, &error))
}

fn data_directory(plan: &Plan, node: usize) -> PathBuf {
    plan.node_directory(node).join("data")
}

fn failed(plan: &Plan, node: usize, error: &std::io::Error) -> BackendError {
    let name = &plan.nodes[node].name;
    BackendError(format!("backend process: {name}: {error}"))
}

pub(super) fn logs(plan: &Plan, node: usize, lines: usize) -> Vec<String> {
    journal::tail(&plan.node_directory(node).join("node.log"), lines)
}

fn place(plan: &Plan, node: usize, ports: &[(Reserved, Reserved)]) -> Place {
    let localhost = Ipv4Addr::LOCALHOST.to_string();
    let dials = plan.nodes[node].dials.iter();
    let data_dir = data_directory(plan, node);
    Place {
        listen: localhost.clone(),
        port: ports[node].0.port,
        peers: dials
            .map(|&other| format!("{localhost}:{}", ports[other].0.port))
            .collect(),
        data_dir: data_dir.display().to_string(),
        rpc_listen: localhost,
        rpc_port: ports[node].1.port,
    }
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

/// A port that nobody else can listen on while this lives.
struct Reserved {
    port: u16,
    _listener: TcpListener,
}

fn free_ports(count: usize) -> Result<Vec<Reserved>, BackendError> {
    let range = usize::from(LAST_PORT - FIRST_PORT) + 1;
    // Runs that start at the same time begin to look at different ports.
    let first = getrandom::u32().unwrap_or_default() as usize % range;
    let candidates = (0..range).map(|step| FIRST_PORT + ((first + step) % range) as u16);
    let reserve = |port| {
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        Some(Reserved { port, _listener })
    };
    let ports: Vec<_> = candidates.filter_map(reserve).take(count).collect();
    match ports.len() == count {
        true => Ok(ports),
        false => Err(BackendError(format!(
            "backend process: {count} free ports are needed from {FIRST_PORT} to \
             {LAST_PORT}, {} are",
            ports.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_at_once_get_different_ports() {
        let (left, right) = (free_ports(100).unwrap(), free_ports(100).unwrap());
        let mut ports: Vec<_> = left.iter().chain(&right).map(|held| held.port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Process::find(Some(Path::new("/no/such/node"))).unwrap_err();
        assert!(error.to_string().contains("/no/such/node"), "{error}");
    }
}
