//! Triskel: a proof-of-work block network of three streams.
//!
//! Layers, each of which may use only those above it, and the features that they are behind:
//!
//! 1. [`protocol`], always: pure. What a node decides, as a state machine without a world.
//! 2. `rpc`: the words of the control interface, and a client for them.
//! 3. `adversary`: wrappers around the machine that break the rules, to see that the others bear it.
//! 4. `node`: the machine driven by tokio. `sim`: the machine driven by virtual time. Neither knows the other, and of adversaries
//!    `node` knows nothing.

pub mod protocol;

#[cfg(feature = "adversary")]
pub mod adversary;

#[cfg(feature = "rpc")]
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a client does I/O"
)]
pub mod rpc;

#[cfg(feature = "node")]
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this layer is where I/O happens"
)]
pub mod node;

#[cfg(feature = "sim")]
pub mod sim;
