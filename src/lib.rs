//! Triskel: a proof-of-work block network of three streams.
#[cfg(feature = "rpc")]
pub mod rpc;
pub mod protocol;
