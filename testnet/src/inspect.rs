//! What can be said of a scenario without running it: the verbs `validate`, `explain` and `schema`.

use std::io::Write;

use serde_json::json;

use crate::backend;
use crate::cli::{ExplainOptions, ScenarioOptions, SchemaOptions, ValidateOptions};
use crate::report;
use crate::run::Exit;
use crate::scenario::{self, Expanded, Loaded, ScenarioError};

/// Says whether a scenario makes sense, and whether a backend can do it, if one is named.
pub fn validate(options: &ValidateOptions) -> Exit {
    let (loaded, expanded) = match expand(&options.what) {
        Ok(read) => read,
        Err(error) => return refuse(&error),
    };
    let missing = backend::missing(options.backend, &loaded);
    if !missing.is_empty() {
        missing.iter().for_each(|problem| eprintln!("{problem}"));
        return Exit::Environment;
    }
    let name = options.what.scenario.as_ref();
    let name = name.map_or_else(|| "baseline".to_owned(), |file| file.display().to_string());
    print(&format!(
        "{name} is a scenario: {}\n",
        expanded.scenario.summary()
    ))
}

/// Shows what a scenario comes to.
pub fn explain(options: &ExplainOptions) -> Exit {
    let (loaded, expanded) = match expand(&options.what) {
        Ok(read) => read,
        Err(error) => return refuse(&error),
    };
    print(&match options {
        ExplainOptions { json: true, .. } => format!("{:#}\n", expanded.json()),
        ExplainOptions { dot: true, .. } => expanded.dot(),
        ExplainOptions { mermaid: true, .. } => expanded.mermaid(),
        _ => expanded.toml(&loaded.layers),
    })
}

/// Prints the JSON Schema of scenarios, or of results.
pub fn schema(options: SchemaOptions) -> Exit {
    match options.result {
        true => print(&format!("{:#}\n", json!(report::schema()))),
        false => print(&format!("{:#}\n", scenario::schema())),
    }
}

fn expand(options: &ScenarioOptions) -> Result<(Loaded, Expanded), ScenarioError> {
    let loaded = options.load()?;
    let expanded = loaded.expand()?;
    Ok((loaded, expanded))
}

fn refuse(error: &ScenarioError) -> Exit {
    eprintln!("{error}");
    Exit::Usage
}

/// Who closes the other end of a pipe has seen enough.
pub(crate) fn print(text: &str) -> Exit {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("testnet: {error}");
            Exit::Environment
        }
        _ => Exit::Holds,
    }
}
