//! A progress bar on standard error, if standard error is a terminal.

use std::io::{IsTerminal, Write, stderr};

/// The progress so far.
pub struct Bar {
    total: u64,
    done: u64,
    shown: bool,
}

const WIDTH: u64 = 40;

impl Bar {
    pub fn new(total: u64) -> Self {
        let bar = Self { total, done: 0, shown: stderr().is_terminal() && total > 0 };
        bar.draw();
        bar
    }

    /// Adds `bytes` finished bytes.
    pub fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        self.draw();
    }

    fn draw(&self) {
        if self.shown {
            let filled = "#".repeat((self.done * WIDTH / self.total) as usize);
            let percent = self.done * 100 / self.total;
            // A terminal that is gone is no reason to stop counting.
            let _ = write!(stderr(), "\r[{filled:<width$}] {percent:3}%", width = WIDTH as usize);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(stderr(), "\r{:width$}\r", "", width = WIDTH as usize + 7);
        }
    }
}
