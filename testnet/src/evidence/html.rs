//! `report.html`: one file, which opens from a disk without a network. Pictures are SVG that is drawn here; a section is there only
//! where there is something to show.

mod chart;
mod theory;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use triskel::rpc::{Dag, drawing};

use super::figures::CATALOGUE;
use super::grafana::base64;
use super::junit::escaped;
use super::record::Sample;
use super::recording::Recording;
use super::statistics::{Quantiles, quantile};
use super::summary::{number, with_unit};
use super::trace;
use crate::report::Paint;
use chart::{Chart, Line, Shade, cumulative, heat_map};

const STYLE: &str = include_str!("html/style.css");

/// Blocks of the DAG that are drawn: some rows of a page.
const DRAWN_BLOCKS: usize = 60;

/// The result of a run for people.
pub fn html(recording: &Recording) -> String {
    let manifest = &recording.manifest;
    let (class, word) = match &recording.result {
        Some(result) if result.holds => ("good", "converged"),
        Some(_) => ("bad", "does not hold"),
        None => ("bad", "came to no end"),
    };
    let title = escaped(&format!("{} {}", manifest.scenario, manifest.run));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\n<style>{STYLE}</style></head><body>\n\
         <header><h1>{} <span class=\"verdict {class}\">{word}</span></h1>",
        escaped(&manifest.scenario)
    );
    if !manifest.about.is_empty() {
        let _ = write!(page, "<p>{}</p>", escaped(&manifest.about));
    }
    let _ = write!(
        page,
        "<p class=\"facts\">{} nodes · backend {} ({}) · seed {} · run {}</p>",
        manifest.nodes.len(),
        escaped(&manifest.backend),
        escaped(&manifest.backend_reason),
        manifest.seed,
        escaped(&manifest.run)
    );
    if let Some(reason) = recording
        .result
        .as_ref()
        .and_then(|result| result.reason.as_ref())
    {
        let _ = write!(page, "<p class=\"reason\">{}</p>", escaped(reason));
    }
    page.push_str("</header>\n<main>\n");
    let computed;
    let mining = match &recording.result {
        Some(result) => &result.mining,
        None => {
            computed = recording.mining(&[]);
            &computed
        }
    };
    for (name, about, content) in [
        (
            "Figures",
            "What the run comes to; compare two runs by these.",
            figures(recording),
        ),
        (
            "Checks",
            "What was judged beside agreement, and how long the stages took.",
            checks(recording),
        ),
        (
            "Blocks by node",
            "Blocks in each node's order over time. Faults are shaded; lines that part are nodes that disagree.",
            heights(recording),
        ),
        (
            "Who had which tip",
            "A row for each node. The calm colour is the tip that most nodes had at that moment, others stand out, \
             hatched is no answer.",
            tips(recording),
        ),
        (
            "Propagation",
            "From a block's birth until another node had it (all pairs), and until the last node had it (by block).",
            propagation(recording),
        ),
        (
            "The slowest block",
            "Its way from node to node, in milliseconds.",
            slowest(recording),
        ),
        (
            "Mining against theory",
            "Intervals should be exponential; red and stale blocks as many as delay and rate let expect; revenue as hash rate.",
            theory::mined(recording, mining),
        ),
        (
            "The end of the order",
            "The last blocks, as a node of the largest group has them.",
            dag(recording),
        ),
        (
            "Load latency",
            "From when a transfer was due until the block that applied it had reached all nodes.",
            latency(recording),
        ),
        (
            "Links",
            "What was configured, and what was measured.",
            links(recording),
        ),
        (
            "Traffic",
            "What all nodes sent, by kind of message.",
            traffic(recording),
        ),
        (
            "Resources",
            "Memory of each node's process, in MiB.",
            resources(recording),
        ),
        ("Nodes", "What they said last.", nodes(recording)),
    ] {
        if !content.is_empty() {
            let _ = writeln!(
                page,
                "<section><h2>{name}</h2><p class=\"about\">{about}</p>\n{content}</section>"
            );
        }
    }
    page.push_str("</main></body></html>\n");
    page
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut body = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(index, cell)| match index {
            0 => format!("<th scope=\"row\">{}</th>", escaped(cell)),
            _ => format!("<td>{}</td>", escaped(cell)),
        });
        let _ = writeln!(body, "<tr>{}</tr>", cells.collect::<String>());
    }
    if body.is_empty() {
        return String::new();
    }
    let head: String = head
        .iter()
        .map(|name| format!("<th scope=\"col\">{name}</th>"))
        .collect();
    format!(
        "<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n"
    )
}

fn figures(recording: &Recording) -> String {
    let figures = recording.figures();
    let known = CATALOGUE.iter().filter_map(|figure| {
        let value = figures.get(figure.key)?;
        Some(vec![
            figure.about.to_owned(),
            with_unit(*value, figure.unit),
        ])
    });
    table(&["figure", "value"], known)
}

fn checks(recording: &Recording) -> String {
    let word = |holds| if holds { "holds" } else { "does not hold" }.to_owned();
    let checks = recording.checks().into_iter();
    let checks = checks.map(|check| vec![check.name, word(check.holds), check.reason]);
    let stages = recording.stages().into_iter().map(|stage| {
        let seconds = format!("{} s", number(stage.took_ms as f64 / 1_000.0));
        vec![
            format!("stage {}", stage.name),
            seconds,
            stage.error.unwrap_or_default(),
        ]
    });
    table(&["what", "result", "why"], checks.chain(stages))
}

fn shades(recording: &Recording) -> Vec<Shade> {
    let end_ms = recording.end_ms();
    let faults = recording.faults().into_iter();
    let shade = faults.map(|fault| {
        let names: Vec<_> = fault
            .nodes
            .iter()
            .map(|node| recording.name(*node))
            .collect();
        Shade {
            begin: fault.begin_ms as f64 / 1_000.0,
            end: fault.end_ms.unwrap_or(end_ms) as f64 / 1_000.0,
            title: format!("{}: {}", fault.what, names.join(", ")),
        }
    });
    shade.collect()
}

/// A line for each node, of what a sample says of it.
fn by_node(recording: &Recording, value: impl Fn(&Sample) -> Option<f64>) -> Vec<Line> {
    let mut lines: BTreeMap<usize, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in &recording.samples {
        if let Some(value) = value(sample) {
            let line = lines.entry(sample.node).or_default();
            line.push((sample.at_ms as f64 / 1_000.0, value));
        }
    }
    let line = |(node, points): (usize, _)| Line {
        name: recording.name(node).to_owned(),
        points,
    };
    lines.into_iter().map(line).collect()
}

fn heights(recording: &Recording) -> String {
    let lines = by_node(recording, |sample| {
        sample.tip.as_ref().map(|_| sample.blocks as f64)
    });
    if lines.is_empty() {
        return String::new();
    }
    let chart = Chart {
        title: "Blocks in each node's order over time".to_owned(),
        x: "seconds since the run's start",
        y: "blocks",
        lines,
        shades: shades(recording),
        ..Chart::default()
    };
    let faults = recording.faults().into_iter().map(|fault| {
        let names: Vec<_> = fault
            .nodes
            .iter()
            .map(|node| recording.name(*node))
            .collect();
        let seconds = |at_ms: u64| format!("{} s", number(at_ms as f64 / 1_000.0));
        vec![
            fault.what,
            seconds(fault.begin_ms),
            fault.end_ms.map_or_else(|| "never".to_owned(), seconds),
            names.join(", "),
        ]
    });
    chart.svg() + &table(&["fault", "from", "to", "nodes"], faults)
}

fn tips(recording: &Recording) -> String {
    let mut moments: BTreeMap<u64, BTreeMap<usize, Option<&str>>> = BTreeMap::new();
    for sample in &recording.samples {
        let moment = moments.entry(sample.at_ms).or_default();
        moment.insert(sample.node, sample.tip.as_deref());
    }
    if moments.len() < 2 {
        return String::new();
    }
    let times: Vec<u64> = moments.keys().copied().collect();
    let ranked: Vec<BTreeMap<usize, usize>> = moments.values().map(rank).collect();
    let names: Vec<_> = recording
        .manifest
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    heat_map("Who had which tip when", &names, &times, |node, moment| {
        ranked[moment].get(&node).copied()
    })
}

/// The rank of each node's tip by how many have it.
fn rank(moment: &BTreeMap<usize, Option<&str>>) -> BTreeMap<usize, usize> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for tip in moment.values().flatten() {
        *counts.entry(tip).or_default() += 1;
    }
    let mut order: Vec<_> = counts.into_iter().collect();
    order.sort_by_key(|(tip, count)| (std::cmp::Reverse(*count), *tip));
    let place = |tip: &str| order.iter().position(|(known, _)| *known == tip);
    let nodes = moment.iter();
    nodes
        .filter_map(|(node, tip)| Some((*node, place((*tip)?)?)))
        .collect()
}

fn distribution(title: &str, curves: Vec<(&str, Vec<f64>)>) -> String {
    let mut chart = Chart {
        title: title.to_owned(),
        x: "milliseconds",
        y: "percent",
        ..Chart::default()
    };
    let mut rows = Vec::new();
    for (name, mut numbers) in curves {
        numbers.sort_by(f64::total_cmp);
        let Some(found) = Quantiles::of(numbers.clone()) else {
            continue;
        };
        if chart.marks.is_empty() {
            chart.marks = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)]
                .map(|(mark, part)| (quantile(&numbers, part), mark.to_owned()))
                .to_vec();
        }
        let all = [found.p50, found.p90, found.p99, found.most];
        let mut row = vec![name.to_owned(), found.count.to_string()];
        row.extend(all.map(|value| format!("{} ms", number(value))));
        rows.push(row);
        chart.lines.push(cumulative(name, &numbers));
    }
    if chart.lines.is_empty() {
        return String::new();
    }
    chart.svg() + &table(&["", "count", "p50", "p90", "p99", "most"], rows)
}

fn propagation(recording: &Recording) -> String {
    let curves = vec![
        ("a node", recording.delays_ms()),
        ("the last node", recording.everywhere_ms()),
    ];
    distribution("Propagation of blocks", curves)
}

fn latency(recording: &Recording) -> String {
    let name = |load: Option<usize>| match load {
        Some(load) => format!("load {load}"),
        None => "transfers".to_owned(),
    };
    let sources: Vec<_> = recording
        .latencies_ms()
        .into_iter()
        .map(|(load, latencies)| (name(load), latencies))
        .collect();
    let curves = sources.iter();
    let curves = curves.map(|(name, latencies)| (name.as_str(), latencies.clone()));
    let mut text = distribution("Latency of transfers", curves.collect());
    if let Some(load) = recording
        .result
        .as_ref()
        .and_then(|result| result.load.as_ref())
    {
        let _ = write!(text, "<p>{}</p>", escaped(&load.to_string()));
    }
    text
}

fn slowest(recording: &Recording) -> String {
    trace::find(recording, None).map_or_else(String::new, |found| {
        format!(
            "<pre>{}</pre>",
            escaped(&trace::way(recording, found).text())
        )
    })
}

fn dag(recording: &Recording) -> String {
    let Some(dag) = recording.dag.as_ref().filter(|dag| !dag.blocks.is_empty()) else {
        return String::new();
    };
    let first = dag.blocks.len().saturating_sub(DRAWN_BLOCKS);
    let excerpt = Dag {
        blocks: dag.blocks[first..].to_vec(),
        ..dag.clone()
    };
    // As a picture of its own, so that its styles and those of the page leave each other alone.
    format!(
        "<div class=\"paper wide\"><img alt=\"The last {} blocks as a graph: each leads to its parents, which stand left of it\" \
         src=\"data:image/svg+xml;base64,{}\"></div>",
        excerpt.blocks.len(),
        base64(drawing::svg(&excerpt).as_bytes())
    )
}

fn links(recording: &Recording) -> String {
    let shown = |value: Option<f64>, unit: &str| value.map(|value| with_unit(value, unit));
    let rows = recording.links.iter().map(|link| {
        let measured = link.measured.unwrap_or_default();
        let found = [
            shown(measured.round_trip_ms, "ms there and back"),
            shown(measured.loss.map(|loss| 100.0 * loss), "% lost"),
            shown(measured.rate_bytes_per_s, "B/s"),
        ];
        let asked = serde_json::to_string(&link.configured).unwrap_or_default();
        vec![
            format!(
                "{} → {}",
                recording.name(link.from),
                recording.name(link.to)
            ),
            format!(
                "{:.1} to {:.1} s",
                link.since_ms as f64 / 1e3,
                link.until_ms as f64 / 1e3
            ),
            asked.replace(['{', '}', '"'], ""),
            link.round_trip_ms
                .map_or_else(String::new, |(least, most)| {
                    format!("{least:.1} to {most:.1} ms")
                }),
            found.into_iter().flatten().collect::<Vec<_>>().join(", "),
            match link.holds {
                Some(true) => "as asked",
                Some(false) => "not as asked",
                None => "",
            }
            .to_owned(),
            link.note.clone(),
        ]
    });
    let head = [
        "link",
        "when",
        "configured",
        "round trip by that",
        "measured",
        "",
        "",
    ];
    table(&head, rows)
}

fn traffic(recording: &Recording) -> String {
    let rows = recording.traffic().into_iter();
    let rows =
        rows.map(|(kind, messages, bytes)| vec![kind, number(messages), with_unit(bytes, "B")]);
    table(&["message", "sent", "bytes"], rows)
}

fn resources(recording: &Recording) -> String {
    let lines = by_node(recording, |sample| {
        sample
            .resources
            .map(|used| used.memory_bytes as f64 / f64::from(1 << 20))
    });
    if lines.is_empty() {
        return String::new();
    }
    let chart = Chart {
        title: "Memory of each node over time".to_owned(),
        x: "seconds since the run's start",
        y: "MiB",
        lines,
        shades: shades(recording),
        ..Chart::default()
    };
    chart.svg()
}

fn nodes(recording: &Recording) -> String {
    recording
        .result
        .as_ref()
        .map_or_else(String::new, |result| {
            format!("<pre>{}</pre>", escaped(&result.text(Paint(false))))
        })
}
