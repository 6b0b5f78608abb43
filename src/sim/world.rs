//! A network of machines, the events between them, and the hands that hurt and heal it.

use std::array::from_fn;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::check::{Checked, Oracle, Violation};
use super::disk::Disk;
use super::link::{FrameKey, Link, Remembered};
use super::map::{self, REGIONS};
use super::mining::{Attempt, Luck};
use super::queue::{Moment, Queue};
use super::role::Withholder;
use super::table::Table;
use super::trace::Trace;
use super::watch::Watch;
use crate::protocol::chain::block::{Block, Stream};
use crate::protocol::chain::id::{AccountId, BlockId, NodeKey, TransactionId};
use crate::protocol::chain::key::KeyPair;
use crate::protocol::chain::ledger::Account;
use crate::protocol::chain::ordering::Colour;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::transaction::SharedTransaction;
use crate::protocol::chain::view::{Location, Tip, View};
use crate::protocol::chain::work::Work;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::link::{Conditions, RoundTrip};
use crate::protocol::machine::io::{Command, ConnId, Effect, Input, Ticket};
use crate::protocol::machine::{Machine, MachineConfig};
use crate::protocol::mempool::AdmissionError;
use crate::protocol::rng::Rng;
use crate::protocol::time::Time;

/// The port of every simulated node.
const PORT: u16 = 9_000;

/// The wall clock at the start: 2026-01-01 UTC, in milliseconds.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// A world at its start.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// From which all draws follow.
    pub seed: u64,
    /// The network, without proof of work: see [`super::simulated`].
    pub network: Arc<Network>,
    /// Nodes.
    pub nodes: usize,
    /// Who keeps a connection to whom: the first dials the second.
    pub edges: Vec<(usize, usize)>,
    /// The time that a frame takes, in microseconds: at least, at most.
    pub latency_us: (u64, u64),
    /// The region of each node: frames take what [`map`] says beside that. Empty for a network on one site.
    pub regions: Vec<usize>,
    /// What is done beside that to all that one node sends another. It can be changed: see [`World::set_conditions`].
    pub conditions: BTreeMap<(usize, usize), Conditions>,
    /// The time that a write takes to be durable, in microseconds: at least, at most.
    pub persist_us: (u64, u64),
    /// Hashes per second that each node spends on each stream.
    pub hashrate: u64,
    /// Nodes that drop bodies that no reorganisation reaches.
    pub pruning: BTreeSet<usize>,
    /// Connections that a node opens by itself to nodes that it hears of.
    pub target_outbound: usize,
    /// The time between two signs of life that are asked for, in milliseconds.
    pub ping_interval_ms: u64,
}

impl WorldConfig {
    /// A small network on one site: node i keeps a connection to i-1 and to one random earlier node.
    pub fn new(seed: u64, network: Arc<Network>, nodes: usize) -> Self {
        let mut rng = Rng::new(seed ^ 0x7472_6565);
        let mut edges = Vec::new();
        for node in 1..nodes {
            edges.push((node, node - 1));
            if node > 1 {
                edges.push((node, rng.below(node as u64 - 1) as usize));
            }
        }
        Self {
            seed,
            network,
            nodes,
            edges,
            latency_us: (1_000, 20_000),
            regions: Vec::new(),
            conditions: BTreeMap::new(),
            persist_us: (500, 10_000),
            hashrate: 2_000,
            pruning: BTreeSet::new(),
            target_outbound: 0,
            ping_interval_ms: 10_000,
        }
    }
}

/// What is known of a node from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// The tip and the state after it.
    pub tip: Tip,
    /// Sessions that stand.
    pub sessions: usize,
    /// Blocks mined, by stream.
    pub mined: BTreeMap<Stream, u64>,
    /// How often it has refused a block, by the word for the reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Waiting transactions.
    pub mempool: usize,
    /// Whether it mines.
    pub mining: bool,
    /// Who receives what it mines.
    pub miner: AccountId,
}

/// A member of the world.
pub(super) struct Member {
    /// `None` while it is down.
    pub(super) machine: Option<Machine>,
    pub(super) disk: Disk,
    pub(super) rng: Rng,
    pub(super) config: MachineConfig,
    pub(super) clock_offset_ms: i64,
    /// Counts the starts: what belongs to an earlier one is void.
    pub(super) life: u64,
    /// When its timer is due.
    pub(super) wake: Option<Moment>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) luck: Option<Luck>,
    pub(super) hashrate: u64,
    pub(super) extra_nonce: u64,
    pub(super) waiting: VecDeque<(u64, Vec<Effect>)>,
    pub(super) conns: BTreeMap<ConnId, u64>,
    pub(super) mined: BTreeMap<Stream, u64>,
    pub(super) refused: BTreeMap<&'static str, u64>,
    pub(super) checked: Checked,
    /// The parents of the next block and the work behind them, when the node was last compared.
    pub(super) seen: Option<(Vec<BlockId>, Work)>,
    /// The newest tip that a crash cannot take.
    pub(super) durable: Option<Tip>,
    /// Newer ones, by the write that they wait for.
    pub(super) tips: VecDeque<(u64, Tip)>,
}

/// Something that will happen.
pub(super) enum Event {
    /// A dial reaches its target.
    Dialled {
        from: usize,
        life: u64,
        endpoint: Box<Endpoint>,
    },
    /// The answer to a dial comes back.
    Established {
        link: u64,
        node: usize,
        life: u64,
        endpoint: Box<Endpoint>,
    },
    /// One end has closed a link, and what it sent before has arrived.
    Closing { link: u64 },
    /// A dial fails.
    Refused {
        node: usize,
        life: u64,
        endpoint: Box<Endpoint>,
    },
    /// The next frame of a link arrives.
    Frame { link: u64, receiver: usize },
    /// An end of a link learns that it is gone.
    Closed {
        node: usize,
        life: u64,
        conn: ConnId,
    },
    /// A node's timer.
    Wake { node: usize },
    /// A node may find a block.
    Solved { node: usize },
    /// A write is durable.
    Durable { node: usize, life: u64, number: u64 },
    /// A withholder has waited for long enough, if that is still its release of this number.
    Release { index: usize, release: u64 },
    /// A name was looked up.
    Resolved {
        node: usize,
        life: u64,
        seed: Box<Endpoint>,
    },
}

/// A network under virtual time.
pub struct World {
    pub(super) config: WorldConfig,
    pub(super) rng: Rng,
    pub(super) now_us: u64,
    pub(super) queue: Queue,
    pub(super) members: Vec<Member>,
    pub(super) links: BTreeMap<u64, Link>,
    pub(super) next_link: u64,
    pub(super) next_conn: u64,
    /// Nodes of different groups cannot reach each other.
    pub(super) groups: Vec<usize>,
    pub(super) withholders: Vec<Withholder>,
    pub(super) oracle: Oracle,
    pub(super) trace: Trace,
    pub(super) answers: BTreeMap<Ticket, Result<TransactionId, AdmissionError>>,
    pub(super) next_ticket: u64,
    /// Every block that a node has had.
    pub(super) blocks: Table<BlockId, Arc<Block>>,
    /// Frames of relay.
    pub(super) frames: Table<FrameKey, Remembered>,
    /// The time from one region to another, in microseconds.
    pub(super) delays_us: [[u64; REGIONS.len()]; REGIONS.len()],
    pub(super) watch: Option<Watch>,
    pub(super) arrived: u64,
    pub(super) bytes: u64,
}

impl World {
    /// Starts all nodes.
    ///
    /// # Errors
    ///
    /// Something was wrong from the start.
    pub fn new(config: WorldConfig) -> Result<Self, Violation> {
        let mut world = Self {
            rng: Rng::new(config.seed),
            now_us: 0,
            queue: Queue::default(),
            members: Vec::new(),
            links: BTreeMap::new(),
            next_link: 0,
            next_conn: 0,
            groups: vec![0; config.nodes],
            withholders: Vec::new(),
            oracle: Oracle::new(Arc::clone(&config.network)),
            trace: Trace::new(),
            answers: BTreeMap::new(),
            next_ticket: 0,
            blocks: Table::default(),
            frames: Table::default(),
            delays_us: from_fn(|from| from_fn(|to| 1_000 * map::delay_ms(from, to))),
            watch: None,
            arrived: 0,
            bytes: 0,
            config,
        };
        for node in 0..world.config.nodes {
            let member = world.member(node);
            world.members.push(member);
        }
        for node in 0..world.config.nodes {
            world.start(node)?;
        }
        Ok(world)
    }

    fn member(&mut self, node: usize) -> Member {
        let keys = KeyPair::from_seed(format!("{} node {node}", self.config.seed).as_bytes());
        let dialled = self.config.edges.iter().filter(|(from, _)| *from == node);
        let config = MachineConfig {
            key: NodeKey(keys.public().0),
            miner: keys.public(),
            port: PORT,
            agent: "sim".to_owned(),
            peers: dialled.map(|(_, to)| endpoint(*to)).collect(),
            target_outbound: self.config.target_outbound,
            max_inbound: self.config.nodes,
            ping_interval_ms: self.config.ping_interval_ms,
            silent_timeout_ms: 3 * self.config.ping_interval_ms,
            prune: self.config.pruning.contains(&node),
            ..MachineConfig::default()
        };
        Member {
            machine: None,
            disk: Disk::default(),
            rng: self.rng.fork(),
            config,
            clock_offset_ms: 0,
            life: 0,
            wake: None,
            attempts: Vec::new(),
            luck: None,
            hashrate: self.config.hashrate,
            extra_nonce: 0,
            waiting: VecDeque::new(),
            conns: BTreeMap::new(),
            mined: BTreeMap::new(),
            refused: BTreeMap::new(),
            checked: Checked::default(),
            seen: None,
            durable: None,
            tips: VecDeque::new(),
        }
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.config.network
    }

    /// Virtual time since the start, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_us / 1_000
    }

    /// Nodes, running or not.
    pub fn nodes(&self) -> usize {
        self.members.len()
    }

    /// The hash of everything that has happened, and how much that was.
    pub fn trace(&self) -> (String, u64) {
        (self.trace.digest(), self.trace.count())
    }

    pub(super) fn time(&self, node: usize) -> Time {
        let offset_ms = self.members[node].clock_offset_ms;
        Time {
            monotonic_ms: self.now_ms(),
            monotonic_us: self.now_us,
            wall_ms: (EPOCH_MS + self.now_ms()).saturating_add_signed(offset_ms),
        }
    }

    /// Runs until a condition holds, at most for `limit_ms`. Whether it holds.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn run_until(
        &mut self,
        limit_ms: u64,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Violation> {
        let end_us = self.now_us + limit_ms * 1_000;
        loop {
            if holds(self) {
                return Ok(true);
            }
            match self.queue.next_us() {
                Some(at_us) if at_us <= end_us => self.step()?,
                _ => {
                    self.now_us = end_us;
                    return Ok(holds(self));
                }
            }
        }
    }

    /// Runs for a while.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn run_for(&mut self, duration_ms: u64) -> Result<(), Violation> {
        self.run_until(duration_ms, |_| false).map(drop)
    }

    /// How a node is; `None` while it is down.
    pub fn status(&self, node: usize) -> Option<NodeStatus> {
        let member = &self.members[node];
        let machine = member.machine.as_ref()?;
        Some(NodeStatus {
            tip: machine.chain().tip().clone(),
            sessions: machine.sessions().count(),
            mined: member.mined.clone(),
            refused: member.refused.clone(),
            mempool: machine.mempool().len(),
            mining: machine.is_mining(),
            miner: member.config.miner,
        })
    }

    /// The key of a node.
    pub fn key(&self, node: usize) -> NodeKey {
        self.members[node].config.key
    }

    /// What a node has measured of its sessions, by the peer's key.
    pub fn round_trips(&self, node: usize) -> BTreeMap<NodeKey, RoundTrip> {
        let machine = self.members[node].machine.iter();
        let sessions = machine.flat_map(|machine| machine.sessions());
        sessions
            .filter_map(|(.., session)| Some((session.key, session.meter.round_trip()?)))
            .collect()
    }

    /// The tip of a node; `None` while it is down.
    pub fn tip(&self, node: usize) -> Option<&Tip> {
        Some(self.members[node].machine.as_ref()?.chain().tip())
    }

    /// Whether all running nodes have one order.
    pub fn agrees(&self) -> bool {
        let mut tips = (0..self.nodes())
            .filter_map(|node| self.tip(node))
            .map(|tip| &tip.parents);
        let first = tips.next();
        tips.all(|tip| Some(tip) == first)
    }

    /// What a node has stored.
    pub fn store(&self, node: usize) -> &dyn View {
        &self.members[node].disk
    }

    /// How many blocks of a node's order have a colour.
    pub fn ordered_as(&self, node: usize, colour: Colour) -> u64 {
        self.members[node].disk.ordered_as(colour)
    }

    /// An account as a node sees it.
    pub fn account(&self, node: usize, account: &AccountId) -> Account {
        self.members[node].disk.account(account).unwrap_or_default()
    }

    /// Where a node has applied a transaction.
    pub fn transaction(&self, node: usize, id: &TransactionId) -> Option<Location> {
        self.members[node].disk.transaction(id).ok().flatten()
    }

    /// Hands a transaction to a node; `None` if it is down. [`World::answer`] tells what it says, once it does.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn submit(
        &mut self,
        node: usize,
        transaction: SharedTransaction,
    ) -> Result<Option<Ticket>, Violation> {
        if self.members[node].machine.is_none() {
            return Ok(None);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.feed(
            node,
            Input::Submitted {
                ticket,
                transaction,
            },
        )?;
        Ok(Some(ticket))
    }

    /// The answer to a submission, once it is durable.
    pub fn answer(&self, ticket: Ticket) -> Option<&Result<TransactionId, AdmissionError>> {
        self.answers.get(&ticket)
    }

    /// Starts or stops mining on a node that runs.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn mine(&mut self, node: usize, mining: bool) -> Result<(), Violation> {
        self.members[node].config.mining = mining;
        self.feed(node, Input::Command(Command::Mine(mining)))
    }

    /// Sets the hashes per second and stream of a node, from its next template on.
    pub fn set_hashrate(&mut self, node: usize, hashrate: u64) {
        self.members[node].hashrate = hashrate;
    }

    pub(super) fn violation(&self, node: usize, what: impl Into<String>) -> Violation {
        Violation {
            at_ms: self.now_ms(),
            node,
            what: what.into(),
        }
    }
}

/// Where a node is dialled.
pub(super) fn endpoint(node: usize) -> Endpoint {
    address(node, PORT).into()
}

pub(super) fn address(node: usize, port: u16) -> SocketAddr {
    let [_, high, middle, low] = (node as u32).to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, high, middle, low)), port)
}

/// The node behind an endpoint.
pub(super) fn node_at(endpoint: &Endpoint) -> Option<usize> {
    match endpoint.address()?.ip() {
        IpAddr::V4(ip) if ip.octets()[0] == 10 => {
            let [_, high, middle, low] = ip.octets();
            Some(u32::from_be_bytes([0, high, middle, low]) as usize)
        }
        _ => None,
    }
}
