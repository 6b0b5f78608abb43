//! Load: transfers that are handed in at times of their own, whether or not earlier ones were answered (an open loop).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::range::{up_to_a_million, within};
use super::span::Span;
use super::who::Who;

/// A source of transfers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// When transfers arrive.
    pub arrivals: Arrivals,
    /// From the start of mining until the first.
    #[serde(default, skip_serializing_if = "Span::is_zero")]
    pub after: Span,
    /// How long they arrive; as long as the nodes mine if absent.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
    /// The nodes that they are handed to, in turn.
    #[serde(default)]
    pub who: Who,
    /// Accounts that send them, in turn; 1 to 10,000.
    #[serde(default = "ten", deserialize_with = "within::<_, 1, 10_000>")]
    #[schemars(range(min = 1, max = 10_000))]
    pub senders: u64,
    /// What each moves, in units.
    #[serde(default = "Distribution::amount")]
    pub amount: Distribution,
    /// What each pays, in units.
    #[serde(default = "Distribution::fee")]
    pub fee: Distribution,
}

fn ten() -> u64 {
    10
}

/// When transfers arrive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Arrivals {
    /// So many a second, evenly.
    Constant(#[serde(deserialize_with = "up_to_a_million")] f64),
    /// So many a second on average, independent of each other.
    Poisson(#[serde(deserialize_with = "up_to_a_million")] f64),
    /// Many at once, again and again.
    Burst {
        /// Transfers at once, 1 to 1,000,000.
        #[serde(deserialize_with = "within::<_, 1, 1_000_000>")]
        #[schemars(range(min = 1, max = 1_000_000))]
        size: u64,
        /// From one burst to the next.
        every: Span,
    },
}

/// A number of units, drawn for each transfer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Distribution {
    /// Always the same.
    Fixed(#[serde(deserialize_with = "within::<_, 0, 1_000_000_000_000>")] u64),
    /// Any from the least to the most, evenly.
    Uniform {
        /// The least.
        #[serde(deserialize_with = "within::<_, 0, 1_000_000_000_000>")]
        least: u64,
        /// The most.
        #[serde(deserialize_with = "within::<_, 0, 1_000_000_000_000>")]
        most: u64,
    },
    /// Exponential: most are small.
    Exponential {
        /// Their mean.
        #[serde(deserialize_with = "within::<_, 1, 1_000_000_000_000>")]
        mean: u64,
    },
}

impl Distribution {
    const fn amount() -> Self {
        Self::Fixed(1_000)
    }

    const fn fee() -> Self {
        Self::Fixed(10)
    }
}

impl Load {
    /// Transfers that arrive like this, handed to all nodes, by ten senders.
    pub fn new(arrivals: Arrivals) -> Self {
        Self {
            arrivals,
            after: Span::ZERO,
            lasts: None,
            who: Who::All,
            senders: ten(),
            amount: Distribution::amount(),
            fee: Distribution::fee(),
        }
    }

    /// For so long.
    pub fn lasting(self, span: Span) -> Self {
        let lasts = Some(span);
        Self { lasts, ..self }
    }

    pub(super) fn check(&self, key: &str) -> Result<(), Problem> {
        let zero = match self.arrivals {
            Arrivals::Constant(rate) if rate <= 0.0 => Some("constant"),
            Arrivals::Poisson(rate) if rate <= 0.0 => Some("poisson"),
            Arrivals::Burst { every, .. } if every.is_zero() => Some("burst.every"),
            _ => None,
        };
        if let Some(name) = zero {
            let message = "0 is not allowed here, more is";
            return Err(Problem::new(format!("{key}.arrivals.{name}"), message));
        }
        for (name, distribution) in [("amount", self.amount), ("fee", self.fee)] {
            if let Distribution::Uniform { least, most } = distribution
                && least > most
            {
                let message = format!("{most} is less than `least`, {least}");
                return Err(Problem::new(format!("{key}.{name}.uniform.most"), message));
            }
        }
        Ok(())
    }
}
