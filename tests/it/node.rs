//! Whole nodes in this process, over real sockets on loopback and real stores in temporary folders.

use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::timeout;
use triskel::node::config::Preset;
use triskel::node::control::{Order, Snapshot};
use triskel::node::{Node, NodeConfig};
use triskel::protocol::chain::view::View;
use triskel::protocol::endpoint::Endpoint;
use triskel::protocol::machine::io::Command;

/// Far beyond what any wait here needs: what fails by it is broken, not slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A node with a folder of its own.
pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) folder: TempDir,
}

fn config(folder: &TempDir) -> NodeConfig {
    let mut config = NodeConfig {
        port: 0,
        listen: "127.0.0.1".parse().unwrap(),
        data_dir: folder.path().to_str().unwrap().to_owned(),
        ..NodeConfig::default()
    };
    config.network.preset = Preset::Chain;
    config.network.initial_hashrate = Some(200);
    config.mining.hashrate = 2_000;
    config.rpc.port = Some(0);
    config.metrics.port = Some(0);
    config.log.statistics_interval_ms = Some(0);
    config
}

impl Member {
    pub(crate) async fn start(change: impl FnOnce(&mut NodeConfig)) -> Self {
        Self::resume(TempDir::new().unwrap(), change).await
    }

    pub(crate) async fn resume(folder: TempDir, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let mut config = config(&folder);
        change(&mut config);
        let node = Node::start(config).await.unwrap();
        Self { node, folder }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.node.listening().into()
    }

    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let mut snapshot = self.node.control().snapshot.clone();
        match timeout(PATIENCE, snapshot.wait_for(|snapshot| reached(snapshot))).await {
            Ok(found) => Snapshot::clone(&found.unwrap()),
            Err(_) => panic!("{what} is not reached: {:?}", self.now()),
        }
    }

    pub(crate) fn now(&self) -> Snapshot {
        Snapshot::clone(&self.node.control().snapshot.borrow())
    }

    pub(crate) async fn command(&self, command: Command) {
        let (reply, done) = oneshot::channel();
        let order = Order::Command { command, reply };
        self.node.control().orders.send(order).await.unwrap();
        done.await.unwrap();
    }

    /// Waits until both nodes have one tip on their disks. Either may be the last to get there.
    pub(crate) async fn agrees_with(&self, other: &Self) {
        let mut snapshots = [self, other].map(|member| member.node.control().snapshot.clone());
        let agreement = async {
            loop {
                let [mine, theirs] = &mut snapshots;
                let state = |snapshot: &Snapshot| {
                    let tip = snapshot.tip.clone();
                    (
                        tip.parents.clone(),
                        tip.number,
                        tip.accumulator.clone(),
                        tip.issued,
                    )
                };
                let one = state(&mine.borrow_and_update());
                let other = state(&theirs.borrow_and_update());
                if one == other {
                    return;
                }
                tokio::select! {
                    changed = mine.changed() => changed.unwrap(),
                    changed = theirs.changed() => changed.unwrap(),
                }
            }
        };
        if timeout(PATIENCE, agreement).await.is_err() {
            panic!("no agreement: {:?}, {:?}", self.now().tip, other.now().tip);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_joiner_and_its_peer_end_on_the_same_tip() {
    let first = Member::start(|_| ()).await;
    first
        .until("ten blocks", |snapshot| snapshot.tip.number >= 10)
        .await;
    let second = Member::start(|config| {
        config.peers = vec![first.endpoint()];
        config.mining.enabled = false;
    })
    .await;
    second
        .until("ten blocks", |snapshot| snapshot.tip.number >= 10)
        .await;
    first.command(Command::Mine(false)).await;
    first.until("rest", |snapshot| !snapshot.mining).await;
    second.agrees_with(&first).await;
    first.node.stop().await.unwrap();
    second.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lighter_of_two_forks_gives_way() {
    let light = Member::start(|_| ()).await;
    let heavy = Member::start(|_| ()).await;
    light
        .until("a fork", |snapshot| snapshot.tip.number >= 5)
        .await;
    light.command(Command::Mine(false)).await;
    let work = light
        .until("rest", |snapshot| !snapshot.mining)
        .await
        .tip
        .work;
    heavy
        .until("a heavier fork", |snapshot| snapshot.tip.work > work)
        .await;
    heavy.command(Command::Mine(false)).await;
    heavy.until("rest", |snapshot| !snapshot.mining).await;
    light.command(Command::Connect(heavy.endpoint())).await;
    light.agrees_with(&heavy).await;
    light.node.stop().await.unwrap();
    heavy.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_resumes_from_its_stored_tip() {
    let Member { node, folder } = Member::start(|_| ()).await;
    let member = Member { node, folder };
    member
        .until("five blocks", |snapshot| snapshot.tip.number >= 5)
        .await;
    member.command(Command::Mine(false)).await;
    let before = member.until("rest", |snapshot| !snapshot.mining).await.tip;
    let key = member.node.control().key;
    let Member { node, folder } = member;
    node.stop().await.unwrap();
    let member = Member::resume(folder, |config| config.mining.enabled = false).await;
    // A last block may have become durable after the look at it.
    let control = member.node.control();
    assert!(member.now().tip.number >= before.number);
    assert_eq!(
        control.store.position(&before.id).unwrap(),
        Some(before.number)
    );
    assert_eq!(control.key, key);
    member.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_a_miner_sees_all_that_it_has_mined() {
    let member = Member::start(|config| config.mining.hashrate = 100_000).await;
    for _ in 0..20 {
        let before = member.now().tip.number;
        member.command(Command::Mine(true)).await;
        let grown = |snapshot: &Snapshot| snapshot.tip.number > before;
        member.until("another block", grown).await;
        member.command(Command::Mine(false)).await;
        let stopped = member.now();
        assert!(!stopped.mining);
        // Whatever was on its way has come before this is answered.
        member.command(Command::Mine(false)).await;
        assert_eq!(member.now().tip.id, stopped.tip.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_dial_each_other_share_one_session() {
    let quiet = |config: &mut NodeConfig| config.mining.enabled = false;
    let left = Member::start(quiet).await;
    let right = Member::start(quiet).await;
    left.command(Command::Connect(right.endpoint())).await;
    right.command(Command::Connect(left.endpoint())).await;
    for member in [&left, &right] {
        member
            .until("one session", |snapshot| snapshot.sessions.len() == 1)
            .await;
    }
    // A dial to itself is noticed and not repeated; what is waited for is that the other session outlives it.
    left.command(Command::Connect(left.endpoint())).await;
    left.until("one session still", |snapshot| {
        snapshot.sessions.len() == 1 && snapshot.sessions[0].key == right.node.control().key
    })
    .await;
    left.node.stop().await.unwrap();
    right.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_network_is_turned_away() {
    let quiet = |config: &mut NodeConfig| config.mining.enabled = false;
    let ours = Member::start(quiet).await;
    let theirs = Member::start(|config| {
        quiet(config);
        config.network.name = Some("another".to_owned());
        config.peers = vec![ours.endpoint()];
    })
    .await;
    let exported = |member: &Member| member.node.metrics().unwrap();
    let client = triskel::rpc::client::Client::new(exported(&ours));
    let refused = async {
        loop {
            let (_, text) = client.get("/metrics").await.unwrap();
            let line = text.lines().find(|line| line.contains("other_network"));
            if line.is_some_and(|line| !line.ends_with(" 0")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, refused)
        .await
        .expect("the handshake is refused");
    assert!(ours.now().sessions.is_empty() && theirs.now().sessions.is_empty());
    ours.node.stop().await.unwrap();
    theirs.node.stop().await.unwrap();
}
