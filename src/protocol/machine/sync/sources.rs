//! How soon peers deliver, and which are left alone for a while.

use std::collections::BTreeMap;

use crate::protocol::bugs::{Defence, lacks};
use crate::protocol::machine::io::ConnId;

/// Who needs more than this many times as long as peers need on average is late: the blocks are asked for elsewhere.
const PATIENCE: u64 = 3;

/// The least time that a peer has, in milliseconds: a lost segment is repeated after 200 or a little more (RFC 6298).
const LEAST_MS: u64 = 300;

/// The same where all others wait for it: asking twice costs less than waiting.
const AWAITED_PATIENCE: u64 = 2;
const AWAITED_LEAST_MS: u64 = 100;

/// The time that it has before anybody has delivered, in milliseconds: as Bitcoin Core's first one for a peer that stalls.
const FIRST_MS: u64 = 2_000;

/// The longest rest is this many times doubled.
const MAX_DOUBLED: u32 = 3;

/// Peers as sources of blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    peers: BTreeMap<ConnId, Source>,
    /// How long answers take, averaged over all peers, in milliseconds.
    average_ms: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Source {
    average_ms: Option<u64>,
    rests_until_ms: u64,
    failures: u32,
    /// Answers about headings that are not awaited any more.
    owed: usize,
}

impl Sources {
    /// How long a peer has to answer, at most `most_ms`: by what it and all peers took until now, and by whether nothing else can
    /// be asked for before it has.
    pub(super) fn patience_ms(&self, conn: ConnId, most_ms: u64, is_awaited: bool) -> u64 {
        if lacks(Defence::AnswersAreDue) {
            return u64::from(u32::MAX);
        }
        let own = self.average_ms(conn);
        let patience_ms = match own.max(self.average_ms) {
            Some(average_ms) if is_awaited => (AWAITED_PATIENCE * average_ms).max(AWAITED_LEAST_MS),
            Some(average_ms) => (PATIENCE * average_ms).max(LEAST_MS),
            None => FIRST_MS,
        };
        patience_ms.min(most_ms)
    }

    /// How long its answers take.
    pub(super) fn average_ms(&self, conn: ConnId) -> Option<u64> {
        self.peers.get(&conn)?.average_ms
    }

    /// A peer has delivered, after so long.
    pub(super) fn delivered(&mut self, conn: ConnId, took_ms: u64) {
        let source = self.peers.entry(conn).or_default();
        (source.failures, source.rests_until_ms) = (0, 0);
        for average_ms in [&mut source.average_ms, &mut self.average_ms] {
            let before_ms = average_ms.unwrap_or(took_ms);
            *average_ms = Some((7 * before_ms + took_ms) / 8);
        }
    }

    /// A peer is left alone for a while, twice as long as the last time. That is no fault of its.
    pub(super) fn rest(&mut self, conn: ConnId, now_ms: u64, rest_ms: u64) {
        let source = self.peers.entry(conn).or_default();
        source.rests_until_ms = now_ms + (rest_ms << source.failures.min(MAX_DOUBLED));
        source.failures += 1;
    }

    /// How long a peer has for what takes `time_ms` at first: each time that it was not enough doubles it.
    pub(super) fn extended_ms(&self, conn: ConnId, time_ms: u64) -> u64 {
        let failures = self.peers.get(&conn).map_or(0, |source| source.failures);
        time_ms << failures.min(MAX_DOUBLED)
    }

    /// Until when a peer is left alone, if it is.
    pub(super) fn rests_until_ms(&self, conn: ConnId, now_ms: u64) -> Option<u64> {
        let until_ms = self.peers.get(&conn)?.rests_until_ms;
        (until_ms > now_ms).then_some(until_ms)
    }

    /// An answer about headings is not awaited any more.
    pub(super) fn give_up(&mut self, conn: ConnId) {
        self.peers.entry(conn).or_default().owed += 1;
    }

    /// An answer about headings has come. Whether it is one that was given up.
    pub(super) fn is_given_up(&mut self, conn: ConnId) -> bool {
        let owed = self.peers.get_mut(&conn).map(|source| &mut source.owed);
        match owed {
            Some(owed) if *owed > 0 => {
                *owed -= 1;
                true
            }
            _ => false,
        }
    }

    /// Whether a peer has still to answer what was given up.
    pub(super) fn owes(&self, conn: ConnId) -> bool {
        self.peers.get(&conn).is_some_and(|source| source.owed > 0)
    }

    /// A connection has ended.
    pub(super) fn left(&mut self, conn: ConnId) {
        self.peers.remove(&conn);
    }
}
