//! The state that the machine keeps between commands.

use std::ops::Range;

use super::vi::Find;
use crate::readline::command::Command;
use crate::readline::complete::{Candidate, CompletionKind, Replacement};
use crate::readline::undo::Undo;

/// The position of the editor in the history, and the state of other lines.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The index of the line of the history that is shown; the history's length for the new line.
    pub(super) at: usize,
    /// The new line, while a line of the history is shown.
    pub(super) saved: Option<(Vec<u8>, Undo)>,
    /// The position of the point before the first move: `history-preserve-point`.
    pub(super) point: Option<usize>,
    /// The changes of other lines of the history.
    pub(super) changes: Vec<(usize, Undo)>,
    /// Whether the line that is shown had changes when it was loaded.
    pub(super) was_changed: bool,
    /// The number of lines that the history had dropped when the indexes here were last updated.
    pub(super) dropped: usize,
    /// The line that `operate-and-get-next` shows next.
    pub(super) next: Option<i64>,
    pub(super) yank: YankArgument,
}

/// The state of the previous `yank-last-arg`.
#[derive(Debug, Default)]
pub(super) struct YankArgument {
    pub(super) skip: usize,
    /// The requested word; `None` for the last word.
    pub(super) word: Option<i32>,
    pub(super) backward: bool,
    pub(super) inserted: bool,
}

impl Past {
    /// Adjusts the indexes after the first lines of the history were dropped.
    pub(super) fn shift(&mut self, dropped: usize) {
        let gone = dropped.saturating_sub(std::mem::replace(&mut self.dropped, dropped));
        self.changes.retain(|(at, _)| *at >= gone);
        for (at, _) in &mut self.changes {
            *at -= gone;
        }
        self.next = self.next.map(|next| next - gone as i64);
    }
}

/// The last searches, which the next search may continue.
#[derive(Debug, Default)]
pub(super) struct Searched {
    /// The string of `non-incremental-reverse-search-history` and the like.
    pub(super) string: Vec<u8>,
    pub(super) at: Option<i64>,
    /// The string of `history-search-backward` and the like.
    pub(super) prefix: Vec<u8>,
    pub(super) prefix_at: i64,
    pub(super) anchored: bool,
    /// The line that was found last; the next one must differ from it.
    pub(super) found: Option<Vec<u8>>,
}

/// The state after the last completion.
#[derive(Debug, Default)]
pub(super) struct CompletionState {
    pub(super) kind: Option<CompletionKind>,
    pub(super) range: Range<usize>,
    /// Whether the last `complete` changed the line, so that the next one does not list yet.
    pub(super) changed: bool,
    /// Whether the last completion found nothing.
    pub(super) failed: bool,
    pub(super) menu: Menu,
}

/// The candidates of a menu, and the current position: 0 is the original text.
#[derive(Debug, Default)]
pub(super) struct Menu {
    /// The text in the line at position 0.
    pub(super) home: Vec<u8>,
    pub(super) candidates: Vec<Candidate>,
    /// The replacements of the word for the candidates.
    pub(super) texts: Vec<Replacement>,
    pub(super) at: usize,
    pub(super) start: usize,
}

/// A command that `.` repeats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last {
    pub(super) command: Command,
    pub(super) key: u8,
    pub(super) count: i32,
}

/// The state that vi mode keeps between commands.
#[derive(Debug)]
pub(super) struct ViState {
    pub(super) last: Last,
    /// The motion of the last operator; its own letter for a whole line.
    pub(super) last_motion: u8,
    pub(super) last_replacement: ([u8; 4], usize),
    pub(super) redoing: bool,
    /// The last search for a character.
    pub(super) search: Option<(Find, [u8; 4], usize)>,
    pub(super) marks: [Option<usize>; 26],
    /// The position where the insertion began, and the key that began it.
    pub(super) start: usize,
    pub(super) began: u8,
    /// Whether the insertion is one group of changes, together with a deletion before it if there was one.
    pub(super) group: bool,
    /// The text that was inserted last.
    pub(super) inserted: Vec<u8>,
    /// The number of characters that `R` has replaced.
    pub(super) replaced: Option<usize>,
    /// Whether the command mode was entered in this line.
    pub(super) commanded: bool,
}

impl Default for ViState {
    fn default() -> Self {
        Self {
            last: Last { command: Command::ViInsertionMode, key: b'i', count: 1 },
            last_motion: 0,
            last_replacement: ([0; 4], 0),
            redoing: false,
            search: None,
            marks: [None; 26],
            start: 0,
            began: b'i',
            group: false,
            inserted: Vec::new(),
            replaced: None,
            commanded: false,
        }
    }
}

impl ViState {
    /// Resets the state that belongs to the previous line.
    pub(super) fn begin(&mut self) {
        self.marks = [None; 26];
        (self.start, self.began, self.group) = (0, b'i', false);
        (self.replaced, self.redoing, self.commanded) = (None, false, false);
    }
}
