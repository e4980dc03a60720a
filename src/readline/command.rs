//! The names of all commands that a key can be bound to: the 142 commands of GNU readline 8.2.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// Writes the enum, its list and its names from one table, so that none of them can lack a command.
macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// A command that a key is bound to, under its name in init files.
        ///
        /// ```
        /// use ossature::readline::Command;
        ///
        /// assert_eq!(Command::from_name("Kill-Line"), Some(Command::KillLine));
        /// assert_eq!(Command::KillLine.to_string(), "kill-line");
        /// assert_eq!(Command::ALL.len(), 142);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Command {
            $($(#[$doc])* #[doc = ""] #[doc = concat!("`", $text, "`")] $name,)+
        }

        impl Command {
            /// Every command, in the order in which GNU readline lists the names.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the name in init files: `kill-line`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

commands! {
    /// Cancels the current operation: an argument, a search, a macro that is being recorded. Rings the bell.
    Abort = "abort",
    /// Ends the editing: the caller receives the line.
    AcceptLine = "accept-line",
    /// Reads one more byte of an arrow key's sequence, and moves as the key says.
    ArrowKeyPrefix = "arrow-key-prefix",
    /// Moves the point one byte back.
    BackwardByte = "backward-byte",
    /// Moves the point one character back.
    BackwardChar = "backward-char",
    /// Deletes the character before the point; with an argument, kills as many.
    BackwardDeleteChar = "backward-delete-char",
    /// Kills from the point to the beginning of the line.
    BackwardKillLine = "backward-kill-line",
    /// Kills to the beginning of the word at or before the point. Words are letters and digits.
    BackwardKillWord = "backward-kill-word",
    /// Moves to the beginning of the word at or before the point.
    BackwardWord = "backward-word",
    /// Goes to the first line of the history.
    BeginningOfHistory = "beginning-of-history",
    /// Moves to the beginning of the line.
    BeginningOfLine = "beginning-of-line",
    /// Inserts the terminal's paste as text, up to the mark of its end.
    BracketedPasteBegin = "bracketed-paste-begin",
    /// Runs the last recorded macro.
    CallLastKbdMacro = "call-last-kbd-macro",
    /// Makes the first letter of the word upper case, the others lower case.
    CapitalizeWord = "capitalize-word",
    /// Reads a character and moves to its next place.
    CharacterSearch = "character-search",
    /// Reads a character and moves to its previous place.
    CharacterSearchBackward = "character-search-backward",
    /// Clears the screen and the scrollback, then draws the line at the top.
    ClearDisplay = "clear-display",
    /// Clears the screen and draws the line at the top; with an argument, only draws the line again.
    ClearScreen = "clear-screen",
    /// Completes the word before the point.
    Complete = "complete",
    /// Copies the word before the point to the kill ring. Not bound by default.
    CopyBackwardWord = "copy-backward-word",
    /// Copies the word after the point to the kill ring.
    CopyForwardWord = "copy-forward-word",
    /// Copies the text between point and mark to the kill ring.
    CopyRegionAsKill = "copy-region-as-kill",
    /// Deletes the character at the point. On an empty line the end-of-file key means the end of the input.
    DeleteChar = "delete-char",
    /// Deletes the character at the point; at the end of the line, lists the possible completions.
    DeleteCharOrList = "delete-char-or-list",
    /// Deletes the blanks and tabs around the point.
    DeleteHorizontalSpace = "delete-horizontal-space",
    /// Begins a numeric argument, or adds a digit to it; `-` begins a negative argument.
    DigitArgument = "digit-argument",
    /// Runs the command of the same key in lower case.
    DoLowercaseVersion = "do-lowercase-version",
    /// Makes the word lower case.
    DowncaseWord = "downcase-word",
    /// Writes every command with its keys; with an argument, in the form of an init file.
    DumpFunctions = "dump-functions",
    /// Writes every key that is bound to a macro; with an argument, in the form of an init file.
    DumpMacros = "dump-macros",
    /// Writes every variable with its value; with an argument, in the form of an init file.
    DumpVariables = "dump-variables",
    /// Changes to the emacs key bindings.
    EmacsEditingMode = "emacs-editing-mode",
    /// Ends the recording of a macro and keeps the macro.
    EndKbdMacro = "end-kbd-macro",
    /// Goes to the line that is being entered, below the history.
    EndOfHistory = "end-of-history",
    /// Moves to the end of the line.
    EndOfLine = "end-of-line",
    /// Swaps the point and the mark.
    ExchangePointAndMark = "exchange-point-and-mark",
    /// Goes to the line of the history with the number of the argument.
    FetchHistory = "fetch-history",
    /// Deletes the character at the point; at the end of the line, the character before the point.
    ForwardBackwardDeleteChar = "forward-backward-delete-char",
    /// Moves the point one byte forward.
    ForwardByte = "forward-byte",
    /// Moves the point one character forward.
    ForwardChar = "forward-char",
    /// Searches the history forwards, step by step as the text is typed.
    ForwardSearchHistory = "forward-search-history",
    /// Moves to the end of the word at or after the point.
    ForwardWord = "forward-word",
    /// Goes to the previous line of the history that begins with the text before the point.
    HistorySearchBackward = "history-search-backward",
    /// Goes to the next line of the history that begins with the text before the point.
    HistorySearchForward = "history-search-forward",
    /// Goes to the previous line of the history that contains the text before the point.
    HistorySubstringSearchBackward = "history-substring-search-backward",
    /// Goes to the next line of the history that contains the text before the point.
    HistorySubstringSearchForward = "history-substring-search-forward",
    /// Inserts the value of `comment-begin` before the line and accepts the line; with an argument, removes an existing
    /// comment.
    InsertComment = "insert-comment",
    /// Inserts every possible completion of the word before the point.
    InsertCompletions = "insert-completions",
    /// Kills from the point to the end of the line.
    KillLine = "kill-line",
    /// Kills the text between point and mark.
    KillRegion = "kill-region",
    /// Kills the whole line, wherever the point is.
    KillWholeLine = "kill-whole-line",
    /// Kills to the end of the word at or after the point.
    KillWord = "kill-word",
    /// Replaces the word by the next of its completions.
    MenuComplete = "menu-complete",
    /// Replaces the word by the previous of its completions.
    MenuCompleteBackward = "menu-complete-backward",
    /// Goes to the next line of the history.
    NextHistory = "next-history",
    /// Moves the point to the same column of the next row of the screen.
    NextScreenLine = "next-screen-line",
    /// Prompts for a text, then goes to the next line of the history that contains the text.
    NonIncrementalForwardSearchHistory = "non-incremental-forward-search-history",
    /// Searches forwards for the text of the last such search.
    NonIncrementalForwardSearchHistoryAgain = "non-incremental-forward-search-history-again",
    /// Prompts for a text, then goes to the previous line of the history that contains the text.
    NonIncrementalReverseSearchHistory = "non-incremental-reverse-search-history",
    /// Searches backwards for the text of the last such search.
    NonIncrementalReverseSearchHistoryAgain = "non-incremental-reverse-search-history-again",
    /// Replaces the word by the next of its completions, as older versions did: without the common prefix first.
    OldMenuComplete = "old-menu-complete",
    /// Accepts the line, and offers the line after it in the history as the next line.
    OperateAndGetNext = "operate-and-get-next",
    /// Switches between inserting and overwriting; a positive argument overwrites, any other inserts.
    OverwriteMode = "overwrite-mode",
    /// Lists the possible completions of the word before the point.
    PossibleCompletions = "possible-completions",
    /// Goes to the previous line of the history.
    PreviousHistory = "previous-history",
    /// Moves the point to the same column of the previous row of the screen.
    PreviousScreenLine = "previous-screen-line",
    /// Writes the last recorded macro in the form of an init file.
    PrintLastKbdMacro = "print-last-kbd-macro",
    /// Inserts the next key as it is.
    QuotedInsert = "quoted-insert",
    /// Reads the init file again. In vi mode, insertion begins, as by GNU readline.
    ReReadInitFile = "re-read-init-file",
    /// Draws the line again.
    RedrawCurrentLine = "redraw-current-line",
    /// Searches the history backwards, step by step as the text is typed.
    ReverseSearchHistory = "reverse-search-history",
    /// Undoes every change of the line.
    RevertLine = "revert-line",
    /// Inserts the key itself.
    SelfInsert = "self-insert",
    /// Sets the mark to the point; with an argument, to the position that the argument gives.
    SetMark = "set-mark",
    /// Reads the rest of a key's escape sequence and ignores the key. For a binding of `"\e["`.
    SkipCsiSequence = "skip-csi-sequence",
    /// Begins to record the keys as a macro.
    StartKbdMacro = "start-kbd-macro",
    /// Inserts a tab.
    TabInsert = "tab-insert",
    /// Replaces `~` or `~user` at the point by the home folder.
    TildeExpand = "tilde-expand",
    /// Exchanges the character before the point with the one at the point, and moves forward.
    TransposeChars = "transpose-chars",
    /// Exchanges the word before the point with the next word.
    TransposeWords = "transpose-words",
    /// Requests the terminal's status report if the system has one; Linux has none, so this rings the bell.
    TtyStatus = "tty-status",
    /// Undoes one change.
    Undo = "undo",
    /// Begins a numeric argument, or multiplies the argument by four.
    UniversalArgument = "universal-argument",
    /// Kills to the previous blank or slash.
    UnixFilenameRubout = "unix-filename-rubout",
    /// Kills from the point to the beginning of the line.
    UnixLineDiscard = "unix-line-discard",
    /// Kills to the previous blank.
    UnixWordRubout = "unix-word-rubout",
    /// Makes the word upper case.
    UpcaseWord = "upcase-word",
    /// Moves to the end of the line and enters insertion mode.
    ViAppendEol = "vi-append-eol",
    /// Enters insertion mode after the point.
    ViAppendMode = "vi-append-mode",
    /// Adds a digit to the argument.
    ViArgDigit = "vi-arg-digit",
    /// Moves to the beginning of the word at or before the point; words are separated by blanks.
    ViBWord = "vi-bWord",
    /// Moves to the first character that is not a blank.
    ViBackToIndent = "vi-back-to-indent",
    /// Moves back over a word; words are separated by blanks.
    ViBackwardBigword = "vi-backward-bigword",
    /// Moves back over a word.
    ViBackwardWord = "vi-backward-word",
    /// Moves to the beginning of the word at or before the point.
    ViBword = "vi-bword",
    /// Changes the case of the character at the point, and moves forward.
    ViChangeCase = "vi-change-case",
    /// Replaces the character at the point by the next key.
    ViChangeChar = "vi-change-char",
    /// Deletes the text over which the next key moves, and enters insertion mode.
    ViChangeTo = "vi-change-to",
    /// Searches for a character in the line: `f`, `F`, `t`, `T`, and `;` and `,` to repeat.
    ViCharSearch = "vi-char-search",
    /// Moves to the column of the argument.
    ViColumn = "vi-column",
    /// Completes the word, lists (`=`) or inserts (`*`) its completions.
    ViComplete = "vi-complete",
    /// Deletes the character at the point.
    ViDelete = "vi-delete",
    /// Deletes the text over which the next key moves.
    ViDeleteTo = "vi-delete-to",
    /// Moves to the end of the word; words are separated by blanks.
    ViEWord = "vi-eWord",
    /// Changes to the vi key bindings.
    ViEditingMode = "vi-editing-mode",
    /// Moves to the end of the word; words are separated by blanks.
    ViEndBigword = "vi-end-bigword",
    /// Moves to the end of the word: `e`, or `E` for words that blanks separate.
    ViEndWord = "vi-end-word",
    /// Accepts the line; on an empty line, ends the input.
    ViEofMaybe = "vi-eof-maybe",
    /// Moves to the end of the word.
    ViEword = "vi-eword",
    /// Moves to the beginning of the next word; words are separated by blanks.
    ViFWord = "vi-fWord",
    /// Goes to the line of the history with the number of the argument; without an argument, to the oldest.
    ViFetchHistory = "vi-fetch-history",
    /// Moves to the first character that is not a blank.
    ViFirstPrint = "vi-first-print",
    /// Moves forward to the next word; words are separated by blanks.
    ViForwardBigword = "vi-forward-bigword",
    /// Moves forward to the next word.
    ViForwardWord = "vi-forward-word",
    /// Moves to the beginning of the next word.
    ViFword = "vi-fword",
    /// Reads a letter and moves to the mark of that letter.
    ViGotoMark = "vi-goto-mark",
    /// Moves to the beginning of the line and enters insertion mode.
    ViInsertBeg = "vi-insert-beg",
    /// Enters insertion mode before the point.
    ViInsertionMode = "vi-insertion-mode",
    /// Moves to the bracket that matches the bracket at the point.
    ViMatch = "vi-match",
    /// Changes from insertion mode to the vi command mode.
    ViMovementMode = "vi-movement-mode",
    /// Moves to the beginning of the next word: `w`, or `W` for words that blanks separate.
    ViNextWord = "vi-next-word",
    /// Replaces characters with the typed ones.
    ViOverstrike = "vi-overstrike",
    /// Goes back over the text that was typed in replace mode, and restores the old characters.
    ViOverstrikeDelete = "vi-overstrike-delete",
    /// Moves to the beginning of the previous word: `b`, or `B` for words that blanks separate.
    ViPrevWord = "vi-prev-word",
    /// Inserts the killed text: `p` after the point, `P` before.
    ViPut = "vi-put",
    /// Repeats the last change.
    ViRedo = "vi-redo",
    /// Replaces characters until the escape key.
    ViReplace = "vi-replace",
    /// Deletes the character before the point.
    ViRubout = "vi-rubout",
    /// Prompts for a text and searches the history: `/` backwards, `?` forwards.
    ViSearch = "vi-search",
    /// Repeats the search: `n` in the same direction, `N` in the other.
    ViSearchAgain = "vi-search-again",
    /// Reads a letter and sets the mark of that letter to the point.
    ViSetMark = "vi-set-mark",
    /// Deletes the character (`s`) or the line (`S`), and enters insertion mode.
    ViSubst = "vi-subst",
    /// Expands `~` at the point, and enters insertion mode.
    ViTildeExpand = "vi-tilde-expand",
    /// Undoes one change.
    ViUndo = "vi-undo",
    /// Kills to the previous blank, by vi's definition of words.
    ViUnixWordRubout = "vi-unix-word-rubout",
    /// Inserts a word of the previous line of the history: the last word, or the word that the argument selects.
    ViYankArg = "vi-yank-arg",
    /// Replaces the text that was just put by an older killed text.
    ViYankPop = "vi-yank-pop",
    /// Copies the text over which the next key moves.
    ViYankTo = "vi-yank-to",
    /// Inserts the text that was killed last.
    Yank = "yank",
    /// Inserts the last word of the previous line of the history; if repeated, of the line before that.
    YankLastArg = "yank-last-arg",
    /// Inserts the second word of the previous line of the history, or the word that the argument selects.
    YankNthArg = "yank-nth-arg",
    /// Replaces the text that was just yanked by an older killed text.
    YankPop = "yank-pop",
}

impl Command {
    /// Finds a command by its name, ignoring case as GNU readline does. So the names `vi-bword`, `vi-eword` and
    /// `vi-fword` are found as `vi-bWord`, `vi-eWord` and `vi-fWord`, which come before them in the list.
    #[doc(alias = "rl_named_function")]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|command| command.name().eq_ignore_ascii_case(name)).copied()
    }

    /// Whether a key that is bound to one of the two commands is listed under the other one, too.
    pub(crate) fn same_function(self, other: Self) -> bool {
        let first = |command| match command {
            Self::ViBword | Self::ViBackwardBigword => Self::ViBWord,
            Self::ViEword | Self::ViEndBigword => Self::ViEWord,
            Self::ViFword | Self::ViForwardBigword => Self::ViFWord,
            other => other,
        };
        first(self) == first(other)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Command {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a name that no command has.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::from_name(name)
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, format!("{name:?} is not a command of the line editor")))
    }
}
