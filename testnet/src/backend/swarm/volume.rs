//! A node's disk: a volume of its machine's engine.
//!
//! What a node must find there before it starts (its key, and what is done to its links) cannot be a swarm's config or secret:
//! those are read-only, and the node writes these files itself whenever it is told otherwise. Told by RPC after each start, a
//! node that starts while parts are cut off from each other would talk across for a moment. So a container that never runs holds
//! the volume, and files are put in through it, at the engine, while the node is down.

use std::collections::BTreeMap;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;

use super::{BackendError, stack};
use crate::backend::docker::RUN_LABEL;
use crate::backend::docker::command::Engine;
use crate::plan::Plan;

/// Where a node has it. Not where images keep their volume.
pub(super) const MOUNT: &str = "/run/triskel";
/// Whom all nodes run as, and to whom their disks belong: the user of the image, whatever another image says.
const OWNER: u32 = 65_532;
/// The same, in a stack.
pub(super) const OWNER_TEXT: &str = "65532:65532";

/// A node's disk.
pub(super) struct Volume {
    pub(super) name: String,
    holder: String,
    run: String,
    image: String,
}

impl Volume {
    pub(super) fn of(plan: &Plan, node: usize, image: &str) -> Self {
        let name = format!("{}-{}", stack::name(plan), plan.nodes[node].name);
        Self {
            holder: format!("{name}-disk"),
            name,
            run: format!("{RUN_LABEL}={}", plan.id),
            image: image.to_owned(),
        }
    }

    /// Puts files there, by their paths below the mount. Directories are made.
    pub(super) async fn put(
        &self,
        engine: &Engine,
        files: BTreeMap<String, String>,
    ) -> Result<(), BackendError> {
        let failed = |error| BackendError(format!("docker cp: {}: {error}", self.name));
        let archive = archive(&files);
        let mut copy = engine.command(&["cp", "-", &format!("{}:{MOUNT}", self.holder)]);
        let copy = copy.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut copy = copy.kill_on_drop(true).spawn().map_err(failed)?;
        let mut input = copy.stdin.take().expect("it is piped");
        // Who has ended before it read all says why.
        let _ = input.write_all(&archive).await;
        drop(input);
        let output = copy.wait_with_output().await.map_err(failed)?;
        match output.status.success() {
            true => Ok(()),
            false => Err(BackendError(format!(
                "docker cp: {}: {}",
                self.name,
                String::from_utf8_lossy(&output.stderr).trim()
            ))),
        }
    }
}

/// Makes a volume with files in it.
pub(super) async fn make(
    engine: Engine,
    volume: Volume,
    files: BTreeMap<String, String>,
) -> Result<(), BackendError> {
    let mount = format!(
        "type=volume,src={},dst={MOUNT},volume-label={}",
        volume.name, volume.run
    );
    let create = [
        "create",
        "--label",
        &volume.run,
        "--name",
        &volume.holder,
        "--mount",
        &mount,
        &volume.image,
    ];
    engine.docker(&create).await?;
    volume.put(&engine, files).await
}

const BLOCK_BYTES: usize = 512;

/// An archive (POSIX.1-1988, ustar) of small files, and of the directories that they are in, that belong to the nodes' user.
fn archive(files: &BTreeMap<String, String>) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = "";
    for (path, text) in files {
        if let Some((parent, _)) = path.rsplit_once('/')
            && parent != directory
        {
            archive.extend(header(&format!("{parent}/"), 0, 0o700, b'5'));
            directory = parent;
        }
        archive.extend(header(path, text.len(), 0o600, b'0'));
        archive.extend(text.as_bytes());
        archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    // Two empty blocks are the end.
    archive.resize(archive.len() + 2 * BLOCK_BYTES, 0);
    archive
}

fn header(path: &str, bytes: usize, mode: u32, kind: u8) -> [u8; BLOCK_BYTES] {
    let mut header = [0; BLOCK_BYTES];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, format!("{OWNER:07o}").as_bytes());
    put(116, format!("{OWNER:07o}").as_bytes());
    put(124, format!("{bytes:011o}").as_bytes());
    put(136, format!("{:011o}", 0).as_bytes());
    // The sum is taken with spaces in its place.
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_read_by_tar() {
        let directory = tempfile::tempdir().unwrap();
        let files = BTreeMap::from([
            ("2/conditions.json".to_owned(), "{}".repeat(300)),
            ("2/node.key".to_owned(), "secret\n".to_owned()),
        ]);
        let file = directory.path().join("archive.tar");
        std::fs::write(&file, archive(&files)).unwrap();
        let tar = |arguments: &[&str]| {
            let mut tar = std::process::Command::new("tar");
            let output = tar.args(arguments).arg(&file).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let listed = tar(&["--list", "--verbose", "--numeric-owner", "--file"]);
        let line = |mode: &str, path: &str| {
            let mut lines = listed.lines();
            lines.any(|line| {
                line.starts_with(mode) && line.contains("65532/65532") && line.ends_with(path)
            })
        };
        assert!(
            line("drwx------", " 2/") && line("-rw-------", " 2/node.key"),
            "{listed}"
        );
        let read = tar(&["--extract", "--to-stdout", "--file"]);
        assert_eq!(read, files.values().map(String::as_str).collect::<String>());
    }
}
