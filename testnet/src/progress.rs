//! What a run waits for, on the terminal of the person who waits with it.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two lines where no terminal can rewrite one.
const QUIET_INTERVAL: Duration = Duration::from_secs(5);

/// Writes to standard error: one line, rewritten in place, on a terminal; a plain line now and then elsewhere.
#[derive(Debug)]
pub struct Progress {
    silent: bool,
    terminal: bool,
    shown: bool,
    last: Option<(Instant, String)>,
}

impl Progress {
    /// For this process's standard error.
    pub fn new() -> Self {
        Self {
            silent: false,
            terminal: std::io::stderr().is_terminal(),
            shown: false,
            last: None,
        }
    }

    /// For nobody: a search runs thousands of networks.
    pub fn silent() -> Self {
        Self {
            silent: true,
            ..Self::new()
        }
    }

    /// Shows what is awaited now.
    pub fn show(&mut self, text: &str) {
        if self.silent {
            return;
        }
        if self.terminal {
            let columns = terminal_size::terminal_size_of(std::io::stderr())
                .map_or(80, |(width, _)| usize::from(width.0));
            // A line that fills the last column would wrap, and only its last part be rewritten.
            let line: String = text.chars().take(columns.saturating_sub(1)).collect();
            write(&format!("\r\x1b[2K{line}"));
            self.shown = true;
            return;
        }
        let now = Instant::now();
        let (since, told) = self.last.get_or_insert_with(|| (now, String::new()));
        if now.duration_since(*since) >= QUIET_INTERVAL && told != text {
            write(&format!("{text}\n"));
            (*since, *told) = (now, text.to_owned());
        }
    }

    /// Takes the line away, so that something else can be written.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            write("\r\x1b[2K");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// Progress is a courtesy: a standard error that takes nothing ends no run.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
