//! `summary.md`: the result in a few lines of Markdown, for the pages of CI.

use std::fmt::Write as _;
use std::io::Write as _;

use super::figures::CATALOGUE;
use super::recording::Recording;

/// Where GitHub's runners take summaries.
pub(crate) const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// The result of a run for pages of CI.
pub fn summary(recording: &Recording) -> String {
    let manifest = &recording.manifest;
    let word = match &recording.result {
        Some(result) if result.holds => "✅ converged",
        Some(_) => "❌ does not hold",
        None => "❌ came to no end",
    };
    let mut text = format!("### {}: {word}\n\n", cell(&manifest.scenario));
    let _ = writeln!(
        text,
        "{} nodes, backend {}, seed {}, run `{}`",
        manifest.nodes.len(),
        manifest.backend,
        manifest.seed,
        manifest.run
    );
    let reason = recording.result.as_ref();
    if let Some(reason) = reason.and_then(|result| result.reason.as_ref()) {
        let _ = writeln!(text, "\n> {}", cell(reason));
    }
    let failed: Vec<_> = recording.checks();
    let failed = failed.iter().filter(|check| !check.holds);
    let mut rows = failed.peekable();
    if rows.peek().is_some() {
        text.push_str("\n| check | why it does not hold |\n|---|---|\n");
        for check in rows {
            let _ = writeln!(text, "| {} | {} |", cell(&check.name), cell(&check.reason));
        }
    }
    let figures = recording.figures();
    if !figures.is_empty() {
        text.push_str("\n| figure | |\n|---|---:|\n");
        for figure in CATALOGUE {
            if let Some(value) = figures.get(figure.key) {
                let _ = writeln!(
                    text,
                    "| {} | {} |",
                    figure.about,
                    with_unit(*value, figure.unit)
                );
            }
        }
    }
    if recording.result.as_ref().is_none_or(|result| !result.holds) {
        let directory = recording.directory.display();
        let _ = writeln!(text, "\nAgain: `testnet reproduce {directory}`");
    }
    text
}

/// Adds a text to the summary of the job that runs this, if one does.
pub fn publish(text: &str) {
    let Some(path) = std::env::var_os(STEP_SUMMARY).filter(|path| !path.is_empty()) else {
        return;
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{text}")) {
        eprintln!("testnet: {STEP_SUMMARY}: {error}");
    }
}

/// A number as people read it: three digits, or all that stand before the point.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    let decimals = match size {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.01.. => 3,
        _ => 5,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => grouped(&text),
    }
}

/// A number with its unit.
pub fn with_unit(value: f64, unit: &str) -> String {
    format!("{} {unit}", number(value)).trim_end().to_owned()
}

/// Digits in groups of three.
fn grouped(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{sign}{text}")
}

/// A text that neither ends a cell nor begins a tag.
pub(crate) fn cell(text: &str) -> String {
    let text = text.replace('|', "\\|").replace('<', "&lt;");
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 0.012_34, 3.0, 3.456, 45.67, 999.9, 12_345.6, -1_234.0];
        let texts: Vec<_> = all.into_iter().map(number).collect();
        let expected = [
            "0", "0.012", "3", "3.46", "45.7", "1,000", "12,346", "-1,234",
        ];
        assert_eq!(texts, expected);
        assert_eq!(with_unit(2.0, ""), "2");
    }

    #[test]
    fn a_run_without_end_says_so() {
        let text = summary(&Recording::default());
        assert!(text.contains("came to no end"), "{text}");
        assert_eq!(cell("a|b\n<c"), "a\\|b &lt;c");
    }
}
