//! The ledger: what a block does to the accounts, and that it can be taken back without a trace.

use proptest::prelude::*;
use triskel::protocol::chain::Chain;
use triskel::protocol::chain::address::{self, AddressError};
use triskel::protocol::chain::block::{Block, Stream};
use triskel::protocol::chain::digest::Accumulator;
use triskel::protocol::chain::id::AccountId;
use triskel::protocol::chain::ledger::{self, Account};
use triskel::protocol::chain::ordering::Colour;
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::view::{Overlay, Tip, View as _};

use super::memory::{Memory, Model, State, Wish, account, network, params, transfer};

fn opened(network: &std::sync::Arc<Network>) -> (Memory, Tip) {
    let mut memory = Memory::default();
    let mut overlay = Overlay::new(&memory);
    Chain::restore(network.clone(), false, &mut overlay).unwrap();
    let batch = overlay.batch;
    memory.commit(batch);
    let tip = Tip::clone(memory.tip.as_ref().unwrap());
    (memory, tip)
}

fn apply(network: &Network, memory: &mut Memory, tip: &mut Tip, block: &Block) {
    let mut overlay = Overlay::new(memory);
    ledger::apply(network, &mut overlay, tip, block, Colour::Chain).unwrap();
    let batch = overlay.batch;
    memory.commit(batch);
}

fn is_state(memory: &Memory, tip: &Tip, state: &State) {
    assert_eq!(memory.accounts, state.accounts);
    assert_eq!(tip.accumulator.digest(), state.digest());
    assert_eq!(u128::from(tip.issued), state.issued);
    assert_eq!(tip.transactions, state.applied);
    let sum: u128 = memory
        .accounts
        .values()
        .map(|account| u128::from(account.balance))
        .sum();
    assert_eq!(sum, state.issued, "what is issued is what is owned");
}

type Order = (usize, usize, u64, u64, u64);

fn orders() -> impl Strategy<Value = Vec<(usize, usize, Vec<Order>)>> {
    let order = (0usize..4, 0usize..5, 0u64..700, 0u64..30, 0u64..4);
    let block = (0usize..3, 0usize..6, prop::collection::vec(order, 0..8));
    prop::collection::vec(block, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn taking_back_is_the_reverse_of_applying(blocks in orders()) {
        let network = network(3);
        let mut model = Model::new(&network);
        let (mut memory, mut tip) = opened(&network);
        let mut history = vec![(memory.clone(), tip.clone(), network.genesis().clone())];
        for (stream, miner, orders) in blocks {
            let transactions = orders.into_iter()
                .map(|(from, to, amount, fee, nonce)| {
                    transfer(&network, (from, to), (amount, fee, nonce))
                })
                .collect();
            let wish = Wish { stream: Stream::ALL[stream], miner, transactions, ..Wish::default() };
            let parent = history.last().unwrap().2.id();
            let block = model.grow(&parent, wish);
            apply(&network, &mut memory, &mut tip, &block);
            is_state(&memory, &tip, &model.blocks[&block.id()].2);
            history.push((memory.clone(), tip.clone(), block));
        }
        while let Some((then, then_tip, block)) = history.pop() {
            prop_assert_eq!(&memory, &then);
            prop_assert_eq!(&tip, &then_tip);
            if !history.is_empty() {
                let mut overlay = Overlay::new(&memory);
                ledger::undo(&mut overlay, &mut tip, &block).unwrap();
                let batch = overlay.batch;
                memory.commit(batch);
            }
        }
    }

    #[test]
    fn a_digest_forgets_the_way_to_it(
        mut accounts in prop::collection::btree_map(any::<[u8; 32]>(), any::<(u64, u64)>(), 0..8),
        passing in any::<([u8; 32], u64, u64)>(),
    ) {
        let account = |(balance, nonce)| Account { balance, nonce };
        let mut forward = Accumulator::default();
        for (id, values) in &accounts {
            forward.add(&AccountId(*id), &account(*values));
        }
        let mut backward = Accumulator::default();
        let (id, balance, nonce) = passing;
        backward.add(&AccountId(id), &account((balance, nonce)));
        while let Some((id, values)) = accounts.pop_last() {
            backward.add(&AccountId(id), &account(values));
        }
        backward.remove(&AccountId(id), &account((balance, nonce)));
        prop_assert_eq!(&forward, &backward);
        prop_assert_eq!(&Accumulator::from_bytes(&forward.to_bytes()), &forward);
    }
}

#[test]
fn what_cannot_be_applied_is_skipped_and_counts_for_nothing() {
    let network = network(2);
    let mut model = Model::new(&network);
    let (mut memory, mut tip) = opened(&network);
    let transactions = vec![
        transfer(&network, (0, 1), (10, 1, 1)),    // a nonce too early
        transfer(&network, (0, 1), (1_000, 1, 0)), // a unit too much
        transfer(&network, (0, 1), (999, 1, 0)),   // all of it
        transfer(&network, (0, 1), (999, 1, 0)),   // the same again
        transfer(&network, (7, 0), (0, 0, 0)),     // of an account that nobody has seen: allowed
        transfer(&network, (1, 1), (1_999, 0, 0)), // to itself, with what it has just received
    ];
    let wish = Wish {
        transactions: transactions.clone(),
        ..Wish::default()
    };
    let block = model.grow(&network.id(), wish);
    apply(&network, &mut memory, &mut tip, &block);
    is_state(&memory, &tip, &model.blocks[&block.id()].2);
    let undo = memory.undo[&block.id()].clone();
    assert_eq!(undo.applied, [false, false, true, false, true, true]);
    assert_eq!(
        memory.account(&account(0)).unwrap(),
        Account {
            balance: 0,
            nonce: 1
        }
    );
    assert_eq!(
        memory.account(&account(1)).unwrap(),
        Account {
            balance: 1_999,
            nonce: 1
        }
    );
    assert_eq!(
        memory.account(&account(9)).unwrap(),
        Account {
            balance: 51,
            nonce: 0
        }
    );
    assert_eq!(memory.transactions.len(), 3);
    assert_eq!(memory.transactions[&transactions[2].id()].index, 2);
}

#[test]
fn rewards_end_where_units_would_pass_64_bits() {
    let mut params = params(1);
    params.streams[0].reward = u64::MAX - 1_010;
    let network = std::sync::Arc::new(Network::new(params).unwrap());
    let mut model = Model::new(&network);
    let (mut memory, mut tip) = opened(&network);
    let mut parent = network.id();
    // 10 units are left after the first block, none after the second; fees are paid for ever.
    for (nonce, issued) in [(0, u64::MAX - 10), (1, u64::MAX), (2, u64::MAX)] {
        let transactions = vec![transfer(&network, (0, 0), (900, 5, nonce))];
        let block = model.grow(
            &parent,
            Wish {
                transactions,
                ..Wish::default()
            },
        );
        apply(&network, &mut memory, &mut tip, &block);
        is_state(&memory, &tip, &model.blocks[&block.id()].2);
        assert_eq!(tip.issued, issued);
        parent = block.id();
    }
    assert_eq!(memory.account(&account(0)).unwrap().balance, 985);
    assert_eq!(memory.account(&account(9)).unwrap().balance, u64::MAX - 985);
}

#[test]
fn an_address_has_one_spelling_in_either_case() {
    let id = account(0);
    let text = address::encode("tsk", &id);
    assert_eq!(address::decode("tsk", &text), Ok(id));
    assert_eq!(address::decode("tsk", &text.to_uppercase()), Ok(id));
    let other = address::encode("other", &id);
    assert!(matches!(
        address::decode("tsk", &other),
        Err(AddressError::OtherNetwork { .. })
    ));
    let flipped = text.replace(&text[10..11], if &text[10..11] == "q" { "p" } else { "q" });
    assert!(matches!(
        address::decode("tsk", &flipped),
        Err(AddressError::Malformed(..))
    ));
    // 256 bits leave four of 52 digits' bits over: they are zero, or one account had sixteen addresses.
    use bech32::primitives::iter::{ByteIterExt as _, Fe32IterExt as _};
    let mut digits: Vec<_> = id.0.iter().copied().bytes_to_fes().collect();
    let last = digits.last_mut().unwrap();
    *last = bech32::Fe32::try_from(last.to_u8() | 1).unwrap();
    let prefix = bech32::Hrp::parse("tsk").unwrap();
    let padded: String = digits
        .into_iter()
        .with_checksum::<bech32::Bech32m>(&prefix)
        .chars()
        .collect();
    assert_ne!(padded, text);
    assert!(matches!(
        address::decode("tsk", &padded),
        Err(AddressError::Malformed(..))
    ));
}
