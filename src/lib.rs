//! Triskel: a proof-of-work block network of three streams.
#[cfg(feature = "node")]
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this layer is where I/O happens"
)]
pub mod node;
pub mod protocol;
#[cfg(feature = "rpc")]
pub mod rpc;
