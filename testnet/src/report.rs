//! The result of a run, for programs and for people.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::io::IsTerminal;

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use triskel::protocol::chain::transaction::UNITS_PER_COIN;

use crate::evidence::figures::Figures;
use crate::evidence::mining::Mining;
use crate::evidence::record::LinkLine;
use crate::evidence::recording::Judged;
use crate::verdict::{Agreement, NodeState};

/// The version of `result.json`. It rises when a key changes its meaning or goes.
pub const RESULT_VERSION: u32 = 2;

/// What a run found. `result.json` is this.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The version of this structure: [`RESULT_VERSION`].
    pub version: u32,
    /// The run's id.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// What keys and topology were drawn from.
    pub seed: u64,
    /// What the nodes were.
    pub backend: String,
    /// Why they were that.
    pub backend_reason: String,
    /// Whether the verdict holds.
    pub holds: bool,
    /// Why it does not, or why there is none.
    pub reason: Option<String>,
    /// From the end of the last fault until all agreed for the first time; without faults, from the end of mining.
    pub convergence_ms: Option<u64>,
    /// From the end of mining until all agreed.
    #[serde(default)]
    pub settlement_ms: Option<u64>,
    /// How long each stage took, in milliseconds.
    pub stages_ms: Vec<(String, u64)>,
    /// The whole run, cleaning up left out, in milliseconds.
    pub elapsed_ms: u64,
    /// Transfers.
    pub transfers: Transfers,
    /// What became of the load; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadReport>,
    /// The nodes.
    pub nodes: Vec<NodeReport>,
    /// Which nodes are where.
    pub agreement: Agreement,
    /// Checks, invariants and statistics that were judged.
    #[serde(default)]
    pub checks: Vec<Judged>,
    /// Links, as they were to be and as they were.
    #[serde(default)]
    pub links: Vec<LinkLine>,
    /// What the run comes to, in numbers.
    #[serde(default)]
    pub figures: Figures,
    /// Mining against theory.
    #[serde(default)]
    pub mining: Mining,
    /// The hash of everything that happened, where the same seed gives the same.
    pub trace: Option<String>,
    /// The run's directory.
    pub directory: String,
}

/// What became of the transfers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Transfers {
    /// How many the scenario asks for.
    pub wanted: u64,
    /// How many a node accepted.
    pub submitted: u64,
    /// How many were found applied on every node.
    pub applied: u64,
}

/// What became of the transfers that arrived at times of their own. Each was handed in once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadReport {
    /// How many arrived.
    pub arrived: u64,
    /// How many a node accepted.
    pub accepted: u64,
    /// How many a node refused.
    pub refused: u64,
    /// How many no node answered to.
    pub unanswered: u64,
    /// How many were applied in the end.
    pub applied: u64,
    /// What the last refusal said.
    pub last_refusal: Option<String>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            arrived,
            accepted,
            refused,
            unanswered,
            applied,
            last_refusal,
        } = self;
        write!(
            formatter,
            "{arrived} transfers arrived, {accepted} were accepted, {refused} refused, {unanswered} not answered; \
             {applied} were applied"
        )?;
        match last_refusal {
            Some(why) => write!(formatter, "; the last refusal: {why}"),
            None => Ok(()),
        }
    }
}

/// What a node said last.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// What it said; absent if it did not answer.
    pub state: Option<NodeState>,
    /// Its last log lines, where it differs from the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// Whether a report is coloured.
#[derive(Clone, Copy, Debug)]
pub struct Paint(pub bool);

impl Paint {
    /// For this process's standard output: on a terminal, unless `NO_COLOR` (no-color.org) is set.
    pub fn detect() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(std::io::stdout().is_terminal() && !refused)
    }

    /// The text in a colour, by its SGR code.
    pub(crate) fn with(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// The JSON Schema of `result.json`.
pub fn schema() -> Schema {
    schema_for!(Report)
}

impl Report {
    /// The report as a person reads it.
    pub fn text(&self, paint: Paint) -> String {
        let mut text = self.table();
        text.push('\n');
        if let Some(convergence_ms) = self.convergence_ms {
            let _ = writeln!(text, "time to convergence: {convergence_ms} ms");
        }
        if let Some(trace) = &self.trace {
            let _ = writeln!(text, "trace: {trace:.16} of seed {}", self.seed);
        }
        if let Some(load) = &self.load {
            let _ = writeln!(text, "load: {load}");
            let latency = |key: &str| self.figures.get(key);
            if let (Some(p50), Some(p99)) = (
                latency("load_latency_p50_ms"),
                latency("load_latency_p99_ms"),
            ) {
                let _ = writeln!(
                    text,
                    "load latency: {p50:.0} ms for half of the transfers, {p99:.0} ms for 99 %"
                );
            }
        }
        let Transfers {
            wanted, applied, ..
        } = self.transfers;
        let seconds = self.elapsed_ms as f64 / 1_000.0;
        if self.holds {
            let word = paint.with("1;32", "converged");
            let tip = match self.agreement.groups.first() {
                Some(group) => format!("block #{}, {:.12}", group.blocks, group.tip),
                None => "no block".to_owned(),
            };
            let _ = writeln!(
                text,
                "verdict: {word}: {} on {tip}; {applied} of {wanted} transfers applied on every \
                 node; {seconds:.1} s",
                counted(
                    self.agreement
                        .groups
                        .first()
                        .map_or(0, |group| group.nodes.len()),
                    "node"
                ),
            );
            return text;
        }
        let word = paint.with("1;31", "does not hold");
        let reason = self.reason.as_deref().unwrap_or("unknown");
        let _ = writeln!(text, "verdict: {word}: {reason}; {seconds:.1} s");
        self.write_evidence(&mut text);
        let _ = writeln!(text, "again with: testnet reproduce {}", self.directory);
        text
    }

    fn table(&self) -> String {
        let streams: BTreeSet<_> = self
            .nodes
            .iter()
            .filter_map(|node| node.state.as_ref())
            .flat_map(|state| state.mined.keys())
            .collect();
        let names: Vec<_> = streams.iter().map(|name| name.as_str()).collect();
        let mut table = Table::new(&[
            ("node", Align::Left),
            ("blocks", Align::Right),
            ("tip", Align::Left),
            ("digest", Align::Left),
            ("peers", Align::Right),
            (
                format!("mined {}", names.join("/")).trim_end(),
                Align::Right,
            ),
            ("balance (coins)", Align::Right),
        ]);
        for node in &self.nodes {
            let Some(state) = &node.state else {
                let dashes = std::iter::repeat_n("-".to_owned(), 6);
                table.row(std::iter::once(node.name.clone()).chain(dashes).collect());
                continue;
            };
            let mined = |stream: &&String| state.mined.get(*stream).unwrap_or(&0).to_string();
            table.row(vec![
                node.name.clone(),
                state.blocks.to_string(),
                format!("{:.12}", state.tip),
                format!("{:.12}", state.state_digest),
                state.peers.to_string(),
                streams.iter().map(mined).collect::<Vec<_>>().join("/"),
                coins(state.balance),
            ]);
        }
        table.text()
    }

    /// The divergence matrix, and what the nodes that differ logged last.
    fn write_evidence(&self, text: &mut String) {
        let mut matrix = Table::new(&[
            ("blocks", Align::Right),
            ("tip", Align::Left),
            ("digest", Align::Left),
            ("nodes", Align::Right),
            ("which", Align::Left),
        ]);
        let which = |nodes: &[usize]| -> String { ranges(nodes) };
        for group in &self.agreement.groups {
            matrix.row(vec![
                group.blocks.to_string(),
                format!("{:.12}", group.tip),
                format!("{:.12}", group.state_digest),
                group.nodes.len().to_string(),
                which(&group.nodes),
            ]);
        }
        if !self.agreement.silent.is_empty() {
            let silent = &self.agreement.silent;
            let dash = || "-".to_owned();
            let nodes = format!("{} (no answer)", which(silent));
            matrix.row(vec![
                dash(),
                dash(),
                dash(),
                silent.len().to_string(),
                nodes,
            ]);
        }
        let _ = writeln!(text, "\nwho is where:\n{}", matrix.text());
        for node in self.nodes.iter().filter(|node| !node.log.is_empty()) {
            let lines = counted(node.log.len(), "line");
            let _ = writeln!(text, "last {lines} of {}:", node.name);
            for line in &node.log {
                let _ = writeln!(text, "  {line}");
            }
        }
        let _ = writeln!(text, "evidence: {}", self.directory);
        if self.trace.is_some() {
            let scenario = std::path::Path::new(&self.directory).join("scenario.toml");
            let _ = writeln!(
                text,
                "replay: testnet run {} --backend {}",
                scenario.display(),
                self.backend
            );
        }
    }
}

/// A number with its noun.
pub fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// Node numbers, runs of them shortened: `1-3, 5`.
pub fn ranges(nodes: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for node in nodes.iter().map(|node| node + 1) {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == node => *last = node,
            _ => parts.push((node, node)),
        }
    }
    let part = |(first, last): (usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    parts.into_iter().map(part).collect::<Vec<_>>().join(", ")
}

/// Units as coins, with as many decimals as are needed but at least two, so that the points stand below each other
/// mostly.
fn coins(units: u64) -> String {
    let (whole, rest) = (units / UNITS_PER_COIN, units % UNITS_PER_COIN);
    let decimals = format!("{rest:08}");
    let short = decimals.trim_end_matches('0');
    format!("{whole}.{short:0<2}")
}

/// On which side of a column its cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Columns of text, each as wide as its widest cell.
#[derive(Clone, Debug)]
pub struct Table {
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of these columns.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            align: columns.iter().map(|(_, align)| *align).collect(),
            rows: vec![columns.iter().map(|(name, _)| (*name).to_owned()).collect()],
        }
    }

    /// Adds a row, of a cell a column.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.align.len(), "a row has a cell a column");
        self.rows.push(cells);
    }

    /// The table, a line a row.
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let widths = self.rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..self.align.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.align);
            let padded = cells.map(|((cell, &width), align)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            let line = padded.collect::<Vec<_>>().join("  ");
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::state;

    fn report(states: Vec<Option<NodeState>>) -> Report {
        let agreement = Agreement::of(&states);
        let node = |(index, state): (usize, Option<NodeState>)| NodeReport {
            name: format!("node-{}", index + 1),
            log: match state {
                Some(_) => Vec::new(),
                None => vec!["{\"message\":\"bye\"}".to_owned()],
            },
            state,
        };
        Report {
            version: RESULT_VERSION,
            run: "r".to_owned(),
            scenario: "baseline".to_owned(),
            seed: 1,
            backend: "process".to_owned(),
            backend_reason: String::new(),
            holds: agreement.holds(),
            reason: Some("2 different tips".to_owned()),
            convergence_ms: Some(12),
            settlement_ms: Some(12),
            stages_ms: Vec::new(),
            elapsed_ms: 2_345,
            transfers: Transfers {
                wanted: 3,
                submitted: 3,
                applied: 3,
            },
            load: None,
            nodes: states.into_iter().enumerate().map(node).collect(),
            agreement,
            checks: Vec::new(),
            links: Vec::new(),
            figures: Figures::new(),
            mining: Mining::default(),
            trace: None,
            directory: "runs/r".to_owned(),
        }
    }

    #[test]
    fn agreement_is_a_table_and_a_verdict() {
        let text = report(vec![state(9, 1, 1), state(9, 1, 1)]).text(Paint(false));
        let expected = "\
node    blocks  tip           digest        peers  mined A/B  balance (coins)
node-1       9  010101010101  010101010101      2       1/20           123.45
node-2       9  010101010101  010101010101      2       1/20           123.45

time to convergence: 12 ms
verdict: converged: 2 nodes on block #9, 010101010101; 3 of 3 transfers applied on every node; 2.3 s
";
        assert_eq!(text, expected);
    }

    #[test]
    fn divergence_is_a_matrix_with_the_last_lines_of_who_differs() {
        let states = vec![state(9, 1, 1), state(9, 1, 1), state(8, 2, 2), None];
        let text = report(states).text(Paint(false));
        let expected = "
verdict: does not hold: 2 different tips; 2.3 s

who is where:
blocks  tip           digest        nodes  which
     9  010101010101  010101010101      2  1-2
     8  020202020202  020202020202      1  3
     -  -             -                 1  4 (no answer)

last 1 line of node-4:
  {\"message\":\"bye\"}
evidence: runs/r
again with: testnet reproduce runs/r
";
        assert!(text.ends_with(expected), "{text}");
        assert!(text.contains("\nnode-4       -  -"), "{text}");
    }

    #[test]
    fn only_a_painted_report_has_escapes() {
        let report = report(vec![state(9, 1, 1)]);
        assert!(
            report
                .text(Paint(true))
                .contains("\x1b[1;32mconverged\x1b[0m")
        );
        assert!(!report.text(Paint(false)).contains('\x1b'));
    }

    #[test]
    fn coins_and_ranges_are_short() {
        assert_eq!(coins(0), "0.00");
        assert_eq!(coins(150_000_001), "1.50000001");
        assert_eq!(ranges(&[0, 1, 2, 4, 6, 7]), "1-3, 5, 7-8");
    }
}
