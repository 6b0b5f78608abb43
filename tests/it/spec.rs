//! PROTOCOL.md and the golden files say what the code does. `BLESS=1` writes them anew, so that a change is a visible diff.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use triskel::protocol::wire::limits;
use triskel::protocol::wire::message::MESSAGE_NAMES;

use super::examples::{self, Example};

const FENCE: &str = "```vector ";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn blessed() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// `key = value` lines; values wider than a screen go on in indented lines.
fn render(example: &Example) -> String {
    let mut text = String::new();
    for (key, value) in &example.lines {
        if value.len() <= 64 {
            text += &format!("{key} = {value}\n");
            continue;
        }
        text += &format!("{key} =\n");
        for line in value.as_bytes().chunks(96) {
            text += &format!("    {}\n", std::str::from_utf8(line).unwrap());
        }
    }
    text
}

#[test]
fn every_example_of_the_document_is_what_the_code_computes() {
    let document = fs::read_to_string(path("PROTOCOL.md")).unwrap();
    let mut wanted: BTreeMap<_, _> = examples::all()
        .iter()
        .map(|example| (example.name.clone(), render(example)))
        .collect();
    let mut written = String::new();
    let mut rest = document.as_str();
    while let Some(start) = rest.find(FENCE) {
        let (before, fenced) = rest.split_at(start);
        let (name, after) = fenced[FENCE.len()..].split_once('\n').unwrap();
        let (shown, after) = after.split_once("```").unwrap();
        let wanted = wanted.remove(name);
        let wanted =
            wanted.unwrap_or_else(|| panic!("`{name}` is shown twice, or nothing computes it"));
        if !blessed() {
            assert_eq!(shown, wanted, "example `{name}` of PROTOCOL.md");
        }
        written += &format!("{before}{FENCE}{name}\n{wanted}```");
        rest = after;
    }
    assert!(
        wanted.is_empty(),
        "PROTOCOL.md does not show {:?}",
        wanted.keys()
    );
    if blessed() {
        fs::write(path("PROTOCOL.md"), written + rest).unwrap();
    }
}

#[test]
fn golden_bytes_have_not_changed() {
    let folder = path("tests/vectors");
    let examples = examples::all();
    for example in &examples {
        let file = folder.join(format!("{}.hex", example.name));
        if blessed() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, render(example)).unwrap();
        }
        let golden = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            golden.replace('\r', ""),
            render(example),
            "{}",
            file.display()
        );
    }
    let known = |name: &str| {
        examples
            .iter()
            .any(|example| format!("{}.hex", example.name) == name)
    };
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known(&name), "nothing computes {name}");
    }
}

/// Rows of the document that name a number of `limits.rs`, as `NAME` and the number.
#[test]
fn the_limits_of_the_document_are_those_of_the_code() {
    let document = fs::read_to_string(path("PROTOCOL.md")).unwrap();
    let numbers = [
        (
            "MAX_FRAME_BEFORE_HANDSHAKE",
            limits::MAX_FRAME_BEFORE_HANDSHAKE,
        ),
        ("MAX_FRAME", limits::MAX_FRAME),
        ("MAX_NOISE_MESSAGE", limits::MAX_NOISE_MESSAGE),
        ("MAX_BLOCKS_BYTES", limits::MAX_BLOCKS_BYTES),
        ("MAX_BLOCKS", limits::MAX_BLOCKS),
        ("MAX_HEADERS", limits::MAX_HEADERS),
        ("MAX_HEADING_BYTES", limits::MAX_HEADING_BYTES),
        ("MAX_LOCATOR", limits::MAX_LOCATOR),
        ("MAX_PEERS", limits::MAX_PEERS),
        ("MAX_AGENT_BYTES", limits::MAX_AGENT_BYTES),
        ("MAX_ANNOUNCED", limits::MAX_ANNOUNCED),
        ("MAX_ASKED_OF_PEER", limits::MAX_ASKED_OF_PEER),
    ];
    let cells = |line: &str| {
        line.split('|')
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let rows: Vec<_> = document
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(cells)
        .collect();
    let number = |cell: &str| cell.replace(',', "").parse::<usize>().ok();
    for (name, value) in numbers {
        let row = rows.iter().find(|row| row[1] == format!("`{name}`"));
        let row = row.unwrap_or_else(|| panic!("PROTOCOL.md has no row for {name}"));
        assert_eq!(number(&row[2]), Some(value), "{name}");
    }
    for (kind, most) in limits::MAX_MESSAGE_BYTES.into_iter().enumerate() {
        let row = rows.iter().find(|row| {
            row[1] == kind.to_string()
                && row[2].to_lowercase() == MESSAGE_NAMES[kind].replace('_', "")
        });
        let row =
            row.unwrap_or_else(|| panic!("PROTOCOL.md has no row for {}", MESSAGE_NAMES[kind]));
        assert_eq!(number(&row[3]), Some(most), "{}", MESSAGE_NAMES[kind]);
    }
}
