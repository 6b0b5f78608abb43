//! Mining against theory, as pictures and tables.

use super::chart::{Chart, Line};
use super::table;
use crate::evidence::junit::escaped;
use crate::evidence::mining::{Mining, Rate, WINDOW};
use crate::evidence::recording::Recording;
use crate::evidence::summary::number;

pub(super) fn mined(recording: &Recording, mining: &Mining) -> String {
    let mut text = String::new();
    for stream in &mining.streams {
        let intervals = recording.intervals_ms(&stream.stream);
        if intervals.len() > WINDOW {
            text.push_str(&histogram(&stream.stream, &intervals));
        }
    }
    let streams = mining
        .streams
        .iter()
        .filter(|stream| stream.count > 0)
        .map(|stream| {
            vec![
                format!("stream {}", stream.stream),
                stream.count.to_string(),
                format!("{} ms", number(stream.mean_ms)),
                format!("{} ms", stream.target_ms),
                stream
                    .p_value
                    .map_or_else(|| "too few".to_owned(), |p_value| format!("{p_value:.3}")),
            ]
        });
    text.push_str(&table(
        &[
            "intervals",
            "count",
            "mean",
            "aimed at",
            "p-value of exponential",
        ],
        streams,
    ));
    let rate = |name: &str, rate: Option<Rate>| {
        let rate = rate?;
        Some(vec![
            name.to_owned(),
            rate.count.to_string(),
            format!("{:.4}", rate.found),
            format!("{:.4} to {:.4}", rate.low, rate.high),
            rate.expected
                .map_or_else(|| "-".to_owned(), |expected| format!("{expected:.4}")),
        ])
    };
    let rates = [
        rate("red", mining.red),
        rate("beside the selected chain", mining.stale),
    ];
    text.push_str(&table(
        &[
            "part of blocks",
            "of",
            "found",
            "95 % confidence",
            "expected",
        ],
        rates.into_iter().flatten(),
    ));
    let revenue = mining.revenue.iter().map(|share| {
        vec![
            share.group.clone(),
            format!("{:.4}", share.found),
            format!("{:.4}", share.expected),
            format!("{:.4} to {:.4}", share.low, share.high),
        ]
    });
    text.push_str(&table(
        &["revenue of group", "found", "by hash rate", "by luck, 95 %"],
        revenue,
    ));
    text
}

/// Intervals, as multiples of the mean of those before, with the exponential law over them.
fn histogram(stream: &str, intervals: &[f64]) -> String {
    const BINS: usize = 24;
    const WIDTH: f64 = 0.25;
    let mut counts = [0_u32; BINS];
    for window in intervals.windows(WINDOW + 1) {
        let mean = window[..WINDOW].iter().sum::<f64>() / WINDOW as f64;
        let bin = (window[WINDOW] / mean.max(f64::MIN_POSITIVE) / WIDTH) as usize;
        if let Some(count) = counts.get_mut(bin) {
            *count += 1;
        }
    }
    let total = (intervals.len() - WINDOW) as f64 * WIDTH;
    let edge = |index: usize| index as f64 * WIDTH;
    let bars = counts.iter().enumerate();
    let law = (0..=4 * BINS).map(|index| edge(index) / 4.0);
    let chart = Chart {
        title: format!("Intervals of stream {stream} and the exponential law"),
        x: "interval, as a multiple of the mean before it",
        y: "density",
        bars: bars
            .map(|(index, count)| (edge(index), edge(index + 1), f64::from(*count) / total))
            .collect(),
        lines: vec![Line {
            name: "exponential".to_owned(),
            points: law.map(|x| (x, (-x).exp())).collect(),
        }],
        ..Chart::default()
    };
    format!("<h3>Stream {}</h3>{}", escaped(stream), chart.svg())
}
