//! One machine, and peers whose every word the test chooses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use triskel::protocol::chain::block::{Block, Header, Heading, Stream, parents_root};
use triskel::protocol::chain::id::{BlockId, NodeKey, StateDigest};
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::view::Tip;
use triskel::protocol::chain::work::Work;
use triskel::protocol::machine::io::{ConnId, Effect, Input, Outbox, Reason};
use triskel::protocol::machine::{Machine, MachineConfig};
use triskel::protocol::time::Time;
use triskel::protocol::wire::message::{Claim, Hello, Message, PROTOCOL_VERSION, Received};

use crate::memory::Memory;

/// The wall clock at the start, in milliseconds.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// A machine under test.
pub(super) struct Rig {
    pub(super) machine: Machine,
    pub(super) network: Arc<Network>,
    disk: Memory,
    now_ms: u64,
    /// What it has sent since this was last taken.
    pub(super) sent: Vec<(ConnId, Message)>,
    /// What it has ended.
    pub(super) ended: Vec<(ConnId, Reason)>,
    /// Whether its miner has something to work on.
    pub(super) mines: bool,
}

impl Rig {
    pub(super) fn new(network: &Arc<Network>, minimum_work: Work) -> Self {
        let config = MachineConfig {
            target_outbound: 0,
            // Peers say what the test has them say.
            ping_interval_ms: 1_000_000,
            silent_timeout_ms: 3_000_000,
            minimum_work,
            ..MachineConfig::default()
        };
        let mut disk = Memory::default();
        let mut out = Outbox::default();
        let machine = Machine::new(config, Arc::clone(network), 1, time(0), &disk, &mut out);
        let machine = machine.unwrap();
        let mut rest = Vec::new();
        for effect in out.0 {
            match effect {
                Effect::Persist(batch) => disk.commit(*batch),
                effect => rest.push(effect),
            }
        }
        let mut rig = Self {
            machine,
            network: Arc::clone(network),
            disk,
            now_ms: 0,
            sent: Vec::new(),
            ended: Vec::new(),
            mines: false,
        };
        rest.into_iter().for_each(|effect| rig.perform(effect));
        rig
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(batch) => self.disk.commit(*batch),
            Effect::Send { to, message } => {
                self.sent
                    .extend(to.into_iter().map(|conn| (conn, message.clone())));
            }
            Effect::Disconnect { conn, reason } => self.ended.push((conn, reason)),
            Effect::Mine(templates) => self.mines = !templates.is_empty(),
            _ => {}
        }
    }

    pub(super) fn feed(&mut self, input: Input) {
        let mut out = Outbox::default();
        self.machine
            .handle(time(self.now_ms), input, &self.disk, &mut out)
            .unwrap();
        out.0.into_iter().for_each(|effect| self.perform(effect));
    }

    pub(super) fn hear(&mut self, conn: u64, message: Received) {
        let conn = ConnId(conn);
        self.feed(Input::Message { conn, message });
    }

    /// Lets time pass, and wakes the machine whenever it wants to be.
    pub(super) fn pass(&mut self, duration_ms: u64) {
        let end_ms = self.now_ms + duration_ms;
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

    /// A peer connects, greets and claims something.
    pub(super) fn greet(&mut self, conn: u64, claim: Claim) {
        let remote = SocketAddr::from((Ipv4Addr::new(10, 0, 0, conn as u8), 9_000));
        self.feed(Input::Connected {
            conn: ConnId(conn),
            dialled: None,
            remote,
        });
        let hello = Hello {
            version: PROTOCOL_VERSION,
            network: self.network.id(),
            key: NodeKey([conn as u8; 32]),
            nonce: conn,
            port: 9_000,
            claim,
            features: 0,
            agent: "rig".to_owned(),
        };
        self.hear(conn, Received::Hello(hello));
    }

    pub(super) fn tip(&self) -> &Tip {
        self.machine.chain().tip()
    }

    /// What was sent to a peer, and is taken.
    pub(super) fn taken(&mut self, conn: u64) -> Vec<Message> {
        let (taken, rest) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|(to, _)| *to == ConnId(conn));
        self.sent = rest;
        let taken: Vec<(ConnId, Message)> = taken;
        taken.into_iter().map(|(_, message)| message).collect()
    }

    /// Whether a peer was asked for headings since this was last looked at.
    pub(super) fn asks_for_headings(&mut self, conn: u64) -> bool {
        let is_wanted = |message: &Message| matches!(message, Message::RequestHeaders { .. });
        self.taken(conn).iter().any(is_wanted)
    }

    /// The ids of blocks that a peer was asked for since this was last looked at, request by request.
    pub(super) fn asked_for(&mut self, conn: u64) -> Vec<Vec<BlockId>> {
        let ids = |message| match message {
            Message::RequestBlocksById { ids } => Some(ids),
            _ => None,
        };
        self.taken(conn).into_iter().filter_map(ids).collect()
    }
}

fn time(now_ms: u64) -> Time {
    Time {
        monotonic_ms: now_ms,
        monotonic_us: 1_000 * now_ms,
        wall_ms: EPOCH_MS + now_ms,
    }
}

/// A claim of more than anybody can have.
pub(super) fn endless(tip: u8) -> Claim {
    Claim {
        work: Work::from_be_bytes([0xff; 32]),
        tip: BlockId([tip; 32]),
        number: 1_000_000_000,
        beside: Vec::new(),
        pruned: 0,
    }
}

/// The claim of somebody whose last block this is.
pub(super) fn claim_of(block: &Block, work: Work, number: u64) -> Claim {
    Claim {
        work,
        tip: block.id(),
        number,
        beside: Vec::new(),
        pruned: 0,
    }
}

/// So many headings upon a block, one upon the other, with so easy a target.
pub(super) fn cheap(network: &Network, parent: BlockId, count: u64, bits: u32) -> Vec<Heading> {
    let mut headings = Vec::new();
    let mut parent = parent;
    for nonce in 0..count {
        let parents = [parent];
        let header = Header {
            stream: Stream::A,
            parents_root: parents_root(&parents),
            body_root: [0; 32],
            state_digest: StateDigest::default(),
            timestamp_ms: EPOCH_MS + nonce,
            bits,
            nonce,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.push(1);
        bytes.extend_from_slice(&parent.0);
        let heading = Heading::decode(&bytes, network).unwrap();
        parent = heading.id();
        headings.push(heading);
    }
    headings
}
