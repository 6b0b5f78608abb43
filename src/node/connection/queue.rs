//! What waits to be written to a peer. Transactions wait behind everything else: a flood of them does not delay blocks.

use std::future::poll_fn;
use std::task::Poll;

use tokio::sync::mpsc;

use super::{Class, Outgoing};
use crate::protocol::bugs::{Defence, lacks};

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
    let others = match lacks(Defence::QueueLimits) {
        true => 1 << 20,
        false => OTHERS,
    };
    let (others, first) = mpsc::channel(others);
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
        let queue = match outgoing.class() {
            Class::Transactions => &self.transactions,
            Class::Needed | Class::Announcement => &self.others,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Frame, Outgoing, Outlet, Traffic};
    use super::channel;
    use crate::node::memory::{Ceilings, MIN_PEER_BYTES, Pool, Share};
    use crate::protocol::chain::id::{BlockId, TransactionId};
    use crate::protocol::wire::message::Message;

    fn outgoing(message: &Message) -> Outgoing {
        Outgoing::Frame(Frame::new(message))
    }

    #[tokio::test]
    async fn what_is_announced_is_left_out_before_a_block_is() {
        let (queue, mut taken) = channel();
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        let (kept, _handshake) = tokio::sync::oneshot::channel();
        let ceilings = Ceilings {
            node_bytes: 1 << 30,
            peer_bytes: MIN_PEER_BYTES + (8 << 20),
            peers_bytes: 1 << 29,
        };
        let pool = Pool::new(ceilings);
        let queue_bytes = ceilings.queue_bytes();
        let outlet = Outlet {
            queue,
            share: Share::new(&pool),
            traffic: Arc::new(Traffic::default()),
            task,
            _kept: kept,
        };
        let news = [
            Message::AnnounceTransactions {
                ids: vec![TransactionId::default()],
            },
            Message::RequestTransactions {
                ids: vec![TransactionId::default()],
            },
            Message::NewTransaction(vec![0; 153].into()),
            Message::AnnounceBlock {
                id: BlockId::default(),
            },
        ];
        let block = Message::NewBlock(vec![0; 1 << 20].into());
        for message in &news {
            assert!(outlet.send(outgoing(message)));
        }
        let before = outlet.queued_bytes();
        let mut blocks = 0;
        // Half is full: what may be left out is, and the connection goes on.
        while outlet.queued_bytes() as usize <= queue_bytes / 2 {
            assert!(outlet.send(outgoing(&block)));
            blocks += 1;
        }
        let queued = outlet.queued_bytes();
        for message in &news {
            assert!(outlet.send(outgoing(message)));
        }
        assert_eq!(outlet.queued_bytes(), queued);
        // Blocks still fit, until all is full: then the peer is lost.
        while outlet.send(outgoing(&block)) {
            blocks += 1;
        }
        assert_eq!(
            blocks,
            (queue_bytes - before as usize) / outgoing(&block).bytes()
        );
        assert!(outlet.queued_bytes() as usize <= queue_bytes);
        // All blocks come before the news of transactions, and what came first is there.
        drop(outlet);
        let mut kinds = Vec::new();
        while let Some(Outgoing::Frame(frame)) = taken.recv().await {
            kinds.push(frame.kind);
        }
        let mut wanted = vec![news[3].kind()];
        wanted.extend(std::iter::repeat_n(block.kind(), blocks));
        wanted.extend(news[..3].iter().map(Message::kind));
        assert_eq!(kinds, wanted);
    }
}
