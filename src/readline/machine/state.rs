//! What the machine remembers from command to command.

use std::ops::Range;

use super::vi::Find;
use crate::readline::command::Command;
use crate::readline::complete::{Candidate, CompletionKind, Replacement};
use crate::readline::undo::Undo;

/// Where the editor stands in the history, and what it left behind.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The line of the history that is shown; the history's length for the new line.
    pub(super) at: usize,
    /// The new line, while another one is shown.
    pub(super) saved: Option<(Vec<u8>, Undo)>,
    /// Where the point was before the first move: `history-preserve-point`.
    pub(super) point: Option<usize>,
    /// The changes of other lines of the history.
    pub(super) changes: Vec<(usize, Undo)>,
    /// The line that is shown had changes when it was loaded.
    pub(super) was_changed: bool,
    /// How many lines the history had dropped when the numbers here were right.
    pub(super) dropped: usize,
    /// What `operate-and-get-next` shows next.
    pub(super) next: Option<i64>,
    pub(super) yank: YankArgument,
}

/// How the `yank-last-arg` before went.
#[derive(Debug, Default)]
pub(super) struct YankArgument {
    pub(super) skip: usize,
    /// The word that was asked for; none for the last one.
    pub(super) word: Option<i32>,
    pub(super) backward: bool,
    pub(super) inserted: bool,
}

impl Past {
    /// Notes that the first lines of the history are gone.
    pub(super) fn shift(&mut self, dropped: usize) {
        let gone = dropped.saturating_sub(std::mem::replace(&mut self.dropped, dropped));
        self.changes.retain(|(at, _)| *at >= gone);
        for (at, _) in &mut self.changes {
            *at -= gone;
        }
        self.next = self.next.map(|next| next - gone as i64);
    }
}

/// What was searched for last, which the next search may go on from.
#[derive(Debug, Default)]
pub(super) struct Searched {
    /// The string of `non-incremental-reverse-search-history` and the like.
    pub(super) string: Vec<u8>,
    pub(super) at: Option<i64>,
    /// The string of `history-search-backward` and the like.
    pub(super) prefix: Vec<u8>,
    pub(super) prefix_at: i64,
    pub(super) anchored: bool,
    /// The line that was found last: the next one differs from it.
    pub(super) found: Option<Vec<u8>>,
}

/// What is left of the last completion.
#[derive(Debug, Default)]
pub(super) struct CompletionState {
    pub(super) kind: Option<CompletionKind>,
    pub(super) range: Range<usize>,
    /// The last `complete` changed the line, so that the next one does not list yet.
    pub(super) changed: bool,
    /// The last completion found nothing.
    pub(super) failed: bool,
    pub(super) menu: Menu,
}

/// The candidates that a menu goes through, and where it stands: 0 is the text before.
#[derive(Debug, Default)]
pub(super) struct Menu {
    /// What stands in the line at 0.
    pub(super) home: Vec<u8>,
    pub(super) candidates: Vec<Candidate>,
    /// The candidates as they stand in the line.
    pub(super) texts: Vec<Replacement>,
    pub(super) at: usize,
    pub(super) start: usize,
}

/// A command that `.` does again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last {
    pub(super) command: Command,
    pub(super) key: u8,
    pub(super) count: i32,
}

/// What vi mode remembers from command to command.
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
    /// Where the insertion began, and the key that began it.
    pub(super) start: usize,
    pub(super) began: u8,
    /// Whether the insertion is one change, with what was deleted before it if something was.
    pub(super) group: bool,
    /// What was inserted last.
    pub(super) inserted: Vec<u8>,
    /// How many characters `R` has put in the place of others.
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
    /// Forgets what belongs to the line before.
    pub(super) fn begin(&mut self) {
        self.marks = [None; 26];
        (self.start, self.began, self.group) = (0, b'i', false);
        (self.replaced, self.redoing, self.commanded) = (None, false, false);
    }
}
