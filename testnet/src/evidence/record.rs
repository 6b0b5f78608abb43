//! The lines of the files in a run's directory, as they are written and read.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use triskel::sim::watch::Arrival;

use crate::scenario::{Conditions, Statistics};
use crate::verdict::NodeState;

/// The version of `run.json`. It rises when a key changes its meaning or goes.
pub const MANIFEST_VERSION: u32 = 1;

/// Digits of a tip or a digest in a sample: 64 bits tell all tips of a run apart.
const SHORT_DIGITS: usize = 16;

/// The names of the files in a run's directory.
#[derive(Clone, Copy, Debug)]
pub struct Files;

impl Files {
    /// What the run consists of: [`Manifest`].
    pub const MANIFEST: &'static str = "run.json";
    /// The scenario, expanded.
    pub const SCENARIO: &'static str = "scenario.toml";
    /// What happened: [`EventLine`].
    pub const EVENTS: &'static str = "events.jsonl";
    /// How the nodes were, a few times a second: [`Sample`].
    pub const SAMPLES: &'static str = "samples.jsonl";
    /// Which node took which block when, where the nodes' logs do not say it: [`ArrivalLine`].
    pub const ARRIVALS: &'static str = "arrivals.jsonl";
    /// Transfers: [`TransferLine`].
    pub const TRANSFERS: &'static str = "transfers.jsonl";
    /// Links: [`LinkLine`].
    pub const LINKS: &'static str = "links.jsonl";
    /// The end of the order, as a node that leads has it.
    pub const DAG: &'static str = "dag.json";
    /// The result: [`crate::report::Report`].
    pub const RESULT: &'static str = "result.json";
    /// The result for test reporters.
    pub const JUNIT: &'static str = "junit.xml";
    /// The result for pages of CI.
    pub const SUMMARY: &'static str = "summary.md";
    /// The result for people.
    pub const REPORT: &'static str = "report.html";
    /// The directory of the nodes' metrics at the end.
    pub const METRICS: &'static str = "metrics";
    /// What a node said, in the node's directory.
    pub const LOG: &'static str = "node.log";
}

/// What a run consists of, written before anything starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this structure: [`MANIFEST_VERSION`].
    pub version: u32,
    /// The run's id.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// What it shows.
    pub about: String,
    /// What everything random was drawn from.
    pub seed: u64,
    /// What the nodes were.
    pub backend: String,
    /// Why they were that.
    pub backend_reason: String,
    /// The time of day at the run's start.
    pub started_unix_us: u64,
    /// GHOSTDAG's k.
    pub k: u16,
    /// The most parents of a block.
    pub max_parents: u8,
    /// The streams.
    pub streams: Vec<StreamFacts>,
    /// The nodes, in the order of their numbers.
    pub nodes: Vec<Member>,
    /// Who dials whom.
    pub edges: Vec<(usize, usize)>,
    /// What the nodes ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// What the verdict asks of mining.
    #[serde(default)]
    pub statistics: Statistics,
}

/// What a node runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The file, or the image.
    pub name: String,
    /// What tells it from others of that name: BLAKE3 of the file, or the image's id.
    pub digest: String,
}

impl Program {
    /// The program in a file; `None` if it cannot be read.
    pub fn file(file: &Path) -> Option<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(file).ok()?).ok()?;
        Some(Self {
            name: file.display().to_string(),
            digest: hasher.finalize().to_hex().to_string(),
        })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({:.16})", self.name, self.digest)
    }
}

/// A stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamFacts {
    /// Its name.
    pub name: String,
    /// The time from one block to the next that difficulty aims at.
    pub interval_ms: u64,
    /// Units that a block pays.
    pub reward: u64,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Whether it keeps the rules.
    pub honest: bool,
    /// Hashes per second, by stream.
    pub hashrates: BTreeMap<String, u64>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// When.
    pub at_ms: u64,
    /// What.
    pub event: String,
    /// More of it.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// How a node was at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at_ms: u64,
    /// Which node.
    pub node: usize,
    /// Its tip, shortened; absent if it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip: Option<String>,
    /// The digest of all accounts, shortened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Blocks in its order.
    #[serde(default)]
    pub blocks: u64,
    /// Of these, red.
    #[serde(default)]
    pub red: u64,
    /// Transactions applied.
    #[serde(default)]
    pub transactions: u64,
    /// Transactions that wait.
    #[serde(default)]
    pub mempool: u64,
    /// Sessions that stand.
    #[serde(default)]
    pub peers: u32,
    /// What its process uses, where that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// What a node's process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory that it has, in bytes.
    pub memory_bytes: u64,
    /// Files and sockets that it has open.
    pub descriptors: u64,
    /// Processor time that it has spent, in seconds.
    pub cpu_s: f64,
}

/// A node took a block in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArrivalLine {
    /// When.
    pub at_us: u64,
    /// Which node.
    pub node: usize,
    /// Which block.
    pub block: String,
    /// Its stream.
    pub stream: String,
    /// Its position in the node's order.
    pub number: u64,
    /// The node that passed it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<usize>,
    /// `mined`, `relayed` or `synced`.
    pub origin: String,
    /// How long before that it was found, where it was mined.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub age_ms: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What is known of a transfer: handed in, or found applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TransferLine {
    /// Its id.
    pub id: String,
    /// The source of load that it is of, by its index; absent for one of `transfers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<usize>,
    /// The node that it was handed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// When it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<f64>,
    /// When it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_ms: Option<f64>,
    /// The block that it was found in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<String>,
    /// When it was applied everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_ms: Option<f64>,
}

/// One direction of a link while the same was asked of it: what it was to be, and what it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LinkLine {
    /// Who sends.
    pub from: usize,
    /// Who receives.
    pub to: usize,
    /// From when, in milliseconds since the nodes were started.
    #[serde(default)]
    pub since_ms: u64,
    /// Until when.
    #[serde(default)]
    pub until_ms: u64,
    /// What was asked for.
    pub configured: Conditions,
    /// Between which the least round trip may be by what was asked for in both directions, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<(f64, f64)>,
    /// What was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// Whether that is near enough; absent where too little was seen to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
    /// What is wrong, or was not measured, and why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What was found of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// The least of all round trips, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// How many there were.
    #[serde(default)]
    pub samples: u32,
    /// The part that was lost, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Bytes a second, while more waited to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_s: Option<f64>,
}

impl Sample {
    /// What a node says of itself.
    pub fn of(
        at_ms: u64,
        node: usize,
        state: Option<&NodeState>,
        resources: Option<Resources>,
    ) -> Self {
        let Some(state) = state else {
            return Self {
                at_ms,
                node,
                ..Self::default()
            };
        };
        Self {
            at_ms,
            node,
            tip: Some(format!("{:.SHORT_DIGITS$}", state.tip)),
            digest: format!("{:.SHORT_DIGITS$}", state.state_digest),
            blocks: state.blocks,
            red: state.red,
            transactions: state.transactions,
            mempool: state.mempool,
            peers: state.peers,
            resources,
        }
    }
}

impl Resources {
    /// Reads them from a page of metrics. They are there on Linux alone.
    pub fn read(page: &str) -> Option<Self> {
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<f64>().ok()
        };
        Some(Self {
            memory_bytes: value("process_resident_memory_bytes ")? as u64,
            descriptors: value("process_open_fds ")? as u64,
            cpu_s: value("triskel_processor_seconds_total ")?,
        })
    }
}

impl From<&Arrival> for ArrivalLine {
    fn from(arrival: &Arrival) -> Self {
        let origin = match (arrival.from, arrival.synced) {
            (_, true) => "synced",
            (None, false) => "mined",
            (Some(_), false) => "relayed",
        };
        Self {
            at_us: arrival.at_us,
            node: arrival.node,
            block: arrival.block.to_string(),
            stream: arrival.stream.to_string(),
            number: arrival.number,
            from: arrival.from,
            origin: origin.to_owned(),
            age_ms: 0,
        }
    }
}
