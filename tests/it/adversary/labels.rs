//! Row 26: whatever peers say of themselves, the series of the metrics stay as many.

use std::collections::BTreeSet;

use triskel::node::metrics::Metrics;
use triskel::protocol::chain::id::{BlockId, NodeKey};
use triskel::protocol::wire::message::Message;

use super::bare::Bare;
use super::program::Program;
use super::{Bound, Victim, ensure, hello, nothing};
use crate::memory::person;

/// Peers of which each says something else.
const HOSTILE: usize = 60;

/// Series that may begin with what they bring about: reasons, outcomes, of which there are some.
const MOST_NEW: usize = 10;

/// Names and labels.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.rsplit_once(' '));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// Peers with names, ports, networks and faults of their own.
fn all_different(victim: &mut impl Victim) -> Bound {
    for number in 0..HOSTILE {
        let peer = victim.shake(1 + number);
        let key = NodeKey(person(1 + number).public().0);
        let greeting = hello(victim.network(), key, nothing(victim.network()));
        let Message::Hello(mut greeting) = greeting else {
            unreachable!("it greets");
        };
        greeting.agent = format!("hostile {number}");
        greeting.port = number as u16;
        if number % 4 == 0 {
            greeting.network = BlockId([number as u8; 32]);
        }
        victim.say(peer, &Message::Hello(greeting));
        // A frame of a kind that there is not.
        let kind = (1_000 + number as u32).to_le_bytes();
        victim.write(peer, &[&[0, 0, 0, 4][..], &kind].concat());
    }
    victim.until("the end of all", |victim| victim.connections() == 0)
}

fn held(before: &str, after: &str) -> Bound {
    ensure(!after.contains("hostile"), || {
        "a peer's words are there".to_owned()
    })?;
    let (before, after) = (series(before), series(after));
    let new: Vec<_> = after.difference(&before).collect();
    ensure(new.len() <= MOST_NEW, || {
        format!("{} new series: {new:?}", new.len())
    })
}

/// A machine of which the test hears all that it tells.
fn overheard() -> Bare {
    let mut victim = Bare::start(|_| ());
    victim.is_overheard = true;
    victim
}

#[test]
fn what_the_machine_tells_makes_no_series_for_each_peer() {
    let mut victim = overheard();
    let metrics = Metrics::new(&victim.stage.network);
    let before = metrics.encode();
    all_different(&mut victim).unwrap();
    assert!(victim.stage.told.len() > HOSTILE);
    for event in &victim.stage.told {
        metrics.event(event);
    }
    held(&before, &metrics.encode()).unwrap();
}

#[test]
fn the_program_makes_no_series_for_each_peer() {
    let mut victim = Program::start(|_| ());
    let before = victim.metrics();
    all_different(&mut victim).unwrap();
    held(&before, &victim.metrics()).unwrap();
}

mod proofs {
    use triskel::protocol::machine::io::Event;

    use super::*;

    /// Row 26, as others had it: a label by which peers are told apart, made of the same events.
    #[test]
    fn a_label_of_theirs_is_a_series_for_each_peer() {
        let mut victim = overheard();
        all_different(&mut victim).unwrap();
        let lines = victim.stage.told.iter().filter_map(|event| match event {
            Event::PeerJoined { key, .. } => {
                Some(format!("disconnects_total{{peer=\"{key}\"}} 1\n"))
            }
            _ => None,
        });
        let text: String = lines.collect();
        assert!(held("", &text).is_err(), "{text}");
    }
}
