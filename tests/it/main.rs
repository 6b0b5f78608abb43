//! The integration tests: one crate, one module a subject.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod bits;
mod chain;
mod codec;
mod crash;
mod examples;
mod frames;
mod ledger;
mod memory;
mod mempool;
mod metrics;
mod node;
mod refusals;
mod rpc;
mod spec;
mod store;
mod tidy;
mod vectors;
