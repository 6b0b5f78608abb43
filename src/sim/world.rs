//! A network of machines, the events between them, and the hands that hurt and heal it.

use std::array::from_fn;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::check::{Checked, Oracle, Violation};
use super::disk::{Disk, Numbers};
use super::link::{FrameKey, Links, Remembered};
use super::map::{self, REGIONS};
use super::mining::{Attempt, Luck};
use super::queue::{Moment, Queue};
use super::role::Withholder;
use super::setup::{PORT, WorldConfig};
use super::trace::Trace;
use super::watch::Watch;
use crate::protocol::chain::block::{Block, Stream};
use crate::protocol::chain::id::{AccountId, BlockId, NodeKey, TransactionId};
use crate::protocol::chain::key::KeyPair;
use crate::protocol::chain::ledger::{Account, Undo};
use crate::protocol::chain::ordering::Colour;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::view::{Location, Record, Tip, View};
use crate::protocol::endpoint::Endpoint;
use crate::protocol::machine::MachineConfig;
use crate::protocol::machine::behaviour::Behaviour;
use crate::protocol::machine::io::{Command, ConnId, Effect, Input, Ticket};
use crate::protocol::mempool::AdmissionError;
use crate::protocol::rng::Rng;
use crate::protocol::table::Table;
use crate::protocol::time::Time;

/// The wall clock at the start: 2026-01-01 UTC, in milliseconds.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// What is known of a node from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// The tip and the state after it.
    pub tip: Arc<Tip>,
    /// Sessions that stand.
    pub sessions: usize,
    /// Blocks mined, by stream.
    pub mined: BTreeMap<Stream, u64>,
    /// How often it has refused a block, by the word for the reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Connections that it has ended because the peer broke the rules.
    pub faults: u64,
    /// Nodes that it has banned since the world began.
    pub bans: u64,
    /// How many addresses it knows at which it has met nobody yet, and at which it has.
    pub known_addresses: (usize, usize),
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
    pub(super) machine: Option<Box<dyn Behaviour>>,
    pub(super) disk: Disk,
    pub(super) rng: Rng,
    pub(super) config: MachineConfig,
    pub(super) clock_offset_ms: i64,
    /// Whether it can write nothing.
    pub(super) disk_full: bool,
    /// Whether it resolves no seed.
    pub(super) seed_outage: bool,
    /// What waits for it while it stands still.
    pub(super) held: Option<Vec<Held>>,
    /// Counts the starts: what belongs to an earlier one is void.
    pub(super) life: u64,
    /// When its timer is due.
    pub(super) wake: Option<Moment>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) luck: Option<Luck>,
    /// Hashes per second, by stream.
    pub(super) hashrate: BTreeMap<Stream, u64>,
    pub(super) extra_nonce: u64,
    pub(super) waiting: VecDeque<(u64, Vec<Effect>)>,
    pub(super) conns: BTreeMap<ConnId, u64>,
    pub(super) mined: BTreeMap<Stream, u64>,
    pub(super) refused: BTreeMap<&'static str, u64>,
    pub(super) faults: u64,
    pub(super) bans: u64,
    pub(super) checked: Checked,
    /// The tip when the node was last compared.
    pub(super) seen: Option<Arc<Tip>>,
    /// The newest tip that a crash cannot take.
    pub(super) durable: Option<Arc<Tip>>,
    /// Newer ones, by the write that they wait for.
    pub(super) tips: VecDeque<(u64, Arc<Tip>)>,
}

/// What waits for a node that stands still.
pub(super) enum Held {
    /// A fact.
    Fact(Box<Input>),
    /// A write, by its number, that is durable.
    Durable(u64),
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
    /// A connection's queue was full.
    Slow {
        node: usize,
        life: u64,
        conn: ConnId,
    },
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
    pub(super) links: Links,
    /// Nodes of different groups cannot reach each other.
    pub(super) groups: Vec<usize>,
    pub(super) withholders: Vec<Withholder>,
    pub(super) oracle: Oracle,
    pub(super) trace: Trace,
    pub(super) answers: BTreeMap<Ticket, Result<TransactionId, AdmissionError>>,
    pub(super) next_ticket: u64,
    pub(super) numbers: Numbers,
    /// Every block that a node has had.
    pub(super) blocks: Table<BlockId, Arc<Block>>,
    /// Their places, as the first of them wrote them: nearly always all write the same.
    pub(super) records: Table<BlockId, Arc<Record>>,
    /// What undoing them needs, as the first of them wrote it.
    pub(super) undo: Table<BlockId, Arc<Undo>>,
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
            links: Links::default(),
            groups: vec![0; config.nodes],
            withholders: Vec::new(),
            oracle: Oracle::new(Arc::clone(&config.network)),
            trace: Trace::new(),
            answers: BTreeMap::new(),
            next_ticket: 0,
            numbers: Numbers::default(),
            blocks: Table::default(),
            records: Table::default(),
            undo: Table::default(),
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
        let set = self.config.machines.get(&node).cloned();
        let set = set.unwrap_or_else(|| self.config.machine());
        let config = MachineConfig {
            key: NodeKey(keys.public().0),
            miner: keys.public(),
            port: PORT,
            agent: "sim".to_owned(),
            peers: dialled.map(|(_, to)| self.config.endpoint(*to)).collect(),
            prune: set.prune || self.config.pruning.contains(&node),
            ..set
        };
        Member {
            machine: None,
            disk: Disk::new(&self.numbers),
            rng: self.rng.fork(),
            config,
            clock_offset_ms: 0,
            disk_full: false,
            seed_outage: false,
            held: None,
            life: 0,
            wake: None,
            attempts: Vec::new(),
            luck: None,
            hashrate: Stream::ALL
                .map(|stream| (stream, self.config.hashrate))
                .into(),
            extra_nonce: 0,
            waiting: VecDeque::new(),
            conns: BTreeMap::new(),
            mined: BTreeMap::new(),
            refused: BTreeMap::new(),
            faults: 0,
            bans: 0,
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
        let behaviour = member.machine.as_ref()?;
        let machine = behaviour.machine();
        Some(NodeStatus {
            tip: Arc::clone(machine.chain().tip()),
            sessions: machine.sessions().count(),
            mined: member.mined.clone(),
            refused: member.refused.clone(),
            faults: member.faults,
            bans: member.bans,
            known_addresses: machine.known_addresses(),
            mempool: machine.mempool().len(),
            mining: behaviour.is_mining(),
            miner: member.config.miner,
        })
    }

    /// Connections that a node has open, sessions or not.
    pub fn connections(&self, node: usize) -> usize {
        self.members[node].conns.len()
    }

    /// The key of a node.
    pub fn key(&self, node: usize) -> NodeKey {
        self.members[node].config.key
    }

    /// The tip of a node; `None` while it is down.
    pub fn tip(&self, node: usize) -> Option<&Tip> {
        Some(self.members[node].machine.as_ref()?.machine().chain().tip())
    }

    /// Whether all running nodes that keep the rules have one order.
    pub fn agrees(&self) -> bool {
        let mut tips = (0..self.nodes())
            .filter(|node| !self.breaks_rules(*node))
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

    /// Starts or stops mining on a node that runs.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn mine(&mut self, node: usize, mining: bool) -> Result<(), Violation> {
        self.members[node].config.mining = mining;
        self.feed(node, Input::Command(Command::Mine(mining)))
    }

    pub(super) fn violation(&self, node: usize, what: impl Into<String>) -> Violation {
        Violation {
            at_ms: self.now_ms(),
            node,
            what: what.into(),
        }
    }
}
