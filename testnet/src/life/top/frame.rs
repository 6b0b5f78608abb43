//! What `top` shows, as lines of text that fit a terminal.

use crate::life::status::View;

const KEYS: &str = "up/down select  k kill  s stop  a start  p pause/go on  r restart  i isolate";
const MORE_KEYS: &str = "2 part in two   h heal all   q quit";

/// A line of the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// What it says, no wider than the screen.
    pub(super) text: String,
    /// Whether it is the one that is selected.
    pub(super) marked: bool,
    /// Whether it matters more than others.
    pub(super) strong: bool,
}

/// Where a person is in what is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    selected: usize,
    /// What was done last.
    pub(super) message: String,
}

impl Frame {
    /// Selects the node above.
    pub(super) fn up(&mut self) {
        self.selected = self.selected.saturating_sub(1);
    }

    /// Selects the node below.
    pub(super) fn down(&mut self, view: &View) {
        self.selected = (self.selected + 1).min(view.nodes.len().saturating_sub(1));
    }

    /// The selected node's name.
    pub(super) fn selected(&self, view: &View) -> String {
        let node = view.nodes.get(self.selected).or_else(|| view.nodes.last());
        node.map(|node| node.name.clone()).unwrap_or_default()
    }

    /// All lines, as many as there are rows or fewer, none wider than the columns.
    pub(super) fn lines(&self, view: &View, (columns, rows): (usize, usize)) -> Vec<Line> {
        let plain = |text: &str| Line {
            text: text.to_owned(),
            ..Line::default()
        };
        let strong = |text: &str| Line {
            strong: true,
            ..plain(text)
        };
        let mut faults: Vec<_> = view.fault_lines().iter().map(|line| plain(line)).collect();
        if faults.is_empty() {
            faults.push(plain("no faults"));
        }
        // Nodes and faults share what the rest leaves, faults at most a third.
        let room = rows.saturating_sub(7);
        let hidden = faults.len().saturating_sub((room / 3).max(1));
        if hidden > 0 {
            faults.truncate(faults.len() - hidden - 1);
            faults.push(plain(&format!("and {} more faults", hidden + 1)));
        }
        let mut table = view.table().into_iter();
        let head = table.next().unwrap_or_default();
        let nodes: Vec<_> = table.collect();
        let shown = room.saturating_sub(faults.len()).max(1).min(nodes.len());
        let selected = self.selected.min(nodes.len().saturating_sub(1));
        let first = (selected + 1).saturating_sub(shown);
        let mut lines = vec![strong(&view.headline()), plain(""), strong(&head)];
        for (index, text) in nodes.iter().enumerate().skip(first).take(shown) {
            let marked = index == selected;
            // The whole row is marked, not only its text.
            let text = if marked {
                format!("{text:<columns$}")
            } else {
                text.clone()
            };
            lines.push(Line {
                text,
                marked,
                strong: false,
            });
        }
        lines.push(match nodes.len() - shown {
            0 => plain(""),
            more => plain(&format!("and {more} more nodes")),
        });
        lines.extend(faults);
        lines.push(strong(&self.message));
        lines.extend([plain(KEYS), plain(MORE_KEYS)]);
        lines.truncate(rows);
        for line in &mut lines {
            line.text = line
                .text
                .chars()
                .filter(|letter| !letter.is_control())
                .take(columns)
                .collect();
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::status::{Condition, FaultView, NodeView};
    use crate::verdict::Agreement;
    use crate::verdict::tests::state;

    fn view(nodes: usize, faults: usize) -> View {
        let states: Vec<_> = (0..nodes)
            .map(|node| state(123_456, (node % 2) as u8, 1))
            .collect();
        let agreement = Agreement::of(&states);
        let node = |(index, state)| NodeView {
            name: format!("node-{}", index + 1),
            condition: Condition::Runs,
            state,
            round_trip_ms: Some(123.4),
        };
        let fault = |number| FaultView {
            number: number as u64,
            what: "isolate".to_owned(),
            who: "node-1".to_owned(),
            age_ms: 5_000,
            left_ms: Some(2_000),
        };
        View {
            version: 1,
            network: "baseline".to_owned(),
            backend: "process".to_owned(),
            up: true,
            age_ms: 61_000,
            directory: "x".to_owned(),
            nodes: states.into_iter().enumerate().map(node).collect(),
            agreement,
            faults: (0..faults).map(fault).collect(),
        }
    }

    #[test]
    fn everything_fits_whatever_the_terminal() {
        for (nodes, faults) in [(1, 0), (5, 2), (200, 50)] {
            for size in [(80, 24), (40, 10), (200, 60), (1, 1), (0, 0)] {
                let view = view(nodes, faults);
                let mut frame = Frame::default();
                (0..nodes + 3).for_each(|_| frame.down(&view));
                let lines = frame.lines(&view, size);
                assert!(lines.len() <= size.1, "{nodes} {size:?}");
                assert!(lines.iter().all(|line| line.text.chars().count() <= size.0));
                assert_eq!(frame.selected(&view), format!("node-{nodes}"));
                if size.1 >= 10 {
                    assert_eq!(lines.iter().filter(|line| line.marked).count(), 1);
                    assert!(lines.last().unwrap().text.starts_with("2 part in two"));
                }
            }
        }
    }

    #[test]
    fn a_small_network_is_shown_whole() {
        let view = view(2, 1);
        let lines = Frame::default().lines(&view, (80, 24));
        let texts: Vec<_> = lines.iter().map(|line| line.text.trim_end()).collect();
        assert_eq!(
            texts[..6],
            [
                "baseline (process, since 1 min 1 s): 2 of 2 nodes run, 2 different tips or state",
                "",
                "node    is    blocks  tip         red  peers  mempool  round trip  fork",
                "node-1  runs  123456  0000000000    0      2        0    123.4 ms     1",
                "node-2  runs  123456  0101010101    0      2        0    123.4 ms     2",
                "",
            ]
        );
        assert_eq!(texts[6], "fault 0: isolate: node-1; since 5 s, 2 s left");
        assert!(lines[3].marked && !lines[4].marked);
    }
}
