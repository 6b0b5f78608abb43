//! Conditions on a running network: a small language, and what it means.
//!
//! ```text
//! condition   = and { "or" and }
//! and         = not { "and" not }
//! not         = [ "not" ] ( "(" condition ")" | comparison | log | "tips differ" )
//! comparison  = quantity ( "<" | "<=" | "==" | "!=" | ">=" | ">" ) number [ on ]
//! log         = "log(" "text" ")" [ on ]
//! quantity    = one of Quantity's names, or metric("name")
//! on          = "on every node" | "on any node" | "on" NAME
//! ```
//!
//! Quantities of nodes are looked at on every honest node that runs, unless `on` says otherwise; a log on any.

use std::fmt;

use serde::Serialize;

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// One of them holds.
    Or(Vec<Self>),
    /// All of them hold.
    And(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// A quantity compares with a number.
    Compare {
        /// What is looked at.
        quantity: Quantity,
        /// How it is compared.
        comparison: Comparison,
        /// With what.
        value: f64,
        /// On which nodes; means nothing for quantities of the network.
        on: On,
    },
    /// A line of a log contains a text.
    Log {
        /// The text.
        text: String,
        /// On which nodes.
        on: On,
    },
}

/// What a network or a node is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Quantity {
    /// `tips`: different places (tip, order and state together) among the honest nodes that run. Of the network.
    Tips,
    /// `live`: nodes that answer. Of the network.
    Live,
    /// `red_rate`: the part of the ordered blocks that are red, 0 to 1. Of the network.
    RedRate,
    /// `stale_rate`: the part of the last 200 blocks that are not on the selected chain, 0 to 1. Of the network.
    StaleRate,
    /// `blocks`: blocks in the node's order.
    Blocks,
    /// `transactions`: transactions applied.
    Transactions,
    /// `mempool`: transactions that wait.
    Mempool,
    /// `peers`: sessions that stand.
    Peers,
    /// `reorganisation`: blocks that the deepest change of the order took back so far.
    Reorganisation,
    /// `restarts`: starts that no fault asked for; more than 0 only where `no_unexpected_restart` is given up.
    Restarts,
    /// `memory_mib`: memory that the node has, in MiB.
    Memory,
    /// `descriptors`: files and sockets that the node has open.
    Descriptors,
    /// `metric("triskel_...")`: the value of a metric, the sum over its labels.
    Metric(String),
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Differs,
    /// `>=`
    AtLeast,
    /// `>`
    More,
}

/// On which nodes a condition must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum On {
    /// On every honest node that runs.
    Every,
    /// On one of the honest nodes that run, at least.
    Any,
    /// On the node of this name, or on every node of this group.
    Named(String),
}

/// What is known of a network at a moment. Whoever runs a network implements it; nodes are named by their indices.
pub trait Quantities {
    /// The honest nodes that run.
    fn honest(&self) -> Vec<usize>;
    /// The node of a name, or the nodes of a group.
    fn named(&self, name: &str) -> Vec<usize>;
    /// A quantity of the network; `None` if it is not known now.
    fn of_network(&self, quantity: &Quantity) -> Option<f64>;
    /// A quantity of a node; `None` if it is not known now.
    fn of_node(&self, node: usize, quantity: &Quantity) -> Option<f64>;
    /// Whether a line of the node's log contains a text; `None` if that is not known.
    fn logged(&self, node: usize, text: &str) -> Option<bool>;
}

impl Quantity {
    /// All but metrics: name, quantity.
    pub const NAMED: [(&'static str, Self); 12] = [
        ("tips", Self::Tips),
        ("live", Self::Live),
        ("red_rate", Self::RedRate),
        ("stale_rate", Self::StaleRate),
        ("blocks", Self::Blocks),
        ("transactions", Self::Transactions),
        ("mempool", Self::Mempool),
        ("peers", Self::Peers),
        ("reorganisation", Self::Reorganisation),
        ("restarts", Self::Restarts),
        ("memory_mib", Self::Memory),
        ("descriptors", Self::Descriptors),
    ];

    /// Whether it is the network's, not each node's.
    pub const fn is_of_network(&self) -> bool {
        matches!(
            self,
            Self::Tips | Self::Live | Self::RedRate | Self::StaleRate
        )
    }
}

impl Comparison {
    /// All of them: sign, comparison.
    pub const ALL: [(&'static str, Self); 6] = [
        ("<", Self::Less),
        ("<=", Self::AtMost),
        ("==", Self::Equal),
        ("!=", Self::Differs),
        (">=", Self::AtLeast),
        (">", Self::More),
    ];

    /// Whether two numbers compare so.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Equal => left == right,
            Self::Differs => left != right,
            Self::AtLeast => left >= right,
            Self::More => left > right,
        }
    }
}

impl Expression {
    /// Whether it holds now; `None` if what it takes to know is not known. What is known may decide nevertheless: one that holds
    /// decides an `or`, one that does not an `and`.
    pub fn evaluate(&self, quantities: &dyn Quantities) -> Option<bool> {
        match self {
            Self::Or(parts) => any(parts.iter().map(|part| part.evaluate(quantities))),
            Self::And(parts) => every(parts.iter().map(|part| part.evaluate(quantities))),
            Self::Not(part) => part.evaluate(quantities).map(|holds| !holds),
            Self::Compare {
                quantity,
                comparison,
                value,
                on,
            } => {
                let compare =
                    |found: Option<f64>| found.map(|found| comparison.holds(found, *value));
                if quantity.is_of_network() {
                    return compare(quantities.of_network(quantity));
                }
                on.judge(quantities, |node| {
                    compare(quantities.of_node(node, quantity))
                })
            }
            Self::Log { text, on } => on.judge(quantities, |node| quantities.logged(node, text)),
        }
    }

    /// The quantities that it looks at.
    pub fn quantities(&self) -> Vec<&Quantity> {
        match self {
            Self::Or(parts) | Self::And(parts) => parts.iter().flat_map(Self::quantities).collect(),
            Self::Not(part) => part.quantities(),
            Self::Compare { quantity, .. } => vec![quantity],
            Self::Log { .. } => Vec::new(),
        }
    }

    /// The names of nodes and groups that it looks at.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Or(parts) | Self::And(parts) => parts.iter().flat_map(Self::names).collect(),
            Self::Not(part) => part.names(),
            Self::Compare { on, .. } | Self::Log { on, .. } => match on {
                On::Named(name) => vec![name],
                On::Every | On::Any => Vec::new(),
            },
        }
    }

    /// The texts that it looks for in logs.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Or(parts) | Self::And(parts) => parts.iter().flat_map(Self::texts).collect(),
            Self::Not(part) => part.texts(),
            Self::Compare { .. } => Vec::new(),
            Self::Log { text, .. } => vec![text],
        }
    }
}

impl On {
    fn judge(
        &self,
        quantities: &dyn Quantities,
        holds: impl Fn(usize) -> Option<bool>,
    ) -> Option<bool> {
        match self {
            Self::Any => any(quantities.honest().into_iter().map(holds)),
            Self::Every => every(quantities.honest().into_iter().map(holds)),
            Self::Named(name) => every(quantities.named(name).into_iter().map(holds)),
        }
    }
}

/// Three-valued (Kleene): what is not known decides nothing.
fn any(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = true;
    for part in parts {
        match part {
            Some(true) => return Some(true),
            Some(false) => {}
            None => known = false,
        }
    }
    known.then_some(false)
}

fn every(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    any(parts.map(|part| part.map(|holds| !holds))).map(|one_fails| !one_fails)
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |parts: &[Self], word: &str| -> String {
            let shown = |part: &Self| match part {
                Self::Or(_) | Self::And(_) => format!("({part})"),
                part => part.to_string(),
            };
            parts.iter().map(shown).collect::<Vec<_>>().join(word)
        };
        match self {
            Self::Or(parts) => formatter.write_str(&join(parts, " or ")),
            Self::And(parts) => formatter.write_str(&join(parts, " and ")),
            Self::Not(part) => match **part {
                Self::Or(_) | Self::And(_) => write!(formatter, "not ({part})"),
                _ => write!(formatter, "not {part}"),
            },
            Self::Compare {
                quantity,
                comparison,
                value,
                on,
            } => {
                write!(formatter, "{quantity} {comparison} {value}")?;
                match on {
                    On::Every => Ok(()),
                    on => write!(formatter, " {on}"),
                }
            }
            Self::Log { text, on } => {
                write!(formatter, "log(\"{text}\")")?;
                match on {
                    On::Any => Ok(()),
                    on => write!(formatter, " {on}"),
                }
            }
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metric(name) => write!(formatter, "metric(\"{name}\")"),
            other => {
                let named = Self::NAMED.iter().find(|(_, quantity)| quantity == other);
                formatter.write_str(named.map_or("", |(name, _)| *name))
            }
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.iter().find(|(_, comparison)| comparison == self);
        formatter.write_str(named.map_or("", |(sign, _)| *sign))
    }
}

impl fmt::Display for On {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => formatter.write_str("on every node"),
            Self::Any => formatter.write_str("on any node"),
            Self::Named(name) => write!(formatter, "on {name}"),
        }
    }
}

mod parse;
#[cfg(test)]
mod tests;
