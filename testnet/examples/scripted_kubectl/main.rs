//! The least cluster that `testnet` can drive: `kubectl`, as far as the backend `kubernetes` calls it, and behind it what a cluster
//! does by itself. A context is a directory of this machine, an image a directory of programs, a pod some processes on a loopback
//! address of its own.
//!
//! Objects are read by the types of the Kubernetes API, and what those do not know is refused, as are changes that a cluster
//! refuses. Sets make and take away their pods; each pod has a kubelet that prepares it, starts again what ends, and ends it when
//! it is to go. Whoever removes the directory ends everything.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the bans are for the protocol; this is a program"
)]

#[cfg(unix)]
mod kubelet;
#[cfg(unix)]
mod store;
#[cfg(unix)]
mod verbs;

use std::process::ExitCode;

/// Whatever went wrong, for people.
#[cfg(unix)]
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[cfg(unix)]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    verbs::perform(&arguments).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("error: pods have addresses of loopback, of which there are many on Linux alone");
    ExitCode::FAILURE
}
