//! Commands that kill and yank, the mark, the region.

use super::Machine;
use super::words::is_blank;
use crate::readline::command::Command;

impl Machine {
    /// Kills from one position to another, in the direction given by their order. The point moves to the start.
    pub(super) fn kill(&mut self, from: usize, to: usize) {
        self.keep(from, to);
        if from != to {
            self.line.delete(from, to);
            self.line.set_point(from.min(to));
        }
    }

    /// Adds the text to the kill ring like [`kill`](Self::kill), without a deletion.
    pub(super) fn keep(&mut self, from: usize, to: usize) {
        self.kills_now = true;
        let range = from.min(to)..from.max(to);
        if !range.is_empty() {
            // In vi mode a kill is never joined to the kill before it.
            let joined = self.killed && !self.is_vi();
            self.kills.push(&self.line.text()[range], joined, to < from);
            self.killed = true;
        }
    }

    /// Sets the mark to the point after a kill in emacs mode.
    fn mark_here(&mut self) {
        if !self.is_vi() {
            self.line.set_mark(self.line.point());
        }
    }

    pub(super) fn kill_line(&mut self, count: i32) {
        if count < 0 {
            return self.backward_kill_line(1);
        }
        let point = self.line.point();
        if point < self.line.len() {
            self.kill(point, self.line.len());
        }
        self.mark_here();
    }

    pub(super) fn backward_kill_line(&mut self, count: i32) {
        if count < 0 {
            return self.kill_line(1);
        }
        self.unix_line_discard();
    }

    pub(super) fn unix_line_discard(&mut self) {
        if self.line.point() == 0 {
            return self.ding();
        }
        self.kill(self.line.point(), 0);
        self.mark_here();
    }

    pub(super) fn kill_whole_line(&mut self) {
        self.line.begin_group();
        self.kill(0, self.line.len());
        self.line.set_point(0);
        self.line.set_mark(0);
        self.line.end_group();
    }

    pub(super) fn kill_word(&mut self, count: i32) {
        let point = self.line.point();
        let to = self.word_on(point, count);
        if to != point {
            self.kill(point, to);
        }
        self.mark_here();
    }

    pub(super) fn unix_word_rubout(&mut self, count: i32) {
        let from = self.line.point();
        if from == 0 {
            return self.ding();
        }
        let text = self.line.text();
        let mut at = from;
        for _ in 0..count.max(1) {
            at -= text[..at].iter().rev().take_while(|&&byte| is_blank(byte)).count();
            at -= text[..at].iter().rev().take_while(|&&byte| !is_blank(byte)).count();
        }
        self.kill(from, at);
        self.mark_here();
    }

    pub(super) fn unix_filename_rubout(&mut self, count: i32) {
        let from = self.line.point();
        if from == 0 {
            return self.ding();
        }
        let mut at = from;
        for _ in 0..count.max(1) {
            at = self.filename_start(at);
        }
        self.kill(from, at);
        self.mark_here();
    }

    /// Returns the start of the part of a path before `at`: blanks, then slashes, then other characters.
    fn filename_start(&self, mut at: usize) -> usize {
        let text = self.line.text();
        let back = |at: usize, is: fn(u8) -> bool| at - text[..at].iter().rev().take_while(|&&byte| is(byte)).count();
        at = back(at, is_blank);
        let before_slashes = back(at, |byte| byte == b'/');
        if before_slashes < at && (before_slashes == 0 || is_blank(text[before_slashes - 1])) {
            return before_slashes; // slashes only
        }
        at = back(at, |byte| is_blank(byte) || byte == b'/');
        back(at, |byte| !is_blank(byte) && byte != b'/')
    }

    pub(super) fn kill_region(&mut self) {
        let (point, mark) = (self.line.point(), self.line.mark());
        self.keep(point, mark);
        if point != mark {
            self.line.delete(point, mark);
            self.line.set_point(point.min(mark));
        }
    }

    pub(super) fn copy_region(&mut self) {
        self.keep(self.line.point(), self.line.mark());
    }

    /// Copies the `count` words that a word motion passes to the kill ring.
    pub(super) fn copy_word(&mut self, count: i32) {
        let far = self.word_on(self.line.point(), count);
        let near = self.word_on(far, -count);
        self.keep(near, far);
    }

    pub(super) fn yank(&mut self) {
        let Some(text) = self.kills.current() else { return self.abort() };
        self.line.set_mark(self.line.point());
        self.line.insert(text);
    }

    pub(super) fn yank_pop(&mut self) {
        let follows = matches!(self.last, Some(Command::Yank | Command::YankPop));
        let Some(text) = self.kills.current().filter(|_| follows) else { return self.abort() };
        let point = self.line.point();
        if !self.line.text()[..point].ends_with(text) {
            return self.abort();
        }
        let start = point - text.len();
        self.line.delete(start, point);
        self.line.set_point(start);
        self.kills.rotate();
        self.yank();
    }

    /// Executes `set-mark`: at the point, or at the position in the argument.
    pub(super) fn set_mark(&mut self, count: i32) {
        let to = if self.argument.explicit { usize::try_from(count).unwrap_or(usize::MAX) } else { self.line.point() };
        if to > self.line.len() {
            return self.ding();
        }
        self.line.set_mark(to);
    }

    pub(super) fn exchange_point_and_mark(&mut self) {
        let (point, mark) = (self.line.point(), self.line.mark());
        self.line.set_point_near(mark);
        self.line.set_mark(point);
        self.show_region();
    }

    /// Shows the region until the next command.
    pub(super) fn show_region(&mut self) {
        if self.settings.variables.enable_active_region {
            (self.region_active, self.region_kept) = (true, true);
        }
    }
}
