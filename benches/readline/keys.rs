//! Instructions of a keystroke and of its drawing. GNU readline runs in its own program; it reads the same keys from
//! memory and draws on /dev/null. rustyline and reedline read the keys from a pseudo-terminal, which is their only
//! interface.

use std::borrow::Cow;
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ossature::readline::{Config, Editor};
use ossature_benches::bench::Bench;
use ossature_benches::callgrind::{self, Counted};
use ossature_benches::report::{Bar, Line, Unit};
use ossature_sys::fd;
use ossature_sys::tty::{Pty, WindowSize, set_window_size};

/// The rows: a typed line, a line typed at two positions, moves in a line, and commands that change a line.
const TYPING: &[u8] = b"the quick brown fox jumps over the dogs\r";
const MIDDLE: &[u8] = b"the quick brown fox \x01and then some words \r";
const MOVING: &[u8] =
    b"the quick brown fox jumps over the dogs\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x06\x06\x06\x06\x06\
    \x1bb\x1bb\x1bf\x01\x05\x02\x1b[D\x1b[C\r";
const EDITING: &[u8] = b"echo some words to edit\x17\x17\x19\x1bb\x1bd\x1f\x14\x7f\x7f\x08\x01\x0b\x19\x1bt\x1bu\r";

const ROWS: [(&str, &[u8]); 4] = [("typing", TYPING), ("middle", MIDDLE), ("moving", MOVING), ("editing", EDITING)];

pub const COUNTED: [Counted; 11] = [
    ("typing", |count| ours(TYPING, count)),
    ("middle", |count| ours(MIDDLE, count)),
    ("moving", |count| ours(MOVING, count)),
    ("editing", |count| ours(EDITING, count)),
    ("rustyline-typing", |count| rustyline(TYPING, count)),
    ("rustyline-middle", |count| rustyline(MIDDLE, count)),
    ("rustyline-moving", |count| rustyline(MOVING, count)),
    ("rustyline-editing", |count| rustyline(EDITING, count)),
    ("reedline-typing", |count| reedline(TYPING, count)),
    ("reedline-middle", |count| reedline(MIDDLE, count)),
    ("reedline-moving", |count| reedline(MOVING, count)),
];

/// The factor by which the counted operations are fewer, since an operation is a line of many keys.
const FEWER: u64 = 20;

/// Types the keys one by one, as an event loop does, and draws into a vector.
fn ours(keys: &[u8], count: u64) {
    let mut config = Config::default();
    config.terminal = "xterm".into();
    let mut editor = Editor::with_config(config);
    editor.set_auto_history(false);
    let mut screen = Vec::with_capacity(4096);
    editor.resized(80, 24, &mut screen);
    for _ in 0..count.div_ceil(FEWER) {
        let _ = editor.begin("> ", &mut screen);
        for key in keys {
            screen.clear();
            let _ = black_box(editor.feed(black_box(&[*key]), &mut screen));
            black_box(&screen);
        }
        screen.clear();
    }
}

/// The variable that makes a process type at the terminal on its standard input. Its value is the row, the number of
/// lines, and the [`Pace`].
const TYPIST: &str = "OSSATURE_BENCH_TYPIST";

/// The time at which the next key is typed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// At once, because rustyline draws after each key that it reads.
    Ahead,
    /// After the last key was drawn, because reedline draws once for keys that arrive together.
    Drawn,
}

/// The other side of a terminal, which is readable and writable.
struct Far(File);

impl Far {
    /// Appends what the program has drawn, and replies to a request for the cursor's position. Returns `false` at the
    /// end.
    fn read(&mut self, shown: &mut Vec<u8>) -> bool {
        const PLACE_WANTED: &[u8] = b"\x1b[6n";
        let mut part = [0; 4096];
        let Ok(length @ 1..) = self.0.read(&mut part) else { return false };
        shown.extend_from_slice(&part[..length]);
        if let Some(at) = shown.windows(PLACE_WANTED.len()).position(|it| it == PLACE_WANTED) {
            shown.drain(..at + PLACE_WANTED.len());
            self.0.write_all(b"\x1b[1;1R").expect("the terminal accepts a reply");
        }
        true
    }
}

/// In a process that was started to type, types and returns `true`.
pub fn is_typist() -> bool {
    let Ok(wish) = std::env::var(TYPIST) else { return false };
    let mut words = wish.split(' ');
    let mut word = || words.next().expect("a row, a number and a pace");
    let (name, count, pace) = (word(), word(), if word() == "drawn" { Pace::Drawn } else { Pace::Ahead });
    let (_, keys) = ROWS.iter().find(|(known, _)| *known == name).expect("a row of this bench");
    let mut far = Far(File::from(fd::duplicate(std::io::stdin()).expect("a descriptor")));
    let mut shown = Vec::new();
    for line in 0..count.parse::<u64>().expect("a number") {
        // The terminal is raw once the prompt stands there. Each line has another one, since a prompt is drawn again.
        let prompt = prompt(line);
        while !shown.windows(prompt.len()).any(|it| it == prompt.as_bytes()) {
            if !far.read(&mut shown) {
                return true;
            }
        }
        shown.clear();
        let mut rest = *keys;
        while !rest.is_empty() {
            let (key, after) = rest.split_at(if pace == Pace::Ahead { rest.len() } else { length_of_key(rest) });
            rest = after;
            far.0.write_all(key).expect("the terminal accepts keys");
            if !rest.is_empty() {
                while shown.is_empty() && far.read(&mut shown) {}
                shown.clear();
            }
        }
    }
    // What is drawn last has to be read, or the other side may wait for room.
    while far.read(&mut shown) {
        shown.clear();
    }
    true
}

/// The number of bytes of the first key: more than one after an escape.
fn length_of_key(keys: &[u8]) -> usize {
    match keys {
        [0x1b, b'[', ..] => 3,
        [0x1b, ..] => 2,
        _ => 1,
    }
}

/// The prompt that both editors show before a line.
fn prompt(line: u64) -> String {
    format!("{line}> ")
}

/// Reads lines while a second process types them on the other side of a terminal, which is standard input, output and
/// error.
fn typed(keys: &[u8], count: u64, pace: Pace, mut read: impl FnMut(u64)) {
    let count = count.div_ceil(FEWER);
    let pty = Pty::open().expect("a terminal");
    let size = WindowSize { rows: 24, columns: 80, ..WindowSize::default() };
    set_window_size(&pty.terminal, size).expect("a terminal");
    let (name, _) = ROWS.iter().find(|(_, known)| *known == keys).expect("a row of this bench");
    let pace = if pace == Pace::Drawn { "drawn" } else { "ahead" };
    let mut typist = Command::new(std::env::current_exe().expect("this program"))
        .env(TYPIST, format!("{name} {count} {pace}"))
        .stdin(pty.controller)
        .stdout(Stdio::null())
        .spawn()
        .expect("a process");
    rustix::stdio::dup2_stdin(&pty.terminal).expect("a descriptor");
    rustix::stdio::dup2_stdout(&pty.terminal).expect("a descriptor");
    rustix::stdio::dup2_stderr(&pty.terminal).expect("a descriptor");
    (0..count).for_each(&mut read);
    // The typist waits for more to read, and has nothing to do.
    let _ = typist.kill();
    let _ = typist.wait();
}

fn rustyline(keys: &[u8], count: u64) {
    let mut editor = None;
    typed(keys, count, Pace::Ahead, |line| {
        let editor = editor.get_or_insert_with(|| {
            let config = rustyline::Config::builder().auto_add_history(false).build();
            rustyline::DefaultEditor::with_config(config).expect("an editor")
        });
        black_box(editor.readline(&prompt(line)).expect("a line"));
    });
}

/// reedline's prompt, without its colours and symbols.
struct Plain(String);

impl reedline::Prompt for Plain {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: reedline::PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_history_search_indicator(&self, _: reedline::PromptHistorySearch) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
}

/// Reads the keys with reedline, which has no command for some keys of the fourth row and then draws nothing.
fn reedline(keys: &[u8], count: u64) {
    let mut editor = None;
    typed(keys, count, Pace::Drawn, |line| {
        let editor = editor.get_or_insert_with(|| reedline::Reedline::create().with_ansi_colors(false));
        black_box(editor.read_line(&Plain(prompt(line))).expect("a line"));
    });
}

/// GNU readline as a program; `None` if readline or a C compiler is not installed.
pub struct Gnu(PathBuf);

impl Gnu {
    pub fn build() -> Option<Self> {
        let path = std::env::temp_dir().join(format!("ossature-bench-gnu-{}", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("readline/gnu.c");
        let built = Command::new("cc").args(["-O2", "-o"]).arg(&path).arg(source).arg("-lreadline").status();
        let this = Self(path);
        built.is_ok_and(|status| status.success()).then_some(this)
    }

    pub fn command(&self, what: &str, file: &Path, count: u64) -> Command {
        let mut command = Command::new(&self.0);
        let words = [("TERM", "xterm"), ("INPUTRC", "/dev/null"), ("LC_ALL", "C.UTF-8")];
        command.arg(what).arg(file).arg(count.to_string()).envs(words);
        command
    }
}

impl Drop for Gnu {
    fn drop(&mut self) {
        // Nothing is to be done about a file that stays.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file with the keys of a row; dropping the value removes it.
struct Keys(PathBuf);

impl Keys {
    fn new(name: &str, keys: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("ossature-bench-keys-{name}-{}", std::process::id()));
        std::fs::write(&path, keys).expect("the file is written");
        Self(path)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub fn rows(bench: &Bench) {
    if !ROWS.iter().any(|(name, _)| bench.wants(&format!("instructions-{name}"))) {
        return;
    }
    let gnu = Gnu::build();
    for (name, keys) in ROWS {
        let row = format!("instructions-{name}");
        if !bench.wants(&row) {
            continue;
        }
        // One counted operation is a part of a line.
        let each = keys.len() as f64 / FEWER as f64;
        let Some(ours) = callgrind::instructions(name).map(|all| all / each) else { return };
        let file = Keys::new(name, keys);
        let theirs = gnu.as_ref().and_then(|gnu| {
            let total = |count| callgrind::total_of(name, &gnu.command("keys", &file.0, count));
            Some((total(300)? - total(50)?) / 250.0 / keys.len() as f64)
        });
        let counted = |rival: &str| {
            let name = format!("{rival}-{name}");
            COUNTED.iter().any(|(known, _)| *known == name).then(|| callgrind::instructions(&name)).flatten()
        };
        let [rusty, reed] = ["rustyline", "reedline"].map(|rival| counted(rival).map(|all| all / each));
        for (rival, theirs) in [("gnu-readline", theirs), ("rustyline", rusty), ("reedline", reed)] {
            if theirs.is_none() && rival == "reedline" {
                continue; // no such row
            }
            let (row, rival) = (row.clone(), rival.to_owned());
            bench.print(Line {
                row,
                unit: Unit::Instructions,
                ours,
                rival,
                theirs,
                ratio: None,
                bar: Bar::AtMost(1.0),
            });
        }
    }
}
