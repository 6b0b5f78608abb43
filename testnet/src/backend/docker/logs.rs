//! What containers say, in files that grow as they say it: conditions on logs read them while nodes run.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::command::command;

/// Copies the logs of a node's containers to its file.
#[derive(Debug)]
struct Copy {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// One copy for each node that has run.
#[derive(Debug, Default)]
pub(super) struct Copies(Vec<Option<Copy>>);

impl Copies {
    /// Begins a node's file anew with all that its containers said, the oldest first, and has it grow with what the last one says.
    /// What was copied before comes again in the same order, so whoever reads the file goes on where he was.
    pub(super) async fn begin(&mut self, node: usize, file: PathBuf, containers: Vec<String>) {
        if self.0.len() <= node {
            self.0.resize_with(node + 1, || None);
        }
        if let Some(before) = self.0[node].take() {
            before.end().await;
        }
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            // Evidence that cannot be written must not hide the verdict.
            let _ = copy(&file, &containers, Some(stopped)).await;
        });
        self.0[node] = Some(Copy { stop, task });
    }

    /// Ends all copies.
    pub(super) async fn end(&mut self) {
        let mut ending = JoinSet::new();
        for copy in self.0.drain(..).flatten() {
            ending.spawn(copy.end());
        }
        ending.join_all().await;
    }
}

impl Copy {
    /// Ends it, and waits until nothing more is written.
    async fn end(self) {
        // One whose container has ended is at its end by itself.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Writes what containers said to a file, and with a receiver what the last one says until that is told to stop.
pub(super) async fn copy(
    file: &Path,
    containers: &[String],
    stopped: Option<oneshot::Receiver<()>>,
) -> io::Result<()> {
    let file = File::create(file)?;
    let mut stopped = stopped;
    for (index, container) in containers.iter().enumerate() {
        let stopped = stopped.take_if(|_| index + 1 == containers.len());
        let mut arguments = vec!["logs"];
        arguments.extend(stopped.is_some().then_some("--follow"));
        arguments.push(container);
        // One place in the file for both, so that lines stand in the order in which they were said.
        let mut logs = command(&arguments)
            .stdout(file.try_clone()?)
            .stderr(file.try_clone()?)
            .kill_on_drop(true)
            .spawn()?;
        match stopped {
            None => drop(logs.wait().await?),
            Some(stopped) => tokio::select! {
                ended = logs.wait() => drop(ended?),
                _ = stopped => logs.kill().await?,
            },
        }
    }
    Ok(())
}
