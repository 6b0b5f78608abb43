//! A graph of nodes, and what can be said of it: how far, how dense, how fragile.

use std::collections::VecDeque;

use serde::Serialize;

/// Edges between nodes; in each the first dials the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    edges: Vec<(usize, usize)>,
    neighbours: Vec<Vec<usize>>,
}

/// What a graph is like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analysis {
    /// Nodes.
    pub nodes: usize,
    /// Edges.
    pub edges: usize,
    /// Steps between the two nodes that are farthest from each other.
    pub diameter: usize,
    /// The fewest neighbours that a node has.
    pub degree_min: usize,
    /// The neighbours of a node on average.
    pub degree_mean: f64,
    /// The most neighbours that a node has.
    pub degree_max: usize,
    /// Nodes without which the rest falls apart, as indices, ascending.
    pub cut_vertices: Vec<usize>,
}

impl Graph {
    /// A graph of so many nodes.
    pub fn new(nodes: usize, edges: Vec<(usize, usize)>) -> Self {
        let mut neighbours = vec![Vec::new(); nodes];
        for &(from, to) in &edges {
            neighbours[from].push(to);
            neighbours[to].push(from);
        }
        Self { edges, neighbours }
    }

    /// The edges.
    pub fn edges(&self) -> &[(usize, usize)] {
        &self.edges
    }

    /// A node that cannot be reached from the first, if there is one.
    pub fn unreachable(&self) -> Option<usize> {
        match self.neighbours.is_empty() {
            true => None,
            false => self.distances(0).iter().position(Option::is_none),
        }
    }

    /// The parts that hang together, each ascending.
    pub fn parts(&self) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.neighbours.len()];
        let mut parts = Vec::new();
        for node in 0..seen.len() {
            if seen[node] {
                continue;
            }
            let distances = self.distances(node);
            let part: Vec<_> = (0..seen.len())
                .filter(|&other| distances[other].is_some())
                .collect();
            part.iter().for_each(|&other| seen[other] = true);
            parts.push(part);
        }
        parts
    }

    /// Steps from a node to each; `None` where no way leads.
    fn distances(&self, from: usize) -> Vec<Option<usize>> {
        let mut distances = vec![None; self.neighbours.len()];
        distances[from] = Some(0);
        let mut queue = VecDeque::from([(from, 0)]);
        while let Some((node, distance)) = queue.pop_front() {
            for &other in &self.neighbours[node] {
                if distances[other].is_none() {
                    distances[other] = Some(distance + 1);
                    queue.push_back((other, distance + 1));
                }
            }
        }
        distances
    }

    /// What the graph is like. Takes a step for each pair of node and edge.
    pub fn analysis(&self) -> Analysis {
        let nodes = self.neighbours.len();
        let degrees = || self.neighbours.iter().map(Vec::len);
        let farthest = |node| self.distances(node).into_iter().flatten().max();
        Analysis {
            nodes,
            edges: self.edges.len(),
            diameter: (0..nodes).filter_map(farthest).max().unwrap_or_default(),
            degree_min: degrees().min().unwrap_or_default(),
            degree_mean: 2.0 * self.edges.len() as f64 / nodes.max(1) as f64,
            degree_max: degrees().max().unwrap_or_default(),
            cut_vertices: self.cut_vertices(),
        }
    }

    /// By depth-first search (Hopcroft and Tarjan), with a stack of its own: a line of thousands would exhaust the thread's.
    fn cut_vertices(&self) -> Vec<usize> {
        let nodes = self.neighbours.len();
        // When a node was found, counted from 1, and the earliest that it or one below it knows.
        let (mut found, mut lowest) = (vec![0usize; nodes], vec![0usize; nodes]);
        let mut cuts = vec![false; nodes];
        let mut count = 0;
        for root in 0..nodes {
            if found[root] > 0 {
                continue;
            }
            let mut branches = 0;
            let mut stack = vec![(root, root, 0)];
            while let Some((node, parent, next)) = stack.pop() {
                if next == 0 {
                    count += 1;
                    (found[node], lowest[node]) = (count, count);
                }
                let Some(&other) = self.neighbours[node].get(next) else {
                    if node != root {
                        lowest[parent] = lowest[parent].min(lowest[node]);
                        cuts[parent] |= parent != root && lowest[node] >= found[parent];
                        branches += usize::from(parent == root);
                    }
                    continue;
                };
                stack.push((node, parent, next + 1));
                if found[other] == 0 {
                    stack.push((other, node, 0));
                } else if other != parent {
                    lowest[node] = lowest[node].min(found[other]);
                }
            }
            cuts[root] = branches > 1;
        }
        (0..nodes).filter(|&node| cuts[node]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_long_and_every_inner_node_cuts_it() {
        let graph = Graph::new(5, vec![(1, 0), (2, 1), (3, 2), (4, 3)]);
        let analysis = graph.analysis();
        assert_eq!(
            (analysis.diameter, analysis.cut_vertices),
            (4, vec![1, 2, 3])
        );
        assert_eq!((analysis.degree_min, analysis.degree_max), (1, 2));
        assert_eq!(analysis.degree_mean, 1.6);
    }

    #[test]
    fn two_rings_that_share_a_node_hang_on_it() {
        let edges = vec![(1, 0), (2, 1), (2, 0), (3, 2), (4, 3), (4, 2)];
        assert_eq!(Graph::new(5, edges).analysis().cut_vertices, [2]);
        assert!(
            Graph::new(3, vec![(1, 0), (2, 1), (2, 0)])
                .analysis()
                .cut_vertices
                .is_empty()
        );
    }

    #[test]
    fn what_cuts_is_what_removing_separates() {
        use triskel::protocol::rng::Rng;
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let nodes = 2 + rng.below(12) as usize;
            let mut edges: Vec<_> = (1..nodes)
                .map(|node| (node, rng.below(node as u64) as usize))
                .collect();
            for _ in 0..rng.below(6) {
                let (from, to) = (
                    rng.below(nodes as u64) as usize,
                    rng.below(nodes as u64) as usize,
                );
                let known = edges.contains(&(from, to)) || edges.contains(&(to, from));
                if from != to && !known {
                    edges.push((from, to));
                }
            }
            let without = |node: usize| {
                let rest = edges
                    .iter()
                    .filter(|(from, to)| *from != node && *to != node);
                Graph::new(nodes, rest.copied().collect()).parts().len() > 2
            };
            let expected: Vec<_> = (0..nodes).filter(|&node| without(node)).collect();
            assert_eq!(
                Graph::new(nodes, edges.clone()).analysis().cut_vertices,
                expected,
                "{edges:?}"
            );
        }
    }

    #[test]
    fn separate_parts_are_found() {
        let graph = Graph::new(5, vec![(1, 0), (3, 2)]);
        assert_eq!(graph.unreachable(), Some(2));
        assert_eq!(graph.parts(), [vec![0, 1], vec![2, 3], vec![4]]);
    }
}
