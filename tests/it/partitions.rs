//! Networks that were parted for so long that no single block may merge what the other side has built.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use triskel::protocol::chain::id::{AccountId, BlockId};
use triskel::protocol::chain::ordering::Colour;
use triskel::protocol::chain::params::{Allocation, Network, Params};
use triskel::protocol::chain::transaction::SharedTransaction;
use triskel::protocol::chain::view::Tip;
use triskel::sim::{World, WorldConfig, simulated};

use super::memory::{account, transfer};

/// A world, and what was handed in to it.
struct Parted {
    world: World,
    /// How many transfers each person has handed in.
    nonces: BTreeMap<usize, u64>,
}

/// The seeds of a test: `TRISKEL_SEED` alone, or the first.
fn seeds() -> Range<u64> {
    let seed = std::env::var("TRISKEL_SEED").map_or(1, |seed| seed.parse().unwrap());
    seed..seed + 1
}

/// Runs a test for its seeds; one that fails says how it is seen again.
fn each_seed(test: &str, run: impl Fn(u64)) {
    for seed in seeds() {
        let replay = format!("TRISKEL_SEED={seed} cargo test --test it -- partitions::{test}");
        println!("replay with: {replay}");
        run(seed);
    }
}

impl Parted {
    /// So many nodes upon `tri`, changed in some way, with four persons who own something. All is well for ten seconds.
    fn new(seed: u64, nodes: usize, change: impl FnOnce(&mut Params)) -> Self {
        let mut params = simulated(Params::tri());
        for stream in &mut params.streams {
            stream.tune(2_000 * nodes as u64);
        }
        let endow = |number| Allocation {
            account: account(number),
            balance: 1_000,
        };
        params.allocations = (0..4).map(endow).collect();
        params
            .allocations
            .sort_by_key(|allocation| allocation.account);
        change(&mut params);
        let network = Arc::new(Network::new(params).unwrap());
        let mut config = WorldConfig::new(seed, network, nodes);
        // Everybody knows everybody: each group holds together by itself.
        config.edges = (0..nodes)
            .flat_map(|node| (0..node).map(move |other| (node, other)))
            .collect();
        config.latency_us = (5_000, 50_000);
        let mut world = World::new(config).unwrap();
        world.run_for(10_000).unwrap();
        Self {
            world,
            nonces: BTreeMap::new(),
        }
    }

    fn limit(&self) -> usize {
        self.world.network().params().merge_limit.into()
    }

    /// Hands in the next transfer of a person.
    fn pay(&mut self, node: usize, sender: usize) -> SharedTransaction {
        let nonce = self.nonces.entry(sender).or_default();
        let transaction = transfer(self.world.network(), (sender, 8), (1, 1, *nonce));
        *nonce += 1;
        self.world.submit(node, Arc::clone(&transaction)).unwrap();
        transaction
    }

    /// Parts the network for a while, in which a person of each group pays, somewhere in it.
    fn part(&mut self, groups: &[usize], seconds: u64) {
        self.world.partition(groups).unwrap();
        for _ in 0..seconds / 5 {
            for (group, node) in representatives(groups) {
                self.pay(node, group);
            }
            self.world.run_for(5_000).unwrap();
        }
    }

    /// The blocks of a node's order.
    fn order(&self, node: usize) -> Vec<BlockId> {
        let store = self.world.store(node);
        let last = self.world.tip(node).unwrap().number;
        let id = |number| store.ordered(number).unwrap().unwrap().id;
        (1..=last).map(id).collect()
    }

    /// The blocks that a node has and another has not.
    fn only(&self, node: usize, other: usize) -> BTreeSet<BlockId> {
        let lacks = |id: &BlockId| self.world.store(other).record(id).unwrap().is_none();
        self.order(node).into_iter().filter(lacks).collect()
    }

    /// Lets the network mine until a node has all of these in its order.
    fn run_until_ordered(&mut self, node: usize, blocks: &BTreeSet<BlockId>, limit_ms: u64) {
        const STEP_MS: u64 = 500;
        let mut missing = blocks.len();
        for _ in 0..limit_ms / STEP_MS {
            self.world.run_for(STEP_MS).unwrap();
            let store = self.world.store(node);
            let is_missing = |id: &&BlockId| store.position(id).unwrap().is_none();
            missing = blocks.iter().filter(is_missing).count();
            if missing == 0 {
                return;
            }
        }
        let all = blocks.len();
        panic!("{missing} of {all} blocks are not in the order of node {node} after {limit_ms} ms");
    }

    /// Waits until what the next block would merge is merged.
    fn mine_what_is_selected(&mut self) {
        self.world.run_for(2_000).unwrap();
    }

    /// Waits until no node leaves out more than what is on its way to it.
    fn mine_all(&mut self, limit_ms: u64) {
        const ON_ITS_WAY: u64 = 10;
        const STEP_MS: u64 = 500;
        for _ in 0..limit_ms / STEP_MS {
            self.world.run_for(STEP_MS).unwrap();
            let mined = self.mined();
            let mut tips = (0..self.world.nodes()).map(|node| self.world.tip(node).unwrap());
            let waits = |tip: &Tip| tip.tips.iter().any(|id| !tip.parents.contains(id));
            if tips.all(|tip| tip.number + ON_ITS_WAY >= mined && !waits(tip)) {
                return;
            }
        }
        panic!("of {} blocks: {}", self.mined(), self.tips());
    }

    /// Blocks that anybody has mined.
    fn mined(&self) -> u64 {
        let mined = |node| self.world.status(node).unwrap().mined;
        let nodes = 0..self.world.nodes();
        nodes.map(|node| mined(node).values().sum::<u64>()).sum()
    }

    /// Nobody mines any more: all nodes come to the same order, accounts, and transfers.
    fn settle(&mut self) {
        for node in 0..self.world.nodes() {
            self.world.mine(node, false).unwrap();
        }
        let agree = self.world.run_until(60_000, World::agrees).unwrap();
        assert!(agree, "no agreement: {}", self.tips());
        let tip = self.world.tip(0).unwrap().clone();
        let order = self.order(0);
        for node in 1..self.world.nodes() {
            let other = self.world.tip(node).unwrap();
            assert_eq!(
                (other.number, other.id, &other.accumulator),
                (tip.number, tip.id, &tip.accumulator)
            );
            assert_eq!(self.order(node), order, "node {node} has another order");
        }
    }

    /// Where each node is, for people.
    fn tips(&self) -> String {
        let tip = |node| {
            let tip = self.world.tip(node)?;
            let waiting = tip.tips.len() - tip.parents.len();
            Some(format!(
                "#{} {:.8}, {waiting} tips wait",
                tip.number, tip.id
            ))
        };
        let nodes = 0..self.world.nodes();
        format!("{:?}", nodes.map(tip).collect::<Vec<_>>())
    }

    fn nonce(&self, account: &AccountId) -> u64 {
        self.world.account(0, account).nonce
    }

    /// How many of these blocks are red, and how many blocks of the selected chain merge some of them.
    fn merged(&self, blocks: &BTreeSet<BlockId>) -> (usize, usize) {
        let store = self.world.store(0);
        let (mut red, mut mergers) = (0, 0);
        for id in self.order(0) {
            let position = store.position(&id).unwrap().unwrap();
            let colour = store.ordered(position).unwrap().unwrap().colour;
            red += usize::from(colour == Colour::Red && blocks.contains(&id));
            if colour == Colour::Chain {
                let merged = &store.record(&id).unwrap().unwrap().merged;
                assert!(merged.len() <= self.limit(), "{} merged", merged.len());
                mergers += usize::from(merged.iter().any(|merged| blocks.contains(&merged.id)));
            }
        }
        (red, mergers)
    }
}

/// A node of each group.
fn representatives(groups: &[usize]) -> BTreeMap<usize, usize> {
    let nodes = groups.iter().enumerate();
    nodes.map(|(node, group)| (*group, node)).collect()
}

#[test]
fn what_two_sides_have_built_is_merged_over_several_blocks() {
    let test = "what_two_sides_have_built_is_merged_over_several_blocks";
    each_seed(test, |seed| {
        let mut parted = Parted::new(seed, 4, |_| {});
        parted.part(&[0, 0, 0, 1], 40);
        let (heavy, light) = (parted.only(0, 3), parted.only(3, 0));
        let before = parted.order(0);
        let (sides, limit) = ([heavy.len(), light.len()], parted.limit());
        assert!(sides.iter().all(|side| *side > limit), "{sides:?} blocks");
        // Somebody spends the same twice: the side that stays where it is decides.
        let [here, there] =
            [7, 8].map(|to| transfer(parted.world.network(), (3, to), (1_000 - to as u64, 1, 0)));
        parted.world.submit(0, Arc::clone(&here)).unwrap();
        parted.world.submit(3, Arc::clone(&there)).unwrap();
        parted.world.run_for(5_000).unwrap();
        parted.world.heal().unwrap();
        parted.mine_all(60_000);
        parted.mine_what_is_selected();
        parted.settle();
        let (red, mergers) = parted.merged(&light);
        println!(
            "{sides:?} blocks; of the lighter side's {red} are red, {mergers} blocks merge them"
        );
        assert_eq!(parted.merged(&heavy).0, 0, "the heavier side loses blocks");
        let k = usize::from(parted.world.network().params().k);
        assert!(red >= light.len() - k, "{red} of {} are red", light.len());
        assert!(mergers > light.len() / limit, "{mergers} blocks merge them");
        let deep = before.len() - limit;
        assert_eq!(parted.order(0)[..deep], before[..deep]);
        for sender in [0, 1] {
            assert_eq!(parted.nonce(&account(sender)), parted.nonces[&sender]);
        }
        let applied = |transaction: &SharedTransaction| {
            parted.world.transaction(0, &transaction.id()).is_some()
        };
        assert!(applied(&here) && !applied(&there));
        assert_eq!(parted.world.tip(0).unwrap().number, parted.mined());
    });
}

/// The lighter two of three sides meet first, or the heavier two. A block that merges as much as it may has to be merged again.
fn heal_one_after_the_other(seed: u64, halfway: [usize; 7]) {
    const GROUPS: [usize; 7] = [0, 0, 0, 0, 1, 1, 2];
    let mut parted = Parted::new(seed, GROUPS.len(), |params| params.merge_limit = 40);
    parted.part(&GROUPS, 25);
    let ends = representatives(&GROUPS);
    let sides = [(0, 1), (1, 2), (2, 1)].map(|(one, other)| parted.only(ends[&one], ends[&other]));
    let counts = sides.each_ref().map(BTreeSet::len);
    let is_long = counts.iter().all(|count| *count > parted.limit());
    assert!(is_long, "{counts:?} blocks");
    parted.world.partition(&halfway).unwrap();
    let (first, second) = if halfway[4] == 0 { (0, 1) } else { (1, 2) };
    parted.run_until_ordered(ends[&first], &sides[second], 30_000);
    parted.run_until_ordered(ends[&second], &sides[first], 30_000);
    parted.mine_what_is_selected();
    parted.world.heal().unwrap();
    parted.mine_all(60_000);
    parted.settle();
    let merged = sides.each_ref().map(|side| parted.merged(side));
    println!("{counts:?} blocks; how many are red, and how many merge them: {merged:?}");
    assert_eq!(merged[0].0, 0, "the heaviest side loses blocks");
    for sender in 0..3 {
        assert_eq!(parted.nonce(&account(sender)), parted.nonces[&sender]);
    }
    assert_eq!(parted.world.tip(0).unwrap().number, parted.mined());
}

#[test]
fn the_lighter_two_of_three_sides_heal_first() {
    each_seed("the_lighter_two_of_three_sides_heal_first", |seed| {
        heal_one_after_the_other(seed, [0, 0, 0, 0, 1, 1, 1]);
    });
}

#[test]
fn the_heavier_two_of_three_sides_heal_first() {
    each_seed("the_heavier_two_of_three_sides_heal_first", |seed| {
        heal_one_after_the_other(seed, [0, 0, 0, 0, 0, 0, 1]);
    });
}

#[test]
fn what_goes_back_too_far_is_left_and_its_transfers_are_not() {
    let test = "what_goes_back_too_far_is_left_and_its_transfers_are_not";
    each_seed(test, |seed| {
        let mut parted = Parted::new(seed, 5, |params| {
            (params.merge_limit, params.merge_depth) = (60, 150);
        });
        parted.part(&[0, 0, 0, 1, 1], 30);
        let (heavy, light) = (parted.only(0, 4), parted.only(4, 0));
        assert!(heavy.len() > 150, "{} blocks", heavy.len());
        parted.world.heal().unwrap();
        parted.run_until_ordered(4, &heavy, 30_000);
        // Whoever was wrong offers again what no block has any more.
        let (payer, wanted) = (account(1), parted.nonces[&1]);
        let is_applied = |world: &World| world.account(0, &payer).nonce == wanted;
        assert!(parted.world.run_until(60_000, is_applied).unwrap());
        parted.settle();
        let store = parted.world.store(0);
        let is_ordered = |id: &&BlockId| store.position(id).unwrap().is_some();
        assert_eq!(light.iter().filter(is_ordered).count(), 0);
        assert_eq!(heavy.iter().filter(is_ordered).count(), heavy.len());
        assert_eq!(parted.nonce(&account(0)), parted.nonces[&0]);
        // What the lighter side found between the heal and the first headings of the other is left too.
        let number = parted.world.tip(0).unwrap().number;
        let late = parted.mined() - light.len() as u64 - number;
        assert!(late < 10, "{late} blocks are missing");
        println!(
            "{} blocks are merged or continued, {} are left",
            heavy.len(),
            light.len()
        );
    });
}

#[test]
fn sides_that_have_each_settled_stay_apart_and_say_so() {
    let test = "sides_that_have_each_settled_stay_apart_and_say_so";
    each_seed(test, |seed| {
        const GROUPS: [usize; 5] = [0, 0, 0, 1, 1];
        const DEPTH: u32 = 150;
        let mut parted = Parted::new(seed, GROUPS.len(), |params| {
            (params.merge_depth, params.finality_depth) = (DEPTH, DEPTH);
        });
        parted.part(&GROUPS, 40);
        let sides = [parted.only(0, 4), parted.only(4, 0)];
        let is_settled = |side: &BTreeSet<BlockId>| side.len() > DEPTH as usize;
        assert!(sides.iter().all(is_settled), "{:?}", parted.tips());
        let refused = |world: &World, node: usize| {
            let status = world.status(node).unwrap();
            status.refused.get("final").copied().unwrap_or(0)
        };
        let before = (0..GROUPS.len()).map(|node| refused(&parted.world, node));
        assert_eq!(before.sum::<u64>(), 0);
        parted.world.heal().unwrap();
        let all_say_so = |world: &World| (0..GROUPS.len()).all(|node| refused(world, node) > 0);
        assert!(parted.world.run_until(60_000, all_say_so).unwrap());
        let before = parted.world.traffic();
        parted.world.run_for(20_000).unwrap();
        let after = parted.world.traffic();
        println!(
            "20 s beside each other: {} frames, {} bytes",
            after.0 - before.0,
            after.1 - before.1
        );
        for node in 0..GROUPS.len() {
            parted.world.mine(node, false).unwrap();
        }
        parted.world.run_for(5_000).unwrap();
        let tip = |node: usize| parted.world.tip(node).unwrap().parents.clone();
        for (node, group) in GROUPS.iter().enumerate() {
            assert_eq!(
                tip(node),
                tip(representatives(&GROUPS)[group]),
                "node {node}"
            );
        }
        assert_ne!(tip(0), tip(4));
        let crossed = |node: usize, side: &BTreeSet<BlockId>| {
            let has = |id: &&BlockId| parted.world.store(node).record(id).unwrap().is_some();
            side.iter().filter(has).count()
        };
        assert_eq!((crossed(0, &sides[1]), crossed(4, &sides[0])), (0, 0));
    });
}
