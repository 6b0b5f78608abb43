//! Faults: what goes wrong, when, for whom and for how long.

use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::link::LinkChoice;
use super::range::up_to_a_million;
use super::span::{Offset, Span};
use super::when::When;
use super::who::Who;

/// A fault. Faults may overlap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins.
    pub when: When,
    /// What goes wrong.
    pub what: Action,
    /// Whom it concerns: all if absent. What is drawn is drawn anew each time.
    #[serde(default)]
    pub who: Who,
    /// How long it lasts. If absent, nodes that end stay down for good, and all else heals when mining ends.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
}

/// What goes wrong: a word, or a table of one word with its measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// The nodes are asked to end (SIGTERM), and start again afterwards.
    Stop,
    /// The nodes are ended without warning (SIGKILL), and start again afterwards.
    Kill,
    /// The nodes stand still, their connections open, and go on afterwards.
    Pause,
    /// The nodes are asked to end and start again, `for` later; at once if absent.
    Restart,
    /// As restart, and what they have stored is removed meanwhile.
    Wipe,
    /// Each of the nodes reaches nobody, and nobody reaches it.
    Isolate,
    /// Nodes of different parts do not reach each other. Nodes in none of the named parts are one more.
    Partition(Parts),
    /// As partition, but the nodes of `who` reach all parts and are reached by all.
    Bridge(Parts),
    /// What the nodes send does not reach these; what these send arrives.
    Cut(Who),
    /// The nodes are isolated for half of this time, and reach everybody for the other half, again and again.
    Flap(Span),
    /// The links from the nodes become slow, lossy or narrow.
    Degrade {
        /// To whom; to all if absent.
        #[serde(default)]
        to: Who,
        /// Whether the links from these to the nodes do too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        both: bool,
        /// A profile's name, or conditions.
        link: LinkChoice,
    },
    /// The nodes' clocks are off by this meanwhile.
    ClockSkew(Offset),
    /// The nodes' clocks jump by this, once and for all.
    ClockJump(Offset),
    /// The nodes can write nothing.
    DiskFull,
    /// The nodes resolve no name of a DNS seed.
    SeedOutage,
    /// The machines on which the nodes are go away, with everything there, and come back afterwards. Asks for `machines`.
    MachineLoss,
    /// The nodes start only now.
    Join,
    /// The nodes are asked to end, and never come back.
    Leave,
    /// The nodes are asked to end, and start again with another program on what they have stored.
    Upgrade(Upgrade),
    /// The nodes' hash rates become so many times what they were; 0 stops mining.
    Hashrate(#[serde(deserialize_with = "up_to_a_million")] f64),
}

/// The parts of a partition: how many, drawn of the same size, or who is in each.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Parts {
    /// So many, drawn.
    Count(u64),
    /// These.
    Named(Vec<Who>),
}

/// What a node becomes: what is named for the backend, or else what the run is of. Simulated nodes are this program, and stay it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Upgrade {
    /// An image, where nodes are containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A program, where nodes are processes; relative to the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
}

/// The kind of an action, for lists of what can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActionKind {
    /// See [`Action::Stop`].
    Stop,
    /// See [`Action::Kill`].
    Kill,
    /// See [`Action::Pause`].
    Pause,
    /// See [`Action::Restart`].
    Restart,
    /// See [`Action::Wipe`].
    Wipe,
    /// See [`Action::Isolate`].
    Isolate,
    /// See [`Action::Partition`].
    Partition,
    /// See [`Action::Bridge`].
    Bridge,
    /// See [`Action::Cut`].
    Cut,
    /// See [`Action::Flap`].
    Flap,
    /// See [`Action::Degrade`].
    Degrade,
    /// See [`Action::ClockSkew`].
    ClockSkew,
    /// See [`Action::ClockJump`].
    ClockJump,
    /// See [`Action::DiskFull`].
    DiskFull,
    /// See [`Action::SeedOutage`].
    SeedOutage,
    /// See [`Action::MachineLoss`].
    MachineLoss,
    /// See [`Action::Join`].
    Join,
    /// See [`Action::Leave`].
    Leave,
    /// See [`Action::Upgrade`].
    Upgrade,
    /// See [`Action::Hashrate`].
    Hashrate,
}

impl ActionKind {
    /// All of them, with the word that a file has.
    pub const ALL: [(&'static str, Self); 20] = [
        ("stop", Self::Stop),
        ("kill", Self::Kill),
        ("pause", Self::Pause),
        ("restart", Self::Restart),
        ("wipe", Self::Wipe),
        ("isolate", Self::Isolate),
        ("partition", Self::Partition),
        ("bridge", Self::Bridge),
        ("cut", Self::Cut),
        ("flap", Self::Flap),
        ("degrade", Self::Degrade),
        ("clock-skew", Self::ClockSkew),
        ("clock-jump", Self::ClockJump),
        ("disk-full", Self::DiskFull),
        ("seed-outage", Self::SeedOutage),
        ("machine-loss", Self::MachineLoss),
        ("join", Self::Join),
        ("leave", Self::Leave),
        ("upgrade", Self::Upgrade),
        ("hashrate", Self::Hashrate),
    ];

    /// Whether a fault of this kind may say how long it lasts.
    pub const fn lasts(self) -> bool {
        !matches!(
            self,
            Self::ClockJump | Self::Join | Self::Leave | Self::Upgrade
        )
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.iter().find(|(_, kind)| kind == self);
        formatter.pad(named.map_or("", |(name, _)| *name))
    }
}

impl Action {
    /// Its kind.
    pub const fn kind(&self) -> ActionKind {
        match self {
            Self::Stop => ActionKind::Stop,
            Self::Kill => ActionKind::Kill,
            Self::Pause => ActionKind::Pause,
            Self::Restart => ActionKind::Restart,
            Self::Wipe => ActionKind::Wipe,
            Self::Isolate => ActionKind::Isolate,
            Self::Partition(_) => ActionKind::Partition,
            Self::Bridge(_) => ActionKind::Bridge,
            Self::Cut(_) => ActionKind::Cut,
            Self::Flap(_) => ActionKind::Flap,
            Self::Degrade { .. } => ActionKind::Degrade,
            Self::ClockSkew(_) => ActionKind::ClockSkew,
            Self::ClockJump(_) => ActionKind::ClockJump,
            Self::DiskFull => ActionKind::DiskFull,
            Self::SeedOutage => ActionKind::SeedOutage,
            Self::MachineLoss => ActionKind::MachineLoss,
            Self::Join => ActionKind::Join,
            Self::Leave => ActionKind::Leave,
            Self::Upgrade(_) => ActionKind::Upgrade,
            Self::Hashrate(_) => ActionKind::Hashrate,
        }
    }

    /// A partition into these parts; whoever is in none is one more.
    pub fn partition<W: Into<Who>>(parts: impl IntoIterator<Item = W>) -> Self {
        Self::Partition(Parts::Named(parts.into_iter().map(W::into).collect()))
    }

    /// What the nodes send does not reach these.
    pub fn cut(toward: impl Into<Who>) -> Self {
        Self::Cut(toward.into())
    }

    /// All links from the nodes are like this.
    pub fn degrade(link: impl Into<LinkChoice>) -> Self {
        Self::Degrade {
            to: Who::All,
            both: false,
            link: link.into(),
        }
    }
}

impl Fault {
    /// A fault of all nodes, until the end.
    pub fn new(when: impl Into<When>, what: Action) -> Self {
        Self {
            when: when.into(),
            what,
            who: Who::All,
            lasts: None,
        }
    }

    /// One that begins so long after mining began.
    pub fn at(span: Span, what: Action) -> Self {
        Self::new(span, what)
    }

    /// Of these nodes.
    pub fn of(self, who: impl Into<Who>) -> Self {
        let who = who.into();
        Self { who, ..self }
    }

    /// For so long.
    pub fn lasting(self, span: Span) -> Self {
        let lasts = Some(span);
        Self { lasts, ..self }
    }
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;

        impl<'de> Visitor<'de> for Choice {
            type Value = Parts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number of parts, 2 to 5000, or a list of who is in each,")
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Parts, E> {
                match u64::try_from(count) {
                    Ok(count @ 2..=5_000) => Ok(Parts::Count(count)),
                    _ => Err(E::invalid_value(de::Unexpected::Signed(count), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Parts, A::Error> {
                let mut parts = Vec::new();
                while let Some(who) = list.next_element()? {
                    parts.push(who);
                }
                Ok(Parts::Named(parts))
            }
        }

        deserializer.deserialize_any(Choice)
    }
}

impl JsonSchema for Parts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Parts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many parts, drawn of the same size, or who is in each.",
            "anyOf": [
                { "type": "integer", "minimum": 2, "maximum": 5_000 },
                { "type": "array", "items": generator.subschema_for::<Who>() },
            ],
        })
    }
}
