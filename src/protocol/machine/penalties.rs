//! Bans: what is held against a node that has broken a rule in a way that it cannot deny.
//!
//! A fault ends the session and bars the node's key for a while, twice as long with each further one; faults are forgotten one by
//! one once the ban is over. Addresses are never barred: behind one there may be many nodes, and some of them honest.

use std::collections::BTreeMap;

use crate::protocol::chain::id::NodeKey;
use crate::protocol::wire::limits::MAX_PENALISED;

/// A ban grows no further than by so many doublings: from ten minutes to a day.
const MAX_DOUBLINGS: u32 = 7;

/// One fault is forgotten for each so many first bans' time without another: an hour, where that is ten minutes.
const FORGIVEN_AFTER_BANS: u64 = 6;

/// A node that is barred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The node.
    pub key: NodeKey,
    /// Its faults that are not forgotten.
    pub faults: u32,
    /// For how long it is barred from now, in milliseconds.
    pub remaining_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Penalty {
    faults: u32,
    until_ms: u64,
}

/// Faults by node.
#[derive(Clone, Debug)]
pub(super) struct Penalties {
    /// The first ban of a node, in milliseconds; 0 bars nobody.
    ban_ms: u64,
    by_key: BTreeMap<NodeKey, Penalty>,
}

impl Penalties {
    pub(super) fn new(ban_ms: u64) -> Self {
        Self {
            ban_ms,
            by_key: BTreeMap::new(),
        }
    }

    /// A node has broken a rule. For how long it is barred, in milliseconds; `None` if nobody ever is.
    pub(super) fn add(&mut self, key: NodeKey, now_ms: u64) -> Option<u64> {
        if self.ban_ms == 0 {
            return None;
        }
        self.forget(now_ms);
        if self.by_key.len() >= MAX_PENALISED && !self.by_key.contains_key(&key) {
            let soonest = self.by_key.iter().min_by_key(|(_, one)| one.until_ms);
            let soonest = soonest.map(|(key, _)| *key);
            soonest.and_then(|key| self.by_key.remove(&key));
        }
        let until_ms = now_ms;
        let penalty = self.by_key.entry(key);
        let penalty = penalty.or_insert(Penalty {
            faults: 0,
            until_ms,
        });
        let for_ms = self.ban_ms << penalty.faults.min(MAX_DOUBLINGS);
        penalty.faults += 1;
        penalty.until_ms = now_ms + for_ms;
        Some(for_ms)
    }

    /// For how long a node is barred from now, in milliseconds; `None` if it is not.
    pub(super) fn remaining_ms(&self, key: &NodeKey, now_ms: u64) -> Option<u64> {
        let penalty = self.by_key.get(key)?;
        (penalty.until_ms > now_ms).then(|| penalty.until_ms - now_ms)
    }

    /// The nodes that are barred.
    pub(super) fn bans(&self, now_ms: u64) -> impl Iterator<Item = Ban> {
        self.by_key.iter().filter_map(move |(key, penalty)| {
            Some(Ban {
                key: *key,
                faults: penalty.faults,
                remaining_ms: self.remaining_ms(key, now_ms)?,
            })
        })
    }

    /// Takes faults away whose time has come.
    fn forget(&mut self, now_ms: u64) {
        let each_ms = FORGIVEN_AFTER_BANS * self.ban_ms;
        self.by_key.retain(|_, penalty| {
            let forgiven = now_ms.saturating_sub(penalty.until_ms) / each_ms;
            penalty.faults = penalty.faults.saturating_sub(forgiven as u32);
            penalty.until_ms += forgiven * each_ms;
            penalty.faults > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAN_MS: u64 = 1_000;

    #[test]
    fn bans_double_end_and_are_forgotten() {
        let (key, mut penalties) = (NodeKey([1; 32]), Penalties::new(BAN_MS));
        assert_eq!(penalties.add(key, 0), Some(BAN_MS));
        assert_eq!(penalties.remaining_ms(&key, 400), Some(600));
        assert_eq!(penalties.remaining_ms(&key, BAN_MS), None);
        assert_eq!(penalties.add(key, BAN_MS), Some(2 * BAN_MS));
        assert_eq!(penalties.bans(BAN_MS).count(), 1);
        assert_eq!(penalties.bans(3 * BAN_MS).count(), 0);
        // Both are forgotten twelve bans after the end of the second, one of them after six.
        assert_eq!(penalties.clone().add(key, 9 * BAN_MS), Some(2 * BAN_MS));
        assert_eq!(penalties.add(key, 15 * BAN_MS), Some(BAN_MS));
        for _ in 0..100 {
            penalties.add(key, 15 * BAN_MS);
        }
        let most = penalties.remaining_ms(&key, 15 * BAN_MS);
        assert_eq!(most, Some(BAN_MS << MAX_DOUBLINGS));
    }

    #[test]
    fn no_more_nodes_are_remembered_than_allowed() {
        let mut penalties = Penalties::new(BAN_MS);
        for number in 0..MAX_PENALISED as u64 + 10 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            penalties.add(NodeKey(key), number);
        }
        assert_eq!(penalties.by_key.len(), MAX_PENALISED);
    }
}
