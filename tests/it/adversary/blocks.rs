//! Rows 14 and 15: blocks that are not what they seem, and blocks that lead nowhere.

use std::sync::Arc;

use allocation_counter::measure;
use triskel::protocol::chain::block::{Block, Stream};
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::template::{Search, Template};
use triskel::protocol::chain::transaction::TRANSACTION_BYTES;
use triskel::protocol::wire::frame::encode;
use triskel::protocol::wire::limits::MAX_ORPHANS;
use triskel::protocol::wire::message::Message;

use super::bare::Bare;
use super::honest::{Chain, new_block};
use super::program::Program;
use super::{Bound, EASIEST, Victim, ensure, rich};
use crate::memory::{account, transfer};

/// Where a block's bytes count its transactions: behind its heading, its miner and a number.
fn count_at(block: &Block) -> usize {
    block.heading().to_bytes().len() + 32 + 8
}

/// The same header, with its work, over other bodies.
fn mutations(block: &Block) -> Vec<Arc<[u8]>> {
    let bytes = block.bytes().to_vec();
    let (at, count) = (count_at(block), block.body().transactions.len() as u32);
    let recount = |bytes: &mut Vec<u8>, count: u32| {
        bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
    };
    // The last transactions twice: where a Merkle tree doubles what has no neighbour, its root is the same (CVE-2012-2459).
    let doubled = [1, 2].map(|last| {
        let mut doubled = bytes.clone();
        doubled.extend_from_slice(&bytes[bytes.len() - last * TRANSACTION_BYTES..]);
        recount(&mut doubled, count + last as u32);
        doubled
    });
    let mut shortened = bytes.clone();
    shortened.truncate(bytes.len() - TRANSACTION_BYTES);
    recount(&mut shortened, count - 1);
    // What only vouches for a transaction.
    let mut resigned = bytes.clone();
    *resigned.last_mut().unwrap() ^= 1;
    let mut reordered = bytes.clone();
    let (first, second) = (at + 4, at + 4 + TRANSACTION_BYTES);
    reordered[first..second].copy_from_slice(&bytes[second..second + TRANSACTION_BYTES]);
    reordered[second..second + TRANSACTION_BYTES].copy_from_slice(&bytes[first..second]);
    let [one, two] = doubled;
    [one, two, shortened, resigned, reordered]
        .map(Arc::from)
        .into()
}

/// Row 14. Whoever sends a true header with another body is barred for it, and the block itself is taken in when it comes.
fn mutated_blocks(victim: &mut impl Victim) -> Bound {
    let network = Arc::clone(victim.network());
    let mut chain = Chain::new(victim, 10, 1);
    let honest = chain.join(victim, 1);
    chain.bring(victim, honest)?;
    let transactions: Vec<_> = (0..6)
        .map(|nonce| transfer(&network, (0, 1), (1, 1, nonce)))
        .collect();
    let block = chain.grow(&transactions);
    let mutations = mutations(&block);
    for (number, bytes) in (2..).zip(&mutations) {
        let peer = victim.greet(number);
        victim.say(peer, &Message::NewBlock(Arc::clone(bytes)));
        victim.until("the end of who changed a block", |victim| {
            !victim.is_open(peer)
        })?;
    }
    let bans = victim.bans();
    ensure(bans == mutations.len(), || format!("{bans} are banned"))?;
    victim.say(honest, &new_block(&block));
    victim.until("the block itself", |victim| victim.tip() == block.id())?;
    // Also for who asks this node for it.
    let ids = vec![block.id()];
    victim.say(honest, &Message::RequestBlocksById { ids });
    let is_block = |message: &Message| matches!(message, Message::Blocks { blocks, .. } if blocks.contains(block.bytes()));
    victim.until("its bytes", |victim| {
        victim.hear(honest).iter().any(is_block)
    })
}

#[test]
fn the_machine_takes_a_block_in_after_its_mutations() {
    mutated_blocks(&mut Bare::start(rich)).unwrap();
}

#[test]
fn the_program_takes_a_block_in_after_its_mutations() {
    mutated_blocks(&mut Program::start(rich)).unwrap();
}

/// Blocks with proof of work, none of whose parents exist.
fn orphans(victim: &impl Victim, count: usize) -> Vec<Vec<u8>> {
    let orphan = |number: u64| {
        let mut parent = [0xee; 32];
        parent[..8].copy_from_slice(&number.to_be_bytes());
        let template = Template {
            stream: Stream::A,
            parents: vec![BlockId(parent)],
            accumulator: Default::default(),
            bits: EASIEST,
            min_timestamp_ms: victim.wall_ms() - 60_000,
            miner: account(9),
            transactions: Vec::new(),
        };
        let mut search = Search::new(template, number, victim.network());
        let block = search.attempt(0, 1 << 20).expect("the target is easy");
        encode(&new_block(&block))
    };
    (0..count as u64).map(orphan).collect()
}

/// Orphans of the flood: thousands.
const FLOOD: usize = 10_000;

/// Row 15. A flood of orphans, in the midst of which somebody sends the last of three blocks first.
fn orphan_flood(
    victim: &mut impl Victim,
    orphans: &[Vec<u8>],
    chain: &mut Chain,
    mut look: impl FnMut(&mut dyn FnMut()),
) -> Bound {
    let honest = chain.join(victim, 1);
    chain.bring(victim, honest)?;
    let hostile = victim.greet(2);
    let (before, after) = orphans.split_at(orphans.len() / 2);
    let mut flood = |victim: &mut _, orphans: &[Vec<u8>]| {
        look(&mut || pour(victim, hostile, orphans));
    };
    flood(victim, before);
    (0..2).for_each(|_| drop(chain.grow(&[])));
    let last = chain.grow(&[]);
    victim.say(honest, &new_block(&last));
    flood(victim, after);
    chain.bring(victim, honest)?;
    let bans = victim.bans();
    ensure(bans == 0, || "orphans are no fault".to_owned())
}

/// Sends orphans, and lets what is asked about them go unanswered.
fn pour(victim: &mut impl Victim, hostile: super::Peer, orphans: &[Vec<u8>]) {
    for frames in orphans.chunks(100) {
        victim.write(hostile, &frames.concat());
        victim.hear(hostile);
    }
}

/// Bytes of memory that the second half of the flood may add: those that wait make room for each other.
const MOST_ADDED_BYTES: i64 = 64 << 10;

fn orphans_before_a_machine(machine: &mut Bare, flood: usize) -> Bound {
    let orphans = orphans(machine, flood);
    let mut chain = Chain::new(machine, 10, 1);
    let mut added = Vec::new();
    orphan_flood(machine, &orphans, &mut chain, |pour| {
        added.push(measure(pour).bytes_current);
    })?;
    let count = machine.stage.machine.orphans();
    ensure(count <= MAX_ORPHANS, || format!("{count} orphans wait"))?;
    println!("{flood} orphans take {added:?} bytes, by halves");
    ensure(added[1] < MOST_ADDED_BYTES, || {
        format!("{added:?} bytes are held")
    })
}

#[test]
fn the_machine_drowns_in_no_orphans() {
    orphans_before_a_machine(&mut Bare::start(|_| ()), FLOOD).unwrap();
}

#[test]
fn the_program_drowns_in_no_orphans() {
    let mut program = Program::start(|_| ());
    let orphans = orphans(&program, FLOOD);
    let mut chain = Chain::new(&program, 10, 1);
    let before = program.resident_bytes();
    orphan_flood(&mut program, &orphans, &mut chain, |pour| pour()).unwrap();
    let grown = program.resident_bytes().saturating_sub(before);
    println!("{FLOOD} orphans take {grown} bytes");
    assert!(grown < 16 << 20, "{grown}");
}

mod proofs {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// Row 14, as others had it: a Merkle tree that doubles the last of an odd number.
    fn doubling_root(mut hashes: Vec<[u8; 32]>) -> [u8; 32] {
        while hashes.len() > 1 {
            if hashes.len() % 2 == 1 {
                hashes.extend(hashes.last().copied());
            }
            let pairs = hashes.chunks(2);
            hashes = pairs
                .map(|pair| Sha256::digest(pair.concat()).into())
                .collect();
        }
        hashes[0]
    }

    #[test]
    fn a_tree_that_doubles_has_one_root_for_two_blocks() {
        let machine = Bare::start(rich);
        let transactions: Vec<_> = (0..6)
            .map(|nonce| transfer(machine.network(), (0, 1), (1, 1, nonce)))
            .collect();
        let leaves = |doubled: bool| {
            let again = transactions[4..].iter().filter(|_| doubled);
            let all = transactions.iter().chain(again);
            all.map(|one| one.id().0).collect::<Vec<_>>()
        };
        assert_eq!(doubling_root(leaves(false)), doubling_root(leaves(true)));
    }

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn without_a_commitment_others_choose_what_a_block_holds() {
        use triskel::protocol::bugs::Defence;
        let defence = Defence::BodyCommitment;
        super::super::lacking(defence, rich, mutated_blocks);
        mutated_blocks(&mut Program::lacking(defence, rich)).unwrap_err();
    }

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn without_limits_orphans_pile_up() {
        use triskel::protocol::bugs::Defence;
        let flood = |machine: &mut Bare| orphans_before_a_machine(machine, FLOOD / 5);
        let broken = super::super::lacking(Defence::OrphanLimits, |_| (), flood);
        assert!(broken.contains("orphans wait"), "{broken}");
    }
}
