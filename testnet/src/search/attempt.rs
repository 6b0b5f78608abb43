//! One scenario, tried under virtual time: whether it fails, and how.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::run;
use crate::scenario::Scenario;

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How it failed, if it did.
    pub symptom: Option<Symptom>,
    /// The hash of everything that happened; absent where a node panicked.
    pub trace: Option<String>,
}

/// How a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symptom {
    /// Why the verdict does not hold, with numbers and names.
    pub reason: String,
}

/// Words of a reason that tell one way to fail from another.
const KIND_WORDS: usize = 8;

impl Symptom {
    /// What is left of the reason without times, names and numbers: failures of one kind are taken to have one cause.
    pub fn kind(&self) -> String {
        // An oracle's violation begins with when and where.
        let what = match self.reason.split_once(": ") {
            Some((place, what)) if place.starts_with("at ") => what,
            _ => &self.reason,
        };
        let what = what.split(": ").next().unwrap_or(what);
        let is_word = |word: &&str| !word.contains(|letter: char| letter.is_ascii_digit());
        let words: Vec<_> = what.split_whitespace().filter(is_word).collect();
        words[..words.len().min(KIND_WORDS)].join(" ")
    }
}

impl fmt::Display for Symptom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.reason)
    }
}

/// Runs a scenario under virtual time, on this thread. A node that panics has failed.
///
/// # Errors
///
/// It is no scenario, or asks for what the simulator cannot do.
pub fn attempt(scenario: &Scenario) -> Result<Attempt, anyhow::Error> {
    let expanded = scenario.clone().expand()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let probed = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run::probe(expanded))));
    let report = match probed {
        Ok(report) => report?,
        Err(panic) => {
            let reason = format!("a node panicked: {}", message(panic.as_ref()));
            return Ok(Attempt {
                symptom: Some(Symptom { reason }),
                trace: None,
            });
        }
    };
    let failed = (!report.holds).then(|| report.reason.unwrap_or_default());
    Ok(Attempt {
        symptom: failed.map(|reason| Symptom { reason }),
        trace: report.trace,
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Claim;

    fn kind(reason: &str) -> String {
        let reason = reason.to_owned();
        Symptom { reason }.kind()
    }

    #[test]
    fn a_kind_has_neither_times_nor_names() {
        assert_eq!(
            kind("at 1234 ms, node 2: its tip went back to 3fa2 with less work"),
            kind("at 99 ms, node 0: its tip went back to b001 with less work"),
        );
        assert_eq!(
            kind("after 60 s still waiting for 5 nodes to agree: 2 tips, node-1 on 3fa2"),
            "after s still waiting for nodes to agree"
        );
        assert_ne!(
            kind("at 1 ms, node 2: its store failed: no block"),
            kind("at 1 ms, node 2: it faults an honest peer: bits"),
        );
    }

    #[test]
    fn a_network_that_cannot_agree_fails_and_one_that_can_does_not() {
        let scenario = Scenario::new("two").nodes(2).seed(1).blocks(5);
        let held = attempt(&scenario).unwrap();
        assert_eq!(held.symptom, None);
        assert_eq!(attempt(&scenario).unwrap(), held, "the same again");
        let scenario = scenario.check(Claim::Never, "blocks > 2").unwrap();
        let symptom = attempt(&scenario).unwrap().symptom.unwrap();
        assert!(symptom.reason.contains("never blocks > 2"), "{symptom}");
    }

    #[test]
    fn what_the_simulator_cannot_do_is_no_failure() {
        let scenario = Scenario::new("logs").nodes(2).seed(1);
        let scenario = scenario.check(Claim::Never, "log(\"panicked\")").unwrap();
        let error = attempt(&scenario).unwrap_err().to_string();
        assert!(error.contains("conditions on logs"), "{error}");
    }
}
