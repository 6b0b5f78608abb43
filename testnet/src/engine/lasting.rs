//! Faults of a network that outlives the commands which hurt and heal it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use triskel::protocol::link::Conditions;

use super::readings::Readings;
use super::schedule::{Turn, Wanted};
use super::{Applied, Engine};
use crate::journal::Journal;
use crate::network::Network;
use crate::plan::Plan;
use crate::scenario::{Act, Occurrence};
use crate::stage::{Failure, Run};

/// A fault that has begun. Times count from when the network was made, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// What it is called, by number.
    pub number: u64,
    /// What goes wrong, and for whom.
    pub fault: Occurrence,
    /// Since when.
    pub since_ms: u64,
    /// When it ends by itself: absent if it lasts until it is healed.
    pub until_ms: Option<u64>,
    /// Whether it is over. Clocks that have jumped stay off.
    pub over: bool,
}

impl Begun {
    /// Whether anything of it is left.
    pub fn matters(&self) -> bool {
        !self.over || matches!(self.fault.act, Act::ClockJump(_))
    }

    /// Whether it does nothing but keep nodes down.
    pub fn keeps_down(&self) -> bool {
        matches!(self.fault.act, Act::Stop | Act::Kill)
    }
}

impl Engine {
    /// The engine of a network whose nodes are as these faults want them.
    pub fn resume(plan: &Plan, begun: &[Begun]) -> Self {
        let mut engine = Self::new(plan);
        for begun in begun {
            let until = begun.until_ms.map(Duration::from_millis);
            let since = Duration::from_millis(begun.since_ms);
            engine.schedule.begin(begun.fault.clone(), since, until);
        }
        for (index, begun) in begun.iter().enumerate() {
            if begun.over {
                engine.schedule.end(index);
            }
        }
        // Times count from when the network was made.
        engine.began = Some(Duration::ZERO);
        engine
    }

    /// Takes all nodes to be as the faults want them.
    fn take_as_wanted(&mut self, plan: &Plan, now: Duration) {
        self.update_links(plan, now);
        // Whether the last command that looked found them open or shut is not known: what is set is set anew.
        let flaps = self.schedule.flaps();
        let nodes = plan.nodes.iter().zip(&self.links).enumerate();
        let applied = nodes.map(|(index, (node, links))| Applied {
            wanted: self.schedule.wanted(index, node),
            links: links.clone(),
            fell: false,
        });
        self.nodes = applied.collect();
        if flaps {
            (0..self.nodes.len()).for_each(|node| self.doubt(node));
        }
    }

    /// Takes nothing to be known of what a node does to its links: that is brought about anew.
    fn doubt(&mut self, node: usize) {
        // No node has a link to itself, so this differs from all that can be wanted.
        self.nodes[node].links.insert(node, Conditions::default());
    }

    /// What the faults make of a node.
    pub fn wanted(&self, plan: &Plan, node: usize) -> Wanted {
        self.schedule.wanted(node, &plan.nodes[node])
    }
}

impl Run {
    /// Takes all nodes to be as the faults want them, and to run.
    pub fn resume(&mut self) {
        let now = self.network.now();
        self.engine.take_as_wanted(&self.plan, now);
        self.network.set_absent(self.engine.absent());
    }

    /// Makes a run of this plan of the nodes of one that stays up. They are to have so many blocks more.
    pub async fn attach(&mut self, plan: Plan, journal: Journal, network: Network) {
        self.engine = Engine::new(&plan);
        self.readings = Readings::new(&plan);
        self.transfers.wanted = plan.scenario.transfers;
        (self.plan, self.journal, self.network) = (plan, journal, network);
        self.states = self.network.states().await;
        let blocks = self.states.iter().flatten().map(|state| state.blocks);
        self.plan.scenario.blocks += blocks.max().unwrap_or_default();
    }

    /// Ends what is done to nodes, as far as they let it: whoever ended for good stays down.
    pub async fn heal_all(&mut self) {
        while let Some(turn) = self.engine.schedule.heal() {
            if self.bring_about(Some(turn)).await.is_err() {
                return;
            }
        }
    }

    /// Takes nothing to be known of what nodes do to their links, for others have come or gone.
    pub fn doubt_links(&mut self) {
        (0..self.plan.nodes.len()).for_each(|node| self.engine.doubt(node));
    }

    /// Takes a node that should run to have ended by itself.
    pub fn note_lost(&mut self, node: usize) {
        self.engine.lost.insert(node);
        self.network.set_absent(self.engine.absent());
    }

    /// Takes a node that should not run to do so, and has it end when nodes are brought to what is wanted of them.
    pub fn note_running(&mut self, node: usize) {
        self.engine.nodes[node].wanted.up = true;
    }

    /// Takes a node not to run, and has it start when nodes are brought to what is wanted of them.
    pub fn note_down(&mut self, node: usize) {
        self.engine.lost.remove(&node);
        let wanted = &mut self.engine.nodes[node].wanted;
        (wanted.up, wanted.paused) = (false, false);
        self.engine.doubt(node);
        self.network.set_absent(self.engine.absent());
    }

    /// Has a fault begin now, and brings it about as far as nodes answer.
    ///
    /// # Errors
    ///
    /// A node refuses, or the environment does.
    pub async fn hurt(
        &mut self,
        fault: Occurrence,
        until: Option<Duration>,
    ) -> Result<(), Failure> {
        let now = self.network.now();
        let turn = self.engine.schedule.begin(fault, now, until);
        self.bring_about(Some(turn)).await
    }

    /// Has a fault end now, and brings that about as far as nodes answer.
    ///
    /// # Errors
    ///
    /// A node refuses, or the environment does.
    pub async fn heal(&mut self, index: usize) -> Result<(), Failure> {
        let turn: Turn = self.engine.schedule.end(index);
        self.bring_about(Some(turn)).await
    }

    /// Opens or shuts the links of flapping nodes, as is their turn now.
    ///
    /// # Errors
    ///
    /// A node refuses, or the environment does.
    pub async fn flap(&mut self) -> Result<(), Failure> {
        self.bring_about(None).await
    }

    /// Brings nodes to what is wanted of them, until all that are meant to run answer, mine and are as wanted.
    ///
    /// # Errors
    ///
    /// A node refuses or ends, or does not answer in the time in which nodes start.
    pub async fn settle(&mut self) -> Result<(), Failure> {
        let within = self.plan.scenario.verdict.start_within;
        let deadline = self.network.now() + within.as_duration();
        loop {
            self.states = self.network.states().await;
            self.engine.settled = false;
            self.bring_about(None).await?;
            // Who breaks the rules need not answer.
            let wanted = |node: &usize| {
                !self.network.is_absent(*node) && self.plan.nodes[*node].role.is_honest()
            };
            let open = |node: &usize| {
                !self.states[*node]
                    .as_ref()
                    .is_some_and(|state| state.mining)
            };
            let open: Vec<_> = (0..self.states.len()).filter(wanted).filter(open).collect();
            if open.is_empty() && self.engine.settled {
                return Ok(());
            }
            for &node in &open {
                let access = self.network.access(node).clone();
                if self.states[node].is_none()
                    && let Some(ended) = self.backend.ended(&access, node).await
                {
                    let name = &self.plan.nodes[node].name;
                    return Err(Failure::Verdict(format!("{name} {ended}")));
                }
            }
            let text = match open.first() {
                Some(&node) => format!(
                    "waiting for {} to answer and mine",
                    self.plan.nodes[node].name
                ),
                None => "waiting for nodes to take what is done to them".to_owned(),
            };
            self.progress.show(&text);
            self.check_deadline(deadline, within, &text)?;
            self.network.pause().await;
        }
    }
}
