//! From what a scenario says to what a backend executes: everything is checked, drawn and derived here.

mod faults;
mod nodes;

pub(super) use faults::written;

use std::collections::BTreeMap;

use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::rng::Rng;

use super::explicit::{Edge, Expanded, Node};
use super::fault::{Action, Fault};
use super::limits::{MAX_CHECKS, MAX_LOADS};
use super::link::{LinkChoice, LinkRule, Links};
use super::span::Span;
use super::topology::Topology;
use super::who::Who;
use super::{Problem, Scenario};

/// What sets the draws of links and faults apart from those of the graph.
const LINKS_SEED: u64 = 0x6c69_6e6b;
const FAULTS_SEED: u64 = 0x6661_756c;

/// The least that blocks are given, however few: containers on a busy machine need a while to find their pace.
const LEAST_BLOCKS_MS: u64 = 120_000;

impl Scenario {
    /// Checks everything, draws what is random from the seed, and derives what is absent.
    ///
    /// # Errors
    ///
    /// A value is not allowed: the error names the key and what is allowed.
    pub fn expand(mut self) -> Result<Expanded, Problem> {
        let name = self.name.clone();
        let named = |problem| Problem {
            place: name,
            ..problem
        };
        self.expand_in_place().map_err(named)
    }

    fn expand_in_place(&mut self) -> Result<Expanded, Problem> {
        if self.name.trim().is_empty() {
            return Err(Problem::new("name", "a name is missing"));
        }
        // 32 bits are enough to tell runs apart, and short enough to be typed again.
        let seed = *self
            .seed
            .get_or_insert_with(|| getrandom::u32().map_or(1, u64::from));
        let mut nodes = self.make_nodes()?;
        self.derive_network(&nodes)?;
        let graph = self.topology.graph(&nodes, seed)?;
        for &(from, to) in graph.edges() {
            nodes[from].dials.push(to);
        }
        let edges = self.edges(&nodes, graph.edges(), seed)?;
        let faults = self.occurrences(&nodes, &mut Rng::new(seed ^ FAULTS_SEED))?;
        for occurrence in &faults {
            faults::note_late_joins(occurrence, &mut nodes);
        }
        self.check_rest(&nodes)?;
        self.make_explicit(&nodes, &edges);
        self.faults = faults
            .iter()
            .map(|occurrence| faults::written(occurrence, &nodes))
            .collect();
        Ok(Expanded {
            scenario: self.clone(),
            nodes,
            edges,
            faults,
        })
    }

    /// What this scenario does and demands, for the nodes of another that are there already. Who they are, how they are connected
    /// and what they agree on is that one's, and nothing is handed to them.
    ///
    /// # Errors
    ///
    /// A value is not allowed, or concerns nodes that are not there.
    pub fn expand_upon(
        self,
        network: &Self,
        nodes: &[Node],
        edges: &[Edge],
    ) -> Result<Expanded, Problem> {
        let place = self.name.clone();
        let (groups, nodes_count) = (network.groups.clone(), network.nodes);
        let mut scenario = Self {
            nodes: nodes_count,
            groups,
            hashrate: network.hashrate,
            machines: network.machines,
            network: network.network.clone(),
            transfers: 0,
            load: Vec::new(),
            ..self
        };
        let draw = || getrandom::u32().map_or(1, u64::from);
        let seed = *scenario.seed.get_or_insert_with(draw);
        let mut expand = || -> Result<Vec<_>, Problem> {
            let mut faults = scenario.faults.iter();
            let comes = |fault: &Fault| matches!(fault.what, Action::Join | Action::Leave);
            if let Some(index) = faults.position(comes) {
                let message = "who is there is the network's: `testnet add` and `testnet remove`";
                return Err(Problem::new(format!("faults[{index}].what"), message));
            }
            scenario.derive_network(nodes)?;
            let rng = &mut Rng::new(seed ^ FAULTS_SEED);
            let faults = scenario.occurrences(nodes, rng)?;
            scenario.check_rest(nodes)?;
            Ok(faults)
        };
        let faults = expand().map_err(|problem| Problem { place, ..problem })?;
        scenario.make_explicit(nodes, edges);
        let written = faults.iter();
        let written = written.map(|occurrence| faults::written(occurrence, nodes));
        scenario.faults = written.collect();
        Ok(Expanded {
            scenario,
            nodes: nodes.to_vec(),
            edges: edges.to_vec(),
            faults,
        })
    }

    /// The network's parameters, without allocations.
    ///
    /// # Errors
    ///
    /// A stream that the preset does not have.
    pub fn params(&self) -> Result<Params, Problem> {
        self.network.params().map_err(|stream| {
            let streams: Vec<_> = self
                .network
                .preset
                .streams()
                .iter()
                .map(ToString::to_string)
                .collect();
            let message = format!(
                "the preset has no such stream, it has {}",
                streams.join(", ")
            );
            Problem::new(format!("network.streams.{stream}"), message)
        })
    }

    fn derive_network(&mut self, nodes: &[Node]) -> Result<(), Problem> {
        if self.network.initial_hashrate.is_none() {
            let totals = self.network.preset.streams().iter().map(|stream| {
                nodes
                    .iter()
                    .map(|node| node.hashrate_in(*stream))
                    .sum::<u64>()
            });
            // Where streams differ: one whose first target asks for more than it has would stand still until it retargets.
            let least = totals.filter(|total| *total > 0).min();
            let nobody = || {
                Problem::new(
                    "hashrate",
                    "no node mines any stream, so there are no blocks",
                )
            };
            self.network.initial_hashrate = Some(least.ok_or_else(nobody)?);
        }
        let params = self.params()?;
        if self.verdict.blocks_within.is_none() {
            let rate = params.blocks_per_second();
            let needed_ms = (2_000.0 * self.blocks as f64 / rate) as u64;
            let lasts_ms = self.duration.unwrap_or_default().as_ms();
            let within = Span::from_ms(needed_ms.max(LEAST_BLOCKS_MS).saturating_add(lasts_ms));
            self.verdict.blocks_within = Some(within);
        }
        let made = Network::new(params);
        made.map(drop)
            .map_err(|error| Problem::new("network", error.to_string()))
    }

    fn edges(
        &self,
        nodes: &[Node],
        dialled: &[(usize, usize)],
        seed: u64,
    ) -> Result<Vec<Edge>, Problem> {
        let directed: Vec<_> = dialled
            .iter()
            .flat_map(|&(from, to)| [(from, to), (to, from)])
            .collect();
        let mut rng = Rng::new(seed ^ LINKS_SEED);
        let conditions = self.links.resolve(nodes, &directed, &mut rng)?;
        let pairs = dialled.iter().zip(conditions.chunks_exact(2));
        let edge = |(&(from, to), pair): (&(usize, usize), &[_])| Edge {
            from,
            to,
            outward: pair[0],
            inward: pair[1],
        };
        Ok(pairs.map(edge).collect())
    }

    fn check_rest(&self, nodes: &[Node]) -> Result<(), Problem> {
        if self.load.len() > MAX_LOADS {
            return Err(Problem::new(
                "load",
                format!("at most {MAX_LOADS} sources are allowed"),
            ));
        }
        // Whom load is handed to is looked up once here, so that a wrong name is told; what is drawn is drawn again each time.
        let mut rng = Rng::new(0);
        for (index, load) in self.load.iter().enumerate() {
            let key = format!("load[{index}]");
            load.check(&key)?;
            load.who
                .resolve(nodes, &mut rng)
                .map_err(|message| Problem::new(format!("{key}.who"), message))?;
        }
        if self.checks.len() > MAX_CHECKS {
            return Err(Problem::new(
                "checks",
                format!("at most {MAX_CHECKS} checks are allowed"),
            ));
        }
        for (index, check) in self.checks.iter().enumerate() {
            for name in check.condition.names() {
                Who::named(name)
                    .resolve(nodes, &mut rng)
                    .map_err(|message| Problem::new(format!("checks[{index}]"), message))?;
            }
        }
        Ok(())
    }

    /// Writes what was drawn and derived in the place of what it came from.
    fn make_explicit(&mut self, nodes: &[Node], edges: &[Edge]) {
        let name = |node: usize| nodes[node].name.clone();
        let pairs = edges.iter().map(|edge| (name(edge.from), name(edge.to)));
        self.topology = Topology::Edges(pairs.collect());
        let mut rules = Vec::new();
        for edge in edges {
            let mut rule = |from, to, conditions: super::Conditions, both| {
                if !conditions.is_none() {
                    rules.push(LinkRule {
                        from: Who::Named(name(from)),
                        to: Who::Named(name(to)),
                        both,
                        link: LinkChoice::Conditions(conditions),
                    });
                }
            };
            match edge.outward == edge.inward {
                true => rule(edge.from, edge.to, edge.outward, true),
                false => {
                    rule(edge.from, edge.to, edge.outward, false);
                    rule(edge.to, edge.from, edge.inward, false);
                }
            }
        }
        self.links = Links {
            rules,
            profiles: BTreeMap::new(),
            ..Links::default()
        };
    }
}
