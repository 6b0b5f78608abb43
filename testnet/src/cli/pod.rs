//! The command line of what goes on in a pod of Kubernetes. It is the backend's, not a person's, and so not shown.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What to do in a pod.
#[derive(Clone, Debug, Args)]
pub struct PodOptions {
    /// What
    #[command(subcommand)]
    pub command: PodCommand,
}

/// What is done in a pod.
#[derive(Clone, Debug, Subcommand)]
pub enum PodCommand {
    /// Copies this program to where the node's container finds it
    Prepare {
        /// The directory
        directory: PathBuf,
    },
    /// Starts the node, once, and ends as it does
    Start(StartOptions),
    /// Sends a signal to the node
    Signal {
        /// Which
        signal: PodSignal,
    },
}

/// How a node is started.
#[derive(Clone, Debug, Args)]
pub struct StartOptions {
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// A file that the node is to find there; may be repeated
    #[arg(long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PodSignal {
    /// SIGKILL
    Kill,
    /// SIGSTOP
    Pause,
    /// SIGCONT
    Continue,
}

impl PodSignal {
    /// Its name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Continue => "continue",
        }
    }
}
