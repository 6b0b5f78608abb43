//! Networks that are hurt and heal: under virtual time, and as processes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

use std::path::Path;

use serde_json::Value;
use testnet::backend::Backend;
use testnet::backend::process::Process;
use testnet::report::{Paint, Report};
use testnet::run;
use testnet::scenario::Scenario;

const PARTITION: &str = "
    name = 'parted'
    nodes = 4
    seed = 5
    blocks = 20
    transfers = 8
    topology = 'ring'
    links = { default = { delay = '5ms' } }
    verdict = { fresh_blocks = 5 }
    faults = [{ when = '1s', what = { partition = 2 }, for = '3s' }]
    checks = [
        { sometimes = 'tips differ' },
        { eventually = 'tips == 1', within = '30s', after = 'faults over' },
    ]
";

const CRASHES: &str = "
    name = 'crashes'
    nodes = 5
    seed = 6
    blocks = 40
    transfers = 10
    topology = 'ring'
    faults = [
        { when = '1s', what = 'kill', who = 'node-1', for = '2s' },
        { when = '2s', what = 'wipe', who = 'node-2', for = '1s' },
        { when = 'block 10', what = 'restart', who = 'node-3' },
        { when = '2500ms', what = { clock-skew = '-2s' }, who = 'node-2', for = '2s' },
        { when = '3s', what = { hashrate = 3.0 }, who = 'node-4' },
        { when = '3s', what = 'leave', who = 'node-5' },
        { when = 'tips differ', what = { flap = '400ms' }, who = 'node-4', for = '1s' },
    ]
    checks = [{ sometimes = 'live < 5' }]
";

async fn execute(text: &str, backend: Backend, runs: &Path) -> Report {
    let loaded = Scenario::parse(text, "test", &[]).unwrap();
    run::execute(loaded.expand().unwrap(), backend, runs)
        .await
        .unwrap()
}

#[track_caller]
fn assert_holds(report: &Report) {
    assert!(report.holds, "{}", report.text(Paint(false)));
}

fn events(report: &Report, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(&report.directory).join("events.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    events
        .filter(|event: &Value| event["event"] == name)
        .collect()
}

#[tokio::test]
async fn two_parts_mine_apart_and_agree_again_the_same_way_each_time() {
    let runs = tempfile::tempdir().unwrap();
    let report = execute(PARTITION, Backend::Sim, runs.path()).await;
    assert_holds(&report);
    let (began, ended) = (
        events(&report, "fault_began"),
        events(&report, "fault_ended"),
    );
    assert_eq!((began.len(), ended.len()), (1, 1));
    let at_ms = |event: &Value| event["at_ms"].as_u64().unwrap();
    let mining_ms = at_ms(&events(&report, "mining_started")[0]);
    assert!((1_000..1_100).contains(&(at_ms(&began[0]) - mining_ms)));
    assert!((4_000..4_100).contains(&(at_ms(&ended[0]) - mining_ms)));
    let again = execute(PARTITION, Backend::Sim, runs.path()).await;
    assert!(report.trace.is_some());
    assert_eq!(report.trace, again.trace);
}

#[tokio::test]
async fn nodes_crash_lose_their_disks_and_leave_the_same_way_each_time() {
    let runs = tempfile::tempdir().unwrap();
    let report = execute(CRASHES, Backend::Sim, runs.path()).await;
    assert_holds(&report);
    assert_eq!(events(&report, "fault_began").len(), 7);
    assert_eq!(events(&report, "fault_ended").len(), 7);
    assert!(report.nodes[4].state.is_none(), "it left");
    let again = execute(CRASHES, Backend::Sim, runs.path()).await;
    assert_eq!(report.trace, again.trace);
}

#[tokio::test]
async fn a_check_that_fails_is_named_with_the_time() {
    let runs = tempfile::tempdir().unwrap();
    let text = PARTITION.replace("sometimes = 'tips differ'", "always = 'blocks < 10'");
    let report = execute(&text, Backend::Sim, runs.path()).await;
    assert!(!report.holds);
    let reason = report.reason.unwrap();
    assert!(
        reason.starts_with("check `always blocks < 10` fails ")
            && reason.ends_with(" s after mining began"),
        "{reason}"
    );
}

#[tokio::test]
async fn what_never_happens_is_told() {
    let runs = tempfile::tempdir().unwrap();
    let text = PARTITION.replace("'tips differ'", "'live > 4'");
    let report = execute(&text, Backend::Sim, runs.path()).await;
    let reason = report.reason.unwrap();
    assert_eq!(reason, "check `sometimes live > 4` fails: it never held");
}

/// Cargo builds the node beside this test where it tests the whole workspace.
#[tokio::test]
async fn processes_are_parted_killed_wiped_and_heal() {
    let Ok(process) = Process::find(None) else {
        eprintln!("there is no node program: build the workspace first");
        return;
    };
    let runs = tempfile::tempdir().unwrap();
    let crash = "
        faults = [
            { when = '4500ms', what = 'kill', who = 'node-1', for = '500ms' },
            { when = '4500ms', what = 'wipe', who = 'node-2', for = '500ms' },";
    let text = PARTITION.replace("faults = [", crash);
    let report = execute(&text, Backend::Process(process), runs.path()).await;
    assert_holds(&report);
    assert_eq!(events(&report, "fault_ended").len(), 3);
}
