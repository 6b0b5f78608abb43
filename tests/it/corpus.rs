//! What fuzzers have found worth keeping is read once more by every run of the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use triskel::protocol::wire::frame::decode;
use triskel::protocol::wire::limits::MAX_MESSAGE_BYTES;

/// The lines that the fuzz targets run.
#[allow(
    unreachable_pub,
    reason = "the workspace of the fuzz targets reaches them"
)]
#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Hands each file of a target's corpus to it.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let files = fs::read_dir(folder.join(name)).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus of {name} is empty");
    for path in paths {
        // The last line before a panic names the file, and one command replays it.
        println!("{}", path.display());
        target(&fs::read(&path).unwrap());
    }
}

#[test]
fn frames() {
    replay("frame", targets::frame);
}

#[test]
fn messages() {
    replay("message", targets::message);
}

#[test]
fn each_kind_of_message_is_where_fuzzers_begin() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/message");
    let files = fs::read_dir(folder).unwrap();
    let bytes = files.map(|file| fs::read(file.unwrap().path()).unwrap());
    let kinds: BTreeSet<_> = bytes
        .filter_map(|bytes| decode(&bytes).ok())
        .map(|message| message.kind())
        .collect();
    assert!(kinds.into_iter().eq(0..MAX_MESSAGE_BYTES.len()));
}

#[test]
fn blocks() {
    replay("block", targets::block);
}

#[test]
fn transactions() {
    replay("transaction", targets::transaction);
}

#[test]
fn inputs_to_a_machine() {
    replay("machine", targets::machine);
}

#[test]
fn requests_to_the_control_interface() {
    replay("rpc", targets::rpc);
}
