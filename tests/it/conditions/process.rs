//! The same of the real program, killed and started again.

use std::path::Path;
use std::process::Child;

use serde_json::json;
use tempfile::TempDir;
use triskel::node::NodeConfig;
use triskel::node::links::CONDITIONS_FILE;
use triskel::rpc::client::Client;
use triskel::rpc::{self, NodeConditions, SetConditions};

use super::super::crash::spawn;
use super::super::node::Member;
use super::{client, delay, measure, quiet, until};

/// A `node` of its own process, killed when dropped.
struct Process {
    child: Child,
    client: Client,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }
}

impl Process {
    fn start(folder: &Path, peer: &Member) -> Self {
        let mut config = NodeConfig {
            port: 0,
            listen: "127.0.0.1".parse().unwrap(),
            peers: vec![peer.endpoint()],
            data_dir: folder.join("data").to_str().unwrap().to_owned(),
            ..NodeConfig::default()
        };
        config.network = peer_network();
        quiet("kill")(&mut config);
        config.rpc.port = Some(0);
        config.metrics.enabled = false;
        let (child, client) = spawn(folder, &config);
        Self { child, client }
    }
}

/// The network of a [`Member`].
fn peer_network() -> triskel::node::config::NetworkConfig {
    triskel::node::config::NetworkConfig {
        preset: triskel::node::config::Preset::Chain,
        initial_hashrate: Some(200),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_survive_a_kill_and_are_in_force_before_the_first_dial() {
    let folder = TempDir::new().unwrap();
    let peer = Member::start(quiet("kill")).await;
    // Written before the first start.
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let stored = json!({ "version": 1, "default": { "delay_us": 30_000 } });
    std::fs::write(
        folder.path().join("data").join(CONDITIONS_FILE),
        stored.to_string(),
    )
    .unwrap();
    let victim = Process::start(folder.path(), &peer);
    measure(&victim.client, 30_000).await;
    let worse = NodeConditions {
        default: delay(40_000),
        clock_offset_ms: -5_000,
        ..NodeConditions::default()
    };
    victim
        .client
        .call(SetConditions::from(worse.clone()))
        .await
        .unwrap();
    drop(victim);
    let victim = Process::start(folder.path(), &peer);
    let current = victim.client.call(rpc::GetConditions {}).await.unwrap();
    assert_eq!(current, worse);
    measure(&victim.client, 40_000).await;
    // Even the greeting was late.
    until(&client(&peer), "a session", |peers| peers.len() == 1).await;
    let pages = Client::new(peer.node.metrics().unwrap());
    let (_, text) = pages.get("/metrics").await.unwrap();
    let quick = "triskel_handshake_duration_seconds_bucket{le=\"0.025\"} 0";
    assert!(text.contains(quick), "{text}");
    drop(victim);
    peer.node.stop().await.unwrap();
}
