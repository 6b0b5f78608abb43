//! Which peers are known to have what, so that it is not sent to them again. Bounded: the oldest is forgotten first, and costs a
//! few copies that nobody needs.
//!
//! By item and not by peer: whatever arrives is passed on to all others, so one look finds all of them.

use std::collections::{BTreeMap, VecDeque};

use super::io::ConnId;
use crate::protocol::wire::limits::MAX_HOLDERS;

/// Who has which of the last `limit` items.
#[derive(Clone, Debug)]
pub(super) struct Holders<T> {
    limit: usize,
    /// By item. Connections that have ended stay in the list: their numbers are never used again.
    /// In a tree: what a peer tells of need not exist, so whoever means it finds ids without end that meet in one place of any
    /// table that hashes them in a way that is known.
    holders: BTreeMap<T, Vec<ConnId>>,
    order: VecDeque<T>,
}

impl<T: Copy + Ord> Holders<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            holders: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Notes that a peer has an item, or will have it in a moment. False if that was known.
    pub(super) fn add(&mut self, item: T, conn: ConnId) -> bool {
        let holders = self.of(item);
        let is_new = !holders.contains(&conn);
        if is_new {
            if holders.len() == MAX_HOLDERS {
                holders.remove(0);
            }
            holders.push(conn);
        }
        is_new
    }

    /// Notes that all these peers will have an item, and tells which of them are not known to have it already.
    pub(super) fn add_all(&mut self, item: T, conns: impl Iterator<Item = ConnId>) -> Vec<ConnId> {
        let holders = self.of(item);
        let lacking: Vec<_> = conns.filter(|conn| !holders.contains(conn)).collect();
        holders.extend_from_slice(&lacking);
        let excess = holders.len().saturating_sub(MAX_HOLDERS);
        holders.drain(..excess);
        lacking
    }

    /// The peers that are known to have an item.
    pub(super) fn get(&self, item: &T) -> &[ConnId] {
        self.holders.get(item).map_or(&[], Vec::as_slice)
    }

    fn of(&mut self, item: T) -> &mut Vec<ConnId> {
        if !self.holders.contains_key(&item) {
            if self.order.len() == self.limit
                && let Some(oldest) = self.order.pop_front()
            {
                self.holders.remove(&oldest);
            }
            self.order.push_back(item);
        }
        self.holders.entry(item).or_default()
    }
}
