//! Layer 1: the protocol, pure. No I/O, clock, entropy, threads or iteration in the order of hashes.
//!
//! Rows, of which each may use only rows above it: values (`time`, `rng`, `table`, `endpoint`, `link`), `chain`, `mempool`, `wire`,
//! `machine`.

pub mod bugs;
pub mod chain;
pub mod endpoint;
pub mod link;
pub mod machine;
pub mod mempool;
pub mod rng;
pub(crate) mod table;
pub mod time;
pub mod wire;
