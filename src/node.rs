//! Layer 2: the machine driven by tokio, with sockets, a disk, a clock, and an HTTP interface.

pub mod announce;
pub mod cli;
pub mod coins;
pub mod config;
pub mod error;
pub mod identity;
pub mod telemetry;

pub use config::NodeConfig;
pub use error::NodeError;
