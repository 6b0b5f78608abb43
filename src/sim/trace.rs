//! A running hash over everything that happens: two runs of one seed must have the same.

/// Bytes that are hashed at once: BLAKE3 takes many at ten times the speed of few.
const GATHERED_BYTES: usize = 64 * 1_024;

/// The hash so far, and how many things happened.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    hasher: blake3::Hasher,
    /// What is not hashed yet.
    gathered: Vec<u8>,
    count: u64,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            gathered: Vec::with_capacity(GATHERED_BYTES),
            count: 0,
        }
    }

    /// Adds one happening: when, to whom, of what kind, and what tells it from others of its kind.
    pub(super) fn add(&mut self, now_us: u64, node: usize, kind: &str, what: &[u8]) {
        self.gathered.extend_from_slice(&now_us.to_le_bytes());
        self.gathered
            .extend_from_slice(&(node as u64).to_le_bytes());
        self.gathered.push(kind.len() as u8);
        self.gathered.extend_from_slice(kind.as_bytes());
        self.gathered
            .extend_from_slice(&(what.len() as u64).to_le_bytes());
        self.gathered.extend_from_slice(what);
        self.count += 1;
        if self.gathered.len() >= GATHERED_BYTES {
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
    }

    pub(super) fn digest(&self) -> String {
        let mut hasher = self.hasher.clone();
        hasher
            .update(&self.gathered)
            .finalize()
            .to_hex()
            .to_string()
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}
