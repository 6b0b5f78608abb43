//! The two clocks, read in one place.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::time::Time;

/// The system's clocks, the monotonic one counted from the start of the node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting.
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// This moment.
    pub(super) fn now(&self) -> Time {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Time {
            monotonic_ms: self.start.elapsed().as_millis() as u64,
            wall_ms: wall.as_millis() as u64,
        }
    }

    /// The moment at which the monotonic clock shows `monotonic_ms`.
    pub(super) fn instant(&self, monotonic_ms: u64) -> Instant {
        self.start + Duration::from_millis(monotonic_ms)
    }
}
