//! A table for terminals: a line for each block in the order, its mark in the column of its stream.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::graph::{Graph, Kind, Node, summary, title};
use crate::rpc::Dag;

/// Parents that a line names; the others are counted.
const NAMED_PARENTS: usize = 4;

/// Draws a table. The last line is the youngest block.
pub fn table(dag: &Dag) -> String {
    let graph = Graph::new(dag);
    let rails = rails(&graph);
    let parents: Vec<String> = graph
        .nodes
        .iter()
        .map(|node| parents(&graph, node))
        .collect();
    let wide = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let numbers = graph.nodes.iter().map(|node| node.label().chars().count());
    let number_width = wide(&mut { numbers }).max("number".len());
    let parents_width = wide(&mut parents.iter().map(String::len)).max("parents".len());
    let start_ms = dag.blocks.first().map_or(0, |block| block.timestamp_ms);
    let mut text = format!("{}\n{}\n\n", printable(&title(dag)), summary(dag, &graph));
    let streams: Vec<String> = graph.streams.iter().map(|name| printable(name)).collect();
    let lanes = streams.join(" ");
    let head = format!("{:>number_width$}  {lanes}  merge", "number");
    let names = format!("{:12}  {:parents_width$}", "id", "parents");
    writeln!(text, "{head}  {names}  {:>9}  {:>6}", "time", "txs")
        .expect("a String takes all text");
    for (index, node) in graph.nodes.iter().enumerate() {
        let Some(block) = node.block else { continue };
        let lane = graph.lane(node);
        let marks: Vec<String> = streams
            .iter()
            .enumerate()
            .map(|(other, name)| {
                let mark = if other == lane { mark(node.kind) } else { '·' };
                format!("{mark:width$}", width = name.chars().count())
            })
            .collect();
        let transactions = block
            .transactions
            .map_or_else(|| "-".to_owned(), |count| count.to_string());
        let seconds = (block.timestamp_ms as f64 - start_ms as f64) / 1_000.0;
        let head = format!("{:>number_width$}  {}", node.label(), marks.join(" "));
        let merge = rails.get(&index).unwrap_or(&' ');
        let names = format!("{:.12}  {:parents_width$}", block.id, parents[index]);
        writeln!(
            text,
            "{head}  {merge:5}  {names}  {seconds:>+8.3}s  {transactions:>6}"
        )
        .expect("a String takes all text");
    }
    text += "\n● selected chain  ○ blue  × red  – beside the order  ┐│┘ merged by the block at ┘  \
             * the parent that a block continues\n";
    text
}

fn mark(kind: Kind) -> char {
    match kind {
        Kind::Chain => '●',
        Kind::Blue => '○',
        Kind::Red => '×',
        Kind::Beside | Kind::Next => '–',
    }
}

/// The rail beside each block of a merge set, which ends at the block that merges.
fn rails(graph: &Graph<'_>) -> BTreeMap<usize, char> {
    let mut rails = BTreeMap::new();
    for merge in &graph.merges {
        rails.extend(merge.merged.iter().map(|index| (*index, '│')));
        rails.insert(merge.merged[0], '┐');
        rails.insert(merge.by, '┘');
    }
    rails
}

/// Numbers of parents, the selected first.
fn parents(graph: &Graph<'_>, node: &Node<'_>) -> String {
    let mut names = Vec::new();
    if let Some(selected) = node.selected {
        names.push(format!("{}*", graph.nodes[selected].label()));
    }
    let others = node
        .parents
        .iter()
        .filter(|parent| Some(**parent) != node.selected);
    names.extend(others.map(|parent| graph.nodes[*parent].label()));
    let all = node.block.map_or(0, |block| block.parents.len());
    names.truncate(NAMED_PARENTS);
    match all.saturating_sub(names.len()) {
        0 => names.join(" "),
        more if names.is_empty() => format!("{more} older"),
        more => format!("{} +{more}", names.join(" ")),
    }
}

/// A terminal obeys control characters; nothing that a node answers shall reach it as one.
fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}
