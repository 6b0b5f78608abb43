//! The program from outside: what it prints, how it exits, what it leaves.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Run {
    output: Output,
    directory: tempfile::TempDir,
}

impl Run {
    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    #[track_caller]
    fn assert_code(&self, code: i32) {
        let (stdout, stderr) = (self.stdout(), self.stderr());
        assert_eq!(self.output.status.code(), Some(code), "{stdout}\n{stderr}");
    }

    /// The run's directory.
    fn evidence(&self) -> PathBuf {
        let mut entries = std::fs::read_dir(self.directory.path().join("runs")).unwrap();
        let evidence = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none(), "one run leaves one directory");
        evidence
    }
}

/// Cargo builds examples beside the programs that it tests.
fn scripted_node() -> PathBuf {
    let name = format!("scripted_node{}", std::env::consts::EXE_SUFFIX);
    let program = Path::new(env!("CARGO_BIN_EXE_testnet"));
    program.parent().unwrap().join("examples").join(name)
}

fn testnet(node: Option<&Path>, script: &str, arguments: &[&str]) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_testnet"));
    command.arg("run").args(arguments);
    if !arguments.contains(&"--backend") {
        command.args(["--backend", "process"]);
    }
    command
        .current_dir(directory.path())
        .env_remove("TRISKEL_NODE")
        .env_remove("GITHUB_STEP_SUMMARY")
        .env("TRISKEL_SCRIPT", script);
    if let Some(node) = node {
        command.arg("--node").arg(node);
    }
    let output = command.output().unwrap();
    Run { output, directory }
}

fn scripted(script: &str, arguments: &[&str]) -> Run {
    testnet(Some(&scripted_node()), script, arguments)
}

/// A scenario that gives up early.
fn hasty(directory: &Path) -> String {
    let text = "
        name = 'hasty'
        nodes = 3
        transfers = 10
        verdict = { start_within = '700ms', blocks_within = '5s', convergence_within = '700ms' }
    ";
    let file = directory.join("hasty.toml");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn a_network_that_converges_is_a_table_a_time_and_code_0() {
    let run = scripted("converge", &["--nodes", "3", "--transfers", "10"]);
    run.assert_code(0);
    let stdout = run.stdout();
    assert!(
        stdout.starts_with("backend: process (as asked, "),
        "{stdout}"
    );
    for part in [
        "\nnode-3      30  ",
        "time to convergence: ",
        "verdict: converged: 3 nodes",
    ] {
        assert!(stdout.contains(part), "{part:?} in {stdout}");
    }
    let evidence = run.evidence();
    let result = std::fs::read_to_string(evidence.join("result.json")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!(
        (&result["version"], &result["holds"]),
        (&2.into(), &true.into())
    );
    assert_eq!(result["transfers"]["applied"], 10);
    for file in [
        "scenario.toml",
        "events.jsonl",
        "node-2/node.toml",
        "node-2/node.log",
    ] {
        assert!(evidence.join(file).is_file(), "{file}");
    }
}

#[test]
fn json_is_all_that_standard_output_has() {
    let run = scripted("converge", &["--nodes", "1", "--transfers", "2", "--json"]);
    run.assert_code(0);
    let result: serde_json::Value = serde_json::from_slice(&run.output.stdout).unwrap();
    assert_eq!(result["nodes"][0]["state"]["blocks"], 30);
}

#[test]
fn a_network_that_diverges_is_a_matrix_and_code_1() {
    let directory = tempfile::tempdir().unwrap();
    let run = scripted("diverge", &[&hasty(directory.path())]);
    run.assert_code(1);
    let stdout = run.stdout();
    for part in [
        "verdict: does not hold: after 0.7 s still waiting for 3 nodes to agree: 3 different tips",
        "who is where:",
        "last 1 line of node-",
        "scripted node: diverge",
        "evidence: ",
    ] {
        assert!(stdout.contains(part), "{part:?} in {stdout}");
    }
}

#[test]
fn transfers_that_vanish_break_the_verdict() {
    let run = scripted("lose", &["--nodes", "2", "--transfers", "10"]);
    run.assert_code(1);
    let text = "10 of 10 transfers are not applied on every node";
    assert!(run.stdout().contains(text), "{}", run.stdout());
}

#[test]
fn nodes_that_never_answer_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let run = scripted("silent", &[&hasty(directory.path())]);
    run.assert_code(1);
    let text = "still waiting for every node to answer: 0/3 do, missing 1-3";
    assert!(run.stdout().contains(text), "{}", run.stdout());
}

#[test]
fn a_node_that_crashes_ends_the_run_at_once() {
    let run = scripted("crash", &["--nodes", "2"]);
    run.assert_code(1);
    assert!(
        run.stdout().contains("crashing as told"),
        "{}",
        run.stdout()
    );
}

#[test]
fn ports_that_stay_in_use_are_the_environments_fault() {
    let run = scripted("busy", &["--nodes", "2"]);
    run.assert_code(3);
    let events = std::fs::read_to_string(run.evidence().join("events.jsonl")).unwrap();
    assert_eq!(events.matches("port_in_use").count(), 2, "{events}");
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_starts() {
    let run = testnet(Some(Path::new("no-such-node")), "", &[]);
    run.assert_code(3);
    assert!(run.stderr().contains("no-such-node"), "{}", run.stderr());
    testnet(None, "", &["no-such-scenario.toml"]).assert_code(2);
    testnet(None, "", &["--nodes", "0"]).assert_code(2);
    testnet(None, "", &["--no-such-flag"]).assert_code(2);
}

#[test]
fn what_a_backend_cannot_do_is_named_before_anything_starts() {
    let fault = "faults=[{ when = '5s', what = { upgrade = { image = 'next' } } }]";
    let run = scripted("converge", &["--set", fault]);
    run.assert_code(3);
    let text = "key `faults[0].what.upgrade.image`: backend process cannot do this: images by node";
    assert!(run.stderr().contains(text), "{}", run.stderr());
    assert!(!run.directory.path().join("runs").exists());
    let validate = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_testnet"));
        command.args(["validate", "--set", fault]).args(arguments);
        command.output().unwrap()
    };
    assert_eq!(validate(&[]).status.code(), Some(0));
    let output = validate(&["--backend", "process"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains(text));
}

#[test]
fn only_machines_are_lost_and_others_name_what_they_lack() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/machine-loss.toml");
    let said = |verb: &str, backend: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_testnet"));
        let output = command.args([verb, file, "--backend", backend]);
        let output = output.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    };
    for backend in ["sim", "process", "docker"] {
        for verb in ["validate", "run"] {
            let (code, text) = said(verb, backend);
            assert_eq!(code, Some(3), "{text}");
            for (key, capability) in [
                ("machines", "placement on machines"),
                ("faults[0].what", "fault machine-loss"),
            ] {
                let part = format!("key `{key}`: backend {backend} cannot do this: {capability}");
                assert!(text.contains(&part), "{text}");
            }
        }
    }
    assert_eq!(said("validate", "swarm").0, Some(0));
}

#[test]
fn what_is_explained_can_be_run() {
    let directory = tempfile::tempdir().unwrap();
    let explain = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_testnet"));
        let output = command.arg("explain").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = explain(&["--set", "topology=ring", "--nodes", "3", "--transfers", "3"]);
    assert!(
        text.starts_with("# from baseline\n# from --set topology=ring\n# from --nodes 3\n"),
        "{text}"
    );
    let file = directory.path().join("ring.toml");
    std::fs::write(&file, text).unwrap();
    let run = testnet(None, "", &[file.to_str().unwrap(), "--backend", "sim"]);
    run.assert_code(0);
    for (flag, part) in [
        ("--dot", "digraph"),
        ("--mermaid", "graph LR"),
        ("--json", "\"diameter\""),
    ] {
        assert!(explain(&[flag]).contains(part), "{flag}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_no_process() {
    use std::time::{Duration, Instant};

    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_testnet"))
        .args(["run", "--backend", "process", "--nodes", "2", "--node"])
        .arg(scripted_node())
        .current_dir(directory.path())
        .env("TRISKEL_SCRIPT", "silent")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let runs = directory.path().join("runs");
    let deadline = Instant::now() + Duration::from_secs(10);
    let log = loop {
        assert!(Instant::now() < deadline, "the nodes start within 10 s");
        std::thread::sleep(Duration::from_millis(20));
        let run = std::fs::read_dir(&runs)
            .ok()
            .and_then(|mut runs| runs.next());
        let Some(Ok(run)) = run else { continue };
        let log = run.path().join("node-2/node.log");
        if log.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            break log;
        }
    };
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // A node that lived would hold its log open.
    let node_directory = log.parent().unwrap().canonicalize().unwrap();
    let lives = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .any(|process| {
            std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == node_directory)
        });
    assert!(!lives);
}

#[test]
fn simulated_nodes_converge_and_the_same_seed_gives_the_same_trace() {
    let arguments = [
        "--backend",
        "sim",
        "--nodes",
        "7",
        "--transfers",
        "20",
        "--json",
    ];
    let result = |seed| -> serde_json::Value {
        let run = testnet(None, "", &[&arguments[..], &["--seed", seed]].concat());
        run.assert_code(0);
        serde_json::from_slice(&run.output.stdout).unwrap()
    };
    let (first, again, other) = (result("7"), result("7"), result("8"));
    assert_eq!(first["nodes"], again["nodes"]);
    assert_eq!(first["trace"], again["trace"]);
    assert_ne!(first["trace"], other["trace"]);
}

/// The main job, small, with the real node: building the whole workspace puts it beside this program.
#[test]
fn three_real_nodes_converge() {
    let run = testnet(
        None,
        "",
        &["--nodes", "3", "--transfers", "30", "--blocks", "10"],
    );
    run.assert_code(0);
    let text = "30 of 30 transfers applied on every node";
    assert!(run.stdout().contains(text), "{}", run.stdout());
}
