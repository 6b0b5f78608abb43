//! What goes on beside a node in a pod of Kubernetes: the verb `pod`, which the backend `kubernetes` has run there, nobody else.
//!
//! Kubernetes has no word for a node that is killed, stands still, or stays down once it has ended: whoever it ends is asked
//! first, and the kubelet starts again whatever has ended. So this program is the first process of the container, and the node is
//! its child. It puts the node's files where the node may write them, starts it once, passes on that it is to end, and ends as
//! the node did. Started again by the kubelet, it starts nothing and waits. The first process of a container is spared by signals
//! from within, its child is not.
//!
//! An init container brings the program (`pod prepare`), so that the node's image may be an older one.

use std::path::Path;

use crate::cli::pod::{PodCommand, PodOptions};
use crate::run::Exit;

/// What the program is called where [`PodCommand::Prepare`] puts it.
pub const PROGRAM: &str = "testnet";
/// Beside the program: the number of the node's process. While it is there, the node was started.
#[cfg(unix)]
const PROCESS: &str = "process";

/// Does the part of a node's pod that is asked for. Gives the code to exit with.
pub async fn perform(options: PodOptions) -> u8 {
    let done = match options.command {
        PodCommand::Prepare { directory } => prepare(&directory).map(|()| 0),
        #[cfg(unix)]
        PodCommand::Start(options) => inside::start(options).await,
        #[cfg(unix)]
        PodCommand::Signal { signal } => inside::signal(signal).map(|()| 0),
        #[cfg(not(unix))]
        _ => Err(std::io::Error::other("pods run on Linux")),
    };
    done.unwrap_or_else(|error| {
        eprintln!("testnet: pod: {error}");
        Exit::Environment as u8
    })
}

fn prepare(directory: &Path) -> std::io::Result<()> {
    std::fs::copy(std::env::current_exe()?, directory.join(PROGRAM)).map(|_| ())
}

#[cfg(unix)]
mod inside {
    use std::fs::File;
    use std::io::{self, ErrorKind};
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    use std::os::unix::process::ExitStatusExt;
    use std::path::PathBuf;

    use rustix::process::{Pid, Signal, kill_process};
    use tokio::process::Command;
    use tokio::signal::unix::{SignalKind, signal as listen};

    use super::PROCESS;
    use crate::cli::pod::{PodSignal, StartOptions};

    /// What shells add to the number of a signal that ended a program.
    const SIGNALLED: i32 = 128;

    /// Where the number of the node's process is.
    fn process() -> io::Result<PathBuf> {
        Ok(std::env::current_exe()?.with_file_name(PROCESS))
    }

    pub(super) async fn start(options: StartOptions) -> io::Result<u8> {
        // Who is the first process has to ask for what ends others by itself.
        let mut terminate = listen(SignalKind::terminate())?;
        let process = process()?;
        if process.exists() {
            eprintln!("testnet: pod: the node has ended, and is not started again here");
            terminate.recv().await;
            return Ok(0);
        }
        place(&options)?;
        let [program, arguments @ ..] = options.command.as_slice() else {
            return Err(io::Error::other("what to start is not said"));
        };
        let mut node = Command::new(program).args(arguments).spawn()?;
        let id = node.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let id = id.ok_or_else(|| io::Error::other("the node has no number"))?;
        // Whole or not there: who reads it may come at any moment.
        let new = process.with_extension("new");
        std::fs::write(&new, id.as_raw_nonzero().to_string())?;
        std::fs::rename(new, process)?;
        let status = loop {
            tokio::select! {
                ended = node.wait() => break ended?,
                _ = terminate.recv() => drop(kill_process(id, Signal::TERM)),
            }
        };
        let code = status.code();
        let code = code.or_else(|| Some(SIGNALLED + status.signal()?));
        Ok(code
            .and_then(|code| code.try_into().ok())
            .unwrap_or(u8::MAX))
    }

    /// Puts files where the node finds them, readable by its user alone.
    fn place(options: &StartOptions) -> io::Result<()> {
        let mut directories = std::fs::DirBuilder::new();
        directories.recursive(true).mode(0o700);
        directories.create(&options.into)?;
        for file in &options.file {
            let name = file.file_name().unwrap_or_default();
            let mut to = File::options();
            to.write(true).create(true).truncate(true).mode(0o600);
            io::copy(
                &mut File::open(file)?,
                &mut to.open(options.into.join(name))?,
            )?;
        }
        Ok(())
    }

    pub(super) fn signal(signal: PodSignal) -> io::Result<()> {
        let id = match std::fs::read_to_string(process()?) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(io::Error::other("the node was not started yet"));
            }
            read => read?.parse().ok().and_then(Pid::from_raw),
        };
        let id = id.ok_or_else(|| io::Error::other("the node has no number"))?;
        let signal = match signal {
            PodSignal::Kill => Signal::KILL,
            PodSignal::Pause => Signal::STOP,
            PodSignal::Continue => Signal::CONT,
        };
        Ok(kill_process(id, signal)?)
    }
}
