//! The keys of a node's configuration that a group may set. The others are the orchestrator's: it chooses ports and
//! directories, and says itself what is mined.

use super::nearest::{list, suggestion};
use super::problem::Problem;

/// What a key may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// true or false.
    Switch,
    /// A whole number from the first to the second.
    Integer(u64, u64),
    /// A text.
    Text,
    /// A list of `host:port`.
    Endpoints,
}

const MOST: u64 = i64::MAX as u64;
const DAY_MS: u64 = 86_400_000;

/// The keys, as the node has them; a test compares.
pub(super) const KEYS: [(&str, Kind); 23] = [
    ("seeds", Kind::Endpoints),
    ("mining.address", Kind::Text),
    ("peer.target_outbound", Kind::Integer(0, 1_000)),
    ("peer.max_outbound_per_group", Kind::Integer(1, 1_000)),
    ("peer.max_inbound", Kind::Integer(0, 10_000)),
    ("peer.max_inbound_per_address", Kind::Integer(1, 10_000)),
    ("peer.group_private", Kind::Switch),
    ("peer.ban_ms", Kind::Integer(0, DAY_MS)),
    ("peer.ping_interval_ms", Kind::Integer(1, DAY_MS)),
    ("peer.silent_timeout_ms", Kind::Integer(1, DAY_MS)),
    ("peer.handshake_timeout_ms", Kind::Integer(1, DAY_MS)),
    ("peer.dial_timeout_ms", Kind::Integer(1, DAY_MS)),
    ("peer.retry_min_ms", Kind::Integer(1, DAY_MS)),
    ("peer.retry_max_ms", Kind::Integer(1, DAY_MS)),
    ("mempool.max_transactions", Kind::Integer(0, 10_000_000)),
    ("mempool.max_bytes", Kind::Integer(0, 4_000_000_000)),
    ("mempool.max_per_sender", Kind::Integer(1, 10_000_000)),
    ("mempool.min_fee", Kind::Integer(0, MOST)),
    ("metrics.ready_peers", Kind::Integer(0, 10_000)),
    ("store.cache_mib", Kind::Integer(1, 1_000_000)),
    ("store.prune", Kind::Switch),
    ("log.level", Kind::Text),
    ("log.statistics_interval_ms", Kind::Integer(0, DAY_MS)),
];

/// The keys that a group may set.
pub fn config_keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(key, _)| *key)
}

/// What a key is set to, if it is.
pub(super) fn setting<'a>(config: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    match key.split_once('.') {
        None => config.get(key),
        Some((section, key)) => setting(config.get(section)?.as_table()?, key),
    }
}

/// Whether a group may set all this.
pub(super) fn check(config: &toml::Table, key: &str) -> Result<(), Problem> {
    check_below(config, "", key)
}

fn check_below(table: &toml::Table, prefix: &str, key: &str) -> Result<(), Problem> {
    for (name, value) in table {
        let path = format!("{prefix}{name}");
        let wrong = |message: String| Problem::new(format!("{key}.{path}"), message);
        if let Some((_, kind)) = KEYS.iter().find(|(known, _)| *known == path) {
            if !kind.accepts(value) {
                let allowed = kind.allowed();
                return Err(wrong(format!("{value} is not allowed here, {allowed} is")));
            }
            continue;
        }
        let section = format!("{path}.");
        let known = || KEYS.iter().map(|(known, _)| *known);
        match value {
            toml::Value::Table(inner) if known().any(|known| known.starts_with(&section)) => {
                check_below(inner, &section, key)?;
            }
            _ => {
                let suggestion = suggestion(&path, known());
                let allowed = list(known());
                return Err(wrong(format!(
                    "a group may not set this; allowed are {allowed}{suggestion}"
                )));
            }
        }
    }
    Ok(())
}

impl Kind {
    fn accepts(self, value: &toml::Value) -> bool {
        match self {
            Self::Switch => value.is_bool(),
            Self::Integer(least, most) => value
                .as_integer()
                .and_then(|number| u64::try_from(number).ok())
                .is_some_and(|number| (least..=most).contains(&number)),
            Self::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Self::Endpoints => value.as_array().is_some_and(|list| {
                list.iter()
                    .all(|element| element.as_str().is_some_and(|text| text.contains(':')))
            }),
        }
    }

    fn allowed(self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Integer(least, MOST) => format!("a whole number from {least}"),
            Self::Integer(least, most) => format!("a whole number, {least} to {most},"),
            Self::Text => "a text that is not empty".to_owned(),
            Self::Endpoints => "a list of host:port".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triskel::node::config::{self, Key, NodeConfig};

    fn find(keys: &'static [Key], path: &str) -> Option<&'static config::Kind> {
        let (head, rest) = path
            .split_once('.')
            .map_or((path, None), |(head, rest)| (head, Some(rest)));
        let key = keys.iter().find(|key| key.name == head)?;
        match (&key.kind, rest) {
            (config::Kind::Section(inner), Some(rest)) => find(inner, rest),
            (kind, None) => Some(kind),
            _ => None,
        }
    }

    #[test]
    fn the_keys_are_those_of_the_node() {
        for (path, kind) in KEYS {
            let node = find(NodeConfig::KEYS, path).unwrap_or_else(|| panic!("no key {path}"));
            let same = match (kind, node) {
                (Kind::Switch, config::Kind::Switch) => true,
                (Kind::Integer(least, most), config::Kind::Integer(low, high)) => {
                    (least, most) == (*low, *high)
                }
                (Kind::Text, config::Kind::Text | config::Kind::Filter) => true,
                (Kind::Endpoints, config::Kind::Endpoints) => true,
                _ => false,
            };
            assert!(same, "{path}: {node:?}");
        }
    }

    #[test]
    fn what_is_the_orchestrators_is_refused() {
        let check = |text: &str| {
            let table = toml::from_str(text).unwrap();
            check(&table, "groups[0].config")
        };
        check("store.prune = true\n[peer]\nping_interval_ms = 500").unwrap();
        let error = check("[peer]\nping_intervall_ms = 500").unwrap_err();
        assert_eq!(error.key, "groups[0].config.peer.ping_intervall_ms");
        assert!(
            error
                .message
                .contains("did you mean `peer.ping_interval_ms`?"),
            "{error}"
        );
        assert!(
            check("port = 1").is_err()
                && check("rpc.port = 1").is_err()
                && check("peer = 1").is_err()
        );
        let error = check("store.cache_mib = 0").unwrap_err();
        assert!(error.message.contains("1 to 1000000"), "{error}");
    }
}
