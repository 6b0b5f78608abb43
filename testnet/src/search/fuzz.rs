//! Scenario after scenario, drawn from a seed, until time is up. The same seed tries the same scenarios in the same order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use triskel::protocol::rng::Rng;

use super::attempt::{Attempt, Symptom, attempt};
use super::shrink::shrink;
use super::{draw, regression};
use crate::cli::FuzzOptions;
use crate::inspect::print;
use crate::progress::Progress;
use crate::run::Exit;

/// What was found.
struct Found {
    /// The how manieth scenario it was, and its seed.
    index: u64,
    seed: u64,
    attempt: Result<Attempt, String>,
}

/// The seed of a scenario of a search: 32 bits, short enough to be typed again.
fn scenario_seed(search: u64, index: u64) -> u64 {
    Rng::new(search.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15))).next_u64() >> 32
}

/// Searches, and keeps what it finds.
pub fn run(options: &FuzzOptions) -> Exit {
    let search = options
        .seed
        .unwrap_or_else(|| getrandom::u32().map_or(1, u64::from));
    println!(
        "seed {search}: scenarios under virtual time for {}",
        options.budget
    );
    let began = Instant::now();
    let mut progress = Progress::new();
    let mut tried = 0;
    let mut failed: BTreeMap<String, Vec<(u64, Symptom)>> = BTreeMap::new();
    let mut broken = Vec::new();
    search_all(options, search, began, |found| {
        tried += 1;
        let kinds = failed.len();
        progress.show(&format!("{tried} scenarios, {kinds} ways to fail"));
        match found.attempt {
            Ok(Attempt { symptom: None, .. }) => {}
            Ok(Attempt {
                symptom: Some(symptom),
                ..
            }) => {
                progress.clear();
                println!("scenario {}, seed {}: {symptom}", found.index, found.seed);
                let kind = failed.entry(symptom.kind()).or_default();
                kind.push((found.seed, symptom));
            }
            Err(error) => broken.push(format!("seed {}: {error}", found.seed)),
        }
    });
    progress.clear();
    let seconds = began.elapsed().as_secs_f64();
    let failures: usize = failed.values().map(Vec::len).sum();
    println!(
        "{tried} scenarios in {seconds:.0} s: {failures} failed, in {} ways",
        failed.len()
    );
    for error in &broken {
        eprintln!("testnet: {error}");
    }
    for found in failed.values() {
        let (seed, symptom) = &found[0];
        if let Err(error) = keep(options, *seed, symptom) {
            eprintln!("testnet: {error}");
            return Exit::Environment;
        }
    }
    match (broken.is_empty(), failed.is_empty()) {
        (true, true) => Exit::Holds,
        (_, false) => Exit::Fails,
        (false, true) => Exit::Environment,
    }
}

/// Tries scenarios on as many threads as asked for, in the order of their numbers.
fn search_all(options: &FuzzOptions, search: u64, began: Instant, mut tell: impl FnMut(Found)) {
    let next = AtomicU64::new(0);
    let budget = options.budget.as_duration();
    let most = options.scenarios.unwrap_or(u64::MAX);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                while began.elapsed() < budget {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= most {
                        break;
                    }
                    let seed = scenario_seed(search, index);
                    let attempt = attempt(&draw::scenario(seed));
                    let found = Found {
                        index,
                        seed,
                        attempt: attempt.map_err(|error| error.to_string()),
                    };
                    if sender.send(found).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        receiver.iter().for_each(&mut tell);
    });
}

/// Keeps a scenario that failed: as it was drawn beside the runs, and what is left of it as a regression.
fn keep(options: &FuzzOptions, seed: u64, symptom: &Symptom) -> Result<(), anyhow::Error> {
    let scenario = draw::scenario(seed);
    let file = options.runs.join(format!("drawn-{seed}.toml"));
    std::fs::create_dir_all(&options.runs)?;
    std::fs::write(&file, scenario.clone().expand()?.scenario.to_toml())?;
    println!("\n{symptom}\nas drawn: {}", file.display());
    let shrunk = shrink(&scenario, symptom, options.shrink.as_duration(), |_, _| {})?;
    print(&regression::keep(&options.regressions, &shrunk)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_has_scenarios_of_its_own_in_one_order() {
        let seeds = |search| (0..50).map(move |index| scenario_seed(search, index));
        assert!(seeds(1).eq(seeds(1)));
        let distinct: std::collections::BTreeSet<_> = seeds(1).chain(seeds(2)).collect();
        assert_eq!(distinct.len(), 100);
    }
}
