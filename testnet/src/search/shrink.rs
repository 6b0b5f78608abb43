//! The smallest scenario that still fails in the same way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Symptom, attempt};
use super::reduce::steps;
use super::regression;
use crate::cli::ShrinkOptions;
use crate::inspect::print;
use crate::progress::Progress;
use crate::run::Exit;
use crate::scenario::Scenario;

/// What was left.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The scenario.
    pub scenario: Scenario,
    /// How it fails.
    pub symptom: Symptom,
    /// Scenarios that were run to find it.
    pub attempts: usize,
    /// Whether nothing smaller by one step fails; else time was up.
    pub is_least: bool,
}

/// Makes a scenario that fails smaller, until no step leads to one that fails in the same way, or time is up. `tell` hears of each
/// step that is taken.
///
/// # Errors
///
/// It is no scenario.
pub fn shrink(
    scenario: &Scenario,
    symptom: &Symptom,
    budget: Duration,
    mut tell: impl FnMut(&Scenario, usize),
) -> Result<Shrunk, anyhow::Error> {
    let end = Instant::now() + budget;
    let kind = symptom.kind();
    let mut least = Shrunk {
        scenario: scenario.clone().expand()?.scenario,
        symptom: symptom.clone(),
        attempts: 0,
        is_least: false,
    };
    let mut tried = BTreeSet::new();
    'smaller: loop {
        for smaller in steps(&least.scenario) {
            if Instant::now() >= end {
                return Ok(least);
            }
            if !tried.insert(smaller.to_toml()) {
                continue;
            }
            least.attempts += 1;
            // What is no scenario any more is no step.
            let Ok(Attempt {
                symptom: Some(symptom),
                ..
            }) = attempt(&smaller)
            else {
                continue;
            };
            if symptom.kind() == kind {
                tell(&smaller, least.attempts);
                (least.scenario, least.symptom) = (smaller, symptom);
                continue 'smaller;
            }
        }
        least.is_least = true;
        return Ok(least);
    }
}

/// A scenario's size in words.
pub fn size(scenario: &Scenario) -> String {
    let plural = |count: u64, name: &str| match count {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    };
    format!(
        "{}, {}, {}, {}",
        plural(scenario.node_count(), "node"),
        plural(scenario.faults.len() as u64, "fault"),
        plural(scenario.transfers, "transfer"),
        plural(scenario.blocks, "block"),
    )
}

/// Shrinks a file, and keeps what is left as a regression.
pub fn run(options: &ShrinkOptions) -> Exit {
    let loaded = match options.what.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Usage;
        }
    };
    let found = match attempt(&loaded.scenario) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("testnet: {error}");
            return Exit::Usage;
        }
    };
    let Some(symptom) = found.symptom else {
        eprintln!("testnet: this scenario holds under virtual time: there is nothing to shrink");
        return Exit::Usage;
    };
    println!("it fails: {symptom}");
    let mut progress = Progress::new();
    let shrunk = shrink(
        &loaded.scenario,
        &symptom,
        options.budget.as_duration(),
        |smaller, attempts| {
            let size = size(smaller);
            progress.show(&format!("{attempts} tried: {size}"));
        },
    );
    progress.clear();
    match shrunk.and_then(|shrunk| regression::keep(&options.regressions, &shrunk)) {
        Ok(kept) => print(&kept),
        Err(error) => {
            eprintln!("testnet: {error}");
            Exit::Environment
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Setting;

    #[test]
    fn what_does_not_matter_goes_and_what_does_stays() {
        let text = "
            name = 'much'
            nodes = 4
            seed = 3
            transfers = 6
            topology = 'ring'
            links = { default = 'lan' }
            faults = [
                { when = '200ms', what = 'kill', who = 'node-4', for = '500ms' },
                { when = '300ms', what = 'isolate', who = 'node-3', for = '200ms' },
            ]
            checks = [{ never = 'live < 4' }, { always = 'mempool < 1000' }]
        ";
        let loaded = Scenario::parse(text, "test", &[] as &[Setting]).unwrap();
        let symptom = attempt(&loaded.scenario).unwrap().symptom.unwrap();
        assert!(symptom.reason.contains("never live < 4"), "{symptom}");
        let shrunk = shrink(&loaded.scenario, &symptom, Duration::MAX / 4, |_, _| {});
        let shrunk = shrunk.unwrap();
        assert!(shrunk.is_least);
        // With fewer nodes from the start the check needs no fault at all.
        assert_eq!(shrunk.scenario.faults, [], "{}", shrunk.scenario.to_toml());
        assert_eq!(shrunk.scenario.node_count(), 1);
        assert_eq!(shrunk.scenario.transfers, 0);
        assert_eq!(shrunk.scenario.checks.len(), 1);
        let again = attempt(&shrunk.scenario).unwrap().symptom.unwrap();
        assert_eq!(again, shrunk.symptom);
    }
}
