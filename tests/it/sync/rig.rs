//! One machine, and peers whose every word the test chooses.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use triskel::protocol::chain::block::{Block, Header, Heading, Stream, parents_root};
use triskel::protocol::chain::id::{BlockId, StateDigest};
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::view::Tip;
use triskel::protocol::chain::work::Work;
use triskel::protocol::endpoint::Endpoint;
use triskel::protocol::machine::io::{Command, ConnId, Input};
use triskel::protocol::wire::message::{Claim, Message, Received};

use crate::stage::{EPOCH_MS, Stage, key};

/// A machine that dials nobody, and peers of it by number.
pub(super) struct Rig {
    pub(super) stage: Stage,
    conns: BTreeMap<u64, ConnId>,
}

impl Rig {
    pub(super) fn new(network: &Arc<Network>, minimum_work: Work) -> Self {
        let stage = Stage::on(Arc::clone(network), |config| {
            config.mining = true;
            config.target_outbound = 0;
            // Peers say what the test has them say.
            config.ping_interval_ms = 1_000_000;
            config.silent_timeout_ms = 3_000_000;
            config.minimum_work = minimum_work;
        });
        let conns = BTreeMap::new();
        Self { stage, conns }
    }

    pub(super) fn hear(&mut self, peer: u64, message: Received) {
        self.stage.say(self.conns[&peer], message);
    }

    pub(super) fn pass(&mut self, duration_ms: u64) {
        self.stage.pass(duration_ms);
    }

    /// A peer connects, greets and claims something.
    pub(super) fn greet(&mut self, peer: u64, claim: Claim) {
        let remote = SocketAddr::from((Ipv4Addr::new(10, 0, 0, peer as u8), 9_000));
        let conn = self.stage.accept(remote);
        self.conns.insert(peer, conn);
        self.stage.greet_claiming(conn, key(peer), claim);
    }

    /// The same, of a peer to which the operator wants a connection, and the machine opens it.
    pub(super) fn reach(&mut self, peer: u64, claim: Claim) {
        let remote = SocketAddr::from((Ipv4Addr::new(10, 0, 0, peer as u8), 9_000));
        let endpoint = Endpoint::from(remote);
        self.stage
            .feed(Input::Command(Command::Connect(endpoint.clone())));
        self.pass(1);
        assert!(self.stage.dials.contains(&endpoint));
        let conn = self.stage.answer(&endpoint);
        self.conns.insert(peer, conn);
        self.stage.greet_claiming(conn, key(peer), claim);
    }

    pub(super) fn tip(&self) -> &Tip {
        self.stage.machine.chain().tip()
    }

    /// What was sent to a peer since this was last looked at.
    pub(super) fn taken(&mut self, peer: u64) -> Vec<Message> {
        self.stage.sent_to(self.conns[&peer])
    }

    /// Whether a peer was asked for headings since this was last looked at.
    pub(super) fn asks_for_headings(&mut self, peer: u64) -> bool {
        let is_wanted = |message: &Message| matches!(message, Message::RequestHeaders { .. });
        self.taken(peer).iter().any(is_wanted)
    }

    /// The ids of blocks that a peer was asked for since this was last looked at, request by request.
    pub(super) fn asked_for(&mut self, peer: u64) -> Vec<Vec<BlockId>> {
        let ids = |message| match message {
            Message::RequestBlocksById { ids } => Some(ids),
            _ => None,
        };
        self.taken(peer).into_iter().filter_map(ids).collect()
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
