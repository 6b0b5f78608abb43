//! A test of a network, in a program: five nodes in a ring, of which one has half of the hash rate, must agree.
//!
//! `cargo test -p testnet --example ring` runs it as a test, `cargo run -p testnet --example ring` prints what it found.

use testnet::backend::Backend;
use testnet::report::{Paint, Report};
use testnet::run;
use testnet::scenario::{Group, Scenario, Spans, Topology};

/// Runs the network under virtual time: a few seconds of it take a moment.
async fn ring(runs: &std::path::Path) -> Result<Report, anyhow::Error> {
    let scenario = Scenario::new("ring")
        .nodes(4)
        .group(Group::new("big-miner").share(0.5))
        .seed(1)
        .topology(Topology::Ring)
        .transfers(20)
        .blocks(30)
        .lasting(5.seconds());
    run::execute(scenario.expand()?, Backend::Sim, runs).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), anyhow::Error> {
    let report = ring(std::path::Path::new("runs")).await?;
    print!("{}", report.text(Paint::detect()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ring_agrees() {
        let runs = tempfile::tempdir().expect("there is room for a directory");
        let report = ring(runs.path()).await.expect("it can be run");
        assert!(report.holds, "{}", report.text(Paint(false)));
        assert_eq!(report.nodes[4].name, "big-miner");
        assert_eq!(report.transfers.applied, 20);
    }
}
