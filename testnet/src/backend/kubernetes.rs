//! Nodes as pods of Kubernetes, through the `kubectl` program: one StatefulSet of one replica for each node, and one service
//! without an address, whose name stands for all nodes and is their DNS seed.
//!
//! A node that is down is a set of no replicas; its volume stays. What it finds when it starts is a Secret, which the first process
//! of its container puts on the volume (`crate::pod`), for the node rewrites its conditions when it is told of others. The control
//! interface is reached through `kubectl port-forward`, and nothing is published. What kills a node or lets it stand still is a
//! signal from within its container; the kubelet starts a container again that has ended, and that starts no node.

pub(crate) mod command;
mod forward;
mod objects;
mod pods;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::docker::{NODE_LABEL, RUN_LABEL};
use super::logs::{Copies, Source, Speaker, copy_all};
use super::ports::free_ports;
use super::{BackendError, Ended, disk};
use crate::cli::KubernetesOptions;
use crate::cli::pod::PodSignal;
use crate::engine::links::desired;
use crate::engine::schedule::Surroundings;
use crate::evidence::record::Program;
use crate::journal;
use crate::network::Access;
use crate::plan::Plan;
use crate::scenario::Upgrade;
use command::Cluster;
use forward::{Forward, Target};
use objects::{CONTAINER, node_name};
use pods::Pod;

/// A pod starts within seconds; its volume may have to be made, and its image to be pulled.
const POD_TIMEOUT: Duration = Duration::from_secs(180);
/// A pod goes when its kubelet has told that it ended.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at what the cluster does by itself.
const INTERVAL: Duration = Duration::from_millis(300);
/// For so long what the cluster said of all pods is good enough to say whether one of them has ended.
const MEMORY: Duration = Duration::from_millis(500);
/// What a pod has said is there soon after it ended.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// Starts nodes as pods.
#[derive(Debug)]
pub struct Kubernetes {
    cluster: Cluster,
    version: String,
    image: String,
    /// The image as the cluster knows it, once it was started.
    image_id: Option<String>,
    run: Option<String>,
    nodes: Vec<Member>,
    copies: Copies,
    /// What the cluster last said of the run's pods.
    seen: Option<(Instant, BTreeMap<String, Pod>)>,
    /// What was begun and may make something. Cleaning up awaits it, for that may appear after its start was given up.
    starting: JoinSet<Result<(), BackendError>>,
}

/// A node.
#[derive(Debug)]
struct Member {
    /// Of its set. Its pod is called so too, with `-0`.
    name: String,
    image: String,
    /// Where its control interface is on this machine.
    port: u16,
    forward: Option<Forward>,
    /// The pod that runs, or ran last, if it was not taken away.
    pod: Option<String>,
    /// How the node in that pod has ended by itself.
    ended: Option<Ended>,
    /// How often it was to start.
    starts: u64,
    /// Which directory of its volume it uses, counted from 1: one that was wiped takes the next.
    directory: u64,
    /// What its links and its machine are to be like when it starts next, as a file's text.
    conditions: Option<String>,
    /// Where the log of the last pod begins in the node's file.
    log_offset: u64,
}

impl Kubernetes {
    /// Asks the cluster, which must be named, and so must the image: it must be where the cluster finds it.
    ///
    /// # Errors
    ///
    /// A name is missing, the cluster does not answer, or the user may not do there what is needed.
    pub async fn find(
        image: Option<&str>,
        options: &KubernetesOptions,
    ) -> Result<Self, BackendError> {
        let cluster = Cluster::named(options)?;
        let image = image.ok_or_else(|| {
            BackendError(
                "backend kubernetes: name an image with --image that the cluster can pull, or has: \
                 `docker build -f docker/Dockerfile -t REGISTRY/triskel:TAG .` and `docker push` make one"
                    .to_owned(),
            )
        })?;
        Ok(Self {
            version: cluster.answering().await?,
            cluster,
            image: image.to_owned(),
            image_id: None,
            run: None,
            nodes: Vec::new(),
            copies: Copies::default(),
            seen: None,
            starting: JoinSet::new(),
        })
    }

    /// The image, and its id as far as it is known.
    pub(super) fn program(&self) -> Program {
        Program {
            name: self.image.clone(),
            digest: self.image_id.clone().unwrap_or_default(),
        }
    }

    /// Cluster and image.
    pub fn description(&self) -> String {
        let cluster = self.cluster.description();
        format!("{cluster}, {}, image {}", self.version, self.image)
    }

    /// The label that all objects of the run bear, and nothing else.
    fn label(&self) -> String {
        format!("{RUN_LABEL}={}", self.run.as_deref().unwrap_or("-"))
    }

    pub(super) async fn start(&mut self, plan: &Plan) -> Result<Vec<Access>, BackendError> {
        self.run = Some(plan.id.clone());
        let links = desired(plan.nodes.len(), &plan.edges, &[]);
        let ports = free_ports(plan.nodes.len(), None)?;
        self.nodes.clear();
        for (node, port) in ports.iter().enumerate() {
            let image = plan.nodes[node].image.as_ref();
            self.nodes.push(Member {
                name: node_name(plan, node)?,
                image: image.unwrap_or(&self.image).clone(),
                port: port.port,
                forward: None,
                pod: None,
                ended: None,
                starts: 1,
                directory: 1,
                conditions: Some(disk::conditions(
                    plan,
                    &links[node],
                    &Surroundings::default(),
                )),
                log_offset: 0,
            });
        }
        drop(ports);
        let mut items = vec![objects::service(plan)];
        for (node, member) in self.nodes.iter_mut().enumerate() {
            let directory = plan.node_directory(node);
            let made = std::fs::create_dir_all(&directory);
            made.map_err(|error| BackendError(format!("{}: {error}", directory.display())))?;
            let replicas = u64::from(!plan.nodes[node].joins_later);
            items.extend(objects::node(plan, node, member, &self.image, replicas));
            // Who joins later was told its conditions, but has not put them anywhere.
            if replicas > 0 {
                member.conditions = None;
            }
        }
        self.apply(items).await?;
        let there = (0..plan.nodes.len()).filter(|&node| !plan.nodes[node].joins_later);
        self.listen(plan, there.collect()).await?;
        let address = |member: &Member| SocketAddr::from((Ipv4Addr::LOCALHOST, member.port));
        let nodes = self.nodes.iter();
        Ok(nodes.map(|member| Access::rpc(address(member))).collect())
    }

    /// Has the cluster be as objects say, whether or not somebody waits for that.
    async fn apply(&mut self, items: Vec<Value>) -> Result<(), BackendError> {
        let cluster = self.cluster.clone();
        self.starting
            .spawn(async move { cluster.apply(&objects::list(items)).await });
        while let Some(ended) = self.starting.join_next().await {
            ended.map_err(|error| BackendError(format!("backend kubernetes: {error}")))??;
        }
        Ok(())
    }

    /// Starts a node that does not run, as a pod of another image if it is to become that.
    pub(super) async fn launch(
        &mut self,
        plan: &Plan,
        node: usize,
        upgrade: Option<&Upgrade>,
    ) -> Result<(), BackendError> {
        // One that ended by itself still has its pod.
        self.take_away(node).await?;
        self.await_end(node).await?;
        let member = &mut self.nodes[node];
        if let Some(upgrade) = upgrade {
            member.image = upgrade.image.as_ref().unwrap_or(&self.image).clone();
        }
        member.starts += 1;
        let items = objects::node(plan, node, member, &self.image, 1);
        member.conditions = None;
        self.apply(items.to_vec()).await?;
        self.listen(plan, BTreeSet::from([node])).await
    }

    /// Waits until nodes were started, and opens the ways to them.
    async fn listen(
        &mut self,
        plan: &Plan,
        mut waiting: BTreeSet<usize>,
    ) -> Result<(), BackendError> {
        let deadline = Instant::now() + POD_TIMEOUT;
        while !waiting.is_empty() {
            let pods = self.look().await?;
            for node in waiting.clone() {
                let Some(pod) = pods.get(&self.nodes[node].pod_name()) else {
                    continue;
                };
                if pod.is_started() {
                    self.open(plan, node, pod).await;
                    waiting.remove(&node);
                }
            }
            let Some(&first) = waiting.first() else {
                break;
            };
            let pod = pods.get(&self.nodes[first].pod_name());
            let (trouble, is_hopeless) =
                pod.map_or_else(|| ("no pod".to_owned(), false), Pod::trouble);
            if is_hopeless || Instant::now() > deadline {
                let name = &plan.nodes[first].name;
                return Err(BackendError(format!(
                    "backend kubernetes: {name} does not start: {trouble}"
                )));
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    async fn open(&mut self, plan: &Plan, node: usize, pod: &Pod) {
        self.copies.drain(node, LOG_PATIENCE).await;
        let label = format!("{},{NODE_LABEL}={}", self.label(), plan.nodes[node].name);
        let written = std::fs::metadata(plan.node_log(node));
        let member = &mut self.nodes[node];
        if member.image == self.image
            && let Some(id) = pod.image_id()
        {
            self.image_id = Some(id.to_owned());
        }
        member.log_offset = written.map_or(0, |metadata| metadata.len());
        member.pod = Some(pod.uid().to_owned());
        member.ended = None;
        let target = Target {
            label,
            name: member.pod_name(),
            uid: pod.uid().to_owned(),
        };
        member.forward = Some(Forward::open(self.cluster.clone(), target, member.port));
        if let Some(source) = self.source(plan, node) {
            self.copies.begin(node, source).await;
        }
    }

    /// Asks for the run's pods.
    async fn look(&mut self) -> Result<BTreeMap<String, Pod>, BackendError> {
        let pods = pods::list(&self.cluster, &self.label()).await?;
        self.seen = Some((Instant::now(), pods.clone()));
        Ok(pods)
    }

    /// Ends a node. The kubelet kills one that does not end when it is asked to.
    pub(super) async fn end(&mut self, node: usize, kill: bool) -> Result<(), BackendError> {
        if kill && let Err(error) = self.signal(node, PodSignal::Kill).await {
            self.seen = None;
            if self.ended(node).await.is_none() {
                return Err(error);
            }
        }
        self.take_away(node).await?;
        match kill {
            // What is dead may be buried while others go on.
            true => Ok(()),
            false => self.await_end(node).await,
        }
    }

    /// Has the cluster take a node's pod away.
    async fn take_away(&mut self, node: usize) -> Result<(), BackendError> {
        let member = &mut self.nodes[node];
        if member.pod.take().is_none() {
            return Ok(());
        }
        if let Some(forward) = member.forward.take() {
            forward.close().await;
        }
        let scale = ["scale", "statefulset", &member.name, "--replicas", "0"];
        self.cluster.kubectl(&scale).await.map(|_| ())
    }

    /// Waits until a node has no pod any more.
    async fn await_end(&mut self, node: usize) -> Result<(), BackendError> {
        let deadline = Instant::now() + REMOVAL_TIMEOUT;
        let pod = self.nodes[node].pod_name();
        while self.look().await?.contains_key(&pod) {
            if Instant::now() > deadline {
                let seconds = REMOVAL_TIMEOUT.as_secs();
                return Err(BackendError(format!(
                    "backend kubernetes: pod {pod} does not go within {seconds} s"
                )));
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    /// Has a node stand still, or go on.
    pub(super) async fn pause(&mut self, node: usize, paused: bool) -> Result<(), BackendError> {
        let signal = match paused {
            true => PodSignal::Pause,
            false => PodSignal::Continue,
        };
        match self.nodes[node].pod {
            Some(_) => self.signal(node, signal).await,
            None => Ok(()),
        }
    }

    async fn signal(&self, node: usize, signal: PodSignal) -> Result<(), BackendError> {
        let pod = self.nodes[node].pod_name();
        let tool = objects::tool();
        let exec = [
            "exec",
            &pod,
            "--container",
            CONTAINER,
            "--",
            &tool,
            "pod",
            "signal",
            signal.name(),
        ];
        self.cluster.kubectl(&exec).await.map(|_| ())
    }

    /// Has a node that is down find an empty disk when it starts, but its key and its conditions.
    pub(super) fn wipe(&mut self, node: usize) {
        self.nodes[node].directory += 1;
    }

    /// Keeps what a node that is down finds on its disk when it starts.
    pub(super) fn keep_conditions(&mut self, node: usize, text: String) {
        self.nodes[node].conditions = Some(text);
    }

    /// Whether a node has ended: what was started again by the cluster has.
    pub(super) async fn ended(&mut self, node: usize) -> Option<Ended> {
        let member = self.nodes.get(node)?;
        if member.ended.is_some() {
            return member.ended.clone();
        }
        let (uid, name) = (member.pod.clone()?, member.pod_name());
        let fresh = |(at, pods): &(Instant, _)| (at.elapsed() < MEMORY).then_some(pods).cloned();
        let pods: BTreeMap<_, Pod> = match self.seen.as_ref().and_then(fresh) {
            Some(pods) => pods,
            // What cannot be asked has not ended: it may answer by another way.
            None => self.look().await.ok()?,
        };
        let code = match pods.get(&name).filter(|pod| pod.uid() == uid) {
            Some(pod) => pod.ended()?,
            None => None,
        };
        let ended = Some(Ended { code });
        self.nodes[node].ended.clone_from(&ended);
        ended
    }

    fn source(&self, plan: &Plan, node: usize) -> Option<Source> {
        let member = &self.nodes[node];
        // The log of one that has ended is that of what came after it.
        if member.pod.is_none() || member.ended.is_some() {
            return None;
        }
        Some(Source {
            speakers: vec![Speaker::Pod {
                cluster: self.cluster.clone(),
                name: member.pod_name(),
                container: CONTAINER,
            }],
            file: plan.node_log(node),
            offset: member.log_offset,
        })
    }

    pub(super) fn logs(plan: &Plan, node: usize, lines: usize) -> Vec<String> {
        journal::tail(&plan.node_log(node), lines)
    }

    /// Writes all that the pods have said so far, and no more from now on.
    pub(super) async fn save_logs(&mut self, plan: &Plan) {
        for node in 0..self.nodes.len() {
            if self.source(plan, node).is_none() {
                self.copies.drain(node, LOG_PATIENCE).await;
            }
        }
        self.copies.end().await;
        copy_all((0..self.nodes.len()).filter_map(|node| self.source(plan, node))).await;
    }

    pub(super) async fn cleanup(&mut self) {
        while self.starting.join_next().await.is_some() {}
        self.copies.end().await;
        for member in &mut self.nodes {
            if let Some(forward) = member.forward.take() {
                forward.close().await;
            }
        }
        if self.run.is_none() {
            return;
        }
        let label = self.label();
        let timeout = format!("{}s", REMOVAL_TIMEOUT.as_secs());
        // The sets first, with their pods: a pod that went before its set would be made anew.
        for kinds in [
            "statefulsets",
            "pods,services,secrets,persistentvolumeclaims",
        ] {
            let delete = [
                "delete",
                kinds,
                "--selector",
                &label,
                // It is one word: without a value it means another.
                "--cascade=foreground",
                "--timeout",
                &timeout,
            ];
            if let Err(error) = self.cluster.kubectl(&delete).await {
                eprintln!("testnet: {error}; `kubectl delete {kinds} --selector {label}` does it");
            }
        }
        self.run = None;
        self.nodes.clear();
        self.seen = None;
    }
}

impl Member {
    fn pod_name(&self) -> String {
        format!("{}-0", self.name)
    }
}
