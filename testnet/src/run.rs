//! One run, from the command line to the exit code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::backend::{self, Backend};
use crate::cli::RunOptions;
use crate::evidence::figures::Figures;
use crate::evidence::mining::Mining;
use crate::evidence::record::Files;
use crate::evidence::recording::{Judged, Recording};
use crate::evidence::{commands, grafana, summary};
use crate::journal::{self, Journal};
use crate::plan::{self, Plan};
use crate::progress::Progress;
use crate::report::{NodeReport, Paint, RESULT_VERSION, Report};
use crate::scenario::{Expanded, Loaded, Problem, ScenarioError};
use crate::stage::{self, Failure, Run};
use crate::verdict::Agreement;

/// How the program ends. The number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The verdict holds.
    Holds = 0,
    /// It does not.
    Fails = 1,
    /// Bad usage or scenario.
    Usage = 2,
    /// The environment was not what the scenario asked for.
    Environment = 3,
    /// A signal ended the run: 128 + SIGINT, as shells do.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// How a run ended.
pub(crate) enum Outcome {
    Holds,
    Failed(Failure),
    Interrupted,
}

/// How many of its last log lines a node shows that differs.
const LOG_LINES: usize = 30;

/// Runs a scenario, prints what it found, and leaves nothing behind but the evidence.
pub async fn run(options: RunOptions) -> Exit {
    run_to_end(options).await.0
}

/// As [`run`]; also gives the report, if there is one.
pub async fn run_to_end(options: RunOptions) -> (Exit, Option<Report>) {
    let (loaded, expanded) = match load(&options) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error}");
            return (Exit::Usage, None);
        }
    };
    let mut signals = Signals::listen();
    let prepared = tokio::select! {
        prepared = prepare(&options, &loaded, expanded) => prepared,
        () = signals.next() => return (Exit::Interrupted, None),
    };
    let (mut run, reason) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("{error}");
            return (Exit::Environment, None);
        }
    };
    let outcome = tokio::select! {
        outcome = outcome(&mut run, Run::perform) => outcome,
        () = signals.next() => Outcome::Interrupted,
    };
    run.progress.clear();
    if let Outcome::Interrupted = outcome {
        eprintln!("interrupted: stopping the nodes");
        run.journal.event("interrupted", json!({}));
        stage::stop::stop(&mut run, options.keep).await;
        return (Exit::Interrupted, None);
    }
    let (exit, report) = finish(&mut run, reason, &outcome, &options).await;
    // What a failing run left is wanted for the search after the cause.
    stage::stop::stop(&mut run, options.keep || !report.holds).await;
    (exit, Some(report))
}

/// Writes down and shows how a run ended.
pub(crate) async fn finish(
    run: &mut Run,
    reason: String,
    outcome: &Outcome,
    options: &RunOptions,
) -> (Exit, Report) {
    let report = conclude(run, reason, outcome).await;
    print(&report, options.json);
    if let Ok(text) = std::fs::read_to_string(run.plan.directory.join(Files::SUMMARY)) {
        summary::publish(&text);
    }
    if let Some(url) = &options.grafana
        && let Err(error) = mark(&run.plan.directory, url).await
    {
        eprintln!("testnet: {error}");
    }
    let exit = match outcome {
        Outcome::Holds if report.holds => Exit::Holds,
        Outcome::Failed(Failure::Environment(_)) => Exit::Environment,
        _ => Exit::Fails,
    };
    (exit, report)
}

/// Runs an expanded scenario for a program, a test above all, and prints nothing but progress: see `examples/ring.rs`. The evidence
/// is left in a new directory below `runs`, which the report names.
///
/// # Errors
///
/// The backend cannot do what the scenario asks for, or the directory cannot be made. A verdict that does not hold is no error
/// but a report.
pub async fn execute(
    expanded: Expanded,
    backend: Backend,
    runs: &Path,
) -> Result<Report, anyhow::Error> {
    let mut run = set_up(expanded, backend, runs, Progress::new())?;
    let outcome = outcome(&mut run, Run::perform).await;
    run.progress.clear();
    let report = conclude(&mut run, "as asked".to_owned(), &outcome).await;
    stage::stop::stop(&mut run, !report.holds).await;
    Ok(report)
}

/// As [`execute`] under virtual time, but nothing is left of the run beside what is returned, and nothing is shown: for who runs
/// thousands.
///
/// # Errors
///
/// As for [`execute`].
pub async fn probe(expanded: Expanded) -> Result<Report, anyhow::Error> {
    let runs = std::env::temp_dir();
    let mut run = set_up(expanded, Backend::Sim, &runs, Progress::silent())?;
    let _scratch = Scratch(run.plan.directory.clone());
    let outcome = outcome(&mut run, Run::perform).await;
    stage::observe::conclude(&mut run).await;
    let mut report = report(&mut run, "as asked".to_owned(), &outcome).await;
    // To read the whole recording takes as long as the run.
    if !run.plan.scenario.verdict.statistics.demanded().is_empty() {
        let recording = Recording::read(&run.plan.directory)?;
        judge(&mut run, &recording, &mut report);
    }
    Ok(report)
}

/// A directory that goes with this, also when a node panics.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn set_up(
    expanded: Expanded,
    backend: Backend,
    runs: &Path,
    progress: Progress,
) -> Result<Run, anyhow::Error> {
    let able = backend::capabilities(backend.name());
    for (capability, key) in expanded.scenario.needs() {
        anyhow::ensure!(
            able.contains(&capability),
            "backend {} cannot do what `{key}` asks for: {capability}",
            backend.name()
        );
    }
    let plan = Plan::new(expanded, plan::new_run_id(), runs)?;
    let journal = Journal::create(&plan, backend.name(), "as asked")?;
    Ok(Run::new(plan, backend, progress, journal))
}

/// Has stages performed, and sees whether links were as asked meanwhile.
pub(crate) async fn outcome(
    run: &mut Run,
    stages: impl AsyncFnOnce(&mut Run) -> Result<(), Failure>,
) -> Outcome {
    let outcome = match stages(run).await {
        Ok(()) => Outcome::Holds,
        Err(failure) => Outcome::Failed(failure),
    };
    // Whatever the verdict is: it is not about the network that the scenario asked for.
    match stage::measure::finish(run, false) {
        Ok(()) => outcome,
        Err(invalid) => Outcome::Failed(invalid),
    }
}

async fn conclude(run: &mut Run, reason: String, outcome: &Outcome) -> Report {
    stage::observe::conclude(run).await;
    for Judged {
        name,
        holds,
        reason,
    } in run.engine.judged()
    {
        run.journal.check(&name, holds, &reason);
    }
    let mut report = report(run, reason, outcome).await;
    if let Ok(recording) = Recording::read(&run.plan.directory) {
        judge(run, &recording, &mut report);
    }
    if let Err(error) = journal::write_result(&run.plan.directory, &report) {
        eprintln!("testnet: result.json: {error}");
    }
    show(&run.plan.directory);
    report
}

/// Adds what only the whole recording tells: figures, and mining against theory, which the verdict's terms may judge.
fn judge(run: &mut Run, recording: &Recording, report: &mut Report) {
    report.figures = recording.figures();
    report.mining = recording.mining(&run.states);
    report.checks = recording.checks();
    report.links.clone_from(&recording.links);
    // A run that failed before says nothing of mining as a whole.
    if !report.holds {
        return;
    }
    let judged = report.mining.judge(&run.plan.scenario.verdict.statistics);
    for judged in judged {
        run.journal
            .check(&judged.name, judged.holds, &judged.reason);
        if !judged.holds && report.holds {
            report.holds = false;
            report.reason = Some(format!("{}: {}", judged.name, judged.reason));
        }
        report.checks.push(judged);
    }
}

/// Writes what people and their tools read. It is the recording, looked at again, so that a later look shows the same.
fn show(directory: &Path) {
    let written = Recording::read(directory)
        .map_err(anyhow::Error::from)
        .and_then(|recording| Ok(commands::write(&recording)?));
    if let Err(error) = written {
        eprintln!("testnet: report: {error}");
    }
}

fn load(options: &RunOptions) -> Result<(Loaded, Expanded), ScenarioError> {
    let loaded = options.what.load()?;
    let expanded = loaded.expand()?;
    Ok((loaded, expanded))
}

/// Chooses the backend, says so, and makes the run's directory.
async fn prepare(
    options: &RunOptions,
    loaded: &Loaded,
    expanded: Expanded,
) -> Result<(Run, String), anyhow::Error> {
    // Before an image is built, which takes minutes.
    refuse(&backend::missing(options.backend.backend, loaded))?;
    let mut progress = Progress::new();
    let chosen = backend::choose(&options.backend, &mut progress).await;
    progress.clear();
    let (backend, reason) = chosen.map_err(|error| anyhow::anyhow!("testnet: {error}"))?;
    let able = backend::capabilities(backend.name());
    refuse(&loaded.missing(backend.name(), &able))?;
    let first = format!("backend: {} ({reason})", backend.name());
    let mut plan = Plan::new(expanded, plan::new_run_id(), &options.runs)?;
    plan.layers.clone_from(&loaded.layers);
    plan.program = backend.program();
    let second = format!(
        "{}, seed {}; run {}",
        plan.scenario.summary(),
        plan.scenario.seed.unwrap_or_default(),
        plan.id
    );
    match options.json {
        // Standard output is the result's alone.
        true => eprintln!("{first}\n{second}\n"),
        false => println!("{first}\n{second}\n"),
    }
    let directory = plan.directory.display().to_string();
    let mut journal = Journal::create(&plan, backend.name(), &reason)
        .map_err(|error| anyhow::anyhow!("testnet: run directory {directory}: {error}"))?;
    let details = json!({ "run": plan.id, "backend": backend.name(), "reason": reason });
    journal.event("run_started", details);
    Ok((Run::new(plan, backend, progress, journal), reason))
}

/// What a backend cannot do is never skipped: the run is refused before anything starts, and everything that is missing named.
fn refuse(missing: &[Problem]) -> Result<(), anyhow::Error> {
    let texts: Vec<_> = missing.iter().map(ToString::to_string).collect();
    match texts.is_empty() {
        true => Ok(()),
        false => Err(anyhow::anyhow!("{}", texts.join("\n"))),
    }
}

async fn report(run: &mut Run, backend_reason: String, outcome: &Outcome) -> Report {
    let reason = match outcome {
        Outcome::Failed(failure) => Some(failure.to_string()),
        _ => None,
    };
    let agreement = Agreement::among(&run.states, &run.left_out());
    // Where all agree and the verdict still fails, every node is a suspect.
    let suspects = match (&reason, agreement.differing()) {
        (None, _) => Vec::new(),
        (Some(_), differing) if differing.is_empty() => (0..run.plan.nodes.len()).collect(),
        (Some(_), differing) => differing,
    };
    let mut nodes = Vec::new();
    for (index, state) in run.states.iter().enumerate() {
        let log = match suspects.contains(&index) {
            true => run.backend.logs(&run.plan, index, LOG_LINES).await,
            false => Vec::new(),
        };
        nodes.push(NodeReport {
            name: run.plan.nodes[index].name.clone(),
            state: state.clone(),
            log,
        });
    }
    Report {
        version: RESULT_VERSION,
        run: run.plan.id.clone(),
        scenario: run.plan.scenario.name.clone(),
        seed: run.plan.scenario.seed.unwrap_or_default(),
        backend: run.backend.name().to_owned(),
        backend_reason,
        holds: reason.is_none(),
        reason,
        convergence_ms: run.convergence.map(|time| time.as_millis() as u64),
        settlement_ms: run.settlement.map(|time| time.as_millis() as u64),
        stages_ms: run
            .stages_ms
            .iter()
            .map(|(stage, took_ms)| ((*stage).to_owned(), *took_ms))
            .collect(),
        elapsed_ms: run.journal.elapsed_ms(),
        transfers: run.transfers,
        load: (!run.plan.scenario.load.is_empty()).then(|| run.load.clone()),
        nodes,
        agreement,
        checks: Vec::new(),
        links: Vec::new(),
        figures: Figures::new(),
        mining: Mining::default(),
        trace: run.network.trace(),
        directory: run.plan.directory.display().to_string(),
    }
}

/// Marks the faults in Grafana. That it cannot be reached says nothing of the network under test.
async fn mark(directory: &Path, url: &str) -> Result<(), anyhow::Error> {
    grafana::annotate(&Recording::read(directory)?, url).await?;
    Ok(())
}

fn print(report: &Report, json: bool) {
    if !json {
        print!("{}", report.text(Paint::detect()));
        return;
    }
    match serde_json::to_string_pretty(report) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("testnet: {error}"),
    }
}

/// The signals that ask this program to end. They are listened for from the first moment, so that none ends it
/// unprepared.
pub(crate) struct Signals {
    #[cfg(unix)]
    streams: Option<[tokio::signal::unix::Signal; 2]>,
    #[cfg(windows)]
    streams: Option<(
        tokio::signal::windows::CtrlC,
        tokio::signal::windows::CtrlBreak,
    )>,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let streams = || {
            let interrupt = signal(SignalKind::interrupt()).ok()?;
            Some([interrupt, signal(SignalKind::terminate()).ok()?])
        };
        Self { streams: streams() }
    }

    pub(crate) async fn next(&mut self) {
        let Some([interrupt, terminate]) = &mut self.streams else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
impl Signals {
    pub(crate) fn listen() -> Self {
        use tokio::signal::windows::{ctrl_break, ctrl_c};
        let streams = || Some((ctrl_c().ok()?, ctrl_break().ok()?));
        Self { streams: streams() }
    }

    pub(crate) async fn next(&mut self) {
        let Some((interrupt, terminate)) = &mut self.streams else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
