//! Runs of scenarios in tests, and what they leave.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use testnet::backend::Backend;
use testnet::report::{Paint, Report};
use testnet::run;
use testnet::scenario::Scenario;

/// Runs a scenario that is written down here.
pub(crate) async fn execute(text: &str, backend: Backend, runs: &Path) -> Report {
    let loaded = Scenario::parse(text, "test", &[]).unwrap();
    let expanded = loaded.expand().unwrap();
    run::execute(expanded, backend, runs).await.unwrap()
}

#[track_caller]
pub(crate) fn assert_holds(report: &Report) {
    assert!(report.holds, "{}", report.text(Paint(false)));
}

/// What happened under a name.
pub(crate) fn events(report: &Report, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(&report.directory).join("events.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    events
        .filter(|event: &Value| event["event"] == name)
        .collect()
}

/// What a node logged.
pub(crate) fn log(report: &Report, node: &str) -> String {
    let log = Path::new(&report.directory).join(node).join("node.log");
    std::fs::read_to_string(log).unwrap()
}

/// A scenario of the catalogue.
pub(crate) fn catalogue(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    directory.join(format!("{name}.toml"))
}
