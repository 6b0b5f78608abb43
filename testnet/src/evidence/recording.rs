//! A run's directory, read. What a run that was cut short has not written is absent, and a line that was cut off is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use triskel::rpc::Dag;

use super::blocks::{self, Trace};
use super::record::{
    ArrivalLine, EventLine, Files, LinkLine, MANIFEST_VERSION, Manifest, Sample, TransferLine,
};
use crate::report::Report;

/// Why a directory is no run's.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file that every run has cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Another version of this program wrote it.
    #[error("{}: version {found}, this program reads {MANIFEST_VERSION}", path.display())]
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// A fault, as it happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Spell {
    /// What, in words.
    pub what: String,
    /// The nodes that it concerned.
    pub nodes: Vec<usize>,
    /// When it began.
    pub begin_ms: u64,
    /// When it was over; `None` if it never was.
    pub end_ms: Option<u64>,
}

/// A check or an invariant that was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Judged {
    /// Its name.
    pub name: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why not.
    pub reason: String,
}

/// A stage of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// How long it took, of real time.
    pub took_ms: u64,
    /// How it failed.
    pub error: Option<String>,
}

/// What is known of a transfer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transferred {
    /// The source of load that it is of; `None` for one of `transfers`.
    pub load: Option<usize>,
    /// When it was due.
    pub due_ms: f64,
    /// When it was applied; `None` if it is not known to have been.
    pub applied_ms: Option<f64>,
}

/// Everything that a run has left.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Where.
    pub directory: PathBuf,
    /// What the run consisted of.
    pub manifest: Manifest,
    /// What happened.
    pub events: Vec<EventLine>,
    /// How the nodes were, in the order of time.
    pub samples: Vec<Sample>,
    /// How each block travelled, in the order in which they were first seen.
    pub blocks: Vec<Trace>,
    /// Links.
    pub links: Vec<LinkLine>,
    /// What became of transfers.
    pub transfers: Vec<Transferred>,
    /// The end of the order.
    pub dag: Option<Dag>,
    /// Metrics of the nodes at the end, by the node's name.
    pub metrics: BTreeMap<String, String>,
    /// The result, if the run came to one.
    pub result: Option<Report>,
}

impl Recording {
    /// Reads a run's directory.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn read(directory: &Path) -> Result<Self, RecordingError> {
        let path = directory.join(Files::MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|source| {
            let path = path.clone();
            RecordingError::Unreadable { path, source }
        })?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|source| {
            let path = path.clone();
            RecordingError::Malformed { path, source }
        })?;
        if manifest.version != MANIFEST_VERSION {
            let found = manifest.version;
            return Err(RecordingError::Version { path, found });
        }
        let mut arrivals: Vec<ArrivalLine> = lines(&directory.join(Files::ARRIVALS));
        let mut logs = blocks::Logs::default();
        let mut metrics = BTreeMap::new();
        for (node, member) in manifest.nodes.iter().enumerate() {
            let log = directory.join(&member.name).join(Files::LOG);
            if let Ok(text) = std::fs::read_to_string(log) {
                logs.read(node, &text, manifest.started_unix_us);
            }
            let page = format!("{}/{}.prom", Files::METRICS, member.name);
            if let Ok(text) = std::fs::read_to_string(directory.join(page)) {
                metrics.insert(member.name.clone(), text);
            }
        }
        arrivals.extend(logs.arrivals());
        let mut events: Vec<EventLine> = lines(&directory.join(Files::EVENTS));
        events.extend(logs.undone());
        events.sort_by_key(|event| event.at_ms);
        let blocks = blocks::traces(arrivals, &logs);
        let transfers = transferred(&lines(&directory.join(Files::TRANSFERS)), &blocks);
        Ok(Self {
            directory: directory.to_owned(),
            events,
            samples: lines(&directory.join(Files::SAMPLES)),
            blocks,
            links: lines(&directory.join(Files::LINKS)),
            transfers,
            dag: document(&directory.join(Files::DAG)),
            metrics,
            result: document(&directory.join(Files::RESULT)),
            manifest,
        })
    }

    /// The name of a node.
    pub fn name(&self, node: usize) -> &str {
        let member = self.manifest.nodes.get(node);
        member.map_or("?", |member| member.name.as_str())
    }

    /// When the run's last line was written.
    pub fn end_ms(&self) -> u64 {
        let events = self.events.last().map(|event| event.at_ms);
        let samples = self.samples.last().map(|sample| sample.at_ms);
        events.max(samples).unwrap_or_default()
    }

    /// When an event happened first.
    pub fn first(&self, event: &str) -> Option<u64> {
        let found = self.events.iter().find(|line| line.event == event);
        found.map(|line| line.at_ms)
    }

    /// When an event happened last.
    pub fn last(&self, event: &str) -> Option<u64> {
        let mut events = self.events.iter().rev();
        let found = events.find(|line| line.event == event);
        found.map(|line| line.at_ms)
    }

    /// The faults, as they happened.
    pub fn faults(&self) -> Vec<Spell> {
        let mut spells: Vec<(u64, Spell)> = Vec::new();
        for event in &self.events {
            let number = event.details.get("fault").and_then(Value::as_u64);
            let Some(number) = number else { continue };
            match event.event.as_str() {
                "fault_began" => spells.push((
                    number,
                    Spell {
                        what: event.details.get("what").map_or_else(String::new, words),
                        nodes: indices(event.details.get("nodes")),
                        begin_ms: event.at_ms,
                        end_ms: None,
                    },
                )),
                "fault_ended" => {
                    let open = |(known, spell): &&mut (u64, Spell)| {
                        *known == number && spell.end_ms.is_none()
                    };
                    if let Some((_, spell)) = spells.iter_mut().rev().find(open) {
                        spell.end_ms = Some(event.at_ms);
                    }
                }
                _ => {}
            }
        }
        spells.into_iter().map(|(_, spell)| spell).collect()
    }

    /// The checks and invariants that were judged; of one that was judged more than once, the last time counts.
    pub fn checks(&self) -> Vec<Judged> {
        let mut judged: Vec<Judged> = Vec::new();
        for event in self.events.iter().filter(|event| event.event == "check") {
            let check = Judged {
                name: text(event, "name"),
                holds: event.details.get("holds") == Some(&Value::Bool(true)),
                reason: text(event, "reason"),
            };
            match judged.iter_mut().find(|known| known.name == check.name) {
                Some(known) => *known = check,
                None => judged.push(check),
            }
        }
        judged
    }

    /// The stages, in their order.
    pub fn stages(&self) -> Vec<Stage> {
        let ended = self
            .events
            .iter()
            .filter(|event| event.event == "stage_ended");
        let stage = |event: &EventLine| {
            let took_ms = event.details.get("took_ms").and_then(Value::as_u64);
            let error = event.details.get("error").and_then(Value::as_str);
            Stage {
                name: text(event, "stage"),
                took_ms: took_ms.unwrap_or_default(),
                error: error.map(str::to_owned),
            }
        };
        ended.map(stage).collect()
    }
}

fn text(event: &EventLine, key: &str) -> String {
    let value = event.details.get(key).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}

fn indices(value: Option<&Value>) -> Vec<usize> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_u64)
        .map(|index| index as usize)
        .collect()
}

/// A fault in words: its kind, and its measures where they are one number or text.
fn words(act: &Value) -> String {
    match act {
        Value::String(word) => word.clone(),
        Value::Object(table) => {
            let word = |(kind, measures): (&String, &Value)| match measures {
                Value::String(text) => format!("{kind} {text}"),
                Value::Number(number) => format!("{kind} {number}"),
                _ => kind.clone(),
            };
            table.iter().map(word).collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    }
}

/// A transfer is applied when the block that has it has reached all nodes that ever took it.
fn transferred(lines: &[TransferLine], blocks: &[Trace]) -> Vec<Transferred> {
    let everywhere: BTreeMap<&str, u64> = blocks
        .iter()
        .filter_map(|trace| Some((trace.id.as_str(), trace.hops.last()?.at_us)))
        .collect();
    let mut known: BTreeMap<&str, Transferred> = BTreeMap::new();
    for line in lines {
        let transfer = known.entry(&line.id).or_default();
        transfer.load = line.load.or(transfer.load);
        if let Some(due_ms) = line.due_ms.or(line.sent_ms) {
            transfer.due_ms = due_ms;
        }
        let block = line.block.as_deref();
        let in_block = block.and_then(|block| Some(*everywhere.get(block)? as f64 / 1_000.0));
        transfer.applied_ms = line.applied_ms.or(in_block).or(transfer.applied_ms);
    }
    known.into_values().collect()
}

fn document<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

fn lines<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(at_ms: u64, name: &str, details: Value) -> EventLine {
        let Value::Object(details) = details else {
            panic!("details are an object")
        };
        EventLine {
            at_ms,
            event: name.to_owned(),
            details,
        }
    }

    #[test]
    fn faults_end_with_the_event_that_bears_their_number() {
        let recording = Recording {
            events: vec![
                event(
                    10,
                    "fault_began",
                    json!({ "fault": 0, "what": "kill", "nodes": [1] }),
                ),
                event(
                    20,
                    "fault_began",
                    json!({ "fault": 1, "what": { "hashrate": 2.0 }, "nodes": [0, 2] }),
                ),
                event(30, "fault_ended", json!({ "fault": 0 })),
            ],
            ..Recording::default()
        };
        let faults = recording.faults();
        assert_eq!((faults[0].begin_ms, faults[0].end_ms), (10, Some(30)));
        assert_eq!(faults[1].what, "hashrate 2.0");
        assert_eq!((faults[1].end_ms, &faults[1].nodes), (None, &vec![0, 2]));
    }

    #[test]
    fn a_check_counts_as_it_was_judged_last() {
        let check = |holds| {
            event(
                1,
                "check",
                json!({ "name": "supply", "holds": holds, "reason": "" }),
            )
        };
        let recording = Recording {
            events: vec![check(true), check(false)],
            ..Recording::default()
        };
        assert_eq!(recording.checks().len(), 1);
        assert!(!recording.checks()[0].holds);
    }

    #[test]
    fn a_directory_without_a_run_is_none_and_says_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let error = Recording::read(directory.path()).unwrap_err();
        assert!(error.to_string().contains("run.json"), "{error}");
    }
}
