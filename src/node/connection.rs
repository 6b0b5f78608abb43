//! One connection: bytes to checked messages in one direction, frames and answers from the store in the other.
//!
//! Both directions live in one task. Reading waits for the driver when that is busy, so a flooding peer feels it in its own TCP
//! window; writing never makes the driver wait: a full queue is reported, and the peer is dropped.

mod queue;
mod read;
mod terms;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::checker::Checker;
use super::links::Links;
use super::memory::{Fact, Part, Pool, Share};
use super::metrics::Metrics;
use super::noise::{self, Credentials, Secured};
use super::store::Store;
use crate::protocol::chain::id::NodeKey;
use crate::protocol::chain::params::Network;
use crate::protocol::machine::io::{ConnId, Input, Request};
use crate::protocol::wire::frame;
use crate::protocol::wire::message::Message;

use read::Reader;
use terms::Terms;
use write::Writer;

/// What connections share.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) network: Arc<Network>,
    pub(super) store: Arc<Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) checker: Arc<Checker>,
    pub(super) inputs: mpsc::Sender<Fact>,
    /// What all connections take of the memory.
    pub(super) pool: Arc<Pool>,
    /// Turns to read an answer from the store.
    pub(super) answers: Arc<Semaphore>,
    /// Turns to check a large message beside the loop that serves the connections.
    pub(super) checks: Arc<Semaphore>,
    pub(super) links: Arc<Links>,
    /// What the node proves its key with; nothing where connections are plain.
    pub(super) credentials: Option<Arc<Credentials>>,
    /// From which the luck of every line follows.
    pub(super) seed: u64,
}

/// What has gone over a connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Bytes of frames written.
    pub(super) sent: AtomicU64,
    /// Bytes of frames read.
    pub(super) received: AtomicU64,
    /// Segments sent while some are lost.
    pub(super) segments: AtomicU64,
    /// How many of them were.
    pub(super) losses: AtomicU64,
}

/// What becomes of a frame where much waits to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Without it the peer would be lost: rather the connection ends.
    Needed,
    /// It is left out: the peer hears of the block from others, or by a claim.
    Announcement,
    /// It waits behind all others, and is left out: the peer has the transaction from others, is reminded of it, or has it from a
    /// block.
    Transactions,
}

impl Class {
    fn of(message: &Message) -> Self {
        match message {
            Message::AnnounceBlock { .. } => Self::Announcement,
            Message::NewTransaction(_)
            | Message::AnnounceTransactions { .. }
            | Message::RequestTransactions { .. } => Self::Transactions,
            _ => Self::Needed,
        }
    }
}

/// A frame, shared between the connections that it goes to.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: usize,
    class: Class,
    pub(super) bytes: Arc<[u8]>,
}

impl Frame {
    pub(super) fn new(message: &Message) -> Self {
        Self {
            kind: message.kind(),
            class: Class::of(message),
            bytes: frame::encode(message).into(),
        }
    }
}

/// Something to be written.
#[derive(Debug)]
pub(super) enum Outgoing {
    Frame(Frame),
    Serve(Request),
}

impl Outgoing {
    fn bytes(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.bytes.len(),
            Self::Serve(Request::BlocksById { ids }) => 32 * ids.len(),
            Self::Serve(Request::Headers { locator }) => 32 * locator.len(),
            Self::Serve(_) => 0,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Frame(frame) => frame.class,
            Self::Serve(_) => Class::Needed,
        }
    }
}

/// The driver's end of a connection. Dropped, the connection ends once everything is written.
#[derive(Debug)]
pub(super) struct Outlet {
    queue: queue::Sender,
    share: Arc<Share>,
    pub(super) traffic: Arc<Traffic>,
    task: AbortHandle,
    /// Dropped with it: ends a handshake, in which nothing of the queue can be written.
    _kept: oneshot::Sender<()>,
}

impl Outlet {
    /// Puts something in its queue. False if that is full; but news for which there is no room is left out.
    pub(super) fn send(&self, outgoing: Outgoing) -> bool {
        let (bytes, class) = (outgoing.bytes(), outgoing.class());
        let is_needed = class == Class::Needed;
        if !self.share.enqueue(bytes, is_needed) {
            return !is_needed;
        }
        if self.queue.send(outgoing) {
            return true;
        }
        self.share.dequeue(bytes);
        !is_needed
    }

    /// Bytes that wait to be written.
    pub(super) fn queued_bytes(&self) -> u64 {
        self.share.queued_bytes() as u64
    }

    /// Bytes of memory that the connection takes.
    pub(super) fn taken_bytes(&self) -> usize {
        self.share.taken_bytes()
    }

    /// Ends the connection at once, whatever is still to be written.
    pub(super) fn cut(&self) {
        self.task.abort();
    }
}

/// Starts the task of a connection, which a peer opened if it is `inbound`.
pub(super) fn spawn(conn: ConnId, stream: TcpStream, inbound: bool, context: Context) -> Outlet {
    // Relay is a matter of single small frames: none of them waits for the next (Nagle).
    stream.set_nodelay(true).ok();
    let (queue, outgoing) = queue::channel();
    let share = Share::new(&context.pool);
    let traffic = Arc::new(Traffic::default());
    let (kept, left) = oneshot::channel();
    let line = Line {
        conn,
        inbound,
        outgoing,
        share: Arc::clone(&share),
        traffic: Arc::clone(&traffic),
        context,
    };
    let task = tokio::spawn(async move {
        let inputs = line.context.inputs.clone();
        line.carry(stream, left).await;
        // The driver may have ended: then nobody has to be told.
        inputs.send(Input::Disconnected { conn }.into()).await.ok();
    });
    Outlet {
        queue,
        share,
        traffic,
        task: task.abort_handle(),
        _kept: kept,
    }
}

/// What a connection is made of, beside its stream.
struct Line {
    conn: ConnId,
    inbound: bool,
    outgoing: queue::Receiver,
    share: Arc<Share>,
    traffic: Arc<Traffic>,
    context: Context,
}

impl Line {
    /// Shakes hands, and then reads and writes until the connection ends.
    async fn carry(self, mut stream: TcpStream, mut left: oneshot::Receiver<()>) {
        let Self { conn, context, .. } = self;
        let secured = match &context.credentials {
            None => None,
            Some(credentials) => {
                // The deadline is the machine's, which drops the other end of `left`.
                let shaken = tokio::select! {
                    shaken = noise::shake(credentials, &mut stream, !self.inbound) => shaken,
                    _ = &mut left => return,
                };
                match shaken {
                    Ok(Ok(secured)) => Some(secured),
                    Ok(Err(error)) => {
                        let malformed = Input::Malformed { conn, error };
                        context.inputs.send(malformed.into()).await.ok();
                        left.await.ok();
                        return;
                    }
                    Err(_) => return,
                }
            }
        };
        let proven = secured.as_ref().map(|secured| secured.peer);
        if proven.is_some_and(|key| is_cut(&key, &context)) {
            return;
        }
        let (sealer, opener) = secured
            .map(|Secured { sealer, opener, .. }| (sealer, opener))
            .unzip();
        let (reading, writing) = stream.into_split();
        let (greeted, peer) = watch::channel(proven);
        let reader = Reader {
            conn,
            half: reading,
            opener,
            proven,
            greeted,
            share: Arc::clone(&self.share),
            traffic: Arc::clone(&self.traffic),
            context: context.clone(),
        };
        let writer = Writer {
            half: writing,
            sealer,
            queue: self.outgoing,
            buffers: Part::new(&self.share),
            share: self.share,
            traffic: self.traffic,
            terms: Terms::new(context.links.subscribe(), peer, self.inbound),
            seed: context.seed.wrapping_add(conn.0),
            context,
        };
        tokio::select! {
            () = reader.run() => {}
            () = writer.run() => {}
        }
    }
}

/// Whether a peer is cut off: no connection comes to stand then, and the driver does not even hear of a greeting.
fn is_cut(peer: &NodeKey, context: &Context) -> bool {
    let is_cut = context.links.current().of(peer).cut.is_some();
    if is_cut {
        tracing::debug!(target: "triskel::peer", peer = %peer, "refused across a cut");
    }
    is_cut
}
