//! The verb `doctor`: what this machine lacks for a network of so many nodes, and what to do about it.
//!
//! A young node of a small network was seen to have 18 MiB, 11 threads and 18 descriptors; one that has mined for a while has more.

use std::path::Path;

use serde::Serialize;

use crate::backend::kubernetes::command::Cluster;
use crate::backend::process::Process;
use crate::backend::{docker, kubernetes, ports};
use crate::cli::KubernetesOptions;
use crate::cli::life::DoctorOptions;
use crate::life::home::Home;
use crate::life::show::say;
use crate::report::Paint;
use crate::run::Exit;

/// Resident memory of a node: twice what a young one has.
const MEMORY_BYTES: u64 = 40 << 20;
/// What a node's store and log grow to in some minutes.
const DISK_BYTES: u64 = 50 << 20;
/// Threads of a node: its own, the miner's, the store's, and those that check.
const THREADS: u64 = 12;
/// Descriptors of a node beside its sessions.
const NODE_DESCRIPTORS: u64 = 64;
/// Descriptors that this program has open for each node: its connection, pipe and process.
const DESCRIPTORS_A_NODE: u64 = 6;
/// What mines and checks on one core without falling behind, at the hash rates that scenarios have by default.
const NODES_A_CORE: u64 = 100;
/// The most ports of a Linux bridge, less what an engine keeps for itself.
const BRIDGE_NODES: u64 = 1_000;
/// Ports that a node listens on.
const PORTS: u64 = 2;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It may hinder, or one backend does without it.
    Warning,
    /// It does not work so.
    Bad,
}

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, and what is needed.
    pub found: String,
    /// What to do; absent where all is well.
    pub advice: Option<String>,
}

impl Finding {
    fn new(name: &'static str, level: Level, found: String, advice: &str) -> Self {
        let advice = (level != Level::Ok).then(|| advice.to_owned());
        Self {
            name,
            level,
            found,
            advice,
        }
    }

    /// Well if there is enough.
    fn enough(name: &'static str, there: u64, needed: u64, unit: &str, advice: &str) -> Self {
        let level = if there >= needed {
            Level::Ok
        } else {
            Level::Bad
        };
        let found = format!("{there}{unit}, {needed}{unit} needed");
        Self::new(name, level, found, advice)
    }
}

/// Looks at this machine, and prints what it found.
pub async fn doctor(home: &Home, options: &DoctorOptions) -> Exit {
    let findings = examine(home, options).await;
    let bad = findings.iter().any(|finding| finding.level == Level::Bad);
    if options.json {
        let json = serde_json::json!({ "version": 1, "nodes": options.nodes, "well": !bad, "findings": findings });
        say(&format!("{json:#}"));
    } else {
        say(text(&findings, options.nodes, Paint::detect()).trim_end());
    }
    match bad {
        true => Exit::Environment,
        false => Exit::Holds,
    }
}

fn text(findings: &[Finding], nodes: u64, paint: Paint) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.name.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let (colour, word) = match finding.level {
            Level::Ok => ("32", "ok     "),
            Level::Warning => ("33", "warning"),
            Level::Bad => ("31", "BAD    "),
        };
        let word = paint.with(colour, word);
        text += &format!("{word}  {:<width$}  {}\n", finding.name, finding.found);
        if let Some(advice) = &finding.advice {
            text += &format!("         {:<width$}  -> {advice}\n", "");
        }
    }
    let bad = findings
        .iter()
        .filter(|finding| finding.level == Level::Bad)
        .count();
    text + &match bad {
        0 => format!("ready for {nodes} nodes\n"),
        bad => format!("not ready for {nodes} nodes: see the {bad} marked BAD\n"),
    }
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

/// How many nodes do not fall behind on this machine, at the hash rates that scenarios have by default.
pub fn most_nodes() -> u64 {
    NODES_A_CORE * cores()
}

/// Looks at everything that a network of so many nodes needs.
pub async fn examine(home: &Home, options: &DoctorOptions) -> Vec<Finding> {
    let nodes = options.nodes;
    let mut findings = vec![program(), engine(nodes).await];
    findings.push(cluster(&options.kubernetes).await);
    findings.push(Finding::enough(
        "free ports",
        ports::free_count() as u64,
        PORTS * nodes,
        "",
        "end what listens on ports from 20000 to 31999, or run fewer nodes",
    ));
    let cores = cores();
    let level = if nodes <= most_nodes() {
        Level::Ok
    } else {
        Level::Warning
    };
    let found = format!("{cores} cores, one for {NODES_A_CORE} nodes needed");
    findings.push(Finding::new(
        "processor",
        level,
        found,
        "set a lower `hashrate`, or run fewer nodes",
    ));
    if let Some(free) = meminfo("MemAvailable") {
        findings.push(Finding::enough(
            "memory",
            free >> 20,
            (nodes * MEMORY_BYTES) >> 20,
            " MiB",
            "end other programs, or run fewer nodes; `--backend sim` needs a tenth of that",
        ));
    }
    limits(nodes, &mut findings);
    if let Some(free) = free_bytes(home.nearest()) {
        let advice = "`testnet clean --all` removes networks and snapshots; or name another place with --state";
        findings.push(Finding::enough(
            "disk",
            free >> 20,
            (nodes * DISK_BYTES) >> 20,
            " MiB",
            advice,
        ));
    }
    findings
}

fn program() -> Finding {
    match Process::find(None) {
        Ok(process) => Finding::new(
            "node program",
            Level::Ok,
            process.program().display().to_string(),
            "",
        ),
        Err(error) => Finding::new(
            "node program",
            Level::Warning,
            error.to_string(),
            "containers need none: --backend docker",
        ),
    }
}

async fn engine(nodes: u64) -> Finding {
    const NAME: &str = "container engine";
    match docker::answering().await {
        Ok((version, _)) if nodes > BRIDGE_NODES => Finding::new(
            NAME,
            Level::Warning,
            format!("{version} answers, but its bridge joins {BRIDGE_NODES} nodes at most"),
            "use --backend process",
        ),
        Ok((version, _)) => Finding::new(NAME, Level::Ok, format!("{version} answers"), ""),
        Err(error) => Finding::new(
            NAME,
            Level::Warning,
            error.to_string(),
            "processes need none: --backend process; else install or start Docker, and see that `docker version` answers",
        ),
    }
}

async fn cluster(options: &KubernetesOptions) -> Finding {
    const NAME: &str = "kubernetes";
    let client = match kubernetes::command::client_version(options).await {
        Ok(version) => format!("kubectl {version}"),
        Err(error) => {
            let advice = "other backends need none; for --backend kubernetes install kubectl, or name it with --kubectl";
            return Finding::new(NAME, Level::Warning, error.to_string(), advice);
        }
    };
    // None is asked that nobody has named.
    let Ok(cluster) = Cluster::named(options) else {
        let found = format!("{client}; no cluster was looked at, for --context names none");
        return Finding::new(NAME, Level::Ok, found, "");
    };
    match cluster.answering().await {
        Ok(version) => {
            let found = format!("{client}; {} answers, {version}", cluster.description());
            Finding::new(NAME, Level::Ok, found, "")
        }
        Err(error) => Finding::new(
            NAME,
            Level::Bad,
            error.to_string(),
            "see that `kubectl --context NAME get pods` answers; what a user may do is for a Role and a RoleBinding to say",
        ),
    }
}

/// What the system lets one program, and one user, have.
#[cfg(unix)]
fn limits(nodes: u64, findings: &mut Vec<Finding>) {
    use rustix::process::{Resource, getrlimit};
    let most = |resource| getrlimit(resource).current.unwrap_or(u64::MAX);
    let needed = (NODE_DESCRIPTORS + DESCRIPTORS_A_NODE * nodes).max(NODE_DESCRIPTORS + nodes);
    findings.push(finite(
        "descriptors",
        most(Resource::Nofile),
        needed,
        &format!("`ulimit -n {needed}`"),
    ));
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    findings.push(finite(
        "processes of a user",
        most(Resource::Nproc),
        THREADS * nodes,
        &format!("`ulimit -u {}`", 2 * THREADS * nodes),
    ));
    let files = [
        (
            "threads of the system",
            "/proc/sys/kernel/threads-max",
            "sysctl kernel.threads-max",
        ),
        (
            "process numbers",
            "/proc/sys/kernel/pid_max",
            "sysctl kernel.pid_max",
        ),
        (
            "processes of this container",
            "/sys/fs/cgroup/pids.max",
            "the container's pids limit",
        ),
    ];
    for (name, file, what) in files {
        let number = std::fs::read_to_string(file);
        let number = number.ok().and_then(|text| text.trim().parse().ok());
        // One that is absent, or `max`, is none.
        if let Some(most) = number {
            findings.push(finite(
                name,
                most,
                THREADS * nodes,
                &format!("raise {what}"),
            ));
        }
    }
}

#[cfg(not(unix))]
fn limits(_: u64, _: &mut Vec<Finding>) {}

#[cfg(unix)]
fn finite(name: &'static str, most: u64, needed: u64, advice: &str) -> Finding {
    match most {
        u64::MAX => Finding::new(name, Level::Ok, format!("no limit, {needed} needed"), ""),
        most => Finding::enough(name, most, needed, "", advice),
    }
}

/// A line of the kernel's account of memory, in bytes; `None` where there is none.
fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(unix)]
fn free_bytes(directory: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(directory).ok()?;
    Some(space.f_bavail * space.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_nodes_than_any_machine_bears_are_refused_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        let options = DoctorOptions {
            nodes: 100_000_000,
            kubernetes: KubernetesOptions::default(),
            json: true,
        };
        let findings = examine(&home, &options).await;
        let ports = findings
            .iter()
            .find(|finding| finding.name == "free ports")
            .unwrap();
        assert_eq!(ports.level, Level::Bad);
        assert!(ports.found.contains("200000000"), "{}", ports.found);
        assert!(ports.advice.as_ref().unwrap().contains("fewer nodes"));
        assert_eq!(doctor(&home, &options).await, Exit::Environment);
    }

    #[test]
    fn each_finding_is_a_line_with_what_to_do_below_it() {
        let findings = [
            Finding::enough("ports", 10, 4, "", "unused"),
            Finding::enough("memory", 3, 4, " MiB", "run fewer nodes"),
        ];
        let expected = "\
ok       ports   10, 4 needed
BAD      memory  3 MiB, 4 MiB needed
                 -> run fewer nodes
not ready for 2 nodes: see the 1 marked BAD
";
        assert_eq!(text(&findings, 2, Paint(false)), expected);
    }
}
