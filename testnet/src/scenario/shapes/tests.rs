//! What each shape promises, for all sizes and seeds.

use super::*;

fn degrees(count: usize, edges: &Edges) -> Vec<usize> {
    let mut degrees = vec![0; count];
    for (from, to) in edges {
        degrees[*from] += 1;
        degrees[*to] += 1;
    }
    degrees
}

/// Every shape that draws, at its usual measures.
fn drawn(count: usize, seed: u64) -> Vec<(&'static str, Edges)> {
    let mut rng = Rng::new(seed);
    let regions: Vec<_> = (0..count).map(|node| Region::all().nth(node % 5)).collect();
    let mut shapes = vec![
        ("line-with-chords", line_with_chords(count, &mut rng)),
        ("random", random(count, 2.0, &mut rng)),
        ("scale-free", scale_free(count, 3, &mut rng)),
        ("clusters", clusters(&regions, 3, 2, &mut rng)),
    ];
    if count > 4 {
        shapes.push(("regular", regular(count, 4, &mut rng).unwrap()));
        shapes.push(("small-world", small_world(count, 4, 0.3, &mut rng).unwrap()));
    }
    shapes
}

#[test]
fn every_shape_is_connected_simple_and_has_the_later_node_dial() {
    for count in (1..30).chain([100, 301]) {
        for seed in 0..10 {
            let mut shapes = drawn(count, seed);
            shapes.extend([
                ("line", line(count)),
                ("ring", ring(count)),
                ("grid", grid(count, None)),
            ]);
            for (name, edges) in shapes {
                let graph = Graph::new(count, edges.clone());
                assert_eq!(graph.unreachable(), None, "{name} of {count}, seed {seed}");
                let distinct: BTreeSet<_> = edges.iter().collect();
                assert_eq!(
                    distinct.len(),
                    edges.len(),
                    "{name} of {count}, seed {seed}"
                );
                assert!(
                    edges.iter().all(|(from, to)| from > to),
                    "{name} of {count}, seed {seed}"
                );
            }
        }
    }
}

#[test]
fn the_same_seed_draws_the_same_graph() {
    assert_eq!(drawn(50, 7), drawn(50, 7));
    for ((name, left), (_, right)) in drawn(50, 7).into_iter().zip(drawn(50, 8)) {
        assert_ne!(left, right, "{name}");
    }
}

#[test]
fn degrees_are_within_what_each_shape_promises() {
    for (count, degree) in [(5, 4), (6, 3), (7, 2), (20, 5), (101, 8), (1_000, 6)] {
        let edges = regular(count, degree, &mut Rng::new(1)).unwrap();
        assert!(
            degrees(count, &edges).iter().all(|found| *found == degree),
            "{count}, {degree}"
        );
    }
    let edges = small_world(100, 6, 0.5, &mut Rng::new(1)).unwrap();
    assert_eq!(edges.len(), 300);
    let edges = scale_free(500, 2, &mut Rng::new(1));
    let degrees_found = degrees(500, &edges);
    assert_eq!(edges.len(), 1 + 2 * 498);
    let most = degrees_found.iter().max().unwrap();
    assert!(
        degrees_found.iter().all(|found| *found >= 1) && *most > 20,
        "{most}"
    );
    assert!(
        degrees(16, &grid(16, None))
            .iter()
            .all(|found| (2..=4).contains(found))
    );
    assert!(degrees(9, &ring(9)).iter().all(|found| *found == 2));
    let edges = random(1_000, 8.0, &mut Rng::new(1));
    assert!((3_600..4_400).contains(&edges.len()), "{}", edges.len());
}

#[test]
fn impossible_graphs_are_refused() {
    assert!(
        regular(5, 3, &mut Rng::new(1))
            .unwrap_err()
            .contains("even")
    );
    assert!(
        regular(4, 4, &mut Rng::new(1))
            .unwrap_err()
            .contains("at most 3")
    );
    assert!(
        small_world(10, 3, 0.1, &mut Rng::new(1))
            .unwrap_err()
            .contains("even")
    );
    assert!(
        small_world(4, 6, 0.1, &mut Rng::new(1))
            .unwrap_err()
            .contains("at most 3")
    );
}
