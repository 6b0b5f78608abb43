//! Generators of graphs: lists of edges, in each of which the first node dials the second.

use std::collections::BTreeSet;

use triskel::protocol::rng::Rng;

use super::graph::Graph;
use super::region::Region;

type Edges = Vec<(usize, usize)>;

/// How often a random regular graph is drawn on before it is refused for not being connected. From degree 3 on nearly all are.
const ATTEMPTS: usize = 200;

pub(super) fn line(count: usize) -> Edges {
    (1..count).map(|node| (node, node - 1)).collect()
}

pub(super) fn line_with_chords(count: usize, rng: &mut Rng) -> Edges {
    let mut edges = Edges::new();
    for node in 1..count {
        edges.push((node, node - 1));
        // Node 3 is the first with an earlier node beside its neighbour.
        if node >= 2 {
            edges.push((node, rng.below(node as u64 - 1) as usize));
        }
    }
    edges
}

pub(super) fn ring(count: usize) -> Edges {
    let mut edges = line(count);
    if count > 2 {
        edges.push((count - 1, 0));
    }
    edges
}

pub(super) fn grid(count: usize, columns: Option<u64>) -> Edges {
    let columns = columns.map_or_else(|| count.isqrt().max(1), |columns| columns as usize);
    let mut edges = Edges::new();
    for node in 0..count {
        if node % columns > 0 {
            edges.push((node, node - 1));
        }
        if node >= columns {
            edges.push((node, node - columns));
        }
    }
    edges
}

/// A regular lattice, in which pairs of edges exchange their ends at random: that keeps all degrees, and after ten exchanges an
/// edge little is left of the lattice. It always succeeds, where pairing half-edges at random hardly ever does for dense graphs.
pub(super) fn regular(count: usize, degree: usize, rng: &mut Rng) -> Result<Edges, String> {
    if degree >= count {
        let most = count.saturating_sub(1);
        return Err(format!(
            "{count} nodes cannot have {degree} neighbours each, at most {most}"
        ));
    }
    if !(count * degree).is_multiple_of(2) {
        return Err(format!(
            "{count} nodes cannot have {degree} neighbours each: one of both must be even"
        ));
    }
    if degree == 2 {
        return Ok(shuffled_ring(count, rng));
    }
    let mut edges: Edges = (0..count)
        .flat_map(|node| (1..=degree / 2).map(move |step| edge(node, (node + step) % count)))
        .collect();
    if degree % 2 == 1 {
        edges.extend((0..count / 2).map(|node| edge(node, node + count / 2)));
    }
    let mut kept: BTreeSet<_> = edges.iter().copied().collect();
    for _ in 0..ATTEMPTS {
        for _ in 0..10 * edges.len() {
            exchange(&mut edges, &mut kept, rng);
        }
        if Graph::new(count, edges.clone()).unreachable().is_none() {
            edges.sort_unstable();
            return Ok(edges);
        }
    }
    Err(format!(
        "no connected graph was found in which {count} nodes have {degree} neighbours each"
    ))
}

/// A random regular graph of degree 2 is mostly several rings; this is one.
fn shuffled_ring(count: usize, rng: &mut Rng) -> Edges {
    let mut order: Vec<_> = (0..count).collect();
    rng.shuffle(&mut order);
    let pairs = ring(count).into_iter();
    let mut edges: Edges = pairs
        .map(|(left, right)| edge(order[left], order[right]))
        .collect();
    edges.sort_unstable();
    edges
}

/// Two edges exchange an end each, unless that made a loop or a double edge.
fn exchange(edges: &mut Edges, kept: &mut BTreeSet<(usize, usize)>, rng: &mut Rng) {
    let pick = |rng: &mut Rng| rng.below(edges.len() as u64) as usize;
    let (first, second) = (pick(rng), pick(rng));
    let (left, right) = (edges[first], edges[second]);
    // Each edge has two directions, and either may be the one that it is exchanged in.
    let (near, far) = match rng.below(2) {
        0 => (right.0, right.1),
        _ => (right.1, right.0),
    };
    let new = [edge(left.0, near), edge(left.1, far)];
    let is_loop = |(from, to): &(usize, usize)| from == to;
    if first == second
        || new[0] == new[1]
        || new.iter().any(|new| is_loop(new) || kept.contains(new))
    {
        return;
    }
    kept.remove(&left);
    kept.remove(&right);
    kept.extend(new);
    (edges[first], edges[second]) = (new[0], new[1]);
}

/// The later node dials the earlier.
fn edge(left: usize, right: usize) -> (usize, usize) {
    (left.max(right), left.min(right))
}

pub(super) fn random(count: usize, degree: f64, rng: &mut Rng) -> Edges {
    let probability = (degree / (count.max(2) - 1) as f64).min(1.0);
    let mut edges = Edges::new();
    for node in 1..count {
        for other in 0..node {
            if rng.fraction() < probability {
                edges.push((node, other));
            }
        }
    }
    join(count, edges, rng)
}

/// Joins what is separate: a random node of each further part dials a random one of those before.
fn join(count: usize, mut edges: Edges, rng: &mut Rng) -> Edges {
    let parts = Graph::new(count, edges.clone()).parts();
    let mut joined = parts.first().cloned().unwrap_or_default();
    for part in parts.iter().skip(1) {
        let pick = |from: &[usize], rng: &mut Rng| from[rng.below(from.len() as u64) as usize];
        let (left, right) = (pick(part, rng), pick(&joined, rng));
        edges.push(edge(left, right));
        joined.extend(part);
    }
    edges
}

pub(super) fn small_world(
    count: usize,
    degree: usize,
    rewired: f64,
    rng: &mut Rng,
) -> Result<Edges, String> {
    if degree % 2 == 1 {
        return Err(format!(
            "degree {degree} is not allowed for small-world, even ones are"
        ));
    }
    if degree >= count {
        return Err(format!(
            "{count} nodes cannot have {degree} neighbours each, at most {}",
            count - 1
        ));
    }
    let near =
        (0..count).flat_map(|node| (1..=degree / 2).map(move |step| (node, (node + step) % count)));
    let near: Vec<_> = near.collect();
    let mut kept: BTreeSet<_> = near
        .iter()
        .map(|&(left, right)| edge(left, right))
        .collect();
    for (node, right) in near {
        // The ring itself stays: whatever is rewired, every node can be reached.
        if right == (node + 1) % count || rng.fraction() >= rewired {
            continue;
        }
        let new = edge(node, rng.below(count as u64) as usize);
        if new.0 != new.1 && !kept.contains(&new) {
            kept.remove(&edge(node, right));
            kept.insert(new);
        }
    }
    Ok(kept.into_iter().collect())
}

pub(super) fn scale_free(count: usize, dials: usize, rng: &mut Rng) -> Edges {
    let mut edges = Edges::new();
    // Each node stands here once for each of its neighbours: drawing from it prefers those that have many.
    let mut ends = vec![0];
    for node in 1..count {
        let mut chosen = BTreeSet::new();
        while chosen.len() < dials.min(node) {
            let drawn = ends[rng.below(ends.len() as u64) as usize];
            // The first nodes are too few to draw different ones from: then any that is left.
            match chosen.insert(drawn) || node > dials {
                true => {}
                false => {
                    chosen.extend((0..node).find(|other| !chosen.contains(other)));
                }
            }
        }
        for other in chosen {
            edges.push((node, other));
            ends.extend([node, other]);
        }
    }
    edges
}

pub(super) fn clusters(
    regions: &[Option<Region>],
    inside: usize,
    between: usize,
    rng: &mut Rng,
) -> Edges {
    let mut names: Vec<_> = regions.to_vec();
    names.sort_unstable();
    names.dedup();
    let cluster = |name: &Option<Region>| -> Vec<usize> {
        (0..regions.len())
            .filter(|&node| regions[node] == *name)
            .collect()
    };
    let clusters: Vec<_> = names.iter().map(cluster).collect();
    let mut edges = BTreeSet::new();
    for members in &clusters {
        for (position, &node) in members.iter().enumerate().skip(1) {
            // The neighbour before, so that the cluster is connected, and others before that.
            let mut earlier: Vec<_> = members[..position - 1].to_vec();
            rng.shuffle(&mut earlier);
            earlier.truncate(inside - 1);
            earlier.push(members[position - 1]);
            edges.extend(earlier.into_iter().map(|other| edge(node, other)));
        }
    }
    let mut before: Vec<usize> = Vec::new();
    for members in &clusters {
        for _ in 0..between.min(members.len() * before.len()) {
            let pick = |from: &[usize], rng: &mut Rng| from[rng.below(from.len() as u64) as usize];
            edges.insert(edge(pick(members, rng), pick(&before, rng)));
        }
        before.extend(members);
    }
    edges.into_iter().collect()
}

#[cfg(test)]
mod tests;
