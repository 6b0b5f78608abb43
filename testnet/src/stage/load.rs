//! Hands signed transfers to the nodes, in turn.

use std::collections::VecDeque;
use std::time::Duration;

use triskel::protocol::chain::id::TransactionId;
use triskel::protocol::chain::transaction::{TRANSACTION_BYTES, Transfer};

use super::{Failure, Run};
use crate::journal::Clock;
use crate::network::{Access, CallError, TransactionState};

/// How many transfers one node is handed between two looks at the network.
const BATCH: usize = 20;

/// What a transfer moves and pays, in units. Both are small beside [`crate::plan::ENDOWMENT`].
const AMOUNT: u64 = 1_000;
const FEE: u64 = 10;

/// The transfers of a run: transfer k is handed to honest node k mod N by sender k mod N, whose nonces rise by one.
#[derive(Debug)]
pub struct Load {
    /// All of them.
    pub ids: Vec<TransactionId>,
    /// Those that are still to be handed in, by node.
    waiting: Vec<VecDeque<Signed>>,
    /// The last refusal.
    complaint: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Signed {
    id: TransactionId,
    bytes: [u8; TRANSACTION_BYTES],
}

/// What became of a batch.
struct Handed {
    /// Those that were taken, with the time at which they were handed in.
    accepted: Vec<(TransactionId, Duration)>,
    complaint: Option<String>,
}

impl Load {
    /// Signs all transfers. The first node that is up is asked for the network's id, which the signatures cover.
    pub async fn plan(run: &Run) -> Result<Self, Failure> {
        let plan = &run.plan;
        let mut load = Self {
            ids: Vec::new(),
            waiting: vec![VecDeque::new(); plan.nodes.len()],
            complaint: None,
        };
        if plan.senders.is_empty() {
            return Ok(load);
        }
        let silent = |error| Failure::Verdict(format!("the network's id is not known: {error}"));
        let network = run.network.id().await.map_err(silent)?;
        let senders = plan.senders.len();
        let nodes = plan.nodes.iter().enumerate();
        let honest = nodes.filter(|(_, node)| node.role.is_honest());
        let honest: Vec<_> = honest.map(|(node, _)| node).collect();
        for index in 0..plan.scenario.transfers as usize {
            let keys = &plan.senders[index % senders];
            let transfer = Transfer {
                sender: keys.public(),
                recipient: plan.senders[(index + 1) % senders].public(),
                amount: AMOUNT,
                fee: FEE,
                nonce: (index / senders) as u64,
            };
            let transaction = transfer.sign(&network, keys);
            load.ids.push(transaction.id());
            let bytes = transaction.to_bytes();
            let id = transaction.id();
            load.waiting[honest[index % senders]].push_back(Signed { id, bytes });
        }
        Ok(load)
    }

    /// Hands the next few to each node. Those that a node does not take now are handed in again the next time.
    pub async fn advance(&mut self, run: &mut Run) {
        if self.is_done() {
            return;
        }
        let batch = |node: usize| -> Vec<Signed> {
            // One that is down takes them when it is back.
            let take = if run.network.is_absent(node) {
                0
            } else {
                BATCH
            };
            self.waiting[node].iter().take(take).copied().collect()
        };
        let clock = run.journal.clock();
        let hand = |node, access| hand_in(access, batch(node), clock.clone());
        let answers = run.network.each(hand).await;
        for (node, (waiting, handed)) in self.waiting.iter_mut().zip(answers).enumerate() {
            waiting.drain(..handed.accepted.len());
            run.transfers.submitted += handed.accepted.len() as u64;
            for (id, sent) in handed.accepted {
                // Each waits for the answer to the one before: it is due when it is sent.
                run.journal.submitted(&id, node, sent, sent);
            }
            if handed.complaint.is_some() {
                self.complaint = handed.complaint;
            }
        }
    }

    /// Whether all were accepted.
    pub fn is_done(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty)
    }

    /// Why some were not accepted yet, if a node said so.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref().filter(|_| !self.is_done())
    }
}

/// In the order of their nonces, up to the first that is not taken.
async fn hand_in(access: Access, batch: Vec<Signed>, clock: Clock) -> Handed {
    let mut handed = Handed {
        accepted: Vec::new(),
        complaint: None,
    };
    for transfer in batch {
        let sent = clock.now();
        if let Err(error) = access.submit(&transfer.bytes).await
            && !was_taken_before(&access, transfer.id).await
        {
            handed.complaint = Some(complaint(error));
            break;
        }
        handed.accepted.push((transfer.id, sent));
    }
    handed
}

/// A node may take a transfer and the answer be lost: handed in again, it is refused as known or used.
async fn was_taken_before(access: &Access, id: TransactionId) -> bool {
    matches!(
        access.transaction(id).await,
        Ok(TransactionState::Waiting | TransactionState::Applied)
    )
}

fn complaint(error: CallError) -> String {
    match error {
        CallError::Refused(why) => format!("refused: {why}"),
        other => other.to_string(),
    }
}
