//! The moments at which the machine wants to act. They live inside; only the next one is shown to the driver.

use std::collections::{BTreeMap, BTreeSet};

use super::io::ConnId;
use crate::protocol::endpoint::Endpoint;

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The order follows what was placed: after that was passed on, and before anything else that is due with it.
    Follow,
    /// A connection has had its time to greet.
    Handshake(ConnId),
    /// A session is asked for a sign of life, or has failed to give one.
    Keepalive(ConnId),
    /// An endpoint is dialled again.
    Dial(Endpoint),
    /// The seeds are looked up.
    Seeds,
    /// More peers are looked for.
    Discover,
    /// An address is tested.
    Feeler,
    /// What has changed in the address book is stored.
    Addresses,
    /// The peer that is synced from has had its time, or another attempt is due.
    Sync,
    /// A peer has had its time to deliver a new block.
    Fetch,
    /// Peers are told of the transactions that have come.
    Announce,
    /// A peer has had its time to deliver a transaction.
    Transactions,
    /// The miner gets new templates.
    Template,
}

/// Timers by name and by time. Each name has at most one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(u64, Timer)>,
    by_name: BTreeMap<Timer, u64>,
}

impl Timers {
    /// Sets a timer to `at_ms`, whatever it was set to before.
    pub(super) fn set(&mut self, timer: Timer, at_ms: u64) {
        if let Some(old) = self.by_name.insert(timer.clone(), at_ms) {
            self.by_time.remove(&(old, timer.clone()));
        }
        self.by_time.insert((at_ms, timer));
    }

    /// Sets a timer to `at_ms` unless it is due earlier.
    pub(super) fn hasten(&mut self, timer: Timer, at_ms: u64) {
        if self.by_name.get(&timer).is_none_or(|old| *old > at_ms) {
            self.set(timer, at_ms);
        }
    }

    /// Stops a timer.
    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some(old) = self.by_name.remove(timer) {
            self.by_time.remove(&(old, timer.clone()));
        }
    }

    /// The next moment.
    pub(super) fn next(&self) -> Option<u64> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes one timer that is due.
    pub(super) fn due(&mut self, now_ms: u64) -> Option<Timer> {
        if self.next()? > now_ms {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.by_name.remove(&timer);
        Some(timer)
    }
}
