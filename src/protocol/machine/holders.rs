//! Which peers are known to have what, so that it is not sent to them again. Bounded: the oldest is forgotten first, and costs a
//! few copies that nobody needs.
//!
//! By item and not by peer: whatever arrives is passed on to all others, so one look finds all of them.

use std::hash::Hash;

use super::io::ConnId;
use crate::protocol::rng::Rng;
use crate::protocol::table::GuardedTable;
use crate::protocol::wire::limits::MAX_HOLDERS;

/// Who has which of the last `limit` items.
#[derive(Clone, Debug)]
pub(super) struct Holders<T> {
    limit: usize,
    /// Each item, and who has it. Connections that have ended stay in the list: their numbers are never used again.
    items: Vec<(T, Vec<ConnId>)>,
    /// Where an item is in the list. What a peer tells of need not exist, so whoever means it finds ids without end that meet in
    /// one place of any table that hashes them in a way that is known.
    places: GuardedTable<T, usize>,
    /// Where the next one goes. Once the list is full, the oldest is there.
    next: usize,
}

impl<T: Copy + Eq + Hash> Holders<T> {
    pub(super) fn new(limit: usize, rng: &mut Rng) -> Self {
        Self {
            limit,
            items: Vec::new(),
            places: GuardedTable::guarded(rng),
            next: 0,
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
        let mut lacking = Vec::with_capacity(conns.size_hint().1.unwrap_or(0));
        lacking.extend(conns.filter(|conn| !holders.contains(conn)));
        holders.extend_from_slice(&lacking);
        let excess = holders.len().saturating_sub(MAX_HOLDERS);
        holders.drain(..excess);
        lacking
    }

    /// The peers that are known to have an item.
    pub(super) fn get(&self, item: &T) -> &[ConnId] {
        let place = self.places.get(item);
        place.map_or(&[], |place| &self.items[*place].1)
    }

    fn of(&mut self, item: T) -> &mut Vec<ConnId> {
        let place = match self.places.get(&item) {
            Some(place) => *place,
            None => self.admit(item),
        };
        &mut self.items[place].1
    }

    /// Makes room for an item that is new.
    fn admit(&mut self, item: T) -> usize {
        let place = self.next;
        self.next = (place + 1) % self.limit;
        match self.items.get_mut(place) {
            Some((oldest, holders)) => {
                self.places.remove(oldest);
                *oldest = item;
                holders.clear();
            }
            None => self.items.push((item, Vec::new())),
        }
        self.places.insert(item, place);
        place
    }
}
