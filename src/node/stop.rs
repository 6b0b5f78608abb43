//! Being asked to stop from outside the program.

use std::io;

use tokio::sync::oneshot;

/// Waits until the system asks the program to stop (SIGTERM or SIGINT, Ctrl-C or Ctrl-Break), or until standard input ends, if that
/// counts.
///
/// The latter is how a parent that dies without a word takes its nodes with it, on any system.
pub async fn asked(with_stdin: bool) {
    let input_ends = async {
        if !with_stdin || input_end().await.is_err() {
            std::future::pending().await
        }
    };
    tokio::select! {
        () = signal() => {}
        () = input_ends => {}
    }
}

/// Reads standard input to its end, on a thread that the end of the program does not wait for, as it would for one of the runtime.
fn input_end() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        io::copy(&mut io::stdin(), &mut io::sink()).ok();
        ended.send(()).ok();
    });
    end
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};

    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::warn!(
            "this system delivers no signals: the node is stopped through its control interface"
        );
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(windows)]
async fn signal() {
    use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close};

    let (Ok(mut interrupt), Ok(mut interruption), Ok(mut close)) =
        (ctrl_c(), ctrl_break(), ctrl_close())
    else {
        tracing::warn!(
            "this system delivers no signals: the node is stopped through its control interface"
        );
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = interruption.recv() => {}
        _ = close.recv() => {}
    }
}
