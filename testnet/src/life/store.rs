//! Versioned JSON on disk: after a crash there is the old file or the new one, and a file of another version is not guessed at.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a value of a version.
///
/// # Errors
///
/// The file cannot be read, or holds something else: the error names it.
pub fn read<T: DeserializeOwned>(file: &Path, version: u32) -> io::Result<T> {
    let named = |kind, text: String| io::Error::new(kind, format!("{}: {text}", file.display()));
    let text =
        std::fs::read_to_string(file).map_err(|error| named(error.kind(), error.to_string()))?;
    let damaged = |text: String| named(io::ErrorKind::InvalidData, text);
    let mut value: Value =
        serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    let found = value
        .as_object_mut()
        .and_then(|fields| fields.remove("version"));
    match found.as_ref().and_then(Value::as_u64) {
        Some(found) if found == u64::from(version) => {}
        Some(found) => {
            return Err(damaged(format!(
                "it is of version {found}, this program knows {version}: use the one that wrote it"
            )));
        }
        None => return Err(damaged("it has no version".to_owned())),
    }
    serde_json::from_value(value).map_err(|error| damaged(error.to_string()))
}

/// Writes a value, which must be a JSON object, beside the file and then gives it its name.
///
/// # Errors
///
/// The disk refuses: the old file is still there.
pub fn write(file: &Path, version: u32, value: &impl Serialize) -> io::Result<()> {
    let mut value = serde_json::to_value(value)?;
    value["version"] = version.into();
    let temporary = file.with_extension("json.new");
    let mut new = File::create(&temporary)?;
    writeln!(new, "{value:#}")?;
    new.sync_all()?;
    std::fs::rename(&temporary, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Thing {
        name: String,
    }

    #[test]
    fn what_was_written_is_read_and_other_versions_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("thing.json");
        let thing = Thing {
            name: "x".to_owned(),
        };
        write(&file, 2, &thing).unwrap();
        assert_eq!(read::<Thing>(&file, 2).unwrap(), thing);
        let error = read::<Thing>(&file, 3).unwrap_err().to_string();
        assert!(error.contains("version 2, this program knows 3"), "{error}");
        std::fs::write(&file, "{}").unwrap();
        let error = read::<Thing>(&file, 2).unwrap_err().to_string();
        assert!(error.ends_with("it has no version"), "{error}");
        std::fs::write(&file, "").unwrap();
        assert!(read::<Thing>(&file, 2).is_err());
        let missing = read::<Thing>(&directory.path().join("no"), 2).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
