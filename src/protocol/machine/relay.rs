//! Taking blocks in, and passing them on.

use std::collections::VecDeque;
use std::sync::Arc;

use super::io::{ConnId, Event, Origin, Reason};
use super::timers::Timer;
use super::{Machine, Turn};
use crate::protocol::bugs::{Bug, bug};
use crate::protocol::chain::block::Block;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::chain::{Accepted, Rejected};
use crate::protocol::time::Time;
use crate::protocol::wire::limits::MAX_PLACED;
use crate::protocol::wire::message::{Message, Received};

impl Machine {
    /// Whether a message brings a block that this node has, as all but one of its copies do: nothing follows but that the peer has
    /// it as well.
    pub(super) fn is_copy(&mut self, now: Time, conn: ConnId, message: &Received) -> bool {
        let id = match message {
            Received::NewBlock(block) => block.id(),
            Received::CompactBlock(sketch) => sketch.heading().id(),
            Received::AnnounceBlock { id } => *id,
            _ => return false,
        };
        // Copies come soon after the first one: most are found among the few blocks that were taken in last.
        let is_known =
            self.chain.recent_block(&id).is_some() || self.chain.dag().index(&id).is_some();
        if !is_known || bug(Bug::KnownBlockTakenAgain) {
            return false;
        }
        let Some(session) = self.connections.session(conn) else {
            return false;
        };
        session.heard_ms = now.monotonic_ms;
        self.block_holders.add(id, conn);
        true
    }

    pub(super) fn new_block(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        block: Arc<Block>,
    ) -> Result<(), Fault> {
        let Some(session) = self.connections.session(conn) else {
            return Ok(());
        };
        let origin = Origin::Relayed(session.key);
        self.take_from(turn, conn, block, origin).map(drop)
    }

    /// Takes in a block that a peer has sent. Whether the connection ended over it.
    pub(super) fn take_from(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        block: Arc<Block>,
        origin: Origin,
    ) -> Result<bool, Fault> {
        self.block_holders.add(block.id(), conn);
        match self.take_block(turn, &block, origin)? {
            Taken::Orphan => self.ask_for_parents(turn, conn, &block)?,
            Taken::Broken(reason) => {
                self.disconnect(turn, conn, Reason::Fault(reason));
                self.seek(turn)?;
                return Ok(true);
            }
            Taken::In if matches!(origin, Origin::Relayed(_)) => self.was_first(turn, conn),
            Taken::In | Taken::Not => {}
        }
        Ok(false)
    }

    /// Takes a block in, and the orphans that waited for it, and passes on what is new.
    pub(super) fn take_block(
        &mut self,
        turn: &mut Turn<'_>,
        block: &Arc<Block>,
        origin: Origin,
    ) -> Result<Taken, Fault> {
        self.fetches.end(&block.id());
        let taken = self.place(turn, block, origin)?;
        match taken {
            Taken::In => {
                let mut parents = VecDeque::from([block.id()]);
                while let Some(parent) = parents.pop_front() {
                    for (child, origin) in self.orphans.children(&parent) {
                        match self.place(turn, &child, origin)? {
                            Taken::In => parents.push_back(child.id()),
                            Taken::Orphan => self.orphans.insert(child, origin),
                            Taken::Broken(_) | Taken::Not => {}
                        }
                    }
                }
            }
            Taken::Orphan => self.orphans.insert(Arc::clone(block), origin),
            Taken::Broken(_) | Taken::Not => {}
        }
        Ok(taken)
    }

    /// Gives a block its place and passes it on. What it does to the accounts follows once that is done: a node on the way costs a
    /// block no more than looking at its header that way.
    fn place(
        &mut self,
        turn: &mut Turn<'_>,
        block: &Arc<Block>,
        origin: Origin,
    ) -> Result<Taken, Fault> {
        let wall_ms = turn.now.wall_ms;
        let record = match self.chain.place(block, wall_ms, &mut turn.overlay) {
            Ok(record) => record,
            Err(rejected) => return self.reject(turn, block, origin, rejected),
        };
        // First to the peers, then to the log.
        self.pass_on(turn, block, origin);
        if matches!(origin, Origin::Relayed(_)) {
            let known = self.chain.tip().number + self.placed.len() as u64;
            let unknown = known.saturating_sub(record.number);
            self.pace.see(unknown, self.network.params().k);
        }
        let stream = self.network.stream(block.header().stream);
        turn.notify(Event::BlockAccepted {
            block: Arc::clone(block),
            number: record.number,
            origin,
            reward: stream.map_or(0, |stream| stream.params.reward),
            age_ms: wall_ms.saturating_sub(block.header().timestamp_ms),
        });
        self.placed.push((record, origin));
        if self.placed.len() >= MAX_PLACED {
            self.follow(turn)?;
        } else {
            self.timers.hasten(Timer::Follow, turn.now.monotonic_ms);
        }
        Ok(Taken::In)
    }

    /// Moves the end of the order to where the blocks lead that were placed.
    pub(super) fn follow(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        self.timers.cancel(&Timer::Follow);
        let accepted = self.chain.follow(&mut turn.overlay)?;
        let placed = std::mem::take(&mut self.placed);
        let last = placed
            .last()
            .map(|(record, origin)| (record.stream(), *origin));
        for id in std::mem::take(&mut self.chain.disqualified) {
            let own = placed.iter().find(|(record, _)| record.id() == id);
            let own = own.map(|(record, origin)| (record.stream(), *origin));
            let Some((stream, origin)) = own.or(last) else {
                continue;
            };
            turn.notify(Event::BlockRejected {
                id,
                stream,
                origin,
                label: "state_digest",
                reason: format!("block {id} commits to accounts that its past does not lead to"),
            });
        }
        let Accepted::Ordered {
            undone,
            applied,
            abandoned,
        } = accepted
        else {
            return Ok(());
        };
        self.settle_mempool(turn, &undone, &applied)?;
        let tip = self.chain.tip();
        let is_deep = abandoned > usize::from(self.network.params().k);
        // After a restart nobody has been told of the order before.
        if let Some((stream, origin)) = last {
            turn.notify(Event::TipChanged {
                id: tip.id,
                number: tip.number,
                stream,
                origin,
                abandoned: if is_deep { abandoned } else { 0 },
                undone: undone.len(),
                applied: applied.len(),
                transactions: applied
                    .iter()
                    .map(|block| block.body().transactions.len())
                    .sum(),
            });
        }
        if !bug(Bug::TemplateNotRenewed) {
            self.refresh_templates(turn, 0);
        }
        Ok(())
    }

    /// Blocks that have their place and that the order has not followed yet.
    pub fn placed(&self) -> usize {
        self.placed.len()
    }

    fn reject(
        &mut self,
        turn: &mut Turn<'_>,
        block: &Arc<Block>,
        origin: Origin,
        rejected: Rejected,
    ) -> Result<Taken, Fault> {
        let (label, taken) = match &rejected {
            Rejected::Fault(fault) => return Err(fault.clone()),
            Rejected::Known(_) => return Ok(Taken::Not),
            Rejected::Orphan(_) if bug(Bug::OrphanIsFault) => {
                ("orphan", Taken::Broken(rejected.to_string()))
            }
            Rejected::Early { .. } if bug(Bug::EarlyIsFault) => {
                ("early", Taken::Broken(rejected.to_string()))
            }
            Rejected::Orphan(_) => ("orphan", Taken::Orphan),
            Rejected::Early { .. } => ("early", Taken::Not),
            Rejected::Final(_) => ("final", Taken::Not),
            Rejected::Header(_) => ("header", Taken::Broken(rejected.to_string())),
        };
        let (id, stream) = (block.id(), block.header().stream);
        let reason = rejected.to_string();
        turn.notify(Event::BlockRejected {
            id,
            stream,
            origin,
            label,
            reason,
        });
        Ok(taken)
    }

    /// Sends a block to every session that is not known to have it.
    fn pass_on(&mut self, turn: &mut Turn<'_>, block: &Arc<Block>, origin: Origin) {
        // While this node catches up, its news is old.
        if matches!(origin, Origin::Synced(_)) && self.is_behind() {
            return;
        }
        let id = block.id();
        let sessions = self
            .connections
            .greeted()
            .skip(usize::from(bug(Bug::RelaySkipsPeer)));
        let to = self.block_holders.add_all(id, sessions);
        self.push(turn, block, origin, to);
    }

    /// This node has caught up: its peers learn from the end what they may lack.
    pub(super) fn announce_tips(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        self.follow(turn)?;
        for id in self.chain.tip().parents.clone() {
            if id == self.network.id() {
                continue;
            }
            let lacking = self.block_holders.add_all(id, self.connections.greeted());
            if lacking.is_empty() {
                continue;
            }
            let block = turn
                .overlay
                .block(&id)?
                .ok_or_else(|| Fault::missing("block", id))?;
            turn.send_all(lacking, || Message::NewBlock(Arc::clone(block.bytes())));
        }
        Ok(())
    }
}

/// What became of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is stored.
    In,
    /// It waits for its parents.
    Orphan,
    /// It breaks a rule, provably.
    Broken(String),
    /// It is known, or its time has not come.
    Not,
}
