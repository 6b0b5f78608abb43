//! DOT, the language of Graphviz: `node dag --dot | dot -Tsvg`.

use std::fmt::Write as _;

use super::graph::{Graph, Kind, Node, title};
use super::svg::{CHAIN, EDGE, RED, SELECTED_EDGE, stream_colours};
use crate::rpc::Dag;

/// Writes a DAG in DOT. Blocks are named by number, those without one by id.
pub fn dot(dag: &Dag) -> String {
    let graph = Graph::new(dag);
    let mut text = format!(
        "digraph dag {{\n  \
         // Edges lead from a block to its parents, which stand left of it.\n  \
         graph [rankdir=RL, newrank=true, label={}, labelloc=t, fontname=\"sans-serif\", bgcolor=white];\n  \
         node [shape=box, style=\"filled,rounded\", fontname=\"sans-serif\", fontsize=10, height=0.3, width=0.4];\n  \
         edge [color=\"{EDGE}\", arrowsize=0.5];\n",
        quoted(&title(dag)),
    );
    let mut drawn = vec![false; graph.nodes.len()];
    for (index, merge) in graph.merges.iter().enumerate() {
        let members = merge.merged.iter().chain([&merge.by]);
        writeln!(
            text,
            "  subgraph cluster_{index} {{\n    style=\"filled,rounded\"; color=\"#e8eaf3\"; label=\"\";"
        )
        .expect("a String takes all text");
        for member in members {
            drawn[*member] = true;
            text += &format!("    {}\n", vertex(&graph, *member));
        }
        text += "  }\n";
    }
    for (index, drawn) in drawn.into_iter().enumerate() {
        if !drawn {
            text += &format!("  {}\n", vertex(&graph, index));
        }
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        for parent in &node.parents {
            let is_selected = node.selected == Some(*parent);
            let look = match (node.kind, is_selected) {
                (Kind::Chain, true) => format!(" [color=\"{CHAIN}\", penwidth=3, weight=20]"),
                (Kind::Next, true) => {
                    format!(" [color=\"{CHAIN}\", penwidth=2, style=dashed, weight=20]")
                }
                (Kind::Next, false) => " [style=dashed]".to_owned(),
                (_, true) => format!(" [color=\"{SELECTED_EDGE}\", penwidth=1.5]"),
                (_, false) => String::new(),
            };
            let (child, parent) = (name(&graph, index), name(&graph, *parent));
            text += &format!("  {child} -> {parent}{look};\n");
        }
    }
    text += "}\n";
    text
}

fn name(graph: &Graph<'_>, index: usize) -> String {
    let node = &graph.nodes[index];
    match node.block {
        Some(block) if block.number.is_none() => quoted(&format!("{:.16}", block.id)),
        _ => quoted(&node.label()),
    }
}

fn vertex(graph: &Graph<'_>, index: usize) -> String {
    let node = &graph.nodes[index];
    let (fill, line) = stream_colours(graph.lane(node), graph);
    let look = match node.kind {
        Kind::Chain => format!("color=\"{CHAIN}\", penwidth=3"),
        Kind::Blue => format!("color=\"{line}\""),
        Kind::Red => format!("style=\"filled,rounded,dashed\", color=\"{RED}\", penwidth=2"),
        Kind::Beside | Kind::Next => {
            format!("style=\"filled,rounded,dotted\", color=\"{SELECTED_EDGE}\"")
        }
    };
    let fill = match node.kind {
        Kind::Next => "white",
        _ => fill,
    };
    let tip = quoted(&node.facts());
    let label = quoted(&text_of(node));
    format!(
        "{} [label={label}, fillcolor=\"{fill}\", {look}, tooltip={tip}];",
        name(graph, index)
    )
}

/// The cross of a red block, which DOT has no line for.
fn text_of(node: &Node<'_>) -> String {
    match node.kind {
        Kind::Red => format!("× {}", node.label()),
        _ => node.label(),
    }
}

/// A quoted string, whatever is in it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            letter if letter.is_control() => quoted.push('\u{fffd}'),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
