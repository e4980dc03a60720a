//! What the machine says to the one who draws: the state of the line, and what happened besides.

use std::ops::Range;

/// What the screen should show. `render` draws it; nothing else knows of columns.
#[derive(Debug, Default, Clone)]
pub(crate) struct View<'a> {
    /// The prompt, with invisible parts between `\x01` and `\x02`. It may have several lines.
    pub(crate) prompt: &'a [u8],
    /// What `show-mode-in-prompt` puts before the last line of the prompt, with the same marks of invisible parts.
    pub(crate) mode: &'a [u8],
    /// Stands in the place of the prompt's last line: a search, or a numeric argument.
    pub(crate) message: Option<&'a [u8]>,
    /// The text of the line.
    pub(crate) line: &'a [u8],
    /// How many bytes at its start are those of the view before.
    pub(crate) kept: usize,
    /// The same text with escape sequences, drawn in the place of `line`.
    pub(crate) highlighted: Option<&'a [u8]>,
    /// The cursor, a byte index into `line`.
    pub(crate) point: usize,
    /// What is shown in reverse: a paste, a match of a search.
    pub(crate) region: Option<Range<usize>>,
    /// Text behind the line that is not part of it.
    pub(crate) hint: &'a [u8],
    /// Whether `mark-modified-lines` puts a `*` before the line.
    pub(crate) modified: bool,
    /// Whether bytes beyond ASCII are shown as octal numbers, as `output-meta` wants.
    pub(crate) octal: bool,
    /// Whether the line stays on one row and scrolls.
    pub(crate) horizontal_scroll: bool,
}

/// How much of the screen to clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clear {
    /// What is seen: `clear-screen`.
    Screen,
    /// The lines that scrolled away as well: `clear-display`.
    Display,
    /// Nothing, but the line is drawn anew: `redraw-current-line`.
    Line,
}

/// What happened since the last drawing, beside the change of the line. The one who draws takes and forgets it.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// The bell rang.
    pub(crate) bell: bool,
    /// The screen is to be cleared.
    pub(crate) clear: Option<Clear>,
    /// Text to print below the line, before prompt and line are drawn anew below it: a list of completions, of
    /// functions. It has `\n` between lines.
    pub(crate) below: Vec<u8>,
    /// Whether the prompt and the line are drawn anew although nothing was printed.
    pub(crate) redraw: bool,
    /// What was drawn last stays, and what is drawn next begins on a row below: a question.
    pub(crate) leave: bool,
    /// What was drawn last is erased first, and `below` takes its place: the end of a question.
    pub(crate) erase: bool,
    /// Variables may be others now.
    pub(crate) settings: bool,
}

impl Effects {
    /// Whether anything happened.
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
