//! The conditions of links: how late, how unreliable and how narrow the way from one node to another is.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use triskel::protocol::rng::Rng;

use super::explicit::Node;
use super::group::check_name;
use super::limits::{MAX_LINK_RULES, MAX_PROFILES};
use super::nearest::{list, suggestion};
use super::problem::Problem;
use super::range::{optional_within, part};
use super::span::Span;
use super::who::Who;

/// The links of the network. They concern the connections between peers alone: control and metrics are spared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Links {
    /// What every link has, before rules: a profile's name, or conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<LinkChoice>,
    /// Whether frames between nodes of different regions take, beside that, what the map of the world says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub regions: bool,
    /// Profiles of one's own, by name. The built-in ones: lan, wifi, fibre, cable, dsl, 4g, 3g, satellite, lossy.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, Conditions>,
    /// What single links have instead. Of two rules for one link the later holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<LinkRule>,
}

/// What frames in one direction of a link meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// How long each frame takes at least.
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub delay: Span,
    /// How much longer it may take, evenly distributed. Frames stay in order.
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub jitter: Span,
    /// The part of the packets that are lost and sent again, 0 to 1; 1 lets nothing pass.
    #[serde(deserialize_with = "part", skip_serializing_if = "is_none_at_all")]
    #[schemars(range(min = 0, max = 1))]
    pub loss: f64,
    /// Bytes in a second; without limit if absent.
    #[serde(
        deserialize_with = "optional_within::<_, 1_000, 100_000_000_000>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1_000, max = 100_000_000_000_u64))]
    pub rate_bytes_per_s: Option<u64>,
}

fn is_none_at_all(loss: &f64) -> bool {
    *loss == 0.0
}

/// The conditions of some links.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRule {
    /// Who sends.
    #[serde(default)]
    pub from: Who,
    /// Who receives.
    #[serde(default)]
    pub to: Who,
    /// Whether it holds in the other direction too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub both: bool,
    /// A profile's name, or conditions.
    pub link: LinkChoice,
}

/// The name of a profile, or conditions.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum LinkChoice {
    /// A profile.
    Profile(String),
    /// Conditions.
    Conditions(Conditions),
}

/// Profiles that need not be written: name, delay and jitter in microseconds, loss, bytes in a second. Round figures of what such
/// lines are sold as, for one direction; of asymmetric lines it is the narrower one, by which nodes upload blocks.
pub const PROFILES: [(&str, u64, u64, f64, u64); 9] = [
    ("lan", 200, 100, 0.0, 125_000_000),
    ("wifi", 2_000, 3_000, 0.001, 12_500_000),
    ("fibre", 5_000, 1_000, 0.0, 25_000_000),
    ("cable", 10_000, 3_000, 0.0005, 2_500_000),
    ("dsl", 20_000, 5_000, 0.001, 1_250_000),
    ("4g", 35_000, 15_000, 0.005, 1_250_000),
    ("3g", 100_000, 50_000, 0.01, 125_000),
    ("satellite", 300_000, 20_000, 0.01, 625_000),
    ("lossy", 20_000, 10_000, 0.1, 1_250_000),
];

impl Conditions {
    /// Whether they change nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// A built-in profile.
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, delay, jitter, loss, rate) = PROFILES.iter().find(|profile| profile.0 == name)?;
        Some(Self {
            delay: Span::from_us(*delay),
            jitter: Span::from_us(*jitter),
            loss: *loss,
            rate_bytes_per_s: Some(*rate),
        })
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.delay)?;
        if !self.jitter.is_zero() {
            write!(formatter, " + {}", self.jitter)?;
        }
        if self.loss > 0.0 {
            write!(formatter, ", {} % lost", self.loss * 100.0)?;
        }
        match self.rate_bytes_per_s {
            Some(rate) => write!(formatter, ", {rate} bytes/s"),
            None => Ok(()),
        }
    }
}

impl From<&str> for LinkChoice {
    fn from(profile: &str) -> Self {
        Self::Profile(profile.to_owned())
    }
}

impl From<Conditions> for LinkChoice {
    fn from(conditions: Conditions) -> Self {
        Self::Conditions(conditions)
    }
}

impl Links {
    /// The conditions that a choice stands for.
    ///
    /// # Errors
    ///
    /// There is no such profile; the text says which there are.
    pub fn conditions(&self, choice: &LinkChoice) -> Result<Conditions, String> {
        let name = match choice {
            LinkChoice::Conditions(conditions) => return Ok(*conditions),
            LinkChoice::Profile(name) => name,
        };
        let own = self.profiles.get(name).copied();
        own.or_else(|| Conditions::built_in(name)).ok_or_else(|| {
            let own = self.profiles.keys().map(String::as_str);
            let names: Vec<_> = own
                .chain(PROFILES.iter().map(|profile| profile.0))
                .collect();
            let suggestion = suggestion(name, names.iter().copied());
            format!(
                "there is no profile `{name}`; there are {}{suggestion}",
                list(names)
            )
        })
    }

    /// The conditions of each of these directed links, in their order.
    pub(super) fn resolve(
        &self,
        nodes: &[Node],
        links: &[(usize, usize)],
        rng: &mut Rng,
    ) -> Result<Vec<Conditions>, Problem> {
        if self.profiles.len() > MAX_PROFILES {
            let message = format!("at most {MAX_PROFILES} profiles are allowed");
            return Err(Problem::new("links.profiles", message));
        }
        for name in self.profiles.keys() {
            check_name(name)
                .map_err(|message| Problem::new(format!("links.profiles.{name}"), message))?;
        }
        let default = match &self.default {
            Some(choice) => self
                .conditions(choice)
                .map_err(|message| Problem::new("links.default", message))?,
            None => Conditions::default(),
        };
        let between = |&(from, to): &(usize, usize)| self.default_between(default, nodes, from, to);
        let mut resolved: Vec<_> = links.iter().map(between).collect();
        if self.rules.len() > MAX_LINK_RULES {
            let message = format!("at most {MAX_LINK_RULES} rules are allowed");
            return Err(Problem::new("links.rules", message));
        }
        let place: BTreeMap<_, _> = links
            .iter()
            .enumerate()
            .map(|(place, link)| (*link, place))
            .collect();
        for (index, rule) in self.rules.iter().enumerate() {
            let wrong =
                |key: &str, message| Problem::new(format!("links.rules[{index}].{key}"), message);
            let conditions = self
                .conditions(&rule.link)
                .map_err(|message| wrong("link", message))?;
            let from = rule
                .from
                .resolve(nodes, rng)
                .map_err(|message| wrong("from", message))?;
            let to = rule
                .to
                .resolve(nodes, rng)
                .map_err(|message| wrong("to", message))?;
            let mut set = |link: (usize, usize)| {
                if let Some(place) = place.get(&link) {
                    resolved[*place] = conditions;
                }
            };
            // An expanded scenario has a rule a link: those are looked up, not searched for.
            if let ([from], [to]) = (&from[..], &to[..]) {
                set((*from, *to));
                if rule.both {
                    set((*to, *from));
                }
                continue;
            }
            let within = |set: &[usize], node: &usize| set.binary_search(node).is_ok();
            for (sender, receiver) in links {
                let forth = within(&from, sender) && within(&to, receiver);
                let back = rule.both && within(&from, receiver) && within(&to, sender);
                if forth || back {
                    set((*sender, *receiver));
                }
            }
        }
        Ok(resolved)
    }

    fn default_between(
        &self,
        default: Conditions,
        nodes: &[Node],
        from: usize,
        to: usize,
    ) -> Conditions {
        match (self.regions, nodes[from].region, nodes[to].region) {
            (true, Some(here), Some(there)) if here != there => Conditions {
                delay: Span::from_us(default.delay.as_us() + here.delay(there).as_us()),
                ..default
            },
            _ => default,
        }
    }
}

impl<'de> Deserialize<'de> for LinkChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;

        impl<'de> Visitor<'de> for Choice {
            type Value = LinkChoice;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a profile, or a table of conditions,")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<LinkChoice, E> {
                Ok(LinkChoice::Profile(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<LinkChoice, A::Error> {
                let conditions = Conditions::deserialize(MapAccessDeserializer::new(table))?;
                Ok(LinkChoice::Conditions(conditions))
            }
        }

        deserializer.deserialize_any(Choice)
    }
}

impl JsonSchema for LinkChoice {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LinkChoice".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The name of a profile, or conditions.",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<Conditions>()],
        })
    }
}
