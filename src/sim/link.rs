//! Links: ordered streams of bytes between two nodes, as TCP gives them. A lost packet is a delay or a reset, never a missing
//! message.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use crate::protocol::link::{Conditions, Line};
use crate::protocol::machine::io::ConnId;
use crate::protocol::wire::frame;
use crate::protocol::wire::message::{Message, Received};

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) hash: [u8; 32],
    /// What it was found to be, once it has arrived somewhere: a function of the bytes and the network alone.
    pub(super) received: OnceLock<Received>,
}

/// By what a frame of relay is found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FrameKey {
    /// Where the bytes of the block are that it carries.
    Address(usize),
    /// Its hash.
    Hash([u8; 32]),
}

/// A frame of relay, and what must live as long as its key stands for it.
pub(super) type Remembered = (Arc<Frame>, Option<Arc<[u8]>>);

impl Frame {
    pub(super) fn new(message: &Message) -> Self {
        let bytes = frame::encode(message);
        let hash = *blake3::hash(&bytes).as_bytes();
        let received = OnceLock::new();
        Self {
            bytes,
            hash,
            received,
        }
    }
}

/// All links, by number. Each has the two connections of twice its number, and that and one.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Option<Box<Link>>>);

impl Links {
    /// The connections of the link that comes next.
    pub(super) fn next_conns(&self) -> [ConnId; 2] {
        [0, 1].map(|end| ConnId(2 * self.0.len() as u64 + end))
    }

    /// Adds a link, and tells its number.
    pub(super) fn add(&mut self, link: Link) -> u64 {
        self.0.push(Some(Box::new(link)));
        self.0.len() as u64 - 1
    }

    pub(super) fn get(&self, id: u64) -> Option<&Link> {
        self.0.get(id as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Link> {
        self.0.get_mut(id as usize)?.as_deref_mut()
    }

    /// The link of a connection, as long as that has not closed its end.
    pub(super) fn open(&mut self, conn: ConnId) -> Option<(u64, &mut Link)> {
        let id = conn.0 / 2;
        let link = self.get_mut(id)?;
        link.is_open[link.end(conn)].then_some((id, link))
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Box<Link>> {
        self.0.get_mut(id as usize)?.take()
    }

    /// All that there are, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Link)> {
        (0..)
            .zip(&self.0)
            .filter_map(|(id, link)| Some((id, link.as_deref()?)))
    }
}

/// A connection between two nodes: index 0 dialled, index 1 was dialled.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) nodes: [usize; 2],
    pub(super) conns: [ConnId; 2],
    /// Which ends have not closed it.
    pub(super) is_open: [bool; 2],
    /// What decides when frames arrive, by the index of the receiver.
    pub(super) lines: [Line; 2],
    /// Frames on their way, in the order in which they were sent, by the index of the receiver.
    pub(super) queues: [VecDeque<Arc<Frame>>; 2],
    /// Their bytes.
    pub(super) queued: [usize; 2],
    /// Bytes of frames that have arrived, by the index of the receiver.
    pub(super) arrived: [u64; 2],
    /// How many of them a cut holds back: their time has come and gone.
    pub(super) stalled: [usize; 2],
}

impl Link {
    /// A link over which nothing arrives earlier than told, all by the index of the receiver.
    pub(super) fn new(
        nodes: [usize; 2],
        conns: [ConnId; 2],
        conditions: [Conditions; 2],
        from_us: [u64; 2],
    ) -> Self {
        Self {
            nodes,
            conns,
            is_open: [true; 2],
            lines: [0, 1].map(|receiver| Line::new(conditions[receiver], from_us[receiver])),
            queues: Default::default(),
            queued: [0; 2],
            arrived: [0; 2],
            stalled: [0; 2],
        }
    }

    /// The index of the end that a connection is.
    pub(super) fn end(&self, conn: ConnId) -> usize {
        usize::from(self.conns[1] == conn)
    }
}
