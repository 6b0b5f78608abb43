//! The four layers, checked one by one so that an error names the place that the user wrote, then merged.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat};
use toml::de::{DeTable, DeValue};

use super::keys::{Key, Kind};
use super::{ConfigError, NodeConfig, Problem};

/// What the names of environment variables start with; `__` stands where a path has a dot.
pub const ENVIRONMENT_PREFIX: &str = "TRISKEL__";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "origin", content = "name", rename_all = "lowercase")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path) => write!(formatter, "file {}", path.display()),
            Self::Environment(variable) => write!(formatter, "environment {variable}"),
            Self::Flag(flag) => write!(formatter, "flag {flag}"),
        }
    }
}

/// A value that a flag sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The path of the key, as `mining.enabled`.
    pub key: String,
    /// The value, as a person writes it.
    pub value: String,
    /// The flag, for messages.
    pub flag: String,
}

/// A configuration with the origin of every value that somebody set.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration, checked.
    pub config: NodeConfig,
    /// Origins by path. What is not here is a default.
    pub origins: BTreeMap<String, Origin>,
}

/// Reads and merges all layers: defaults < `file` < `environment` < `flags`. Later flags win over earlier ones.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[Override],
) -> Result<Loaded, ConfigError> {
    let mut origins = BTreeMap::new();
    let mut builder = Config::builder();
    if let Some(path) = file {
        let text = read(path)?;
        for key in check_file(path, &text)? {
            origins.insert(key, Origin::File(path.to_owned()));
        }
        builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
    }
    let keys = Key::paths(NodeConfig::KEYS);
    for (variable, text) in environment {
        let Some((path, value)) = read_variable(&keys, &variable, &text)? else {
            continue;
        };
        builder = builder.set_override(&path, value)?;
        origins.insert(path, Origin::Environment(variable));
    }
    for flag in flags {
        let value = read_flag(flag)?;
        builder = builder.set_override(&flag.key, value)?;
        origins.insert(flag.key.clone(), Origin::Flag(flag.flag.clone()));
    }
    let config: NodeConfig = builder.build()?.try_deserialize()?;
    config.check()?;
    Ok(Loaded { config, origins })
}

/// Reads a text file. PowerShell's `>` writes UTF-16, and people will write `node config --example > node.toml`.
fn read(path: &Path) -> Result<String, ConfigError> {
    let refuse = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let invalid = |_| std::io::Error::new(std::io::ErrorKind::InvalidData, "not UTF-8 text");
    let bytes = std::fs::read(path).map_err(refuse)?;
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        let units = rest.chunks_exact(2);
        let units = units.map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
        let text = char::decode_utf16(units).collect::<Result<String, _>>();
        return text.map_err(|_| refuse(invalid(())));
    }
    let text = String::from_utf8(bytes).map_err(|_| refuse(invalid(())))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// Checks a whole file and returns the paths that it sets.
fn check_file(path: &Path, text: &str) -> Result<Vec<String>, ConfigError> {
    let refuse = |offset: usize, problem| {
        let before = &text[..offset.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |index| index + 1);
        ConfigError::File {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            problem,
        }
    };
    let by_reader = |error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        refuse(offset, Problem::Syntax(error.message().to_owned()))
    };
    let table = DeTable::parse(text).map_err(by_reader)?;
    let mut paths = Vec::new();
    check_table("", NodeConfig::KEYS, table.get_ref(), &mut paths)
        .map_err(|(offset, problem)| refuse(offset, problem))?;
    // The table of keys and the types are declared together; the types also know the insides of lists.
    toml::from_str::<NodeConfig>(text).map_err(by_reader)?;
    Ok(paths)
}

fn check_table(
    prefix: &str,
    keys: &'static [Key],
    table: &DeTable<'_>,
    paths: &mut Vec<String>,
) -> Result<(), (usize, Problem)> {
    for (name, value) in table.iter() {
        let path = format!("{prefix}{}", name.get_ref());
        let Some(key) = keys.iter().find(|key| key.name == name.get_ref().as_ref()) else {
            return Err((name.span().start, unknown(path, keys)));
        };
        if !key.kind.accepts(value.get_ref()) {
            let problem = Problem::Value {
                key: path,
                found: describe(value.get_ref()),
                allowed: key.kind.allowed(),
            };
            return Err((value.span().start, problem));
        }
        match (&key.kind, value.get_ref()) {
            (Kind::Section(inner), DeValue::Table(table)) => {
                check_table(&format!("{path}."), inner, table, paths)?;
            }
            _ => paths.push(path),
        }
    }
    Ok(())
}

fn unknown(key: String, keys: &'static [Key]) -> Problem {
    let names: Vec<_> = keys.iter().map(|key| key.name).collect();
    Problem::UnknownKey {
        key,
        allowed: names.join(", "),
    }
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(integer) => integer.as_str().to_owned(),
        DeValue::Float(float) => float.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Array(array) => {
            let elements: Vec<_> = array
                .iter()
                .map(|value| describe(value.get_ref()))
                .collect();
            format!("[{}]", elements.join(", "))
        }
        other => format!("a {}", other.type_str()),
    }
}

/// The name of the environment variable that sets a path.
fn variable_of(path: &str) -> String {
    format!(
        "{ENVIRONMENT_PREFIX}{}",
        path.replace('.', "__").to_ascii_uppercase()
    )
}

fn read_variable(
    keys: &[(String, &'static Key)],
    variable: &str,
    text: &str,
) -> Result<Option<(String, config::Value)>, ConfigError> {
    // Names of variables are one in any case on Windows, which may also have changed it.
    let is_ours = variable
        .get(..ENVIRONMENT_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(ENVIRONMENT_PREFIX));
    if !is_ours {
        return Ok(None);
    }
    let refuse = |problem| ConfigError::Environment {
        variable: variable.to_owned(),
        problem,
    };
    let wanted = keys
        .iter()
        .find(|(path, _)| variable_of(path).eq_ignore_ascii_case(variable));
    let Some((path, key)) = wanted else {
        let rest = variable[ENVIRONMENT_PREFIX.len()..].to_ascii_lowercase();
        return Err(refuse(unknown_path(&rest.replace("__", "."))));
    };
    let value = read_value(path, key, text).map_err(refuse)?;
    Ok(Some((path.clone(), value)))
}

fn read_flag(flag: &Override) -> Result<config::Value, ConfigError> {
    let value = match Key::find(NodeConfig::KEYS, &flag.key) {
        Some(key) => read_value(&flag.key, key, &flag.value),
        None => Err(unknown_path(&flag.key)),
    };
    value.map_err(|problem| ConfigError::Flag {
        flag: flag.flag.clone(),
        problem,
    })
}

fn read_value(path: &str, key: &'static Key, text: &str) -> Result<config::Value, Problem> {
    key.kind.read(text).ok_or_else(|| Problem::Value {
        key: path.to_owned(),
        found: format!("\"{text}\""),
        allowed: key.kind.allowed(),
    })
}

/// Names the keys of the innermost section that exists.
fn unknown_path(path: &str) -> Problem {
    let mut keys = NodeConfig::KEYS;
    for part in path.split('.') {
        let section = keys.iter().find(|key| key.name.eq_ignore_ascii_case(part));
        match section.map(|key| &key.kind) {
            Some(Kind::Section(inner)) => keys = inner,
            _ => break,
        }
    }
    unknown(path.to_owned(), keys)
}
