//! What a scenario can do without: all that is one step smaller, the boldest steps first.
//!
//! Each step takes something away or makes a number less, or puts a word in the place of a list, so that there is an end to it. A
//! step that leads to no scenario is refused where the scenario is expanded.

use std::collections::{BTreeMap, BTreeSet};

use crate::scenario::{
    Action, Conditions, Fault, LinkChoice, Links, NetworkSection, ORDINARY, Parts, Preset,
    Scenario, Span, Topology, When, Who,
};

/// Shorter than this nothing is made: below it, only the way to see it changes.
const LEAST_SPAN_MS: u64 = 100;

/// All that is one step smaller than an expanded scenario, or than what such steps made of one.
pub fn steps(scenario: &Scenario) -> Vec<Scenario> {
    let mut steps = Vec::new();
    let mut step = |change: &mut dyn FnMut(&mut Scenario)| {
        let mut smaller = scenario.clone();
        change(&mut smaller);
        if smaller != *scenario {
            steps.push(smaller);
        }
    };
    for range in chunks(scenario.faults.len()) {
        step(&mut |smaller| drop(smaller.faults.drain(range.clone())));
    }
    step(&mut |smaller| smaller.load.clear());
    step(&mut |smaller| smaller.transfers = 0);
    step(&mut |smaller| smaller.links = Links::default());
    step(&mut |smaller| smaller.blocks = 1);
    step(&mut |smaller| smaller.duration = None);
    for node in (0..scenario.node_count()).rev() {
        step(&mut |smaller| remove_node(smaller, node));
    }
    for topology in [Topology::Line, Topology::Star, Topology::Ring] {
        if let Topology::Edges(_) = scenario.topology {
            step(&mut |smaller| smaller.topology = topology.clone());
        }
    }
    for index in 0..scenario.checks.len() {
        step(&mut |smaller| drop(smaller.checks.remove(index)));
    }
    for range in chunks(scenario.links.rules.len()) {
        step(&mut |smaller| drop(smaller.links.rules.drain(range.clone())));
    }
    if let Topology::Edges(edges) = &scenario.topology {
        for index in 0..edges.len() {
            let mut fewer = edges.clone();
            fewer.remove(index);
            step(&mut |smaller| smaller.topology = Topology::Edges(fewer.clone()));
        }
    }
    step(&mut |smaller| smaller.groups.clear());
    step(&mut |smaller| {
        let preset = Preset::Chain;
        let streams = smaller.network.streams.clone();
        let kept = streams.into_iter();
        let kept = kept.filter(|(stream, _)| preset.streams().contains(stream));
        smaller.network = NetworkSection {
            preset,
            streams: kept.collect(),
            initial_hashrate: None,
            ..smaller.network.clone()
        };
    });
    for stream in scenario.network.streams.keys() {
        step(&mut |smaller| {
            smaller.network.streams.remove(stream);
        });
    }
    step(&mut |smaller| smaller.hashrate = None);
    step(&mut |smaller| smaller.transfers /= 2);
    step(&mut |smaller| smaller.blocks = (smaller.blocks / 2).max(1));
    step(&mut |smaller| smaller.duration = smaller.duration.map(halved));
    step(&mut |smaller| smaller.verdict.fresh_blocks = smaller.verdict.fresh_blocks.min(1));
    step(&mut |smaller| smaller.verdict.invariants = Default::default());
    for index in 0..scenario.faults.len() {
        for fault in lesser(&scenario.faults[index]) {
            step(&mut |smaller| smaller.faults[index] = fault.clone());
        }
    }
    for index in 0..scenario.links.rules.len() {
        for link in plainer(&scenario.links.rules[index].link) {
            step(&mut |smaller| smaller.links.rules[index].link = link.clone());
        }
    }
    steps
}

/// Ranges of a list, as delta debugging tries them (Zeller and Hildebrandt, 2002): all, halves, quarters, down to single ones; the
/// last first, for what comes later depends on what was before.
fn chunks(length: usize) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let mut size = length;
    while size > 0 {
        let starts = (0..length).step_by(size).rev();
        ranges.extend(starts.map(|start| start..(start + size).min(length)));
        size /= 2;
    }
    ranges
}

fn halved(span: Span) -> Span {
    let ms = span.as_ms();
    // Round numbers are read more easily.
    let round = |ms: u64| if ms > 1_000 { ms / 100 * 100 } else { ms };
    match ms / 2 {
        half if half >= LEAST_SPAN_MS => Span::from_ms(round(half)),
        _ => span,
    }
}

fn lesser(fault: &Fault) -> Vec<Fault> {
    let mut lesser = vec![Fault {
        lasts: fault.lasts.map(halved),
        ..fault.clone()
    }];
    if let When::At(at) = &fault.when {
        lesser.push(Fault {
            when: When::At(halved(*at)),
            ..fault.clone()
        });
    }
    if let Who::Any(names) = &fault.who {
        for index in 0..names.len() {
            let mut fewer = names.clone();
            fewer.remove(index);
            let who = any(fewer);
            lesser.extend(who.map(|who| Fault {
                who,
                ..fault.clone()
            }));
        }
    }
    lesser
}

fn any(mut names: Vec<Who>) -> Option<Who> {
    match names.len() {
        0 => None,
        1 => names.pop(),
        _ => Some(Who::Any(names)),
    }
}

fn plainer(link: &LinkChoice) -> Vec<LinkChoice> {
    let LinkChoice::Conditions(conditions) = *link else {
        return Vec::new();
    };
    let plainer = [
        Conditions {
            jitter: Span::ZERO,
            ..conditions
        },
        Conditions {
            loss: 0.0,
            ..conditions
        },
        Conditions {
            rate_bytes_per_s: None,
            ..conditions
        },
    ];
    plainer.map(LinkChoice::Conditions).to_vec()
}

/// Takes a node out: from its group, from the graph, whose neighbours of it are joined instead, and from all that names it.
fn remove_node(scenario: &mut Scenario, node: u64) {
    let before = members(scenario);
    let (group, gone) = before[node as usize].clone();
    if group == ORDINARY {
        scenario.nodes -= 1;
    } else if let Some(found) = scenario.groups.iter().position(|other| other.name == group) {
        match scenario.groups[found].count.unwrap_or(1) {
            1 => drop(scenario.groups.remove(found)),
            count => scenario.groups[found].count = Some(count - 1),
        }
    }
    let left = before.into_iter().filter(|(_, name)| *name != gone);
    let after = members(scenario).into_iter();
    let names = left.zip(after).map(|((_, old), (_, new))| (old, new));
    let names = names.collect();
    let renamed = Renamed { gone, names };
    // The first targets fit those who are left.
    scenario.network.initial_hashrate = None;
    renamed.rename(scenario);
}

/// Group and name of each node, in the order in which they are made.
fn members(scenario: &Scenario) -> Vec<(String, String)> {
    let ordinary = crate::scenario::Group::new(ORDINARY);
    let others = scenario
        .groups
        .iter()
        .filter(|group| group.name != ORDINARY);
    let mut members = Vec::new();
    for group in std::iter::once(&ordinary).chain(others) {
        let count = match group.name == ORDINARY {
            true => scenario.nodes,
            false => group.count.unwrap_or(1),
        };
        let name = |index| (group.name.clone(), group.node_name(index, count));
        members.extend((0..count).map(name));
    }
    members
}

/// Who is called what, once a node is gone.
struct Renamed {
    gone: String,
    names: BTreeMap<String, String>,
}

impl Renamed {
    fn rename(&self, scenario: &mut Scenario) {
        if let Topology::Edges(edges) = &scenario.topology {
            scenario.topology = Topology::Edges(self.edges(edges));
        }
        scenario.links.rules.retain_mut(|rule| {
            let ends = (self.who(&rule.from), self.who(&rule.to));
            let (Some(from), Some(to)) = ends else {
                return false;
            };
            (rule.from, rule.to) = (from, to);
            true
        });
        scenario.load.retain_mut(|load| match self.who(&load.who) {
            Some(who) => {
                load.who = who;
                true
            }
            None => false,
        });
        scenario.faults.retain_mut(|fault| {
            let (Some(who), Some(what)) = (self.who(&fault.who), self.action(&fault.what)) else {
                return false;
            };
            (fault.who, fault.what) = (who, what);
            true
        });
    }

    fn edges(&self, edges: &[(String, String)]) -> Vec<(String, String)> {
        let other = |(from, to): &(String, String)| match (*from == self.gone, *to == self.gone) {
            (true, _) => Some(to.clone()),
            (_, true) => Some(from.clone()),
            _ => None,
        };
        let neighbours: Vec<_> = edges.iter().filter_map(other).collect();
        let kept = edges.iter().filter(|edge| other(edge).is_none()).cloned();
        let pairs = neighbours.windows(2);
        let joined = pairs.map(|pair| (pair[1].clone(), pair[0].clone()));
        let mut seen = BTreeSet::new();
        let mut is_new = |(from, to): &(String, String)| {
            seen.insert((from.min(to).clone(), from.max(to).clone()))
        };
        let edges: Vec<_> = kept.chain(joined).filter(|edge| is_new(edge)).collect();
        let name = |name: &String| self.names.get(name).cloned();
        let renamed = edges
            .iter()
            .filter_map(|(from, to)| Some((name(from)?, name(to)?)));
        renamed.collect()
    }

    /// The same nodes by their new names; `None` if that is nobody.
    fn who(&self, who: &Who) -> Option<Who> {
        match who {
            Who::Named(name) if *name == self.gone => None,
            Who::Named(name) => match self.names.get(name) {
                Some(name) => Some(Who::named(name.clone())),
                // A group.
                None => Some(who.clone()),
            },
            Who::Any(choices) => any(choices
                .iter()
                .filter_map(|choice| self.who(choice))
                .collect()),
            other => Some(other.clone()),
        }
    }

    fn action(&self, action: &Action) -> Option<Action> {
        let parts = |parts: &Parts| match parts {
            Parts::Named(named) => {
                Parts::Named(named.iter().filter_map(|part| self.who(part)).collect())
            }
            Parts::Count(count) => Parts::Count(*count),
        };
        Some(match action {
            Action::Partition(divided) => Action::Partition(parts(divided)),
            Action::Bridge(divided) => Action::Bridge(parts(divided)),
            Action::Cut(toward) => Action::Cut(self.who(toward)?),
            Action::Degrade { to, both, link } => Action::Degrade {
                to: self.who(to)?,
                both: *both,
                link: link.clone(),
            },
            other => other.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Setting;

    fn expanded(text: &str) -> Scenario {
        let loaded = Scenario::parse(text, "test", &[] as &[Setting]).unwrap();
        loaded.expand().unwrap().scenario
    }

    const TEXT: &str = "
        name = 'big'
        nodes = 5
        seed = 3
        topology = 'ring'
        groups = [{ name = 'big', share = 0.4 }]
        links = { default = 'dsl' }
        faults = [
            { when = '4s', what = { partition = [['node-1', 'node-2'], ['node-3', 'big']] }, for = '8s' },
            { when = '9s', what = 'kill', who = ['node-2', 'node-4'], for = '2s' },
        ]
    ";

    #[test]
    fn every_step_ends_somewhere_and_most_lead_to_scenarios() {
        let mut scenario = expanded(TEXT);
        let mut steps_taken = 0;
        while let Some(smaller) = steps(&scenario)
            .into_iter()
            .find(|smaller| smaller.clone().expand().is_ok())
        {
            scenario = smaller;
            steps_taken += 1;
            assert!(
                steps_taken < 200,
                "there is no end to it:\n{}",
                scenario.to_toml()
            );
        }
        assert_eq!(scenario.node_count(), 1, "{}", scenario.to_toml());
        assert!(scenario.faults.is_empty());
    }

    #[test]
    fn a_node_leaves_with_its_name_its_edges_and_its_part_of_faults() {
        let mut scenario = expanded(TEXT);
        remove_node(&mut scenario, 1);
        let again = scenario.clone().expand().unwrap();
        assert_eq!(again.nodes.len(), 5);
        assert_eq!(again.nodes[4].name, "big");
        // What was node-4 is node-3 now, and the only one that is killed.
        assert_eq!(scenario.faults[1].who, Who::named("node-3"));
        let text = scenario.to_toml();
        assert!(!text.contains("node-5"), "{text}");
    }

    #[test]
    fn lists_are_cut_in_halves_from_the_end() {
        assert_eq!(chunks(3), [0..3, 2..3, 1..2, 0..1]);
        assert_eq!(chunks(4)[..3], [0..4, 2..4, 0..2]);
        assert!(chunks(0).is_empty());
    }
}
