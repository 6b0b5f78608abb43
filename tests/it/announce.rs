//! Transactions that are announced: who is asked for them, who is told of them, and what a flood of announcements costs.

use std::sync::Arc;

use triskel::protocol::chain::id::TransactionId;
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::transaction::SharedTransaction;
use triskel::protocol::machine::io::{ConnId, Input, Ticket};
use triskel::protocol::wire::limits::{
    MAX_ANNOUNCED, MAX_ASKED_OF_PEER, MAX_IDS_AT_ONCE, MAX_REMINDED, MAX_WANTED_OF_PEER,
};
use triskel::protocol::wire::message::{Message, Received};

use super::memory::{Model, Wish, network, transfer};
use super::stage::{Stage, key};

/// How long a peer has for a transaction that it was asked for, and how long announcements are gathered at most.
const PATIENCE_MS: u64 = 2_000;
const GATHERED_MS: u64 = 13;

/// A machine with some peers, of which nothing has been said yet.
fn stage(network: &Arc<Network>, peers: u64) -> (Stage, Vec<ConnId>) {
    let mut stage = Stage::on(Arc::clone(network), |_| {});
    let join = |number| stage.join(key(number), &format!("10.0.0.{number}:9000"));
    let peers: Vec<_> = (1..=peers).map(join).collect();
    stage.sent.clear();
    (stage, peers)
}

fn transfers(network: &Network, count: u64) -> Vec<SharedTransaction> {
    let transfers = (0..count).map(|nonce| transfer(network, (0, 1), (1, 1, nonce)));
    transfers.collect()
}

fn ids(transactions: &[SharedTransaction]) -> Vec<TransactionId> {
    transactions.iter().map(|one| one.id()).collect()
}

/// Ids of which nobody has the transactions.
fn inventions(from: u64, count: usize) -> Vec<TransactionId> {
    let invent = |number: u64| {
        let mut id = [9; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        TransactionId(id)
    };
    (from..).take(count).map(invent).collect()
}

fn announce(stage: &mut Stage, conn: ConnId, ids: &[TransactionId]) {
    let ids = ids.to_vec();
    stage.say(conn, Received::AnnounceTransactions { ids });
}

fn deliver(stage: &mut Stage, conn: ConnId, transaction: &SharedTransaction) {
    let transaction = SharedTransaction::clone(transaction);
    stage.say(conn, Received::NewTransaction(transaction));
}

/// What a connection was asked for since the last time.
fn asked(stage: &mut Stage, conn: ConnId) -> Vec<TransactionId> {
    let sent = stage.sent_to(conn).into_iter();
    let asked = sent.filter_map(|message| match message {
        Message::RequestTransactions { ids } => Some(ids),
        _ => None,
    });
    asked.flatten().collect()
}

/// What a connection was told of since the last time, by message.
fn told(stage: &mut Stage, conn: ConnId) -> Vec<Vec<TransactionId>> {
    let sent = stage.sent_to(conn).into_iter();
    let told = sent.filter_map(|message| match message {
        Message::AnnounceTransactions { mut ids } => {
            ids.sort_unstable();
            Some(ids)
        }
        _ => None,
    });
    told.collect()
}

#[test]
fn one_is_asked_at_a_time_and_silence_leads_to_the_next() {
    let network = network(1);
    let transaction = &transfers(&network, 1)[0];
    let (mut stage, peers) = stage(&network, 4);
    let id = [transaction.id()];
    for peer in &peers[..3] {
        announce(&mut stage, *peer, &id);
        announce(&mut stage, *peer, &id);
    }
    assert_eq!(stage.machine.wanted_transactions(), 1);
    for (turn, peer) in peers[..3].iter().enumerate() {
        let all = peers.iter().map(|peer| asked(&mut stage, *peer));
        let all: Vec<_> = all.collect();
        for (other, ids) in all.iter().enumerate() {
            let wanted: &[_] = if other == turn { &id } else { &[] };
            assert_eq!(ids, wanted, "{other} in the turn of {peer:?}");
        }
        stage.pass(PATIENCE_MS - 1);
        let early = peers
            .iter()
            .any(|peer| !asked(&mut stage, *peer).is_empty());
        assert!(!early, "the time of {peer:?} is not over");
        stage.pass(1);
    }
    // Nobody else has told of it: it is forgotten until somebody does. Nobody has broken a rule.
    assert_eq!(stage.machine.wanted_transactions(), 0);
    assert_eq!(stage.machine.mempool().len(), 0);
    assert_eq!(stage.ended.len(), 0);
    announce(&mut stage, peers[3], &id);
    assert_eq!(asked(&mut stage, peers[3]), id);
    // Who was late may still send it.
    deliver(&mut stage, peers[0], transaction);
    assert_eq!(stage.machine.wanted_transactions(), 0);
    assert!(stage.machine.mempool().contains(&id[0]));
    announce(&mut stage, peers[1], &id);
    stage.pass(PATIENCE_MS);
    let again = peers
        .iter()
        .any(|peer| !asked(&mut stage, *peer).is_empty());
    assert!(!again, "it is here");
}

#[test]
fn the_next_is_asked_at_once_where_a_peer_has_gone() {
    let network = network(1);
    let known = ids(&transfers(&network, 3));
    let (mut stage, peers) = stage(&network, 2);
    announce(&mut stage, peers[0], &known);
    announce(&mut stage, peers[1], &known[..2]);
    assert_eq!(asked(&mut stage, peers[0]), known);
    stage.feed(Input::Disconnected { conn: peers[0] });
    let mut next = asked(&mut stage, peers[1]);
    next.sort_unstable();
    let mut both = known[..2].to_vec();
    both.sort_unstable();
    assert_eq!(next, both);
    assert_eq!(stage.machine.wanted_transactions(), 2);
}

#[test]
fn what_a_block_has_brought_is_neither_asked_for_nor_told_of() {
    let network = network(1);
    let known = transfers(&network, 3);
    let (mut stage, peers) = stage(&network, 3);
    announce(&mut stage, peers[0], &ids(&known));
    announce(&mut stage, peers[1], &ids(&known));
    deliver(&mut stage, peers[0], &known[0]);
    let wish = Wish {
        transactions: known,
        ..Wish::default()
    };
    let block = Model::new(&network).build(&network.id(), wish);
    stage.say(peers[0], Received::NewBlock(block));
    stage.feed(Input::Wake);
    assert_eq!(stage.machine.chain().tip().number, 1);
    assert_eq!(stage.machine.wanted_transactions(), 0);
    stage.pass(2 * PATIENCE_MS);
    assert_eq!(asked(&mut stage, peers[1]), []);
    let nothing: [Vec<_>; 0] = [];
    assert_eq!(told(&mut stage, peers[2]), nothing, "nor told of");
}

#[test]
fn who_has_a_transaction_is_not_told_of_it_and_others_once() {
    let network = network(1);
    let known = transfers(&network, 5);
    let (mut stage, peers) = stage(&network, 4);
    announce(&mut stage, peers[0], &ids(&known));
    announce(&mut stage, peers[1], &ids(&known[..2]));
    for transaction in &known {
        deliver(&mut stage, peers[0], transaction);
    }
    stage.pass(GATHERED_MS);
    assert_eq!(
        told(&mut stage, peers[0]),
        Vec::<Vec<_>>::new(),
        "it sent them"
    );
    let sorted = |transactions| {
        let mut ids = ids(transactions);
        ids.sort_unstable();
        ids
    };
    assert_eq!(told(&mut stage, peers[1]), [sorted(&known[2..])]);
    for peer in &peers[2..] {
        assert_eq!(
            told(&mut stage, *peer),
            [sorted(&known)],
            "one message for all"
        );
    }
    stage.pass(GATHERED_MS);
    let again = peers.iter().any(|peer| !stage.sent_to(*peer).is_empty());
    assert!(!again, "they were told");
    // A newcomer hears of all that waits.
    let newcomer = stage.join(key(9), "10.0.0.9:9000");
    assert_eq!(told(&mut stage, newcomer), [sorted(&known)]);
}

#[test]
fn what_a_user_submits_is_sent_and_not_announced() {
    let network = network(1);
    let transaction = &transfers(&network, 1)[0];
    let (mut stage, peers) = stage(&network, 3);
    stage.feed(Input::Submitted {
        ticket: Ticket(1),
        transaction: SharedTransaction::clone(transaction),
    });
    stage.pass(GATHERED_MS);
    for peer in peers {
        let whole = Message::NewTransaction(transaction.to_bytes().into());
        assert_eq!(stage.sent_to(peer), [whole]);
    }
}

#[test]
fn what_waits_is_told_of_again_with_the_pings() {
    let network = network(1);
    let known = transfers(&network, 40);
    let (mut stage, peers) = stage(&network, 2);
    for transaction in &known {
        deliver(&mut stage, peers[0], transaction);
    }
    stage.pass(GATHERED_MS);
    stage.sent.clear();
    // Also of what it is thought to have: it may have had no room for it.
    stage.pass(12_500);
    let mut wanted = ids(&known);
    wanted.sort_unstable();
    for peer in peers {
        assert_eq!(told(&mut stage, peer), [wanted.clone()]);
    }
    assert!(known.len() < MAX_REMINDED);
}

#[test]
fn a_flood_of_announcements_takes_its_own_share_and_no_other() {
    let network = network(1);
    let transaction = &transfers(&network, 1)[0];
    let (mut stage, peers) = stage(&network, 2);
    let mut questions = 0;
    for round in 0..20 {
        let invented = inventions(round * MAX_ANNOUNCED as u64, MAX_ANNOUNCED);
        announce(&mut stage, peers[0], &invented);
        questions += asked(&mut stage, peers[0]).len();
        assert!(stage.machine.wanted_transactions() <= MAX_WANTED_OF_PEER);
    }
    assert_eq!(stage.machine.wanted_transactions(), MAX_WANTED_OF_PEER);
    assert_eq!(questions, MAX_ASKED_OF_PEER);
    // Another is heard all the same, also with what the flood has left out.
    let beyond = inventions(2 * MAX_IDS_AT_ONCE, 1)[0];
    announce(&mut stage, peers[1], &[transaction.id(), beyond]);
    assert_eq!(asked(&mut stage, peers[1]), [transaction.id(), beyond]);
    deliver(&mut stage, peers[1], transaction);
    assert!(stage.machine.mempool().contains(&transaction.id()));
    // Silence empties the share, and is no fault.
    stage.pass(PATIENCE_MS);
    assert_eq!(
        asked(&mut stage, peers[0]).len(),
        MAX_WANTED_OF_PEER - MAX_ASKED_OF_PEER
    );
    stage.pass(PATIENCE_MS);
    assert_eq!(stage.machine.wanted_transactions(), 0);
    assert_eq!(stage.ended.len(), 0);
}

#[test]
fn who_comes_again_and_again_leaves_nothing_behind() {
    let network = network(1);
    let (mut stage, peers) = stage(&network, 1);
    // What one announces and leaves, the accomplice has announced too: it has room for its own share of it.
    for round in 0..5 {
        let from = round * MAX_ANNOUNCED as u64;
        let invented = inventions(from, MAX_ANNOUNCED);
        let visitor = stage.join(key(10 + round), &format!("10.0.1.{round}:9000"));
        announce(&mut stage, visitor, &invented);
        stage.pass(300);
        announce(&mut stage, peers[0], &invented);
        assert!(stage.machine.wanted_transactions() <= 2 * MAX_WANTED_OF_PEER);
        stage.feed(Input::Disconnected { conn: visitor });
        assert!(stage.machine.wanted_transactions() <= MAX_WANTED_OF_PEER);
    }
    assert_ne!(stage.machine.wanted_transactions(), 0);
}

#[test]
fn questions_are_answered_with_what_waits_as_fast_as_is_allowed() {
    let network = network(1);
    let known = transfers(&network, 3);
    let (mut stage, peers) = stage(&network, 2);
    for transaction in &known[..2] {
        deliver(&mut stage, peers[0], transaction);
    }
    stage.sent.clear();
    let ids = ids(&known);
    stage.say(peers[1], Received::RequestTransactions { ids });
    let whole =
        |transaction: &SharedTransaction| Message::NewTransaction(transaction.to_bytes().into());
    let answers: Vec<_> = known[..2].iter().map(whole).collect();
    assert_eq!(stage.sent_to(peers[1]), answers);
    let flood = vec![known[0].id(); MAX_ASKED_OF_PEER];
    for _ in 0..20 {
        let ids = flood.clone();
        stage.say(peers[1], Received::RequestTransactions { ids });
    }
    let answers = stage.sent_to(peers[1]).len();
    assert_eq!(answers, MAX_IDS_AT_ONCE as usize - known.len());
    assert_eq!(stage.ended.len(), 0);
}
