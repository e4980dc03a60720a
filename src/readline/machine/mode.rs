//! What takes the next byte, and what it has so far.

use super::input::Partial;
use super::vi::Find;

/// What takes the next byte.
#[derive(Debug, Default)]
pub(super) enum Mode {
    /// The keymap.
    #[default]
    Command,
    /// A numeric argument, which goes on with a digit.
    Argument(Digits),
    /// `quoted-insert`: the byte itself is inserted, as often as the count says.
    Quoted(i32),
    /// `character-search`: `count` times, forward or backward.
    Character { count: i32, forward: bool, found: Partial },
    /// An incremental search.
    Incremental(Box<IncrementalSearch>),
    /// The string of a search that is not incremental is being typed.
    Search(Box<StringSearch>),
    /// A paste goes on until its end mark.
    Paste,
    /// The sequence of a key that nothing is bound to goes on: `skip-csi-sequence`.
    Csi,
    /// An arrow key's last byte: `arrow-key-prefix`.
    Arrow(i32),
    /// "Display all 120 possibilities? (y or n)".
    Ask(Box<List>),
    /// "--More--".
    Page(Box<List>),
    /// A command of vi mode reads its operand.
    Vi(Pending),
}

/// What a numeric argument has seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Digits {
    pub(super) seen: bool,
    pub(super) minus: bool,
    /// `universal-argument` has ended it, so that the next key is a command even if it is a digit.
    pub(super) ended: bool,
}

/// A list of candidates that waits for an answer.
#[derive(Debug)]
pub(super) struct List {
    pub(super) rows: Vec<Vec<u8>>,
    pub(super) at: usize,
}

/// An incremental search that is under way.
#[derive(Debug)]
pub(super) struct IncrementalSearch {
    pub(super) backward: bool,
    pub(super) string: Vec<u8>,
    /// The line where the search began, its point and its mark.
    pub(super) from: usize,
    pub(super) point: usize,
    pub(super) mark: usize,
    /// The new line, which the search sees behind the history.
    pub(super) newest: Vec<u8>,
    /// Where the search stands, in which line it looks, and at which byte.
    pub(super) at: i64,
    pub(super) looks_in: usize,
    pub(super) column: i64,
    /// The line that was found last; what it says is not found again in another line.
    pub(super) found: usize,
    pub(super) seen: Option<Vec<u8>>,
    /// The keys of a command that is being typed.
    pub(super) keys: Vec<u8>,
    pub(super) partial: Partial,
    pub(super) pasted: Option<Vec<u8>>,
    /// An escape has ended the search, unless it begins a key sequence.
    pub(super) escaped: bool,
}

impl IncrementalSearch {
    pub(super) fn waits_after_escape(&self) -> bool {
        self.escaped
    }
}

/// A search whose string is being typed, in the place of the line.
#[derive(Debug)]
pub(super) struct StringSearch {
    pub(super) backward: bool,
    pub(super) point: usize,
    pub(super) mark: usize,
    /// The next byte goes into the string as it is.
    pub(super) quoted: bool,
    pub(super) partial: Partial,
    /// Whether vi mode searches: its searches have other rules.
    pub(super) vi: bool,
}

/// What a command of vi mode still has to read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pending {
    /// The motion of an operator.
    Motion(Operator),
    /// The character of a search, for an operator or by itself.
    Find {
        how: Find,
        key: u8,
        count: i32,
        operator: Option<Operator>,
        found: Partial,
    },
    /// The character that `r` puts in the place of others.
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
    /// `d`, `c` or `y`.
    pub(super) name: u8,
    pub(super) count: i32,
    /// Whether a count was typed.
    pub(super) counted: bool,
    /// The motion is part of the command: `D`, `C`, `Y`.
    pub(super) fixed: bool,
}
