//! Nodes as services of a Docker Swarm: one stack over several engines, each a machine, with an overlay network between them.
//!
//! The swarm schedules, connects and names: each node is a service of one task, held on its machine, for there its data are; peers
//! find it as `tasks.NAME`, and all nodes as `tasks.seed`. What a swarm has no word for is done at the machine's own engine: a
//! node is killed, paused and listened to there, and what it finds on its disk when it starts is put there (`volume.rs`). A task
//! that has ended stays ended, whatever the swarm thinks of it; a node that starts again is a new task on the same disk.

mod loss;
mod machine;
mod stack;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::docker::command::Engine;
use super::docker::{RUN_LABEL, STOP_TIMEOUT_S, image, images};
use super::logs::{Copies, Source, Speaker, copy_all};
use super::ports::free_ports;
use super::{BackendError, Ended, disk, repository_root};
use crate::cli::SwarmOptions;
use crate::engine::links::desired;
use crate::engine::schedule::Surroundings;
use crate::evidence::record::Program;
use crate::journal;
use crate::network::Access;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::scenario::Upgrade;
use machine::Machine;

/// A swarm starts a task within two seconds, and 30 of them within six; a busy machine takes longer.
const TASK_TIMEOUT: Duration = Duration::from_secs(60);
/// A network goes when the last machine has told the manager that it has left it.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at what an engine does by itself.
const INTERVAL: Duration = Duration::from_millis(200);
/// Ports are free on a machine or not: nobody can tell from here. Three times in a row is no accident.
const ATTEMPTS: usize = 3;

/// Starts nodes as services.
#[derive(Debug)]
pub struct Swarm {
    image: String,
    machines: Vec<Machine>,
    /// The machine whose engine is asked what only a manager can do.
    manager: usize,
    /// The commands that make a machine go away and come back.
    loss: Option<[String; 2]>,
    run: Option<String>,
    nodes: Vec<Service>,
    copies: Copies,
    lost: BTreeSet<usize>,
    /// What was begun and may make something. Cleaning up awaits it, for that may appear after its start was given up.
    starting: JoinSet<Result<(), BackendError>>,
}

/// A node.
#[derive(Clone, Debug)]
struct Service {
    name: String,
    machine: usize,
    /// Where its control interface is published, on its machine.
    port: u16,
    /// The task that runs, or ran last.
    container: Option<String>,
    /// Those before.
    ended: BTreeSet<String>,
    /// Which directory of its disk it uses, counted from 1: one that was wiped takes the next.
    directory: u64,
    /// What its links and its machine are to be like when it starts next, as a file's text.
    conditions: Option<String>,
    /// Where the log of the last task begins in the node's file.
    log_offset: u64,
}

impl Swarm {
    /// Asks all engines, and sees to the image on each of them.
    ///
    /// # Errors
    ///
    /// One does not answer or is of no swarm, none is a manager, or the image is nowhere.
    pub async fn find(
        image: Option<&str>,
        options: &SwarmOptions,
        progress: &mut Progress,
    ) -> Result<Self, BackendError> {
        let engines = match options.engines.as_slice() {
            [] => vec![Engine::default()],
            names => names.iter().map(|name| Engine::named(name)).collect(),
        };
        let (machines, manager) = machine::find(engines).await?;
        let image = match (image, repository_root()) {
            (Some(image), _) => image.to_owned(),
            (None, Some(root)) => image::build(&root, progress).await?,
            (None, None) => image::default().await?,
        };
        machine::distribute(&machines, &image, progress).await?;
        let loss = options.machine_down.clone().zip(options.machine_up.clone());
        Ok(Self {
            image,
            machines,
            manager,
            loss: loss.map(|(down, up)| [down, up]),
            run: None,
            nodes: Vec::new(),
            copies: Copies::default(),
            lost: BTreeSet::new(),
            starting: JoinSet::new(),
        })
    }

    /// The image, and its id.
    pub(super) fn program(&self) -> Program {
        let inspect = ["image", "inspect", "--format", "{{.Id}}", &self.image];
        let command = self.machines[0].engine.command(&inspect);
        let output = command.into_std().output().ok();
        let digest = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Program {
            name: self.image.clone(),
            digest: digest.unwrap_or_default(),
        }
    }

    /// Machines and image.
    pub fn description(&self) -> String {
        let names = self.machines.iter().map(|machine| machine.name.as_str());
        let names: Vec<_> = names.collect();
        format!("machines {}, image {}", names.join(" "), self.image)
    }

    fn manager(&self) -> &Engine {
        &self.machines[self.manager].engine
    }

    fn engine(&self, node: usize) -> &Engine {
        &self.machines[self.nodes[node].machine].engine
    }

    pub(super) async fn start(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        self.check(plan)?;
        let mut progress = Progress::new();
        for image in images(plan) {
            machine::distribute(&self.machines, image, &mut progress).await?;
        }
        for attempt in 1.. {
            match self.attempt(plan).await {
                Err(error) if attempt < ATTEMPTS && machine::port_is_taken(&error) => {
                    self.cleanup().await;
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        let address = |service: &Service| {
            Access::rpc(SocketAddr::new(
                self.machines[service.machine].address,
                service.port,
            ))
        };
        Ok(self.nodes.iter().map(address).collect())
    }

    /// Refuses a scenario for which there are too few machines, or which takes away the one that is asked.
    fn check(&self, plan: &Plan) -> Result<(), BackendError> {
        let there = self.machines.len() as u64;
        let asked = plan.nodes.iter().filter_map(|node| node.machine).max();
        if let Some(asked) = asked.filter(|asked| *asked > there) {
            return Err(BackendError(format!(
                "backend swarm: the scenario asks for machine {asked}, and there are {there}: name an engine for each with --engine"
            )));
        }
        let lost = plan.faults.iter().filter(|fault| fault.is_machine_loss());
        let mut lost = lost.flat_map(|fault| &fault.nodes);
        let manager = self.manager as u64 + 1;
        if self.loss.is_some() && lost.any(|&node| plan.nodes[node].machine == Some(manager)) {
            return Err(BackendError(format!(
                "backend swarm: machine {manager} is the manager that brings all others back: it cannot be one that is lost"
            )));
        }
        Ok(())
    }

    async fn attempt(&mut self, plan: &Plan) -> Result<(), BackendError> {
        self.run = Some(plan.id.clone());
        let links = desired(plan.nodes.len(), &plan.edges, &[]);
        let ports = free_ports(plan.nodes.len(), None)?;
        let services = plan.nodes.iter().zip(&ports).enumerate();
        let services = services.map(|(index, (node, port))| Service {
            name: format!("{}_{}", stack::name(plan), node.name),
            machine: match node.machine {
                Some(machine) => machine as usize - 1,
                None => index % self.machines.len(),
            },
            port: port.port,
            container: None,
            ended: BTreeSet::new(),
            directory: 1,
            conditions: Some(disk::conditions(
                plan,
                &links[index],
                &Surroundings::default(),
            )),
            log_offset: 0,
        });
        self.nodes = services.collect();
        drop(ports);
        for (node, service) in self.nodes.iter_mut().enumerate() {
            let machine = &self.machines[service.machine];
            let files = service.files(plan, node);
            self.starting.spawn(volume::make(
                machine.engine.clone(),
                volume::Volume::of(plan, node, &self.image),
                files,
            ));
        }
        self.begun().await?;
        let file = stack::write(plan, &self.nodes, &self.machines, &self.image)?;
        let (manager, name) = (self.manager().clone(), stack::name(plan));
        self.starting.spawn(async move {
            let deploy = [
                "stack",
                "deploy",
                "--resolve-image",
                "never",
                "--compose-file",
                &file,
                &name,
            ];
            manager.docker(&deploy).await.map(|_| ())
        });
        self.begun().await?;
        for node in 0..plan.nodes.len() {
            if !plan.nodes[node].joins_later {
                self.listen(plan, node).await?;
            }
        }
        Ok(())
    }

    /// Starts a node that does not run, as a task of another image if it is to become that.
    pub(super) async fn launch(
        &mut self,
        plan: &Plan,
        node: usize,
        upgrade: Option<&Upgrade>,
    ) -> Result<(), BackendError> {
        let service = &mut self.nodes[node];
        let before = service.container.take();
        service.ended.extend(before);
        let files = service.files(plan, node);
        let machine = &self.machines[service.machine];
        let volume = volume::Volume::of(plan, node, &self.image);
        volume.put(&machine.engine, files).await?;
        let directory = stack::data_dir(service);
        let data = format!("TRISKEL__DATA_DIR={directory}");
        let mut update = vec![
            "service",
            "update",
            "--detach",
            "--force",
            "--no-resolve-image",
            "--replicas",
            "1",
            "--env-add",
            &data,
        ];
        if let Some(upgrade) = upgrade {
            update.extend(["--image", upgrade.image.as_ref().unwrap_or(&self.image)]);
        }
        let name = self.nodes[node].name.clone();
        update.push(&name);
        self.manager().docker(&update).await?;
        self.listen(plan, node).await
    }

    /// Waits for all that was begun; ends at the first that fails.
    async fn begun(&mut self) -> Result<(), BackendError> {
        while let Some(ended) = self.starting.join_next().await {
            ended.map_err(|error| BackendError(format!("backend swarm: {error}")))??;
        }
        Ok(())
    }

    /// Waits until a node's new task is there, and listens to it.
    async fn listen(&mut self, plan: &Plan, node: usize) -> Result<(), BackendError> {
        let container = self.await_task(plan, node).await?;
        self.copies.finish(node).await;
        let file = plan.node_log(node);
        let written = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
        let service = &mut self.nodes[node];
        service.log_offset = written;
        service.container = Some(container);
        if let Some(source) = self.source(plan, node) {
            self.copies.begin(node, source).await;
        }
        Ok(())
    }

    async fn await_task(&self, plan: &Plan, node: usize) -> Result<String, BackendError> {
        let service = &self.nodes[node];
        let filter = format!("label=com.docker.swarm.service.name={}", service.name);
        let list = [
            "ps",
            "--all",
            "--no-trunc",
            "--filter",
            &filter,
            "--format",
            "{{.ID}} {{.State}}",
        ];
        let tasks = [
            "service",
            "ps",
            "--no-trunc",
            "--format",
            "{{.CurrentState}}: {{.Error}}",
            &service.name,
        ];
        let deadline = Instant::now() + TASK_TIMEOUT;
        loop {
            let listed = self.engine(node).docker(&list).await?;
            let mut found = listed.lines().filter_map(|line| line.split_once(' '));
            // One that was made and is not started may still fail to be.
            let new = found.find(|(id, state)| !service.ended.contains(*id) && *state != "created");
            if let Some((id, _)) = new {
                return Ok(id.to_owned());
            }
            let states = self.manager().docker(&tasks).await?;
            // The newest comes first.
            let state = states.lines().next().unwrap_or("no task");
            // One that is pending may wait for the one before it, whose port the manager takes to be in use until it has heard of
            // its end.
            if state.starts_with("Rejected") || Instant::now() > deadline {
                let name = &plan.nodes[node].name;
                return Err(BackendError(format!(
                    "backend swarm: {name} does not start: {state}"
                )));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Ends a node. The engine kills one that does not end when it is asked to.
    pub(super) async fn end(&mut self, node: usize, kill: bool) -> Result<(), BackendError> {
        let Some(container) = &self.nodes[node].container else {
            return Ok(());
        };
        let engine = self.engine(node);
        let ended = match kill {
            true => engine.docker(&["kill", container]).await,
            false => {
                let stop = ["stop", "--time", STOP_TIMEOUT_S, container];
                engine.docker(&stop).await
            }
        };
        match ended {
            Err(error) if self.ended(node).await.is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// Has a node stand still, or go on.
    pub(super) async fn pause(&mut self, node: usize, paused: bool) -> Result<(), BackendError> {
        match &self.nodes[node].container {
            Some(container) => self.engine(node).pause(container, paused).await,
            None => Ok(()),
        }
    }

    /// Has a node that is down find an empty disk when it starts, but its key and its conditions.
    pub(super) fn wipe(&mut self, node: usize) {
        self.nodes[node].directory += 1;
    }

    /// Keeps what a node that is down finds on its disk when it starts.
    pub(super) fn keep_conditions(&mut self, node: usize, text: String) {
        self.nodes[node].conditions = Some(text);
    }

    pub(super) async fn ended(&self, node: usize) -> Option<Ended> {
        let container = self.nodes.get(node)?.container.as_ref()?;
        let code = self.engine(node).exit_code(container).await?;
        Some(Ended { code })
    }

    fn source(&self, plan: &Plan, node: usize) -> Option<Source> {
        let service = &self.nodes[node];
        Some(Source {
            speakers: vec![Speaker::Container {
                engine: self.engine(node).clone(),
                name: service.container.clone()?,
            }],
            file: plan.node_log(node),
            offset: service.log_offset,
        })
    }

    pub(super) async fn logs(&self, plan: &Plan, node: usize, lines: usize) -> Vec<String> {
        match self
            .nodes
            .get(node)
            .and_then(|service| service.container.as_ref())
        {
            Some(container) => self.engine(node).last_lines(container, lines).await,
            None => journal::tail(&plan.node_log(node), lines),
        }
    }

    /// Writes all that the tasks have said so far, and no more from now on.
    pub(super) async fn save_logs(&mut self, plan: &Plan) {
        self.copies.end().await;
        let nodes = 0..self.nodes.len();
        let reached = nodes.filter(|&node| !self.lost.contains(&self.nodes[node].machine));
        copy_all(reached.filter_map(|node| self.source(plan, node))).await;
    }

    pub(super) async fn cleanup(&mut self) {
        while self.starting.join_next().await.is_some() {}
        self.copies.end().await;
        for machine in self.lost.clone() {
            if let Err(error) = self.regain(machine as u64 + 1).await {
                eprintln!("testnet: {error}");
            }
        }
        let Some(run) = self.run.take() else {
            return;
        };
        let filter = format!("label={RUN_LABEL}={run}");
        let list = |what: &'static str| [what, "ls", "--quiet", "--filter", &filter];
        let manager = self.manager();
        manager.remove(&list("service"), &["service", "rm"]).await;
        let mut machines = JoinSet::new();
        for machine in &self.machines {
            let (engine, filter) = (machine.engine.clone(), filter.clone());
            machines.spawn(async move {
                let containers = ["ps", "--all", "--quiet", "--filter", &filter];
                engine
                    .remove(&containers, &["rm", "--force", "--volumes"])
                    .await;
                let volumes = ["volume", "ls", "--quiet", "--filter", &filter];
                engine.remove(&volumes, &["volume", "rm", "--force"]).await;
            });
        }
        machines.join_all().await;
        manager.remove(&list("config"), &["config", "rm"]).await;
        self.remove_network(&list("network")).await;
        self.nodes.clear();
    }

    /// Removes the run's network, as soon as the swarm lets go of it, and waits until no machine has it any more.
    async fn remove_network(&self, list: &[&str]) {
        let deadline = Instant::now() + REMOVAL_TIMEOUT;
        loop {
            let mut left = BTreeSet::new();
            for machine in &self.machines {
                let listed = machine.engine.docker(list).await.unwrap_or_default();
                left.extend(listed.lines().map(str::to_owned));
            }
            if left.is_empty() {
                return;
            }
            let mut remove = vec!["network", "rm"];
            remove.extend(left.iter().map(String::as_str));
            let removed = self.manager().docker(&remove).await;
            if let Err(error) = removed
                && Instant::now() > deadline
            {
                eprintln!("testnet: {error}");
                return;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

impl Service {
    /// What the node is to find on its disk when it starts next, beside what it has stored.
    fn files(&mut self, plan: &Plan, node: usize) -> BTreeMap<String, String> {
        let directory = self.directory;
        let key = format!("{directory}/{}", disk::KEY_FILE);
        let mut files = BTreeMap::from([(key, disk::key(plan, node))]);
        if let Some(conditions) = self.conditions.take() {
            let file = format!("{directory}/{}", disk::CONDITIONS_FILE);
            files.insert(file, conditions);
        }
        files
    }
}
