//! How many transfers a second three nodes of three streams confirm, under a load that does not wait for them. Prints JSON.
//!
//! `cargo bench --bench throughput [TRANSFERS_PER_SECOND]...`

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures the real world"
)]

mod submission;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use submission::{Submission, call, keys};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use triskel::node::NodeConfig;
use triskel::node::config::AllocationConfig;
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::key::KeyPair;
use triskel::rpc::client::Client;
use triskel::rpc::{GetStatus, Status, StopMining};

const NODES: usize = 3;
const SENDERS: usize = 1_000;
const BALANCE: u64 = 1_000_000_000;
const BATCH: usize = 100;
/// To each node; what is due waits for one of them. A node's backlog of connections that it has not accepted yet is short.
const CONNECTIONS: usize = 64;
/// Seconds of load; the first few are not counted.
const LOAD_S: u64 = 40;
const WARM_S: u64 = 10;
const GOAL: f64 = 5_000.0;
/// Hashes a second that each node spends on each stream: what is measured is not the miner.
const HASHRATE: u64 = 200;

fn main() {
    let arguments = std::env::args().skip(1);
    let mut rates: Vec<u64> = arguments.filter_map(|text| text.parse().ok()).collect();
    if rates.is_empty() {
        rates = vec![5_500];
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
    let results: Vec<Value> = rates
        .into_iter()
        .map(|rate| runtime.block_on(run(rate)))
        .collect();
    println!("{:#}", json!({ "throughput": results }));
}

struct Node {
    child: Child,
    client: Client,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Node {
    async fn status(&self) -> Status {
        loop {
            if let Ok(status) = self.client.call(GetStatus {}).await {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// User and system time of a process so far (proc(5): fields 14 and 15, in hundredths of a second).
fn cpu_seconds(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // The state, a letter, is left out: fields 4 and up are at 0 and up.
    ticks
        .get(10..12)
        .map_or(0.0, |ticks| ticks.iter().sum::<f64>() / 100.0)
}

fn start(folder: &Path, ports: &[u16], index: usize, config: &NodeConfig) -> Node {
    let allocations = config.network.allocations.iter().map(|allocation| {
        format!(
            "{{ account = \"{}\", balance = {} }}",
            allocation.account, allocation.balance
        )
    });
    let peers = (0..index).map(|peer| format!("\"127.0.0.1:{}\"", ports[peer]));
    let text = format!(
        "port = {}\nlisten = \"127.0.0.1\"\npeers = [{}]\ndata_dir = {:?}\n\
         [network]\ninitial_hashrate = {}\nallocations = [{}]\n[mining]\nhashrate = {HASHRATE}\n\
         [peer]\ntarget_outbound = 0\n[rpc]\nport = {}\n[metrics]\nenabled = false\n[log]\nlevel = \"warn\"\n",
        ports[index],
        peers.collect::<Vec<_>>().join(", "),
        folder.join(format!("node-{index}")),
        HASHRATE * NODES as u64,
        allocations.collect::<Vec<_>>().join(", "),
        ports[NODES + index],
    );
    let file = folder.join(format!("node-{index}.toml"));
    std::fs::write(&file, text).expect("a temporary folder can be written");
    let log = File::create(folder.join(format!("node-{index}.log")));
    let child = Command::new(env!("CARGO_BIN_EXE_node"))
        .args(["daemon", "--config"])
        .arg(&file)
        .stdout(log.expect("a temporary folder can be written"))
        .spawn()
        .expect("the node was built for this benchmark");
    let client = Client::new(SocketAddr::from(([127, 0, 0, 1], ports[NODES + index])));
    Node {
        child,
        client: client.with_timeout(Duration::from_secs(60)),
    }
}

/// Signed before the clock starts: batches by node, each sender always at the same one.
fn transfers(network: &BlockId, count: u64) -> Vec<(usize, Submission)> {
    let all: Vec<KeyPair> = (0..SENDERS).map(keys).collect();
    let mut batches: Vec<Vec<Value>> = vec![Vec::new(); NODES];
    let mut ready = Vec::new();
    for number in 0..count as usize {
        let (sender, nonce) = (number % SENDERS, number / SENDERS);
        let recipient = all[(sender + 1 + nonce) % SENDERS].public();
        let node = sender % NODES;
        batches[node].push(call(network, &all[sender], recipient, nonce as u64));
        if batches[node].len() == BATCH {
            ready.push((node, Submission::new(&batches[node])));
            batches[node].clear();
        }
    }
    let rest = batches.iter().enumerate();
    ready.extend(
        rest.filter(|(_, calls)| !calls.is_empty())
            .map(|(node, calls)| (node, Submission::new(calls))),
    );
    ready
}

async fn run(rate: u64) -> Value {
    let folder = TempDir::new().expect("a temporary folder");
    let listeners: Vec<_> = (0..2 * NODES)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free"))
        .collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    let ports: Vec<u16> = listeners.iter().map(port).collect();
    drop(listeners);
    let mut config = NodeConfig::default();
    config.network.initial_hashrate = Some(HASHRATE * NODES as u64);
    config.network.allocations = (0..SENDERS)
        .map(|number| AllocationConfig {
            account: keys(number).public(),
            balance: BALANCE,
        })
        .collect();
    let network = config
        .network()
        .expect("the configuration makes a network")
        .id();
    let count = rate * LOAD_S;
    let batches = transfers(&network, count);
    let nodes: Vec<Node> = (0..NODES)
        .map(|index| start(folder.path(), &ports, index, &config))
        .collect();
    for node in &nodes {
        loop {
            let status = node.status().await;
            if status.peers_inbound + status.peers_outbound == NODES as u32 - 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let (accepted, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let begin = Instant::now();
    let sender = {
        let addresses: Vec<_> = nodes.iter().map(|node| node.client.address()).collect();
        // Connections that wait for work, by node.
        let idle: Vec<_> = nodes
            .iter()
            .map(|_| Arc::new((Semaphore::new(CONNECTIONS), Mutex::new(Vec::new()))))
            .collect();
        let (accepted, refused) = (Arc::clone(&accepted), Arc::clone(&refused));
        tokio::spawn(async move {
            let mut sent = 0;
            let mut tasks = tokio::task::JoinSet::new();
            for (node, batch) in batches {
                let at = begin + Duration::from_secs_f64(sent as f64 / rate as f64);
                tokio::time::sleep_until(at.into()).await;
                sent += batch.count;
                let (address, idle) = (addresses[node], Arc::clone(&idle[node]));
                let (accepted, refused) = (Arc::clone(&accepted), Arc::clone(&refused));
                tasks.spawn(async move {
                    let (permits, idle) = &*idle;
                    let _permit = permits.acquire().await.expect("it is never closed");
                    let known = idle.lock().expect("nobody panics with it").pop();
                    let mut stream = match known {
                        Some(stream) => stream,
                        None => TcpStream::connect(address).await.expect("the node listens"),
                    };
                    let good = batch.send(&mut stream).await.unwrap_or(0);
                    idle.lock().expect("nobody panics with it").push(stream);
                    accepted.fetch_add(good, Ordering::Relaxed);
                    refused.fetch_add(batch.count as u64 - good, Ordering::Relaxed);
                });
            }
            tasks.join_all().await;
        })
    };
    let processes: Vec<u32> = nodes
        .iter()
        .map(|node| node.child.id())
        .chain([std::process::id()])
        .collect();
    // What all three have confirmed, each second.
    let mut seconds: Vec<u64> = Vec::new();
    let mut cpu_begin = Vec::new();
    for second in 0..=LOAD_S {
        tokio::time::sleep_until((begin + Duration::from_secs(second)).into()).await;
        if second == WARM_S {
            cpu_begin = processes.iter().map(|id| cpu_seconds(*id)).collect();
        }
        let mut least = u64::MAX;
        for node in &nodes {
            least = least.min(node.status().await.transactions);
        }
        seconds.push(least);
    }
    let measured_s = begin.elapsed().as_secs_f64() - WARM_S as f64;
    let used = processes.iter().zip(&cpu_begin);
    let cpu: Vec<f64> = used
        .map(|(id, begin)| ((cpu_seconds(*id) - begin) / measured_s * 100.0).round() / 100.0)
        .collect();
    let confirmed = seconds[LOAD_S as usize] - seconds[WARM_S as usize];
    sender.await.expect("the load does not panic");
    let wanted = accepted.load(Ordering::Relaxed);
    let drain = Instant::now();
    let digests = loop {
        let mut statuses = Vec::new();
        for node in &nodes {
            statuses.push(node.status().await);
        }
        if statuses.iter().all(|status| status.transactions >= wanted) {
            for node in &nodes {
                node.client
                    .call(StopMining {})
                    .await
                    .expect("the node runs");
            }
            let first = (&statuses[0].parents, statuses[0].state_digest);
            if statuses
                .iter()
                .all(|status| (&status.parents, status.state_digest) == first)
            {
                break statuses;
            }
        }
        if drain.elapsed() > Duration::from_secs(120) {
            break statuses;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let equal = digests
        .windows(2)
        .all(|pair| pair[0].state_digest == pair[1].state_digest);
    let mut steps: Vec<u64> = seconds[WARM_S as usize..]
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    steps.sort_unstable();
    json!({
        "offered_per_second": rate,
        "confirmed_per_second": (confirmed as f64 / measured_s).round(),
        "goal": GOAL,
        "median_second": steps[steps.len() / 2],
        "accepted": wanted,
        "refused": refused.load(Ordering::Relaxed),
        "confirmed": digests.iter().map(|status| status.transactions).collect::<Vec<_>>(),
        "drain_seconds": drain.elapsed().as_secs_f64().round(),
        "digests_equal": equal,
        "blocks": digests[0].blocks,
        "red": digests[0].red,
        "cpus_per_node": cpu[..NODES],
        "cpus_of_the_load": cpu[NODES],
    })
}
