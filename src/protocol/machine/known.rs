//! What a peer is known to have, so that it is not sent again. Bounded: the oldest is forgotten first.

use std::collections::{BTreeSet, VecDeque};

/// A set of at most `limit` items.
#[derive(Clone, Debug)]
pub(super) struct Known<T> {
    limit: usize,
    items: BTreeSet<T>,
    order: VecDeque<T>,
}

impl<T: Copy + Ord> Known<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            items: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Adds an item; false if it was there.
    pub(super) fn insert(&mut self, item: T) -> bool {
        if !self.items.insert(item) {
            return false;
        }
        self.order.push_back(item);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.items.remove(&oldest);
        }
        true
    }
}
