//! A node's process: a child that ends with this program, or one that outlives it and is found again.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

use super::identity::Identity;
use crate::backend::Ended;

/// Between two looks at a process that is no child.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A process that was started, by this program or by an earlier one.
#[derive(Debug)]
pub(super) struct Handle {
    /// Absent where an earlier program started it.
    child: Option<Child>,
    /// The node ends when this closes, however this program ends: even if it is killed, no node outlives it.
    stdin: Option<ChildStdin>,
    /// Of one that outlives this program.
    identity: Option<Identity>,
}

impl Handle {
    /// Starts a child that ends with this program.
    pub(super) fn tied(mut command: Command) -> std::io::Result<Self> {
        command.stdin(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        Ok(Self {
            child: Some(child),
            stdin,
            identity: None,
        })
    }

    /// Starts a process that goes on when this program has ended.
    pub(super) fn lasting(mut command: Command) -> std::io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).spawn()?;
        let identity = child.id().and_then(Identity::of);
        // One that has ended at once has no start any more, but a code.
        if identity.is_none() && matches!(child.try_wait(), Ok(None)) {
            child.start_kill()?;
            let text = "this system does not tell when a process started";
            return Err(std::io::Error::other(text));
        }
        Ok(Self {
            child: Some(child),
            stdin: None,
            identity,
        })
    }

    /// One that an earlier program started, if it runs still.
    pub(super) fn found(identity: Identity) -> Option<Self> {
        identity.is_alive().then_some(Self {
            child: None,
            stdin: None,
            identity: Some(identity),
        })
    }

    /// Who it is, if it outlives this program.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Asks it to end. One that stands still goes on for that.
    pub(super) fn ask(&mut self) {
        self.stdin = None;
        #[cfg(unix)]
        {
            if self.identity.is_some() {
                self.signal(rustix::process::Signal::TERM);
            }
            self.signal(rustix::process::Signal::CONT);
        }
    }

    /// Waits until it has ended. One that was asked and does not until the deadline is killed.
    pub(super) async fn end(&mut self, deadline: Instant) {
        if tokio::time::timeout_at(deadline, self.wait())
            .await
            .is_err()
        {
            self.kill().await;
        }
    }

    /// Ends it without warning.
    pub(super) async fn kill(&mut self) {
        match &mut self.child {
            // The only way this fails is that it has ended meanwhile.
            Some(child) => {
                let _ = child.kill().await;
            }
            None => {
                #[cfg(unix)]
                self.signal(rustix::process::Signal::KILL);
                self.wait().await;
            }
        }
    }

    async fn wait(&mut self) {
        if let Some(child) = &mut self.child {
            // It fails where the child was waited for before.
            let _ = child.wait().await;
            return;
        }
        while self.identity.as_ref().is_some_and(Identity::is_alive) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Has it stand still, or go on.
    #[cfg(unix)]
    pub(super) fn pause(&self, paused: bool) {
        self.signal(match paused {
            true => rustix::process::Signal::STOP,
            false => rustix::process::Signal::CONT,
        });
    }

    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(identity) = &self.identity {
            return identity.signal(signal);
        }
        // A child keeps its number until it was waited for.
        let pid = self.child.as_ref().and_then(Child::id);
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Whether it has ended, and how.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        match &mut self.child {
            Some(child) => {
                let code = child.try_wait().ok()??.code();
                Some(Ended { code })
            }
            None => {
                let alive = self.identity.as_ref().is_some_and(Identity::is_alive);
                (!alive).then_some(Ended { code: None })
            }
        }
    }
}
