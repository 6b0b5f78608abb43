//! The stages of a run, one file a verb. Each waits for a condition with a deadline, and says what it waits for.

pub mod arrivals;
pub mod check;
pub mod load;
pub mod measure;
pub mod observe;
pub mod open_load;
pub mod start;
pub mod stop;
pub mod wait;

use std::time::Duration;

use serde_json::json;

use crate::backend::{Backend, BackendError, Ended};
use crate::engine::readings::Readings;
use crate::engine::snapshot::Snapshot;
use crate::engine::{Borne, Engine};
use crate::journal::Journal;
use crate::network::{CallError, Network};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{LoadReport, Transfers};
use crate::scenario::Span;
use crate::verdict::{Agreement, NodeState, States};
use open_load::OpenLoad;

/// A run under way: what the stages share.
pub struct Run {
    /// What was planned.
    pub plan: Plan,
    /// What the nodes are.
    pub backend: Backend,
    /// The nodes, once started.
    pub network: Network,
    /// What a person sees meanwhile.
    pub progress: Progress,
    /// What is kept of it.
    pub journal: Journal,
    /// What the nodes said last.
    pub states: States,
    /// What was read of them beside that.
    pub readings: Readings,
    /// What goes wrong, and what must hold meanwhile.
    pub engine: Engine,
    /// What became of the transfers.
    pub transfers: Transfers,
    /// What became of the load.
    pub load: LoadReport,
    /// When all agreed for the first time after the last fault.
    pub reunited: Option<Duration>,
    /// How long that took, once mining has ended and all agree: from the last fault, or without faults from the end of mining.
    pub convergence: Option<Duration>,
    /// From the end of mining until all agreed.
    pub settlement: Option<Duration>,
    /// How long each stage took, in milliseconds.
    pub stages_ms: Vec<(&'static str, u64)>,
}

/// Why a run ends without a verdict that holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The nodes did not do what they should.
    #[error("{0}")]
    Verdict(String),
    /// The environment was not what the scenario asked for.
    #[error("{0}")]
    Environment(String),
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Environment(error.to_string())
    }
}

/// Whether a condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It does.
    Done,
    /// It does not; the text says what is awaited and how far it is.
    Waiting(String),
}

impl Run {
    /// A run of which nothing has started.
    pub fn new(plan: Plan, backend: Backend, progress: Progress, journal: Journal) -> Self {
        let transfers = Transfers {
            wanted: plan.scenario.transfers,
            ..Transfers::default()
        };
        Self {
            states: vec![None; plan.nodes.len()],
            readings: Readings::new(&plan),
            engine: Engine::new(&plan),
            network: Network::new(Vec::new()),
            plan,
            backend,
            progress,
            journal,
            transfers,
            load: LoadReport::default(),
            reunited: None,
            convergence: None,
            settlement: None,
            stages_ms: Vec::new(),
        }
    }

    /// All stages until every node agrees. The nodes go on afterwards: see [`stop`].
    pub async fn perform(&mut self) -> Result<(), Failure> {
        self.stage("start", start::start).await?;
        self.stage("links", measure::links).await?;
        self.work().await
    }

    /// The stages of nodes that run.
    pub async fn work(&mut self) -> Result<(), Failure> {
        /// A block in flight when mining stops can take transfers back. That they are all back once more is as rare
        /// as three in a row.
        const ROUNDS: usize = 3;
        let mut load = load::Load::plan(self).await?;
        let mut open_load = OpenLoad::plan(self).await?;
        for _ in 0..ROUNDS {
            self.stage("mine", async |run| {
                wait::until_blocks(run, &mut load, &mut open_load).await
            })
            .await?;
            self.stage("converge", check::converge).await?;
            if self
                .stage("verify", async |run| {
                    check::verify(run, &load, &open_load).await
                })
                .await?
            {
                return self.engine.conclude();
            }
        }
        Err(Failure::Verdict(format!(
            "{} of {} transfers are not applied on every node after {ROUNDS} rounds of mining",
            self.transfers.wanted - self.transfers.applied + self.load.accepted - self.load.applied,
            self.transfers.wanted + self.load.accepted
        )))
    }

    async fn stage<T>(
        &mut self,
        name: &'static str,
        perform: impl AsyncFnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.journal
            .event("stage_started", json!({ "stage": name }));
        let before = self.journal.elapsed_ms();
        let result = perform(self).await;
        let took_ms = self.journal.elapsed_ms() - before;
        self.stages_ms.push((name, took_ms));
        let error = result.as_ref().err().map(ToString::to_string);
        let details = json!({ "stage": name, "took_ms": took_ms, "error": error });
        self.journal.event("stage_ended", details);
        result
    }

    /// Asks all nodes again and again until `judge` is content. Ends early when a node has ended by itself.
    pub async fn until(
        &mut self,
        within: Span,
        mut judge: impl FnMut(&[Option<NodeState>]) -> Step,
    ) -> Result<(), Failure> {
        let deadline = self.network.now() + within.as_duration();
        loop {
            self.ask().await?;
            let Step::Waiting(text) = judge(&self.states) else {
                return Ok(());
            };
            self.progress.show(&text);
            self.check_deadline(deadline, within, &text)?;
            self.network.pause().await;
        }
    }

    /// Asks all nodes once.
    async fn ask(&mut self) -> Result<(), Failure> {
        self.states = self.network.states().await;
        observe::observe(self).await;
        measure::watch(self).await;
        if let Some(violation) = self.network.violation() {
            return Err(Failure::Verdict(violation));
        }
        for node in 0..self.states.len() {
            let access = self.network.access(node).clone();
            if self.states[node].is_none()
                && !self.network.is_absent(node)
                && let Some(ended) = self.backend.ended(&access, node).await
            {
                self.note_fall(node, &ended)?;
            }
        }
        let now = self.network.now();
        let hurt = !self.plan.faults.is_empty() && self.engine.healed_at().is_some();
        if hurt && self.reunited.is_none() {
            let agreement = Agreement::among(&self.states, &self.engine.absent());
            self.reunited = agreement.holds().then_some(now);
        }
        let snapshot = Snapshot {
            plan: &self.plan,
            states: &self.states,
            readings: &self.readings,
        };
        self.engine.look(now, &snapshot)
    }

    fn note_fall(&mut self, node: usize, ended: &Ended) -> Result<(), Failure> {
        let name = &self.plan.nodes[node].name;
        let borne = self.engine.note_fall(node, format!("{name} {ended}"))?;
        if borne == Borne::Allowed {
            self.readings.restarted(node);
        }
        self.readings.forget(node);
        let details = json!({ "node": name, "code": ended.code });
        self.journal.event("node_ended", details);
        self.network.set_absent(self.engine.absent());
        Ok(())
    }

    pub(crate) fn check_deadline(
        &self,
        deadline: Duration,
        within: Span,
        text: &str,
    ) -> Result<(), Failure> {
        if self.network.now() < deadline {
            return Ok(());
        }
        let seconds = within.as_seconds();
        Err(Failure::Verdict(format!("after {seconds} s still {text}")))
    }

    /// The first failure among the answers of all nodes that are meant to run, with the node's name.
    fn demand(&self, order: &str, answers: &[Result<(), CallError>]) -> Result<(), Failure> {
        for (index, (node, answer)) in self.plan.nodes.iter().zip(answers).enumerate() {
            if let Err(error) = answer
                && !self.network.is_absent(index)
            {
                let text = format!("{} does not {order}: {error}", node.name);
                return Err(Failure::Verdict(text));
            }
        }
        Ok(())
    }
}
