//! Networks that stay up, from outside: what commands do to them, and that they leave nothing.
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

#[path = "shared/home.rs"]
mod home;

#[path = "shared/programs.rs"]
mod programs;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use home::Home;
use programs::{built, example};
use serde_json::Value;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What tests of this file ask of a home.
trait Lived {
    fn until(&self, network: &str, wanted: impl Fn(&Value) -> bool) -> Value;
    fn up(&self, nodes: &str, more: &[&str]) -> String;
    fn kept(&self, network: &str, node: &str) -> (PathBuf, Value);
    fn pid(&self, network: &str, node: &str) -> u64;
    fn processes(&self) -> Vec<String>;
}

impl Lived for Home {
    /// Waits until a network is as wanted.
    #[track_caller]
    fn until(&self, network: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let status = self.status(network);
            if wanted(&status) {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "{status:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn up(&self, nodes: &str, more: &[&str]) -> String {
        let mut arguments = vec!["up", "--backend", "process", "--nodes", nodes];
        arguments.extend(more);
        self.run(&arguments)
    }

    /// What is kept of a node's process.
    fn kept(&self, network: &str, node: &str) -> (PathBuf, Value) {
        let file = self.path().join("networks").join(network);
        let file = file.join(node).join("process.json");
        let text = std::fs::read_to_string(&file).unwrap();
        (file, serde_json::from_str(&text).unwrap())
    }

    fn pid(&self, network: &str, node: &str) -> u64 {
        self.kept(network, node).1["process"]["pid"]
            .as_u64()
            .unwrap()
    }

    /// The processes that name this directory: nodes carry the path of their configuration.
    fn processes(&self) -> Vec<String> {
        let output = Command::new("ps")
            .args(["-A", "-o", "args="])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let path = self.path().to_str().unwrap();
        text.lines()
            .filter(|line| line.contains(path))
            .map(str::to_owned)
            .collect()
    }
}

/// Nodes that only pretend.
fn scripted() -> Home {
    Home::with(example("scripted_node"))
}

/// Real nodes.
#[track_caller]
fn real() -> Home {
    Home::with(built("node"))
}

fn conditions(status: &Value) -> Vec<&str> {
    let nodes = status["nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| node["condition"].as_str().unwrap())
        .collect()
}

fn tips(status: &Value) -> usize {
    status["agreement"]["groups"].as_array().unwrap().len()
}

fn blocks(status: &Value) -> Vec<u64> {
    let nodes = status["nodes"].as_array().unwrap().iter();
    nodes
        .filter_map(|node| node["state"]["blocks"].as_u64())
        .collect()
}

/// `TRISKEL_CYCLES=100` for more of them.
#[test]
fn networks_that_go_up_and_down_leave_nothing() {
    let home = scripted();
    let cycles = std::env::var("TRISKEL_CYCLES").map_or(3, |text| text.parse().unwrap());
    for cycle in 0..cycles {
        home.up("3", &[]);
        assert!(home.up("3", &[]).contains("nothing to do"));
        assert_eq!(home.processes().len(), 3);
        assert_eq!(conditions(&home.status("baseline")), ["runs"; 3]);
        home.run(&["down"]);
        assert_eq!(home.processes(), Vec::<String>::new(), "cycle {cycle}");
        assert!(home.run(&["down"]).contains("nothing to do"));
        home.run(&["up"]);
        assert_eq!(home.processes().len(), 3);
        let (_, kept) = home.kept("baseline", "node-2");
        home.run(&["clean"]);
        assert_eq!(home.processes(), Vec::<String>::new(), "cycle {cycle}");
        assert!(home.run(&["clean"]).contains("nothing to remove"));
        let left: Vec<_> = std::fs::read_dir(home.path())
            .into_iter()
            .flatten()
            .collect();
        assert!(left.is_empty(), "{left:?}");
        for name in ["peers", "rpc"] {
            let port = kept["ports"][name].as_u64().unwrap() as u16;
            std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        }
    }
}

#[test]
fn a_process_that_has_the_number_of_a_node_is_left_alone() {
    let home = scripted();
    home.up("2", &[]);
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let node = home.pid("baseline", "node-1");
    let (file, mut kept) = home.kept("baseline", "node-1");
    kept["process"]["pid"] = stranger.id().into();
    std::fs::write(&file, kept.to_string()).unwrap();
    assert_eq!(conditions(&home.status("baseline")), ["ended", "runs"]);
    home.run(&["down"]);
    assert_eq!(stranger.try_wait().unwrap(), None, "it was signalled");
    // The node that was lost sight of is still there: the test ends it.
    assert_eq!(home.processes().len(), 1);
    Command::new("kill").arg(node.to_string()).status().unwrap();
    home.run(&["clean"]);
    assert_eq!(stranger.try_wait().unwrap(), None, "it was signalled");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_node_that_ends_is_shown_and_starts_again() {
    let home = scripted();
    home.up("3", &[]);
    let pid = home.pid("baseline", "node-2");
    Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()
        .unwrap();
    let status = home.until("baseline", |status| conditions(status)[1] != "runs");
    assert_eq!(conditions(&status), ["runs", "ended", "runs"]);
    assert!(home.run(&["start", "node-2"]).contains("node-2 is started"));
    assert!(home.run(&["start", "all"]).contains("running already"));
    assert_eq!(conditions(&home.status("baseline")), ["runs"; 3]);
    home.run(&["stop", "node-1", "node-3"]);
    home.run(&["start", "node-1"]);
    assert_eq!(
        conditions(&home.status("baseline")),
        ["runs", "runs", "stopped"]
    );
    // What was stopped stays so, whatever the network does.
    home.run(&["down"]);
    home.run(&["up"]);
    assert_eq!(
        conditions(&home.status("baseline")),
        ["runs", "runs", "stopped"]
    );
    let log = home.run(&["logs", "node-1", "-n", "1"]);
    assert!(log.contains("scripted node: converge"), "{log}");
}

#[test]
fn what_makes_no_sense_is_refused_with_what_does() {
    let home = scripted();
    let error = home.refused(2, &["status"]);
    assert!(error.contains("`testnet up` starts one"), "{error}");
    let error = home.refused(3, &["up", "--backend", "sim"]);
    assert!(error.contains("testnet run --backend sim"), "{error}");
    assert!(
        std::fs::read_dir(home.path().join("networks")).is_ok_and(|mut left| left.next().is_none())
    );
    home.up("2", &[]);
    let error = home.refused(2, &["up", "--nodes", "3"]);
    assert!(error.contains("another scenario"), "{error}");
    home.up("1", &["--network", "other"]);
    let error = home.refused(2, &["down"]);
    assert!(
        error.contains("baseline, other: say --network NAME"),
        "{error}"
    );
    assert_eq!(home.run(&["status"]).lines().count(), 2);
    for (arguments, part) in [
        (&["stop", "nobody"][..], "there are `node`"),
        (&["fault", "explode"], "`kill`"),
        (&["fault", "flap=1s"], "--for TIME"),
        (&["fault", "join", "node-1"], "`testnet add`"),
        (&["heal", "7"], "no fault 7"),
        (&["remove", "all"], "testnet clean"),
        (&["restore", "nothing"], "no snapshot is called nothing"),
        (&["exec", "all", "--", "status"], "one is wanted"),
        (&["snapshot", "Not-Allowed"], "lower-case letters"),
    ] {
        let mut arguments = arguments.to_vec();
        let at = arguments
            .iter()
            .position(|word| *word == "--")
            .unwrap_or(arguments.len());
        if arguments[0] != "restore" {
            arguments.splice(at..at, ["--network", "baseline"]);
        }
        let error = home.refused(2, &arguments);
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
    home.run(&["down", "--network", "other"]);
    let error = home.refused(2, &["fault", "kill", "--network", "other"]);
    assert!(error.contains("`testnet up --network other`"), "{error}");
}

#[test]
fn a_network_whose_nodes_do_not_start_says_why_and_can_be_removed() {
    let home = Home::with(PathBuf::from("/bin/false"));
    let error = home.refused(1, &["up", "--backend", "process", "--nodes", "1"]);
    assert!(error.contains("node-1 ended with code 1"), "{error}");
    assert!(home.run(&["status"]).contains("down, 1 node"));
    home.run(&["clean"]);
}

#[test]
fn real_nodes_are_hurt_and_heal_come_and_go() {
    let home = real();
    home.up("3", &["--seed", "3"]);
    home.until("baseline", |status| {
        blocks(status).iter().all(|blocks| *blocks > 3)
    });
    home.run(&["fault", "isolate", "node-1"]);
    home.until("baseline", |status| tips(status) > 1);
    // It is still cut off after it has started again.
    home.run(&["fault", "restart", "node-1"]);
    let status = home.until("baseline", |status| {
        let state = &status["nodes"][0]["state"];
        state["mining"] == true && tips(status) > 1
    });
    assert_eq!(status["nodes"][0]["state"]["peers"], 0, "{status:#}");
    assert_eq!(status["faults"][0]["what"], "isolate");
    home.run(&["heal"]);
    let one =
        |status: &Value| tips(status) == 1 && conditions(status).iter().all(|word| *word == "runs");
    home.until("baseline", one);
    // One that joins mines on what the others have.
    home.run(&["add"]);
    let known = *blocks(&home.status("baseline")).first().unwrap();
    home.until("baseline", |status| {
        one(status) && blocks(status)[3] >= known
    });
    home.run(&["remove", "node-2"]);
    let status = home.until("baseline", one);
    assert_eq!(blocks(&status).len(), 3);
    assert_eq!(home.processes().len(), 3);
    let shown = home.run(&["exec", "node-4", "--", "status"]);
    assert!(shown.contains("blocks"), "{shown}");
    let begin = Instant::now();
    home.run(&["fault", "pause", "node-3", "--for", "1s"]);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    home.until("baseline", one);
}

#[test]
fn copies_of_a_network_have_its_past_and_futures_of_their_own() {
    let home = real();
    home.up("2", &["--seed", "4"]);
    home.until("baseline", |status| {
        blocks(status).iter().all(|blocks| *blocks > 5)
    });
    home.run(&["snapshot", "early"]);
    let kept = *blocks(&home.status("baseline")).iter().min().unwrap();
    home.run(&["clean"]);
    let error = home.refused(2, &["snapshot", "early"]);
    assert!(error.contains("there is a snapshot early"), "{error}");
    home.run(&["restore", "early", "--copies", "2", "--seed", "10"]);
    let more = |status: &Value| {
        let blocks = blocks(status);
        blocks.len() == 2 && blocks.iter().all(|blocks| *blocks > kept + 5)
    };
    let (first, second) = (home.until("early-1", more), home.until("early-2", more));
    let tips = |status: &Value| {
        let nodes = status["nodes"].as_array().unwrap().iter();
        nodes
            .map(|node| node["state"]["tip"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(tips(&first).iter().all(|tip| !tips(&second).contains(tip)));
    assert_eq!(home.processes().len(), 4);
    assert!(home.run(&["snapshot"]).contains("early: 2 nodes"));
    home.run(&["snapshot", "early", "--remove"]);
    home.run(&["clean", "--all"]);
    assert_eq!(home.processes(), Vec::<String>::new());
}

/// Node 1 is cut off for a while, node 2 does not come back by itself.
const ATTACKED: &str = "
    name = 'attacked'
    blocks = 5
    faults = [
        { when = '200ms', what = 'isolate', who = 'node-1', for = 'LASTING' },
        { when = '300ms', what = 'kill', who = 'node-2' },
    ]
    verdict = { fresh_blocks = 3 }
    checks = [
        { sometimes = 'tips differ' },
        { sometimes = 'live < 3' },
        { eventually = 'tips == 1', within = '60s', after = 'faults over' },
    ]
";

#[test]
fn a_scenario_is_performed_on_a_network_that_is_up_and_well_afterwards() {
    let home = real();
    home.up("3", &["--seed", "5", "--set", "topology=ring"]);
    let is_well = |status: &Value| {
        tips(status) == 1 && conditions(status) == ["runs"; 3] && blocks(status).len() == 3
    };
    home.until("baseline", is_well);
    let runs = home.path().join("evidence");
    let run = |lasting: &str| {
        let file = home.path().join(format!("{lasting}.toml"));
        std::fs::write(&file, ATTACKED.replace("LASTING", lasting)).unwrap();
        let words = ["run", "--attach", "--json", "--runs"].map(str::to_owned);
        let paths = [runs.display().to_string(), file.display().to_string()];
        words.into_iter().chain(paths).collect::<Vec<_>>()
    };
    let before = *blocks(&home.status("baseline")).iter().min().unwrap();
    let arguments = run("2s");
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let result: Value = serde_json::from_str(&home.run(&arguments)).unwrap();
    assert_eq!(result["holds"], true, "{result:#}");
    assert!(result["nodes"][1]["state"].is_null(), "it was killed");
    assert!(result["nodes"][0]["state"]["blocks"].as_u64().unwrap() >= before + 5);
    assert!(
        result["figures"]["propagation_p50_ms"]
            .as_f64()
            .is_some_and(|ms| ms > 0.0),
        "{result:#}"
    );
    home.until("baseline", is_well);

    // Whoever was killed while nodes were cut off has left a mark.
    let mut command = Command::new(env!("CARGO_BIN_EXE_testnet"));
    let mut killed = command
        .args(run("60s"))
        .env("TRISKEL_STATE", home.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    home.until("baseline", |status| tips(status) > 1);
    assert!(killed.try_wait().unwrap().is_none(), "it was waited for");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(home.run(&["heal"]).contains("nothing to heal"));
    home.until("baseline", is_well);

    home.run(&["fault", "pause", "node-3"]);
    let error = home.refused(2, &arguments);
    assert!(error.contains("1 fault already"), "{error}");
}
