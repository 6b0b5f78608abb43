//! SVG: one strip from left to right, oldest first, cut into rows like lines of music.
//!
//! Each row is a window upon the same strip, so what crosses a row's end goes on at the start of the next.

use std::fmt::Write as _;
use std::ops::Range;

use super::graph::{Graph, Kind, Node, summary, title};
use super::layout::{Layout, Spot};
use crate::rpc::Dag;

/// The selected chain.
pub(super) const CHAIN: &str = "#1f2328";
/// Red blocks.
pub(super) const RED: &str = "#cf222e";
/// A line to a parent.
pub(super) const EDGE: &str = "#b3bbc5";
/// A line to the parent that a block continues.
pub(super) const SELECTED_EDGE: &str = "#6e7781";

/// Fill and outline by stream. Neither blue nor red, which mean something else here; told apart by whoever tells few colours apart
/// (after Okabe and Ito).
const STREAMS: [(&str, (&str, &str)); 3] = [
    ("A", ("#f6b93f", "#9a6700")),
    ("B", ("#d9a6d3", "#8a4680")),
    ("C", ("#93d6c0", "#1a7f64")),
];
const NO_STREAM: (&str, &str) = ("#d0d7de", "#57606a");

/// Merge sets, in turn, so that neighbours are told apart.
const MERGES: [&str; 2] = ["#c9d4ee", "#eadcb8"];

const BLOCK_HEIGHT: i64 = 22;
const DIGIT_WIDTH: i64 = 7;
/// Between two columns.
const GAP: i64 = 22;
/// From the middle of a slot to that of the next.
const SLOT: i64 = 34;
const LANE_PADDING: i64 = 9;
const LANE_GAP: i64 = 4;
/// How far the colour of a merge set reaches beyond its blocks.
const HALO: i64 = 5;
/// What a row shows of its neighbours: lines, but no blocks.
const BLEED: i64 = 9;
const ROW_WIDTH: i64 = 1_200;
const ROW_GAP: i64 = 26;
const LEFT: i64 = 44;
const RIGHT: i64 = 20;
const MIN_WIDTH: i64 = 700;
const LEGEND_TOP: i64 = 80;
const LEGEND_LINE: i64 = 30;
const LETTER_WIDTH: i64 = 7;

/// Fill and outline of a stream.
pub(super) fn stream_colours(lane: usize, graph: &Graph<'_>) -> (&'static str, &'static str) {
    let name = graph.streams.get(lane).copied().unwrap_or_default();
    let known = STREAMS.iter().find(|(stream, _)| *stream == name);
    known.map_or(NO_STREAM, |(_, colours)| *colours)
}

/// Draws a DAG in SVG.
pub fn svg(dag: &Dag) -> String {
    let graph = Graph::new(dag);
    Picture::new(dag, &graph).draw()
}

/// A lane within its row.
struct Lane {
    top: i64,
    height: i64,
    /// The middle of its middle slot.
    middle: i64,
}

struct Picture<'a> {
    dag: &'a Dag,
    graph: &'a Graph<'a>,
    layout: Layout,
    block_width: i64,
    pitch: i64,
    columns_a_row: usize,
    /// The lanes of the row that is being drawn.
    lanes: Vec<Lane>,
    width: i64,
    text: String,
}

impl<'a> Picture<'a> {
    fn new(dag: &'a Dag, graph: &'a Graph<'a>) -> Self {
        let layout = Layout::new(graph);
        let labels = graph.nodes.iter().map(|node| node.label().chars().count());
        let block_width = labels.max().unwrap_or(0).max(4) as i64 * DIGIT_WIDTH + 10;
        let pitch = block_width + GAP;
        // Rows of one length, the last not much shorter than the others.
        let most = (ROW_WIDTH / pitch).max(1) as usize;
        let rows = layout.columns.div_ceil(most).max(1);
        let columns_a_row = layout.columns.div_ceil(rows).max(1);
        let width = (LEFT + columns_a_row as i64 * pitch + RIGHT).max(MIN_WIDTH);
        Self {
            dag,
            graph,
            layout,
            block_width,
            pitch,
            columns_a_row,
            lanes: Vec::new(),
            width,
            text: String::new(),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes all text");
    }

    fn draw(mut self) -> String {
        let legend_bottom = self.legend();
        let legend = std::mem::take(&mut self.text);
        let mut height = legend_bottom;
        for first in (0..self.layout.columns).step_by(self.columns_a_row) {
            let end = (first + self.columns_a_row).min(self.layout.columns);
            height += self.row(&(first..end), height) + ROW_GAP;
        }
        let rows = std::mem::take(&mut self.text);
        let (width, name) = (self.width, escaped(&title(self.dag)));
        self.line(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{name}\">"
        ));
        self.style();
        self.line(format_args!(
            "<rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#fff\"/>"
        ));
        self.line(format_args!(
            "<text class=\"title\" x=\"16\" y=\"32\">{name}</text>"
        ));
        let about = escaped(&summary(self.dag, self.graph));
        self.line(format_args!(
            "<text class=\"note\" x=\"16\" y=\"54\">{about}</text>"
        ));
        self.text += &legend;
        self.text += &rows;
        self.text += "</svg>\n";
        self.text
    }

    fn style(&mut self) {
        let family = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif";
        let halo = BLOCK_HEIGHT + 2 * HALO;
        self.line(format_args!(
            "<style>\n\
             text{{font:11px {family};fill:{CHAIN};text-anchor:middle}}\n\
             .title{{font-size:18px;font-weight:600;text-anchor:start}}\n\
             .note{{font-size:12px;fill:#57606a;text-anchor:start}}\n\
             .lane{{font-size:14px;font-weight:600;fill:#57606a}}\n\
             .edge,.merge path{{fill:none;stroke:{EDGE};stroke-width:1.2}}\n\
             .selected{{stroke:{SELECTED_EDGE};stroke-width:1.6}}\n\
             .bold{{stroke:{CHAIN};stroke-width:3.2}}\n\
             .to-come{{stroke-dasharray:5 4}}\n\
             .merge{{opacity:.62}}\n\
             .merge path{{stroke-width:{halo};stroke-linecap:round}}\n\
             .block rect{{stroke-width:1.4}}\n\
             .chain rect{{stroke:{CHAIN};stroke-width:3.2}}\n\
             .chain text{{font-weight:700}}\n\
             .red rect{{stroke:{RED};stroke-width:2;stroke-dasharray:4 3}}\n\
             .red path{{stroke:{RED};stroke-width:1.5;fill:none}}\n\
             .red text{{font-weight:700;paint-order:stroke;stroke:#fff;stroke-width:2.5px}}\n\
             .beside rect,.next rect{{stroke:{SELECTED_EDGE};stroke-dasharray:2 3}}\n\
             .next rect{{fill:#fff;stroke-width:2}}\n\
             .next text{{fill:#57606a}}"
        ));
        for (index, colour) in MERGES.iter().enumerate() {
            self.line(format_args!(
                ".m{index} path{{stroke:{colour}}}.m{index} rect{{fill:{colour}}}"
            ));
        }
        for lane in 0..self.graph.streams.len() {
            let (fill, line) = stream_colours(lane, self.graph);
            self.line(format_args!(".s{lane} rect{{fill:{fill};stroke:{line}}}"));
        }
        // The looks above win over those of the streams.
        self.line(format_args!(
            ".chain.block rect{{stroke:{CHAIN}}}.red.block rect{{stroke:{RED}}}\
             .beside.block rect{{stroke:{SELECTED_EDGE};fill-opacity:.35}}\n</style>"
        ));
    }

    /// Draws the legend and returns where it ends.
    fn legend(&mut self) -> i64 {
        let graph = self.graph;
        let mut at = (16, LEGEND_TOP);
        for (lane, name) in graph.streams.iter().enumerate() {
            let text = format!("stream {name}");
            let (x, y) = self.legend_item(&mut at, &text);
            self.block_shape(&format!("block s{lane}"), (x, y), "");
        }
        let last = graph.streams.len().saturating_sub(1);
        for (kind, text) in [
            (Kind::Chain, "selected chain"),
            (Kind::Blue, "merged, blue"),
            (Kind::Red, "merged, red"),
            (Kind::Beside, "not in the order"),
            (Kind::Next, "the next block"),
        ] {
            if kind == Kind::Beside && graph.count(kind) == 0 {
                continue;
            }
            let (x, y) = self.legend_item(&mut at, text);
            self.block_shape(&class(kind, last), (x, y), "");
        }
        let (x, y) = self.legend_item(&mut at, "merged by one block");
        let (left, right) = (x - 8, x + 8);
        for (index, _) in MERGES.iter().enumerate() {
            let x = [left, right][index % 2];
            self.line(format_args!(
                "<g class=\"m{index}\" opacity=\".62\"><rect x=\"{}\" y=\"{}\" width=\"16\" height=\"{BLOCK_HEIGHT}\"/></g>",
                x - 8,
                y - BLOCK_HEIGHT / 2
            ));
        }
        for (class, text) in [
            ("edge selected bold", "continues, in the chain"),
            ("edge selected", "continues"),
            ("edge", "names as another parent"),
        ] {
            let (x, y) = self.legend_item(&mut at, text);
            self.line(format_args!(
                "<path class=\"{class}\" d=\"M{} {y}h32\"/>",
                x - 16
            ));
        }
        at.1 + LEGEND_LINE
    }

    /// Writes the text of an item and returns the middle of its sample.
    fn legend_item(&mut self, at: &mut (i64, i64), text: &str) -> (i64, i64) {
        const SAMPLE: i64 = 34;
        let width = SAMPLE + 6 + text.chars().count() as i64 * LETTER_WIDTH + 14;
        if at.0 + width > self.width && at.0 > 16 {
            *at = (16, at.1 + LEGEND_LINE);
        }
        let (x, y) = *at;
        at.0 += width;
        self.line(format_args!(
            "<text class=\"note\" x=\"{}\" y=\"{}\">{}</text>",
            x + SAMPLE + 6,
            y + 4,
            escaped(text)
        ));
        (x + SAMPLE / 2, y)
    }

    /// Draws these columns and returns how high they are.
    fn row(&mut self, columns: &Range<usize>, top: i64) -> i64 {
        let width = columns.len() as i64 * self.pitch + 2 * BLEED;
        let (left, start) = (LEFT - BLEED, columns.start as i64 * self.pitch - BLEED);
        self.lanes.clear();
        let mut height = 0;
        for (lane, name) in self.graph.streams.iter().enumerate() {
            let (first, last) = self.layout.slots(lane, columns);
            let lane = Lane {
                top: height,
                height: i64::from(last - first) * SLOT + BLOCK_HEIGHT + 2 * LANE_PADDING,
                middle: height + LANE_PADDING + BLOCK_HEIGHT / 2 - i64::from(first) * SLOT,
            };
            self.line(format_args!(
                "<rect x=\"{left}\" y=\"{}\" width=\"{width}\" height=\"{}\" rx=\"6\" fill=\"#f5f7f9\"/>",
                top + lane.top,
                lane.height,
            ));
            self.line(format_args!(
                "<text class=\"lane\" x=\"{}\" y=\"{}\">{}</text>",
                left / 2 + 2,
                top + lane.middle + 5,
                escaped(name),
            ));
            height += lane.height + LANE_GAP;
            self.lanes.push(lane);
        }
        height -= LANE_GAP;
        self.line(format_args!(
            "<svg x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" viewBox=\"{start} 0 {width} {height}\">"
        ));
        self.merges(columns);
        self.edges(columns);
        for index in 0..self.graph.nodes.len() {
            if columns.contains(&self.layout.spots[index].column) {
                self.block(index);
            }
        }
        self.text += "</svg>\n";
        height
    }

    fn point(&self, spot: Spot) -> (i64, i64) {
        let x = spot.column as i64 * self.pitch + self.pitch / 2;
        (
            x,
            self.lanes[spot.lane].middle + i64::from(spot.slot) * SLOT,
        )
    }

    /// The way from a block to its parent.
    fn way(&self, child: usize, parent: usize) -> String {
        let (from, to) = (self.layout.spots[child], self.layout.spots[parent]);
        let ((x, y), (end_x, end_y)) = (self.point(from), self.point(to));
        let (x, end_x) = (x - self.block_width / 2, end_x + self.block_width / 2);
        if self.layout.is_obstructed(from, to) {
            let (bow, bend) = (y + SLOT * 3 / 4, GAP);
            return format!(
                "M{x} {y}C{} {bow} {} {bow} {end_x} {end_y}",
                x - bend,
                end_x + bend
            );
        }
        if y == end_y {
            return format!("M{x} {y}H{end_x}");
        }
        let bend = GAP * 3 / 4;
        format!(
            "M{x} {y}C{} {y} {} {end_y} {end_x} {end_y}",
            x - bend,
            end_x + bend
        )
    }

    /// Whether a line between two blocks is seen in a row.
    fn is_seen(&self, child: usize, parent: usize, columns: &Range<usize>) -> bool {
        let (to, from) = (self.layout.spots[parent], self.layout.spots[child]);
        to.column < columns.end && from.column >= columns.start
    }

    /// Each merge set in one colour: its blocks, the block that merges them, and the lines between them.
    fn merges(&mut self, columns: &Range<usize>) {
        let graph = self.graph;
        for (number, merge) in graph.merges.iter().enumerate() {
            let members = || merge.merged.iter().chain([&merge.by]).copied();
            let mut shapes = String::new();
            for child in members() {
                let (x, y) = self.point(self.layout.spots[child]);
                if columns.contains(&self.layout.spots[child].column) {
                    shapes += &format!(
                        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"9\"/>",
                        x - self.block_width / 2 - HALO,
                        y - BLOCK_HEIGHT / 2 - HALO,
                        self.block_width + 2 * HALO,
                        BLOCK_HEIGHT + 2 * HALO,
                    );
                }
                for parent in &graph.nodes[child].parents {
                    let is_merged = merge.merged.contains(parent);
                    if is_merged && self.is_seen(child, *parent, columns) {
                        shapes += &format!("<path d=\"{}\"/>", self.way(child, *parent));
                    }
                }
            }
            if !shapes.is_empty() {
                let names = merge.merged.iter().map(|index| graph.nodes[*index].label());
                let names: Vec<_> = names.collect();
                let by = graph.nodes[merge.by].label();
                self.line(format_args!(
                    "<g class=\"merge m{}\"><title>{by} merges {}</title>{shapes}</g>",
                    number % MERGES.len(),
                    names.join(", "),
                ));
            }
        }
    }

    fn edges(&mut self, columns: &Range<usize>) {
        let graph = self.graph;
        // The boldest last, on top.
        let mut layers = [const { String::new() }; 3];
        for (child, node) in graph.nodes.iter().enumerate() {
            for parent in &node.parents {
                if !self.is_seen(child, *parent, columns) {
                    continue;
                }
                let is_selected = node.selected == Some(*parent);
                let (layer, class) = match (node.kind, is_selected) {
                    (Kind::Chain, true) => (2, "edge bold"),
                    (Kind::Next, true) => (2, "edge bold to-come"),
                    (Kind::Next, false) => (0, "edge to-come"),
                    (_, true) => (1, "edge selected"),
                    (_, false) => (0, "edge"),
                };
                let way = self.way(child, *parent);
                layers[layer] += &format!("<path class=\"{class}\" d=\"{way}\"/>\n");
            }
            if node.is_cut && columns.contains(&self.layout.spots[child].column) {
                let (x, y) = self.point(self.layout.spots[child]);
                let x = x - self.block_width / 2;
                layers[0] += &format!(
                    "<path class=\"edge\" stroke-dasharray=\"2 2\" d=\"M{x} {y}h{}\"/>\n",
                    -GAP / 2 - BLEED
                );
            }
        }
        self.text.extend(layers);
    }

    fn block(&mut self, index: usize) {
        let node = &self.graph.nodes[index];
        let class = class(node.kind, self.graph.lane(node));
        let middle = self.point(self.layout.spots[index]);
        self.block_shape(&class, middle, &inside(node, middle));
    }

    fn block_shape(&mut self, class: &str, (x, y): (i64, i64), inside: &str) {
        // A sample in the legend is as small as can be.
        let width = if inside.is_empty() {
            30
        } else {
            self.block_width
        };
        let (left, top) = (x - width / 2, y - BLOCK_HEIGHT / 2);
        let cross = match class.contains("red") {
            true => format!(
                "<path d=\"M{left} {top}l{width} {BLOCK_HEIGHT}m0 -{BLOCK_HEIGHT}l-{width} {BLOCK_HEIGHT}\"/>"
            ),
            false => String::new(),
        };
        self.line(format_args!(
            "<g class=\"{class}\"><rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{BLOCK_HEIGHT}\" rx=\"6\"/>\
             {cross}{inside}</g>"
        ));
    }
}

/// The label of a block and what a mouse over it tells.
fn inside(node: &Node<'_>, (x, y): (i64, i64)) -> String {
    let (label, facts) = (escaped(&node.label()), escaped(&node.facts()));
    format!(
        "<title>{facts}</title><text x=\"{x}\" y=\"{}\">{label}</text>",
        y + 4
    )
}

fn class(kind: Kind, lane: usize) -> String {
    let look = match kind {
        Kind::Chain => "chain",
        Kind::Blue => "blue",
        Kind::Red => "red",
        Kind::Beside => "beside",
        Kind::Next => return "block next".to_owned(),
    };
    format!("block {look} s{lane}")
}

/// Text in XML. What XML has no way to write is replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' => escaped.push('\n'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}
