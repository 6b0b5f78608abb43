//! A running hash over everything that happens: two runs of one seed must have the same.

/// The hash so far, and how many things happened.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    hasher: blake3::Hasher,
    count: u64,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            count: 0,
        }
    }

    /// Adds one happening: when, to whom, of what kind, and what tells it from others of its kind.
    pub(super) fn add(&mut self, now_us: u64, node: usize, kind: &str, what: &[u8]) {
        self.hasher.update(&now_us.to_le_bytes());
        self.hasher.update(&(node as u64).to_le_bytes());
        self.hasher.update(&[kind.len() as u8]);
        self.hasher.update(kind.as_bytes());
        self.hasher.update(&(what.len() as u64).to_le_bytes());
        self.hasher.update(what);
        self.count += 1;
    }

    pub(super) fn digest(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}
