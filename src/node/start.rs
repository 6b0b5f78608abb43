//! Putting a node together.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use super::checker::Checker;
use super::clock::Clock;
use super::config::{ConfigError, NodeConfig, Transport};
use super::connection::Context;
use super::control::{Control, Snapshot};
use super::driver::{Driver, Inlets, Published, Unstored};
use super::error::NodeError;
use super::links::Links;
use super::memory::{ANSWERS, Pool};
use super::metrics::Metrics;
use super::miner::Miner;
use super::noise::Credentials;
use super::store::Store;
use super::{announce, dial};
use crate::protocol::chain::block::Stream;
use crate::protocol::chain::id::{AccountId, NodeKey};
use crate::protocol::chain::params::Network;
use crate::protocol::chain::view::Fault;
use crate::protocol::machine::MachineConfig;
use crate::protocol::machine::behaviour::{Behaviour, Birth};
use crate::protocol::machine::io::Outbox;

/// Facts that wait for the driver. Readers wait when it is full, and so do their peers.
const INPUTS: usize = 1_024;

/// Orders of users that wait for the driver.
const ORDERS: usize = 256;

/// Connections and lookups that wait for the driver.
const ARRIVALS: usize = 64;

/// What a node is made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a NodeConfig,
    pub(super) clock: Clock,
    pub(super) network: Arc<Network>,
    pub(super) store: Arc<Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) key: NodeKey,
    pub(super) miner: AccountId,
    pub(super) links: Arc<Links>,
    pub(super) credentials: Option<Arc<Credentials>>,
}

/// A driver that has yet to run.
pub(super) struct Ready {
    driver: Driver,
    inlets: Inlets,
    first: Outbox,
}

impl Ready {
    /// Runs until the node ends, and closes its store.
    pub(super) async fn run(self) -> Result<(), NodeError> {
        let store = Arc::clone(&self.driver.store);
        let result = self.driver.run(self.inlets, self.first).await;
        let closed = tokio::task::spawn_blocking(move || store.close());
        let closed = closed.await.expect("closing the store does not panic");
        Ok(result.and(closed)?)
    }
}

impl Parts<'_> {
    /// Starts accepting and mining, and hands out the driver together with the way to it.
    pub(super) fn assemble(
        self,
        peers: TcpListener,
        listening: SocketAddr,
        birth: Birth,
    ) -> Result<(Control, Ready), NodeError> {
        let (input_sender, inputs) = mpsc::channel(INPUTS);
        let (order_sender, orders) = mpsc::channel(ORDERS);
        let (arrival_sender, arrivals) = mpsc::channel(ARRIVALS);
        let seed = entropy()?;
        let pool = Pool::new(self.config.ceilings(&self.network)?);
        let mut first = Outbox::default();
        let config = self.machine_config(listening)?;
        let machine = birth(
            config,
            Arc::clone(&self.network),
            seed,
            self.clock.now(),
            &*self.store,
            &mut first,
        )?;
        let hashrate = self.hashrate();
        let miner = Miner::start(
            Arc::clone(&self.network),
            self.clock.clone(),
            hashrate.clone(),
            seed,
            input_sender.clone(),
        )
        .map_err(|source| NodeError::Io {
            action: "start the miner".to_owned(),
            source,
        })?;
        let published = self.published(&*machine, hashrate);
        let snapshot = published.sender.subscribe();
        let checker = Checker::start(Arc::clone(&self.network), input_sender.clone());
        let checker = checker.map_err(|source| NodeError::Io {
            action: "start the checker of signatures".to_owned(),
            source,
        })?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let context = Context {
            network: Arc::clone(&self.network),
            store: Arc::clone(&self.store),
            metrics: Arc::clone(&self.metrics),
            checker: Arc::clone(&checker),
            inputs: input_sender,
            pool: Arc::clone(&pool),
            answers: Arc::new(Semaphore::new(ANSWERS)),
            checks: Arc::new(Semaphore::new(processors)),
            links: Arc::clone(&self.links),
            credentials: self.credentials,
            seed,
        };
        tokio::spawn(dial::listen(peers, arrival_sender.clone()));
        announce::listening(listening);
        announce::identity(&self.key);
        let miner_address = self.network.address(&self.miner);
        if self.config.mining.enabled {
            announce::mining_started(&miner_address);
        }
        let driver = Driver {
            machine,
            store: Arc::clone(&self.store),
            clock: self.clock,
            context,
            metrics: self.metrics,
            miner,
            miner_address,
            arrivals: arrival_sender,
            dial_timeout: Duration::from_millis(self.config.peer.dial_timeout_ms),
            published,
            outlets: BTreeMap::new(),
            next_conn: 0,
            next_ticket: 0,
            replies: BTreeMap::new(),
            slow: VecDeque::new(),
            unstored: Unstored::default(),
            requests: Vec::new(),
            waiting: VecDeque::new(),
            done: Vec::new(),
        };
        let control = Control {
            network: self.network,
            key: self.key,
            miner: self.miner,
            listening,
            started: Instant::now(),
            store: Arc::clone(&self.store),
            pool,
            snapshot,
            checker,
            links: self.links,
            orders: order_sender,
        };
        let inlets = Inlets {
            inputs,
            arrivals,
            orders,
            durable: self.store.durable(),
        };
        Ok((
            control,
            Ready {
                driver,
                inlets,
                first,
            },
        ))
    }

    fn machine_config(&self, listening: SocketAddr) -> Result<MachineConfig, ConfigError> {
        let NodeConfig {
            peers,
            seeds,
            mining,
            peer,
            ..
        } = self.config;
        Ok(MachineConfig {
            key: self.key,
            miner: self.miner,
            port: listening.port(),
            peers: peers.clone(),
            seeds: seeds.clone(),
            mining: mining.enabled,
            target_outbound: peer.target_outbound,
            max_outbound_per_group: peer.max_outbound_per_group,
            max_inbound: peer.max_inbound,
            max_inbound_per_address: peer.max_inbound_per_address,
            group_private: peer.group_private,
            // A key that is only claimed is not barred: anybody could have an honest node barred.
            ban_ms: match peer.transport {
                Transport::Noise => peer.ban_ms,
                Transport::Plain => 0,
            },
            mempool: self.config.mempool_limits(),
            handshake_timeout_ms: peer.handshake_timeout_ms,
            ping_interval_ms: peer.ping_interval_ms,
            silent_timeout_ms: peer.silent_timeout_ms,
            retry_min_ms: peer.retry_min_ms,
            retry_max_ms: peer.retry_max_ms,
            minimum_work: self.config.minimum_work()?,
            prune: self.config.store.prune,
            ..MachineConfig::default()
        })
    }

    fn hashrate(&self) -> BTreeMap<Stream, u64> {
        let streams = self.network.streams();
        streams
            .map(|(stream, _)| (stream, self.config.hashrate(stream)))
            .collect()
    }

    fn published(&self, machine: &dyn Behaviour, hashrate: BTreeMap<Stream, u64>) -> Published {
        let chain = machine.machine().chain();
        let (tip, record) = (Arc::clone(chain.tip()), Arc::clone(chain.record()));
        let sessions = Arc::new(Vec::new());
        let first = Snapshot {
            tip: Arc::clone(&tip),
            record: Arc::clone(&record),
            sessions: Arc::clone(&sessions),
            mempool_transactions: 0,
            mempool_bytes: 0,
            mining: machine.is_mining(),
            hashrate: hashrate.clone(),
            mined: BTreeMap::new(),
            sync_remaining: 0,
            bans: Vec::new(),
            known_addresses: machine.machine().known_addresses(),
            greatest_connection_bytes: 0,
        };
        let mined = hashrate.keys().map(|stream| (*stream, 0)).collect();
        Published {
            sender: watch::Sender::new(Arc::new(first)),
            durable: (tip, record),
            pending: VecDeque::new(),
            sessions,
            sessions_at: None,
            greatest_connection_bytes: 0,
            hashrate,
            mined,
        }
    }
}

/// A number that no other run of any node has.
fn entropy() -> Result<u64, NodeError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault(format!("the system gives no random numbers: {error}")))?;
    Ok(u64::from_le_bytes(bytes))
}
