//! Many runs: scenarios, by seeds, by sizes, several at a time. Each is a process of its own, so that none can end another, and
//! processors are used.

mod page;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde::Serialize;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::backend;
use crate::cli::{BackendChoice, MatrixOptions};
use crate::doctor;
use crate::evidence::summary::{STEP_SUMMARY, publish};
use crate::plan::new_run_id;
use crate::progress::Progress;
use crate::report::Report;
use crate::run::{Exit, Signals};
use crate::scenario::{Loaded, Scenario};

/// One run of a matrix: what is to be run, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// The scenario's file.
    pub scenario: PathBuf,
    /// Ordinary nodes, where they are not the scenario's.
    pub nodes: Option<u64>,
    /// The seed, where it is not the scenario's.
    pub seed: Option<u64>,
    /// Which time it is that the same is run, from 1.
    pub time: u64,
    /// How the run's process ended; absent where a signal ended it.
    pub code: Option<i32>,
    /// Why the verdict does not hold, or why there is none.
    pub reason: Option<String>,
    /// From the end of mining until all agreed, in milliseconds.
    pub convergence_ms: Option<u64>,
    /// How long it took, in milliseconds of real time.
    pub elapsed_ms: u64,
    /// The hash of everything that happened, under virtual time.
    pub trace: Option<String>,
    /// The run's directory.
    pub directory: Option<String>,
}

/// All runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Matrix {
    /// What the nodes were.
    pub backend: String,
    /// The runs, in the order in which they were asked for.
    pub rows: Vec<Row>,
    /// Scenarios that were left out, each with why.
    pub left_out: Vec<String>,
    /// Seeds of which two runs under virtual time were not the same.
    pub differing: Vec<String>,
    /// The whole, in milliseconds.
    pub elapsed_ms: u64,
}

impl Row {
    /// How it ended, as an exit code says it.
    pub fn exit(&self) -> Exit {
        match self.code {
            Some(0) => Exit::Holds,
            Some(1) => Exit::Fails,
            Some(2) => Exit::Usage,
            Some(3) => Exit::Environment,
            Some(130) => Exit::Interrupted,
            // It was ended, or panicked: nothing that a run should do.
            _ => Exit::Fails,
        }
    }

    /// Scenario, size, seed and time in a few words.
    pub fn name(&self) -> String {
        let mut name = self.scenario_name();
        for (value, word) in [(self.nodes, "nodes"), (self.seed, "seed")] {
            if let Some(value) = value {
                name.push_str(&format!(" {word}={value}"));
            }
        }
        match self.time {
            0 | 1 => name,
            time => format!("{name} ({time})"),
        }
    }

    fn scenario_name(&self) -> String {
        let stem = self.scenario.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    fn arguments(&self, options: &MatrixOptions, runs: &Path) -> Vec<String> {
        let backend = options.backend.name().to_owned();
        let mut arguments = vec![
            "run".to_owned(),
            self.scenario.display().to_string(),
            "--json".to_owned(),
            "--backend".to_owned(),
            backend,
            "--runs".to_owned(),
            runs.display().to_string(),
        ];
        for (flag, value) in [("--nodes", self.nodes), ("--seed", self.seed)] {
            if let Some(value) = value {
                arguments.extend([flag.to_owned(), value.to_string()]);
            }
        }
        for (flag, value) in [
            (
                "--node",
                options.node.as_ref().map(|node| node.display().to_string()),
            ),
            ("--image", options.image.clone()),
        ] {
            if let Some(value) = value {
                arguments.extend([flag.to_owned(), value]);
            }
        }
        arguments
    }
}

impl Matrix {
    /// The worst of all: what was asked for wrongly, then what does not hold, then what could not be tried.
    pub fn exit(&self) -> Exit {
        let worst = |exit: &Exit| match exit {
            Exit::Holds => 0,
            Exit::Environment => 1,
            Exit::Fails => 2,
            Exit::Usage => 3,
            Exit::Interrupted => 4,
        };
        let exits = self.rows.iter().map(Row::exit);
        let differing = self.differing.iter().map(|_| Exit::Fails);
        exits
            .chain(differing)
            .max_by_key(worst)
            .unwrap_or(Exit::Holds)
    }

    /// Of the same run under virtual time, the same must come out.
    fn compare(&mut self) {
        let mut traces: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
        for row in &self.rows {
            if let Some(trace) = &row.trace {
                let key = (&row.scenario, row.nodes, row.seed);
                traces.entry(key).or_default().insert(trace);
            }
        }
        let differing = traces.into_iter().filter(|(_, traces)| traces.len() > 1);
        let name = |(scenario, nodes, seed): (&PathBuf, _, _)| {
            let scenario = scenario.clone();
            Row {
                scenario,
                nodes,
                seed,
                ..Row::default()
            }
            .name()
        };
        self.differing = differing.map(|(key, _)| name(key)).collect();
    }
}

/// Runs all, and shows and keeps what came of them.
pub async fn run(options: MatrixOptions) -> Exit {
    let mut signals = Signals::listen();
    let began = Instant::now();
    let (rows, left_out) = match rows(&options) {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Usage;
        }
    };
    let directory = options.runs.join(format!("matrix-{}", new_run_id()));
    if let Err(error) = std::fs::create_dir_all(&directory) {
        eprintln!("testnet: {}: {error}", directory.display());
        return Exit::Environment;
    }
    let running = Running::default();
    let rows = {
        let mut work = std::pin::pin!(all(&options, rows, &directory, &running));
        tokio::select! {
            rows = &mut work => rows,
            () = signals.next() => {
                eprintln!("interrupted: ending the runs");
                running.end().await;
                work.await;
                return Exit::Interrupted;
            }
        }
    };
    let mut matrix = Matrix {
        backend: options.backend.name().to_owned(),
        rows,
        left_out,
        elapsed_ms: began.elapsed().as_millis() as u64,
        ..Matrix::default()
    };
    matrix.compare();
    if let Err(error) = page::write(&matrix, &directory) {
        eprintln!("testnet: {}: {error}", directory.display());
    }
    match options.json {
        true => println!("{}", page::json(&matrix)),
        false => println!("{}{}", page::text(&matrix), directory.display()),
    }
    publish(&page::markdown(&matrix));
    matrix.exit()
}

/// What is to be run, and what is left out because the backend cannot do it and that was allowed.
fn rows(options: &MatrixOptions) -> Result<(Vec<Row>, Vec<String>), anyhow::Error> {
    let or_own = |values: Vec<u64>| -> Vec<Option<u64>> {
        match values.is_empty() {
            true => vec![None],
            false => values.into_iter().map(Some).collect(),
        }
    };
    let seeds = or_own((1..=options.seeds.unwrap_or_default()).collect());
    let sizes = or_own(options.sizes.clone());
    let mut rows = Vec::new();
    let mut left_out = Vec::new();
    for scenario in &options.scenarios {
        let loaded = options.able.then(|| Scenario::read(scenario, &[]));
        let loaded = loaded.transpose()?;
        if let Some(loaded) = &loaded
            && let Some(problem) = backend::missing(options.backend, loaded).first()
        {
            left_out.push(problem.to_string());
            continue;
        }
        for &nodes in &sizes {
            if let Some(Loaded { scenario, .. }) = &loaded
                && let count = nodes.unwrap_or_else(|| scenario.node_count())
                && let Some(most) = most_nodes(options.backend).filter(|most| count > *most)
            {
                let name = &scenario.name;
                left_out.push(format!("{name}: {count} nodes, this machine bears {most}"));
                continue;
            }
            for &seed in &seeds {
                rows.extend((1..=options.repeat).map(|time| Row {
                    scenario: scenario.clone(),
                    nodes,
                    seed,
                    time,
                    ..Row::default()
                }));
            }
        }
    }
    Ok((rows, left_out))
}

/// How many nodes a backend runs here without falling behind; `None` where that does not depend on this machine alone.
fn most_nodes(backend: BackendChoice) -> Option<u64> {
    matches!(backend, BackendChoice::Process | BackendChoice::Docker).then(doctor::most_nodes)
}

/// The processes of runs that have not ended, and whether more may begin.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<(BTreeSet<u32>, bool)>>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, (BTreeSet<u32>, bool)> {
        self.0.lock().expect("nobody panics who holds it")
    }

    fn begun(&self, id: Option<u32>) {
        self.lock().0.extend(id);
    }

    fn ended(&self, id: Option<u32>) {
        if let Some(id) = id {
            self.lock().0.remove(&id);
        }
    }

    fn is_stopped(&self) -> bool {
        self.lock().1
    }

    /// Asks all to end, as a terminal asks a whole group: they leave nothing behind. Where programs cannot be asked, the console
    /// has done so.
    async fn end(&self) {
        let ids: Vec<_> = {
            let mut running = self.lock();
            running.1 = true;
            running.0.iter().map(ToString::to_string).collect()
        };
        if cfg!(unix) && !ids.is_empty() {
            let _ = Command::new("kill").arg("-TERM").args(ids).status().await;
        }
    }
}

/// Runs one, and reads what it prints.
async fn one(row: Row, arguments: Vec<String>, running: Running) -> Row {
    let began = Instant::now();
    let failed = |error: std::io::Error| Row {
        reason: Some(format!("it does not start: {error}")),
        code: Some(Exit::Environment as i32),
        ..row.clone()
    };
    let spawned = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args(arguments)
            // The page of the whole has it.
            .env_remove(STEP_SUMMARY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    });
    let child = match spawned {
        Ok(child) => child,
        Err(error) => return failed(error),
    };
    let id = child.id();
    running.begun(id);
    let output = child.wait_with_output().await;
    running.ended(id);
    let output = match output {
        Ok(output) => output,
        Err(error) => return failed(error),
    };
    let report = serde_json::from_slice::<Report>(&output.stdout).ok();
    let told = String::from_utf8_lossy(&output.stderr);
    let last = || {
        told.lines()
            .rfind(|line| !line.trim().is_empty())
            .map(str::to_owned)
    };
    let code = output.status.code();
    Row {
        code,
        reason: match &report {
            Some(report) => report.reason.clone(),
            None if code == Some(0) => None,
            None => last(),
        },
        convergence_ms: report.as_ref().and_then(|report| report.convergence_ms),
        elapsed_ms: began.elapsed().as_millis() as u64,
        trace: report.as_ref().and_then(|report| report.trace.clone()),
        directory: report.map(|report| report.directory),
        ..row
    }
}

async fn all(
    options: &MatrixOptions,
    rows: Vec<Row>,
    directory: &Path,
    running: &Running,
) -> Vec<Row> {
    let jobs = options.jobs.unwrap_or_else(|| match options.backend {
        // Real nodes are measured by the time that they take: two networks at once would disturb each other.
        BackendChoice::Sim => std::thread::available_parallelism().map_or(1, usize::from),
        _ => 1,
    });
    let count = rows.len();
    let mut waiting: VecDeque<_> = rows.into_iter().enumerate().collect();
    let mut done: BTreeMap<usize, Row> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut progress = Progress::new();
    loop {
        while tasks.len() < jobs.max(1)
            && !running.is_stopped()
            && let Some((index, row)) = waiting.pop_front()
        {
            let arguments = row.arguments(options, directory);
            let running = running.clone();
            tasks.spawn(async move { (index, one(row, arguments, running).await) });
        }
        let Some(joined) = tasks.join_next().await else {
            break;
        };
        let Ok((index, row)) = joined else { continue };
        if row.exit() != Exit::Holds {
            progress.clear();
            let reason = row.reason.as_deref().unwrap_or_default();
            eprintln!("{}: {reason}", row.name());
        }
        done.insert(index, row);
        let failed = done
            .values()
            .filter(|row| row.exit() != Exit::Holds)
            .count();
        progress.show(&format!(
            "{} of {count} runs, {failed} not as they should",
            done.len()
        ));
    }
    progress.clear();
    done.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seed: u64, code: i32, trace: &str) -> Row {
        Row {
            scenario: PathBuf::from("scenarios/ring.toml"),
            seed: Some(seed),
            time: 1,
            code: Some(code),
            trace: Some(trace.to_owned()),
            ..Row::default()
        }
    }

    fn matrix(rows: &[Row]) -> Matrix {
        let mut matrix = Matrix {
            rows: rows.to_vec(),
            ..Matrix::default()
        };
        matrix.compare();
        matrix
    }

    #[test]
    fn the_worst_run_decides() {
        assert_eq!(matrix(&[]).exit(), Exit::Holds);
        assert_eq!(
            matrix(&[row(1, 0, "a"), row(2, 3, "b")]).exit(),
            Exit::Environment
        );
        let all = [row(1, 0, "a"), row(2, 1, "b"), row(3, 3, "c")];
        assert_eq!(matrix(&all).exit(), Exit::Fails);
        let ended = Row {
            code: None,
            ..row(1, 0, "a")
        };
        assert_eq!(matrix(&[ended]).exit(), Exit::Fails);
    }

    #[test]
    fn one_seed_that_leads_to_two_traces_fails() {
        let same = matrix(&[row(1, 0, "a"), row(1, 0, "a"), row(2, 0, "b")]);
        assert_eq!(same.exit(), Exit::Holds);
        let differing = matrix(&[row(1, 0, "a"), row(1, 0, "b"), row(2, 0, "b")]);
        assert_eq!(differing.differing, ["ring seed=1"]);
        assert_eq!(differing.exit(), Exit::Fails);
    }
}
