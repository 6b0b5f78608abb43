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

mod alarm;
pub mod announce;
mod checker;
pub mod cli;
mod clock;
pub mod coins;
pub mod config;
mod connection;
pub mod control;
pub mod descriptors;
mod dial;
mod driver;
pub mod error;
mod http;
pub mod identity;
pub mod links;
pub mod memory;
pub mod metrics;
mod miner;
pub mod noise;
pub mod progress;
pub mod rpc;
pub mod snapshot;
mod start;
pub mod stop;
pub mod store;
pub mod telemetry;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use config::NodeConfig;
pub use error::NodeError;

use clock::Clock;
use control::{Control, Order};
use links::Links;
use metrics::Metrics;
use noise::Credentials;
use start::Parts;
use store::{Claim, Store};

use crate::protocol::chain::id::NodeKey;
use crate::protocol::machine::behaviour::{Birth, honest};

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
        Self::start_as(config, honest()).await
    }

    /// Starts a node that behaves in a way of its own.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_as(config: NodeConfig, birth: Birth) -> Result<Self, NodeError> {
        let clock = Clock::start();
        config.check()?;
        let network = Arc::new(config.network()?);
        if let Err(error) = descriptors::raise(config.descriptors()) {
            announce::few_descriptors(&error);
        }
        let (peers, listening) = bind("peers", config.listen_address()).await?;
        let rpc = bind_if("rpc", config.rpc_address()).await?;
        let exporter = bind_if("metrics", config.metrics_address()).await?;

        let claim = Claim::take(&config.data_directory())?;
        let keys = identity::load_or_create(claim.path())?;
        let links = Arc::new(Links::open(claim.path(), clock.clone())?);
        let store = Store::open(claim, &network, config.store.cache_mib << 20)?;
        let metrics = Arc::new(Metrics::new(&network));
        let observer = Arc::clone(&metrics);
        store.on_commit(move |duration| observer.committed(duration));
        let conditions = Arc::clone(&links);
        store.refuse_while(move || conditions.current().disk_full);

        let key = NodeKey(keys.public().0);
        let credentials = Credentials::configured(&config.peer, &keys)?.map(Arc::new);
        let miner = config.miner(&network, keys.public())?;
        let (exported, observed) = (Arc::clone(&metrics), Arc::clone(&metrics));
        let dates = clock.clone();
        let parts = Parts {
            config: &config,
            clock,
            network,
            store,
            metrics,
            key,
            miner,
            links,
            credentials,
        };
        let (control, ready) = parts.assemble(peers, listening, birth)?;

        let (end, ended) = watch::channel(());
        let mut serving = JoinSet::new();
        // The pages are served beside the control interface too: whoever commands a node may look at it.
        let ready_peers = config.metrics.ready_peers;
        let pages = || metrics::router(Arc::clone(&exported), control.clone(), ready_peers);
        let rpc = rpc.map(|(listener, address)| {
            announce::serving("JSON-RPC", address);
            serving.spawn(http::serve(
                listener,
                rpc::router(control.clone()).merge(pages()),
                changed(ended.clone()),
            ));
            address
        });
        let metrics = exporter.map(|(listener, address)| {
            announce::serving("metrics", address);
            serving.spawn(http::serve(listener, pages(), changed(ended.clone())));
            address
        });
        if let Some(interval) = config.statistics_interval(std::io::stdout().is_terminal()) {
            tokio::spawn(show_statistics(interval, control.clone()));
        }
        let seen = control.snapshot.clone();
        tokio::spawn(progress::show(seen, observed, dates));
        let driver = tokio::spawn(async move {
            let result = ready.run().await;
            // Whoever ordered the end still gets the answer.
            end.send_replace(());
            serving.join_all().await;
            result
        });
        Ok(Self {
            control,
            rpc,
            metrics,
            driver,
        })
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
        self.driver
            .await
            .expect("the driver does not panic and is never aborted")
    }
}

async fn bind(
    what: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), NodeError> {
    let refuse = |source| NodeError::Listen {
        what,
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(refuse)?;
    let bound = listener.local_addr().map_err(refuse)?;
    Ok((listener, bound))
}

async fn bind_if(
    what: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<(TcpListener, SocketAddr)>, NodeError> {
    match address {
        Some(address) => bind(what, address).await.map(Some),
        None => Ok(None),
    }
}

/// Says how the node is, again and again.
async fn show_statistics(interval: Duration, control: Control) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match control.statistics() {
            Ok(statistics) => announce::announce_statistics(&statistics),
            // The store is closed: the node has ended.
            Err(_) => return,
        }
    }
}

async fn changed(mut end: watch::Receiver<()>) {
    // An error says that the driver is gone, which is the end as well.
    end.changed().await.ok();
}
