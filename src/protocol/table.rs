//! A table by id that is looked up and never listed, so that the order of hashes decides nothing.

#![expect(
    clippy::disallowed_types,
    reason = "the order of iteration differs from run to run, and nothing here iterates"
)]

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
#[cfg(feature = "sim")]
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::rng::Rng;

/// Values by key. Keys are hashes that were calculated here, or numbers that are spread as well.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V, S = BuildHasherDefault<Spread>>(HashMap<K, V, S>);

/// Values by keys that others may have chosen.
pub(crate) type GuardedTable<K, V> = Table<K, V, Secret>;

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K, V> GuardedTable<K, V> {
    /// An empty one, with a secret of its own.
    pub(crate) fn guarded(rng: &mut Rng) -> Self {
        let secret = Secret([rng.next_u64(), rng.next_u64()]);
        Self(HashMap::with_hasher(secret))
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Table<K, V, S> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    #[cfg(feature = "sim")]
    pub(crate) fn or_insert(&mut self, key: K, value: V) -> &mut V {
        self.0.entry(key).or_insert(value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    #[cfg(feature = "sim")]
    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(&V) -> bool) {
        self.0.retain(|_, value| keeps(value));
    }

    #[cfg(feature = "sim")]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(feature = "sim")]
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(feature = "sim")]
impl<K: Eq + Hash, T: PartialEq> Table<K, Arc<T>> {
    /// Lets a node hold what another one has, if it is the same: thousands of nodes hold most things once.
    pub(crate) fn share(&mut self, key: K, own: &mut Arc<T>) {
        match self.get(&key) {
            Some(known) if known == own => *own = Arc::clone(known),
            Some(_) => {}
            None => drop(self.insert(key, Arc::clone(own))),
        }
    }
}

/// Whoever does not know it finds no keys that meet in one place.
#[derive(Clone, Debug)]
pub(crate) struct Secret([u64; 2]);

impl BuildHasher for Secret {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        let Self([first, second]) = *self;
        SipHasher13::new_with_keys(first, second)
    }
}

/// Ids are hashes already: some of their bits are as good as any hash of them. It is for ids that were calculated here, never for
/// those that a peer has only told of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        // Their end: proof of work makes the beginning small.
        if let Some(end) = bytes.last_chunk() {
            self.0 = u64::from_le_bytes(*end);
        }
    }

    fn write_usize(&mut self, number: usize) {
        // Multiples of a power of two are spread over all bits (Knuth, 6.4). The length of an id comes before its bytes.
        self.0 = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
