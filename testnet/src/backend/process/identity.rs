//! Which process is meant: a number that the system gives again is not enough.

use serde::{Deserialize, Serialize};

/// A process, beyond the life of the program that started it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it started, as the system has it: no other process had this number then.
    pub started: String,
}

impl Identity {
    /// Of a process that runs; `None` if it does not, or if the system does not tell.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let started = started(pid)?;
        Some(Self { pid, started })
    }

    /// Whether it runs still.
    pub(super) fn is_alive(&self) -> bool {
        started(self.pid).as_ref() == Some(&self.started)
    }

    /// Sends it a signal. One that has ended is sent none, and neither is whoever has its number now.
    #[cfg(unix)]
    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let Some(pid) = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        else {
            return;
        };
        // Opened before it is looked at: what was looked at is what is signalled.
        #[cfg(target_os = "linux")]
        if let Ok(open) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            if self.is_alive() {
                let _ = rustix::process::pidfd_send_signal(open, signal);
            }
            return;
        }
        if self.is_alive() {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

/// The boot, and the time since then in clock ticks.
#[cfg(target_os = "linux")]
fn started(pid: u32) -> Option<String> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have brackets and blanks in it.
    let (_, fields) = line.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    // Ended, but nobody has asked for its code.
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{} {}", boot.trim(), fields.get(19)?))
}

#[cfg(all(unix, not(target_os = "linux")))]
fn started(pid: u32) -> Option<String> {
    let arguments = ["-o", "stat=,lstart=", "-p", &pid.to_string()];
    let output = std::process::Command::new("ps").args(arguments).output();
    let output = output.ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (state, started) = text.trim().split_once(' ')?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

#[cfg(not(unix))]
fn started(_: u32) -> Option<String> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn sleeper() -> std::process::Child {
        let mut command = Command::new("sleep");
        let spawned = command.arg("600").stdin(Stdio::null()).spawn();
        spawned.expect("every Unix has sleep")
    }

    #[test]
    fn a_process_is_itself_until_it_ends() {
        let mut child = sleeper();
        let identity = Identity::of(child.id()).unwrap();
        assert!(identity.is_alive());
        identity.signal(rustix::process::Signal::TERM);
        assert!(!child.wait().unwrap().success());
        assert!(!identity.is_alive());
        assert_eq!(Identity::of(identity.pid), None);
    }

    #[test]
    fn whoever_has_the_number_of_another_is_not_signalled() {
        let mut child = sleeper();
        let real = Identity::of(child.id()).unwrap();
        let earlier = Identity {
            started: format!("{}0", real.started),
            ..real.clone()
        };
        assert!(!earlier.is_alive());
        earlier.signal(rustix::process::Signal::KILL);
        // A signal that was sent would have been delivered before this one is answered.
        real.signal(rustix::process::Signal::CONT);
        assert_eq!(child.try_wait().unwrap(), None);
        assert!(real.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
