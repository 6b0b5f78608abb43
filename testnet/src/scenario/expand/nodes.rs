//! Who is there: names, places and hash rates.

use std::collections::{BTreeMap, BTreeSet};

use crate::scenario::explicit::Node;
use crate::scenario::group::{Group, ORDINARY, check_name};
use crate::scenario::limits::{MAX_GROUPS, MAX_NODES};
use crate::scenario::network::StreamName;
use crate::scenario::{Problem, Scenario, overrides};

/// How far the shares of all groups together may be from one, by rounding of what people write.
const SHARE_ERROR: f64 = 1e-6;

/// Hashes per second and stream that two cores spend beside all else that nodes do.
const MACHINE_HASHRATE: u64 = 10_000;

/// With less, targets come near the easiest one.
const LEAST_HASHRATE: u64 = 200;

impl Scenario {
    /// The nodes, without dials. What groups leave open is filled in.
    pub(super) fn make_nodes(&mut self) -> Result<Vec<Node>, Problem> {
        self.check_groups()?;
        let total = self.node_count();
        if !(1..=MAX_NODES).contains(&total) {
            let key = if self.groups.is_empty() {
                "nodes"
            } else {
                "groups"
            };
            let message = format!("{total} nodes are not allowed, 1 to {MAX_NODES} are");
            return Err(Problem::new(key, message));
        }
        let default = *self
            .hashrate
            .get_or_insert_with(|| (MACHINE_HASHRATE / total).max(LEAST_HASHRATE));
        self.resolve_shares(default)?;
        let ordinary = Group::new(ORDINARY);
        let described = self.groups.iter().find(|group| group.name == ORDINARY);
        let others = self.groups.iter().filter(|group| group.name != ORDINARY);
        let mut nodes = Vec::new();
        // The ordinary nodes first, wherever they are described: node-1 is the first node.
        for group in std::iter::once(described.unwrap_or(&ordinary)).chain(others) {
            let count = self.count_of(group);
            nodes.extend((0..count).map(|index| self.make_node(group, index, count, default)));
        }
        check_names(&nodes)?;
        if let Some(machines) = self.machines {
            for (node, turn) in nodes.iter_mut().zip(0..) {
                node.machine.get_or_insert(turn % machines + 1);
            }
        }
        Ok(nodes)
    }

    fn make_node(&self, group: &Group, index: u64, count: u64, default: u64) -> Node {
        let streams = match &group.streams {
            Some(streams) => streams.as_slice(),
            None => self.network.preset.streams(),
        };
        let hashrate = group.hashrate.unwrap_or(default);
        let mined = streams.iter().filter(|_| hashrate > 0);
        let hashrates: BTreeMap<StreamName, u64> =
            mined.map(|stream| (*stream, hashrate)).collect();
        Node {
            name: group.node_name(index, count),
            group: group.name.clone(),
            role: group.role,
            region: group
                .regions
                .get(index as usize % group.regions.len().max(1))
                .copied(),
            machine: group
                .machines
                .get(index as usize % group.machines.len().max(1))
                .copied(),
            hashrates,
            image: group.image.clone(),
            program: group.program.clone(),
            seeded: group.seeded,
            config: group.config.clone(),
            dials: Vec::new(),
            joins_later: false,
        }
    }

    /// How many nodes a group has.
    pub(crate) fn count_of(&self, group: &Group) -> u64 {
        match group.name == ORDINARY {
            true => self.nodes,
            false => group.count.unwrap_or(1),
        }
    }

    fn check_groups(&self) -> Result<(), Problem> {
        if self.groups.len() > MAX_GROUPS {
            return Err(Problem::new(
                "groups",
                format!("at most {MAX_GROUPS} groups are allowed"),
            ));
        }
        let mut names = BTreeSet::new();
        for (index, group) in self.groups.iter().enumerate() {
            let wrong = |name: &str, message: String| {
                Err(Problem::new(format!("groups[{index}].{name}"), message))
            };
            if let Err(message) = check_name(&group.name) {
                return wrong("name", message);
            }
            if !names.insert(&group.name) {
                return wrong(
                    "name",
                    format!("there are two groups called {}", group.name),
                );
            }
            if group.name == ORDINARY && group.count.is_some() {
                return wrong(
                    "count",
                    "the count of the ordinary nodes is the key `nodes`".to_owned(),
                );
            }
            if group.share.is_some() && group.hashrate.is_some() {
                return wrong(
                    "hashrate",
                    "`share` says it already; one of both is allowed".to_owned(),
                );
            }
            let known = self.network.preset.streams();
            if let Some(stream) = group
                .streams
                .iter()
                .flatten()
                .find(|stream| !known.contains(stream))
            {
                return wrong("streams", format!("the preset has no stream {stream}"));
            }
            let machines = self.machines.unwrap_or_default();
            if let Some(machine) = group
                .machines
                .iter()
                .find(|machine| !(1..=machines).contains(machine))
            {
                return wrong(
                    "machines",
                    match self.machines {
                        Some(_) => format!(
                            "there is no machine {machine}: the key `machines` says {machines}"
                        ),
                        None => "the key `machines` must say how many there are".to_owned(),
                    },
                );
            }
            overrides::check(&group.config, &format!("groups[{index}].config"))?;
        }
        Ok(())
    }

    /// Gives groups that ask for a share of the hash rate what makes it theirs, beside what the others spend.
    fn resolve_shares(&mut self, default: u64) -> Result<(), Problem> {
        let shares: f64 = self.groups.iter().filter_map(|group| group.share).sum();
        let Some(index) = self.groups.iter().position(|group| group.share.is_some()) else {
            return Ok(());
        };
        let wrong = |message| Err(Problem::new(format!("groups[{index}].share"), message));
        let described = self.groups.iter().any(|group| group.name == ORDINARY);
        let undescribed = if described { 0 } else { self.nodes * default };
        let others = self.groups.iter().filter(|group| group.share.is_none());
        let spent = |group: &Group| self.count_of(group) * group.hashrate.unwrap_or(default);
        let fixed = undescribed + others.map(spent).sum::<u64>();
        let total = match (fixed, (shares - 1.0).abs() <= SHARE_ERROR) {
            (0, true) => (self.node_count() * default) as f64,
            (0, false) => {
                return wrong(format!(
                    "the shares are {shares} together, but nobody else mines: 1 is allowed"
                ));
            }
            (fixed, _) if shares < 1.0 - SHARE_ERROR => fixed as f64 / (1.0 - shares),
            _ => {
                return wrong(format!(
                    "the shares are {shares} together, but others mine too: less than 1 is allowed"
                ));
            }
        };
        for index in 0..self.groups.len() {
            let count = self.count_of(&self.groups[index]);
            let group = &mut self.groups[index];
            if let Some(share) = group.share.take() {
                group.hashrate = Some((total * share / count.max(1) as f64).round() as u64);
            }
        }
        Ok(())
    }
}

/// A name means one thing: a node, or a group of which it is the only node.
fn check_names(nodes: &[Node]) -> Result<(), Problem> {
    let groups: BTreeSet<_> = nodes.iter().map(|node| &node.group).collect();
    let mut names = BTreeSet::new();
    for node in nodes {
        let of_another = node.name != node.group && groups.contains(&node.name);
        if of_another || !names.insert(&node.name) {
            let message = format!(
                "two nodes, or a node and a group, would be called {}",
                node.name
            );
            return Err(Problem::new("groups", message));
        }
    }
    Ok(())
}
