//! A node inside another program: `cargo run --example embed`.
//!
//! It mines for a few blocks on a network of its own and says how far it came.

use anyhow::Context as _;
use triskel::node::{Node, NodeConfig, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = NodeConfig {
        port: 9000,
        data_dir: "triskel-data/embed".to_owned(),
        ..Default::default()
    };
    telemetry::install(&config.log)?;
    let node = Node::start(config).await?;
    println!("peers connect to {}", node.listening());

    let mut snapshot = node.control().snapshot.clone();
    let mined = snapshot.wait_for(|snapshot| snapshot.record.number >= 20);
    let number = mined.await.context("the node has ended")?.record.number;
    println!("the chain has {number} blocks");

    node.stop().await?;
    Ok(())
}
