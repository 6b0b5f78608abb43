//! Why a node ends, what its user can do, and the code with which the program exits.

use std::io;
use std::net::SocketAddr;

use crate::protocol::chain::view::Fault;

use super::config::ConfigError;
use super::identity::IdentityError;
use super::links::LinksError;
use super::noise::NoiseError;
use super::store::StoreError;

/// Why a node did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node has no key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A port cannot be listened on.
    #[error(
        "cannot listen on {address} for {what}: {source}; {}",
        advice(source, what)
    )]
    Listen {
        /// For whom: `peers`, `rpc` or `metrics`.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// What is to be done to the node's links is not known.
    #[error(transparent)]
    Links(#[from] LinksError),
    /// Connections cannot be secured.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk or the system failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The store failed while the node ran.
    #[error(
        "the store failed, the node cannot go on: {0}; \
         what was acknowledged is on disk, start it again"
    )]
    Fault(#[from] Fault),
}

impl NodeError {
    /// The code with which the program exits.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Identity(_) | Self::Io { .. } | Self::Fault(_) => exit::FAILURE,
            Self::Links(LinksError::Io { .. }) => exit::FAILURE,
            Self::Config(_) | Self::Links(LinksError::Damaged { .. }) => exit::USAGE,
            Self::Noise(error) => error.exit_code(),
            Self::Listen { .. } => exit::LISTEN,
            Self::Store(error) => error.exit_code(),
        }
    }
}

impl NoiseError {
    /// The code with which the program exits.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. } | Self::Damaged(_) => exit::USAGE,
            Self::Entropy(_) => exit::FAILURE,
        }
    }
}

impl StoreError {
    /// The code with which the program exits.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Locked { .. } => exit::LOCKED,
            Self::OtherNetwork { .. } | Self::Version { .. } => exit::OTHER_DATA,
            Self::Damaged { .. } => exit::DAMAGED,
            Self::Io { .. } => exit::FAILURE,
        }
    }
}

/// Exit codes. They are part of the interface: scripts and orchestrators tell cases apart by them.
pub mod exit {
    /// All went well.
    pub const SUCCESS: u8 = 0;
    /// The node, or what it was asked for, failed.
    pub const FAILURE: u8 = 1;
    /// The command line or the configuration is wrong.
    pub const USAGE: u8 = 2;
    /// A port is in use or cannot be listened on.
    pub const LISTEN: u8 = 3;
    /// Another process uses the store.
    pub const LOCKED: u8 = 4;
    /// The store is of another network or an unknown format.
    pub const OTHER_DATA: u8 = 5;
    /// The store is damaged.
    pub const DAMAGED: u8 = 6;
}

fn advice(error: &io::Error, what: &str) -> String {
    let flag = match what {
        "rpc" => "--rpc-port",
        "metrics" => "--metrics-port",
        _ => "--port",
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "another program uses the port: stop it, \
                 or choose another with {flag} (0 takes any free one)"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("this user may not: choose a port from 1024 with {flag}")
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: see `listen` in `node config`".to_owned()
        }
        _ => format!("choose another port with {flag}"),
    }
}
