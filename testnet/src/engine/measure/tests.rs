//! What is found of links by looking at their sessions.

use triskel::protocol::link::RoundTrip;

use super::*;

fn link(delay_ms: u64) -> Conditions {
    Conditions {
        delay_us: delay_ms * 1_000,
        ..Conditions::default()
    }
}

fn session(count: u64, latest_us: u64) -> Session {
    Session {
        peer: 1,
        round_trip: Some(RoundTrip {
            latest_us,
            count,
            ..RoundTrip::default()
        }),
        sent_bytes: 0,
        queued_bytes: 0,
        segments: 0,
        losses: 0,
    }
}

/// What is found after pings that took so long, the first two of which count for nothing.
fn after(asked: [Conditions; 2], busy: bool, trips_us: &[u64]) -> (Measurements, LinkLine) {
    let mut measurements = Measurements::default();
    measurements.finish_all(Duration::ZERO, busy);
    for (index, &trip_us) in trips_us.iter().enumerate() {
        let now = Duration::from_millis(index as u64);
        let sessions = [session(index as u64 + 1, trip_us)];
        let lines = measurements.look(now, 0, &sessions, |_| asked);
        assert!(lines.is_empty());
    }
    let mut lines = measurements.finish_all(Duration::from_secs(1), busy);
    (measurements, lines.pop().unwrap())
}

fn holds(asked: [Conditions; 2], busy: bool, trips_us: &[u64]) -> Option<bool> {
    after(asked, busy, trips_us).1.holds
}

#[test]
fn each_direction_is_within_a_millisecond_or_five_percent() {
    let trips = |least_us: u64| {
        let mut trips = vec![900_000; 9];
        trips.push(least_us);
        trips
    };
    let asked = [link(5), link(5)];
    assert_eq!(holds(asked, false, &trips(11_900)), Some(true));
    assert_eq!(holds(asked, false, &trips(12_100)), Some(false));
    assert_eq!(holds(asked, false, &trips(7_900)), Some(false));
    let asked = [link(50), link(30)];
    assert_eq!(holds(asked, false, &trips(83_900)), Some(true));
    assert_eq!(holds(asked, false, &trips(84_100)), Some(false));
    // Jitter may add what it may add, and takes nothing away.
    let jitter = Conditions {
        jitter_us: 20_000,
        ..link(50)
    };
    assert_eq!(
        holds([jitter, link(30)], false, &trips(103_900)),
        Some(true)
    );
    assert_eq!(
        holds([jitter, link(30)], false, &trips(104_100)),
        Some(false)
    );
    assert_eq!(
        holds([jitter, link(30)], false, &trips(75_900)),
        Some(false)
    );
}

#[test]
fn what_was_sent_before_the_conditions_says_nothing_of_them() {
    let asked = [link(50), link(50)];
    let mut trips = vec![300, 300];
    trips.extend([100_200; 8]);
    let (measurements, line) = after(asked, false, &trips);
    assert_eq!(line.holds, Some(true));
    let measured = line.measured.unwrap();
    assert_eq!((measured.samples, measured.round_trip_ms), (8, Some(100.2)));
    assert!(measurements.wrong().is_none());
}

#[test]
fn too_few_pings_judge_nothing_and_losses_need_more_of_them() {
    let asked = [link(5), link(5)];
    let (_, line) = after(asked, false, &[1; 9]);
    assert_eq!(line.holds, None);
    assert_eq!(line.note, "too few pings were answered: 7");
    let lossy = Conditions {
        loss_ppm: 300_000,
        ..link(5)
    };
    assert_eq!(samples_needed(&asked, false), 8);
    assert_eq!(samples_needed(&asked, true), 16);
    assert_eq!(samples_needed(&[lossy, lossy], true), 21);
    assert_eq!(holds([lossy, link(5)], false, &[90_000; 40]), Some(false));
    // Behind blocks whose segments were lost a ping waits as long as they do.
    assert_eq!(holds([lossy, link(5)], true, &[90_000; 40]), Some(true));
    assert_eq!(holds([lossy, link(5)], true, &[7_900; 40]), Some(false));
}

#[test]
fn a_change_ends_what_was_found_and_a_cut_is_not_measured() {
    let mut measurements = Measurements::default();
    let cut = Conditions {
        cut: Some(triskel::protocol::link::Cut::Stall),
        ..link(5)
    };
    let look = |measurements: &mut Measurements, asked| {
        measurements.look(Duration::ZERO, 0, &[session(1, 1)], |_| asked)
    };
    assert!(look(&mut measurements, [link(5), link(5)]).is_empty());
    assert_eq!(look(&mut measurements, [link(5), link(6)]).len(), 1);
    assert_eq!(look(&mut measurements, [cut, link(6)]).len(), 1);
    assert!(look(&mut measurements, [link(0), link(0)]).is_empty());
    assert!(measurements.finish_all(Duration::ZERO, true).is_empty());
}

#[test]
fn a_rate_is_measured_while_more_waits_than_the_link_takes() {
    let narrow = Conditions {
        rate_bytes_per_s: Some(10_000),
        ..Conditions::default()
    };
    let found = |bytes_per_s: u64, queued_bytes: u64| {
        let mut measurements = Measurements::default();
        for second in 0..4 {
            let session = Session {
                sent_bytes: second * bytes_per_s,
                queued_bytes,
                ..session(second, 1)
            };
            let now = Duration::from_secs(second);
            measurements.look(now, 0, &[session], |_| [narrow, link(0)]);
        }
        let line = measurements
            .finish_all(Duration::from_secs(4), true)
            .remove(0);
        (
            line.measured.unwrap().rate_bytes_per_s,
            line.holds,
            line.note,
        )
    };
    assert_eq!(found(10_500, 50_000).0, Some(10_500.0));
    assert_eq!(found(10_500, 50_000).1, Some(true));
    let (_, holds, note) = found(8_000, 50_000);
    assert_eq!(holds, Some(false));
    assert!(
        note.starts_with("8000 bytes a second went out while more waited"),
        "{note}"
    );
    let (rate, holds, note) = found(8_000, 100);
    assert_eq!((rate, holds), (None, None));
    assert!(
        note.contains("the rate was not reached, and so not measured: at most 8000 bytes"),
        "{note}"
    );
}
