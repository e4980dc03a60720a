//! Searches of the history that are not incremental: for a string that is typed first, or for the text before the
//! point.

use super::input::Partial;
use super::mode::{Mode, StringSearch};
use super::{Machine, movement};
use crate::readline::command::Command;
use crate::readline::width::split_prompt;

impl Machine {
    /// Prompts for a string, after the prompt and `sign`.
    pub(super) fn search_for_string(&mut self, backward: bool, sign: u8, vi: bool) {
        let (point, mark) = (self.line.point(), self.line.mark());
        if vi {
            // The saved new line is dropped: if the search of vi mode finds nothing, the line of the history returns.
            self.past.saved = None;
        }
        self.save_line();
        self.line.forget_changes();
        self.line.show(b"");
        self.message.clear();
        self.message.extend_from_slice(split_prompt(&self.prompt).1);
        self.message.push(sign);
        self.mode = Mode::Search(Box::new(StringSearch {
            backward,
            point,
            mark,
            quoted: false,
            partial: Partial::default(),
            vi,
        }));
    }

    pub(super) fn search_key(&mut self, mut search: Box<StringSearch>, byte: u8) {
        if std::mem::take(&mut search.quoted) {
            self.line.insert(&[byte]);
            self.mode = Mode::Search(search);
            return;
        }
        match byte {
            0x17 => self.unix_word_rubout(1),
            0x15 => self.unix_line_discard(),
            0x11 | 0x16 => search.quoted = true,
            b'\r' | b'\n' => return self.search_string(&search),
            0x08 | 0x7f if self.line.point() > 0 => {
                let from = self.line.point();
                let point = self.line.previous(from);
                self.line.delete(point, from);
                self.line.set_point(point);
            }
            0x08 | 0x7f | 0x03 | 0x07 => {
                if byte == 0x03 || byte == 0x07 {
                    self.ding();
                }
                return self.give_up_search(&search);
            }
            _ => {
                if let Some((bytes, length)) = search.partial.push(byte) {
                    self.line.insert(&bytes[..length]);
                }
            }
        }
        self.mode = Mode::Search(search);
    }

    fn give_up_search(&mut self, search: &StringSearch) {
        self.unsave_line();
        self.message.clear();
        self.line.set_point_near(search.point);
        self.line.set_mark(search.mark);
    }

    fn search_string(&mut self, search: &StringSearch) {
        self.line.set_mark(search.mark);
        self.message.clear();
        if self.line.point() == 0 {
            if self.searched.string.is_empty() {
                self.ding();
                return;
            }
        } else {
            self.searched.at = Some(self.past.at as i64);
            self.searched.string = self.line.text().to_vec();
            self.line.forget_changes();
        }
        self.search_again_for(search.backward, search.vi);
    }

    /// Continues the search for the previous string.
    pub(super) fn search_again(&mut self, backward: bool, vi: bool) {
        if self.searched.string.is_empty() {
            return self.ding();
        }
        self.search_again_for(backward, vi);
    }

    fn search_again_for(&mut self, backward: bool, vi: bool) {
        let Some(at) = self.searched.at.filter(|&at| at >= 0) else { return self.ding() };
        let string = std::mem::take(&mut self.searched.string);
        let found = self.find_line(&string, at, backward);
        let length = string.len();
        self.searched.string = string;
        let Some((at, column)) = found else {
            self.unsave_line();
            self.line.set_point(0);
            self.ding();
            return;
        };
        self.searched.at = Some(at as i64);
        if vi {
            self.past.at = at;
        }
        self.show_found(at);
        if vi {
            // The editor is at the line that was found. Without this call the end of the line would revert that line
            // to the search string.
            self.line.forget_changes();
        }
        if column > 0 && !vi && self.settings.variables.enable_active_region {
            self.line.set_point_near(column);
            self.line.set_mark(column + length);
            return self.show_region();
        }
        self.line.set_point(0);
        self.line.set_mark(self.line.len());
    }

    /// Finds the next line of the history with the string, from the line next to `at` on, and the string's position in
    /// the line. With a `^` before the string, the line must begin with the string.
    fn find_line(&self, string: &[u8], at: i64, backward: bool) -> Option<(usize, usize)> {
        let anchored = string.strip_prefix(b"^");
        let string = anchored.unwrap_or(string);
        let matches = |n: usize| {
            let line = self.history.get(n)?;
            match anchored {
                Some(_) => line.starts_with(string).then_some((n, 0)),
                None if backward => movement::last_position(line, string).map(|column| (n, column)),
                None => movement::position(line, string).map(|column| (n, column)),
            }
        };
        let length = self.history.len();
        if backward {
            let upto = usize::try_from(at).ok()?.min(length);
            (0..upto).rev().find_map(matches)
        } else {
            (usize::try_from(at + 1).ok()?..length).find_map(matches)
        }
    }

    /// Replaces the line by a line of the history, as one change, and discards the new line.
    fn show_found(&mut self, at: usize) {
        let text = self.history.get(at).unwrap_or_default().to_vec();
        self.line.replace_all(&text);
        self.past.saved = None;
    }

    /// Executes `history-search-backward` and the like: finds lines that begin with the text before the point, or
    /// contain it.
    pub(super) fn search_prefix(&mut self, count: i32, backward: bool, anchored: bool) {
        use Command::{
            HistorySearchBackward, HistorySearchForward, HistorySubstringSearchBackward, HistorySubstringSearchForward,
        };
        if count == 0 {
            return;
        }
        let goes_on = match self.last {
            Some(HistorySearchBackward | HistorySearchForward) => anchored,
            Some(HistorySubstringSearchBackward | HistorySubstringSearchForward) => !anchored,
            _ => false,
        };
        if !goes_on {
            let prefix = self.line.text()[..self.line.point()].to_vec();
            let prefix_at = self.past.at as i64;
            let searched = &mut self.searched;
            (searched.prefix, searched.prefix_at, searched.anchored, searched.found) =
                (prefix, prefix_at, anchored, None);
            self.past.saved = None;
        }
        if self.searched.prefix.is_empty() {
            return if backward { self.previous_history(count) } else { self.next_history(count) };
        }
        self.search_prefix_on(count.unsigned_abs(), backward == (count > 0));
    }

    fn search_prefix_on(&mut self, count: u32, backward: bool) {
        self.save_line();
        let length = self.searched.prefix.len();
        let mut string = std::mem::take(&mut self.searched.prefix);
        if self.searched.anchored {
            string.insert(0, b'^');
        }
        let mut last = None;
        for _ in 0..count {
            let found = loop {
                let Some(found) = self.find_line(&string, self.searched.prefix_at, backward) else { break None };
                self.searched.prefix_at = found.0 as i64;
                last = Some(found);
                // A line that is there again and again is found once.
                let line = self.history.get(found.0);
                if self.searched.found.as_deref() != line {
                    self.searched.found = line.map(<[u8]>::to_vec);
                    break Some(found);
                }
            };
            if found.is_none() {
                break;
            }
        }
        if self.searched.anchored {
            string.remove(0);
        }
        self.searched.prefix = string;
        let Some((at, column)) = last else {
            self.unsave_line();
            self.ding();
            self.line.set_point_near(length);
            self.line.set_mark(self.line.len());
            return;
        };
        self.show_found(at);
        if self.searched.anchored {
            self.line.set_point_near(length);
            self.line.set_mark(self.line.len());
        } else {
            self.line.set_point_near(column);
            self.line.set_mark(column + length);
        }
    }
}
