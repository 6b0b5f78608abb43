//! The machine as a victim: one machine under virtual time, with the decoder of each connection before it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use triskel::node::NodeConfig;
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::params::Network;
use triskel::protocol::machine::io::{ConnId, Input};
use triskel::protocol::wire::frame::Decoder;
use triskel::protocol::wire::message::Message;

use super::{Peer, Victim, settings};
use crate::stage::{EPOCH_MS, Stage};

/// Time that the machine has for what has to come, in milliseconds of its clock: one question to who does not answer, and a half.
const PATIENCE_MS: u64 = 15_000;

/// A machine and its connections.
pub(super) struct Bare {
    pub(super) stage: Stage,
    /// Whether a test wants to hear all that is told.
    pub(super) is_overheard: bool,
    lines: BTreeMap<Peer, Line>,
}

struct Line {
    conn: ConnId,
    decoder: Decoder,
    /// Whether nothing more is read, as after a frame that cannot be.
    is_deaf: bool,
}

impl Bare {
    pub(super) fn start(change: impl FnOnce(&mut NodeConfig)) -> Self {
        let mut config = settings();
        change(&mut config);
        let network = Arc::new(config.network().unwrap());
        let stage = Stage::on(network, |machine| {
            let peer = &config.peer;
            machine.target_outbound = peer.target_outbound;
            machine.max_outbound_per_group = peer.max_outbound_per_group;
            machine.max_inbound = peer.max_inbound;
            machine.max_inbound_per_address = peer.max_inbound_per_address;
            machine.group_private = peer.group_private;
            machine.ban_ms = peer.ban_ms;
            machine.mempool = config.mempool_limits();
            machine.handshake_timeout_ms = peer.handshake_timeout_ms;
            machine.ping_interval_ms = peer.ping_interval_ms;
            machine.silent_timeout_ms = peer.silent_timeout_ms;
            machine.minimum_work = config.minimum_work().unwrap();
            machine.mining = config.mining.enabled;
        });
        Self {
            stage,
            is_overheard: false,
            lines: BTreeMap::new(),
        }
    }
}

impl Victim for Bare {
    fn network(&self) -> &Arc<Network> {
        &self.stage.network
    }

    fn wall_ms(&self) -> u64 {
        EPOCH_MS + self.stage.now_ms
    }

    fn patience_ms(&self) -> u64 {
        PATIENCE_MS
    }

    /// All of them come from private addresses, as on one machine.
    fn connect(&mut self) -> Peer {
        let peer = Peer(self.lines.len() as u64);
        let [.., high, low] = peer.0.to_be_bytes();
        let remote = SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 40_000));
        let line = Line {
            conn: self.stage.accept(remote),
            decoder: Decoder::default(),
            is_deaf: false,
        };
        self.lines.insert(peer, line);
        peer
    }

    fn shake(&mut self, _: usize) -> Peer {
        self.connect()
    }

    fn write(&mut self, peer: Peer, bytes: &[u8]) {
        if !self.is_open(peer) {
            return;
        }
        let line = self.lines.get_mut(&peer).unwrap();
        if line.is_deaf {
            return;
        }
        let conn = line.conn;
        line.decoder.extend(bytes);
        loop {
            let input = match line.decoder.next_message() {
                Ok(None) => return,
                Ok(Some((message, _))) => {
                    if matches!(message, Message::Hello(_)) {
                        line.decoder.greeted();
                    }
                    message.check(&self.stage.network)
                }
                Err(error) => Err(error),
            };
            line.is_deaf = input.is_err();
            if !self.is_overheard {
                // What is told must not count as memory.
                self.stage.told.clear();
            }
            self.stage.feed(match input {
                Ok(message) => Input::Message { conn, message },
                Err(error) => Input::Malformed { conn, error },
            });
            if line.is_deaf || self.stage.ended.contains_key(&conn) {
                return;
            }
        }
    }

    fn crumble(&mut self, peer: Peer, bytes: &[u8]) {
        for byte in bytes.chunks(1) {
            self.write(peer, byte);
            self.pass(1);
        }
    }

    fn hear(&mut self, peer: Peer) -> Vec<Message> {
        self.stage.sent_to(self.lines[&peer].conn)
    }

    fn is_open(&mut self, peer: Peer) -> bool {
        !self.stage.ended.contains_key(&self.lines[&peer].conn)
    }

    fn pass(&mut self, ms: u64) {
        self.stage.pass(ms);
    }

    fn connections(&mut self) -> usize {
        self.lines.len() - self.stage.ended.len()
    }

    fn sessions(&mut self) -> usize {
        self.stage.machine.sessions().count()
    }

    fn bans(&mut self) -> usize {
        self.stage.machine.bans(self.stage.now_ms).count()
    }

    fn tip(&mut self) -> BlockId {
        self.stage.machine.chain().tip().id
    }

    fn planned(&mut self) -> usize {
        self.stage.machine.sync_held().planned
    }

    fn mempool(&mut self) -> usize {
        self.stage.machine.mempool().len()
    }

    fn addresses(&mut self) -> usize {
        self.stage.machine.known_addresses().0
    }
}
