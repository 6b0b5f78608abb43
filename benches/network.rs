//! What whole networks of real nodes take: start, propagation, memory. Prints JSON.
//!
//! `cargo bench --bench network [start|propagation|memory]...`; all of them without a name.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures the real world"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use triskel::protocol::rng::Rng;
use triskel::rpc::client::Client;
use triskel::rpc::{GetStatus, Status, StopMining};

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
}

impl Process {
    fn start(folder: &Path, plan: &Plan) -> Self {
        let peers: Vec<_> = plan
            .peers
            .iter()
            .map(|port| format!("\"127.0.0.1:{port}\""))
            .collect();
        let data: PathBuf = folder.join(format!("node-{}", plan.port));
        let text = format!(
            "port = {}\nlisten = \"127.0.0.1\"\npeers = [{}]\ndata_dir = {:?}\n\
             [network]\npreset = \"chain\"\ninitial_hashrate = {}\n\
             [network.streams.A]\ninterval_ms = {}\n\
             [mining]\nenabled = {}\nhashrate = {}\n[peer]\ntarget_outbound = 0\n\
             [rpc]\nport = {}\n[metrics]\nenabled = false\n[log]\nformat = \"json\"\nlevel = \"off,triskel::tip=info\"\n",
            plan.port,
            peers.join(", "),
            data,
            plan.initial_hashrate,
            plan.interval_ms,
            plan.mining,
            plan.hashrate,
            plan.rpc,
        );
        let file = folder.join(format!("node-{}.toml", plan.port));
        std::fs::write(&file, text).expect("a temporary folder can be written");
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
        };
        let begin = Instant::now();
        let process = Process::start(folder.path(), &plan);
        process.answers().await;
        times_ms.push(begin.elapsed().as_secs_f64() * 1_000.0);
    }
    json!({ "runs": times_ms.len(), "milliseconds": summary(&mut times_ms), "goal": 50.0 })
}

/// Node i dials i-1 and one random earlier node.
fn network(folder: &Path, interval_ms: u64, hashrate: u64, miners: usize) -> Vec<Process> {
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
            initial_hashrate: hashrate * miners as u64,
            hashrate,
            mining: index < miners,
        }
    };
    (0..NODES)
        .map(|index| Process::start(folder, &plan(index, &mut rng)))
        .collect()
}

/// From the miner's change of tip to that of every other node, empty blocks.
async fn propagation() -> Value {
    const BLOCKS: u64 = 200;
    let folder = TempDir::new().expect("a temporary folder");
    let nodes = network(folder.path(), 250, 500, NODES);
    for node in &nodes {
        node.until(BLOCKS).await;
    }
    for node in &nodes {
        node.client
            .call(StopMining {})
            .await
            .expect("the node runs");
    }
    let mut mined: BTreeMap<String, f64> = BTreeMap::new();
    let mut seen: Vec<(String, f64)> = Vec::new();
    for node in &nodes {
        let log = std::fs::read_to_string(&node.log).expect("the node writes a log");
        for line in log.lines().filter(|line| line.contains("triskel::tip")) {
            let event: Value = serde_json::from_str(line).expect("logs are JSON");
            let block = event["block"]
                .as_str()
                .expect("a tip has a block")
                .to_owned();
            let at_ms = time_of_day_ms(event["timestamp"].as_str().expect("events are dated"));
            match event["origin"].as_str() {
                Some("mined") => drop(mined.insert(block, at_ms)),
                _ => seen.push((block, at_ms)),
            }
        }
    }
    let delay = |(block, at_ms): &(String, f64)| mined.get(block).map(|mined| at_ms - mined);
    let mut delays_ms: Vec<f64> = seen.iter().filter_map(delay).collect();
    json!({
        "nodes": NODES,
        "blocks": mined.len(),
        "samples": delays_ms.len(),
        "milliseconds": summary(&mut delays_ms),
        "goal": { "p50": 1.5, "p99": 5.0 },
    })
}

/// Resident memory once every node has 5,000 small blocks.
async fn memory() -> Value {
    const BLOCKS: u64 = 5_000;
    let folder = TempDir::new().expect("a temporary folder");
    let nodes = network(folder.path(), 10, 20_000, 1);
    for node in &nodes {
        node.until(BLOCKS).await;
    }
    let mut mebibytes: Vec<f64> = nodes
        .iter()
        .map(|node| node.resident_kib() as f64 / 1_024.0)
        .collect();
    json!({ "nodes": NODES, "blocks": BLOCKS, "mebibytes": summary(&mut mebibytes), "goal": 25.0 })
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
