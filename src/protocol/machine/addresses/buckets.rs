//! The buckets of the address book: which one an address belongs to, and who is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::protocol::endpoint::Endpoint;
use crate::protocol::machine::groups::Group;
use crate::protocol::rng::Rng;
use crate::protocol::wire::limits::{
    MAX_BUCKET, NEW_BUCKETS, NEW_BUCKETS_OF_SOURCE, TRIED_BUCKETS, TRIED_BUCKETS_OF_GROUP,
};

/// The name of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bucket {
    /// Of addresses at which nobody was met.
    New(u64),
    /// Of those at which somebody was.
    Tried(u64),
}

/// All that are not empty.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    /// Nobody outside knows it, so nobody can aim at a bucket.
    secret: [u8; 32],
    members: BTreeMap<Bucket, BTreeSet<Endpoint>>,
}

impl Buckets {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut secret = [0; 32];
        rng.fill(&mut secret);
        Self {
            secret,
            members: BTreeMap::new(),
        }
    }

    /// Where an address belongs that nobody has met.
    pub(super) fn of_new(&self, group: &Group, source: &Group) -> Bucket {
        let few = self.hash(&[b"few", &source.0, b"/", &group.0]) % NEW_BUCKETS_OF_SOURCE;
        let bucket = self.hash(&[b"new", &few.to_be_bytes(), &source.0]);
        Bucket::New(bucket % NEW_BUCKETS)
    }

    /// Where an address belongs at which somebody was met.
    pub(super) fn of_tried(&self, group: &Group, address: SocketAddr) -> Bucket {
        let address = address.to_string();
        let few = self.hash(&[b"one", address.as_bytes()]) % TRIED_BUCKETS_OF_GROUP;
        let bucket = self.hash(&[b"tried", &few.to_be_bytes(), &group.0]);
        Bucket::Tried(bucket % TRIED_BUCKETS)
    }

    /// A number for each group that nobody outside can foresee.
    pub(super) fn rank(&self, group: &Group) -> u64 {
        self.hash(&[b"rank", &group.0])
    }

    fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        for part in parts {
            hasher.update(part);
        }
        let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    pub(super) fn is_full(&self, bucket: Bucket) -> bool {
        self.members(bucket).count() >= MAX_BUCKET
    }

    pub(super) fn members(&self, bucket: Bucket) -> impl Iterator<Item = &Endpoint> {
        self.members.get(&bucket).into_iter().flatten()
    }

    /// All buckets, those of new addresses first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Bucket, &BTreeSet<Endpoint>)> {
        self.members
            .iter()
            .map(|(bucket, members)| (*bucket, members))
    }

    pub(super) fn insert(&mut self, bucket: Bucket, member: Endpoint) {
        self.members.entry(bucket).or_default().insert(member);
    }

    pub(super) fn remove(&mut self, bucket: Bucket, member: &Endpoint) {
        if let Some(members) = self.members.get_mut(&bucket) {
            members.remove(member);
            if members.is_empty() {
                self.members.remove(&bucket);
            }
        }
    }
}
