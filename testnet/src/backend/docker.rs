//! Nodes as containers, through the `docker` program: each run has a network of its own, whose DNS knows the nodes by
//! name.
//!
//! What a node stores lies below the run's directory, as that of a process does. So it survives its container, nothing of it is
//! left in the engine, and files can be put there while the node is down. Containers run as whoever owns that directory.

pub(super) mod command;
pub(super) mod image;
mod lasting;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::logs::{Copies, Source, Speaker, copy_all};
use super::{BackendError, Ended, disk, repository_root};
use crate::engine::links::desired;
use crate::evidence::record::Program;
use crate::network::Access;
use crate::plan::{Place, Plan};
use crate::progress::Progress;
use crate::scenario::{Act, Upgrade};
use command::{Engine, docker};
use lasting::{IMAGE_LABEL, PORT_LABEL};

/// Everything that a run makes bears this label with the run's id, so that cleaning up removes exactly its own.
pub(super) const RUN_LABEL: &str = "triskel.run";
pub(super) const NODE_LABEL: &str = "triskel.node";
pub(super) const PEER_PORT: u16 = 9_000;
/// A name that all nodes have: the engine's DNS answers with their addresses.
pub(super) const SEED: &str = "seed";
pub(super) const RPC_PORT: u16 = 10_000;
/// The program of those who break the rules, in the image.
pub(super) const ADVERSARY: &str = "/adversary";
pub(super) const CONFIG: &str = "/etc/triskel/node.toml";
/// Not where images keep their volume.
const DATA: &str = "/run/triskel";

/// An engine that is there answers at once; one behind a dead socket or host never does.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);
/// More starts at once only queue in the engine.
pub(super) const PARALLEL_STARTS: usize = 16;
/// How long a node may take to end when it is asked to, in seconds: as long as a process.
pub(super) const STOP_TIMEOUT_S: &str = "3";

/// Starts nodes as containers.
#[derive(Debug)]
pub struct Docker {
    image: String,
    engine: String,
    /// Whether the engine itself runs as an ordinary user, who is root in its containers.
    is_rootless: bool,
    run: Option<String>,
    nodes: Vec<Vec<Container>>,
    /// Where the control interface of each node is published: the engine would choose another port at each start.
    ports: Vec<u16>,
    /// What the containers say, on its way to the run's directory.
    copies: Copies,
    /// Starts under way. Cleaning up awaits them, for a container may appear after its start was given up.
    starting: JoinSet<Result<(), BackendError>>,
    /// Where nodes outlive this program: ports that are not to be taken, for others come back to them.
    lasting: Option<BTreeSet<u16>>,
}

/// A container that a node is or was: with another image it becomes another one, and the logs of the one before stay.
#[derive(Clone, Debug)]
struct Container {
    name: String,
    image: String,
}

/// Arguments of one command.
type Arguments = Vec<String>;

impl Docker {
    /// Asks for an engine and sees to the image: a named one must be there or be pulled, else the repository's is
    /// built.
    pub async fn find(image: Option<&str>, progress: &mut Progress) -> Result<Self, BackendError> {
        let (engine, is_rootless) = answering().await?;
        let image = match (image, repository_root()) {
            (Some(image), _) => image::ensure(image, progress).await?,
            (None, Some(root)) => image::build(&root, progress).await?,
            (None, None) => image::default().await?,
        };
        let mut docker = Self::of(&image);
        (docker.engine, docker.is_rootless) = (engine, is_rootless);
        Ok(docker)
    }

    /// Takes this to be the image, without a look whether it or an engine is there: enough to remove what was made of it.
    pub(super) fn of(image: &str) -> Self {
        Self {
            image: image.to_owned(),
            is_rootless: false,
            engine: String::new(),
            run: None,
            nodes: Vec::new(),
            ports: Vec::new(),
            copies: Copies::default(),
            starting: JoinSet::new(),
            lasting: None,
        }
    }

    /// The image of which nodes are that name none.
    pub(super) fn image(&self) -> &str {
        &self.image
    }

    /// The image, and its id.
    pub(super) fn program(&self) -> Program {
        let mut inspect = std::process::Command::new("docker");
        inspect.args(["image", "inspect", "--format", "{{.Id}}", &self.image]);
        let output = inspect.output().ok();
        let digest = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Program {
            name: self.image.clone(),
            digest: digest.unwrap_or_default(),
        }
    }

    /// Engine and image.
    pub fn description(&self) -> String {
        format!("engine {}, image {}", self.engine, self.image)
    }

    pub(super) async fn start(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        let there = |node: usize| !plan.nodes[node].joins_later;
        self.make(plan, there).await
    }

    /// Makes containers for all nodes, and starts some.
    pub(super) async fn make(
        &mut self,
        plan: &Plan,
        starts: impl Fn(usize) -> bool,
    ) -> Result<Vec<Access>, BackendError> {
        self.run = Some(plan.id.clone());
        self.nodes.clear();
        self.ports.clear();
        let mut progress = Progress::new();
        for image in images(plan) {
            image::ensure(image, &mut progress).await?;
        }
        self.make_network(plan).await?;
        let permits = Arc::new(Semaphore::new(PARALLEL_STARTS));
        let ports = self.take_ports(plan.nodes.len()).await?;
        for (node, port) in ports.into_iter().enumerate() {
            self.prepare(plan, node)?;
            self.ports.push(port.port);
            let container = self.first_container(plan, node);
            let mut commands = vec![self.create(plan, node, &container)?];
            if starts(node) {
                commands.push(start(&container));
            }
            self.nodes.push(vec![container]);
            // Held until its container takes it.
            drop(port);
            self.begin(commands, Some(Arc::clone(&permits)));
        }
        self.begun().await?;
        for node in (0..plan.nodes.len()).filter(|&node| starts(node)) {
            self.copy_logs(plan, node).await;
        }
        Ok(self.accesses())
    }

    fn accesses(&self) -> Vec<Access> {
        let access = |&port| Access::rpc(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        self.ports.iter().map(access).collect()
    }

    async fn make_network(&mut self, plan: &Plan) -> Result<(), BackendError> {
        let label = format!("{RUN_LABEL}={}", plan.id);
        // The engine chooses the subnet: a fixed one collides with other runs.
        let create = ["network", "create", "--label", &label, &network(plan)];
        self.begin(vec![create.map(str::to_owned).to_vec()], None);
        self.begun().await
    }

    /// Gives a node that was never started what it finds on its disk.
    fn prepare(&self, plan: &Plan, node: usize) -> Result<(), BackendError> {
        let links = desired(plan.nodes.len(), &plan.edges, &[]);
        disk::prepare(plan, node, &links[node])
    }

    /// What a node is at first.
    fn first_container(&self, plan: &Plan, node: usize) -> Container {
        let image = plan.nodes[node].image.clone();
        Container {
            name: format!("{}-{}", network(plan), plan.nodes[node].name),
            image: image.unwrap_or_else(|| self.image.clone()),
        }
    }

    /// Starts a node that does not run, as a container of another image if it is to become that.
    pub(super) async fn launch(
        &mut self,
        plan: &Plan,
        node: usize,
        upgrade: Option<&Upgrade>,
    ) -> Result<(), BackendError> {
        let current = self.current(node);
        let image = upgrade.map(|upgrade| upgrade.image.as_ref().unwrap_or(&self.image));
        let commands = match image {
            Some(image) if *image != current.image => {
                let next = Container {
                    name: format!(
                        "{}.{}",
                        self.nodes[node][0].name,
                        self.nodes[node].len() + 1
                    ),
                    image: image.clone(),
                };
                let commands = vec![self.create(plan, node, &next)?, start(&next)];
                self.nodes[node].push(next);
                commands
            }
            _ => {
                // Others may have come or gone since.
                write_config(plan, node)?;
                vec![start(current)]
            }
        };
        self.begin(commands, None);
        self.begun().await?;
        self.copy_logs(plan, node).await;
        Ok(())
    }

    /// Has the run's directory get what a node says, where this program stays to listen.
    async fn copy_logs(&mut self, plan: &Plan, node: usize) {
        if self.lasting.is_some() {
            return;
        }
        let source = self.source(plan, node);
        self.copies.begin(node, source).await;
    }

    fn source(&self, plan: &Plan, node: usize) -> Source {
        let speaker = |container: &Container| Speaker::Container {
            engine: Engine::default(),
            name: container.name.clone(),
        };
        Source {
            speakers: self.nodes[node].iter().map(speaker).collect(),
            file: plan.node_log(node),
            offset: 0,
        }
    }

    /// Ends a node. The engine kills one that does not end when it is asked to.
    pub(super) async fn end(&mut self, node: usize, kill: bool) -> Result<(), BackendError> {
        let name = &self.current(node).name;
        let ended = match kill {
            true => docker(&["kill", name]).await,
            false => docker(&["stop", "--time", STOP_TIMEOUT_S, name]).await,
        };
        match ended {
            Err(error) if self.ended(node).await.is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// Has a node stand still, or go on.
    pub(super) async fn pause(&mut self, node: usize, paused: bool) -> Result<(), BackendError> {
        Engine::default()
            .pause(&self.current(node).name, paused)
            .await
    }

    fn current(&self, node: usize) -> &Container {
        let containers = &self.nodes[node];
        containers.last().expect("each node has a container")
    }

    /// Lets commands run that make something, one after the other, whether or not somebody waits for their end.
    fn begin(&mut self, commands: Vec<Arguments>, permits: Option<Arc<Semaphore>>) {
        self.starting.spawn(async move {
            let _permit = match &permits {
                Some(permits) => permits.acquire().await.ok(),
                None => None,
            };
            for arguments in commands {
                let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                docker(&arguments).await?;
            }
            Ok(())
        });
    }

    /// Waits for all commands that were begun; ends at the first that fails.
    async fn begun(&mut self) -> Result<(), BackendError> {
        while let Some(ended) = self.starting.join_next().await {
            ended.map_err(|error| BackendError(format!("docker: {error}")))??;
        }
        Ok(())
    }

    fn create(
        &self,
        plan: &Plan,
        node: usize,
        container: &Container,
    ) -> Result<Arguments, BackendError> {
        let name = &plan.nodes[node].name;
        let failed = |error| BackendError(format!("docker: {name}: {error}"));
        let config = write_config(plan, node)?;
        let network = network(plan);
        let data = disk::directory(plan, node);
        let text = [
            "create",
            "--label",
            &format!("{RUN_LABEL}={}", plan.id),
            "--label",
            &format!("{NODE_LABEL}={name}"),
            "--label",
            &format!("{IMAGE_LABEL}={}", container.image),
            "--label",
            &format!("{PORT_LABEL}={}", self.ports[node]),
            "--name",
            &container.name,
            "--hostname",
            name,
            "--network",
            &network,
            "--network-alias",
            name,
            "--network-alias",
            SEED,
            // Only this machine sees the control interface.
            "--publish",
            &format!("{}:{}:{RPC_PORT}", Ipv4Addr::LOCALHOST, self.ports[node]),
            "--mount",
            &format!("type=bind,src={},dst={CONFIG},readonly", config.display()),
            "--mount",
            &format!("type=bind,src={},dst={DATA}", data.display()),
            "--read-only",
            "--cap-drop",
            "ALL",
            // The image may set it, and the environment goes before the file.
            "--env",
            &format!("TRISKEL__DATA_DIR={DATA}"),
            // Asked through the control interface all the time, the nodes need no other probe.
            "--no-healthcheck",
        ];
        let mut arguments = text.map(str::to_owned).to_vec();
        if let Some(user) = self.user(&data).map_err(failed)? {
            arguments.extend(["--user".to_owned(), user]);
        }
        let image = container.image.as_str();
        let role = plan.nodes[node].role;
        // The image's entry point is the node. Beside it is the program of those who break the rules.
        let program = match role.is_honest() {
            true => vec![image],
            false => vec!["--entrypoint", ADVERSARY, image, role.name()],
        };
        let all = program.into_iter().chain(["daemon", "--config", CONFIG]);
        arguments.extend(all.map(str::to_owned));
        Ok(arguments)
    }

    /// As whom a node runs: as the owner of its data, so that both it and this program can write there.
    #[cfg(unix)]
    fn user(&self, data: &Path) -> std::io::Result<Option<String>> {
        use std::os::unix::fs::MetadataExt;

        if self.is_rootless {
            return Ok(Some("0:0".to_owned()));
        }
        let metadata = data.metadata()?;
        Ok(Some(format!("{}:{}", metadata.uid(), metadata.gid())))
    }

    /// As whom a node runs: as the image says. The engine's machine gives the directory to whoever asks.
    #[cfg(not(unix))]
    fn user(&self, _: &Path) -> std::io::Result<Option<String>> {
        Ok(None)
    }

    pub(super) async fn ended(&self, node: usize) -> Option<Ended> {
        let container = self.nodes.get(node)?.last()?;
        let code = Engine::default().exit_code(&container.name).await?;
        Some(Ended { code })
    }

    pub(super) async fn logs(&self, node: usize, lines: usize) -> Vec<String> {
        let Some(container) = self
            .nodes
            .get(node)
            .and_then(|containers| containers.last())
        else {
            return Vec::new();
        };
        Engine::default().last_lines(&container.name, lines).await
    }

    /// Writes all that the containers have said so far, and no more from now on.
    pub(super) async fn save_logs(&mut self, plan: &Plan) {
        self.copies.end().await;
        copy_all((0..self.nodes.len()).map(|node| self.source(plan, node))).await;
    }

    pub(super) async fn cleanup(&mut self) {
        while self.starting.join_next().await.is_some() {}
        self.copies.end().await;
        let Some(run) = self.run.take() else {
            return;
        };
        let filter = format!("label={RUN_LABEL}={run}");
        let engine = Engine::default();
        engine
            .remove(
                &["ps", "--all", "--quiet", "--filter", &filter],
                &["rm", "--force", "--volumes"],
            )
            .await;
        engine
            .remove(
                &["network", "ls", "--quiet", "--filter", &filter],
                &["network", "rm"],
            )
            .await;
        self.nodes.clear();
    }
}

/// The version of the engine that answers, and whether it runs as an ordinary user.
pub(crate) async fn answering() -> Result<(String, bool), BackendError> {
    let ask = [
        "info",
        "--format",
        "{{.ServerVersion}} {{.SecurityOptions}}",
    ];
    match tokio::time::timeout(ENGINE_TIMEOUT, docker(&ask)).await {
        // Without an engine, the program may answer with nothing where its version would be.
        Ok(Ok(engine)) if !engine.trim().starts_with('[') => {
            let version = engine.split_whitespace().next().unwrap_or_default();
            Ok((version.to_owned(), engine.contains("rootless")))
        }
        Ok(Err(error)) if error.0.contains("No such file") => {
            Err(BackendError("docker: not installed".to_owned()))
        }
        _ => Err(BackendError("docker: no engine answers".to_owned())),
    }
}

fn network(plan: &Plan) -> String {
    format!("triskel-{}", plan.id)
}

fn start(container: &Container) -> Arguments {
    ["start", &container.name].map(str::to_owned).to_vec()
}

/// The images that a plan names, beside the run's.
pub(super) fn images(plan: &Plan) -> impl Iterator<Item = &str> {
    let nodes = plan.nodes.iter().map(|node| node.image.as_ref());
    let upgrades = plan.faults.iter().map(|fault| match &fault.act {
        Act::Upgrade(upgrade) => upgrade.image.as_ref(),
        _ => None,
    });
    nodes.chain(upgrades).flatten().map(String::as_str)
}

/// Writes a node's configuration. A container that has it sees it change.
fn write_config(plan: &Plan, node: usize) -> Result<PathBuf, BackendError> {
    let config = plan.node_directory(node).join("node.toml");
    let written = std::fs::write(&config, plan.node_toml(node, &place(plan, node)));
    let name = &plan.nodes[node].name;
    written.map_err(|error| BackendError(format!("docker: {name}: {error}")))?;
    Ok(config)
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
        seeds: vec![format!("{SEED}:{PEER_PORT}")],
        data_dir: DATA.to_owned(),
        rpc_listen: anywhere,
        rpc_port: RPC_PORT,
    }
}
