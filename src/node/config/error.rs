//! What can be wrong with a configuration.

use std::path::PathBuf;

use crate::protocol::chain::address::AddressError;
use crate::protocol::chain::params::ParamsError;

/// A configuration that no node starts with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration file {}: {source}; check the path given with --config",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A place in the file is wrong.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong.
        problem: Problem,
    },
    /// An environment variable is wrong.
    #[error("environment variable {variable}: {problem}")]
    Environment {
        /// The variable.
        variable: String,
        /// What is wrong.
        problem: Problem,
    },
    /// A flag is wrong.
    #[error("{flag}: {problem}")]
    Flag {
        /// The flag, as `--port`.
        flag: String,
        /// What is wrong.
        problem: Problem,
    },
    /// A value does not go with the others.
    #[error("`{key}` is {value}, allowed is {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        allowed: String,
    },
    /// The network cannot be.
    #[error("[network]: {0}")]
    Network(#[from] ParamsError),
    /// The network goes without proof of work.
    #[error(
        "network.streams: the algorithm `none` is for the simulator alone; \
         use sha256d, blake3 or sha3"
    )]
    Simulated,
    /// The address is none.
    #[error("`mining.address`: {0}")]
    Address(#[from] AddressError),
    /// The layers do not fit together.
    #[error("configuration: {0}")]
    Layers(#[from] config::ConfigError),
}

/// What is wrong at one place of one layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not TOML, or not what the key wants; the words are those of the reader.
    #[error("{0}")]
    Syntax(String),
    /// No such key.
    #[error("unknown key `{key}`, allowed is {allowed}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The keys that stand beside it.
        allowed: String,
    },
    /// The key cannot be this.
    #[error("`{key}` is {found}, allowed is {allowed}")]
    Value {
        /// The key.
        key: String,
        /// What was found.
        found: String,
        /// What would be right.
        allowed: String,
    },
}

impl ConfigError {
    pub(super) fn ensure(
        holds: bool,
        key: &'static str,
        value: impl ToString,
        allowed: String,
    ) -> Result<(), Self> {
        if holds {
            return Ok(());
        }
        Err(Self::Value {
            key,
            value: value.to_string(),
            allowed,
        })
    }
}
