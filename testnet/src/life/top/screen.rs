//! The terminal, while `top` has it: it is given back however the program ends.

use std::io::{self, IsTerminal, Write};
use std::sync::Once;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};

use super::frame::Line;

/// The whole terminal, until this is dropped.
pub(super) struct Screen(());

impl Screen {
    /// Takes it.
    pub(super) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(io::Error::other("this is none"));
        }
        // What a panic says would go with the screen.
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        enable_raw_mode()?;
        let screen = Self(());
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        let (columns, rows) = crossterm::terminal::size().unwrap_or((80, 24));
        (usize::from(columns), usize::from(rows))
    }

    /// Shows these lines, and nothing else.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for (row, line) in lines.iter().enumerate() {
            queue!(out, MoveTo(0, u16::try_from(row).unwrap_or(u16::MAX)))?;
            if line.marked {
                queue!(out, SetAttribute(Attribute::Reverse))?;
            }
            if line.strong {
                queue!(out, SetAttribute(Attribute::Bold))?;
            }
            queue!(
                out,
                Print(&line.text),
                SetAttribute(Attribute::Reset),
                Clear(ClearType::UntilNewLine)
            )?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // There is nobody to tell if the terminal is gone.
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}
