//! Miscellaneous commands, the table of all commands, and the hooks.

use super::mode::Mode;
use super::text::Case;
use super::words::word_end;
use super::{Argument, Clear, LineEnd, Machine, Map, vi};
use crate::readline::command::Command;
use crate::readline::complete::{CompletionKind, expand_tilde};
use crate::readline::hooks::{Context, Lent, Validation};
use crate::readline::keys;
use crate::readline::undo::Line;
use crate::readline::variables::{EditingMode, Variables};

/// Writes the numeric argument into the message.
pub(super) fn say_argument(message: &mut Vec<u8>, argument: Argument) {
    use std::io::Write as _;
    message.clear();
    let _ = write!(message, "(arg: {}) ", argument.count()); // a vector takes all
}

impl Machine {
    /// Runs a command.
    pub(super) fn execute(&mut self, command: Command, count: i32, key: u8) {
        use Command::*;
        match command {
            SelfInsert => self.self_insert(count, key),
            ForwardChar => self.forward_char(count),
            BackwardChar => self.backward_char(count),
            ForwardByte => self.forward_byte(count),
            BackwardByte => self.forward_byte(count.saturating_neg()),
            ForwardWord => self.forward_word(count),
            BackwardWord => self.forward_word(count.saturating_neg()),
            BeginningOfLine => self.beginning_of_line(),
            EndOfLine => self.end_of_line(),
            PreviousScreenLine => self.next_screen_line(-1),
            NextScreenLine => self.next_screen_line(1),
            CharacterSearch => self.character_search(count, true),
            CharacterSearchBackward => self.character_search(count, false),
            ClearScreen => self.clear(Clear::Screen),
            ClearDisplay => self.clear(Clear::Display),
            RedrawCurrentLine => self.clear(Clear::Line),

            AcceptLine => self.accept_line(),
            PreviousHistory => self.previous_history(count),
            NextHistory => self.next_history(count),
            BeginningOfHistory => self.beginning_of_history(),
            EndOfHistory => self.end_of_history(),
            FetchHistory => self.fetch_history(count),
            OperateAndGetNext => self.operate_and_get_next(count),
            ReverseSearchHistory => self.search_incrementally(count >= 0),
            ForwardSearchHistory => self.search_incrementally(count < 0),
            NonIncrementalReverseSearchHistory => self.search_for_string(true, b':', false),
            NonIncrementalForwardSearchHistory => self.search_for_string(false, b':', false),
            NonIncrementalReverseSearchHistoryAgain => self.search_again(true, false),
            NonIncrementalForwardSearchHistoryAgain => self.search_again(false, false),
            HistorySearchBackward => self.search_prefix(count, true, true),
            HistorySearchForward => self.search_prefix(count, false, true),
            HistorySubstringSearchBackward => self.search_prefix(count, true, false),
            HistorySubstringSearchForward => self.search_prefix(count, false, false),
            YankNthArg => self.yank_nth_arg(count),
            YankLastArg => self.yank_last_arg(count),

            DeleteChar => self.delete_char(count),
            BackwardDeleteChar => self.backward_delete_char(count),
            ForwardBackwardDeleteChar if self.line.is_at_end() => self.backward_delete_char(count),
            ForwardBackwardDeleteChar => self.delete_char(count),
            DeleteCharOrList if !self.line.is_empty() && self.line.is_at_end() => {
                self.complete_as(CompletionKind::List)
            }
            DeleteCharOrList => self.delete_char(count),
            QuotedInsert => self.quoted_insert(count),
            TabInsert => self.insert_byte(count, b'\t'),
            BracketedPasteBegin => self.begin_paste(),
            TransposeChars => self.transpose_chars(count),
            TransposeWords => self.transpose_words(count),
            UpcaseWord => self.change_case(count, Case::Upper),
            DowncaseWord => self.change_case(count, Case::Lower),
            CapitalizeWord => self.change_case(count, Case::Capital),
            OverwriteMode => self.overwrite_mode(count),
            InsertComment => self.insert_comment(),
            TildeExpand => self.tilde_expand(),

            KillLine => self.kill_line(count),
            BackwardKillLine => self.backward_kill_line(count),
            UnixLineDiscard => self.unix_line_discard(),
            KillWholeLine => self.kill_whole_line(),
            KillWord => self.kill_word(count),
            BackwardKillWord => self.kill_word(count.saturating_neg()),
            UnixWordRubout => self.unix_word_rubout(count),
            UnixFilenameRubout => self.unix_filename_rubout(count),
            DeleteHorizontalSpace => self.delete_horizontal_space(),
            KillRegion => self.kill_region(),
            CopyRegionAsKill => self.copy_region(),
            CopyForwardWord => self.copy_word(count),
            CopyBackwardWord => self.copy_word(count.saturating_neg()),
            Yank => self.yank(),
            YankPop => self.yank_pop(),
            SetMark => self.set_mark(count),
            ExchangePointAndMark => self.exchange_point_and_mark(),
            Undo => self.undo(count),
            RevertLine => self.revert_line(),

            DigitArgument => self.digit_argument(key),
            UniversalArgument => self.universal_argument(),
            StartKbdMacro => self.start_macro(),
            EndKbdMacro => self.end_macro(count),
            CallLastKbdMacro => self.call_macro(count),
            PrintLastKbdMacro => self.print_macro(),

            Complete => self.complete(count, key),
            PossibleCompletions => self.complete_as(CompletionKind::List),
            InsertCompletions => self.complete_as(CompletionKind::InsertAll),
            MenuComplete => self.menu_complete(count, key, false),
            MenuCompleteBackward => self.menu_complete(count.saturating_neg(), key, false),
            OldMenuComplete => self.menu_complete(count, key, true),

            Abort => self.abort(),
            DoLowercaseVersion => {} // dispatch never runs it
            ReReadInitFile => self.read_init_file_again(),
            SkipCsiSequence => self.mode = Mode::Csi,
            ArrowKeyPrefix => self.mode = Mode::Arrow(count),
            DumpFunctions => self.dump(Dump::Functions),
            DumpVariables => self.dump(Dump::Variables),
            DumpMacros => self.dump(Dump::Macros),
            EmacsEditingMode => self.set_editing_mode(EditingMode::Emacs),
            ViEditingMode => self.set_editing_mode(EditingMode::Vi),
            TtyStatus => self.ding(), // Linux has no such character
            _ => {
                if !vi::execute(self, command, count, key) {
                    self.ding();
                }
            }
        }
    }

    /// Accepts the line, if the validator allows; the caller then receives it.
    pub(super) fn accept_line(&mut self) {
        if let Some(validator) = &mut self.hooks.validator {
            match validator(&self.line.text_lossy()) {
                Validation::Complete => {}
                Validation::Incomplete => return self.line.insert(b"\n"),
                Validation::Invalid(why) => {
                    self.effects.below.extend_from_slice(why.as_bytes());
                    self.effects.below.push(b'\n');
                    return self.ding();
                }
            }
        }
        self.keep_history_point();
        vi::accepted(self);
        self.finish(LineEnd::Accepted);
    }

    pub(super) fn csi_key(&mut self, byte: u8) {
        if (0x20..0x40).contains(&byte) {
            self.mode = Mode::Csi;
        }
    }

    pub(super) fn arrow_key(&mut self, count: i32, byte: u8) {
        match byte.to_ascii_uppercase() {
            b'A' => self.previous_history(count),
            b'B' => self.next_history(count),
            b'C' => self.forward_char(count),
            b'D' => self.backward_char(count),
            b'[' | b'O' => self.mode = Mode::Arrow(count),
            _ => self.ding(),
        }
    }

    fn set_editing_mode(&mut self, mode: EditingMode) {
        self.settings.variables.editing_mode = mode;
        self.overwrites = false;
        match mode {
            EditingMode::Vi => vi::enter(self),
            _ => self.map = Map::Emacs,
        }
        self.settings.variables.keymap = self.keymap_name();
    }

    /// Returns the text of `show-mode-in-prompt`.
    pub(super) fn mode_in_prompt(&self) -> &[u8] {
        let variables = &self.settings.variables;
        match self.map {
            _ if !variables.show_mode_in_prompt => b"",
            Map::Emacs => &variables.emacs_mode_string,
            Map::ViInsert => &variables.vi_ins_mode_string,
            Map::ViCommand => &variables.vi_cmd_mode_string,
        }
    }

    fn start_macro(&mut self) {
        if self.recording.is_some() {
            return self.abort();
        }
        // With an argument the new macro continues the last one, which is played first.
        let before = if self.argument.explicit { std::mem::take(&mut self.recorded) } else { Vec::new() };
        if !before.is_empty() && self.input.play(&before).is_err() {
            return self.abort();
        }
        // The keys that the last macro plays are recorded as well, as in GNU readline.
        self.recording = Some(before.repeat(2));
    }

    fn end_macro(&mut self, count: i32) {
        let Some(mut recording) = self.recording.take() else { return self.abort() };
        recording.truncate(recording.len().saturating_sub(self.sequence_length));
        self.recorded = recording;
        if count > 1 {
            self.call_macro(count - 1);
        }
    }

    fn call_macro(&mut self, count: i32) {
        if self.recorded.is_empty() && self.recording.is_none() {
            return self.abort();
        }
        if let Some(recording) = &mut self.recording {
            recording.truncate(recording.len().saturating_sub(self.sequence_length));
            return self.ding();
        }
        let text = std::mem::take(&mut self.recorded);
        let played = (0..count.max(0)).try_for_each(|_| self.input.play(&text));
        self.recorded = text;
        if played.is_err() {
            self.abort();
        }
    }

    fn print_macro(&mut self) {
        if self.recorded.is_empty() {
            return self.ding();
        }
        let quote: &[u8] = if self.argument.explicit { b"\"" } else { b"" };
        self.effects.below.extend_from_slice(quote);
        keys::macro_notation(&self.recorded, &mut self.effects.below);
        self.effects.below.extend_from_slice(quote);
        self.effects.below.push(b'\n');
    }

    fn dump(&mut self, what: Dump) {
        let as_init_file = self.argument.explicit;
        let (settings, keymap) = (&self.settings, self.keymap_name());
        let convert_meta = settings.variables.convert_meta;
        let text = match what {
            Dump::Functions => settings.keymaps.dump_functions(keymap, as_init_file, convert_meta),
            Dump::Macros => settings.keymaps.dump_macros(keymap, as_init_file, convert_meta),
            Dump::Variables => Variables { keymap, ..settings.variables.clone() }.dump(as_init_file),
        };
        self.effects.below.extend_from_slice(&text);
        // If there is nothing to show, the line is still drawn below.
        self.effects.leave |= text.is_empty();
    }

    fn tilde_expand(&mut self) {
        let text = self.line.text();
        let point = self.line.point();
        let is_part = |byte: &u8| !super::words::is_blank(*byte);
        // A tilde right before the point begins the expanded word, whatever precedes the tilde.
        let start = match text[..point] {
            [.., b'~'] => point - 1,
            _ => point - text[..point].iter().rev().take_while(|byte| is_part(byte)).count(),
        };
        let end = point + text[point..].iter().take_while(|byte| is_part(byte)).count();
        if let Some(path) = expand_tilde(&text[start..end]) {
            self.line.begin_group();
            self.line.delete(start, end);
            self.line.set_point(start);
            self.line.insert(&path);
            self.line.end_group();
        }
    }

    fn read_init_file_again(&mut self) {
        let complaints: Vec<String> = match self.settings.read_init_file(None) {
            Ok(bad) => bad.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        };
        // As in GNU readline: the editing mode, which the file may have changed, restarts in its insertion.
        self.map = self.first_map();
        self.settings.variables.keymap = self.keymap_name();
        self.effects.settings = true;
        for complaint in complaints {
            self.effects.below.extend_from_slice(complaint.as_bytes());
            self.effects.below.push(b'\n');
        }
    }

    pub(super) fn run_startup_hook(&mut self) {
        let mut lent = Lent::take(self, |machine| &mut machine.hooks.startup);
        if let (machine, Some(hook)) = lent.both() {
            hook(&mut Context::new(&mut machine.line));
        }
    }

    /// Runs the last hook before the first key, after the prompt was shown.
    pub(crate) fn run_pre_input_hook(&mut self) {
        let mut lent = Lent::take(self, |machine| &mut machine.hooks.pre_input);
        if let (machine, Some(hook)) = lent.both() {
            hook(&mut Context::new(&mut machine.line));
        }
    }

    /// Calls the hinter and the highlighter. The caller does this before it draws the [`view`](Self::view).
    pub(crate) fn refresh(&mut self) {
        self.hint.clear();
        self.highlighted = None;
        if self.active && self.line.is_at_end() && !self.line.is_empty() {
            if let Some(hinter) = &mut self.hooks.hinter {
                if let Some(hint) = hinter(&self.line.text_lossy()) {
                    self.hint.extend_from_slice(hint.as_bytes());
                }
            }
        }
        if let Some(highlighter) = &mut self.hooks.highlighter {
            if let Ok(text) = std::str::from_utf8(self.line.text()) {
                self.highlighted = Some(highlighter(text, self.line.point()).into_bytes());
            }
        }
    }

    /// Accepts the hint for a forward move at the end of the line. Returns whether there was one.
    pub(super) fn accept_hint(&mut self) -> bool {
        let hint = std::mem::take(&mut self.hint);
        self.line.insert(&hint);
        let taken = !hint.is_empty();
        self.hint = hint;
        self.hint.clear();
        taken
    }

    /// Accepts the next word of the hint. Returns whether there was one.
    pub(super) fn accept_hint_word(&mut self) -> bool {
        if self.hint.is_empty() {
            return false;
        }
        let from = self.line.len();
        let mut whole = Line::default();
        whole.show(&[self.line.text(), &self.hint].concat());
        let hint = std::mem::take(&mut self.hint);
        self.line.insert(&hint[..word_end(&whole, from, 1) - from]);
        true
    }
}

/// The content of a dump.
enum Dump {
    Functions,
    Variables,
    Macros,
}
