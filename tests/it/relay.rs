//! How blocks and transactions are passed on.

mod bad_links;

use std::sync::Arc;

use triskel::protocol::chain::block::Block;
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::transaction::SharedTransaction;
use triskel::protocol::machine::io::{ConnId, Event, Input, Reason, Rebuilt};
use triskel::protocol::wire::compact::CompactBlock;
use triskel::protocol::wire::frame;
use triskel::protocol::wire::message::{Message, MessageError, Received};

use super::memory::{Model, Wish, network, transfer};
use super::stage::{Stage, key};

#[test]
fn a_block_is_passed_on_before_it_is_executed() {
    let network = network(1);
    let mut model = Model::new(&network);
    let mut stage = Stage::on(Arc::clone(&network), |_| {});
    let from = stage.join(key(1), "10.0.0.1:9000");
    let to = stage.join(key(2), "10.0.0.2:9000");
    let mut parent = network.id();
    let blocks: Vec<_> = (0..3)
        .map(|_| {
            let block = model.grow(&parent, Wish::default());
            parent = block.id();
            block
        })
        .collect();
    stage.sent.clear();
    for block in &blocks {
        stage.say(from, Received::NewBlock(Arc::clone(block)));
        let passed_on = Message::NewBlock(Arc::clone(block.bytes()));
        assert_eq!(stage.sent_to(to), [passed_on]);
    }
    assert_eq!(stage.sent_to(from), [], "it has them");
    // It may be asked for, but is not executed yet.
    assert_eq!(stage.machine.placed(), 3);
    assert_eq!(stage.machine.chain().tip().number, 0);
    let changes = |stage: &Stage| {
        let changes = stage.told.iter();
        let changes = changes.filter(|event| matches!(event, Event::TipChanged { .. }));
        changes.count()
    };
    assert_eq!(changes(&stage), 0);
    assert_eq!(stage.machine.next_deadline(), Some(stage.now_ms));
    // All of them at once.
    stage.feed(Input::Wake);
    assert_eq!(stage.machine.chain().tip().id, parent);
    assert_eq!(changes(&stage), 1);
    // A node that ends in between follows at its start.
    let next = model.grow(&parent, Wish::default());
    stage.say(from, Received::NewBlock(Arc::clone(&next)));
    assert_eq!(stage.machine.chain().tip().id, parent);
    let stage = stage.restarted(2);
    assert_eq!(stage.machine.chain().tip().id, next.id());
}

/// Transfers that can be applied one after the other.
fn transfers(network: &Network, count: u64) -> Vec<SharedTransaction> {
    let transfers = (0..count).map(|nonce| transfer(network, (0, 1), (1, 1, nonce)));
    transfers.collect()
}

fn block_of(network: &Arc<Network>, transactions: &[SharedTransaction]) -> Arc<Block> {
    let wish = Wish {
        transactions: transactions.to_vec(),
        ..Wish::default()
    };
    Model::new(network).build(&network.id(), wish)
}

/// A machine with some peers, which have sent it some transactions.
fn stage(network: &Arc<Network>, peers: u64, known: &[SharedTransaction]) -> (Stage, Vec<ConnId>) {
    let mut stage = Stage::on(Arc::clone(network), |_| {});
    let join = |number| stage.join(key(number), &format!("10.0.0.{number}:9000"));
    let peers: Vec<_> = (1..=peers).map(join).collect();
    for transaction in known {
        let transaction = SharedTransaction::clone(transaction);
        stage.say(peers[0], Received::NewTransaction(transaction));
    }
    assert_eq!(stage.machine.mempool().len(), known.len());
    // The others are told of them.
    stage.pass(20);
    stage.sent.clear();
    (stage, peers)
}

/// As a peer receives it.
fn received(network: &Network, message: Message) -> Received {
    let frame = frame::encode(&message);
    frame::decode(&frame[4..]).unwrap().check(network).unwrap()
}

fn compact(network: &Network, block: &Block, prefilled: &[u32]) -> Received {
    let compact = CompactBlock::new(block, 7, prefilled);
    received(network, Message::CompactBlock(compact))
}

fn has(stage: &Stage, block: &Block) -> bool {
    let chain = stage.machine.chain();
    chain
        .recent_block(&block.id())
        .is_some_and(|one| **one == *block)
}

fn rebuilt(stage: &Stage) -> Vec<Rebuilt> {
    let told = stage.told.iter().filter_map(|event| match event {
        Event::BlockRebuilt { rebuilt } => Some(*rebuilt),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_block_whose_transactions_all_wait_takes_a_fiftieth_of_its_bytes_and_the_short_ids() {
    let network = network(1);
    let known = transfers(&network, 400);
    let block = block_of(&network, &known);
    let (mut sender, peers) = stage(&network, 2, &known);
    sender.say(peers[0], Received::NewBlock(Arc::clone(&block)));
    let sent = sender.sent_to(peers[1]);
    let [Message::CompactBlock(compact)] = &sent[..] else {
        panic!("{sent:?}");
    };
    let bytes = frame::encode(&sent[0]).len();
    assert_eq!(bytes, 4 + compact.message_bytes());
    assert!(
        bytes <= block.bytes().len() / 50 + 6 * known.len(),
        "{bytes}"
    );
    // Nothing else is asked for or sent until it is passed on.
    let (mut stage, peers) = stage(&network, 2, &known);
    stage.say(peers[0], received(&network, sent[0].clone()));
    assert!(has(&stage, &block));
    assert_eq!(stage.sent_to(peers[0]), []);
    assert_eq!(rebuilt(&stage), [Rebuilt::AtOnce]);
}

#[test]
fn what_a_node_lacked_is_asked_for_once_and_prefilled_for_the_next() {
    let network = network(1);
    let known = transfers(&network, 60);
    let block = block_of(&network, &known);
    let (mut stage, peers) = stage(&network, 3, &known[..57]);
    stage.say(peers[0], compact(&network, &block, &[3]));
    let (id, indexes) = (block.id(), vec![57, 58, 59]);
    let question = Message::RequestBlockTransactions { block: id, indexes };
    let asked = stage.sent_to(peers[0]);
    assert_eq!(asked, std::slice::from_ref(&question));
    // Others that send it are kept for the case that the first does not answer, and one that was not asked is not listened to.
    stage.say(peers[1], compact(&network, &block, &[]));
    let answer = |count: usize| {
        let last = known[57..].iter().take(count);
        let transactions = last.map(|transaction| transaction.to_bytes()).collect();
        received(
            &network,
            Message::BlockTransactions {
                block: id,
                transactions,
            },
        )
    };
    stage.say(peers[1], answer(3));
    assert!(!has(&stage, &block));
    assert_eq!(stage.sent_to(peers[1]), []);
    stage.pass(1_500);
    assert_eq!(stage.sent_to(peers[1]), [question]);
    stage.say(peers[1], answer(3));
    assert!(has(&stage, &block));
    assert_eq!(rebuilt(&stage), [Rebuilt::AfterRound]);
    assert_eq!(stage.machine.fetches(), 0);
    // A second answer finds nobody waiting.
    stage.say(peers[0], answer(3));
    assert_eq!(stage.ended.len(), 0);
    let sent = stage.sent_to(peers[2]);
    let passed_on = sent.iter().find_map(|message| match message {
        Message::CompactBlock(compact) => Some(compact),
        _ => None,
    });
    let prefilled = passed_on.unwrap().prefilled.iter().map(|(index, _)| *index);
    assert!(prefilled.eq([57, 58, 59]));
}

/// A block in short, with ids that mislead: two that are the same, and two that stand for each other's transactions.
pub(crate) fn misleading(block: &Block) -> [CompactBlock; 2] {
    let sketch = CompactBlock::new(block, 7, &[]);
    let mut twice = sketch.clone();
    twice.short_ids[1] = twice.short_ids[0];
    let mut other = sketch;
    other.short_ids.swap(5, 6);
    [twice, other]
}

#[test]
fn short_ids_that_mislead_lead_to_the_whole_block_and_are_no_fault() {
    let network = network(1);
    let known = transfers(&network, 40);
    let block = block_of(&network, &known);
    for sketch in misleading(&block) {
        let (mut stage, peers) = stage(&network, 2, &known);
        let message = Message::CompactBlock(sketch);
        stage.say(peers[0], received(&network, message));
        let ids = vec![block.id()];
        assert_eq!(
            stage.sent_to(peers[0]),
            [Message::RequestBlocksById { ids }]
        );
        assert!(!has(&stage, &block));
        let (from_block, blocks) = (0, vec![Arc::clone(&block)]);
        stage.say(peers[0], Received::Blocks { from_block, blocks });
        assert!(has(&stage, &block));
        assert_eq!(rebuilt(&stage), [Rebuilt::Whole]);
        assert_eq!((stage.ended.len(), stage.machine.fetches()), (0, 0));
    }
}

#[test]
fn who_announces_and_does_not_deliver_delays_a_block_by_a_moment() {
    let network = network(1);
    let known = transfers(&network, 40);
    let block = block_of(&network, &known);
    let (mut stage, peers) = stage(&network, 3, &known);
    let id = block.id();
    for peer in &peers {
        stage.say(*peer, Received::AnnounceBlock { id });
    }
    // One is asked at a time.
    let question = Message::RequestCompactBlock { id };
    assert_eq!(stage.sent, [(peers[0], question.clone())]);
    stage.sent.clear();
    stage.pass(1_000);
    let asked = |(_, message): &&(ConnId, Message)| *message == question;
    let next: Vec<_> = stage.sent.iter().filter(asked).map(|(to, _)| *to).collect();
    assert_eq!(next, [peers[1]]);
    // One that leaves is not waited for.
    stage.sent.clear();
    stage.feed(Input::Disconnected { conn: peers[1] });
    assert_eq!(stage.sent_to(peers[2]), [question]);
    stage.say(peers[2], compact(&network, &block, &[]));
    assert!(has(&stage, &block));
    assert_eq!(stage.machine.fetches(), 0);
    // What does not exist is forgotten, and takes no more than a peer's share of places.
    for number in 0..100 {
        let id = triskel::protocol::chain::id::BlockId([number; 32]);
        stage.say(peers[0], Received::AnnounceBlock { id });
    }
    assert_eq!(stage.machine.fetches(), 16);
    stage.pass(5_000);
    assert_eq!((stage.machine.fetches(), stage.ended.len()), (0, 0));
}

#[test]
fn who_does_not_want_blocks_pushed_is_told_of_them_and_may_ask() {
    let network = network(1);
    let known = transfers(&network, 40);
    let block = block_of(&network, &known);
    let (mut stage, peers) = stage(&network, 3, &known);
    stage.say(peers[1], Received::PushBlocks { push: false });
    stage.say(peers[0], Received::NewBlock(Arc::clone(&block)));
    let id = block.id();
    assert_eq!(stage.sent_to(peers[1]), [Message::AnnounceBlock { id }]);
    stage.pass(10);
    // By now the transactions wait no more.
    stage.say(peers[1], Received::RequestCompactBlock { id });
    let sent = stage.sent_to(peers[1]);
    let [Message::CompactBlock(compact)] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!(compact.prefilled, []);
    let ask = |indexes| Received::RequestBlockTransactions { block: id, indexes };
    stage.say(peers[1], ask(vec![0, 39]));
    let transactions = vec![known[0].to_bytes(), known[39].to_bytes()];
    let block = id;
    assert_eq!(
        stage.sent_to(peers[1]),
        [Message::BlockTransactions {
            block,
            transactions
        }]
    );
    stage.say(peers[1], ask(vec![40]));
    assert!(matches!(stage.ended[&peers[1]], Reason::Fault(_)));
}

#[test]
fn indexes_that_no_honest_node_sends_are_refused() {
    let network = network(1);
    let known = transfers(&network, 40);
    let block = block_of(&network, &known);
    for indexes in [vec![1, 1], vec![2, 1], vec![10_000]] {
        let id = block.id();
        let question = Message::RequestBlockTransactions { block: id, indexes };
        assert_eq!(question.check(&network), Err(MessageError::Indexes));
    }
    let good = CompactBlock::new(&block, 7, &[3, 4]);
    for (first, second) in [(4, 4), (4, 3), (3, 40)] {
        let mut wrong = good.clone();
        (wrong.prefilled[0].0, wrong.prefilled[1].0) = (first, second);
        let wrong = Message::CompactBlock(wrong).check(&network);
        assert_eq!(wrong, Err(MessageError::Indexes));
    }
    let mut long = good.clone();
    long.short_ids = vec![[0; 6]; 10_000];
    let long = Message::CompactBlock(long).check(&network);
    assert!(matches!(
        long,
        Err(MessageError::Count { count: 10_002, .. })
    ));
    let mut unsigned = good;
    unsigned.prefilled[0].1[152] ^= 1;
    let unsigned = Message::CompactBlock(unsigned).check(&network);
    assert!(matches!(unsigned, Err(MessageError::Transaction(_))));
}

#[test]
fn of_many_peers_those_push_that_were_first_with_the_most() {
    let network = network(1);
    let mut stage = Stage::on(Arc::clone(&network), |_| {});
    let join = |number| stage.join(key(number), &format!("10.0.0.{number}:9000"));
    let peers: Vec<_> = (1..=5).map(join).collect();
    let told = |stage: &mut Stage, conn| {
        let mut sent = stage.sent_to(conn);
        sent.retain(|message| matches!(message, Message::PushBlocks { .. }));
        sent
    };
    for (index, peer) in peers.iter().enumerate() {
        let expected: &[_] = match index {
            0..3 => &[],
            _ => &[Message::PushBlocks { push: false }],
        };
        assert_eq!(told(&mut stage, *peer), expected);
    }
    let mut model = Model::new(&network);
    let mut parent = network.id();
    for _ in 0..16 {
        let block = model.grow(&parent, Wish::default());
        parent = block.id();
        stage.say(peers[4], Received::NewBlock(block));
    }
    assert_eq!(
        told(&mut stage, peers[4]),
        [Message::PushBlocks { push: true }]
    );
    assert_eq!(
        told(&mut stage, peers[2]),
        [Message::PushBlocks { push: false }]
    );
    // Places that are left are filled.
    stage.feed(Input::Disconnected { conn: peers[0] });
    assert_eq!(
        told(&mut stage, peers[2]),
        [Message::PushBlocks { push: true }]
    );
}
