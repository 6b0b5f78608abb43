//! When the effect of a cut, and of its end, is seen: by pings that wait to be sent, and by pings that are answered.

use std::collections::BTreeMap;
use std::time::Duration;

use triskel::sim::watch::Session;

/// Whether it is cut or healed that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing arrives any more.
    Cut,
    /// Pings are answered again.
    Healed,
}

/// After so long nothing will be seen: nodes that lost each other may have no reason to meet again.
const PATIENCE: Duration = Duration::from_secs(10);

/// For so long beside its delay a ping must have waited to be taken for held back.
const HELD: Duration = Duration::from_millis(5);

/// Waits for the effect of one fault on all links that it concerns.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The fault.
    pub fault: usize,
    /// What is waited for.
    pub effect: Effect,
    /// Since when, by the network's clock.
    pub since: Duration,
    /// What was seen of each link, by sender and receiver.
    links: BTreeMap<(usize, usize), Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    /// What is on its way longest, or what was answered first.
    first: Option<(Duration, u64)>,
    at: Option<Duration>,
}

/// What a probe has found, once it is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// From the order until it was seen on the last of these links; absent if it was seen on none.
    pub took: Option<Duration>,
    /// On how many links it was seen.
    pub links: usize,
    /// On how many it was not: who lost each other may have met others meanwhile.
    pub unseen: usize,
}

impl Probe {
    /// Waits for an effect on these links.
    pub fn new(
        fault: usize,
        effect: Effect,
        since: Duration,
        links: impl IntoIterator<Item = (usize, usize)>,
    ) -> Self {
        let links = links.into_iter().map(|link| (link, Seen::default()));
        Self {
            fault,
            effect,
            since,
            links: links.collect(),
        }
    }

    /// Whether it waits for what this node says.
    pub fn concerns(&self, from: usize) -> bool {
        self.links.keys().any(|link| link.0 == from)
    }

    /// Takes in what a node says of its sessions, who has been told to send pings before. `travels` is how long what it sends to a
    /// node takes at most.
    pub fn look(
        &mut self,
        now: Duration,
        from: usize,
        sessions: &[Session],
        travels: impl Fn(usize) -> Duration,
    ) {
        let effect = self.effect;
        let links = self.links.iter_mut();
        for ((_, to), seen) in links.filter(|(link, seen)| link.0 == from && seen.at.is_none()) {
            let session = sessions.iter().find(|session| session.peer == *to);
            let is_seen = match effect {
                Effect::Cut => seen.holds_back(now, session, travels(*to)),
                Effect::Healed => seen.answers(now, session),
            };
            seen.at = is_seen.then_some(now);
        }
    }

    /// What was found, once all links show the effect or patience is at its end.
    ///
    /// A ping tells of both directions: one that was on its way when the cut began is held back as its answer, at the other end.
    pub fn sight(&self, now: Duration) -> Option<Sight> {
        let at = |from, to| self.links.get(&(from, to)).and_then(|seen| seen.at);
        let links = self.links.keys();
        let seen: Vec<Duration> = links
            .filter_map(|&(from, to)| at(from, to).into_iter().chain(at(to, from)).min())
            .collect();
        let unseen = self.links.len() - seen.len();
        let is_over = unseen == 0 || now >= self.since + PATIENCE;
        is_over.then(|| Sight {
            took: seen
                .iter()
                .max()
                .map(|last| last.saturating_sub(self.since)),
            links: seen.len(),
            unseen,
        })
    }
}

impl Seen {
    fn holds_back(&mut self, now: Duration, session: Option<&Session>, travels: Duration) -> bool {
        let Some(session) = session else {
            return true;
        };
        if session.queued_bytes == 0 {
            self.first = None;
            return false;
        }
        match self.first {
            Some((since, sent)) if sent == session.sent_bytes => now >= since + travels + HELD,
            _ => {
                self.first = Some((now, session.sent_bytes));
                false
            }
        }
    }

    fn answers(&mut self, now: Duration, session: Option<&Session>) -> bool {
        let Some(session) = session else {
            // Whoever meets anew is asked anew.
            self.first = Some((now, 0));
            return false;
        };
        let answered = session.round_trip.map_or(0, |trip| trip.count);
        match self.first {
            Some((_, before)) => answered > before,
            None => {
                self.first = Some((now, answered));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triskel::protocol::link::RoundTrip;

    fn session(sent_bytes: u64, queued_bytes: u64, count: u64) -> Session {
        Session {
            peer: 1,
            round_trip: Some(RoundTrip {
                count,
                ..RoundTrip::default()
            }),
            sent_bytes,
            queued_bytes,
            segments: 0,
            losses: 0,
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_cut_is_seen_when_what_waits_is_not_sent() {
        let mut probe = Probe::new(0, Effect::Cut, ms(100), [(0, 1)]);
        let mut look = |at, session| probe.look(ms(at), 0, &[session], |_| ms(20));
        look(110, session(50, 0, 1));
        look(120, session(50, 30, 1));
        // It was only on its way.
        look(150, session(80, 30, 1));
        look(170, session(80, 30, 1));
        assert_eq!(probe.sight(ms(170)), None);
        probe.look(ms(180), 0, &[session(80, 60, 1)], |_| ms(20));
        let sight = probe.sight(ms(300)).unwrap();
        assert_eq!((sight.took, sight.links), (Some(ms(80)), 1));
    }

    #[test]
    fn an_end_is_seen_when_a_ping_is_answered_in_an_old_session_or_a_new_one() {
        let mut probe = Probe::new(0, Effect::Healed, ms(0), [(0, 1)]);
        probe.look(ms(10), 0, &[session(0, 0, 7)], |_| ms(0));
        probe.look(ms(20), 0, &[session(0, 0, 7)], |_| ms(0));
        assert_eq!(probe.sight(ms(20)), None);
        probe.look(ms(30), 0, &[], |_| ms(0));
        probe.look(ms(40), 0, &[session(0, 0, 1)], |_| ms(0));
        assert_eq!(probe.sight(ms(40)).unwrap().took, Some(ms(40)));
        let never = Probe::new(0, Effect::Healed, ms(0), [(0, 1)]);
        let sight = never.sight(ms(10_000)).unwrap();
        assert_eq!((sight.took, sight.unseen), (None, 1));
    }
}
