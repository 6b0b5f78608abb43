//! Many runs: regressions, searches, the smallest failure, and a run that is done again.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use testnet::scenario::Scenario;
use testnet::search::attempt::attempt;
use testnet::search::{draw, regression};

/// A network that cannot do what is claimed of it, and much that has nothing to do with that.
const FAILS: &str = "
    name = 'fails'
    nodes = 3
    seed = 5
    transfers = 3
    links = { default = 'lan' }
    faults = [{ when = '200ms', what = 'isolate', who = 'node-3', for = '300ms' }]
    checks = [{ always = 'blocks < 15' }]
";

fn testnet(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testnet"));
    command.current_dir(directory).args(arguments);
    command.env_remove("GITHUB_STEP_SUMMARY");
    command.output().unwrap()
}

#[track_caller]
fn assert_code(output: &Output, code: i32) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    format!("{stdout}\n{stderr}")
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

#[test]
fn what_once_failed_holds() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let regressions = regression::all(&directory).unwrap();
    assert!(!regressions.is_empty());
    for file in regressions {
        let scenario = Scenario::read(&file, &[]).unwrap().scenario;
        let symptom = attempt(&scenario).unwrap().symptom;
        assert_eq!(symptom, None, "{}", file.display());
    }
}

/// What any draw may come to, `make fuzz` looks for; that these hold, and the same way each time, is looked at for every change.
#[test]
fn drawn_scenarios_hold_and_have_one_trace_each() {
    for seed in 1..=2 {
        let scenario = draw::scenario(seed);
        let first = attempt(&scenario).unwrap();
        assert_eq!(first.symptom, None, "seed {seed}");
        assert_eq!(attempt(&scenario).unwrap(), first, "seed {seed}");
    }
}

#[test]
fn a_failure_is_made_small_kept_and_done_again() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("fails.toml"), FAILS).unwrap();
    let arguments = ["run", "fails.toml", "--backend", "sim"];
    let text = assert_code(&testnet(directory.path(), &arguments), 1);
    let run = directories(&directory.path().join("runs")).remove(0);
    let command = format!(
        "testnet reproduce {}",
        run.canonicalize().unwrap().display()
    );
    assert!(
        text.contains("again with: testnet reproduce "),
        "{text}\n{command}"
    );

    // From the directory.
    let bundle = run.display().to_string();
    let text = assert_code(
        &testnet(directory.path(), &["reproduce", &bundle, "--runs", "again"]),
        1,
    );
    assert!(text.contains("the same trace: "), "{text}");
    assert!(!text.contains("warning"), "{text}");

    // From an archive, which says that it was another program's, and had another trace.
    let manifest = std::fs::read_to_string(run.join("run.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    manifest["program"]["digest"] = "0123456789abcdef0123".into();
    std::fs::write(run.join("run.json"), manifest.to_string()).unwrap();
    let result = std::fs::read_to_string(run.join("result.json")).unwrap();
    let mut result: Value = serde_json::from_str(&result).unwrap();
    result["trace"] = "feed".repeat(16).into();
    std::fs::write(run.join("result.json"), result.to_string()).unwrap();
    let packed = Command::new("tar")
        .args(["-czf", "run.tar.gz", "-C", "runs"])
        .arg(run.file_name().unwrap())
        .current_dir(directory.path())
        .status();
    assert!(packed.unwrap().success());
    let text = assert_code(&testnet(directory.path(), &["reproduce", "run.tar.gz"]), 3);
    assert!(
        text.contains("warning: the program is another one"),
        "{text}"
    );
    assert!(text.contains("another trace: it was feedfeed"), "{text}");

    let shrink = [
        "shrink",
        "fails.toml",
        "--regressions",
        "small",
        "--budget",
        "10m",
    ];
    let text = assert_code(&testnet(directory.path(), &shrink), 0);
    assert!(text.contains("1 node, 0 faults, 0 transfers"), "{text}");
    let kept = regression::all(&directory.path().join("small")).unwrap();
    let [kept] = &kept[..] else {
        panic!("one file is kept: {kept:?}");
    };
    let kept = kept.display().to_string();
    assert_code(
        &testnet(directory.path(), &["run", &kept, "--backend", "sim"]),
        1,
    );
}

#[test]
fn a_matrix_runs_all_twice_alike_and_ends_as_the_worst() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("fails.toml"), FAILS).unwrap();
    let holds = FAILS
        .replace("blocks < 15", "blocks < 100000")
        .replace("'fails'", "'holds'");
    std::fs::write(directory.path().join("holds.toml"), holds).unwrap();
    let cannot = FAILS.replace("always = 'blocks < 15'", "never = 'log(\"panicked\")'");
    std::fs::write(directory.path().join("cannot.toml"), cannot).unwrap();
    let arguments = [
        "matrix",
        "holds.toml",
        "--seeds",
        "2",
        "--sizes",
        "3,4",
        "--repeat",
        "2",
        "--json",
    ];
    let output = testnet(directory.path(), &arguments);
    assert_code(&output, 0);
    let matrix: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = matrix["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 8);
    let trace = |row: usize| rows[row]["trace"].as_str().unwrap();
    assert_eq!((trace(0), trace(2)), (trace(1), trace(3)));
    assert_ne!(trace(0), trace(2), "another seed");
    assert_ne!(trace(0), trace(4), "another size");

    let all = [
        "matrix",
        "holds.toml",
        "fails.toml",
        "cannot.toml",
        "--runs",
        "all",
    ];
    let text = assert_code(&testnet(directory.path(), &all), 1);
    assert!(text.contains("1 of 3 runs hold"), "{text}");
    assert!(text.contains("conditions on logs"), "{text}");
    let matrix = directories(&directory.path().join("all")).remove(0);
    let junit = std::fs::read_to_string(matrix.join("junit.xml")).unwrap();
    assert!(
        junit.contains("tests=\"3\" failures=\"1\" errors=\"1\""),
        "{junit}"
    );

    let able = [
        "matrix",
        "holds.toml",
        "cannot.toml",
        "--able",
        "--runs",
        "able",
    ];
    let text = assert_code(&testnet(directory.path(), &able), 0);
    assert!(text.contains("1 of 1 runs hold"), "{text}");
    assert!(text.contains("left out: scenario cannot.toml"), "{text}");
}

#[test]
fn more_processes_than_the_machine_bears_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("large.toml"), "name = 'large'").unwrap();
    let bears = 100 * std::thread::available_parallelism().map_or(1, usize::from);
    if bears >= 5_000 {
        println!("skipped: this machine bears the largest network");
        return;
    }
    let sizes = (bears + 1).to_string();
    let arguments = ["matrix", "large.toml", "--able", "--backend", "process"];
    let arguments = [&arguments[..], &["--sizes", &sizes]].concat();
    let text = assert_code(&testnet(directory.path(), &arguments), 0);
    let why = format!("left out: large: {sizes} nodes, this machine bears {bears}");
    assert!(text.contains(&why), "{text}");
}

#[test]
fn a_search_that_finds_nothing_keeps_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["fuzz", "--seed", "7", "--scenarios", "2", "--budget", "10m"];
    let text = assert_code(&testnet(directory.path(), &arguments), 0);
    assert!(
        text.contains("2 scenarios in ") && text.contains(" 0 failed"),
        "{text}"
    );
    assert!(directories(directory.path()).is_empty(), "{text}");
}
