//! The line: bytes, the point, the mark. This file does not handle keys, history or the terminal.
//!
//! Bytes, since what is typed may not be UTF-8. A *character* is what a move steps over. It is a character of UTF-8
//! with the characters of width zero that follow it, or a single byte that belongs to no character.

use std::borrow::Cow;
use std::ops::Range;

use unicode_width::UnicodeWidthChar;

/// A line with a point (the cursor) and a mark.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffer {
    text: Vec<u8>,
    point: usize,
    mark: usize,
    /// The number of bytes at the start that have not changed since the line was drawn.
    kept: usize,
    /// The variable `byte-oriented`: every byte is a character.
    by_bytes: bool,
    /// The number of bytes that insertions have moved.
    #[cfg(test)]
    moved: usize,
}

/// Decodes the UTF-8 character at the start of `text`; returns it and its length, or no character for an invalid byte.
pub(crate) fn decode(text: &[u8]) -> (Option<char>, usize) {
    match text.first() {
        None => (None, 0),
        Some(&byte) if byte < 0x80 => (Some(char::from(byte)), 1),
        Some(_) => {
            let most = &text[..text.len().min(4)];
            let valid = match std::str::from_utf8(most) {
                Ok(valid) => valid,
                Err(error) => std::str::from_utf8(&most[..error.valid_up_to()]).unwrap_or_default(),
            };
            valid.chars().next().map_or((None, 1), |first| (Some(first), first.len_utf8()))
        }
    }
}

/// Whether a character takes no column, so that it belongs to the previous character.
fn joins(character: Option<char>) -> bool {
    character.is_some_and(|it| !it.is_ascii() && it.width() == Some(0))
}

/// Where the character after the one at `at` begins.
pub(crate) fn next(text: &[u8], at: usize) -> usize {
    let mut end = at + decode(&text[at..]).1;
    while end < text.len() && text[end] >= 0x80 {
        match decode(&text[end..]) {
            (character, length) if joins(character) => end += length,
            _ => break,
        }
    }
    end
}

/// Returns `at`, or the start of the UTF-8 character that `at` is inside of.
fn floor(text: &[u8], at: usize) -> usize {
    let is_around = |&from: &usize| matches!(decode(&text[from..]), (Some(_), length) if from + length > at);
    (at.saturating_sub(3)..at).find(is_around).unwrap_or(at)
}

/// Returns where the code point before `at` begins.
fn previous_code_point(text: &[u8], at: usize) -> usize {
    (at.saturating_sub(4)..at).find(|&from| from + decode(&text[from..at]).1 == at).unwrap_or(at.saturating_sub(1))
}

/// Returns where the character before `at` begins; `at` itself at the start.
pub(crate) fn previous(text: &[u8], at: usize) -> usize {
    let mut start = previous_code_point(text, at);
    while start > 0 && joins(decode(&text[start..at]).0) {
        start = previous_code_point(text, start);
    }
    start
}

impl Buffer {
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns the text, with replacement characters where it is not UTF-8.
    pub(crate) fn text_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The cursor, a byte index of at most `len`.
    pub(crate) fn point(&self) -> usize {
        self.point
    }

    /// The mark. If changes before it have left it inside a character, then the start of that character.
    pub(crate) fn mark(&self) -> usize {
        self.floor(self.mark)
    }

    /// Moves the point, not past the end.
    pub(crate) fn set_point(&mut self, to: usize) {
        self.point = to.min(self.text.len());
    }

    /// Moves the point to a position that was stored before the text changed: not past the end, nor into a character.
    pub(crate) fn set_point_near(&mut self, to: usize) {
        self.point = self.floor(to.min(self.text.len()));
    }

    fn floor(&self, at: usize) -> usize {
        if self.by_bytes { at } else { floor(&self.text, at) }
    }

    /// Moves the mark, not past the end.
    pub(crate) fn set_mark(&mut self, to: usize) {
        self.mark = to.min(self.text.len());
    }

    /// The range between the point and the mark.
    pub(crate) fn region(&self) -> Range<usize> {
        self.point.min(self.mark())..self.point.max(self.mark())
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.point == self.text.len()
    }

    /// The number of bytes at the start that have not changed since the last [`drawn`](Self::drawn).
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Records that the line was drawn.
    pub(crate) fn drawn(&mut self) {
        self.kept = self.text.len();
    }

    /// Sets whether every byte is a character.
    pub(crate) fn set_by_bytes(&mut self, by_bytes: bool) {
        self.by_bytes = by_bytes;
    }

    /// The number of bytes that insertions have moved.
    #[cfg(test)]
    pub(crate) fn moved(&self) -> usize {
        self.moved
    }

    /// Inserts text before the point, which moves behind the new text.
    pub(crate) fn insert(&mut self, text: &[u8]) {
        self.kept = self.kept.min(self.point);
        #[cfg(test)]
        {
            self.moved += self.text.len() - self.point;
        }
        match *text {
            [byte] if self.is_at_end() => self.text.push(byte),
            _ if self.is_at_end() => self.text.extend_from_slice(text),
            [byte] => self.text.insert(self.point, byte),
            _ => drop(self.text.splice(self.point..self.point, text.iter().copied())),
        }
        self.point += text.len();
    }

    /// Removes a range. The point and the mark stay where they are, or move to the end.
    pub(crate) fn delete(&mut self, range: Range<usize>) {
        self.kept = self.kept.min(range.start);
        self.text.drain(range);
        self.point = self.point.min(self.text.len());
        self.mark = self.mark.min(self.text.len());
    }

    /// Replaces the text; the point stays, or moves to the end.
    pub(crate) fn replace(&mut self, text: &[u8]) {
        self.kept = 0;
        self.text.clear();
        self.text.extend_from_slice(text);
        self.point = self.point.min(self.text.len());
        self.mark = self.mark.min(self.text.len());
    }

    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    /// Returns where the character at `at` ends.
    pub(crate) fn next(&self, at: usize) -> usize {
        if self.by_bytes { (at + 1).min(self.text.len()) } else { next(&self.text, at) }
    }

    /// Returns where the character before `at` begins.
    pub(crate) fn previous(&self, at: usize) -> usize {
        if self.by_bytes { at.saturating_sub(1) } else { previous(&self.text, at) }
    }

    /// Returns the character at `at`; `None` at the end and for an invalid byte.
    pub(crate) fn char_at(&self, at: usize) -> Option<char> {
        let rest = &self.text[at.min(self.text.len())..];
        if self.by_bytes {
            rest.first().filter(|byte| byte.is_ascii()).map(|&byte| char::from(byte))
        } else {
            decode(rest).0
        }
    }

    /// Whether the character at `at` is a part of a word: a letter or a digit.
    pub(crate) fn is_word_at(&self, at: usize) -> bool {
        self.char_at(at).is_some_and(char::is_alphanumeric)
    }
}
