//! The editor without a terminal: bytes go in, a view and at last a line come out.

mod view;

pub(crate) use view::{Clear, Effects, View};

/// What has become of the line after some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The line goes on: feed more bytes.
    More,
    /// The line was accepted. It has no newline at its end.
    Line(Vec<u8>),
    /// The end of input: `C-d` on an empty line, or what the caller fed as the end.
    Eof,
    /// The line was abandoned.
    Interrupted,
}
