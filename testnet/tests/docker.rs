//! Networks of containers. Without an engine these tests are skipped, or fail where CI=true. TRISKEL_IMAGE names an image; without
//! it that of this repository is built.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testnet::backend::docker::Docker;
use testnet::backend::{Backend, capabilities};
use testnet::progress::Progress;
use testnet::report::{Paint, Report};
use testnet::run;
use testnet::scenario::Scenario;

/// The scenarios of the catalogue that take the least time.
const FAST: [&str; 4] = [
    "baseline",
    "late-join",
    "partition-and-heal",
    "whole-network-restart",
];

/// Everything that an engine does to containers, one thing after the other, each until after the target was down meanwhile.
const FAULTS: &str = "
    name = 'hurt'
    nodes = 4
    seed = 5
    blocks = 20
    transfers = 8
    topology = 'ring'
    links = { default = { delay = '5ms' } }
    verdict = { fresh_blocks = 5, invariants = { no_panic = true, no_honest_penalty = true } }
    faults = [
        { when = '1s', what = { partition = 2 }, for = '6s' },
        { when = '2s', what = 'kill', who = 'node-1', for = '1s' },
        { when = '2s', what = 'pause', who = 'node-2', for = '2s' },
        { when = '2s', what = { degrade = { link = { delay = '20ms' } } }, who = 'node-3', for = '8s' },
        { when = '4s', what = 'stop', who = 'node-3', for = '1s' },
        { when = '5s', what = { upgrade = {} }, who = 'node-4' },
        { when = '8s', what = 'wipe', who = 'node-2', for = '500ms' },
        { when = '9s', what = { clock-skew = '-1s' }, who = 'node-4', for = '1s' },
        { when = '9s', what = { hashrate = 2.0 }, who = 'node-1' },
        { when = '9s', what = 'join', who = 'late' },
    ]
    groups = [{ name = 'late' }]
    checks = [
        { sometimes = 'tips differ' },
        { sometimes = 'live < 4' },
        { sometimes = 'log(\"listening on\")' },
        { eventually = 'tips == 1', within = '60s', after = 'faults over' },
    ]
";

/// The engine, unless there is none and that is no failure.
async fn engine() -> Option<Docker> {
    let image = std::env::var("TRISKEL_IMAGE").ok();
    match Docker::find(image.as_deref(), &mut Progress::new()).await {
        Ok(docker) => Some(docker),
        Err(error) if std::env::var("CI").is_ok_and(|value| value == "true") => panic!("{error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn catalogue(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    directory.join(format!("{name}.toml"))
}

/// What the engine has of a run.
fn left(report: &Report) -> String {
    let filter = format!("label=triskel.run={}", report.run);
    let list = |arguments: &[&str]| {
        let mut command = Command::new("docker");
        let output = command.args(arguments).args(["--filter", &filter]);
        String::from_utf8(output.output().unwrap().stdout).unwrap()
    };
    list(&["ps", "--all", "--quiet"]) + &list(&["network", "ls", "--quiet"])
}

#[track_caller]
fn assert_holds(report: &Report) {
    assert!(report.holds, "{}", report.text(Paint(false)));
    assert_eq!(left(report), "", "{}", report.run);
}

fn events(report: &Report, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(&report.directory).join("events.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    events
        .filter(|event: &Value| event["event"] == name)
        .collect()
}

#[test]
fn most_of_the_catalogue_runs_unchanged() {
    let able = capabilities("docker");
    let names = [
        "baseline",
        "churn",
        "hash-rate-shock",
        "high-latency",
        "late-join",
        "load",
        "lossy-links",
        "one-way-cut",
        "partition-and-heal",
        "scale",
        "whole-network-restart",
        "world",
    ];
    for name in names {
        let loaded = Scenario::read(&catalogue(name), &[]).unwrap();
        let missing = loaded.missing("docker", &able);
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
}

#[tokio::test]
async fn containers_are_hurt_in_every_way_and_heal_and_nothing_is_left() {
    let Some(docker) = engine().await else { return };
    let runs = tempfile::tempdir().unwrap();
    let loaded = Scenario::parse(FAULTS, "test", &[]).unwrap();
    let expanded = loaded.expand().unwrap();
    let report = run::execute(expanded, Backend::Docker(docker), runs.path())
        .await
        .unwrap();
    assert_holds(&report);
    assert_eq!(events(&report, "fault_ended").len(), 10);
    // Both directions of all three links between those who were there from the start.
    let as_asked = report.links.iter().filter(|link| link.holds == Some(true));
    assert!(as_asked.count() >= 6, "{:?}", report.links);
    let seen = |name: &str| events(&report, name)[0]["took_ms"].as_f64().unwrap();
    assert!(seen("cut_seen") > 0.0 && seen("heal_seen") > 0.0);
    // Each start wrote on what was there: only the one that was wiped forgot, and nobody its key.
    let log = Path::new(&report.directory).join("node-1/node.log");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.matches("triskel::hop").count() > 20, "{log}");
}

#[tokio::test]
async fn the_fast_scenarios_hold_unchanged() {
    if engine().await.is_none() {
        return;
    }
    let runs = tempfile::tempdir().unwrap();
    for name in FAST {
        let Some(docker) = engine().await else { return };
        let loaded = Scenario::read(&catalogue(name), &[]).unwrap();
        let expanded = loaded.expand().unwrap();
        let report = run::execute(expanded, Backend::Docker(docker), runs.path());
        assert_holds(&report.await.unwrap());
    }
}
