//! The miner: a thread that spends a set number of hashes per second on each stream.
//!
//! Throttled, so that dozens of nodes share a machine and shares of hash power can be set. Hashes come in bursts, one every
//! [`TICK`]: what is found is found at the time that the burst had, and a burst always uses the newest template.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::memory::Fact;
use crate::protocol::chain::block::Stream;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::template::{Search, Template};
use crate::protocol::machine::io::Input;

/// The time between two bursts: short against the fastest stream's 100 ms, long against the cost of waking up.
const TICK: Duration = Duration::from_millis(10);

/// Hashes between two looks at whether there is something newer to work on: about 5 ms.
const SLICE: u64 = 20_000;

/// What a miner that fell behind makes up for at most: a suspended laptop does not owe the hashes of a night.
const MAX_CATCH_UP: Duration = Duration::from_millis(200);

enum Order {
    Work(Vec<Template>),
    Hashrate(Stream, u64),
    Stop,
}

/// The driver's end of the miner.
pub(super) struct Miner {
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Miner {
    /// Starts the thread. Blocks found are sent to `inputs`. `first_nonce` should differ from run to run.
    pub(super) fn start(
        network: Arc<Network>,
        clock: Clock,
        hashrate: BTreeMap<Stream, u64>,
        first_nonce: u64,
        inputs: tokio::sync::mpsc::Sender<Fact>,
    ) -> std::io::Result<Self> {
        let (orders, receiver) = channel();
        let state = State {
            network,
            clock,
            hashrate,
            extra_nonce: first_nonce,
            searches: BTreeMap::new(),
            credit: BTreeMap::new(),
            last: Instant::now(),
            inputs,
        };
        let thread = std::thread::Builder::new()
            .name("miner".to_owned())
            .spawn(move || state.run(&receiver))?;
        Ok(Self {
            orders,
            thread: Some(thread),
        })
    }

    /// Replaces what is worked on.
    pub(super) fn work(&self, templates: Vec<Template>) {
        self.orders.send(Order::Work(templates)).ok();
    }

    /// Sets the hashes per second of a stream.
    pub(super) fn set_hashrate(&self, stream: Stream, hashrate: u64) {
        self.orders.send(Order::Hashrate(stream, hashrate)).ok();
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.orders.send(Order::Stop).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

struct State {
    network: Arc<Network>,
    clock: Clock,
    hashrate: BTreeMap<Stream, u64>,
    extra_nonce: u64,
    searches: BTreeMap<Stream, Search>,
    /// Hashes owed, in millionths.
    credit: BTreeMap<Stream, u128>,
    last: Instant,
    inputs: tokio::sync::mpsc::Sender<Fact>,
}

impl State {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let wait = if self.searches.is_empty() {
                Duration::MAX
            } else {
                TICK
            };
            let deadline = self.last + wait.min(Duration::from_secs(3_600));
            match orders.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(order) => {
                    if !self.obey(order) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if !self.burst(orders) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// False to stop.
    fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Work(templates) => {
                if self.searches.is_empty() {
                    self.last = Instant::now();
                }
                self.searches.clear();
                for template in templates {
                    self.extra_nonce = self.extra_nonce.wrapping_add(1);
                    let search = Search::new(template, self.extra_nonce, &self.network);
                    self.searches.insert(search.stream(), search);
                }
            }
            Order::Hashrate(stream, hashrate) => {
                self.hashrate.insert(stream, hashrate);
            }
            Order::Stop => return false,
        }
        true
    }

    /// Spends the hashes that the time since the last burst allows. False to stop.
    fn burst(&mut self, orders: &Receiver<Order>) -> bool {
        let elapsed = self.last.elapsed().min(MAX_CATCH_UP);
        self.last = Instant::now();
        for stream in Stream::ALL {
            let hashrate = self.hashrate.get(&stream).copied().unwrap_or(0);
            let owed = self.credit.entry(stream).or_insert(0);
            *owed += u128::from(hashrate) * elapsed.as_micros();
            let mut hashes = (*owed / 1_000_000) as u64;
            *owed %= 1_000_000;
            while hashes > 0 {
                let slice = hashes.min(SLICE);
                hashes -= slice;
                if let Some(input) = self.attempt(stream, slice)
                    && self.inputs.blocking_send(input.into()).is_err()
                {
                    return false;
                }
                if !self.searches.contains_key(&stream) {
                    break;
                }
                match orders.try_recv() {
                    Ok(order) => {
                        if !self.obey(order) {
                            return false;
                        }
                    }
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => return false,
                }
            }
        }
        true
    }

    fn attempt(&mut self, stream: Stream, hashes: u64) -> Option<Input> {
        let search = self.searches.get_mut(&stream)?;
        let block = search.attempt(self.clock.now().wall_ms, hashes)?;
        // Every template builds upon the same tip, which this block replaces: what else this burst found would be stale.
        self.searches.clear();
        Some(Input::Solved {
            block: Arc::new(block),
        })
    }
}
