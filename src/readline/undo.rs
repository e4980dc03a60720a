//! What undo knows: the changes of a line, newest last, in groups. And [`Line`], a buffer that remembers its changes.

use std::ops::{Deref, Range};

use super::buffer::Buffer;

/// How many typed bytes one undo takes back at most.
const RUN: usize = 20;

/// One change, with what undoing it needs.
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

/// What an undo met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undone {
    /// Nothing is left to undo.
    Nothing,
    /// A change or a group of changes was taken back.
    Change,
    /// The beginning of a group whose end never came. It is forgotten.
    OpenGroup,
}

/// A buffer that remembers its changes. Reads go to the [`Buffer`]; changes pass here.
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

    /// Moves the point to a place that was noted while the text was another: not past the end, nor into a character.
    pub(crate) fn set_point_near(&mut self, to: usize) {
        self.buffer.set_point_near(to);
    }

    pub(crate) fn set_mark(&mut self, to: usize) {
        self.buffer.set_mark(to);
    }

    /// Inserts before the point. Bytes that come one by one are one change, up to a run of twenty.
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

    /// Deletes between two places, in either order. The point stays, or moves to the end.
    pub(crate) fn delete(&mut self, one: usize, other: usize) {
        let range = one.min(other)..one.max(other).min(self.len());
        self.undo.0.push(Change::Deleted { at: range.start, text: self.text()[range.clone()].into() });
        self.buffer.delete(range);
    }

    /// Opens a group: what follows is undone in one.
    pub(crate) fn begin_group(&mut self) {
        self.undo.0.push(Change::Begin);
    }

    /// Closes the group.
    pub(crate) fn end_group(&mut self) {
        self.undo.0.push(Change::End);
    }

    /// Puts another text in the place of all, as one change. The point goes to the end.
    pub(crate) fn replace_all(&mut self, text: &[u8]) {
        self.begin_group();
        self.delete(0, self.len());
        self.set_point(0);
        self.insert(text);
        self.end_group();
    }

    /// Another text without a trace in the list of changes. The point and the mark stay, or move to the end.
    pub(crate) fn show(&mut self, text: &[u8]) {
        self.buffer.replace(text);
    }

    /// Another line with its own changes; gives back those of the line before. The point goes to the end.
    pub(crate) fn load(&mut self, text: &[u8], undo: Undo) -> Undo {
        self.buffer.replace(text);
        self.buffer.set_point(text.len());
        std::mem::replace(&mut self.undo, undo)
    }

    /// The list of changes, which is empty here afterwards.
    pub(crate) fn take_undo(&mut self) -> Undo {
        std::mem::take(&mut self.undo)
    }

    pub(crate) fn changes(&self) -> &Undo {
        &self.undo
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.undo.is_empty()
    }

    /// Forgets all changes. The list keeps its memory, so that the next line allocates none.
    pub(crate) fn forget_changes(&mut self) {
        self.undo.0.clear();
    }

    /// Makes room for a line, so that typing one of that length allocates nothing.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.buffer.reserve(bytes);
        self.undo.0.reserve(bytes / RUN + 8);
    }

    /// Takes back the last change or group.
    pub(crate) fn undo(&mut self) -> Undone {
        let met = self.undo_group();
        // A piece of a character may have come back beside its other piece.
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
                    // The text may have been replaced behind the back of the list: a search shows another line meanwhile.
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

    /// Writes another text of the same place into the line, undone as one: case changes.
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
