//! The real program as a victim: a process of its own, and sockets to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use triskel::node::NodeConfig;
use triskel::node::config::Transport;
use triskel::node::noise::{self, Credentials, Opener, Sealer};
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::params::Network;
use triskel::protocol::wire::frame::Decoder;
use triskel::protocol::wire::message::Message;
use triskel::rpc::client::Client;
use triskel::rpc::{GetStatus, Status};

use super::{Peer, Victim, settings};
use crate::crash::launch;
use crate::memory::person;
use crate::node::PATIENCE;

/// A running `node`, killed when dropped.
pub(super) struct Program {
    child: Child,
    client: Client,
    /// Metrics.
    pages: Client,
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
    network: Arc<Network>,
    runtime: Runtime,
    lines: BTreeMap<Peer, Line>,
    patience: Duration,
    _folder: TempDir,
}

/// One end of a connection. A task reads for it, so that the victim never waits for a hostile peer that means to read.
struct Line {
    writing: Option<OwnedWriteHalf>,
    sealer: Option<Sealer>,
    heard: mpsc::Receiver<Message>,
    is_open: Arc<AtomicBool>,
    reading: AbortHandle,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }
}

impl Program {
    pub(super) fn start(change: impl FnOnce(&mut NodeConfig)) -> Self {
        Self::launch(&[], PATIENCE, change)
    }

    /// The program without a defence. What never comes is not waited for as long as what must.
    #[cfg(feature = "seeded-bugs")]
    pub(super) fn lacking(
        defence: triskel::protocol::bugs::Defence,
        change: impl FnOnce(&mut NodeConfig),
    ) -> Self {
        let name = format!("{defence:?}");
        let variables = [("TRISKEL_LACKS", name.as_str())];
        Self::launch(&variables, Duration::from_secs(10), change)
    }

    fn launch(
        variables: &[(&str, &str)],
        patience: Duration,
        change: impl FnOnce(&mut NodeConfig),
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = settings();
        config.data_dir = folder.path().join("data").to_str().unwrap().to_owned();
        change(&mut config);
        let (child, served) = launch(folder.path(), &config, variables);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let client = Client::new(served["JSON-RPC"]);
        let status = runtime.block_on(client.call(GetStatus {})).unwrap();
        Self {
            child,
            client,
            pages: Client::new(served["metrics"]),
            address: SocketAddr::new(config.listen, status.port),
            transport: config.peer.transport,
            network: Arc::new(config.network().unwrap()),
            runtime,
            lines: BTreeMap::new(),
            patience,
            _folder: folder,
        }
    }

    pub(super) fn status(&mut self) -> Status {
        let status = self.client.call(GetStatus {});
        self.runtime.block_on(status).unwrap()
    }

    /// Its metrics.
    pub(super) fn metrics(&mut self) -> String {
        let (_, text) = self.runtime.block_on(self.pages.get("/metrics")).unwrap();
        text
    }

    /// The value of a series of its metrics, with its labels.
    pub(super) fn metric(&mut self, series: &str) -> f64 {
        let text = self.metrics();
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        let value = text.lines().find_map(value);
        value.unwrap_or_else(|| panic!("there is no series {series}"))
    }

    /// Bytes of memory that it has.
    pub(super) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        1_024 * kib
    }

    /// Reads no more of what the victim sends to a peer, and leaves the connection open.
    pub(super) fn deafen(&mut self, peer: Peer) {
        self.lines[&peer].reading.abort();
    }

    fn add(&mut self, line: Line) -> Peer {
        let peer = Peer(self.lines.len() as u64);
        self.lines.insert(peer, line);
        peer
    }

    /// A line over a connection, whose frames somebody reads if they can be read.
    fn line(&self, stream: TcpStream, secured: Option<(Sealer, Opener)>, reads: bool) -> Line {
        let (reading, writing) = stream.into_split();
        let (sealer, opener) = secured.unzip();
        let (hearing, heard) = mpsc::channel();
        let is_open = Arc::new(AtomicBool::new(true));
        let reader = Reader {
            half: reading,
            opener,
            hearing: reads.then_some(hearing),
        };
        let open = Arc::clone(&is_open);
        let reading = self.runtime.spawn(async move {
            reader.run().await;
            open.store(false, Ordering::Relaxed);
        });
        Line {
            writing: Some(writing),
            sealer,
            heard,
            is_open,
            reading: reading.abort_handle(),
        }
    }
}

struct Reader {
    half: OwnedReadHalf,
    opener: Option<Opener>,
    /// Nothing where the bytes are no frames.
    hearing: Option<mpsc::Sender<Message>>,
}

impl Reader {
    /// Reads until the victim ends the connection.
    async fn run(mut self) {
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 16 * 1_024];
        loop {
            let count = match self.half.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            let Some(hearing) = &self.hearing else {
                continue;
            };
            noise::take(&mut decoder, &mut self.opener, &buffer[..count]);
            while let Some((message, _)) =
                noise::next_message(&mut decoder, &mut self.opener).unwrap()
            {
                if matches!(message, Message::Hello(_)) {
                    decoder.greeted();
                    self.opener.as_mut().map(Opener::greeted);
                }
                // The test may not listen any more.
                hearing.send(message).ok();
            }
        }
    }
}

impl Victim for Program {
    fn network(&self) -> &Arc<Network> {
        &self.network
    }

    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since.as_millis() as u64
    }

    fn patience_ms(&self) -> u64 {
        self.patience.as_millis() as u64
    }

    fn connect(&mut self) -> Peer {
        let connecting = TcpStream::connect(self.address);
        let stream = self.runtime.block_on(connecting).unwrap();
        let line = self.line(stream, None, false);
        self.add(line)
    }

    fn shake(&mut self, number: usize) -> Peer {
        let is_noise = self.transport == Transport::Noise;
        let address = self.address;
        let shaken = self.runtime.block_on(async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if !is_noise {
                return Some((stream, None));
            }
            let credentials = Credentials::new(&person(number), None).unwrap();
            let shaken = noise::shake(&credentials, &mut stream, true).await;
            // Whoever has no place for it ends it before the handshake is over.
            let secured = shaken.ok()?.ok()?;
            Some((stream, Some((secured.sealer, secured.opener))))
        });
        let line = match shaken {
            Some((stream, secured)) => self.line(stream, secured, true),
            None => Line {
                writing: None,
                sealer: None,
                heard: mpsc::channel().1,
                is_open: Arc::new(AtomicBool::new(false)),
                reading: self.runtime.spawn(async {}).abort_handle(),
            },
        };
        self.add(line)
    }

    fn write(&mut self, peer: Peer, bytes: &[u8]) {
        let line = self.lines.get_mut(&peer).unwrap();
        let Some(writing) = &mut line.writing else {
            return;
        };
        let sent = match &mut line.sealer {
            Some(sealer) => sealer.seal(bytes),
            None => bytes,
        };
        let write = async { timeout(PATIENCE, writing.write_all(sent)).await };
        let written = self.runtime.block_on(write);
        // An error is the end of the connection, which the reader sees too.
        let written = written.expect("the victim reads, or ends the connection");
        written.ok();
    }

    fn crumble(&mut self, peer: Peer, bytes: &[u8]) {
        let line = self.lines.get_mut(&peer).unwrap();
        let writing = line.writing.as_mut().expect("who shook hands writes");
        let sent = match &mut line.sealer {
            Some(sealer) => sealer.seal(bytes),
            None => bytes,
        };
        self.runtime.block_on(async {
            writing.as_ref().set_nodelay(true).unwrap();
            for byte in sent.chunks(1) {
                writing.write_all(byte).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    fn hear(&mut self, peer: Peer) -> Vec<Message> {
        self.lines[&peer].heard.try_iter().collect()
    }

    fn is_open(&mut self, peer: Peer) -> bool {
        self.lines[&peer].is_open.load(Ordering::Relaxed)
    }

    fn pass(&mut self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn connections(&mut self) -> usize {
        let open = |line: &&Line| line.is_open.load(Ordering::Relaxed);
        self.lines.values().filter(open).count()
    }

    fn sessions(&mut self) -> usize {
        let status = self.status();
        (status.peers_inbound + status.peers_outbound) as usize
    }

    fn bans(&mut self) -> usize {
        self.status().bans.len()
    }

    fn tip(&mut self) -> BlockId {
        self.status().tip.id
    }

    fn planned(&mut self) -> usize {
        self.status().sync_remaining as usize
    }

    fn mempool(&mut self) -> usize {
        self.status().mempool_transactions as usize
    }

    fn addresses(&mut self) -> usize {
        self.metric("triskel_known_addresses{table=\"new\"}") as usize
    }
}
