//! The verdict's terms: how long steps may take, what must hold all the time, and what statistics must say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::range::{optional_part, optional_within, within};
use super::span::Span;

/// The verdict's terms. In the end all honest nodes that run must agree on number, tip, order and state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// From the start of the first node until all answer and have a peer.
    pub start_within: Span,
    /// From the start of mining until every honest node has the blocks and the transfers. If absent: two minutes, or twice what the
    /// streams' intervals need where that is more, and `duration` beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks_within: Option<Span>,
    /// Time to convergence: from the end of mining, when the last fault has healed, until all agree.
    pub convergence_within: Span,
    /// Blocks by which each honest node that runs must grow after the last fault has ended, before agreement counts: what was true
    /// before a fault proves nothing after it.
    #[serde(deserialize_with = "within::<_, 0, 1_000_000>")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub fresh_blocks: u64,
    /// What must hold all the time.
    #[serde(skip_serializing_if = "Invariants::is_unset")]
    pub invariants: Invariants,
    /// What must hold of mining as a whole.
    #[serde(skip_serializing_if = "Statistics::is_unset")]
    pub statistics: Statistics,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            start_within: Span::from_ms(60_000),
            blocks_within: None,
            convergence_within: Span::from_ms(60_000),
            fresh_blocks: 1,
            invariants: Invariants::default(),
            statistics: Statistics::default(),
        }
    }
}

/// What must hold all the time on honest nodes. What is absent is looked at wherever the backend can; what is true must be, and a
/// backend that cannot look is refused; what is false may be violated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Invariants {
    /// No node panics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_panic: Option<bool>,
    /// No node ends or starts but by a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_unexpected_restart: Option<bool>,
    /// All balances together are what genesis and the blocks have given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supply: Option<bool>,
    /// No node orders a block that breaks a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_invalid_block: Option<bool>,
    /// No honest node ends a session with an honest one for a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_honest_penalty: Option<bool>,
    /// The most memory that a node may have, in MiB.
    #[serde(
        deserialize_with = "optional_within::<_, 1, 1_000_000>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub memory_mib: Option<u64>,
    /// The most files and sockets that a node may have open.
    #[serde(
        deserialize_with = "optional_within::<_, 1, 1_000_000>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub descriptors: Option<u64>,
}

/// What must hold of mining as a whole. What is absent is reported, not judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Statistics {
    /// The least p-value, 0 to 1, at which each stream's intervals pass for exponential (Kolmogorov and Smirnov). A true null falls
    /// below p in a part p of all runs: 0.001 is one in a thousand.
    #[serde(
        deserialize_with = "optional_part",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 1))]
    pub interval_p_value: Option<f64>,
    /// How far the part of red blocks may lie from what delay and rate let expect, 0 to 1.
    #[serde(
        deserialize_with = "optional_part",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 1))]
    pub red_rate_error: Option<f64>,
    /// How far the part of stale blocks may lie from what delay and rate let expect, 0 to 1.
    #[serde(
        deserialize_with = "optional_part",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 1))]
    pub stale_rate_error: Option<f64>,
    /// The most blocks that one reorganisation may undo.
    #[serde(
        deserialize_with = "optional_within::<_, 0, 1_000_000>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub reorganisation_depth: Option<u64>,
    /// How far each group's part of the revenue may lie from its part of the hash rate, 0 to 1; who breaks the rules may earn less.
    #[serde(
        deserialize_with = "optional_part",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 0, max = 1))]
    pub revenue_error: Option<f64>,
}

impl Invariants {
    /// Those that a backend must be able to look at.
    pub fn demanded(&self) -> Vec<&'static str> {
        let demanded = |wanted: Option<bool>, name| (wanted == Some(true)).then_some(name);
        let bounded = |bound: Option<u64>, name| bound.map(|_| name);
        let all = [
            demanded(self.no_panic, "no_panic"),
            demanded(self.no_unexpected_restart, "no_unexpected_restart"),
            demanded(self.supply, "supply"),
            demanded(self.no_invalid_block, "no_invalid_block"),
            demanded(self.no_honest_penalty, "no_honest_penalty"),
            bounded(self.memory_mib, "memory_mib"),
            bounded(self.descriptors, "descriptors"),
        ];
        all.into_iter().flatten().collect()
    }

    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

impl Statistics {
    /// Those that are judged.
    pub fn demanded(&self) -> Vec<&'static str> {
        let all = [
            self.interval_p_value.map(|_| "interval_p_value"),
            self.red_rate_error.map(|_| "red_rate_error"),
            self.stale_rate_error.map(|_| "stale_rate_error"),
            self.reorganisation_depth.map(|_| "reorganisation_depth"),
            self.revenue_error.map(|_| "revenue_error"),
        ];
        all.into_iter().flatten().collect()
    }

    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}
