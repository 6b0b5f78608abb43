//! The nodes of a run, as the stages see them: a few questions and orders, the same whatever the nodes are.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use triskel::protocol::chain::id::TransactionId;
use triskel::rpc::client::{Client, ClientError};
use triskel::rpc::{self, Method, Status, code};

use crate::verdict::{NodeState, States};

/// How long a node may take for one answer. Local nodes answer within milliseconds; a machine under full load takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to one node. Cheap to clone.
#[derive(Clone)]
pub enum Access {
    /// Through its control interface.
    Rpc(Client),
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
    pub async fn status(&self) -> Result<Status, CallError> {
        self.call(rpc::GetStatus {}).await
    }

    /// Hands in a transaction, in canonical bytes. Handing it in again changes nothing.
    pub async fn submit(&self, transaction: &[u8]) -> Result<TransactionId, CallError> {
        let transaction = hex(transaction);
        let submitted = self.call(rpc::SubmitTransaction { transaction }).await?;
        Ok(submitted.id)
    }

    /// What the node knows of a transaction.
    pub async fn transaction(&self, id: TransactionId) -> Result<TransactionState, CallError> {
        match self.call(rpc::GetTransaction { id }).await {
            Ok(transaction) if transaction.applied.is_some() => Ok(TransactionState::Applied),
            Ok(_) => Ok(TransactionState::Waiting),
            Err(CallError::NotFound(_)) => Ok(TransactionState::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Starts mining.
    pub async fn start_mining(&self) -> Result<(), CallError> {
        self.call(rpc::StartMining {}).await
    }

    /// Stops mining.
    pub async fn stop_mining(&self) -> Result<(), CallError> {
        self.call(rpc::StopMining {}).await
    }

    async fn call<M: Method>(&self, method: M) -> Result<M::Answer, CallError> {
        let Self::Rpc(client) = self;
        Ok(client.call(method).await?)
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
    origin: Instant,
}

impl Network {
    /// A network of real nodes, in the order of their numbers.
    pub fn new(nodes: Vec<Access>) -> Self {
        Self {
            nodes,
            origin: Instant::now(),
        }
    }

    /// Time since the network was made.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Lets a polling interval pass. Many nodes are asked less often, for asking costs them the time to mine.
    pub async fn pause(&self) {
        let interval_ms = if self.nodes.len() <= 10 { 50 } else { 100 };
        tokio::time::sleep(Duration::from_millis(interval_ms)).await;
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

    /// What all nodes say of themselves.
    pub async fn states(&self) -> States {
        self.each(|_, access| async move {
            let status = access.status().await.ok()?;
            Some(NodeState::from(&status))
        })
        .await
    }

    /// How the first node is. It tells what all have in common.
    pub async fn first_status(&self) -> Result<Status, CallError> {
        self.nodes
            .first()
            .expect("a scenario has at least one node")
            .status()
            .await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
