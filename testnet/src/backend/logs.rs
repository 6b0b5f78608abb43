//! What containers and pods say, in files that grow as they say it: conditions on logs read them while nodes run.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::docker::command::Engine;
use super::kubernetes::command::Cluster;

/// A file, and those whose logs it gets, the oldest first.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) speakers: Vec<Speaker>,
    pub(super) file: PathBuf,
    /// Where in the file they begin. What comes before stays.
    pub(super) offset: u64,
}

/// Who says something.
#[derive(Clone, Debug)]
pub(super) enum Speaker {
    /// A container of an engine.
    Container { engine: Engine, name: String },
    /// A container of a pod.
    Pod {
        cluster: Cluster,
        name: String,
        container: &'static str,
    },
}

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
    /// Begins a part of a node's file anew with all that its containers said, and has it grow with what the last one says. What was
    /// copied before comes again in the same order, so whoever reads the file goes on where he was.
    pub(super) async fn begin(&mut self, node: usize, source: Source) {
        self.finish(node).await;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            // Evidence that cannot be written must not hide the verdict.
            let _ = source.copy(Some(stopped)).await;
        });
        self.0[node] = Some(Copy { stop, task });
    }

    /// Ends the copy of a node, if there is one.
    pub(super) async fn finish(&mut self, node: usize) {
        if self.0.len() <= node {
            self.0.resize_with(node + 1, || None);
        }
        if let Some(before) = self.0[node].take() {
            before.end().await;
        }
    }

    /// Waits until the copy of a node whose container has ended is whole, and ends it if that takes too long.
    pub(super) async fn drain(&mut self, node: usize, patience: Duration) {
        let Some(mut copy) = self.0.get_mut(node).and_then(Option::take) else {
            return;
        };
        if tokio::time::timeout(patience, &mut copy.task)
            .await
            .is_err()
        {
            copy.end().await;
        }
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

/// Writes all that containers have said so far, each to its file.
pub(super) async fn copy_all(sources: impl Iterator<Item = Source>) {
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

impl Speaker {
    /// Prints what was said, and with `follow` what will be.
    fn command(&self, follow: bool) -> Command {
        let mut arguments = vec!["logs"];
        arguments.extend(follow.then_some("--follow"));
        match self {
            Self::Container { engine, name } => {
                arguments.push(name);
                engine.command(&arguments)
            }
            Self::Pod {
                cluster,
                name,
                container,
            } => {
                arguments.extend([name, "--container", container]);
                cluster.command(&arguments)
            }
        }
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
        for (index, speaker) in self.speakers.iter().enumerate() {
            let stopped = stopped.take_if(|_| index + 1 == self.speakers.len());
            // One place in the file for both, so that lines stand in the order in which they were said.
            let mut logs = speaker
                .command(stopped.is_some())
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
