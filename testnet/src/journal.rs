//! The evidence that a run leaves: a directory with the scenario, events, and the result.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

use crate::plan::Plan;

/// Writes `events.jsonl` in the run's directory: one JSON object a line, each with the time since the start and the
/// time of day, both in microseconds, as in the nodes' logs.
#[derive(Debug)]
pub struct Journal {
    file: File,
    started: Instant,
}

impl Journal {
    /// Makes the run's directory, with the scenario in it, and opens the events.
    pub fn create(plan: &Plan) -> std::io::Result<Self> {
        std::fs::create_dir_all(&plan.directory)?;
        let mut scenario = String::new();
        for layer in &plan.layers {
            scenario.push_str(&format!(
                "# from {}\n",
                layer.replace(char::is_control, " ")
            ));
        }
        scenario.push_str(&plan.scenario.to_toml());
        std::fs::write(plan.directory.join("scenario.toml"), scenario)?;
        let file = File::create_new(plan.directory.join("events.jsonl"))?;
        Ok(Self {
            file,
            started: Instant::now(),
        })
    }

    /// Adds an event. `details` must be a JSON object.
    pub fn event(&mut self, name: &str, details: Value) {
        let unix_us = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_micros() as u64);
        let elapsed_us = self.started.elapsed().as_micros() as u64;
        let mut line = json!({ "elapsed_us": elapsed_us, "unix_us": unix_us, "event": name });
        if let (Value::Object(line), Value::Object(details)) = (&mut line, details) {
            line.extend(details);
        }
        // A full disk must not hide the verdict: the result is written last, and says if it cannot be.
        let _ = writeln!(self.file, "{line}");
    }

    /// Milliseconds since the journal was opened.
    pub fn elapsed_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// Writes `result.json`.
pub fn write_result(directory: &Path, result: &impl Serialize) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(result)?;
    std::fs::write(directory.join("result.json"), text + "\n")
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
