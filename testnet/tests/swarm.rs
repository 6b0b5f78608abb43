//! Networks of services of a Docker Swarm. Where the engine is of no swarm it becomes one of its own for the time of the test, with
//! CI=true alone; else these tests are skipped. Three machines and one are the same to all but the schedule of their loss.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

#[path = "shared/report.rs"]
mod report;

use std::process::Command;

use report::{assert_holds, events, execute, log};
use testnet::backend::Backend;
use testnet::backend::swarm::Swarm;
use testnet::cli::SwarmOptions;
use testnet::progress::Progress;
use testnet::report::Report;

/// What engine and swarm do to tasks, and the loss of the machine that they are on.
const FAULTS: &str = "
    name = 'hurt'
    nodes = 3
    seed = 5
    blocks = 20
    transfers = 6
    machines = 1
    topology = 'ring'
    links = { default = { delay = '5ms' } }
    verdict = { fresh_blocks = 5, invariants = { no_panic = true, no_honest_penalty = true } }
    groups = [{ name = 'stranger', seeded = true }]
    faults = [
        { when = '1s', what = 'isolate', who = 'node-1', for = '6s' },
        { when = '2s', what = 'kill', who = 'node-1', for = '1s' },
        { when = '2s', what = 'pause', who = 'node-2', for = '2s' },
        { when = '8s', what = 'wipe', who = 'node-2', for = '500ms' },
        { when = '9s', what = 'join', who = 'stranger' },
        { when = '12s', what = 'machine-loss', who = 'machine 1', for = '2s' },
    ]
    checks = [
        { sometimes = 'live < 3' },
        { sometimes = 'tips differ' },
        { eventually = 'tips == 1', within = '60s', after = 'faults over' },
    ]
";

/// A swarm of the engine alone, unless it is of one already.
struct Membership {
    is_ours: bool,
}

impl Membership {
    fn find() -> Option<Self> {
        let (state, _) = docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]);
        let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        match state.trim() {
            "active" => Some(Self { is_ours: false }),
            "inactive" if in_ci => {
                let (text, made) = docker(&["swarm", "init", "--advertise-addr", "127.0.0.1"]);
                assert!(made, "{text}");
                Some(Self { is_ours: true })
            }
            state => {
                assert!(
                    !in_ci,
                    "no engine that could be of a swarm answers: {state:?}"
                );
                eprintln!("skipped: the engine is of no swarm");
                None
            }
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if self.is_ours {
            docker(&["swarm", "leave", "--force"]);
            // The engine made it for the swarm, and leaves it.
            docker(&["network", "rm", "docker_gwbridge"]);
        }
    }
}

/// What a command says, and whether it does its work.
fn docker(arguments: &[&str]) -> (String, bool) {
    match Command::new("docker").args(arguments).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&said).into_owned();
            (text, output.status.success())
        }
        Err(error) => (error.to_string(), false),
    }
}

/// What engine and swarm have of a run.
fn left(report: &Report) -> String {
    let filter = format!("label=triskel.run={}", report.run);
    let list = |what: &[&str]| docker(&[what, &["--quiet", "--filter", &filter]].concat()).0;
    let of_engine = list(&["ps", "--all"]) + &list(&["volume", "ls"]);
    let of_swarm = list(&["service", "ls"]) + &list(&["config", "ls"]);
    of_engine + &of_swarm + &list(&["network", "ls"])
}

#[tokio::test]
async fn services_are_hurt_and_heal_a_machine_is_lost_and_nothing_is_left() {
    let Some(_membership) = Membership::find() else {
        return;
    };
    let image = std::env::var("TRISKEL_IMAGE").ok();
    let options = SwarmOptions::default();
    let swarm = Swarm::find(image.as_deref(), &options, &mut Progress::new())
        .await
        .unwrap();
    let runs = tempfile::tempdir().unwrap();
    let report = execute(FAULTS, Backend::Swarm(swarm), runs.path()).await;
    assert_holds(&report);
    assert_eq!(left(&report), "", "{}", report.run);
    assert_eq!(events(&report, "fault_ended").len(), 6);
    let as_asked = report.links.iter().filter(|link| link.holds == Some(true));
    assert!(as_asked.count() >= 4, "{:?}", report.links);
    // Killed while it was isolated, it stayed so: its conditions survived.
    let seen = |name: &str| events(&report, name)[0]["took_ms"].as_f64().unwrap();
    assert!(seen("cut_seen") > 0.0 && seen("heal_seen") > 0.0);
    let log = log(&report, "node-1");
    // One task after the other, each on the same disk: at the start, after the kill, and after the machine was back.
    assert_eq!(log.matches("listening on").count(), 3, "{log}");
}
