//! What goes wrong in a run, and what must hold meanwhile.
//!
//! A [`schedule`](schedule::Schedule) says which faults are active. From all of them together follows what each node should be
//! like: whether it runs, its clock, its hash rate, and what it does to what it sends ([`links`]). Whenever that differs from what
//! was last brought about, it is brought about. So faults overlap freely, and a node that starts again is as the faults want it
//! then.

pub mod links;
pub mod schedule;
pub mod snapshot;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use triskel::protocol::link::Conditions;

use crate::network::CallError;
use crate::plan::Plan;
use crate::scenario::Act;
use crate::stage::{Failure, Run};
use links::{Desired, desired};
use schedule::{Schedule, Turn, Wanted};
use snapshot::Snapshot;
use watch::Watch;

/// The faults and the checks of a run.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    schedule: Schedule,
    watch: Watch,
    /// When mining began, by the network's clock.
    began: Option<Duration>,
    /// What was brought about, by node.
    nodes: Vec<Applied>,
    /// The faults from which `links` follow.
    on_links: Vec<usize>,
    links: Desired,
    /// Whether all nodes are as wanted.
    settled: bool,
    over: Option<Over>,
}

/// What was brought about of a node.
#[derive(Clone, Debug, PartialEq)]
struct Applied {
    wanted: Wanted,
    links: BTreeMap<usize, Conditions>,
}

/// The end of all faults.
#[derive(Clone, Copy, Debug)]
struct Over {
    at: Duration,
    /// Every node must have so many blocks: what was true before the last fault ended proves nothing after it.
    blocks: u64,
}

impl Engine {
    /// The engine of a run of which nothing has started.
    pub fn new(plan: &Plan) -> Self {
        let schedule = Schedule::new(&plan.faults);
        let links = desired(plan.nodes.len(), &plan.edges, &[]);
        let nodes = plan.nodes.iter().zip(&links).enumerate();
        let applied = nodes.map(|(index, (node, links))| Applied {
            wanted: schedule.wanted(index, node),
            links: links.clone(),
        });
        Self {
            nodes: applied.collect(),
            watch: Watch::new(&plan.scenario.checks),
            began: None,
            on_links: Vec::new(),
            links,
            settled: true,
            over: None,
            schedule,
        }
    }

    /// The nodes that are meant to be down or to stand still now.
    pub fn absent(&self) -> BTreeSet<usize> {
        let nodes = self.nodes.iter().enumerate();
        let absent = nodes.filter(|(_, node)| !node.wanted.up || node.wanted.paused);
        absent.map(|(index, _)| index).collect()
    }

    /// When the last fault ended, by the network's clock; the start of mining if there was none.
    pub fn healed_at(&self) -> Option<Duration> {
        self.over.map(|over| over.at)
    }

    /// Looks at the checks. Nothing counts before mining has begun.
    ///
    /// # Errors
    ///
    /// One fails.
    pub fn look(&mut self, now: Duration, snapshot: &Snapshot<'_>) -> Result<(), Failure> {
        let Some(began) = self.began else {
            return Ok(());
        };
        let over = self.over.is_some();
        let looked = self.watch.look(now.saturating_sub(began), snapshot, over);
        looked.map_err(Failure::Verdict)
    }

    /// What the checks say of a run that is over.
    ///
    /// # Errors
    ///
    /// One fails.
    pub fn conclude(&self) -> Result<(), Failure> {
        self.watch.conclude().map_err(Failure::Verdict)
    }

    /// Takes mining to begin now, unless it has begun.
    pub fn begin(&mut self, now: Duration) {
        self.began.get_or_insert(now);
    }
}

impl Run {
    /// Lets those faults begin and end whose time has come, and brings all nodes to what the faults want of them.
    ///
    /// # Errors
    ///
    /// A node refuses, or the environment does.
    pub async fn advance_faults(&mut self) -> Result<(), Failure> {
        loop {
            let now = self.since_mining();
            let snapshot = Snapshot {
                plan: &self.plan,
                states: &self.states,
            };
            let turn = self.engine.schedule.turn(now, &snapshot);
            self.bring_about(turn).await?;
            if turn.is_none() {
                break;
            }
        }
        self.note_end();
        Ok(())
    }

    /// What is still awaited of the faults, where mining could end otherwise: those that last until then end now.
    ///
    /// # Errors
    ///
    /// As for [`advance_faults`](Self::advance_faults).
    pub async fn finish_faults(&mut self) -> Result<Option<String>, Failure> {
        if let Some(fault) = self.engine.schedule.unfinished() {
            let what = json!(fault.act);
            return Ok(Some(format!(
                "waiting for a fault to be over: {what} at {}",
                fault.when
            )));
        }
        while let Some(turn) = self.engine.schedule.heal() {
            self.bring_about(Some(turn)).await?;
        }
        self.note_end();
        if !self.engine.settled {
            return Ok(Some("waiting for nodes to be healed".to_owned()));
        }
        let wanted = self.engine.over.map_or(0, |over| over.blocks);
        let present = self.present();
        let fresh = |state: &&Option<_>| blocks_of(state) >= wanted;
        match present.iter().filter(fresh).count() {
            all if all == present.len() => Ok(None),
            some => Ok(Some(format!(
                "waiting for block {wanted} after the last fault: {some}/{} nodes there",
                present.len()
            ))),
        }
    }

    /// What the nodes said that are meant to answer.
    pub fn present(&self) -> crate::verdict::States {
        let absent = self.engine.absent();
        let states = self.states.iter().enumerate();
        let present = states.filter(|(node, _)| !absent.contains(node));
        present.map(|(_, state)| state.clone()).collect()
    }

    fn since_mining(&self) -> Duration {
        let now = self.network.now();
        now.saturating_sub(self.engine.began.unwrap_or(now))
    }

    fn note_end(&mut self) {
        if self.engine.over.is_some() || !self.engine.schedule.is_over() {
            return;
        }
        // Parts that were apart have more blocks together than any of them had: only what exceeds that is new. What a process mined
        // before its last start it does not know any more.
        let mined = |state: &crate::verdict::NodeState| state.mined.values().sum::<u64>();
        let together = self.states.iter().flatten().map(mined).sum();
        let longest = self.states.iter().map(blocks_of).max();
        let blocks = longest.unwrap_or_default().max(together);
        let fresh = match self.plan.faults.is_empty() {
            true => 0,
            false => blocks + self.plan.scenario.verdict.fresh_blocks,
        };
        self.engine.over = Some(Over {
            at: self.network.now(),
            blocks: fresh,
        });
        if !self.plan.faults.is_empty() {
            let details = json!({ "blocks_awaited": fresh });
            self.journal.event("faults_over", details);
        }
    }

    fn announce(&mut self, turn: Turn) {
        match turn {
            Turn::Begins(index) => {
                let fault = self.engine.schedule.fault(index);
                self.journal.fault_began(index, fault, &fault.nodes);
            }
            Turn::Ends(index) => self.journal.fault_ended(index),
        }
    }

    /// Brings all nodes to what the active faults want of them.
    async fn bring_about(&mut self, turn: Option<Turn>) -> Result<(), Failure> {
        if let Some(turn) = turn {
            self.announce(turn);
        }
        if self.plan.faults.is_empty() {
            return Ok(());
        }
        let engine = &mut self.engine;
        let on_links = engine.schedule.on_links(match engine.began {
            Some(began) => self.network.now().saturating_sub(began),
            None => Duration::ZERO,
        });
        if on_links != engine.on_links {
            let faults = on_links.iter().map(|&index| engine.schedule.fault(index));
            let faults: Vec<_> = faults.collect();
            engine.links = desired(self.plan.nodes.len(), &self.plan.edges, &faults);
            engine.on_links = on_links;
        }
        self.engine.settled = true;
        for node in 0..self.plan.nodes.len() {
            self.adapt(node, turn).await?;
        }
        self.network.set_absent(self.engine.absent());
        Ok(())
    }

    /// Brings a node to what is wanted of it. What an unanswering node does not take is tried again at the next look.
    async fn adapt(&mut self, node: usize, turn: Option<Turn>) -> Result<(), Failure> {
        let wanted = self.engine.schedule.wanted(node, &self.plan.nodes[node]);
        let act = match turn {
            Some(Turn::Begins(index)) => {
                let fault = self.engine.schedule.fault(index);
                let concerned = fault.nodes.binary_search(&node).is_ok();
                concerned.then(|| fault.act.clone())
            }
            _ => None,
        };
        let access = self.network.access(node).clone();
        let before = self.engine.nodes[node].wanted;
        if before.up && !wanted.up {
            let kill = act == Some(Act::Kill);
            self.backend.end(&access, node, kill).await?;
            self.engine.nodes[node].wanted.up = false;
            self.engine.nodes[node].wanted.paused = false;
            self.states[node] = None;
        }
        let is_down = !self.engine.nodes[node].wanted.up;
        if is_down && act == Some(Act::Wipe) {
            self.backend.wipe(&self.plan, &access, node)?;
        }
        self.adapt_conditions(node, wanted).await?;
        if is_down && wanted.up {
            self.backend.launch(&self.plan, &access, node)?;
            self.engine.nodes[node].wanted.up = true;
            // Hash rates do not survive the end of a process.
            self.engine.nodes[node].wanted.hashrate_factor = f64::NAN;
        }
        if wanted.up && self.engine.nodes[node].wanted.paused != wanted.paused {
            self.backend.pause(node, wanted.paused).await?;
            self.engine.nodes[node].wanted.paused = wanted.paused;
            self.states[node] = None;
        }
        self.adapt_mining(node, wanted).await
    }

    /// Sets links and clock: of a node that is down, on its disk.
    async fn adapt_conditions(&mut self, node: usize, wanted: Wanted) -> Result<(), Failure> {
        let links = &self.engine.links[node];
        let applied = &self.engine.nodes[node];
        let same_clock = applied.wanted.clock_offset_ms == wanted.clock_offset_ms;
        if (same_clock && applied.links == *links) || applied.wanted.paused {
            return Ok(());
        }
        let changed = links::changed(&applied.links, links);
        let access = self.network.access(node);
        let offset_ms = wanted.clock_offset_ms;
        let set = match applied.wanted.up {
            false => self
                .backend
                .keep_conditions(&self.plan, access, node, links, &changed, offset_ms)?,
            true => {
                access
                    .set_conditions(&self.plan, links, &changed, offset_ms)
                    .await
            }
        };
        match set {
            Ok(()) => {
                let applied = &mut self.engine.nodes[node];
                applied.links = self.engine.links[node].clone();
                applied.wanted.clock_offset_ms = offset_ms;
                Ok(())
            }
            Err(error) => self.put_off(node, "take its links' conditions", error),
        }
    }

    /// Sets the hash rate, and sees that it mines: a process that starts does not by itself.
    async fn adapt_mining(&mut self, node: usize, wanted: Wanted) -> Result<(), Failure> {
        let Some(state) = &self.states[node] else {
            return Ok(());
        };
        let mining = state.mining;
        let access = self.network.access(node).clone();
        let factor = self.engine.nodes[node].wanted.hashrate_factor;
        if factor != wanted.hashrate_factor {
            let set = access.set_hashrate(&self.plan, node, wanted.hashrate_factor);
            match set.await {
                Ok(()) => {
                    self.engine.nodes[node].wanted.hashrate_factor = wanted.hashrate_factor;
                }
                Err(error) => return self.put_off(node, "take its hash rate", error),
            }
        }
        if !mining && let Err(error) = access.start_mining().await {
            return self.put_off(node, "start mining", error);
        }
        Ok(())
    }

    /// A node that starts or is busy may not answer now; one that refuses is wrong.
    fn put_off(&mut self, node: usize, what: &str, error: CallError) -> Result<(), Failure> {
        self.engine.settled = false;
        match error {
            CallError::Silent(_) => Ok(()),
            error => {
                let name = &self.plan.nodes[node].name;
                Err(Failure::Verdict(format!("{name} does not {what}: {error}")))
            }
        }
    }
}

fn blocks_of(state: &Option<crate::verdict::NodeState>) -> u64 {
    state.as_ref().map_or(0, |state| state.blocks)
}
