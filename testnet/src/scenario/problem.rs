//! What is wrong with a scenario.

use std::path::PathBuf;

/// A value that is not allowed: where it was written, its key, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scenario {place}{}: {message}", shown(.key))]
pub struct Problem {
    /// `file:line` or the flag, where the scenario was read; else its name.
    pub place: String,
    /// The key, as `faults[2].who`. Empty where the whole is meant.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

fn shown(key: &str) -> String {
    match key.is_empty() {
        true => String::new(),
        false => format!(": key `{key}`"),
    }
}

impl Problem {
    pub(super) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: String::new(),
            key: key.into(),
            message: message.into(),
        }
    }
}

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file cannot be read.
    #[error("scenario {}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A text is no TOML.
    #[error("scenario {origin}: {source}")]
    Syntax {
        /// The file, or what stands in its place.
        origin: String,
        /// Why, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A value is not allowed.
    #[error(transparent)]
    Wrong(#[from] Problem),
}
