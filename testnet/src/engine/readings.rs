//! What is known of the nodes beside what they say of themselves: metrics, logs, the end of the order, sums of balances.
//!
//! Of all that only what conditions and invariants look at is read. Logs and reorganisations are followed all the time; the rest
//! costs a node more, and is asked for about once a second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use triskel::rpc::{Dag, Supply};

use super::logs::Logs;
use crate::evidence::record::Resources;
use crate::plan::Plan;
use crate::scenario::{Expression, Quantity, When};

/// Between two looks at what costs a node more than a status.
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL_A_NODE: Duration = Duration::from_millis(20);

/// Blocks at the end of the order of which the stale ones are counted.
pub const STALE_BLOCKS: u32 = 200;

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// The logs.
    pub logs: Logs,
    nodes: Vec<Reading>,
    /// The metrics that conditions look at.
    metrics: BTreeSet<String>,
    wants_stale: bool,
    /// The part of the last blocks that is not on the selected chain.
    stale_rate: Option<f64>,
    /// A block that a node orders though another refused it, in words.
    invalid: Option<String>,
    read_at: Option<Duration>,
}

/// What was read of one node.
#[derive(Clone, Debug, Default)]
struct Reading {
    resources: Option<Resources>,
    /// Of a simulated node, whose connections are all that it has open.
    connections: Option<u64>,
    metrics: BTreeMap<String, f64>,
    supply: Option<Supply>,
    undone_most: u64,
    restarts: u64,
}

impl Readings {
    /// Nothing is read yet.
    pub fn new(plan: &Plan) -> Self {
        let conditions = conditions(plan);
        let quantities = || {
            conditions
                .iter()
                .flat_map(|condition| condition.quantities())
        };
        let metric = |quantity: &Quantity| match quantity {
            Quantity::Metric(name) => Some(name.clone()),
            _ => None,
        };
        let texts: BTreeSet<_> = conditions
            .iter()
            .flat_map(|condition| condition.texts())
            .map(str::to_owned)
            .collect();
        Self {
            logs: Logs::new(plan.nodes.len(), texts.into_iter().collect()),
            nodes: vec![Reading::default(); plan.nodes.len()],
            metrics: quantities().filter_map(metric).collect(),
            wants_stale: quantities().any(|quantity| *quantity == Quantity::StaleRate),
            ..Self::default()
        }
    }

    /// Whether it is time for what costs more than a status. It is taken to be read now.
    pub fn is_due(&mut self, now: Duration) -> bool {
        let interval = INTERVAL.max(INTERVAL_A_NODE * self.nodes.len() as u32);
        let is_due = self.read_at.is_none_or(|last| now >= last + interval);
        if is_due {
            self.read_at = Some(now);
        }
        is_due
    }

    /// Whether a condition asks for the part of the blocks that is stale.
    pub fn wants_stale(&self) -> bool {
        self.wants_stale
    }

    /// Takes in a page of metrics; `None` of a node that gives none now.
    pub fn page(&mut self, node: usize, page: Option<&str>) {
        let reading = &mut self.nodes[node];
        reading.resources = page.and_then(Resources::read);
        reading.metrics.clear();
        for line in page.unwrap_or_default().lines() {
            let end = line.find(['{', ' ']).unwrap_or_default();
            let value = line
                .rsplit(' ')
                .next()
                .and_then(|value| value.parse::<f64>().ok());
            if let Some(value) = value
                && let Some(name) = self.metrics.get(&line[..end])
            {
                *reading.metrics.entry(name.clone()).or_default() += value;
            }
        }
    }

    /// Takes in how many connections a simulated node has open.
    pub fn connections(&mut self, node: usize, connections: u64) {
        self.nodes[node].connections = Some(connections);
    }

    /// Takes in what all accounts of a node hold together.
    pub fn supply(&mut self, node: usize, supply: Option<Supply>) {
        self.nodes[node].supply = supply;
    }

    /// Takes in the end of an order.
    pub fn dag(&mut self, dag: &Dag) {
        let all = dag.blocks.len() + dag.beside.len();
        let chain = dag.blocks.iter().filter(|block| block.chain).count();
        self.stale_rate = (all > 0).then(|| (all - chain) as f64 / all as f64);
    }

    /// A node's order has taken so many blocks back.
    pub fn undone(&mut self, node: usize, blocks: u64) {
        let most = &mut self.nodes[node].undone_most;
        *most = blocks.max(*most);
    }

    /// A node orders a block that another refused, in words.
    pub fn ordered_invalid(&mut self, what: String) {
        self.invalid.get_or_insert(what);
    }

    /// A node that nobody asked to end was started again.
    pub fn restarted(&mut self, node: usize) {
        self.nodes[node].restarts += 1;
    }

    /// A node is down: what was read of its process says nothing any more.
    pub fn forget(&mut self, node: usize) {
        self.page(node, None);
        self.supply(node, None);
    }

    /// What a node's process uses.
    pub fn resources(&self, node: usize) -> Option<Resources> {
        self.nodes.get(node)?.resources
    }

    /// Files and sockets that a node has open.
    pub fn descriptors(&self, node: usize) -> Option<u64> {
        let reading = self.nodes.get(node)?;
        let of_process = reading.resources.map(|used| used.descriptors);
        of_process.or(reading.connections)
    }

    /// The memory that a node's process has, in bytes.
    pub fn memory_bytes(&self, node: usize) -> Option<u64> {
        Some(self.nodes.get(node)?.resources?.memory_bytes)
    }

    /// What the accounts of a node hold together.
    pub fn supply_of(&self, node: usize) -> Option<&Supply> {
        self.nodes.get(node)?.supply.as_ref()
    }

    /// The value of a metric that a condition looks at: the sum over its labels.
    pub fn metric(&self, node: usize, name: &str) -> Option<f64> {
        self.nodes.get(node)?.metrics.get(name).copied()
    }

    /// The part of the last [`STALE_BLOCKS`] blocks that is not on the selected chain.
    pub fn stale_rate(&self) -> Option<f64> {
        self.stale_rate
    }

    /// Blocks that a node's deepest reorganisation took back.
    pub fn undone_most(&self, node: usize) -> Option<u64> {
        let reading = self.nodes.get(node)?;
        Some(reading.undone_most.max(self.logs.undone_most(node)))
    }

    /// How often a node was started again that nobody had asked to end.
    pub fn restarts(&self, node: usize) -> Option<u64> {
        Some(self.nodes.get(node)?.restarts)
    }

    /// A block that a node orders though another refused it, in words.
    pub fn invalid(&self) -> Option<&str> {
        self.invalid.as_deref()
    }
}

/// All conditions of a scenario.
fn conditions(plan: &Plan) -> Vec<&Expression> {
    let of_faults = plan.faults.iter().map(|fault| &fault.when);
    let of_checks = plan.scenario.checks.iter();
    let moments = of_faults.chain(of_checks.clone().filter_map(|check| check.after.as_ref()));
    let events = moments.filter_map(|when| match when {
        When::Event(condition) => Some(condition),
        _ => None,
    });
    events
        .chain(of_checks.map(|check| &check.condition))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::new_run_id;
    use crate::scenario::Scenario;

    #[test]
    fn a_metric_is_the_sum_over_its_labels_until_its_node_is_down() {
        let text = "name = 'test'\nnodes = 2\nchecks = [{ never = 'metric(\"lost\") > 3' }]";
        let expanded = Scenario::parse(text, "test", &[])
            .unwrap()
            .expand()
            .unwrap();
        let plan = Plan::new(expanded, new_run_id(), std::path::Path::new("runs")).unwrap();
        let mut readings = Readings::new(&plan);
        let page = "# HELP lost x\nlost{why=\"a b\"} 2\nlost{why=\"c\"} 1.5\nlost_more 9\nprocess_open_fds 7\n\
            process_resident_memory_bytes 1e6\ntriskel_processor_seconds_total 1\n";
        readings.page(1, Some(page));
        assert_eq!(readings.metric(1, "lost"), Some(3.5));
        assert_eq!(readings.metric(1, "lost_more"), None, "nobody looks at it");
        assert_eq!(readings.metric(0, "lost"), None);
        assert_eq!(readings.resources(1).unwrap().descriptors, 7);
        readings.forget(1);
        assert_eq!(readings.metric(1, "lost"), None);
        assert!(readings.resources(1).is_none());
    }
}
