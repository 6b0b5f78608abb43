//! Links that are worse than the wire: what an operator asks of one direction of a link, and when what is sent over it arrives.
//!
//! What travels is a stream, as TCP gives it: nothing overtakes, nothing goes missing. A lost segment is therefore a delay of all
//! that comes behind it, for as long as TCP takes to notice and repeat it. The simulator and the node's transport ask the same
//! [`Line`], so a scenario means the same in both.

use serde::{Deserialize, Serialize};

use super::rng::Rng;

/// Bytes that a lost packet takes with it: what one packet of an Ethernet carries beside IPv4, TCP and its timestamps.
pub const SEGMENT_BYTES: u64 = 1_448;

/// The least that a retransmission timeout exceeds the round trip by, in microseconds: Linux's. RFC 6298 asks for a second in all.
const MIN_TIMEOUT_US: u64 = 200_000;

/// The longest retransmission timeout, in microseconds: the least maximum that RFC 6298, 2.5, allows.
const MAX_TIMEOUT_US: u64 = 60_000_000;

/// Segments that must arrive behind a lost one to be taken for the sign of its loss: RFC 5681, 3.2.
const DUPLICATES: u64 = 3;

/// The longest delay and the greatest jitter, in microseconds.
const MAX_DELAY_US: u64 = 60_000_000;

/// The greatest loss, in millionths: TCP makes no use of a link that loses more than half.
const MAX_LOSS_PPM: u32 = 500_000;

/// What is done to bytes that go from one node to another. The default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    /// What every byte takes longer, in microseconds, at most 60 seconds.
    pub delay_us: u64,
    /// What a frame takes longer at most beside that, in microseconds, at most 60 seconds: each draws evenly from 0 to this.
    pub jitter_us: u64,
    /// How many of a million segments (1,448 bytes or the rest of a frame) are lost, each by itself; at most 500,000.
    pub loss_ppm: u32,
    /// Bytes that go out in a second, at least 1; unlimited if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_s: Option<u64>,
    /// Whether nothing arrives at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
}

/// How a cut looks to those whom it parts. No new connection comes to stand across either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// Connections stand, and what is sent over them waits until the cut ends: a cable that was pulled, a firewall that drops. What
    /// comes from the other side still arrives, unless that is cut as well.
    Stall,
    /// Connections end at once, in both directions: a firewall that rejects.
    Reset,
}

/// Conditions that no link can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, allowed is {allowed}")]
pub struct ConditionsError {
    field: &'static str,
    value: u64,
    allowed: &'static str,
}

impl Conditions {
    /// Whether nothing is done to the bytes.
    pub fn are_clear(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the ranges.
    ///
    /// # Errors
    ///
    /// A value is out of its range.
    pub fn check(&self) -> Result<(), ConditionsError> {
        let loss = u64::from(self.loss_ppm);
        let rows = [
            (
                "delay_us",
                self.delay_us,
                self.delay_us <= MAX_DELAY_US,
                "0 to 60000000",
            ),
            (
                "jitter_us",
                self.jitter_us,
                self.jitter_us <= MAX_DELAY_US,
                "0 to 60000000",
            ),
            (
                "loss_ppm",
                loss,
                self.loss_ppm <= MAX_LOSS_PPM,
                "0 to 500000",
            ),
            (
                "rate_bytes_per_s",
                0,
                self.rate_bytes_per_s != Some(0),
                "1 or more, or nothing for no limit",
            ),
        ];
        match rows.into_iter().find(|(_, _, fits, _)| !fits) {
            Some((field, value, _, allowed)) => Err(ConditionsError {
                field,
                value,
                allowed,
            }),
            None => Ok(()),
        }
    }

    /// A round trip over a link that is so in both directions, in microseconds.
    fn round_trip_us(&self) -> u64 {
        2 * self.delay_us + self.jitter_us
    }
}

/// One direction of a connection: a transmitter that sends one frame after the other, and a wire that keeps their order.
#[derive(Clone, Debug, Default)]
pub struct Line {
    conditions: Conditions,
    /// When the transmitter has sent what it was given.
    free_us: u64,
    /// When the last frame arrives.
    last_us: u64,
    segments: u64,
    losses: u64,
}

impl Line {
    /// A line on which nothing is, and over which nothing arrives before `from_us`.
    pub fn new(conditions: Conditions, from_us: u64) -> Self {
        Self {
            conditions,
            last_us: from_us,
            ..Self::default()
        }
    }

    /// What is done to the bytes.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Changes what is done to the bytes that are sent from now on.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Whether what was sent is held back.
    pub fn is_cut(&self) -> bool {
        self.conditions.cut.is_some()
    }

    /// When the transmitter can take another frame, in microseconds.
    pub fn free_us(&self) -> u64 {
        self.free_us
    }

    /// When the last frame arrives that was sent, in microseconds.
    pub fn last_us(&self) -> u64 {
        self.last_us
    }

    /// Segments sent, and how many of them were lost and repeated.
    pub fn losses(&self) -> (u64, u64) {
        (self.segments, self.losses)
    }

    /// Sends a frame: when it arrives as a whole, in microseconds. Under a cut, when it would.
    pub fn arrival_us(&mut self, now_us: u64, bytes: usize, rng: &mut Rng) -> u64 {
        let bytes = bytes as u64;
        let sending_us = self.conditions.rate_bytes_per_s.map_or(0, |rate| {
            let millionths = u128::from(bytes) * 1_000_000;
            millionths.div_ceil(u128::from(rate.max(1))) as u64
        });
        self.free_us = self.free_us.max(now_us) + sending_us;
        let stall_us = self.stall_us(bytes, rng);
        self.arrive_us(self.free_us + stall_us, rng)
    }

    /// When what a cut has held back arrives once it ends: TCP repeats it then.
    pub fn release_us(&mut self, now_us: u64, rng: &mut Rng) -> u64 {
        self.arrive_us(now_us, rng)
    }

    fn arrive_us(&mut self, sent_us: u64, rng: &mut Rng) -> u64 {
        let Conditions {
            delay_us,
            jitter_us,
            ..
        } = self.conditions;
        let jitter_us = match jitter_us {
            0 => 0,
            most => rng.below(most + 1),
        };
        self.last_us = self.last_us.max(sent_us + delay_us + jitter_us);
        self.last_us
    }

    /// What the losses in a frame delay it by. Those of one frame are repaired together (selective acknowledgement, RFC 6675).
    fn stall_us(&mut self, bytes: u64, rng: &mut Rng) -> u64 {
        let loss_ppm = u64::from(self.conditions.loss_ppm);
        if loss_ppm == 0 {
            return 0;
        }
        let segments = bytes.div_ceil(SEGMENT_BYTES);
        self.segments += segments;
        let round_trip_us = self.conditions.round_trip_us();
        let mut longest_us = 0;
        for behind in (0..segments).rev() {
            let mut stall_us = 0;
            let mut timeout_us = round_trip_us + MIN_TIMEOUT_US;
            while stall_us < MAX_TIMEOUT_US && rng.below(1_000_000) < loss_ppm {
                self.losses += 1;
                // The first loss shows by what arrives behind it, if anything does; later ones only by silence, and TCP becomes
                // more patient each time (RFC 6298, 5.5). What else will be sent is not known yet: it is taken to be nothing.
                if stall_us == 0 && behind >= DUPLICATES {
                    stall_us = round_trip_us.max(1);
                } else {
                    stall_us += timeout_us;
                    timeout_us = (2 * timeout_us).min(MAX_TIMEOUT_US);
                }
            }
            longest_us = longest_us.max(stall_us);
        }
        longest_us
    }
}

/// How many measurements the least is taken of: a link that was changed is measured anew after as many.
const RECENT: usize = 8;

/// Round trips of one session, from Ping to Pong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// The last one, in microseconds.
    pub latest_us: u64,
    /// The least of the last eight, in microseconds: what the link takes where nobody had to wait for anything else.
    pub least_us: u64,
    /// Smoothed as TCP does it, by an eighth of each new one (RFC 6298, 2.3), in microseconds.
    pub smoothed_us: u64,
    /// How many were measured.
    pub count: u64,
}

/// Measures round trips.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    shown: RoundTrip,
    recent_us: [u64; RECENT],
}

impl Meter {
    /// Takes in one measurement.
    pub fn add(&mut self, latest_us: u64) {
        let RoundTrip {
            smoothed_us, count, ..
        } = self.shown;
        self.recent_us[(count % RECENT as u64) as usize] = latest_us;
        let measured = self.recent_us.iter().take(count as usize + 1);
        self.shown = RoundTrip {
            latest_us,
            least_us: measured.copied().min().unwrap_or(latest_us),
            smoothed_us: match count {
                0 => latest_us,
                _ => (7 * smoothed_us + latest_us) / 8,
            },
            count: count + 1,
        };
    }

    /// What was measured, if anything was.
    pub fn round_trip(&self) -> Option<RoundTrip> {
        (self.shown.count > 0).then_some(self.shown)
    }
}
