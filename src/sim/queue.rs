//! What will happen, by time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

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

/// Microseconds of a slot, as a power of two.
const SLOT_BITS: u32 = 10;

/// Slots ahead: further than nearly all frames travel.
const SLOTS: usize = 256;

/// Events by time. None is ever taken back: who has scheduled one that may be void remembers its moment.
///
/// What happens soon waits in slots of about a millisecond, in no order, and is put in order when its slot has come (a calendar
/// queue: Brown, 1988). So an order is kept among few.
pub(super) struct Queue {
    /// Up to the present slot.
    present: BinaryHeap<Scheduled>,
    /// The number of the present slot.
    slot: u64,
    /// Those that follow, each at the remainder of its number.
    slots: Vec<Vec<Scheduled>>,
    /// How many wait in them.
    soon: usize,
    /// Whatever was too far ahead when it was scheduled.
    later: BinaryHeap<Scheduled>,
    count: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            present: BinaryHeap::new(),
            slot: 0,
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            soon: 0,
            later: BinaryHeap::new(),
            count: 0,
        }
    }
}

impl Queue {
    pub(super) fn schedule(&mut self, at_us: u64, event: Event) -> Moment {
        self.count += 1;
        let moment = (at_us, self.count);
        let scheduled = Scheduled { moment, event };
        let slot = slot(at_us);
        if slot <= self.slot {
            self.present.push(scheduled);
        } else if slot - self.slot < SLOTS as u64 {
            self.soon += 1;
            self.slots[slot as usize % SLOTS].push(scheduled);
        } else {
            self.later.push(scheduled);
        }
        moment
    }

    /// The time of the next event, in microseconds.
    pub(super) fn next_us(&mut self) -> Option<u64> {
        while self.present.is_empty() {
            let later = self.later.peek().map(|first| slot(first.moment.0));
            self.slot = match (self.soon, later) {
                (0, None) => return None,
                (0, Some(later)) => later,
                _ => self.slot + 1,
            };
            let due = &mut self.slots[self.slot as usize % SLOTS];
            self.soon -= due.len();
            self.present.extend(due.drain(..));
            while let Some(first) = self.later.peek_mut()
                && slot(first.moment.0) <= self.slot
            {
                self.present.push(PeekMut::pop(first));
            }
        }
        self.present.peek().map(|next| next.moment.0)
    }

    pub(super) fn pop(&mut self) -> Option<(Moment, Event)> {
        self.next_us()?;
        self.present.pop().map(|next| (next.moment, next.event))
    }
}

fn slot(at_us: u64) -> u64 {
    at_us >> SLOT_BITS
}
