//! Connections inside Noise: who is refused and how, what a listener sees, and what becomes of damaged bytes.

mod handshake;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use triskel::node::cli::{Payment, transfer};
use triskel::node::config::{Preset, Transport};
use triskel::node::control::Snapshot;
use triskel::node::error::exit;
use triskel::node::noise::{self, Credentials, Opener, Sealer, Secured};
use triskel::node::{Node, NodeConfig};
use triskel::protocol::chain::id::NodeKey;
use triskel::protocol::chain::key::KeyPair;
use triskel::protocol::chain::view::View as _;
use triskel::protocol::machine::io::Command;
use triskel::protocol::wire::frame::{Decoder, encode};
use triskel::protocol::wire::message::{Claim, Hello, Message, PROTOCOL_VERSION};
use triskel::rpc::client::Client;

use super::memory::person;
use super::node::{Member, PATIENCE};

fn quiet(config: &mut NodeConfig) {
    config.mining.enabled = false;
    config.peer.target_outbound = 0;
}

fn credentials(owner: usize, preshared_key: Option<u8>) -> Credentials {
    let preshared_key = preshared_key.map(|byte| [byte; 32]);
    Credentials::new(&person(owner), preshared_key).unwrap()
}

fn key(keys: &KeyPair) -> NodeKey {
    NodeKey(keys.public().0)
}

/// Waits until a counter of handshakes or of ended sessions is not zero.
async fn counted(member: &Member, metric: &str, label: &str) {
    let client = Client::new(member.node.metrics().unwrap());
    let (start, label) = (format!("triskel_{metric}{{"), format!("\"{label}\""));
    let waiting = async {
        loop {
            let (_, text) = client.get("/metrics").await.unwrap();
            let mut lines = text.lines();
            let is_counted = |line: &str| {
                line.starts_with(&start) && line.contains(&label) && !line.ends_with(" 0")
            };
            if lines.any(is_counted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("{metric} with {label} is not counted"));
}

/// Both nodes refuse each other, and say why.
async fn part(
    ours: impl FnOnce(&mut NodeConfig),
    theirs: impl FnOnce(&mut NodeConfig),
    label: &str,
) {
    let listening = Member::start(|config| {
        quiet(config);
        ours(config);
    })
    .await;
    let dialling = Member::start(|config| {
        quiet(config);
        theirs(config);
        config.peers = vec![listening.endpoint()];
    })
    .await;
    for member in [&listening, &dialling] {
        counted(member, "handshakes_total", label).await;
        assert!(member.now().sessions.is_empty());
    }
    listening.node.stop().await.unwrap();
    dialling.node.stop().await.unwrap();
}

fn plain(config: &mut NodeConfig) {
    config.peer.transport = Transport::Plain;
}

/// A file with a key, and what makes a node read it.
fn closed(folder: &TempDir, byte: u8) -> impl Fn(&mut NodeConfig) + use<> {
    let path: PathBuf = folder.path().join(format!("network-{byte}.key"));
    std::fs::write(&path, format!("{}\n", NodeKey([byte; 32]))).unwrap();
    move |config| config.peer.preshared_key_file = Some(path.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_transports_part_at_once() {
    part(|_| (), plain, "other_transport").await;
    part(plain, |_| (), "other_transport").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_to_a_closed_network_are_refused() {
    let folder = TempDir::new().unwrap();
    let other = "other_preshared_key";
    part(closed(&folder, 1), |_| (), other).await;
    part(|_| (), closed(&folder, 1), other).await;
    part(closed(&folder, 1), closed(&folder, 2), other).await;
    part(closed(&folder, 1), plain, "other_transport").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_members_of_a_closed_network_agree() {
    let folder = TempDir::new().unwrap();
    let first = Member::start(closed(&folder, 1)).await;
    let second = Member::start(|config| {
        quiet(config);
        closed(&folder, 1)(config);
        config.peers = vec![first.endpoint()];
    })
    .await;
    let has_blocks = |now: &Snapshot| now.tip.number >= 5;
    second.until("five blocks", has_blocks).await;
    first.command(Command::Mine(false)).await;
    first.until("rest", |now| !now.mining).await;
    second.agrees_with(&first).await;
    first.node.stop().await.unwrap();
    second.node.stop().await.unwrap();
}

/// Relays connections to a node, and keeps all that it sees.
async fn listen_in(node: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    async fn pass(
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        seen: Arc<Mutex<Vec<u8>>>,
    ) -> std::io::Result<()> {
        let mut buffer = vec![0; 4_096];
        loop {
            match from.read(&mut buffer).await? {
                0 => return Ok(()),
                count => {
                    seen.lock().unwrap().extend_from_slice(&buffer[..count]);
                    to.write_all(&buffer[..count]).await?;
                }
            }
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(node).await.unwrap();
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            // One buffer for each direction would find the same: what is looked for goes one way.
            tokio::spawn(pass(from_near, to_far, Arc::clone(&all)));
            tokio::spawn(pass(from_far, to_near, Arc::clone(&all)));
        }
    });
    (address, seen)
}

/// What somebody between two nodes sees while one pays and the other hears of it; and the bytes of the transfer.
async fn overhear(change: impl Fn(&mut NodeConfig)) -> (Vec<u8>, Vec<u8>) {
    let payer = Member::start(&change).await;
    let (relay, seen) = listen_in(payer.node.listening()).await;
    let other = Member::start(|config| {
        quiet(config);
        change(config);
        config.peers = vec![relay.into()];
    })
    .await;
    payer.until("a balance", |now| now.tip.issued > 0).await;
    let mut config = NodeConfig::default();
    config.network.preset = Preset::Chain;
    config.network.initial_hashrate = Some(200);
    config.data_dir = payer.folder.path().to_str().unwrap().to_owned();
    let payment = Payment {
        to: config.network().unwrap().address(&person(1).public()),
        amount: "1".to_owned(),
        fee: None,
    };
    transfer(&config, payer.node.rpc(), &payment).await.unwrap();
    let paid = other.until("the transfer", |now| now.tip.transactions == 1);
    let number = paid.await.tip.number;
    let store = &other.node.control().store;
    let blocks = (1..=number).rev().filter_map(|number| {
        let ordered = store.ordered(number).unwrap().unwrap();
        store.block(&ordered.id).unwrap()
    });
    let transfers = blocks.flat_map(|block| block.body().transactions.clone());
    let bytes = transfers.map(|transfer| transfer.to_bytes().to_vec());
    let bytes = bytes.into_iter().next().unwrap();
    payer.node.stop().await.unwrap();
    other.node.stop().await.unwrap();
    let seen = seen.lock().unwrap().clone();
    (seen, bytes)
}

fn holds(seen: &[u8], wanted: &[u8]) -> bool {
    seen.windows(wanted.len()).any(|bytes| bytes == wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_relays_the_bytes_learns_nothing_from_them() {
    let (seen, transfer) = overhear(plain).await;
    assert!(
        holds(&seen, &transfer) && holds(&seen, b"triskel/"),
        "plain is for capture"
    );
    let (seen, transfer) = overhear(|_| ()).await;
    assert!(seen.len() > 1_000);
    // The second half of it is the signature, which is in the block too.
    for part in [&transfer[..], &transfer[89..], b"triskel/"] {
        assert!(!holds(&seen, part));
    }
}

/// A peer that a test moves by hand.
struct Puppet {
    stream: TcpStream,
    sealer: Sealer,
    opener: Option<Opener>,
    decoder: Decoder,
}

impl Puppet {
    /// Shakes hands as one, and greets as `claimed`.
    async fn greet(member: &Member, own: usize, claimed: &NodeKey) -> Self {
        let mut stream = TcpStream::connect(member.node.listening()).await.unwrap();
        let shaken = noise::shake(&credentials(own, None), &mut stream, true).await;
        let Secured {
            peer,
            sealer,
            opener,
        } = shaken.unwrap().unwrap();
        assert_eq!(peer, member.node.control().key);
        let mut puppet = Self {
            stream,
            sealer,
            opener: Some(opener),
            decoder: Decoder::default(),
        };
        let network = member.node.control().network.id();
        let claim = Claim {
            work: Default::default(),
            tip: network,
            number: 0,
            beside: Vec::new(),
            pruned: 0,
        };
        let hello = Message::Hello(Hello {
            version: PROTOCOL_VERSION,
            network,
            key: *claimed,
            nonce: 1,
            port: 0,
            claim,
            features: 0,
            agent: "puppet".to_owned(),
        });
        let sealed = puppet.sealer.seal(&encode(&hello)).to_vec();
        puppet.stream.write_all(&sealed).await.unwrap();
        puppet
    }

    /// The next message; none at the end.
    async fn hear(&mut self) -> Option<Message> {
        let mut buffer = [0; 1_024];
        loop {
            let next = noise::next_message(&mut self.decoder, &mut self.opener).unwrap();
            if let Some((message, _)) = next {
                if matches!(message, Message::Hello(_)) {
                    self.decoder.greeted();
                    self.opener.as_mut().unwrap().greeted();
                }
                return Some(message);
            }
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => noise::take(&mut self.decoder, &mut self.opener, &buffer[..count]),
            }
        }
    }

    async fn until_dropped(mut self) {
        let dropped = async { while self.hear().await.is_some() {} };
        timeout(PATIENCE, dropped).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_claimed_must_be_proven() {
    let member = Member::start(quiet).await;
    let honest = Puppet::greet(&member, 1, &key(&person(1))).await;
    let has_joined = |now: &Snapshot| now.sessions.len() == 1;
    let joined = member.until("a session", has_joined).await;
    assert_eq!(joined.sessions[0].key, key(&person(1)));
    let liar = Puppet::greet(&member, 2, &key(&person(3))).await;
    liar.until_dropped().await;
    counted(&member, "handshakes_total", "fault").await;
    // Nor does it end the session of the node whose key it claims.
    let liar = Puppet::greet(&member, 2, &key(&person(1))).await;
    liar.until_dropped().await;
    assert_eq!(member.now().sessions.len(), 1);
    drop(honest);
    member.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_end_a_session_and_are_nobodys_fault() {
    let member = Member::start(quiet).await;
    let ping = encode(&Message::RequestPeers);
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 4] = [
        |sealed| *sealed.last_mut().unwrap() ^= 1,
        |sealed| sealed[4] ^= 0x80,
        // One byte less, and the length says so.
        |sealed| {
            sealed.pop();
            sealed[3] -= 1;
        },
        |sealed| sealed[0] = 1,
    ];
    for (number, damage) in (1..).zip(damages) {
        let mut puppet = Puppet::greet(&member, number, &key(&person(number))).await;
        let hello = puppet.hear().await;
        assert!(matches!(hello, Some(Message::Hello(_))));
        let mut sealed = puppet.sealer.seal(&ping).to_vec();
        damage(&mut sealed);
        puppet.stream.write_all(&sealed).await.unwrap();
        puppet.until_dropped().await;
    }
    counted(&member, "disconnects_total", "undecipherable").await;
    let client = Client::new(member.node.metrics().unwrap());
    let (_, text) = client.get("/metrics").await.unwrap();
    assert!(text.contains("triskel_disconnects_total{reason=\"undecipherable\"} 4"));
    assert!(!text.contains("\"fault\""));
    member.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_is_left_at_the_deadline() {
    let member = Member::start(|config| {
        quiet(config);
        config.peer.handshake_timeout_ms = 100;
    })
    .await;
    let mut stream = TcpStream::connect(member.node.listening()).await.unwrap();
    // The beginning of a frame, whose rest never comes.
    stream.write_all(&[0, 0, 0, 36, b'T']).await.unwrap();
    let mut nothing = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut nothing)).await;
    assert_eq!((ended.unwrap().ok(), nothing.len()), (Some(0), 0));
    counted(&member, "handshakes_total", "handshake_timeout").await;
    member.node.stop().await.unwrap();
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_refused_with_its_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("network.key");
    let start = async || {
        let mut config = NodeConfig {
            port: 0,
            data_dir: folder.path().join("node").to_str().unwrap().to_owned(),
            ..NodeConfig::default()
        };
        config.peer.preshared_key_file = Some(path.clone());
        Node::start(config).await.err().unwrap()
    };
    for (text, wanted) in [
        (None, "cannot read"),
        (Some("abc"), "64 hexadecimal digits"),
    ] {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let refused = start().await;
        let said = refused.to_string();
        assert!(
            said.contains(wanted) && said.contains("network.key"),
            "{said}"
        );
        assert_eq!(refused.exit_code(), exit::USAGE);
    }
    let mut config = NodeConfig::default();
    plain(&mut config);
    config.peer.preshared_key_file = Some(path);
    let refused = config.check().unwrap_err().to_string();
    assert!(
        refused.contains("peer.preshared_key_file") && refused.contains("plain"),
        "{refused}"
    );
}
