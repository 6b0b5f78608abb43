//! The programs with which tests make networks.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::{Path, PathBuf};

use testnet::backend::process::Process;

/// A program that Cargo builds beside this test where it tests the whole workspace.
#[track_caller]
pub(crate) fn built(name: &str) -> PathBuf {
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let program = Path::new(env!("CARGO_BIN_EXE_testnet")).with_file_name(name);
    assert!(
        program.is_file(),
        "there is no program {}: `cargo build --workspace` makes it, `cargo test --workspace` does so too",
        program.display()
    );
    program
}

/// An example, which Cargo builds beside the programs that it tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let program = Path::new(env!("CARGO_BIN_EXE_testnet"));
    program.with_file_name("examples").join(name)
}

/// Real nodes, as processes.
#[track_caller]
pub(crate) fn processes() -> Process {
    Process::find(Some(&built("node"))).unwrap()
}
