//! The address book: whom to dial, and when again.
//!
//! Endpoints that the operator named are kept for ever. Those learned from peers and seeds fill the places that are free. They lie
//! in buckets, as in Bitcoin Core after Heilman et al. 2015 ("Eclipse Attacks on Bitcoin's Peer-to-Peer Network"):
//!
//! * **new**: told of, never met. The bucket follows from the group of the address and from that of whoever told of it, who reaches
//!   few buckets whatever he tells. A full bucket takes nothing more, unless an address in it has failed.
//! * **tried**: met by dialling. The bucket follows from the address' group. One that finds its bucket full has the oldest there
//!   dialled first, and takes its place only if nobody answers.
//!
//! Which bucket it is depends on a secret of this run, so nobody outside can aim at one.

mod buckets;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use buckets::{Bucket, Buckets};

use super::groups::{Group, is_dialable};
use crate::protocol::chain::id::NodeKey;
use crate::protocol::chain::view::KnownAddress;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::rng::Rng;
use crate::protocol::time::Time;
use crate::protocol::wire::limits::{MAX_CONTESTS, MAX_OWN_ADDRESSES};

/// A learned address is forgotten after this many failures in a row, if it was never met or not for long. What fails while this
/// node reaches nobody at all does not count.
const MAX_STRIKES: u32 = 6;

/// For so long an address at which a node was met is not forgotten, whatever fails: a week, in milliseconds.
const REMEMBERED_MS: u64 = 7 * 24 * 3_600_000;

/// Sessions whose addresses are dialled first after a restart, as in Bitcoin Core: whoever wants to be all the peers of a node that
/// starts again has to have been its oldest before.
const ANCHORS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle { not_before_ms: u64 },
    Busy { is_test: bool },
}

/// What is known of an address that nobody but the network told of.
#[derive(Clone, Debug)]
struct Learned {
    address: SocketAddr,
    group: Group,
    source: Group,
    bucket: Bucket,
    /// When a node was last met there, in milliseconds since 1970; 0 if never.
    met_ms: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    /// `None` for what the operator named.
    learned: Option<Learned>,
    /// Failures in a row: delays grow with them.
    failures: u32,
    /// Those of them that say something of the address.
    strikes: u32,
    state: State,
    /// The node last met there.
    key: Option<NodeKey>,
}

/// What must be true of an address that is dialled.
pub(super) struct Wish {
    /// The moment, on the monotonic clock.
    pub(super) now_ms: u64,
    /// Nodes that are not wanted: connected ones, and those that are banned.
    pub(super) avoid: BTreeSet<NodeKey>,
    /// How many connections this node opens to one group.
    pub(super) max_per_group: usize,
}

/// Endpoints and what is known of them.
#[derive(Clone, Debug)]
pub(super) struct AddressBook {
    group_private: bool,
    entries: BTreeMap<Endpoint, Entry>,
    buckets: Buckets,
    /// Endpoints that lead to this very node.
    own: BTreeSet<Endpoint>,
    /// Who of the tried has to answer to keep its place, and who gets it otherwise.
    contests: BTreeMap<Endpoint, Endpoint>,
    anchors: Vec<Endpoint>,
    /// Anchors of the last run that are still to be dialled.
    awaited: Vec<Endpoint>,
    /// What is not stored as it is.
    changed: BTreeSet<SocketAddr>,
}

impl AddressBook {
    pub(super) fn new(rng: &mut Rng, group_private: bool) -> Self {
        Self {
            group_private,
            entries: BTreeMap::new(),
            buckets: Buckets::new(rng),
            own: BTreeSet::new(),
            contests: BTreeMap::new(),
            anchors: Vec::new(),
            awaited: Vec::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Takes in what was stored.
    pub(super) fn restore(&mut self, stored: Vec<(SocketAddr, KnownAddress)>) {
        let mut unplaced = BTreeSet::new();
        for (address, known) in stored {
            let endpoint = Endpoint::from(address);
            if !self.learn(address, &Group(known.source)) {
                unplaced.insert(address);
                continue;
            }
            if let Some(entry) = self.entries.get_mut(&endpoint) {
                entry.key = known.key;
            }
            if known.met_ms > 0 {
                self.promote(&endpoint, known.met_ms);
            }
            if known.anchor {
                self.anchors.push(endpoint);
            }
        }
        self.anchors.truncate(ANCHORS);
        self.awaited.clone_from(&self.anchors);
        self.changed = unplaced;
    }

    /// What has changed since the last call: what is to be stored, `None` for what is to be removed.
    pub(super) fn take_changed(&mut self) -> BTreeMap<SocketAddr, Option<KnownAddress>> {
        let changed = std::mem::take(&mut self.changed);
        let row = |address| {
            let endpoint = Endpoint::from(address);
            let entry = self.entries.get(&endpoint);
            let row = entry.and_then(|entry| {
                let learned = entry.learned.as_ref()?;
                Some(KnownAddress {
                    source: learned.source.0.clone(),
                    key: entry.key,
                    met_ms: learned.met_ms,
                    anchor: self.anchors.contains(&endpoint),
                })
            });
            (address, row)
        };
        changed.into_iter().map(row).collect()
    }

    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Makes the oldest of the sessions that this node has opened its anchors; earlier ones stay while there are too few.
    pub(super) fn set_anchors(&mut self, oldest_first: Vec<Endpoint>) {
        let mut anchors = Vec::new();
        for endpoint in oldest_first.into_iter().chain(self.anchors.clone()) {
            let is_learned = self.learned(&endpoint).is_some();
            if is_learned && anchors.len() < ANCHORS && !anchors.contains(&endpoint) {
                anchors.push(endpoint);
            }
        }
        let before = std::mem::replace(&mut self.anchors, anchors);
        for endpoint in before.iter().chain(&self.anchors) {
            if before.contains(endpoint) != self.anchors.contains(endpoint) {
                self.changed.extend(endpoint.address());
            }
        }
    }

    /// Keeps an endpoint for ever.
    pub(super) fn keep(&mut self, endpoint: Endpoint) {
        self.leave_bucket(&endpoint);
        self.entry(endpoint, None).learned = None;
    }

    /// Remembers an address that somebody told of. True if it is new and has a place.
    pub(super) fn learn(&mut self, address: SocketAddr, source: &Group) -> bool {
        let endpoint = Endpoint::from(address);
        let is_known = self.entries.contains_key(&endpoint) || self.own.contains(&endpoint);
        if is_known || !is_dialable(address) {
            return false;
        }
        let group = Group::of(address, self.group_private);
        let bucket = self.buckets.of_new(&group, source);
        if self.buckets.is_full(bucket) {
            let Some(failed) = self.failed_in(bucket) else {
                return false;
            };
            self.forget(&failed);
        }
        let learned = Learned {
            address,
            group,
            source: source.clone(),
            bucket,
            met_ms: 0,
        };
        self.entry(endpoint.clone(), Some(learned));
        self.buckets.insert(bucket, endpoint);
        self.changed.insert(address);
        true
    }

    fn entry(&mut self, endpoint: Endpoint, learned: Option<Learned>) -> &mut Entry {
        let state = State::Idle { not_before_ms: 0 };
        self.entries.entry(endpoint).or_insert(Entry {
            learned,
            failures: 0,
            strikes: 0,
            state,
            key: None,
        })
    }

    fn learned(&self, endpoint: &Endpoint) -> Option<&Learned> {
        self.entries.get(endpoint)?.learned.as_ref()
    }

    /// Whether an endpoint is one that the operator named.
    pub(super) fn is_kept(&self, endpoint: &Endpoint) -> bool {
        let entry = self.entries.get(endpoint);
        entry.is_some_and(|entry| entry.learned.is_none())
    }

    /// The node last met at an endpoint.
    pub(super) fn key(&self, endpoint: &Endpoint) -> Option<NodeKey> {
        self.entries.get(endpoint)?.key
    }

    /// What the operator named, has no connection, and last led to a node.
    pub(super) fn kept_at(&self, key: &NodeKey) -> Vec<Endpoint> {
        let is_idle = |entry: &Entry| matches!(entry.state, State::Idle { .. });
        let kept = self.entries.iter().filter(|(_, entry)| {
            entry.learned.is_none() && entry.key == Some(*key) && is_idle(entry)
        });
        kept.map(|(endpoint, _)| endpoint.clone()).collect()
    }

    /// How many addresses are known: new, tried.
    pub(super) fn count(&self) -> (usize, usize) {
        let sum = |is_new| {
            let buckets = self.buckets.iter();
            let wanted = buckets.filter(|(bucket, _)| matches!(bucket, Bucket::New(_)) == is_new);
            wanted.map(|(_, members)| members.len()).sum()
        };
        (sum(true), sum(false))
    }

    /// Marks an endpoint as being dialled or connected; to test it, where `is_test`. False if it was already.
    pub(super) fn occupy(&mut self, endpoint: &Endpoint, is_test: bool) -> bool {
        let Some(entry) = self.entries.get_mut(endpoint) else {
            return false;
        };
        let before = std::mem::replace(&mut entry.state, State::Busy { is_test });
        matches!(before, State::Idle { .. })
    }

    /// Whether an endpoint is dialled to see whether somebody is there, and no more.
    pub(super) fn is_test(&self, endpoint: &Endpoint) -> bool {
        let entry = self.entries.get(endpoint);
        entry.is_some_and(|entry| entry.state == State::Busy { is_test: true })
    }

    /// A peer says that it can be dialled here.
    pub(super) fn named(&mut self, endpoint: &Endpoint, key: NodeKey) {
        if let Some(entry) = self.entries.get_mut(endpoint) {
            entry.key = Some(key);
        }
    }

    /// A node was met by dialling an endpoint.
    pub(super) fn met(&mut self, endpoint: &Endpoint, key: NodeKey, wall_ms: u64) {
        if let Some(entry) = self.entries.get_mut(endpoint) {
            (entry.failures, entry.strikes) = (0, 0);
            entry.key = Some(key);
            self.contests.remove(endpoint);
            // 0 says never.
            self.promote(endpoint, wall_ms.max(1));
        }
    }

    /// Moves an address at which a node was met among the tried, if there is a place for it there.
    fn promote(&mut self, endpoint: &Endpoint, met_ms: u64) {
        let Some(learned) = self.learned(endpoint) else {
            return;
        };
        let from = learned.bucket;
        let to = self.buckets.of_tried(&learned.group, learned.address);
        self.changed.insert(learned.address);
        let is_moved = from == to || !self.buckets.is_full(to);
        let entry = self.entries.get_mut(endpoint);
        if let Some(learned) = entry.and_then(|entry| entry.learned.as_mut()) {
            learned.met_ms = met_ms;
            learned.bucket = if is_moved { to } else { from };
        }
        if is_moved {
            self.buckets.remove(from, endpoint);
            self.buckets.insert(to, endpoint.clone());
        } else if self.contests.len() < MAX_CONTESTS {
            let idle = self.buckets.members(to).filter(|member| {
                let state = self.entries[*member].state;
                matches!(state, State::Idle { .. }) && !self.contests.contains_key(*member)
            });
            let met_ms = |member: &&Endpoint| self.learned(member).map(|learned| learned.met_ms);
            if let Some(oldest) = idle.min_by_key(met_ms).cloned() {
                self.contests.insert(oldest, endpoint.clone());
            }
        }
    }

    /// A dial failed, or a connection ended: one that had `stood`, or not. The delay until the next attempt in milliseconds;
    /// `None` if there is none.
    pub(super) fn released(
        &mut self,
        endpoint: &Endpoint,
        (stood, alone): (bool, bool),
        now: Time,
        delays_ms: (u64, u64),
        rng: &mut Rng,
    ) -> Option<u64> {
        let entry = self.entries.get_mut(endpoint)?;
        entry.failures = entry.failures.saturating_add(1);
        // Who reaches nobody learns nothing of others by that.
        entry.strikes += u32::from(!stood && !alone);
        let strikes = entry.strikes;
        if let Some(learned) = &entry.learned {
            let is_recent = now.wall_ms.saturating_sub(learned.met_ms) < REMEMBERED_MS;
            let candidate = (strikes > 0)
                .then(|| self.contests.remove(endpoint))
                .flatten();
            if candidate.is_some() || (strikes > MAX_STRIKES && !is_recent) {
                self.forget(endpoint);
                if let Some(candidate) = candidate {
                    let met_ms = self.learned(&candidate).map(|learned| learned.met_ms);
                    met_ms
                        .into_iter()
                        .for_each(|met_ms| self.promote(&candidate, met_ms));
                }
                return None;
            }
        }
        let entry = self.entries.get_mut(endpoint)?;
        let (least_ms, most_ms) = delays_ms;
        let doubled = least_ms.saturating_mul(1 << (entry.failures - 1).min(20));
        let delay_ms = rng.jitter(doubled.min(most_ms));
        entry.state = State::Idle {
            not_before_ms: now.monotonic_ms + delay_ms,
        };
        Some(delay_ms)
    }

    /// Forgets all failures. What is kept and has no connection is returned.
    pub(super) fn forgive(&mut self) -> Vec<Endpoint> {
        let mut kept = Vec::new();
        for (endpoint, entry) in &mut self.entries {
            (entry.failures, entry.strikes) = (0, 0);
            if matches!(entry.state, State::Idle { .. }) {
                entry.state = State::Idle { not_before_ms: 0 };
                if entry.learned.is_none() {
                    kept.push(endpoint.clone());
                }
            }
        }
        kept
    }

    /// There is nothing to be had at this endpoint for a while: the node there is connected by another way, or was tested.
    pub(super) fn satisfied(&mut self, endpoint: &Endpoint, not_before_ms: u64) {
        if let Some(entry) = self.entries.get_mut(endpoint) {
            (entry.failures, entry.strikes) = (0, 0);
            entry.state = State::Idle { not_before_ms };
        }
    }

    /// The endpoint leads to this very node: it is not dialled again.
    pub(super) fn own(&mut self, endpoint: &Endpoint) {
        self.forget(endpoint);
        if self.own.len() >= MAX_OWN_ADDRESSES {
            self.own.pop_first();
        }
        self.own.insert(endpoint.clone());
    }

    /// Forgets an endpoint.
    pub(super) fn forget(&mut self, endpoint: &Endpoint) {
        self.leave_bucket(endpoint);
        self.entries.remove(endpoint);
        self.contests.remove(endpoint);
        self.anchors.retain(|anchor| anchor != endpoint);
    }

    fn leave_bucket(&mut self, endpoint: &Endpoint) {
        if let Some(learned) = self.learned(endpoint) {
            let (bucket, address) = (learned.bucket, learned.address);
            self.buckets.remove(bucket, endpoint);
            self.changed.insert(address);
        }
    }

    /// The learned address that is to be dialled now: an anchor; else new or tried, each as often as the other; any bucket of that,
    /// each as often as the others, however full it is; any address in it.
    pub(super) fn pick(&mut self, wish: &Wish, rng: &mut Rng) -> Option<Endpoint> {
        let taken = self.groups_taken();
        while let Some(anchor) = self.awaited.pop() {
            if self.is_wanted(&anchor, wish, &taken) {
                return Some(anchor);
            }
        }
        let mut tables = [BTreeMap::new(), BTreeMap::new()];
        for (bucket, members) in self.buckets.iter() {
            let wanted = members.iter();
            let wanted = wanted.filter(|member| self.is_wanted(member, wish, &taken));
            let wanted: Vec<_> = wanted.collect();
            if !wanted.is_empty() {
                let index = usize::from(matches!(bucket, Bucket::New(_)));
                tables[index].insert(bucket, wanted);
            }
        }
        let first = rng.below(2) as usize;
        let tables = [&tables[first], &tables[1 - first]];
        let table = tables.into_iter().find(|table| !table.is_empty())?;
        let members = table.values().nth(rng.below(table.len() as u64) as usize)?;
        let member = members.get(rng.below(members.len() as u64) as usize)?;
        Some(Endpoint::clone(member))
    }

    /// An address to be dialled only to see whether somebody is there: one whose place another wants, or any new one.
    pub(super) fn pick_test(&self, wish: &Wish, rng: &mut Rng) -> Option<Endpoint> {
        let nobody = BTreeMap::new();
        let is_wanted = |endpoint: &&Endpoint| self.is_wanted(endpoint, wish, &nobody);
        if let Some(contested) = self.contests.keys().find(is_wanted) {
            return Some(contested.clone());
        }
        let buckets = self.buckets.iter();
        let new = buckets.filter(|(bucket, _)| matches!(bucket, Bucket::New(_)));
        let new = new.flat_map(|(_, members)| members).filter(is_wanted);
        let new: Vec<_> = new.collect();
        let index = rng.below(new.len() as u64) as usize;
        new.get(index).map(|endpoint| Endpoint::clone(endpoint))
    }

    fn is_wanted(&self, endpoint: &Endpoint, wish: &Wish, taken: &BTreeMap<Group, usize>) -> bool {
        let Some(entry) = self.entries.get(endpoint) else {
            return false;
        };
        let Some(learned) = &entry.learned else {
            return false;
        };
        let is_due =
            matches!(entry.state, State::Idle { not_before_ms } if not_before_ms <= wish.now_ms);
        let beside = taken.get(&learned.group).copied().unwrap_or(0);
        is_due
            && entry.key.is_none_or(|key| !wish.avoid.contains(&key))
            && beside < wish.max_per_group
    }

    /// The groups of all endpoints that are being dialled or connected.
    fn groups_taken(&self) -> BTreeMap<Group, usize> {
        let mut taken = BTreeMap::new();
        for (endpoint, entry) in &self.entries {
            if entry.state == (State::Busy { is_test: false })
                && let Some(address) = endpoint.address()
            {
                let group = Group::of(address, self.group_private);
                *taken.entry(group).or_default() += 1;
            }
        }
        taken
    }

    /// The address in a bucket that has failed most often, if one has.
    fn failed_in(&self, bucket: Bucket) -> Option<Endpoint> {
        let members = self.buckets.members(bucket);
        let strikes = |member: &&Endpoint| match &self.entries[*member] {
            Entry {
                strikes,
                state: State::Idle { .. },
                ..
            } => *strikes,
            _ => 0,
        };
        let failed = members.filter(|member| strikes(member) > 0);
        failed.max_by_key(strikes).cloned()
    }

    /// A number for each group that nobody outside can foresee.
    pub(super) fn rank(&self, group: &Group) -> u64 {
        self.buckets.rank(group)
    }
}
