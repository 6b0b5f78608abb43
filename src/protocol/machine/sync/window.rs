//! The bodies that are being fetched: a window that slides over blocks in their order, filled from several peers at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::BlockId;
use crate::protocol::machine::io::ConnId;
use crate::protocol::wire::limits::{MAX_BLOCKS_BYTES, MAX_SYNC_BLOCKS, MAX_SYNC_BYTES};

/// Blocks in one request: small ones fit an answer by the hundred.
const REQUEST_BLOCKS: usize = 128;

/// Bytes that an answer should have: a quarter of what it may, so that a peer is asked for no more than it soon delivers.
const REQUEST_BYTES: usize = MAX_BLOCKS_BYTES / 4;

/// Requests under way to one peer: two that deliver keep all of the window under way.
const REQUESTS: usize = MAX_SYNC_BLOCKS / REQUEST_BLOCKS / 2;

/// Blocks whose headings have proven enough, in order.
#[derive(Clone, Debug)]
pub(super) struct Window {
    slots: VecDeque<Slot>,
    /// The number of the first slot, and that of each block's.
    first: u64,
    places: BTreeMap<BlockId, u64>,
    /// Requests under way by peer, in the order of its answers.
    requests: BTreeMap<ConnId, VecDeque<Request>>,
    /// Bytes of blocks that wait for those before them.
    waiting_bytes: usize,
    /// Bytes of a block, averaged over those that came last.
    block_bytes: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    id: BlockId,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Wanted,
    Asked(ConnId),
    Here(Arc<Block>, ConnId),
}

/// A request under way.
#[derive(Clone, Debug)]
struct Request {
    asked_ms: u64,
    /// Its blocks are asked for elsewhere. The answer is of use all the same if it comes first.
    is_late: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            places: BTreeMap::new(),
            requests: BTreeMap::new(),
            waiting_bytes: 0,
            block_bytes: REQUEST_BYTES / REQUEST_BLOCKS,
        }
    }
}

impl Window {
    /// Blocks that are still to be taken in.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn contains(&self, id: &BlockId) -> bool {
        self.places.contains_key(id)
    }

    /// Blocks that wait for those before them, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let here = |slot: &&Slot| matches!(slot.state, State::Here(..));
        (self.slots.iter().filter(here).count(), self.waiting_bytes)
    }

    /// Adds a block behind those before it.
    pub(super) fn plan(&mut self, id: BlockId) {
        self.places.insert(id, self.first + self.slots.len() as u64);
        let state = State::Wanted;
        self.slots.push_back(Slot { id, state });
    }

    /// Forgets all blocks. Requests stay, so that their answers are known for what they are.
    pub(super) fn clear(&mut self) {
        self.first += self.slots.len() as u64;
        self.slots.clear();
        self.places.clear();
        self.waiting_bytes = 0;
    }

    /// The first block, as long as it is not here.
    pub(super) fn awaited(&self) -> Option<BlockId> {
        let first = self.slots.front()?;
        (!matches!(first.state, State::Here(..))).then_some(first.id)
    }

    /// Leaves out the first block: it came another way.
    pub(super) fn skip(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            self.places.remove(&slot.id);
            self.first += 1;
        }
    }

    /// Takes the first block out if it is here, with the peer that sent it.
    pub(super) fn next(&mut self) -> Option<(Arc<Block>, ConnId)> {
        if self.awaited().is_some() {
            return None;
        }
        let slot = self.slots.pop_front()?;
        self.places.remove(&slot.id);
        self.first += 1;
        let State::Here(block, conn) = slot.state else {
            return None;
        };
        self.waiting_bytes -= block.bytes().len();
        Some((block, conn))
    }

    /// Whether the first block is here.
    pub(super) fn is_ready(&self) -> bool {
        !self.is_empty() && self.awaited().is_none()
    }

    /// Whether all of the window is under way or here, while more follows: the first answer that is missing holds up all others.
    pub(super) fn is_used_up(&self) -> bool {
        let mut slots = self.slots.iter().take(MAX_SYNC_BLOCKS);
        !slots.any(|slot| matches!(slot.state, State::Wanted))
    }

    /// How many requests a peer has not answered; `None` if it may not be asked for more now.
    pub(super) fn load(&self, conn: ConnId) -> Option<usize> {
        let Some(requests) = self.requests.get(&conn) else {
            return Some(0);
        };
        let is_late = requests.iter().any(|request| request.is_late);
        (!is_late && requests.len() < REQUESTS).then_some(requests.len())
    }

    /// The blocks that a peer should be asked for next; none if there are none, or too much waits.
    pub(super) fn ask(&mut self, conn: ConnId, now_ms: u64) -> Vec<BlockId> {
        let under_way: usize = self.requests.values().map(VecDeque::len).sum();
        let most_bytes = self.waiting_bytes + (under_way + 1) * MAX_BLOCKS_BYTES;
        let is_next = |slot: &Slot| matches!(slot.state, State::Wanted);
        // What all others wait for has room always.
        if most_bytes > MAX_SYNC_BYTES && !self.slots.front().is_some_and(is_next) {
            return Vec::new();
        }
        let count = (REQUEST_BYTES / self.block_bytes.max(1)).clamp(1, REQUEST_BLOCKS);
        let mut ids = Vec::new();
        for slot in self.slots.iter_mut().take(MAX_SYNC_BLOCKS) {
            if matches!(slot.state, State::Wanted) {
                slot.state = State::Asked(conn);
                ids.push(slot.id);
                if ids.len() == count {
                    break;
                }
            }
        }
        if !ids.is_empty() {
            self.requests.entry(conn).or_default().push_back(Request {
                asked_ms: now_ms,
                is_late: false,
            });
        }
        ids
    }

    /// A peer has answered. Tells how long that took, if a request was under way.
    pub(super) fn answered(&mut self, conn: ConnId, now_ms: u64) -> Option<u64> {
        let requests = self.requests.get_mut(&conn)?;
        let request = requests.pop_front()?;
        if requests.is_empty() {
            self.requests.remove(&conn);
        }
        Some(now_ms - request.asked_ms)
    }

    /// Takes in what has arrived.
    pub(super) fn put(&mut self, block: Arc<Block>, conn: ConnId) {
        let bytes = block.bytes().len();
        self.block_bytes = (15 * self.block_bytes + bytes) / 16;
        let Some(place) = self.places.get(&block.id()) else {
            return;
        };
        let slot = &mut self.slots[(place - self.first) as usize];
        if !matches!(slot.state, State::Here(..)) {
            slot.state = State::Here(block, conn);
            self.waiting_bytes += bytes;
        }
    }

    /// Wants a block again that was asked of a peer.
    pub(super) fn want_again(&mut self, id: &BlockId, conn: ConnId) {
        if let Some(place) = self.places.get(id) {
            let state = &mut self.slots[(place - self.first) as usize].state;
            if matches!(state, State::Asked(asked) if *asked == conn) {
                *state = State::Wanted;
            }
        }
    }

    /// The moment at which the next request is late, if a peer has so many milliseconds for one.
    pub(super) fn due_ms(&self, patience_ms: impl Fn(ConnId) -> u64) -> Option<u64> {
        let open = self.requests.iter().filter_map(|(conn, requests)| {
            let first = requests.front().filter(|request| !request.is_late)?;
            Some(first.asked_ms + patience_ms(*conn))
        });
        open.min()
    }

    /// Wants again what is late by now.
    pub(super) fn expire(&mut self, now_ms: u64, patience_ms: impl Fn(ConnId) -> u64) {
        let is_late = |conn, requests: &VecDeque<Request>| {
            let first = requests.front().filter(|request| !request.is_late);
            first.is_some_and(|first| first.asked_ms + patience_ms(conn) <= now_ms)
        };
        let late: Vec<_> = self
            .requests
            .iter()
            .filter(|(conn, requests)| is_late(**conn, requests))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in late {
            // Answers come in the order of the questions: those behind it are late with it.
            for request in self.requests.get_mut(&conn).into_iter().flatten() {
                request.is_late = true;
            }
            self.release(conn);
        }
    }

    /// A connection has ended.
    pub(super) fn left(&mut self, conn: ConnId) {
        self.requests.remove(&conn);
        self.release(conn);
    }

    fn release(&mut self, conn: ConnId) {
        for slot in self.slots.iter_mut().take(MAX_SYNC_BLOCKS) {
            if matches!(slot.state, State::Asked(asked) if asked == conn) {
                slot.state = State::Wanted;
            }
        }
    }
}
