//! Nodes as containers, through the `docker` program: each run has a network of its own, whose DNS knows the nodes by
//! name.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{BackendError, Ended, repository_root};
use crate::journal;
use crate::network::Access;
use crate::plan::{Place, Plan};
use crate::progress::Progress;

/// The image that is built from a repository.
pub const DEFAULT_IMAGE: &str = "triskel:dev";

/// Everything that a run makes bears this label with the run's id, so that cleaning up removes exactly its own.
const RUN_LABEL: &str = "triskel.run";
const NODE_LABEL: &str = "triskel.node";
const PEER_PORT: u16 = 9_000;
const RPC_PORT: u16 = 10_000;
const CONFIG: &str = "/etc/triskel/node.toml";
/// Not where images keep their volume: a volume outlives its container, a file system in memory does not.
const DATA: &str = "/run/triskel";

/// An engine that is there answers at once; one behind a dead socket or host never does.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);
/// More starts at once only queue in the engine.
const PARALLEL_STARTS: usize = 16;

/// Starts nodes as containers.
#[derive(Debug)]
pub struct Docker {
    image: String,
    engine: String,
    run: Option<String>,
    containers: Vec<String>,
    /// Starts under way. Cleaning up awaits them, for a container may appear after its start was given up.
    starting: JoinSet<Result<(), BackendError>>,
}

impl Docker {
    /// Asks for an engine and sees to the image: a named one must be there or be pulled, else the repository's is
    /// built.
    pub async fn find(image: Option<&str>, progress: &mut Progress) -> Result<Self, BackendError> {
        let version = docker(&["version", "--format", "{{.Server.Version}}"]);
        let engine = match tokio::time::timeout(ENGINE_TIMEOUT, version).await {
            Ok(Ok(engine)) => engine,
            Ok(Err(error)) if error.0.contains("No such file") => {
                return Err(BackendError("docker: not installed".to_owned()));
            }
            _ => return Err(BackendError("docker: no engine answers".to_owned())),
        };
        let image = match (image, repository_root()) {
            (Some(image), _) => ensure_image(image, progress).await?,
            (None, Some(root)) => build(&root, progress).await?,
            (None, None) => {
                let present = docker(&["image", "inspect", "--format", "{{.Id}}", DEFAULT_IMAGE]);
                let missing =
                    format!("docker: there is no image {DEFAULT_IMAGE}, nor a docker/Dockerfile");
                present.await.map_err(|_| BackendError(missing))?;
                DEFAULT_IMAGE.to_owned()
            }
        };
        Ok(Self {
            image,
            engine,
            run: None,
            containers: Vec::new(),
            starting: JoinSet::new(),
        })
    }

    /// Engine and image.
    pub fn description(&self) -> String {
        format!("engine {}, image {}", self.engine, self.image)
    }

    pub(super) async fn start(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        self.run = Some(plan.id.clone());
        let network = format!("triskel-{}", plan.id);
        let label = format!("{RUN_LABEL}={}", plan.id);
        // The engine chooses the subnet: a fixed one collides with other runs.
        let create = ["network", "create", "--label", &label, &network];
        self.launch(create.map(str::to_owned).to_vec(), None);
        self.launched().await?;
        let permits = Arc::new(Semaphore::new(PARALLEL_STARTS));
        self.containers.clear();
        for node in 0..plan.nodes.len() {
            let arguments = self.run_arguments(plan, node, &network, &label)?;
            self.containers
                .push(format!("{network}-{}", plan.nodes[node].name));
            self.launch(arguments, Some(Arc::clone(&permits)));
        }
        self.launched().await?;
        self.addresses().await
    }

    /// Lets a command run that makes something, whether or not somebody waits for its end.
    fn launch(&mut self, arguments: Vec<String>, permits: Option<Arc<Semaphore>>) {
        self.starting.spawn(async move {
            let _permit = match &permits {
                Some(permits) => permits.acquire().await.ok(),
                None => None,
            };
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            docker(&arguments).await.map(|_| ())
        });
    }

    /// Waits for all commands that were launched; ends at the first that fails.
    async fn launched(&mut self) -> Result<(), BackendError> {
        while let Some(ended) = self.starting.join_next().await {
            ended.map_err(|error| BackendError(format!("docker: {error}")))??;
        }
        Ok(())
    }

    fn run_arguments(
        &self,
        plan: &Plan,
        node: usize,
        network: &str,
        label: &str,
    ) -> Result<Vec<String>, BackendError> {
        let name = &plan.nodes[node].name;
        let failed = |error| BackendError(format!("docker: {name}: {error}"));
        let directory = plan.node_directory(node);
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let config = directory.join("node.toml");
        std::fs::write(&config, plan.node_toml(node, &place(plan, node))).map_err(failed)?;
        let mount = format!("type=bind,src={},dst={CONFIG},readonly", config.display());
        let text = [
            "run",
            "--detach",
            "--label",
            label,
            "--label",
            &format!("{NODE_LABEL}={name}"),
            "--name",
            &format!("{network}-{name}"),
            "--hostname",
            name,
            "--network",
            network,
            "--network-alias",
            name,
            // Only this machine sees the control interface, on a port that the engine chooses.
            "--publish",
            &format!("{}::{RPC_PORT}", Ipv4Addr::LOCALHOST),
            "--mount",
            &mount,
            "--read-only",
            // Writable for whatever user the image runs as.
            "--tmpfs",
            &format!("{DATA}:mode=1777"),
            // The image may set it, and the environment goes before the file.
            "--env",
            &format!("TRISKEL__DATA_DIR={DATA}"),
            // Asked through the control interface all the time, the nodes need no other probe.
            "--no-healthcheck",
            // The image's entry point is the node.
            plan.nodes[node].image.as_deref().unwrap_or(&self.image),
            "daemon",
            "--config",
            CONFIG,
        ];
        Ok(text.map(str::to_owned).to_vec())
    }

    /// Where the control interfaces were published. A container that has ended already has none: it stays silent.
    async fn addresses(&self) -> Result<Vec<Access>, BackendError> {
        let format = format!(
            "{{{{range $port, $bindings := .NetworkSettings.Ports}}}}\
             {{{{if eq $port \"{RPC_PORT}/tcp\"}}}}\
             {{{{range $bindings}}}}{{{{.HostPort}}}} {{{{end}}}}{{{{end}}}}{{{{end}}}}"
        );
        let mut arguments = vec!["inspect", "--format", &format];
        arguments.extend(self.containers.iter().map(String::as_str));
        let ports = docker(&arguments).await?;
        let mut ports = ports.lines();
        let access = |_| {
            let line = ports.next().unwrap_or_default();
            let port = line.split_whitespace().next();
            let port = port.and_then(|port| port.parse().ok()).unwrap_or_default();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            Access::rpc(address)
        };
        Ok(self.containers.iter().map(access).collect())
    }

    pub(super) async fn ended(&mut self, node: usize) -> Option<Ended> {
        let container = self.containers.get(node)?;
        let format = "{{.State.Running}} {{.State.ExitCode}}";
        let state = docker(&["inspect", "--format", format, container])
            .await
            .ok()?;
        let code = state.strip_prefix("false ")?.parse().ok();
        Some(Ended { code })
    }

    pub(super) async fn logs(&self, node: usize, lines: usize) -> Vec<String> {
        let Some(container) = self.containers.get(node) else {
            return Vec::new();
        };
        match output(&["logs", "--tail", &lines.to_string(), container]).await {
            Ok(output) => journal::last_lines(&both(&output), lines),
            Err(_) => Vec::new(),
        }
    }

    pub(super) async fn save_logs(&self, plan: &Plan) {
        let mut tasks = JoinSet::new();
        for (node, container) in self.containers.iter().cloned().enumerate() {
            let file = plan.node_directory(node).join("node.log");
            tasks.spawn(async move {
                if let Ok(output) = output(&["logs", &container]).await {
                    // Evidence that cannot be written must not hide the verdict.
                    let _ = std::fs::write(file, both(&output));
                }
            });
        }
        tasks.join_all().await;
    }

    pub(super) async fn cleanup(&mut self) {
        while self.starting.join_next().await.is_some() {}
        let Some(run) = self.run.take() else {
            return;
        };
        let filter = format!("label={RUN_LABEL}={run}");
        remove(
            &["ps", "--all", "--quiet", "--filter", &filter],
            &["rm", "--force", "--volumes"],
        )
        .await;
        remove(
            &["network", "ls", "--quiet", "--filter", &filter],
            &["network", "rm"],
        )
        .await;
        self.containers.clear();
    }
}

/// Removes what a command lists. What cannot be removed is said: the next person to find it should know whose it is.
async fn remove(list: &[&str], remove: &[&str]) {
    let Ok(ids) = docker(list).await else {
        return;
    };
    let mut arguments = remove.to_vec();
    arguments.extend(ids.lines());
    if arguments.len() > remove.len()
        && let Err(error) = docker(&arguments).await
    {
        eprintln!("testnet: {error}");
    }
}

fn place(plan: &Plan, node: usize) -> Place {
    let anywhere = Ipv4Addr::UNSPECIFIED.to_string();
    let dials = plan.nodes[node].dials.iter();
    Place {
        listen: anywhere.clone(),
        port: PEER_PORT,
        peers: dials
            .map(|&other| format!("{}:{PEER_PORT}", plan.nodes[other].name))
            .collect(),
        data_dir: DATA.to_owned(),
        rpc_listen: anywhere,
        rpc_port: RPC_PORT,
    }
}

async fn ensure_image(image: &str, progress: &mut Progress) -> Result<String, BackendError> {
    if docker(&["image", "inspect", "--format", "{{.Id}}", image])
        .await
        .is_err()
    {
        progress.show(&format!("pulling image {image}"));
        let pulled = docker(&["pull", "--quiet", image]).await;
        progress.clear();
        pulled?;
    }
    Ok(image.to_owned())
}

async fn build(root: &Path, progress: &mut Progress) -> Result<String, BackendError> {
    /// Enough to show the compiler's complaint.
    const SHOWN_LINES: usize = 20;
    let failed = |error| BackendError(format!("docker: image {DEFAULT_IMAGE}: {error}"));
    let mut command = command(&[
        "build",
        "--file",
        "docker/Dockerfile",
        "--tag",
        DEFAULT_IMAGE,
        ".",
    ]);
    command
        .current_dir(root)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
    // The classic builder writes to one of them, BuildKit to the other.
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut said = Vec::new();
    let (mut stdout_open, mut stderr_open) = (true, true);
    while stdout_open || stderr_open {
        let line = tokio::select! {
            line = stdout.next_line(), if stdout_open => {
                line.ok().flatten().or_else(|| { stdout_open = false; None })
            }
            line = stderr.next_line(), if stderr_open => {
                line.ok().flatten().or_else(|| { stderr_open = false; None })
            }
        };
        if let Some(line) = line.filter(|line| !line.trim().is_empty()) {
            progress.show(&format!("building image {DEFAULT_IMAGE}: {line}"));
            said.push(line);
        }
    }
    progress.clear();
    let status = child.wait().await.map_err(failed)?;
    match status.success() {
        true => Ok(DEFAULT_IMAGE.to_owned()),
        false => Err(BackendError(format!(
            "docker: image {DEFAULT_IMAGE} cannot be built:\n{}",
            said[said.len().saturating_sub(SHOWN_LINES)..].join("\n")
        ))),
    }
}

/// What a command prints.
async fn docker(arguments: &[&str]) -> Result<String, BackendError> {
    let output = output(arguments).await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let verb = arguments.first().copied().unwrap_or_default();
    Err(BackendError(format!("docker {verb}: {}", complaint.trim())))
}

async fn output(arguments: &[&str]) -> Result<Output, BackendError> {
    let failed = |error| BackendError(format!("docker: {error}"));
    command(arguments).output().await.map_err(failed)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null());
    // The terminal's Ctrl-C is for this program: a start that it cut short could leave a container behind.
    #[cfg(unix)]
    command.process_group(0);
    command
}

fn both(output: &Output) -> String {
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr)
    )
}
