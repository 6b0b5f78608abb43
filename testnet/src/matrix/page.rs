//! What a matrix of runs shows: a table, a page for CI, a file for test reporters, and JSON.

use std::fmt::Write as _;
use std::path::Path;

use super::{Matrix, Row};
use crate::evidence::junit::escaped;
use crate::evidence::record::Files;
use crate::evidence::summary::cell;
use crate::report::{Align, Table};
use crate::run::Exit;

/// The file that has all of it.
const JSON: &str = "matrix.json";

/// Writes the files of a matrix.
///
/// # Errors
///
/// One cannot be written.
pub(super) fn write(matrix: &Matrix, directory: &Path) -> std::io::Result<()> {
    std::fs::write(directory.join(JSON), json(matrix) + "\n")?;
    std::fs::write(directory.join(Files::JUNIT), junit(matrix))?;
    std::fs::write(directory.join(Files::SUMMARY), markdown(matrix))
}

pub(super) fn json(matrix: &Matrix) -> String {
    format!("{:#}", serde_json::json!(matrix))
}

fn word(row: &Row) -> &'static str {
    match row.exit() {
        Exit::Holds => "holds",
        Exit::Fails => "fails",
        Exit::Usage => "no scenario",
        Exit::Environment => "no verdict",
        Exit::Interrupted => "interrupted",
    }
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1_000.0
}

fn convergence(row: &Row) -> String {
    let shown = row.convergence_ms.map(|ms| format!("{ms} ms"));
    shown.unwrap_or_else(|| "-".to_owned())
}

/// How many of how many hold, and how long all took.
fn total(matrix: &Matrix) -> String {
    let holds = |row: &&Row| row.exit() == Exit::Holds;
    let held = matrix.rows.iter().filter(holds).count();
    let mut text = format!(
        "{held} of {} runs hold, backend {}, {:.0} s",
        matrix.rows.len(),
        matrix.backend,
        seconds(matrix.elapsed_ms)
    );
    for name in &matrix.differing {
        let _ = write!(text, "\ntwo runs of one seed differ: {name}");
    }
    for why in &matrix.left_out {
        let _ = write!(text, "\nleft out: {why}");
    }
    text
}

/// The table that a person reads.
pub(super) fn text(matrix: &Matrix) -> String {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("verdict", Align::Left),
        ("convergence", Align::Right),
        ("took", Align::Right),
        ("trace", Align::Left),
        ("why", Align::Left),
    ]);
    for row in &matrix.rows {
        let reason = row.reason.as_deref().unwrap_or_default();
        table.row(vec![
            row.name(),
            word(row).to_owned(),
            convergence(row),
            format!("{:.1} s", seconds(row.elapsed_ms)),
            row.trace
                .as_ref()
                .map_or_else(String::new, |trace| format!("{trace:.8}")),
            reason.chars().take(60).collect(),
        ]);
    }
    let mut text = format!("{}\n{}\n", table.text(), total(matrix));
    for row in &matrix.rows {
        if let (Exit::Fails, Some(directory)) = (row.exit(), &row.directory) {
            let _ = writeln!(text, "again with: testnet reproduce {directory}");
        }
    }
    text
}

/// The page for CI.
pub(super) fn markdown(matrix: &Matrix) -> String {
    let mark = if matrix.exit() == Exit::Holds {
        "✅"
    } else {
        "❌"
    };
    let mut text = format!("### {mark} {}\n\n", total(matrix).replace('\n', "\n\n"));
    text.push_str("| run | verdict | convergence | took | why |\n|---|---|---:|---:|---|\n");
    for row in &matrix.rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.1} s | {} |",
            cell(&row.name()),
            word(row),
            convergence(row),
            seconds(row.elapsed_ms),
            cell(row.reason.as_deref().unwrap_or_default())
        );
    }
    text
}

/// One suite, a case a run. A run without a verdict is an error, not a failure.
fn junit(matrix: &Matrix) -> String {
    let count = |exits: &[Exit]| {
        let rows = matrix.rows.iter();
        rows.filter(|row| exits.contains(&row.exit())).count()
    };
    let suite = format!("testnet.matrix.{}", matrix.backend);
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{:.3}\"",
        matrix.rows.len(),
        count(&[Exit::Fails]),
        count(&[Exit::Usage, Exit::Environment, Exit::Interrupted]),
        seconds(matrix.elapsed_ms)
    );
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  \
         <testsuite name=\"{suite}\" {counts} skipped=\"0\">\n"
    );
    for row in &matrix.rows {
        let _ = write!(
            text,
            "    <testcase classname=\"{suite}\" name=\"{}\" time=\"{:.3}\"",
            escaped(&row.name()),
            seconds(row.elapsed_ms)
        );
        let element = match row.exit() {
            Exit::Holds => {
                text.push_str("/>\n");
                continue;
            }
            Exit::Fails => "failure",
            _ => "error",
        };
        let reason = escaped(row.reason.as_deref().unwrap_or_else(|| word(row)));
        let _ = writeln!(
            text,
            ">\n      <{element} message=\"{reason}\" type=\"verdict\">{reason}</{element}>\n    </testcase>"
        );
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_page_has_every_run() {
        let row = |code, reason: Option<&str>| Row {
            scenario: PathBuf::from("a/ring.toml"),
            nodes: Some(5),
            seed: Some(2),
            time: 1,
            code: Some(code),
            reason: reason.map(str::to_owned),
            convergence_ms: Some(120),
            elapsed_ms: 1_500,
            trace: Some("0123456789".to_owned()),
            directory: Some("runs/r".to_owned()),
        };
        let matrix = Matrix {
            backend: "sim".to_owned(),
            rows: vec![
                row(0, None),
                row(1, Some("2 tips < 1 | \"x\"")),
                row(3, Some("no engine")),
            ],
            left_out: vec!["load: open-loop load".to_owned()],
            differing: Vec::new(),
            elapsed_ms: 3_000,
        };
        let text = text(&matrix);
        assert!(text.contains("ring nodes=5 seed=2  holds"), "{text}");
        assert!(
            text.contains("1 of 3 runs hold, backend sim, 3 s\nleft out: load"),
            "{text}"
        );
        assert!(
            text.contains("again with: testnet reproduce runs/r"),
            "{text}"
        );
        let junit = junit(&matrix);
        assert!(
            junit.contains("tests=\"3\" failures=\"1\" errors=\"1\" time=\"3.000\""),
            "{junit}"
        );
        assert!(
            junit.contains("<failure message=\"2 tips &lt; 1 | &quot;x&quot;\""),
            "{junit}"
        );
        assert!(markdown(&matrix).contains("| 2 tips &lt; 1 \\| \"x\" |"));
    }
}
