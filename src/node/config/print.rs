//! The configuration as people and programs read it.

use std::fmt::Write as _;

use super::keys::{Key, Kind};
use super::{Loaded, NodeConfig, Origin};

/// The effective configuration as TOML, each value with its origin behind it. What it says can be loaded again.
pub fn effective_text(loaded: &Loaded) -> String {
    let values = values(&loaded.config.resolved());
    let mut lines = Vec::new();
    collect_lines("", NodeConfig::KEYS, &values, loaded, &mut lines);
    // One long list must not push all comments off the screen.
    let assignments = lines.iter().filter(|(_, origin)| origin.is_some());
    let width = assignments.map(|(text, _)| text.chars().count()).max();
    let width = width.unwrap_or(0).min(48);
    let mut text = String::new();
    for (line, origin) in lines {
        match origin {
            Some(origin) => writeln!(text, "{line:width$}  # {origin}"),
            None => writeln!(text, "{line}"),
        }
        .expect("a String takes all text");
    }
    text
}

/// Lines with the origin of the value that they hold, if they hold one.
type Lines = Vec<(String, Option<Origin>)>;

fn collect_lines(
    prefix: &str,
    keys: &'static [Key],
    values: &toml::Table,
    loaded: &Loaded,
    lines: &mut Lines,
) {
    let is_section = |key: &&Key| matches!(key.kind, Kind::Section(_));
    for key in keys.iter().filter(|key| !is_section(key)) {
        let path = format!("{prefix}{}", key.name);
        let origin = loaded.origins.get(&path).cloned();
        let origin = Some(origin.unwrap_or(Origin::Default));
        let line = match values.get(key.name) {
            Some(value) => format!("{} = {value}", key.name),
            None => format!("# {} is unset", key.name),
        };
        lines.push((line, origin));
    }
    for key in keys.iter().filter(is_section) {
        let (Kind::Section(inner), Some(toml::Value::Table(values))) =
            (&key.kind, values.get(key.name))
        else {
            continue;
        };
        // Sections of nothing but unset keys say nothing.
        let path = format!("{prefix}{}", key.name);
        if has_values(values) {
            lines.push((String::new(), None));
            lines.push((format!("[{path}]"), None));
            collect_lines(&format!("{path}."), inner, values, loaded, lines);
        }
    }
}

fn has_values(values: &toml::Table) -> bool {
    values.values().any(|value| match value {
        toml::Value::Table(inner) => has_values(inner),
        _ => true,
    })
}

/// The effective configuration for programs: an object of paths, each with `value` (null if unset), `origin` and
/// `name`.
pub fn effective_json(loaded: &Loaded) -> String {
    let values = serde_json::to_value(loaded.config.resolved());
    let values = values.expect("a configuration has only texts as keys");
    let mut object = serde_json::Map::new();
    for (path, _) in Key::paths(NodeConfig::KEYS) {
        let value = values.pointer(&format!("/{}", path.replace('.', "/")));
        let origin = loaded.origins.get(&path).unwrap_or(&Origin::Default);
        let mut entry = serde_json::to_value(origin).expect("an origin is plain data");
        entry["value"] = value.cloned().unwrap_or_default();
        object.insert(path, entry);
    }
    format!("{:#}\n", serde_json::Value::Object(object))
}

/// An example file: every key with its meaning, what is allowed, and its default or a sample, switched off by a `#`.
pub fn example() -> String {
    let mut text = String::from(
        "# The configuration of a Triskel node, every key with its default.\n\
         # To set one, remove the # before it.\n\
         # Environment variables override this file, with __ for each dot:\n\
         #   TRISKEL__MINING__ENABLED=false\n\
         # Flags override both: --set mining.enabled=false\n\
         # See `node --help`, and `node config` for what holds.\n",
    );
    let defaults = values(&NodeConfig::default());
    describe_section(&mut text, "", NodeConfig::KEYS, &defaults);
    text
}

fn describe_section(text: &mut String, prefix: &str, keys: &'static [Key], values: &toml::Table) {
    let is_section = |key: &&Key| matches!(key.kind, Kind::Section(_));
    for key in keys.iter().filter(|key| !is_section(key)) {
        text.push('\n');
        describe_key(text, key);
        writeln!(text, "# Allowed: {}.", key.kind.allowed()).expect("a String takes all text");
        let name = key.name;
        match (key.sample, values.get(name)) {
            (Some(sample), _) => writeln!(text, "#{name} = {sample}"),
            (None, Some(value)) => writeln!(text, "#{name} = {value}"),
            (None, None) => unreachable!("a key without a default has a sample"),
        }
        .expect("a String takes all text");
    }
    for key in keys.iter().filter(is_section) {
        let Kind::Section(inner) = &key.kind else {
            continue;
        };
        let path = format!("{prefix}{}", key.name);
        text.push('\n');
        describe_key(text, key);
        writeln!(text, "[{path}]").expect("a String takes all text");
        let empty = toml::Table::new();
        let values = values.get(key.name).and_then(toml::Value::as_table);
        describe_section(text, &format!("{path}."), inner, values.unwrap_or(&empty));
    }
}

fn describe_key(text: &mut String, key: &Key) {
    for line in key.about {
        writeln!(text, "#{line}").expect("a String takes all text");
    }
}

fn values(config: &NodeConfig) -> toml::Table {
    toml::Table::try_from(config).expect("a configuration has only what TOML can say")
}
