//! A run, once more: from its directory, or an archive of that.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::cli::{BackendChoice, BackendOptions, ReproduceOptions, RunOptions, ScenarioOptions};
use crate::evidence::record::{Files, Manifest};
use crate::plan::new_run_id;
use crate::report::Report;
use crate::run::{self, Exit};

/// What is known of the run that is done again.
struct Bundle {
    directory: PathBuf,
    manifest: Manifest,
    /// Absent if it came to no end.
    result: Option<Report>,
}

/// Does a run again, and says whether it is the same.
pub async fn reproduce(options: ReproduceOptions) -> Exit {
    let bundle = match open(&options) {
        Ok(bundle) => bundle,
        Err(error) => {
            eprintln!("testnet: {error}");
            return Exit::Usage;
        }
    };
    let Manifest { run, backend, .. } = &bundle.manifest;
    let choice = BackendChoice::from_str(backend, false);
    let Ok(choice) = options.backend.map_or(choice, Ok) else {
        eprintln!("testnet: run {run} was of backend {backend}, which this program does not have");
        return Exit::Usage;
    };
    eprintln!("{}", bundle.text());
    let recorded = bundle.manifest.program.as_ref();
    let name = recorded.map(|program| program.name.clone());
    let there = |name: &String| Path::new(name).is_file();
    let again = RunOptions {
        what: ScenarioOptions {
            scenario: Some(bundle.directory.join(Files::SCENARIO)),
            ..ScenarioOptions::default()
        },
        backend: BackendOptions {
            backend: choice,
            node: match choice {
                BackendChoice::Process => options
                    .node
                    .or_else(|| name.clone().filter(there).map(PathBuf::from)),
                _ => options.node,
            },
            image: match choice {
                BackendChoice::Docker | BackendChoice::Swarm | BackendChoice::Kubernetes => {
                    options.image.or(name)
                }
                _ => options.image,
            },
            swarm: options.swarm,
            kubernetes: options.kubernetes,
        },
        runs: options.runs,
        json: options.json,
        grafana: None,
        keep: false,
        attach: None,
    };
    let (exit, report) = run::run_to_end(again).await;
    let Some(report) = report else {
        return exit;
    };
    let present = manifest(Path::new(&report.directory)).ok();
    let present = present.and_then(|manifest| manifest.program);
    let is_other = match (recorded, &present) {
        (Some(recorded), Some(present)) => recorded.digest != present.digest,
        _ => true,
    };
    if is_other {
        let told = |program: Option<&crate::evidence::record::Program>| {
            program.map_or_else(|| "unknown".to_owned(), ToString::to_string)
        };
        eprintln!(
            "warning: the program is another one: it was {}, it is {}",
            told(recorded),
            told(present.as_ref())
        );
    }
    match bundle.differs(&report) {
        None => exit,
        Some(text) => {
            eprintln!("{text}");
            match is_other {
                true => Exit::Environment,
                // The same program, and another outcome of the same seed.
                false => Exit::Fails,
            }
        }
    }
}

impl Bundle {
    fn text(&self) -> String {
        let Manifest {
            run,
            scenario,
            seed,
            backend,
            ..
        } = &self.manifest;
        let outcome = match &self.result {
            Some(Report { holds: true, .. }) => "it held".to_owned(),
            Some(result) => format!(
                "it failed: {}",
                result.reason.as_deref().unwrap_or("unknown")
            ),
            None => "it came to no end".to_owned(),
        };
        let directory = self.directory.display();
        format!(
            "again: run {run}, {scenario}, seed {seed}, backend {backend}; {outcome}\nits logs: {directory}"
        )
    }

    /// What is not as it was, where it must be: under virtual time.
    fn differs(&self, again: &Report) -> Option<String> {
        let before = self.result.as_ref()?;
        let (before, now) = (before.trace.as_ref()?, again.trace.as_ref()?);
        match before == now {
            true => {
                eprintln!("the same trace: {now:.16}");
                None
            }
            false => Some(format!(
                "another trace: it was {before:.16}, it is {now:.16}"
            )),
        }
    }
}

fn open(options: &ReproduceOptions) -> Result<Bundle, anyhow::Error> {
    let directory = match options.bundle.is_dir() {
        true => options.bundle.clone(),
        false => unpacked(&options.bundle, &options.runs)?,
    };
    let result = std::fs::read_to_string(directory.join(Files::RESULT)).ok();
    Ok(Bundle {
        manifest: manifest(&directory)?,
        // One of another version is as good as none.
        result: result.and_then(|text| serde_json::from_str(&text).ok()),
        directory,
    })
}

fn manifest(directory: &Path) -> Result<Manifest, anyhow::Error> {
    let file = directory.join(Files::MANIFEST);
    let name = file.display();
    let text = std::fs::read_to_string(&file).map_err(|error| {
        anyhow::anyhow!("{name}: {error}; a run's directory is wanted, or an archive of one")
    })?;
    serde_json::from_str(&text).map_err(|error| anyhow::anyhow!("{name}: {error}"))
}

/// Unpacks an archive beside the runs, by the program that every system has. The run is what the archive has, or the one directory
/// in it.
fn unpacked(archive: &Path, runs: &Path) -> Result<PathBuf, anyhow::Error> {
    anyhow::ensure!(archive.is_file(), "{}: no such run", archive.display());
    let directory = runs.join(format!("unpacked-{}", new_run_id()));
    std::fs::create_dir_all(&directory)?;
    let mut tar = Command::new("tar");
    let output = tar
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(&directory)
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "{}: tar: {}",
        archive.display(),
        told.trim()
    );
    if directory.join(Files::MANIFEST).is_file() {
        return Ok(directory);
    }
    let inner = std::fs::read_dir(&directory)?.filter_map(Result::ok);
    let inner = inner.map(|entry| entry.path());
    let mut runs = inner.filter(|path| path.join(Files::MANIFEST).is_file());
    match (runs.next(), runs.next()) {
        (Some(run), None) => Ok(run),
        _ => anyhow::bail!("{}: not the archive of one run", archive.display()),
    }
}
