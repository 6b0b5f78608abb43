//! The image that nodes are made of: named, or built from a repository.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::command::{Engine, docker};
use crate::backend::BackendError;
use crate::progress::Progress;

/// The image that is built from a repository.
const DEFAULT_IMAGE: &str = "triskel:dev";

/// Sees to an image that has a name: it is there, or is pulled.
pub(in crate::backend) async fn ensure(
    image: &str,
    progress: &mut Progress,
) -> Result<String, BackendError> {
    if docker(&["image", "inspect", "--format", "{{.Id}}", image])
        .await
        .is_err()
    {
        progress.show(&format!("pulling image {image}"));
        let pulled = docker(&["pull", "--quiet", image]).await;
        progress.clear();
        pulled?;
    }
    Ok(image.to_owned())
}

/// The image that was built from a repository at some time, where there is none here.
pub(in crate::backend) async fn default() -> Result<String, BackendError> {
    let present = docker(&["image", "inspect", "--format", "{{.Id}}", DEFAULT_IMAGE]);
    let missing = format!("docker: there is no image {DEFAULT_IMAGE}, nor a docker/Dockerfile");
    present.await.map_err(|_| BackendError(missing))?;
    Ok(DEFAULT_IMAGE.to_owned())
}

/// Builds a repository's image.
pub(in crate::backend) async fn build(
    root: &Path,
    progress: &mut Progress,
) -> Result<String, BackendError> {
    /// Enough to show the compiler's complaint.
    const SHOWN_LINES: usize = 20;
    let failed = |error| BackendError(format!("docker: image {DEFAULT_IMAGE}: {error}"));
    let mut command = Engine::default().command(&[
        "build",
        "--file",
        "docker/Dockerfile",
        "--tag",
        DEFAULT_IMAGE,
        ".",
    ]);
    command
        .current_dir(root)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
    // The classic builder writes to one of them, BuildKit to the other.
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut said = Vec::new();
    let (mut stdout_open, mut stderr_open) = (true, true);
    while stdout_open || stderr_open {
        let line = tokio::select! {
            line = stdout.next_line(), if stdout_open => {
                line.ok().flatten().or_else(|| { stdout_open = false; None })
            }
            line = stderr.next_line(), if stderr_open => {
                line.ok().flatten().or_else(|| { stderr_open = false; None })
            }
        };
        if let Some(line) = line.filter(|line| !line.trim().is_empty()) {
            progress.show(&format!("building image {DEFAULT_IMAGE}: {line}"));
            said.push(line);
        }
    }
    progress.clear();
    let status = child.wait().await.map_err(failed)?;
    match status.success() {
        true => Ok(DEFAULT_IMAGE.to_owned()),
        false => Err(BackendError(format!(
            "docker: image {DEFAULT_IMAGE} cannot be built:\n{}",
            said[said.len().saturating_sub(SHOWN_LINES)..].join("\n")
        ))),
    }
}
