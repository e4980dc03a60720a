//! The undo list: the changes of a line, newest last, in groups. And [`Line`], a buffer that records its changes.

use std::ops::{Deref, Range};

use super::buffer::Buffer;

/// The maximum number of typed bytes that one undo removes.
const RUN: usize = 20;

/// One change, with the data to undo it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Inserted(Range<usize>),
    Deleted { at: usize, text: Box<[u8]> },
    Begin,
    End,
}

/// The changes of one line, newest last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Undo(Vec<Change>);

impl Undo {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The result of an undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undone {
    /// There is nothing left to undo.
    Nothing,
    /// A change or a group of changes was undone.
    Change,
    /// The beginning of a group that never ended. It is removed.
    OpenGroup,
}

/// A buffer that records its changes. Reads use the [`Buffer`]; changes use the methods here.
#[derive(Debug, Default)]
pub(crate) struct Line {
    buffer: Buffer,
    undo: Undo,
}

impl Deref for Line {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        &self.buffer
    }
}

impl Line {
    pub(crate) fn set_point(&mut self, to: usize) {
        self.buffer.set_point(to);
    }

    /// Moves the point to a position that was stored before the text changed: not past the end, nor into a character.
    pub(crate) fn set_point_near(&mut self, to: usize) {
        self.buffer.set_point_near(to);
    }

    pub(crate) fn set_mark(&mut self, to: usize) {
        self.buffer.set_mark(to);
    }

    /// Records that the line was drawn.
    pub(crate) fn drawn(&mut self) {
        self.buffer.drawn();
    }

    pub(crate) fn set_by_bytes(&mut self, by_bytes: bool) {
        self.buffer.set_by_bytes(by_bytes);
    }

    /// Inserts bytes as if one by one, but moves the text after the point only once.
    pub(crate) fn insert_typed(&mut self, text: &[u8]) {
        let (mut at, mut rest) = (self.point(), text.len());
        while rest > 0 {
            let length = match self.undo.0.last_mut() {
                Some(Change::Inserted(range)) if range.end == at && range.len() < RUN => {
                    let length = rest.min(RUN - range.len());
                    range.end += length;
                    length
                }
                _ => {
                    let length = rest.min(RUN);
                    self.undo.0.push(Change::Inserted(at..at + length));
                    length
                }
            };
            (at, rest) = (at + length, rest - length);
        }
        self.buffer.insert(text);
    }

    /// Inserts text before the point. Bytes that come one by one are one change, up to a run of twenty.
    pub(crate) fn insert(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        let point = self.point();
        match self.undo.0.last_mut() {
            Some(Change::Inserted(range)) if text.len() == 1 && range.end == point && range.len() < RUN => {
                range.end += 1
            }
            _ => self.undo.0.push(Change::Inserted(point..point + text.len())),
        }
        self.buffer.insert(text);
    }

    /// Deletes between two positions, in either order. The point stays, or moves to the end.
    pub(crate) fn delete(&mut self, one: usize, other: usize) {
        let range = one.min(other)..one.max(other).min(self.len());
        self.undo.0.push(Change::Deleted { at: range.start, text: self.text()[range.clone()].into() });
        self.buffer.delete(range);
    }

    /// Opens a group: the following changes are undone together.
    pub(crate) fn begin_group(&mut self) {
        self.undo.0.push(Change::Begin);
    }

    /// Closes the group.
    pub(crate) fn end_group(&mut self) {
        self.undo.0.push(Change::End);
    }

    /// Replaces the whole text, as one change. The point moves to the end.
    pub(crate) fn replace_all(&mut self, text: &[u8]) {
        self.begin_group();
        self.delete(0, self.len());
        self.set_point(0);
        self.insert(text);
        self.end_group();
    }

    /// Shows another text without a record in the list of changes. The point and the mark stay, or move to the end.
    pub(crate) fn show(&mut self, text: &[u8]) {
        self.buffer.replace(text);
    }

    /// Loads another line with its own changes; returns those of the previous line. The point moves to the end.
    pub(crate) fn load(&mut self, text: &[u8], undo: Undo) -> Undo {
        self.buffer.replace(text);
        self.buffer.set_point(text.len());
        std::mem::replace(&mut self.undo, undo)
    }

    /// Takes the list of changes, which is empty afterwards.
    pub(crate) fn take_undo(&mut self) -> Undo {
        std::mem::take(&mut self.undo)
    }

    pub(crate) fn changes(&self) -> &Undo {
        &self.undo
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.undo.is_empty()
    }

    /// Returns the range of the last inserted text, if the last change was an insertion. `grouped` means that the end
    /// of a group follows that change. Bytes that were typed one by one are together, in however many runs.
    pub(crate) fn last_insertion(&self, grouped: bool) -> Range<usize> {
        let changes = match &self.undo.0[..] {
            [before @ .., Change::End] if grouped => before,
            all => all,
        };
        let mut whole: Option<Range<usize>> = None;
        for change in changes.iter().rev() {
            match (change, &mut whole) {
                (Change::Inserted(range), None) => whole = Some(range.clone()),
                (Change::Inserted(run), Some(whole)) if run.len() == RUN && run.end == whole.start => {
                    whole.start = run.start
                }
                _ => break,
            }
        }
        whole.unwrap_or_default()
    }

    /// Removes all changes. The list keeps its memory, so that the next line allocates none.
    pub(crate) fn forget_changes(&mut self) {
        self.undo.0.clear();
    }

    /// Makes room for a line, so that typing a line of that length allocates nothing.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.buffer.reserve(bytes);
        self.undo.0.reserve(bytes / RUN + 8);
    }

    /// Undoes the last change or group.
    pub(crate) fn undo(&mut self) -> Undone {
        let met = self.undo_group();
        // The undo may have joined two pieces of one character.
        self.set_point_near(self.point());
        met
    }

    fn undo_group(&mut self) -> Undone {
        let mut open = 0_usize;
        let mut met = Undone::Change;
        loop {
            match self.undo.0.pop() {
                None => return if open == 0 && met == Undone::Change { Undone::Nothing } else { met },
                Some(Change::Inserted(range)) => {
                    // The text may have been replaced without a change in the list: a search shows another line
                    // meanwhile.
                    let end = range.end.min(self.len());
                    self.buffer.delete(range.start.min(end)..end);
                    self.set_point(range.start);
                }
                Some(Change::Deleted { at, text }) => {
                    self.set_point(at);
                    self.buffer.insert(&text);
                }
                Some(Change::End) => open += 1,
                Some(Change::Begin) if open == 0 => met = Undone::OpenGroup,
                Some(Change::Begin) => open -= 1,
            }
            if open == 0 {
                return met;
            }
        }
    }

    /// Overwrites a range with another text, as one change: for case changes.
    pub(crate) fn rewrite(&mut self, range: Range<usize>, text: &[u8]) {
        if range.is_empty() {
            return;
        }
        let mark = self.mark(); // the text is changed in place, so the mark stays
        self.begin_group();
        self.delete(range.start, range.end);
        self.set_point(range.start);
        self.insert(text);
        self.end_group();
        self.set_mark(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Undone};

    /// Types a text after `before`, with the point `back` bytes from the end.
    fn line(before: &str, back: usize) -> Line {
        let mut line = Line::default();
        line.insert(before.as_bytes());
        line.set_point(before.len() - back);
        line
    }

    #[test]
    fn text_that_is_typed_at_once_is_undone_as_if_it_came_by_keys() {
        for (before, back) in [("", 0), ("a", 0), ("abcdefghij", 3), ("a text of more than twenty bytes", 5)] {
            for length in [1, 2, 19, 20, 21, 57] {
                let text: Vec<u8> = (0..length).map(|n| b'a' + n % 26).collect();
                let (mut one, mut other) = (line(before, back), line(before, back));
                for _ in 0..3 {
                    one.insert_typed(&text);
                    text.iter().for_each(|&byte| other.insert(&[byte]));
                }
                assert_eq!((one.text(), one.changes()), (other.text(), other.changes()), "{before:?} {length}");
                while one.undo() != Undone::Nothing {
                    other.undo();
                    assert_eq!((one.text(), one.point()), (other.text(), other.point()));
                }
            }
        }
    }

    #[test]
    fn text_behind_the_point_moves_once_for_all_that_is_typed() {
        let mut line = line(&"x".repeat(1000), 1000);
        line.insert_typed(&[b'y'; 500]);
        assert_eq!(line.moved(), 1000);
    }
}
