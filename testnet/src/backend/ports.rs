//! Ports for nodes, such that runs at the same time do not take those of each other.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use serde::{Deserialize, Serialize};

use super::BackendError;

/// Ports to choose from: below those that Linux (from 32768), macOS and Windows (from 49152) give to outgoing
/// connections, which otherwise take a chosen port now and then before its node listens on it.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 31_999;

/// The TCP ports of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ports {
    /// For peers.
    pub(super) peers: u16,
    /// Of the control interface.
    pub(super) rpc: u16,
}

/// The ports of a node, on which nobody else can listen while this lives.
pub(super) struct Held {
    peers: Reserved,
    rpc: Reserved,
}

/// A port on which nobody else can listen while this lives.
pub(super) struct Reserved {
    /// Its number.
    pub(super) port: u16,
    _listener: TcpListener,
}

impl Held {
    /// Takes those of so many nodes, but none that is avoided.
    pub(super) fn take(
        nodes: usize,
        avoided: Option<&BTreeSet<u16>>,
    ) -> Result<Vec<Self>, BackendError> {
        let mut free = free_ports(2 * nodes, avoided)?.into_iter();
        let mut held = Vec::new();
        while let (Some(peers), Some(rpc)) = (free.next(), free.next()) {
            held.push(Self { peers, rpc });
        }
        Ok(held)
    }

    /// Which they are.
    pub(super) fn ports(&self) -> Ports {
        Ports {
            peers: self.peers.port,
            rpc: self.rpc.port,
        }
    }
}

impl Ports {
    /// Whether nobody listens on them.
    pub(super) fn are_free(self) -> bool {
        is_free(self.peers) && is_free(self.rpc)
    }
}

/// Whether nobody listens on a port.
pub(super) fn is_free(port: u16) -> bool {
    reserve(port).is_some()
}

fn reserve(port: u16) -> Option<Reserved> {
    let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    Some(Reserved { port, _listener })
}

/// So many of them, but none that is avoided.
pub(super) fn free_ports(
    count: usize,
    avoided: Option<&BTreeSet<u16>>,
) -> Result<Vec<Reserved>, BackendError> {
    let range = usize::from(LAST_PORT - FIRST_PORT) + 1;
    // Runs that start at the same time begin to look at different ports.
    let first = getrandom::u32().unwrap_or_default() as usize % range;
    let candidates = (0..range).map(|step| FIRST_PORT + ((first + step) % range) as u16);
    let allowed = |port: &u16| avoided.is_none_or(|avoided| !avoided.contains(port));
    let free = candidates.filter(allowed).filter_map(reserve);
    let ports: Vec<_> = free.take(count).collect();
    match ports.len() == count {
        true => Ok(ports),
        false => Err(BackendError(format!(
            "{count} free ports are needed from {FIRST_PORT} to \
             {LAST_PORT}, {} are",
            ports.len()
        ))),
    }
}

/// How many ports can be listened on now, of those from which nodes get theirs.
pub(crate) fn free_count() -> usize {
    (FIRST_PORT..=LAST_PORT).filter_map(reserve).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_at_once_get_different_ports() {
        let (left, right) = (
            free_ports(100, None).unwrap(),
            free_ports(100, None).unwrap(),
        );
        let mut ports: Vec<_> = left.iter().chain(&right).map(|held| held.port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
    }

    #[test]
    fn ports_to_which_others_come_back_are_not_taken() {
        let avoided: BTreeSet<_> = (FIRST_PORT..=LAST_PORT - 2_000).collect();
        let held = free_ports(100, Some(&avoided)).unwrap();
        assert!(held.iter().all(|held| !avoided.contains(&held.port)));
        let all = (FIRST_PORT..=LAST_PORT).collect();
        let error = free_ports(1, Some(&all)).err().unwrap();
        assert!(error.0.contains("0 are"), "{error}");
    }
}
