//! The integration tests: one crate, one module a subject.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the bans are the protocol's"
)]

mod adversaries;
mod adversary;
mod announce;
mod attacks;
mod bits;
mod ceilings;
mod chain;
mod cli;
mod codec;
mod conditions;
mod config;
mod corpus;
mod crash;
mod drawing;
mod examples;
mod frames;
mod ghostdag;
mod identity;
mod ledger;
mod link;
mod logs;
mod memory;
mod mempool;
mod metrics;
mod node;
mod noise;
mod pace;
mod params;
mod partitions;
mod peers;
mod refusals;
mod relay;
mod rpc;
mod sim;
mod snapshot;
mod spec;
mod stage;
mod store;
mod sync;
mod tidy;
mod vectors;
mod withholding;
mod world;
