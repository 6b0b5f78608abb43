//! Nodes that break the rules, beside honest ones that must agree: under virtual time, and as processes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

use std::path::{Path, PathBuf};

use testnet::backend::Backend;
use testnet::backend::process::Process;
use testnet::report::{Paint, Report};
use testnet::run;
use testnet::scenario::{Role, Scenario};

/// One of each role.
const HOSTILE: &str = "
    name = 'hostile'
    nodes = 4
    seed = 9
    blocks = 40
    transfers = 8
    topology = { regular = { degree = 4 } }
    groups = [
        { name = 'selfish', role = 'selfish-miner' },
        { name = 'withholder', role = 'withholder' },
        { name = 'forger', role = 'invalid-block-relayer' },
        { name = 'spender', role = 'invalid-transaction-relayer' },
        { name = 'liar', role = 'timestamp-liar' },
        { name = 'sluggard', role = 'slow-reader' },
        { name = 'flooder', role = 'flooder' },
    ]
";

async fn execute(text: &str, backend: Backend, runs: &Path) -> Report {
    let loaded = Scenario::parse(text, "test", &[]).unwrap();
    let report = run::execute(loaded.expand().unwrap(), backend, runs);
    report.await.unwrap()
}

/// The four honest nodes agree, with all transfers; what the others say is shown, and counts for nothing.
#[track_caller]
fn assert_holds(report: &Report) {
    let shown = report.text(Paint(false));
    assert!(report.holds, "{shown}");
    let [agreed] = &report.agreement.groups[..] else {
        panic!("{shown}")
    };
    assert_eq!(agreed.nodes, [0, 1, 2, 3], "{shown}");
    assert!(report.agreement.silent.is_empty(), "{shown}");
    assert_eq!(report.transfers.applied, 8, "{shown}");
    assert_eq!(report.nodes.len(), 11, "{shown}");
}

/// The program `adversary`, which cargo builds for tests of its own package alone.
fn adversary() -> Option<PathBuf> {
    let process = Process::find(None).ok()?;
    let name = format!("adversary{}", std::env::consts::EXE_SUFFIX);
    let program = process.program().with_file_name(name);
    program.is_file().then_some(program)
}

#[test]
fn every_role_that_a_scenario_has_can_be_played() {
    for role in Role::ALL {
        assert_eq!(role.adversary().is_none(), role.is_honest(), "{role}");
    }
}

#[tokio::test]
async fn simulated_adversaries_stop_nobody_the_same_way_each_time() {
    let runs = tempfile::tempdir().unwrap();
    let report = execute(HOSTILE, Backend::Sim, runs.path()).await;
    assert_holds(&report);
    let again = execute(HOSTILE, Backend::Sim, runs.path()).await;
    assert_eq!(again.trace, report.trace);
}

#[tokio::test]
async fn adversaries_as_processes_stop_nobody() {
    if adversary().is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "there is no adversary program"
        );
        eprintln!("there is no adversary program: build the workspace first");
        return;
    }
    let runs = tempfile::tempdir().unwrap();
    let process = Backend::Process(Process::find(None).unwrap());
    assert_holds(&execute(HOSTILE, process, runs.path()).await);
}
