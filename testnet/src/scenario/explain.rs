//! Shows what a scenario comes to: as TOML that can be run, and as pictures.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::explicit::{Edge, Expanded};
use super::when::When;

/// More nodes than this are counted in a summary, not drawn with their names.
const SHOWN: usize = 12;

impl Expanded {
    /// The expanded scenario as a file, below comments that say what it was made from and what it is like.
    pub fn toml(&self, layers: &[String]) -> String {
        let mut text = String::new();
        for layer in layers {
            line(&mut text, format_args!("# from {layer}"));
        }
        for summary in self.summary() {
            line(&mut text, format_args!("# {summary}"));
        }
        text.push('\n');
        text.push_str(&self.scenario.to_toml());
        text
    }

    /// The expanded scenario for programs: all that a backend executes, and what the graph is like.
    pub fn json(&self) -> serde_json::Value {
        json!({
            "scenario": self.scenario,
            "nodes": self.nodes,
            "edges": self.edges,
            "faults": self.faults,
            "graph": self.analysis(),
        })
    }

    /// The graph for Graphviz.
    pub fn dot(&self) -> String {
        let mut text =
            String::from("digraph network {\n  node [shape=box, fontname=\"sans-serif\"];\n");
        for node in &self.nodes {
            let mut label = node.name.clone();
            let role = (!node.role.is_honest()).then(|| node.role.to_string());
            for detail in role
                .into_iter()
                .chain(node.region.map(|region| region.to_string()))
                .chain(node.machine.map(|machine| format!("machine {machine}")))
            {
                label = format!("{label}\\n{detail}");
            }
            line(
                &mut text,
                format_args!("  \"{}\" [label=\"{label}\"];", node.name),
            );
        }
        for edge in &self.edges {
            let label = match label(edge) {
                label if label.is_empty() => String::new(),
                label => format!(" [label=\"{label}\"]"),
            };
            let (from, to) = self.ends(edge);
            line(&mut text, format_args!("  \"{from}\" -> \"{to}\"{label};"));
        }
        text.push_str("}\n");
        text
    }

    /// The graph for Mermaid, which draws it in Markdown.
    pub fn mermaid(&self) -> String {
        let mut text = String::from("graph LR\n");
        if self.edges.is_empty() {
            line(&mut text, format_args!("  {}", self.nodes[0].name));
        }
        for edge in &self.edges {
            let label = match label(edge) {
                label if label.is_empty() => String::new(),
                label => format!("|\"{label}\"|"),
            };
            let (from, to) = self.ends(edge);
            line(&mut text, format_args!("  {from} -->{label} {to}"));
        }
        text
    }

    fn ends(&self, edge: &Edge) -> (&str, &str) {
        (&self.nodes[edge.from].name, &self.nodes[edge.to].name)
    }

    /// What it is like, in a few lines.
    pub fn summary(&self) -> Vec<String> {
        let mut lines = vec![format!("{}", self.scenario.summary())];
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            groups.entry(&node.group).or_default().push(index);
        }
        let all: u64 = self.nodes.iter().map(|node| node.hashrate()).sum();
        for (name, members) in groups {
            let first = &self.nodes[members[0]];
            let own: u64 = members
                .iter()
                .map(|&member| self.nodes[member].hashrate())
                .sum();
            let share = 100.0 * own as f64 / all.max(1) as f64;
            let streams: Vec<_> = first.hashrates.keys().map(ToString::to_string).collect();
            let mines = match streams.is_empty() {
                true => "mining nothing".to_owned(),
                false => format!("{share:.1} % of the hash rate, on {}", streams.join(", ")),
            };
            lines.push(format!(
                "group {name}: {} {}, {mines}",
                members.len(),
                first.role
            ));
        }
        let graph = self.analysis();
        lines.push(format!(
            "graph: {} edges, diameter {}, neighbours {} to {}, {:.1} on average; nodes that would part it: {}",
            graph.edges,
            graph.diameter,
            graph.degree_min,
            graph.degree_max,
            graph.degree_mean,
            self.names(&graph.cut_vertices)
        ));
        lines.extend(self.link_summary());
        let mut faults: Vec<_> = self.faults.iter().collect();
        faults.sort_by_key(|occurrence| match &occurrence.when {
            When::At(span) => Some(*span),
            _ => None,
        });
        for occurrence in faults.iter().take(SHOWN) {
            let lasts = occurrence
                .lasts
                .map_or(String::new(), |lasts| format!(" for {lasts}"));
            let kind = super::Action::kind(&super::expand::written(occurrence, &self.nodes).what);
            let names = self.names(&occurrence.nodes);
            lines.push(format!(
                "fault at {}: {kind} {names}{lasts}",
                occurrence.when
            ));
        }
        if self.faults.len() > SHOWN {
            lines.push(format!("and {} more faults", self.faults.len() - SHOWN));
        }
        lines
    }

    fn link_summary(&self) -> Option<String> {
        let conditions = || {
            self.edges
                .iter()
                .flat_map(|edge| [edge.outward, edge.inward])
        };
        let special = conditions()
            .filter(|conditions| !conditions.is_none())
            .count();
        if special == 0 {
            return None;
        }
        let delays = || conditions().map(|conditions| conditions.delay);
        let (least, most) = (delays().min()?, delays().max()?);
        let worst = conditions()
            .map(|conditions| conditions.loss)
            .fold(0.0, f64::max);
        let narrowest = conditions()
            .filter_map(|conditions| conditions.rate_bytes_per_s)
            .min();
        let narrowest =
            narrowest.map_or_else(|| "no limit".to_owned(), |rate| format!("{rate} bytes/s"));
        Some(format!(
            "links: {special} of {} directions with conditions; delay {least} to {most}, at most {} % lost, at least {narrowest}",
            2 * self.edges.len(),
            worst * 100.0
        ))
    }

    fn names(&self, nodes: &[usize]) -> String {
        let names: Vec<_> = nodes
            .iter()
            .take(SHOWN)
            .map(|&node| self.nodes[node].name.as_str())
            .collect();
        match nodes.len() {
            0 => "none".to_owned(),
            count if count == self.nodes.len() && count > 1 => "all".to_owned(),
            count if count > SHOWN => format!("{} and {} more", names.join(", "), count - SHOWN),
            _ => names.join(", "),
        }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes all text");
}

/// The conditions of an edge; both directions where they differ.
fn label(edge: &Edge) -> String {
    match (
        edge.outward.is_none() && edge.inward.is_none(),
        edge.outward == edge.inward,
    ) {
        (true, _) => String::new(),
        (false, true) => edge.outward.to_string(),
        (false, false) => format!("{} / {}", edge.outward, edge.inward),
    }
}
