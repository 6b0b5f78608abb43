//! Nodes as machines in one process, under virtual time: the same seed gives the same trace.

mod setup;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::id::{AccountId, BlockId, TransactionId};
use triskel::protocol::chain::params::{Allocation, Network};
use triskel::protocol::chain::transaction::Transaction;
use triskel::protocol::link::Conditions;
use triskel::protocol::machine::io::Ticket;
use triskel::rpc::{self, dag};
use triskel::sim::watch::Seen;
use triskel::sim::{self, Violation, World, WorldConfig};

use super::{BackendError, Ended};
use crate::engine::links::desired;
use crate::engine::schedule::Surroundings;
use crate::network::{CallError, TransactionState};
use crate::plan::{ENDOWMENT, Plan};
use crate::scenario::StreamName;
use crate::verdict::NodeState;

pub(super) use setup::CONFIG_KEYS;

/// How long, in virtual milliseconds, a node may take to write a transaction and answer.
const ANSWER_LIMIT_MS: u64 = 5_000;

/// What a frame takes where nothing is asked of a link, in microseconds, at least and at most: as between processes or containers
/// of one machine.
const WIRE_US: (u64, u64) = (100, 400);

/// Nodes up to which every block is watched on its way; of more, so many times fewer blocks.
const WATCHED_WHOLE: u64 = 100;

/// A simulated network. Clones are the same network.
#[derive(Clone)]
pub struct Simulation(Arc<Mutex<Inner>>);

struct Inner {
    world: World,
    network: Arc<Network>,
    /// The invariant that was violated, once one was. Nothing moves any more then.
    violation: Option<String>,
}

impl Simulation {
    /// The network of a plan, at its start. No node mines yet.
    ///
    /// # Errors
    ///
    /// The plan's parameters make no network, or its start violates an invariant.
    pub fn new(plan: &Plan) -> Result<Self, BackendError> {
        let failed = |error: &dyn std::fmt::Display| BackendError(format!("backend sim: {error}"));
        let mut params = plan.scenario.params().map_err(|error| failed(&error))?;
        let endow = |account| Allocation {
            account,
            balance: ENDOWMENT,
        };
        params.allocations = plan.endowed().into_iter().map(endow).collect();
        let network = Network::new(sim::simulated(params)).map_err(|error| failed(&error))?;
        let network = Arc::new(network);
        let seed = plan.scenario.seed.unwrap_or_default();
        let dials = plan.nodes.iter().enumerate();
        let edges = dials
            .filter(|(_, plan)| !plan.seeded)
            .flat_map(|(node, plan)| plan.dials.iter().map(move |&to| (node, to)));
        let links = desired(plan.nodes.len(), &plan.edges, &[]);
        let links = links.into_iter().enumerate();
        let conditions = links.flat_map(|(from, links)| {
            let by_receiver = links.into_iter();
            by_receiver.map(move |(to, conditions)| ((from, to), conditions))
        });
        let roles = plan.nodes.iter().enumerate();
        let roles = roles.filter_map(|(node, planned)| Some((node, planned.role.adversary()?)));
        let mut config = WorldConfig {
            roles: roles.collect(),
            edges: edges.collect(),
            latency_us: WIRE_US,
            conditions: conditions.collect(),
            ..WorldConfig::new(seed, Arc::clone(&network), plan.nodes.len())
        };
        let nodes = plan.nodes.iter().enumerate();
        let machines = nodes.filter_map(|(node, planned)| {
            let machine = setup::machine(config.machine(), planned)?;
            Some((node, machine))
        });
        config.machines = machines.collect();
        let mut world = World::new(config).map_err(|violation| failed(&violation))?;
        for (node, planned) in plan.nodes.iter().enumerate() {
            world
                .mine(node, false)
                .map_err(|violation| failed(&violation))?;
            world.set_hashrates(node, &streams(&planned.hashrates));
            if planned.joins_later {
                world.crash(node).map_err(|violation| failed(&violation))?;
                world.wipe(node);
            }
        }
        // Of a thousand nodes each tenth block is enough to see how blocks travel.
        world.watch(plan.nodes.len() as u64 / WATCHED_WHOLE);
        Ok(Self(Arc::new(Mutex::new(Inner {
            world,
            network,
            violation: None,
        }))))
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.lock().world.now_ms())
    }

    /// Lets virtual time pass.
    pub fn run_for(&self, duration_ms: u64) {
        // What goes wrong is kept, and shown by everything that is asked afterwards.
        let _ = self.lock().attempt(|world| world.run_for(duration_ms));
    }

    /// The invariant that was violated, if one was.
    pub fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    /// The hash of everything that has happened.
    pub fn trace(&self) -> String {
        self.lock().world.trace().0
    }

    /// What a node says of itself.
    pub(crate) fn state(&self, node: usize) -> Result<NodeState, CallError> {
        let mut inner = self.lock();
        inner.attempt(|_| Ok(()))?;
        let world = &inner.world;
        let down = || CallError::Silent("it is down".to_owned());
        let status = world.status(node).ok_or_else(down)?;
        let mined = inner.network.streams().map(|(stream, _)| {
            let count = status.mined.get(&stream).copied().unwrap_or_default();
            (stream.to_string(), count)
        });
        Ok(NodeState {
            blocks: status.tip.number,
            tip: status.tip.id,
            parents: status.tip.parents.clone(),
            state_digest: status.tip.accumulator.digest(),
            red: status.tip.red(),
            transactions: status.tip.transactions,
            mempool: status.mempool as u64,
            peers: status.sessions as u32,
            mining: status.mining,
            mined: mined.collect::<BTreeMap<_, _>>(),
            balance: world.account(node, &status.miner).balance,
        })
    }

    /// What has been seen of blocks on their way since the last time.
    pub(crate) fn seen(&self) -> Seen {
        self.lock().world.seen()
    }

    /// Connections that a node has open.
    pub(crate) fn connections(&self, node: usize) -> u64 {
        self.lock().world.connections(node) as u64
    }

    /// Frames that arrived, and their bytes.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        self.lock().world.traffic()
    }

    /// The end of a node's order.
    pub(crate) fn dag(&self, node: usize, last: u32) -> Option<rpc::Dag> {
        let inner = self.lock();
        dag::last(inner.world.store(node), &inner.network, last).ok()
    }

    /// The block in which a node has applied a transaction, if it has.
    pub(crate) fn applied_in(&self, node: usize, id: TransactionId) -> Option<BlockId> {
        let location = self.lock().world.transaction(node, &id);
        location.map(|location| location.block)
    }

    pub(crate) fn network_id(&self) -> BlockId {
        self.lock().network.id()
    }

    pub(crate) fn submit(&self, node: usize, bytes: &[u8]) -> Result<TransactionId, CallError> {
        let ticket = self.hand_in(node, bytes)?;
        let answered = |world: &World| world.answer(ticket).is_some();
        self.lock()
            .attempt(|world| world.run_until(ANSWER_LIMIT_MS, answered))?;
        let silent = || CallError::Silent("the transaction has no answer".to_owned());
        self.answer(ticket).ok_or_else(silent)?
    }

    /// Hands in a transaction and does not wait for the answer.
    pub(crate) fn hand_in(&self, node: usize, bytes: &[u8]) -> Result<Ticket, CallError> {
        let mut inner = self.lock();
        let transaction = Transaction::decode(bytes, &inner.network.id())
            .map_err(|error| CallError::Failed(error.to_string()))?;
        let ticket = inner.attempt(|world| world.submit(node, Arc::new(transaction)))?;
        ticket.ok_or_else(|| CallError::Silent("it is down".to_owned()))
    }

    /// The answer to what was handed in, once there is one.
    pub(crate) fn answer(&self, ticket: Ticket) -> Option<Result<TransactionId, CallError>> {
        let answer = self.lock().world.answer(ticket).cloned()?;
        Some(answer.map_err(|refusal| CallError::Refused(refusal.to_string())))
    }

    /// The nonce that the next transfer of an account should have; `None` while the node is down.
    pub(crate) fn next_nonce(&self, node: usize, account: &AccountId) -> Option<u64> {
        self.lock().world.next_nonce(node, account)
    }

    pub(crate) fn transaction(&self, node: usize, id: TransactionId) -> TransactionState {
        match self.lock().world.transaction(node, &id) {
            Some(_) => TransactionState::Applied,
            None => TransactionState::Unknown,
        }
    }

    pub(crate) fn mine(&self, node: usize, mining: bool) -> Result<(), CallError> {
        self.lock().attempt(|world| world.mine(node, mining))
    }

    /// See [`Access::set_conditions`](crate::network::Access::set_conditions). It does not matter whether the node runs.
    pub(crate) fn set_conditions(
        &self,
        node: usize,
        links: &BTreeMap<usize, Conditions>,
        changed: &BTreeSet<usize>,
        surroundings: &Surroundings,
    ) -> Result<(), CallError> {
        self.lock().attempt(|world| {
            world.set_clock_offset(node, surroundings.clock_offset_ms);
            world.set_disk_full(node, surroundings.disk_full);
            world.set_seed_outage(node, surroundings.seed_outage);
            changed.iter().try_for_each(|&receiver| {
                let conditions = links.get(&receiver).copied().unwrap_or_default();
                world.set_conditions(node, receiver, conditions)
            })
        })
    }

    pub(crate) fn ping(&self, node: usize) -> Result<(), CallError> {
        self.lock().attempt(|world| world.ping(node))
    }

    pub(crate) fn sessions(&self, node: usize) -> Vec<sim::watch::Session> {
        self.lock().world.sessions(node)
    }

    pub(crate) fn set_hashrates(&self, node: usize, hashrates: &BTreeMap<StreamName, u64>) {
        self.lock().world.set_hashrates(node, &streams(hashrates));
    }

    /// Has a node stand still, or go on.
    pub(crate) fn pause(&self, node: usize, paused: bool) -> Result<(), CallError> {
        self.lock().attempt(|world| match paused {
            true => {
                world.pause(node);
                Ok(())
            }
            false => world.resume(node),
        })
    }

    /// Whether a node is down, as one that fails ends.
    pub(crate) fn ended(&self, node: usize) -> Option<Ended> {
        let is_down = self.lock().world.status(node).is_none();
        is_down.then_some(Ended { code: Some(1) })
    }

    /// Ends a node. What is not durable by then is lost, whether it was asked to end or killed.
    pub(crate) fn end(&self, node: usize) -> Result<(), CallError> {
        self.lock().attempt(|world| world.crash(node))
    }

    pub(crate) fn restart(&self, node: usize) -> Result<(), CallError> {
        self.lock().attempt(|world| world.restart(node))
    }

    pub(crate) fn wipe(&self, node: usize) {
        self.lock().world.wipe(node);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("the world does not panic")
    }
}

fn streams(hashrates: &BTreeMap<StreamName, u64>) -> BTreeMap<Stream, u64> {
    let stream = |name: &StreamName| match name {
        StreamName::A => Stream::A,
        StreamName::B => Stream::B,
        StreamName::C => Stream::C,
    };
    let hashrates = hashrates.iter();
    hashrates
        .map(|(name, hashrate)| (stream(name), *hashrate))
        .collect()
}

impl Inner {
    fn attempt<T>(
        &mut self,
        act: impl FnOnce(&mut World) -> Result<T, Violation>,
    ) -> Result<T, CallError> {
        if let Some(violation) = &self.violation {
            return Err(CallError::Failed(violation.clone()));
        }
        act(&mut self.world).map_err(|violation| {
            let text = violation.to_string();
            self.violation = Some(text.clone());
            CallError::Failed(text)
        })
    }
}
