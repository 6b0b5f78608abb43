//! The evidence that a run leaves as it goes: what a run writes, [`crate::evidence`] reads.
//!
//! Every file is appended to, a line of JSON at a time, so that a run that is cut short leaves all that it saw. Times are
//! counted from the run's start, by virtual time in a simulation.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};
use triskel::protocol::chain::id::{BlockId, TransactionId};
use triskel::sim::watch::Seen;

use crate::backend::sim::Simulation;
use crate::evidence::record::{
    ArrivalLine, Files, LinkLine, MANIFEST_VERSION, Manifest, Member, Resources, Sample,
    StreamFacts, TransferLine,
};
use crate::network::Network;
use crate::plan::Plan;
use crate::scenario::Occurrence;
use crate::verdict::NodeState;

/// Between two looks at a small network; of a large one, so seldom that a second has a few hundred lines.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);
const SAMPLE_INTERVAL_A_NODE: Duration = Duration::from_millis(2);

/// The clock of a run.
#[derive(Clone)]
pub enum Clock {
    /// That of this machine.
    Real(Instant),
    /// That of this machine, since a network was made that outlives this program.
    Wall(SystemTime),
    /// That of a simulation.
    Virtual(Simulation),
}

impl Clock {
    /// Time since the run's start.
    pub fn now(&self) -> Duration {
        match self {
            Self::Real(started) => started.elapsed(),
            Self::Wall(made) => made.elapsed().unwrap_or_default(),
            Self::Virtual(simulation) => simulation.now(),
        }
    }
}

/// Writes down what happens. A disk that is full must not hide the verdict: what cannot be written is left out, and the result,
/// which is written last, says if it cannot be.
pub struct Journal {
    directory: PathBuf,
    started: Instant,
    clock: Clock,
    events: File,
    samples: Option<File>,
    arrivals: Option<File>,
    transfers: Option<File>,
    links: Option<File>,
    sampled: Option<Duration>,
    resources: Vec<Option<Resources>>,
}

impl Journal {
    /// Makes the run's directory, with the scenario and what the run consists of in it, and opens the events.
    pub fn create(plan: &Plan, backend: &str, reason: &str) -> std::io::Result<Self> {
        std::fs::create_dir_all(&plan.directory)?;
        let mut scenario = String::new();
        for layer in &plan.layers {
            scenario.push_str(&format!(
                "# from {}\n",
                layer.replace(char::is_control, " ")
            ));
        }
        scenario.push_str(&plan.scenario.to_toml());
        std::fs::write(plan.directory.join(Files::SCENARIO), scenario)?;
        let manifest = serde_json::to_string_pretty(&manifest(plan, backend, reason))?;
        std::fs::write(plan.directory.join(Files::MANIFEST), manifest + "\n")?;
        let started = Instant::now();
        let directory = plan.directory.clone();
        let open = |name| File::create_new(directory.join(name));
        Ok(Self {
            events: open(Files::EVENTS)?,
            samples: None,
            arrivals: None,
            transfers: None,
            links: None,
            started,
            clock: Clock::Real(started),
            sampled: None,
            resources: Vec::new(),
            directory,
        })
    }

    /// Goes on with the events of a network that was made at a moment, perhaps by an earlier program. Nothing else is kept of one:
    /// it is nobody's run.
    pub fn of_network(directory: &Path, made: SystemTime) -> std::io::Result<Self> {
        let mut events = File::options();
        let events = events.create(true).append(true);
        Ok(Self {
            events: events.open(directory.join(Files::EVENTS))?,
            samples: None,
            arrivals: None,
            transfers: None,
            links: None,
            started: Instant::now(),
            clock: Clock::Wall(made),
            sampled: None,
            resources: Vec::new(),
            directory: directory.to_owned(),
        })
    }

    /// Whether what nodes say of themselves is kept.
    fn samples(&self) -> bool {
        !matches!(self.clock, Clock::Wall(_))
    }

    /// From now on, times are those of this network: virtual where it is simulated.
    pub fn follow(&mut self, network: &Network) {
        if let Some(simulation) = network.simulation() {
            self.clock = Clock::Virtual(simulation.clone());
        }
    }

    /// The clock by which times are written.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Adds an event. `details` must be a JSON object.
    pub fn event(&mut self, name: &str, details: Value) {
        let mut line = json!({ "at_ms": self.at_ms(), "event": name });
        if let Value::Object(line) = &mut line {
            // The same seed gives the same lines: where time is virtual, that of day means nothing.
            if !matches!(self.clock, Clock::Virtual(_)) {
                line.insert("unix_us".to_owned(), json!(unix_us()));
            }
            if let Value::Object(details) = details {
                line.extend(details);
            }
        }
        let _ = writeln!(self.events, "{line}");
    }

    /// A fault of the plan, by its index, has begun, and concerns these nodes.
    pub fn fault_began(&mut self, fault: usize, occurrence: &Occurrence, nodes: &[usize]) {
        let details = json!({ "fault": fault, "what": occurrence.act, "nodes": nodes });
        self.event("fault_began", details);
    }

    /// It is over.
    pub fn fault_ended(&mut self, fault: usize) {
        self.event("fault_ended", json!({ "fault": fault }));
    }

    /// A check or an invariant was judged, once and for all.
    pub fn check(&mut self, name: &str, holds: bool, reason: &str) {
        let details = json!({ "name": name, "holds": holds, "reason": reason });
        self.event("check", details);
    }

    /// What a link was to be, and what was found.
    pub fn link(&mut self, line: &LinkLine) {
        append(&mut self.links, &self.directory, Files::LINKS, [line]);
    }

    /// A transfer was handed to a node. It was due earlier where the network holds the load up: waiting counts. By [`Self::clock`].
    pub fn submitted(&mut self, id: &TransactionId, node: usize, due: Duration, sent: Duration) {
        let line = TransferLine {
            id: id.to_string(),
            node: Some(node),
            due_ms: Some(milliseconds(due)),
            sent_ms: Some(milliseconds(sent)),
            ..TransferLine::default()
        };
        self.transfer(&line);
    }

    /// A transfer of a source of load, by its index, was accepted by a node. Those that are refused are counted, not written down.
    pub fn arrived(
        &mut self,
        id: &TransactionId,
        load: usize,
        node: usize,
        due: Duration,
        sent: Duration,
    ) {
        let line = TransferLine {
            id: id.to_string(),
            load: Some(load),
            node: Some(node),
            due_ms: Some(milliseconds(due)),
            sent_ms: Some(milliseconds(sent)),
            ..TransferLine::default()
        };
        self.transfer(&line);
    }

    /// A transfer was found applied: in a block, or everywhere by a time, or both.
    pub fn applied(&mut self, id: &TransactionId, block: Option<BlockId>, at: Option<Duration>) {
        let line = TransferLine {
            id: id.to_string(),
            block: block.map(|block| block.to_string()),
            applied_ms: at.map(milliseconds),
            ..TransferLine::default()
        };
        self.transfer(&line);
    }

    fn transfer(&mut self, line: &TransferLine) {
        append(
            &mut self.transfers,
            &self.directory,
            Files::TRANSFERS,
            [line],
        );
    }

    /// What the nodes' processes use, kept for the samples that follow.
    pub fn resources(&mut self, resources: Vec<Option<Resources>>) {
        self.resources = resources;
    }

    /// Keeps what the nodes say of themselves, every so often: call it whenever they were asked.
    pub fn sample(&mut self, states: &[Option<NodeState>]) {
        let now = self.clock.now();
        let interval = SAMPLE_INTERVAL.max(SAMPLE_INTERVAL_A_NODE * states.len() as u32);
        if self.samples() && is_due(self.sampled, now, interval) {
            self.sample_now(states);
        }
    }

    /// Keeps what the nodes say of themselves, whenever it was kept last.
    pub fn sample_now(&mut self, states: &[Option<NodeState>]) {
        let now = self.clock.now();
        self.sampled = Some(now);
        let at_ms = now.as_millis() as u64;
        let resources = std::mem::take(&mut self.resources);
        let lines = states.iter().enumerate().map(|(node, state)| {
            let resources = resources.get(node).copied().flatten();
            Sample::of(at_ms, node, state.as_ref(), resources)
        });
        append(&mut self.samples, &self.directory, Files::SAMPLES, lines);
        // They were of one moment.
        self.resources = vec![None; states.len()];
    }

    /// What was seen of blocks on their way.
    pub fn seen(&mut self, seen: &Seen) {
        let lines = seen.arrivals.iter().map(ArrivalLine::from);
        append(&mut self.arrivals, &self.directory, Files::ARRIVALS, lines);
        for (at_us, node, undone) in &seen.undone {
            let at_ms = at_us / 1_000;
            let line = json!({ "at_ms": at_ms, "event": "undone", "node": node, "blocks": undone });
            let _ = writeln!(self.events, "{line}");
        }
    }

    /// Writes a file of the run's directory, below directories of its own if the name has some.
    pub fn file(&self, name: &str, text: &str) {
        let path = self.directory.join(name);
        if let Some(parent) = path.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        let _ = std::fs::write(path, text);
    }

    /// Milliseconds since the run's start, virtual in a simulation.
    pub fn at_ms(&self) -> u64 {
        self.clock.now().as_millis() as u64
    }

    /// Milliseconds since the journal was opened, of real time.
    pub fn elapsed_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

fn is_due(last: Option<Duration>, now: Duration, interval: Duration) -> bool {
    last.is_none_or(|last| now >= last + interval)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

fn unix_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_micros() as u64)
}

/// Adds lines to a file, in one write, so that none is torn by the next. The file appears with its first line.
fn append<T: Serialize>(
    file: &mut Option<File>,
    directory: &Path,
    name: &str,
    lines: impl IntoIterator<Item = T>,
) {
    let mut text = String::new();
    for line in lines {
        if let Ok(line) = serde_json::to_string(&line) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    if text.is_empty() {
        return;
    }
    if file.is_none() {
        *file = File::create_new(directory.join(name)).ok();
    }
    if let Some(file) = file {
        let _ = file.write_all(text.as_bytes());
    }
}

fn manifest(plan: &Plan, backend: &str, reason: &str) -> Manifest {
    let params = plan.scenario.params().ok();
    let streams = params.as_ref().map(|params| {
        let names = plan.scenario.network.preset.streams().iter();
        let facts = names
            .zip(&params.streams)
            .map(|(name, stream)| StreamFacts {
                name: name.to_string(),
                interval_ms: stream.interval_ms,
                reward: stream.reward,
            });
        facts.collect()
    });
    let members = plan.nodes.iter().map(|node| Member {
        name: node.name.clone(),
        group: node.group.clone(),
        honest: node.role.is_honest(),
        hashrates: node
            .hashrates
            .iter()
            .map(|(stream, hashrate)| (stream.to_string(), *hashrate))
            .collect(),
    });
    Manifest {
        version: MANIFEST_VERSION,
        run: plan.id.clone(),
        scenario: plan.scenario.name.clone(),
        about: plan.scenario.about.clone(),
        seed: plan.scenario.seed.unwrap_or_default(),
        backend: backend.to_owned(),
        backend_reason: reason.to_owned(),
        started_unix_us: unix_us(),
        k: params.as_ref().map_or(0, |params| params.k),
        max_parents: params.as_ref().map_or(0, |params| params.max_parents),
        streams: streams.unwrap_or_default(),
        nodes: members.collect(),
        edges: plan.edges.iter().map(|edge| (edge.from, edge.to)).collect(),
        program: plan.program.clone(),
        statistics: plan.scenario.verdict.statistics.clone(),
    }
}

/// Writes `result.json`.
pub fn write_result(directory: &Path, result: &impl Serialize) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(result)?;
    std::fs::write(directory.join(Files::RESULT), text + "\n")
}

/// What a file has from a place on, in bytes; nothing if it cannot be read. Of much it is the first part.
pub fn grown(file: &Path, from: u64) -> Vec<u8> {
    use std::io::{Read, Seek, SeekFrom};

    /// What a node logs in minutes, and what is read without the others waiting.
    const PART_BYTES: u64 = 1024 * 1024;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(file)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(PART_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().unwrap_or_default()
}

/// The last `lines` lines of a text file; none if it cannot be read.
pub fn tail(file: &Path, lines: usize) -> Vec<String> {
    use std::io::{Read, Seek, SeekFrom};

    /// Longer than 30 log lines, shorter than what a day of logs would cost to read.
    const TAIL_BYTES: u64 = 128 * 1024;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(file)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&bytes), lines)
}

/// The last `lines` lines of a text.
pub fn last_lines(text: &str, lines: usize) -> Vec<String> {
    let all: Vec<_> = text.lines().collect();
    let first = all.len().saturating_sub(lines);
    all[first..].iter().map(|&line| line.to_owned()).collect()
}
