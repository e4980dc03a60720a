//! Instructions of a keystroke and of its drawing. GNU readline reads the same keys from memory and draws on /dev/null,
//! in a program of its own. rustyline reads the keys from a pseudo-terminal, which is its only interface.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ossature::readline::{Config, Editor};
use ossature_benches::bench::Bench;
use ossature_benches::callgrind::{self, Counted};
use ossature_benches::report::{Bar, Line, Unit};
use ossature_sys::fd::{self, OwnedFd};
use ossature_sys::tty::{Pty, WindowSize, set_window_size};

/// A line that is typed, one that is typed in two places, moves in a line, and commands that change one.
const TYPING: &[u8] = b"the quick brown fox jumps over the dogs\r";
const MIDDLE: &[u8] = b"the quick brown fox \x01and then some words \r";
const MOVING: &[u8] =
    b"the quick brown fox jumps over the dogs\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x06\x06\x06\x06\x06\
    \x1bb\x1bb\x1bf\x01\x05\x02\x1b[D\x1b[C\r";
const EDITING: &[u8] = b"echo some words to edit\x17\x17\x19\x1bb\x1bd\x1f\x14\x7f\x7f\x08\x01\x0b\x19\x1bt\x1bu\r";

const ROWS: [(&str, &[u8]); 4] = [("typing", TYPING), ("middle", MIDDLE), ("moving", MOVING), ("editing", EDITING)];

pub const COUNTED: [Counted; 8] = [
    ("typing", |count| ours(TYPING, count)),
    ("middle", |count| ours(MIDDLE, count)),
    ("moving", |count| ours(MOVING, count)),
    ("editing", |count| ours(EDITING, count)),
    ("rustyline-typing", |count| rustyline(TYPING, count)),
    ("rustyline-middle", |count| rustyline(MIDDLE, count)),
    ("rustyline-moving", |count| rustyline(MOVING, count)),
    ("rustyline-editing", |count| rustyline(EDITING, count)),
];

/// So many counted operations are a line, since a line is many keys.
const FEWER: u64 = 20;

/// Types the keys one by one, as an event loop does. What is drawn goes into a vector.
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

/// Tells a process that it types at the terminal which its standard input is: the keys and how often.
const TYPIST: &str = "OSSATURE_BENCH_TYPIST";

/// In a process that was started to type: does so and answers `true`.
pub fn is_typist() -> bool {
    let Ok(wish) = std::env::var(TYPIST) else { return false };
    let (name, count) = wish.split_once(' ').expect("a row and a number");
    let (_, keys) = ROWS.iter().find(|(known, _)| *known == name).expect("a row of this bench");
    // Standard input is the far side of a terminal, which can be written, too.
    let far = fd::duplicate(std::io::stdin()).expect("a descriptor");
    let mut far = File::from(far);
    let mut shown = Vec::new();
    for line in 0..count.parse::<u64>().expect("a number") {
        // The terminal is raw once the prompt stands there. Each line has another one, since a prompt is drawn again.
        let prompt = prompt(line);
        shown.clear();
        let mut part = [0; 4096];
        while !shown.windows(prompt.len()).any(|it| it == prompt.as_bytes()) {
            match far.read(&mut part) {
                Ok(length) if length > 0 => shown.extend_from_slice(&part[..length]),
                _ => return true,
            }
        }
        far.write_all(keys).expect("the terminal takes keys");
    }
    // What is drawn last has to be read, or the other side may wait for room.
    while far.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {}
    true
}

/// What rustyline shows before a line.
fn prompt(line: u64) -> String {
    format!("{line}> ")
}

/// Starts a typist at the far side of a terminal.
fn typist(keys: &[u8], count: u64) -> (OwnedFd, Child) {
    let pty = Pty::open().expect("a terminal");
    let size = WindowSize { rows: 24, columns: 80, ..WindowSize::default() };
    set_window_size(&pty.terminal, size).expect("it is a terminal");
    let (name, _) = ROWS.iter().find(|(_, known)| *known == keys).expect("a row of this bench");
    let child = Command::new(std::env::current_exe().expect("this program"))
        .env(TYPIST, format!("{name} {count}"))
        .stdin(pty.controller)
        .stdout(Stdio::null())
        .spawn()
        .expect("a process");
    (pty.terminal, child)
}

/// rustyline reads the lines from standard input and draws on standard output: both are made a terminal.
fn rustyline(keys: &[u8], count: u64) {
    let count = count.div_ceil(FEWER);
    let (terminal, mut typist) = typist(keys, count);
    rustix::stdio::dup2_stdin(&terminal).expect("a descriptor");
    rustix::stdio::dup2_stdout(&terminal).expect("a descriptor");
    let config = rustyline::Config::builder().auto_add_history(false).build();
    let mut editor = rustyline::DefaultEditor::with_config(config).expect("an editor");
    for line in 0..count {
        black_box(editor.readline(&prompt(line)).expect("a line"));
    }
    // It waits for more to read, and has nothing to do.
    let _ = typist.kill();
    let _ = typist.wait();
}

/// GNU readline as a program; `None` where it or a C compiler is not installed.
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

/// A file with the keys of a row, gone when dropped.
struct Keys(PathBuf);

impl Keys {
    fn new(name: &str, keys: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("ossature-bench-keys-{name}-{}", std::process::id()));
        std::fs::write(&path, keys).expect("room for a few bytes");
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
        let rusty = callgrind::instructions(&format!("rustyline-{name}")).map(|all| all / each);
        for (rival, theirs) in [("gnu-readline", theirs), ("rustyline", rusty)] {
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
