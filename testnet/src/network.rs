//! The nodes of a run, as the stages see them: a few questions and orders, the same whatever the nodes are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio::time::Instant;
use triskel::protocol::chain::id::{AccountId, BlockId, TransactionId};
use triskel::protocol::link::Conditions;
use triskel::rpc::client::{Client, ClientError};
use triskel::rpc::{self, code};
use triskel::sim::watch::Session;

use crate::backend::sim::Simulation;
use crate::engine::schedule::Surroundings;
use crate::plan::{Keys, Plan};
use crate::verdict::{NodeState, States};

/// How long a node may take for one answer. Local nodes answer within milliseconds; a machine under full load takes
/// longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Looking at a simulation costs nothing in virtual time, so it is looked at often.
pub(crate) const SIMULATED_INTERVAL_MS: u64 = 10;

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

    /// The nonce that the next transfer of an account should have, as the node sees it. `address` is the account's in this network.
    pub async fn next_nonce(&self, address: &str, account: &AccountId) -> Result<u64, CallError> {
        match self {
            Self::Rpc(client) => {
                let address = address.to_owned();
                Ok(client.call(rpc::GetAccount { address }).await?.next_nonce)
            }
            Self::Sim(simulation, node) => {
                let nonce = simulation.next_nonce(*node, account);
                nonce.ok_or_else(|| CallError::Silent("it is down".to_owned()))
            }
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

    /// What all accounts hold together; a simulated node is not asked, for every order that it has is replayed.
    pub async fn supply(&self) -> Option<rpc::Supply> {
        match self {
            Self::Rpc(client) => client.call(rpc::GetSupply {}).await.ok(),
            Self::Sim(..) => None,
        }
    }

    /// Whether a block is in the node's order.
    pub async fn orders(&self, id: BlockId) -> bool {
        match self {
            Self::Rpc(client) => {
                let (id, number) = (Some(id), None);
                let block = client.call(rpc::GetBlock { id, number }).await;
                block.is_ok_and(|block| block.selected)
            }
            Self::Sim(..) => false,
        }
    }

    /// The sessions of a real node.
    pub async fn peers(&self) -> Option<Vec<rpc::Peer>> {
        match self {
            Self::Rpc(client) => client.call(rpc::GetPeers {}).await.ok(),
            Self::Sim(..) => None,
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

    /// Sets what is done to all that the node sends, by receiver, and what its machine is like. `changed` are the receivers for
    /// whom something differs from before.
    ///
    /// What is to be awaited borrows nothing, so that many nodes can be told at once.
    pub fn set_conditions(
        &self,
        plan: &Plan,
        links: &BTreeMap<usize, Conditions>,
        changed: &BTreeSet<usize>,
        surroundings: &Surroundings,
    ) -> impl Future<Output = Result<(), CallError>> + Send + use<> {
        let told = match self {
            Self::Rpc(client) => {
                let conditions = plan.node_conditions(links, surroundings);
                Err((client.clone(), rpc::SetConditions::from(conditions)))
            }
            // At once: the order of things is part of what a seed replays.
            Self::Sim(simulation, node) => {
                Ok(simulation.set_conditions(*node, links, changed, surroundings))
            }
        };
        async move {
            match told {
                Ok(answer) => answer,
                Err((client, order)) => Ok(client.call(order).await?),
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
                let planned = plan.nodes[*node].hashrates.iter();
                let hashrates = planned.map(|(stream, hashrate)| (*stream, times(*hashrate)));
                simulation.set_hashrates(*node, &hashrates.collect());
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

    /// Has the node send a ping to all its peers that owe it no answer. Round trips are there as the answers come.
    pub async fn ping(&self) -> Result<(), CallError> {
        match self {
            Self::Rpc(client) => Ok(client.call(rpc::Ping {}).await?),
            Self::Sim(simulation, node) => simulation.ping(*node),
        }
    }

    /// What the node says of its sessions, with the nodes that have these keys.
    pub async fn sessions(&self, keys: &Keys) -> Result<Vec<Session>, CallError> {
        let client = match self {
            Self::Rpc(client) => client,
            Self::Sim(simulation, node) => return Ok(simulation.sessions(*node)),
        };
        let peers = client.call(rpc::GetPeers {}).await?;
        let session = |peer: rpc::Peer| {
            Some(Session {
                peer: *keys.nodes.get(&peer.key)?,
                round_trip: peer.round_trip,
                sent_bytes: peer.sent_bytes,
                queued_bytes: peer.queued_bytes,
                segments: peer.segments,
                losses: peer.losses,
            })
        };
        Ok(peers.into_iter().filter_map(session).collect())
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
    /// Of a network that outlives this program: the only clock that those before it had too.
    Wall(SystemTime),
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

    /// A network that was made at a moment, perhaps by an earlier program.
    pub fn since(made: SystemTime, nodes: Vec<Access>) -> Self {
        Self {
            clock: Clock::Wall(made),
            ..Self::new(nodes)
        }
    }

    /// The ways to all nodes.
    pub fn nodes(&self) -> &[Access] {
        &self.nodes
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
            Clock::Wall(origin) => origin.elapsed().unwrap_or_default(),
            Clock::Virtual(simulation) => simulation.now(),
        }
    }

    /// Lets a polling interval pass. Many real nodes are asked less often, for asking costs them the time to mine.
    pub async fn pause(&self) {
        let interval_ms = if self.nodes.len() <= 10 { 50 } else { 100 };
        match &self.clock {
            Clock::Real(_) | Clock::Wall(_) => {
                tokio::time::sleep(Duration::from_millis(interval_ms)).await
            }
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
            Clock::Real(_) | Clock::Wall(_) => None,
            Clock::Virtual(simulation) => simulation.violation(),
        }
    }

    /// The hash of everything that happened in a simulation.
    pub fn trace(&self) -> Option<String> {
        match &self.clock {
            Clock::Real(_) | Clock::Wall(_) => None,
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
            Clock::Real(_) | Clock::Wall(_) => None,
            Clock::Virtual(simulation) => Some(simulation),
        }
    }

    /// Asks all nodes at once that are meant to answer; the answers are in the order of the nodes, `None` for the others.
    pub async fn each_present<T, F, Fut>(&self, ask: F) -> Vec<Option<T>>
    where
        T: Send + 'static,
        F: Fn(Access) -> Fut,
        Fut: Future<Output = Option<T>> + Send + 'static,
    {
        self.each(|node, access| {
            let answer = (!self.is_absent(node)).then(|| ask(access));
            async move {
                match answer {
                    Some(answer) => answer.await,
                    None => None,
                }
            }
        })
        .await
    }

    /// The pages of metrics of all nodes.
    pub async fn pages(&self) -> Vec<Option<String>> {
        self.each_present(|access| async move { access.page().await })
            .await
    }

    /// The end of a node's order.
    pub async fn dag(&self, node: usize, last: u32) -> Option<rpc::Dag> {
        self.nodes.get(node)?.dag(last).await
    }

    /// What all nodes say of themselves.
    pub async fn states(&self) -> States {
        self.each_present(|access| async move { access.state().await.ok() })
            .await
    }

    /// The first node that is meant to answer.
    fn first_present(&self) -> Option<usize> {
        (0..self.nodes.len()).find(|&node| !self.is_absent(node))
    }

    /// The id of the network, as the first node says it that is meant to answer.
    pub async fn id(&self) -> Result<BlockId, CallError> {
        match self.first_present() {
            Some(node) => self.nodes[node].network_id().await,
            None => Err(CallError::Silent("no node is up".to_owned())),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
