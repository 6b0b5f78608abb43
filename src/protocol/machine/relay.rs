//! Taking blocks and transactions in, and passing them on.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::io::{ConnId, Effect, Event, Origin, Reason, Ticket};
use super::{Machine, Turn};
use crate::protocol::bugs::{Bug, bug};
use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::TransactionId;
use crate::protocol::chain::transaction::{SharedTransaction, Transaction};
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::chain::{Accepted, Rejected};
use crate::protocol::mempool::{AdmissionError, Mempool};
use crate::protocol::time::Time;
use crate::protocol::wire::limits::{
    MAX_GREETING_TRANSACTIONS, MAX_REMINDED, MAX_RETRIED, MAX_TAKEN_BACK,
};
use crate::protocol::wire::message::{Message, Received};

impl Machine {
    /// Whether a message brings a block that this node has, as all but one of its copies do: nothing follows but that the peer has
    /// it as well.
    pub(super) fn is_copy(&mut self, now: Time, conn: ConnId, message: &Received) -> bool {
        let Received::NewBlock(block) = message else {
            return false;
        };
        let id = block.id();
        if self.chain.dag().index(&id).is_none() || bug(Bug::KnownBlockTakenAgain) {
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
        let taken = self.accept(turn, block, origin)?;
        match taken {
            Taken::In => {
                let mut parents = VecDeque::from([block.id()]);
                while let Some(parent) = parents.pop_front() {
                    for (child, origin) in self.orphans.children(&parent) {
                        match self.accept(turn, &child, origin)? {
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
        let id = block.id();
        let disqualified = std::mem::take(&mut self.chain.disqualified);
        let is_good = !disqualified.contains(&id);
        for id in disqualified {
            turn.notify(Event::BlockRejected {
                id,
                stream: block.header().stream,
                origin,
                label: "state_digest",
                reason: format!("block {id} commits to accounts that its past does not lead to"),
            });
        }
        // First to the peers, then to the log.
        if is_good {
            self.pass_on(turn, block, origin);
        }
        let record = turn.overlay.record(&id)?;
        let record = record.ok_or_else(|| Fault::missing("record of block", id))?;
        if matches!(origin, Origin::Relayed(_)) {
            let known = self.chain.tip().number;
            let unknown = known.saturating_sub(record.number + 1);
            self.pace.see(unknown, self.network.params().k);
        }
        let position = turn.overlay.position(&id)?;
        let number = position.unwrap_or(record.number);
        let stream = self.network.stream(block.header().stream);
        turn.notify(Event::BlockAccepted {
            block: Arc::clone(block),
            number,
            origin,
            reward: stream.map_or(0, |stream| stream.params.reward),
            age_ms: wall_ms.saturating_sub(block.header().timestamp_ms),
        });
        if let Accepted::Ordered {
            undone,
            applied,
            abandoned,
        } = accepted
        {
            self.settle_mempool(turn, &undone, &applied)?;
            let tip = self.chain.tip();
            let is_deep = abandoned > usize::from(self.network.params().k);
            turn.notify(Event::TipChanged {
                id: tip.id,
                number: tip.number,
                stream: block.header().stream,
                origin,
                abandoned: if is_deep { abandoned } else { 0 },
                undone: undone.len(),
                applied: applied.len(),
                transactions: applied
                    .iter()
                    .map(|block| block.body().transactions.len())
                    .sum(),
            });
            if !bug(Bug::TemplateNotRenewed) {
                self.refresh_templates(turn, 0);
            }
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
        turn.send_all(to, || Message::NewBlock(Arc::clone(block.bytes())));
    }

    /// This node has caught up: its peers learn from the end what they may lack.
    pub(super) fn announce_tips(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
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

    /// Makes the mempool follow the ledger: what was applied goes, what was undone comes back.
    fn settle_mempool(
        &mut self,
        turn: &mut Turn<'_>,
        undone: &[Arc<Block>],
        applied: &[Arc<Block>],
    ) -> Result<(), Fault> {
        let applied = if bug(Bug::MempoolKeepsApplied) {
            &[]
        } else {
            applied
        };
        let applied = applied.iter().flat_map(|block| &block.body().transactions);
        let senders: BTreeSet<_> = applied
            .clone()
            .map(|transaction| transaction.transfer().sender)
            .collect();
        for sender in senders {
            let account = turn.overlay.account(&sender)?;
            for id in self.mempool.forget_used(&sender, &account) {
                self.release(turn, &id);
            }
        }
        for transaction in applied {
            if self.taken_back.contains_key(&transaction.id()) {
                self.take_back(turn, SharedTransaction::clone(transaction))?;
            }
        }
        // Oldest first, so that a sender's nonces come back in order.
        let undone = undone
            .iter()
            .rev()
            .flat_map(|block| &block.body().transactions);
        for transaction in undone {
            if !bug(Bug::ReorganisationDropsTransactions) {
                self.take_back(turn, SharedTransaction::clone(transaction))?;
            }
        }
        self.retry_taken_back(turn)
    }

    /// Offers the mempool some of what it did not take before, others each time.
    fn retry_taken_back(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let after = (Excluded(self.retried), Unbounded);
        let some: Vec<_> = self
            .taken_back
            .range(after)
            .take(MAX_RETRIED)
            .map(|(id, transaction)| (*id, SharedTransaction::clone(transaction)))
            .collect();
        // At the end it starts again.
        self.retried = match some.last() {
            Some((id, _)) if some.len() == MAX_RETRIED => *id,
            _ => TransactionId::default(),
        };
        for (_, transaction) in some {
            self.take_back(turn, transaction)?;
        }
        Ok(())
    }

    /// Lets a transaction wait again that a block had applied, unless another block has applied it since: its sender's nonce tells.
    /// A user may have been told that it waits: it must survive a restart all the same.
    fn take_back(
        &mut self,
        turn: &mut Turn<'_>,
        transaction: SharedTransaction,
    ) -> Result<(), Fault> {
        self.taken_back.remove(&transaction.id());
        let account = turn.overlay.account(&transaction.transfer().sender)?;
        match self
            .mempool
            .admit(SharedTransaction::clone(&transaction), &account)
        {
            Ok(_) => {
                // Peers from the other side of a cut never had the block that is undone.
                self.offer(turn, &transaction);
                self.retain(turn, transaction);
            }
            Err(AdmissionError::Known(_)) => self.retain(turn, transaction),
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
        self.transaction_holders.add(id, conn);
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
        let answer = Effect::Answer { ticket, result };
        match &answer {
            Effect::Answer { result: Ok(_), .. } if !bug(Bug::AnswerBeforeDisk) => {
                turn.after.push(answer)
            }
            // A refusal promises nothing.
            _ => turn.out.push(answer),
        }
        Ok(())
    }

    /// Takes a transaction into the mempool and passes it on.
    fn admit(
        &mut self,
        turn: &mut Turn<'_>,
        transaction: SharedTransaction,
    ) -> Result<Result<(), AdmissionError>, Fault> {
        let id = transaction.id();
        if self.mempool.contains(&id) {
            // As often as there are peers: nothing is read from disk for it.
            return Ok(Err(AdmissionError::Known(id)));
        }
        let account = turn.overlay.account(&transaction.transfer().sender)?;
        let admitted = match self
            .mempool
            .admit(SharedTransaction::clone(&transaction), &account)
        {
            Ok(admitted) => admitted,
            Err(error) => return Ok(Err(error)),
        };
        for id in &admitted.evicted {
            self.release(turn, id);
        }
        self.offer(turn, &transaction);
        if let Some(replaced) = &admitted.replaced
            && self.own.contains(replaced)
        {
            // What a user was promised is that this nonce gets through.
            self.release(turn, replaced);
            self.retain(turn, transaction);
        }
        self.refresh_templates(turn, self.config.template_delay_ms);
        Ok(Ok(()))
    }

    /// Sends a transaction to every session that is not known to have it.
    fn offer(&mut self, turn: &mut Turn<'_>, transaction: &Transaction) {
        let id = transaction.id();
        let sessions = self.connections.greeted();
        let to = self.transaction_holders.add_all(id, sessions);
        turn.send_all(to, || {
            Message::NewTransaction(transaction.to_bytes().into())
        });
    }

    /// Sends a session some of this node's own submissions again, others each time: a peer may have refused one for a moment, as
    /// while its ledger was behind, and would never hear of it again.
    pub(super) fn remind(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let mut from = TransactionId::default();
        self.rng.fill(&mut from.0);
        let (before, after) = (self.own.range(..from), self.own.range(from..));
        let waiting = after.chain(before).filter_map(|id| self.mempool.get(id));
        for transaction in waiting.take(MAX_REMINDED) {
            let bytes = transaction.to_bytes().into();
            turn.send(conn, Message::NewTransaction(bytes));
        }
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
        for transaction in Mempool::iter(&self.mempool).take(MAX_GREETING_TRANSACTIONS) {
            if self.transaction_holders.add(transaction.id(), conn) {
                let bytes = Arc::from(transaction.to_bytes());
                turn.send_all(vec![conn], || Message::NewTransaction(bytes));
            }
        }
        Ok(())
    }

    /// Restores own submissions that wait since before a restart.
    pub(super) fn restore_pending(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let mut pending = turn.overlay.pending()?;
        pending.retain(|_| !bug(Bug::RestartForgetsPending));
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
