//! What a node has on disk, where it has one: a directory below that of the run, for processes and containers alike.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;
use triskel::protocol::link::Conditions;

use super::BackendError;
use crate::engine::schedule::Surroundings;
use crate::plan::Plan;

/// What a node has in its data directory beside what it stored of the network.
pub(super) const KEY_FILE: &str = "node.key";
pub(super) const CONDITIONS_FILE: &str = "conditions.json";
const CONDITIONS_VERSION: u64 = 1;

/// A node's data directory.
pub(super) fn directory(plan: &Plan, node: usize) -> PathBuf {
    plan.node_directory(node).join("data")
}

/// Gives a node its key before its first start, and what it does to its links: the conditions of links name nodes by their keys.
pub(super) fn prepare(
    plan: &Plan,
    node: usize,
    links: &BTreeMap<usize, Conditions>,
) -> Result<(), BackendError> {
    let data = directory(plan, node);
    std::fs::create_dir_all(&data)
        .and_then(|()| std::fs::write(data.join(KEY_FILE), key(plan, node)))
        .map_err(|error| failed(plan, node, &error))?;
    keep_conditions(plan, node, links, &Surroundings::default())
}

/// The text of a node's key file.
pub(super) fn key(plan: &Plan, node: usize) -> String {
    let secret = plan.node_keys(node).secret();
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    text + "\n"
}

/// The text of the file that says what a node does to its links and clock.
pub(super) fn conditions(
    plan: &Plan,
    links: &BTreeMap<usize, Conditions>,
    surroundings: &Surroundings,
) -> String {
    let mut conditions = json!(plan.node_conditions(links, surroundings));
    conditions["version"] = CONDITIONS_VERSION.into();
    format!("{conditions:#}\n")
}

/// Writes what a node that is down does to its links and clock once it starts.
pub(super) fn keep_conditions(
    plan: &Plan,
    node: usize,
    links: &BTreeMap<usize, Conditions>,
    surroundings: &Surroundings,
) -> Result<(), BackendError> {
    let file = directory(plan, node).join(CONDITIONS_FILE);
    let written = std::fs::write(file, conditions(plan, links, surroundings));
    written.map_err(|error| failed(plan, node, &error))
}

/// Removes what a node that is down has stored of the network. Its key and its conditions stay.
pub(super) fn wipe(plan: &Plan, node: usize) -> Result<(), BackendError> {
    let remove = || -> std::io::Result<()> {
        for entry in std::fs::read_dir(directory(plan, node))? {
            let entry = entry?;
            let name = entry.file_name();
            if name == KEY_FILE || name == CONDITIONS_FILE {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false => std::fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    };
    remove().map_err(|error| failed(plan, node, &error))
}

fn failed(plan: &Plan, node: usize, error: &std::io::Error) -> BackendError {
    let name = &plan.nodes[node].name;
    BackendError(format!("{name}: data directory: {error}"))
}
