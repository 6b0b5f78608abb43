//! Memory: the ceilings of one connection and of all of them, and what they take.
//!
//! A connection takes memory for what was read of it and is not handled yet, for what waits to be written to it, and for the
//! buffers on both ways. Each of these is counted where it comes and goes. No connection gets above its own ceiling: reading
//! waits, and whose queue is full is dropped. Where all of them together take too much, those go that take most: so whoever wants
//! to use the memory up has to take more than the honest ones, and is the first to go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::protocol::machine::io::Input;
use crate::protocol::wire::limits::{MAX_FRAME, MAX_NOISE_MESSAGE};

/// What a message takes in memory for each byte of its frame: transactions are kept as bytes and read, which is 1 + 232 / 153 and a
/// little; 2.6 were counted.
pub const BYTES_IN_MEMORY: usize = 3;

/// What the buffers of a connection take at most: a frame as it arrives, in a buffer that doubles as it grows, and the message read
/// from it; a frame as it is written, its copy to be sent and that sealed; a message of Noise that has not all arrived.
pub const BUFFER_BYTES: usize = (2 + 1 + 3) * MAX_FRAME + 8 * MAX_NOISE_MESSAGE;

/// The least that a connection must be allowed: its buffers, the largest message read and another one written.
pub const MIN_PEER_BYTES: usize = BUFFER_BYTES + 2 * BYTES_IN_MEMORY * MAX_FRAME;

/// Answers that are read from the store at a time: more of them would wait for the disk together, each with its memory.
pub const ANSWERS: usize = 4;

/// What an entry of a queue takes beside its frame.
const ENTRY_BYTES: usize = 64;

/// How much memory a node may take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// All of it.
    pub node_bytes: usize,
    /// One connection.
    pub peer_bytes: usize,
    /// All connections together.
    pub peers_bytes: usize,
}

impl Ceilings {
    /// What may wait to be written to a peer. As much may have been read of it and not be handled yet.
    pub fn queue_bytes(&self) -> usize {
        self.peer_bytes.saturating_sub(BUFFER_BYTES) / 2
    }
}

/// What all connections of a node take.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) ceilings: Ceilings,
    taken: AtomicUsize,
    exceeded: Notify,
}

impl Pool {
    pub(super) fn new(ceilings: Ceilings) -> Arc<Self> {
        Arc::new(Self {
            ceilings,
            taken: AtomicUsize::new(0),
            exceeded: Notify::new(),
        })
    }

    /// Bytes that all connections take.
    pub(super) fn taken_bytes(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Waits until they take more than they may.
    pub(super) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }
}

/// What one connection takes.
#[derive(Debug)]
pub(super) struct Share {
    pool: Arc<Pool>,
    taken: AtomicUsize,
    /// Frames that wait to be written.
    queued: AtomicUsize,
    /// Room for what was read and is not handled yet, in bytes.
    room: Arc<Semaphore>,
}

impl Share {
    pub(super) fn new(pool: &Arc<Pool>) -> Arc<Self> {
        Arc::new(Self {
            pool: Arc::clone(pool),
            taken: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            room: Arc::new(Semaphore::new(pool.ceilings.queue_bytes())),
        })
    }

    /// Bytes that the connection takes.
    pub(super) fn taken_bytes(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes of frames that wait to be written.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        let before = self.pool.taken.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.pool.ceilings.peers_bytes {
            self.pool.exceeded.notify_one();
        }
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes room for a frame in the queue, of which the others of its sort may fill a part. False if there is none; one frame of
    /// any size always has room.
    pub(super) fn enqueue(&self, bytes: usize, is_needed: bool) -> bool {
        let queue_bytes = self.pool.ceilings.queue_bytes();
        // What may be left out leaves room for what may not.
        let most = if is_needed {
            queue_bytes
        } else {
            queue_bytes / 2
        };
        let queued = self.queued_bytes();
        if queued > 0 && queued + bytes > most {
            return false;
        }
        self.wait(bytes);
        true
    }

    /// A frame waits to be written, whether there is room or not.
    pub(super) fn wait(&self, bytes: usize) {
        self.queued.fetch_add(bytes, Ordering::Relaxed);
        self.take(bytes + ENTRY_BYTES);
    }

    /// A frame does not wait any more.
    pub(super) fn dequeue(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
        self.give_back(bytes + ENTRY_BYTES);
    }

    /// Waits until there is room for the message of a frame.
    pub(super) async fn room(self: &Arc<Self>, frame_bytes: usize) -> Room {
        let most = self.pool.ceilings.queue_bytes();
        let bytes = (BYTES_IN_MEMORY * frame_bytes).min(most);
        let permits = u32::try_from(bytes).expect("a frame is far below a gigabyte");
        let permit = Arc::clone(&self.room).acquire_many_owned(permits).await;
        let mut part = Part::new(self);
        part.set(bytes);
        Room {
            _permit: permit.expect("nobody closes it"),
            _part: part,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // What still waited to be written is gone.
        let taken = *self.taken.get_mut();
        self.pool.taken.fetch_sub(taken, Ordering::Relaxed);
    }
}

/// What one buffer, or one message, takes of a share. Given back when dropped.
#[derive(Debug)]
pub(super) struct Part {
    share: Arc<Share>,
    bytes: usize,
}

impl Part {
    pub(super) fn new(share: &Arc<Share>) -> Self {
        Self {
            share: Arc::clone(share),
            bytes: 0,
        }
    }

    /// Says how much it is now.
    pub(super) fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.share.take(more),
            None => self.share.give_back(self.bytes - bytes),
        }
        self.bytes = bytes;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.share.give_back(self.bytes);
    }
}

/// The room of a message that was read and is not handled yet. Given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
    _part: Part,
}

/// A fact on its way to the driver, with the room that it takes.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) input: Input,
    pub(super) room: Option<Room>,
}

impl From<Input> for Fact {
    fn from(input: Input) -> Self {
        Self { input, room: None }
    }
}
