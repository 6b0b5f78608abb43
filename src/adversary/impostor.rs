//! A node that follows the chain like any other, and beside that sends what it should not.

use std::sync::Arc;

use super::forgery;
use crate::protocol::chain::block::Block;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::template::Template;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::machine::behaviour::Behaviour;
use crate::protocol::machine::io::{ConnId, Effect, Input, Outbox};
use crate::protocol::machine::{Machine, MachineConfig};
use crate::protocol::rng::Rng;
use crate::protocol::time::Time;
use crate::protocol::wire::message::{Message, Received};

/// What it should not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// It mines blocks that break a rule, and damages those of others.
    Blocks,
    /// It sends transactions that break a rule.
    Transactions,
    /// It mines blocks with dates ahead.
    Times,
    /// It sends all that costs others more than it.
    Flood,
}

/// A node that sends what it should not.
pub(super) struct Impostor {
    act: Act,
    machine: Machine,
    network: Arc<Network>,
    rng: Rng,
    /// When it acts again, on the monotonic clock.
    due_ms: u64,
    /// What an honest miner would work on.
    templates: Vec<Template>,
    /// The last block that it heard of.
    heard: Option<Arc<Block>>,
    /// By how much its next block is ahead of its clock.
    ahead_ms: u64,
}

impl Impostor {
    pub(super) fn new(
        act: Act,
        config: MachineConfig,
        network: Arc<Network>,
        seed: u64,
        now: Time,
        disk: &dyn View,
        out: &mut Outbox,
    ) -> Result<Self, Fault> {
        let mut first = Outbox::default();
        let machine = Machine::new(config, Arc::clone(&network), seed, now, disk, &mut first)?;
        let mut impostor = Self {
            act,
            machine,
            network,
            rng: Rng::new(seed ^ 0x6c69_6172),
            due_ms: now.monotonic_ms,
            templates: Vec::new(),
            heard: None,
            ahead_ms: 0,
        };
        impostor.draw_date();
        impostor.perform(now, first, out);
        Ok(impostor)
    }

    /// The time between two of its acts. Transactions are many, as they are cheap.
    fn interval_ms(&self) -> u64 {
        match self.act {
            Act::Blocks | Act::Times => 1_000,
            Act::Transactions | Act::Flood => 100,
        }
    }

    /// Just inside of what is allowed, or far outside.
    fn draw_date(&mut self) {
        let most_ms = self.network.params().max_future_ms;
        self.ahead_ms = match self.rng.below(2) {
            0 => most_ms - most_ms / 10,
            _ => 2 * most_ms,
        };
    }

    /// Passes on what the machine orders, but for what the miner works on.
    fn perform(&mut self, now: Time, inner: Outbox, out: &mut Outbox) {
        for effect in inner.0 {
            match effect {
                Effect::Mine(templates) if matches!(self.act, Act::Blocks | Act::Times) => {
                    self.templates = templates;
                    self.work(now, out);
                }
                effect => out.push(effect),
            }
        }
    }

    fn work(&mut self, now: Time, out: &mut Outbox) {
        let mut templates = self.templates.clone();
        for template in &mut templates {
            match self.act {
                Act::Times => {
                    let dated_ms = now.wall_ms + self.ahead_ms;
                    template.min_timestamp_ms = template.min_timestamp_ms.max(dated_ms);
                }
                _ => forgery::spoil(template, self.machine.chain().record(), &mut self.rng),
            }
        }
        out.push(Effect::Mine(templates));
    }

    fn act(&mut self, now: Time, out: &mut Outbox) {
        let peers: Vec<_> = self.machine.sessions().map(|(conn, ..)| conn).collect();
        let network = self.network.id();
        match self.act {
            Act::Times => {}
            Act::Blocks => {
                self.work(now, out);
                let one = self.rng.below(peers.len() as u64) as usize;
                if let (Some(conn), Some(block)) = (peers.get(one), &self.heard) {
                    send(vec![*conn], forgery::damaged(block), out);
                }
            }
            Act::Transactions => {
                for conn in peers {
                    let message = forgery::broken_transaction(&network, &mut self.rng);
                    send(vec![conn], message, out);
                }
            }
            Act::Flood => {
                for message in forgery::wave(&self.machine, &network, &mut self.rng) {
                    send(peers.clone(), message, out);
                }
            }
        }
    }
}

fn send(to: Vec<ConnId>, message: Message, out: &mut Outbox) {
    if !to.is_empty() {
        out.push(Effect::Send { to, message });
    }
}

impl Behaviour for Impostor {
    fn handle(
        &mut self,
        now: Time,
        input: Input,
        disk: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        match &input {
            Input::Solved { block } if self.act == Act::Blocks => {
                let peers = self.machine.sessions().map(|(conn, ..)| conn).collect();
                send(peers, Message::NewBlock(Arc::clone(block.bytes())), out);
                // An easy target would give hundreds a second: the next one is searched for when it acts again.
                out.push(Effect::Mine(Vec::new()));
                return Ok(());
            }
            Input::Solved { .. } if self.act == Act::Times => self.draw_date(),
            Input::Message {
                message: Received::NewBlock(block),
                ..
            } => self.heard = Some(Arc::clone(block)),
            _ => {}
        }
        // It believes its own dates.
        let believed_ms = match self.act {
            Act::Times => 2 * self.network.params().max_future_ms,
            _ => 0,
        };
        let believed = Time {
            wall_ms: now.wall_ms + believed_ms,
            ..now
        };
        let mut inner = Outbox::default();
        self.machine.handle(believed, input, disk, &mut inner)?;
        self.perform(now, inner, out);
        if now.monotonic_ms >= self.due_ms {
            self.due_ms = now.monotonic_ms + self.interval_ms();
            self.act(now, out);
        }
        Ok(())
    }

    fn next_deadline(&self) -> Option<u64> {
        let deadline = self.machine.next_deadline();
        Some(deadline.map_or(self.due_ms, |at_ms| at_ms.min(self.due_ms)))
    }

    fn machine(&self) -> &Machine {
        &self.machine
    }
}
