//! Regions of the world, between which frames take their time.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use triskel::sim::map;

use super::nearest::{list, suggestion};
use super::span::Span;

/// A region of the simulator's map, which serves all backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(usize);

impl Region {
    /// All regions, in the order of the map.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..map::REGIONS.len()).map(Self)
    }

    /// Its number on the map.
    pub const fn index(self) -> usize {
        self.0
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        map::REGIONS[self.0].0
    }

    /// The time that a packet takes from here to there.
    pub fn delay(self, to: Self) -> Span {
        Span::from_ms(map::delay_ms(self.0, to.0))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Region {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || map::REGIONS.iter().map(|(name, ..)| *name);
        names()
            .position(|known| known == name)
            .map(Self)
            .ok_or_else(|| {
                let suggestion = suggestion(name, names());
                format!(
                    "{name:?} is not allowed here, one of {} is{suggestion}",
                    list(names())
                )
            })
    }
}

impl TryFrom<String> for Region {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.name().to_owned()
    }
}

impl JsonSchema for Region {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Region".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = Self::all().map(Self::name).collect();
        json_schema!({ "description": "A region of the world.", "type": "string", "enum": names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirteen_regions_have_names_and_distances() {
        assert!(Region::all().count() >= 13);
        let [tokyo, dublin]: [Region; 2] = ["tokyo", "dublin"].map(|name| name.parse().unwrap());
        assert!((60..=100).contains(&tokyo.delay(dublin).as_ms()));
        assert_eq!(tokyo.delay(dublin), dublin.delay(tokyo));
        assert!(
            "tokio"
                .parse::<Region>()
                .unwrap_err()
                .contains("did you mean `tokyo`?")
        );
    }
}
