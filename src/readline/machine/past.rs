//! The history for the commands that move in it. A changed line of the history keeps its change, and its list of
//! changes, until it is accepted or reverted.

use super::state::YankArgument;
use super::words::shell_words;
use super::{Machine, Map};
use crate::readline::command::Command;
use crate::readline::undo::{Line, Undo, Undone};

impl Machine {
    pub(super) fn begin_past(&mut self) {
        self.past.shift(self.history.dropped());
        let length = self.history.len();
        self.past.changes.retain(|(at, _)| *at < length);
        self.past.at = length;
        self.past.saved = None;
        self.past.was_changed = false;
    }

    /// Shows the line that `operate-and-get-next` has selected.
    pub(super) fn resume_past(&mut self) {
        if let Some(next) = self.past.next.take() {
            let count = self.past.at as i64 - next;
            self.previous_history(i32::try_from(count).unwrap_or(0));
        }
    }

    /// Restores, at the end of a line, the line of the history that it was made from.
    pub(super) fn end_past(&mut self) {
        let at = self.past.at;
        if at < self.history.len() && (self.line.has_changes() || self.past.was_changed) {
            let undo = self.line.take_undo();
            let original = reverted(self.line.text(), undo);
            self.replace_history(at, &original);
        }
        if self.settings.variables.revert_all_at_newline {
            for (at, undo) in std::mem::take(&mut self.past.changes) {
                let original = self.history.get(at).map(|line| reverted(line, undo)).unwrap_or_default();
                self.replace_history(at, &original);
            }
        }
        self.line.forget_changes();
        self.past.saved = None;
        self.past.was_changed = false;
    }

    fn replace_history(&mut self, at: usize, line: &[u8]) {
        let _ = self.history.replace(at, line); // a line that is gone needs no change
    }

    pub(super) fn is_modified_history(&self) -> bool {
        self.past.at < self.history.len() && self.line.has_changes()
    }

    /// Writes the shown line to the history, if it has changed.
    pub(super) fn publish_line(&mut self) {
        let at = self.past.at;
        if at < self.history.len() && (self.line.has_changes() || self.past.was_changed) {
            let text = self.line.text().to_vec();
            self.replace_history(at, &text);
        }
    }

    /// Keeps the changes of the shown line of the history, before another line is shown.
    fn leave_line(&mut self) {
        self.publish_line();
        if self.past.at < self.history.len() && self.line.has_changes() {
            let undo = self.line.take_undo();
            self.past.changes.push((self.past.at, undo));
        }
    }

    /// Keeps the new line, before another line is shown.
    pub(super) fn save_line(&mut self) {
        if self.past.saved.is_none() {
            self.past.saved = Some((self.line.text().to_vec(), self.line.changes().clone()));
        }
    }

    /// Shows the new line again.
    pub(super) fn unsave_line(&mut self) {
        match self.past.saved.take() {
            None => self.ding(),
            Some((text, undo)) => {
                self.swap_undo(&text, undo);
                self.past.was_changed = false;
            }
        }
    }

    fn note_point(&mut self) {
        if self.past.point.is_none() && !self.line.is_at_end() {
            self.past.point = Some(self.line.point());
        }
    }

    fn load_line(&mut self, at: usize) {
        let undo = match self.past.changes.iter().position(|(line, _)| *line == at) {
            Some(index) => self.past.changes.swap_remove(index).1,
            None => Undo::default(),
        };
        self.past.at = at;
        self.past.was_changed = !undo.is_empty();
        let text = self.history.get(at).unwrap_or_default().to_vec();
        self.swap_undo(&text, undo);
        let end = self.line.len();
        let point = self.past.point.filter(|_| self.settings.variables.history_preserve_point).unwrap_or(end).min(end);
        self.line.set_point_near(if self.map == Map::ViCommand { 0 } else { point });
        if self.map == Map::Emacs {
            self.line.set_mark(if point == end { 0 } else { end });
        } else {
            self.line.set_mark(end);
        }
    }

    pub(super) fn previous_history(&mut self, count: i32) {
        if count < 0 {
            return self.next_history(count.saturating_neg());
        }
        if count == 0 || self.history.is_empty() {
            return;
        }
        self.note_point();
        let at = self.past.at.saturating_sub(count as usize);
        if at == self.past.at {
            return self.ding();
        }
        // After a search, possibly no line is saved: then the line that the editor leaves is the one at the end of the
        // history.
        self.save_line();
        self.leave_line();
        self.load_line(at);
    }

    pub(super) fn next_history(&mut self, count: i32) {
        if count < 0 {
            return self.previous_history(count.saturating_neg());
        }
        if count == 0 {
            return;
        }
        self.leave_line();
        self.note_point();
        let at = self.past.at.saturating_add(count as usize);
        if at < self.history.len() {
            self.load_line(at);
        } else {
            self.past.at = self.history.len();
            self.unsave_line();
        }
    }

    pub(super) fn beginning_of_history(&mut self) {
        self.previous_history(i32::try_from(self.past.at + 1).unwrap_or(i32::MAX));
    }

    pub(super) fn end_of_history(&mut self) {
        self.leave_line();
        self.past.at = self.history.len();
        self.unsave_line();
    }

    /// Executes `fetch-history`: shows the line with this number, counted from one; a negative number counts from the
    /// end.
    pub(super) fn fetch_history(&mut self, count: i32) {
        if !self.argument.explicit {
            return self.beginning_of_history();
        }
        let here = self.past.at as i64 + 1;
        let back = if count >= 0 { here - i64::from(count) } else { -i64::from(count) };
        if back <= 0 || back > here {
            if self.is_vi() { self.ding() } else { self.beginning_of_history() }
        } else {
            self.previous_history(i32::try_from(back).unwrap_or(i32::MAX));
        }
    }

    pub(super) fn operate_and_get_next(&mut self, count: i32) {
        let at = self.past.at as i64;
        let next = if self.argument.explicit { i64::from(count) - 1 } else { at + 1 };
        self.accept_line();
        if !self.active {
            self.past.next = Some(next);
        }
    }

    /// Keeps the position of the point for the next lines of the history that are shown.
    pub(super) fn keep_history_point(&mut self) {
        if self.settings.variables.history_preserve_point {
            self.past.point = (!self.line.is_at_end()).then(|| self.line.point());
        } else {
            self.past.point = None;
        }
    }

    /// Inserts a word of the previous line, or of the line `skip` lines further back; the last word if `word` is
    /// `None`. Returns whether there was such a word.
    fn yank_argument(&mut self, word: Option<i32>, skip: usize) -> bool {
        let back = skip + 1;
        let found = self.past.at.checked_sub(back).or_else(|| (skip > 0 && self.past.at > 0).then_some(usize::MAX));
        let text = found.and_then(|at| self.history.get(at)).and_then(|line| {
            let words = shell_words(line);
            let last = words.len() as i64 - 1;
            let n = match word {
                None => last,
                Some(word) if word == i32::from(b'$') => last,
                Some(word) if word < 0 => last + i64::from(word),
                Some(word) => i64::from(word),
            };
            words.get(usize::try_from(n).ok()?).map(|word| word.to_vec())
        });
        let Some(text) = text else {
            self.ding();
            return false;
        };
        self.line.begin_group();
        self.line.set_mark(self.line.point());
        if self.map == Map::ViCommand {
            super::vi::append(self);
            self.line.insert(b" ");
        }
        self.line.insert(&text);
        self.line.end_group();
        true
    }

    pub(super) fn yank_nth_arg(&mut self, count: i32) {
        self.yank_argument(Some(count), 0);
    }

    pub(super) fn yank_last_arg(&mut self, count: i32) {
        if self.last == Some(Command::YankLastArg) {
            if self.past.yank.inserted {
                self.line.undo();
            }
            let yank = &mut self.past.yank;
            yank.backward ^= count < 0;
            yank.skip = if yank.backward { yank.skip.saturating_sub(1) } else { yank.skip + 1 };
        } else {
            let word = self.argument.explicit.then_some(count);
            self.past.yank = YankArgument { word, ..YankArgument::default() };
        }
        let (word, skip) = (self.past.yank.word, self.past.yank.skip);
        self.past.yank.inserted = self.yank_argument(word, skip);
    }

    pub(super) fn undo(&mut self, count: i32) {
        for _ in 0..count.max(0) {
            match self.line.undo() {
                Undone::Change => {}
                Undone::OpenGroup => self.ding(),
                Undone::Nothing => return self.ding(),
            }
        }
    }

    pub(super) fn revert_line(&mut self) {
        if !self.line.has_changes() {
            return self.ding();
        }
        while self.line.undo() != Undone::Nothing {}
        if self.is_vi() {
            self.line.set_point(0);
            self.line.set_mark(0);
        }
    }
}

/// Returns a line with all its changes undone.
fn reverted(text: &[u8], undo: Undo) -> Vec<u8> {
    let mut line = Line::default();
    line.load(text, undo);
    while line.undo() != Undone::Nothing {}
    line.text().to_vec()
}
