//! The variables that `set` changes in an init file: a field for each, with GNU readline's names, defaults and rules.

use std::borrow::Cow;
use std::time::Duration;

use super::keymap::KeymapName;
use super::keys;

/// The way in which the editor reports that a key's command is not possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BellStyle {
    /// No report.
    None,
    /// The screen flashes if the terminal supports it; otherwise the terminal rings its bell.
    Visible,
    /// The terminal rings its bell.
    #[default]
    Audible,
}

/// The set of keys that edit the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EditingMode {
    /// The keys of emacs.
    #[default]
    Emacs,
    /// The keys of vi.
    Vi,
}

/// The reason why [`Variables::set`] changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SetError {
    /// There is no variable with this name.
    UnknownName,
    /// The variable does not take this value.
    BadValue,
}

/// Defines the struct, and the table of the variables that are on or off.
macro_rules! variables {
    (
        switches { $($(#[$doc:meta])* $field:ident = $name:literal, $default:literal;)+ }
        others { $($(#[$other_doc:meta])* $other:ident: $type:ty = $value:expr;)+ }
    ) => {
        /// The value of every variable of an init file. Each field says what the variable does.
        ///
        /// ```
        /// use ossature::readline::{BellStyle, EditingMode, SetError, Variables};
        ///
        /// let mut variables = Variables::default();
        /// variables.set("Bell-Style", "none").unwrap();
        /// assert_eq!(variables.bell_style, BellStyle::None);
        /// assert_eq!(variables.get("completion-query-items").as_deref(), Some(&b"100"[..]));
        /// assert_eq!(variables.set("no-such-variable", "on"), Err(SetError::UnknownName));
        /// assert!(!variables.is_vi() && variables.editing_mode == EditingMode::Emacs);
        /// assert!(variables.iter().any(|(name, value)| name == "keyseq-timeout" && *value == *b"500"));
        /// assert!(Variables::seven_bits().convert_meta);
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Variables {
            $($(#[$doc])* #[doc = ""] #[doc = concat!("`", $name, "`")] pub $field: bool,)+
            $($(#[$other_doc])* pub $other: $type,)+
        }

        impl Default for Variables {
            /// Makes the defaults of GNU readline in a UTF-8 locale.
            fn default() -> Self {
                Self { $($field: $default,)+ $($other: $value,)+ }
            }
        }

        impl Variables {
            /// The names of the variables that are on or off.
            const SWITCHES: &'static [&'static str] = &[$($name,)+];

            fn switch(&mut self, name: &str) -> Option<&mut bool> {
                match name {
                    $($name => Some(&mut self.$field),)+
                    "meta-flag" => Some(&mut self.input_meta),
                    _ => None,
                }
            }

            fn is_on(&self, name: &str) -> Option<bool> {
                match name {
                    $($name => Some(self.$field),)+
                    "meta-flag" => Some(self.input_meta),
                    _ => None,
                }
            }
        }
    };
}

variables! {
    switches {
        /// The terminal's own characters for erase, kill, word erase and literal next are bound to their commands
        /// before each line.
        bind_tty_special_chars = "bind-tty-special-chars", true;
        /// The cursor moves to the opening bracket for a moment when the closing bracket is typed.
        blink_matching_paren = "blink-matching-paren", false;
        /// Commands count bytes instead of characters.
        byte_oriented = "byte-oriented", false;
        /// The common part of the listed completions is shown in a colour.
        colored_completion_prefix = "colored-completion-prefix", false;
        /// Listed completions are shown in the colour of their kind of file, from `LS_COLORS`.
        colored_stats = "colored-stats", false;
        /// File names are completed without regard to case.
        completion_ignore_case = "completion-ignore-case", false;
        /// While case is ignored, `-` and `_` are alike in file names.
        completion_map_case = "completion-map-case", false;
        /// A byte with the eighth bit set is read as the escape key and the byte without this bit.
        convert_meta = "convert-meta", false;
        /// Keys for completion insert themselves instead.
        disable_completion = "disable-completion", false;
        /// A signal from the keyboard shows its key: `^C`.
        echo_control_characters = "echo-control-characters", true;
        /// The text between point and mark is shown in reverse after a paste, a search or a yank.
        enable_active_region = "enable-active-region", true;
        /// The terminal marks its pastes, so that a paste is inserted as text and never run as keys.
        enable_bracketed_paste = "enable-bracketed-paste", true;
        /// The editor makes the terminal send the sequences of its keypad.
        enable_keypad = "enable-keypad", false;
        /// In GNU readline, the terminal sends the eighth bit with its meta key. As GNU readline does in a UTF-8
        /// locale, the editor sends the terminal nothing, whatever the value.
        enable_meta_key = "enable-meta-key", true;
        /// Completion replaces `~` by the home folder.
        expand_tilde = "expand-tilde", false;
        /// The point stays in its column from line to line of the history.
        history_preserve_point = "history-preserve-point", false;
        /// A long line stays on one row, which scrolls.
        horizontal_scroll_mode = "horizontal-scroll-mode", false;
        /// Bytes with the eighth bit set are read as they are. Without this variable they are too, as in GNU readline
        /// on every eight-bit terminal. The name `meta-flag` means the same variable.
        input_meta = "input-meta", true;
        /// A slash follows the name of a completed folder.
        mark_directories = "mark-directories", true;
        /// A star is shown before a line of the history that was changed.
        mark_modified_lines = "mark-modified-lines", false;
        /// A slash follows the name of a completed link to a folder.
        mark_symlinked_directories = "mark-symlinked-directories", false;
        /// Completion offers files whose names begin with a dot even if the dot was not typed.
        match_hidden_files = "match-hidden-files", true;
        /// The first menu completion shows the common prefix, and the list.
        menu_complete_display_prefix = "menu-complete-display-prefix", false;
        /// Bytes with the eighth bit set are shown as they are; otherwise as `\nnn` in octal. GNU readline shows the
        /// first byte of each character only.
        output_meta = "output-meta", true;
        /// A long list of completions stops at each screenful.
        page_completions = "page-completions", true;
        /// Requests the visible bell: setting this variable sets `bell-style`.
        prefer_visible_bell = "prefer-visible-bell", true;
        /// The list of completions is sorted along the rows, not down the columns.
        print_completions_horizontally = "print-completions-horizontally", false;
        /// The changed lines of the history are restored when a line is accepted.
        revert_all_at_newline = "revert-all-at-newline", false;
        /// Several completions are listed at once instead of a bell.
        show_all_if_ambiguous = "show-all-if-ambiguous", false;
        /// Several completions are listed at once if they have no common prefix.
        show_all_if_unmodified = "show-all-if-unmodified", false;
        /// The prompt begins with the string of the editing mode.
        show_mode_in_prompt = "show-mode-in-prompt", false;
        /// Text after the point that the completion contains too is not inserted again.
        skip_completed_text = "skip-completed-text", false;
        /// A character for the kind of file follows the names in a list of completions.
        visible_stats = "visible-stats", false;
    }
    others {
        /// The text before the highlighted region, `active-region-start-color`; `None` for reverse.
        active_region_start_color: Option<Vec<u8>> = None;
        /// The text after the highlighted region, `active-region-end-color`.
        active_region_end_color: Option<Vec<u8>> = None;
        /// The kind of bell, `bell-style`.
        bell_style: BellStyle = BellStyle::Audible;
        /// The text that `insert-comment` puts before the line, `comment-begin`.
        comment_begin: Vec<u8> = b"#".to_vec();
        /// The number of columns for a list of completions, `completion-display-width`. The screen's width if negative
        /// or wider than the screen; 0 for one completion a row.
        completion_display_width: i32 = -1;
        /// The maximum length of the common prefix of listed completions before an ellipsis replaces the prefix,
        /// `completion-prefix-display-length`; 0 for any length.
        completion_prefix_display_length: usize = 0;
        /// The minimum number of completions for which the editor asks before it lists them, `completion-query-items`;
        /// 0 for never.
        completion_query_items: usize = 100;
        /// The set of keys that edit the line, `editing-mode`. [`Variables::set`] sets the keymap with this variable.
        editing_mode: EditingMode = EditingMode::Emacs;
        /// The start of the prompt in emacs mode, `emacs-mode-string`.
        emacs_mode_string: Vec<u8> = b"@".to_vec();
        /// The maximum number of lines of the history in memory, `history-size`; `None` without a limit.
        history_size: Option<usize> = None;
        /// The keys that end an incremental search and are not run as commands, `isearch-terminators`; `None` for the
        /// escape key and `C-j`.
        isearch_terminators: Option<Vec<u8>> = None;
        /// The keymap for the bindings of an init file, `keymap`.
        keymap: KeymapName = KeymapName::Emacs;
        /// How long the editor waits for another key when the keys so far have a binding, `keyseq-timeout` in
        /// milliseconds; zero for no limit.
        keyseq_timeout: Duration = Duration::from_millis(500);
        /// The start of the prompt in vi's command mode, `vi-cmd-mode-string`.
        vi_cmd_mode_string: Vec<u8> = b"(cmd)".to_vec();
        /// The start of the prompt in vi's insertion mode, `vi-ins-mode-string`.
        vi_ins_mode_string: Vec<u8> = b"(ins)".to_vec();
    }
}

/// The names of the variables that have other values than on or off, in the order in which GNU readline lists them.
const OTHERS: &[&str] = &[
    "active-region-start-color",
    "active-region-end-color",
    "bell-style",
    "comment-begin",
    "completion-display-width",
    "completion-prefix-display-length",
    "completion-query-items",
    "editing-mode",
    "emacs-mode-string",
    "history-size",
    "isearch-terminators",
    "keymap",
    "keyseq-timeout",
    "vi-cmd-mode-string",
    "vi-ins-mode-string",
];

/// Reads a number at the beginning of the value, as C's `atoi` does: 0 if there is none. A number beyond an `i32` is
/// cut.
fn number(value: &[u8]) -> i32 {
    let value = value.trim_ascii_start();
    let (negative, digits) = match value {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        digits => (false, digits),
    };
    let digits = digits.iter().map_while(|&byte| char::from(byte).to_digit(10));
    let value = digits.fold(0_i32, |sum, digit| sum.saturating_mul(10).saturating_add(digit as i32));
    if negative { -value } else { value }
}

/// Reads a number; a negative number becomes 0.
fn count(value: &[u8]) -> usize {
    usize::try_from(number(value)).unwrap_or(0)
}

/// Returns the value of a text variable: without the blanks around, and without quotes. Ignores text after the closing
/// quote.
fn text(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    let [b'"', inside @ ..] = value else { return value };
    let mut escaped = false;
    let end = inside.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    &inside[..end.unwrap_or(inside.len())]
}

impl Variables {
    /// Makes the defaults outside a UTF-8 locale, where GNU readline reads and shows seven bits.
    pub fn seven_bits() -> Self {
        Self { convert_meta: true, input_meta: false, output_meta: false, ..Self::default() }
    }

    /// Whether the line is edited with the keys of vi.
    pub fn is_vi(&self) -> bool {
        self.editing_mode == EditingMode::Vi
    }

    /// Changes a variable as the line `set NAME VALUE` does, ignoring the name's case. A variable that is on or off is
    /// on for `on`, `1` and an empty value, and off for any other value.
    ///
    /// # Errors
    /// The variable does not exist, or the value is invalid. The variable keeps its value then.
    #[doc(alias = "rl_variable_bind")]
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), SetError> {
        let value = value.as_ref();
        let name = std::str::from_utf8(name.as_ref()).map_err(|_| SetError::UnknownName)?.to_ascii_lowercase();
        let Some(switch) = self.switch(&name) else { return self.set_other(&name, text(value)) };
        let word = value.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()).unwrap_or_default();
        let on = word.is_empty() || word == b"1" || word.eq_ignore_ascii_case(b"on");
        *switch = on;
        match name.as_str() {
            "prefer-visible-bell" => self.bell_style = if on { BellStyle::Visible } else { BellStyle::Audible },
            // Pasted text is shown as the region, so GNU readline sets both.
            "enable-bracketed-paste" => self.enable_active_region = on,
            _ => {}
        }
        Ok(())
    }

    fn set_other(&mut self, name: &str, value: &[u8]) -> Result<(), SetError> {
        let lower = value.to_ascii_lowercase();
        let translated = || keys::bytes(value, false);
        match name {
            "active-region-start-color" => {
                self.active_region_start_color = Some(translated()).filter(|it| !it.is_empty())
            }
            "active-region-end-color" => self.active_region_end_color = Some(translated()).filter(|it| !it.is_empty()),
            "bell-style" => {
                self.bell_style = match &lower[..] {
                    b"" | b"on" | b"audible" => BellStyle::Audible,
                    b"none" | b"off" => BellStyle::None,
                    b"visible" => BellStyle::Visible,
                    _ => return Err(SetError::BadValue),
                }
            }
            "comment-begin" if value.is_empty() => return Err(SetError::BadValue),
            "comment-begin" => self.comment_begin = value.to_vec(),
            "completion-display-width" => {
                self.completion_display_width = if value.is_empty() { -1 } else { number(value) }
            }
            "completion-prefix-display-length" => self.completion_prefix_display_length = count(value),
            "completion-query-items" => self.completion_query_items = if value.is_empty() { 100 } else { count(value) },
            "editing-mode" if lower.starts_with(b"vi") => {
                (self.editing_mode, self.keymap) = (EditingMode::Vi, KeymapName::ViInsert);
            }
            "editing-mode" if lower.starts_with(b"emacs") => {
                (self.editing_mode, self.keymap) = (EditingMode::Emacs, KeymapName::Emacs);
            }
            "editing-mode" => return Err(SetError::BadValue),
            "emacs-mode-string" => self.emacs_mode_string = translated(),
            "history-size" if value.is_empty() => self.history_size = Some(500),
            "history-size" => self.history_size = usize::try_from(number(value)).ok(),
            "isearch-terminators" => self.isearch_terminators = Some(translated()),
            "keymap" => {
                let name = std::str::from_utf8(value).ok().and_then(KeymapName::from_name);
                self.keymap = name.ok_or(SetError::BadValue)?;
            }
            "keyseq-timeout" => self.keyseq_timeout = Duration::from_millis(count(value) as u64),
            "vi-cmd-mode-string" => self.vi_cmd_mode_string = translated(),
            "vi-ins-mode-string" => self.vi_ins_mode_string = translated(),
            _ => return Err(SetError::UnknownName),
        }
        Ok(())
    }

    /// Returns the value of a variable as `dump-variables` shows it; `None` for an unknown name and for a variable
    /// without a value. Ignores the name's case.
    ///
    /// As GNU readline does, this shows 0 for a `history-size` without a limit.
    #[doc(alias = "rl_variable_value")]
    pub fn get(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let name = name.to_ascii_lowercase();
        if let Some(on) = self.is_on(&name) {
            return Some(Cow::Borrowed(if on { b"on" } else { b"off" }));
        }
        let number = |value: &dyn ToString| Cow::Owned(value.to_string().into_bytes());
        Some(match name.as_str() {
            "active-region-start-color" => Cow::Borrowed(self.active_region_start_color.as_ref()?),
            "active-region-end-color" => Cow::Borrowed(self.active_region_end_color.as_ref()?),
            "bell-style" => Cow::Borrowed(match self.bell_style {
                BellStyle::None => b"none",
                BellStyle::Visible => b"visible",
                BellStyle::Audible => b"audible",
            }),
            "comment-begin" => Cow::Borrowed(&self.comment_begin),
            "completion-display-width" => number(&self.completion_display_width),
            "completion-prefix-display-length" => number(&self.completion_prefix_display_length),
            "completion-query-items" => number(&self.completion_query_items),
            "editing-mode" => Cow::Borrowed(if self.is_vi() { b"vi" } else { b"emacs" }),
            "emacs-mode-string" => Cow::Borrowed(&self.emacs_mode_string),
            "history-size" => number(&self.history_size.unwrap_or(0)),
            "isearch-terminators" => {
                let mut shown = Vec::new();
                keys::macro_notation(self.isearch_terminators.as_ref()?, &mut shown);
                Cow::Owned(shown)
            }
            "keymap" => Cow::Borrowed(self.keymap.name().as_bytes()),
            "keyseq-timeout" => number(&self.keyseq_timeout.as_millis()),
            "vi-cmd-mode-string" => Cow::Borrowed(&self.vi_cmd_mode_string),
            "vi-ins-mode-string" => Cow::Borrowed(&self.vi_ins_mode_string),
            _ => return None,
        })
    }

    /// Returns all variables that have a value, with the value, in the order in which GNU readline lists them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Cow<'_, [u8]>)> {
        let at = Self::SWITCHES.partition_point(|&name| name < "meta-flag");
        let switches = Self::SWITCHES[..at].iter().chain(&["meta-flag"]).chain(&Self::SWITCHES[at..]);
        switches.chain(OTHERS).filter_map(|&name| Some((name, self.get(name)?)))
    }

    /// Returns the output of `dump-variables`: every variable, in words or in the form of an init file.
    pub(crate) fn dump(&self, as_init_file: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in self.iter() {
            let (before, middle, after) = if as_init_file { ("set ", " ", "\n") } else { ("", " is set to `", "'\n") };
            out.extend([before.as_bytes(), name.as_bytes(), middle.as_bytes(), &value, after.as_bytes()].concat());
        }
        out
    }
}
