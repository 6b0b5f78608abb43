//! Bytes between nodes: connections, frames, cuts.

use std::net::SocketAddr;
use std::sync::Arc;

use super::check::Violation;
use super::link::{Frame, FrameKey, Link};
use super::world::{Event, World};
use crate::protocol::chain::block::Block;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::machine::io::{ConnId, Input};
use crate::protocol::wire::frame::{self, PREFIX_BYTES};
use crate::protocol::wire::message::{Message, MessageError, Received};

/// Frames of relay that are remembered: a block reaches every node within the time of a few others.
const MEMORY: usize = 4_096;

/// Bytes of frames that wait on a link in one direction, as a node bears them.
const QUEUE_BYTES: usize = 16 << 20;

/// The first port of those that a dialling node has.
const EPHEMERAL: u16 = 40_000;

impl World {
    /// The frame of a message. What many nodes pass on is one frame, so that it is checked once.
    pub(super) fn frame(&mut self, message: &Message) -> Arc<Frame> {
        if self.frames.len() >= MEMORY {
            self.frames.clear();
        }
        match message {
            Message::NewBlock(bytes) => {
                // Blocks are shared by all nodes, and so are their bytes: while they are held here, nothing else has their address.
                let key = FrameKey::Address(bytes.as_ptr() as usize);
                if let Some((frame, _)) = self.frames.get(&key) {
                    return Arc::clone(frame);
                }
                let frame = Arc::new(Frame::new(message));
                let held = (Arc::clone(&frame), Some(Arc::clone(bytes)));
                self.frames.insert(key, held);
                frame
            }
            Message::NewTransaction(_) => {
                let frame = Arc::new(Frame::new(message));
                let key = FrameKey::Hash(frame.hash);
                if let Some((known, _)) = self.frames.get(&key) {
                    return Arc::clone(known);
                }
                self.frames.insert(key, (Arc::clone(&frame), None));
                frame
            }
            _ => Arc::new(Frame::new(message)),
        }
    }

    pub(super) fn send(&mut self, node: usize, conn: ConnId, frame: Arc<Frame>) {
        let Some((id, link)) = self.links.open(conn) else {
            return;
        };
        let receiver = 1 - link.end(conn);
        let line = &mut link.lines[receiver];
        let bytes = frame.bytes.len();
        if link.queued[receiver] > 0 && link.queued[receiver] + bytes > QUEUE_BYTES {
            let life = self.members[node].life;
            let event = Event::Slow { node, life, conn };
            self.queue.schedule(self.now_us, event);
            return;
        }
        let at_us = line.arrival_us(self.now_us, bytes, &mut self.rng);
        link.queued[receiver] += bytes;
        link.queues[receiver].push_back(frame);
        self.queue
            .schedule(at_us, Event::Frame { link: id, receiver });
    }

    pub(super) fn deliver(&mut self, id: u64, receiver: usize) -> Result<(), Violation> {
        let Some(link) = self.links.get_mut(id) else {
            return Ok(());
        };
        let nodes = link.nodes;
        let (node, conn) = (nodes[receiver], link.conns[receiver]);
        if link.lines[receiver].is_cut() {
            link.stalled[receiver] += 1;
            return Ok(());
        }
        let Some(frame) = link.queues[receiver].pop_front() else {
            return Ok(());
        };
        link.queued[receiver] -= frame.bytes.len();
        link.arrived[receiver] += frame.bytes.len() as u64;
        self.arrived += 1;
        self.bytes += frame.bytes.len() as u64;
        self.trace.add(self.now_us, node, "frame", &frame.hash);
        match self.checked(&frame) {
            Ok(message) => self.feed(node, Input::Message { conn, message }),
            Err(error) if nodes.into_iter().any(|end| self.breaks_rules(end)) => {
                self.feed(node, Input::Malformed { conn, error })
            }
            Err(error) => Err(self.violation(node, format!("an honest peer sent {error}"))),
        }
    }

    /// Closes a node's end of a link: what it sent before still arrives.
    pub(super) fn close(&mut self, node: usize, conn: ConnId) {
        let Some(id) = self.members[node].conns.remove(&conn) else {
            return;
        };
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let end = link.end(conn);
        link.is_open[end] = false;
        let at_us = link.lines[1 - end].last_us().max(self.now_us);
        self.queue.schedule(at_us, Event::Closing { link: id });
    }

    /// Reads and checks a frame, the first time that it arrives. Blocks are shared, so that 5,000 nodes hold each of them once.
    fn checked(&mut self, frame: &Frame) -> Result<Received, MessageError> {
        if let Some(received) = frame.received.get() {
            return Ok(received.clone());
        }
        let message = frame::decode(&frame.bytes[PREFIX_BYTES..])?;
        let mut received = message.check(&self.config.network)?;
        match &mut received {
            Received::NewBlock(block) => self.share(block),
            Received::Blocks { blocks, .. } => {
                blocks.iter_mut().for_each(|block| self.share(block))
            }
            _ => {}
        }
        Ok(frame.received.get_or_init(|| received).clone())
    }

    pub(super) fn share(&mut self, block: &mut Arc<Block>) {
        self.blocks.share(block.id(), block);
    }

    pub(super) fn dialled(
        &mut self,
        from: usize,
        life: u64,
        to: Endpoint,
    ) -> Result<(), Violation> {
        if self.members[from].life != life {
            return Ok(());
        }
        let back_us = self.now_us + self.latency(from, self.config.node_at(&to));
        let listening = |node: &usize| {
            self.members
                .get(*node)
                .is_some_and(|member| member.machine.is_some())
                && self.reaches(from, *node)
        };
        let Some(node) = self.config.node_at(&to).filter(listening) else {
            self.queue.schedule(
                back_us,
                Event::Refused {
                    node: from,
                    life,
                    endpoint: Box::new(to),
                },
            );
            return Ok(());
        };
        let conns = self.links.next_conns();
        let nodes = [from, node];
        let conditions = self.lines_between(nodes);
        let link = Link::new(nodes, conns, conditions, [back_us, self.now_us]);
        let id = self.links.add(link);
        self.members[node].conns.insert(conns[1], id);
        self.members[from].conns.insert(conns[0], id);
        self.queue.schedule(
            back_us,
            Event::Established {
                link: id,
                node: from,
                life,
                endpoint: Box::new(to),
            },
        );
        let port = EPHEMERAL + (id % 20_000) as u16;
        let own = self.config.address(from, port);
        let gateway = self.config.gateway.map(|ip| SocketAddr::new(ip, port));
        let remote = gateway.unwrap_or(own);
        self.feed(
            node,
            Input::Connected {
                conn: conns[1],
                dialled: None,
                remote,
            },
        )
    }

    pub(super) fn established(
        &mut self,
        id: u64,
        node: usize,
        life: u64,
        endpoint: Endpoint,
    ) -> Result<(), Violation> {
        if self.members[node].life != life {
            return Ok(());
        }
        let (Some(link), Some(remote)) = (self.links.get(id), endpoint.address()) else {
            return self.feed(node, Input::Refused { endpoint });
        };
        let conn = link.conns[0];
        self.feed(
            node,
            Input::Connected {
                conn,
                dialled: Some(endpoint),
                remote,
            },
        )
    }

    /// Ends a link: each end learns of it after a while, frames on the way are lost.
    pub(super) fn reset(&mut self, id: u64) {
        let Some(link) = self.links.remove(id) else {
            return;
        };
        for end in [0, 1] {
            let (node, conn) = (link.nodes[end], link.conns[end]);
            self.members[node].conns.remove(&conn);
            let life = self.members[node].life;
            // Not before the connection stood.
            let at_us =
                (self.now_us + self.draw(self.config.latency_us)).max(link.lines[end].last_us());
            self.queue
                .schedule(at_us, Event::Closed { node, life, conn });
        }
    }

    /// Lets go what no cut holds back any more.
    pub(super) fn release(&mut self) {
        let ids: Vec<u64> = self.links.iter().map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.release_one(id));
    }

    pub(super) fn release_one(&mut self, id: u64) {
        for receiver in [0, 1] {
            let Some(link) = self.links.get_mut(id) else {
                return;
            };
            let line = &mut link.lines[receiver];
            if line.is_cut() || link.stalled[receiver] == 0 {
                continue;
            }
            let at_us = line.release_us(self.now_us, &mut self.rng);
            // Arrivals take from the front of the queue, so that bytes keep their order whatever is on its way behind.
            for _ in 0..std::mem::take(&mut link.stalled[receiver]) {
                self.queue
                    .schedule(at_us, Event::Frame { link: id, receiver });
            }
        }
    }
}
