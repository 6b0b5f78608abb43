//! Reads scenarios in layers: what a file extends < the file < the flags.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::DeTable;

use super::explicit::Expanded;
use super::limits::{MAX_EXTENDS, MAX_FILE_BYTES};
use super::tree::{Origin, Text, Tree, Value};
use super::{Capability, Problem, Scenario, ScenarioError};

/// A value that the command line sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The path of the key, as `nodes`, `network.preset` or `faults.0.for`.
    pub key: String,
    /// The value: TOML, or a plain text.
    pub value: String,
    /// The flag as it was written, for messages.
    pub flag: String,
}

impl Setting {
    /// What `--set KEY=VALUE` says.
    ///
    /// # Errors
    ///
    /// The text has no key or no value.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(Self {
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                flag: format!("--set {text}"),
            }),
            _ => Err(format!(
                "{text:?} is not allowed here, KEY=VALUE is, as nodes=7 or topology=ring"
            )),
        }
    }

    /// What a flag says that is called as its key.
    pub fn flag(key: &str, value: u64) -> Self {
        Self {
            key: key.to_owned(),
            value: value.to_string(),
            flag: format!("--{key} {value}"),
        }
    }
}

/// A scenario, and where each of its values was written.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The scenario.
    pub scenario: Scenario,
    /// What it was read from, in the order in which it was laid over each other: files, then flags.
    pub layers: Vec<String>,
    origins: BTreeMap<String, Origin>,
}

impl Scenario {
    /// Reads a file, and lays the settings over it.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or a value is not allowed: the error names place, key and what is allowed.
    pub fn read(file: &Path, settings: &[Setting]) -> Result<Loaded, ScenarioError> {
        let mut layers = Vec::new();
        let tree = read_file(file, &mut Vec::new(), &mut layers)?;
        finish(tree, layers, settings)
    }

    /// Reads a text, and lays the settings over it; `name` stands for the file in errors.
    ///
    /// # Errors
    ///
    /// As of [`Scenario::read`].
    pub fn parse(text: &str, name: &str, settings: &[Setting]) -> Result<Loaded, ScenarioError> {
        let mut layers = Vec::new();
        let tree = read_text(text, name, Path::new(""), &mut Vec::new(), &mut layers)?;
        finish(tree, layers, settings)
    }
}

fn finish(
    mut tree: Tree,
    mut layers: Vec<String>,
    settings: &[Setting],
) -> Result<Loaded, ScenarioError> {
    for setting in settings {
        let origin = Origin::new(setting.flag.as_str());
        let path: Vec<_> = setting.key.split('.').collect();
        if path == ["extends"] {
            return Err(problem(&origin, "extends", "only a file can extend another").into());
        }
        tree.set(&path, Tree::of_flag(&setting.value, origin));
        layers.push(setting.flag.clone());
    }
    let scenario = Scenario::deserialize(&tree).map_err(|error| Problem {
        place: error.origin.as_ref().unwrap_or(&tree.origin).to_string(),
        key: error.key,
        message: error.message,
    })?;
    let mut origins = BTreeMap::new();
    tree.note_origins("", &mut origins);
    Ok(Loaded {
        scenario,
        layers,
        origins,
    })
}

fn problem(origin: &Origin, key: &str, message: impl Into<String>) -> Problem {
    Problem {
        place: origin.to_string(),
        ..Problem::new(key, message)
    }
}

/// `below` has the files that extend this one.
fn read_file(
    file: &Path,
    below: &mut Vec<PathBuf>,
    layers: &mut Vec<String>,
) -> Result<Tree, ScenarioError> {
    let unreadable = |source| ScenarioError::Unreadable {
        file: file.to_owned(),
        source,
    };
    let length = std::fs::metadata(file).map_err(unreadable)?.len();
    if length > MAX_FILE_BYTES {
        let message = format!("{length} bytes are not allowed, at most {MAX_FILE_BYTES} are");
        return Err(problem(&Origin::new(file.display().to_string()), "", message).into());
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    below.push(file.canonicalize().map_err(unreadable)?);
    let directory = file.parent().unwrap_or_else(|| Path::new(""));
    read_text(&text, &file.display().to_string(), directory, below, layers)
}

fn read_text(
    text: &str,
    name: &str,
    directory: &Path,
    below: &mut Vec<PathBuf>,
    layers: &mut Vec<String>,
) -> Result<Tree, ScenarioError> {
    let table = DeTable::parse(text).map_err(|source| ScenarioError::Syntax {
        origin: name.to_owned(),
        source: Box::new(source),
    })?;
    let mut tree = Tree::of_table(table.get_ref(), &Text::new(name, text));
    resolve_paths(&mut tree, directory);
    let Value::Table(keys) = &mut tree.value else {
        unreachable!("a document is a table");
    };
    let Some(extends) = keys.remove("extends") else {
        layers.push(name.to_owned());
        return Ok(tree);
    };
    let Value::Text(base) = &extends.value else {
        let message = "the name of a file is wanted, relative to this one";
        return Err(problem(&extends.origin, "extends", message).into());
    };
    if below.len() > MAX_EXTENDS {
        let message = format!("files may extend each other {MAX_EXTENDS} deep");
        return Err(problem(&extends.origin, "extends", message).into());
    }
    let base = directory.join(base);
    if base.canonicalize().is_ok_and(|base| below.contains(&base)) {
        let message = format!("{} extends this file, or is it", base.display());
        return Err(problem(&extends.origin, "extends", message).into());
    }
    let mut lower = read_file(&base, below, layers).map_err(|error| match error {
        // The file that is missing is less to the point than the line that names it.
        ScenarioError::Unreadable { file, source } if file == base => {
            let message = format!("{}: {source}", file.display());
            problem(&extends.origin, "extends", message).into()
        }
        other => other,
    })?;
    lower.merge(tree);
    lower.origin = Origin::new(name);
    layers.push(name.to_owned());
    Ok(lower)
}

/// Files are named relative to the file that names them; from here on, from anywhere.
fn resolve_paths(tree: &mut Tree, directory: &Path) {
    let resolve = |text: &mut String| {
        let joined = directory.join(&*text);
        *text = std::path::absolute(&joined)
            .unwrap_or(joined)
            .display()
            .to_string();
    };
    tree.text_mut(&["topology", "file"]).map(resolve);
    let Value::Table(keys) = &mut tree.value else {
        return;
    };
    for (list, path) in [
        ("groups", &["program"][..]),
        ("faults", &["what", "upgrade", "program"]),
    ] {
        if let Some(Tree {
            value: Value::List(list),
            ..
        }) = keys.get_mut(list)
        {
            for element in list {
                element.text_mut(path).map(resolve);
            }
        }
    }
}

impl Loaded {
    /// Where a key was written; where the nearest above it was, if it was not.
    pub fn locate(&self, key: &str) -> String {
        let mut path = key;
        loop {
            if let Some(origin) = self.origins.get(path) {
                return origin.to_string();
            }
            path = match path.rfind(['.', '[']) {
                Some(end) => &path[..end],
                None => "",
            };
            if path.is_empty() {
                return self
                    .origins
                    .get("")
                    .map(Origin::to_string)
                    .unwrap_or_default();
            }
        }
    }

    /// The scenario, checked and expanded.
    ///
    /// # Errors
    ///
    /// A value is not allowed: the error names place, key and what is allowed.
    pub fn expand(&self) -> Result<Expanded, Problem> {
        self.scenario
            .clone()
            .expand()
            .map_err(|problem| self.place(problem))
    }

    /// What the scenario asks for that a backend cannot do; empty if it can do it all.
    pub fn missing(&self, backend: &str, capabilities: &BTreeSet<Capability>) -> Vec<Problem> {
        let needs = self.scenario.needs().into_iter();
        let missing = needs.filter(|(capability, _)| !capabilities.contains(capability));
        missing
            .map(|(capability, key)| {
                let message = format!("backend {backend} cannot do this: {capability}");
                self.place(Problem::new(key, message))
            })
            .collect()
    }

    fn place(&self, problem: Problem) -> Problem {
        let place = self.locate(&problem.key);
        Problem { place, ..problem }
    }
}
