//! Taking blocks and transactions in, and passing them on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::io::{ConnId, Effect, Event, Origin, Reason, Ticket};
use super::{Machine, Turn};
use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::{BlockId, TransactionId};
use crate::protocol::chain::transaction::SharedTransaction;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::chain::{Accepted, Rejected};
use crate::protocol::mempool::{AdmissionError, Mempool};
use crate::protocol::wire::limits::{
    MAX_GREETING_TRANSACTIONS, MAX_ORPHAN_BYTES, MAX_ORPHANS, MAX_TAKEN_BACK,
};
use crate::protocol::wire::message::Message;

/// Of a reorganisation, as many of the newest blocks are passed on: peers that lack more ask for it.
const MAX_RELAYED: usize = 16;

/// Blocks whose parents are unknown, until those arrive. The oldest makes room.
#[derive(Clone, Debug, Default)]
pub(super) struct Orphans {
    blocks: BTreeMap<BlockId, (Arc<Block>, Origin)>,
    order: VecDeque<BlockId>,
    bytes: usize,
}

impl Orphans {
    fn insert(&mut self, block: Arc<Block>, origin: Origin) {
        let (id, bytes) = (block.id(), block.bytes().len());
        if bytes > MAX_ORPHAN_BYTES || self.blocks.contains_key(&id) {
            return;
        }
        while self.blocks.len() >= MAX_ORPHANS || self.bytes + bytes > MAX_ORPHAN_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.take(&oldest);
        }
        self.bytes += bytes;
        self.blocks.insert(id, (block, origin));
        self.order.push_back(id);
    }

    fn take(&mut self, id: &BlockId) -> Option<(Arc<Block>, Origin)> {
        let (block, origin) = self.blocks.remove(id)?;
        self.bytes -= block.bytes().len();
        self.order.retain(|other| other != id);
        Some((block, origin))
    }

    /// Takes those that have `parent` among their parents.
    fn children(&mut self, parent: &BlockId) -> Vec<(Arc<Block>, Origin)> {
        let has = |block: &Block| block.heading().parents().contains(parent);
        let ids: Vec<_> = self
            .blocks
            .iter()
            .filter(|(_, (block, _))| has(block))
            .map(|(id, _)| *id)
            .collect();
        ids.iter().filter_map(|id| self.take(id)).collect()
    }
}

impl Machine {
    pub(super) fn new_block(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        block: Arc<Block>,
    ) -> Result<(), Fault> {
        let Some(session) = self.connections.session(conn) else {
            return Ok(());
        };
        session.blocks.insert(block.id());
        let origin = Origin::Relayed(session.key);
        match self.take_block(turn, block, origin)? {
            Taken::Orphan => {
                if let Some(session) = self.connections.session(conn) {
                    session.is_ahead = true;
                }
                self.seek_better(turn)
            }
            Taken::Broken(reason) => {
                self.disconnect(turn, conn, Reason::Fault(reason));
                Ok(())
            }
            Taken::In | Taken::Not => Ok(()),
        }
    }

    /// Takes a block in, and the orphans that waited for it, and passes on what is new in the order.
    pub(super) fn take_block(
        &mut self,
        turn: &mut Turn<'_>,
        block: Arc<Block>,
        origin: Origin,
    ) -> Result<Taken, Fault> {
        let taken = self.accept(turn, &block, origin)?;
        match taken {
            Taken::In => {
                let mut parents = VecDeque::from([block.id()]);
                while let Some(parent) = parents.pop_front() {
                    for (child, origin) in self.orphans.children(&parent) {
                        if self.accept(turn, &child, origin)? == Taken::In {
                            parents.push_back(child.id());
                        }
                    }
                }
            }
            Taken::Orphan => self.orphans.insert(block, origin),
            Taken::Broken(_) | Taken::Not => {}
        }
        Ok(taken)
    }

    fn accept(
        &mut self,
        turn: &mut Turn<'_>,
        block: &Arc<Block>,
        origin: Origin,
    ) -> Result<Taken, Fault> {
        let wall_ms = turn.now.wall_ms;
        let accepted = match self.chain.accept(block, wall_ms, &mut turn.overlay) {
            Ok(accepted) => accepted,
            Err(rejected) => return self.reject(turn, block, origin, rejected),
        };
        let record = turn.overlay.record(&block.id())?;
        let number = record.map_or(0, |record| record.number);
        let stream = self.network.stream(block.header().stream);
        let reward = stream.map_or(0, |stream| stream.params.reward);
        let age_ms = wall_ms.saturating_sub(block.header().timestamp_ms);
        let accepted_event = Event::BlockAccepted {
            block: Arc::clone(block),
            number,
            origin,
            reward,
            age_ms,
        };
        // First to the peers, then to the log.
        if let Accepted::Selected { applied, .. } = &accepted {
            self.pass_on(turn, applied, origin);
        }
        turn.notify(accepted_event);
        if let Accepted::Selected { undone, applied } = accepted {
            self.settle_mempool(turn, &undone, &applied)?;
            let tip = self.chain.tip();
            turn.notify(Event::TipChanged {
                id: tip.id,
                number: tip.number,
                stream: block.header().stream,
                origin,
                undone: undone.len(),
                applied: applied.len(),
                transactions: applied
                    .iter()
                    .map(|block| block.body().transactions.len())
                    .sum(),
            });
            self.refresh_templates(turn, 0);
        }
        Ok(Taken::In)
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
            Rejected::Orphan(_) => ("orphan", Taken::Orphan),
            Rejected::Early { .. } => ("early", Taken::Not),
            Rejected::Header(_) => ("header", Taken::Broken(rejected.to_string())),
            Rejected::StateDigest(_) => ("state_digest", Taken::Broken(rejected.to_string())),
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

    /// Sends blocks that joined the order to every session that is not known to have them.
    fn pass_on(&mut self, turn: &mut Turn<'_>, applied: &[Arc<Block>], origin: Origin) {
        // While this node catches up, its news is old.
        if matches!(origin, Origin::Synced(_)) && self.sync_remaining() > 0 {
            return;
        }
        for block in &applied[applied.len().saturating_sub(MAX_RELAYED)..] {
            let id = block.id();
            let lacks = |session: &mut super::sessions::Session| session.blocks.insert(id);
            let to = self.sessions_where(lacks);
            turn.send_all(to, || Message::NewBlock(Arc::clone(block.bytes())));
        }
    }

    fn sessions_where(
        &mut self,
        mut wanted: impl FnMut(&mut super::sessions::Session) -> bool,
    ) -> Vec<ConnId> {
        let sessions = self.connections.0.iter_mut();
        sessions
            .filter_map(|(conn, connection)| Some((*conn, connection.session.as_mut()?)))
            .filter_map(|(conn, session)| wanted(session).then_some(conn))
            .collect()
    }

    /// Makes the mempool follow the ledger: what was applied goes, what was undone comes back.
    fn settle_mempool(
        &mut self,
        turn: &mut Turn<'_>,
        undone: &[Arc<Block>],
        applied: &[Arc<Block>],
    ) -> Result<(), Fault> {
        let mut senders = BTreeSet::new();
        for transaction in applied.iter().flat_map(|block| &block.body().transactions) {
            let id = transaction.id();
            senders.insert(transaction.transfer().sender);
            // One that was skipped may be applied by a later block.
            if turn.overlay.transaction(&id)?.is_some() {
                self.mempool.remove(&id);
                self.taken_back.remove(&id);
                self.release(turn, &id);
            }
        }
        for sender in senders {
            let account = turn.overlay.account(&sender)?;
            for id in self.mempool.forget_used(&sender, &account) {
                self.release(turn, &id);
            }
        }
        // Oldest first, so that a sender's nonces come back in order.
        let undone = undone
            .iter()
            .rev()
            .flat_map(|block| &block.body().transactions);
        let earlier = std::mem::take(&mut self.taken_back).into_values();
        for transaction in earlier.chain(undone.map(Arc::clone)).collect::<Vec<_>>() {
            if turn.overlay.transaction(&transaction.id())?.is_none() {
                self.take_back(turn, transaction)?;
            }
        }
        Ok(())
    }

    /// Lets a transaction wait again that a block had applied. A user may have been told so: it must survive a restart all the
    /// same.
    fn take_back(
        &mut self,
        turn: &mut Turn<'_>,
        transaction: SharedTransaction,
    ) -> Result<(), Fault> {
        let account = turn.overlay.account(&transaction.transfer().sender)?;
        match self
            .mempool
            .admit(SharedTransaction::clone(&transaction), &account)
        {
            Ok(_) | Err(AdmissionError::Known(_)) => self.retain(turn, transaction),
            Err(AdmissionError::Used { .. } | AdmissionError::Replacement { .. }) => {
                self.release(turn, &transaction.id());
            }
            Err(_) if self.taken_back.len() < MAX_TAKEN_BACK => {
                self.taken_back
                    .insert(transaction.id(), SharedTransaction::clone(&transaction));
                self.retain(turn, transaction);
            }
            Err(_) => self.release(turn, &transaction.id()),
        }
        Ok(())
    }

    pub(super) fn new_transaction(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        transaction: SharedTransaction,
    ) -> Result<(), Fault> {
        let id = transaction.id();
        if let Some(session) = self.connections.session(conn) {
            session.transactions.insert(id);
        }
        match self.admit(turn, transaction)? {
            Ok(()) => turn.notify(Event::TransactionAdmitted { id, own: false }),
            Err(AdmissionError::Known(_)) => {}
            Err(error) => turn.notify(Event::TransactionRefused {
                label: error.label(),
            }),
        }
        Ok(())
    }

    pub(super) fn submitted(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        transaction: SharedTransaction,
    ) -> Result<(), Fault> {
        let id = transaction.id();
        let result = match self.admit(turn, SharedTransaction::clone(&transaction))? {
            // Handing in twice what waits already, or was applied, is no error: the user wants it to be there.
            Ok(()) | Err(AdmissionError::Known(_)) => {
                self.retain(turn, transaction);
                turn.notify(Event::TransactionAdmitted { id, own: true });
                Ok(id)
            }
            Err(AdmissionError::Used { .. }) if turn.overlay.transaction(&id)?.is_some() => Ok(id),
            Err(error) => {
                turn.notify(Event::TransactionRefused {
                    label: error.label(),
                });
                Err(error)
            }
        };
        turn.after.push(Effect::Answer { ticket, result });
        Ok(())
    }

    /// Takes a transaction into the mempool and passes it on.
    fn admit(
        &mut self,
        turn: &mut Turn<'_>,
        transaction: SharedTransaction,
    ) -> Result<Result<(), AdmissionError>, Fault> {
        let account = turn.overlay.account(&transaction.transfer().sender)?;
        let id = transaction.id();
        let bytes = transaction.to_bytes();
        let admitted = match self.mempool.admit(transaction, &account) {
            Ok(admitted) => admitted,
            Err(error) => return Ok(Err(error)),
        };
        for id in admitted.removed {
            self.release(turn, &id);
        }
        let to = self.sessions_where(|session| session.transactions.insert(id));
        turn.send_all(to, || Message::NewTransaction(Arc::from(bytes)));
        self.refresh_templates(turn, self.config.template_delay_ms);
        Ok(Ok(()))
    }

    /// Keeps a transaction on disk for as long as it waits.
    fn retain(&mut self, turn: &mut Turn<'_>, transaction: SharedTransaction) {
        self.own.insert(transaction.id());
        turn.overlay
            .batch
            .pending
            .insert(transaction.id(), Some(transaction));
    }

    /// Takes a transaction off the disk, if it was kept there.
    fn release(&mut self, turn: &mut Turn<'_>, id: &TransactionId) {
        if self.own.remove(id) {
            turn.overlay.batch.pending.insert(*id, None);
        }
    }

    /// Sends a new session what waits, so that a transaction submitted while both were apart gets through.
    pub(super) fn greet(&mut self, turn: &mut Turn<'_>, conn: ConnId) -> Result<(), Fault> {
        let Some(session) = self.connections.session(conn) else {
            return Ok(());
        };
        for transaction in Mempool::iter(&self.mempool).take(MAX_GREETING_TRANSACTIONS) {
            if session.transactions.insert(transaction.id()) {
                let bytes = Arc::from(transaction.to_bytes());
                turn.send_all(vec![conn], || Message::NewTransaction(bytes));
            }
        }
        Ok(())
    }

    /// Restores own submissions that wait since before a restart.
    pub(super) fn restore_pending(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let mut pending = turn.overlay.pending()?;
        pending.sort_by_key(|transaction| transaction.transfer().nonce);
        for transaction in pending {
            let id = transaction.id();
            let account = turn.overlay.account(&transaction.transfer().sender)?;
            self.own.insert(id);
            if self.mempool.admit(transaction, &account).is_err() {
                self.release(turn, &id);
            }
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
