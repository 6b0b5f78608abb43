//! Networks that are hurt and heal: under virtual time, and as processes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

#[path = "shared/programs.rs"]
mod programs;

#[path = "shared/report.rs"]
mod report;

use std::path::Path;

use programs::processes;
use report::{assert_holds, events, execute};
use serde_json::Value;
use testnet::backend::Backend;
use testnet::report::Report;

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

/// A stranger that is told no peers comes while no seed resolves; one node's disk is full, another stands still.
const ENVIRONMENT: &str = "
    name = 'environment'
    nodes = 4
    seed = 7
    blocks = 40
    transfers = 10
    topology = 'ring'
    groups = [{ name = 'stranger', seeded = true, config = { peer = { ping_interval_ms = 1_000 } } }]
    faults = [
        { when = '500ms', what = 'disk-full', who = 'node-2', for = '2s' },
        { when = '500ms', what = 'seed-outage', for = '3s' },
        { when = '1s', what = 'join', who = 'stranger' },
        { when = '1s', what = 'pause', who = 'node-3', for = '1s' },
    ]
    checks = [
        { eventually = 'peers >= 1 on stranger', within = '30s', after = 'faults over' },
        { always = 'reorganisation < 1000 and stale_rate < 1' },
    ]
    [verdict.invariants]
    no_panic = true
    supply = true
    no_invalid_block = true
    no_honest_penalty = true
    no_unexpected_restart = true
    descriptors = 500
";

/// The number of the stranger.
const STRANGER: u64 = 4;

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

/// Nobody found the stranger while names did not resolve, and the node with the full disk ended once, and came back.
#[track_caller]
fn assert_environment(report: &Report) {
    assert_holds(report);
    assert!(report.nodes[STRANGER as usize].state.is_some());
    let ended = events(report, "node_ended");
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!(
        (&ended[0]["node"], &ended[0]["code"]),
        (&"node-2".into(), &1.into())
    );
    let resolves_ms = events(report, "fault_ended")
        .into_iter()
        .find(|event| event["fault"] == 1)
        .unwrap()["at_ms"]
        .as_u64();
    let samples = std::fs::read_to_string(Path::new(&report.directory).join("samples.jsonl"));
    let alone = samples.unwrap();
    let mut alone = alone
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|sample| sample["node"] == STRANGER && sample["at_ms"].as_u64() < resolves_ms)
        .filter(|sample| sample["tip"].is_string())
        .peekable();
    assert!(alone.peek().is_some(), "it was there before");
    assert!(alone.all(|sample| sample["peers"] == 0));
    let names: Vec<_> = report.checks.iter().map(|check| &check.name).collect();
    assert_eq!(names.len(), 8, "{names:?}");
    assert!(report.checks.iter().all(|check| check.holds));
    assert!(report.convergence_ms.is_some() && report.settlement_ms.is_some());
}

#[tokio::test]
async fn full_disks_silent_seeds_and_pauses_are_borne_the_same_way_each_time() {
    let runs = tempfile::tempdir().unwrap();
    let report = execute(ENVIRONMENT, Backend::Sim, runs.path()).await;
    assert_environment(&report);
    let again = execute(ENVIRONMENT, Backend::Sim, runs.path()).await;
    assert_eq!(report.trace, again.trace);
}

#[tokio::test]
async fn processes_bear_full_disks_silent_seeds_and_pauses() {
    let runs = tempfile::tempdir().unwrap();
    let process_only = "checks = [
        { sometimes = 'log(\"no storage space\") on node-2' },
        { sometimes = 'metric(\"triskel_handshakes_total\") >= 2 on any node' },
        { always = 'memory_mib > 1 and memory_mib < 4000' },";
    let text = ENVIRONMENT.replace("checks = [", process_only);
    let mut report = execute(&text, Backend::Process(processes()), runs.path()).await;
    let names: Vec<_> = report
        .checks
        .iter()
        .map(|check| check.name.clone())
        .collect();
    assert_eq!(names.len(), 11, "{names:?}");
    report.checks.retain(|check| {
        !["log", "metric", "memory"]
            .iter()
            .any(|word| check.name.contains(word))
    });
    assert_environment(&report);
}

#[tokio::test]
async fn what_was_never_known_does_not_hold() {
    let runs = tempfile::tempdir().unwrap();
    let text = "
        name = 'blind'
        nodes = 2
        blocks = 5
        checks = [{ never = 'metric(\"triskel_no_such\") > 0 on any node' }]";
    let report = execute(text, Backend::Process(processes()), runs.path()).await;
    let reason = report.reason.unwrap();
    assert!(
        reason.ends_with("fails: what it looks at was never known"),
        "{reason}"
    );
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

#[tokio::test]
async fn processes_are_parted_killed_wiped_and_heal() {
    let runs = tempfile::tempdir().unwrap();
    let crash = "
        faults = [
            { when = '4500ms', what = 'kill', who = 'node-1', for = '500ms' },
            { when = '4500ms', what = 'wipe', who = 'node-2', for = '500ms' },";
    let text = PARTITION.replace("faults = [", crash);
    let report = execute(&text, Backend::Process(processes()), runs.path()).await;
    assert_holds(&report);
    assert_eq!(events(&report, "fault_ended").len(), 3);
}
