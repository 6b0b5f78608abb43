//! The address book: what is learned, what is stored, what is dialled.

use std::net::SocketAddr;

use triskel::protocol::endpoint::Endpoint;
use triskel::protocol::machine::io::Reason;
use triskel::protocol::wire::message::Received;

use crate::stage::{Stage, key};

/// Public addresses, each of a group of its own.
fn spread(count: usize, first: u8) -> Vec<SocketAddr> {
    let address = |number: usize| {
        let [low, high] = (number as u16).to_le_bytes();
        SocketAddr::from(([first + high, low, 0, 1], 9_000))
    };
    (0..count).map(address).collect()
}

fn named(number: u8) -> Endpoint {
    format!("70.{number}.0.1:9000").parse().unwrap()
}

fn known(stage: &Stage) -> usize {
    let (new, tried) = stage.machine.known_addresses();
    new + tried
}

/// A peer sends addresses without end: what is taken in is one answer, and one in ten seconds; and never more than the share of one
/// group that tells.
#[test]
fn a_flood_of_addresses_is_bounded() {
    let mut stage = Stage::new(|config| config.peers = vec![named(1)]);
    let conn = stage.reach(key(1), &named(1));
    for round in 0..100_usize {
        for chunk in spread(64 * 20, 100).chunks(64) {
            stage.say(conn, Received::Peers(chunk.to_vec()));
        }
        stage.pass(100);
        // One answer to the question at the start, at most one to the question that follows where places are free, and what time
        // gives.
        assert!(
            known(&stage) <= 2 * 64 + 2 + round / 100,
            "{}",
            known(&stage)
        );
    }
    // Unasked, an inbound peer tells of one address in ten seconds.
    let mut stage = Stage::new(|config| config.target_outbound = 0);
    let conn = stage.join(key(1), "70.1.0.1:40000");
    let before = known(&stage);
    for seconds in 1..=20 {
        stage.say(conn, Received::Peers(spread(64, 100)));
        stage.pass(1_000);
        assert!(known(&stage) <= before + seconds / 10 + 1);
    }
}

/// Many peers of one group, each within its allowance, fill an eighth of the book.
#[test]
fn one_group_that_tells_fills_its_share_of_the_book() {
    let mut stage = Stage::new(|config| {
        config.target_outbound = 64;
        config.max_outbound_per_group = 64;
        config.peers = (0..64)
            .map(|number| format!("70.1.{number}.1:9000").parse().unwrap())
            .collect();
    });
    for (number, chunk) in spread(4_096, 100).chunks(64).enumerate() {
        let endpoint = format!("70.1.{number}.1:9000").parse().unwrap();
        let conn = stage.reach(key(1 + number as u64), &endpoint);
        stage.say(conn, Received::Peers(chunk.to_vec()));
    }
    assert!(known(&stage) <= 512, "{}", known(&stage));
    assert!(known(&stage) > 300, "{}", known(&stage));
}

/// The two oldest sessions that a node has opened are what it dials first when it starts again, whatever else it knows.
#[test]
fn a_restart_dials_the_anchors_first() {
    for seed in 10..20 {
        let mut stage = Stage::new(|config| config.peers = vec![named(1)]);
        let conn = stage.reach(key(1), &named(1));
        stage.say(conn, Received::Peers(spread(60, 100)));
        // The operator's own is dialled anyway: of the learned ones, these are the oldest.
        let mut anchors = Vec::new();
        for number in 0..6 {
            stage.pass(50);
            let endpoint = stage.dials[0].clone();
            stage.reach(key(100 + number), &endpoint);
            anchors.push(endpoint);
            stage.pass(1_000);
        }
        stage.pass(6_000);
        let mut stage = stage.restarted(seed);
        assert!(known(&stage) > 50, "{}", known(&stage));
        stage.pass(100);
        let kept = named(1);
        let mut learned = stage.dials.iter().filter(|endpoint| **endpoint != kept);
        let mut first = [learned.next().unwrap(), learned.next().unwrap()];
        first.sort();
        let mut wanted = [&anchors[0], &anchors[1]];
        wanted.sort();
        assert_eq!(first, wanted);
    }
}

/// At most one learned peer of a network group is dialled at a time, and private addresses are no group.
#[test]
fn outbound_peers_are_of_different_groups() {
    for (first, dialled) in [([90, 1], 1), ([10, 1], 7)] {
        let mut stage = Stage::new(|config| config.peers = vec![named(1)]);
        let conn = stage.reach(key(1), &named(1));
        let [a, b] = first;
        let addresses = (0..60).map(|number| SocketAddr::from(([a, b, 0, number], 9_000)));
        stage.say(conn, Received::Peers(addresses.collect()));
        stage.pass(2_000);
        assert_eq!(stage.dials.len(), dialled, "{:?}", stage.dials);
    }
}

/// While nobody at all is reached, addresses are not to blame.
#[test]
fn nothing_is_forgotten_while_nobody_is_reached() {
    let mut stage = Stage::new(|config| config.peers = vec![named(1)]);
    let conn = stage.reach(key(1), &named(1));
    stage.say(conn, Received::Peers(spread(20, 100)));
    stage.feed(triskel::protocol::machine::io::Input::Disconnected { conn });
    let fail = |stage: &mut Stage, times: usize| {
        for _ in 0..times {
            stage.pass(10_000);
            for endpoint in stage.dials.clone() {
                stage.refuse(&endpoint);
            }
        }
    };
    let before = known(&stage);
    fail(&mut stage, 300);
    assert_eq!(known(&stage), before);
    // Once somebody is, they are: who was never met is forgotten.
    while !stage.dials.contains(&named(1)) {
        stage.pass(1_000);
    }
    let conn = stage.reach(key(1), &named(1));
    for _ in 0..300 {
        fail(&mut stage, 1);
        stage.say(conn, Received::RequestPeers);
    }
    assert_eq!(known(&stage), 0);
}

/// Where a node that is kept does not answer another takes the place, and gives it back when it does.
#[test]
fn a_place_goes_back_to_who_is_kept() {
    let mut stage = Stage::new(|config| {
        config.peers = vec![named(1), named(2)];
        config.target_outbound = 2;
    });
    let first = stage.reach(key(1), &named(1));
    stage.refuse(&named(2));
    stage.say(first, Received::Peers(spread(1, 100)));
    let learned = loop {
        stage.pass(100);
        stage.say(first, Received::RequestPeers);
        let other = |endpoint: &&Endpoint| **endpoint != named(2);
        if let Some(endpoint) = stage.dials.iter().find(other).cloned() {
            break stage.reach(key(3), &endpoint);
        }
        if stage.dials.contains(&named(2)) {
            stage.refuse(&named(2));
        }
    };
    assert!(stage.stands(learned));
    while !stage.dials.contains(&named(2)) {
        stage.say(first, Received::RequestPeers);
        stage.pass(1_000);
    }
    let second = stage.reach(key(2), &named(2));
    assert_eq!(stage.ended[&learned], Reason::Surplus);
    assert!(stage.stands(first) && stage.stands(second));
}

/// While all places are taken an unknown address is dialled now and then, only to see whether somebody is there.
#[test]
fn feelers_test_what_is_new() {
    let mut stage = Stage::new(|config| {
        config.peers = vec![named(1)];
        config.target_outbound = 1;
    });
    let conn = stage.reach(key(1), &named(1));
    stage.say(conn, Received::Peers(spread(3, 100)));
    assert_eq!(stage.machine.known_addresses(), (3, 0));
    for seconds in 0..200 {
        stage.say(conn, Received::RequestPeers);
        stage.pass(1_000);
        if !stage.dials.is_empty() {
            assert!(seconds >= 80, "{seconds}");
            break;
        }
    }
    let endpoint = stage.dials[0].clone();
    let tested = stage.reach(key(2), &endpoint);
    assert_eq!(stage.ended[&tested], Reason::Tested);
    assert_eq!(stage.machine.known_addresses(), (2, 1));
    assert!(stage.stands(conn));
}
