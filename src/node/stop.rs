//! Being asked to stop from outside the program.

use tokio::io::AsyncReadExt;

/// Waits until the system asks the program to stop (SIGTERM or SIGINT, Ctrl-C or Ctrl-Break), or until standard input ends, if that counts.
///
/// The latter is how a parent that dies without a word takes its nodes with it, on any system.
pub async fn asked(with_stdin: bool) {
    let input_ends = async {
        if !with_stdin {
            return std::future::pending().await;
        }
        let mut input = tokio::io::stdin();
        let mut buffer = [0; 256];
        while matches!(input.read(&mut buffer).await, Ok(count) if count > 0) {}
    };
    tokio::select! {
        () = signal() => {}
        () = input_ends => {}
    }
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
