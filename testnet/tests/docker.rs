//! Networks of containers. Without an engine these tests are skipped, or fail where CI=true. TRISKEL_IMAGE names an image; without
//! it that of this repository is built.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

#[path = "shared/home.rs"]
mod home;

#[path = "shared/report.rs"]
mod report;

use std::process::Command;

use home::Home;
use report::{catalogue, events, execute, log};
use serde_json::Value;
use testnet::backend::docker::Docker;
use testnet::backend::{Backend, capabilities};
use testnet::progress::Progress;
use testnet::report::Report;
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

/// What the engine has of a run, or of a network that stays up.
fn left(run: &str) -> String {
    let filter = format!("label=triskel.run={run}");
    let list = |arguments: &[&str]| {
        let mut command = Command::new("docker");
        let output = command.args(arguments).args(["--filter", &filter]);
        String::from_utf8(output.output().unwrap().stdout).unwrap()
    };
    list(&["ps", "--all", "--quiet"]) + &list(&["network", "ls", "--quiet"])
}

#[track_caller]
fn assert_holds(report: &Report) {
    report::assert_holds(report);
    assert_eq!(left(&report.run), "", "{}", report.run);
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
    let report = execute(FAULTS, Backend::Docker(docker), runs.path()).await;
    assert_holds(&report);
    assert_eq!(events(&report, "fault_ended").len(), 10);
    // Both directions of all three links between those who were there from the start.
    let as_asked = report.links.iter().filter(|link| link.holds == Some(true));
    assert!(as_asked.count() >= 6, "{:?}", report.links);
    let seen = |name: &str| events(&report, name)[0]["took_ms"].as_f64().unwrap();
    assert!(seen("cut_seen") > 0.0 && seen("heal_seen") > 0.0);
    // Each start wrote on what was there: only the one that was wiped forgot, and nobody its key.
    let log = log(&report, "node-1");
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

/// How each node is.
#[track_caller]
fn conditions(home: &Home, network: &str) -> Vec<(String, String)> {
    let status = home.status(network);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let nodes = status["nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| (text(&node["name"]), text(&node["condition"])))
        .collect()
}

/// What the containers of a network are labelled by.
fn id(home: &Home, network: &str) -> String {
    let state = home.path().join("networks").join(network);
    let state = std::fs::read_to_string(state.join("state.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    state["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_are(conditions: &[(String, String)], expected: &[(&str, &str)]) {
    let conditions = conditions.iter();
    let conditions: Vec<_> = conditions.map(|(name, is)| (&name[..], &is[..])).collect();
    assert_eq!(conditions, expected);
}

#[tokio::test]
async fn a_network_of_containers_stays_up_until_it_is_cleaned() {
    if engine().await.is_none() {
        return;
    }
    // No node is a process.
    let home = Home::with("no-such-program".into());
    let up = ["up", "--backend", "docker", "--network", "one"];
    home.run(&[&up[..], &["--nodes", "3", "--set", "topology=ring"]].concat());
    assert!(home.run(&up).contains("nothing to do"));
    let run = |arguments: &[&str]| home.run(&[arguments, &["--network", "one"]].concat());
    let runs = [("node-1", "runs"), ("node-2", "runs"), ("node-3", "runs")];
    assert_are(&conditions(&home, "one"), &runs);
    let logged = run(&["logs", "node-1", "-n", "5"]);
    assert_eq!(logged.lines().count(), 5, "{logged}");
    let asked = home.run(&["exec", "node-1", "--network", "one", "--", "status"]);
    assert!(asked.contains("peers"), "{asked}");

    run(&["stop", "node-1"]);
    run(&["fault", "pause", "node-2"]);
    run(&["fault", "isolate", "node-3"]);
    let hurt = [("node-1", "stopped"), ("node-2", "paused"), runs[2]];
    assert_are(&conditions(&home, "one"), &hurt);
    assert_eq!(home.status("one")["faults"].as_array().unwrap().len(), 3);
    run(&["start", "node-1"]);
    run(&["heal"]);
    assert_are(&conditions(&home, "one"), &runs);

    run(&["add", "2"]);
    run(&["remove", "node-2"]);
    run(&["snapshot", "early"]);
    run(&["down"]);
    assert!(
        conditions(&home, "one")
            .iter()
            .all(|(_, is)| is == "stopped")
    );
    home.run(&up);
    let names = ["node-1", "node-3", "node-4", "node-5"];
    assert_are(&conditions(&home, "one"), &names.map(|name| (name, "runs")));
    home.run(&["restore", "early", "--network", "two"]);
    assert_are(&conditions(&home, "two"), &names.map(|name| (name, "runs")));

    // Each removes its own and nothing else.
    let (one, two) = (id(&home, "one"), id(&home, "two"));
    home.run(&["clean", "--network", "one"]);
    assert_eq!(left(&one), "");
    assert_are(&conditions(&home, "two"), &names.map(|name| (name, "runs")));
    home.run(&["clean", "--all"]);
    assert_eq!(left(&two), "");
    assert!(!home.path().join("networks").exists());
}
