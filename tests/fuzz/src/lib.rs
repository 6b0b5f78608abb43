//! What is done with bytes that nobody wrote with care. A target must not panic, whatever the bytes; `tests/it/corpus.rs` runs the
//! same lines over the corpus that is kept.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use triskel::node::control::Control;
use triskel::node::rpc::respond;
use triskel::node::{Node, NodeConfig};
use triskel::protocol::chain::block::Block;
use triskel::protocol::chain::id::NodeKey;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::chain::template::{Search, Template};
use triskel::protocol::chain::transaction::Transaction;
use triskel::protocol::chain::work::Work;
use triskel::protocol::machine::io::{Command, ConnId, Effect, Input, Outbox};
use triskel::protocol::machine::serve::serve;
use triskel::protocol::machine::{Machine, MachineConfig};
use triskel::protocol::time::Time;
use triskel::protocol::wire::frame::{Decoder, decode, encode};
use triskel::protocol::wire::limits::MAX_ORPHANS;
use triskel::protocol::wire::message::{Claim, Hello, PROTOCOL_VERSION, Received};
use triskel::sim::disk::Disk;
use triskel::sim::simulated;

/// Without proof of work, which no fuzzer finds.
static NETWORK: LazyLock<Arc<Network>> = LazyLock::new(|| {
    let params = simulated(Params::tri());
    Arc::new(Network::new(params).expect("the preset makes a network"))
});

/// A stream of frames that arrives in pieces: the first byte says of what size.
pub fn frame(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else {
        return;
    };
    let read = |piece: usize, greeted: bool| {
        let (mut decoder, mut messages) = (Decoder::default(), Vec::new());
        if greeted {
            decoder.greeted();
        }
        for bytes in stream.chunks(piece) {
            decoder.extend(bytes);
            loop {
                match decoder.next_message() {
                    Ok(Some((message, _))) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => return messages,
                }
            }
        }
        messages
    };
    for greeted in [false, true] {
        let at_once = read(stream.len().max(1), greeted);
        let pieces = read(usize::from(size % 61) + 1, greeted);
        assert_eq!(at_once, pieces, "the size of the pieces changes nothing");
    }
}

/// The body of one frame.
pub fn message(data: &[u8]) {
    if let Ok(message) = decode(data) {
        let frame = encode(&message);
        assert_eq!(&frame[4..], data, "a message is written in one way");
        // What it holds is another question.
        let _ = message.check(&NETWORK);
    }
}

/// A block's canonical bytes.
pub fn block(data: &[u8]) {
    if let Ok(block) = Block::decode(data.into(), &NETWORK) {
        assert_eq!(&block.bytes()[..], data, "a block is written in one way");
        let again = Block::decode_checked_before(data.into()).expect("it was read before");
        assert_eq!(again.id(), block.id());
    }
}

/// A transaction's canonical bytes.
pub fn transaction(data: &[u8]) {
    // A signature that holds is beyond a fuzzer: behind it are the bytes again.
    let _ = Transaction::decode(data, &NETWORK.id());
    if let Ok(transaction) = Transaction::decode_checked_before(data) {
        assert_eq!(
            &transaction.to_bytes()[..],
            data,
            "a transaction is written in one way"
        );
    }
}

/// The body of a request to the control interface of a node. What users order is thrown away: no request dials or stops anything.
pub fn rpc(data: &[u8]) {
    /// A node in a folder that nobody else has.
    struct Served {
        runtime: Runtime,
        control: Control,
        _node: Node,
        _folder: TempDir,
    }
    thread_local! {
        static SERVED: Served = {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime starts");
            let folder = TempDir::new().expect("a folder is made");
            let mut config = NodeConfig {
                port: 0,
                listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
                data_dir: folder.path().to_string_lossy().into_owned(),
                ..NodeConfig::default()
            };
            config.mining.enabled = false;
            let node = runtime.block_on(Node::start(config)).expect("a node starts");
            let mut control = node.control().clone();
            let (sender, mut orders) = mpsc::channel(16);
            control.orders = sender;
            runtime.spawn(async move { while orders.recv().await.is_some() {} });
            Served { runtime, control, _node: node, _folder: folder }
        };
    }
    SERVED.with(|served| {
        let answer = respond(&served.control, data);
        if let Some(answer) = served.runtime.block_on(answer) {
            assert!(answer.is_array() || answer["jsonrpc"] == "2.0", "{answer}");
        }
    });
}

/// What a machine is told, in steps: a byte says what, more bytes say the rest.
pub fn machine(data: &[u8]) {
    let mut world = World::new(Bytes(data));
    while let Some(step) = world.bytes.next() {
        world.step(step);
    }
}

/// What is left to read. Whatever is missing is zero.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// At most so many bytes as the next two say.
    fn some(&mut self) -> &'a [u8] {
        let count = usize::from(u16::from_le_bytes([self.byte(), self.byte()]));
        let (some, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        some
    }
}

/// A machine, its disk, and connections to whoever the bytes play.
struct World<'a> {
    bytes: Bytes<'a>,
    machine: Machine,
    disk: Disk,
    now_ms: u64,
    next_conn: u64,
    conns: BTreeSet<ConnId>,
    templates: Vec<Template>,
    /// Blocks that were mined and told to nobody yet.
    hidden: Vec<Arc<Block>>,
    work: Work,
}

impl<'a> World<'a> {
    fn new(bytes: Bytes<'a>) -> Self {
        let (mut disk, mut out) = (Disk::default(), Outbox::default());
        let config = MachineConfig {
            key: NodeKey([1; 32]),
            mining: true,
            ..MachineConfig::default()
        };
        let network = Arc::clone(&NETWORK);
        let machine = Machine::new(config, network, 1, time(0), &disk, &mut out);
        let machine = machine.expect("an empty disk is sound");
        let work = machine.chain().tip().work;
        let effects = std::mem::take(&mut out.0);
        let mut world = Self {
            bytes,
            machine,
            now_ms: 0,
            next_conn: 0,
            conns: BTreeSet::new(),
            templates: Vec::new(),
            hidden: Vec::new(),
            work,
            disk: std::mem::take(&mut disk),
        };
        effects.into_iter().for_each(|effect| world.perform(effect));
        world
    }

    fn step(&mut self, step: u8) {
        match step % 12 {
            0 => self.connect(),
            1 => self.greet(),
            2 | 3 => self.receive(),
            4 => {
                let steps = u64::from(self.bytes.byte());
                self.pass(steps * steps);
            }
            5 => {
                if let Some(conn) = self.conn() {
                    self.conns.remove(&conn);
                    self.feed(Input::Disconnected { conn });
                }
            }
            6 => {
                if let Some(conn) = self.conn() {
                    self.feed(Input::Slow { conn });
                }
            }
            7 => {
                let mining = self.bytes.byte().is_multiple_of(2);
                self.feed(Input::Command(Command::Mine(mining)));
            }
            8 => {
                if let Some(block) = self.mine() {
                    self.feed(Input::Solved { block });
                }
            }
            9 => {
                let block = self.mine();
                self.hidden.extend(block);
            }
            10 => {
                if let (Some(conn), Some(block)) = (self.conn(), self.hidden.pop()) {
                    let message = Received::NewBlock(block);
                    self.feed(Input::Message { conn, message });
                }
            }
            _ => {
                let from_block = self.bytes.number();
                if let Some(conn) = self.conn() {
                    let blocks = self.hidden.drain(..).collect();
                    let message = Received::Blocks { from_block, blocks };
                    self.feed(Input::Message { conn, message });
                }
            }
        }
        self.check();
    }

    fn connect(&mut self) {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        self.conns.insert(conn);
        let ip = Ipv4Addr::new(self.bytes.byte(), 1, 1, self.bytes.byte());
        let remote = SocketAddr::from((ip, 9_000));
        let outbound = self.bytes.byte().is_multiple_of(2);
        let dialled = outbound.then(|| remote.into());
        self.feed(Input::Connected {
            conn,
            dialled,
            remote,
        });
    }

    fn greet(&mut self) {
        let (key, claimed) = (self.bytes.byte(), self.bytes.number());
        let tip = self.machine.chain().tip();
        let claim = Claim {
            work: if claimed.is_multiple_of(2) {
                tip.work
            } else {
                Work::from_be_bytes([claimed as u8; 32])
            },
            tip: tip.id,
            number: claimed,
            beside: Vec::new(),
            pruned: claimed / 2,
        };
        let hello = Hello {
            version: PROTOCOL_VERSION,
            network: NETWORK.id(),
            key: NodeKey([key; 32]),
            nonce: claimed,
            port: 9_000,
            claim,
            features: 0,
            agent: "fuzz".to_owned(),
        };
        if let Some(conn) = self.conn() {
            let message = Received::Hello(hello);
            self.feed(Input::Message { conn, message });
        }
    }

    /// A message as it comes from the wire.
    fn receive(&mut self) {
        let body = self.bytes.some();
        let Some(conn) = self.conn() else {
            return;
        };
        let checked = decode(body).and_then(|message| message.check(&NETWORK));
        self.feed(match checked {
            Ok(message) => Input::Message { conn, message },
            Err(error) => Input::Malformed { conn, error },
        });
    }

    fn conn(&mut self) -> Option<ConnId> {
        let number = usize::from(self.bytes.byte());
        let count = self.conns.len().max(1);
        self.conns.iter().nth(number % count).copied()
    }

    /// The block that the next template asks for.
    fn mine(&mut self) -> Option<Arc<Block>> {
        let number = usize::from(self.bytes.byte());
        let template = self.templates.get(number % self.templates.len().max(1))?;
        let mut search = Search::new(template.clone(), self.bytes.number(), &NETWORK);
        search.attempt(time(self.now_ms).wall_ms, 1).map(Arc::new)
    }

    fn pass(&mut self, ms: u64) {
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

    fn feed(&mut self, input: Input) {
        let mut out = Outbox::default();
        self.machine
            .handle(time(self.now_ms), input, &self.disk, &mut out)
            .expect("no input makes the store fail");
        out.0.into_iter().for_each(|effect| self.perform(effect));
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(batch) => {
                let number = self.disk.write(*batch);
                self.disk.sync(number);
            }
            Effect::Send { to, message } => {
                let unknown = to.iter().find(|conn| !self.conns.contains(conn));
                assert_eq!(unknown, None, "nothing is sent to who is not there");
                let body = &encode(&message)[4..];
                assert_eq!(decode(body).as_ref(), Ok(&message), "a peer can read it");
            }
            Effect::Serve { request, .. } => {
                serve(&self.disk, &request).expect("no request makes the store fail");
            }
            Effect::Disconnect { conn, .. } => {
                self.conns.remove(&conn);
            }
            Effect::Mine(templates) => self.templates = templates,
            _ => {}
        }
    }

    fn check(&mut self) {
        let work = self.machine.chain().tip().work;
        assert!(work >= self.work, "the tip never goes back");
        assert!(self.machine.orphans() <= MAX_ORPHANS);
        self.work = work;
    }
}

fn time(now_ms: u64) -> Time {
    Time {
        monotonic_ms: now_ms,
        monotonic_us: 1_000 * now_ms,
        wall_ms: 1_767_225_600_000 + now_ms,
    }
}
