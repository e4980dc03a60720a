//! The kill ring: the last texts that were killed.

use std::collections::VecDeque;

/// The maximum number of texts.
const SLOTS: usize = 10;

/// The last ten texts that were killed, and the index of the text for a yank.
#[derive(Debug, Default)]
pub(crate) struct KillRing {
    slots: VecDeque<Vec<u8>>,
    at: usize,
}

impl KillRing {
    /// Adds a new text, or extends the newest text if `joined` is true: the previous command was a kill too. A backward
    /// kill goes before the existing text.
    pub(crate) fn push(&mut self, text: &[u8], joined: bool, backwards: bool) {
        match self.slots.back_mut() {
            Some(last) if joined && backwards => drop(last.splice(0..0, text.iter().copied())),
            Some(last) if joined => last.extend_from_slice(text),
            _ => {
                if self.slots.len() == SLOTS {
                    self.slots.pop_front();
                }
                self.slots.push_back(text.to_vec());
            }
        }
        self.at = self.slots.len() - 1;
    }

    /// Returns the text that a yank inserts; `None` when nothing was killed yet.
    pub(crate) fn current(&self) -> Option<&[u8]> {
        self.slots.get(self.at).map(Vec::as_slice)
    }

    /// Selects the previous text; after the oldest comes the newest.
    pub(crate) fn rotate(&mut self) {
        self.at = self.at.checked_sub(1).unwrap_or(self.slots.len().saturating_sub(1));
    }
}
