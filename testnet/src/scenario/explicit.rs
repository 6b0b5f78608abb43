//! A scenario of which nothing is left to be drawn or derived: what a backend executes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Scenario;
use super::fault::{Fault, Upgrade};
use super::graph::{Analysis, Graph};
use super::group::Role;
use super::link::Conditions;
use super::network::StreamName;
use super::overrides;
use super::region::Region;
use super::span::{Offset, Span};
use super::when::When;

/// A scenario, expanded. Nodes are named by their indices.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expanded {
    /// The scenario that says the same without generators, draws and defaults. Expanding it gives the same again.
    pub scenario: Scenario,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The edges, each once.
    pub edges: Vec<Edge>,
    /// The faults, each as often as it happens.
    pub faults: Vec<Occurrence>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, which is a host name and a directory.
    pub name: String,
    /// Its group.
    pub group: String,
    /// How it behaves.
    pub role: Role,
    /// Where it is.
    pub region: Option<Region>,
    /// The number of the machine on which it is, from 1, where the scenario says so.
    pub machine: Option<u64>,
    /// Hashes per second by stream. Streams that are absent it does not mine.
    pub hashrates: BTreeMap<StreamName, u64>,
    /// Its image, where it is a container; the run's if absent.
    pub image: Option<String>,
    /// Its program, where it is a process; the run's if absent.
    pub program: Option<PathBuf>,
    /// Whether it finds its peers by a seed's name.
    pub seeded: bool,
    /// What differs in its configuration.
    pub config: toml::Table,
    /// The nodes that it dials.
    pub dials: Vec<usize>,
    /// Whether it starts only when a fault has it join.
    pub joins_later: bool,
}

/// Two nodes, the first of which dials the second, and what frames between them meet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Who dials.
    pub from: usize,
    /// Who is dialled.
    pub to: usize,
    /// What frames meet on the way from `from` to `to`.
    pub outward: Conditions,
    /// What they meet on the way back.
    pub inward: Conditions,
}

/// A fault that happens once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Occurrence {
    /// When it begins: at a time, at a block, or at an event.
    pub when: When,
    /// What goes wrong.
    pub act: Act,
    /// The nodes that it concerns, ascending.
    pub nodes: Vec<usize>,
    /// How long it lasts, see [`Fault::lasts`](super::Fault::lasts).
    pub lasts: Option<Span>,
}

/// What goes wrong: an [`Action`](super::Action) whose nodes are known. The occurrence has whom it concerns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// They end (SIGTERM).
    Stop,
    /// They end without warning (SIGKILL).
    Kill,
    /// They stand still.
    Pause,
    /// They end and start again.
    Restart,
    /// They end, lose what they have stored, and start again.
    Wipe,
    /// Each reaches nobody.
    Isolate,
    /// Nodes of different parts do not reach each other. Every node is in one part.
    Partition(Vec<Vec<usize>>),
    /// As partition, but the nodes of the occurrence, which are in no part, reach all.
    Bridge(Vec<Vec<usize>>),
    /// What they send does not reach these.
    Cut(Vec<usize>),
    /// They are isolated for half of this time, and not for the other half, again and again.
    Flap(Span),
    /// Their links to these are like this.
    Degrade {
        /// To whom.
        to: Vec<usize>,
        /// Whether the links back are too.
        both: bool,
        /// Like what.
        conditions: Conditions,
    },
    /// Their clocks are off.
    ClockSkew(Offset),
    /// Their clocks jump.
    ClockJump(Offset),
    /// They can write nothing.
    DiskFull,
    /// They resolve no seed.
    SeedOutage,
    /// The machines on which they are go away, with all nodes there, and come back.
    MachineLoss,
    /// They start.
    Join,
    /// They end for good.
    Leave,
    /// They become another program.
    Upgrade(Upgrade),
    /// Their hash rates are so many times what they were.
    Hashrate(f64),
}

impl Expanded {
    /// What the graph is like.
    pub fn analysis(&self) -> Analysis {
        let edges = self.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        Graph::new(self.nodes.len(), edges).analysis()
    }

    /// The nodes that keep the rules, ascending: the verdict is about them.
    pub fn honest(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].role.is_honest())
    }

    /// When the last fault whose time is known ends, counted from the start of mining; `None` if one waits for an event or a block.
    /// Those that never end count as if they ended at once.
    pub fn faults_end(&self) -> Option<Span> {
        let end = |occurrence: &Occurrence| match &occurrence.when {
            When::At(begin) => {
                let lasts = occurrence.lasts.unwrap_or_default();
                Some(Span::from_us(begin.as_us() + lasts.as_us()))
            }
            _ => None,
        };
        let ends = self.faults.iter().map(end).collect::<Option<Vec<_>>>()?;
        Some(ends.into_iter().max().unwrap_or_default())
    }
}

impl Node {
    /// Hashes per second, those of all streams together.
    pub fn hashrate(&self) -> u64 {
        self.hashrates.values().sum()
    }

    /// What its configuration sets a key to, as `peer.ping_interval_ms`.
    pub fn setting(&self, key: &str) -> Option<&toml::Value> {
        overrides::setting(&self.config, key)
    }

    /// Hashes per second in one stream.
    pub fn hashrate_in(&self, stream: StreamName) -> u64 {
        self.hashrates.get(&stream).copied().unwrap_or_default()
    }
}

impl Occurrence {
    /// The same in the words of a file.
    pub fn written(&self, nodes: &[Node]) -> Fault {
        super::expand::written(self, nodes)
    }

    /// The same without a node, which is none of the nodes any more; `None` if it concerned that node alone.
    pub fn without(mut self, gone: usize) -> Option<Self> {
        let drop = |indices: &mut Vec<usize>| {
            indices.retain(|index| *index != gone);
            indices
                .iter_mut()
                .filter(|index| **index > gone)
                .for_each(|index| *index -= 1);
        };
        drop(&mut self.nodes);
        match &mut self.act {
            Act::Partition(parts) | Act::Bridge(parts) => parts.iter_mut().for_each(drop),
            Act::Cut(toward) | Act::Degrade { to: toward, .. } => drop(toward),
            _ => {}
        }
        (!self.nodes.is_empty()).then_some(self)
    }

    /// Whether it takes machines away.
    pub fn is_machine_loss(&self) -> bool {
        self.act == Act::MachineLoss
    }

    /// Whether it keeps what `from` sends from reaching `to`. A flapping node is meant while it is isolated.
    pub fn cuts(&self, from: usize, to: usize) -> bool {
        let concerns = |node: usize| self.nodes.binary_search(&node).is_ok();
        let part = |parts: &[Vec<usize>], node| parts.iter().position(|part| part.contains(&node));
        match &self.act {
            Act::Isolate | Act::Flap(_) => concerns(from) || concerns(to),
            Act::Partition(parts) => part(parts, from) != part(parts, to),
            Act::Bridge(parts) => {
                !concerns(from) && !concerns(to) && part(parts, from) != part(parts, to)
            }
            Act::Cut(toward) => concerns(from) && toward.contains(&to),
            _ => false,
        }
    }

    /// What it makes of the link from `from` to `to`, where it makes something of it.
    pub fn degrades(&self, from: usize, to: usize) -> Option<Conditions> {
        let concerns = |node: usize| self.nodes.binary_search(&node).is_ok();
        match &self.act {
            Act::Degrade {
                to: toward,
                both,
                conditions,
            } => {
                let forth = concerns(from) && toward.contains(&to);
                let back = *both && concerns(to) && toward.contains(&from);
                (forth || back).then_some(*conditions)
            }
            _ => None,
        }
    }
}
