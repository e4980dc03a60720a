//! The receiver of the next byte, and its state.

use super::input::Partial;
use super::vi::Find;

/// The receiver of the next byte.
#[derive(Debug, Default)]
pub(super) enum Mode {
    /// The keymap, which looks up a command.
    #[default]
    Command,
    /// A numeric argument, which a digit continues.
    Argument(Digits),
    /// The command `quoted-insert`: the byte itself is inserted, as often as the count says.
    Quoted(i32),
    /// The command `character-search`: `count` times, forward or backward.
    Character { count: i32, forward: bool, found: Partial },
    /// An incremental search.
    Incremental(Box<IncrementalSearch>),
    /// A search that is not incremental, whose string is being typed.
    Search(Box<StringSearch>),
    /// A paste, until its end mark.
    Paste,
    /// The command `skip-csi-sequence`: the rest of the sequence of a key without a binding.
    Csi,
    /// The command `arrow-key-prefix`: the last byte of an arrow key.
    Arrow(i32),
    /// The question "Display all 120 possibilities? (y or n)".
    Ask(Box<List>),
    /// The question "--More--".
    Page(Box<List>),
    /// A command of vi mode that reads its operand.
    Vi(Pending),
}

/// The parts of a numeric argument so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Digits {
    pub(super) seen: bool,
    pub(super) minus: bool,
    /// Whether `universal-argument` has ended it, so that the next key is a command even if it is a digit.
    pub(super) ended: bool,
}

/// A list of candidates that waits for an answer.
#[derive(Debug)]
pub(super) struct List {
    pub(super) rows: Vec<Vec<u8>>,
    pub(super) at: usize,
}

/// An incremental search in progress.
#[derive(Debug)]
pub(super) struct IncrementalSearch {
    pub(super) backward: bool,
    pub(super) string: Vec<u8>,
    /// The line where the search began, its point and its mark.
    pub(super) from: usize,
    pub(super) point: usize,
    pub(super) mark: usize,
    /// The new line, which the search treats as the last line of the history.
    pub(super) newest: Vec<u8>,
    /// The position of the search, the line in which it searches, and the byte.
    pub(super) at: i64,
    pub(super) looks_in: usize,
    pub(super) column: i64,
    /// The line that was found last; its text is not found again in another line.
    pub(super) found: usize,
    pub(super) seen: Option<Vec<u8>>,
    /// The keys of a command that is being typed.
    pub(super) keys: Vec<u8>,
    pub(super) partial: Partial,
    pub(super) pasted: Option<Vec<u8>>,
    /// Whether an escape has ended the search, unless it begins a key sequence.
    pub(super) escaped: bool,
}

impl IncrementalSearch {
    pub(super) fn waits_after_escape(&self) -> bool {
        self.escaped
    }
}

/// A search whose string is being typed in place of the line.
#[derive(Debug)]
pub(super) struct StringSearch {
    pub(super) backward: bool,
    pub(super) point: usize,
    pub(super) mark: usize,
    /// Whether the next byte is added to the string as it is.
    pub(super) quoted: bool,
    pub(super) partial: Partial,
    /// Whether it is a search of vi mode, which has other rules.
    pub(super) vi: bool,
}

/// The operand that a command of vi mode still has to read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pending {
    /// The motion of an operator.
    Motion(Operator),
    /// The character of a search, with or without an operator.
    Find {
        how: Find,
        key: u8,
        count: i32,
        operator: Option<Operator>,
        found: Partial,
    },
    /// The replacement character for `r`.
    Replacement {
        count: i32,
        found: Partial,
    },
    /// The letter of a mark.
    SetMark,
    GotoMark {
        operator: Option<Operator>,
    },
}

/// An operator that waits for its motion.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator {
    /// The key `d`, `c` or `y`.
    pub(super) name: u8,
    pub(super) count: i32,
    /// Whether a count was typed.
    pub(super) counted: bool,
    /// Whether the motion is part of the command: `D`, `C`, `Y`.
    pub(super) fixed: bool,
}
