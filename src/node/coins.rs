//! Amounts as people write them: in coins, with up to eight decimals.

use crate::protocol::chain::transaction::UNITS_PER_COIN;

const DECIMALS: usize = 8;

/// A text that is no amount of coins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount of coins, as 1, 0.5 or 12.00000001 (at most {DECIMALS} decimals)")]
pub struct ParseCoinsError(String);

/// `units` in coins, without needless zeros: 150000000 is `1.5`.
pub fn format(units: u64) -> String {
    let (whole, rest) = (units / UNITS_PER_COIN, units % UNITS_PER_COIN);
    if rest == 0 {
        return whole.to_string();
    }
    let decimals = format!("{rest:0DECIMALS$}");
    format!("{whole}.{}", decimals.trim_end_matches('0'))
}

/// The units of a text in coins.
pub fn parse(text: &str) -> Result<u64, ParseCoinsError> {
    let refuse = || ParseCoinsError(text.chars().take(40).collect());
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) || decimals.len() > DECIMALS {
        return Err(refuse());
    }
    let number = |digits: &str| digits.parse::<u64>().map_err(|_| refuse());
    let rest = number(&format!("{decimals:0<DECIMALS$}"))?;
    let units = number(whole)?.checked_mul(UNITS_PER_COIN);
    units
        .and_then(|units| units.checked_add(rest))
        .ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn amounts_are_read_as_they_are_written() {
        for (units, text) in [
            (0, "0"),
            (1, "0.00000001"),
            (150_000_000, "1.5"),
            (5_000_000_000, "50"),
            (u64::MAX, "184467440737.09551615"),
        ] {
            assert_eq!(format(units), text);
            assert_eq!(parse(text), Ok(units));
        }
        assert_eq!(parse("1.50"), Ok(150_000_000));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "0.000000001",
            "184467440737.09551616",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
