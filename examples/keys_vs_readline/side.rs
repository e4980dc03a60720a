//! One editor on a pseudo-terminal, and a socket that controls it.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ossature::readline::{Config, Editor, ReadOutcome};
use ossature::sys::deadline::Deadline;
use ossature::sys::fd;
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::tty::{Pty, WindowSize, set_window_size};

use super::cases::Case;
use super::guided::Outcome;

const COLUMNS: u16 = 60;
const ROWS: u16 = 20;
pub const PROMPT: &str = "$ ";
/// The maximum time of an editor for a line.
const PATIENCE: Duration = Duration::from_secs(20);

/// The result of the keys in an editor.
#[derive(PartialEq, Eq)]
pub struct Answer {
    /// `L` and the accepted line, `E` for the end of input, `I` for an interrupt; `None` without an answer.
    pub line: Option<String>,
    /// The screen with its colours and its cursor, before the end was typed.
    pub screen: String,
    pub cursor: (u16, u16),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.as_deref().unwrap_or("(no line)");
        write!(f, "{line:?}, screen {:?} with the cursor at {:?}", self.screen, self.cursor)
    }
}

/// A row of the screen, with what is coloured or reversed between `\u{2039}` and `\u{203a}`.
fn coloured_row(screen: &vt100::Screen, row: u16) -> String {
    let (mut text, mut was, mut was_wide) = (String::new(), false, false);
    for cell in (0..COLUMNS).filter_map(|column| screen.cell(row, column)) {
        if std::mem::replace(&mut was_wide, cell.is_wide()) {
            continue; // the other half
        }
        let is = cell.inverse() || cell.fgcolor() != vt100::Color::Default;
        if std::mem::replace(&mut was, is) != is {
            text.push(if is { '\u{2039}' } else { '\u{203a}' });
        }
        text += if cell.contents().is_empty() { " " } else { cell.contents() };
    }
    text.trim_end().to_owned()
}

/// A running editor.
pub struct Side {
    child: Child,
    pty: Pty,
    socket: BufReader<UnixStream>,
    screen: vt100::Parser,
}

/// The script for CPython: the settings, then a line for each command.
const SCRIPT: &str = r#"
import readline, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile("rwb", 0)
for line in sys.argv[2].split("\n"): readline.parse_and_bind(line)
readline.set_completer(None)
for order in f:
    readline.clear_history()
    mode, *lines = order.decode("utf-8").rstrip("\n").split("\x1f")
    readline.parse_and_bind(mode)
    for line in lines: readline.add_history(line)
    try: answer = "L" + input(sys.argv[3])
    except EOFError: answer = "E"
    except KeyboardInterrupt: answer = "I"
    f.write((answer.replace("\n", "\x1e") + "\n").encode("utf-8", "surrogateescape"))
"#;

/// The version of GNU readline behind an interpreter's module, if the module uses it.
fn gnu_readline_of(python: &str, modules: Option<&Path>) -> Result<String, String> {
    let ask = "import readline, sys; d = readline.__doc__ or ''; \
               print('libedit' if 'libedit' in d or getattr(readline, 'backend', '') == 'editline' else \
               readline._READLINE_LIBRARY_VERSION)";
    let mut command = Command::new(python);
    command.args(["-c", ask]).stdin(Stdio::null());
    modules.map(|folder| command.env("PYTHONPATH", folder));
    let output = command.output().map_err(|_| format!("{python} is not installed"))?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "libedit" => Err(format!("the readline of {python} is libedit")),
        version if output.status.success() && version.starts_with(|c: char| c.is_ascii_digit()) => {
            Ok(version.to_owned())
        }
        _ => Err(format!("{python} has no readline")),
    }
}

/// The first interpreter whose module uses GNU readline, and the version of the library.
pub fn python_with_gnu_readline() -> Result<(String, String), String> {
    let mut refused = String::new();
    for python in ["/usr/bin/python3", "python3"] {
        match gnu_readline_of(python, None) {
            Ok(version) => return Ok((python.to_owned(), version)),
            Err(why) => refused = why,
        }
    }
    Err(refused)
}

/// Checks that an interpreter is refused if its module names libedit, in the words of an old or a new CPython.
pub fn refuses_libedit(python: &str) -> Outcome {
    let place = Place::new()?;
    for words in ["__doc__ = 'Line editing using libedit readline.'", "backend = 'editline'"] {
        std::fs::write(place.0.join("readline.py"), format!("{words}\n_READLINE_LIBRARY_VERSION = '4.2'\n"))?;
        match gnu_readline_of(python, Some(&place.0)) {
            Err(why) if why.ends_with("is libedit") => {}
            other => return Err(format!("{words}: libedit was not refused: {other:?}").into()),
        }
    }
    Ok(())
}

impl Side {
    pub fn python(python: &str, settings: &str) -> Outcome<Self> {
        Self::start(|socket| {
            let mut command = Command::new(python);
            command.args(["-X", "utf8", "-c", SCRIPT, socket, settings, PROMPT]);
            command
        })
    }

    pub fn ours(settings: &str) -> Outcome<Self> {
        let program = std::env::current_exe()?;
        Self::start(|socket| {
            let mut command = Command::new(&program);
            command.args(["--ours", socket, settings]);
            command
        })
    }

    fn start(command: impl FnOnce(&str) -> Command) -> Outcome<Self> {
        let pty = Pty::open()?;
        set_window_size(&pty.controller, WindowSize { rows: ROWS, columns: COLUMNS, ..WindowSize::default() })?;
        // Ctrl-S is a key.
        Command::new("stty").arg("-ixon").stdin(Stdio::from(fd::duplicate(&pty.terminal)?)).status()?;
        let place = Place::new()?;
        let listener = UnixListener::bind(place.path())?;
        let terminal = || fd::duplicate(&pty.terminal).map(Stdio::from);
        let mut child = command(&place.path().to_string_lossy())
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .env("INPUTRC", "/dev/null")
            .stdin(terminal()?)
            .stdout(terminal()?)
            .stderr(Stdio::null())
            .spawn()?;
        let mut wait = [PollFd::new(&listener, PollFlags::IN)];
        if poll(&mut wait, Deadline::after(PATIENCE))? == 0 {
            child.kill()?;
            return Err("an editor did not start".into());
        }
        let socket = listener.accept()?.0;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { child, pty, socket: BufReader::new(socket), screen: vt100::Parser::default() })
    }

    /// Starts a line and types the keys.
    pub fn begin(&mut self, case: &Case, slowly: bool) -> Outcome {
        // What the end of the line before has written is not of this one.
        self.quiet()?;
        self.screen = vt100::Parser::new(ROWS, COLUMNS, 0);
        // The case before may have changed the editing mode.
        let mut order = case.mode().to_owned();
        for line in &case.history {
            order.push('\x1f');
            order += line;
        }
        self.socket.get_mut().write_all(format!("{order}\n").as_bytes())?;
        // The prompt is there: keys that come before it would be echoed by the terminal.
        let until = Deadline::after(PATIENCE);
        while !self.screen.screen().contents().contains(PROMPT.trim_end()) {
            if !self.drain(until)? {
                return Err("an editor showed no prompt in time".into());
            }
        }
        self.quiet()?;
        // GNU readline treats what is typed ahead otherwise in places: a macro does not record it, for example.
        let mut rest = &case.keys[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(if slowly { one_key(rest) } else { rest.len() });
            rest = after;
            fd::write_all(&self.pty.controller, piece, Deadline::after(PATIENCE))?;
            if slowly {
                self.quiet()?;
            }
        }
        Ok(())
    }

    /// Reads the screen, ends the line and receives the answer.
    pub fn finish(&mut self, case: &Case) -> Outcome<Answer> {
        if !self.quiet()? {
            return Ok(Answer { line: None, screen: "(busy)".to_owned(), cursor: (0, 0) });
        }
        let screen = self.screen.screen();
        let rows: Vec<String> = (0..ROWS).map(|row| coloured_row(screen, row)).collect();
        let (shown, cursor) = (rows.join("\n").trim_end().to_owned(), screen.cursor_position());
        let mut line = None;
        // What still waits for a key may take the first of them.
        for end in [case.end(), b"\r", b"\r", b"q\r"] {
            if self.answers()? {
                break;
            }
            fd::write_all(&self.pty.controller, end, Deadline::after(PATIENCE))?;
            self.await_answer()?;
        }
        if self.answers()? {
            let mut text = Vec::new();
            self.socket.read_until(b'\n', &mut text)?;
            text.pop();
            line = Some(String::from_utf8(text).unwrap_or_else(|text| text.as_bytes().escape_ascii().to_string()));
        }
        Ok(Answer { line, screen: shown, cursor })
    }

    fn answers(&mut self) -> Outcome<bool> {
        let mut wait = [PollFd::new(self.socket.get_ref(), PollFlags::IN)];
        Ok(poll(&mut wait, Deadline::NOW)? > 0)
    }

    /// Waits a limited time for the answer, and reads the editor's output meanwhile.
    fn await_answer(&mut self) -> Outcome {
        let until = Deadline::after(Duration::from_millis(400));
        while !self.answers()? && !until.has_passed() {
            self.drain(Deadline::after(Duration::from_micros(500)))?;
        }
        Ok(())
    }

    /// Reads the editor's output; `false` if the deadline passes first.
    fn drain(&mut self, until: Deadline) -> Outcome<bool> {
        let mut wait = [PollFd::new(&self.pty.controller, PollFlags::IN)];
        if poll(&mut wait, until)? == 0 {
            return Ok(false);
        }
        let mut buffer = [0; 4096];
        let len = fd::read(&self.pty.controller, &mut buffer)?;
        self.screen.process(&buffer[..len]);
        Ok(true)
    }

    /// Waits until the editor has read all keys and sleeps; `false` if that does not happen in time.
    fn quiet(&mut self) -> Outcome<bool> {
        let until = Deadline::after(PATIENCE / 4);
        let mut times = 0;
        while times < 3 {
            if self.drain(Deadline::after(Duration::from_micros(500)))? {
                times = 0;
                continue;
            }
            times = if self.sleeps()? && ossature::sys::pipe::unread(&self.pty.terminal)? == 0 { times + 1 } else { 0 };
            if until.has_passed() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn sleeps(&self) -> Outcome<bool> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        Ok(stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S')))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number of bytes of the first key, including those after an escape. On a busy machine these could arrive too
/// late, and for one editor only.
fn one_key(keys: &[u8]) -> usize {
    let length = match keys {
        [0x1b, b'[' | b'O', rest @ ..] => 3 + rest.iter().take_while(|byte| !matches!(byte, 0x40..=0x7e)).count(),
        [0x1b, ..] => 2,
        _ => 1,
    };
    length.min(keys.len())
}

/// A folder for the socket; dropping the value removes it.
struct Place(PathBuf);

impl Place {
    fn new() -> Outcome<Self> {
        use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("keys-vs-readline-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)?;
        Ok(Self(folder))
    }

    fn path(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs this program as the other editor.
pub fn be_ours(socket: &str, settings: &str) -> Outcome {
    let mut orders = BufReader::new(UnixStream::connect(socket)?);
    let mut editor = Editor::with_config(Config::python_compat());
    for line in settings.lines() {
        // GNU readline prints what is wrong and goes on.
        let _ = editor.parse_and_bind(line);
    }
    let mut order = String::new();
    while orders.read_line(&mut order)? > 0 {
        editor.history_mut().clear();
        let mut parts = order.trim_end_matches('\n').split('\x1f');
        if let Some(mode) = parts.next() {
            let _ = editor.parse_and_bind(mode);
        }
        for line in parts {
            editor.add_history(line);
        }
        let answer = match editor.read_line_os(PROMPT)? {
            ReadOutcome::Line(line) => [b"L", line.as_bytes()].concat(),
            ReadOutcome::Eof => b"E".to_vec(),
            ReadOutcome::Interrupted => b"I".to_vec(),
        };
        let answer: Vec<u8> = answer.into_iter().map(|b| if b == b'\n' { 0x1e } else { b }).chain([b'\n']).collect();
        orders.get_mut().write_all(&answer)?;
        order.clear();
    }
    Ok(())
}
