//! Bugs that are sown on purpose, and defences that are taken away, to prove that the tests find them. Without the feature
//! `seeded-bugs`, which a build without debug assertions refuses, `bug` and `lacks` are the constant `false`, and nothing of them
//! is left.
//!
//! Each bug is one that node software has had, or nearly. A test of the orchestrator sows one after the other and demands that a
//! scenario catches it. Each defence is one without which a hostile peer of `tests/it/adversary` does harm, which is shown there.

#[cfg(feature = "seeded-bugs")]
use std::cell::Cell;

#[cfg(all(feature = "seeded-bugs", not(debug_assertions)))]
compile_error!("the feature `seeded-bugs` is for tests: no release may have it");

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A block that is taken back leaves one account as it made it.
    UndoForgetsAnAccount,
    /// A block that is taken back still counts as issued.
    UndoForgetsIssued,
    /// Red blocks are rewarded too.
    RewardForRed,
    /// A transaction that is skipped pays its fee, as often as blocks carry it.
    FeeOfSkipped,
    /// Of equal blocks the one that came first is better.
    TieByArrival,
    /// A block that is known is taken in again.
    KnownBlockTakenAgain,
    /// The difficulty of all streams follows the first one.
    DifficultyOfFirstStream,
    /// Miners date their blocks after the oldest parent.
    DateOfOldestParent,
    /// What is mined is not renewed when the tip has moved.
    TemplateNotRenewed,
    /// A block whose parents are unknown ends the session with who sent it.
    OrphanIsFault,
    /// A block that is dated ahead ends the session with who sent it.
    EarlyIsFault,
    /// Blocks are not passed on to the oldest session.
    RelaySkipsPeer,
    /// Headers are served from the second that the peer lacks.
    HeadersSkipOne,
    /// The first block that was asked for is not served.
    AnswerLacksFirstBlock,
    /// Transactions that a reorganisation takes back are forgotten.
    ReorganisationDropsTransactions,
    /// Transactions stay in the mempool when they are applied.
    MempoolKeepsApplied,
    /// A user is told that a transaction is taken before it is on disk.
    AnswerBeforeDisk,
    /// What users have handed in is not read from disk at the start.
    RestartForgetsPending,
    /// A peer that refuses once is never dialled again.
    DialNotRepeated,
    /// A peer that is lost is never dialled again.
    LostPeerNotDialled,
}

#[cfg(feature = "seeded-bugs")]
impl Bug {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::UndoForgetsAnAccount,
        Self::UndoForgetsIssued,
        Self::RewardForRed,
        Self::FeeOfSkipped,
        Self::TieByArrival,
        Self::KnownBlockTakenAgain,
        Self::DifficultyOfFirstStream,
        Self::DateOfOldestParent,
        Self::TemplateNotRenewed,
        Self::OrphanIsFault,
        Self::EarlyIsFault,
        Self::RelaySkipsPeer,
        Self::HeadersSkipOne,
        Self::AnswerLacksFirstBlock,
        Self::ReorganisationDropsTransactions,
        Self::MempoolKeepsApplied,
        Self::AnswerBeforeDisk,
        Self::RestartForgetsPending,
        Self::DialNotRepeated,
        Self::LostPeerNotDialled,
    ];
}

#[cfg(feature = "seeded-bugs")]
thread_local! {
    static SOWN: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Sows a bug into all machines that this thread drives, in place of the one before; none for `None`.
#[cfg(feature = "seeded-bugs")]
pub fn sow(bug: Option<Bug>) {
    SOWN.set(bug);
}

/// Whether this bug is sown.
#[cfg(feature = "seeded-bugs")]
pub(crate) fn bug(bug: Bug) -> bool {
    SOWN.get() == Some(bug)
}

/// Whether this bug is sown: never.
#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
pub(crate) const fn bug(_: Bug) -> bool {
    false
}

/// Something that stands between a hostile peer and harm. What a setting can switch off needs no name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// A frame's length is held against what its state and its kind allow before the rest of it is waited for.
    FrameLimits,
    /// Connections that have not greeted displace each other beyond their number.
    HandshakePlaces,
    /// What waits to be written to a peer has a bound.
    QueueLimits,
    /// A peer tells of no more addresses than its allowance.
    AddressAllowance,
    /// A newcomer takes the inbound place of a session that has nothing to its name.
    InboundEviction,
    /// Headings are planned only once they have proven as much work as is needed.
    ProvenWork,
    /// What a peer claims does not stop the miner.
    ClaimsProveNothing,
    /// Blocks that were asked for in vain are asked for elsewhere.
    AnswersAreDue,
    /// Who has nothing to show for what it claims is left alone for a while.
    EmptyAnswersRest,
    /// A node that catches up answers others.
    ServedWhileBehind,
    /// A block's body must be the one that its header commits to.
    BodyCommitment,
    /// Blocks whose parents are unknown make room for each other.
    OrphanLimits,
    /// Each peer has a share of what is wanted, and of what is looked at.
    AnnouncementShares,
    /// A block whose short ids mislead is asked for as a whole.
    WholeBlocks,
    /// Parents are not in each other's past.
    UnrelatedParents,
}

#[cfg(feature = "seeded-bugs")]
impl Defence {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::FrameLimits,
        Self::HandshakePlaces,
        Self::QueueLimits,
        Self::AddressAllowance,
        Self::InboundEviction,
        Self::ProvenWork,
        Self::ClaimsProveNothing,
        Self::AnswersAreDue,
        Self::EmptyAnswersRest,
        Self::ServedWhileBehind,
        Self::BodyCommitment,
        Self::OrphanLimits,
        Self::AnnouncementShares,
        Self::WholeBlocks,
        Self::UnrelatedParents,
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|defence| format!("{defence:?}") == name)
    }
}

#[cfg(feature = "seeded-bugs")]
thread_local! {
    static LACKING: Cell<Option<Defence>> = const { Cell::new(None) };
}

/// Takes a defence away from all nodes that this thread drives, instead of any before; with `None` they have all of them again.
#[cfg(feature = "seeded-bugs")]
pub fn take_away(defence: Option<Defence>) {
    LACKING.set(defence);
}

/// Whether this defence is taken away.
#[cfg(feature = "seeded-bugs")]
pub(crate) fn lacks(defence: Defence) -> bool {
    LACKING.get() == Some(defence)
}

/// Whether this defence is taken away: never.
#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
pub(crate) const fn lacks(_: Defence) -> bool {
    false
}
