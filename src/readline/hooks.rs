//! The callbacks that the caller sets, and the interface for hooks.

use std::fmt;

use super::complete::{Candidate, Completer, Quoting};
use super::undo::Line;

type Hook = Box<dyn FnMut(&mut Context<'_>) + Send>;

/// The closures and traits that the caller has set.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) startup: Option<Hook>,
    pub(crate) pre_input: Option<Hook>,
    pub(crate) completer: Option<Box<dyn Completer + Send>>,
    pub(crate) delimiters: Option<Vec<u8>>,
    pub(crate) quoting: Quoting,
    #[expect(clippy::type_complexity, reason = "the type is named nowhere else")]
    pub(crate) display_matches: Option<Box<dyn FnMut(&[u8], &[Candidate], &mut Vec<u8>) + Send>>,
    #[expect(clippy::type_complexity, reason = "the type is named nowhere else")]
    pub(crate) validator: Option<Box<dyn FnMut(&str) -> Validation + Send>>,
    #[expect(clippy::type_complexity, reason = "the type is named nowhere else")]
    pub(crate) hinter: Option<Box<dyn FnMut(&str) -> Option<String> + Send>>,
    #[expect(clippy::type_complexity, reason = "the type is named nowhere else")]
    pub(crate) highlighter: Option<Box<dyn FnMut(&str, usize) -> String + Send>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("completer", &self.completer.is_some()).finish_non_exhaustive()
    }
}

/// The result of a validator for a line that the user wants to accept.
///
/// See the example of [`Editor::set_validator`](crate::readline::Editor::set_validator).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validation {
    /// The line is complete.
    Complete,
    /// The line is incomplete: a newline is inserted, and the editing continues.
    Incomplete,
    /// The line is wrong: the text is shown below it, and the editing continues.
    Invalid(String),
}

/// A part of an owner that is taken out while the caller's code runs with the owner. The part is put back afterwards,
/// even if that code panics.
#[derive(Debug)]
pub(super) struct Lent<'o, O, T> {
    owner: &'o mut O,
    place: fn(&mut O) -> &mut Option<T>,
    part: Option<T>,
}

impl<'o, O, T> Lent<'o, O, T> {
    /// Takes the part out.
    pub(super) fn take(owner: &'o mut O, place: fn(&mut O) -> &mut Option<T>) -> Self {
        let part = place(owner).take();
        Self { owner, place, part }
    }

    /// Returns the owner, and the part if there is one.
    pub(super) fn both(&mut self) -> (&mut O, Option<&mut T>) {
        (self.owner, self.part.as_mut())
    }
}

impl<O, T> Drop for Lent<'_, O, T> {
    fn drop(&mut self) {
        *(self.place)(self.owner) = self.part.take();
    }
}

/// The line, as a hook reads and changes it.
#[derive(Debug)]
pub struct Context<'a> {
    line: &'a mut Line,
}

impl<'a> Context<'a> {
    pub(crate) fn new(line: &'a mut Line) -> Self {
        Self { line }
    }

    /// The text so far.
    #[doc(alias = "get_line_buffer")]
    pub fn line(&self) -> &[u8] {
        self.line.text()
    }

    /// The cursor, a byte index into the line.
    pub fn point(&self) -> usize {
        self.line.point()
    }

    /// Inserts text at the cursor.
    #[doc(alias = "insert_text")]
    pub fn insert(&mut self, text: impl AsRef<[u8]>) {
        self.line.insert(text.as_ref());
    }

    /// Moves the cursor; a position past the end becomes the end, and a position inside a character becomes its start.
    pub fn set_point(&mut self, point: usize) {
        self.line.set_point_near(point);
    }
}
