//! The moment at which an input happens. A driver reads the clocks; the protocol is told.

/// One moment, on the two clocks that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Milliseconds since an arbitrary origin, never going back. For timers alone.
    pub monotonic_ms: u64,
    /// The same, in microseconds. For round trips alone.
    pub monotonic_us: u64,
    /// Milliseconds since 1970-01-01 UTC. For the timestamps of blocks alone.
    pub wall_ms: u64,
}
