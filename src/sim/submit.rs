//! What users of simulated nodes do: they hand in transactions and wait for the answer.

use super::check::Violation;
use super::world::World;
use crate::protocol::chain::id::{AccountId, TransactionId};
use crate::protocol::chain::transaction::SharedTransaction;
use crate::protocol::machine::io::{Input, Ticket};
use crate::protocol::mempool::AdmissionError;

impl World {
    /// Hands a transaction to a node; `None` if it is down. [`World::answer`] tells what it says, once it does.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn submit(
        &mut self,
        node: usize,
        transaction: SharedTransaction,
    ) -> Result<Option<Ticket>, Violation> {
        if self.members[node].machine.is_none() {
            return Ok(None);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.feed(
            node,
            Input::Submitted {
                ticket,
                transaction,
            },
        )?;
        Ok(Some(ticket))
    }

    /// The answer to a submission, once it is durable.
    pub fn answer(&self, ticket: Ticket) -> Option<&Result<TransactionId, AdmissionError>> {
        self.answers.get(&ticket)
    }

    /// What waits in a node's mempool; `None` if it is down.
    pub fn mempool(&self, node: usize) -> Option<Vec<TransactionId>> {
        let machine = self.members[node].machine.as_ref()?;
        Some(machine.machine().mempool().ids().collect())
    }

    /// The nonce that the next transfer of an account should have, as a node sees it; `None` if it is down.
    pub fn next_nonce(&self, node: usize, account: &AccountId) -> Option<u64> {
        let machine = self.members[node].machine.as_ref()?;
        let state = self.account(node, account);
        Some(machine.machine().mempool().next_nonce(account, &state))
    }
}
