//! Numbers of a range, read from a file; the message says which range.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// A whole number of a range.
pub(super) fn within<'de, D: Deserializer<'de>, const LOW: u64, const HIGH: u64>(
    deserializer: D,
) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Whole::<LOW, HIGH>)
}

/// A whole number of a range, where there may be none.
pub(super) fn optional_within<'de, D: Deserializer<'de>, const LOW: u64, const HIGH: u64>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    within::<D, LOW, HIGH>(deserializer).map(Some)
}

struct Whole<const LOW: u64, const HIGH: u64>;

impl<const LOW: u64, const HIGH: u64> Visitor<'_> for Whole<LOW, HIGH> {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a whole number, {LOW} to {HIGH},")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        match (LOW..=HIGH).contains(&value) {
            true => Ok(value),
            false => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
        }
    }
}

/// A part of one, 0 to 1.
pub(super) fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    real(deserializer, 0.0, 1.0)
}

/// A part of one, where there may be none.
pub(super) fn optional_part<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<f64>, D::Error> {
    part(deserializer).map(Some)
}

/// A number from nothing to a million, for rates and factors.
pub(super) fn up_to_a_million<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    real(deserializer, 0.0, 1e6)
}

fn real<'de, D: Deserializer<'de>>(deserializer: D, low: f64, high: f64) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    match (low..=high).contains(&value) {
        true => Ok(value),
        false => Err(D::Error::custom(format_args!(
            "{value} is not allowed here, {low} to {high} is"
        ))),
    }
}
