//! When something happens: at a time, at a block, at an event, again and again, or by chance.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::expression::Expression;
use super::span::Span;

/// A moment of a run, or several. In a file it is a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum When {
    /// `30s`: so long after mining began.
    At(Span),
    /// `block 100`: as soon as an honest node has so many blocks.
    Block(u64),
    /// `every 20s`: so long after mining began, and again after as long, while `duration` lasts.
    Every(Span),
    /// `poisson 0.1/s`: by chance, so often on average, while `duration` lasts.
    Poisson(f64),
    /// `tips differ`, `peers < 2 on any node`: as soon as this holds.
    Event(Expression),
    /// `faults over`: as soon as the last fault has ended. For checks alone.
    FaultsOver,
}

impl When {
    /// Whether it may happen more than once.
    pub const fn repeats(&self) -> bool {
        matches!(self, Self::Every(_) | Self::Poisson(_))
    }
}

impl From<Span> for When {
    fn from(span: Span) -> Self {
        Self::At(span)
    }
}

impl fmt::Display for When {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(span) => write!(formatter, "{span}"),
            Self::Block(number) => write!(formatter, "block {number}"),
            Self::Every(span) => write!(formatter, "every {span}"),
            Self::Poisson(rate) => write!(formatter, "poisson {rate}/s"),
            Self::Event(expression) => write!(formatter, "{expression}"),
            Self::FaultsOver => formatter.write_str("faults over"),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = "allowed are a time as 30s, block 100, every 20s, poisson 0.1/s, and conditions as \
                       `tips differ` or `peers < 2`";
        let refused = || format!("{text:?} is not allowed here; {allowed}");
        let words: Vec<_> = text.split_whitespace().collect();
        match words[..] {
            ["block", number] => match number.parse() {
                Ok(number) if (1..=1_000_000_000).contains(&number) => Ok(Self::Block(number)),
                _ => Err(refused()),
            },
            ["every", span] => match span.parse::<Span>()? {
                span if span.is_zero() => Err(refused()),
                span => Ok(Self::Every(span)),
            },
            ["poisson", rate] => {
                let rate = rate.strip_suffix("/s").and_then(|rate| rate.parse().ok());
                match rate {
                    Some(rate) if 0.0 < rate && rate <= 1e3 => Ok(Self::Poisson(rate)),
                    _ => Err(refused()),
                }
            }
            ["faults", "over"] => Ok(Self::FaultsOver),
            [word] if word.starts_with(|letter: char| letter.is_ascii_digit()) => {
                word.parse().map(Self::At)
            }
            _ => match text.parse() {
                Ok(expression) => Ok(Self::Event(expression)),
                Err(why) => Err(format!("{why}; {allowed}")),
            },
        }
    }
}

impl TryFrom<String> for When {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<When> for String {
    fn from(when: When) -> Self {
        when.to_string()
    }
}

impl JsonSchema for When {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "When".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "When: a time after mining began, block N, every TIME, poisson RATE/s, a condition that comes to hold, \
                or (for checks) faults over.",
            "type": "string",
            "examples": ["30s", "block 100", "every 20s", "poisson 0.1/s", "tips differ", "peers < 2 on any node", "faults over"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written_alike() {
        for text in [
            "30s",
            "block 100",
            "every 20s",
            "poisson 0.1/s",
            "tips > 1",
            "peers < 2 on any node",
            "faults over",
        ] {
            assert_eq!(text.parse::<When>().unwrap().to_string(), text);
        }
        assert_eq!(
            "tips differ".parse::<When>().unwrap().to_string(),
            "tips > 1"
        );
    }

    #[test]
    fn what_is_no_moment_is_refused_with_what_is_allowed() {
        for text in [
            "",
            "30",
            "block 0",
            "block x",
            "every 0s",
            "poisson 0/s",
            "poisson 1",
            "soon",
            "tips >",
        ] {
            let error = text.parse::<When>().unwrap_err();
            assert!(
                error.contains("as") && error.contains("30s") || error.contains("20s"),
                "{text}: {error}"
            );
        }
    }
}
