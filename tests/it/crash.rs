//! The real program, killed without warning again and again while it mines and reorganises.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use triskel::node::config::{AllocationConfig, Preset};
use triskel::node::{Node, NodeConfig};
use triskel::protocol::chain::id::{AccountId, BlockId, TransactionId};
use triskel::protocol::chain::key::KeyPair;
use triskel::protocol::chain::transaction::Transfer;
use triskel::protocol::rng::Rng;
use triskel::rpc;
use triskel::rpc::client::Client;

/// How often the node is killed.
const KILLS: usize = 100;

/// How long it runs after it answers, at most, in milliseconds: several blocks, and on average a reorganisation.
const LIFE_MS: u64 = 250;

fn sender() -> KeyPair {
    KeyPair::from_seed(b"crash test")
}

/// A network whose blocks are 30 ms apart, so that two miners on one machine get in each other's way.
fn configure(config: &mut NodeConfig) {
    config.network.preset = Preset::Chain;
    config.network.initial_hashrate = Some(20_000);
    config.network.streams.a.interval_ms = Some(30);
    let endowed = AllocationConfig {
        account: sender().public(),
        balance: 1_000_000_000,
    };
    config.network.allocations = vec![endowed];
    config.mining.hashrate = 10_000;
}

/// A running `node`, killed when dropped.
struct Victim {
    child: Child,
    client: Client,
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }
}

/// Starts the program with a configuration, and waits until it serves.
pub(crate) fn spawn(folder: &Path, config: &NodeConfig) -> (Child, Client) {
    let (child, mut served) = launch(folder, config, &[]);
    (child, Client::new(served.remove("JSON-RPC").unwrap()))
}

/// The same with variables of the environment; tells where it serves what.
pub(crate) fn launch(
    folder: &Path,
    config: &NodeConfig,
    variables: &[(&str, &str)],
) -> (Child, BTreeMap<String, SocketAddr>) {
    let file = folder.join("node.toml");
    std::fs::write(&file, toml::to_string(config).unwrap()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_node"))
        .args(["daemon", "--log-format", "json", "--config"])
        .arg(&file)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let services = usize::from(config.rpc.enabled) + usize::from(config.metrics.enabled);
    let mut served = BTreeMap::new();
    while served.len() < services {
        let line = lines
            .next()
            .expect("the node goes on until it serves")
            .unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if let Some(service) = event["service"].as_str() {
            let address = event["address"].as_str().unwrap().parse().unwrap();
            served.insert(service.to_owned(), address);
        }
    }
    // The log has to be read on, or the node would stop at a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, served)
}

impl Victim {
    fn start(folder: &Path, rival: SocketAddr) -> Self {
        let mut config = NodeConfig {
            port: 0,
            ..NodeConfig::default()
        };
        configure(&mut config);
        config.listen = "127.0.0.1".parse().unwrap();
        config.peers = vec![rival.into()];
        config.data_dir = folder.join("data").to_str().unwrap().to_owned();
        config.rpc.port = Some(0);
        config.metrics.enabled = false;
        let (child, client) = spawn(folder, &config);
        Self { child, client }
    }
}

/// What the node has said of itself, and must still know after it was killed.
#[derive(Default)]
struct Acknowledged {
    tip: Option<(BlockId, String)>,
    transfers: Vec<TransactionId>,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_a_hundred_kills() {
    let seed = std::env::var("TRISKEL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("replay with: TRISKEL_SEED={seed} cargo test --test it crash::");
    let mut rng = Rng::new(seed);
    let (ours, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut config = NodeConfig {
        port: 0,
        ..NodeConfig::default()
    };
    configure(&mut config);
    config.listen = "127.0.0.1".parse().unwrap();
    config.data_dir = theirs.path().to_str().unwrap().to_owned();
    config.rpc.enabled = false;
    config.metrics.enabled = false;
    config.log.statistics_interval_ms = Some(0);
    let rival = Node::start(config).await.unwrap();
    let mut acknowledged = Acknowledged::default();
    let mut nonce = 0;
    for kill in 0..KILLS {
        let victim = Victim::start(ours.path(), rival.listening());
        acknowledged.check(&victim.client, kill).await;
        let end = Instant::now() + Duration::from_millis(rng.below(LIFE_MS));
        while Instant::now() < end {
            acknowledged.add(&victim.client, &mut nonce).await;
        }
    }
    assert!(
        acknowledged.transfers.len() > KILLS / 2,
        "the load was no load"
    );
    rival.stop().await.unwrap();
}

impl Acknowledged {
    /// Hands in a transfer and asks for the tip.
    async fn add(&mut self, client: &Client, nonce: &mut u64) {
        let status = client.call(rpc::GetStatus {}).await.unwrap();
        let network = status.network_id;
        let transfer = Transfer {
            sender: sender().public(),
            recipient: AccountId([7; 32]),
            amount: 1,
            fee: 1,
            nonce: *nonce,
        };
        let transaction = transfer.sign(&network, &sender());
        let hex = transaction
            .to_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let submitted = client
            .call(rpc::SubmitTransaction { transaction: hex })
            .await
            .unwrap();
        self.transfers.push(submitted.id);
        *nonce += 1;
        self.tip = Some((status.tip.id, status.tip.work));
    }

    async fn check(&self, client: &Client, kill: usize) {
        let status = client.call(rpc::GetStatus {}).await.unwrap();
        if let Some((id, work)) = &self.tip {
            let known = client
                .call(rpc::GetBlock {
                    id: Some(*id),
                    number: None,
                })
                .await;
            assert!(
                known.is_ok(),
                "kill {kill}: block {id} was acknowledged and is lost: {known:?}"
            );
            assert!(
                number(&status.tip.work) >= number(work),
                "kill {kill}: the tip lost work"
            );
        }
        // All of the newest: older ones were seen after an earlier kill.
        for id in self.transfers.iter().rev().take(50) {
            let known = client.call(rpc::GetTransaction { id: *id }).await;
            assert!(
                known.is_ok(),
                "kill {kill}: transfer {id} was acknowledged and is lost: {known:?}"
            );
        }
    }
}

fn number(hex: &str) -> u128 {
    u128::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap()
}
