//! Regressions: scenarios that failed once, as small as they could be made. The simulator runs all of them in a test.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::shrink::{Shrunk, size};

/// Writes a scenario with what it violated into a directory, and says how to run it again. The same failure is written to the same
/// file.
///
/// # Errors
///
/// The file cannot be written.
pub fn keep(directory: &Path, shrunk: &Shrunk) -> Result<String, anyhow::Error> {
    std::fs::create_dir_all(directory)?;
    let file = directory.join(format!("{}.toml", name(shrunk)));
    let mut text = String::new();
    let reason = shrunk.symptom.reason.replace(char::is_control, " ");
    let _ = writeln!(text, "# Once failed: {reason}");
    let _ = writeln!(text, "# Again: {}", again(&file));
    text.push_str(&shrunk.scenario.to_toml());
    std::fs::write(&file, text)?;
    let Shrunk {
        attempts, is_least, ..
    } = shrunk;
    let least = match is_least {
        true => "nothing smaller fails",
        false => "time was up",
    };
    Ok(format!(
        "after {attempts} tries: {}; {least}\nkept as {}\nagain with: {}\n",
        size(&shrunk.scenario),
        file.display(),
        again(&file)
    ))
}

fn again(file: &Path) -> String {
    format!("testnet run {} --backend sim", file.display())
}

/// What went wrong and the seed, as a file may be called.
fn name(shrunk: &Shrunk) -> String {
    let kind = shrunk.symptom.kind().to_lowercase();
    let words = kind.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).take(6).collect();
    let seed = shrunk.scenario.seed.unwrap_or_default();
    format!("{}-{seed}", words.join("-"))
}

/// The regressions of a directory, by name.
///
/// # Errors
///
/// The directory cannot be read.
pub fn all(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let file = entry?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
