//! The same with real nodes over loopback, whose addresses differ in their ports alone.

use tokio::time::timeout;
use triskel::node::NodeConfig;
use triskel::protocol::chain::view::View;
use triskel::rpc::GetStatus;
use triskel::rpc::client::Client;

use crate::node::{Member, PATIENCE};

/// Three nodes that each know the first find each other; the last starts again knowing nobody by its configuration, and its
/// stored addresses lead it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_finds_its_peers_again_by_what_it_has_stored() {
    let quiet = |config: &mut NodeConfig| config.mining.enabled = false;
    let first = Member::start(quiet).await;
    let joins = |config: &mut NodeConfig| {
        quiet(config);
        config.peers = vec![first.endpoint()];
    };
    let second = Member::start(joins).await;
    let third = Member::start(joins).await;
    for member in [&first, &second, &third] {
        member
            .until("two sessions", |snapshot| snapshot.sessions.len() == 2)
            .await;
    }
    // What the third has met by dialling is on its disk before it ends.
    let store = &third.node.control().store;
    let met = || {
        let stored = store.addresses().unwrap();
        stored.iter().any(|(_, known)| known.met_ms > 0)
    };
    let mut durable = store.durable();
    while !met() {
        let written = timeout(PATIENCE, durable.changed()).await;
        written.expect("addresses are stored").unwrap();
    }
    let key = third.node.control().key;
    let Member { node, folder } = third;
    node.stop().await.unwrap();
    let third = Member::resume(folder, quiet).await;
    assert_eq!(third.node.control().key, key);
    third
        .until("two sessions", |snapshot| snapshot.sessions.len() == 2)
        .await;
    let rpc = Client::new(third.node.rpc().unwrap());
    let status = rpc.call(GetStatus {}).await.unwrap();
    assert!(status.bans.is_empty());
    for member in [first, second, third] {
        member.node.stop().await.unwrap();
    }
}
