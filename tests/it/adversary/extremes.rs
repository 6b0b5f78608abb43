//! Rows 27 and 28: what the rules allow at most, and ids that are made to cost more than others.

use std::sync::Arc;

use triskel::node::NodeConfig;
use triskel::protocol::chain::block::MAX_TRANSACTIONS;
use triskel::protocol::wire::limits::{MAX_ANNOUNCED, MAX_IDS_AT_ONCE};
use triskel::protocol::wire::message::Message;

use super::announcements::invented;
use super::bare::Bare;
use super::honest::new_block;
use super::program::Program;
use super::{Bound, Victim};
use crate::memory::{Model, Wish, transfer};

/// Peers that announce as much as is looked at: together more than is remembered.
const HOSTILE: usize = 8;

fn spacious(config: &mut NodeConfig) {
    config.network.streams.a.max_transactions = Some(MAX_TRANSACTIONS as u32);
}

/// A block of as many transactions as any network allows is taken, told of and handed out whole.
fn largest_block_travels(victim: &mut impl Victim) -> Bound {
    let network = Arc::clone(victim.network());
    let transactions = 0..MAX_TRANSACTIONS as u64;
    let wish = Wish {
        transactions: transactions
            .map(|nonce| transfer(&network, (0, 1), (1, 1, nonce)))
            .collect(),
        ..Wish::default()
    };
    let block = Model::new(&network).build(&network.id(), wish);
    let (sender, receiver) = (victim.greet(1), victim.greet(2));
    victim.say(sender, &new_block(&block));
    let id = block.id();
    victim.until("the news of the block", |victim| {
        let heard = victim.hear(receiver);
        heard.contains(&Message::AnnounceBlock { id })
            || heard
                .iter()
                .any(|message| matches!(message, Message::CompactBlock(_) | Message::NewBlock(_)))
    })?;
    victim.say(receiver, &Message::RequestBlocksById { ids: vec![id] });
    victim.until("the block", |victim| {
        let is_whole = |message: &Message| match message {
            Message::Blocks { blocks, .. } => blocks == &[Arc::clone(block.bytes())],
            _ => false,
        };
        victim.hear(receiver).iter().any(is_whole)
    })
}

/// Peers fill all that is remembered of transactions with ids that end alike, and somebody else is answered all the same.
fn ids_that_end_alike(victim: &mut impl Victim) -> Bound {
    const MESSAGES: u64 = MAX_IDS_AT_ONCE / MAX_ANNOUNCED as u64;
    for number in 0..HOSTILE {
        let peer = victim.greet(1 + number);
        let first = number as u64 * MESSAGES;
        for message in first..first + MESSAGES {
            victim.say(peer, &invented(message));
        }
    }
    let honest = victim.greet(1 + HOSTILE);
    victim.settle(honest)
}

#[test]
fn the_machine_takes_what_the_rules_allow() {
    largest_block_travels(&mut Bare::start(spacious)).unwrap();
}

#[test]
fn the_program_takes_what_the_rules_allow() {
    largest_block_travels(&mut Program::start(spacious)).unwrap();
}

#[test]
fn the_machine_bears_ids_that_end_alike() {
    ids_that_end_alike(&mut Bare::start(|_| ())).unwrap();
}

#[test]
fn the_program_bears_ids_that_end_alike() {
    ids_that_end_alike(&mut Program::start(|_| ())).unwrap();
}

mod proofs {
    use triskel::protocol::wire::frame::{Decoder, PREFIX_BYTES, encode};
    use triskel::protocol::wire::limits::MAX_MESSAGE_BYTES;
    use triskel::protocol::wire::message::MessageError;

    use super::*;
    use crate::frames::largest_block;

    /// Row 27: the cap is the size of the largest block, so one that is any lower refuses it, as that of another state does.
    #[test]
    fn a_cap_below_the_rules_refuses_what_they_allow() {
        let (_, block) = largest_block();
        let message = new_block(&block);
        let frame = encode(&message);
        assert_eq!(
            frame.len() - PREFIX_BYTES,
            MAX_MESSAGE_BYTES[message.kind()]
        );
        let mut decoder = Decoder::default();
        decoder.extend(&frame);
        let refused = decoder.next_message();
        assert!(matches!(refused, Err(MessageError::TooLong { .. })));
    }
}
