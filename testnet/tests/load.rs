//! Transfers that arrive whether or not the network keeps up: under virtual time, and handed to processes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

use std::path::Path;

use testnet::backend::Backend;
use testnet::backend::process::Process;
use testnet::report::{LoadReport, Paint, Report};
use testnet::run;
use testnet::scenario::Scenario;

/// The third source offers what its senders hold, and cannot pay the fee.
const LOAD: &str = "
    name = 'load'
    nodes = 3
    seed = 8
    blocks = 10
    transfers = 6
    topology = 'ring'
    load = [
        { arrivals = { poisson = 40.0 }, for = '2s', fee = { exponential = { mean = 20 } } },
        { arrivals = { burst = { size = 30, every = '1s' } }, after = '500ms', for = '2s', who = 'node-2' },
        { arrivals = { constant = 2.0 }, for = '2s', amount = { fixed = 1_000_000_000_000 } },
        { arrivals = { constant = 5.0 } },
    ]
";

async fn execute(backend: Backend, runs: &Path) -> (Report, LoadReport) {
    let loaded = Scenario::parse(LOAD, "test", &[]).unwrap();
    let report = run::execute(loaded.expand().unwrap(), backend, runs);
    let report = report.await.unwrap();
    assert!(report.holds, "{}", report.text(Paint(false)));
    let load = report.load.clone().unwrap();
    (report, load)
}

/// The second and the third source are exact, the first is at most six standard deviations off.
fn assert_complete(report: &Report, load: &LoadReport) {
    let shown = report.text(Paint(false));
    assert_eq!(load.arrived, load.accepted + load.refused, "{shown}");
    assert_eq!(load.refused, 4, "{shown}");
    assert_eq!(load.applied, load.accepted, "{shown}");
    assert!(
        load.last_refusal.as_ref().unwrap().contains("cost"),
        "{shown}"
    );
    assert!((60 + 4 + 80 - 54..).contains(&load.arrived), "{shown}");
    assert!(report.figures["load_latency_p99_ms"] > 0.0, "{shown}");
    assert!(shown.contains("load latency: "), "{shown}");
    let page = std::fs::read_to_string(Path::new(&report.directory).join("report.html")).unwrap();
    assert!(page.contains("load 3") && page.contains("transfers arrived"));
}

#[tokio::test]
async fn simulated_load_is_the_same_each_time() {
    let runs = tempfile::tempdir().unwrap();
    let (report, load) = execute(Backend::Sim, runs.path()).await;
    assert_complete(&report, &load);
    let (again, same) = execute(Backend::Sim, runs.path()).await;
    assert_eq!((again.trace, same), (report.trace, load));
}

#[tokio::test]
async fn processes_take_load_as_it_arrives() {
    let runs = tempfile::tempdir().unwrap();
    let process = Backend::Process(Process::find(None).unwrap());
    let (report, load) = execute(process, runs.path()).await;
    assert_complete(&report, &load);
}
