//! The checks of a scenario, looked at whenever the nodes were asked.

use std::time::Duration;

use super::snapshot::Snapshot;
use crate::evidence::recording::Judged;
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
    /// Whether what it looks at was known at such a moment.
    known: bool,
    /// Why it can hold no more.
    failed: Option<String>,
}

impl Watch {
    /// Watches these.
    pub fn new(checks: &[Check]) -> Self {
        let watched = |check: &Check| Watched {
            check: check.clone(),
            since: None,
            held: false,
            known: false,
            failed: None,
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
    /// A check that wanted a moment had none, or looked at what was never known: the text names it.
    pub fn conclude(&self) -> Result<(), String> {
        let mut open = self.checks.iter();
        match open.find_map(|watched| Some((watched.name(), watched.open()?))) {
            None => Ok(()),
            Some((name, why)) => Err(format!("{name} fails: {why}")),
        }
    }

    /// How all checks stand.
    pub fn judged(&self) -> Vec<Judged> {
        let judged = self.checks.iter().map(|watched| {
            let reason = watched.failed.clone();
            let reason = reason.or_else(|| watched.open().map(str::to_owned));
            Judged {
                name: watched.name(),
                holds: reason.is_none(),
                reason: reason.unwrap_or_default(),
            }
        });
        judged.collect()
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
        self.known |= holds.is_some();
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
        if !fails {
            return Ok(());
        }
        let moment = format!("{:.2} s after mining began", now.as_secs_f64());
        let text = format!("{} fails {moment}", self.name());
        self.failed = Some(moment);
        Err(text)
    }

    /// Why it does not hold if the run is over.
    fn open(&self) -> Option<&'static str> {
        let wants_a_moment = matches!(self.check.claim, Claim::Eventually(_) | Claim::Sometimes);
        match (self.since.is_some(), self.held, self.known) {
            (false, ..) if wants_a_moment => Some("the moment from which it counts never came"),
            (true, _, false) => Some("what it looks at was never known"),
            (true, false, _) if wants_a_moment => Some("it never held"),
            _ => None,
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
