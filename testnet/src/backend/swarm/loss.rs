//! Machines that go away with all that is on them, and come back.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{BackendError, Swarm};
use crate::backend::docker::RUN_LABEL;

/// A machine that comes back is taken for ready by the swarm's manager when its heartbeat has come, every five seconds or so.
const RETURN_TIMEOUT: Duration = Duration::from_secs(120);

impl Swarm {
    /// Takes a machine away, by its number from 1.
    pub(in crate::backend) async fn lose(&mut self, machine: u64) -> Result<(), BackendError> {
        let index = machine as usize - 1;
        self.lost.insert(index);
        match &self.loss {
            Some([down, _]) => self.command(down, index).await,
            None => self.kill_all(index).await,
        }
    }

    /// Brings a machine back, and waits until the swarm has it. What went on there while nobody saw it ends.
    pub(in crate::backend) async fn regain(&mut self, machine: u64) -> Result<(), BackendError> {
        let index = machine as usize - 1;
        if let Some([_, up]) = &self.loss {
            self.command(up, index).await?;
            let ready = self.machines[index].ready(self.manager(), RETURN_TIMEOUT);
            ready.await?;
            self.kill_all(index).await?;
        }
        self.lost.remove(&index);
        Ok(())
    }

    /// Kills all tasks of the run on a machine, at one moment.
    async fn kill_all(&self, machine: usize) -> Result<(), BackendError> {
        let filter = format!("label={RUN_LABEL}={}", self.run.as_deref().unwrap_or("-"));
        let engine = &self.machines[machine].engine;
        for status in ["status=running", "status=paused"] {
            let list = ["ps", "--quiet", "--filter", &filter, "--filter", status];
            let running = engine.docker(&list).await?;
            let mut kill = vec!["kill"];
            kill.extend(running.lines());
            if kill.len() > 1
                && let Err(error) = engine.docker(&kill).await
                && !error.0.contains("is not running")
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Runs one of the user's commands.
    async fn command(&self, text: &str, machine: usize) -> Result<(), BackendError> {
        let number = machine + 1;
        let failed =
            |why: &str| BackendError(format!("backend swarm: machine {number}: {text:?}: {why}"));
        let mut command = Command::new("sh");
        command
            .args(["-c", text])
            .env("TRISKEL_MACHINE", number.to_string())
            .env("TRISKEL_ENGINE", self.machines[machine].engine.name())
            .stdin(Stdio::null());
        let output = command.output().await;
        let output = output.map_err(|error| failed(&error.to_string()))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(failed(String::from_utf8_lossy(&output.stderr).trim())),
        }
    }
}
