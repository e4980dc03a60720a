//! The default bindings of every editor: those of GNU readline 8.2 on a terminal like xterm.

use super::{Binding, Keymap, Keymaps};
use crate::readline::command::Command::{self, *};

/// The keys that send a sequence, which are the same in every keymap.
const SPECIAL_KEYS: &[(&[u8], Command)] = &[
    (b"\x1b[A", PreviousHistory),
    (b"\x1bOA", PreviousHistory),
    (b"\x1b[B", NextHistory),
    (b"\x1bOB", NextHistory),
    (b"\x1b[C", ForwardChar),
    (b"\x1bOC", ForwardChar),
    (b"\x1b[D", BackwardChar),
    (b"\x1bOD", BackwardChar),
    (b"\x1b[H", BeginningOfLine),
    (b"\x1bOH", BeginningOfLine),
    (b"\x1b[F", EndOfLine),
    (b"\x1bOF", EndOfLine),
    (b"\x1b[1;3C", ForwardWord),
    (b"\x1b[1;5C", ForwardWord),
    (b"\x1b[1;3D", BackwardWord),
    (b"\x1b[1;5D", BackwardWord),
    (b"\x1b[2~", OverwriteMode),
    (b"\x1b[3~", DeleteChar),
    (b"\x1b[3;5~", KillWord),
    (b"\x1b[5~", HistorySearchBackward),
    (b"\x1b[6~", HistorySearchForward),
];

/// The emacs keymap, except for letters that insert themselves and the digits of arguments.
const EMACS: &[(&[u8], Command)] = &[
    (b"\0", SetMark),
    (b"\x01", BeginningOfLine),
    (b"\x02", BackwardChar),
    (b"\x04", DeleteChar),
    (b"\x05", EndOfLine),
    (b"\x06", ForwardChar),
    (b"\x07", Abort),
    (b"\x08", BackwardDeleteChar),
    (b"\t", Complete),
    (b"\n", AcceptLine),
    (b"\x0b", KillLine),
    (b"\x0c", ClearScreen),
    (b"\r", AcceptLine),
    (b"\x0e", NextHistory),
    (b"\x0f", OperateAndGetNext),
    (b"\x10", PreviousHistory),
    (b"\x11", QuotedInsert),
    (b"\x12", ReverseSearchHistory),
    (b"\x13", ForwardSearchHistory),
    (b"\x14", TransposeChars),
    (b"\x15", UnixLineDiscard),
    (b"\x16", QuotedInsert),
    (b"\x17", UnixWordRubout),
    (b"\x19", Yank),
    (b"\x1d", CharacterSearch),
    (b"\x1f", Undo),
    (b"\x7f", BackwardDeleteChar),
    (b"\x18\x07", Abort),
    (b"\x18\x12", ReReadInitFile),
    (b"\x18\x15", Undo),
    (b"\x18\x18", ExchangePointAndMark),
    (b"\x18(", StartKbdMacro),
    (b"\x18)", EndKbdMacro),
    (b"\x18e", CallLastKbdMacro),
    (b"\x18\x7f", BackwardKillLine),
    (b"\x1b\x07", Abort),
    (b"\x1b\x08", BackwardKillWord),
    (b"\x1b\t", TabInsert),
    (b"\x1b\n", ViEditingMode),
    (b"\x1b\x0c", ClearDisplay),
    (b"\x1b\r", ViEditingMode),
    (b"\x1b\x12", RevertLine),
    (b"\x1b\x19", YankNthArg),
    (b"\x1b\x1b", Complete),
    (b"\x1b\x1d", CharacterSearchBackward),
    (b"\x1b ", SetMark),
    (b"\x1b#", InsertComment),
    (b"\x1b&", TildeExpand),
    (b"\x1b*", InsertCompletions),
    (b"\x1b-", DigitArgument),
    (b"\x1b.", YankLastArg),
    (b"\x1b<", BeginningOfHistory),
    (b"\x1b=", PossibleCompletions),
    (b"\x1b>", EndOfHistory),
    (b"\x1b?", PossibleCompletions),
    (b"\x1b\\", DeleteHorizontalSpace),
    (b"\x1b_", YankLastArg),
    (b"\x1bb", BackwardWord),
    (b"\x1bc", CapitalizeWord),
    (b"\x1bd", KillWord),
    (b"\x1bf", ForwardWord),
    (b"\x1bl", DowncaseWord),
    (b"\x1bn", NonIncrementalForwardSearchHistory),
    (b"\x1bp", NonIncrementalReverseSearchHistory),
    (b"\x1br", RevertLine),
    (b"\x1bt", TransposeWords),
    (b"\x1bu", UpcaseWord),
    (b"\x1by", YankPop),
    (b"\x1b~", TildeExpand),
    (b"\x1b\x7f", BackwardKillWord),
];

/// The keymap of vi's insertion mode, except for keys that insert themselves.
const VI_INSERT: &[(&[u8], Command)] = &[
    (b"\x04", ViEofMaybe),
    (b"\x08", BackwardDeleteChar),
    (b"\t", Complete),
    (b"\n", AcceptLine),
    (b"\r", AcceptLine),
    (b"\x0e", MenuComplete),
    (b"\x10", MenuCompleteBackward),
    (b"\x12", ReverseSearchHistory),
    (b"\x13", ForwardSearchHistory),
    (b"\x14", TransposeChars),
    (b"\x15", UnixLineDiscard),
    (b"\x16", QuotedInsert),
    (b"\x17", ViUnixWordRubout),
    (b"\x19", Yank),
    (b"\x1b", ViMovementMode),
    (b"\x1f", ViUndo),
    (b"\x7f", BackwardDeleteChar),
];

/// The control keys that insert themselves in vi's insertion mode.
const VI_INSERTED: &[u8] = b"\x01\x02\x03\x05\x06\x07\x0b\x0c\x0f\x11\x18\x1a\x1c\x1d\x1e";

/// The keymap of vi's command mode, except for the digits of arguments.
const VI_COMMAND: &[(&[u8], Command)] = &[
    (b"\x04", ViEofMaybe),
    (b"\x05", EmacsEditingMode),
    (b"\x07", Abort),
    (b"\x08", BackwardChar),
    (b"\n", AcceptLine),
    (b"\x0b", KillLine),
    (b"\x0c", ClearScreen),
    (b"\r", AcceptLine),
    (b"\x0e", NextHistory),
    (b"\x10", PreviousHistory),
    (b"\x11", QuotedInsert),
    (b"\x12", ReverseSearchHistory),
    (b"\x13", ForwardSearchHistory),
    (b"\x14", TransposeChars),
    (b"\x15", UnixLineDiscard),
    (b"\x16", QuotedInsert),
    (b"\x17", ViUnixWordRubout),
    (b"\x19", Yank),
    (b"\x1f", ViUndo),
    (b" ", ForwardChar),
    (b"#", InsertComment),
    (b"$", EndOfLine),
    (b"%", ViMatch),
    (b"&", ViTildeExpand),
    (b"*", ViComplete),
    (b"+", NextHistory),
    (b",", ViCharSearch),
    (b"-", PreviousHistory),
    (b".", ViRedo),
    (b"/", ViSearch),
    (b"0", BeginningOfLine),
    (b";", ViCharSearch),
    (b"=", ViComplete),
    (b"?", ViSearch),
    (b"A", ViAppendEol),
    (b"B", ViPrevWord),
    (b"C", ViChangeTo),
    (b"D", ViDeleteTo),
    (b"E", ViEndWord),
    (b"F", ViCharSearch),
    (b"G", ViFetchHistory),
    (b"I", ViInsertBeg),
    (b"N", ViSearchAgain),
    (b"P", ViPut),
    (b"R", ViReplace),
    (b"S", ViSubst),
    (b"T", ViCharSearch),
    (b"U", RevertLine),
    (b"W", ViNextWord),
    (b"X", ViRubout),
    (b"Y", ViYankTo),
    (b"\\", ViComplete),
    (b"^", ViFirstPrint),
    (b"_", ViYankArg),
    (b"`", ViGotoMark),
    (b"a", ViAppendMode),
    (b"b", ViPrevWord),
    (b"c", ViChangeTo),
    (b"d", ViDeleteTo),
    (b"e", ViEndWord),
    (b"f", ViCharSearch),
    (b"h", BackwardChar),
    (b"i", ViInsertionMode),
    (b"j", NextHistory),
    (b"k", PreviousHistory),
    (b"l", ForwardChar),
    (b"m", ViSetMark),
    (b"n", ViSearchAgain),
    (b"p", ViPut),
    (b"r", ViChangeChar),
    (b"s", ViSubst),
    (b"t", ViCharSearch),
    (b"u", ViUndo),
    (b"w", ViNextWord),
    (b"x", ViDelete),
    (b"y", ViYankTo),
    (b"|", ViColumn),
    (b"~", ViChangeCase),
];

impl Keymap {
    fn bind_all(&mut self, table: &[(&[u8], Command)]) {
        for &(keys, command) in table {
            self.bind(keys, Some(Binding::Command(command)));
        }
    }

    fn bind_each(&mut self, prefix: &[u8], keys: impl IntoIterator<Item = u8>, command: Command) {
        for key in keys {
            self.bind(&[prefix, &[key]].concat(), Some(Binding::Command(command)));
        }
    }
}

impl Default for Keymaps {
    /// Makes the default keymaps of GNU readline.
    fn default() -> Self {
        let (mut emacs, mut vi_insert, mut vi_command) = (Keymap::default(), Keymap::default(), Keymap::default());
        for map in [&mut emacs, &mut vi_insert, &mut vi_command] {
            map.bind_all(SPECIAL_KEYS);
        }
        for map in [&mut emacs, &mut vi_insert] {
            map.bind_all(&[(b"\x1b[200~", BracketedPasteBegin)]);
        }
        emacs.bind_each(b"", (b' '..=b'~').chain(0x80..=0xff), SelfInsert);
        emacs.bind_each(b"\x1b", b'0'..=b'9', DigitArgument);
        // `O` begins the sequences of special keys.
        emacs.bind_each(b"\x1b", (b'A'..=b'Z').filter(|&key| key != b'O'), DoLowercaseVersion);
        emacs.bind_each(b"\x18", b'A'..=b'Z', DoLowercaseVersion);
        emacs.bind_all(EMACS);
        vi_insert.bind_each(b"", (b' '..=b'~').chain(0x80..=0xff), SelfInsert);
        vi_insert.bind_each(b"", VI_INSERTED.iter().copied(), SelfInsert);
        vi_insert.bind_all(VI_INSERT);
        vi_command.bind_each(b"", b'1'..=b'9', ViArgDigit);
        vi_command.bind_all(VI_COMMAND);
        Self { emacs, vi_insert, vi_command }
    }
}

impl Keymaps {
    /// Binds Home and End on terminals that send other sequences for these keys than xterm does.
    pub(crate) fn bind_terminal(&mut self, terminal: &str) {
        let (home, end): (&[u8], &[u8]) = match terminal.split('-').next() {
            Some("linux" | "screen" | "tmux") => (b"\x1b[1~", b"\x1b[4~"),
            Some("rxvt") => (b"\x1b[7~", b"\x1b[8~"),
            _ => return,
        };
        for map in [&mut self.emacs, &mut self.vi_insert, &mut self.vi_command] {
            map.bind_all(&[(home, BeginningOfLine), (end, EndOfLine)]);
        }
    }
}
