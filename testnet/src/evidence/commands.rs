//! The verbs that look at runs that are over: `report`, `trace`, `compare` and `annotate`.

use std::path::Path;

use serde_json::json;

use super::record::Files;
use super::recording::{Recording, RecordingError};
use super::{compare, grafana, html, junit, summary, trace};
use crate::cli::{AnnotateOptions, CompareOptions, ReportOptions, TraceOptions};
use crate::inspect::print;
use crate::run::Exit;

/// Writes what people and their tools read of a run, anew from what it recorded.
///
/// # Errors
///
/// A file cannot be written.
pub fn write(recording: &Recording) -> std::io::Result<()> {
    let file = |name| recording.directory.join(name);
    std::fs::write(file(Files::JUNIT), junit::junit(recording))?;
    std::fs::write(file(Files::SUMMARY), summary::summary(recording))?;
    std::fs::write(file(Files::REPORT), html::html(recording))
}

/// Makes a run's reports anew.
pub fn report(options: &ReportOptions) -> Exit {
    let recording = match Recording::read(&options.run) {
        Ok(recording) => recording,
        Err(error) => return refuse(&error),
    };
    if let Err(error) = write(&recording) {
        eprintln!("testnet: {}: {error}", options.run.display());
        return Exit::Environment;
    }
    let names = [Files::REPORT, Files::JUNIT, Files::SUMMARY];
    let paths = names.map(|name| options.run.join(name).display().to_string());
    print(&format!("{}\n", paths.join("\n")))
}

/// Shows a block's way.
pub fn trace(options: &TraceOptions) -> Exit {
    let recording = match Recording::read(&options.run) {
        Ok(recording) => recording,
        Err(error) => return refuse(&error),
    };
    let Some(found) = trace::find(&recording, options.block.as_deref()) else {
        match &options.block {
            Some(block) => eprintln!("testnet: no block of this run is called {block}"),
            None => eprintln!("testnet: this run has recorded no block"),
        }
        return Exit::Usage;
    };
    let way = trace::way(&recording, found);
    match options.json {
        true => print(&format!("{:#}\n", json!(way))),
        false => print(&way.text()),
    }
}

/// Compares runs.
pub fn compare(options: &CompareOptions) -> Exit {
    let read = |path: &Path| compare::runs(path);
    let (left, right) = match (read(&options.before), read(&options.after)) {
        (Ok(left), Ok(right)) => (left, right),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("testnet: {error}");
            return Exit::Usage;
        }
    };
    let comparison = compare::compare(&left, &right);
    let exit = match options.json {
        true => print(&format!("{:#}\n", json!(comparison))),
        false => print(&comparison.text()),
    };
    match exit {
        Exit::Holds if comparison.is_worse() => Exit::Fails,
        exit => exit,
    }
}

/// Marks a run's faults in Grafana.
pub async fn annotate(options: &AnnotateOptions) -> Exit {
    let recording = match Recording::read(&options.run) {
        Ok(recording) => recording,
        Err(error) => return refuse(&error),
    };
    match grafana::annotate(&recording, &options.grafana).await {
        Ok(count) => print(&format!("{count} annotations\n")),
        Err(error) => {
            eprintln!("testnet: {error}");
            Exit::Environment
        }
    }
}

fn refuse(error: &RecordingError) -> Exit {
    eprintln!("testnet: {error}");
    Exit::Usage
}
