//! The two clocks, read in one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::time::Time;

/// The system's clocks, the monotonic one counted from the start of the node. Clones are the same clock.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    start: Instant,
    /// By how much the wall clock is to be wrong.
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Starts counting.
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
            offset_ms: Arc::default(),
        }
    }

    /// Puts the wall clock ahead of the system's from now on.
    pub(super) fn set_offset(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// This moment.
    pub(super) fn now(&self) -> Time {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let monotonic = self.start.elapsed();
        let offset_ms = self.offset_ms.load(Ordering::Relaxed);
        Time {
            monotonic_ms: monotonic.as_millis() as u64,
            monotonic_us: monotonic.as_micros() as u64,
            wall_ms: (wall.as_millis() as u64).saturating_add_signed(offset_ms),
        }
    }

    /// The moment at which the monotonic clock shows `monotonic_ms`.
    pub(super) fn instant(&self, monotonic_ms: u64) -> Instant {
        self.start + Duration::from_millis(monotonic_ms)
    }
}
