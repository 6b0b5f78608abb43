//! What is known of a network at one moment, for conditions.

use super::readings::Readings;
use crate::plan::Plan;
use crate::scenario::{Quantities, Quantity};
use crate::verdict::{Agreement, NodeState};

/// What the nodes said last.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'run> {
    /// Who the nodes are.
    pub plan: &'run Plan,
    /// What they say; `None` for one that does not answer.
    pub states: &'run [Option<NodeState>],
    /// What is known of them beside that.
    pub readings: &'run Readings,
}

impl Snapshot<'_> {
    fn honest_states(&self) -> Vec<Option<NodeState>> {
        let honest = self.honest().into_iter();
        honest.map(|node| self.states[node].clone()).collect()
    }

    /// The most blocks that a node has.
    pub fn most_blocks(&self) -> u64 {
        let states = self.states.iter().flatten();
        states.map(|state| state.blocks).max().unwrap_or_default()
    }
}

impl Quantities for Snapshot<'_> {
    fn honest(&self) -> Vec<usize> {
        let runs =
            |&node: &usize| self.states[node].is_some() && self.plan.nodes[node].role.is_honest();
        (0..self.states.len()).filter(runs).collect()
    }

    fn named(&self, name: &str) -> Vec<usize> {
        let nodes = self.plan.nodes.iter().enumerate();
        nodes
            .filter(|(_, node)| node.name == name || node.group == name)
            .map(|(index, _)| index)
            .collect()
    }

    fn of_network(&self, quantity: &Quantity) -> Option<f64> {
        match quantity {
            Quantity::Tips => Some(Agreement::of(&self.honest_states()).groups.len() as f64),
            Quantity::Live => Some(self.states.iter().flatten().count() as f64),
            Quantity::RedRate => {
                let states = self.honest_states();
                let longest = states.iter().flatten().max_by_key(|state| state.blocks)?;
                match longest.blocks {
                    0 => None,
                    blocks => Some(longest.red as f64 / blocks as f64),
                }
            }
            Quantity::StaleRate => self.readings.stale_rate(),
            _ => None,
        }
    }

    fn of_node(&self, node: usize, quantity: &Quantity) -> Option<f64> {
        let state = self.states[node].as_ref()?;
        let number = match quantity {
            Quantity::Blocks => state.blocks,
            Quantity::Transactions => state.transactions,
            Quantity::Mempool => state.mempool,
            Quantity::Peers => u64::from(state.peers),
            Quantity::Reorganisation => self.readings.undone_most(node)?,
            Quantity::Restarts => self.readings.restarts(node)?,
            Quantity::Descriptors => self.readings.descriptors(node)?,
            Quantity::Memory => {
                let memory_bytes = self.readings.memory_bytes(node)?;
                return Some(memory_bytes as f64 / f64::from(1 << 20));
            }
            Quantity::Metric(name) => return self.readings.metric(node, name),
            Quantity::Tips | Quantity::Live | Quantity::RedRate | Quantity::StaleRate => {
                return None;
            }
        };
        Some(number as f64)
    }

    fn logged(&self, node: usize, text: &str) -> Option<bool> {
        self.readings.logs.contains(node, text)
    }
}
