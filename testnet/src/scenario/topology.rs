//! Who dials whom.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use triskel::protocol::rng::Rng;

use super::explicit::Node;
use super::graph::Graph;
use super::import;
use super::limits::MAX_EDGES;
use super::nearest::suggestion;
use super::problem::Problem;
use super::range::{part, within};
use super::shapes;

/// The form of the graph: a word, or a table of one word with its measures. In all but `edges` and `file` the later node of two
/// dials the earlier; what is random is drawn from the scenario's seed. Every graph is connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Topology {
    /// Node i dials node i-1.
    Line,
    /// Node i dials node i-1 and one random earlier node.
    #[default]
    LineWithChords,
    /// A line whose ends are joined.
    Ring,
    /// All dial the first node.
    Star,
    /// Rows and columns; each node has at most four neighbours.
    Grid {
        /// Nodes in a row; as many as make it nearly square if absent.
        #[serde(
            default,
            deserialize_with = "super::range::optional_within::<_, 1, 5_000>",
            skip_serializing_if = "Option::is_none"
        )]
        #[schemars(range(min = 1, max = 5_000))]
        columns: Option<u64>,
    },
    /// A random graph in which each node has as many neighbours as every other.
    Regular {
        /// Neighbours of a node, at least 2; nodes times degree must be even.
        #[serde(deserialize_with = "within::<_, 2, 100>")]
        #[schemars(range(min = 2, max = 100))]
        degree: u64,
    },
    /// Any two nodes are neighbours with the same probability (Erdos and Renyi); parts that come out separate are joined.
    Random {
        /// Neighbours of a node on average.
        #[serde(deserialize_with = "within::<_, 1, 100>")]
        #[schemars(range(min = 1, max = 100))]
        degree: u64,
    },
    /// A ring of near neighbours, some of whose edges lead somewhere else (Watts and Strogatz).
    SmallWorld {
        /// Neighbours of a node on average; even.
        #[serde(deserialize_with = "within::<_, 2, 100>")]
        #[schemars(range(min = 2, max = 100))]
        degree: u64,
        /// The part of the edges that lead somewhere else, 0 to 1.
        #[serde(deserialize_with = "part")]
        #[schemars(range(min = 0, max = 1))]
        rewired: f64,
    },
    /// Each node dials earlier ones, and rather those that have many neighbours (Barabasi and Albert).
    ScaleFree {
        /// Nodes that each node dials.
        #[serde(deserialize_with = "within::<_, 1, 50>")]
        #[schemars(range(min = 1, max = 50))]
        dials: u64,
    },
    /// Nodes of one region dial each other, and few others. Nodes without a region are a region of their own.
    Clusters {
        /// Nodes of its own region that a node dials.
        #[serde(deserialize_with = "within::<_, 1, 50>")]
        #[schemars(range(min = 1, max = 50))]
        inside: u64,
        /// Edges from each region to those before it.
        #[serde(deserialize_with = "within::<_, 1, 50>")]
        #[schemars(range(min = 1, max = 50))]
        between: u64,
    },
    /// Pairs of names: the first dials the second.
    Edges(Vec<(String, String)>),
    /// A file of edges, relative to this one: CSV (`from,to` a line) or GML. Names that are no nodes' stand for the nodes in
    /// the order in which the file has them.
    File(PathBuf),
}

impl Topology {
    /// The graph over these nodes.
    pub(super) fn graph(&self, nodes: &[Node], seed: u64) -> Result<Graph, Problem> {
        let count = nodes.len();
        let mut rng = Rng::new(seed);
        let refused = |message: String| Problem::new("topology", message);
        let edges = match self {
            Self::Line => shapes::line(count),
            Self::LineWithChords => shapes::line_with_chords(count, &mut rng),
            Self::Ring => shapes::ring(count),
            Self::Star => (1..count).map(|node| (node, 0)).collect(),
            Self::Grid { columns } => shapes::grid(count, *columns),
            Self::Regular { degree } => {
                shapes::regular(count, *degree as usize, &mut rng).map_err(refused)?
            }
            Self::Random { degree } => shapes::random(count, *degree as f64, &mut rng),
            Self::SmallWorld { degree, rewired } => {
                shapes::small_world(count, *degree as usize, *rewired, &mut rng).map_err(refused)?
            }
            Self::ScaleFree { dials } => shapes::scale_free(count, *dials as usize, &mut rng),
            Self::Clusters { inside, between } => {
                let regions: Vec<_> = nodes.iter().map(|node| node.region).collect();
                shapes::clusters(&regions, *inside as usize, *between as usize, &mut rng)
            }
            Self::Edges(pairs) => named(pairs, nodes)?,
            Self::File(file) => import::read(file, nodes)
                .map_err(|message| Problem::new("topology.file", message))?,
        };
        if edges.len() > MAX_EDGES {
            let count = edges.len();
            return Err(refused(format!(
                "{count} edges are not allowed, at most {MAX_EDGES} are"
            )));
        }
        let graph = Graph::new(count, edges);
        match graph.unreachable() {
            Some(node) => Err(refused(format!(
                "no way leads from {} to {}: the graph must be connected",
                nodes[0].name, nodes[node].name
            ))),
            None => Ok(graph),
        }
    }
}

fn named(pairs: &[(String, String)], nodes: &[Node]) -> Result<Vec<(usize, usize)>, Problem> {
    let index: std::collections::BTreeMap<_, _> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.name.as_str(), index))
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    let mut edges = Vec::new();
    for (position, (from, to)) in pairs.iter().enumerate() {
        let refused = |message| Problem::new(format!("topology.edges[{position}]"), message);
        let find = |name: &str| {
            index.get(name).copied().ok_or_else(|| {
                let suggestion = suggestion(name, index.keys().copied());
                refused(format!("no node is called `{name}`{suggestion}"))
            })
        };
        let (from, to) = (find(from)?, find(to)?);
        if from == to {
            return Err(refused("a node does not dial itself".to_owned()));
        }
        if !seen.insert((from.min(to), from.max(to))) {
            return Err(refused("these two are joined already".to_owned()));
        }
        edges.push((from, to));
    }
    Ok(edges)
}
