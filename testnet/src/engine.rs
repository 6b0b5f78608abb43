//! What goes wrong in a run, and what must hold meanwhile.
//!
//! A [`schedule`](schedule::Schedule) says which faults are active. From all of them together follows what each node should be
//! like: whether it runs, its clock, its hash rate, and what it does to what it sends ([`links`]). Whenever that differs from what
//! was last brought about, it is brought about. So faults overlap freely, and a node that starts again is as the faults want it
//! then.

mod adapt;
pub mod invariants;
pub mod lasting;
pub mod links;
pub mod logs;
pub mod measure;
pub mod probe;
pub mod readings;
pub mod schedule;
pub mod snapshot;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use triskel::protocol::link::Conditions;
use triskel::sim::watch::Session;

use crate::evidence::record::LinkLine;
use crate::evidence::recording::Judged;
use crate::plan::Plan;
use crate::scenario::{Edge, Invariants};
use crate::stage::{Failure, Run};
use links::{Desired, desired};
use measure::Measurements;
use probe::{Effect, Probe, Sight};
use schedule::{Schedule, Surroundings, Turn, Wanted};
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
    /// The machines that were taken away, and are not back yet.
    lost_machines: BTreeSet<u64>,
    /// Nodes of a lasting network that have ended by themselves: nothing is done to them until somebody starts them again.
    lost: BTreeSet<usize>,
    /// Whether all nodes are as wanted.
    settled: bool,
    over: Option<Over>,
    invariants: Invariants,
    /// The invariant that does not hold, and why.
    violated: Option<(&'static str, String)>,
    /// What is found of links.
    pub measurements: Measurements,
    /// Effects that are waited for.
    pub probes: Vec<Probe>,
    /// When links were looked at last, by the network's clock.
    pub looked: Duration,
}

/// What was brought about of a node.
#[derive(Clone, Debug, PartialEq)]
struct Applied {
    wanted: Wanted,
    links: BTreeMap<usize, Conditions>,
    /// Whether it has ended by itself since it was started last.
    fell: bool,
}

/// Why a node may end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Borne {
    /// It can write nothing.
    DiskFull,
    /// The scenario does not demand that it goes on.
    Allowed,
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
            fell: false,
        });
        Self {
            nodes: applied.collect(),
            watch: Watch::new(&plan.scenario.checks),
            began: None,
            on_links: Vec::new(),
            links,
            lost_machines: BTreeSet::new(),
            lost: BTreeSet::new(),
            settled: true,
            over: None,
            invariants: plan.scenario.verdict.invariants.clone(),
            violated: None,
            measurements: Measurements::default(),
            probes: Vec::new(),
            looked: Duration::ZERO,
            schedule,
        }
    }

    /// The nodes that are meant to be down or to stand still now.
    pub fn absent(&self) -> BTreeSet<usize> {
        let nodes = self.nodes.iter().enumerate();
        let absent = nodes.filter(|(_, node)| !node.wanted.up || node.wanted.paused);
        let absent = absent.map(|(index, _)| index);
        absent.chain(self.lost.iter().copied()).collect()
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
        if let Err((name, why)) = invariants::look(&self.invariants, snapshot) {
            let text = format!("invariant {name} does not hold: {why}");
            self.violated = Some((name, why));
            return Err(Failure::Verdict(text));
        }
        let over = self.over.is_some();
        let looked = self.watch.look(now.saturating_sub(began), snapshot, over);
        looked.map_err(Failure::Verdict)
    }

    /// How the checks and the demanded invariants stand, once the run is over.
    pub fn judged(&self) -> Vec<Judged> {
        let mut names = self.invariants.demanded();
        names.extend(self.violated.iter().map(|(name, _)| *name));
        names.sort_unstable();
        names.dedup();
        let invariant = |name: &'static str| {
            let why = self.violated.iter().find(|(violated, _)| *violated == name);
            Judged {
                name: format!("invariant {name}"),
                holds: why.is_none(),
                reason: why.map(|(_, why)| why.clone()).unwrap_or_default(),
            }
        };
        let invariants = names.into_iter().map(invariant);
        invariants.chain(self.watch.judged()).collect()
    }

    /// Takes notice of a node that has ended by itself, and tells why that is to be borne. It is started again as soon as it has
    /// room.
    ///
    /// # Errors
    ///
    /// It is not: how it ended stands in the text.
    pub fn note_fall(&mut self, node: usize, how: String) -> Result<Borne, Failure> {
        let applied = &mut self.nodes[node];
        let borne = match applied.wanted.surroundings.disk_full {
            true => Borne::DiskFull,
            false if self.invariants.no_unexpected_restart == Some(false) => Borne::Allowed,
            false => {
                self.violated = Some(("no_unexpected_restart", how.clone()));
                return Err(Failure::Verdict(how));
            }
        };
        applied.wanted.up = false;
        applied.wanted.paused = false;
        applied.fell = true;
        Ok(borne)
    }

    /// What the checks say of a run that is over.
    ///
    /// # Errors
    ///
    /// One fails.
    pub fn conclude(&self) -> Result<(), Failure> {
        self.watch.conclude().map_err(Failure::Verdict)
    }

    /// When mining began, by the network's clock; zero before.
    pub fn began(&self) -> Duration {
        self.began.unwrap_or_default()
    }

    /// What all links should be like, so long after mining began.
    fn update_links(&mut self, plan: &Plan, now: Duration) {
        let on_links = self.schedule.on_links(now);
        if on_links != self.on_links {
            let faults = on_links.iter().map(|&index| self.schedule.fault(index));
            let faults: Vec<_> = faults.collect();
            self.links = desired(plan.nodes.len(), &plan.edges, &faults);
            self.on_links = on_links;
        }
    }

    /// The receivers for whom something differs from what was brought about of a node's links; nothing if all is as wanted.
    fn changed(&self, node: usize, wanted: Wanted) -> Option<BTreeSet<usize>> {
        let (links, applied) = (&self.links[node], &self.nodes[node]);
        let same_machine = applied.wanted.surroundings == wanted.surroundings;
        let is_settled = same_machine && applied.links == *links;
        (!is_settled).then(|| links::changed(&applied.links, links))
    }

    /// Takes a node's links and clock to be as wanted.
    fn applied(&mut self, node: usize, surroundings: Surroundings) {
        let applied = &mut self.nodes[node];
        applied.links.clone_from(&self.links[node]);
        applied.wanted.surroundings = surroundings;
    }

    /// What is done to what a node sends another, and to what comes back.
    pub fn asked(&self, from: usize, to: usize) -> [Conditions; 2] {
        let link = |from: usize, to| self.nodes[from].links.get(to).copied().unwrap_or_default();
        [link(from, &to), link(to, &from)]
    }

    /// Whether something is done to some link.
    pub fn has_conditions(&self) -> bool {
        self.nodes.iter().any(|node| !node.links.is_empty())
    }

    /// Takes in what a node says of its sessions, and hands out what was found of links that have changed.
    pub fn take_sessions(
        &mut self,
        now: Duration,
        from: usize,
        sessions: &[Session],
    ) -> Vec<LinkLine> {
        let mut probes = std::mem::take(&mut self.probes);
        for probe in &mut probes {
            probe.look(now, from, sessions, |to| {
                let [out, _] = self.asked(from, to);
                Duration::from_micros(out.delay_us + out.jitter_us)
            });
        }
        self.probes = probes;
        let mut measurements = std::mem::take(&mut self.measurements);
        let lines = measurements.look(now, from, sessions, |to| self.asked(from, to));
        self.measurements = measurements;
        lines
    }

    /// The probes that are over, and what they saw.
    pub fn sights(&mut self, now: Duration) -> Vec<(Probe, Sight)> {
        let probes = std::mem::take(&mut self.probes);
        let mut sights = Vec::new();
        for probe in probes {
            match probe.sight(now) {
                Some(sight) => sights.push((probe, sight)),
                None => self.probes.push(probe),
            }
        }
        sights
    }

    /// Waits for the effect that a fault, as it begins or ends, has on links that were cut and are not, or the reverse.
    fn probe(&mut self, turn: Turn, since: Duration, before: &Desired, edges: &[Edge]) {
        let is_cut = |links: &BTreeMap<usize, Conditions>, to: &usize| {
            links.get(to).is_some_and(|link| link.cut.is_some())
        };
        let (fault, effect) = match turn {
            Turn::Begins(fault) => (fault, Effect::Cut),
            Turn::Ends(fault) => (fault, Effect::Healed),
        };
        let runs = |node: usize| self.nodes[node].wanted.up && !self.nodes[node].wanted.paused;
        let both = |edge: &Edge| [(edge.from, edge.to), (edge.to, edge.from)];
        let links = edges.iter().flat_map(both);
        let changed = links.filter(|&(from, to)| {
            let (was, is) = (is_cut(&before[from], &to), is_cut(&self.links[from], &to));
            was != is && is == (effect == Effect::Cut) && runs(from) && runs(to)
        });
        let links: Vec<_> = changed.collect();
        if !links.is_empty() {
            self.probes.push(Probe::new(fault, effect, since, links));
        }
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
                readings: &self.readings,
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

    /// The nodes that the verdict is not about now: those that are down or stand still on purpose, and those that break the rules.
    pub fn left_out(&self) -> BTreeSet<usize> {
        let nodes = self.plan.nodes.iter().enumerate();
        let rogues = nodes.filter(|(_, node)| !node.role.is_honest());
        let rogues = rogues.map(|(index, _)| index);
        self.engine.absent().into_iter().chain(rogues).collect()
    }

    /// What the others said.
    pub fn present(&self) -> crate::verdict::States {
        let left_out = self.left_out();
        let states = self.states.iter().enumerate();
        let present = states.filter(|(node, _)| !left_out.contains(node));
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
        let fell = self.engine.nodes.iter().any(|node| node.fell);
        if self.engine.schedule.is_empty() && self.engine.settled && !fell {
            return Ok(());
        }
        let since = self.network.now();
        let before = self.engine.links.clone();
        let now = self.since_mining();
        self.engine.update_links(&self.plan, now);
        self.engine.settled = true;
        self.adapt_machines().await?;
        self.adapt_running().await?;
        for node in 0..self.plan.nodes.len() {
            if !self.engine.lost.contains(&node) {
                self.adapt(node, turn).await?;
            }
        }
        self.network.set_absent(self.engine.absent());
        if let Some(turn) = turn {
            self.engine.probe(turn, since, &before, &self.plan.edges);
        }
        Ok(())
    }
}

fn blocks_of(state: &Option<crate::verdict::NodeState>) -> u64 {
    state.as_ref().map_or(0, |state| state.blocks)
}
