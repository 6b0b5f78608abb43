//! What a watcher is told of blocks on their way. Nobody watches unless asked to, and the trace does not know of it.

use std::collections::BTreeMap;

use super::world::World;
use crate::protocol::chain::block::Stream;
use crate::protocol::chain::id::{BlockId, NodeKey};
use crate::protocol::link::RoundTrip;
use crate::protocol::machine::io::{Direction, Event, Origin, Rebuilt};

/// A node has taken a block in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Virtual time since the start, in microseconds.
    pub at_us: u64,
    /// The node.
    pub node: usize,
    /// The block.
    pub block: BlockId,
    /// Its stream.
    pub stream: Stream,
    /// Its position in the node's order.
    pub number: u64,
    /// The node that passed it on; `None` where this one mined it.
    pub from: Option<usize>,
    /// Whether it was asked for to catch up.
    pub synced: bool,
}

/// What a node has measured of a session and sent over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The node at the other end.
    pub peer: usize,
    /// How long pings take, once one was answered.
    pub round_trip: Option<RoundTrip>,
    /// Bytes of frames that have arrived there.
    pub sent_bytes: u64,
    /// Bytes of frames on their way, or held back.
    pub queued_bytes: u64,
    /// Segments sent while some are lost.
    pub segments: u64,
    /// How many of them were.
    pub losses: u64,
}

/// What has been seen since it was last taken.
#[derive(Debug, Default)]
pub struct Seen {
    /// Blocks taken in, by time.
    pub arrivals: Vec<Arrival>,
    /// Changes of the order that took blocks back: time in microseconds, node, how many.
    pub undone: Vec<(u64, usize, usize)>,
    /// Blocks that came in compact form: time in microseconds, node, what it took to have all of them.
    pub rebuilt: Vec<(u64, usize, Rebuilt)>,
}

/// Watches.
#[derive(Debug)]
pub(super) struct Watch {
    nodes: BTreeMap<NodeKey, usize>,
    /// Of so many blocks that are passed on, one is looked at; of those that are mined, all are.
    one_in: u64,
    seen: Seen,
}

impl Watch {
    pub(super) fn notice(&mut self, at_us: u64, node: usize, event: &Event) {
        match event {
            Event::BlockAccepted {
                block,
                number,
                origin,
                ..
            } => {
                let id = block.id();
                let (from, synced) = match origin {
                    Origin::Mined => (None, false),
                    Origin::Relayed(key) => (self.nodes.get(key).copied(), false),
                    Origin::Synced(key) => (self.nodes.get(key).copied(), true),
                };
                // By the last digits: the first are alike where blocks are hard to find.
                let [.., high, low] = id.0;
                let is_wanted = u64::from(u16::from_be_bytes([high, low])) % self.one_in == 0;
                if is_wanted || *origin == Origin::Mined {
                    self.seen.arrivals.push(Arrival {
                        at_us,
                        node,
                        block: id,
                        stream: block.header().stream,
                        number: *number,
                        from,
                        synced,
                    });
                }
            }
            Event::TipChanged { undone, .. } if *undone > 0 => {
                self.seen.undone.push((at_us, node, *undone));
            }
            Event::BlockRebuilt { rebuilt } => self.seen.rebuilt.push((at_us, node, *rebuilt)),
            _ => {}
        }
    }
}

impl World {
    /// Keeps what [`World::seen`] hands out, from now on. Of `one_in` blocks that are passed on one is kept, which is the same on
    /// all nodes; of those that are mined, all are.
    pub fn watch(&mut self, one_in: u64) {
        let keys = self.members.iter().enumerate();
        self.watch = Some(Watch {
            nodes: keys
                .map(|(node, member)| (member.config.key, node))
                .collect(),
            one_in: one_in.max(1),
            seen: Seen::default(),
        });
    }

    /// Hands out what was seen since the last time; nothing if nobody watches.
    pub fn seen(&mut self) -> Seen {
        let watch = self.watch.as_mut();
        watch.map_or_else(Seen::default, |watch| std::mem::take(&mut watch.seen))
    }

    /// The sessions of a node.
    pub fn sessions(&self, node: usize) -> Vec<Session> {
        let member = &self.members[node];
        let machine = member.machine.iter();
        let sessions = machine.flat_map(|behaviour| behaviour.machine().sessions());
        let seen = sessions.filter_map(|(conn, .., session)| {
            let link = self.links.get(*member.conns.get(&conn)?)?;
            let receiver = 1 - link.end(conn);
            let (segments, losses) = link.lines[receiver].losses();
            Some(Session {
                peer: link.nodes[receiver],
                round_trip: session.meter.round_trip(),
                sent_bytes: link.arrived[receiver],
                queued_bytes: link.queued[receiver] as u64,
                segments,
                losses,
            })
        });
        seen.collect()
    }

    /// The nodes to which a node has opened the session itself.
    pub fn outbound(&self, node: usize) -> Vec<usize> {
        let member = &self.members[node];
        let machine = member.machine.iter();
        let sessions = machine.flat_map(|behaviour| behaviour.machine().sessions());
        let opened = sessions.filter(|(_, direction, ..)| *direction == Direction::Outbound);
        let link = |conn| self.links.get(*member.conns.get(&conn)?);
        opened
            .filter_map(|(conn, ..)| link(conn).map(|link| link.nodes[1]))
            .collect()
    }

    /// Frames that arrived, and their bytes.
    pub fn traffic(&self) -> (u64, u64) {
        (self.arrived, self.bytes)
    }
}
