//! Rules of the house that no compiler knows.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Longer files hold more than one idea.
const MAX_FILE_LINES: usize = 500;

/// Prose and comments; code is held to 100 by rustfmt.
const MAX_COLUMNS: usize = 132;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that git tracks; nothing where there is no git, as in an image.
fn tracked(endings: &[&str]) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .arg("-C")
        .arg(root())
        .arg("ls-files")
        .output();
    let Ok(output) = listed else {
        return Vec::new();
    };
    let text = String::from_utf8(output.stdout).expect("git lists UTF-8 names");
    let wanted = |name: &&str| endings.iter().any(|ending| name.ends_with(ending));
    text.lines()
        .filter(wanted)
        .map(|name| root().join(name))
        .filter(|path| path.exists())
        .collect()
}

fn complain(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn no_source_file_is_longer_than_one_idea() {
    let mut complaints = Vec::new();
    for path in tracked(&[".rs"]) {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        if lines > MAX_FILE_LINES {
            complaints.push(format!(
                "{}: {lines} lines, at most {MAX_FILE_LINES}",
                path.display()
            ));
        }
    }
    complain(complaints);
}

#[test]
fn no_line_runs_off_the_screen() {
    let mut complaints = Vec::new();
    for path in tracked(&[".rs"]) {
        for (index, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            if line.chars().count() > MAX_COLUMNS {
                complaints.push(format!(
                    "{}:{}: over {MAX_COLUMNS} columns",
                    path.display(),
                    index + 1
                ));
            }
        }
    }
    complain(complaints);
}

#[test]
fn every_module_says_what_it_is() {
    let mut complaints = Vec::new();
    for path in tracked(&[".rs"]) {
        if !std::fs::read_to_string(&path).unwrap().starts_with("//!") {
            complaints.push(format!("{}: does not begin with //!", path.display()));
        }
    }
    complain(complaints);
}

#[test]
fn layers_use_only_what_is_below_them() {
    let forbidden: [(&str, &[&str]); 7] = [
        (
            "src/protocol/",
            &[
                "crate::node",
                "crate::sim",
                "crate::adversary",
                "crate::rpc",
                "tokio",
                "std::net::Tcp",
            ],
        ),
        (
            "src/protocol/chain/",
            &["protocol::mempool", "protocol::wire", "protocol::machine"],
        ),
        (
            "src/protocol/mempool",
            &["protocol::wire", "protocol::machine"],
        ),
        (
            "src/protocol/wire/",
            &["protocol::machine", "protocol::mempool"],
        ),
        ("src/sim/", &["crate::node", "tokio"]),
        ("src/node/", &["crate::sim", "crate::adversary"]),
        (
            "src/adversary",
            &["crate::node", "crate::sim", "tokio", "std::net::Tcp"],
        ),
    ];
    let mut complaints = Vec::new();
    for path in tracked(&[".rs"]) {
        let name = path
            .strip_prefix(root())
            .unwrap()
            .to_string_lossy()
            .replace('\\', "/");
        let text = std::fs::read_to_string(&path).unwrap();
        for (layer, words) in forbidden
            .iter()
            .filter(|(layer, _)| name.starts_with(layer))
        {
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for (line, word) in code.flat_map(|line| words.iter().map(move |word| (line, word))) {
                if line.contains(word) {
                    complaints.push(format!("{name}: {layer} must not use {word}"));
                }
            }
        }
    }
    complain(complaints);
}
