//! The checker: a thread that checks the signatures of single transactions, beside the loop that serves everything else.
//!
//! A signature costs nearly as much as all that is done with the transaction afterwards (35 to 70 µs). On the loop, a flood of
//! transactions would delay blocks by its length; here it delays itself alone, and what does not fit any more is not taken.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::memory::Fact;
use crate::protocol::chain::id::TransactionId;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::transaction::{SharedTransaction, Transaction, TransactionError};
use crate::protocol::machine::io::{ConnId, Input};
use crate::protocol::wire::limits::{MAX_ASKED_OF_PEER, MAX_MEMPOOL_TRANSACTIONS};
use crate::protocol::wire::message::Received;

/// Transactions of peers that wait: a quarter of a second of work. What comes in a flood beyond that is not missed: it comes again,
/// at the latest in a block.
const OF_PEERS: usize = 4_096;

/// Transactions of users that wait; who brings more waits too.
const OF_USERS: usize = 256;

/// Taken at once from either side, in turn.
const TURN: usize = 64;

/// Transactions of peers that are handed on together, half a millisecond's worth: each hand-over wakes the loop that serves
/// everything else.
const HANDED_ON: usize = 16;

type Checked = Result<SharedTransaction, TransactionError>;

struct OfUser {
    bytes: Vec<u8>,
    reply: oneshot::Sender<Checked>,
}

struct OfPeer {
    conn: ConnId,
    bytes: Arc<[u8]>,
}

/// How many transactions of each peer wait: nobody takes all the room, whether it was asked for them or not.
#[derive(Default)]
struct Shares(Mutex<BTreeMap<ConnId, usize>>);

impl Shares {
    /// False if the peer's share is used up.
    fn take(&self, conn: ConnId) -> bool {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares.entry(conn).or_default();
        let has_room = *share < MAX_ASKED_OF_PEER;
        *share += usize::from(has_room);
        has_room
    }

    fn give_back(&self, conn: ConnId) {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut share) = shares.entry(conn) {
            *share.get_mut() -= 1;
            if *share.get() == 0 {
                share.remove();
            }
        }
    }
}

/// The way to the checker, and what it has found good.
pub(super) struct Checker {
    users: mpsc::Sender<OfUser>,
    peers: mpsc::Sender<OfPeer>,
    shares: Arc<Shares>,
    known: Arc<Known>,
}

impl Checker {
    /// Starts the thread, which ends when nobody can reach it any more. What it finds good of peers, or wrong, goes to `inputs`.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(
        network: Arc<Network>,
        inputs: mpsc::Sender<Fact>,
    ) -> std::io::Result<Arc<Self>> {
        let (users, of_users) = mpsc::channel(OF_USERS);
        let (peers, of_peers) = mpsc::channel(OF_PEERS);
        let known = Arc::new(Known::default());
        let shares = Arc::new(Shares::default());
        let work = Work {
            network,
            known: Arc::clone(&known),
            shares: Arc::clone(&shares),
            inputs,
        };
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("checker".to_owned())
            .spawn(move || runtime.block_on(work.run(of_users, of_peers)))?;
        Ok(Arc::new(Self {
            users,
            peers,
            shares,
            known,
        }))
    }

    /// Checks a user's transaction. `None` if the node ends meanwhile.
    pub(super) async fn check(&self, bytes: Vec<u8>) -> Option<Checked> {
        let (reply, answer) = oneshot::channel();
        self.users.send(OfUser { bytes, reply }).await.ok()?;
        answer.await.ok()
    }

    /// Has a peer's transaction checked. False if there is no room for it, or for more of this peer.
    pub(super) fn offer(&self, conn: ConnId, bytes: Arc<[u8]>) -> bool {
        if !self.shares.take(conn) {
            return false;
        }
        let offered = self.peers.try_send(OfPeer { conn, bytes });
        if offered.is_err() {
            self.shares.give_back(conn);
        }
        !matches!(offered, Err(mpsc::error::TrySendError::Full(_)))
    }

    /// Whether a transaction's signature was checked: a block that brings it again is not kept waiting by that.
    pub(super) fn knows(&self, id: &TransactionId) -> bool {
        self.known.contains(id)
    }
}

/// What the thread has.
struct Work {
    network: Arc<Network>,
    known: Arc<Known>,
    shares: Arc<Shares>,
    inputs: mpsc::Sender<Fact>,
}

impl Work {
    async fn run(self, mut users: mpsc::Receiver<OfUser>, mut peers: mpsc::Receiver<OfPeer>) {
        let (mut of_users, mut of_peers) = (Vec::with_capacity(TURN), Vec::with_capacity(TURN));
        loop {
            // In random order: neither side can keep the other waiting.
            tokio::select! {
                count = users.recv_many(&mut of_users, TURN) => {
                    if count == 0 {
                        return;
                    }
                    for OfUser { bytes, reply } in of_users.drain(..) {
                        // Whoever asked may have gone.
                        reply.send(self.check(&bytes)).ok();
                    }
                }
                _ = peers.recv_many(&mut of_peers, TURN) => {
                    for some in of_peers.chunks(HANDED_ON) {
                        let checked: Vec<_> = some.iter().map(|one| self.check_of_peer(one)).collect();
                        for input in checked {
                            if self.inputs.send(input.into()).await.is_err() {
                                return;
                            }
                        }
                    }
                    of_peers.clear();
                }
            }
        }
    }

    fn check_of_peer(&self, OfPeer { conn, bytes }: &OfPeer) -> Input {
        let conn = *conn;
        self.shares.give_back(conn);
        match self.check(bytes) {
            Ok(transaction) => {
                let message = Received::NewTransaction(transaction);
                Input::Message { conn, message }
            }
            Err(error) => Input::Malformed {
                conn,
                error: error.into(),
            },
        }
    }

    fn check(&self, bytes: &[u8]) -> Checked {
        let is_known = |id: &TransactionId| self.known.contains(id);
        let transaction = Transaction::decode_knowing(bytes, &self.network.id(), &is_known)?;
        self.known.add(transaction.id());
        Ok(Arc::new(transaction))
    }
}

/// Ids of transactions whose signature was checked. They name the signatures too. The oldest are forgotten.
#[derive(Default)]
struct Known(Mutex<[BTreeSet<TransactionId>; 2]>);

impl Known {
    fn contains(&self, id: &TransactionId) -> bool {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.iter().any(|ids| ids.contains(id))
    }

    fn add(&self, id: TransactionId) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *generations;
        if young.len() == MAX_MEMPOOL_TRANSACTIONS {
            *old = std::mem::take(young);
        }
        young.insert(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::chain::key::KeyPair;
    use crate::protocol::chain::params::Params;
    use crate::protocol::chain::transaction::Transfer;

    #[tokio::test]
    async fn a_flood_is_taken_as_far_as_there_is_room() {
        let network = Arc::new(Network::new(Params::chain()).unwrap());
        // The driver takes nothing in.
        let (inputs, mut taken) = mpsc::channel(1);
        let checker = Checker::start(Arc::clone(&network), inputs).unwrap();
        let keys = KeyPair::from_seed(b"sender");
        let transfer = Transfer {
            sender: keys.public(),
            recipient: keys.public(),
            amount: 1,
            fee: 1,
            nonce: 0,
        };
        let bytes: Arc<[u8]> = transfer.sign(&network.id(), &keys).to_bytes().into();
        // One peer has its share, and all of them together what there is room for.
        let flood = |conn| {
            let offers = 0..2 * MAX_ASKED_OF_PEER;
            let offers = offers.map(|_| checker.offer(ConnId(conn), Arc::clone(&bytes)));
            offers.filter(|fits| *fits).count()
        };
        let taken_at_once = TURN + HANDED_ON;
        let share = MAX_ASKED_OF_PEER..=MAX_ASKED_OF_PEER + taken_at_once;
        let mut fitting = flood(0);
        assert!(share.contains(&fitting), "{fitting}");
        for conn in 1..8 {
            fitting += flood(conn);
        }
        // What waits, what the thread has taken, what it has handed on.
        assert!(
            (OF_PEERS..=OF_PEERS + taken_at_once).contains(&fitting),
            "{fitting}"
        );
        for _ in 0..fitting {
            let fact = taken.recv().await.map(|fact| fact.input);
            let Some(Input::Message { message, .. }) = fact else {
                panic!("what was taken is handed on");
            };
            assert!(matches!(message, Received::NewTransaction(_)));
        }
        assert!(checker.offer(ConnId(0), Arc::clone(&bytes)));
        let mut wrong = bytes.to_vec();
        *wrong.last_mut().unwrap() ^= 1;
        assert!(checker.check(wrong.clone()).await.unwrap().is_err());
        assert!(checker.offer(ConnId(1), wrong.into()));
        taken.recv().await.unwrap();
        let refused = taken.recv().await.unwrap();
        assert!(matches!(refused.input, Input::Malformed { conn, .. } if conn == ConnId(1)));
    }
}
