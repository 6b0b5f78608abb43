//! Commands of the `docker` program.

use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::backend::BackendError;

/// What a command prints.
pub(super) async fn docker(arguments: &[&str]) -> Result<String, BackendError> {
    let output = output(arguments).await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let verb = arguments.first().copied().unwrap_or_default();
    Err(BackendError(format!("docker {verb}: {}", complaint.trim())))
}

/// What a command says, whether or not it does its work.
pub(super) async fn output(arguments: &[&str]) -> Result<Output, BackendError> {
    let failed = |error| BackendError(format!("docker: {error}"));
    command(arguments).output().await.map_err(failed)
}

/// A command of the `docker` program, with nothing to read.
pub(super) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null());
    // The terminal's Ctrl-C is for this program: a start that it cut short could leave a container behind.
    #[cfg(unix)]
    command.process_group(0);
    command
}

/// All that a command said: containers log to both.
pub(super) fn both(output: &Output) -> String {
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr)
    )
}

/// Removes what a command lists. What cannot be removed is said: the next person to find it should know whose it is.
pub(super) async fn remove(list: &[&str], remove: &[&str]) {
    let Ok(ids) = docker(list).await else {
        return;
    };
    let mut arguments = remove.to_vec();
    arguments.extend(ids.lines());
    if arguments.len() > remove.len()
        && let Err(error) = docker(&arguments).await
    {
        eprintln!("testnet: {error}");
    }
}
