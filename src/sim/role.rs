//! Roles that no honest node plays: miners who keep back what they find.
//!
//! A withholder is two nodes of the common kind with a gate between them. Its **front** stands in the network like any other and
//! does not mine: what it knows is public. Its **back** mines and has no other peer. While the gate is shut, what one sends the
//! other waits in order, as behind a cut. So neither the machine nor the node has a switch for such a role, nothing that is kept
//! back leaks through a claim or an answer, and two real nodes with a link between them that is cut and healed play the same.
//!
//! The withholder is as strong as its links: it knows what reaches its front, and what it releases spreads from there.

use super::world::{Event, World};
use crate::adversary::lead::Lead;
use crate::protocol::chain::block::Stream;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::view::Record;

/// When a withholder keeps back what it finds, and when it lets it go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Builds a branch of its own as long as that is ahead.
    Lead(Lead),
    /// Publishes what it has found so many milliseconds after the first block of it.
    Delay {
        /// The time.
        hold_ms: u64,
        /// Whether it builds upon what others publish meanwhile.
        merges: bool,
    },
}

/// A miner who keeps back what it finds.
#[derive(Clone, Debug)]
pub struct Withholder {
    front: usize,
    back: usize,
    strategy: Strategy,
    is_shut: bool,
    /// Whether both nodes have had the same order since the gate was opened: until then a release is under way.
    has_agreed: bool,
    /// Blocks that wait behind the gate.
    kept: u64,
    /// What the gate has done so far.
    record: Withheld,
}

/// What a withholder has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    /// How often it has let go what it kept back.
    pub releases: u64,
    /// Blocks that it has kept back for a while.
    pub blocks: u64,
    /// The most that it has kept back at a time.
    pub most: u64,
}

impl Withholder {
    /// A withholder of two nodes; the back has a connection to the front and to nobody else.
    pub fn new(front: usize, back: usize, strategy: Strategy) -> Self {
        Self {
            front,
            back,
            strategy,
            is_shut: false,
            has_agreed: false,
            kept: 0,
            record: Withheld::default(),
        }
    }

    /// What it has done so far.
    pub fn record(&self) -> Withheld {
        self.record
    }

    /// Whether the gate holds back what goes from one node to another.
    fn holds(&self, from: usize, to: usize) -> bool {
        let is_inward = (from, to) == (self.front, self.back);
        let is_outward = (from, to) == (self.back, self.front);
        let takes_in = matches!(self.strategy, Strategy::Delay { merges: true, .. });
        self.is_shut && (is_outward || (is_inward && !takes_in))
    }

    /// Whether it keeps back a block of this stream, found while the gate was open.
    fn begins(&self, stream: Stream) -> bool {
        let may_begin = match &self.strategy {
            Strategy::Lead(lead) => lead.begins.contains(&stream),
            Strategy::Delay { .. } => true,
        };
        self.has_agreed && may_begin
    }

    fn keep(&mut self) {
        self.kept += 1;
        self.record.blocks += 1;
        self.record.most = self.record.most.max(self.kept);
    }

    /// Whether it lets go what it has, when so much is public.
    fn gives_up(&self, public: &Record, private: &Record, network: &Network) -> bool {
        match &self.strategy {
            Strategy::Lead(lead) => lead.gives_up(self.kept, public, private, network),
            Strategy::Delay { .. } => false,
        }
    }
}

impl World {
    /// Has two nodes play a withholder from now on.
    pub fn withhold(&mut self, withholder: Withholder) {
        self.withholders.push(withholder);
    }

    /// Ends all roles: what was kept back is let go. Tells what each of them has done.
    pub fn repent(&mut self) -> Vec<Withheld> {
        let withholders = std::mem::take(&mut self.withholders);
        for withholder in &withholders {
            self.turn_gate(withholder.back);
        }
        withholders.iter().map(Withholder::record).collect()
    }

    /// Whether a gate holds back what goes from one node to another.
    pub(super) fn is_held(&self, from: usize, to: usize) -> bool {
        self.withholders
            .iter()
            .any(|withholder| withholder.holds(from, to))
    }

    /// A node has found a block. What it sent of it is still on its way.
    pub(super) fn found(&mut self, node: usize, stream: Stream) {
        for index in 0..self.withholders.len() {
            let withholder = &mut self.withholders[index];
            if withholder.back != node {
                continue;
            }
            if withholder.is_shut {
                withholder.keep();
            } else if withholder.begins(stream) {
                withholder.is_shut = true;
                withholder.keep();
                if let Strategy::Delay { hold_ms, .. } = withholder.strategy {
                    let at_us = self.now_us + hold_ms * 1_000;
                    let release = withholder.record.releases;
                    let event = Event::Release { index, release };
                    self.queue.schedule(at_us, event);
                }
                self.turn_gate(node);
            }
        }
    }

    /// A node's order has changed.
    pub(super) fn moved(&mut self, node: usize) {
        for index in 0..self.withholders.len() {
            let Withholder { front, back, .. } = self.withholders[index];
            let chain = |node: usize| Some(self.members[node].machine.as_ref()?.machine().chain());
            let (true, Some(public), Some(private)) =
                (node == front || node == back, chain(front), chain(back))
            else {
                continue;
            };
            let withholder = &self.withholders[index];
            if !withholder.is_shut {
                let agree = public.tip().parents == private.tip().parents;
                self.withholders[index].has_agreed |= agree;
            } else if withholder.gives_up(public.record(), private.record(), self.network()) {
                self.open(index);
            }
        }
    }

    /// The time of a release has come, if no other came before it.
    pub(super) fn release_due(&mut self, index: usize, release: u64) {
        let is_current = |withholder: &Withholder| withholder.record.releases == release;
        if self.withholders.get(index).is_some_and(is_current) {
            self.open(index);
        }
    }

    fn open(&mut self, index: usize) {
        let withholder = &mut self.withholders[index];
        withholder.is_shut = false;
        withholder.has_agreed = false;
        withholder.kept = 0;
        withholder.record.releases += 1;
        let back = withholder.back;
        self.turn_gate(back);
    }

    /// Lets the gate before a back be what it now is.
    fn turn_gate(&mut self, back: usize) {
        let links: Vec<u64> = self.members[back].conns.values().copied().collect();
        for id in links {
            if let Some(nodes) = self.links.get(id).map(|link| link.nodes) {
                self.apply_to(id, nodes);
                self.release_one(id);
            }
        }
    }
}
