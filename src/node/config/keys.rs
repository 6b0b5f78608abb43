//! The one table of all keys: what each means, what it may be, and how its values are read from text.

use std::net::IpAddr;

use config::Value;
use toml::de::DeValue;

use crate::protocol::chain::id::AccountId;
use crate::protocol::endpoint::Endpoint;

use super::AllocationConfig;

/// A key of the configuration, or a section of keys.
#[derive(Debug)]
pub struct Key {
    /// The last part of its path.
    pub name: &'static str,
    /// What it means, in lines.
    pub about: &'static [&'static str],
    /// What it may be.
    pub kind: Kind,
    /// An example value, as TOML, where the default is that nothing is set.
    pub sample: Option<&'static str>,
}

/// What a key may be.
#[derive(Debug)]
pub enum Kind {
    /// true or false.
    Switch,
    /// A whole number from the first to the second.
    Integer(u64, u64),
    /// An IP address.
    Ip,
    /// A list of `host:port`.
    Endpoints,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text but none.
    Text,
    /// Directives of a log filter.
    Filter,
    /// A list of accounts with balances.
    Allocations,
    /// More keys.
    Section(&'static [Key]),
}

/// The largest whole number that TOML has.
pub(super) const MOST: u64 = i64::MAX as u64;

impl Kind {
    pub(super) const PORT: Self = Self::Integer(0, 65_535);

    /// What is allowed, for people.
    pub fn allowed(&self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Integer(least, MOST) => format!("a whole number from {least}"),
            Self::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Self::Ip => "an IP address, as 127.0.0.1 or ::1".to_owned(),
            Self::Endpoints => "a list of host:port, as node1:9000 or [::1]:9000".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Text => "a text that is not empty".to_owned(),
            Self::Filter => {
                "error, warn, info, debug, trace or off, and target=level pairs after commas"
                    .to_owned()
            }
            Self::Allocations => {
                "a list of { account = \"64 hexadecimal digits\", balance = units }".to_owned()
            }
            Self::Section(keys) => {
                let names: Vec<_> = keys.iter().map(|key| key.name).collect();
                format!("a section with the keys {}", names.join(", "))
            }
        }
    }

    /// Reads a value from a text, as the environment and flags hand it in. `None` if it is not allowed.
    pub(super) fn read(&self, text: &str) -> Option<Value> {
        let text = text.trim();
        match self {
            Self::Switch => text.parse::<bool>().ok().map(Value::from),
            Self::Integer(least, most) => {
                let number = read_integer(text)?;
                (*least..=*most)
                    .contains(&number)
                    .then(|| Value::from(number))
            }
            Self::Ip => text.parse::<IpAddr>().ok().map(|_| Value::from(text)),
            Self::Endpoints => {
                let parts = text
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty());
                let endpoints = parts.map(|part| {
                    let endpoint = part.parse::<Endpoint>().ok();
                    endpoint.map(|endpoint| endpoint.to_string())
                });
                endpoints.collect::<Option<Vec<_>>>().map(Value::from)
            }
            Self::Choice(words) => words.contains(&text).then(|| Value::from(text)),
            Self::Text => (!text.is_empty()).then(|| Value::from(text)),
            Self::Filter => is_filter(text).then(|| Value::from(text)),
            Self::Allocations => read_allocations(text),
            Self::Section(_) => None,
        }
    }

    /// Whether a value of a TOML file is allowed. A section's keys are not looked at.
    pub(super) fn accepts(&self, value: &DeValue<'_>) -> bool {
        match self {
            Self::Switch => value.is_bool(),
            Self::Integer(least, most) => value.as_integer().is_some_and(|integer| {
                let digits = integer.as_str().replace('_', "");
                u64::from_str_radix(&digits, integer.radix())
                    .is_ok_and(|number| (*least..=*most).contains(&number))
            }),
            Self::Endpoints => value.as_array().is_some_and(|array| {
                let mut texts = array.iter().map(|element| element.get_ref().as_str());
                texts.all(|text| text.is_some_and(|text| text.parse::<Endpoint>().is_ok()))
            }),
            Self::Ip | Self::Choice(_) | Self::Text | Self::Filter => {
                value.as_str().is_some_and(|text| self.read(text).is_some())
            }
            // The elements are checked where the file is read as a whole, which names line and column.
            Self::Allocations => value.is_array(),
            Self::Section(_) => value.is_table(),
        }
    }
}

fn read_integer(text: &str) -> Option<u64> {
    let digits = text.replace('_', "");
    match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    }
}

fn read_allocations(text: &str) -> Option<Value> {
    #[derive(serde::Deserialize)]
    struct Wrapper {
        list: Vec<AllocationConfig>,
    }
    let wrapper: Wrapper = toml::from_str(&format!("list = {text}")).ok()?;
    let tables = wrapper.list.into_iter().map(|allocation| {
        config::Map::from_iter([
            (
                "account".to_owned(),
                Value::from(allocation.account.to_string()),
            ),
            ("balance".to_owned(), Value::from(allocation.balance)),
        ])
    });
    Some(Value::from(tables.collect::<Vec<_>>()))
}

/// A word alone would be taken for the name of a target and switch everything on for it: `inof` must not pass.
fn is_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_level = |word: &str| {
        LEVELS
            .iter()
            .any(|level| level.eq_ignore_ascii_case(word.trim()))
    };
    let mut directives = text.split(',');
    directives.all(|directive| is_level(directive.rsplit('=').next().unwrap_or(directive)))
        && tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

impl Key {
    /// The key of a path below `keys`, as `mining.enabled`. Sections are not found.
    pub(super) fn find(keys: &'static [Self], path: &str) -> Option<&'static Self> {
        let (head, rest) = match path.split_once('.') {
            Some((head, rest)) => (head, Some(rest)),
            None => (path, None),
        };
        let key = keys.iter().find(|key| key.name == head)?;
        match (&key.kind, rest) {
            (Kind::Section(inner), Some(rest)) => Self::find(inner, rest),
            (Kind::Section(_), None) | (_, Some(_)) => None,
            (_, None) => Some(key),
        }
    }

    /// The paths of all keys below `keys`, sections resolved, in the order of the table.
    pub(super) fn paths(keys: &'static [Self]) -> Vec<(String, &'static Self)> {
        let mut paths = Vec::new();
        for key in keys {
            match &key.kind {
                Kind::Section(inner) => {
                    let below = Self::paths(inner).into_iter();
                    paths.extend(below.map(|(path, leaf)| (format!("{}.{path}", key.name), leaf)));
                }
                _ => paths.push((key.name.to_owned(), key)),
            }
        }
        paths
    }
}

/// `allocations` names accounts by their key, for addresses depend on the prefix that stands beside them.
pub(super) type Account = AccountId;

/// Declares a section: the type that programs use, its defaults, and its rows in the table of keys, from one text.
///
/// A row is `name [as "KEY"]: type = default, kind [, sample];` with its meaning above it.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $section:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident $(as $rename:literal)?: $type:ty = $default:expr, $kind:expr
                    $(, $sample:literal)?;
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $section {
            $(
                $(#[doc = $doc])+
                $(#[serde(rename = $rename)])?
                pub $field: $type,
            )*
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $section {
            /// The keys of this section.
            pub const KEYS: &'static [Key] = &[
                $(Key {
                    name: section!(@name $field $($rename)?),
                    about: &[$($doc),+],
                    kind: $kind,
                    sample: section!(@sample $($sample)?),
                },)*
            ];
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $rename:literal) => { $rename };
    (@sample) => { None };
    (@sample $sample:literal) => { Some($sample) };
}

pub(super) use section;
