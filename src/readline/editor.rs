//! The type [`Editor`]: the machine, the history, the hooks and the screen together.

mod hooks;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use ossature_sys::tty::SpecialCharacters;

use super::history::History;
use super::hooks::Lent;
use super::inputrc::InitError;
use super::machine::{Machine, Step};
use super::modes::Modes;
use super::render::Screen;
use super::terminal::{Terminal, Typing};
use super::variables::{BellStyle, Variables};
use crate::error::{Error, ErrorKind, Result};

/// The initial settings of an editor.
///
/// ```
/// use ossature::readline::{Config, Editor};
///
/// let mut config = Config::default();
/// config.application = "calculator".into(); // what `$if calculator` in an init file asks for
/// let editor = Editor::with_config(config);
/// assert!(editor.variables().enable_bracketed_paste);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The name of the application, which `$if` in an init file compares.
    pub application: String,
    /// The name of the terminal, as in TERM.
    pub terminal: String,
    /// Whether accepted lines are added to the history.
    pub auto_history: bool,
    /// Whether the editor starts with CPython's settings.
    python: bool,
}

impl Default for Config {
    fn default() -> Self {
        let terminal = std::env::var("TERM").unwrap_or_default();
        Self { application: String::from("other"), terminal, auto_history: true, python: false }
    }
}

impl Config {
    /// The settings of CPython's `readline` after its import. `TAB` inserts a tab, `ESC TAB` and `ESC ESC` complete,
    /// and a paste has no brackets. The application is "python", and kills by key sequences do not join.
    ///
    /// In Python the import reads the init file. Here [`Editor::read_init_file`] does, when it is called.
    pub fn python_compat() -> Self {
        Self { application: String::from("python"), python: true, ..Self::default() }
    }
}

/// The implementation that edits lines. Python's `readline.backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// GNU readline's commands, init files and key bindings.
    Readline,
}

impl Backend {
    /// Python's name of the backend.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Readline => "readline",
        }
    }
}

/// The version of GNU readline whose behaviour the editor follows, as GNU and Python write it: major, then minor.
#[doc(alias = "_READLINE_VERSION")]
#[doc(alias = "_READLINE_RUNTIME_VERSION")]
pub const VERSION: u32 = 0x0802;

/// The same version as a text, in GNU readline's notation.
#[doc(alias = "_READLINE_LIBRARY_VERSION")]
#[doc(alias = "rl_library_version")]
pub const LIBRARY_VERSION: &str = "8.2";

/// The result of [`Editor::read_line`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadOutcome<T = String> {
    /// A line, without its newline.
    Line(T),
    /// The end of input: `C-d` on an empty line, or the end of a file. Python's `EOFError`.
    Eof,
    /// The user has interrupted the line. Python's `KeyboardInterrupt`.
    Interrupted,
}

impl Typing for Editor {
    fn begin(&mut self, prompt: &[u8], out: &mut Vec<u8>) -> Step {
        Editor::begin(self, prompt, out)
    }

    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step {
        Editor::feed(self, bytes, out)
    }

    fn timeout(&self) -> Option<Duration> {
        Editor::timeout(self)
    }

    fn expire(&mut self, out: &mut Vec<u8>) -> Step {
        Editor::expire(self, out)
    }

    fn resized(&mut self, columns: usize, rows: usize, out: &mut Vec<u8>) {
        Editor::resized(self, columns, rows, out);
    }

    fn special_characters(&mut self, special: &SpecialCharacters) {
        self.machine.set_special_characters(special);
    }

    fn erase(&mut self, out: &mut Vec<u8>) {
        self.screen.erase(out);
    }

    fn leave(&mut self, out: &mut Vec<u8>) {
        self.screen.leave(out);
        self.modes.leave(out);
    }

    fn redraw(&mut self, out: &mut Vec<u8>) {
        self.enter_modes(out);
        self.redisplay(out);
    }

    fn quit(&mut self, out: &mut Vec<u8>) {
        self.modes.leave(out);
    }

    fn interrupted(&mut self, character: u8, out: &mut Vec<u8>) {
        if self.machine.settings.variables.echo_control_characters {
            out.extend_from_slice(&[b'^', character ^ 0x40]);
        }
        let _ = self.interrupt(out);
    }
}

/// Whether a terminal with this name supports the sequences for a reversed screen.
fn flashes(terminal: &str) -> bool {
    matches!(terminal.split('-').next(), Some("xterm" | "screen" | "tmux" | "linux" | "rxvt" | "vt100" | "vt220"))
}

/// A line editor.
///
/// An event loop feeds bytes, and writes the returned bytes to the terminal:
///
/// ```
/// use ossature::readline::{Editor, Step};
///
/// let mut editor = Editor::new();
/// let mut screen = Vec::new(); // goes to the terminal
/// assert_eq!(editor.begin("> ", &mut screen), Step::More);
/// assert_eq!(editor.feed(b"hello wrld\x02\x02", &mut screen), Step::More);
/// assert_eq!(editor.feed(b"\x02o\r", &mut screen), Step::Line(b"hello world".to_vec()));
/// ```
#[derive(Debug)]
pub struct Editor {
    pub(super) machine: Machine,
    pub(super) screen: Screen,
    modes: Modes,
    /// Whether only prompt and line are shown, and no hook or variable needs more: a key that only changes the line is
    /// then drawn without a view.
    quiet: bool,
    auto_history: bool,
    /// The value of `history-size` that was applied to the history.
    history_size: Option<usize>,
    /// The terminal that `read_line` reads from.
    terminal: Option<Terminal>,
}

impl Default for Editor {
    fn default() -> Self {
        Self::new()
    }
}

impl Editor {
    /// Makes an editor in emacs mode with the default key bindings. Reads no file and uses no terminal.
    pub fn new() -> Self {
        Self::with_config(Config::default())
    }

    /// Makes an editor with other settings. Reads no file and uses no terminal.
    pub fn with_config(config: Config) -> Self {
        let mut machine = Machine::new();
        let screen = Screen::new(config.terminal.as_bytes());
        machine.settings.application = config.application;
        machine.settings.keymaps.bind_terminal(&config.terminal);
        machine.settings.terminal = config.terminal;
        if config.python {
            machine.quirks.sequences_part_kills = true;
            machine.quirks.asks_in_vain = true;
            machine.settings.variables.enable_bracketed_paste = false;
            machine.settings.variables.enable_active_region = false;
            for line in ["\"\\t\": self-insert", "\"\\e\\t\": complete", "\"\\e\\e\": complete"] {
                machine.settings.parse_and_bind(line).expect("the line is valid");
            }
        }
        let (modes, auto_history) = (Modes::default(), config.auto_history);
        Self { machine, screen, modes, quiet: false, auto_history, history_size: None, terminal: None }
    }

    /// Reads a line from standard input, and edits it if standard input and standard output are a terminal. Python's
    /// `input`.
    ///
    /// The line has no newline at its end. A line that is not UTF-8 is an error here;
    /// [`read_line_os`](Self::read_line_os) takes any.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] for a line that is not UTF-8; [`ErrorKind::Os`] if the terminal cannot be read or written.
    #[doc(alias = "input")]
    #[doc(alias = "readline")]
    pub fn read_line(&mut self, prompt: impl AsRef<[u8]>) -> Result<ReadOutcome> {
        Ok(match self.read_line_os(prompt)? {
            ReadOutcome::Line(line) => ReadOutcome::Line(line.into_string().map_err(|_| {
                Error::new(ErrorKind::Decode, "the line is not UTF-8: read it with `Editor::read_line_os`")
            })?),
            ReadOutcome::Eof => ReadOutcome::Eof,
            ReadOutcome::Interrupted => ReadOutcome::Interrupted,
        })
    }

    /// Reads a line of any bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] if the terminal cannot be read or written.
    pub fn read_line_os(&mut self, prompt: impl AsRef<[u8]>) -> Result<ReadOutcome<OsString>> {
        if self.terminal.is_none() {
            self.terminal = Some(Terminal::stdio()?);
        }
        let mut lent = Lent::take(self, |editor| &mut editor.terminal);
        let (editor, Some(terminal)) = lent.both() else { return Ok(ReadOutcome::Eof) };
        Ok(match terminal.read_line(editor, prompt.as_ref())? {
            Step::Line(line) => ReadOutcome::Line(OsString::from_vec(line)),
            Step::Interrupted => ReadOutcome::Interrupted,
            Step::Eof | Step::More => ReadOutcome::Eof,
        })
    }

    /// Sets the terminal to read lines from, instead of standard input and standard output.
    pub fn set_terminal(&mut self, terminal: Terminal) {
        self.terminal = Some(terminal);
    }

    /// Begins a line. Text that was typed ahead is used at once, so the line may be complete already.
    ///
    /// Parts of the prompt that take no column, such as colours, are between `\x01` and `\x02`. `out` gets the bytes
    /// for the terminal. If variables are set so, these make the terminal mark pastes and send the sequences of its
    /// keypad. The editor resets these modes when the line ends; [`interrupt`](Self::interrupt) ends a
    /// line that is abandoned.
    pub fn begin(&mut self, prompt: impl AsRef<[u8]>, out: &mut Vec<u8>) -> Step {
        let variables = &self.machine.settings.variables;
        if let Some(begin) = &variables.active_region_start_color {
            self.screen.set_region_style(begin, variables.active_region_end_color.as_deref().unwrap_or(b"\x1b[m"));
        }
        self.limit_history(); // `variables_mut` and the command re-read-init-file change the variable, too
        self.enter_modes(out);
        self.screen.forget();
        self.machine.begin(prompt.as_ref());
        self.draw(out);
        self.machine.run_pre_input_hook();
        self.machine.run();
        self.outcome(out)
    }

    /// Processes bytes from a terminal, in pieces of any length. `out` receives the bytes for the terminal.
    ///
    /// Bytes after the end of a line stay for the next [`begin`](Self::begin). Between two lines nothing is drawn.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step {
        self.machine.feed(bytes);
        if self.quiet && self.machine.is_quiet() {
            let line = self.machine.line();
            if self.screen.draw_flat(line.text(), line.kept(), line.point(), out) {
                self.machine.drawn();
                return Step::More;
            }
        }
        self.outcome(out)
    }

    /// Returns how long to wait for the rest of a key sequence; `None` while no sequence is open. If no byte comes in
    /// that time, call [`expire`](Self::expire).
    pub fn timeout(&self) -> Option<Duration> {
        self.machine.timeout()
    }

    /// Reports that the time of [`timeout`](Self::timeout) has passed: the keys so far are taken as complete.
    pub fn expire(&mut self, out: &mut Vec<u8>) -> Step {
        self.machine.expire();
        self.outcome(out)
    }

    /// Reports that the user has interrupted the line, for example by a signal: it is discarded, and so is the text
    /// that was typed ahead.
    pub fn interrupt(&mut self, out: &mut Vec<u8>) -> Step {
        self.machine.interrupt();
        match self.outcome(out) {
            Step::More => Step::Interrupted, // no line had begun
            ended => ended,
        }
    }

    /// Reports that no more bytes will come. If the line has text, the end of input acts as `C-d` there; then the input
    /// ends.
    pub fn end_of_input(&mut self, out: &mut Vec<u8>) -> Step {
        self.machine.end_of_input();
        match self.outcome(out) {
            Step::More => Step::Eof, // no line had begun
            ended => ended,
        }
    }

    /// Sets the size of the terminal; 0 means unknown. Draws a visible line again.
    ///
    /// More columns or rows than a terminal can report, 65535, count as 65535.
    pub fn resized(&mut self, columns: usize, rows: usize, out: &mut Vec<u8>) {
        let known = |size: usize, usual: usize| if size == 0 { usual } else { size.min(usize::from(u16::MAX)) };
        let (columns, rows) = (known(columns, 80), known(rows, 24));
        let is_shown = self.screen.is_shown();
        self.machine.resized(columns, rows);
        self.screen.resize(columns, rows, out);
        if is_shown {
            self.draw(out);
        }
    }

    fn enter_modes(&mut self, out: &mut Vec<u8>) {
        let settings = &self.machine.settings;
        self.modes.enter(&settings.variables, &settings.terminal, out);
    }

    /// Draws the changes.
    pub(super) fn draw(&mut self, out: &mut Vec<u8>) {
        if !self.machine.has_line() {
            return; // between two lines the screen is the program's
        }
        self.show(out);
        self.quiet = self.screen.is_flat() && self.machine.may_be_quiet();
    }

    fn show(&mut self, out: &mut Vec<u8>) {
        self.machine.refresh();
        let mut effects = std::mem::take(&mut self.machine.effects);
        match self.machine.settings.variables.bell_style {
            BellStyle::None => effects.bell = false,
            BellStyle::Visible if effects.bell && flashes(&self.machine.settings.terminal) => {
                effects.bell = false;
                out.extend_from_slice(b"\x1b[?5h\x1b[?5l");
            }
            _ => {}
        }
        self.screen.show(&self.machine.view(), &mut effects, out);
        self.machine.drawn();
        self.machine.effects = effects;
    }

    /// Draws, and ends the line if it has ended.
    fn outcome(&mut self, out: &mut Vec<u8>) -> Step {
        self.draw(out);
        let step = self.machine.step();
        match step {
            Step::More => {}
            // As in GNU readline, the program decides what follows the prompt.
            Step::Eof => self.screen.forget(),
            _ => self.screen.leave(out),
        }
        if step != Step::More {
            self.modes.leave(out);
        }
        if let Step::Line(line) = &step {
            let last = self.history().len().checked_sub(1).and_then(|at| self.history().get(at));
            if self.auto_history && !line.is_empty() && last != Some(line) {
                self.add_history(line);
            }
        }
        step
    }

    /// The current line; after its end, the last line until the next begins.
    #[doc(alias = "get_line_buffer")]
    pub fn line_buffer(&self) -> &[u8] {
        self.machine.line().text()
    }

    /// The cursor, a byte index into the [line](Self::line_buffer).
    pub fn point(&self) -> usize {
        self.machine.line().point()
    }

    /// Inserts text at the cursor.
    pub fn insert_text(&mut self, text: impl AsRef<[u8]>) {
        self.quiet = false;
        self.machine.line_mut().insert(text.as_ref());
    }

    /// Erases the prompt and the line from the screen, for a program that writes above them. The cursor is where they
    /// began. [`redisplay`](Self::redisplay) shows them again.
    ///
    /// ```
    /// use ossature::readline::Editor;
    ///
    /// let (mut editor, mut screen) = (Editor::new(), Vec::new());
    /// let _ = editor.begin("> ", &mut screen);
    /// editor.erase(&mut screen);
    /// screen.extend_from_slice(b"news above the line\r\n");
    /// editor.redisplay(&mut screen);
    /// assert!(screen.ends_with(b"news above the line\r\n> "));
    /// ```
    pub fn erase(&mut self, out: &mut Vec<u8>) {
        self.screen.erase(out);
    }

    /// Draws the prompt and the line again, for a program that has written to the terminal. The cursor must be at the
    /// start of a free row.
    pub fn redisplay(&mut self, out: &mut Vec<u8>) {
        self.machine.effects.redraw = true;
        self.draw(out);
    }

    /// Executes lines of an init file.
    ///
    /// Python prints the error and continues; here the caller gets an error.
    ///
    /// ```
    /// let mut editor = ossature::readline::Editor::new();
    /// editor.parse_and_bind("tab: menu-complete").unwrap();
    /// assert!(editor.parse_and_bind("set no-such-variable on").is_err());
    /// ```
    ///
    /// # Errors
    /// The first invalid line. The other lines have taken effect.
    pub fn parse_and_bind(&mut self, lines: impl AsRef<[u8]>) -> std::result::Result<(), InitError> {
        self.quiet = false;
        let done = self.machine.settings.parse_and_bind(lines);
        self.limit_history();
        done
    }

    /// Applies `history-size` as the limit of the history, if the variable was changed. Otherwise a limit that the
    /// program set stays.
    fn limit_history(&mut self) {
        let size = self.machine.settings.variables.history_size;
        if self.history_size != size {
            self.history_size = size;
            self.machine.history.set_max_entries(size);
        }
    }

    /// Reads an init file: the given file, or else the file that was read last, or else the file in INPUTRC, or else
    /// `~/.inputrc`, or else `/etc/inputrc`. Returns the bad lines; the others take effect.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] if the file cannot be read, `ENOENT` if there is none;
    /// [`ErrorKind::TooLong`] above 4 MiB.
    pub fn read_init_file(&mut self, path: Option<&Path>) -> Result<Vec<InitError>> {
        let paste = self.machine.settings.variables.enable_bracketed_paste;
        self.quiet = false;
        let bad = self.machine.settings.read_init_file(path)?;
        self.limit_history();
        if self.machine.quirks.sequences_part_kills {
            self.machine.settings.variables.enable_bracketed_paste = paste; // as Python, whatever the file says
        }
        Ok(bad)
    }

    /// The variables of init files.
    pub fn variables(&self) -> &Variables {
        &self.machine.settings.variables
    }

    /// The variables of init files, to change them.
    pub fn variables_mut(&mut self) -> &mut Variables {
        self.quiet = false;
        &mut self.machine.settings.variables
    }

    /// The history: accepted lines and loaded lines.
    pub fn history(&self) -> &History {
        &self.machine.history
    }

    /// The history, to load, save or change it between two lines.
    pub fn history_mut(&mut self) -> &mut History {
        self.limit_history();
        self.quiet = false;
        &mut self.machine.history
    }

    /// Adds a line to the history without a check, even if it is empty or a duplicate.
    pub fn add_history(&mut self, line: impl AsRef<[u8]>) {
        self.machine.history.push(line);
    }

    /// Sets whether accepted lines are added to the history: lines that are not empty and differ from the last.
    pub fn set_auto_history(&mut self, adds: bool) {
        self.auto_history = adds;
    }

    /// The implementation that edits lines. Python's `readline.backend`.
    pub const fn backend(&self) -> Backend {
        Backend::Readline
    }
}
