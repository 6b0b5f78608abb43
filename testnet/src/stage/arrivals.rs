//! When the transfers of an open loop arrive, and what each moves and pays: a function of the scenario and its seed alone.

use std::time::Duration;

use triskel::protocol::rng::Rng;

use crate::scenario::{Arrivals, Distribution, Load};

/// Apart from what else is drawn from a scenario's seed.
const LOAD_SEED: u64 = 0x6c6f_6164;

/// A transfer that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, counted from the start of mining.
    pub due: Duration,
    /// Which of the source's senders pays it.
    pub sender: usize,
    /// What it moves, in units.
    pub amount: u64,
    /// What it pays, in units.
    pub fee: u64,
}

/// The arrivals of a source of load, in the order of time. They have no end if the source has none.
#[derive(Clone, Debug)]
pub struct Source {
    load: Load,
    rng: Rng,
    /// Arrivals so far.
    count: u64,
    /// Seconds from the source's first moment to the last arrival.
    elapsed_s: f64,
}

impl Source {
    /// The arrivals of the source of an index.
    pub fn new(load: Load, index: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ LOAD_SEED);
        for _ in 0..index {
            rng.next_u64();
        }
        Self {
            rng: rng.fork(),
            load,
            count: 0,
            elapsed_s: 0.0,
        }
    }

    /// From the source's first moment to its next arrival; `None` if that is later than can be counted.
    fn next_moment(&mut self) -> Option<Duration> {
        let count = self.count as f64;
        self.elapsed_s = match self.load.arrivals {
            Arrivals::Constant(rate) => count / rate,
            Arrivals::Poisson(rate) => self.elapsed_s + exponential(&mut self.rng) / rate,
            Arrivals::Burst { size, every } => (self.count / size) as f64 * every.as_seconds(),
        };
        Duration::try_from_secs_f64(self.elapsed_s).ok()
    }
}

impl Iterator for Source {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let moment = self.next_moment()?;
        let lasts = self.load.lasts.map(|lasts| lasts.as_duration());
        if lasts.is_some_and(|lasts| moment >= lasts) {
            return None;
        }
        let sender = (self.count % self.load.senders) as usize;
        self.count += 1;
        Some(Arrival {
            due: moment.checked_add(self.load.after.as_duration())?,
            sender,
            amount: draw(self.load.amount, &mut self.rng),
            fee: draw(self.load.fee, &mut self.rng),
        })
    }
}

/// Of mean 1.
fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.fraction()).ln()
}

fn draw(distribution: Distribution, rng: &mut Rng) -> u64 {
    match distribution {
        Distribution::Fixed(units) => units,
        Distribution::Uniform { least, most } => least + rng.below(most - least + 1),
        // Rounded up: nothing is moved by a transfer of nothing, and a fee of nothing is refused.
        Distribution::Exponential { mean } => {
            (exponential(rng) * mean as f64).ceil().max(1.0) as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Span;

    fn due_ms(load: Load) -> Vec<u128> {
        let arrivals = Source::new(load, 0, 7);
        arrivals.map(|arrival| arrival.due.as_millis()).collect()
    }

    fn span(text: &str) -> Span {
        text.parse().unwrap()
    }

    #[test]
    fn constant_arrivals_are_even_and_end() {
        let load = Load {
            after: span("1s"),
            ..Load::new(Arrivals::Constant(4.0)).lasting(span("1s"))
        };
        assert_eq!(due_ms(load), [1_000, 1_250, 1_500, 1_750]);
    }

    #[test]
    fn a_burst_is_due_at_once() {
        let every = span("5s");
        let load = Load::new(Arrivals::Burst { size: 2, every }).lasting(span("11s"));
        assert_eq!(due_ms(load), [0, 0, 5_000, 5_000, 10_000, 10_000]);
    }

    #[test]
    fn arrivals_by_chance_are_as_many_as_their_rate_says_and_follow_from_the_seed() {
        let load = Load::new(Arrivals::Poisson(50.0)).lasting(span("200s"));
        let times = due_ms(load.clone());
        // 10,000 are expected, and 100 are their standard deviation.
        assert!((9_600..10_400).contains(&times.len()), "{}", times.len());
        assert_eq!(times, due_ms(load.clone()));
        let first = |index, seed| Source::new(load.clone(), index, seed).next().unwrap();
        assert_ne!(first(0, 7), first(0, 8));
        assert_ne!(first(0, 7), first(1, 7));
    }

    #[test]
    fn amounts_and_fees_follow_their_distributions() {
        let load = Load {
            amount: Distribution::Uniform { least: 5, most: 9 },
            fee: Distribution::Exponential { mean: 20 },
            senders: 3,
            ..Load::new(Arrivals::Constant(10.0))
        };
        let all: Vec<_> = Source::new(load, 0, 7).take(10_000).collect();
        assert!(all.iter().all(|arrival| (5..=9).contains(&arrival.amount)));
        assert!((5..=9).all(|units| all.iter().any(|arrival| arrival.amount == units)));
        let mean = all.iter().map(|arrival| arrival.fee as f64).sum::<f64>() / 10_000.0;
        // Rounding up adds a half.
        assert!((19.5..21.5).contains(&mean), "{mean}");
        assert!(all.iter().all(|arrival| arrival.fee > 0));
        assert_eq!(all[4].sender, 1);
    }
}
