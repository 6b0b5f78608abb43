//! What will happen, by time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::world::Event;

/// When something happens, in microseconds, and the number under which it was scheduled: of what happens at the same time, what was
/// scheduled first comes first.
pub(super) type Moment = (u64, u64);

struct Scheduled {
    moment: Moment,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap's greatest is the earliest.
        other.moment.cmp(&self.moment)
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.moment == other.moment
    }
}

impl Eq for Scheduled {}

/// Events by time. None is ever taken back: who has scheduled one that may be void remembers its moment.
#[derive(Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Scheduled>,
    count: u64,
}

impl Queue {
    pub(super) fn schedule(&mut self, at_us: u64, event: Event) -> Moment {
        self.count += 1;
        let moment = (at_us, self.count);
        self.heap.push(Scheduled { moment, event });
        moment
    }

    /// The time of the next event, in microseconds.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.heap.peek().map(|next| next.moment.0)
    }

    pub(super) fn pop(&mut self) -> Option<(Moment, Event)> {
        self.heap.pop().map(|next| (next.moment, next.event))
    }
}
