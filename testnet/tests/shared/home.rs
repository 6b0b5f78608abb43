//! Networks that stay up, in a directory of the test's own.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A directory of networks, all of which are removed in the end.
pub(crate) struct Home {
    directory: tempfile::TempDir,
    /// What nodes are that are processes.
    node: PathBuf,
}

impl Home {
    pub(crate) fn with(node: PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, node }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_testnet"));
        command
            .args(arguments)
            .env("TRISKEL_STATE", self.path())
            .env("TRISKEL_NODE", &self.node)
            .env_remove("TRISKEL_SCRIPT");
        command.output().unwrap()
    }

    /// What a command prints that succeeds.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        assert_eq!(code, Some(0), "{arguments:?}: {stdout}\n{stderr}");
        stdout
    }

    /// What a command complains that fails with a code.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        stderr
    }

    #[track_caller]
    pub(crate) fn status(&self, network: &str) -> Value {
        let text = self.run(&["status", "--json", "--network", network]);
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let output = self.output(&["clean", "--all"]);
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
