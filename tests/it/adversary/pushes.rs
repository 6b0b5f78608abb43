//! Rows 17 and 19: what is sent unasked, transactions as well as blocks in short.

use std::sync::Arc;

use triskel::node::NodeConfig;
use triskel::protocol::chain::transaction::SharedTransaction;
use triskel::protocol::wire::compact::CompactBlock;
use triskel::protocol::wire::message::Message;

use super::bare::Bare;
use super::honest::Chain;
use super::program::Program;
use super::{Bound, RICH, Victim, ensure, rich};
use crate::memory::transfer;
use crate::relay::misleading;

/// Transactions that may wait.
const PLACES: usize = 200;

/// Transactions that the hostile peer pushes: three times as many.
const PUSHED: usize = 3 * PLACES;

fn crowded(config: &mut NodeConfig) {
    rich(config);
    config.mempool.max_transactions = PLACES;
}

fn push(transaction: &SharedTransaction) -> Message {
    Message::NewTransaction(transaction.to_bytes().into())
}

/// Row 17. One peer pushes far more transactions than may wait, with the least fee; what another sends with a better one waits.
fn flood_of_pushes(victim: &mut impl Victim) -> Bound {
    let network = Arc::clone(victim.network());
    let (hostile, honest) = (victim.greet(1), victim.greet(2));
    let cheap: Vec<_> = (0..PUSHED)
        .map(|number| {
            let sender = 1 + number % (RICH - 1);
            let nonce = (number / (RICH - 1)) as u64;
            transfer(&network, (sender, 0), (1, 1, nonce))
        })
        .collect();
    for transactions in cheap.chunks(100) {
        transactions
            .iter()
            .for_each(|one| victim.say(hostile, &push(one)));
    }
    let dear = transfer(&network, (0, 1), (1, 1_000, 0));
    victim.say(honest, &push(&dear));
    let ids = vec![dear.id()];
    victim.until("the transaction with the best fee", |victim| {
        let ids = ids.clone();
        victim.say(honest, &Message::RequestTransactions { ids });
        victim.pass(100);
        let is_it = |message: &Message| matches!(message, Message::NewTransaction(_));
        victim.hear(honest).iter().any(is_it)
    })?;
    let waiting = victim.mempool();
    ensure(waiting <= PLACES, || format!("{waiting} wait"))
}

#[test]
fn the_machine_holds_no_more_than_it_has_places() {
    flood_of_pushes(&mut Bare::start(crowded)).unwrap();
}

#[test]
fn the_program_holds_no_more_than_it_has_places() {
    flood_of_pushes(&mut Program::start(crowded)).unwrap();
}

/// Transactions of a block that is sent in short.
const SHORT: u64 = 40;

/// Row 19. Blocks whose short ids meet, by chance or on purpose, the same again and again, and answers to no question.
fn misleading_blocks(victim: &mut impl Victim) -> Bound {
    let network = Arc::clone(victim.network());
    let mut chain = Chain::new(victim, 10, 1);
    let honest = chain.join(victim, 1);
    chain.bring(victim, honest)?;
    for part in 0..2 {
        let transactions: Vec<_> = (SHORT * part..SHORT * (part + 1))
            .map(|nonce| transfer(&network, (0, 1), (1, 1, nonce)))
            .collect();
        for one in &transactions {
            victim.say(honest, &push(one));
        }
        victim.until("the transactions", |victim| {
            victim.mempool() == transactions.len()
        })?;
        let block = chain.grow(&transactions);
        let [twice, other] = misleading(&block);
        if part == 0 {
            // By chance: whoever sent it gives the whole.
            victim.say(honest, &Message::CompactBlock(twice));
            let is_for_blocks =
                |question: &Message| matches!(question, Message::RequestBlocksById { .. });
            victim.until("the whole block", |victim| {
                chain.serve(victim, honest, is_for_blocks);
                victim.tip() == block.id()
            })?;
            continue;
        }
        // On purpose: nothing is given, and all is said many times.
        let hostile = victim.greet(2);
        for _ in 0..20 {
            victim.say(hostile, &Message::CompactBlock(twice.clone()));
            victim.say(hostile, &Message::CompactBlock(other.clone()));
            let (id, transactions) = (block.id(), vec![transactions[0].to_bytes()]);
            victim.say(
                hostile,
                &Message::BlockTransactions {
                    block: id,
                    transactions,
                },
            );
        }
        victim.say(
            honest,
            &Message::CompactBlock(CompactBlock::new(&block, 9, &[])),
        );
        chain.bring(victim, honest)?;
    }
    let bans = victim.bans();
    ensure(bans == 0, || "short ids meet by chance too".to_owned())
}

#[test]
fn the_machine_is_misled_by_no_short_ids() {
    misleading_blocks(&mut Bare::start(rich)).unwrap();
}

#[test]
fn the_program_is_misled_by_no_short_ids() {
    misleading_blocks(&mut Program::start(rich)).unwrap();
}

mod proofs {
    use super::*;

    /// Row 17: the defence is a setting.
    #[test]
    fn without_a_number_of_places_all_that_is_pushed_waits() {
        let broken = flood_of_pushes(&mut Bare::start(rich)).unwrap_err();
        assert_eq!(broken, format!("{} wait", PUSHED + 1));
    }

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn where_no_block_is_asked_for_as_a_whole_short_ids_that_meet_keep_it_out() {
        use triskel::protocol::bugs::Defence;
        super::super::lacking(Defence::WholeBlocks, rich, misleading_blocks);
    }
}
