//! Whether links are what they should be, found from outside: by how long pings take, and by how fast bytes go out.
//!
//! A node says of each session how long its last ping took, and how many bytes it has sent and still holds. From looking at that
//! again and again while a link's conditions are the same follows what it is. The least of several round trips is what a link
//! takes where nothing else is on it: it is compared with the delays in both directions. A rate shows only while there is more to
//! send than the link takes.

use std::collections::BTreeMap;
use std::time::Duration;

use triskel::protocol::link::Conditions;
use triskel::sim::watch::Session;

use crate::evidence::record::{LinkLine, Measured};

/// How far the delay of each direction may be off: this, or the part below, whichever is more. A round trip has two of them.
const TOLERANCE_US: f64 = 1_000.0;
const TOLERANCE: f64 = 0.05;

/// How far a rate may be off.
const RATE_TOLERANCE: f64 = 0.1;

/// Round trips of which the least is taken, where nothing is lost.
const LEAST_SAMPLES: u32 = 8;

/// As many as that where nodes have something else to do meanwhile.
const LEAST_BUSY_SAMPLES: u32 = 16;

/// Where packets are lost, so many round trips that all of them were delayed by that less often than this.
const ALL_DELAYED: f64 = 1e-6;
const MOST_SAMPLES: u32 = 64;

/// For so long more must have waited to be sent than the link took before its rate is judged.
const LEAST_SATURATED: Duration = Duration::from_secs(1);

/// Bytes of a ping or its answer, at most.
const PING_BYTES: f64 = 256.0;

/// One direction of a link while its conditions stay the same.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What is done to what is sent, and to what comes back.
    asked: [Conditions; 2],
    since: Duration,
    /// Whether blocks and transfers travel meanwhile.
    busy: bool,
    last: Option<(Duration, Session)>,
    /// The first look at the session that stands.
    first: Option<Session>,
    /// Pings up to this one may have been sent before.
    ignored: u64,
    samples: u32,
    least_us: u64,
    /// While more waited than the link could take: for how long, and how many bytes were sent.
    saturated: (Duration, u64),
    /// The most bytes in a second over any two looks.
    most_bytes_per_s: f64,
}

impl Watched {
    fn new(asked: [Conditions; 2], since: Duration, busy: bool) -> Self {
        Self {
            asked,
            since,
            busy,
            last: None,
            first: None,
            ignored: 0,
            samples: 0,
            least_us: u64::MAX,
            saturated: (Duration::ZERO, 0),
            most_bytes_per_s: 0.0,
        }
    }

    fn look(&mut self, now: Duration, session: Session) {
        let count = |session: &Session| session.round_trip.map_or(0, |trip| trip.count);
        let is_another = self.last.is_some_and(|(_, last)| {
            count(&session) < count(&last) || session.sent_bytes < last.sent_bytes
        });
        if self.last.is_none() || is_another {
            self.first = Some(session);
            // One ping may be on its way.
            self.ignored = count(&session) + 1;
            self.last = Some((now, session));
            return;
        }
        let Some((at, last)) = self.last.replace((now, session)) else {
            return;
        };
        if let Some(trip) = session.round_trip
            && trip.count > count(&last).max(self.ignored)
        {
            self.samples += 1;
            self.least_us = self.least_us.min(trip.latest_us);
        }
        let took = now.saturating_sub(at);
        let sent = session.sent_bytes - last.sent_bytes;
        if !took.is_zero() {
            let bytes_per_s = sent as f64 / took.as_secs_f64();
            self.most_bytes_per_s = self.most_bytes_per_s.max(bytes_per_s);
        }
        if self.waits(&last) >= took && self.waits(&session) > Duration::ZERO {
            self.saturated.0 += took;
            self.saturated.1 += sent;
        }
    }

    /// For how long the link has to send what waits, that which is only on its way left out.
    fn waits(&self, session: &Session) -> Duration {
        let out = self.asked[0];
        let Some(rate) = out.rate_bytes_per_s else {
            return Duration::ZERO;
        };
        let all_us = session.queued_bytes as f64 * 1e6 / rate as f64;
        let travels_us = (out.delay_us + out.jitter_us) as f64;
        Duration::from_micros((all_us - travels_us).max(0.0) as u64)
    }

    /// Whether what was seen is enough: a link that seems to be slow is looked at for longer, for the machine may have been busy.
    fn is_enough(&self, now: Duration) -> bool {
        let is_as_asked = || self.found(now).judge_delay() == Some(Ok(()));
        self.samples >= MOST_SAMPLES || is_as_asked()
    }

    fn found(&self, now: Duration) -> Found {
        Found {
            asked: self.asked,
            since: self.since,
            until: now,
            busy: self.busy,
            samples: self.samples,
            least_us: (self.samples > 0).then_some(self.least_us),
            saturated: self.saturated,
            most_bytes_per_s: self.most_bytes_per_s,
            losses: self.first.zip(self.last).map(|(first, (_, last))| {
                let losses = last.losses.saturating_sub(first.losses);
                (last.segments.saturating_sub(first.segments), losses)
            }),
        }
    }
}

/// So many round trips that one of them was delayed by nothing but the link, all but surely.
fn samples_needed(asked: &[Conditions; 2], busy: bool) -> u32 {
    let passes = |conditions: &Conditions| 1.0 - f64::from(conditions.loss_ppm) / 1e6;
    let hit = 1.0 - passes(&asked[0]) * passes(&asked[1]);
    let needed = ALL_DELAYED.ln() / hit.max(f64::MIN_POSITIVE).ln();
    let least = if busy {
        LEAST_BUSY_SAMPLES
    } else {
        LEAST_SAMPLES
    };
    (needed.ceil() as u32).clamp(least, MOST_SAMPLES)
}

/// What was found of one direction of a link.
#[derive(Clone, Debug)]
struct Found {
    asked: [Conditions; 2],
    since: Duration,
    until: Duration,
    busy: bool,
    samples: u32,
    least_us: Option<u64>,
    saturated: (Duration, u64),
    most_bytes_per_s: f64,
    losses: Option<(u64, u64)>,
}

impl Found {
    /// The least and the most that the least round trip may be, in microseconds.
    fn round_trip_us(&self) -> (f64, f64) {
        let both = |value: fn(&Conditions) -> u64| {
            let [out, back] = &self.asked;
            (value(out) + value(back)) as f64
        };
        let delay_us = both(|conditions| conditions.delay_us);
        // However lucky a ping is, it does not know of less than no jitter; however unlucky, of no more than all of it.
        let jitter_us = both(|conditions| conditions.jitter_us);
        let rates = self.asked.iter().filter_map(|asked| asked.rate_bytes_per_s);
        let sending_us: f64 = rates.map(|rate| PING_BYTES * 1e6 / rate as f64).sum();
        let tolerance = |asked: &Conditions| TOLERANCE_US.max(TOLERANCE * asked.delay_us as f64);
        let tolerance_us: f64 = self.asked.iter().map(tolerance).sum();
        (
            delay_us - tolerance_us,
            delay_us + jitter_us + sending_us + tolerance_us,
        )
    }

    /// Whether the delay is as asked, and why not; nothing where that cannot be told.
    fn judge_delay(&self) -> Option<Result<(), String>> {
        let least_us = self.least_us? as f64;
        if self.samples < samples_needed(&self.asked, self.busy) {
            return None;
        }
        let (low, high) = self.round_trip_us();
        let loses = self.asked.iter().any(|asked| asked.loss_ppm > 0);
        // What waits behind other things, or behind what was lost before it, says nothing against the link.
        let is_delayed = self.busy && (loses || !self.saturated.0.is_zero());
        if (low..=high).contains(&least_us) || (is_delayed && least_us > high) {
            return Some(Ok(()));
        }
        let (low, high, least) = (low / 1e3, high / 1e3, least_us / 1e3);
        Some(Err(format!(
            "the least of {} round trips took {least:.1} ms, asked for are {:.1} to {high:.1} ms",
            self.samples,
            low.max(0.0)
        )))
    }

    /// The same for the rate.
    fn judge_rate(&self) -> Option<Result<(), String>> {
        let asked = self.asked[0].rate_bytes_per_s? as f64;
        let found = self.rate_bytes_per_s()?;
        if (found - asked).abs() <= RATE_TOLERANCE * asked {
            return Some(Ok(()));
        }
        Some(Err(format!(
            "{found:.0} bytes a second went out while more waited, asked for are {asked:.0}"
        )))
    }

    fn rate_bytes_per_s(&self) -> Option<f64> {
        let (time, bytes) = self.saturated;
        (time >= LEAST_SATURATED).then(|| bytes as f64 / time.as_secs_f64())
    }

    fn line(&self, from: usize, to: usize) -> LinkLine {
        let judged: Vec<_> = [self.judge_delay(), self.judge_rate()]
            .into_iter()
            .flatten()
            .collect();
        let mut notes: Vec<String> = judged
            .iter()
            .filter_map(|judged| judged.clone().err())
            .collect();
        if self.judge_delay().is_none() {
            notes.push(format!("too few pings were answered: {}", self.samples));
        }
        if self.asked[0].rate_bytes_per_s.is_some() && self.judge_rate().is_none() {
            notes.push(format!(
                "the rate was not reached, and so not measured: at most {:.0} bytes went out in a second",
                self.most_bytes_per_s
            ));
        }
        let (low_us, high_us) = self.round_trip_us();
        LinkLine {
            from,
            to,
            since_ms: self.since.as_millis() as u64,
            until_ms: self.until.as_millis() as u64,
            configured: super::links::restored(&self.asked[0]),
            round_trip_ms: Some((low_us.max(0.0) / 1e3, high_us / 1e3)),
            measured: Some(Measured {
                round_trip_ms: self.least_us.map(|least_us| least_us as f64 / 1e3),
                samples: self.samples,
                loss: self.losses.and_then(|(segments, losses)| {
                    // Of all that was sent: once, and once more for each loss.
                    (segments > 0).then(|| losses as f64 / (segments + losses) as f64)
                }),
                rate_bytes_per_s: self.rate_bytes_per_s(),
            }),
            holds: (!judged.is_empty()).then(|| judged.iter().all(Result::is_ok)),
            note: notes.join("; "),
        }
    }
}

/// All links of a run.
#[derive(Clone, Debug, Default)]
pub struct Measurements {
    links: BTreeMap<(usize, usize), Watched>,
    /// Whether blocks and transfers travel.
    busy: bool,
    /// The first link that is not as asked.
    wrong: Option<(usize, usize, String)>,
}

impl Measurements {
    /// Takes in what a node says of its sessions, and hands out what was found of links whose conditions have changed. `asked` has
    /// what is done in both directions; links on which nothing is done are not looked at, nor are those that are cut.
    pub fn look(
        &mut self,
        now: Duration,
        from: usize,
        sessions: &[Session],
        asked: impl Fn(usize) -> [Conditions; 2],
    ) -> Vec<LinkLine> {
        let mut lines = Vec::new();
        for session in sessions {
            let to = session.peer;
            let asked = asked(to);
            let same = |watched: &Watched| watched.asked == asked && watched.busy == self.busy;
            if !self.links.get(&(from, to)).is_some_and(same) {
                lines.extend(self.finish(now, from, to));
                if is_measurable(&asked) {
                    let watched = Watched::new(asked, now, self.busy);
                    self.links.insert((from, to), watched);
                }
            }
            if let Some(watched) = self.links.get_mut(&(from, to)) {
                watched.look(now, *session);
            }
        }
        lines
    }

    /// What was found of all links until now. From now on they are busy, or not.
    pub fn finish_all(&mut self, now: Duration, busy: bool) -> Vec<LinkLine> {
        self.busy = busy;
        let links: Vec<_> = self.links.keys().copied().collect();
        let lines = links.into_iter();
        lines
            .filter_map(|(from, to)| self.finish(now, from, to))
            .collect()
    }

    fn finish(&mut self, now: Duration, from: usize, to: usize) -> Option<LinkLine> {
        let watched = self.links.remove(&(from, to))?;
        // Between two changes in a row there is nothing to see.
        if watched.busy && watched.samples == 0 && watched.saturated.0.is_zero() {
            return None;
        }
        let line = watched.found(now).line(from, to);
        if line.holds == Some(false) && self.wrong.is_none() {
            self.wrong = Some((from, to, line.note.clone()));
        }
        Some(line)
    }

    /// The first link that was not as asked.
    pub fn wrong(&self) -> Option<&(usize, usize, String)> {
        self.wrong.as_ref()
    }

    /// How many of these links have been looked at for long enough.
    pub fn measured(&self, now: Duration, links: &[(usize, usize)]) -> usize {
        let enough = |link: &&(usize, usize)| {
            let watched = self.links.get(link);
            watched.is_some_and(|watched| watched.is_enough(now))
        };
        links.iter().filter(enough).count()
    }
}

/// Whether something is done to what goes there and back, and it arrives.
pub fn is_measurable(asked: &[Conditions; 2]) -> bool {
    let passes = asked.iter().all(|asked| asked.cut.is_none());
    passes && asked.iter().any(|asked| !asked.are_clear())
}

#[cfg(test)]
mod tests;
