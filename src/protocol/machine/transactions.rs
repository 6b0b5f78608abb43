//! Taking transactions in, passing them on, and keeping the mempool in step with the ledger.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::io::{ConnId, Effect, Event, Ticket};
use super::{Machine, Turn};
use crate::protocol::bugs::{Bug, bug};
use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::TransactionId;
use crate::protocol::chain::transaction::SharedTransaction;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::mempool::AdmissionError;
use crate::protocol::wire::limits::{MAX_RETRIED, MAX_TAKEN_BACK};

impl Machine {
    /// Makes the mempool follow the ledger: what was applied goes, what was undone comes back.
    pub(super) fn settle_mempool(
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
            // Nobody who has this block has it waiting, to be asked for.
            self.transaction_arrived(turn, &transaction.id());
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
                self.offer(turn, &transaction, false);
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
        self.transaction_arrived(turn, &id);
        match self.admit(turn, transaction, false)? {
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
        let result = match self.admit(turn, SharedTransaction::clone(&transaction), true)? {
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
        own: bool,
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
        self.offer(turn, &transaction, own);
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
