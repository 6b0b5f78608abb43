//! `node params`: what the network's parameters mean, and which k another delay would lead to.

use std::str::FromStr;
use std::time::Duration;

use serde_json::json;

use crate::node::coins;
use crate::node::config::NodeConfig;
use crate::protocol::chain::ordering::{anticone_exceeds, k_for};
use crate::protocol::chain::params::{DEFAULT_DELAY_MS, Params};

use super::ask::{AskError, table};

/// Delays that are shown for comparison, in milliseconds.
const DELAYS_MS: [u64; 6] = [100, 200, 500, 1_000, 2_000, 5_000];

/// A delay as people write it: `500ms`, `0.5s`, `2s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay(u64);

/// A text that is no delay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a number and ms or s, from 1ms to 60s, as 500ms or 1.5s")]
pub struct ParseDelayError;

impl FromStr for Delay {
    type Err = ParseDelayError;

    fn from_str(text: &str) -> Result<Self, ParseDelayError> {
        let (number, factor) = match text.strip_suffix("ms") {
            Some(number) => (number, 1.0),
            None => (text.strip_suffix('s').ok_or(ParseDelayError)?, 1_000.0),
        };
        let number: f64 = number.trim().parse().map_err(|_| ParseDelayError)?;
        let delay_ms = number * factor;
        if (1.0..=60_000.0).contains(&delay_ms) {
            Ok(Self(delay_ms as u64))
        } else {
            Err(ParseDelayError)
        }
    }
}

/// Explains the parameters of the configured network, with k for the delay asked for.
pub fn params(config: &NodeConfig, delay: Option<Delay>, json: bool) -> Result<String, AskError> {
    let network = config.network()?;
    let params = network.params();
    let configured_ms = config.network.delay_ms.unwrap_or(DEFAULT_DELAY_MS);
    let delay_ms = delay.map_or(configured_ms, |delay| delay.0);
    let rate = params.blocks_per_second();
    let k = k_for(rate, delay_ms);
    let expected = 2.0 * delay_ms as f64 / 1_000.0 * rate;
    if json {
        let streams = network.streams().map(|(stream, rules)| {
            let rules = &rules.params;
            let row = json!({
                "algorithm": rules.algorithm,
                "interval_ms": rules.interval_ms,
                "half_life_ms": rules.half_life_ms,
                "reward": rules.reward,
                "max_transactions": rules.max_transactions,
            });
            (stream.to_string(), row)
        });
        let answer = json!({
            "name": params.name,
            "network_id": network.id(),
            "streams": streams.collect::<serde_json::Map<_, _>>(),
            "blocks_per_second": rate,
            "max_parents": params.max_parents,
            "k": params.k,
            "merge_limit": params.merge_limit,
            "merge_depth": params.merge_depth,
            "finality_depth": params.finality_depth,
            "delay": {
                "delay_ms": delay_ms,
                "expected_anticone": expected,
                "k": k,
                "probability_of_more": anticone_exceeds(expected, k),
            },
        });
        return Ok(format!("{answer:#}\n"));
    }
    let mut rows = vec![("network", format!("{} ({:.12})", params.name, network.id()))];
    for (stream, rules) in network.streams() {
        let rules = &rules.params;
        let name = ["stream A", "stream B", "stream C"][stream.index()];
        rows.push((
            name,
            format!(
                "{} every {}, {} coins and fees, at most {} transactions",
                format!("{:?}", rules.algorithm).to_lowercase(),
                duration(rules.interval_ms as f64 / 1_000.0),
                coins::format(rules.reward),
                rules.max_transactions,
            ),
        ));
    }
    let depth = |blocks: u32| {
        let seconds = f64::from(blocks) / rate;
        format!("{blocks} blue blocks, about {}", duration(seconds))
    };
    rows.push(("together", format!("{rate:.1} blocks a second")));
    rows.push(("finality", depth(params.finality_depth)));
    let mut text = if params.max_parents == 1 {
        rows.push(("merging", "none: a block has one parent, k is 0".to_owned()));
        table(&rows)
    } else {
        rows.push(("parents", format!("at most {}", params.max_parents)));
        let merges = format!("at most {} blocks at once", params.merge_limit);
        rows.push((
            "merging",
            format!("{merges}, {} back", depth(params.merge_depth)),
        ));
        rows.push(("k", format!("{} in this network", params.k)));
        table(&rows)
    };
    if params.max_parents > 1 {
        text += &explanation(params, delay_ms, k, expected);
    }
    Ok(text)
}

fn explanation(params: &Params, delay_ms: u64, k: u16, expected: f64) -> String {
    let (rate, seconds) = (params.blocks_per_second(), delay_ms as f64 / 1_000.0);
    let mut text = format!(
        "\n\
         If a block reaches every node within {delay_ms} ms, the blocks found while it was not known\n\
         everywhere are those of {delay_ms} ms before it and {delay_ms} ms after it:\n\n  \
         2 * {seconds} s * {rate:.1} blocks/s = {expected:.1} blocks expected in its anticone.\n\n\
         k = {k} is the least for which an honest block has more than k there with a probability\n\
         below 1 % ({:.2} %). Blocks beyond k are red: merged, but not rewarded.\n\n",
        100.0 * anticone_exceeds(expected, k),
    );
    text += "      delay     k\n";
    for delay_ms in DELAYS_MS {
        text += &format!("{delay_ms:>8} ms {:>5}\n", k_for(rate, delay_ms));
    }
    text
}

/// A duration for people.
fn duration(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds).as_secs();
    match whole {
        0 => format!("{} ms", (seconds * 1_000.0).round()),
        1..120 => format!("{} s", seconds.round()),
        120..7_200 => format!("{} min", (seconds / 60.0).round()),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}
