//! What a run comes to, in numbers that two runs can be compared by.

use std::collections::BTreeMap;

use serde_json::Value;

use super::recording::Recording;
use super::statistics::Quantiles;

/// Which way a figure should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Lower,
    /// It is neither good nor bad.
    Neither,
}

/// A figure.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its key in `result.json`.
    pub key: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Which way it should go.
    pub better: Better,
}

/// All figures, in the order in which they are shown.
pub const CATALOGUE: &[Figure] = &[
    figure("convergence_ms", "time to convergence", "ms", Better::Lower),
    figure("blocks", "blocks in the order", "", Better::Neither),
    figure(
        "blocks_per_s",
        "blocks mined a second",
        "/s",
        Better::Neither,
    ),
    figure(
        "red_rate",
        "part of the blocks that are red",
        "",
        Better::Lower,
    ),
    figure(
        "propagation_p50_ms",
        "block to a node, half of all",
        "ms",
        Better::Lower,
    ),
    figure(
        "propagation_p90_ms",
        "block to a node, 90 %",
        "ms",
        Better::Lower,
    ),
    figure(
        "propagation_p99_ms",
        "block to a node, 99 %",
        "ms",
        Better::Lower,
    ),
    figure(
        "everywhere_p50_ms",
        "block to the last node, half of all blocks",
        "ms",
        Better::Lower,
    ),
    figure(
        "load_latency_p50_ms",
        "transfer handed in to applied everywhere, half of all",
        "ms",
        Better::Lower,
    ),
    figure(
        "load_latency_p90_ms",
        "transfer applied everywhere, 90 %",
        "ms",
        Better::Lower,
    ),
    figure(
        "load_latency_p99_ms",
        "transfer applied everywhere, 99 %",
        "ms",
        Better::Lower,
    ),
    figure(
        "undone_most",
        "blocks that one reorganisation took back at most",
        "",
        Better::Lower,
    ),
    figure(
        "traffic_bytes_per_block",
        "bytes between all nodes for a block",
        "B",
        Better::Lower,
    ),
    figure(
        "copies_per_block",
        "times that a node is sent a block",
        "",
        Better::Lower,
    ),
    figure(
        "memory_most_mib",
        "memory of the largest node",
        "MiB",
        Better::Lower,
    ),
    figure(
        "descriptors_most",
        "open files of the node with most",
        "",
        Better::Lower,
    ),
    figure(
        "cut_seen_ms",
        "cut ordered to seen on all its links, the slowest",
        "ms",
        Better::Lower,
    ),
    figure(
        "heal_seen_ms",
        "end of a cut ordered to seen, the slowest",
        "ms",
        Better::Lower,
    ),
    figure("cpu_s", "processor time of all nodes", "s", Better::Lower),
];

/// What a run comes to, by key.
pub type Figures = BTreeMap<String, f64>;

const fn figure(
    key: &'static str,
    about: &'static str,
    unit: &'static str,
    better: Better,
) -> Figure {
    Figure {
        key,
        about,
        unit,
        better,
    }
}

/// The figure of a key.
pub fn named(key: &str) -> Option<&'static Figure> {
    CATALOGUE.iter().find(|figure| figure.key == key)
}

impl Recording {
    /// What the run comes to. What is not known is absent.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::new();
        let mut set = |key: &str, value: Option<f64>| {
            debug_assert!(named(key).is_some(), "{key} is in the catalogue");
            if let Some(value) = value.filter(|value| value.is_finite()) {
                figures.insert(key.to_owned(), value);
            }
        };
        set("convergence_ms", self.convergence_ms());
        let blocks = self.samples.iter().map(|sample| sample.blocks).max();
        let blocks = blocks.map(|blocks| blocks as f64);
        set("blocks", blocks);
        set("blocks_per_s", self.blocks_per_s());
        let last = self.samples.iter().rev().find(|sample| sample.blocks > 0);
        set(
            "red_rate",
            last.map(|sample| sample.red as f64 / sample.blocks as f64),
        );
        let delays = Quantiles::of(self.delays_ms());
        set("propagation_p50_ms", delays.map(|delays| delays.p50));
        set("propagation_p90_ms", delays.map(|delays| delays.p90));
        set("propagation_p99_ms", delays.map(|delays| delays.p99));
        let everywhere = Quantiles::of(self.everywhere_ms());
        set("everywhere_p50_ms", everywhere.map(|times| times.p50));
        let latency = Quantiles::of(self.load_latencies_ms());
        set("load_latency_p50_ms", latency.map(|latency| latency.p50));
        set("load_latency_p90_ms", latency.map(|latency| latency.p90));
        set("load_latency_p99_ms", latency.map(|latency| latency.p99));
        let undone = self.undone().into_iter().max().unwrap_or_default();
        set(
            "undone_most",
            (!self.blocks.is_empty()).then_some(undone as f64),
        );
        let bytes = self.traffic_bytes();
        set(
            "traffic_bytes_per_block",
            bytes
                .zip(blocks.filter(|blocks| *blocks > 0.0))
                .map(|(bytes, blocks)| bytes / blocks),
        );
        set("copies_per_block", self.copies_per_block(blocks));
        let resources = || self.samples.iter().filter_map(|sample| sample.resources);
        let most = |numbers: &mut dyn Iterator<Item = f64>| numbers.reduce(f64::max);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        set(
            "memory_most_mib",
            most(&mut resources().map(|used| mib(used.memory_bytes))),
        );
        set(
            "descriptors_most",
            most(&mut resources().map(|used| used.descriptors as f64)),
        );
        set("cut_seen_ms", self.slowest("cut_seen"));
        set("heal_seen_ms", self.slowest("heal_seen"));
        set("cpu_s", self.cpu_s());
        figures
    }

    /// From each block's birth until each other node had it, in milliseconds.
    pub fn delays_ms(&self) -> Vec<f64> {
        let whole = self.blocks.iter().filter(|trace| trace.is_whole());
        let delays = whole.flat_map(|trace| trace.delays_us());
        delays.map(|delay_us| delay_us as f64 / 1_000.0).collect()
    }

    /// From each block's birth until the last of all other nodes had it; blocks that some node never was sent count not.
    pub fn everywhere_ms(&self) -> Vec<f64> {
        let others = self.manifest.nodes.len().saturating_sub(1);
        let whole = self.blocks.iter().filter(|trace| trace.is_whole());
        let last = whole.filter_map(|trace| {
            let delays = trace.delays_us();
            (delays.len() >= others).then(|| delays.last().copied())?
        });
        last.map(|delay_us| delay_us as f64 / 1_000.0).collect()
    }

    /// From when each transfer was due until it was applied everywhere, in milliseconds. Those of `transfers`, each of which waits
    /// for the one before, count only where there are no others.
    pub fn load_latencies_ms(&self) -> Vec<f64> {
        let all = self.latencies_ms();
        let open = || all.iter().filter(|(load, _)| load.is_some());
        match open().count() {
            0 => all.into_values().flatten().collect(),
            _ => open()
                .flat_map(|(_, latencies)| latencies)
                .copied()
                .collect(),
        }
    }

    /// The same by source of load; `None` are those of `transfers`.
    pub fn latencies_ms(&self) -> BTreeMap<Option<usize>, Vec<f64>> {
        let mut all: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for transfer in &self.transfers {
            if let Some(applied_ms) = transfer.applied_ms {
                let latency_ms = (applied_ms - transfer.due_ms).max(0.0);
                all.entry(transfer.load).or_default().push(latency_ms);
            }
        }
        all
    }

    /// How many blocks each change of the order took back.
    pub fn undone(&self) -> Vec<u64> {
        let events = self.events.iter().filter(|event| event.event == "undone");
        let blocks = |event: &super::record::EventLine| event.details.get("blocks")?.as_u64();
        events.filter_map(blocks).collect()
    }

    /// The longest that such an event took, in milliseconds.
    fn slowest(&self, name: &str) -> Option<f64> {
        let events = self.events.iter().filter(|event| event.event == name);
        let took = events.filter_map(|event| event.details.get("took_ms")?.as_f64());
        took.reduce(f64::max)
    }

    /// From the end of the last fault, or of mining where there was none, until all agreed, in milliseconds.
    fn convergence_ms(&self) -> Option<f64> {
        let mut events = self.events.iter().rev();
        let converged = events.find(|event| event.event == "converged")?;
        let value = converged.details.get("convergence_us")?;
        value.as_f64().map(|time_us| time_us / 1_000.0)
    }

    fn blocks_per_s(&self) -> Option<f64> {
        let mined = self.blocks.iter().filter(|trace| trace.is_whole());
        let seconds = self.mining_s()?;
        let count = mined.count();
        (seconds > 0.0 && count > 0).then(|| count as f64 / seconds)
    }

    /// How long the nodes mined, pauses left out, in seconds.
    pub fn mining_s(&self) -> Option<f64> {
        let (mut total_ms, mut since) = (0, None);
        for event in &self.events {
            match event.event.as_str() {
                "mining_started" => since = since.or(Some(event.at_ms)),
                "mining_stopped" => total_ms += event.at_ms - since.take().unwrap_or(event.at_ms),
                _ => {}
            }
        }
        total_ms += since.map_or(0, |since| self.end_ms().saturating_sub(since));
        (total_ms > 0).then(|| total_ms as f64 / 1_000.0)
    }

    /// Messages and bytes that the nodes have sent, by kind of message, the kind with most bytes first.
    pub fn traffic(&self) -> Vec<(String, f64, f64)> {
        let mut kinds: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for page in self.metrics.values() {
            for (name, labels, value) in page.lines().filter_map(metric) {
                if label(labels, "direction") != Some("sent") {
                    continue;
                }
                let Some(kind) = label(labels, "message") else {
                    continue;
                };
                let entry = kinds.entry(kind.to_owned()).or_default();
                match name {
                    "triskel_network_messages_total" => entry.0 += value,
                    "triskel_network_bytes_total" => entry.1 += value,
                    _ => {}
                }
            }
        }
        let mut kinds: Vec<_> = kinds
            .into_iter()
            .filter(|(_, (messages, _))| *messages > 0.0)
            .map(|(kind, (messages, bytes))| (kind, messages, bytes))
            .collect();
        kinds.sort_by(|left, right| right.2.total_cmp(&left.2));
        kinds
    }

    fn traffic_bytes(&self) -> Option<f64> {
        let bytes: f64 = self.traffic().iter().map(|(_, _, bytes)| bytes).sum();
        if bytes > 0.0 {
            return Some(bytes);
        }
        let mut events = self.events.iter().rev();
        let traffic = events.find(|event| event.event == "traffic")?;
        traffic.details.get("bytes").and_then(Value::as_f64)
    }

    fn copies_per_block(&self, blocks: Option<f64>) -> Option<f64> {
        let traffic = self.traffic();
        let (_, sent, _) = traffic.iter().find(|(kind, ..)| kind == "new_block")?;
        let others = self.manifest.nodes.len().checked_sub(1)?;
        let wanted = others as f64 * blocks?;
        (wanted > 0.0).then(|| sent / wanted)
    }

    fn cpu_s(&self) -> Option<f64> {
        let mut last: BTreeMap<usize, f64> = BTreeMap::new();
        for sample in &self.samples {
            if let Some(resources) = sample.resources {
                last.insert(sample.node, resources.cpu_s);
            }
        }
        (!last.is_empty()).then(|| last.values().sum())
    }
}

/// A line of a page of metrics: name, labels, value.
fn metric(line: &str) -> Option<(&str, &str, f64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once('}')?;
    Some((name, labels, value.trim().parse().ok()?))
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::blocks::{Logs, tests::arrival, traces};
    use crate::evidence::record::{Manifest, Member};

    #[test]
    fn propagation_is_counted_for_each_node_that_a_block_was_passed_on_to() {
        let arrivals = vec![
            arrival(1_000, 0, "x", None),
            arrival(2_000, 1, "x", Some(0)),
            arrival(5_000, 2, "x", Some(1)),
            // Mined, and on its way to one of two when mining stopped.
            arrival(6_000, 2, "y", None),
            arrival(9_000, 0, "y", Some(2)),
        ];
        let recording = Recording {
            manifest: Manifest {
                nodes: vec![Member::default(); 3],
                ..Manifest::default()
            },
            blocks: traces(arrivals, &Logs::default()),
            ..Recording::default()
        };
        assert_eq!(recording.delays_ms(), [1.0, 4.0, 3.0]);
        assert_eq!(recording.everywhere_ms(), [4.0]);
        let figures = recording.figures();
        assert_eq!(figures["propagation_p50_ms"], 3.0);
        assert!(!figures.contains_key("load_latency_p50_ms"));
    }

    #[test]
    fn traffic_is_summed_over_nodes_by_what_they_sent() {
        let page = "# HELP x y\n\
            triskel_network_messages_total{direction=\"sent\",message=\"new_block\"} 6\n\
            triskel_network_messages_total{direction=\"received\",message=\"new_block\"} 9\n\
            triskel_network_bytes_total{direction=\"sent\",message=\"new_block\"} 600\n\
            triskel_network_messages_total{direction=\"sent\",message=\"ping\"} 0\n";
        let pages = [("a", page), ("b", page)];
        let recording = Recording {
            metrics: pages
                .map(|(name, page)| (name.to_owned(), page.to_owned()))
                .into(),
            ..Recording::default()
        };
        assert_eq!(
            recording.traffic(),
            [("new_block".to_owned(), 12.0, 1_200.0)]
        );
    }
}
