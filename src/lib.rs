//! Triskel: a proof-of-work block network of three streams.
pub mod protocol;
#[cfg(feature = "rpc")]
pub mod rpc;
