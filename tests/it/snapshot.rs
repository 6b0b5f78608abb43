//! Starting from a snapshot: over the wire, from a file and from a directory; and snapshots that are refused.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::spawn_blocking;
use triskel::node::NodeConfig;
use triskel::node::cli::{Payment, transfer};
use triskel::node::config::{PeerConfig, Preset};
use triskel::node::control::Snapshot;
use triskel::node::snapshot::{Origin, Summary, TransferError, export, import};
use triskel::node::store::StoreError;
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::snapshot::SnapshotError;
use triskel::protocol::machine::io::Command;
use triskel::protocol::wire::frame::{Decoder, encode};
use triskel::protocol::wire::message::Message;
use triskel::rpc::client::Client;
use triskel::rpc::{GetBlock, GetDag};

use super::memory::person;
use super::node::Member;

/// Parallel blocks, and final after 40 of them.
fn quick(config: &mut NodeConfig) {
    config.network.preset = Preset::Tri;
    config.network.delay_ms = Some(10);
    config.network.merge_depth = Some(20);
    config.network.finality_depth = Some(40);
    config.network.initial_hashrate = Some(200);
}

fn network() -> Arc<Network> {
    let mut config = NodeConfig::default();
    quick(&mut config);
    Arc::new(config.network().unwrap())
}

/// A node with an order that merges parallel blocks and has a transfer in it, and that does not mine any more.
async fn grown() -> Member {
    let member = Member::start(quick).await;
    member.until("a balance", |now| now.tip.issued > 0).await;
    let other = Member::start(|config| {
        quick(config);
        config.peers.push(member.endpoint());
    })
    .await;
    let mut config = NodeConfig::default();
    quick(&mut config);
    config.data_dir = member.folder.path().to_str().unwrap().to_owned();
    let payment = Payment {
        to: config.network().unwrap().address(&person(1).public()),
        amount: "1".to_owned(),
        fee: None,
    };
    transfer(&config, member.node.rpc(), &payment)
        .await
        .unwrap();
    let has_merged = |now: &Snapshot| now.tip.transactions == 1 && now.tip.number >= 150;
    member.until("150 blocks and a transfer", has_merged).await;
    rest(&member).await;
    rest(&other).await;
    member.agrees_with(&other).await;
    other.node.stop().await.unwrap();
    member
}

async fn rest(member: &Member) {
    member.command(Command::Mine(false)).await;
    member.until("rest", |now| !now.mining).await;
}

async fn start_from(origin: Origin, folder: &TempDir) -> Result<Summary, TransferError> {
    let directory = folder.path().to_owned();
    spawn_blocking(move || import(&origin, &network(), &directory, 8 << 20, &mut |_, _, _| {}))
        .await
        .unwrap()
}

async fn save(origin: Origin, path: &Path) -> Result<Summary, TransferError> {
    let path = path.to_owned();
    spawn_blocking(move || export(&origin, &network(), &path, &mut |_, _, _| {}))
        .await
        .unwrap()
}

/// Starts a node in a folder and waits until it stands where another does.
async fn catches_up(folder: TempDir, other: &Member) -> (Member, Snapshot) {
    let endpoint = other.endpoint();
    let member = Member::resume(folder, |config| {
        quick(config);
        config.mining.enabled = false;
        config.peers.push(endpoint);
    })
    .await;
    member.agrees_with(other).await;
    let (found, wanted) = (member.now(), other.now().tip);
    assert_eq!(found.tip.accumulator, wanted.accumulator);
    assert_eq!(
        (
            found.tip.issued,
            found.tip.transactions,
            found.tip.blue_score
        ),
        (wanted.issued, wanted.transactions, wanted.blue_score),
    );
    (member, found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_from_what_another_sends() {
    let old = grown().await;
    let folder = TempDir::new().unwrap();
    let summary = start_from(Origin::Peer(old.endpoint(), PeerConfig::default()), &folder)
        .await
        .unwrap();
    let tip = old.now().tip;
    assert!(
        (40..=tip.number - 39).contains(&summary.number),
        "{summary:?} of {}",
        tip.number
    );
    assert_eq!(summary.headers, tip.number);
    let (young, found) = catches_up(folder, &old).await;
    assert_eq!(found.tip.pruned, summary.number - 1);

    // It is a node like any other: the old one follows it, and it comes back from a restart.
    young.command(Command::Mine(true)).await;
    let wanted = young
        .until("blocks of its own", |now| now.tip.number >= tip.number + 30)
        .await;
    old.until("them", |now| now.tip.number >= wanted.tip.number)
        .await;
    rest(&young).await;
    let Member { node, folder } = young;
    node.stop().await.unwrap();
    let (young, _) = catches_up(folder, &old).await;

    // What it does not have it does not serve, and says so; from the accounts that it has, a third one starts.
    let client = Client::new(young.node.rpc().unwrap());
    let drawn = client.call(GetDag { last: Some(2_000) }).await.unwrap();
    assert!(drawn.blocks[1].miner.is_none() && drawn.blocks.last().unwrap().miner.is_some());
    let number = Some(summary.number - 1);
    let error = client
        .call(GetBlock { id: None, number })
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("has dropped the blocks up to"),
        "{error}"
    );
    let number = Some(summary.number);
    assert_eq!(
        client
            .call(GetBlock { id: None, number })
            .await
            .unwrap()
            .header
            .id,
        summary.block
    );
    let third = TempDir::new().unwrap();
    start_from(
        Origin::Peer(young.endpoint(), PeerConfig::default()),
        &third,
    )
    .await
    .unwrap();
    let (third, _) = catches_up(third, &young).await;
    for member in [old, young, third] {
        member.node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_the_same_whoever_it_comes_from() {
    let old = grown().await;
    let files = TempDir::new().unwrap();
    let [of_peer, of_directory] = ["peer", "directory"].map(|name| files.path().join(name));
    let summary = save(
        Origin::Peer(old.endpoint(), PeerConfig::default()),
        &of_peer,
    )
    .await
    .unwrap();
    let Member { node, folder } = old;
    node.stop().await.unwrap();
    let directory = Origin::Directory(folder.path().to_owned());
    assert_eq!(save(directory, &of_directory).await.unwrap(), summary);
    let answers = |path: &Path| messages(&fs::read(path).unwrap())[1..].to_vec();
    assert_eq!(answers(&of_peer), answers(&of_directory));

    let old = Member::resume(folder, |config| {
        quick(config);
        config.mining.enabled = false;
    })
    .await;
    let young = TempDir::new().unwrap();
    let origin = Origin::File(of_directory);
    assert_eq!(start_from(origin.clone(), &young).await.unwrap(), summary);
    let refused = start_from(origin.clone(), &young).await;
    assert!(matches!(refused, Err(TransferError::Occupied(path)) if path == young.path()));
    let (young, _) = catches_up(young, &old).await;
    let refused = start_from(origin, &old.folder).await;
    assert!(matches!(
        refused,
        Err(TransferError::Store(StoreError::Locked { .. }))
    ));
    let refused = save(
        Origin::Peer(old.endpoint(), PeerConfig::default()),
        &of_peer,
    )
    .await;
    assert!(matches!(
        refused,
        Err(TransferError::File {
            action: "write",
            ..
        })
    ));
    for member in [old, young] {
        member.node.stop().await.unwrap();
    }
}

fn messages(bytes: &[u8]) -> Vec<Message> {
    let mut decoder = Decoder::default();
    decoder.greeted();
    decoder.extend(bytes);
    let next = || decoder.next_message().unwrap().map(|(message, _)| message);
    std::iter::from_fn(next).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_not_whole_and_true_is_refused() {
    let old = grown().await;
    let files = TempDir::new().unwrap();
    let path = files.path().join("snapshot");
    let summary = save(Origin::Peer(old.endpoint(), PeerConfig::default()), &path)
        .await
        .unwrap();
    old.node.stop().await.unwrap();
    let good = messages(&fs::read(&path).unwrap());
    let refused = async |change: &dyn Fn(&mut Vec<Message>)| {
        let mut messages = good.clone();
        change(&mut messages);
        let bytes: Vec<u8> = messages.iter().flat_map(encode).collect();
        fs::write(&path, bytes).unwrap();
        let folder = TempDir::new().unwrap();
        let error = start_from(Origin::File(path.clone()), &folder)
            .await
            .unwrap_err();
        let left = fs::read_dir(folder.path()).unwrap();
        let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["lock"], "{error}");
        error
    };
    let rich = |messages: &mut Vec<Message>| {
        for message in messages {
            if let Message::Accounts { accounts, .. } = message {
                accounts.last_mut().unwrap().1.balance += 1;
            }
        }
    };
    let forged = refused(&rich).await;
    assert!(
        matches!(forged, TransferError::Invalid(_, SnapshotError::Digest(id)) if id == summary.block),
        "{forged}"
    );
    let shallow = refused(&|messages| {
        for message in messages {
            if let Message::Headers { headers, .. } = message {
                headers.truncate(summary.number as usize + 10);
            }
        }
    })
    .await;
    assert!(
        matches!(
            shallow,
            TransferError::Invalid(_, SnapshotError::Shallow { .. })
        ),
        "{shallow}"
    );
    let without_block = refused(&|messages| {
        for message in messages {
            if let Message::Headers { headers, .. } = message {
                headers.truncate(summary.number as usize - 1);
            }
        }
    })
    .await;
    assert!(
        matches!(
            without_block,
            TransferError::Invalid(_, SnapshotError::Missing(_))
        ),
        "{without_block}"
    );
    let gap = refused(&|messages| {
        for message in messages {
            if let Message::Headers { headers, .. } = message {
                headers.remove(3);
            }
        }
    })
    .await;
    assert!(
        matches!(gap, TransferError::Invalid(_, SnapshotError::Orphan(_))),
        "{gap}"
    );
    let cut = refused(&|messages| drop(messages.pop())).await;
    assert!(cut.to_string().contains("ends early"), "{cut}");
    let foreign = refused(&|messages| {
        if let Some(Message::Hello(hello)) = messages.first_mut() {
            hello.network.0[0] ^= 1;
        }
    })
    .await;
    assert!(
        matches!(foreign, TransferError::OtherNetwork { .. }),
        "{foreign}"
    );
    let newer = refused(&|messages| {
        if let Some(Message::Hello(hello)) = messages.first_mut() {
            hello.version += 1;
        }
    })
    .await;
    assert!(
        matches!(newer, TransferError::OtherVersion { .. }),
        "{newer}"
    );
    let shuffled = refused(&|messages| messages.swap(1, 2)).await;
    assert!(matches!(shuffled, TransferError::Damaged(..)), "{shuffled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_young_chain_has_no_snapshot() {
    let young = Member::start(|config| {
        quick(config);
        config.mining.enabled = false;
    })
    .await;
    let folder = TempDir::new().unwrap();
    let refused = start_from(
        Origin::Peer(young.endpoint(), PeerConfig::default()),
        &folder,
    )
    .await;
    assert!(
        matches!(refused, Err(TransferError::Young { depth: 40, .. })),
        "{refused:?}"
    );
    let origin = Origin::Peer(young.endpoint(), PeerConfig::default());
    young.node.stop().await.unwrap();
    // A port on which nobody listens any more.
    let refused = start_from(origin, &folder);
    let refused = tokio::time::timeout(Duration::from_secs(60), refused)
        .await
        .unwrap();
    assert!(
        matches!(refused, Err(TransferError::Peer { .. })),
        "{refused:?}"
    );
}
