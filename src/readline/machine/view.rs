//! The output of the machine for the renderer: the state of the line, and other events.

use std::ops::Range;

/// The content for the screen. The module `render` draws it; only that module handles columns.
#[derive(Debug, Default, Clone)]
pub(crate) struct View<'a> {
    /// The prompt, with invisible parts between `\x01` and `\x02`. It may have several lines.
    pub(crate) prompt: &'a [u8],
    /// The text of `show-mode-in-prompt` before the last line of the prompt, with the same marks of invisible parts.
    pub(crate) mode: &'a [u8],
    /// The text that replaces the prompt's last line: a search, or a numeric argument.
    pub(crate) message: Option<&'a [u8]>,
    /// The text of the line.
    pub(crate) line: &'a [u8],
    /// The number of bytes at its start that are the same as in the previous view.
    pub(crate) kept: usize,
    /// The line with escape sequences, drawn instead of `line`.
    pub(crate) highlighted: Option<&'a [u8]>,
    /// The cursor, a byte index into `line`.
    pub(crate) point: usize,
    /// The range that is shown in reverse: a paste, a match of a search.
    pub(crate) region: Option<Range<usize>>,
    /// Text after the line that is not part of it.
    pub(crate) hint: &'a [u8],
    /// Whether `mark-modified-lines` puts a `*` before the line.
    pub(crate) modified: bool,
    /// Whether bytes beyond ASCII are shown as octal numbers, according to `output-meta`.
    pub(crate) octal: bool,
    /// Whether the line stays on one row and scrolls.
    pub(crate) horizontal_scroll: bool,
}

/// The part of the screen to clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clear {
    /// The visible screen: `clear-screen`.
    Screen,
    /// The screen and the scrollback: `clear-display`.
    Display,
    /// Nothing; the line is only drawn again: `redraw-current-line`.
    Line,
}

/// The events since the last drawing, besides the change of the line. The renderer handles and resets them.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Whether the bell rang.
    pub(crate) bell: bool,
    /// The part of the screen to clear, if any.
    pub(crate) clear: Option<Clear>,
    /// Text to print below the line, before prompt and line are drawn again below it: a list of completions, of
    /// functions. It has `\n` between lines.
    pub(crate) below: Vec<u8>,
    /// Whether the prompt and the line are drawn again although nothing was printed.
    pub(crate) redraw: bool,
    /// Whether the last drawing stays, and the next drawing begins on a row below: a question.
    pub(crate) leave: bool,
    /// Whether the last drawing is erased first, and `below` replaces it: the end of a question.
    pub(crate) erase: bool,
    /// Whether variables may have changed.
    pub(crate) settings: bool,
}

impl Effects {
    /// Whether any event happened.
    pub(crate) fn any(&self) -> bool {
        self.bell
            || self.clear.is_some()
            || !self.below.is_empty()
            || self.redraw
            || self.leave
            || self.erase
            || self.settings
    }
}
