//! Network groups: ranges of addresses that one party gets as cheaply as one address. What is counted by group is not won by
//! having many addresses.

use std::net::{IpAddr, SocketAddr};

use crate::protocol::endpoint::Endpoint;

/// A network group, as bytes: what kind it is, and which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group(pub(super) Vec<u8>);

impl Group {
    /// The group of an address: the first 16 bits of IPv4, the first 32 of IPv6, as in Bitcoin Core. In private ranges each
    /// address and port is a group of its own unless `groups_private`: a test network lives in one such range.
    pub(super) fn of(address: SocketAddr, groups_private: bool) -> Self {
        let ip = address.ip().to_canonical();
        let mut bytes = match ip {
            IpAddr::V4(ip) => [&b"4"[..], &ip.octets()].concat(),
            IpAddr::V6(ip) => [&b"6"[..], &ip.octets()].concat(),
        };
        if is_private(ip) && !groups_private {
            bytes.extend(address.port().to_be_bytes());
        } else {
            bytes.truncate(if ip.is_ipv4() { 3 } else { 5 });
        }
        Self(bytes)
    }

    /// The group of all that a seed's name leads to.
    pub(super) fn of_seed(seed: &Endpoint) -> Self {
        Self([b"s", seed.host.as_bytes()].concat())
    }
}

/// Whether an address means something inside of one network alone (RFC 1918, 3927, 4193, 4291, 6598).
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Whether a node can be at an address at all.
pub(super) fn is_dialable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}
