//! What waits to be written to a peer. Transactions wait behind everything else: a flood of them does not delay blocks.

use std::future::poll_fn;
use std::task::Poll;

use tokio::sync::mpsc;

use super::Outgoing;

/// Transactions that wait: a greeting, and a second of 5,000 behind it.
const TRANSACTIONS: usize = 8_192;

/// Everything else that waits: some seconds of blocks, and requests.
const OTHERS: usize = 1_024;

/// All that waits.
pub(super) const MOST: usize = TRANSACTIONS + OTHERS;

/// The end into which the driver puts.
#[derive(Debug)]
pub(super) struct Sender {
    others: mpsc::Sender<Outgoing>,
    transactions: mpsc::Sender<Outgoing>,
}

/// The end from which the connection writes.
#[derive(Debug)]
pub(super) struct Receiver {
    others: mpsc::Receiver<Outgoing>,
    transactions: mpsc::Receiver<Outgoing>,
    is_open: bool,
}

pub(super) fn channel() -> (Sender, Receiver) {
    let (others, first) = mpsc::channel(OTHERS);
    let (transactions, second) = mpsc::channel(TRANSACTIONS);
    let sender = Sender {
        others,
        transactions,
    };
    let receiver = Receiver {
        others: first,
        transactions: second,
        is_open: true,
    };
    (sender, receiver)
}

impl Sender {
    /// False if there is no room.
    pub(super) fn send(&self, outgoing: Outgoing) -> bool {
        let queue = match outgoing.is_transaction() {
            true => &self.transactions,
            false => &self.others,
        };
        !matches!(
            queue.try_send(outgoing),
            Err(mpsc::error::TrySendError::Full(_))
        )
    }
}

impl Receiver {
    /// Takes at most `limit`, of one kind. None, once the other end is gone and everything was taken.
    pub(super) async fn recv_many(&mut self, taken: &mut Vec<Outgoing>, limit: usize) -> usize {
        poll_fn(|context| {
            if self.is_open {
                match self.others.poll_recv_many(context, taken, limit) {
                    Poll::Ready(0) => self.is_open = false,
                    Poll::Ready(count) => return Poll::Ready(count),
                    Poll::Pending => {}
                }
            }
            match self.transactions.poll_recv_many(context, taken, limit) {
                // The other one is closed in the same moment, or has something.
                Poll::Ready(0) if self.is_open => Poll::Pending,
                polled => polled,
            }
        })
        .await
    }

    /// Takes one.
    pub(super) async fn recv(&mut self) -> Option<Outgoing> {
        let mut taken = Vec::with_capacity(1);
        self.recv_many(&mut taken, 1).await;
        taken.pop()
    }
}
