//! The checks of a scenario, looked at whenever the nodes were asked.

use std::time::Duration;

use super::snapshot::Snapshot;
use crate::scenario::{Check, Claim, When};

/// The checks of a run, and what became of them.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    checks: Vec<Watched>,
}

#[derive(Clone, Debug)]
struct Watched {
    check: Check,
    /// Since when it counts, from the start of mining.
    since: Option<Duration>,
    /// Whether it held at some moment that counts.
    held: bool,
}

impl Watch {
    /// Watches these.
    pub fn new(checks: &[Check]) -> Self {
        let watched = |check: &Check| Watched {
            check: check.clone(),
            since: None,
            held: false,
        };
        Self {
            checks: checks.iter().map(watched).collect(),
        }
    }

    /// Looks at a moment, so long after mining began.
    ///
    /// # Errors
    ///
    /// A check can hold no more: the text names it and the time.
    pub fn look(
        &mut self,
        now: Duration,
        snapshot: &Snapshot<'_>,
        faults_over: bool,
    ) -> Result<(), String> {
        let mut checks = self.checks.iter_mut();
        checks.try_for_each(|watched| watched.look(now, snapshot, faults_over))
    }

    /// What a run that is over leaves unfulfilled.
    ///
    /// # Errors
    ///
    /// A check that wanted a moment had none: the text names it.
    pub fn conclude(&self) -> Result<(), String> {
        let wants_a_moment = |watched: &&Watched| {
            matches!(watched.check.claim, Claim::Eventually(_) | Claim::Sometimes)
        };
        let mut open = self.checks.iter().filter(wants_a_moment);
        match open.find(|watched| !watched.held) {
            None => Ok(()),
            Some(watched) if watched.since.is_none() => Err(format!(
                "{} fails: the moment from which it counts never came",
                watched.name()
            )),
            Some(watched) => Err(format!("{} fails: it never held", watched.name())),
        }
    }
}

impl Watched {
    fn look(
        &mut self,
        now: Duration,
        snapshot: &Snapshot<'_>,
        faults_over: bool,
    ) -> Result<(), String> {
        if self.since.is_none() && self.counts(now, snapshot, faults_over) {
            self.since = Some(now);
        }
        let Some(since) = self.since else {
            return Ok(());
        };
        let holds = self.check.condition.evaluate(snapshot);
        let fails = match self.check.claim {
            Claim::Always => holds == Some(false),
            Claim::Never => holds == Some(true),
            Claim::Sometimes => {
                self.held |= holds == Some(true);
                false
            }
            Claim::Eventually(within) => {
                let in_time = now <= since + within.as_duration();
                self.held |= in_time && holds == Some(true);
                !self.held && !in_time
            }
        };
        match fails {
            true => Err(format!(
                "{} fails {:.2} s after mining began",
                self.name(),
                now.as_secs_f64()
            )),
            false => Ok(()),
        }
    }

    fn counts(&self, now: Duration, snapshot: &Snapshot<'_>, faults_over: bool) -> bool {
        match &self.check.after {
            None => true,
            Some(When::At(span)) => now >= span.as_duration(),
            Some(When::Block(number)) => snapshot.most_blocks() >= *number,
            Some(When::Event(condition)) => condition.evaluate(snapshot) == Some(true),
            Some(When::FaultsOver) => faults_over,
            // Refused when the scenario is read.
            Some(When::Every(_) | When::Poisson(_)) => false,
        }
    }

    fn name(&self) -> String {
        match &self.check.name {
            Some(name) => format!("check {name:?} ({})", self.check),
            None => format!("check `{}`", self.check),
        }
    }
}
