//! What a peer's headings prove: a conversation with one peer, page by page, in constant memory until they are worth more.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use crate::protocol::chain::Chain;
use crate::protocol::chain::block::Heading;
use crate::protocol::chain::id::BlockId;
use crate::protocol::chain::ordering::Colour;
use crate::protocol::chain::rules::{self, Scale};
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::chain::work::Work;
use crate::protocol::machine::io::ConnId;
use crate::protocol::wire::limits::MAX_HEADER_PAGES;

/// A conversation about headings.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    pub(super) conn: ConnId,
    /// When it began, and by when the page that was asked for must be here, on the monotonic clock, in milliseconds.
    pub(super) since_ms: u64,
    pub(super) due_ms: Option<u64>,
    /// The number from which the page is if the peer has all that the leader has shown.
    pub(super) ally_at: Option<u64>,
    /// Whether more pages follow.
    pub(super) more: bool,
    /// The end of the page before.
    pub(super) last: Option<BlockId>,
    /// The work up to there, as the headings show it.
    work: Work,
    /// The most that it has been.
    pub(super) proven: Work,
    stage: Stage,
    /// The number that the next heading has in the peer's order.
    pub(super) next: u64,
    scale: Option<Scale>,
    salt: u64,
    /// What the pages were that did not prove enough.
    pages: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Headings are counted and forgotten.
    Counting,
    /// They were enough, and so many of the pages that were forgotten have come a second time.
    Repeating(usize),
    /// Headings lead to bodies as they come.
    Following,
}

/// What a page leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Its headings may be followed.
    Follow,
    /// Another page must be asked for before any heading may be.
    Ask,
    /// The headings end, and did not prove enough.
    Low,
    /// It does not continue what came before: the peer's order has changed.
    Changed,
}

impl Proof {
    pub(super) fn new(conn: ConnId, since_ms: u64, salt: u64) -> Self {
        Self {
            conn,
            since_ms,
            due_ms: None,
            ally_at: None,
            more: true,
            last: None,
            work: Work::ZERO,
            proven: Work::ZERO,
            stage: Stage::Counting,
            next: 0,
            scale: None,
            salt,
            pages: Vec::new(),
        }
    }

    /// Whether its headings have proven enough to be followed.
    pub(super) fn is_followed(&self) -> bool {
        self.stage == Stage::Following
    }

    /// Pages of which something is remembered.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Takes the next page in. `enough` says whether so much work is.
    pub(super) fn page(
        &mut self,
        chain: &Chain,
        view: &dyn View,
        (from_block, headings, more): (u64, &[Heading], bool),
        enough: impl Fn(Work) -> bool,
    ) -> Result<Step, Fault> {
        if self.last.is_none() {
            // It follows a block of the selected chain here that the peer's has too: so it says, and so the headings show.
            let fork = from_block.saturating_sub(1);
            let Some(ordered) = view.ordered(fork)?.filter(|_| from_block > 0) else {
                return Ok(Step::Changed);
            };
            if ordered.colour != Colour::Chain {
                return Ok(Step::Changed);
            }
            self.begin(chain, view, ordered.id)?;
        } else if from_block != self.next {
            return Ok(Step::Changed);
        }
        let Some(fork) = self.last else {
            return Ok(Step::Changed);
        };
        if !follows(chain, view, fork, self.work, headings)? {
            return Ok(Step::Changed);
        }
        let digest = self.digest(headings);
        if let Some(scale) = &self.scale {
            self.work = headings
                .iter()
                .fold(self.work, |sum, heading| sum + scale.of(heading.header()));
        }
        self.proven = self.proven.max(self.work);
        self.next = from_block + headings.len() as u64;
        self.last = headings.last().map_or(self.last, |last| Some(last.id()));
        self.more = more && !headings.is_empty();
        Ok(match self.stage {
            Stage::Counting if enough(self.work) => {
                if self.pages.is_empty() {
                    self.stage = Stage::Following;
                    return Ok(Step::Follow);
                }
                self.stage = Stage::Repeating(0);
                (self.last, self.more) = (None, true);
                Step::Ask
            }
            Stage::Counting if !self.more || self.pages.len() == MAX_HEADER_PAGES => Step::Low,
            Stage::Counting => {
                self.pages.push(digest);
                Step::Ask
            }
            Stage::Repeating(page) if self.pages[page] != digest => Step::Changed,
            Stage::Repeating(page) => {
                self.stage = match page + 1 {
                    all if all == self.pages.len() => {
                        self.pages = Vec::new();
                        Stage::Following
                    }
                    next => Stage::Repeating(next),
                };
                Step::Follow
            }
            Stage::Following => Step::Follow,
        })
    }

    fn begin(&mut self, chain: &Chain, view: &dyn View, fork: BlockId) -> Result<(), Fault> {
        let record = view.record(&fork)?;
        let record = record.ok_or_else(|| Fault::missing("record of block", fork))?;
        self.work = record.work;
        self.last = Some(fork);
        let index = chain.dag().index(&fork);
        let reference =
            index.and_then(|fork| rules::reference_at(chain.network(), chain.dag(), fork));
        self.scale = Some(Scale::new(chain.network(), &reference.unwrap_or_default()));
        Ok(())
    }

    /// What is remembered of a page: salted, so that nobody can look for another page of which the same is.
    fn digest(&self, headings: &[Heading]) -> u64 {
        let mut hasher = Sha256::new_with_prefix(self.salt.to_le_bytes());
        for heading in headings {
            hasher.update(heading.id().0);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        u64::from_le_bytes(std::array::from_fn(|at| digest[at]))
    }
}

/// Whether a page stands upon a block: each block of the peer's selected chain descends from it, and merges at most `merge_limit`
/// blocks that need not. So who shows a heavy block and headings beside it is not believed that those are in its future.
fn follows(
    chain: &Chain,
    view: &dyn View,
    fork: BlockId,
    work: Work,
    headings: &[Heading],
) -> Result<bool, Fault> {
    let merge_limit = chain.network().limits().merge_limit;
    let mut upon = BTreeSet::from([fork]);
    let mut beside = 0;
    for heading in headings {
        let mut is_upon = false;
        for parent in heading.parents() {
            // What is known and as heavy was paid for.
            is_upon |= upon.contains(parent)
                || match chain.dag().index(parent) {
                    Some(index) => chain.dag().rank(index).0 >= work,
                    None => view
                        .record(parent)?
                        .is_some_and(|record| record.work >= work),
                };
        }
        if is_upon {
            upon.insert(heading.id());
        } else {
            beside += 1;
        }
    }
    Ok(beside <= merge_limit * upon.len())
}
