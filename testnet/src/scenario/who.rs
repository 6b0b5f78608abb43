//! Which nodes: by name, by group, by region, or drawn.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use triskel::protocol::rng::Rng;

use super::explicit::Node;
use super::limits::{MAX_NAMES, MAX_TEXT_BYTES};
use super::nearest::{list, suggestion};
use super::region::Region;

/// A choice of nodes. In a file: a text, or a list of texts, which stands for all that one of them chooses.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Who {
    /// `all`.
    #[default]
    All,
    /// `honest`: all that keep the rules.
    Honest,
    /// A node or a group, by its name.
    Named(String),
    /// `region tokyo`.
    Region(Region),
    /// `machine 2`: all nodes there.
    Machine(u64),
    /// `half`, `half of GROUP`: the smaller half of them, drawn.
    Half(Box<Self>),
    /// `random 2`, `random 2 of GROUP`: so many of them, drawn.
    Random(u64, Box<Self>),
    /// `share 0.3`, `share 0.3 of GROUP`: drawn until they have this part of the hash rate of all nodes, or more.
    Share(f64, Box<Self>),
    /// All that one of these chooses.
    Any(Vec<Self>),
}

impl Who {
    /// A node or a group, by its name.
    pub fn named(name: impl Into<String>) -> Self {
        Self::Named(name.into())
    }

    /// The nodes, ascending. What is drawn is drawn from `rng`.
    ///
    /// # Errors
    ///
    /// Nobody has the name, or there are too few nodes to draw from.
    pub fn resolve(&self, nodes: &[Node], rng: &mut Rng) -> Result<Vec<usize>, String> {
        let which = |wanted: &dyn Fn(&Node) -> bool| -> Vec<usize> {
            (0..nodes.len())
                .filter(|&index| wanted(&nodes[index]))
                .collect()
        };
        match self {
            Self::All => Ok((0..nodes.len()).collect()),
            Self::Honest => Ok(which(&|node| node.role.is_honest())),
            Self::Named(name) => named(name, nodes),
            Self::Region(region) => match which(&|node| node.region == Some(*region)) {
                found if found.is_empty() => Err(format!("no node is in region {region}")),
                found => Ok(found),
            },
            Self::Machine(machine) => match which(&|node| node.machine == Some(*machine)) {
                found if found.is_empty() => Err(format!("no node is on machine {machine}")),
                found => Ok(found),
            },
            Self::Half(of) => {
                let from = of.resolve(nodes, rng)?;
                let count = from.len() / 2;
                Ok(draw(from, count, rng))
            }
            Self::Random(count, of) => {
                let from = of.resolve(nodes, rng)?;
                if *count > from.len() as u64 {
                    return Err(format!(
                        "{count} nodes are asked for, {} are there",
                        from.len()
                    ));
                }
                Ok(draw(from, *count as usize, rng))
            }
            Self::Share(share, of) => {
                let from = of.resolve(nodes, rng)?;
                draw_share(from, *share, nodes, rng)
            }
            Self::Any(choices) => {
                let mut chosen = Vec::new();
                for choice in choices {
                    chosen.extend(choice.resolve(nodes, rng)?);
                }
                chosen.sort_unstable();
                chosen.dedup();
                Ok(chosen)
            }
        }
    }

    /// These nodes, by name; `all` where they are.
    pub(super) fn listed(indices: &[usize], nodes: &[Node]) -> Self {
        let named = |&index: &usize| Self::named(nodes[index].name.clone());
        match indices {
            _ if indices.len() == nodes.len() => Self::All,
            [index] => named(index),
            _ => Self::Any(indices.iter().map(named).collect()),
        }
    }
}

fn named(name: &str, nodes: &[Node]) -> Result<Vec<usize>, String> {
    let has = |node: &Node| node.name == name || node.group == name;
    let found: Vec<_> = (0..nodes.len())
        .filter(|&index| has(&nodes[index]))
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let mut known: Vec<_> = nodes.iter().map(|node| node.group.as_str()).collect();
    known.extend(nodes.iter().map(|node| node.name.as_str()));
    known.sort_unstable();
    known.dedup();
    let suggestion = suggestion(name, known.iter().copied());
    let known = list(known);
    Err(format!(
        "no node and no group is called `{name}`; there are {known}{suggestion}"
    ))
}

/// So many of them, ascending.
fn draw(mut from: Vec<usize>, count: usize, rng: &mut Rng) -> Vec<usize> {
    rng.shuffle(&mut from);
    from.truncate(count);
    from.sort_unstable();
    from
}

/// As many of them as have a part of the hash rate of all nodes, ascending.
fn draw_share(
    mut from: Vec<usize>,
    share: f64,
    nodes: &[Node],
    rng: &mut Rng,
) -> Result<Vec<usize>, String> {
    rng.shuffle(&mut from);
    let wanted = share * nodes.iter().map(Node::hashrate).sum::<u64>() as f64;
    let mut reached = 0.0;
    let mut chosen = Vec::new();
    for node in from {
        if reached >= wanted {
            break;
        }
        reached += nodes[node].hashrate() as f64;
        chosen.push(node);
    }
    if reached < wanted {
        return Err(format!("these nodes together have no share of {share}"));
    }
    chosen.sort_unstable();
    Ok(chosen)
}

impl From<&str> for Who {
    /// What the text chooses. A text that is no choice is a name that nobody has, which is said when it is looked up.
    fn from(text: &str) -> Self {
        text.parse().unwrap_or_else(|_| Self::named(text))
    }
}

impl<const COUNT: usize> From<[&str; COUNT]> for Who {
    fn from(texts: [&str; COUNT]) -> Self {
        Self::Any(texts.map(Self::from).to_vec())
    }
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |who: &Self| match who {
            Self::All => String::new(),
            who => format!(" of {who}"),
        };
        match self {
            Self::All => formatter.write_str("all"),
            Self::Honest => formatter.write_str("honest"),
            Self::Named(name) => formatter.write_str(name),
            Self::Region(region) => write!(formatter, "region {region}"),
            Self::Machine(machine) => write!(formatter, "machine {machine}"),
            Self::Half(who) => write!(formatter, "half{}", of(who)),
            Self::Random(count, who) => write!(formatter, "random {count}{}", of(who)),
            Self::Share(share, who) => write!(formatter, "share {share}{}", of(who)),
            Self::Any(choices) => {
                let texts: Vec<_> = choices.iter().map(Self::to_string).collect();
                formatter.write_str(&texts.join(", "))
            }
        }
    }
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "{text:?} is not allowed here; allowed are all, honest, half, random N, share 0.3, region NAME, machine N, the \
                 name of a node or a group, and `of NAME` behind half, random and share"
            )
        };
        if text.len() > MAX_TEXT_BYTES {
            return Err(refused());
        }
        let words: Vec<_> = text.split_whitespace().collect();
        let (words, of) = match &words[..] {
            [words @ .., "of", of] if !words.is_empty() => (words, Some(Self::from_str(of)?)),
            words => (words, None),
        };
        let from = || Box::new(of.clone().unwrap_or_default());
        match (words, &of) {
            (["half"], _) => Ok(Self::Half(from())),
            (["random", count], _) => match count.parse() {
                Ok(count) if count > 0 => Ok(Self::Random(count, from())),
                _ => Err(refused()),
            },
            (["share", share], _) => match share.parse() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self::Share(share, from())),
                _ => Err(refused()),
            },
            (["all"], None) => Ok(Self::All),
            (["honest"], None) => Ok(Self::Honest),
            (["region", name], None) => name.parse().map(Self::Region),
            (["machine", number], None) => match number.parse() {
                Ok(number) if number > 0 => Ok(Self::Machine(number)),
                _ => Err(refused()),
            },
            ([name], None) if super::group::check_name(name).is_ok() => Ok(Self::named(*name)),
            _ => Err(refused()),
        }
    }
}

impl Serialize for Who {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Any(choices) = self else {
            return serializer.collect_str(self);
        };
        let mut list = serializer.serialize_seq(Some(choices.len()))?;
        for choice in choices {
            list.serialize_element(choice)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choices;

        impl<'de> Visitor<'de> for Choices {
            type Value = Who;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text that chooses nodes, or a list of such texts,")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Who, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Who, A::Error> {
                let mut choices = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    choices.push(text.parse().map_err(A::Error::custom)?);
                    if choices.len() > MAX_NAMES {
                        let text = format!("at most {MAX_NAMES} choices are allowed here");
                        return Err(A::Error::custom(text));
                    }
                }
                match choices.is_empty() {
                    true => Err(A::Error::custom("a list of nobody is not allowed here")),
                    false => Ok(Who::Any(choices)),
                }
            }
        }

        deserializer.deserialize_any(Choices)
    }
}

impl JsonSchema for Who {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Who".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = serde_json::json!({
            "type": "string",
            "examples": [
                "all", "honest", "node-1", "miners", "region tokyo", "machine 2", "half", "random 2 of miners", "share 0.3",
            ],
        });
        json_schema!({
            "description": "Which nodes: all, honest, half, random N, share 0.3, region NAME, machine N, or the name of a node or \
                a group; `of NAME` behind half, random and share. A list stands for all that one of them chooses.",
            "anyOf": [text, { "type": "array", "items": text, "minItems": 1 }],
        })
    }
}
