//! What whole networks of real nodes take: start, propagation, memory, catching up with small blocks and with full ones, transfers
//! to all mempools, and a block of transfers that all of them hold. Prints JSON.
//!
//! `cargo bench --bench network [start|propagation|memory|sync|history|transfers]...`; all of them without a name.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures the real world"
)]

mod history;
mod submission;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use submission::{Submission, call, keys};
use tempfile::TempDir;
use tokio::net::TcpStream;
use triskel::protocol::rng::Rng;
use triskel::rpc::client::Client;
use triskel::rpc::{GetStatus, StartMining, Status, StopMining};

/// Nodes of the networks measured, as in the figures of other nodes that these stand beside.
const NODES: usize = 16;

fn main() {
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|other| other == name);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
    let mut results = serde_json::Map::new();
    runtime.block_on(async {
        if wanted("start") {
            results.insert("start".to_owned(), start().await);
        }
        if wanted("propagation") {
            results.insert("propagation".to_owned(), propagation().await);
        }
        if wanted("memory") {
            results.insert("memory".to_owned(), memory().await);
        }
        if wanted("sync") {
            results.insert("sync".to_owned(), sync().await);
        }
        if wanted("history") {
            results.insert("history".to_owned(), full_blocks().await);
        }
        if wanted("transfers") {
            results.insert("transfers".to_owned(), transfers().await);
        }
    });
    println!("{:#}", Value::Object(results));
}

/// A `node` of its own process, killed when dropped.
struct Process {
    child: Child,
    client: Client,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

struct Plan {
    port: u16,
    rpc: u16,
    peers: Vec<u16>,
    interval_ms: u64,
    initial_hashrate: u64,
    hashrate: u64,
    mining: bool,
    /// Senders of transfers that own something, from the first on.
    senders: usize,
}

/// What each sender owns.
const BALANCE: u64 = 1_000_000;

impl Plan {
    /// Writes the configuration of a node into a folder.
    fn write(&self, folder: &Path) -> PathBuf {
        let peers: Vec<_> = self
            .peers
            .iter()
            .map(|port| format!("\"127.0.0.1:{port}\""))
            .collect();
        let allocations: Vec<_> = (0..self.senders)
            .map(|number| {
                let account = keys(number).public();
                format!("{{ account = \"{account}\", balance = {BALANCE} }}")
            })
            .collect();
        let data: PathBuf = folder.join(format!("node-{}", self.port));
        let text = format!(
            "port = {}\nlisten = \"127.0.0.1\"\npeers = [{}]\ndata_dir = {:?}\n\
             [network]\npreset = \"chain\"\ninitial_hashrate = {}\nallocations = [{}]\n\
             [network.streams.A]\ninterval_ms = {}\n\
             [mining]\nenabled = {}\nhashrate = {}\n[peer]\ntarget_outbound = 0\n\
             [rpc]\nport = {}\n[metrics]\nenabled = false\n[log]\nformat = \"json\"\n\
             level = \"off,triskel::tip=info,triskel::block=info\"\n",
            self.port,
            peers.join(", "),
            data,
            self.initial_hashrate,
            allocations.join(", "),
            self.interval_ms,
            self.mining,
            self.hashrate,
            self.rpc,
        );
        let file = folder.join(format!("node-{}.toml", self.port));
        std::fs::write(&file, text).expect("a temporary folder can be written");
        file
    }
}

impl Process {
    fn start(folder: &Path, plan: &Plan) -> Self {
        let file = plan.write(folder);
        // Logs go to a file: whoever reads a pipe competes with what is measured.
        let log = folder.join(format!("node-{}.log", plan.port));
        let output = File::create(&log).expect("a temporary folder can be written");
        let child = Command::new(env!("CARGO_BIN_EXE_node"))
            .args(["daemon", "--config"])
            .arg(&file)
            .stdout(output)
            .spawn()
            .expect("the node was built for this benchmark");
        let address = SocketAddr::from(([127, 0, 0, 1], plan.rpc));
        Self {
            child,
            client: Client::new(address),
            log,
        }
    }

    async fn answers(&self) -> Status {
        loop {
            if let Ok(status) = self.client.call(GetStatus {}).await {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until(&self, number: u64) -> Status {
        loop {
            let status = self.answers().await;
            if status.tip.number >= number {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free"))
        .collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    listeners.iter().map(port).collect()
}

/// From the start of the process to the first answer.
async fn start() -> Value {
    let mut times_ms = Vec::new();
    for _ in 0..20 {
        let folder = TempDir::new().expect("a temporary folder");
        let ports = free_ports(2);
        let plan = Plan {
            port: ports[0],
            rpc: ports[1],
            peers: Vec::new(),
            interval_ms: 1_000,
            initial_hashrate: 2_000,
            hashrate: 2_000,
            mining: true,
            senders: 0,
        };
        let begin = Instant::now();
        let process = Process::start(folder.path(), &plan);
        process.answers().await;
        times_ms.push(begin.elapsed().as_secs_f64() * 1_000.0);
    }
    json!({ "runs": times_ms.len(), "milliseconds": summary(&mut times_ms), "goal": 50.0 })
}

/// Node i dials i-1 and one random earlier node.
fn network(
    folder: &Path,
    interval_ms: u64,
    hashrate: u64,
    miners: usize,
    senders: usize,
) -> Vec<Process> {
    let ports = free_ports(2 * NODES);
    let mut rng = Rng::new(1);
    let plan = |index: usize, rng: &mut Rng| {
        let mut peers: Vec<_> = index
            .checked_sub(1)
            .map(|peer| ports[peer])
            .into_iter()
            .collect();
        if index > 1 {
            peers.push(ports[rng.below(index as u64 - 1) as usize]);
        }
        Plan {
            port: ports[index],
            rpc: ports[NODES + index],
            peers,
            interval_ms,
            initial_hashrate: hashrate * miners.max(1) as u64,
            hashrate,
            mining: index < miners,
            senders,
        }
    };
    (0..NODES)
        .map(|index| Process::start(folder, &plan(index, &mut rng)))
        .collect()
}

/// From the moment at which a block is found to the change of tip of every other node, empty blocks.
async fn propagation() -> Value {
    const BLOCKS: u64 = 200;
    let folder = TempDir::new().expect("a temporary folder");
    let nodes = network(folder.path(), 250, 500, NODES, 0);
    for node in &nodes {
        node.until(BLOCKS).await;
    }
    for node in &nodes {
        node.client
            .call(StopMining {})
            .await
            .expect("the node runs");
    }
    let (mined, mut delays_ms) = delays(&nodes, |_| true);
    json!({
        "nodes": NODES,
        "blocks": mined,
        "samples": delays_ms.len(),
        "milliseconds": summary(&mut delays_ms),
        "goal": { "p50": 1.5, "p99": 5.0 },
    })
}

/// Resident memory once every node has 5,000 small blocks.
async fn memory() -> Value {
    const BLOCKS: u64 = 5_000;
    let folder = TempDir::new().expect("a temporary folder");
    let nodes = network(folder.path(), 10, 20_000, 1, 0);
    for node in &nodes {
        node.until(BLOCKS).await;
    }
    let mut mebibytes: Vec<f64> = nodes
        .iter()
        .map(|node| node.resident_kib() as f64 / 1_024.0)
        .collect();
    json!({ "nodes": NODES, "blocks": BLOCKS, "mebibytes": summary(&mut mebibytes), "goal": 25.0 })
}

/// How many blocks were mined, of those that are wanted, and the times from then to the changes of tip of all other nodes, in
/// milliseconds. A miner passes its block on before it follows it, so its own change of tip would be too late a beginning.
fn delays(nodes: &[Process], is_wanted: impl Fn(&Value) -> bool) -> (usize, Vec<f64>) {
    let mut mined: BTreeMap<String, f64> = BTreeMap::new();
    let mut seen: Vec<(String, f64)> = Vec::new();
    for node in nodes {
        let log = std::fs::read_to_string(&node.log).expect("the node writes a log");
        for line in log.lines() {
            let event: Value = serde_json::from_str(line).expect("logs are JSON");
            if !is_wanted(&event) {
                continue;
            }
            let block = event["block"].as_str();
            let block = block
                .expect("lines of both targets name a block")
                .to_owned();
            let at_ms = time_of_day_ms(event["timestamp"].as_str().expect("events are dated"));
            match (event["target"].as_str(), event["origin"].as_str()) {
                (Some("triskel::block"), Some("mined")) => drop(mined.insert(block, at_ms)),
                (Some("triskel::tip"), Some("relayed" | "synced")) => seen.push((block, at_ms)),
                _ => {}
            }
        }
    }
    let delay = |(block, at_ms): &(String, f64)| mined.get(block).map(|mined| at_ms - mined);
    let delays_ms = seen.iter().filter_map(delay).collect();
    (mined.len(), delays_ms)
}

/// A node, which mines or does not, and one that dials it.
fn pair(interval_ms: u64, hashrate: u64, mining: bool, senders: usize) -> [Plan; 2] {
    let ports = free_ports(4);
    [0, 1].map(|index| Plan {
        port: ports[index],
        rpc: ports[2 + index],
        peers: ports[..index].to_vec(),
        interval_ms,
        initial_hashrate: hashrate,
        hashrate,
        mining: mining && index == 0,
        senders,
    })
}

/// From the start of a node to the tip of another one that has 5,200 blocks, nearly all of them empty.
async fn sync() -> Value {
    const BLOCKS: u64 = 5_200;
    let folder = TempDir::new().expect("a temporary folder");
    let [serving, joining] = pair(10, 20_000, true, 0);
    let miner = Process::start(folder.path(), &serving);
    miner.until(BLOCKS).await;
    miner.client.call(StopMining {}).await.expect("it runs");
    let last = miner.answers().await.tip.number;
    let begin = Instant::now();
    let joiner = Process::start(folder.path(), &joining);
    let mut first: Option<(Instant, u64)> = None;
    let end = loop {
        let number = joiner.answers().await.tip.number;
        let now = Instant::now();
        if number > 0 && first.is_none() {
            first = Some((now, number));
        }
        if number >= last {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let (first_at, first_number) = first.expect("it has blocks");
    let seconds = (end - begin).as_secs_f64();
    let fetching = (end - first_at).as_secs_f64();
    json!({
        "blocks": last,
        "seconds_from_start": seconds,
        "seconds_before_the_first_block": (first_at - begin).as_secs_f64(),
        "blocks_per_second": ((last - first_number) as f64 / fetching).round(),
        "blocks_per_second_from_start": (last as f64 / seconds).round(),
        "goal": 5_000,
    })
}

/// From the start of a node to the tip of another one that has a thousand full blocks: the signatures are most of the work.
async fn full_blocks() -> Value {
    const BLOCKS: u64 = 1_000;
    const TRANSFERS: usize = 1_000;
    const SENDERS: usize = 50;
    let folder = TempDir::new().expect("a temporary folder");
    let [serving, joining] = pair(1_000, 2, false, SENDERS);
    let file = serving.write(folder.path());
    let network = history::write(&file, BLOCKS, TRANSFERS, SENDERS);
    let source = Process::start(folder.path(), &serving);
    source.until(BLOCKS).await;
    let checks = history::checks_per_second(network.id());
    let begin = Instant::now();
    let joiner = Process::start(folder.path(), &joining);
    let status = joiner.until(BLOCKS).await;
    let per_second = status.transactions as f64 / begin.elapsed().as_secs_f64();
    json!({
        "blocks": BLOCKS,
        "transfers_a_block": TRANSFERS,
        "transfers_per_second": per_second.round(),
        "blocks_per_second": (per_second / TRANSFERS as f64).round(),
        "signatures_checked_per_second_by_all_processors": checks.round(),
        "share": per_second / checks,
        "goal": { "share": 0.6 },
    })
}

/// Transfers that one of sixteen nodes is handed, until all mempools hold them; and then a block of them, until all have it as tip.
async fn transfers() -> Value {
    const ROUNDS: u64 = 10;
    const SENDERS: usize = 50;
    const TRANSFERS: u64 = 500;
    let folder = TempDir::new().expect("a temporary folder");
    let nodes = network(folder.path(), 1_000, 500, 0, SENDERS);
    for node in &nodes {
        loop {
            let status = node.answers().await;
            if status.peers_inbound + status.peers_outbound > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let network = nodes[0].answers().await.network_id;
    let checks = history::checks_per_second(network);
    let senders: Vec<_> = (0..SENDERS).map(keys).collect();
    let each = TRANSFERS / SENDERS as u64;
    let mut stream = TcpStream::connect(nodes[0].client.address())
        .await
        .expect("the node listens");
    let mut per_second = Vec::new();
    for round in 0..ROUNDS {
        let of_sender = |(number, sender)| {
            let recipient = keys((number + 1) % SENDERS).public();
            let nonces = round * each..(round + 1) * each;
            nonces.map(move |nonce| call(&network, sender, recipient, nonce))
        };
        let calls: Vec<_> = senders.iter().enumerate().flat_map(of_sender).collect();
        let submissions: Vec<_> = calls.chunks(100).map(Submission::new).collect();
        let begin = Instant::now();
        for submission in &submissions {
            let accepted = submission
                .send(&mut stream)
                .await
                .expect("the node answers");
            assert_eq!(accepted, submission.count as u64, "all are valid");
        }
        for node in &nodes {
            while node.answers().await.mempool_transactions < TRANSFERS {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        per_second.push(TRANSFERS as f64 / begin.elapsed().as_secs_f64());
        nodes[0].client.call(StartMining {}).await.expect("it runs");
        for node in &nodes {
            while node.answers().await.transactions < (round + 1) * TRANSFERS {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        nodes[0].client.call(StopMining {}).await.expect("it runs");
    }
    let (blocks, mut delays_ms) = delays(&nodes, |event| {
        event["transactions"].as_u64() == Some(TRANSFERS)
    });
    json!({
        "nodes": NODES,
        "transfers_a_round": TRANSFERS,
        "mempools_per_second": summary(&mut per_second),
        "goal": 3_000,
        "signatures_alone_allow_per_second": (checks / NODES as f64).round(),
        "block": {
            "blocks": blocks,
            "samples": delays_ms.len(),
            "milliseconds": summary(&mut delays_ms),
            "goal": { "p50": 4.0, "p99": 12.0 },
        },
    })
}

/// Milliseconds since midnight of `....-..-..THH:MM:SS.ffffffZ`.
fn time_of_day_ms(timestamp: &str) -> f64 {
    let time = timestamp
        .split(['T', 'Z'])
        .nth(1)
        .expect("RFC 3339 has a T");
    time.split(':').fold(0.0, |sum, part| {
        sum * 60.0 + part.parse::<f64>().expect("digits")
    }) * 1_000.0
}

fn summary(values: &mut [f64]) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |fraction: f64| {
        let index = (values.len().saturating_sub(1) as f64 * fraction).round() as usize;
        values
            .get(index)
            .map(|value| (value * 1_000.0).round() / 1_000.0)
    };
    json!({ "min": at(0.0), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0) })
}
