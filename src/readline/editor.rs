//! [`Editor`]: the machine, the history, the hooks and the screen in one.

use super::machine::Step;

/// A line editor.
#[derive(Debug, Default)]
pub struct Editor {}

impl Editor {
    /// An editor in emacs mode with the default key bindings. Nothing is read from a file, no terminal is touched.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a line. What was typed ahead is taken at once, so the line may be there already.
    ///
    /// `out` gets what the terminal has to be told.
    pub fn begin(&mut self, prompt: &[u8], out: &mut Vec<u8>) -> Step {
        let _ = (prompt, out);
        Step::More
    }

    /// Takes bytes as a terminal yields them, in pieces of any length. `out` gets what the terminal has to be told.
    ///
    /// Bytes after the end of a line stay for the next [`begin`](Self::begin).
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step {
        let _ = (bytes, out);
        Step::More
    }
}
