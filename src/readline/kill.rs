//! The kill ring: the last texts that were killed.

use std::collections::VecDeque;

/// How many texts are kept.
const SLOTS: usize = 10;

/// The last ten texts that were killed, and which of them a yank takes.
#[derive(Debug, Default)]
pub(crate) struct KillRing {
    slots: VecDeque<Vec<u8>>,
    at: usize,
}

impl KillRing {
    /// A new text, or more of the newest one: `joined` says that the command before was a kill too. What was killed
    /// backwards goes before what is there.
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

    /// What a yank inserts; none when nothing was killed yet.
    pub(crate) fn current(&self) -> Option<&[u8]> {
        self.slots.get(self.at).map(Vec::as_slice)
    }

    /// Turns to the text before; from the oldest to the newest.
    pub(crate) fn rotate(&mut self) {
        self.at = self.at.checked_sub(1).unwrap_or(self.slots.len().saturating_sub(1));
    }
}
