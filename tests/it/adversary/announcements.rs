//! Row 16: announcements of what does not exist.

use allocation_counter::measure;
use sha2::{Digest as _, Sha256};
use triskel::protocol::chain::id::TransactionId;
use triskel::protocol::wire::limits::{
    IDS_PER_MS, MAX_ANNOUNCED, MAX_HELD_TRANSACTIONS, MAX_WANTED_OF_PEER,
};
use triskel::protocol::wire::message::Message;

use super::bare::Bare;
use super::program::Program;
use super::{Bound, Victim, ensure, rich};
use crate::memory::transfer;

/// Messages of the flood: half a million ids.
const MESSAGES: u64 = 250;

/// Messages in a second.
const RATE: u64 = 25;

/// Ids that nobody has, in one message. All of them end alike.
pub(super) fn invented(message: u64) -> Message {
    let id = |number: u64| {
        let mut id = [9; 32];
        id[..8].copy_from_slice(&number.swap_bytes().to_be_bytes());
        TransactionId(id)
    };
    let from = message * MAX_ANNOUNCED as u64;
    let ids = (from..from + MAX_ANNOUNCED as u64).map(id).collect();
    Message::AnnounceTransactions { ids }
}

/// A flood of inventions, fifty thousand a second where time is virtual, and a transaction that exists in the midst of it.
fn inventions(victim: &mut impl Victim) -> Bound {
    let transaction = transfer(victim.network(), (0, 1), (1, 1, 0));
    let honest = victim.greet(1);
    let hostile = victim.greet(2);
    let mut waits = false;
    for message in 0..MESSAGES {
        victim.say(hostile, &invented(message));
        victim.hear(hostile);
        if message % RATE == RATE - 1 && !waits {
            // As many of the hostile one's come before it as nodes read.
            let ids = vec![transaction.id()];
            victim.say(honest, &Message::AnnounceTransactions { ids });
            let asked = Message::RequestTransactions {
                ids: vec![transaction.id()],
            };
            victim.until("a question for what exists", |victim| {
                victim.hear(honest).contains(&asked)
            })?;
            let bytes = transaction.to_bytes().into();
            victim.say(honest, &Message::NewTransaction(bytes));
            victim.until("what exists", |victim| victim.mempool() == 1)?;
            waits = true;
        }
    }
    let bans = victim.bans();
    ensure(bans == 0, || "an announcement proves nothing".to_owned())?;
    ensure(victim.is_open(hostile), || "it was ended".to_owned())
}

/// Bytes of memory that they may take.
const MOST_BYTES: u64 = 8 << 20;

fn inventions_before_a_machine(machine: &mut Bare) -> Bound {
    let mut bound = Ok(());
    let held = measure(|| bound = inventions(machine));
    bound?;
    let wanted = machine.stage.machine.wanted_transactions();
    ensure(wanted <= MAX_WANTED_OF_PEER, || {
        format!("{wanted} are wanted")
    })?;
    println!("inventions take {} bytes", held.bytes_max);
    ensure(held.bytes_max < MOST_BYTES, || format!("{held:?}"))
}

#[test]
fn the_machine_wants_no_more_than_a_share_of_inventions() {
    inventions_before_a_machine(&mut Bare::start(rich)).unwrap();
}

#[test]
fn the_program_wants_no_more_than_a_share_of_inventions() {
    let mut program = Program::start(rich);
    let before = program.resident_bytes();
    inventions(&mut program).unwrap();
    let grown = program.resident_bytes().saturating_sub(before);
    println!("inventions take {grown} bytes");
    assert!(grown < 2 * MOST_BYTES, "{grown}");
}

/// Time that a thread has had of a processor, in nanoseconds: what others do beside it does not count.
fn processor_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// What it costs a machine to hear of as many ids as it remembers, as fast as a peer may tell of them.
fn cost_ns(message: impl Fn(u64) -> Message) -> u64 {
    let mut machine = Bare::start(|_| ());
    let hostile = machine.greet(1);
    let begin_ns = processor_ns();
    for number in 0..2 * (MAX_HELD_TRANSACTIONS / MAX_ANNOUNCED) as u64 {
        machine.say(hostile, &message(number));
        machine.hear(hostile);
        machine.pass(MAX_ANNOUNCED as u64 / IDS_PER_MS);
    }
    processor_ns() - begin_ns
}

/// Hashed, so that no two of them share any part.
fn hashed(message: u64) -> Message {
    let Message::AnnounceTransactions { mut ids } = invented(message) else {
        unreachable!("that is what is invented");
    };
    for id in &mut ids {
        id.0 = Sha256::digest(id.0).into();
    }
    Message::AnnounceTransactions { ids }
}

/// The invented ids have the same end, and others the same beginning: neither makes them slower to find.
#[test]
fn ids_that_are_alike_cost_no_more_than_others() {
    let reversed = |number| match invented(number) {
        Message::AnnounceTransactions { mut ids } => {
            ids.iter_mut().for_each(|id| id.0.reverse());
            Message::AnnounceTransactions { ids }
        }
        other => other,
    };
    let others_ns = cost_ns(hashed);
    for alike_ns in [cost_ns(invented), cost_ns(reversed)] {
        println!("{alike_ns} ns for ids that are alike, {others_ns} ns for others");
        assert!(alike_ns < 5 * others_ns, "{alike_ns} of {others_ns}");
    }
}

mod proofs {
    use std::cell::Cell;
    use std::collections::HashMap;
    use std::hash::{BuildHasherDefault, Hash, Hasher};

    use super::*;

    /// Takes the end of an id for its hash.
    #[derive(Default)]
    struct End(u64);

    impl Hasher for End {
        fn write(&mut self, bytes: &[u8]) {
            if let Some(end) = bytes.last_chunk() {
                self.0 = u64::from_le_bytes(*end);
            }
        }

        fn finish(&self) -> u64 {
            self.0
        }
    }

    thread_local! {
        static COMPARISONS: Cell<u64> = const { Cell::new(0) };
    }

    /// Counts how often ids are compared.
    #[derive(Eq)]
    struct Counted(TransactionId);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARISONS.set(COMPARISONS.get() + 1);
            self.0 == other.0
        }
    }

    impl Hash for Counted {
        fn hash<H: Hasher>(&self, state: &mut H) {
            state.write(&self.0.0);
        }
    }

    /// What a table of hashes costs whose keys are the hashes.
    #[test]
    fn a_table_by_bytes_that_peers_choose_becomes_a_list() {
        let mut table: HashMap<_, _, BuildHasherDefault<End>> = HashMap::default();
        let Message::AnnounceTransactions { ids } = invented(0) else {
            unreachable!("that is what is invented");
        };
        let count = ids.len() as u64;
        for id in ids {
            table.insert(Counted(id), ());
        }
        assert!(COMPARISONS.get() > count * count / 4);
    }

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn without_shares_all_inventions_are_wanted() {
        let defence = triskel::protocol::bugs::Defence::AnnouncementShares;
        let broken = super::super::lacking(defence, rich, inventions_before_a_machine);
        assert!(broken.contains("are wanted"), "{broken}");
    }
}
