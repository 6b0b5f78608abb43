//! Link conditions and clocks of whole nodes, set through the control interface: in force at once, by direction, and kept.

mod process;

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::timeout;
use triskel::node::NodeConfig;
use triskel::node::links::CONDITIONS_FILE;
use triskel::protocol::chain::id::NodeKey;
use triskel::protocol::link::{Conditions, Cut};
use triskel::rpc::client::{Client, ClientError};
use triskel::rpc::{self, NodeConditions, SetConditions};

use super::link::{cut, delay};
use super::node::{Member, PATIENCE};

/// Nodes of a network of its own: a port that one test gives back may be that of another test's node a moment later.
fn quiet(network: &str) -> impl Fn(&mut NodeConfig) {
    let name = network.to_owned();
    move |config| {
        config.network.name = Some(name.clone());
        config.mining.enabled = false;
        config.peer.ping_interval_ms = 200;
        // Only those dial who are told to.
        config.peer.target_outbound = 0;
    }
}

fn client(member: &Member) -> Client {
    Client::new(member.node.rpc().unwrap())
}

fn key(member: &Member) -> NodeKey {
    member.node.control().key
}

/// Two nodes, the second of which dials the first.
async fn pair(network: &str, change: impl Fn(&mut NodeConfig)) -> (Member, Member) {
    let configure = |config: &mut NodeConfig| {
        quiet(network)(config);
        change(config);
    };
    let first = Member::start(configure).await;
    let second = Member::start(|config| {
        configure(config);
        config.peers = vec![first.endpoint()];
    })
    .await;
    for member in [&first, &second] {
        until(&client(member), "a session", |peers| peers.len() == 1).await;
    }
    (first, second)
}

/// Asks for the sessions again and again, pinging each time, until they are as they should be.
async fn until(
    client: &Client,
    what: &str,
    reached: impl Fn(&[rpc::Peer]) -> bool,
) -> Vec<rpc::Peer> {
    let mut last = Vec::new();
    let waiting = async {
        loop {
            client.call(rpc::Ping {}).await.unwrap();
            last = client.call(rpc::GetPeers {}).await.unwrap();
            if reached(&last) {
                return last.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("{what} is not reached"))
}

fn to(peer: NodeKey, conditions: Conditions) -> SetConditions {
    SetConditions::from(NodeConditions {
        peers: [(peer, conditions)].into(),
        ..NodeConditions::default()
    })
}

fn nothing() -> SetConditions {
    SetConditions::from(NodeConditions::default())
}

/// Waits for a round trip that begins from now on and takes hardly longer than told. None may take less.
async fn measure(client: &Client, least_us: u64) {
    let count = |peers: &[rpc::Peer]| peers[0].round_trip.map_or(0, |measured| measured.count);
    let before = count(&until(client, "a session", |peers| peers.len() == 1).await);
    // One may have been on its way.
    let is_new = |peers: &[rpc::Peer]| peers.len() == 1 && count(peers) >= before + 2;
    until(client, "a round trip as short as that", |peers| {
        is_new(peers) && {
            let latest_us = peers[0].round_trip.unwrap().latest_us;
            assert!(latest_us >= least_us, "{latest_us} of at least {least_us}");
            latest_us < least_us + 20_000
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delays_are_measured_as_they_were_set_by_direction() {
    let (first, second) = pair("delays", |_| ()).await;
    let (ours, theirs) = (client(&first), client(&second));
    measure(&ours, 0).await;
    ours.call(to(key(&second), delay(40_000))).await.unwrap();
    for client in [&ours, &theirs] {
        measure(client, 40_000).await;
    }
    theirs.call(to(key(&first), delay(60_000))).await.unwrap();
    for client in [&ours, &theirs] {
        measure(client, 100_000).await;
    }
    // All is well again at once.
    for client in [&ours, &theirs] {
        client.call(nothing()).await.unwrap();
    }
    measure(&ours, 0).await;
    first.node.stop().await.unwrap();
    second.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_lossy_link_keeps_nodes_together() {
    let (first, second) = pair("lossy", |_| ()).await;
    let bad = Conditions {
        delay_us: 2_000,
        jitter_us: 5_000,
        loss_ppm: 20_000,
        rate_bytes_per_s: Some(100_000),
        cut: None,
    };
    for member in [&first, &second] {
        let all = NodeConditions {
            default: bad,
            ..NodeConditions::default()
        };
        client(member).call(SetConditions::from(all)).await.unwrap();
    }
    client(&first).call(rpc::StartMining {}).await.unwrap();
    let mined = |snapshot: &triskel::node::control::Snapshot| snapshot.tip.number >= 20;
    first.until("twenty blocks", mined).await;
    client(&first).call(rpc::StopMining {}).await.unwrap();
    first.until("rest", |snapshot| !snapshot.mining).await;
    second.agrees_with(&first).await;
    let peers = client(&first).call(rpc::GetPeers {}).await.unwrap();
    let peer = &peers[0];
    assert!(
        peer.segments > 20 && peer.losses < peer.segments,
        "{peer:?}"
    );
    assert!(peer.sent_bytes > 20 * 200 && peer.received_bytes > 200);
    first.node.stop().await.unwrap();
    second.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_seen_at_once_and_so_is_its_end() {
    let (first, second) = pair("cut", |_| ()).await;
    let (ours, theirs) = (client(&first), client(&second));
    // One end is enough, and the other notices.
    for cutter in [&first, &second] {
        let other = if std::ptr::eq(cutter, &first) {
            &second
        } else {
            &first
        };
        client(cutter)
            .call(to(key(other), cut(Cut::Reset)))
            .await
            .unwrap();
        let begin = Instant::now();
        for client in [&ours, &theirs] {
            until(client, "no session", <[_]>::is_empty).await;
        }
        println!("cut after {:?}", begin.elapsed());
        // It is dialled again in vain: in front of a handshake that fails nobody is let in.
        let pages = Client::new(cutter.node.metrics().unwrap());
        let failed = async {
            loop {
                let (_, text) = pages.get("/metrics").await.unwrap();
                let line = text
                    .lines()
                    .find(|line| line.contains("outcome=\"closed\""));
                if line.is_some_and(|line| !line.ends_with(" 0")) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, failed).await.expect("a dial in vain");
        client(cutter).call(nothing()).await.unwrap();
        let begin = Instant::now();
        for client in [&ours, &theirs] {
            until(client, "a session", |peers| peers.len() == 1).await;
        }
        println!("healed after {:?}", begin.elapsed());
    }
    first.node.stop().await.unwrap();
    second.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_isolated_has_no_sessions_until_it_is_let_in_again() {
    let (first, second) = pair("isolation", |_| ()).await;
    let third = Member::start(|config| {
        quiet("isolation")(config);
        config.peers = vec![first.endpoint(), second.endpoint()];
    })
    .await;
    let all = [&first, &second, &third].map(client);
    until(&all[0], "two sessions", |peers| peers.len() == 2).await;
    until(&all[1], "two sessions", |peers| peers.len() == 2).await;
    let mut isolation = NodeConditions {
        default: cut(Cut::Reset),
        ..NodeConditions::default()
    };
    all[0]
        .call(SetConditions::from(isolation.clone()))
        .await
        .unwrap();
    until(&all[0], "no session", <[_]>::is_empty).await;
    until(&all[1], "one session", |peers| peers.len() == 1).await;
    // A bridge: one peer is let in again.
    isolation.peers.insert(key(&second), Conditions::default());
    all[0].call(SetConditions::from(isolation)).await.unwrap();
    let peers = until(&all[0], "a bridge", |peers| peers.len() == 1).await;
    assert_eq!(peers[0].key, key(&second));
    all[0].call(nothing()).await.unwrap();
    until(&all[0], "two sessions", |peers| peers.len() == 2).await;
    for member in [first, second, third] {
        member.node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_direction_is_silent_and_the_other_is_heard() {
    let (first, second) = pair("stall", |config| config.peer.silent_timeout_ms = 2_000).await;
    let (ours, theirs) = (client(&first), client(&second));
    let count = |peers: &[rpc::Peer]| peers.first().map_or(0, |peer| peer.received_bytes);
    let sent = to(key(&second), cut(Cut::Stall));
    ours.call(sent).await.unwrap();
    // What the second sends arrives, while nothing comes back.
    let before = count(&ours.call(rpc::GetPeers {}).await.unwrap());
    theirs.call(rpc::Ping {}).await.unwrap();
    let heard = |peers: &[rpc::Peer]| count(peers) > before;
    until(&ours, "a sign of life", heard).await;
    // The second leaves who is silent, and nobody lets it in again.
    until(&theirs, "no session", <[_]>::is_empty).await;
    until(&ours, "no session", <[_]>::is_empty).await;
    ours.call(nothing()).await.unwrap();
    until(&theirs, "a session", |peers| peers.len() == 1).await;
    first.node.stop().await.unwrap();
    second.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_stall_is_survived() {
    let (first, second) = pair("short stall", |_| ()).await;
    let (ours, theirs) = (client(&first), client(&second));
    let session = until(&theirs, "a session", |peers| peers.len() == 1).await;
    ours.call(to(key(&second), cut(Cut::Stall))).await.unwrap();
    // What was on its way arrives; then nothing does.
    let count = || async { theirs.call(rpc::GetPeers {}).await.unwrap()[0].received_bytes };
    let mut before = count().await;
    let silence = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ours.call(rpc::Ping {}).await.unwrap();
            let now = count().await;
            if std::mem::replace(&mut before, now) == now {
                return;
            }
        }
    };
    timeout(PATIENCE, silence).await.expect("silence");
    ours.call(nothing()).await.unwrap();
    let heard = |peers: &[rpc::Peer]| peers.len() == 1 && peers[0].received_bytes > before;
    let after = until(&theirs, "what was held back", heard).await;
    assert_eq!(after[0].remote, session[0].remote);
    first.node.stop().await.unwrap();
    second.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_a_clock_that_is_ahead_are_refused_until_it_is_set_right() {
    let (first, second) = pair("clock", |_| ()).await;
    let ahead = NodeConditions {
        clock_offset_ms: 3_600_000,
        ..NodeConditions::default()
    };
    let client = client(&first);
    client.call(SetConditions::from(ahead)).await.unwrap();
    client.call(rpc::StartMining {}).await.unwrap();
    first
        .until("five blocks", |snapshot| snapshot.tip.number >= 5)
        .await;
    client.call(rpc::StopMining {}).await.unwrap();
    first.until("rest", |snapshot| !snapshot.mining).await;
    let wall_ms = || {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        since.as_millis() as u64
    };
    assert!(first.now().record.timestamp_ms() > wall_ms() + 3_000_000);
    let pages = Client::new(second.node.metrics().unwrap());
    let refused = async {
        loop {
            let (_, text) = pages.get("/metrics").await.unwrap();
            let early = "triskel_blocks_rejected_total{reason=\"early\",stream=\"A\"}";
            let line = text.lines().find(|line| line.starts_with(early));
            if line.is_some_and(|line| !line.ends_with(" 0")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("a refused block");
    assert_eq!(second.now().tip.number, 0);
    // The other clock jumps ahead as well.
    let same = NodeConditions {
        clock_offset_ms: 3_600_000,
        ..NodeConditions::default()
    };
    let theirs = Client::new(second.node.rpc().unwrap());
    theirs.call(SetConditions::from(same)).await.unwrap();
    second.agrees_with(&first).await;
    first.node.stop().await.unwrap();
    second.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_out_of_range_change_nothing() {
    let member = Member::start(quiet("range")).await;
    let client = client(&member);
    let path = member.folder.path().join(CONDITIONS_FILE);
    let wanted = to(NodeKey([7; 32]), delay(1_000));
    client.call(wanted.clone()).await.unwrap();
    assert!(path.exists());
    let refused = |wrong: NodeConditions| {
        let client = client.clone();
        async move {
            match client.call(SetConditions::from(wrong)).await {
                Err(ClientError::Refused { message, .. }) => message,
                other => panic!("{other:?}"),
            }
        }
    };
    let slow = NodeConditions {
        default: delay(61_000_000),
        ..NodeConditions::default()
    };
    let message = "set_conditions: default: delay_us is 61000000, allowed is 0 to 60000000";
    assert_eq!(refused(slow).await, message);
    let off = NodeConditions {
        clock_offset_ms: i64::MIN,
        ..NodeConditions::default()
    };
    assert!(refused(off).await.contains("clock_offset_ms"));
    let current = client.call(rpc::GetConditions {}).await.unwrap();
    assert_eq!(SetConditions::from(current), wanted);
    // Where nothing is done there is no file.
    client.call(nothing()).await.unwrap();
    assert!(!path.exists());
    member.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_something_else_is_refused() {
    for (text, reason) in [
        ("{", "EOF"),
        ("{}", "version is missing"),
        (r#"{"version": 2}"#, "version is 2"),
        (r#"{"version": 1, "latency": 5}"#, "unknown field `latency`"),
        (
            r#"{"version": 1, "default": {"loss_ppm": 600000}}"#,
            "loss_ppm is 600000",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join(CONDITIONS_FILE), text).unwrap();
        let config = NodeConfig {
            port: 0,
            listen: "127.0.0.1".parse().unwrap(),
            data_dir: folder.path().to_str().unwrap().to_owned(),
            ..NodeConfig::default()
        };
        let mut config = config;
        (config.rpc.enabled, config.metrics.enabled) = (false, false);
        let error = triskel::node::Node::start(config).await.err().unwrap();
        let text = error.to_string();
        assert!(
            text.contains(reason) && text.contains(CONDITIONS_FILE),
            "{text}"
        );
        assert_eq!(error.exit_code(), 2);
    }
}
