//! A document whose every value knows where it was written, so that what is wrong can be found again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

/// Where a value was written: `file:line`, or the flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin(Arc<str>);

impl Origin {
    pub(super) fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A value, and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Switch(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Table(BTreeMap<String, Tree>),
    /// What TOML has and no scenario needs: dates, and integers of more than 64 bits.
    Foreign(String),
}

/// What a text was read from, to find lines.
pub(super) struct Text<'a> {
    name: &'a str,
    /// The offsets at which lines begin.
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(super) fn new(name: &'a str, text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { name, lines }
    }

    fn origin(&self, offset: usize) -> Origin {
        let line = self.lines.partition_point(|begin| *begin <= offset);
        Origin::new(format!("{}:{line}", self.name))
    }
}

impl Tree {
    pub(super) fn of_table(table: &DeTable<'_>, text: &Text<'_>) -> Self {
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
            let mut tree = Self::of_value(value, text);
            // The key is what people look for.
            tree.origin = text.origin(key.span().start);
            (key.get_ref().to_string(), tree)
        };
        Self {
            value: Value::Table(table.iter().map(entry).collect()),
            origin: Origin::new(text.name),
        }
    }

    fn of_value(value: &toml::Spanned<DeValue<'_>>, text: &Text<'_>) -> Self {
        let origin = text.origin(value.span().start);
        let value = match value.get_ref() {
            DeValue::Table(table) => Self::of_table(table, text).value,
            DeValue::Array(array) => Value::List(
                array
                    .iter()
                    .map(|element| Self::of_value(element, text))
                    .collect(),
            ),
            scalar => Value::of_scalar(scalar),
        };
        Self { value, origin }
    }

    /// The value of a flag: TOML, or else a plain text.
    pub(super) fn of_flag(value: &str, origin: Origin) -> Self {
        let read = DeValue::parse(value).ok();
        let mut tree = match &read {
            Some(read) => Self::of_value(read, &Text::new("", value)),
            None => Self {
                value: Value::Text(value.to_owned()),
                origin: origin.clone(),
            },
        };
        tree.relocate(&origin);
        tree
    }

    fn relocate(&mut self, origin: &Origin) {
        self.origin = origin.clone();
        match &mut self.value {
            Value::List(list) => list.iter_mut().for_each(|tree| tree.relocate(origin)),
            Value::Table(table) => table.values_mut().for_each(|tree| tree.relocate(origin)),
            _ => {}
        }
    }

    /// Lays another document over this one: tables are merged, everything else is replaced.
    pub(super) fn merge(&mut self, over: Self) {
        let (table, others) = match (&mut self.value, over.value) {
            (Value::Table(table), Value::Table(others)) => (table, others),
            (place, value) => {
                *place = value;
                self.origin = over.origin;
                return;
            }
        };
        for (key, tree) in others {
            match table.get_mut(&key) {
                // A graph has one shape: another one comes in its place, not beside it.
                Some(place) if key != "topology" || place.shares_a_key(&tree) => place.merge(tree),
                _ => {
                    table.insert(key, tree);
                }
            }
        }
    }

    fn shares_a_key(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Table(left), Value::Table(right)) => {
                left.keys().any(|key| right.contains_key(key))
            }
            _ => false,
        }
    }

    /// Sets what is at a path, as `network.delay_ms` or `faults.0.for`.
    pub(super) fn set(&mut self, path: &[&str], value: Self) {
        let origin = value.origin.clone();
        if let ([index, rest @ ..], Value::List(list)) = (path, &mut self.value)
            && let Some(place) = index
                .parse()
                .ok()
                .and_then(|index: usize| list.get_mut(index))
        {
            return place.set(rest, value);
        }
        if let ([key, rest @ ..], Value::Table(table)) = (path, &mut self.value)
            && let Some(
                place @ Self {
                    value: Value::List(_),
                    ..
                },
            ) = table.get_mut(*key)
        {
            return place.set(rest, value);
        }
        let nest = |inner: Self, key: &&str| Self {
            value: Value::Table(BTreeMap::from([((*key).to_owned(), inner)])),
            origin: origin.clone(),
        };
        // Step by step, so that lists on the way are entered and not replaced.
        if let ([key, rest @ ..], Value::Table(table)) = (path, &mut self.value)
            && !rest.is_empty()
            && *key != "topology"
            && let Some(
                place @ Self {
                    value: Value::Table(_),
                    ..
                },
            ) = table.get_mut(*key)
        {
            return place.set(rest, value);
        }
        self.merge(path.iter().rev().fold(value, nest));
    }

    /// The text at a path, to be changed.
    pub(super) fn text_mut(&mut self, path: &[&str]) -> Option<&mut String> {
        match (&mut self.value, path) {
            (Value::Text(text), []) => Some(text),
            (Value::Table(table), [key, rest @ ..]) => table.get_mut(*key)?.text_mut(rest),
            _ => None,
        }
    }

    /// Notes where each value was written, by its path.
    pub(super) fn note_origins(&self, path: &str, origins: &mut BTreeMap<String, Origin>) {
        origins.insert(path.to_owned(), self.origin.clone());
        match &self.value {
            Value::Table(table) => {
                for (key, tree) in table {
                    let dot = if path.is_empty() { "" } else { "." };
                    tree.note_origins(&format!("{path}{dot}{key}"), origins);
                }
            }
            Value::List(list) => {
                for (index, tree) in list.iter().enumerate() {
                    tree.note_origins(&format!("{path}[{index}]"), origins);
                }
            }
            _ => {}
        }
    }
}

impl Value {
    fn of_scalar(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::Boolean(switch) => Self::Switch(*switch),
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(integer) => {
                let digits = integer.as_str().replace('_', "");
                match i64::from_str_radix(&digits, integer.radix()) {
                    Ok(integer) => Self::Integer(integer),
                    Err(_) => Self::Foreign(digits),
                }
            }
            DeValue::Float(float) => match float.as_str().replace('_', "").parse() {
                Ok(float) => Self::Float(float),
                Err(_) => Self::Foreign(float.as_str().to_owned()),
            },
            other => Self::Foreign(format!("a {}", other.type_str())),
        }
    }
}
