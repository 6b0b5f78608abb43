//! Transactions that peers announce, and those that this node announces to them.
//!
//! A transaction travels once over most links and is told of on the others: an id takes a fifth of its bytes, and many ids share a
//! message. It is asked for from one peer at a time; who does not deliver in time is passed over for the next that has told of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::io::ConnId;
use super::timers::Timer;
use super::{Machine, Turn};
use crate::protocol::bugs::{Defence, lacks};
use crate::protocol::chain::id::TransactionId;
use crate::protocol::chain::transaction::Transaction;
use crate::protocol::wire::limits::{
    IDS_PER_MS, MAX_ANNOUNCED, MAX_ASKED_OF_PEER, MAX_GREETING_TRANSACTIONS, MAX_IDS_AT_ONCE,
    MAX_REMINDED, MAX_REMINDED_OWN, MAX_WANTED_OF_PEER,
};
use crate::protocol::wire::message::Message;

/// Announcements are gathered for about so long: at 1,000 transactions a second ten share a message, and five hops cost a twentieth
/// of a second.
const GATHERED_MS: u64 = 10;

/// How long a peer has for a transaction: what it sends waits behind its blocks.
const PATIENCE_MS: u64 = 2_000;

/// A transaction that peers have and this node lacks.
#[derive(Clone, Debug)]
struct Want {
    /// Who will be asked, or is, and whose share it takes: a peer that has announced it.
    from: ConnId,
    /// Until when that one is asked.
    until_ms: Option<u64>,
    /// Who was asked.
    tried: Vec<ConnId>,
}

/// What is between this node and a peer.
#[derive(Clone, Debug, Default)]
struct Ledger {
    /// What it will be told of next.
    to_tell: Vec<TransactionId>,
    /// What it will be asked for when it has answered.
    to_ask: VecDeque<TransactionId>,
    /// For how much it is asked.
    asked: usize,
    /// How much is wanted from it, asked or not.
    wanted: usize,
    /// Ids that are still looked at, and since when.
    allowance: u64,
    allowed_ms: u64,
}

impl Ledger {
    /// Drops of a list of ids what is beyond the peer's allowance: a flood of them delays nothing else.
    fn limit(&mut self, ids: &mut Vec<TransactionId>, now_ms: u64) {
        if lacks(Defence::AnnouncementShares) {
            return;
        }
        let more = IDS_PER_MS * (now_ms - self.allowed_ms);
        self.allowed_ms = now_ms;
        self.allowance = (self.allowance + more).min(MAX_IDS_AT_ONCE);
        ids.truncate(self.allowance as usize);
        self.allowance -= ids.len() as u64;
    }

    /// Whether more may be wanted from it. What it was to be asked for and others have sent stays in the list until its turn.
    fn has_room(&self) -> bool {
        self.wanted.max(self.to_ask.len()) < MAX_WANTED_OF_PEER
            || lacks(Defence::AnnouncementShares)
    }
}

/// Announcements in both directions.
#[derive(Clone, Debug, Default)]
pub(super) struct Announcements {
    wants: BTreeMap<TransactionId, Want>,
    peers: BTreeMap<ConnId, Ledger>,
    /// When questions end, in order.
    deadlines: VecDeque<(u64, TransactionId)>,
}

impl Announcements {
    /// A transaction is not wanted any more. Tells who was asked for it.
    fn end(&mut self, id: &TransactionId) -> Option<ConnId> {
        let want = self.wants.remove(id)?;
        let is_asked = want.until_ms.is_some();
        self.relieve(want.from, is_asked);
        is_asked.then_some(want.from)
    }

    /// Gives a peer a part of its share back.
    fn relieve(&mut self, conn: ConnId, is_asked: bool) {
        if let Some(ledger) = self.peers.get_mut(&conn) {
            ledger.wanted -= 1;
            ledger.asked -= usize::from(is_asked);
        }
    }
}

impl Machine {
    /// Transactions that are announced and not here.
    pub fn wanted_transactions(&self) -> usize {
        self.announcements.wants.len()
    }

    /// A session begins: what waits here is told of, so that a transaction submitted while both were apart gets through.
    pub(super) fn greet(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        self.announcements.peers.insert(conn, Ledger::default());
        let waiting = self.mempool.ids().take(MAX_GREETING_TRANSACTIONS);
        let ids: Vec<_> = waiting
            .filter(|id| self.transaction_holders.add(*id, conn))
            .collect();
        if !ids.is_empty() {
            turn.send(conn, Message::AnnounceTransactions { ids });
        }
    }

    /// Tells a session of some of what waits, others each time: what it is thought to have may have been left out where there was
    /// no room, or refused for a moment, as while its ledger was behind. Own submissions come first.
    pub(super) fn remind(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let mut from = TransactionId::default();
        self.rng.fill(&mut from.0);
        let (before, after) = (self.own.range(..from), self.own.range(from..));
        let own = after.chain(before).copied();
        let own = own
            .filter(|id| self.mempool.contains(id))
            .take(MAX_REMINDED_OWN);
        let mut ids: Vec<_> = own.collect();
        let (after, before) = (self.mempool.ids_from(&from), self.mempool.ids());
        let all = after
            .chain(before)
            .take(MAX_REMINDED.min(self.mempool.len()));
        ids.extend(all);
        if !ids.is_empty() {
            turn.send(conn, Message::AnnounceTransactions { ids });
        }
    }

    /// Passes a transaction on to every session that is not known to have it: at once if it was submitted here, for then nobody can
    /// have it, or else by an announcement.
    pub(super) fn offer(&mut self, turn: &mut Turn<'_>, transaction: &Transaction, own: bool) {
        let id = transaction.id();
        let sessions = self.connections.greeted();
        let to = self.transaction_holders.add_all(id, sessions);
        if own {
            return turn.send_all(to, || {
                Message::NewTransaction(transaction.to_bytes().into())
            });
        }
        if to.is_empty() {
            return;
        }
        let gathered_ms = self.rng.jitter(GATHERED_MS);
        self.timers
            .hasten(Timer::Announce, turn.now.monotonic_ms + gathered_ms);
        for conn in to {
            let Some(ledger) = self.announcements.peers.get_mut(&conn) else {
                continue;
            };
            ledger.to_tell.push(id);
            if ledger.to_tell.len() == MAX_ANNOUNCED {
                let ids = std::mem::take(&mut ledger.to_tell);
                turn.send(conn, Message::AnnounceTransactions { ids });
            }
        }
    }

    /// Enough has been gathered. What a block has brought meanwhile is not told of.
    pub(super) fn announce_due(&mut self, turn: &mut Turn<'_>) {
        for (conn, ledger) in &mut self.announcements.peers {
            let mut ids = std::mem::take(&mut ledger.to_tell);
            ids.retain(|id| self.mempool.contains(id));
            if !ids.is_empty() {
                turn.send(*conn, Message::AnnounceTransactions { ids });
            }
        }
    }

    /// A peer tells of transactions. Nothing is read from disk for it: what is in a block already is refused when it comes.
    pub(super) fn transactions_announced(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        mut ids: Vec<TransactionId>,
    ) {
        let Announcements { wants, peers, .. } = &mut self.announcements;
        let Some(ledger) = peers.get_mut(&conn) else {
            return;
        };
        ledger.limit(&mut ids, turn.now.monotonic_ms);
        for id in ids {
            let is_known = self.mempool.contains(&id) || wants.contains_key(&id);
            // Whoever announces more than this node can ask for wastes its own share, and displaces nothing that is remembered.
            if !is_known && !ledger.has_room() {
                continue;
            }
            self.transaction_holders.add(id, conn);
            if !is_known {
                ledger.wanted += 1;
                ledger.to_ask.push_back(id);
                let want = Want {
                    from: conn,
                    until_ms: None,
                    tried: Vec::new(),
                };
                wants.insert(id, want);
            }
        }
        self.ask_for_transactions(turn, conn);
    }

    /// Asks a peer for as much of what is wanted from it as it may be asked for at a time.
    fn ask_for_transactions(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let Announcements {
            wants,
            peers,
            deadlines,
        } = &mut self.announcements;
        let Some(ledger) = peers.get_mut(&conn) else {
            return;
        };
        let until_ms = turn.now.monotonic_ms + PATIENCE_MS;
        let mut ids = Vec::new();
        while ledger.asked < MAX_ASKED_OF_PEER
            && let Some(id) = ledger.to_ask.pop_front()
        {
            if let Some(want) = wants.get_mut(&id)
                && want.from == conn
                && want.until_ms.is_none()
            {
                want.until_ms = Some(until_ms);
                want.tried.push(conn);
                ledger.asked += 1;
                deadlines.push_back((until_ms, id));
                ids.push(id);
            }
        }
        if !ids.is_empty() {
            self.timers.hasten(Timer::Transactions, until_ms);
            turn.send(conn, Message::RequestTransactions { ids });
        }
    }

    /// A transaction has arrived, whoever sent it.
    pub(super) fn transaction_arrived(&mut self, turn: &mut Turn<'_>, id: &TransactionId) {
        if let Some(asked) = self.announcements.end(id) {
            let ledger = self.announcements.peers.get(&asked);
            // In a few questions, not in one for each answer.
            if ledger.is_some_and(|ledger| ledger.asked <= MAX_ASKED_OF_PEER / 2) {
                self.ask_for_transactions(turn, asked);
            }
        }
    }

    /// Somebody has had its time.
    pub(super) fn transactions_due(&mut self, turn: &mut Turn<'_>) {
        let now_ms = turn.now.monotonic_ms;
        let Announcements {
            wants, deadlines, ..
        } = &mut self.announcements;
        let mut late = BTreeSet::new();
        while let Some((until_ms, id)) = deadlines.front().copied()
            && until_ms <= now_ms
        {
            deadlines.pop_front();
            if wants
                .get(&id)
                .is_some_and(|want| want.until_ms == Some(until_ms))
            {
                late.insert(id);
            }
        }
        if let Some((until_ms, _)) = deadlines.front() {
            self.timers.set(Timer::Transactions, *until_ms);
        }
        self.pass_over(turn, late);
    }

    /// A connection has ended.
    pub(super) fn announcements_left(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        if self.announcements.peers.remove(&conn).is_none() {
            return;
        }
        let wants = self.announcements.wants.iter();
        let lost = wants.filter(|(_, want)| want.from == conn);
        let lost = lost.map(|(id, _)| *id).collect();
        self.pass_over(turn, lost);
    }

    /// Asks others for what somebody has not delivered; what nobody else has told of, or has room for, is forgotten.
    fn pass_over(&mut self, turn: &mut Turn<'_>, ids: BTreeSet<TransactionId>) {
        let mut next_ones = BTreeSet::new();
        for id in ids {
            let announcements = &mut self.announcements;
            let Some(mut want) = announcements.wants.remove(&id) else {
                continue;
            };
            announcements.relieve(want.from, want.until_ms.is_some());
            next_ones.insert(want.from);
            for next in self.transaction_holders.get(&id) {
                if !want.tried.contains(next)
                    && let Some(ledger) = announcements.peers.get_mut(next)
                    && ledger.has_room()
                {
                    ledger.wanted += 1;
                    ledger.to_ask.push_back(id);
                    next_ones.insert(*next);
                    (want.from, want.until_ms) = (*next, None);
                    announcements.wants.insert(id, want);
                    break;
                }
            }
        }
        for next in next_ones {
            self.ask_for_transactions(turn, next);
        }
    }

    /// A peer asks for transactions. What no longer waits here is in a block, or nobody wants it.
    pub(super) fn transactions_requested(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        mut ids: Vec<TransactionId>,
    ) {
        if let Some(ledger) = self.announcements.peers.get_mut(&conn) {
            ledger.limit(&mut ids, turn.now.monotonic_ms);
        }
        for transaction in ids.iter().filter_map(|id| self.mempool.get(id)) {
            let bytes = transaction.to_bytes().into();
            turn.send(conn, Message::NewTransaction(bytes));
        }
    }
}
