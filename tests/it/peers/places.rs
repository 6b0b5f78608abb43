//! Places for inbound connections, and bans.

use triskel::protocol::machine::io::{Input, Reason};

use crate::stage::{Stage, key};

/// A public address of a group of its own.
fn public(group: u8, port: u16) -> String {
    format!("60.{group}.0.1:{port}")
}

/// Honest peers that stood first, in groups of their own, keep their places against a thousand connections of four groups; and a
/// newcomer still gets in.
#[test]
fn a_flood_of_connections_displaces_itself() {
    let mut stage = Stage::new(|config| config.max_inbound_per_address = 1_000);
    let honest: Vec<_> = (1..=16)
        .map(|number| {
            stage.pass(1_000);
            stage.join(key(number), &public(number as u8, 40_000))
        })
        .collect();
    let mut flood = Vec::new();
    for number in 0..1_000_u16 {
        let remote = public(100 + (number % 4) as u8, 10_000 + number);
        flood.push(stage.join(key(1_000 + u64::from(number)), &remote));
        stage.pass(1);
    }
    assert!(honest.iter().all(|conn| stage.stands(*conn)));
    assert_eq!(stage.machine.sessions().count(), 64);
    assert_eq!(stage.ended.len(), 1_016 - 64);
    let displaced = stage.ended.values();
    assert!(displaced.clone().all(|reason| *reason == Reason::Displaced));
    let newcomer = stage.join(key(5_000), &public(200, 40_000));
    assert!(stage.stands(newcomer));
    // One place of the flood's is free for each of those who came: it holds what is left.
    assert!(flood.iter().filter(|conn| stage.stands(**conn)).count() <= 64 - 17);
}

/// A thousand connections that never greet neither keep out who does, nor pile up.
#[test]
fn silent_connections_keep_nobody_out() {
    let mut stage = Stage::new(|_| ());
    for number in 0..1_000_u16 {
        stage.accept(
            public((number % 250) as u8, 10_000 + number)
                .parse()
                .unwrap(),
        );
    }
    let last = stage.join(key(1), &public(251, 40_000));
    assert!(stage.stands(last));
    assert_eq!(stage.ended.len(), 1_000 - 63);
    stage.pass(3_000);
    assert_eq!(stage.ended.len(), 1_000, "the others had their time");
}

/// One public address gets so many connections and no more; behind a private one there may be many nodes.
#[test]
fn one_address_gets_its_share() {
    for (group_private, stand) in [(false, 20), (true, 8)] {
        let mut stage = Stage::new(|config| config.group_private = group_private);
        for number in 0..20 {
            stage.join(key(1 + number), &format!("172.17.0.1:{}", 10_000 + number));
        }
        assert_eq!(stage.machine.sessions().count(), stand);
    }
    let mut stage = Stage::new(|_| ());
    for number in 0..20 {
        stage.join(key(1 + number), &public(1, 10_000 + number as u16));
    }
    assert_eq!(stage.machine.sessions().count(), 8);
    assert!(
        stage
            .ended
            .values()
            .all(|reason| *reason == Reason::Crowded)
    );
}

/// Inbound sessions, however many, leave the outbound places alone.
#[test]
fn inbound_takes_no_outbound_place() {
    let mut stage = Stage::new(|config| {
        config.max_inbound = 4;
        config.peers = vec!["70.0.0.1:9000".parse().unwrap()];
    });
    for number in 0..100 {
        stage.join(key(10 + number), &public(number as u8, 10_000));
    }
    let dialled = stage.dials[0].clone();
    let conn = stage.reach(key(5), &dialled);
    for number in 0..100 {
        stage.join(key(1_000 + number), &public(number as u8, 10_000));
    }
    assert!(stage.stands(conn));
    assert_eq!(stage.machine.sessions().count(), 5);
}

/// A fault bars the key, from wherever it comes, and nobody else at that address; the ban ends.
#[test]
fn a_fault_bars_the_key_and_not_the_address() {
    const GATEWAY: &str = "172.17.0.1:40000";
    let mut stage = Stage::new(|config| config.ban_ms = 60_000);
    let (rogue, honest) = (key(1), key(2));
    let beside = stage.join(honest, GATEWAY);
    let conn = stage.join(rogue, GATEWAY);
    stage.fault(conn);
    assert!(matches!(stage.ended[&conn], Reason::Fault(_)));
    assert_eq!(stage.machine.bans(stage.now_ms).count(), 1);
    let again = stage.join(rogue, "80.1.2.3:40000");
    assert!(matches!(stage.ended[&again], Reason::Banned(_)));
    assert!(stage.stands(beside));
    let other = stage.join(key(3), GATEWAY);
    assert!(stage.stands(other));
    stage.pass(60_000);
    let again = stage.join(rogue, GATEWAY);
    assert!(stage.stands(again));
    // What anybody could do to anybody bars nobody: silence, slowness, a fault before there is a proven key.
    let unknown = stage.accept(GATEWAY.parse().unwrap());
    stage.fault(unknown);
    stage.feed(Input::Slow { conn: again });
    assert_eq!(stage.machine.bans(stage.now_ms).count(), 0);
}
