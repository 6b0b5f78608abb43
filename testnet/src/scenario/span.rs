//! Spans of time, written with their unit: `250ms`, `20s`, `1.5m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::limits::MAX_SPAN_MS;

/// A span of time in microseconds, at most a day. In a file it is a text of a number and a unit: us, ms, s, m or h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

/// The units, the longest first: name, microseconds.
const UNITS: [(&str, u64); 5] = [
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest: a day.
    pub const MAX: Self = Self(1_000 * MAX_SPAN_MS);

    /// A span of microseconds; what exceeds a day is cut.
    pub const fn from_us(microseconds: u64) -> Self {
        match microseconds < Self::MAX.0 {
            true => Self(microseconds),
            false => Self::MAX,
        }
    }

    /// A span of milliseconds; what exceeds a day is cut.
    pub const fn from_ms(milliseconds: u64) -> Self {
        Self::from_us(milliseconds.saturating_mul(1_000))
    }

    /// In microseconds.
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// In whole milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000
    }

    /// In seconds.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// As the standard library has it.
    pub const fn as_duration(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// Whether it is no time at all.
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self::from_us(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return formatter.write_str("0s");
        }
        let fits = |(_, size): &&(&str, u64)| self.0.is_multiple_of(*size);
        let (unit, size) = UNITS
            .iter()
            .find(fits)
            .expect("every number is a multiple of one");
        write!(formatter, "{}{unit}", self.0 / size)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "{text:?} is not allowed here, a time with its unit is, as 250ms, 20s or 1.5m; units are us, ms, s, m and h"
            )
        };
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        let unit = &text[digits.len()..];
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, size) = known.ok_or_else(refused)?;
        let plain = |part: &str| {
            !part.is_empty() && part.len() <= 15 && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
        if !plain(whole) || !plain(decimals) {
            return Err(refused());
        }
        let number = |part: &str| part.parse::<u128>().map_err(|_| refused());
        let scale = 10u128.pow(decimals.len() as u32);
        let parts = number(whole)? * scale + number(decimals)?;
        let microseconds = parts * u128::from(*size) / scale;
        if microseconds > u128::from(Self::MAX.0) {
            return Err(format!(
                "{text} is not allowed here, at most a day (24h) is"
            ));
        }
        Ok(Self(microseconds as u64))
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A span of time with its unit, as 250ms, 20s or 1.5m; at most a day.",
            "type": "string",
            "pattern": "^[0-9]+(\\.[0-9]+)?(us|ms|s|m|h)$",
        })
    }
}

/// A distance of clocks: a span, forward or, behind a minus, back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Offset {
    /// How far.
    pub span: Span,
    /// Whether the clock goes back.
    pub back: bool,
}

impl Offset {
    /// In microseconds, negative where the clock goes back.
    pub const fn as_us(self) -> i64 {
        match self.back {
            true => -(self.span.as_us() as i64),
            false => self.span.as_us() as i64,
        }
    }
}

impl From<Span> for Offset {
    fn from(span: Span) -> Self {
        Self { span, back: false }
    }
}

impl std::ops::Neg for Offset {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            back: !self.back,
            ..self
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.back { "-" } else { "" };
        write!(formatter, "{sign}{}", self.span)
    }
}

impl TryFrom<String> for Offset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (back, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let span = rest.parse()?;
        Ok(Self { span, back })
    }
}

impl From<Offset> for String {
    fn from(offset: Offset) -> Self {
        offset.to_string()
    }
}

impl JsonSchema for Offset {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Offset".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How far a clock is off, as 2s or, back, -2s; at most a day.",
            "type": "string",
            "pattern": "^-?[0-9]+(\\.[0-9]+)?(us|ms|s|m|h)$",
        })
    }
}

/// Spans as a program writes them: `10.seconds()`.
pub trait Spans {
    /// So many milliseconds; what exceeds a day is cut.
    fn milliseconds(self) -> Span;
    /// So many seconds; what exceeds a day is cut.
    fn seconds(self) -> Span;
    /// So many minutes; what exceeds a day is cut.
    fn minutes(self) -> Span;
}

impl Spans for u64 {
    fn milliseconds(self) -> Span {
        Span::from_ms(self)
    }

    fn seconds(self) -> Span {
        Span::from_ms(self.saturating_mul(1_000))
    }

    fn minutes(self) -> Span {
        Span::from_ms(self.saturating_mul(60_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_in_its_longest_whole_unit() {
        for (text, shown) in [
            ("20s", "20s"),
            ("250ms", "250ms"),
            ("1.5m", "90s"),
            ("120s", "2m"),
            ("24h", "24h"),
            ("0ms", "0s"),
            ("0.25ms", "250us"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string(), shown);
            assert_eq!(shown.parse::<Span>().unwrap(), span);
        }
        assert_eq!(20.seconds(), "20s".parse().unwrap());
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "", "20", "s", "20 s", "-1s", "1.s", ".5s", "1e3s", "20sec", "25h", "1.2.3s",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        let offset = Offset::try_from("-2s".to_owned()).unwrap();
        assert_eq!(
            (offset.as_us(), offset.to_string()),
            (-2_000_000, "-2s".to_owned())
        );
    }
}
