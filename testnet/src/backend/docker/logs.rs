//! What containers say, in files that grow as they say it: conditions on logs read them while nodes run.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::command::Engine;

/// A file, and the containers whose logs it gets, the oldest first.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Source {
    pub(in crate::backend) engine: Engine,
    pub(in crate::backend) containers: Vec<String>,
    pub(in crate::backend) file: PathBuf,
    /// Where in the file they begin. What comes before stays.
    pub(in crate::backend) offset: u64,
}

/// Copies the logs of a node's containers to its file.
#[derive(Debug)]
struct Copy {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// One copy for each node that has run.
#[derive(Debug, Default)]
pub(in crate::backend) struct Copies(Vec<Option<Copy>>);

impl Copies {
    /// Begins a part of a node's file anew with all that its containers said, and has it grow with what the last one says. What was
    /// copied before comes again in the same order, so whoever reads the file goes on where he was.
    pub(in crate::backend) async fn begin(&mut self, node: usize, source: Source) {
        self.finish(node).await;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            // Evidence that cannot be written must not hide the verdict.
            let _ = source.copy(Some(stopped)).await;
        });
        self.0[node] = Some(Copy { stop, task });
    }

    /// Ends the copy of a node, if there is one.
    pub(in crate::backend) async fn finish(&mut self, node: usize) {
        if self.0.len() <= node {
            self.0.resize_with(node + 1, || None);
        }
        if let Some(before) = self.0[node].take() {
            before.end().await;
        }
    }

    /// Ends all copies.
    pub(in crate::backend) async fn end(&mut self) {
        let mut ending = JoinSet::new();
        for copy in self.0.drain(..).flatten() {
            ending.spawn(copy.end());
        }
        ending.join_all().await;
    }
}

/// Writes all that containers have said so far, each to its file.
pub(in crate::backend) async fn copy_all(sources: impl Iterator<Item = Source>) {
    let mut tasks = JoinSet::new();
    for source in sources {
        tasks.spawn(async move {
            // Evidence that cannot be written must not hide the verdict.
            let _ = source.copy(None).await;
        });
    }
    tasks.join_all().await;
}

impl Copy {
    /// Ends it, and waits until nothing more is written.
    async fn end(self) {
        // One whose container has ended is at its end by itself.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

impl Source {
    /// Writes what the containers said to the file, and with a receiver what the last one says until that is told to stop.
    async fn copy(&self, stopped: Option<oneshot::Receiver<()>>) -> io::Result<()> {
        let mut file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&self.file)?;
        file.set_len(self.offset)?;
        file.seek(SeekFrom::End(0))?;
        let mut stopped = stopped;
        for (index, container) in self.containers.iter().enumerate() {
            let stopped = stopped.take_if(|_| index + 1 == self.containers.len());
            let mut arguments = vec!["logs"];
            arguments.extend(stopped.is_some().then_some("--follow"));
            arguments.push(container);
            // One place in the file for both, so that lines stand in the order in which they were said.
            let mut logs = self
                .engine
                .command(&arguments)
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
}
