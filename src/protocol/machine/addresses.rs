//! The address book: whom to dial, and when again.
//!
//! Endpoints that the operator named are kept for ever. Those learned from peers and seeds fill the places that are free and are
//! forgotten when they fail too often.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::chain::id::NodeKey;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::rng::Rng;
use crate::protocol::wire::limits::MAX_ADDRESS_BOOK;

/// A learned endpoint is forgotten after this many failures in a row: half a minute of growing delays.
const MAX_FAILURES: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle { not_before_ms: u64 },
    Busy,
}

#[derive(Clone, Debug)]
struct Entry {
    kept: bool,
    failures: u32,
    state: State,
    /// The node last met there.
    key: Option<NodeKey>,
}

/// Endpoints and what is known of them.
#[derive(Clone, Debug, Default)]
pub(super) struct AddressBook {
    entries: BTreeMap<Endpoint, Entry>,
    /// Endpoints that lead to this very node.
    own: BTreeSet<Endpoint>,
}

impl AddressBook {
    /// Keeps an endpoint for ever.
    pub(super) fn keep(&mut self, endpoint: Endpoint) {
        self.entry(endpoint).kept = true;
    }

    /// Remembers an endpoint that a peer or a seed told of. True if it is new.
    pub(super) fn learn(&mut self, endpoint: Endpoint) -> bool {
        let known = self.entries.contains_key(&endpoint) || self.own.contains(&endpoint);
        if known || endpoint.port == 0 || self.entries.len() >= MAX_ADDRESS_BOOK {
            return false;
        }
        self.entry(endpoint);
        true
    }

    fn entry(&mut self, endpoint: Endpoint) -> &mut Entry {
        let state = State::Idle { not_before_ms: 0 };
        self.entries.entry(endpoint).or_insert(Entry {
            kept: false,
            failures: 0,
            state,
            key: None,
        })
    }

    /// Whether an endpoint is one that the operator named.
    pub(super) fn is_kept(&self, endpoint: &Endpoint) -> bool {
        self.entries.get(endpoint).is_some_and(|entry| entry.kept)
    }

    /// The node last met at an endpoint.
    pub(super) fn key(&self, endpoint: &Endpoint) -> Option<NodeKey> {
        self.entries.get(endpoint)?.key
    }

    /// Marks an endpoint as being dialled or connected. False if it was already.
    pub(super) fn occupy(&mut self, endpoint: &Endpoint) -> bool {
        let Some(entry) = self.entries.get_mut(endpoint) else {
            return false;
        };
        std::mem::replace(&mut entry.state, State::Busy) != State::Busy
    }

    /// A session with `key` stands at an endpoint.
    pub(super) fn succeeded(&mut self, endpoint: &Endpoint, key: NodeKey) {
        if let Some(entry) = self.entries.get_mut(endpoint) {
            entry.failures = 0;
            entry.key = Some(key);
        }
    }

    /// A dial failed or a connection ended. The delay until the next attempt in milliseconds; `None` if there is none.
    pub(super) fn released(
        &mut self,
        endpoint: &Endpoint,
        now_ms: u64,
        delays_ms: (u64, u64),
        rng: &mut Rng,
    ) -> Option<u64> {
        let entry = self.entries.get_mut(endpoint)?;
        entry.failures = entry.failures.saturating_add(1);
        if !entry.kept && entry.failures > MAX_FAILURES {
            self.entries.remove(endpoint);
            return None;
        }
        let (least_ms, most_ms) = delays_ms;
        let doubled = least_ms.saturating_mul(1 << (entry.failures - 1).min(20));
        let delay_ms = rng.jitter(doubled.min(most_ms));
        entry.state = State::Idle {
            not_before_ms: now_ms + delay_ms,
        };
        Some(delay_ms)
    }

    /// Forgets all failures. What is kept and has no connection is returned.
    pub(super) fn forgive(&mut self) -> Vec<Endpoint> {
        let mut kept = Vec::new();
        for (endpoint, entry) in &mut self.entries {
            entry.failures = 0;
            if matches!(entry.state, State::Idle { .. }) {
                entry.state = State::Idle { not_before_ms: 0 };
                if entry.kept {
                    kept.push(endpoint.clone());
                }
            }
        }
        kept
    }

    /// A second connection to `key` was ended: there is nothing to repair at this endpoint for a while.
    pub(super) fn satisfied(&mut self, endpoint: &Endpoint, key: NodeKey, not_before_ms: u64) {
        if let Some(entry) = self.entries.get_mut(endpoint) {
            entry.key = Some(key);
            entry.failures = 0;
            entry.state = State::Idle { not_before_ms };
        }
    }

    /// The endpoint leads to this very node: it is never dialled again.
    pub(super) fn own(&mut self, endpoint: &Endpoint) {
        self.entries.remove(endpoint);
        self.own.insert(endpoint.clone());
    }

    /// Forgets an endpoint.
    pub(super) fn forget(&mut self, endpoint: &Endpoint) {
        self.entries.remove(endpoint);
    }

    /// A random learned endpoint that may be dialled now and does not lead to any of `connected`.
    pub(super) fn pick(
        &self,
        now_ms: u64,
        connected: &BTreeSet<NodeKey>,
        rng: &mut Rng,
    ) -> Option<Endpoint> {
        let free: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.kept)
            .filter(|(_, entry)| matches!(entry.state, State::Idle { not_before_ms } if not_before_ms <= now_ms))
            .filter(|(_, entry)| entry.key.is_none_or(|key| !connected.contains(&key)))
            .map(|(endpoint, _)| endpoint)
            .collect();
        let index = rng.below(free.len() as u64) as usize;
        free.get(index).map(|endpoint| Endpoint::clone(endpoint))
    }
}
