//! Commands of the `docker` program, to an engine.

use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::backend::BackendError;

/// An engine, as the `docker` program is told of it. The default is the one to which it talks by itself: DOCKER_HOST, or its
/// current context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::backend) struct Engine(Option<String>);

impl Engine {
    /// The engine of a context, or at an address as `ssh://you@machine`.
    pub(in crate::backend) fn named(name: &str) -> Self {
        Self(Some(name.to_owned()))
    }

    /// What it was named, for people and programs; empty for the default.
    pub(in crate::backend) fn name(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// What a command prints.
    pub(in crate::backend) async fn docker(
        &self,
        arguments: &[&str],
    ) -> Result<String, BackendError> {
        let output = self.output(arguments).await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let verb = arguments.first().copied().unwrap_or_default();
        let at = match &self.0 {
            Some(name) => format!(" at {name}"),
            None => String::new(),
        };
        Err(BackendError(format!(
            "docker {verb}{at}: {}",
            complaint.trim()
        )))
    }

    /// What a command says, whether or not it does its work.
    pub(in crate::backend) async fn output(
        &self,
        arguments: &[&str],
    ) -> Result<Output, BackendError> {
        let failed = |error| BackendError(format!("docker: {error}"));
        self.command(arguments).output().await.map_err(failed)
    }

    /// A command of the `docker` program, with nothing to read.
    pub(in crate::backend) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        if let Some(name) = &self.0 {
            let flag = match name.contains("://") {
                true => "--host",
                false => "--context",
            };
            command.args([flag, name]);
        }
        command.args(arguments).stdin(Stdio::null());
        // The terminal's Ctrl-C is for this program: a start that it cut short could leave a container behind.
        #[cfg(unix)]
        command.process_group(0);
        command
    }

    /// Has a container stand still, or go on.
    pub(in crate::backend) async fn pause(
        &self,
        container: &str,
        paused: bool,
    ) -> Result<(), BackendError> {
        let verb = if paused { "pause" } else { "unpause" };
        for _ in 1..PAUSE_ATTEMPTS {
            match self.docker(&[verb, container]).await {
                Err(error) if error.0.contains("unable to freeze") => {}
                done => return done.map(|_| ()),
            }
        }
        self.docker(&[verb, container]).await.map(|_| ())
    }

    /// The exit code of a container that has ended; `None` of one that runs, or of which nothing is known. The inner one is absent
    /// where the engine does not say it.
    pub(in crate::backend) async fn exit_code(&self, container: &str) -> Option<Option<i32>> {
        let format = "{{.State.Running}} {{.State.ExitCode}}";
        let inspect = ["inspect", "--format", format, container];
        let state = self.docker(&inspect).await.ok()?;
        Some(state.strip_prefix("false ")?.parse().ok())
    }

    /// The last lines that a container said.
    pub(in crate::backend) async fn last_lines(
        &self,
        container: &str,
        lines: usize,
    ) -> Vec<String> {
        let arguments = ["logs", "--tail", &lines.to_string(), container];
        match self.output(&arguments).await {
            Ok(output) => crate::journal::last_lines(&both(&output), lines),
            Err(_) => Vec::new(),
        }
    }

    /// Removes what a command lists. What cannot be removed is said: the next person to find it should know whose it is.
    pub(in crate::backend) async fn remove(&self, list: &[&str], remove: &[&str]) {
        let Ok(ids) = self.docker(list).await else {
            return;
        };
        let mut arguments = remove.to_vec();
        arguments.extend(ids.lines());
        if arguments.len() > remove.len()
            && let Err(error) = self.docker(&arguments).await
        {
            eprintln!("testnet: {error}");
        }
    }
}

/// An engine may fail to freeze a container whose processes are busy just then (cgroups of version 1): it changes nothing then.
const PAUSE_ATTEMPTS: usize = 10;

/// What a command prints, at the default engine.
pub(super) async fn docker(arguments: &[&str]) -> Result<String, BackendError> {
    Engine::default().docker(arguments).await
}

/// All that a command said: containers log to both.
fn both(output: &Output) -> String {
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr)
    )
}
