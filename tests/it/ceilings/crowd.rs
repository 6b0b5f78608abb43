//! A thousand hostile connections against the real program: it stays below its ceiling, and an honest node gets in and is served.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use triskel::node::config::Preset;
use triskel::node::descriptors;
use triskel::node::noise::{self, Credentials, Sealer};
use triskel::node::{NodeConfig, memory::Ceilings};
use triskel::protocol::chain::id::{AccountId, BlockId, NodeKey, TransactionId};
use triskel::protocol::chain::key::KeyPair;
use triskel::protocol::chain::ledger::Account;
use triskel::protocol::rng::Rng;
use triskel::protocol::wire::frame::encode;
use triskel::protocol::wire::limits::{MAX_ACCOUNTS, MAX_ANNOUNCED, MAX_MESSAGE_BYTES};
use triskel::protocol::wire::message::{Claim, Hello, Message, PROTOCOL_VERSION};
use triskel::rpc::client::Client;
use triskel::rpc::{Connect, GetStatus, Status};

use crate::crash::spawn;

/// Connections that somebody keeps up against the node.
const HOSTILE: usize = 1_000;

/// The same where each has a place: what 1,000 sessions send takes a debug build more time than patience has, beside other tests.
const SEATED: usize = 250;

/// Whether the goals are to be held: a machine that does other things beside does not break them for that.
fn is_measured() -> bool {
    std::env::var_os("TRISKEL_FIGURES").is_some()
}

/// How long the crowd is at it before anybody honest comes.
const CROWDING: Duration = Duration::from_secs(5);

/// What an honest node has to get while it lasts comes long before this on any machine. The figures are printed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `node`, killed when dropped.
struct Program {
    child: Child,
    client: Client,
    address: SocketAddr,
    ceilings: Ceilings,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }
}

impl Program {
    async fn start(folder: &Path, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let mut config = NodeConfig {
            port: 0,
            listen: "127.0.0.1".parse().unwrap(),
            data_dir: folder.join("data").to_str().unwrap().to_owned(),
            ..NodeConfig::default()
        };
        config.network.preset = Preset::Chain;
        config.network.initial_hashrate = Some(4_000);
        config.network.streams.a.interval_ms = Some(500);
        config.mining.hashrate = 2_000;
        config.peer.target_outbound = 0;
        config.rpc.port = Some(0);
        config.metrics.enabled = false;
        config.log.level = "warn,triskel::node=info".to_owned();
        change(&mut config);
        let network = config.network().unwrap();
        let ceilings = config.ceilings(&network).unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let (child, client) = spawn(folder, &config);
        let status = client.call(GetStatus {}).await.unwrap();
        let address = SocketAddr::new(config.listen, status.port);
        Self {
            child,
            client,
            address,
            ceilings,
        }
    }

    async fn status(&self) -> Status {
        self.client.call(GetStatus {}).await.unwrap()
    }

    /// A number of bytes that the system keeps of the process.
    fn bytes(&self, what: &str) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(what)).unwrap();
        let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib << 10
    }

    /// The values of the series of a metric, by its one label.
    async fn gauge(&self, series: &str) -> f64 {
        let (_, text) = self.client.get("/metrics").await.unwrap();
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        let value = text.lines().find_map(value);
        value.unwrap_or_else(|| panic!("there is no series {series}"))
    }
}

/// What one of the crowd does, over and over.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Connects, and says nothing.
    Silence,
    /// Sends its handshake byte by byte.
    Drip,
    /// Claims a large frame, and sends all of it but its end.
    Claim,
    /// Asks for much and reads nothing.
    Deaf,
    /// Sends what costs as much as it may, as fast as it can.
    Garbage,
}

const ACTS: [Act; 5] = [Act::Silence, Act::Drip, Act::Claim, Act::Deaf, Act::Garbage];

/// Somebody of the crowd.
struct Rogue {
    number: usize,
    address: SocketAddr,
    network: BlockId,
    /// How long it waits between two lots of garbage.
    pause: Duration,
    /// How often any of them got a session.
    sessions: Arc<AtomicUsize>,
}

impl Rogue {
    /// Does it again whenever it is left.
    async fn run(self) {
        let act = ACTS[self.number % ACTS.len()];
        let keys = KeyPair::from_seed(format!("rogue {}", self.number).as_bytes());
        let credentials = Credentials::new(&keys, None).unwrap();
        loop {
            // Whatever becomes of it: the next attempt follows.
            let _ = self.act(act, &keys, &credentials).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn act(
        &self,
        act: Act,
        keys: &KeyPair,
        credentials: &Credentials,
    ) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(self.address).await?;
        match act {
            Act::Silence => drop(stream.read(&mut [0; 1]).await?),
            Act::Drip => {
                let opening = [&[0, 0, 1, 0][..], b"TSKo", &[0; 252]].concat();
                for byte in opening {
                    stream.write_all(&[byte]).await?;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            Act::Claim => {
                let mut sealer = self.greet(&mut stream, keys, credentials).await?;
                let blocks = 8;
                let length = MAX_MESSAGE_BYTES[blocks];
                let mut frame = (length as u32).to_be_bytes().to_vec();
                frame.extend((blocks as u32).to_le_bytes());
                frame.resize(length, 0);
                stream.write_all(sealer.seal(&frame)).await?;
                self.linger(&mut stream).await?;
            }
            Act::Deaf => {
                let mut sealer = self.greet(&mut stream, keys, credentials).await?;
                let ask = encode(&Message::RequestHeaders {
                    locator: vec![self.network],
                });
                let ask = ask.repeat(100);
                loop {
                    stream.write_all(sealer.seal(&ask)).await?;
                }
            }
            Act::Garbage => {
                let mut sealer = self.greet(&mut stream, keys, credentials).await?;
                let mut rng = Rng::new(self.number as u64);
                loop {
                    let mut id = || {
                        let mut id = [0; 32];
                        rng.fill(&mut id);
                        id
                    };
                    let ids = (0..MAX_ANNOUNCED).map(|_| TransactionId(id())).collect();
                    let announced = encode(&Message::AnnounceTransactions { ids });
                    let accounts = (0..MAX_ACCOUNTS).map(|_| (AccountId(id()), Account::default()));
                    let accounts = encode(&Message::Accounts {
                        block: self.network,
                        accounts: accounts.collect(),
                        more: true,
                    });
                    for frame in [announced, accounts] {
                        stream.write_all(sealer.seal(&frame)).await?;
                    }
                    tokio::time::sleep(self.pause).await;
                }
            }
        }
        Ok(())
    }

    /// Reads until the node ends it.
    async fn linger(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = [0; 1_024];
        while stream.read(&mut buffer).await? > 0 {}
        Ok(())
    }

    async fn greet(
        &self,
        stream: &mut TcpStream,
        keys: &KeyPair,
        credentials: &Credentials,
    ) -> std::io::Result<Sealer> {
        let shaken = noise::shake(credentials, stream, true).await?;
        let secured = shaken.map_err(|error| std::io::Error::other(error.to_string()))?;
        let hello = Hello {
            version: PROTOCOL_VERSION,
            network: self.network,
            key: NodeKey(keys.public().0),
            nonce: 0,
            port: 0,
            claim: Claim {
                work: Default::default(),
                tip: self.network,
                number: 0,
                beside: Vec::new(),
                pruned: 0,
            },
            features: 0,
            agent: "rogue".to_owned(),
        };
        let mut sealer = secured.sealer;
        let hello = encode(&Message::Hello(hello));
        stream.write_all(sealer.seal(&hello)).await?;
        self.sessions.fetch_add(1, Ordering::Relaxed);
        Ok(sealer)
    }
}

async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !reached().await {
        assert!(begin.elapsed() < PATIENCE, "{what}: not reached");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begin.elapsed()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

/// What an honest node sees: how long it takes to a session, and from a block's date to its arrival, in milliseconds.
async fn visit(victim: &Program, folder: &Path) -> (u64, Vec<u64>) {
    let honest = Program::start(&folder.join("honest"), |config| {
        config.mining.enabled = false;
    })
    .await;
    let endpoint = victim.address.into();
    honest.client.call(Connect { endpoint }).await.unwrap();
    let connected = until("a session", async || {
        honest.status().await.peers_outbound == 1
    })
    .await;
    let synced = async || {
        let (own, other) = (honest.status().await, victim.status().await);
        own.tip.number + 1 >= other.tip.number
    };
    until("the blocks before", synced).await;
    let mut delays_ms = Vec::new();
    for _ in 0..5 {
        let number = honest.status().await.tip.number;
        until("a block", async || {
            let tip = honest.status().await.tip;
            let is_new = tip.number > number;
            if is_new {
                delays_ms.push(now_ms().saturating_sub(tip.timestamp_ms));
            }
            is_new
        })
        .await;
    }
    (connected.as_millis() as u64, delays_ms)
}

/// One crowd is enough at a time, for the descriptors of this process and for the tests beside it.
static TURN: Mutex<()> = Mutex::const_new(());

/// Has the crowd come. The most that the node had of the memory, in MiB, and how many connections it has ended for what they took.
async fn crowd(
    name: &str,
    hostile: usize,
    pause: Duration,
    change: impl FnOnce(&mut NodeConfig),
) -> (usize, f64) {
    let _turn = TURN.lock().await;
    // One for each of the crowd here; those of the program are its own.
    descriptors::raise(2 * hostile as u64).unwrap();
    let folder = TempDir::new().unwrap();
    let victim = Program::start(&folder.path().join("victim"), change).await;
    let before = victim.bytes("VmRSS:");
    let network = victim.status().await.network_id;
    let sessions = Arc::new(AtomicUsize::new(0));
    let crowd: Vec<_> = (0..hostile)
        .map(|number| {
            let rogue = Rogue {
                number,
                address: victim.address,
                network,
                pause,
                sessions: Arc::clone(&sessions),
            };
            tokio::spawn(rogue.run())
        })
        .collect();
    tokio::time::sleep(CROWDING).await;
    let (connected_ms, delays_ms) = visit(&victim, folder.path()).await;
    let ceiling = |of: &str| format!("triskel_memory_ceiling_bytes{{of=\"{of}\"}}");
    let taken = |of: &str| format!("triskel_memory_taken_bytes{{of=\"{of}\"}}");
    let Ceilings {
        node_bytes,
        peer_bytes,
        peers_bytes,
    } = victim.ceilings;
    for (of, bytes) in [
        ("node", node_bytes),
        ("connections", peers_bytes),
        ("connection", peer_bytes),
    ] {
        assert_eq!(victim.gauge(&ceiling(of)).await, bytes as f64);
    }
    let greatest = victim.gauge(&taken("connection")).await;
    let all = victim.gauge(&taken("connections")).await;
    let heavy = victim
        .gauge("triskel_disconnects_total{reason=\"slow\"}")
        .await;
    let inbound = victim.status().await.peers_inbound;
    let peak = victim.bytes("VmHWM:");
    for one in crowd {
        one.abort();
    }
    let worst_ms = delays_ms.iter().max().unwrap();
    let sessions = sessions.load(Ordering::Relaxed);
    let mib = |bytes: usize| bytes >> 20;
    println!(
        "{{\"crowd\":\"{name}\",\"connections\":{hostile},\"sessions\":{sessions},\"inbound\":{inbound},\
         \"connected_ms\":{connected_ms},\"blocks_ms\":{delays_ms:?},\"resident_mib\":[{},{}],\"ceiling_mib\":{},\
         \"connections_mib\":[{},{}],\"greatest_mib\":[{},{}],\"heavy\":{heavy}}}",
        mib(before),
        mib(peak),
        mib(node_bytes),
        mib(all as usize),
        mib(peers_bytes),
        mib(greatest as usize),
        mib(peer_bytes),
    );
    assert!(
        sessions > hostile / 4,
        "{sessions} sessions: the crowd has not come through"
    );
    assert!(
        peak < node_bytes,
        "{} MiB of {}",
        mib(peak),
        mib(node_bytes)
    );
    assert!(
        greatest <= peer_bytes as f64,
        "{greatest} bytes of {peer_bytes}"
    );
    if is_measured() {
        assert!(connected_ms < 2_000, "{connected_ms} ms to a session");
        assert!(*worst_ms < 1_000, "{worst_ms} ms to a block");
    }
    (mib(peak), heavy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_has_to_share_few_places_changes_nothing() {
    crowd("few places", HOSTILE, Duration::ZERO, |_| ()).await;
}

/// Everybody has a session, and what they leave half sent and unread would be twice what is left for connections: who takes most
/// of it has to go.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_in_a_place_each_shares_what_there_is() {
    let (hostile, node_mib) = if is_measured() {
        (HOSTILE, 1_700)
    } else {
        (SEATED, 1_000)
    };
    let places = |config: &mut NodeConfig| {
        config.peer.max_inbound = hostile + 100;
        config.memory.node_mib = node_mib;
    };
    let (peak_mib, heavy) = crowd("a place each", hostile, Duration::from_secs(5), places).await;
    assert!(heavy > 0.0, "nobody had to go");
    assert!(peak_mib < 600, "{peak_mib} MiB");
}
