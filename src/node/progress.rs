//! How far a node is that catches up, for people: a bar on a terminal, a line at intervals, a metric.
//!
//! What share is done is told by dates: how much of the time from the first block that was missing until now lies before the tip.
//! So it rests on blocks that were taken in, and on no peer's claim.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::announce::{self, Left};
use super::clock::Clock;
use super::control::Snapshot;
use super::metrics::Metrics;

/// How often it is looked at.
const STEP: Duration = Duration::from_millis(250);

/// How often a line says it.
const LINE: Duration = Duration::from_secs(10);

/// Who lacks fewer blocks than this is not said to catch up.
const LEAST_BLOCKS: u64 = 256;

/// Rates are those of the last so many steps: five seconds.
const STEPS: usize = 20;

/// The bar's length stands for all that there is.
const LENGTH: u64 = 1_000;

/// How far catching up is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// From 0 to 1.
    pub ratio: f64,
    /// Blocks taken in per second, of late.
    pub blocks_per_s: f64,
    /// The time that it still takes, if it goes on as of late.
    pub left: Option<Duration>,
}

/// What was seen of a node that catches up.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// The date at which it began, in milliseconds.
    first_ms: u64,
    /// When, how many blocks there were, and the date of the last.
    seen: VecDeque<(Instant, u64, u64)>,
}

impl Meter {
    /// Sees where the node is: its last block's number and date, and what its clock says, in milliseconds.
    pub fn see(&mut self, at: Instant, number: u64, date_ms: u64, wall_ms: u64) -> Progress {
        // Genesis has no date: the first that is seen after it is taken for it.
        if self.first_ms == 0 {
            self.first_ms = date_ms;
        }
        if self.seen.len() > STEPS {
            self.seen.pop_front();
        }
        self.seen.push_back((at, number, date_ms));
        let whole_ms = wall_ms.saturating_sub(self.first_ms);
        let done_ms = date_ms.saturating_sub(self.first_ms).min(whole_ms);
        let ratio = match self.first_ms {
            0 => 0.0,
            _ => done_ms as f64 / whole_ms.max(1) as f64,
        };
        let (then, number_then, date_then_ms) = self.seen[0];
        let seconds = at.duration_since(then).as_secs_f64();
        let per_s = |count: u64| {
            if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            }
        };
        let dates_per_s = match date_then_ms {
            0 => 0.0,
            _ => per_s(date_ms.saturating_sub(date_then_ms)),
        };
        let left_s = (whole_ms - done_ms) as f64 / dates_per_s;
        Progress {
            ratio,
            blocks_per_s: per_s(number.saturating_sub(number_then)),
            left: Duration::try_from_secs_f64(left_s).ok(),
        }
    }
}

/// Says how far the node is whenever it catches up, until it ends.
pub(super) async fn show(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    metrics: Arc<Metrics>,
    clock: Clock,
) {
    metrics.progressed(1.0);
    let is_far = |remaining: u64| remaining >= LEAST_BLOCKS;
    loop {
        let waited = snapshots.wait_for(|snapshot| is_far(snapshot.sync_remaining));
        let has_ended = waited.await.is_err();
        if has_ended {
            return;
        }
        let bar = bar();
        let mut meter = Meter::default();
        let mut said: Option<Instant> = None;
        let mut ticks = tokio::time::interval(STEP);
        loop {
            ticks.tick().await;
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            if snapshot.sync_remaining == 0 || snapshots.has_changed().is_err() {
                break;
            }
            let (number, date_ms) = (snapshot.tip.number, snapshot.record.timestamp_ms());
            let progress = meter.see(Instant::now(), number, date_ms, clock.now().wall_ms);
            metrics.progressed(progress.ratio);
            if let Some(bar) = &bar {
                bar.set_position((progress.ratio * LENGTH as f64) as u64);
                let Progress {
                    blocks_per_s, left, ..
                } = progress;
                bar.set_message(format!(
                    "#{number}, {blocks_per_s:.0} blocks/s, {} left",
                    Left(left)
                ));
            }
            if said.is_none_or(|said| said.elapsed() >= LINE) {
                // The first one has no rate yet.
                if said.is_some() {
                    announce::synchronising(number, &progress);
                }
                said = Some(Instant::now());
            }
        }
        metrics.progressed(1.0);
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }
}

/// The bars on standard error, if that is a terminal.
fn bars() -> Option<&'static MultiProgress> {
    static BARS: OnceLock<Option<MultiProgress>> = OnceLock::new();
    let make = || io::stderr().is_terminal().then(MultiProgress::new);
    BARS.get_or_init(make).as_ref()
}

fn bar() -> Option<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} % {msg}");
    let bar = ProgressBar::new(LENGTH).with_style(style.ok()?);
    Some(bars()?.add(bar))
}

/// Standard output for log lines. Where there is a bar, it makes room for them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match bars() {
            Some(bars) => bars.suspend(|| io::stdout().write(bytes)),
            None => io::stdout().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
