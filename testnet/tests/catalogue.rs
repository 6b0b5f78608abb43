//! The scenarios of the catalogue, as they are: those that take seconds under virtual time, and some of them as processes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

#[path = "shared/programs.rs"]
mod programs;

use std::path::Path;

use programs::processes;
use testnet::backend::{Backend, capabilities};
use testnet::report::Paint;
use testnet::run;
use testnet::scenario::Scenario;

/// What takes long: many blocks or minutes of virtual time, many nodes, or roles and versions that not every backend has.
const SLOW: [&str; 9] = [
    "churn",
    "hash-rate-shock",
    "hostile-peers",
    "load",
    "machine-loss",
    "rolling-upgrade",
    "scale",
    "selfish-miner",
    "world",
];

fn all() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().path());
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<_> = names.map(|path| stem(&path)).collect();
    names.sort_unstable();
    names
}

fn load(name: &str) -> testnet::scenario::Loaded {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    Scenario::read(&directory.join(format!("{name}.toml")), &[]).unwrap()
}

async fn assert_holds(name: &str, backend: Backend) {
    let runs = tempfile::tempdir().unwrap();
    let expanded = load(name).expand().unwrap();
    let report = run::execute(expanded, backend, runs.path()).await.unwrap();
    let name = format!("{name} on {}", report.backend);
    assert!(report.holds, "{name}: {}", report.text(Paint(false)));
    assert!(report.checks.iter().all(|check| check.holds), "{name}");
}

#[tokio::test]
async fn what_is_fast_under_virtual_time_holds() {
    let fast: Vec<_> = all()
        .into_iter()
        .filter(|name| !SLOW.contains(&name.as_str()))
        .collect();
    assert!(fast.len() >= 10, "{fast:?}");
    for name in fast {
        assert_holds(&name, Backend::Sim).await;
    }
}

#[tokio::test]
async fn processes_bear_what_machines_do_to_them() {
    for name in ["bad-environment", "late-join"] {
        assert_holds(name, Backend::Process(processes())).await;
    }
}

#[test]
fn twelve_scenarios_run_unchanged_under_virtual_time_and_as_processes() {
    let runs = |backend: &str, name: &String| {
        let missing = load(name).missing(backend, &capabilities(backend));
        missing.is_empty()
    };
    let both = all().into_iter();
    let both = both.filter(|name| runs("sim", name) && runs("process", name));
    let both: Vec<_> = both.collect();
    for name in [
        "bad-environment",
        "baseline",
        "churn",
        "crash-storm",
        "flapping",
        "hash-rate-shock",
        "high-latency",
        "hostile-peers",
        "late-join",
        "load",
        "lossy-links",
        "one-way-cut",
        "partition-and-heal",
        "selfish-miner",
        "whole-network-restart",
    ] {
        assert!(both.contains(&name.to_owned()), "{name}: {both:?}");
    }
}
