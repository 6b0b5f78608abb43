//! How blocks travelled: from node to node, and where the time went.
//!
//! A simulation says it exactly. Real nodes say it in their logs: `triskel::block` has who took a block from whom and when, and
//! `triskel::hop` how long it was checked and placed, from which follows when it had arrived and how long it waited between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::record::{ArrivalLine, EventLine};

/// How a block travelled.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trace {
    /// Its id.
    pub id: String,
    /// Its stream.
    pub stream: String,
    /// Its position in the order of the node that saw it first.
    pub number: u64,
    /// How long before it was seen first it was found, in milliseconds: on its miner's way to the rest of the node, which is long
    /// where a machine has more to do than it can.
    pub age_ms: u64,
    /// Where it was taken in, in the order of time.
    pub hops: Vec<Hop>,
}

/// A node took a block in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    /// Which node.
    pub node: usize,
    /// The node that it came from; absent where it was mined, or nobody knows.
    pub from: Option<usize>,
    /// `mined`, `relayed` or `synced`.
    pub origin: String,
    /// When, since the run's start.
    pub at_us: u64,
    /// Where the time since the node that it came from took it in went; absent where that is not known.
    pub spent: Option<Spent>,
}

/// Where the time of a hop went, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// In the sender's queue, on the wire, and until it was read.
    pub wire_us: u64,
    /// Proof of work and signatures.
    pub check_us: u64,
    /// Behind what was to be done before.
    pub queue_us: u64,
    /// Its place in the order, and accounts.
    pub place_us: u64,
}

impl Spent {
    /// All together.
    pub fn total_us(&self) -> u64 {
        self.wire_us + self.check_us + self.queue_us + self.place_us
    }
}

impl Trace {
    /// When it was seen first.
    pub fn born_us(&self) -> u64 {
        self.hops.first().map_or(0, |hop| hop.at_us)
    }

    /// How long it took to reach each node that it was passed on to, in microseconds, ascending. Whoever caught up later counts
    /// not.
    pub fn delays_us(&self) -> Vec<u64> {
        let born_us = self.born_us();
        let relayed = self.hops.iter().filter(|hop| hop.origin == "relayed");
        relayed.map(|hop| hop.at_us - born_us).collect()
    }

    /// Whether it is known who mined it: blocks of which only later hops were seen say nothing of the whole way.
    pub fn is_whole(&self) -> bool {
        self.hops.first().is_some_and(|hop| hop.origin == "mined")
    }
}

/// What the logs of all nodes say of blocks.
#[derive(Debug, Default)]
pub struct Logs {
    keys: BTreeMap<String, usize>,
    arrivals: Vec<(ArrivalLine, Option<String>)>,
    /// By node and block: when it was first checked and placed, and how long that took.
    checked: BTreeMap<(usize, String), (u64, u64)>,
    placed: BTreeMap<(usize, String), (u64, u64)>,
    undone: Vec<EventLine>,
}

impl Logs {
    /// Reads a node's log. Lines that are not of blocks, or not of this format, say nothing here.
    pub fn read(&mut self, node: usize, log: &str, started_unix_us: u64) {
        for line in log.lines() {
            // Most lines are of something else: looking for the words first is cheaper than reading them.
            if !line.contains("triskel::block")
                && !line.contains("triskel::hop")
                && !line.contains("triskel::tip")
            {
                continue;
            }
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let word = |key: &str| line.get(key).and_then(Value::as_str);
            let number = |key: &str| line.get(key).and_then(Value::as_u64);
            let Some(unix_us) = word("timestamp").and_then(unix_us) else {
                continue;
            };
            let at_us = unix_us.saturating_sub(started_unix_us);
            let block = word("block").map(str::to_owned);
            match (word("target"), block) {
                (Some("triskel::hop"), None) => {
                    if let Some(key) = word("key") {
                        self.keys.insert(key.to_owned(), node);
                    }
                }
                (Some("triskel::hop"), Some(block)) => {
                    if let Some(check_us) = number("check_us") {
                        self.checked
                            .entry((node, block))
                            .or_insert((at_us, check_us));
                    } else if let Some(place_us) = number("place_us") {
                        self.placed
                            .entry((node, block))
                            .or_insert((at_us, place_us));
                    }
                }
                (Some("triskel::block"), Some(block)) => {
                    // A block that was refused has a reason.
                    if line.get("reason").is_some() {
                        continue;
                    }
                    let arrival = ArrivalLine {
                        at_us,
                        node,
                        block,
                        stream: word("stream").unwrap_or_default().to_owned(),
                        number: number("number").unwrap_or_default(),
                        from: None,
                        origin: word("origin").unwrap_or_default().to_owned(),
                        age_ms: number("age_ms").unwrap_or_default(),
                    };
                    self.arrivals
                        .push((arrival, word("from").map(str::to_owned)));
                }
                (Some("triskel::tip"), Some(_)) => {
                    let undone = number("undone").unwrap_or_default();
                    if undone > 0
                        && let Value::Object(details) = json!({ "node": node, "blocks": undone })
                    {
                        self.undone.push(EventLine {
                            at_ms: at_us / 1_000,
                            event: "undone".to_owned(),
                            details,
                        });
                    }
                }
                _ => {}
            }
        }
    }

    /// Who took which block when, once all logs are read.
    pub fn arrivals(&mut self) -> Vec<ArrivalLine> {
        let arrivals = std::mem::take(&mut self.arrivals).into_iter();
        let named = arrivals.map(|(arrival, from)| ArrivalLine {
            from: from.and_then(|key| self.keys.get(&key).copied()),
            ..arrival
        });
        named.collect()
    }

    /// Changes of the order that took blocks back.
    pub fn undone(&mut self) -> Vec<EventLine> {
        std::mem::take(&mut self.undone)
    }

    fn spent(&self, node: usize, block: &str, sent_us: u64) -> Option<Spent> {
        let key = (node, block.to_owned());
        let (checked_us, check_us) = *self.checked.get(&key)?;
        let (placed_us, place_us) = *self.placed.get(&key)?;
        let read_us = checked_us.saturating_sub(check_us);
        Some(Spent {
            // Logs are written to the microsecond, by more than one thread: less than nothing is nothing.
            wire_us: read_us.saturating_sub(sent_us),
            check_us,
            queue_us: placed_us.saturating_sub(place_us + checked_us),
            place_us,
        })
    }
}

/// Puts together how each block travelled.
pub fn traces(arrivals: Vec<ArrivalLine>, logs: &Logs) -> Vec<Trace> {
    let mut by_block: BTreeMap<String, Trace> = BTreeMap::new();
    for arrival in arrivals {
        let trace = by_block
            .entry(arrival.block.clone())
            .or_insert_with(|| Trace {
                id: arrival.block.clone(),
                stream: arrival.stream.clone(),
                number: arrival.number,
                age_ms: 0,
                hops: Vec::new(),
            });
        if arrival.origin == "mined" {
            trace.age_ms = arrival.age_ms;
        }
        trace.hops.push(Hop {
            node: arrival.node,
            from: arrival.from,
            origin: arrival.origin,
            at_us: arrival.at_us,
            spent: None,
        });
    }
    let mut traces: Vec<_> = by_block.into_values().collect();
    for trace in &mut traces {
        trace.hops.sort_by_key(|hop| (hop.at_us, hop.node));
        let mut taken_us = BTreeMap::new();
        for hop in &mut trace.hops {
            let sent_us = hop.from.and_then(|from| taken_us.get(&from).copied());
            hop.spent = sent_us.map(|sent_us: u64| {
                let spent = logs.spent(hop.node, &trace.id, sent_us);
                // A simulated node takes no time of its own.
                spent.unwrap_or_else(|| Spent {
                    wire_us: hop.at_us - sent_us,
                    ..Spent::default()
                })
            });
            taken_us.entry(hop.node).or_insert(hop.at_us);
        }
    }
    traces.sort_by_key(Trace::born_us);
    traces
}

/// Reads a time of day, as 2026-01-02T03:04:05.123456Z, as microseconds since 1970.
fn unix_us(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(':');
    let (hour, minute) = (
        time.next()?.parse::<u64>().ok()?,
        time.next()?.parse::<u64>().ok()?,
    );
    let (second, fraction) = time.next()?.split_once('.')?;
    let second = second.parse::<u64>().ok()?;
    let fraction = format!("{fraction:0<6}").get(..6)?.parse::<u64>().ok()?;
    // Days since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms"), for years that are not negative.
    let year = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + fraction)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn arrival(
        at_us: u64,
        node: usize,
        block: &str,
        from: Option<usize>,
    ) -> ArrivalLine {
        ArrivalLine {
            at_us,
            node,
            block: block.to_owned(),
            stream: "A".to_owned(),
            number: 1,
            from,
            origin: if from.is_some() { "relayed" } else { "mined" }.to_owned(),
            age_ms: 0,
        }
    }

    #[test]
    fn a_simulated_hop_is_all_wire() {
        let arrivals = vec![
            arrival(9_000, 2, "x", Some(1)),
            arrival(1_000, 0, "x", None),
            arrival(4_000, 1, "x", Some(0)),
        ];
        let traces = traces(arrivals, &Logs::default());
        assert_eq!(traces.len(), 1);
        let nodes: Vec<_> = traces[0].hops.iter().map(|hop| hop.node).collect();
        assert_eq!(nodes, [0, 1, 2]);
        assert_eq!(traces[0].delays_us(), [3_000, 8_000]);
        assert_eq!(traces[0].hops[2].spent.unwrap().wire_us, 5_000);
        assert!(traces[0].is_whole());
    }

    #[test]
    fn logs_say_where_the_time_of_a_hop_went() {
        let line = |second: &str, rest: &str| {
            format!("{{\"timestamp\":\"2026-01-01T00:00:{second}Z\",{rest}}}\n")
        };
        let mined = line("01.000000", "\"target\":\"triskel::hop\",\"key\":\"aa\"")
            + &line(
                "02.000000",
                "\"target\":\"triskel::block\",\"block\":\"x\",\"number\":4,\"stream\":\"B\",\"origin\":\"mined\"",
            );
        let relayed = line(
            "02.000900",
            "\"target\":\"triskel::hop\",\"block\":\"x\",\"check_us\":300",
        ) + &line(
            "02.001500",
            "\"target\":\"triskel::hop\",\"block\":\"x\",\"place_us\":200",
        ) + &line(
            "02.001510",
            "\"target\":\"triskel::block\",\"block\":\"x\",\"number\":4,\"stream\":\"B\",\"origin\":\"relayed\",\"from\":\"aa\"",
        ) + "not json, though it says triskel::block\n";
        let started_us = unix_us("2026-01-01T00:00:00.000000Z").unwrap();
        assert_eq!(started_us, 1_767_225_600_000_000);
        let mut logs = Logs::default();
        logs.read(1, &relayed, started_us);
        logs.read(0, &mined, started_us);
        let arrivals = logs.arrivals();
        let traces = traces(arrivals, &logs);
        assert_eq!(traces[0].born_us(), 2_000_000);
        assert_eq!(traces[0].hops[1].from, Some(0));
        let spent = traces[0].hops[1].spent.unwrap();
        let expected = Spent {
            wire_us: 600,
            check_us: 300,
            queue_us: 400,
            place_us: 200,
        };
        assert_eq!(spent, expected);
    }

    #[test]
    fn times_of_day_are_those_of_the_calendar() {
        assert_eq!(unix_us("1970-01-01T00:00:00.000001Z"), Some(1));
        assert_eq!(
            unix_us("2024-02-29T00:00:00.5Z"),
            Some(1_709_164_800_500_000)
        );
        assert_eq!(unix_us("yesterday"), None);
    }
}
