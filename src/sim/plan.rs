//! Random trouble from a seed: first safety under faults, then, once everything is healed, liveness.
//!
//! The two phases are separate because they find different bugs: a network may never disagree and yet never agree again
//! (TigerBeetle's VOPR learned that from a simulator with one phase).

use std::fmt;
use std::sync::Arc;

use super::check::Violation;
use super::setup::WorldConfig;
use super::simulated;
use super::world::World;
use crate::protocol::chain::id::AccountId;
use crate::protocol::chain::key::KeyPair;
use crate::protocol::chain::params::{Allocation, Network, Params};
use crate::protocol::chain::transaction::{SharedTransaction, Transfer, UNITS_PER_COIN};
use crate::protocol::machine::io::Ticket;
use crate::protocol::rng::Rng;

/// Something that goes wrong, or right again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nodes of different groups no longer reach each other.
    Partition(Vec<usize>),
    /// All reach each other again.
    Heal,
    /// A node ends without warning.
    Crash(usize),
    /// A node that is down starts.
    Restart(usize),
    /// One of a node's connections breaks.
    Reset(usize),
    /// A node stops mining, or starts again.
    Mine(usize, bool),
}

/// What a seed expands into.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    nodes: usize,
    streams: usize,
    interval_ms: u64,
    latency_us: (u64, u64),
    persist_us: (u64, u64),
    /// What happens, and how long after the one before, in milliseconds.
    faults: Vec<(u64, Fault)>,
    senders: Vec<KeyPair>,
}

/// What a plan led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Blocks of the order in the end.
    pub blocks: u64,
    /// Transfers that were handed in, one of each sender's nonces applied everywhere.
    pub transfers: usize,
    /// The hash of everything that happened.
    pub trace: String,
}

/// A transfer of the load. If it was answered, it or what replaced it is applied in the end, whatever happens to the nodes it was
/// handed to.
struct Submission {
    transaction: SharedTransaction,
    tickets: Vec<Ticket>,
    answered: bool,
}

impl Plan {
    /// Draws a plan.
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let nodes = 3 + rng.below(6) as usize;
        let interval_ms = [100, 300, 1_000, 3_000][rng.below(4) as usize];
        let latency_ms = 1 + rng.below(interval_ms);
        let count = 5 + rng.below(25);
        let mut plan = Self {
            seed,
            nodes,
            streams: if rng.below(3) == 0 { 3 } else { 1 },
            interval_ms,
            latency_us: (latency_ms * 100, latency_ms * 1_000),
            persist_us: (100, 1_000 * (1 + rng.below(2 * interval_ms))),
            faults: Vec::new(),
            senders: (0..3)
                .map(|sender| KeyPair::from_seed(&[sender, seed as u8]))
                .collect(),
        };
        for _ in 0..count {
            let wait_ms = rng.below(12 * interval_ms);
            let fault = plan.fault(&mut rng);
            plan.faults.push((wait_ms, fault));
        }
        plan
    }

    fn fault(&self, rng: &mut Rng) -> Fault {
        let node = rng.below(self.nodes as u64) as usize;
        match rng.below(9) {
            0 | 1 => Fault::Partition((0..self.nodes).map(|_| rng.below(3) as usize).collect()),
            2 => Fault::Heal,
            3 | 4 => Fault::Crash(node),
            5 | 6 => Fault::Restart(node),
            7 => Fault::Reset(node),
            _ => Fault::Mine(node, rng.below(2) == 0),
        }
    }

    fn network(&self) -> Result<Arc<Network>, Violation> {
        let mut params = simulated(if self.streams == 3 {
            Params::tri()
        } else {
            Params::chain()
        });
        for (index, stream) in params.streams.iter_mut().enumerate() {
            stream.interval_ms = self.interval_ms * [1, 2, 5][index];
            stream.half_life_ms = 60 * stream.interval_ms;
            stream.tune(2_000 * self.nodes as u64);
        }
        let endow = |keys: &KeyPair| Allocation {
            account: keys.public(),
            balance: 1_000 * UNITS_PER_COIN,
        };
        params.allocations = self.senders.iter().map(endow).collect();
        params
            .allocations
            .sort_by_key(|allocation| allocation.account);
        let made = Network::new(params).map(Arc::new);
        made.map_err(|error| Violation {
            at_ms: 0,
            node: 0,
            what: error.to_string(),
        })
    }

    /// Runs both phases.
    ///
    /// # Errors
    ///
    /// An invariant was violated, or the network did not come to rest.
    pub fn run(&self) -> Result<Report, Violation> {
        let mut config = WorldConfig::new(self.seed, self.network()?, self.nodes);
        config.latency_us = self.latency_us;
        config.persist_us = self.persist_us;
        let mut world = World::new(config)?;
        let mut rng = Rng::new(self.seed ^ 0x6c6f_6164);
        let mut load: Vec<Submission> = Vec::new();
        for (wait_ms, fault) in &self.faults {
            for _ in 0..3 {
                world.run_for(wait_ms / 3)?;
                self.submit(&mut world, &mut rng, &mut load)?;
            }
            apply(&mut world, fault)?;
        }
        self.revive(&mut world, &mut load)?;
        let (blocks, trace) = (world.tip(0).map_or(0, |tip| tip.number), world.trace().0);
        Ok(Report {
            blocks,
            transfers: load.len(),
            trace,
        })
    }

    /// Hands a transfer of a random sender to a random node: mostly its next; else an earlier one again, or in place of it one that
    /// pays more.
    fn submit(
        &self,
        world: &mut World,
        rng: &mut Rng,
        load: &mut Vec<Submission>,
    ) -> Result<(), Violation> {
        let keys = &self.senders[rng.below(self.senders.len() as u64) as usize];
        let sender = keys.public();
        let mine = |submission: &&Submission| submission.transaction.transfer().sender == sender;
        let earlier: Vec<usize> = (0..load.len())
            .filter(|index| mine(&&load[*index]))
            .collect();
        let node = rng.below(self.nodes as u64) as usize;
        let again = (!earlier.is_empty() && rng.below(4) == 0)
            .then(|| earlier[rng.below(earlier.len() as u64) as usize]);
        let replaced = match again {
            Some(index) if rng.below(2) == 0 => {
                let submission = &mut load[index];
                let ticket = world.submit(node, Arc::clone(&submission.transaction))?;
                submission.tickets.extend(ticket);
                note_answers(world, load);
                return Ok(());
            }
            Some(index) => Some(*load[index].transaction.transfer()),
            None => None,
        };
        let nonce = replaced.map_or_else(|| nonce(load, &sender), |old| old.nonce);
        let recipient = AccountId([rng.below(4) as u8; 32]);
        let transfer = Transfer {
            sender,
            recipient,
            amount: rng.below(1_000),
            fee: replaced.map_or(0, |old| 2 * old.fee) + 1 + rng.below(10),
            nonce,
        };
        let transaction = Arc::new(transfer.sign(&world.network().id(), keys));
        let ticket = world.submit(node, Arc::clone(&transaction))?;
        load.push(Submission {
            transaction,
            tickets: ticket.into_iter().collect(),
            answered: false,
        });
        note_answers(world, load);
        Ok(())
    }

    /// Heals everything, and waits until every node has the same tip with every transfer in it.
    fn revive(&self, world: &mut World, load: &mut [Submission]) -> Result<(), Violation> {
        world.heal()?;
        for node in 0..self.nodes {
            world.restart(node)?;
            world.mine(node, true)?;
        }
        note_answers(world, load);
        // What was not answered may be lost: its user asks again, as users do.
        for submission in load.iter_mut().filter(|submission| !submission.answered) {
            world.submit(0, Arc::clone(&submission.transaction))?;
        }
        // Peers that were lost are dialled within 30 s, and a link that died unnoticed is given up after as much.
        let patience_ms = 240_000 + 400 * self.interval_ms;
        let applied = |world: &World| {
            self.senders.iter().map(KeyPair::public).all(|sender| {
                let wanted = nonce(load, &sender);
                (0..world.nodes()).all(|node| world.account(node, &sender).nonce == wanted)
            })
        };
        let drained = |world: &World| {
            (0..world.nodes()).all(|node| world.status(node).is_some_and(|is| is.mempool == 0))
        };
        if !world.run_until(patience_ms, applied)? {
            return Err(world.violation(
                0,
                format!("{self}: transfers are missing: {}", missing(world, load)),
            ));
        }
        for node in 0..self.nodes {
            world.mine(node, false)?;
        }
        if !world.run_until(patience_ms, |world| world.agrees() && applied(world))? {
            return Err(world.violation(0, format!("{self}: no agreement: {}", tips(world))));
        }
        if !world.run_until(patience_ms, drained)? {
            return Err(world.violation(0, format!("{self}: mempools do not drain")));
        }
        Ok(())
    }
}

fn note_answers(world: &World, load: &mut [Submission]) {
    for submission in load {
        let answers = submission.tickets.iter();
        let mut answers = answers.filter_map(|ticket| world.answer(*ticket));
        submission.answered |= answers.any(Result::is_ok);
    }
}

/// The first nonce of a sender that no transfer of the load has.
fn nonce(load: &[Submission], sender: &AccountId) -> u64 {
    let transfers = load
        .iter()
        .map(|submission| submission.transaction.transfer());
    let nonces = transfers.filter(|transfer| transfer.sender == *sender);
    nonces.map(|transfer| transfer.nonce + 1).max().unwrap_or(0)
}

fn apply(world: &mut World, fault: &Fault) -> Result<(), Violation> {
    match fault {
        Fault::Partition(groups) => world.partition(groups),
        Fault::Heal => world.heal(),
        Fault::Crash(node) => world.crash(*node),
        Fault::Restart(node) => world.restart(*node),
        Fault::Reset(node) => {
            world.reset_one(*node);
            Ok(())
        }
        Fault::Mine(node, mining) => world.mine(*node, *mining),
    }
}

fn missing(world: &World, load: &[Submission]) -> String {
    let absent = |submission: &&Submission| {
        let transfer = submission.transaction.transfer();
        (0..world.nodes()).any(|node| world.account(node, &transfer.sender).nonce <= transfer.nonce)
    };
    let describe = |submission: &Submission| {
        let transfer = submission.transaction.transfer();
        format!(
            "{:.8}#{} answered={}",
            transfer.sender, transfer.nonce, submission.answered
        )
    };
    let texts: Vec<_> = load.iter().filter(absent).map(describe).collect();
    format!("{}; {}", texts.join(", "), tips(world))
}

fn tips(world: &World) -> String {
    let tip = |node| {
        world
            .tip(node)
            .map(|tip| format!("#{} {:.8}", tip.number, tip.id))
    };
    format!("{:?}", (0..world.nodes()).map(tip).collect::<Vec<_>>())
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "seed {}: {} nodes, {} streams, blocks {} ms apart, latency {:?} us, disk {:?} us, {} faults",
            self.seed,
            self.nodes,
            self.streams,
            self.interval_ms,
            self.latency_us,
            self.persist_us,
            self.faults.len(),
        )
    }
}
