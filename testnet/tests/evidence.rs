//! What a run leaves: every file is there, is what it should be, and can be made anew.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn testnet(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_testnet"))
        .args(arguments)
        .current_dir(directory)
        .env("GITHUB_STEP_SUMMARY", directory.join("step.md"))
        .output()
        .unwrap()
}

#[track_caller]
fn succeeds(directory: &Path, arguments: &[&str]) -> String {
    let output = testnet(directory, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn simulate(directory: &Path, runs: &str, seed: &str, more: &[&str]) -> PathBuf {
    let fixed = [
        "run",
        "--backend",
        "sim",
        "--nodes",
        "5",
        "--blocks",
        "120",
        "--transfers",
        "20",
        "--runs",
        runs,
        "--seed",
        seed,
    ];
    succeeds(directory, &[&fixed[..], more].concat());
    let entries = std::fs::read_dir(directory.join(runs)).unwrap();
    entries.map(|entry| entry.unwrap().path()).max().unwrap()
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Whether every tag is closed where it must be, and nothing else has an angle bracket.
#[track_caller]
fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some(begin) = rest.find('<') {
        assert!(!rest[..begin].contains('>'), "{}", &rest[..begin]);
        let end = begin + rest[begin..].find('>').unwrap();
        let tag = &rest[begin + 1..end];
        rest = &rest[end + 1..];
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.split([' ', '\n']).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.starts_with(['?', '!']) && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}

#[test]
fn a_run_leaves_files_that_others_read_and_that_can_be_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let run = simulate(
        directory.path(),
        "runs",
        "7",
        &["--set", "verdict.statistics.reorganisation_depth=100"],
    );
    let read = |name: &str| std::fs::read_to_string(run.join(name)).unwrap();

    let result: Value = serde_json::from_str(&read("result.json")).unwrap();
    assert_eq!(result["holds"], true);
    assert_eq!(
        result["checks"][0]["name"],
        "statistics: reorganisation depth"
    );
    assert!(result["figures"]["propagation_p50_ms"].as_f64().unwrap() > 0.1);
    assert!(result["figures"]["load_latency_p50_ms"].as_f64().unwrap() > 1.0);
    let schema: Value =
        serde_json::from_str(&succeeds(directory.path(), &["schema", "--result"])).unwrap();
    for key in result.as_object().unwrap().keys() {
        assert!(
            schema["properties"][key].is_object(),
            "{key} is in the schema"
        );
    }

    let samples = lines(&run.join("samples.jsonl"));
    assert_eq!(
        samples.last().unwrap()["blocks"],
        result["figures"]["blocks"].as_f64().unwrap() as u64
    );
    let moments: Vec<_> = samples
        .iter()
        .map(|line| line["at_ms"].as_u64().unwrap())
        .collect();
    assert!(
        moments.is_sorted() && moments.len() >= 5 * 10,
        "{moments:?}"
    );
    assert!(
        lines(&run.join("events.jsonl"))
            .iter()
            .any(|line| line["event"] == "converged")
    );
    assert_eq!(lines(&run.join("transfers.jsonl")).len(), 40);
    assert!(serde_json::from_str::<Value>(&read("dag.json")).is_ok());

    let junit = read("junit.xml");
    assert_well_formed(&junit);
    assert!(junit.contains("failures=\"0\"") && junit.contains("name=\"verdict\""));
    assert!(read("summary.md").starts_with("### baseline: ✅ converged"));
    let step = std::fs::read_to_string(directory.path().join("step.md")).unwrap();
    assert!(step.contains("### baseline"));

    let html = read("report.html");
    for part in [
        "Blocks by node",
        "Who had which tip",
        "Propagation",
        "Mining against theory",
        "Load latency",
    ] {
        assert!(html.contains(&format!("<h2>{part}</h2>")), "{part}");
    }
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "it needs no network"
    );
    assert!(!html.contains("<script") && !html.contains("<link"));

    let before = (junit, html);
    succeeds(directory.path(), &["report", run.to_str().unwrap()]);
    assert_eq!((read("junit.xml"), read("report.html")), before);
}

#[test]
fn the_slowest_block_is_traced_to_every_node() {
    let directory = tempfile::tempdir().unwrap();
    let run = simulate(directory.path(), "runs", "3", &[]);
    let run = run.to_str().unwrap();
    let way: Value =
        serde_json::from_str(&succeeds(directory.path(), &["trace", run, "--json"])).unwrap();
    let hops = way["hops"].as_array().unwrap();
    assert_eq!(hops.len(), 5, "{way}");
    assert_eq!(
        (&hops[0]["origin"], &hops[0]["after_us"]),
        (&"mined".into(), &0.into())
    );
    let id = &way["id"].as_str().unwrap()[..16];
    let text = succeeds(directory.path(), &["trace", run, id]);
    assert!(
        text.starts_with(&format!("block {id} #")) && text.contains("└─ node-"),
        "{text}"
    );
    let missing = testnet(directory.path(), &["trace", run, "ffffffffffffffff"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn the_same_seed_leaves_the_same_samples_and_compares_as_equal() {
    let directory = tempfile::tempdir().unwrap();
    let first = simulate(directory.path(), "before", "5", &[]);
    let again = simulate(directory.path(), "after", "5", &[]);
    for name in ["samples.jsonl", "arrivals.jsonl", "transfers.jsonl"] {
        let read = |run: &Path| std::fs::read(run.join(name)).unwrap();
        assert!(read(&first) == read(&again), "{name}");
    }
    let text = succeeds(directory.path(), &["compare", "before", "after"]);
    assert!(
        text.contains("paired by seed") && text.contains("so few runs"),
        "{text}"
    );
    let none = testnet(directory.path(), &["compare", "before", "nowhere"]);
    assert_eq!(none.status.code(), Some(2));
}

#[test]
fn statistics_that_do_not_hold_break_the_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let output = testnet(
        directory.path(),
        &[
            "run",
            "--backend",
            "sim",
            "--nodes",
            "3",
            "--seed",
            "1",
            "--set",
            "verdict.statistics.interval_p_value=0.5",
        ],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("statistics: intervals of stream A: 0 intervals say nothing"),
        "{text}"
    );
}
