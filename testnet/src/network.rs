//! The nodes of a run, as the stages see them: a few questions and orders, the same whatever the nodes are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use triskel::protocol::chain::id::{BlockId, TransactionId};
use triskel::protocol::link::Conditions;
use triskel::rpc::client::{Client, ClientError};
use triskel::rpc::{self, code};

use crate::backend::sim::Simulation;
use crate::plan::Plan;
use crate::verdict::{NodeState, States};

/// How long a node may take for one answer. Local nodes answer within milliseconds; a machine under full load takes
/// longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Looking at a simulation costs nothing in virtual time, so it is looked at often.
const SIMULATED_INTERVAL_MS: u64 = 10;

/// The way to one node. Cheap to clone.
#[derive(Clone)]
pub enum Access {
    /// Through its control interface.
    Rpc(Client),
    /// Directly: node of an index, in a simulation.
    Sim(Simulation, usize),
}

/// Why a node did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No answer came.
    #[error("{0}")]
    Silent(String),
    /// It does not know what was asked for.
    #[error("{0}")]
    NotFound(String),
    /// It does not take the transaction.
    #[error("{0}")]
    Refused(String),
    /// It answered with another error.
    #[error("{0}")]
    Failed(String),
}

/// What a node knows of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// Nothing.
    Unknown,
    /// It waits for a block.
    Waiting,
    /// It is applied in the node's order.
    Applied,
}

impl Access {
    /// The way to the node whose control interface is at `address`.
    pub fn rpc(address: SocketAddr) -> Self {
        Self::Rpc(Client::new(address).with_timeout(ANSWER_TIMEOUT))
    }

    /// How the node is.
    pub async fn state(&self) -> Result<NodeState, CallError> {
        match self {
            Self::Rpc(client) => Ok(NodeState::from(&client.call(rpc::GetStatus {}).await?)),
            Self::Sim(simulation, node) => simulation.state(*node),
        }
    }

    /// The id of the network that the node is part of.
    pub async fn network_id(&self) -> Result<BlockId, CallError> {
        match self {
            Self::Rpc(client) => Ok(client.call(rpc::GetStatus {}).await?.network_id),
            Self::Sim(simulation, _) => Ok(simulation.network_id()),
        }
    }

    /// Hands in a transaction, in canonical bytes. Handing it in again changes nothing.
    pub async fn submit(&self, transaction: &[u8]) -> Result<TransactionId, CallError> {
        match self {
            Self::Rpc(client) => {
                let transaction = hex(transaction);
                let submitted = client.call(rpc::SubmitTransaction { transaction }).await?;
                Ok(submitted.id)
            }
            Self::Sim(simulation, node) => simulation.submit(*node, transaction),
        }
    }

    /// What the node knows of a transaction.
    pub async fn transaction(&self, id: TransactionId) -> Result<TransactionState, CallError> {
        let client = match self {
            Self::Rpc(client) => client,
            Self::Sim(simulation, node) => return Ok(simulation.transaction(*node, id)),
        };
        match client.call(rpc::GetTransaction { id }).await {
            Ok(transaction) if transaction.applied.is_some() => Ok(TransactionState::Applied),
            Ok(_) => Ok(TransactionState::Waiting),
            Err(error) => match CallError::from(error) {
                CallError::NotFound(_) => Ok(TransactionState::Unknown),
                error => Err(error),
            },
        }
    }

    /// The block in which the node has applied a transaction, if it has.
    pub async fn applied_in(&self, id: TransactionId) -> Option<BlockId> {
        match self {
            Self::Rpc(client) => {
                let transaction = client.call(rpc::GetTransaction { id }).await.ok()?;
                Some(transaction.applied?.block)
            }
            Self::Sim(simulation, node) => simulation.applied_in(*node, id),
        }
    }

    /// The node's page of metrics; a simulated node has none.
    pub async fn page(&self) -> Option<String> {
        match self {
            Self::Rpc(client) => {
                let (status, page) = client.get("/metrics").await.ok()?;
                (status == 200).then_some(page)
            }
            Self::Sim(..) => None,
        }
    }

    /// The end of the node's order.
    pub async fn dag(&self, last: u32) -> Option<rpc::Dag> {
        match self {
            Self::Rpc(client) => client.call(rpc::GetDag { last: Some(last) }).await.ok(),
            Self::Sim(simulation, node) => simulation.dag(*node, last),
        }
    }

    /// Starts mining.
    pub async fn start_mining(&self) -> Result<(), CallError> {
        match self {
            Self::Rpc(client) => Ok(client.call(rpc::StartMining {}).await?),
            Self::Sim(simulation, node) => simulation.mine(*node, true),
        }
    }

    /// Sets what is done to all that the node sends, by receiver, and by how much its clock is off. `changed` are the receivers for
    /// whom something differs from before.
    pub async fn set_conditions(
        &self,
        plan: &Plan,
        links: &BTreeMap<usize, Conditions>,
        changed: &BTreeSet<usize>,
        clock_offset_ms: i64,
    ) -> Result<(), CallError> {
        match self {
            Self::Rpc(client) => {
                let conditions = plan.node_conditions(links, clock_offset_ms);
                Ok(client.call(rpc::SetConditions::from(conditions)).await?)
            }
            Self::Sim(simulation, node) => {
                simulation.set_conditions(*node, links, changed, clock_offset_ms)
            }
        }
    }

    /// Sets the hash rates to so many times what was planned.
    pub async fn set_hashrate(
        &self,
        plan: &Plan,
        node: usize,
        factor: f64,
    ) -> Result<(), CallError> {
        let times = |hashrate: u64| (hashrate as f64 * factor).round() as u64;
        let client = match self {
            Self::Rpc(client) => client,
            Self::Sim(simulation, node) => {
                let planned = plan.nodes[*node].hashrates.values().max();
                simulation.set_hashrate(*node, times(planned.copied().unwrap_or_default()));
                return Ok(());
            }
        };
        for stream in plan.scenario.network.preset.streams() {
            let hashrate = times(plan.nodes[node].hashrate_in(*stream));
            let stream = Some(stream.to_string());
            client.call(rpc::SetHashrate { stream, hashrate }).await?;
        }
        Ok(())
    }

    /// Stops mining.
    pub async fn stop_mining(&self) -> Result<(), CallError> {
        match self {
            Self::Rpc(client) => Ok(client.call(rpc::StopMining {}).await?),
            Self::Sim(simulation, node) => simulation.mine(*node, false),
        }
    }
}

impl From<ClientError> for CallError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { code, message } => match code {
                code::NOT_FOUND => Self::NotFound(message),
                code::REFUSED => Self::Refused(message),
                _ => Self::Failed(format!("error {code}: {message}")),
            },
            ClientError::Malformed { .. } => Self::Failed(error.to_string()),
            ClientError::Unreachable { .. } | ClientError::Timeout { .. } => {
                Self::Silent(error.to_string())
            }
        }
    }
}

/// All nodes of a run, and the clock by which they are timed.
#[derive(Clone)]
pub struct Network {
    nodes: Vec<Access>,
    clock: Clock,
    /// Nodes that are down or stand still on purpose: to ask them would take the time of a timeout.
    absent: BTreeSet<usize>,
}

#[derive(Clone)]
enum Clock {
    Real(Instant),
    Virtual(Simulation),
}

impl Network {
    /// A network of these nodes, in the order of their numbers.
    pub fn new(nodes: Vec<Access>) -> Self {
        let clock = match nodes.first() {
            Some(Access::Sim(simulation, _)) => Clock::Virtual(simulation.clone()),
            _ => Clock::Real(Instant::now()),
        };
        Self {
            nodes,
            clock,
            absent: BTreeSet::new(),
        }
    }

    /// The way to a node.
    pub fn access(&self, node: usize) -> &Access {
        &self.nodes[node]
    }

    /// Names the nodes that are down or stand still on purpose.
    pub fn set_absent(&mut self, absent: BTreeSet<usize>) {
        self.absent = absent;
    }

    /// Whether a node is down or stands still on purpose.
    pub fn is_absent(&self, node: usize) -> bool {
        self.absent.contains(&node)
    }

    /// Time since the network was made, virtual in a simulation.
    pub fn now(&self) -> Duration {
        match &self.clock {
            Clock::Real(origin) => origin.elapsed(),
            Clock::Virtual(simulation) => simulation.now(),
        }
    }

    /// Lets a polling interval pass. Many real nodes are asked less often, for asking costs them the time to mine.
    pub async fn pause(&self) {
        let interval_ms = if self.nodes.len() <= 10 { 50 } else { 100 };
        match &self.clock {
            Clock::Real(_) => tokio::time::sleep(Duration::from_millis(interval_ms)).await,
            Clock::Virtual(simulation) => {
                simulation.run_for(SIMULATED_INTERVAL_MS);
                // Lets a signal be heard.
                tokio::task::yield_now().await;
            }
        }
    }

    /// The invariant that a simulation violated, if it did.
    pub fn violation(&self) -> Option<String> {
        match &self.clock {
            Clock::Real(_) => None,
            Clock::Virtual(simulation) => simulation.violation(),
        }
    }

    /// The hash of everything that happened in a simulation.
    pub fn trace(&self) -> Option<String> {
        match &self.clock {
            Clock::Real(_) => None,
            Clock::Virtual(simulation) => Some(simulation.trace()),
        }
    }

    /// Asks all nodes at once; the answers are in the order of the nodes.
    pub async fn each<T, F, Fut>(&self, ask: F) -> Vec<T>
    where
        T: Send + 'static,
        F: Fn(usize, Access) -> Fut,
        Fut: Future<Output = T> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for (node, access) in self.nodes.iter().enumerate() {
            let answer = ask(node, access.clone());
            tasks.spawn(async move { (node, answer.await) });
        }
        let mut answers = tasks.join_all().await;
        answers.sort_by_key(|(node, _)| *node);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// The simulation, where the nodes are simulated.
    pub fn simulation(&self) -> Option<&Simulation> {
        match &self.clock {
            Clock::Real(_) => None,
            Clock::Virtual(simulation) => Some(simulation),
        }
    }

    /// The pages of metrics of all nodes.
    pub async fn pages(&self) -> Vec<Option<String>> {
        self.each(|_, access| async move { access.page().await })
            .await
    }

    /// The end of a node's order.
    pub async fn dag(&self, node: usize, last: u32) -> Option<rpc::Dag> {
        self.nodes.get(node)?.dag(last).await
    }

    /// The block in which a node has applied a transaction, if it has.
    pub async fn applied_in(&self, node: usize, id: TransactionId) -> Option<BlockId> {
        self.nodes.get(node)?.applied_in(id).await
    }

    /// What all nodes say of themselves.
    pub async fn states(&self) -> States {
        self.each(|node, access| {
            let absent = self.is_absent(node);
            async move {
                match absent {
                    true => None,
                    false => access.state().await.ok(),
                }
            }
        })
        .await
    }

    /// The id of the network, as the first node says it.
    pub async fn id(&self) -> Result<BlockId, CallError> {
        let first = self.nodes.first();
        let first = first.expect("a scenario has at least one node");
        first.network_id().await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
