//! Graphs that other tools wrote: CSV and GML.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::explicit::Node;
use super::limits::{MAX_EDGES, MAX_FILE_BYTES};

/// The edges of a file; the first node of each dials the second.
pub(super) fn read(file: &Path, nodes: &[Node]) -> Result<Vec<(usize, usize)>, String> {
    let shown = file.display();
    let length = std::fs::metadata(file)
        .map_err(|error| format!("{shown}: {error}"))?
        .len();
    if length > MAX_FILE_BYTES {
        return Err(format!(
            "{shown}: {length} bytes are not allowed, at most {MAX_FILE_BYTES} are"
        ));
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    let is_gml = file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gml"));
    let imported = match is_gml {
        true => gml(&text),
        false => csv(&text),
    };
    let edges = imported.and_then(|imported| imported.over(nodes));
    edges.map_err(|message| format!("{shown}{message}"))
}

/// Names in the order in which they stand, and edges between them with their lines.
#[derive(Debug, Default, PartialEq)]
struct Imported {
    names: Vec<String>,
    edges: Vec<(usize, String, String)>,
}

impl Imported {
    /// Gives each name a node: the one that is called so, or else the next in order.
    fn over(&self, nodes: &[Node]) -> Result<Vec<(usize, usize)>, String> {
        let mut names: Vec<&str> = Vec::new();
        let mut seen = BTreeSet::new();
        let of_edges = self.edges.iter().flat_map(|(_, from, to)| [from, to]);
        for name in self.names.iter().chain(of_edges) {
            if seen.insert(name.as_str()) {
                names.push(name);
            }
        }
        if names.len() != nodes.len() && !(nodes.len() == 1 && names.is_empty()) {
            return Err(format!(
                ": it has {} nodes, the scenario has {}",
                names.len(),
                nodes.len()
            ));
        }
        let own: BTreeMap<_, _> = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node.name.as_str(), index))
            .collect();
        let index: BTreeMap<_, _> = match names.iter().all(|name| own.contains_key(name)) {
            true => own,
            false => names
                .into_iter()
                .enumerate()
                .map(|(index, name)| (name, index))
                .collect(),
        };
        let mut joined = BTreeSet::new();
        let mut edges = Vec::new();
        for (line, from, to) in &self.edges {
            let (from, to) = (index[from.as_str()], index[to.as_str()]);
            if from == to {
                return Err(format!(":{line}: a node does not dial itself"));
            }
            // Undirected graphs are often written with both directions.
            if joined.insert((from.min(to), from.max(to))) {
                edges.push((from, to));
            }
        }
        match edges.len() > MAX_EDGES {
            true => Err(format!(
                ": {} edges are not allowed, at most {MAX_EDGES} are",
                edges.len()
            )),
            false => Ok(edges),
        }
    }
}

fn csv(text: &str) -> Result<Imported, String> {
    let mut imported = Imported::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || (index == 0 && line == "from,to") {
            continue;
        }
        let fields: Vec<_> = line.split(',').map(str::trim).collect();
        match fields[..] {
            [from, to] if !from.is_empty() && !to.is_empty() => {
                imported
                    .edges
                    .push((index + 1, from.to_owned(), to.to_owned()));
            }
            _ => {
                return Err(format!(
                    ":{}: {line:?} is not allowed here, two names with a comma between them are",
                    index + 1
                ));
            }
        }
    }
    Ok(imported)
}

/// What this needs of GML: `node [ id 1 label "x" ]` and `edge [ source 1 target 2 ]`; everything else is passed over.
fn gml(text: &str) -> Result<Imported, String> {
    let mut words = gml_words(text).into_iter().peekable();
    let mut imported = Imported::default();
    let mut labels = BTreeMap::new();
    while let Some((line, word)) = words.next() {
        let is_list = words.peek().is_some_and(|(_, word)| word == "[");
        if !is_list || !matches!(word.as_str(), "node" | "edge") {
            continue;
        }
        words.next();
        let mut fields = BTreeMap::new();
        let mut depth = 1;
        while depth > 0 {
            let (_, word) = words
                .next()
                .ok_or_else(|| format!(":{line}: this has no end"))?;
            match word.as_str() {
                "[" => depth += 1,
                "]" => depth -= 1,
                _ if depth == 1 => {
                    if let Some((_, value)) =
                        words.next_if(|(_, value)| value != "[" && value != "]")
                    {
                        fields.insert(word, value);
                    }
                }
                _ => {}
            }
        }
        let mut field = |name: &str| {
            fields
                .remove(name)
                .ok_or_else(|| format!(":{line}: `{name}` is missing"))
        };
        if word == "node" {
            let id = field("id")?;
            let label = field("label").unwrap_or_else(|_| id.clone());
            imported.names.push(label.clone());
            labels.insert(id, label);
        } else {
            imported
                .edges
                .push((line, field("source")?, field("target")?));
        }
    }
    for (line, from, to) in &mut imported.edges {
        for end in [from, to] {
            let missing = || format!(":{line}: there is no node {end}");
            *end = labels.get(end).ok_or_else(missing)?.clone();
        }
    }
    Ok(imported)
}

/// Words, brackets and texts in quotes, each with its line.
fn gml_words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (position, piece) in line.split('"').enumerate() {
            if position % 2 == 1 {
                words.push((index + 1, piece.to_owned()));
                continue;
            }
            let plain = piece.split('#').next().unwrap_or_default();
            let spaced = plain.replace('[', " [ ").replace(']', " ] ");
            words.extend(
                spaced
                    .split_whitespace()
                    .map(|word| (index + 1, word.to_owned())),
            );
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Vec<Node> {
        let node = |name: &&str| Node {
            name: (*name).to_owned(),
            ..Node::default()
        };
        names.iter().map(node).collect()
    }

    #[test]
    fn csv_names_nodes_or_counts_them() {
        let ours = nodes(&["node-1", "node-2", "node-3"]);
        let text = "from,to\nnode-3, node-1\n# a comment\nnode-2,node-3\nnode-3,node-2\n";
        assert_eq!(csv(text).unwrap().over(&ours).unwrap(), [(2, 0), (1, 2)]);
        assert_eq!(
            csv("7,8\n9,7\n").unwrap().over(&ours).unwrap(),
            [(0, 1), (2, 0)]
        );
        assert!(
            csv("7,8\n")
                .unwrap()
                .over(&ours)
                .unwrap_err()
                .contains("it has 2 nodes")
        );
        assert!(csv("a,b\na,b,c\n").unwrap_err().starts_with(":2: "));
        assert!(
            csv("a,a\nb,c\n")
                .unwrap()
                .over(&ours)
                .unwrap_err()
                .starts_with(":1: ")
        );
    }

    #[test]
    fn gml_has_nodes_with_labels() {
        let text = "graph [ directed 0\n node [ id 1 label \"node-2\" graphics [ x 1 ] ]\n node [\n id 2 label \"node-1\" ]\n \
                    edge [ source 1 target 2 value 3.5 ] ]";
        let ours = nodes(&["node-1", "node-2"]);
        assert_eq!(gml(text).unwrap().over(&ours).unwrap(), [(1, 0)]);
        assert!(
            gml("graph [ edge [ source 1 target 2 ] ]")
                .unwrap_err()
                .contains("no node 1")
        );
        assert!(gml("graph [ node [ id 1").unwrap_err().contains("no end"));
    }
}
