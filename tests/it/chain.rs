//! Which blocks a chain takes in, and which of them it selects.

use std::sync::Arc;

use proptest::prelude::*;
use triskel::protocol::chain::block::{Block, Stream};
use triskel::protocol::chain::id::{BlockId, StateDigest};
use triskel::protocol::chain::params::{Network, Params, ParamsError};
use triskel::protocol::chain::rules::{self, HeaderError};
use triskel::protocol::chain::view::Overlay;
use triskel::protocol::chain::{Accepted, Chain, Rejected};

use super::memory::{Memory, Model, Wish, network, params, transfer};

/// A chain and the store that it writes to.
struct Node {
    chain: Chain,
    memory: Memory,
}

const FAR: u64 = 1 << 40;

impl Node {
    fn new(network: &Arc<Network>) -> Self {
        let mut memory = Memory::default();
        let mut overlay = Overlay::new(&memory);
        let chain = Chain::restore(Arc::clone(network), &mut overlay).unwrap();
        let batch = overlay.batch;
        memory.commit(batch);
        Self { chain, memory }
    }

    fn accept_at(&mut self, block: &Arc<Block>, wall_ms: u64) -> Result<Accepted, Rejected> {
        let mut overlay = Overlay::new(&self.memory);
        let result = self.chain.accept(block, wall_ms, &mut overlay);
        let batch = overlay.batch;
        self.memory.commit(batch);
        result
    }

    fn accept(&mut self, block: &Arc<Block>) -> Result<Accepted, Rejected> {
        self.accept_at(block, FAR)
    }

    /// Compares everything with what the model says of the block that should be the tip.
    fn stands_at(&self, model: &Model, id: &BlockId) {
        let (_, record, state) = &model.blocks[id];
        let tip = self.chain.tip();
        assert_eq!(
            (tip.id, tip.number, tip.work),
            (*id, record.number, record.work)
        );
        assert_eq!(tip.accumulator.digest(), state.digest());
        assert_eq!(u128::from(tip.issued), state.issued);
        assert_eq!(tip.transactions, state.applied);
        assert_eq!(self.memory.accounts, state.accounts);
        assert_eq!(self.memory.tip.as_ref(), Some(tip));
        assert_eq!(self.memory.transactions.len() as u64, state.applied);
        assert_eq!(self.memory.selected.len() as u64, record.number + 1);
        assert_eq!(self.memory.undo.len() as u64, record.number);
        let mut at = Arc::clone(record);
        while at.number > 0 {
            assert_eq!(self.memory.selected[&at.number], at.id());
            at = Arc::clone(&model.blocks[&at.selected_parent].1);
        }
        let mut overlay = Overlay::new(&self.memory);
        let again = Chain::restore(Arc::clone(self.chain.network()), &mut overlay).unwrap();
        assert_eq!(again.tip(), tip);
        assert!(overlay.batch.is_empty());
    }
}

#[test]
fn blocks_that_cannot_be_placed_are_refused_and_leave_nothing() {
    let network = network(1);
    let mut model = Model::new(&network);
    let genesis = network.id();
    let mut node = Node::new(&network);
    let first = model.grow(
        &genesis,
        Wish {
            gap_ms: 1 << 30,
            ..Wish::default()
        },
    );
    let second = model.grow(&first.id(), Wish::default());
    let before = node.memory.clone();
    assert_eq!(node.accept(&second), Err(Rejected::Orphan(second.id())));
    assert_eq!(node.memory, before);
    // One millisecond more than the network's 10 s.
    let id = first.id();
    let early = node.accept_at(&first, first.header().timestamp_ms - 10_001);
    assert_eq!(
        early,
        Err(Rejected::Early {
            id,
            ahead_ms: 10_001
        })
    );
    assert_eq!(node.memory, before);
    let applied = vec![Arc::clone(&first)];
    let selected = Accepted::Selected {
        undone: Vec::new(),
        applied,
    };
    assert_eq!(
        node.accept_at(&first, first.header().timestamp_ms - 10_000),
        Ok(selected)
    );
    assert_eq!(node.accept(&first), Err(Rejected::Known(id)));
    assert_eq!(
        node.accept(network.genesis()),
        Err(Rejected::Known(genesis))
    );
    let stale = model.build(
        &id,
        Wish {
            gap_ms: 0,
            ..Wish::default()
        },
    );
    let refused = node.accept(&stale).unwrap_err();
    assert!(matches!(
        refused,
        Rejected::Header(HeaderError::NotAfterParent { .. })
    ));
    assert!(refused.is_provable());
    let bits = Some(0x2000_ffff);
    let wrong = model.build(
        &id,
        Wish {
            bits,
            ..Wish::default()
        },
    );
    let refused = node.accept(&wrong).unwrap_err();
    assert!(matches!(
        refused,
        Rejected::Header(HeaderError::Bits { .. })
    ));
    node.stands_at(&model, &id);
}

#[test]
fn a_wrong_state_digest_bars_a_block_and_all_that_follows() {
    let network = network(1);
    let mut model = Model::new(&network);
    let mut node = Node::new(&network);
    let good = model.grow(&network.id(), Wish::default());
    node.accept(&good).unwrap();
    // Three blocks beside a heavier tip, the second of which lies.
    let tip = (0..3).fold(good.id(), |parent, _| {
        let block = model.grow(&parent, Wish::default());
        node.accept(&block).unwrap();
        block.id()
    });
    let fork = model.grow(
        &good.id(),
        Wish {
            miner: 1,
            ..Wish::default()
        },
    );
    assert_eq!(node.accept(&fork), Ok(Accepted::Beside));
    let digest = Some(StateDigest([7; 32]));
    let liar = model.grow(
        &fork.id(),
        Wish {
            digest,
            ..Wish::default()
        },
    );
    assert_eq!(
        node.accept(&liar),
        Ok(Accepted::Beside),
        "it is not looked into yet"
    );
    let sibling = model.grow(
        &liar.id(),
        Wish {
            miner: 2,
            ..Wish::default()
        },
    );
    let mut last = liar.id();
    let refused = loop {
        let block = model.grow(&last, Wish::default());
        last = block.id();
        match node.accept(&block) {
            Ok(accepted) => assert_eq!(accepted, Accepted::Beside),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Rejected::StateDigest(liar.id()));
    assert!(refused.is_provable());
    node.stands_at(&model, &tip);
    let next = model.grow(&last, Wish::default());
    let barred = HeaderError::InvalidAncestor(next.id());
    assert_eq!(node.accept(&next), Err(Rejected::Header(barred)));
    let barred = HeaderError::InvalidAncestor(sibling.id());
    assert_eq!(node.accept(&sibling), Err(Rejected::Header(barred)));
    node.stands_at(&model, &tip);
    // The honest part of the fork is as good as ever.
    let beside = model.grow(
        &fork.id(),
        Wish {
            miner: 3,
            ..Wish::default()
        },
    );
    assert_eq!(node.accept(&beside), Ok(Accepted::Beside));
}

#[test]
fn of_equal_work_the_greater_id_is_selected_whatever_came_first() {
    let network = network(1);
    let mut model = Model::new(&network);
    let one = model.grow(
        &network.id(),
        Wish {
            miner: 1,
            ..Wish::default()
        },
    );
    let two = model.grow(
        &network.id(),
        Wish {
            miner: 2,
            ..Wish::default()
        },
    );
    let greater = one.id().max(two.id());
    for order in [[&one, &two], [&two, &one]] {
        let mut node = Node::new(&network);
        for block in order {
            node.accept(block).unwrap();
        }
        node.stands_at(&model, &greater);
    }
}

#[test]
fn a_deep_reorganisation_takes_back_all_and_can_be_taken_back() {
    let network = network(2);
    let mut model = Model::new(&network);
    let branch = |miner: usize, length: u64, model: &mut Model| {
        let mut parent = network.id();
        (0..length)
            .map(|nonce| {
                let transactions = vec![transfer(&network, (0, miner), (3, 1, nonce))];
                let wish = Wish {
                    miner,
                    transactions,
                    ..Wish::default()
                };
                let block = model.grow(&parent, wish);
                parent = block.id();
                block
            })
            .collect::<Vec<_>>()
    };
    let left = branch(3, 120, &mut model);
    let right = branch(4, 160, &mut model);
    let mut node = Node::new(&network);
    for block in &left {
        node.accept(block).unwrap();
    }
    node.stands_at(&model, &left[119].id());
    let mut moved = None;
    for block in &right {
        if let Accepted::Selected { undone, applied } = node.accept(block).unwrap() {
            moved.get_or_insert((undone, applied));
        }
    }
    let (undone, applied) = moved.unwrap();
    assert!(undone.iter().eq(left.iter().rev()));
    assert!(applied.iter().eq(&right[..applied.len()]));
    node.stands_at(&model, &right[159].id());
    let mut parent = left[119].id();
    while node.chain.tip().id != parent {
        parent = model.grow(&parent, Wish::default()).id();
        node.accept(&model.blocks[&parent].0).unwrap();
    }
    node.stands_at(&model, &parent);
}

#[test]
fn a_long_pause_counts_for_four_half_lives() {
    let network = network(0);
    let mut model = Model::new(&network);
    let first = model.grow(&network.id(), Wish::default());
    let after = |gap_ms| {
        let block = model.build(
            &first.id(),
            Wish {
                gap_ms,
                ..Wish::default()
            },
        );
        let record = rules::place(&network, &model.blocks[&first.id()].1, block.heading());
        record.unwrap().streams.map(|progress| progress.elapsed_ms)
    };
    assert_eq!(after(20_000), [20_000; 3]);
    assert_eq!(after(100_000), [100_000, 100_000, 24_000]);
    assert_eq!(after(7 * 86_400_000), [800_000, 160_000, 24_000]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_tree_in_any_order_ends_on_the_same_block(
        tree in prop::collection::vec(
            (any::<prop::sample::Index>(), 0usize..3, 0usize..4, 1u64..3_000), 1..40),
        keys in prop::collection::vec(any::<u64>(), 40),
    ) {
        let network = network(3);
        let mut model = Model::new(&network);
        let mut ids = vec![network.id()];
        for (number, (parent, stream, miner, gap_ms)) in tree.into_iter().enumerate() {
            let transactions = (0..2)
                .map(|nonce| transfer(&network, (miner, number % 5), (40, 2, nonce + (number as u64 / 9))))
                .collect();
            let wish = Wish {
                stream: Stream::ALL[stream], miner, gap_ms, transactions, ..Wish::default()
            };
            let wish = Wish { extra_nonce: number as u64, ..wish };
            ids.push(model.grow(parent.get(&ids), wish).id());
        }
        let best = ids.iter().max_by_key(|id| (model.blocks[*id].1.work, **id)).unwrap();
        let mut waiting: Vec<_> = ids[1..].iter().zip(&keys).collect();
        waiting.sort_by_key(|(_, key)| **key);
        let mut node = Node::new(&network);
        while !waiting.is_empty() {
            waiting.retain(|(id, _)| {
                matches!(node.accept(&model.blocks[*id].0), Err(Rejected::Orphan(_)))
            });
        }
        node.stands_at(&model, best);
    }
}

#[test]
fn parameters_out_of_range_make_no_network() {
    let refused = |change: fn(&mut Params), key: &str| {
        let mut params = params(2);
        change(&mut params);
        match Network::new(params) {
            Err(ParamsError::Range { key: found, .. }) => assert_eq!(found, key),
            Err(ParamsError::Bits(..)) => assert_eq!(key, "bits"),
            Ok(_) => panic!("{key} was not refused"),
        }
    };
    refused(|params| params.name.clear(), "name");
    refused(|params| params.name = "n".repeat(65), "name");
    refused(
        |params| params.address_prefix = "Tsk".to_owned(),
        "address_prefix",
    );
    refused(|params| params.max_parents = 0, "max_parents");
    refused(|params| params.max_parents = 17, "max_parents");
    refused(|params| params.k = 1, "k");
    refused(|params| params.streams.clear(), "streams");
    refused(
        |params| params.streams.extend(Params::chain().streams),
        "streams",
    );
    refused(|params| params.streams[1].interval_ms = 0, "interval_ms");
    refused(
        |params| params.streams[1].half_life_ms = u64::MAX,
        "half_life_ms",
    );
    refused(
        |params| params.streams[1].half_life_ms = params.streams[1].interval_ms - 1,
        "half_life_ms",
    );
    refused(
        |params| params.streams[0].max_transactions = 10_001,
        "max_transactions",
    );
    refused(|params| params.streams[0].work_weight = 0, "work_weight");
    refused(
        |params| params.streams[0].initial_bits = 0x2100_ffff,
        "initial_bits",
    );
    refused(|params| params.streams[2].limit_bits = 0x0112_3456, "bits");
    refused(|params| params.allocations.reverse(), "allocations");
    refused(
        |params| params.allocations[1] = params.allocations[0].clone(),
        "allocations",
    );
    refused(
        |params| params.allocations[0].balance = u64::MAX / 2,
        "allocations",
    );
}
