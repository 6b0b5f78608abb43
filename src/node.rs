//! Layer 2: the machine driven by tokio, with sockets, a disk, a clock, and an HTTP interface.

pub mod config;

pub use config::NodeConfig;
