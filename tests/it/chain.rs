//! Which blocks a chain takes in, and which of them it selects.

use std::sync::Arc;

use proptest::prelude::*;
use triskel::protocol::chain::block::{Block, Stream};
use triskel::protocol::chain::digest::Accumulator;
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::rules::HeaderError;
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
        Self::open(network, Memory::default(), false)
    }

    fn open(network: &Arc<Network>, mut memory: Memory, prune: bool) -> Self {
        let mut overlay = Overlay::new(&memory);
        let chain = Chain::restore(Arc::clone(network), prune, &mut overlay).unwrap();
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
        assert_eq!(self.memory.order.len() as u64, record.number + 1);
        assert_eq!(self.memory.undo.len() as u64, record.number);
        let mut at = Arc::clone(record);
        while at.number > 0 {
            assert_eq!(self.memory.order[&at.number].id, at.id());
            assert_eq!(self.memory.positions[&at.id()], at.number);
            at = Arc::clone(&model.blocks[&at.selected_parent].1);
        }
        let mut overlay = Overlay::new(&self.memory);
        let again = Chain::restore(Arc::clone(self.chain.network()), false, &mut overlay).unwrap();
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
    // One millisecond more than the network's 2 s.
    let id = first.id();
    let early = node.accept_at(&first, first.header().timestamp_ms - 2_001);
    assert_eq!(
        early,
        Err(Rejected::Early {
            id,
            ahead_ms: 2_001
        })
    );
    assert_eq!(node.memory, before);
    let applied = vec![Arc::clone(&first)];
    let selected = Accepted::Ordered {
        undone: Vec::new(),
        applied,
        abandoned: 0,
    };
    assert_eq!(
        node.accept_at(&first, first.header().timestamp_ms - 2_000),
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
    let accumulator = Some(Accumulator::default());
    let liar = model.grow(
        &fork.id(),
        Wish {
            accumulator,
            ..Wish::default()
        },
    );
    assert_eq!(
        node.accept(&liar),
        Ok(Accepted::Beside),
        "it is not looked into yet"
    );
    let mut last = liar.id();
    // As long as it is lighter, it is not looked into; when it is, the chain stays where it was.
    while node.chain.disqualified.is_empty() {
        let block = model.grow(&last, Wish::default());
        last = block.id();
        assert_eq!(node.accept(&block), Ok(Accepted::Beside));
    }
    assert_eq!(node.chain.disqualified, [liar.id()]);
    node.stands_at(&model, &tip);
    for parent in [liar.id(), last] {
        let wish = Wish {
            miner: 2,
            ..Wish::default()
        };
        let next = model.grow(&parent, wish);
        assert_eq!(node.accept(&next), Ok(Accepted::Beside));
        let record = &node.memory.records[&next.id()];
        assert!(record.invalid, "it continues what is disqualified");
    }
    node.stands_at(&model, &tip);
    // The honest part of the fork is as good as ever.
    let mut last = fork.id();
    while node.chain.tip().id == tip {
        last = model.grow(&last, Wish::default()).id();
        node.accept(&model.blocks[&last].0).unwrap();
    }
    node.stands_at(&model, &last);
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
        if let Accepted::Ordered {
            undone, applied, ..
        } = node.accept(block).unwrap()
        {
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
fn what_is_placed_counts_once_the_order_has_followed_and_a_crash_between_loses_nothing() {
    let network = network(3);
    let mut model = Model::new(&network);
    let branch = |miner: usize, length: u64, model: &mut Model| {
        let mut parent = network.id();
        let mut grow = |_| {
            let wish = Wish {
                miner,
                ..Wish::default()
            };
            let block = model.grow(&parent, wish);
            parent = block.id();
            block
        };
        (0..length).map(&mut grow).collect::<Vec<_>>()
    };
    let (left, right) = (branch(1, 70, &mut model), branch(2, 140, &mut model));
    let mut node = Node::new(&network);
    for group in [&left[..], &right[..50], &right[50..]] {
        let before = node.chain.tip().clone();
        let mut overlay = Overlay::new(&node.memory);
        for block in group {
            let record = node.chain.place(block, FAR, &mut overlay).unwrap();
            assert_eq!(record.id(), block.id());
        }
        let batch = overlay.batch;
        node.memory.commit(batch);
        assert_eq!(node.chain.tip().id, before.id);
        // Started again from what is stored, it has the same before it.
        node = Node::open(&network, node.memory, false);
        let mut overlay = Overlay::new(&node.memory);
        assert!(matches!(
            node.chain.place(&group[0], FAR, &mut overlay),
            Err(Rejected::Known(_))
        ));
        node.chain.follow(&mut overlay).unwrap();
        let batch = overlay.batch;
        node.memory.commit(batch);
    }
    node.stands_at(&model, &right[139].id());
}

/// A network whose past is settled after a few blocks.
fn hasty() -> Arc<Network> {
    let mut params = params(1);
    (params.merge_depth, params.finality_depth) = (5, 10);
    Arc::new(Network::new(params).unwrap())
}

#[test]
fn what_is_final_is_not_undone_and_the_rest_is() {
    let network = hasty();
    let mut model = Model::new(&network);
    let mut node = Node::new(&network);
    let mut ids = vec![network.id()];
    for _ in 0..30 {
        let block = model.grow(&ids[ids.len() - 1], Wish::default());
        node.accept(&block).unwrap();
        ids.push(block.id());
    }
    // The next block would have a blue score of 31: the block at 21 is settled.
    let stranger = |miner| Wish {
        miner,
        ..Wish::default()
    };
    let late = model.grow(&ids[20], stranger(1));
    assert_eq!(node.accept(&late), Err(Rejected::Final(late.id())));
    assert!(!node.accept(&late).unwrap_err().is_provable());
    let mut last = ids[21];
    for _ in 0..8 {
        let block = model.grow(&last, stranger(2));
        assert_eq!(node.accept(&block), Ok(Accepted::Beside));
        last = block.id();
    }
    while node.chain.tip().id == ids[30] {
        last = model.grow(&last, stranger(2)).id();
        node.accept(&model.blocks[&last].0).unwrap();
    }
    node.stands_at(&model, &last);
    // A block whose parent is no longer at hand is as final, before a restart and after.
    for _ in 0..300 {
        last = model.grow(&last, stranger(2)).id();
        node.accept(&model.blocks[&last].0).unwrap();
    }
    let old = model.grow(&ids[3], stranger(3));
    for restarted in [false, true] {
        if restarted {
            node = Node::open(&network, node.memory, false);
        }
        assert_eq!(
            node.accept(&old),
            Err(Rejected::Final(old.id())),
            "{restarted}"
        );
        assert!(
            node.chain.dag().len() < 100,
            "{} blocks in memory",
            node.chain.dag().len()
        );
    }
}

#[test]
fn a_pruning_node_keeps_what_a_reorganisation_needs() {
    let network = hasty();
    let mut model = Model::new(&network);
    let mut node = Node::open(&network, Memory::default(), true);
    let mut last = network.id();
    let mut ids = vec![last];
    for round in 0..400 {
        last = model.grow(&last, Wish::default()).id();
        ids.push(last);
        node.accept(&model.blocks[&last].0).unwrap();
        if round % 100 == 50 {
            node = Node::open(&network, node.memory, true);
        }
    }
    let tip = node.chain.tip().clone();
    let (_, _, state) = &model.blocks[&last];
    assert_eq!(
        (tip.number, tip.accumulator.digest()),
        (400, state.digest())
    );
    // A window of 20 blocks, looked at every 64.
    assert!((316..=380).contains(&tip.pruned), "{}", tip.pruned);
    assert_eq!(
        node.memory.blocks.len() as u64,
        401 - tip.pruned,
        "genesis stays"
    );
    assert_eq!(node.memory.undo.len() as u64, 400 - tip.pruned);
    assert_eq!(node.memory.records.len(), 401);
    // A reorganisation as deep as any can be.
    let mut fork = ids[391];
    while node.chain.tip().id == last {
        fork = model
            .grow(
                &fork,
                Wish {
                    miner: 2,
                    ..Wish::default()
                },
            )
            .id();
        node.accept(&model.blocks[&fork].0).unwrap();
    }
    let (_, _, state) = &model.blocks[&fork];
    assert_eq!(node.memory.accounts, state.accounts);
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
        let (record, _) = model.place(&block);
        record.streams.map(|progress| progress.elapsed_ms)
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
