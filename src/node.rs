//! Layer 2: the machine driven by tokio, with sockets, a disk, a clock, and an HTTP interface.
//!
//! ```no_run
//! use triskel::node::{Node, NodeConfig};
//!
//! # async fn example() -> Result<(), triskel::node::NodeError> {
//! let node = Node::start(NodeConfig { port: 9000, ..Default::default() }).await?;
//! println!("peers connect to {}", node.listening());
//! node.stop().await
//! # }
//! ```

mod announce;
mod clock;
pub mod config;
mod connection;
pub mod control;
mod dial;
mod driver;
mod error;
pub mod identity;
pub mod metrics;
mod miner;
pub mod rpc;
mod start;
pub mod store;
pub mod telemetry;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use config::NodeConfig;
pub use error::NodeError;

use clock::Clock;
use control::{Control, Order};
use metrics::Metrics;
use start::Parts;
use store::{Claim, Store};

use crate::protocol::chain::id::NodeKey;

/// A running node.
pub struct Node {
    control: Control,
    rpc: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    driver: JoinHandle<Result<(), NodeError>>,
}

impl Node {
    /// Starts a node. When this returns, it listens, its store is open, and it dials, syncs and mines by itself.
    ///
    /// # Errors
    ///
    /// The configuration makes no node, an address cannot be listened on, or the store does not open.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let clock = Clock::start();
        let network = Arc::new(config.network()?);
        let peers = bind("peers", (config.listen, config.port).into()).await?;
        let listening = peers.local_addr()?;
        let rpc = bind_if("JSON-RPC", config.rpc_address(listening.port())).await?;
        let exporter = bind_if("metrics", config.metrics_address(listening.port())).await?;

        let claim = Claim::take(Path::new(&config.data_dir(listening.port())))?;
        let keys = identity::load_or_create(claim.path())?;
        let store = Store::open(claim, &network, config.store.cache_mib << 20)?;
        let metrics = Arc::new(Metrics::new(&network));
        let observer = Arc::clone(&metrics);
        store.on_commit(move |duration| observer.committed(duration));

        let key = NodeKey(keys.public().0);
        let miner = match &config.mining.address {
            Some(address) => network.account(address)?,
            None => keys.public(),
        };
        let exported = Arc::clone(&metrics);
        let parts = Parts { config: &config, clock, network, store, metrics, key, miner };
        let (control, ready) = parts.assemble(peers, listening)?;

        let (end, ended) = watch::channel(());
        let mut node = Self { control: control.clone(), rpc: None, metrics: None, driver: tokio::spawn(async { Ok(()) }) };
        if let Some(listener) = rpc {
            node.rpc = Some(listener.local_addr()?);
            announce::serving("JSON-RPC", node.rpc);
            let router = rpc::router(control.clone());
            tokio::spawn(serve(listener, router, ended.clone()));
        }
        if let Some(listener) = exporter {
            node.metrics = Some(listener.local_addr()?);
            announce::serving("metrics", node.metrics);
            let router = metrics::router(exported, control.clone(), config.metrics.ready_peers);
            tokio::spawn(serve(listener, router, ended));
        }
        let statistics = Duration::from_millis(config.log.statistics_interval_ms);
        if !statistics.is_zero() {
            tokio::spawn(announce::statistics_every(statistics, control));
        }
        node.driver = tokio::spawn(async move {
            let result = ready.run().await;
            end.send_replace(());
            result
        });
        Ok(node)
    }

    /// What can be seen of the node and asked of it.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Where peers connect.
    pub fn listening(&self) -> SocketAddr {
        self.control.listening
    }

    /// Where JSON-RPC is served.
    pub fn rpc(&self) -> Option<SocketAddr> {
        self.rpc
    }

    /// Where metrics are served.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Ends the node, its store closed.
    ///
    /// # Errors
    ///
    /// What the node had failed with, if it had.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.control.orders.send(Order::Stop).await.ok();
        self.ended().await
    }

    /// Waits until the node ends by itself: stopped through its control interface, or failed.
    ///
    /// # Errors
    ///
    /// What the node failed with.
    pub async fn ended(self) -> Result<(), NodeError> {
        self.driver.await.expect("the driver does not panic and is never aborted")
    }
}
