//! The mempool against a model that keeps one flat list.

use std::convert::Infallible;

use proptest::prelude::*;
use triskel::protocol::chain::id::AccountId;
use triskel::protocol::chain::ledger::Account;
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::transaction::{SharedTransaction, TRANSACTION_BYTES};
use triskel::protocol::mempool::{AdmissionError, Mempool, MempoolLimits};

use super::memory::{account, network, transfer};

const LIMITS: MempoolLimits = MempoolLimits {
    transactions: 6,
    bytes: 1 << 20,
    per_sender: 4,
    min_fee: 2,
};

fn holder(nonce: u64) -> Account {
    Account {
        balance: 1_000,
        nonce,
    }
}

fn order(network: &Network, sender: usize, fee: u64, nonce: u64) -> SharedTransaction {
    transfer(network, (sender, 8), (10, fee, nonce))
}

#[test]
fn admission_names_what_is_wrong() {
    let network = network(0);
    let mut mempool = Mempool::new(LIMITS);
    let first = order(&network, 0, 20, 5);
    assert!(mempool.admit(first.clone(), &holder(5)).is_ok());
    let mut label = |transaction, nonce| {
        mempool
            .admit(transaction, &holder(nonce))
            .unwrap_err()
            .label()
    };
    assert_eq!(label(first.clone(), 5), "known");
    assert_eq!(label(order(&network, 0, 20, 4), 5), "used_nonce");
    assert_eq!(label(order(&network, 0, 20, 9), 5), "nonce_ahead");
    assert_eq!(label(order(&network, 0, 1, 6), 5), "fee");
    assert_eq!(label(order(&network, 0, 961, 6), 5), "balance");
    assert_eq!(label(order(&network, 0, 21, 5), 5), "replacement");
    // The sum of costs may not wrap: two of them are above 64 bits together.
    let huge = transfer(&network, (0, 8), (u64::MAX - 20, 20, 6));
    assert_eq!(label(huge, 5), "balance");
    let better = order(&network, 0, 22, 5);
    let admitted = mempool.admit(better.clone(), &holder(5)).unwrap();
    assert_eq!(admitted.replaced, Some(first.id()));
    assert!(admitted.evicted.is_empty());
    assert!(mempool.contains(&better.id()) && !mempool.contains(&first.id()));
    assert_eq!((mempool.len(), mempool.bytes()), (1, TRANSACTION_BYTES));
    assert_eq!(mempool.next_nonce(&account(0), &holder(5)), 6);
    mempool
        .admit(order(&network, 0, 20, 7), &holder(5))
        .unwrap();
    assert_eq!(
        mempool.next_nonce(&account(0), &holder(5)),
        6,
        "the gap is filled first"
    );
    assert_eq!(mempool.forget_used(&account(0), &holder(6)), [better.id()]);
    assert_eq!(mempool.len(), 1);
}

#[test]
fn a_full_mempool_makes_room_for_higher_fees_alone() {
    let network = network(0);
    let limits = MempoolLimits {
        transactions: 100,
        bytes: 3 * TRANSACTION_BYTES,
        ..LIMITS
    };
    let mut mempool = Mempool::new(limits);
    let low = order(&network, 0, 3, 0);
    let behind = order(&network, 0, 90, 1);
    for transaction in [&low, &behind, &order(&network, 1, 5, 0)] {
        mempool.admit(transaction.clone(), &holder(0)).unwrap();
    }
    let full = AdmissionError::Full { lowest: 3 };
    assert_eq!(
        mempool.admit(order(&network, 2, 3, 0), &holder(0)),
        Err(full)
    );
    let admitted = mempool.admit(order(&network, 2, 4, 0), &holder(0)).unwrap();
    assert_eq!(
        admitted.evicted,
        [low.id(), behind.id()],
        "what waits behind goes with it"
    );
    assert_eq!(mempool.len(), 2);
}

#[test]
fn a_sender_does_not_push_out_what_its_transaction_waits_for() {
    let network = network(0);
    let mut mempool = Mempool::new(MempoolLimits {
        transactions: 2,
        ..LIMITS
    });
    for (sender, fee) in [(0, 3), (1, 50)] {
        mempool
            .admit(order(&network, sender, fee, 0), &holder(0))
            .unwrap();
    }
    let next = order(&network, 0, 40, 1);
    let full = AdmissionError::Full { lowest: 3 };
    assert_eq!(mempool.admit(next, &holder(0)), Err(full));
    assert_eq!(mempool.len(), 2);
    let nothing = Mempool::new(MempoolLimits {
        transactions: 0,
        ..LIMITS
    })
    .admit(order(&network, 0, 40, 0), &holder(0));
    assert!(matches!(nothing, Err(AdmissionError::Full { .. })));
}

#[test]
fn one_balance_is_offered_once() {
    let network = network(0);
    let mut mempool = Mempool::new(LIMITS);
    let spend = |nonce, amount| transfer(&network, (0, 8), (amount, 10, nonce));
    // Behind a gap, from the highest nonce down.
    mempool.admit(spend(3, 590), &holder(0)).unwrap();
    let refused = mempool.admit(spend(2, 391), &holder(0));
    let (balance, cost) = (1_000, 1_001);
    assert_eq!(refused, Err(AdmissionError::Balance { balance, cost }));
    mempool.admit(spend(2, 390), &holder(0)).unwrap();
    let replacement = transfer(&network, (0, 8), (589, 11, 3));
    mempool.admit(replacement, &holder(0)).unwrap();
}

fn select(mempool: &Mempool, limit: usize, salt: u64, nonces: [u64; 4]) -> Vec<SharedTransaction> {
    let state = |id: &AccountId| {
        let person = (0..4).find(|person| account(*person) == *id).unwrap();
        Ok::<_, Infallible>(holder(nonces[person]))
    };
    mempool.select(limit, salt, state).unwrap()
}

/// Repeatedly looks through everything for the best transaction that could come next.
fn naive_select(
    all: &[SharedTransaction],
    limit: usize,
    salt: u64,
    nonces: [u64; 4],
) -> Vec<SharedTransaction> {
    let mut states: Vec<_> = (0..4)
        .map(|person| (account(person), holder(nonces[person])))
        .collect();
    let mut selected = Vec::new();
    while selected.len() < limit {
        let allowed = |transaction: &&SharedTransaction| {
            let transfer = transaction.transfer();
            states
                .iter()
                .any(|(id, state)| *id == transfer.sender && state.allows(transfer))
        };
        let best = all.iter().filter(allowed).max_by_key(|next| {
            let id = next.id();
            let salted = u64::from_be_bytes(id.0[..8].try_into().unwrap()) ^ salt;
            (next.transfer().fee, std::cmp::Reverse((salted, id)))
        });
        let Some(best) = best else { break };
        let transfer = best.transfer();
        let found = states.iter_mut().find(|(id, _)| *id == transfer.sender);
        let (_, state) = found.unwrap();
        state.balance -= transfer.amount + transfer.fee;
        state.nonce += 1;
        selected.push(best.clone());
    }
    selected
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sequence_keeps_the_limits_and_selects_the_best(
        orders in prop::collection::vec((0usize..4, 0u64..600, 0u64..30, 0u64..8), 1..40),
        nonces in prop::array::uniform4(0u64..4),
        limit in 0usize..8,
        salt: u64,
    ) {
        let network = network(0);
        let mut mempool = Mempool::new(LIMITS);
        let mut all: Vec<SharedTransaction> = Vec::new();
        for (sender, amount, fee, nonce) in orders {
            let transaction = transfer(&network, (sender, 8), (amount, fee, nonce));
            match mempool.admit(transaction.clone(), &holder(nonces[sender])) {
                Ok(admitted) => {
                    let before = all.len();
                    let gone: Vec<_> = admitted.evicted.into_iter().chain(admitted.replaced).collect();
                    all.retain(|old| !gone.contains(&old.id()));
                    prop_assert_eq!(before - all.len(), gone.len());
                    all.push(transaction);
                }
                Err(error) => prop_assert!(error.label() == "known" || !mempool.contains(&transaction.id())),
            }
            all.sort_by_key(|one| (one.transfer().sender, one.transfer().nonce));
            prop_assert!(mempool.iter().eq(&all));
            prop_assert!(all.iter().all(|one| mempool.get(&one.id()) == Some(one)));
            prop_assert!(mempool.len() <= LIMITS.transactions);
        }
        prop_assert_eq!(select(&mempool, limit, salt, nonces), naive_select(&all, limit, salt, nonces));
        for transaction in &all {
            prop_assert!(mempool.remove(&transaction.id()).is_some());
        }
        prop_assert!(mempool.is_empty() && mempool.iter().next().is_none());
    }
}
