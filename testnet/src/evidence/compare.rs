//! Two sets of runs, compared: what has changed, by how much, and whether that is more than chance.
//!
//! One run says little of another, whatever the tests within a run: so runs are what is counted. Those of one seed are compared
//! with
//! each other. What is shown is the mean difference with its interval of confidence; what fails a comparison is a figure that is
//! worse
//! by a permutation test, corrected for there being many figures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::figures::{Better, CATALOGUE, Figure, Figures, named};
use super::record::Files;
use super::recording::Recording;
use super::statistics::{
    bootstrap_groups, bootstrap_pairs, deviation, distance, group_test, holm, mean, sign_test,
};
use super::summary::number;
use crate::report::{Align, Report, Table};

/// The chance of a false alarm in one comparison, all its figures together.
const SIGNIFICANCE: f64 = 0.05;

/// From what the tests' resamples are drawn: the same runs, the same answer.
const SEED: u64 = 0x636f_6d70_6172_6521;

/// Part of the runs whose verdict does not hold.
const FAILED: Figure = Figure {
    key: "failed",
    about: "part of the runs whose verdict does not hold",
    unit: "",
    better: Better::Lower,
};

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A directory cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no result in it.
    #[error("{}: neither a run that has a result.json nor a directory of such runs", .0.display())]
    Empty(PathBuf),
}

/// What is compared of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Its figures.
    pub figures: Figures,
    /// From each block's birth until each other node had it, in milliseconds.
    pub delays_ms: Vec<f64>,
}

/// Whether a figure has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// For the worse.
    Worse,
    /// For the better.
    Better,
    /// Neither for the better nor for the worse.
    Different,
    /// Not more than by chance.
    None,
}

/// A figure before and after.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its key.
    pub figure: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The mean before.
    pub before: f64,
    /// The mean after.
    pub after: f64,
    /// The mean difference.
    pub difference: f64,
    /// It is at least this, with 95 % confidence.
    pub low: f64,
    /// And at most this.
    pub high: f64,
    /// The difference in standard deviations (Cohen's d; of the differences where runs are paired); absent where nothing varies.
    pub effect: Option<f64>,
    /// How likely a difference so large is by chance, corrected for the number of figures (Holm).
    pub p_value: f64,
    /// What that means.
    pub change: Change,
}

/// Two sets of runs, compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Whether runs of one seed were compared with each other.
    pub paired: bool,
    /// Runs before.
    pub before: usize,
    /// Runs after.
    pub after: usize,
    /// Figures that both have.
    pub figures: Vec<Row>,
    /// How differently blocks travel: the Kolmogorov-Smirnov distance of the times from a block's birth until another node had it,
    /// those of all runs together. Absent where none were recorded.
    pub propagation_distance: Option<f64>,
}

/// Reads a run, or all runs in a directory.
///
/// # Errors
///
/// There is none.
pub fn runs(path: &Path) -> Result<Vec<Outcome>, CompareError> {
    if let Some(run) = outcome(path) {
        return Ok(vec![run]);
    }
    let unreadable = |source| CompareError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut directories = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        directories.push(entry.map_err(unreadable)?.path());
    }
    directories.sort();
    let runs: Vec<_> = directories
        .iter()
        .filter_map(|path| outcome(path))
        .collect();
    match runs.is_empty() {
        true => Err(CompareError::Empty(path.to_owned())),
        false => Ok(runs),
    }
}

fn outcome(directory: &Path) -> Option<Outcome> {
    let text = std::fs::read_to_string(directory.join(Files::RESULT)).ok()?;
    let report: Report = serde_json::from_str(&text).ok()?;
    let mut figures = report.figures;
    figures.insert(FAILED.key.to_owned(), f64::from(u8::from(!report.holds)));
    let recording = Recording::read(directory);
    Some(Outcome {
        seed: report.seed,
        figures,
        delays_ms: recording.map_or_else(|_| Vec::new(), |recording| recording.delays_ms()),
    })
}

/// Compares runs before with runs after.
pub fn compare(before: &[Outcome], after: &[Outcome]) -> Comparison {
    let pairs = pairs(before, after);
    let mut figures = Vec::new();
    for figure in std::iter::once(&FAILED).chain(CATALOGUE) {
        let row = match &pairs {
            Some(pairs) => paired(figure, pairs),
            None => unpaired(figure, before, after),
        };
        figures.extend(row);
    }
    // What is neither good nor bad raises no alarm, and so does not count among the tests.
    let judged = |row: &Row| figure_of(row).better != Better::Neither;
    let raw: Vec<_> = figures
        .iter()
        .filter(|row| judged(row))
        .map(|row| row.p_value)
        .collect();
    let mut adjusted = holm(&raw).into_iter();
    for row in &mut figures {
        if judged(row) {
            row.p_value = adjusted.next().unwrap_or(1.0);
        }
        row.change = change(row);
    }
    Comparison {
        paired: pairs.is_some(),
        before: before.len(),
        after: after.len(),
        figures,
        propagation_distance: distance(&delays_ms(before), &delays_ms(after)),
    }
}

fn delays_ms(runs: &[Outcome]) -> Vec<f64> {
    let delays = runs.iter().flat_map(|run| &run.delays_ms);
    delays.copied().collect()
}

fn figure_of(row: &Row) -> &'static Figure {
    named(row.figure).unwrap_or(&FAILED)
}

fn change(row: &Row) -> Change {
    if row.p_value >= SIGNIFICANCE {
        return Change::None;
    }
    match figure_of(row).better {
        Better::Neither => Change::Different,
        Better::Lower if row.difference > 0.0 => Change::Worse,
        Better::Lower => Change::Better,
    }
}

/// Runs of one seed, where each seed is on each side once.
fn pairs<'a>(
    before: &'a [Outcome],
    after: &'a [Outcome],
) -> Option<Vec<(&'a Outcome, &'a Outcome)>> {
    let seeds = |runs: &[Outcome]| runs.iter().map(|run| run.seed).collect::<BTreeSet<_>>();
    let (left, right) = (seeds(before), seeds(after));
    if left.len() != before.len() || left != right {
        return None;
    }
    (right.len() == after.len()).then(|| {
        let by_seed: BTreeMap<_, _> = after.iter().map(|run| (run.seed, run)).collect();
        let pair = |run: &'a Outcome| Some((run, *by_seed.get(&run.seed)?));
        before.iter().filter_map(pair).collect()
    })
}

fn paired(figure: &'static Figure, pairs: &[(&Outcome, &Outcome)]) -> Option<Row> {
    let value = |run: &Outcome| run.figures.get(figure.key).copied();
    let both = |(before, after): &(&Outcome, &Outcome)| Some((value(before)?, value(after)?));
    let values: Vec<_> = pairs.iter().filter_map(both).collect();
    if values.is_empty() {
        return None;
    }
    let differences: Vec<_> = values
        .iter()
        .map(|(before, after)| after - before)
        .collect();
    let before: Vec<_> = values.iter().map(|(before, _)| *before).collect();
    let (low, high) = bootstrap_pairs(&differences, SEED);
    let difference = mean(&differences);
    Some(Row {
        figure: figure.key,
        unit: figure.unit,
        before: mean(&before),
        after: mean(&before) + difference,
        difference,
        low,
        high,
        effect: effect(difference, deviation(&differences)),
        p_value: sign_test(&differences, SEED),
        change: Change::None,
    })
}

fn unpaired(figure: &'static Figure, before: &[Outcome], after: &[Outcome]) -> Option<Row> {
    let values = |runs: &[Outcome]| -> Vec<f64> {
        let values = runs.iter().filter_map(|run| run.figures.get(figure.key));
        values.copied().collect()
    };
    let (before, after) = (values(before), values(after));
    if before.is_empty() || after.is_empty() {
        return None;
    }
    let (low, high) = bootstrap_groups(&before, &after, SEED);
    let difference = mean(&after) - mean(&before);
    let squares = |values: &[f64]| deviation(values).powi(2) * (values.len() - 1) as f64;
    let freedom = (before.len() + after.len()).saturating_sub(2).max(1) as f64;
    let pooled = ((squares(&before) + squares(&after)) / freedom).sqrt();
    Some(Row {
        figure: figure.key,
        unit: figure.unit,
        before: mean(&before),
        after: mean(&after),
        difference,
        low,
        high,
        effect: effect(difference, pooled),
        p_value: group_test(&before, &after, SEED),
        change: Change::None,
    })
}

fn effect(difference: f64, deviation: f64) -> Option<f64> {
    (deviation > 0.0).then(|| difference / deviation)
}

impl Comparison {
    /// Whether something has become worse, and not by chance.
    pub fn is_worse(&self) -> bool {
        self.figures.iter().any(|row| row.change == Change::Worse)
    }

    /// The comparison as a person reads it.
    pub fn text(&self) -> String {
        let mut table = Table::new(&[
            ("figure", Align::Left),
            ("before", Align::Right),
            ("after", Align::Right),
            ("difference", Align::Right),
            ("95 % confidence", Align::Right),
            ("effect", Align::Right),
            ("p", Align::Right),
            ("", Align::Left),
        ]);
        for row in &self.figures {
            table.row(vec![
                row.figure.to_owned(),
                number(row.before),
                number(row.after),
                number(row.difference),
                format!("{} to {}", number(row.low), number(row.high)),
                row.effect
                    .map_or_else(|| "-".to_owned(), |effect| format!("{effect:.2}")),
                format!("{:.3}", row.p_value),
                match row.change {
                    Change::Worse => "worse",
                    Change::Better => "better",
                    Change::Different => "different",
                    Change::None => "",
                }
                .to_owned(),
            ]);
        }
        let how = match self.paired {
            true => "paired by seed",
            false => "not paired: the seeds differ",
        };
        let mut text = format!(
            "{} runs before, {} after, {how}\n\n{}\n",
            self.before,
            self.after,
            table.text()
        );
        if let Some(distance) = self.propagation_distance {
            text.push_str(&format!(
                "propagation: Kolmogorov-Smirnov distance {distance:.3}\n"
            ));
        }
        text.push_str(match (self.is_worse(), self.can_tell()) {
            (true, _) => "verdict: worse\n",
            (false, true) => "verdict: nothing is worse but by chance\n",
            (false, false) => {
                "verdict: so few runs can show nothing: compare at least ten of each, \
                 of the same seeds\n"
            }
        });
        text
    }

    /// Whether so many runs could show that anything is worse at all: with fewer than ten pairs, even ten out of ten is no proof
    /// among
    /// so many figures.
    fn can_tell(&self) -> bool {
        let least = if self.paired { 10 } else { 6 };
        self.before.min(self.after) >= least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, propagation_ms: f64, red: f64) -> Outcome {
        let figures = [
            ("propagation_p50_ms", propagation_ms),
            ("red_rate", red),
            ("blocks", 100.0),
        ];
        Outcome {
            seed,
            figures: figures.map(|(key, value)| (key.to_owned(), value)).into(),
            delays_ms: vec![propagation_ms],
        }
    }

    fn runs_of(slower_ms: f64, seeds: std::ops::Range<u64>) -> Vec<Outcome> {
        let noise = |seed: u64| (seed * 37 % 11) as f64;
        seeds
            .map(|seed| {
                run(
                    seed,
                    50.0 + noise(seed) + slower_ms,
                    noise(seed + 3) / 100.0,
                )
            })
            .collect()
    }

    #[test]
    fn what_is_slower_for_every_seed_is_worse_however_much_seeds_differ() {
        let comparison = compare(&runs_of(0.0, 0..12), &runs_of(2.0, 0..12));
        assert!(comparison.paired && comparison.is_worse());
        let row = &comparison.figures[0];
        assert_eq!((row.figure, row.change), ("blocks", Change::None));
        let row = comparison
            .figures
            .iter()
            .find(|row| row.figure == "propagation_p50_ms")
            .unwrap();
        assert!((row.difference - 2.0).abs() < 1e-9);
        assert!(row.low > 1.99 && row.high < 2.01);
        assert!(comparison.text().contains("verdict: worse"));
        assert_eq!(comparison.propagation_distance, Some(0.25));
        let reverse = compare(&runs_of(2.0, 0..12), &runs_of(0.0, 0..12));
        assert!(!reverse.is_worse());
    }

    #[test]
    fn noise_and_few_runs_are_no_regression() {
        let other = compare(&runs_of(0.0, 0..12), &runs_of(0.0, 20..32));
        assert!(!other.paired && !other.is_worse(), "{}", other.text());
        let few = compare(&runs_of(0.0, 0..3), &runs_of(9.0, 0..3));
        assert!(!few.is_worse());
        assert!(few.text().contains("so few runs can show nothing"));
    }

    #[test]
    fn a_directory_without_results_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = runs(directory.path()).unwrap_err();
        assert!(error.to_string().contains("result.json"), "{error}");
    }
}
