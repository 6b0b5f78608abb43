//! The integration tests: one crate, one module a subject.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the bans are the protocol's"
)]

mod cli;
mod config;
mod identity;
mod logs;
