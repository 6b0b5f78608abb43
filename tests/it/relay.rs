//! How blocks and transactions are passed on.

use std::sync::Arc;

use triskel::protocol::machine::io::{Event, Input};
use triskel::protocol::wire::message::{Message, Received};

use super::memory::{Model, Wish, network};
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
