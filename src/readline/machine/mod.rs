//! The editor without a terminal: bytes go in, a [`View`] and at last a line come out.
//!
//! | file | what it has |
//! | --- | --- |
//! | `input` | bytes in the order in which they are read: pushed back, of macros, typed |
//! | `dispatch` | bytes to commands, numeric arguments, timeouts |
//! | `mode`, `state` | what takes the next byte; what is remembered from command to command |
//! | `movement`, `text`, `killing`, `past`, `nonincremental`, `incremental`, `completion`, `menu`, `misc` | the commands |
//! | `words` | where words begin and end |
//! | `vi` | the commands of vi mode |
//! | `view` | what the screen shall show |
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

/// A numeric argument beyond this is refused.
const MOST_COUNT: i32 = 1_000_000;

/// How many bytes one command inserts at most, however large its numeric argument.
const MOST_INSERTED: usize = 4 << 20;

/// How long `blink-matching-paren` shows the parenthesis that was opened.
const BLINK: Duration = Duration::from_millis(500);

/// How many characters one command overwrites one by one at most.
const MOST_OVERWRITTEN: usize = 1 << 16;

/// What has become of the line after some bytes. See the example of [`Editor`](crate::readline::Editor).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the line may be there"]
pub enum Step {
    /// The line goes on: feed more bytes.
    More,
    /// The line was accepted. It has no newline at its end.
    Line(Vec<u8>),
    /// The end of input: `C-d` on an empty line.
    Eof,
    /// The line was abandoned.
    Interrupted,
}

/// How the line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Accepted,
    Eof,
    Interrupted,
}

/// Which keymap the next key is looked up in.
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

/// The state machine. Its parts change only by bytes and by the caller's words.
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
    /// A line has begun and has not ended.
    active: bool,
    end: Option<LineEnd>,

    /// The keys of the command that is being typed.
    keys: Vec<u8>,
    /// How many keys the command that runs has taken.
    sequence_length: usize,
    argument: Argument,
    /// The next command has the numeric argument of the search that its keys have ended.
    keeps_argument: bool,
    /// The command that runs was given up.
    aborted: bool,
    /// The command before, for those that go on from it.
    last: Option<Command>,
    /// The command before was a kill, so that another one joins it.
    killed: bool,
    /// The command that runs is a kill.
    kills_now: bool,
    overwrites: bool,
    /// The region is shown, by the command before or by the one that runs.
    region_active: bool,
    region_kept: bool,
    /// Bytes of a character of UTF-8 that is not whole yet, how often to insert it, and whether that was typed.
    partial: Partial,
    partial_count: i32,
    partial_explicit: bool,

    /// The keyboard macro that is being recorded, and the last one.
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
    /// What a paste has brought so far.
    pasted: Vec<u8>,
    /// `blink-matching-paren`: the cursor is shown here, where a parenthesis was opened that the last key has closed.
    blink: Option<usize>,
}

/// The characters that the terminal treats as special, where they matter to the machine.
#[derive(Debug, Clone)]
pub(crate) struct Special {
    /// Ends the input on an empty line: the terminal's `VEOF`.
    eof: Option<u8>,
    /// The keys that `bind-tty-special-chars` has bound.
    bound: Vec<u8>,
}

impl Default for Special {
    fn default() -> Self {
        Self { eof: Some(4), bound: Vec::new() }
    }
}

/// Where CPython's `readline` does not do what GNU readline's manual says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quirks {
    /// A kill by a key sequence joins no earlier kill: the first key of the sequence parts them.
    pub(crate) sequences_part_kills: bool,
    /// A long list asks whether to show it, and shows it without an answer, all at once.
    pub(crate) asks_in_vain: bool,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { columns: 80, rows: 24, argument: Argument::NONE, ..Self::default() }
    }

    /// Begins a line: hooks run, then what was typed ahead is taken.
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

    /// Takes bytes and runs the commands that they mean, until the line ends or nothing is left.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let taken = if self.active && self.input.is_empty() { self.insert_plain_text(bytes) } else { 0 };
        if let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            self.input.push(rest);
            self.run();
        }
    }

    /// Takes what is there already.
    pub(crate) fn run(&mut self) {
        self.line.set_by_bytes(self.settings.variables.byte_oriented);
        while self.active {
            self.insert_typed();
            let Some(byte) = self.read() else { break };
            self.blink = None;
            self.take(byte);
        }
    }

    /// Whether the screen shows the prompt and the line, and a key that only changes the line cannot make it show more.
    /// True until a hook or a variable is changed.
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

    /// Whether nothing is to be shown but the prompt and the line.
    pub(crate) fn is_quiet(&self) -> bool {
        self.active
            && self.message.is_empty()
            && !self.region_active
            && self.blink.is_none()
            && self.hint.is_empty()
            && !self.effects.any()
    }

    /// Whether a line goes on, or has ended and its [`step`](Self::step) was not taken yet.
    pub(crate) fn has_line(&self) -> bool {
        self.active || self.end.is_some()
    }

    /// The line was drawn as the [`view`](Self::view) says.
    pub(crate) fn drawn(&mut self) {
        if !self.asks() {
            self.line.drawn();
        }
    }

    /// The outcome, if the line has ended. It is given once.
    pub(crate) fn step(&mut self) -> Step {
        match self.end.take() {
            None => Step::More,
            Some(LineEnd::Accepted) => Step::Line(self.line.text().to_vec()),
            Some(LineEnd::Eof) => Step::Eof,
            Some(LineEnd::Interrupted) => Step::Interrupted,
        }
    }

    /// The line is abandoned: the user interrupted it. What was typed ahead is forgotten.
    pub(crate) fn interrupt(&mut self) {
        self.input.clear();
        if self.active {
            self.finish(LineEnd::Interrupted);
        }
    }

    /// The input has ended. On a line that has text, this is one `C-d`; the next one ends the line.
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

    /// The line ends.
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

    /// How long the machine waits for the rest of a key sequence before the caller says [`expire`](Self::expire); none
    /// while no sequence is open.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        if self.blink.is_some() { Some(BLINK) } else { self.sequence_timeout() }
    }

    /// The user's own characters for editing mean to the editor what they mean to the terminal.
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

    /// The terminal has another size.
    pub(crate) fn resized(&mut self, columns: usize, rows: usize) {
        (self.columns, self.rows) = (columns.max(1), rows.max(1));
    }

    /// What the screen should show.
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

    /// The keymap that the editing mode begins with.
    fn first_map(&self) -> Map {
        if self.settings.variables.is_vi() { Map::ViInsert } else { Map::Emacs }
    }

    fn is_vi(&self) -> bool {
        self.map != Map::Emacs
    }

    fn ding(&mut self) {
        self.effects.bell = true;
    }

    /// The line and where its point is.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    pub(crate) fn line_mut(&mut self) -> &mut Line {
        &mut self.line
    }

    /// The kind of the last completion and the word that it was for.
    pub(crate) fn last_completion(&self) -> (Option<CompletionKind>, std::ops::Range<usize>) {
        (self.completion.kind, self.completion.range.clone())
    }

    fn swap_undo(&mut self, text: &[u8], undo: Undo) -> Undo {
        self.line.load(text, undo)
    }
}
