//! Attacks on the rule by which blocks of three streams count together. What they gain stands in PROTOCOL.md, section 10.
//!
//! Nobody hashes here: the time of a block is drawn from the exponential law for its target, as in the simulator. Targets, work,
//! timestamps, colours and acceptance are those of consensus. Honest miners hear of each other's blocks at once, and nothing is
//! lost on the way to them.

mod clock;
mod dating;
mod depth;
mod line;
mod party;
pub(crate) mod selfish;

use std::ops::Range;
use std::sync::Arc;

use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::chain::work::Target;
use triskel::protocol::rng::Rng;
use triskel::sim::simulated;

/// The wall clock at the start, in milliseconds.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// Hashes per second of all honest miners in each stream. So many that no target comes near its limit.
const HASHRATE: f64 = 1e9;

/// A preset without proof of work, tuned to [`HASHRATE`].
fn network(preset: Params) -> Arc<Network> {
    let mut params = simulated(preset);
    for stream in &mut params.streams {
        stream.tune(HASHRATE as u64);
    }
    Arc::new(Network::new(params).unwrap())
}

/// The rate at which so much of [`HASHRATE`] finds blocks, in blocks a millisecond.
fn rate(target: Target, strength: f64) -> f64 {
    strength * HASHRATE / 1_000.0 / target.expected_hashes()
}

/// A draw from the exponential law: the time until the next event of a rate, forever for a rate of 0.
fn wait(rng: &mut Rng, rate: f64) -> f64 {
    -(1.0 - rng.fraction()).ln() / rate
}

/// Which of several events of given rates comes first, and after what time.
fn race<T: Copy>(rng: &mut Rng, rates: &[(T, f64)]) -> (f64, T) {
    let sum: f64 = rates.iter().map(|(_, rate)| rate).sum();
    let after = wait(rng, sum);
    let mut left = rng.fraction() * sum;
    let first = rates.iter().find(|(_, rate)| {
        left -= rate;
        left < 0.0
    });
    (after, first.unwrap_or(&rates[rates.len() - 1]).0)
}

/// The seeds of a test: `TRISKEL_SEED` alone, or as many from 1 on as the test wants.
fn seeds(wanted: u64) -> Range<u64> {
    match std::env::var("TRISKEL_SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 1..wanted + 1,
    }
}

/// How to see a failure again.
fn replay(seed: u64, test: &str) -> String {
    format!("replay with: TRISKEL_SEED={seed} cargo test --test it attacks::{test} -- --nocapture")
}

/// The streams of a network.
fn streams(network: &Network) -> Vec<Stream> {
    network.streams().map(|(stream, _)| stream).collect()
}
