//! The order of blocks: published colourings, and a naive model that takes the definition by its word.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proptest::prelude::*;
use serde_json::Value;
use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::ordering::colouring::{Colouring, MergeError};
use triskel::protocol::chain::ordering::dag::{Dag, Entry, Index, Limits};
use triskel::protocol::chain::ordering::{Colour, Ordered, k_for};
use triskel::protocol::chain::view::Progress;
use triskel::protocol::chain::work::Work;

use super::vectors;

fn limits(k: u16) -> Limits {
    Limits {
        k,
        max_parents: 16,
        merge_limit: 500,
        merge_depth: 1_000_000,
        finality_depth: 1_000_000,
    }
}

fn work(value: u64) -> Work {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&value.to_be_bytes());
    Work::from_be_bytes(bytes)
}

fn root(dag: &Dag) -> Colouring {
    Colouring {
        selected_parent: dag.next(),
        merged: Vec::new(),
        anticones: Vec::new(),
        blue_score: 0,
        work: Work::ZERO,
        past: 0,
        streams: [Progress::default(); 3],
    }
}

fn add(dag: &mut Dag, id: BlockId, parents: &[Index], own_work: u64) -> Result<Index, MergeError> {
    let colouring = match parents {
        [] => root(dag),
        parents => dag.colour(parents)?,
    };
    Ok(dag.insert(Entry {
        id,
        stream: Stream::A,
        timestamp_ms: 0,
        parents: parents.to_vec(),
        streams: colouring.streams,
        colouring,
        own_work: work(own_work),
        invalid: false,
    }))
}

fn named(name: &str) -> BlockId {
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    BlockId(bytes)
}

fn names(value: &Value) -> Vec<BlockId> {
    let names = value.as_array().unwrap().iter();
    names.map(|name| named(name.as_str().unwrap())).collect()
}

#[test]
fn published_dags_are_coloured_as_published() {
    let Some(folder) = vectors::folder() else {
        return;
    };
    let mut blocks = 0;
    for file in fs::read_dir(folder.join("ghostdag")).unwrap() {
        let path = file.unwrap().path();
        let file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let mut dag = Dag::new(limits(file["K"].as_u64().unwrap() as u16));
        add(&mut dag, named(file["GenesisID"].as_str().unwrap()), &[], 1).unwrap();
        for block in file["Blocks"].as_array().unwrap() {
            let id = named(block["ID"].as_str().unwrap());
            let parents: Vec<_> = names(&block["Parents"])
                .iter()
                .map(|id| dag.index(id).unwrap())
                .collect();
            let colouring = dag.colour(&parents).unwrap();
            let of = |wanted: bool| {
                let merged = colouring
                    .merged
                    .iter()
                    .filter(move |(_, blue)| *blue == wanted);
                merged.map(|(block, _)| dag.id(*block)).collect::<Vec<_>>()
            };
            let what = format!("{} of {}", block["ID"], path.display());
            let selected = dag.id(colouring.selected_parent);
            assert_eq!(
                vec![selected],
                names(&Value::Array(vec![block["ExpectedSelectedParent"].clone()])),
                "{what}"
            );
            assert_eq!(
                [vec![selected], of(true)].concat(),
                names(&block["ExpectedBlues"]),
                "{what}"
            );
            assert_eq!(of(false), names(&block["ExpectedReds"]), "{what}");
            assert_eq!(
                colouring.blue_score,
                block["ExpectedScore"].as_u64().unwrap(),
                "{what}"
            );
            add(&mut dag, id, &parents, 1).unwrap();
            blocks += 1;
        }
    }
    assert!(blocks > 0, "no vectors in {}", folder.display());
}

/// Whole sets for every block, and the definition by its word.
#[derive(Default)]
struct Naive {
    k: usize,
    blocks: BTreeMap<BlockId, Block>,
}

#[derive(Clone)]
struct Block {
    past: BTreeSet<BlockId>,
    /// Blue blocks of the past.
    blue: BTreeSet<BlockId>,
    order: Vec<BlockId>,
    own: u64,
    work: u64,
}

impl Naive {
    fn are_parallel(&self, one: &BlockId, other: &BlockId) -> bool {
        one != other
            && !self.blocks[one].past.contains(other)
            && !self.blocks[other].past.contains(one)
    }

    fn anticone(&self, block: &BlockId, among: &BTreeSet<BlockId>) -> usize {
        among
            .iter()
            .filter(|other| self.are_parallel(block, other))
            .count()
    }

    fn colour(&self, parents: &[BlockId]) -> (BlockId, Block) {
        let rank = |id: &BlockId| (self.blocks[id].work, *id);
        let selected = *parents.iter().max_by_key(|id| rank(id)).unwrap();
        let base = &self.blocks[&selected];
        let mut past: BTreeSet<_> = parents.iter().copied().collect();
        past.extend(parents.iter().flat_map(|id| &self.blocks[id].past).copied());
        let mut merged: Vec<_> = past
            .difference(&base.past)
            .copied()
            .filter(|id| *id != selected)
            .collect();
        merged.sort_by_key(rank);
        let mut blue = base.blue.clone();
        blue.insert(selected);
        for id in &merged {
            let mut with = blue.clone();
            with.insert(*id);
            if with
                .iter()
                .all(|member| self.anticone(member, &with) <= self.k)
            {
                blue = with;
            }
        }
        let mut order = base.order.clone();
        order.push(selected);
        order.extend(&merged);
        let work = blue.iter().map(|id| self.blocks[id].own).sum();
        let own = 0;
        (
            selected,
            Block {
                past,
                blue,
                order,
                own,
                work,
            },
        )
    }
}

/// A DAG in which each block names some of the tips that its miner may know.
fn shapes() -> impl Strategy<Value = (u16, Vec<(Vec<prop::sample::Index>, u64, u8)>)> {
    let block = (
        prop::collection::vec(any::<prop::sample::Index>(), 1..5),
        1u64..4,
        any::<u8>(),
    );
    (0u16..6, prop::collection::vec(block, 1..60))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_dag_is_coloured_and_ordered_as_defined((k, shape) in shapes(), depth in 1usize..20) {
        let mut dag = Dag::new(limits(k));
        let mut naive = Naive { k: k.into(), ..Naive::default() };
        let genesis = named("genesis");
        add(&mut dag, genesis, &[], 0).unwrap();
        let past = BTreeSet::new();
        naive.blocks.insert(genesis, Block { past, blue: BTreeSet::new(), order: Vec::new(), own: 0, work: 0 });
        let mut ids = vec![genesis];
        for (number, (picks, own, salt)) in shape.into_iter().enumerate() {
            // Parents among the last few blocks: wide, and yet connected.
            let recent = &ids[ids.len().saturating_sub(depth)..];
            let picked: BTreeSet<BlockId> = picks.iter().map(|pick| *pick.get(recent)).collect();
            let known = |id: &BlockId| picked.iter().any(|other| naive.blocks[other].past.contains(id));
            let parents: Vec<BlockId> = picked.iter().copied().filter(|id| !known(id)).collect();
            let indices: Vec<_> = parents.iter().map(|id| dag.index(id).unwrap()).collect();
            if parents.len() < picked.len() {
                let all: Vec<_> = picked.iter().map(|id| dag.index(id).unwrap()).collect();
                prop_assert_eq!(dag.colour(&all), Err(MergeError::Redundant));
            }
            let colouring = dag.colour(&indices).unwrap();
            let (selected, mut block) = naive.colour(&parents);
            prop_assert_eq!(dag.id(colouring.selected_parent), selected);
            prop_assert_eq!(colouring.past as usize, block.past.len());
            prop_assert_eq!(colouring.blue_score as usize, block.blue.len());
            prop_assert_eq!(colouring.work, work(block.work));
            let blue = |id: &BlockId| block.blue.contains(id);
            for (merged, is_blue) in &colouring.merged {
                prop_assert_eq!(*is_blue, blue(&dag.id(*merged)));
            }
            // From the order of any other block to this one.
            let from = dag.colour(&[dag.index(&ids[usize::from(salt) % ids.len()]).unwrap()]).unwrap();
            let (_, other) = naive.colour(&[ids[usize::from(salt) % ids.len()]]);
            let route = dag.route(&from, &colouring);
            let mut order = other.order;
            for undone in &route.undo {
                prop_assert_eq!(order.pop(), Some(undone.id));
            }
            order.extend(route.apply.iter().map(|ordered| ordered.id));
            prop_assert_eq!(&order, &block.order);
            let is_red = |ordered: &Ordered| ordered.colour == Colour::Red;
            prop_assert!(route.apply.iter().all(|ordered| is_red(ordered) != block.blue.contains(&ordered.id)));
            block.own = own;
            block.work += own;
            let id = BlockId(*blake3::hash(&[number as u8, salt]).as_bytes());
            add(&mut dag, id, &indices, own).unwrap();
            for other in &ids {
                let (one, two) = (dag.index(other).unwrap(), dag.index(&id).unwrap());
                prop_assert_eq!(dag.is_in_past_of(one, two), block.past.contains(other));
                prop_assert!(!dag.is_in_past_of(two, one));
            }
            // Whichever chain is the selected one, the answers stay the same.
            let mut at = dag.index(&id).unwrap();
            let scores = 0..=dag.blue_score(at);
            for score in scores.rev() {
                while dag.blue_score(at) > score {
                    at = dag.selected_parent(at);
                }
                prop_assert_eq!(dag.chain_block_at(dag.index(&id).unwrap(), score), Some(at));
            }
            naive.blocks.insert(id, block);
            ids.push(id);
            if salt % 3 == 0 {
                dag.select_chain(dag.index(picks[0].get(&ids)).unwrap());
            }
        }
        let selection = dag.select().unwrap();
        let best = ids.iter().max_by_key(|id| (naive.blocks[*id].work, **id)).unwrap();
        prop_assert_eq!(dag.id(selection.colouring.selected_parent), *best);
        let tips = ids.iter().filter(|id| !naive.blocks.values().any(|block| block.past.contains(id)));
        prop_assert_eq!(selection.parents.len(), tips.count().min(16));
    }
}

/// Of so many blocks, each upon some of the last few as far as one block may merge them, whatever is parallel in the end.
fn tangle(limits: Limits, shape: &[(Vec<prop::sample::Index>, u64, u8)], depth: usize) -> Dag {
    let mut dag = Dag::new(limits);
    let mut ids = vec![named("genesis")];
    add(&mut dag, ids[0], &[], 0).unwrap();
    for (number, (picks, own, salt)) in shape.iter().enumerate() {
        let recent = &ids[ids.len().saturating_sub(depth)..];
        let mut parents: Vec<Index> = Vec::new();
        for pick in picks.iter().take(limits.max_parents) {
            let mut with = parents.clone();
            with.push(dag.index(pick.get(recent)).unwrap());
            with.dedup();
            if dag.colour(&with).is_ok() {
                parents = with;
            }
        }
        let id = BlockId(*blake3::hash(&[number as u8, *salt]).as_bytes());
        add(&mut dag, id, &parents, *own).unwrap();
        ids.push(id);
    }
    dag
}

/// Mines upon what is selected until nothing is left beside it, at most so many blocks. What is left.
fn mine_until_one(dag: &mut Dag, most: usize) -> usize {
    for number in 0..most {
        let selection = dag.select().unwrap();
        if dag.tips().count() == 1 {
            break;
        }
        let id = named(&format!("mined {number}"));
        add(dag, id, &selection.parents, 1_000).unwrap();
    }
    dag.tips().count() - 1
}

/// The blocks that a test adds in a row, the first upon `parent`.
fn line(dag: &mut Dag, name: &str, parent: Index, own: u64, count: usize) -> Index {
    (0..count).fold(parent, |tip, number| {
        add(dag, named(&format!("{name} {number}")), &[tip], own).unwrap()
    })
}

#[test]
fn a_block_that_merges_as_much_as_it_may_is_merged() {
    let limits = Limits {
        max_parents: 3,
        merge_limit: 8,
        ..limits(2)
    };
    let mut dag = Dag::new(limits);
    let genesis = add(&mut dag, named("genesis"), &[], 0).unwrap();
    line(&mut dag, "heavy", genesis, 100, 20);
    let middle = line(&mut dag, "middle", genesis, 10, 5);
    let light = line(&mut dag, "light", genesis, 1, limits.merge_limit);
    // This and what it merges are one block more than another one may merge.
    let full = add(&mut dag, named("full"), &[middle, light], 10).unwrap();
    line(&mut dag, "later", full, 10, 5);
    assert_eq!(mine_until_one(&mut dag, 10), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_parallel_is_merged_in_the_end(
        (k, shape) in shapes(), depth in 1usize..40, max_parents in 2usize..5, room in 0usize..8
    ) {
        let merge_limit = max_parents + room;
        let mut dag = tangle(Limits { max_parents, merge_limit, ..limits(k) }, &shape, depth);
        let blocks = dag.len();
        prop_assert_eq!(mine_until_one(&mut dag, blocks + 1), 0);
    }
}

#[test]
fn k_follows_from_rate_and_delay() {
    // Kaspa's table (rate, k) for a delay of 5 s, and ours for three streams.
    for (rate, k) in [
        (1.0, 18),
        (2.0, 31),
        (5.0, 67),
        (8.0, 102),
        (10.0, 124),
        (32.0, 362),
    ] {
        assert_eq!(k_for(rate, 5_000), k, "at {rate} blocks/s");
    }
    for (delay_ms, k) in [(200, 10), (500, 20), (1_000, 34), (2_000, 61)] {
        assert_eq!(k_for(11.1, delay_ms), k, "at a delay of {delay_ms} ms");
    }
    assert_eq!(k_for(0.0, 500), 0);
}
