//! Which blocks count, and in which order: GHOSTDAG (Sompolinsky, Wyborski, Zohar: "PHANTOM GHOSTDAG", 2021).
//!
//! Blocks that were found while one was on its way to the other have neither in the other's past. A chain would lose all but one
//! of them; here a later block names several parents and so merges them.
//!
//! * A block **continues** the parent with the most work in its past, its selected parent, and **merges** the rest of its past: the
//!   merge set. Following selected parents from any block gives its chain.
//! * A merged block is **blue** as long as no blue block has more than k blue blocks in its anticone (those that are neither in its
//!   past nor in its future): as many as honest miners produce within the network's delay. Whoever keeps blocks back exceeds that,
//!   and they turn **red**. Only blue work decides which parent is selected.
//! * The **order** of a block's past is that of its selected parent's past, the selected parent, and then the merge set, by work
//!   and then by id.
//!
//! With one parent, merge sets are empty and the selected chain is the heaviest chain: one rule, two presets.
//!
//! [`dag`] holds what is young enough to change, [`colouring`] is the rule, [`selection`] chooses what the next block names as
//! parents, [`route`] is the way from one order to another.

pub mod colouring;
pub mod dag;
pub mod route;
mod selected_chain;
pub mod selection;

use bincode::{Decode, Encode};

use super::id::BlockId;

/// What GHOSTDAG says of a block in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Colour {
    /// It is in the selected chain, and blue.
    Chain,
    /// It was merged, and is well connected.
    Blue,
    /// It was merged, and too many blue blocks have never seen it, nor it them.
    Red,
}

/// A place in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ordered {
    /// The block.
    pub id: BlockId,
    /// What it counts as.
    pub colour: Colour,
}

/// How seldom, among honest blocks, an anticone larger than k may be.
const ANTICONE_TAIL: f64 = 0.01;

/// The largest k: a thousand parallel blocks are no network.
pub const MAX_K: u16 = 1_000;

/// The least k for which an honest block has more than k blocks in its anticone with a probability below 1 %.
///
/// Blocks come by a Poisson process. Those of the anticone were found while the block was not known, at most one delay before it
/// and one after: `x = 2 * delay * rate` are expected, and `1 - sum of e^-x * x^i / i! for i in 0..=k` is the probability of more
/// than k (PHANTOM GHOSTDAG, section 4.2).
pub fn k_for(blocks_per_second: f64, delay_ms: u64) -> u16 {
    let expected = 2.0 * delay_ms as f64 / 1_000.0 * blocks_per_second;
    let is_enough = |k: &u16| anticone_exceeds(expected, *k) < ANTICONE_TAIL;
    (0..MAX_K).find(is_enough).unwrap_or(MAX_K)
}

/// The probability that a block has more than k blocks in its anticone, when so many are expected.
pub fn anticone_exceeds(expected: f64, k: u16) -> f64 {
    // In logarithms: e^-x vanishes where x is large.
    let mut log_term = -expected;
    let mut below = log_term.exp();
    for count in 1..=k {
        log_term += (expected / f64::from(count)).ln();
        below += log_term.exp();
    }
    1.0 - below
}
