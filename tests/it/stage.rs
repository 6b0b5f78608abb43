//! One machine, and peers that say what the test wants: what the machine dials, sends and ends is written down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use triskel::protocol::chain::id::{BlockId, NodeKey};
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::chain::work::Work;
use triskel::protocol::endpoint::Endpoint;
use triskel::protocol::machine::io::{ConnId, Effect, Event, Input, Outbox, Reason};
use triskel::protocol::machine::serve::serve;
use triskel::protocol::machine::{Machine, MachineConfig};
use triskel::protocol::time::Time;
use triskel::protocol::wire::frame;
use triskel::protocol::wire::message::{Claim, Hello, Message, PROTOCOL_VERSION, Received};
use triskel::sim::simulated;

use super::memory::Memory;

/// The wall clock at the start, in milliseconds.
pub(crate) const EPOCH_MS: u64 = 1_767_225_600_000;

pub(crate) struct Stage {
    pub(crate) network: Arc<Network>,
    config: MachineConfig,
    pub(crate) machine: Machine,
    disk: Memory,
    pub(crate) now_ms: u64,
    next_conn: u64,
    /// Dials that nobody has answered yet, in order.
    pub(crate) dials: Vec<Endpoint>,
    /// Connections that the machine has ended, and why.
    pub(crate) ended: BTreeMap<ConnId, Reason>,
    pub(crate) persists: u64,
    /// What the machine has sent, and what it has told, since the test last took it.
    pub(crate) sent: Vec<(ConnId, Message)>,
    pub(crate) told: Vec<Event>,
    /// Whether its miner has something to work on.
    pub(crate) mines: bool,
}

impl Stage {
    pub(crate) fn new(change: impl FnOnce(&mut MachineConfig)) -> Self {
        let network = Arc::new(Network::new(simulated(Params::chain())).unwrap());
        Self::on(network, change)
    }

    pub(crate) fn on(network: Arc<Network>, change: impl FnOnce(&mut MachineConfig)) -> Self {
        let mut config = MachineConfig {
            key: key(0),
            mining: false,
            ..MachineConfig::default()
        };
        change(&mut config);
        let disk = Memory::default();
        Self::start(network, config, disk, 1, 1_000)
    }

    fn start(
        network: Arc<Network>,
        config: MachineConfig,
        disk: Memory,
        seed: u64,
        now_ms: u64,
    ) -> Self {
        let mut out = Outbox::default();
        let machine = Machine::new(
            config.clone(),
            Arc::clone(&network),
            seed,
            time(now_ms),
            &disk,
            &mut out,
        );
        let mut stage = Self {
            network,
            config,
            machine: machine.unwrap(),
            disk,
            now_ms,
            next_conn: 0,
            dials: Vec::new(),
            ended: BTreeMap::new(),
            persists: 0,
            sent: Vec::new(),
            told: Vec::new(),
            mines: false,
        };
        stage.perform(out);
        stage
    }

    /// The machine as it is after a restart: with what it has stored, and other luck.
    pub(crate) fn restarted(self, seed: u64) -> Self {
        Self::start(self.network, self.config, self.disk, seed, self.now_ms)
    }

    pub(crate) fn feed(&mut self, input: Input) {
        let mut out = Outbox::default();
        self.machine
            .handle(time(self.now_ms), input, &self.disk, &mut out)
            .unwrap();
        self.perform(out);
    }

    /// What was sent to a connection since the last time.
    pub(crate) fn sent_to(&mut self, conn: ConnId) -> Vec<Message> {
        let mine = self.sent.extract_if(.., |(to, _)| *to == conn);
        mine.map(|(_, message)| message).collect()
    }

    fn perform(&mut self, out: Outbox) {
        let mut requests = Vec::new();
        for effect in out.0 {
            match effect {
                Effect::Persist(batch) => {
                    self.persists += 1;
                    self.disk.commit(*batch);
                }
                Effect::Send { to, message } => {
                    let copies = to.into_iter().map(|conn| (conn, message.clone()));
                    self.sent.extend(copies);
                }
                Effect::Notify(event) => self.told.push(event),
                Effect::Mine(templates) => self.mines = !templates.is_empty(),
                Effect::Dial(endpoint) => self.dials.push(endpoint),
                Effect::Disconnect { conn, reason } => drop(self.ended.insert(conn, reason)),
                Effect::Serve { to, request } => requests.push((to, request)),
                _ => {}
            }
        }
        // Answers are read from what is stored.
        for (to, request) in requests {
            let answer = serve(&self.disk, &request).unwrap();
            self.sent.push((to, answer));
        }
    }

    /// Lets time pass: the machine is woken whenever it wants, and pings are not answered.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        while let Some(at_ms) = self
            .machine
            .next_deadline()
            .filter(|at_ms| *at_ms <= end_ms)
        {
            self.now_ms = self.now_ms.max(at_ms);
            self.feed(Input::Wake);
        }
        self.now_ms = end_ms;
    }

    /// A connection that a peer opens, before it greets.
    pub(crate) fn accept(&mut self, remote: SocketAddr) -> ConnId {
        self.connect(None, remote)
    }

    /// What the machine dials answers.
    pub(crate) fn answer(&mut self, endpoint: &Endpoint) -> ConnId {
        self.dials.retain(|dialled| dialled != endpoint);
        let remote = endpoint.address().unwrap();
        self.connect(Some(endpoint.clone()), remote)
    }

    pub(crate) fn refuse(&mut self, endpoint: &Endpoint) {
        self.dials.retain(|dialled| dialled != endpoint);
        let endpoint = endpoint.clone();
        self.feed(Input::Refused { endpoint });
    }

    fn connect(&mut self, dialled: Option<Endpoint>, remote: SocketAddr) -> ConnId {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        self.feed(Input::Connected {
            conn,
            dialled,
            remote,
        });
        conn
    }

    pub(crate) fn say(&mut self, conn: ConnId, message: Received) {
        self.feed(Input::Message { conn, message });
    }

    pub(crate) fn greet(&mut self, conn: ConnId, key: NodeKey) {
        let tip = self.machine.chain().tip();
        let claim = Claim {
            work: tip.work,
            tip: tip.id,
            number: tip.number,
            beside: Vec::new(),
            pruned: 0,
        };
        self.greet_claiming(conn, key, claim);
    }

    /// The same, of somebody who claims something else than this node has.
    pub(crate) fn greet_claiming(&mut self, conn: ConnId, key: NodeKey, claim: Claim) {
        let hello = Hello {
            version: PROTOCOL_VERSION,
            network: self.network.id(),
            key,
            nonce: 1,
            port: 9_000,
            claim,
            features: 0,
            agent: "stage".to_owned(),
        };
        self.say(conn, Received::Hello(hello));
    }

    /// A session that a peer opens from an address.
    pub(crate) fn join(&mut self, key: NodeKey, remote: &str) -> ConnId {
        let conn = self.accept(remote.parse().unwrap());
        self.greet(conn, key);
        conn
    }

    /// A session that the machine has opened to an endpoint.
    pub(crate) fn reach(&mut self, key: NodeKey, endpoint: &Endpoint) -> ConnId {
        let conn = self.answer(endpoint);
        self.greet(conn, key);
        conn
    }

    pub(crate) fn stands(&self, conn: ConnId) -> bool {
        self.machine.sessions().any(|(other, ..)| other == conn)
    }

    pub(crate) fn fault(&mut self, conn: ConnId) {
        let error = frame::decode(&[0xff; 8]).unwrap_err();
        self.feed(Input::Malformed { conn, error });
    }
}

fn time(now_ms: u64) -> Time {
    Time {
        monotonic_ms: now_ms,
        monotonic_us: 1_000 * now_ms,
        wall_ms: EPOCH_MS + now_ms,
    }
}

pub(crate) fn key(number: u64) -> NodeKey {
    let mut key = [7; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    NodeKey(key)
}

/// A claim of more than anybody can have.
pub(crate) fn endless(tip: u8) -> Claim {
    Claim {
        work: Work::from_be_bytes([0xff; 32]),
        tip: BlockId([tip; 32]),
        number: 1_000_000_000,
        beside: Vec::new(),
        pruned: 0,
    }
}
