//! The Merkle tree of RFC 6962: leaves and nodes hash in different domains and no leaf is ever doubled.
//!
//! So no two lists share a root (CVE-2012-2459 is what happens otherwise).

use sha2::{Digest as _, Sha256};

/// The hash of one leaf: `SHA-256(0x00 || bytes)`.
pub fn leaf(bytes: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update([0])
        .chain_update(bytes)
        .finalize()
        .into()
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The root over leaf hashes; of an empty list, SHA-256 of nothing.
///
/// Pairing neighbours and passing an odd last one up unchanged gives the same tree as RFC 6962's split at the largest power of two.
pub fn root(mut hashes: Vec<[u8; 32]>) -> [u8; 32] {
    if hashes.is_empty() {
        return Sha256::digest([]).into();
    }
    while hashes.len() > 1 {
        for pair in 0..hashes.len() / 2 {
            hashes[pair] = node(&hashes[2 * pair], &hashes[2 * pair + 1]);
        }
        if hashes.len() % 2 == 1 {
            let last = hashes.len() - 1;
            hashes.swap(last / 2, last);
        }
        hashes.truncate(hashes.len().div_ceil(2));
    }
    hashes[0]
}
