//! The rule by which a line delays what is sent over it, and the simulator's links that follow it.

use std::sync::Arc;

use proptest::prelude::*;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::link::{Conditions, Cut, Line, Meter, SEGMENT_BYTES};
use triskel::protocol::rng::Rng;
use triskel::sim::{World, WorldConfig, simulated};

fn any_conditions() -> impl Strategy<Value = Conditions> {
    let rate = proptest::option::of(1_000_u64..100_000_000);
    let parts = (0_u64..1_000_000, 0_u64..1_000_000, 0_u32..=500_000, rate);
    parts.prop_map(
        |(delay_us, jitter_us, loss_ppm, rate_bytes_per_s)| Conditions {
            delay_us,
            jitter_us,
            loss_ppm,
            rate_bytes_per_s,
            cut: None,
        },
    )
}

/// Frames: how long after the one before, in microseconds, and how many bytes.
fn any_frames() -> impl Strategy<Value = Vec<(u64, usize)>> {
    proptest::collection::vec((0_u64..50_000, 1_usize..20_000), 1..100)
}

/// When frames are sent and when they arrive.
fn sent_over(conditions: Conditions, frames: &[(u64, usize)], seed: u64) -> Vec<(u64, u64)> {
    let mut line = Line::new(conditions, 0);
    let mut rng = Rng::new(seed);
    let mut now_us = 0;
    let arrivals = frames.iter().map(|(wait_us, bytes)| {
        now_us += wait_us;
        (now_us, line.arrival_us(now_us, *bytes, &mut rng))
    });
    arrivals.collect()
}

proptest! {
    #[test]
    fn nothing_overtakes_and_nothing_comes_early(
        conditions in any_conditions(), frames in any_frames(), seed: u64,
    ) {
        let arrivals = sent_over(conditions, &frames, seed);
        prop_assert_eq!(&arrivals, &sent_over(conditions, &frames, seed));
        for (sent_us, arrived_us) in &arrivals {
            prop_assert!(*arrived_us >= sent_us + conditions.delay_us);
        }
        prop_assert!(arrivals.is_sorted_by_key(|(_, arrived_us)| *arrived_us));
    }

    #[test]
    fn no_more_than_the_rate_arrives(conditions in any_conditions(), frames in any_frames(), seed: u64) {
        let rate = conditions.rate_bytes_per_s.unwrap_or(1_000_000);
        let conditions = Conditions { rate_bytes_per_s: Some(rate), ..conditions };
        let mut bytes = 0;
        for ((_, arrived_us), (_, size)) in sent_over(conditions, &frames, seed).iter().zip(&frames) {
            bytes += *size as u64;
            prop_assert!(u128::from(bytes) * 1_000_000 <= u128::from(rate) * u128::from(*arrived_us));
        }
    }

    #[test]
    fn without_loss_the_delay_and_the_jitter_are_all(
        conditions in any_conditions(), frames in any_frames(), seed: u64,
    ) {
        let conditions = Conditions { loss_ppm: 0, rate_bytes_per_s: None, ..conditions };
        let mut before_us = 0;
        for (sent_us, arrived_us) in sent_over(conditions, &frames, seed) {
            let latest_us = sent_us + conditions.delay_us + conditions.jitter_us;
            prop_assert!(arrived_us <= latest_us.max(before_us));
            before_us = arrived_us;
        }
    }
}

#[test]
fn a_busy_line_is_used_to_its_rate() {
    let rate_bytes_per_s = Some(1_000_000);
    let conditions = Conditions {
        rate_bytes_per_s,
        ..Conditions::default()
    };
    // 333 bytes take 333 us each, whenever the transmitter is asked.
    let frames = vec![(0, 333); 10_000];
    let (_, last_us) = sent_over(conditions, &frames, 1)[9_999];
    assert_eq!(last_us, 3_330_000);
}

#[test]
fn what_is_lost_is_counted_and_costs_what_tcp_needs_to_notice() {
    let conditions = |loss_ppm| Conditions {
        delay_us: 50_000,
        loss_ppm,
        ..Conditions::default()
    };
    let (mut line, mut rng) = (Line::new(conditions(20_000), 0), Rng::new(7));
    let (mut now_us, mut slow) = (0, 0);
    for _ in 0..100_000 {
        // Seconds apart: no frame waits for another.
        now_us += 100_000_000;
        let took_us = line.arrival_us(now_us, 100, &mut rng) - now_us;
        // A frame of one segment: nothing behind it shows that it is missing, so a timeout must.
        assert!(took_us == 50_000 || took_us >= 50_000 + 300_000);
        slow += u64::from(took_us > 50_000);
    }
    let (segments, losses) = line.losses();
    assert_eq!(segments, 100_000);
    // 2,000 and the repetitions lost again are expected, with a spread of 45.
    assert!((1_800..2_300).contains(&losses), "{losses}");
    assert!((1_800..=losses).contains(&slow), "{slow}");
    // In the middle of many segments the loss shows one round trip later.
    let (mut line, mut rng) = (Line::new(conditions(500), 0), Rng::new(7));
    let mut quick = 0;
    for frame in 1..=1_000 {
        let sent_us = frame * 100_000_000;
        let took_us = line.arrival_us(sent_us, 100 * SEGMENT_BYTES as usize, &mut rng) - sent_us;
        quick += u64::from(took_us == 150_000);
    }
    // 4.8 % of the frames lose one of the 97 segments that are not the last three.
    assert!((20..80).contains(&quick), "{quick}");
}

#[test]
fn conditions_that_no_link_can_have_are_refused() {
    let refused = |text: &str| {
        let conditions: Conditions = serde_json::from_str(text).unwrap();
        conditions.check().unwrap_err().to_string()
    };
    assert_eq!(
        refused(r#"{"delay_us": 60000001}"#),
        "delay_us is 60000001, allowed is 0 to 60000000"
    );
    assert!(refused(r#"{"loss_ppm": 500001}"#).starts_with("loss_ppm"));
    assert!(refused(r#"{"rate_bytes_per_s": 0}"#).starts_with("rate_bytes_per_s"));
    assert!(serde_json::from_str::<Conditions>(r#"{"delay_ms": 1}"#).is_err());
    let clear: Conditions = serde_json::from_str("{}").unwrap();
    assert!(clear.are_clear() && clear.check().is_ok());
}

#[test]
fn round_trips_are_smoothed_and_the_least_is_young() {
    let mut meter = Meter::default();
    assert_eq!(meter.round_trip(), None);
    for round_trip_us in [800, 1_600, 100] {
        meter.add(round_trip_us);
    }
    let shown = meter.round_trip().unwrap();
    assert_eq!(
        (shown.latest_us, shown.least_us, shown.count),
        (100, 100, 3)
    );
    assert_eq!(shown.smoothed_us, (7 * 900 + 100) / 8);
    for _ in 0..8 {
        meter.add(5_000);
    }
    assert_eq!(meter.round_trip().unwrap().least_us, 5_000);
}

/// Two nodes and a millisecond between them, of which only the first mines.
fn pair(seed: u64, conditions: &[((usize, usize), Conditions)]) -> World {
    let mut params = simulated(Params::chain());
    for stream in &mut params.streams {
        stream.tune(2_000);
    }
    let network = Arc::new(Network::new(params).unwrap());
    let mut config = WorldConfig::new(seed, network, 2);
    config.latency_us = (1_000, 1_000);
    config.conditions = conditions.iter().copied().collect();
    let mut world = World::new(config).unwrap();
    world.mine(1, false).unwrap();
    world
}

fn number(world: &World, node: usize) -> u64 {
    world.tip(node).unwrap().number
}

pub(crate) fn delay(delay_us: u64) -> Conditions {
    Conditions {
        delay_us,
        ..Conditions::default()
    }
}

pub(crate) fn cut(cut: Cut) -> Conditions {
    Conditions {
        cut: Some(cut),
        ..Conditions::default()
    }
}

#[test]
fn simulated_links_take_what_is_set_by_direction() {
    let mut world = pair(1, &[((0, 1), delay(100_000))]);
    world.run_for(5_000).unwrap();
    let measure = |world: &mut World| {
        world.ping(0).unwrap();
        world.run_for(2_000).unwrap();
        let measured = world.sessions(0)[0].round_trip.unwrap();
        (measured.latest_us, measured.count)
    };
    let (first_us, count) = measure(&mut world);
    assert_eq!(first_us, 102_000);
    world.set_conditions(1, 0, delay(30_000)).unwrap();
    assert_eq!(measure(&mut world), (132_000, count + 1));
    world.set_conditions(0, 1, Conditions::default()).unwrap();
    assert_eq!(measure(&mut world), (32_000, count + 2));
    // A new connection is as the old one was.
    world.crash(1).unwrap();
    world.restart(1).unwrap();
    let measured = |world: &World| !world.sessions(0).is_empty();
    world.run_for(60_000).unwrap();
    assert!(measured(&world));
    assert_eq!(measure(&mut world).0, 32_000);
}

#[test]
fn a_one_way_cut_stalls_one_way() {
    let mut world = pair(2, &[]);
    world.run_for(20_000).unwrap();
    world.mine(1, true).unwrap();
    world.run_for(5_000).unwrap();
    assert!(world.run_until(60_000, World::agrees).unwrap());
    world.set_conditions(0, 1, cut(Cut::Stall)).unwrap();
    let seen = number(&world, 1);
    world.mine(1, false).unwrap();
    // The first goes on and the second does not hear of it, though neither has noticed yet.
    world.run_for(15_000).unwrap();
    assert!(number(&world, 0) > seen && number(&world, 1) <= seen + 1);
    assert_eq!(world.status(1).unwrap().sessions, 1);
    // The other direction is open: what the second mines arrives.
    let mined = |world: &World| world.status(1).unwrap().mined.values().sum::<u64>();
    let before = mined(&world);
    world.mine(1, true).unwrap();
    assert!(
        world
            .run_until(20_000, |world| mined(world) > before)
            .unwrap()
    );
    world.mine(1, false).unwrap();
    world.run_for(1_000).unwrap();
    let id = world.tip(1).unwrap().id;
    assert!(world.store(0).record(&id).unwrap().is_some());
    world.heal().unwrap();
    world.mine(0, false).unwrap();
    assert!(world.run_until(10_000, World::agrees).unwrap());
}

#[test]
fn a_cut_that_resets_ends_sessions_and_its_end_brings_them_back() {
    let mut world = pair(3, &[]);
    world.run_for(5_000).unwrap();
    let sessions = |world: &World| [0, 1].map(|node| world.status(node).unwrap().sessions);
    assert_eq!(sessions(&world), [1, 1]);
    world.set_conditions(1, 0, cut(Cut::Reset)).unwrap();
    world.run_for(100).unwrap();
    assert_eq!(sessions(&world), [0, 0]);
    // Long enough for the longest delay between two dials.
    world.run_for(120_000).unwrap();
    assert_eq!(sessions(&world), [0, 0]);
    world.set_conditions(1, 0, Conditions::default()).unwrap();
    world.run_for(500).unwrap();
    assert_eq!(sessions(&world), [1, 1]);
}

#[test]
fn a_slow_lossy_link_delays_and_loses_nothing() {
    let bad = Conditions {
        delay_us: 40_000,
        jitter_us: 40_000,
        loss_ppm: 50_000,
        rate_bytes_per_s: Some(20_000),
        cut: None,
    };
    let mut world = pair(4, &[((0, 1), bad), ((1, 0), bad)]);
    world.run_for(300_000).unwrap();
    world.mine(0, false).unwrap();
    assert!(world.run_until(30_000, World::agrees).unwrap());
    assert!(number(&world, 1) > 150, "{}", number(&world, 1));
    let measured = world.sessions(0)[0].round_trip.unwrap();
    assert!(measured.least_us >= 80_000, "{measured:?}");
}

#[test]
fn blocks_of_a_clock_that_is_ahead_are_refused_until_their_time_has_come() {
    let mut world = pair(5, &[]);
    let max_future_ms = world.network().params().max_future_ms;
    world.run_for(5_000).unwrap();
    let agreed = number(&world, 1);
    world.set_clock_offset(0, max_future_ms as i64 + 20_000);
    world.run_for(18_000).unwrap();
    assert!(number(&world, 0) > agreed + 5);
    let known = number(&world, 1);
    assert!(known <= agreed + 1, "{known} after {agreed}");
    // The clock is set right; what it dated is in the past 20 s later, and is asked for again with the next ping.
    world.set_clock_offset(0, 0);
    world.mine(0, false).unwrap();
    assert!(!world.agrees());
    assert!(world.run_until(120_000, World::agrees).unwrap());
    assert!(number(&world, 1) > agreed + 5);
}
