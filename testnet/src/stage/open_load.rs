//! Hands in transfers at times of their own (an open loop): whether or not the network keeps up, and once each.
//!
//! Where time is real, each source has a task that waits for its next arrival, and each sender one that signs and hands in what has
//! arrived, one after the other, so that the nonces are in order. A transfer that waits for the answer to the one before waits at
//! the network's expense: its latency is counted from when it was due. Where time is virtual, all of it happens between two looks
//! at the network, each transfer at its moment.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use triskel::protocol::chain::address;
use triskel::protocol::chain::id::{AccountId, BlockId, TransactionId};
use triskel::protocol::chain::key::KeyPair;
use triskel::protocol::chain::transaction::{Transaction, Transfer};
use triskel::protocol::machine::io::Ticket;
use triskel::protocol::rng::Rng;

use super::arrivals::{Arrival, Source};
use super::{Failure, Run};
use crate::backend::sim::Simulation;
use crate::journal::Clock;
use crate::network::{Access, CallError, SIMULATED_INTERVAL_MS};
use crate::plan::Plan;
use crate::scenario::Who;

/// Transfers that one node is handed at the same time: more would wait for each other there.
const AT_ONCE: usize = 16;

/// How long, in virtual time, a simulated node may take to write a transfer and answer; one that ends meanwhile never does.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The load of a run.
#[derive(Debug)]
pub struct OpenLoad {
    /// Those that a node accepted.
    pub ids: Vec<TransactionId>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Mining has not begun, or there is no load.
    Planned(Vec<Planned>),
    /// Transfers arrive in real time.
    Real(Tasks),
    /// Transfers arrive in virtual time.
    Virtual(Moments),
}

/// A source and who pays its transfers.
#[derive(Debug)]
struct Planned {
    source: Source,
    has_end: bool,
    senders: Vec<Sender>,
}

/// An account that pays transfers, and hands all of them to one node.
#[derive(Clone, Debug)]
struct Sender {
    /// The source.
    load: usize,
    keys: KeyPair,
    recipient: AccountId,
    node: usize,
    address: String,
    network: BlockId,
    /// That of its next transfer; unknown after one that was not accepted.
    nonce: Option<u64>,
}

/// What became of an arrival.
#[derive(Debug)]
struct Entry {
    load: usize,
    node: usize,
    due: Duration,
    sent: Duration,
    outcome: Result<TransactionId, CallError>,
}

#[derive(Debug)]
struct Tasks {
    ending: JoinSet<()>,
    endless: JoinSet<()>,
    senders: JoinSet<()>,
    entries: mpsc::UnboundedReceiver<Entry>,
}

#[derive(Debug)]
struct Moments {
    sources: Vec<(Planned, Option<Arrival>)>,
    /// What has no answer yet.
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    source: usize,
    sender: usize,
    due: Duration,
    sent: Duration,
}

impl OpenLoad {
    /// Plans the load. The first node is asked for the network's id, which the signatures cover.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn plan(run: &Run) -> Result<Self, Failure> {
        let plan = &run.plan;
        let mut planned = Vec::new();
        if !plan.scenario.load.is_empty() {
            let silent = |error| Failure::Verdict(format!("{} gives {error}", plan.nodes[0].name));
            let network = run.network.id().await.map_err(silent)?;
            let loads = 0..plan.scenario.load.len();
            planned = loads
                .map(|index| Planned::new(plan, index, network))
                .collect::<Result<_, _>>()
                .map_err(Failure::Environment)?;
        }
        Ok(Self {
            ids: Vec::new(),
            state: State::Planned(planned),
        })
    }

    /// Lets transfers arrive from now on, unless they do already.
    pub fn begin(&mut self, run: &Run) {
        let State::Planned(planned) = &mut self.state else {
            return;
        };
        let planned = std::mem::take(planned);
        self.state = match run.network.simulation() {
            None => State::Real(Tasks::start(planned, run)),
            Some(_) => State::Virtual(Moments::new(planned)),
        };
    }

    /// Ends the sources that have no end.
    pub fn finish(&mut self) {
        match &mut self.state {
            State::Planned(_) => {}
            State::Real(tasks) => tasks.endless.abort_all(),
            State::Virtual(moments) => {
                let endless = moments
                    .sources
                    .iter_mut()
                    .filter(|(planned, _)| !planned.has_end);
                endless.for_each(|(_, next)| *next = None);
            }
        }
    }

    /// Whether everything has arrived that has an end.
    pub fn has_arrived(&self) -> bool {
        match &self.state {
            State::Planned(_) => true,
            State::Real(tasks) => tasks.ending.is_empty(),
            State::Virtual(moments) => {
                let mut sources = moments.sources.iter();
                sources.all(|(planned, next)| !planned.has_end || next.is_none())
            }
        }
    }

    /// Whether nothing arrives any more, and all was answered.
    pub fn is_over(&self) -> bool {
        match &self.state {
            State::Planned(_) => true,
            State::Real(tasks) => tasks.senders.is_empty(),
            State::Virtual(moments) => {
                let mut sources = moments.sources.iter();
                sources.all(|(_, next)| next.is_none()) && moments.pending.is_empty()
            }
        }
    }

    /// Lets a polling interval pass in which transfers arrive, and keeps what became of them.
    pub async fn pause(&mut self, run: &mut Run) {
        let mut entries = Vec::new();
        match &mut self.state {
            State::Planned(_) => run.network.pause().await,
            State::Real(tasks) => {
                run.network.pause().await;
                entries = tasks.look();
            }
            State::Virtual(moments) => {
                if let Some(simulation) = run.network.simulation() {
                    entries = moments.pass(simulation, run.engine.began());
                }
                // Lets a signal be heard.
                tokio::task::yield_now().await;
            }
        }
        for entry in entries {
            self.keep(run, entry);
        }
    }

    fn keep(&mut self, run: &mut Run, entry: Entry) {
        let Entry {
            load,
            node,
            due,
            sent,
            outcome,
        } = entry;
        let tally = &mut run.load;
        tally.arrived += 1;
        match outcome {
            Ok(id) => {
                tally.accepted += 1;
                self.ids.push(id);
                run.journal.arrived(&id, load, node, due, sent);
            }
            Err(CallError::Silent(_)) => tally.unanswered += 1,
            Err(error) => {
                tally.refused += 1;
                tally.last_refusal = Some(error.to_string());
            }
        }
    }
}

impl Planned {
    fn new(plan: &Plan, index: usize, network: BlockId) -> Result<Self, String> {
        let load = &plan.scenario.load[index];
        let seed = plan.scenario.seed.unwrap_or_default();
        let params = plan.scenario.params().map_err(|error| error.to_string())?;
        let mut nodes = load
            .who
            .resolve(&plan.nodes, &mut Rng::new(seed ^ index as u64))?;
        if load.who == Who::All {
            // What those do with a transfer who break the rules is nobody's loss.
            nodes.retain(|node| plan.nodes[*node].role.is_honest());
        }
        let keys = &plan.load_senders[index];
        let sender = |(number, own): (usize, &KeyPair)| Sender {
            load: index,
            keys: own.clone(),
            recipient: keys[(number + 1) % keys.len()].public(),
            node: nodes[number % nodes.len()],
            address: address::encode(&params.address_prefix, &own.public()),
            network,
            nonce: Some(0),
        };
        if nodes.is_empty() {
            return Err(format!(
                "load[{index}].who: nobody is left to hand transfers to"
            ));
        }
        Ok(Self {
            source: Source::new(load.clone(), index, seed),
            has_end: load.lasts.is_some(),
            senders: keys.iter().enumerate().map(sender).collect(),
        })
    }
}

impl Sender {
    fn sign(&self, arrival: &Arrival, nonce: u64) -> Transaction {
        let transfer = Transfer {
            sender: self.keys.public(),
            recipient: self.recipient,
            amount: arrival.amount,
            fee: arrival.fee,
            nonce,
        };
        transfer.sign(&self.network, &self.keys)
    }

    /// Signs and hands in what has arrived, and waits for the answer.
    async fn hand_in(
        &mut self,
        access: &Access,
        arrival: &Arrival,
    ) -> Result<TransactionId, CallError> {
        let nonce = match self.nonce.take() {
            Some(nonce) => nonce,
            None => {
                access
                    .next_nonce(&self.address, &self.keys.public())
                    .await?
            }
        };
        let id = access.submit(&self.sign(arrival, nonce).to_bytes()).await?;
        self.nonce = Some(nonce + 1);
        Ok(id)
    }
}

impl Tasks {
    fn start(planned: Vec<Planned>, run: &Run) -> Self {
        let (book, entries) = mpsc::unbounded_channel();
        let mut tasks = Self {
            ending: JoinSet::new(),
            endless: JoinSet::new(),
            senders: JoinSet::new(),
            entries,
        };
        let clock = run.journal.clock();
        let (begin, began) = (Instant::now(), clock.now());
        let permits = || Arc::new(Semaphore::new(AT_ONCE));
        let permits: Vec<_> = run.plan.nodes.iter().map(|_| permits()).collect();
        for Planned {
            source,
            has_end,
            senders,
        } in planned
        {
            let mut lanes = Vec::new();
            for sender in senders {
                let (lane, arrivals) = mpsc::unbounded_channel();
                lanes.push(lane);
                let access = run.network.access(sender.node).clone();
                let permits = Arc::clone(&permits[sender.node]);
                let way = Way {
                    access,
                    permits,
                    clock: clock.clone(),
                    began,
                    book: book.clone(),
                };
                tasks.senders.spawn(way.serve(sender, arrivals));
            }
            let arrive = async move {
                for arrival in source {
                    tokio::time::sleep_until(begin + arrival.due).await;
                    // The other end is there as long as this one.
                    let _ = lanes[arrival.sender].send(arrival);
                }
            };
            match has_end {
                true => tasks.ending.spawn(arrive),
                false => tasks.endless.spawn(arrive),
            };
        }
        tasks
    }

    /// What has been answered since the last look.
    fn look(&mut self) -> Vec<Entry> {
        for tasks in [&mut self.ending, &mut self.endless, &mut self.senders] {
            while tasks.try_join_next().is_some() {}
        }
        std::iter::from_fn(|| self.entries.try_recv().ok()).collect()
    }
}

/// The way of a sender's transfers in real time.
struct Way {
    access: Access,
    permits: Arc<Semaphore>,
    clock: Clock,
    /// When mining began.
    began: Duration,
    book: mpsc::UnboundedSender<Entry>,
}

impl Way {
    async fn serve(self, mut sender: Sender, mut arrivals: mpsc::UnboundedReceiver<Arrival>) {
        while let Some(arrival) = arrivals.recv().await {
            let _permit = self.permits.acquire().await;
            let sent = self.clock.now();
            let outcome = sender.hand_in(&self.access, &arrival).await;
            let (load, node) = (sender.load, sender.node);
            let due = self.began + arrival.due;
            let entry = Entry {
                load,
                node,
                due,
                sent,
                outcome,
            };
            if self.book.send(entry).is_err() {
                return;
            }
        }
    }
}

impl Moments {
    fn new(planned: Vec<Planned>) -> Self {
        let first = |mut planned: Planned| {
            let next = planned.source.next();
            (planned, next)
        };
        Self {
            sources: planned.into_iter().map(first).collect(),
            pending: Vec::new(),
        }
    }

    /// Lets a polling interval pass, and hands in each transfer at its moment.
    fn pass(&mut self, simulation: &Simulation, began: Duration) -> Vec<Entry> {
        let mut entries = Vec::new();
        let end = simulation.now() + Duration::from_millis(SIMULATED_INTERVAL_MS);
        while let Some((source, arrival)) = self.earliest(began, end) {
            wait_until(simulation, began + arrival.due);
            entries.extend(self.hand_in(simulation, source, &arrival, began + arrival.due));
            let (planned, next) = &mut self.sources[source];
            *next = planned.source.next();
        }
        wait_until(simulation, end);
        entries.extend(self.answered(simulation));
        entries
    }

    fn earliest(&self, began: Duration, end: Duration) -> Option<(usize, Arrival)> {
        let next =
            |(source, (_, next)): (usize, &(Planned, Option<Arrival>))| Some((source, (*next)?));
        let upcoming = self.sources.iter().enumerate().filter_map(next);
        let earliest = upcoming.min_by_key(|(source, arrival)| (arrival.due, *source))?;
        (began + earliest.1.due <= end).then_some(earliest)
    }

    /// What became of it, if that is known at once.
    fn hand_in(
        &mut self,
        simulation: &Simulation,
        source: usize,
        arrival: &Arrival,
        due: Duration,
    ) -> Option<Entry> {
        let sender = &mut self.sources[source].0.senders[arrival.sender];
        let node = sender.node;
        let nonce = sender.nonce.take();
        let nonce = nonce.or_else(|| simulation.next_nonce(node, &sender.keys.public()));
        let sent = simulation.now();
        let handed = match nonce {
            None => Err(CallError::Silent("it is down".to_owned())),
            Some(nonce) => simulation.hand_in(node, &sender.sign(arrival, nonce).to_bytes()),
        };
        let load = sender.load;
        // A refusal is known at once; that it is written takes time.
        let outcome = match handed.map(|ticket| (ticket, simulation.answer(ticket))) {
            Ok((_, Some(outcome))) => outcome,
            Err(error) => Err(error),
            Ok((ticket, None)) => {
                sender.nonce = nonce.map(|nonce| nonce + 1);
                self.pending.push(Pending {
                    ticket,
                    source,
                    sender: arrival.sender,
                    due,
                    sent,
                });
                return None;
            }
        };
        Some(Entry {
            load,
            node,
            due,
            sent,
            outcome,
        })
    }

    fn answered(&mut self, simulation: &Simulation) -> Vec<Entry> {
        let now = simulation.now();
        let mut entries = Vec::new();
        self.pending.retain(|pending| {
            let sender = &mut self.sources[pending.source].0.senders[pending.sender];
            let outcome = match simulation.answer(pending.ticket) {
                Some(outcome) => outcome,
                None if now < pending.sent + ANSWER_LIMIT => return true,
                None => Err(CallError::Silent("no answer came".to_owned())),
            };
            if outcome.is_err() {
                sender.nonce = None;
            }
            entries.push(Entry {
                load: sender.load,
                node: sender.node,
                due: pending.due,
                sent: pending.sent,
                outcome,
            });
            false
        });
        entries
    }
}

fn wait_until(simulation: &Simulation, moment: Duration) {
    let wait = moment.saturating_sub(simulation.now());
    simulation.run_for(wait.as_micros().div_ceil(1_000) as u64);
}
