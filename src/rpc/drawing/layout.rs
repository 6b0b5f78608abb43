//! Where blocks stand: a column for each generation, a lane for each stream, and in the lane a slot for each of those that are
//! parallel. The selected chain has the middle slots for itself, so nothing stands in its way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::graph::{Graph, Kind};

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) column: usize,
    pub(super) lane: usize,
    /// 0 is the middle of the lane.
    pub(super) slot: i32,
}

/// Where all blocks stand.
pub(super) struct Layout {
    pub(super) spots: Vec<Spot>,
    pub(super) columns: usize,
    taken: BTreeSet<(usize, i32, usize)>,
}

impl Layout {
    pub(super) fn new(graph: &Graph<'_>) -> Self {
        let columns = columns(graph);
        let mut layout = Self {
            spots: Vec::new(),
            columns: columns.iter().max().map_or(0, |last| last + 1),
            taken: BTreeSet::new(),
        };
        let mut by_column: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, column) in columns.iter().enumerate() {
            by_column.entry(*column).or_default().push(index);
        }
        let mut slots = vec![0; graph.nodes.len()];
        for (column, members) in by_column {
            for index in members {
                let node = &graph.nodes[index];
                let lane = graph.lane(node);
                let slot = match node.kind {
                    Kind::Chain | Kind::Next => 0,
                    // A branch goes on where it came from.
                    _ => {
                        let parent = node.selected.filter(|parent| {
                            graph.lane(&graph.nodes[*parent]) == lane && columns[*parent] < column
                        });
                        layout.free_slot(lane, column, parent.map_or(0, |parent| slots[parent]))
                    }
                };
                slots[index] = slot;
                layout.taken.insert((lane, slot, column));
            }
        }
        let spot = |(index, node)| Spot {
            column: columns[index],
            lane: graph.lane(node),
            slot: slots[index],
        };
        layout.spots = graph.nodes.iter().enumerate().map(spot).collect();
        layout
    }

    /// The wanted slot if it is free, else the nearest to the middle; never the middle itself.
    fn free_slot(&self, lane: usize, column: usize, wanted: i32) -> i32 {
        let outwards = (1..).flat_map(|distance| [distance, -distance]);
        let mut candidates = std::iter::once(wanted).chain(outwards);
        let is_free = |slot: &i32| *slot != 0 && !self.taken.contains(&(lane, *slot, column));
        candidates
            .find(is_free)
            .expect("a column has fewer blocks than there are numbers")
    }

    /// The first and the last slot that a lane needs for these columns; the middle is always one of them.
    pub(super) fn slots(&self, lane: usize, columns: &Range<usize>) -> (i32, i32) {
        let spots = self.spots.iter();
        let here = spots.filter(|spot| spot.lane == lane && columns.contains(&spot.column));
        here.fold((0, 0), |(first, last), spot| {
            (first.min(spot.slot), last.max(spot.slot))
        })
    }

    /// Whether a block stands on the straight line between two of the same lane and slot.
    pub(super) fn is_obstructed(&self, from: Spot, to: Spot) -> bool {
        let (from, to) = (from.min(to), from.max(to));
        let between = (from.lane, from.slot, from.column + 1)..(to.lane, to.slot, to.column);
        (from.lane, from.slot) == (to.lane, to.slot) && self.taken.range(between).next().is_some()
    }
}

/// The length of the longest way from the oldest blocks that are drawn.
fn columns(graph: &Graph<'_>) -> Vec<usize> {
    let mut columns: Vec<usize> = Vec::new();
    for node in &graph.nodes {
        let after = node.parents.iter().map(|parent| columns[*parent] + 1);
        columns.push(after.max().unwrap_or(0));
    }
    // What has no parent here stands right before its first child, instead of at the far left with a long line.
    let mut first_child = vec![None; columns.len()];
    for (node, column) in graph.nodes.iter().zip(&columns) {
        for parent in &node.parents {
            let first = first_child[*parent].get_or_insert(*column);
            *first = (*column).min(*first);
        }
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        if let (true, Some(child)) = (node.parents.is_empty(), first_child[index]) {
            columns[index] = child - 1;
        }
    }
    columns
}
