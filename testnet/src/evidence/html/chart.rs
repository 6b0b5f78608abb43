//! Charts in SVG. Colours are the page's, so that they follow its light and its dark.

use std::fmt::Write as _;

use crate::evidence::junit::escaped;
use crate::evidence::summary::number;

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 42.0;

/// Points of a line beyond which no screen shows more.
const MAX_POINTS: usize = 600;

/// A time that is shaded.
pub(super) struct Shade {
    pub(super) begin: f64,
    pub(super) end: f64,
    pub(super) title: String,
}

/// A line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A chart of lines over one axis.
#[derive(Default)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    pub(super) lines: Vec<Line>,
    /// Bars behind the lines: from, to, height.
    pub(super) bars: Vec<(f64, f64, f64)>,
    pub(super) shades: Vec<Shade>,
    /// Upright lines with a name.
    pub(super) marks: Vec<(f64, String)>,
}

impl Chart {
    /// The chart as SVG.
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let right = points().map(|(x, _)| *x);
        let right = right.chain(self.bars.iter().map(|(_, to, _)| *to));
        let top = points().map(|(_, y)| *y);
        let top = top.chain(self.bars.iter().map(|(_, _, height)| *height));
        let (x_step, x_most) = ticks(right.fold(0.0, f64::max));
        let (y_step, y_most) = ticks(top.fold(0.0, f64::max));
        let across = |x: f64| LEFT + (WIDTH - LEFT - RIGHT) * (x / x_most).clamp(0.0, 1.0);
        let up = |y: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y / y_most).clamp(0.0, 1.0);
        let title = escaped(&self.title);
        let mut text = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>"
        );
        for shade in &self.shades {
            let (begin, end) = (across(shade.begin), across(shade.end));
            let _ = write!(
                text,
                "<rect class=\"shade\" x=\"{begin:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
                (end - begin).max(2.0),
                HEIGHT - TOP - BOTTOM,
                escaped(&shade.title)
            );
        }
        for index in 0..=(y_most / y_step).round() as u32 {
            let value = f64::from(index) * y_step;
            let y = up(value);
            let _ = write!(
                text,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
                number(value)
            );
        }
        for index in 0..=(x_most / x_step).round() as u32 {
            let value = f64::from(index) * x_step;
            let _ = write!(
                text,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                across(value),
                HEIGHT - BOTTOM + 17.0,
                number(value)
            );
        }
        for (from, to, height) in &self.bars {
            let (x, y) = (across(*from), up(*height));
            let _ = write!(
                text,
                "<rect class=\"bar\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                (across(*to) - x - 1.0).max(1.0),
                HEIGHT - BOTTOM - y
            );
        }
        for (index, line) in self.lines.iter().enumerate() {
            let step = line.points.len().div_ceil(MAX_POINTS).max(1);
            let last = line.points.len().saturating_sub(1);
            let kept = line.points.iter().enumerate();
            let kept = kept.filter(|(place, _)| place % step == 0 || *place == last);
            let path: String = kept
                .map(|(_, (x, y))| format!("{:.1},{:.1} ", across(*x), up(*y)))
                .collect();
            let _ = write!(
                text,
                "<polyline class=\"line c{}\" points=\"{}\"><title>{}</title></polyline>",
                index % 8,
                path.trim_end(),
                escaped(&line.name)
            );
        }
        for (at, name) in &self.marks {
            let x = across(*at);
            let _ = write!(
                text,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
                 <text class=\"mark\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                HEIGHT - BOTTOM,
                x + 4.0,
                TOP + 10.0,
                escaped(name)
            );
        }
        let _ = write!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(13 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text></svg>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            self.x,
            (TOP + HEIGHT - BOTTOM) / 2.0,
            self.y
        );
        text
    }
}

/// How many of ascending numbers are below each of them: a curve from 0 to 100 %.
pub(super) fn cumulative(name: &str, ascending: &[f64]) -> Line {
    let count = ascending.len().max(1) as f64;
    let step = ascending.len().div_ceil(MAX_POINTS).max(1);
    let last = ascending.len().saturating_sub(1);
    let kept = ascending.iter().enumerate();
    let kept = kept.filter(|(index, _)| index % step == 0 || *index == last);
    Line {
        name: name.to_owned(),
        points: std::iter::once((0.0, 0.0))
            .chain(kept.map(|(index, value)| (*value, 100.0 * (index + 1) as f64 / count)))
            .collect(),
    }
}

/// Who had which tip when: a row for each node, a cell for each moment. 0 is the place where most are, `None` no answer.
pub(super) fn heat_map(
    title: &str,
    names: &[&str],
    moments_ms: &[u64],
    cell: impl Fn(usize, usize) -> Option<usize>,
) -> String {
    let row = if names.len() > 60 { 4.0 } else { 14.0 };
    let (left, height) = (110.0, names.len() as f64 * row + 34.0);
    let end_ms = moments_ms.last().copied().unwrap_or_default().max(1) as f64;
    let across = |at_ms: u64| left + (WIDTH - left - RIGHT) * at_ms as f64 / end_ms;
    let title = escaped(title);
    let mut text = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>"
    );
    for (node, name) in names.iter().enumerate() {
        let y = node as f64 * row + 4.0;
        if row > 10.0 {
            let _ = write!(
                text,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                y + row - 3.0,
                escaped(name)
            );
        }
        // Neighbours of one colour are one rectangle.
        let mut begin = 0;
        for moment in 1..=moments_ms.len() {
            let group = cell(node, begin);
            if moment < moments_ms.len() && cell(node, moment) == group {
                continue;
            }
            let from = across(moments_ms[begin]);
            let to = moments_ms
                .get(moment)
                .map_or(WIDTH - RIGHT, |at_ms| across(*at_ms));
            let class =
                group.map_or_else(|| "silent".to_owned(), |group| format!("g{}", group.min(4)));
            let _ = write!(
                text,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.2}\" height=\"{:.1}\"/>",
                (to - from).max(0.5),
                row - 1.0
            );
            begin = moment;
        }
    }
    let _ = write!(
        text,
        "<text x=\"{left}\" y=\"{:.1}\">0 s</text><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} s</text></svg>",
        height - 10.0,
        WIDTH - RIGHT,
        height - 10.0,
        number(end_ms / 1_000.0)
    );
    text
}

/// The distance between marks on an axis, and its end.
fn ticks(most: f64) -> (f64, f64) {
    if most <= 0.0 || !most.is_finite() {
        return (1.0, 1.0);
    }
    let rough = most / 5.0;
    let power = 10.0_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps
        .iter()
        .map(|step| step * power)
        .find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    (step, (most / step).ceil() * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(ticks(0.0), (1.0, 1.0));
        assert_eq!(ticks(97.0), (20.0, 100.0));
        assert_eq!(ticks(12.0), (5.0, 15.0));
    }
}
