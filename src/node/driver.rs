//! The driver: one task that owns the machine, hands it facts in the order in which they arrive, and performs its orders.
//!
//! Orders behind a `Persist` wait until the store has made it durable, in a queue: the driver itself never waits for the disk.

mod orders;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::announce;
use super::clock::Clock;
use super::connection::{self, Context, Frame, Outgoing, Outlet};
use super::control::{Order, Session, Snapshot};
use super::dial::{self, Arrival};
use super::memory::Fact;
use super::metrics::Metrics;
use super::miner::Miner;
use super::store::{FAILED, Store};
use crate::protocol::chain::block::Stream;
use crate::protocol::chain::id::{BlockId, TransactionId};
use crate::protocol::chain::view::{Batch, Fault, Overlay, Record, Tip};
use crate::protocol::endpoint::Endpoint;
use crate::protocol::machine::behaviour::Behaviour;
use crate::protocol::machine::io::{
    ConnId, Effect, Event, Input, Origin, Outbox, Reason, Request, Ticket,
};
use crate::protocol::mempool::AdmissionError;

/// Facts that are taken in before the next look at the clock and at orders.
const BURST: usize = 64;

/// How long changes are gathered before they are stored, if nobody waits for them: each write costs as much as ten rows in it, and
/// its work competes with passing on what it is about, here and in other nodes of the machine. By then that is done.
const GATHERING: Duration = Duration::from_millis(10);

/// How old the published list of sessions may be where nobody joined or left: round trips and claims change with every ping.
const SESSIONS_AGE: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Result<TransactionId, AdmissionError>>;

/// Where facts and orders come from.
pub(super) struct Inlets {
    pub(super) inputs: mpsc::Receiver<Fact>,
    pub(super) arrivals: mpsc::Receiver<Arrival>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) durable: watch::Receiver<u64>,
}

/// Everything that the driver's task owns.
pub(super) struct Driver {
    pub(super) machine: Box<dyn Behaviour>,
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    pub(super) context: Context,
    pub(super) metrics: Arc<Metrics>,
    pub(super) miner: Miner,
    pub(super) miner_address: String,
    pub(super) arrivals: mpsc::Sender<Arrival>,
    pub(super) dial_timeout: Duration,
    pub(super) published: Published,
    pub(super) outlets: BTreeMap<ConnId, Outlet>,
    pub(super) next_conn: u64,
    pub(super) next_ticket: u64,
    pub(super) replies: BTreeMap<Ticket, Reply>,
    /// Connections whose queue was full.
    pub(super) slow: VecDeque<ConnId>,
    /// What turns have changed, and the store does not have yet.
    pub(super) unstored: Unstored,
    /// Requests of peers, which are answered from the store once it has what turns have changed.
    pub(super) requests: Vec<(ConnId, Request)>,
    /// What waits for the disk.
    pub(super) waiting: VecDeque<Waiting>,
    /// Who is told next that an order was carried out.
    pub(super) done: Vec<oneshot::Sender<()>>,
}

/// What turns have changed.
#[derive(Default)]
pub(super) struct Unstored {
    batch: Batch,
    /// When it is stored, at the latest.
    until: Option<Instant>,
    /// The tip after it, if it moved.
    tip: Option<(Arc<Tip>, Arc<Record>)>,
    /// Orders that wait until it is durable.
    after: Vec<Effect>,
    /// Who has given orders that were carried out before it is.
    done: Vec<oneshot::Sender<()>>,
}

impl Unstored {
    fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.after.is_empty() && self.done.is_empty()
    }

    /// Whether somebody waits for it, or it has been gathered for long enough.
    fn is_due(&self) -> bool {
        let is_over = |until| until <= Instant::now();
        !self.after.is_empty() || !self.done.is_empty() || self.until.is_some_and(is_over)
    }
}

/// What waits for the disk.
pub(super) struct Waiting {
    /// The sequence that must be durable first.
    sequence: u64,
    after: Vec<Effect>,
    done: Vec<oneshot::Sender<()>>,
}

/// What others see, and what it is made of.
pub(super) struct Published {
    pub(super) sender: watch::Sender<Arc<Snapshot>>,
    /// The newest chain that is on disk.
    pub(super) durable: (Arc<Tip>, Arc<Record>),
    /// Newer ones, by the sequence that must be durable first.
    pub(super) pending: VecDeque<(u64, Arc<Tip>, Arc<Record>)>,
    pub(super) sessions: Arc<Vec<Session>>,
    pub(super) sessions_at: Option<Instant>,
    pub(super) greatest_connection_bytes: usize,
    pub(super) hashrate: BTreeMap<Stream, u64>,
    pub(super) mined: BTreeMap<Stream, u64>,
}

impl Driver {
    /// Runs until the node is told to stop, or its store fails.
    pub(super) async fn run(mut self, mut inlets: Inlets, first: Outbox) -> Result<(), Fault> {
        self.perform(first);
        self.store_now()?;
        self.publish();
        let mut burst = Vec::with_capacity(BURST);
        let mut orders = Vec::with_capacity(BURST);
        let pool = Arc::clone(&self.context.pool);
        loop {
            let deadline = self
                .machine
                .next_deadline()
                .map(|at| self.clock.instant(at));
            // In random order, so that neither users nor peers can keep the others waiting.
            tokio::select! {
                _ = inlets.orders.recv_many(&mut orders, BURST) => {
                    if orders.is_empty() {
                        return self.store_now();
                    }
                    for order in orders.drain(..) {
                        if matches!(order, Order::Stop) {
                            return self.store_now();
                        }
                        self.order(order)?;
                    }
                }
                _ = inlets.durable.changed() => {
                    let durable = *inlets.durable.borrow_and_update();
                    if durable == FAILED {
                        return self.store.settled().await;
                    }
                    self.settle(durable);
                }
                () = at(deadline) => self.feed(Input::Wake)?,
                () = at(self.unstored.until) => {}
                () = pool.exceeded() => self.relieve(),
                Some(arrival) = inlets.arrivals.recv() => self.arrive(arrival)?,
                _ = inlets.inputs.recv_many(&mut burst, BURST) => {
                    for Fact { input, room } in burst.drain(..) {
                        self.feed(input)?;
                        drop(room);
                        if self.machine.machine().placed() > 0 {
                            // What it sends goes out.
                            tokio::task::yield_now().await;
                        }
                    }
                }
            }
            self.follow()?;
            self.store_later().await?;
            self.publish();
        }
    }

    /// Lets the machine follow the blocks that have come, all at once: they have been passed on.
    fn follow(&mut self) -> Result<(), Fault> {
        if self.machine.machine().placed() > 0 {
            let begin = Instant::now();
            self.feed(Input::Wake)?;
            self.metrics.validated("apply", begin.elapsed());
        }
        Ok(())
    }

    /// Stores what turns have changed if it is time, after what they send has gone out: a node on the way costs a block less time
    /// that way.
    async fn store_later(&mut self) -> Result<(), Fault> {
        while let Some(conn) = self.slow.pop_front() {
            self.feed(Input::Slow { conn })?;
        }
        if self.unstored.is_due() || !self.requests.is_empty() {
            tokio::task::yield_now().await;
            self.store_now()?;
        }
        Ok(())
    }

    /// Ends the connections that take most, until all of them take no more than they may.
    fn relieve(&mut self) {
        let outlets = self.outlets.iter();
        let mut taken: Vec<_> = outlets
            .map(|(conn, outlet)| (outlet.taken_bytes(), *conn))
            .collect();
        taken.sort_by_key(|&(bytes, conn)| (Reverse(bytes), conn));
        let mut all: usize = taken.iter().map(|(bytes, _)| bytes).sum();
        for (bytes, conn) in taken {
            if all <= self.context.pool.ceilings.peers_bytes {
                return;
            }
            all -= bytes;
            self.slow.push_back(conn);
        }
    }

    fn feed(&mut self, input: Input) -> Result<(), Fault> {
        if let Input::Disconnected { conn } = &input {
            self.outlets.remove(conn);
        }
        let is_block = has_blocks(&input);
        let relayed = relayed(&input);
        let begin = Instant::now();
        let mut out = Outbox::default();
        let mut view = Overlay::new(&*self.store);
        view.batch = std::mem::take(&mut self.unstored.batch);
        let handled = self
            .machine
            .handle(self.clock.now(), input, &view, &mut out);
        self.unstored.batch = view.batch;
        handled?;
        if is_block {
            self.metrics.validated("place", begin.elapsed());
        }
        // It may lack transactions still.
        let is_placed = |id: &BlockId| self.machine.machine().chain().dag().index(id).is_some();
        if let Some(id) = relayed.filter(is_placed) {
            announce::placed(&id, begin.elapsed());
        }
        self.perform(out);
        Ok(())
    }

    fn perform(&mut self, out: Outbox) {
        let mut effects = out.0.into_iter();
        while let Some(effect) = effects.next() {
            match effect {
                Effect::Persist(batch) => {
                    let chain = self.machine.machine().chain();
                    let tip = batch
                        .tip
                        .is_some()
                        .then(|| (Arc::clone(chain.tip()), Arc::clone(chain.record())));
                    let unstored = &mut self.unstored;
                    let until = || Instant::now() + GATHERING;
                    unstored.until.get_or_insert_with(until);
                    unstored.batch.merge(*batch);
                    unstored.tip = tip.or_else(|| unstored.tip.take());
                    unstored.after.extend(effects.by_ref());
                }
                effect => self.act(effect),
            }
        }
    }

    /// Stores what turns have changed, and then lets peers read.
    fn store_now(&mut self) -> Result<(), Fault> {
        let unstored = std::mem::take(&mut self.unstored);
        if !unstored.is_empty() {
            let Unstored {
                batch,
                tip,
                after,
                done,
                ..
            } = unstored;
            let sequence = self.store.apply(&batch)?;
            if let Some((tip, record)) = tip {
                self.published.pending.push_back((sequence, tip, record));
            }
            self.waiting.push_back(Waiting {
                sequence,
                after,
                done,
            });
            // Who has changed nothing, as by a ping, need not wait for the disk.
            let durable = *self.store.durable().borrow();
            if durable != FAILED {
                self.settle(durable);
            }
        }
        for (to, request) in std::mem::take(&mut self.requests) {
            self.send(to, Outgoing::Serve(request));
        }
        Ok(())
    }

    /// Performs what waited for the disk.
    fn settle(&mut self, durable: u64) {
        while self
            .waiting
            .front()
            .is_some_and(|waiting| waiting.sequence <= durable)
        {
            let waiting = self.waiting.pop_front().expect("the front was looked at");
            for effect in waiting.after {
                self.act(effect);
            }
            self.done.extend(waiting.done);
        }
        let pending = &mut self.published.pending;
        while pending
            .front()
            .is_some_and(|(sequence, ..)| *sequence <= durable)
        {
            let (_, tip, record) = pending.pop_front().expect("the front was looked at");
            self.published.durable = (tip, record);
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(_) => unreachable!("a turn persists once, and `perform` takes that"),
            Effect::Send { to, message } => {
                let frame = Frame::new(&message);
                for conn in to {
                    self.send(conn, Outgoing::Frame(frame.clone()));
                }
            }
            Effect::Serve { to, request } => self.requests.push((to, request)),
            Effect::Dial(endpoint) => {
                announce::connecting(&endpoint);
                let arrivals = self.arrivals.clone();
                let links = Arc::clone(&self.context.links);
                tokio::spawn(dial::dial(endpoint, self.dial_timeout, links, arrivals));
            }
            Effect::Resolve(seed) => {
                let arrivals = self.arrivals.clone();
                let links = Arc::clone(&self.context.links);
                tokio::spawn(dial::resolve(seed, self.dial_timeout, links, arrivals));
            }
            Effect::Disconnect { conn, reason } => {
                if let Some(outlet) = self.outlets.remove(&conn)
                    && is_cut(&reason)
                {
                    outlet.cut();
                }
            }
            Effect::Mine(templates) => self.miner.work(templates),
            Effect::Answer { ticket, result } => {
                if let Some(reply) = self.replies.remove(&ticket) {
                    // Whoever asked may have gone.
                    reply.send(result).ok();
                }
            }
            Effect::Notify(event) => self.notify(&event),
        }
    }

    fn send(&mut self, conn: ConnId, outgoing: Outgoing) {
        // A connection that has just ended is reported by its own task.
        if self
            .outlets
            .get(&conn)
            .is_some_and(|outlet| !outlet.send(outgoing))
        {
            self.slow.push_back(conn);
        }
    }

    fn notify(&mut self, event: &Event) {
        match event {
            Event::PeerJoined { .. } | Event::PeerLeft { .. } => self.published.sessions_at = None,
            Event::BlockAccepted {
                block,
                origin: Origin::Mined,
                ..
            } => {
                *self
                    .published
                    .mined
                    .entry(block.header().stream)
                    .or_default() += 1;
            }
            _ => {}
        }
        self.metrics.event(event);
        announce::announce(event);
    }

    fn arrive(&mut self, arrival: Arrival) -> Result<(), Fault> {
        match arrival {
            Arrival::Accepted(stream, remote) => self.open(stream, None, remote),
            Arrival::Dialled(endpoint, stream, remote) => {
                announce::connected(&endpoint);
                self.open(stream, Some(endpoint), remote)
            }
            Arrival::Refused(endpoint) => self.feed(Input::Refused { endpoint }),
            Arrival::Resolved(seed, addresses) => self.feed(Input::Resolved { seed, addresses }),
        }
    }

    fn open(
        &mut self,
        stream: TcpStream,
        dialled: Option<Endpoint>,
        remote: SocketAddr,
    ) -> Result<(), Fault> {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let outlet = connection::spawn(conn, stream, dialled.is_none(), self.context.clone());
        self.outlets.insert(conn, outlet);
        self.feed(Input::Connected {
            conn,
            dialled,
            remote,
        })
    }
}

/// Whether what is still to be sent is not worth waiting for: the peer does not read, or is one of many that came for nothing.
fn is_cut(reason: &Reason) -> bool {
    use Reason::{Displaced, HandshakeTimeout, Silent, Slow};
    matches!(reason, Slow | Silent | HandshakeTimeout | Displaced)
}

fn has_blocks(input: &Input) -> bool {
    matches!(input, Input::Message { message, .. } if message.has_blocks())
}

/// The block that a peer passes on, for the lines that trace it; `None` where nobody wants them.
fn relayed(input: &Input) -> Option<BlockId> {
    match input {
        Input::Message { message, .. } if tracing::enabled!(target: announce::HOP_TARGET, tracing::Level::DEBUG) => {
            message.new_block()
        }
        _ => None,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
