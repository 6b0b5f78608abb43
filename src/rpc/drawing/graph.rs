//! The blocks to be drawn, by index, and what GHOSTDAG says of them.

use std::collections::BTreeMap;

use crate::protocol::chain::id::BlockId;
use crate::rpc::{Dag, DagBlock, DagColour};

/// How a block looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In the selected chain.
    Chain,
    /// Merged, and blue.
    Blue,
    /// Merged, and red.
    Red,
    /// Not in the order.
    Beside,
    /// The block that nobody has found yet.
    Next,
}

/// A block to be drawn.
pub(super) struct Node<'a> {
    /// `None` for the next block.
    pub(super) block: Option<&'a DagBlock>,
    pub(super) kind: Kind,
    /// Those parents that are drawn.
    pub(super) parents: Vec<usize>,
    /// The one that the block continues, if it is drawn.
    pub(super) selected: Option<usize>,
    /// Whether a parent is too old to be drawn.
    pub(super) is_cut: bool,
}

/// A block of the chain, or the next block, and what it merges.
pub(super) struct Merge {
    pub(super) by: usize,
    /// Never empty.
    pub(super) merged: Vec<usize>,
}

/// Blocks, parents first.
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) merges: Vec<Merge>,
    /// The streams that occur, in order.
    pub(super) streams: Vec<&'a str>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(dag: &'a Dag) -> Self {
        let mut graph = Self {
            nodes: Vec::new(),
            merges: Vec::new(),
            streams: Vec::new(),
        };
        let mut places: BTreeMap<BlockId, usize> = BTreeMap::new();
        let mut waiting = Vec::new();
        for block in dag.blocks.iter().chain(&dag.beside) {
            let index = graph.nodes.len();
            // A parent that comes later in the list is none: what a node answers draws, whatever it is.
            let place = |id: &BlockId| places.get(id).copied();
            let others = block.parents.iter().filter(|parent| **parent != block.id);
            let node = Node {
                block: Some(block),
                kind: kind(block),
                parents: others.clone().filter_map(place).collect(),
                selected: place(&block.selected_parent),
                is_cut: others.clone().any(|parent| place(parent).is_none()),
            };
            match node.kind {
                Kind::Chain => graph.merge(index, &mut waiting),
                Kind::Blue | Kind::Red => waiting.push(index),
                Kind::Beside | Kind::Next => {}
            }
            graph.nodes.push(node);
            places.insert(block.id, index);
        }
        let blocks = dag.blocks.iter().chain(&dag.beside);
        graph.streams = blocks.map(|block| block.stream.as_str()).collect();
        graph.streams.sort_unstable();
        graph.streams.dedup();
        let chain = |node: &Node<'_>| node.kind == Kind::Chain;
        if let Some(tip) = graph.nodes.iter().rposition(chain) {
            graph.merge(graph.nodes.len(), &mut waiting);
            let place = |id: &BlockId| places.get(id).copied();
            let others = dag.parents.iter().filter_map(place);
            let others = others.filter(|parent| *parent != tip);
            graph.nodes.push(Node {
                block: None,
                kind: Kind::Next,
                parents: [tip].into_iter().chain(others).collect(),
                selected: Some(tip),
                is_cut: false,
            });
        }
        graph
    }

    fn merge(&mut self, by: usize, waiting: &mut Vec<usize>) {
        let merged = std::mem::take(waiting);
        if !merged.is_empty() {
            self.merges.push(Merge { by, merged });
        }
    }

    /// The index of a node's stream among those that occur; the next block stands where its parent does.
    pub(super) fn lane(&self, node: &Node<'_>) -> usize {
        let selected = || node.selected.and_then(|parent| self.nodes[parent].block);
        let Some(block) = node.block.or_else(selected) else {
            return 0;
        };
        let lane = self.streams.iter().position(|name| *name == block.stream);
        lane.expect("the streams of all blocks are listed")
    }

    /// How many blocks look so.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.nodes.iter().filter(|node| node.kind == kind).count()
    }
}

fn kind(block: &DagBlock) -> Kind {
    match (block.chain, block.colour) {
        (true, _) => Kind::Chain,
        (false, Some(DagColour::Blue)) => Kind::Blue,
        (false, Some(DagColour::Red)) => Kind::Red,
        (false, None) => Kind::Beside,
    }
}

impl Node<'_> {
    /// The text on the block.
    pub(super) fn label(&self) -> String {
        match self.block {
            Some(block) => block
                .number
                .map_or_else(|| "–".to_owned(), |number| number.to_string()),
            None => "next".to_owned(),
        }
    }

    /// What is known of it, a fact a line.
    pub(super) fn facts(&self) -> String {
        let Some(block) = self.block else {
            return "the next block, if it were found now".to_owned();
        };
        let colour = match self.kind {
            Kind::Chain => "blue, in the selected chain",
            Kind::Blue => "blue, merged",
            Kind::Red => "red, merged without reward",
            Kind::Beside | Kind::Next => "not in the order",
        };
        let number = block.number.map(|number| format!("block {number}\n"));
        let mut text = format!(
            "{}{}\nstream {}, {colour}\nfound at {}\n{} parents",
            number.unwrap_or_default(),
            block.id,
            block.stream,
            time(block.timestamp_ms),
            block.parents.len(),
        );
        if let Some(transactions) = block.transactions {
            text += &format!("\n{transactions} transactions");
        }
        if let Some(miner) = &block.miner {
            text += &format!("\nminer {miner}");
        }
        text
    }
}

/// The time of day.
pub(super) fn time(timestamp_ms: u64) -> String {
    let (seconds, ms) = (timestamp_ms / 1_000, timestamp_ms % 1_000);
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{ms:03} UTC", seconds % 60)
}

/// What all of a DAG's blocks are, in a few words.
pub(super) fn title(dag: &Dag) -> String {
    let number = |block: Option<&DagBlock>| block.and_then(|block| block.number);
    let ends = (number(dag.blocks.first()), number(dag.blocks.last()));
    match ends {
        (Some(first), Some(last)) => format!("{}: blocks {first} to {last}", dag.network),
        _ => format!("{}: no blocks", dag.network),
    }
}

/// How the blocks came together, in a line.
pub(super) fn summary(dag: &Dag, graph: &Graph<'_>) -> String {
    let times = dag.blocks.iter().map(|block| block.timestamp_ms);
    let span_ms = times.clone().max().unwrap_or(0) - times.min().unwrap_or(0);
    let mut parts = vec![
        format!(
            "{} blocks in {:.1} s",
            dag.blocks.len(),
            span_ms as f64 / 1_000.0
        ),
        format!("{} in the selected chain", graph.count(Kind::Chain)),
        format!("{} merged and blue", graph.count(Kind::Blue)),
        format!("{} merged and red (k = {})", graph.count(Kind::Red), dag.k),
    ];
    match graph.count(Kind::Beside) {
        0 => {}
        beside => parts.push(format!("{beside} beside")),
    }
    parts.join(", ")
}
