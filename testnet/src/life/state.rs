//! What is known of a network that is up, or was: `state.json` in its directory.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::store;
use crate::engine::lasting::Begun;
use crate::plan::{Plan, new_run_id};
use crate::scenario::{Edge, Expanded, Node, Scenario};

/// The file's name.
pub const FILE: &str = "state.json";
/// The version of its format.
pub const VERSION: u32 = 1;

/// A network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What people call it; its directory.
    pub name: String,
    /// What containers and their network are called and labelled by: no two networks share it.
    pub id: String,
    /// What keys and the network's own name follow from: the id of the first network, where this is a copy.
    pub origin: String,
    /// What its nodes are: `process` or `docker`.
    pub backend: String,
    /// Their program or image, where they name none.
    pub means: String,
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub made_unix_ms: u64,
    /// What commands draw from: that of the scenario, unless this is a copy.
    pub seed: u64,
    /// Whether it is down as a whole.
    pub down: bool,
    /// The scenario that it was made from, expanded, without faults.
    pub scenario: Scenario,
    /// Its nodes now.
    pub nodes: Vec<Node>,
    /// Who dials whom now.
    pub edges: Vec<Edge>,
    /// What is done to it.
    pub faults: Vec<Begun>,
    /// Whether a run is attached to it, whose faults are known to that run alone.
    #[serde(default)]
    pub attached: bool,
    /// The number of the next fault.
    pub next_fault: u64,
}

impl State {
    /// A network that is still to be started.
    pub fn new(name: String, expanded: Expanded, backend: &str, means: String) -> Self {
        let id = new_run_id();
        let Expanded {
            mut scenario,
            mut nodes,
            edges,
            ..
        } = expanded;
        scenario.faults.clear();
        // Who would join by a fault is there from the start: there are no faults but those of commands.
        nodes.iter_mut().for_each(|node| node.joins_later = false);
        Self {
            name,
            origin: id.clone(),
            id,
            backend: backend.to_owned(),
            means,
            made_unix_ms: unix_ms(),
            seed: scenario.seed.unwrap_or_default(),
            down: true,
            scenario,
            nodes,
            edges,
            faults: Vec::new(),
            attached: false,
            next_fault: 1,
        }
    }

    /// Reads that of a network's directory.
    ///
    /// # Errors
    ///
    /// There is none, or it is damaged.
    pub fn read(directory: &Path) -> std::io::Result<Self> {
        store::read(&directory.join(FILE), VERSION)
    }

    /// Writes it down.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn write(&self, directory: &Path) -> std::io::Result<()> {
        store::write(&directory.join(FILE), VERSION, self)
    }

    /// When it was made.
    pub fn made(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.made_unix_ms)
    }

    /// The plan whose nodes these are, in a network's directory.
    ///
    /// # Errors
    ///
    /// The current directory is gone.
    pub fn plan(&self, directory: &Path) -> std::io::Result<Plan> {
        let expanded = Expanded {
            scenario: self.scenario.clone(),
            nodes: self.nodes.clone(),
            edges: self.edges.clone(),
            faults: Vec::new(),
        };
        let mut plan = Plan::new(expanded, self.id.clone(), directory)?;
        directory.clone_into(&mut plan.directory);
        directory.clone_into(&mut plan.home);
        plan.origin.clone_from(&self.origin);
        Ok(plan)
    }
}

/// Milliseconds since 1970-01-01 UTC.
pub fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| elapsed.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Act, Occurrence, Span, When};

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let text = "
            name = 'all'
            nodes = 3
            links = { default = '3g' }
            network = { preset = 'chain', streams.A.interval_ms = 500 }
            groups = [{ name = 'miner', share = 0.5, regions = ['tokyo'], config = { peer.ping_interval_ms = 500 } }]
            faults = [{ when = '1s', what = 'join', who = 'node-3' }]
        ";
        let loaded = Scenario::parse(text, "all", &[]).unwrap();
        let expanded = loaded.expand().unwrap();
        let mut state = State::new("all".to_owned(), expanded, "process", "node".to_owned());
        assert!(state.nodes.iter().all(|node| !node.joins_later));
        state.faults = vec![Begun {
            number: 1,
            fault: Occurrence {
                when: When::At(Span::ZERO),
                act: Act::Partition(vec![vec![0], vec![1, 2, 3]]),
                nodes: vec![0, 1, 2, 3],
                lasts: None,
            },
            since_ms: 5,
            until_ms: Some(7),
            over: false,
        }];
        let directory = tempfile::tempdir().unwrap();
        state.write(directory.path()).unwrap();
        assert_eq!(State::read(directory.path()).unwrap(), state);
        let plan = state.plan(directory.path()).unwrap();
        assert_eq!(plan.node_directory(0), directory.path().join("node-1"));
    }
}
