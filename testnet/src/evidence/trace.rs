//! The way of one block through the network, as a tree of hops.

use serde::Serialize;

use super::blocks::{Hop, Spent, Trace};
use super::recording::Recording;
use crate::report::{Align, Table};

/// A block's way with names, for programs.
#[derive(Clone, Debug, Serialize)]
pub struct Way<'a> {
    /// The block.
    pub id: &'a str,
    /// Its stream.
    pub stream: &'a str,
    /// Its position in the order.
    pub number: u64,
    /// When it was seen first, in microseconds since the run's start.
    pub born_us: u64,
    /// The nodes that took it in, each below the one that it came from.
    pub hops: Vec<Step<'a>>,
}

/// A node on a block's way.
#[derive(Clone, Debug, Serialize)]
pub struct Step<'a> {
    /// The node.
    pub node: &'a str,
    /// The node that it came from.
    pub from: Option<&'a str>,
    /// `mined`, `relayed` or `synced`.
    pub origin: &'a str,
    /// Hops from where it was mined.
    pub depth: usize,
    /// Since the block was seen first, in microseconds.
    pub after_us: u64,
    /// Where the time of this hop went.
    pub spent: Option<Spent>,
}

/// The block that a text names: the beginning of its id, or its number in the order. Without a text, the one that took longest to
/// reach the last node; blocks that reached most nodes come first, for one whose relay mining's end cut short is no example.
pub fn find<'a>(recording: &'a Recording, wanted: Option<&str>) -> Option<&'a Trace> {
    let Some(wanted) = wanted else {
        let longest = |trace: &&Trace| (trace.delays_us().len(), trace.delays_us().last().copied());
        let whole = recording.blocks.iter().filter(|trace| trace.is_whole());
        return whole.max_by_key(longest);
    };
    let by_id = |trace: &&Trace| trace.id.starts_with(&wanted.to_ascii_lowercase());
    let number = wanted.trim_start_matches('#').parse::<u64>().ok();
    let by_number = |trace: &&Trace| Some(trace.number) == number;
    let blocks = &recording.blocks;
    let numbered = || {
        blocks
            .iter()
            .filter(by_number)
            .max_by_key(|trace| trace.hops.len())
    };
    match number {
        Some(_) if wanted.len() < 8 => numbered().or_else(|| blocks.iter().find(by_id)),
        _ => blocks.iter().find(by_id).or_else(numbered),
    }
}

/// A block's way, with the names of the nodes.
pub fn way<'a>(recording: &'a Recording, trace: &'a Trace) -> Way<'a> {
    let mut hops = Vec::new();
    // From roots down, each node's children in the order of time: a node that got it from nobody who has it is a root.
    let is_root = |hop: &Hop| match hop.from {
        None => true,
        Some(from) => !trace
            .hops
            .iter()
            .any(|other| other.node == from && other.at_us <= hop.at_us),
    };
    let mut seen = vec![false; trace.hops.len()];
    let roots: Vec<_> = (0..trace.hops.len())
        .filter(|index| is_root(&trace.hops[*index]))
        .collect();
    for root in roots {
        descend(recording, trace, root, 0, &mut seen, &mut hops);
    }
    Way {
        id: &trace.id,
        stream: &trace.stream,
        number: trace.number,
        born_us: trace.born_us(),
        hops,
    }
}

fn descend<'a>(
    recording: &'a Recording,
    trace: &'a Trace,
    index: usize,
    depth: usize,
    seen: &mut [bool],
    hops: &mut Vec<Step<'a>>,
) {
    if std::mem::replace(&mut seen[index], true) {
        return;
    }
    let hop = &trace.hops[index];
    hops.push(Step {
        node: recording.name(hop.node),
        from: hop.from.map(|from| recording.name(from)),
        origin: &hop.origin,
        depth,
        after_us: hop.at_us - trace.born_us(),
        spent: hop.spent,
    });
    for next in index + 1..trace.hops.len() {
        if trace.hops[next].from == Some(hop.node) && trace.hops[next].node != hop.node {
            descend(recording, trace, next, depth + 1, seen, hops);
        }
    }
}

impl Way<'_> {
    /// The tree as a person reads it.
    pub fn text(&self) -> String {
        let mut table = Table::new(&[
            ("node", Align::Left),
            ("after ms", Align::Right),
            ("hop ms", Align::Right),
            ("wire", Align::Right),
            ("check", Align::Right),
            ("queue", Align::Right),
            ("place", Align::Right),
            ("", Align::Left),
        ]);
        let mut last_child = Vec::new();
        for index in 0..self.hops.len() {
            let rest = self.hops[index + 1..].iter();
            let mut siblings = rest.take_while(|step| step.depth >= self.hops[index].depth);
            last_child.push(!siblings.any(|step| step.depth == self.hops[index].depth));
        }
        let mut open: Vec<bool> = Vec::new();
        for (step, is_last) in self.hops.iter().zip(last_child) {
            open.truncate(step.depth);
            let mut name: String = open
                .iter()
                .skip(1)
                .map(|goes_on| if *goes_on { "│  " } else { "   " })
                .collect();
            if step.depth > 0 {
                name.push_str(if is_last { "└─ " } else { "├─ " });
            }
            name.push_str(step.node);
            open.push(!is_last);
            let spent = |part: fn(&Spent) -> u64| {
                step.spent
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |spent| milliseconds(part(spent)))
            };
            table.row(vec![
                name,
                milliseconds(step.after_us),
                spent(Spent::total_us),
                spent(|spent| spent.wire_us),
                spent(|spent| spent.check_us),
                spent(|spent| spent.queue_us),
                spent(|spent| spent.place_us),
                match step.origin {
                    "relayed" => String::new(),
                    origin => origin.to_owned(),
                },
            ]);
        }
        format!(
            "block {:.16} #{} of stream {}, {:.3} s after the run's start\n\n{}",
            self.id,
            self.number,
            self.stream,
            self.born_us as f64 / 1e6,
            table.text()
        )
    }
}

fn milliseconds(time_us: u64) -> String {
    format!("{:.3}", time_us as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::blocks::{Logs, tests::arrival, traces};
    use crate::evidence::record::{Manifest, Member};

    fn recording() -> Recording {
        let member = |name: &str| Member {
            name: name.to_owned(),
            ..Member::default()
        };
        Recording {
            manifest: Manifest {
                nodes: ["a", "b", "c", "d"].map(member).to_vec(),
                ..Manifest::default()
            },
            blocks: traces(
                vec![
                    arrival(1_000, 0, "slow", None),
                    arrival(3_000, 1, "slow", Some(0)),
                    arrival(3_500, 2, "slow", Some(0)),
                    arrival(8_000, 3, "slow", Some(1)),
                    arrival(9_000, 0, "fast", None),
                    arrival(9_500, 1, "fast", Some(0)),
                ],
                &Logs::default(),
            ),
            ..Recording::default()
        }
    }

    #[test]
    fn a_way_is_a_tree_with_its_times() {
        let recording = recording();
        let trace = find(&recording, None).unwrap();
        let text = way(&recording, trace).text();
        let expected = "\
block slow #1 of stream A, 0.001 s after the run's start

node     after ms  hop ms   wire  check  queue  place
a           0.000       -      -      -      -      -  mined
├─ b        2.000   2.000  2.000  0.000  0.000  0.000
│  └─ d     7.000   5.000  5.000  0.000  0.000  0.000
└─ c        2.500   2.500  2.500  0.000  0.000  0.000
";
        assert_eq!(text, expected);
    }

    #[test]
    fn blocks_are_found_by_the_beginning_of_their_id_or_their_number() {
        let recording = recording();
        assert_eq!(find(&recording, Some("fa")).unwrap().id, "fast");
        assert_eq!(find(&recording, Some("#1")).unwrap().id, "slow");
        assert!(find(&recording, Some("none")).is_none());
    }
}
