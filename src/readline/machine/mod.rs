//! The editor without a terminal: its input is bytes, its output a [`View`] and finally a line.
//!
//! | file | contents |
//! | --- | --- |
//! | `input` | the bytes in the order of reading: bytes pushed back, bytes of macros, typed bytes |
//! | `dispatch` | the mapping of bytes to commands; numeric arguments, timeouts |
//! | `mode`, `state` | the receiver of the next byte; the data kept from command to command |
//! | `movement`, `text`, `killing`, `past`, `nonincremental`, `incremental`, `completion`, `menu`, `misc` | the commands |
//! | `words` | the bounds of words |
//! | `vi` | the commands of vi mode |
//! | `view` | the contents of the screen |
//!
//! A command that reads more keys puts the machine into another [`Mode`], which takes the next byte.

mod completion;
mod dispatch;
mod incremental;
mod input;
mod killing;
mod menu;
mod misc;
mod mode;
mod movement;
mod nonincremental;
mod past;
mod state;
mod text;
mod vi;
mod view;
mod words;

use std::time::Duration;

use ossature_sys::tty::SpecialCharacters;

pub(crate) use view::{Clear, Effects, View};

use super::command::Command;
use super::complete::CompletionKind;
use super::history::History;
use super::hooks::Hooks;
use super::inputrc::Settings;
use super::keymap::{Binding, Keymap, KeymapName};
use super::kill::KillRing;
use super::undo::{Line, Undo};
use input::{Input, Partial};
use mode::Mode;
use state::{CompletionState, Past, Searched, ViState};

/// The maximum numeric argument; a larger one is refused.
const MOST_COUNT: i32 = 1_000_000;

/// The maximum number of bytes that one command inserts, however large its numeric argument.
const MOST_INSERTED: usize = 4 << 20;

/// How long `blink-matching-paren` shows the opening parenthesis.
const BLINK: Duration = Duration::from_millis(500);

/// The maximum number of characters that one command overwrites.
const MOST_OVERWRITTEN: usize = 1 << 16;

/// The state of the line after some bytes. See the example of [`Editor`](crate::readline::Editor).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the line may be complete"]
pub enum Step {
    /// The line is not complete: feed more bytes.
    More,
    /// The line was accepted. It has no newline at its end.
    Line(Vec<u8>),
    /// The end of input: `C-d` on an empty line.
    Eof,
    /// The line was interrupted and discarded.
    Interrupted,
}

/// How the line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Accepted,
    Eof,
    Interrupted,
}

/// The keymap in which the next key is looked up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Map {
    #[default]
    Emacs,
    ViInsert,
    ViCommand,
}

/// The numeric argument of the next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Argument {
    value: i32,
    negative: bool,
    /// Whether digits or a minus were typed.
    explicit: bool,
}

impl Argument {
    const NONE: Self = Self { value: 1, negative: false, explicit: false };

    fn count(self) -> i32 {
        if self.negative { -self.value } else { self.value }
    }
}

impl Default for Argument {
    fn default() -> Self {
        Self::NONE
    }
}

/// The state machine. Its state changes only by bytes and by the caller's method calls.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(super) settings: Settings,
    pub(super) history: History,
    pub(super) hooks: Hooks,
    pub(super) effects: Effects,
    special: Special,
    pub(super) quirks: Quirks,

    line: Line,
    prompt: Vec<u8>,
    message: Vec<u8>,
    kills: KillRing,
    input: Input,
    mode: Mode,
    map: Map,
    /// Whether a line has begun and has not ended.
    active: bool,
    end: Option<LineEnd>,

    /// The keys of the command that is being typed.
    keys: Vec<u8>,
    /// The number of keys of the current command.
    sequence_length: usize,
    argument: Argument,
    /// Whether the next command takes the numeric argument of the search that its keys have ended.
    keeps_argument: bool,
    /// Whether the current command was cancelled.
    aborted: bool,
    /// The previous command, for the commands that continue it.
    last: Option<Command>,
    /// Whether the previous command was a kill, so that another kill extends it.
    killed: bool,
    /// Whether the current command is a kill.
    kills_now: bool,
    overwrites: bool,
    /// Whether the region is shown, by the previous or the current command.
    region_active: bool,
    region_kept: bool,
    /// The bytes of an incomplete UTF-8 character, how often to insert it, and whether the count was typed.
    partial: Partial,
    partial_count: i32,
    partial_explicit: bool,

    /// The keyboard macro that is being recorded, and the last recorded macro.
    recording: Option<Vec<u8>>,
    recorded: Vec<u8>,

    past: Past,
    searched: Searched,
    isearched: Vec<u8>,
    completion: CompletionState,
    columns: usize,
    rows: usize,
    vi: ViState,

    /// The line as the highlighter coloured it, and the hint, for the view.
    highlighted: Option<Vec<u8>>,
    hint: Vec<u8>,
    /// The text of the current paste so far.
    pasted: Vec<u8>,
    /// The opening parenthesis that the last key has closed: `blink-matching-paren` shows the cursor here.
    blink: Option<usize>,
}

/// The terminal's special characters that the machine uses.
#[derive(Debug, Clone)]
pub(crate) struct Special {
    /// The key that ends the input on an empty line: the terminal's `VEOF`.
    eof: Option<u8>,
    /// The keys that `bind-tty-special-chars` has bound.
    bound: Vec<u8>,
}

impl Default for Special {
    fn default() -> Self {
        Self { eof: Some(4), bound: Vec::new() }
    }
}

/// The differences of CPython's `readline` from GNU readline's manual.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quirks {
    /// Whether a kill by a key sequence does not extend an earlier kill, because the first key of the sequence
    /// separates them.
    pub(crate) sequences_part_kills: bool,
    /// Whether the editor asks before it shows a long list, but then shows all of it without waiting for an answer.
    pub(crate) asks_in_vain: bool,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { columns: 80, rows: 24, argument: Argument::NONE, ..Self::default() }
    }

    /// Begins a line: runs the hooks, then processes the bytes that were typed ahead.
    pub(crate) fn begin(&mut self, prompt: &[u8]) {
        self.prompt.clear();
        self.prompt.extend_from_slice(prompt);
        self.line.show(b"");
        self.line.forget_changes();
        self.line.reserve(256);
        self.line.set_mark(0);
        self.effects.bell = false;
        self.end = None;
        self.active = true;
        self.mode = Mode::Command;
        self.message.clear();
        self.keys.clear();
        self.argument = Argument::NONE;
        self.keeps_argument = false;
        self.overwrites = false;
        (self.region_active, self.region_kept) = (false, false);
        self.partial = Partial::default();
        self.last = None;
        self.map = self.first_map();
        self.begin_past();
        self.vi.begin();
        self.run_startup_hook();
        self.resume_past();
    }

    /// Processes bytes and runs their commands, until the line ends or no byte is left.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let taken = if self.active && self.input.is_empty() { self.insert_plain_text(bytes) } else { 0 };
        if let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            self.input.push(rest);
            self.run();
        }
    }

    /// Processes the bytes that are waiting.
    pub(crate) fn run(&mut self) {
        self.line.set_by_bytes(self.settings.variables.byte_oriented);
        while self.active {
            self.insert_typed();
            let Some(byte) = self.read() else { break };
            self.blink = None;
            self.take(byte);
        }
    }

    /// Whether the screen shows only the prompt and the line, and a key that changes only the line cannot make it show
    /// more. True until a hook or a variable is changed.
    pub(crate) fn may_be_quiet(&self) -> bool {
        let variables = &self.settings.variables;
        self.hooks.hinter.is_none()
            && self.hooks.highlighter.is_none()
            && !variables.show_mode_in_prompt
            && !variables.mark_modified_lines
            && !variables.horizontal_scroll_mode
            && variables.output_meta
            && self.is_quiet()
    }

    /// Whether there is nothing to show except the prompt and the line.
    pub(crate) fn is_quiet(&self) -> bool {
        self.active
            && self.message.is_empty()
            && !self.region_active
            && self.blink.is_none()
            && self.hint.is_empty()
            && !self.effects.any()
    }

    /// Whether a line is active, or has ended and its [`step`](Self::step) was not taken yet.
    pub(crate) fn has_line(&self) -> bool {
        self.active || self.end.is_some()
    }

    /// Records that the line was drawn as in the [`view`](Self::view).
    pub(crate) fn drawn(&mut self) {
        if !self.asks() {
            self.line.drawn();
        }
    }

    /// Returns the outcome if the line has ended. It is returned once.
    pub(crate) fn step(&mut self) -> Step {
        match self.end.take() {
            None => Step::More,
            Some(LineEnd::Accepted) => Step::Line(self.line.text().to_vec()),
            Some(LineEnd::Eof) => Step::Eof,
            Some(LineEnd::Interrupted) => Step::Interrupted,
        }
    }

    /// Discards the line, which the user interrupted, and the bytes that were typed ahead.
    pub(crate) fn interrupt(&mut self) {
        self.input.clear();
        if self.active {
            self.finish(LineEnd::Interrupted);
        }
    }

    /// Handles the end of the input. On a line that has text, this is one `C-d`; then the line ends.
    pub(crate) fn end_of_input(&mut self) {
        if !self.active {
            return;
        }
        if self.line.is_empty() || self.special.eof.is_none() {
            self.finish(LineEnd::Eof);
        } else if let Some(eof) = self.special.eof {
            self.feed(&[eof]);
            if self.active {
                self.finish(LineEnd::Eof);
            }
        }
    }

    /// Ends the line.
    fn finish(&mut self, end: LineEnd) {
        self.mode = Mode::Command;
        self.blink = None;
        self.message.clear();
        self.keys.clear();
        self.hint.clear();
        (self.region_active, self.region_kept) = (false, false);
        self.active = false;
        self.end = Some(end);
        self.end_past();
        self.overwrites = false;
    }

    /// Returns how long the machine waits for the rest of a key sequence before the caller calls
    /// [`expire`](Self::expire); `None` while no sequence is open.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        if self.blink.is_some() { Some(BLINK) } else { self.sequence_timeout() }
    }

    /// Makes the terminal's special characters for editing work the same in the editor.
    pub(crate) fn set_special_characters(&mut self, characters: &SpecialCharacters) {
        self.special.eof = characters.end_of_file;
        let settings = &mut self.settings;
        for key in self.special.bound.drain(..) {
            for map in [KeymapName::Emacs, KeymapName::ViInsert] {
                settings.keymaps.bind(map, &[key], Some(Binding::Command(Command::SelfInsert)));
            }
        }
        if !settings.variables.bind_tty_special_chars {
            return;
        }
        let meanings = [
            (characters.erase, Command::BackwardDeleteChar),
            (characters.kill, Command::UnixLineDiscard),
            (characters.literal_next, Command::QuotedInsert),
            (characters.word_erase, Command::UnixWordRubout),
        ];
        for (key, command) in meanings {
            let Some(key) = key else { continue };
            // In vi mode a word ends at punctuation as well.
            let in_vi = if command == Command::UnixWordRubout { Command::ViUnixWordRubout } else { command };
            for (map, command) in [(KeymapName::Emacs, command), (KeymapName::ViInsert, in_vi)] {
                settings.keymaps.bind(map, &[key], Some(Binding::Command(command)));
            }
            self.special.bound.push(key);
        }
    }

    /// Sets the size of the terminal.
    pub(crate) fn resized(&mut self, columns: usize, rows: usize) {
        (self.columns, self.rows) = (columns.max(1), rows.max(1));
    }

    /// Returns what the screen should show.
    pub(crate) fn view(&self) -> View<'_> {
        let variables = &self.settings.variables;
        if self.asks() {
            return View { message: Some(&self.message), ..View::default() };
        }
        View {
            prompt: &self.prompt,
            mode: self.mode_in_prompt(),
            message: (!self.message.is_empty()).then_some(&self.message),
            line: self.line.text(),
            kept: self.line.kept(),
            highlighted: self.highlighted.as_deref(),
            point: self.blink.unwrap_or(self.line.point()),
            region: (self.region_active && self.line.mark() != self.line.point()).then(|| self.line.region()),
            hint: &self.hint,
            modified: variables.mark_modified_lines && self.is_modified_history(),
            octal: !variables.output_meta,
            horizontal_scroll: variables.horizontal_scroll_mode,
        }
    }

    fn keymap(&self) -> &Keymap {
        let maps = &self.settings.keymaps;
        match self.map {
            Map::Emacs => &maps.emacs,
            Map::ViInsert => &maps.vi_insert,
            Map::ViCommand => &maps.vi_command,
        }
    }

    fn keymap_name(&self) -> KeymapName {
        match self.map {
            Map::Emacs => KeymapName::Emacs,
            Map::ViInsert => KeymapName::ViInsert,
            Map::ViCommand => KeymapName::ViCommand,
        }
    }

    /// Returns the keymap in which the editing mode begins.
    fn first_map(&self) -> Map {
        if self.settings.variables.is_vi() { Map::ViInsert } else { Map::Emacs }
    }

    fn is_vi(&self) -> bool {
        self.map != Map::Emacs
    }

    fn ding(&mut self) {
        self.effects.bell = true;
    }

    /// The line and its point.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    pub(crate) fn line_mut(&mut self) -> &mut Line {
        &mut self.line
    }

    /// Returns the kind of the last completion, and the range of its word.
    pub(crate) fn last_completion(&self) -> (Option<CompletionKind>, std::ops::Range<usize>) {
        (self.completion.kind, self.completion.range.clone())
    }

    fn swap_undo(&mut self, text: &[u8], undo: Undo) -> Undo {
        self.line.load(text, undo)
    }
}
