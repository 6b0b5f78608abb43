//! What frames meet on the way from one node to another, by the graph and by all faults together.

use std::collections::{BTreeMap, BTreeSet};

use triskel::protocol::link::{Conditions, Cut};

use crate::scenario::{self, Edge, Occurrence, Span};

/// The most that a link can take, see [`Conditions::check`].
const MAX_DELAY_US: u64 = 60_000_000;
const MAX_LOSS_PPM: u32 = 500_000;

/// What each node does to what it sends, by sender and by receiver. Links that are absent are clear.
pub type Desired = Vec<BTreeMap<usize, Conditions>>;

/// What all links have while these faults are active: that of their edge and that of every fault, composed. A cut wins, delays add,
/// losses combine, and the least rate holds.
///
/// Nodes that share no edge are looked at as well, for one that lost its peers dials others that it has heard of.
pub fn desired(nodes: usize, edges: &[Edge], active: &[&Occurrence]) -> Desired {
    let mut links: Desired = vec![BTreeMap::new(); nodes];
    for edge in edges {
        links[edge.from].insert(edge.to, converted(&edge.outward));
        links[edge.to].insert(edge.from, converted(&edge.inward));
    }
    if !active.is_empty() {
        for (from, links) in links.iter_mut().enumerate() {
            for to in (0..nodes).filter(|&to| to != from) {
                let link = links.entry(to).or_default();
                for fault in active {
                    *link = worsened(*link, fault, from, to);
                }
            }
        }
    }
    for links in &mut links {
        links.retain(|_, conditions| !conditions.are_clear());
    }
    links
}

/// The receivers whose conditions differ.
pub fn changed(
    before: &BTreeMap<usize, Conditions>,
    after: &BTreeMap<usize, Conditions>,
) -> BTreeSet<usize> {
    let receivers = before.keys().chain(after.keys()).copied();
    receivers
        .filter(|receiver| before.get(receiver) != after.get(receiver))
        .collect()
}

fn worsened(link: Conditions, fault: &Occurrence, from: usize, to: usize) -> Conditions {
    let link = match fault.degrades(from, to) {
        Some(degraded) => composed(link, converted(&degraded)),
        None => link,
    };
    match fault.cuts(from, to) {
        // A cable that is pulled: a reset would tell both ends at once, in a direction that is open as well.
        true => Conditions {
            cut: Some(Cut::Stall),
            ..link
        },
        false => link,
    }
}

fn composed(left: Conditions, right: Conditions) -> Conditions {
    let passes = |ppm: u32| 1.0 - f64::from(ppm) / 1e6;
    let loss_ppm = (1.0 - passes(left.loss_ppm) * passes(right.loss_ppm)) * 1e6;
    let rates = [left.rate_bytes_per_s, right.rate_bytes_per_s];
    Conditions {
        delay_us: (left.delay_us + right.delay_us).min(MAX_DELAY_US),
        jitter_us: (left.jitter_us + right.jitter_us).min(MAX_DELAY_US),
        loss_ppm: (loss_ppm.round() as u32).min(MAX_LOSS_PPM),
        rate_bytes_per_s: rates.into_iter().flatten().min(),
        cut: left.cut.or(right.cut),
    }
}

fn converted(conditions: &scenario::Conditions) -> Conditions {
    Conditions {
        delay_us: conditions.delay.as_us().min(MAX_DELAY_US),
        jitter_us: conditions.jitter.as_us().min(MAX_DELAY_US),
        loss_ppm: ((conditions.loss * 1e6).round() as u32).min(MAX_LOSS_PPM),
        rate_bytes_per_s: conditions.rate_bytes_per_s,
        cut: None,
    }
}

/// Conditions as a scenario has them. A cut is none of these.
pub fn restored(conditions: &Conditions) -> scenario::Conditions {
    scenario::Conditions {
        delay: Span::from_us(conditions.delay_us),
        jitter: Span::from_us(conditions.jitter_us),
        loss: f64::from(conditions.loss_ppm) / 1e6,
        rate_bytes_per_s: conditions.rate_bytes_per_s,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Act, When};

    fn fault(act: Act, nodes: &[usize]) -> Occurrence {
        Occurrence {
            when: When::At(Span::ZERO),
            act,
            nodes: nodes.to_vec(),
            lasts: None,
        }
    }

    fn slow(delay_ms: u64, loss: f64, rate_bytes_per_s: Option<u64>) -> scenario::Conditions {
        scenario::Conditions {
            delay: Span::from_ms(delay_ms),
            loss,
            rate_bytes_per_s,
            ..scenario::Conditions::default()
        }
    }

    fn edge() -> Edge {
        Edge {
            from: 0,
            to: 1,
            outward: slow(10, 0.1, Some(5_000)),
            inward: scenario::Conditions::default(),
        }
    }

    #[test]
    fn a_link_has_conditions_by_direction_and_a_clear_one_is_absent() {
        let links = desired(3, &[edge()], &[]);
        assert_eq!(links[0][&1].delay_us, 10_000);
        assert_eq!(links[0][&1].loss_ppm, 100_000);
        assert!(links[1].is_empty() && links[2].is_empty());
    }

    #[test]
    fn delays_add_losses_combine_and_the_least_rate_holds() {
        let degrade = |conditions| {
            let to = vec![1];
            let both = true;
            let act = Act::Degrade {
                to,
                both,
                conditions,
            };
            fault(act, &[0])
        };
        let (first, second) = (
            degrade(slow(5, 0.5, None)),
            degrade(slow(1, 0.0, Some(9_000))),
        );
        let links = desired(2, &[edge()], &[&first, &second]);
        let link = links[0][&1];
        assert_eq!(link.delay_us, 16_000);
        // 1 - 0.9 x 0.5 is 0.55, more than a link can lose.
        assert_eq!(link.loss_ppm, 500_000);
        assert_eq!(link.rate_bytes_per_s, Some(5_000));
        assert_eq!(
            (links[1][&0].delay_us, links[1][&0].rate_bytes_per_s),
            (6_000, Some(9_000))
        );
    }

    #[test]
    fn a_cut_wins_and_what_was_slow_is_slow_again_after_it() {
        let cut = fault(Act::Cut(vec![1]), &[0]);
        let links = desired(2, &[edge()], &[&cut]);
        assert_eq!(links[0][&1].cut, Some(Cut::Stall));
        assert!(links[1].is_empty(), "the other way is open");
        let healed = desired(2, &[edge()], &[]);
        assert_eq!(changed(&links[0], &healed[0]), BTreeSet::from([1]));
        assert_eq!((healed[0][&1].cut, healed[0][&1].delay_us), (None, 10_000));
    }

    #[test]
    fn overlapping_cuts_end_with_the_last_of_them() {
        let partition = fault(Act::Partition(vec![vec![0], vec![1, 2]]), &[0, 1, 2]);
        let isolate = fault(Act::Isolate, &[1]);
        let both = desired(3, &[edge()], &[&partition, &isolate]);
        let one = desired(3, &[edge()], &[&isolate]);
        let is_cut = |links: &Desired, from: usize, to: usize| {
            links[from].get(&to).is_some_and(|link| link.cut.is_some())
        };
        assert!(is_cut(&both, 0, 2) && is_cut(&both, 0, 1) && is_cut(&both, 1, 2));
        assert!(!is_cut(&one, 0, 2) && is_cut(&one, 0, 1) && is_cut(&one, 2, 1));
    }
}
