//! Commands that change text: insertion, deletion, transposition, case.

use unicode_width::UnicodeWidthChar;

use super::mode::Mode;
use super::words::is_blank;
use super::{Argument, MOST_INSERTED, MOST_OVERWRITTEN, Machine, Map, vi};
use crate::readline::command::Command;

/// The end mark of a bracketed paste.
const PASTE_END: &[u8] = b"\x1b[201~";

/// The change of case for the letters of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Lower,
    Capital,
}

/// The parentheses for `blink-matching-paren`: the closing one and its opening one.
const CLOSING: [(u8, u8); 3] = [(b')', b'('), (b']', b'['), (b'}', b'{')];

impl Machine {
    /// Inserts the waiting bytes that are plain typed text.
    pub(super) fn insert_typed(&mut self) {
        let mut input = std::mem::take(&mut self.input);
        let taken = self.insert_plain_text(input.typed());
        if taken > 0 {
            input.skip(taken);
        }
        self.input = input;
    }

    /// Inserts the part of the typed bytes that is plain text, and returns its length. The result is the same as if the
    /// keys were run one by one; but the text after the point moves only once.
    pub(super) fn insert_plain_text(&mut self, typed: &[u8]) -> usize {
        let is_plain = matches!(self.mode, Mode::Command)
            && self.keys.is_empty()
            && self.partial.is_empty()
            && !self.overwrites
            && self.map != Map::ViCommand
            && !vi::is_replacing(self);
        if !is_plain {
            return 0;
        }
        let blinks = self.settings.variables.blink_matching_paren;
        let stops =
            |byte: u8| self.special.eof == Some(byte) || blinks && CLOSING.iter().any(|&(close, _)| close == byte);
        let keymap = self.keymap();
        let is_text = |&&byte: &&u8| matches!(byte, 0x20..0x7f) && keymap.inserts(byte) && !stops(byte);
        let length = typed.iter().take_while(is_text).count();
        let Some(text) = typed.get(..length).filter(|text| !text.is_empty()) else { return 0 };
        self.line.insert_typed(text);
        if let Some(recording) = &mut self.recording {
            recording.extend_from_slice(text);
        }
        self.argument = Argument::NONE;
        self.sequence_length = 1;
        self.last = Some(Command::SelfInsert);
        (self.killed, self.kills_now) = (false, false);
        (self.region_active, self.region_kept) = (false, false);
        self.blink = None;
        length
    }

    /// Shows the cursor at the opening parenthesis for a typed closing one, until the next key or for half a second.
    /// Text in quotes does not count.
    fn blink(&mut self, closing: u8) {
        let Some(&(_, opening)) = CLOSING.iter().find(|&&(close, _)| close == closing) else { return };
        let text = self.line.text();
        let Some(before) = self.line.point().checked_sub(1).and_then(|at| text.get(..at)) else { return };
        let (mut quote, mut open) = (None, 1);
        for (at, &byte) in before.iter().enumerate().rev() {
            match byte {
                _ if quote == Some(byte) => quote = None,
                b'"' | b'\'' => quote = Some(byte),
                _ if quote.is_some() => {}
                _ if byte == closing => open += 1,
                _ if byte == opening => open -= 1,
                _ => {}
            }
            if open == 0 {
                self.blink = Some(at);
                return;
            }
        }
    }

    /// Inserts a byte as itself, `count` times.
    pub(super) fn self_insert(&mut self, count: i32, byte: u8) {
        if self.settings.variables.blink_matching_paren && !vi::is_replacing(self) && !self.overwrites {
            self.insert_closing(count, byte);
        } else {
            self.insert_plain(count, byte);
        }
    }

    fn insert_closing(&mut self, count: i32, byte: u8) {
        self.insert_plain(count, byte);
        // If more bytes are typed already, there is no pause.
        if count == 1 && !self.input.is_ready() {
            self.blink(byte);
        }
    }

    fn insert_plain(&mut self, count: i32, byte: u8) {
        if byte < 0x80 && self.partial.is_empty() && count == 1 && !self.overwrites && !vi::is_replacing(self) {
            return self.line.insert(&[byte]);
        }
        if let Some((bytes, length, count)) = self.gather(count, byte) {
            self.insert_text(count, &bytes[..length], self.overwrites);
        }
    }

    /// Inserts a byte like [`self_insert`](Self::self_insert), but ignores `overwrite-mode`: quoted text, tabs.
    pub(super) fn insert_byte(&mut self, count: i32, byte: u8) {
        if let Some((bytes, length, count)) = self.gather(count, byte) {
            self.insert_text(count, &bytes[..length], false);
        }
    }

    /// Collects bytes until a UTF-8 character is complete.
    fn gather(&mut self, count: i32, byte: u8) -> Option<([u8; 4], usize, i32)> {
        if self.partial.is_empty() {
            (self.partial_count, self.partial_explicit) = (count, self.argument.explicit);
        }
        if self.settings.variables.byte_oriented {
            return Some(([byte, 0, 0, 0], 1, count));
        }
        let (bytes, length) = self.partial.push(byte)?;
        Some((bytes, length, self.partial_count))
    }

    /// Inserts the bytes of an incomplete character as they are, if the next command is not an insertion.
    pub(super) fn flush_partial(&mut self, command: Command) {
        if !self.partial.is_empty() && command != Command::SelfInsert {
            let (bytes, length) = self.partial.take();
            self.insert_text(self.partial_count, &bytes[..length], self.overwrites);
        }
    }

    fn insert_text(&mut self, count: i32, text: &[u8], overwrites: bool) {
        if vi::is_replacing(self) {
            return vi::overstrike(self, count, text);
        }
        let count = usize::try_from(count).unwrap_or(0);
        if !overwrites {
            return match count {
                0 => {}
                1 => self.line.insert(text),
                _ => {
                    let times = self.times(count, text);
                    self.line.insert(&text.repeat(times));
                }
            };
        }
        if count > MOST_OVERWRITTEN {
            self.ding();
        }
        self.line.begin_group();
        for _ in 0..count.min(MOST_OVERWRITTEN) {
            self.line.insert(text);
            if !self.line.is_at_end() {
                let point = self.line.point();
                let end = self.line.next(point);
                // As in `delete-char`: with a numeric argument the deleted text is killed.
                if self.partial_explicit { self.kill(point, end) } else { self.line.delete(point, end) }
            }
        }
        self.line.end_group();
    }

    /// Limits how often a text is inserted for a count of `count`, so that a huge count does not fill the memory.
    pub(super) fn times(&mut self, count: usize, text: &[u8]) -> usize {
        let most = MOST_INSERTED / text.len().max(1);
        if count > most.max(1) {
            self.ding();
        }
        count.min(most.max(1))
    }

    pub(super) fn quoted_insert(&mut self, count: i32) {
        if count != 0 {
            self.mode = Mode::Quoted(count);
        }
    }

    pub(super) fn quoted_key(&mut self, count: i32, byte: u8) {
        if count < 0 {
            self.insert_byte(1, byte);
            if count + 1 < 0 {
                self.mode = Mode::Quoted(count + 1);
            }
        } else {
            self.insert_byte(count, byte);
        }
    }

    pub(super) fn overwrite_mode(&mut self, count: i32) {
        self.overwrites = if self.argument.explicit { count > 0 } else { !self.overwrites };
    }

    pub(super) fn begin_paste(&mut self) {
        self.pasted.clear();
        self.mode = Mode::Paste;
    }

    pub(super) fn paste_key(&mut self, byte: u8) {
        self.pasted.push(byte);
        if byte != b'~' || !self.pasted.ends_with(PASTE_END) {
            self.mode = Mode::Paste;
            return;
        }
        let mut text = std::mem::take(&mut self.pasted);
        text.truncate(text.len() - PASTE_END.len());
        for byte in &mut text {
            if *byte == b'\r' {
                *byte = b'\n';
            }
        }
        self.paste(&text);
        self.pasted = text;
    }

    /// Inserts a text as one change, and shows it as the region.
    fn paste(&mut self, text: &[u8]) {
        self.line.set_mark(self.line.point());
        self.line.insert(text);
        self.show_region();
        self.region_kept = false; // the next command hides the region
    }

    pub(super) fn delete_char(&mut self, count: i32) {
        if count < 0 {
            return self.rubout(-count);
        }
        let point = self.line.point();
        if self.line.is_at_end() {
            return self.ding();
        }
        if count > 1 || self.argument.explicit {
            self.forward_char(count);
            self.kill(point, self.line.point());
            self.line.set_point(point);
        } else {
            self.line.delete(point, self.line.next(point));
        }
    }

    pub(super) fn backward_delete_char(&mut self, count: i32) {
        if vi::is_replacing(self) {
            return vi::overstrike_delete(self, count);
        }
        if count < 0 {
            return self.delete_char(-count);
        }
        if self.line.point() == 0 {
            return self.ding();
        }
        if self.overwrites { self.overwriting_rubout(count) } else { self.rubout(count) }
    }

    fn rubout(&mut self, count: i32) {
        let from = self.line.point();
        if from == 0 {
            return self.ding();
        }
        if count > 1 || self.argument.explicit {
            self.backward_char(count);
            self.kill(from, self.line.point());
        } else {
            let point = self.line.previous(from);
            self.line.delete(point, from);
            self.line.set_point(point);
        }
    }

    /// Deletes backward in overwrite mode: blanks replace the deleted characters, except at the end of the line.
    fn overwriting_rubout(&mut self, count: i32) {
        let from = self.line.point();
        let (mut to, mut columns) = (from, 0);
        for _ in 0..count {
            if to == 0 {
                self.ding();
                break;
            }
            to = self.line.previous(to);
            columns += match self.line.char_at(to) {
                Some(it) if it.is_ascii_control() => 2,
                Some(it) => it.width().unwrap_or(1),
                None => 1,
            };
        }
        self.line.begin_group();
        self.line.set_point(to);
        if count > 1 || self.argument.explicit {
            self.kill(from, to);
        } else {
            self.line.delete(to, from);
        }
        if !self.line.is_at_end() {
            self.line.insert(&b" ".repeat(columns));
            self.line.set_point(to);
        }
        self.line.end_group();
    }

    pub(super) fn delete_horizontal_space(&mut self) {
        let text = self.line.text();
        let point = self.line.point();
        let start = point - text[..point].iter().rev().take_while(|&&byte| is_blank(byte)).count();
        let end = point + text[point..].iter().take_while(|&&byte| is_blank(byte)).count();
        if start != end {
            self.line.delete(start, end);
            self.line.set_point(start);
        }
    }

    pub(super) fn transpose_chars(&mut self, count: i32) {
        if count == 0 {
            return;
        }
        if self.line.point() == 0 || self.line.next(0) >= self.line.len() {
            return self.ding();
        }
        let at_end = self.line.is_at_end();
        let end = if at_end { self.line.previous(self.line.point()) } else { self.line.point() };
        let start = self.line.previous(end);
        let moved = self.line.text()[start..end].to_vec();
        self.line.begin_group();
        self.line.delete(start, end);
        self.line.set_point(start);
        let steps = if at_end { 1 } else { usize::try_from(count).unwrap_or(0) };
        let to = (0..steps).fold(start, |at, _| if at < self.line.len() { self.line.next(at) } else { at });
        self.line.set_point(to);
        self.line.insert(&moved);
        self.line.end_group();
    }

    pub(super) fn transpose_words(&mut self, count: i32) {
        if count == 0 {
            return;
        }
        let second_end = self.word_on(self.line.point(), count);
        let second = self.word_start(second_end, 1)..second_end;
        let start = self.word_on(second.start, -count);
        let first = start..self.word_end(start, 1);
        if first.start == second.start || second.start < first.end {
            return self.ding();
        }
        let (left, right) = (self.line.text()[first.clone()].to_vec(), self.line.text()[second.clone()].to_vec());
        self.line.begin_group();
        self.line.delete(second.start, second.end);
        self.line.set_point(second.start);
        self.line.insert(&left);
        self.line.delete(first.start, first.end);
        self.line.set_point(first.start);
        self.line.insert(&right);
        self.line.set_point(second.end);
        self.line.end_group();
    }

    pub(super) fn change_case(&mut self, count: i32, case: Case) {
        let point = self.line.point();
        let other = self.word_on(point, count);
        let range = point.min(other)..point.max(other);
        let mut changed = Vec::with_capacity(range.len());
        let mut in_word = false;
        let mut at = range.start;
        while at < range.end {
            let next = at + crate::readline::buffer::decode(&self.line.text()[at..range.end]).1;
            let bytes = &self.line.text()[at..next];
            match self.line.char_at(at).filter(|it| it.is_alphanumeric()) {
                None => {
                    in_word = false;
                    changed.extend_from_slice(bytes);
                }
                Some(letter) => {
                    let upper = case == Case::Upper || case == Case::Capital && !in_word;
                    in_word = true;
                    push_letter(&mut changed, letter, upper);
                }
            }
            at = next;
        }
        let end = range.start + changed.len();
        self.line.rewrite(range, &changed);
        self.line.set_point(if count < 0 { point.max(end) } else { end });
    }

    pub(super) fn insert_comment(&mut self) {
        let comment = std::mem::take(&mut self.settings.variables.comment_begin);
        self.line.set_point(0);
        if self.argument.explicit && self.line.text().starts_with(comment.as_ref()) {
            self.line.delete(0, comment.len());
        } else {
            self.line.insert(comment.as_ref());
        }
        self.settings.variables.comment_begin = comment;
        self.accept_line();
    }
}

/// Appends a letter in the other case if that is a single character, as in C.
fn push_letter(to: &mut Vec<u8>, letter: char, upper: bool) {
    let mut one = letter;
    if upper {
        let mut all = letter.to_uppercase();
        if let (Some(first), None) = (all.next(), all.next()) {
            one = first;
        }
    } else {
        let mut all = letter.to_lowercase();
        if let (Some(first), None) = (all.next(), all.next()) {
            one = first;
        }
    }
    to.extend_from_slice(one.encode_utf8(&mut [0; 4]).as_bytes());
}
