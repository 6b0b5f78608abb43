//! Containers that outlive the program that started them: all that is to be known of them again is in their labels.

use std::collections::{BTreeMap, BTreeSet};

use tokio::process::Command;

use super::command::{Engine, docker};
use super::{CONFIG, Container, Docker, NODE_LABEL, PEER_PORT, RUN_LABEL, answering, network};
use crate::backend::BackendError;
use crate::backend::ports::{Reserved, free_ports, is_free};
use crate::network::Access;
use crate::plan::Plan;

/// Where a container's control interface is published.
pub(super) const PORT_LABEL: &str = "triskel.port";
/// What a container was made of: the engine shows another name once that image has got a new one.
pub(super) const IMAGE_LABEL: &str = "triskel.image";
/// As long as a process of a network that stays up.
const STOP_TIMEOUT_S: &str = "10";
/// The node's program, in the image.
const NODE: &str = "/node";

impl Docker {
    /// The backend of containers of an image, which an earlier program has made.
    pub(in crate::backend) async fn again(image: &str) -> Result<Self, BackendError> {
        let (engine, is_rootless) = answering().await?;
        let mut docker = Self::of(image);
        (docker.engine, docker.is_rootless) = (engine, is_rootless);
        Ok(docker)
    }

    /// From now on, nodes take none of these ports, nor one to which any container comes back.
    pub(in crate::backend) fn outlive(&mut self, taken: BTreeSet<u16>) {
        self.lasting = Some(taken);
    }

    /// Takes ports for so many nodes.
    pub(super) async fn take_ports(&self, count: usize) -> Result<Vec<Reserved>, BackendError> {
        let Some(taken) = &self.lasting else {
            return free_ports(count, None);
        };
        let format = format!("{{{{.Label {PORT_LABEL:?}}}}}");
        let filter = format!("label={PORT_LABEL}");
        let list = ["ps", "--all", "--filter", &filter, "--format", &format];
        let listed = docker(&list).await?;
        let mut taken = taken.clone();
        taken.extend(listed.lines().filter_map(|port| port.parse::<u16>().ok()));
        free_ports(count, Some(&taken))
    }

    /// Finds the nodes again that an earlier program started.
    pub(in crate::backend) async fn attach(
        &mut self,
        plan: &Plan,
    ) -> Result<Vec<Access>, BackendError> {
        self.run = Some(plan.id.clone());
        let filter = format!("label={RUN_LABEL}={}", plan.id);
        let labels = [NODE_LABEL, IMAGE_LABEL, PORT_LABEL];
        let labels = labels.map(|label| format!("{{{{.Label {label:?}}}}}"));
        let format = format!("{{{{.Names}}}}\t{}", labels.join("\t"));
        let list = ["ps", "--all", "--filter", &filter, "--format", &format];
        let listed = docker(&list).await?;
        let mut found: BTreeMap<&str, (Vec<Container>, u16)> = BTreeMap::new();
        // The newest come first.
        for line in listed.lines().rev() {
            let fields: Vec<_> = line.split('\t').collect();
            let [name, node, image, port] = fields[..] else {
                continue;
            };
            let (containers, last) = found.entry(node).or_default();
            containers.push(Container {
                name: name.to_owned(),
                image: image.to_owned(),
            });
            *last = port.parse().unwrap_or_default();
        }
        let all = plan.nodes.iter();
        let all = all.map(|node| found.remove(node.name.as_str()).unwrap_or_default());
        (self.nodes, self.ports) = all.unzip();
        Ok(self.accesses())
    }

    /// Gives nodes that have no container one, and those another whose port somebody else has taken. None runs.
    pub(in crate::backend) async fn renew(
        &mut self,
        plan: &Plan,
    ) -> Result<Vec<Access>, BackendError> {
        let name = network(plan);
        if docker(&["network", "inspect", &name]).await.is_err() {
            self.make_network(plan).await?;
        }
        for node in 0..plan.nodes.len() {
            if !self.nodes[node].is_empty() && is_free(self.ports[node]) {
                continue;
            }
            let image = self.nodes[node].last().map(|last| last.image.clone());
            self.remove_containers(node).await?;
            let port = self.take_ports(1).await?.remove(0);
            self.ports[node] = port.port;
            let mut container = self.first_container(plan, node);
            container.image = image.unwrap_or(container.image);
            self.begin(vec![self.create(plan, node, &container)?], None);
            self.nodes[node] = vec![container];
            self.begun().await?;
        }
        Ok(self.accesses())
    }

    /// Prepares the last node of a plan, without starting it.
    pub(in crate::backend) async fn add(&mut self, plan: &Plan) -> Result<Access, BackendError> {
        let node = self.nodes.len();
        let port = self.take_ports(1).await?.remove(0);
        self.ports.push(port.port);
        self.prepare(plan, node)?;
        let container = self.first_container(plan, node);
        self.begin(vec![self.create(plan, node, &container)?], None);
        self.nodes.push(vec![container]);
        self.begun().await?;
        let accesses = self.accesses();
        Ok(accesses.last().expect("one was added").clone())
    }

    /// Ends all nodes. Their containers stay.
    pub(in crate::backend) async fn halt(&mut self) -> Result<(), BackendError> {
        let names = self.nodes.iter().filter_map(|containers| containers.last());
        let mut stop = vec!["stop", "--time", STOP_TIMEOUT_S];
        stop.extend(names.map(|container| container.name.as_str()));
        match stop.len() > 3 {
            true => docker(&stop).await.map(|_| ()),
            false => Ok(()),
        }
    }

    /// Ends a node for good.
    pub(crate) async fn discard(&mut self, node: usize) -> Result<(), BackendError> {
        self.remove_containers(node).await?;
        self.nodes.remove(node);
        self.ports.remove(node);
        Ok(())
    }

    async fn remove_containers(&self, node: usize) -> Result<(), BackendError> {
        let mut remove = vec!["rm", "--force", "--volumes"];
        remove.extend(self.nodes[node].iter().map(|one| one.name.as_str()));
        match self.nodes[node].is_empty() {
            true => Ok(()),
            false => docker(&remove).await.map(|_| ()),
        }
    }

    /// Removes all that was made for a plan.
    pub(in crate::backend) async fn erase(&mut self, plan: &Plan) {
        self.run = Some(plan.id.clone());
        self.cleanup().await;
    }

    /// Whether a node runs, paused or not.
    pub(in crate::backend) async fn runs(&self, node: usize) -> bool {
        let Some(container) = self.nodes.get(node).and_then(|one| one.last()) else {
            return false;
        };
        let format = "{{.State.Running}}";
        let inspect = ["inspect", "--format", format, &container.name];
        docker(&inspect).await.is_ok_and(|state| state == "true")
    }

    /// Where peers reach a node.
    pub(in crate::backend) fn endpoint(plan: &Plan, node: usize) -> String {
        format!("{}:{PEER_PORT}", plan.nodes[node].name)
    }

    /// The node's own program, beside the node that runs.
    pub(in crate::backend) fn tool(&self, node: usize) -> Command {
        let config = format!("TRISKEL_CONFIG={CONFIG}");
        let name = &self.current(node).name;
        let exec = ["exec", "--interactive", "--env", &config, name, NODE];
        Engine::default().command(&exec)
    }

    /// Prints a node's last log lines, and goes on with those that come.
    pub(in crate::backend) fn log_command(
        &self,
        node: usize,
        lines: usize,
        follow: bool,
    ) -> Command {
        let lines = lines.to_string();
        let mut logs = vec!["logs", "--tail", &lines];
        logs.extend(follow.then_some("--follow"));
        logs.push(&self.current(node).name);
        Engine::default().command(&logs)
    }
}
