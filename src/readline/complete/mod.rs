//! Completion: completers, the word that is completed, and the common part of the candidates.

mod colours;
mod filename;
mod listing;
mod quoting;

use std::ops::Range;

use super::buffer;

use colours::Colours;
pub use filename::Filenames;
pub(crate) use filename::expand_tilde;
pub(crate) use listing::rows;
pub(crate) use quoting::{Quoting, Replacement, Word};

/// The default characters between words: Python's, which are blanks and punctuation except `.` and `_`.
pub(crate) const DELIMITERS: &[u8] = b" \t\n`~!@#$%^&*()-=+[{]}\\|;:'\",<>/?";

/// The kind of a completion. Python's `get_completion_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompletionKind {
    /// Insert the common part of the candidates (`TAB`).
    Complete,
    /// List the candidates (`?`).
    List,
    /// Insert all candidates (`*`).
    InsertAll,
    /// List several candidates at once (`!`): `show-all-if-ambiguous`.
    ListIfAmbiguous,
    /// List several candidates at once if the word already has all their common part (`@`): `show-all-if-unmodified`.
    ListIfUnmodified,
    /// Go through the candidates one by one (`%`).
    Menu,
}

impl CompletionKind {
    /// Returns GNU readline's and Python's number for the kind: the code of a character.
    pub const fn code(self) -> u8 {
        match self {
            Self::Complete => b'\t',
            Self::List => b'?',
            Self::InsertAll => b'*',
            Self::ListIfAmbiguous => b'!',
            Self::ListIfUnmodified => b'@',
            Self::Menu => b'%',
        }
    }
}

/// The context of a completion, besides the word.
///
/// ```
/// use ossature::readline::{CompletionContext, CompletionKind, Filenames};
///
/// let context = CompletionContext { line: "é ab".as_bytes(), range: 3..5, kind: CompletionKind::List };
/// assert_eq!((context.word(), context.range_in_chars()), (&b"ab"[..], 2..4));
/// assert_eq!(context.kind.code(), b'?');
/// let _names_of_files = Filenames::default();
/// ```
#[derive(Debug, Clone)]
pub struct CompletionContext<'a> {
    /// The whole line.
    pub line: &'a [u8],
    /// The position of the word in the line, in bytes. Python's `get_begidx` and `get_endidx`, which count characters.
    pub range: Range<usize>,
    /// The kind of the completion.
    pub kind: CompletionKind,
}

impl CompletionContext<'_> {
    /// The word as it is in the line. It may not be UTF-8.
    pub fn word(&self) -> &[u8] {
        &self.line[self.range.clone()]
    }

    /// The position of the word in characters, as Python counts it.
    #[doc(alias = "get_begidx")]
    #[doc(alias = "get_endidx")]
    pub fn range_in_chars(&self) -> Range<usize> {
        let count = |to: usize| String::from_utf8_lossy(&self.line[..to]).chars().count();
        count(self.range.start)..count(self.range.end)
    }
}

/// A text that can replace the word.
///
/// ```
/// use ossature::readline::Candidate;
///
/// let file = Candidate::new("notes.txt").with_suffix(" ");
/// assert_eq!(file.suffix(), b" ");
/// assert_eq!(Candidate::from("notes.txt").text(), file.text());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    text: Vec<u8>,
    suffix: Vec<u8>,
    /// Where the part begins that a list shows: after the folders of a path.
    shown: usize,
    /// The character that a list shows after the name: `visible-stats`.
    mark: Option<u8>,
    /// The colour in which a list shows the candidate: `colored-stats`.
    colour: String,
}

impl Candidate {
    /// Makes a candidate with this text. Nothing is appended after it.
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), suffix: Vec::new(), shown: 0, mark: None, colour: String::new() }
    }

    /// Adds the text that is inserted after the candidate when no other candidate is left: a blank, a slash, a
    /// parenthesis.
    #[must_use]
    pub fn with_suffix(mut self, suffix: impl Into<Vec<u8>>) -> Self {
        self.suffix = suffix.into();
        self
    }

    /// Makes lists show the text only from this byte on, with `mark` after it.
    pub(crate) fn shown_from(mut self, byte: usize, mark: Option<u8>) -> Self {
        (self.shown, self.mark) = (byte.min(self.text.len()), mark);
        self
    }

    /// Makes lists show the text in this colour, the parameters of an escape sequence.
    pub(crate) fn coloured(mut self, colour: &str) -> Self {
        colour.clone_into(&mut self.colour);
        self
    }

    /// The text that replaces the word.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The text that is inserted after the candidate.
    pub fn suffix(&self) -> &[u8] {
        &self.suffix
    }

    /// The part that a list shows.
    pub(crate) fn label(&self) -> &[u8] {
        &self.text[self.shown..]
    }

    /// The mark that a list shows after the label.
    pub(crate) fn mark(&self) -> Option<u8> {
        self.mark
    }

    /// The colour in which a list shows the candidate.
    pub(crate) fn colour(&self) -> &str {
        &self.colour
    }
}

impl<T: Into<Vec<u8>>> From<T> for Candidate {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// A source of candidates for a word. A closure over the word and its context is a completer.
///
/// ```
/// use ossature::readline::{Completer, CompletionContext};
///
/// fn is_completer(_: impl Completer) {}
/// is_completer(|word: &str, _: &CompletionContext<'_>| {
///     ["get", "put"].into_iter().filter(|it| it.starts_with(word)).collect::<Vec<_>>()
/// });
/// ```
pub trait Completer {
    /// Returns all texts that can replace `word`, in any order. A word that is not UTF-8 has replacement characters;
    /// the [context](CompletionContext::word) has its bytes.
    fn complete(&mut self, word: &str, context: &CompletionContext<'_>) -> Vec<Candidate>;

    /// Whether the candidates are file names, which lists show without their folders.
    fn yields_files(&self) -> bool {
        false
    }
}

impl<F, C> Completer for F
where
    F: FnMut(&str, &CompletionContext<'_>) -> Vec<C>,
    C: Into<Candidate>,
{
    fn complete(&mut self, word: &str, context: &CompletionContext<'_>) -> Vec<Candidate> {
        self(word, context).into_iter().map(Into::into).collect()
    }
}

/// Returns the length of the common start of two texts, in bytes of the first. Does not cut a UTF-8 character.
pub(crate) fn common(one: &[u8], other: &[u8], ignore_case: bool) -> usize {
    let (mut at, mut beside) = (0, 0);
    while at < one.len() && beside < other.len() {
        let ((left, left_length), (right, right_length)) =
            (buffer::decode(&one[at..]), buffer::decode(&other[beside..]));
        let same = match (left, right) {
            (Some(left), Some(right)) => left == right || ignore_case && left.to_lowercase().eq(right.to_lowercase()),
            (None, None) => one[at] == other[beside],
            _ => false,
        };
        if !same {
            break;
        }
        (at, beside) = (at + left_length, beside + right_length);
    }
    at
}

/// Sorts candidates by text and removes duplicates.
pub(crate) fn sort(candidates: &mut Vec<Candidate>) {
    candidates.sort();
    candidates.dedup_by(|one, other| one.text == other.text);
}
