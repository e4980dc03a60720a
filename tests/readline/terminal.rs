//! Lines from a terminal that a pseudo-terminal emulates, and from input that is not a terminal.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ossature::readline::{Editor, ReadOutcome, Step, Terminal};
use ossature::sys::deadline::Deadline;
use ossature::sys::fd::{self, OwnedFd};
use ossature::sys::pipe;
use ossature::sys::sched;
use ossature::sys::signal::{self, Flags, Signal, SignalSet};
use ossature::sys::tty::{Pty, SpecialCharacters, WindowSize, line_editing, set_window_size, special_characters};

const PATIENCE: Duration = Duration::from_secs(20);

fn pty() -> Pty {
    let pty = Pty::open().unwrap();
    set_window_size(&pty.controller, WindowSize { rows: 10, columns: 40, ..WindowSize::default() }).unwrap();
    pty
}

fn editor(pty: &Pty) -> Editor {
    let mut editor = Editor::new();
    editor.set_terminal(terminal(pty));
    editor
}

fn terminal(pty: &Pty) -> Terminal {
    Terminal::new(fd::duplicate(&pty.terminal).unwrap(), fd::duplicate(&pty.terminal).unwrap()).unwrap()
}

/// The far side of the terminal: reads its output until `text` appears.
struct Far<'p> {
    pty: &'p Pty,
    shown: Vec<u8>,
}

impl<'p> Far<'p> {
    fn new(pty: &'p Pty) -> Self {
        Self { pty, shown: Vec::new() }
    }

    fn until(&mut self, text: &str) -> String {
        let until = Deadline::after(PATIENCE);
        loop {
            let shown = String::from_utf8_lossy(&self.shown).into_owned();
            if shown.contains(text) {
                return shown;
            }
            assert!(!until.has_passed(), "{text:?} is not in {shown:?}");
            let mut buffer = [0; 1024];
            let mut wait = [ossature::sys::poll::PollFd::new(&self.pty.controller, ossature::sys::poll::PollFlags::IN)];
            if ossature::sys::poll::poll(&mut wait, until).unwrap() > 0 {
                let len = fd::read(&self.pty.controller, &mut buffer).unwrap();
                self.shown.extend_from_slice(&buffer[..len]);
            }
        }
    }

    fn types(&self, keys: &[u8]) {
        fd::write_all(&self.pty.controller, keys, Deadline::after(PATIENCE)).unwrap();
    }
}

fn settings(pty: &Pty) -> SpecialCharacters {
    special_characters(&pty.terminal).unwrap()
}

/// Runs a reader beside a typist, which gets the far side of the terminal once the prompt is shown.
fn read<T: Send>(pty: &Pty, read: impl FnOnce() -> T + Send, types: impl FnOnce(&mut Far<'_>)) -> T {
    std::thread::scope(|scope| {
        let reader = scope.spawn(read);
        let mut far = Far::new(pty);
        far.until("> ");
        types(&mut far);
        reader.join().unwrap()
    })
}

#[test]
fn a_line_is_edited_and_the_settings_come_back() {
    let pty = pty();
    let before = settings(&pty);
    let line = read(
        &pty,
        || editor(&pty).read_line("> ").unwrap(),
        |far| {
            assert_ne!(settings(&pty), before, "signals are bytes while the line is edited");
            far.types(b"bcd\x01a\r");
        },
    );
    assert_eq!(line, ReadOutcome::Line("abcd".into()));
    assert_eq!(settings(&pty), before);
}

#[test]
fn the_interrupt_character_abandons_the_line() {
    let pty = pty();
    let before = settings(&pty);
    let line = read(&pty, || editor(&pty).read_line("> ").unwrap(), |far| far.types(b"abc\x03"));
    assert_eq!(line, ReadOutcome::Interrupted);
    assert_eq!(settings(&pty), before);
    Far::new(&pty).until("^C");
}

#[test]
fn the_end_of_file_character_ends_the_input_on_an_empty_line() {
    let pty = pty();
    assert_eq!(read(&pty, || editor(&pty).read_line("> ").unwrap(), |far| far.types(b"\x04")), ReadOutcome::Eof);
}

#[test]
fn a_panic_gives_the_terminal_back() {
    let pty = pty();
    let before = settings(&pty);
    let mut editor = editor(&pty);
    editor.on_startup(|_| panic!("planned"));
    let caught = catch_unwind(AssertUnwindSafe(|| editor.read_line("> ")));
    assert!(caught.is_err());
    assert_eq!(settings(&pty), before);
}

#[test]
fn another_size_of_the_window_draws_the_line_anew() {
    let pty = pty();
    let line = read(
        &pty,
        || editor(&pty).read_line("> ").unwrap(),
        |far| {
            far.types(b"abcdefgh");
            far.until("abcdefgh");
            set_window_size(&pty.controller, WindowSize { rows: 10, columns: 6, ..WindowSize::default() }).unwrap();
            far.types(b"i");
            // In rows of six columns the text is in pieces.
            far.until("> abcdefgh");
            far.types(b"\r");
        },
    );
    assert_eq!(line, ReadOutcome::Line("abcdefghi".into()));
}

/// The signal is sent to a thread of its own, because the kernel could deliver a process's signal to any thread of a
/// test program.
#[test]
fn a_line_that_waits_is_drawn_anew_when_the_window_changes() {
    let pty = pty();
    let (tell, told) = std::sync::mpsc::channel();
    let line = read(
        &pty,
        || {
            tell.send(sched::thread_id()).unwrap();
            editor(&pty).read_line("> ").unwrap()
        },
        |far| {
            far.types(b"abcdefgh");
            far.until("abcdefgh");
            set_window_size(&pty.controller, WindowSize { rows: 10, columns: 6, ..WindowSize::default() }).unwrap();
            signal::send(told.recv().unwrap(), Signal::WINCH).unwrap();
            far.shown.clear();
            far.until("> abcdefgh"); // no key was typed
            far.types(b"\r");
        },
    );
    assert_eq!(line, ReadOutcome::Line("abcdefgh".into()));
}

#[test]
fn a_handler_of_the_program_sees_the_interrupt() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn note(_signal: i32) {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler changes an atomic and does nothing else, and a function lives for ever.
    let before = unsafe { signal::handle(Signal::INT, note, Flags::RESTART, SignalSet::EMPTY) }.unwrap();
    let pty = pty();
    let mut editor = editor(&pty);
    assert_eq!(read(&pty, || editor.read_line("> ").unwrap(), |far| far.types(b"abc\x03")), ReadOutcome::Interrupted);
    assert!(SEEN.load(Ordering::Relaxed) >= 1); // other tests interrupt lines too
    // The next line has nothing of the one that was abandoned.
    let next = read(&pty, || editor.read_line("> ").unwrap(), |far| far.types(b"x\r"));
    assert_eq!(next, ReadOutcome::Line("x".into()));
    // SAFETY: the action was the default of the process.
    unsafe { signal::reinstate(Signal::INT, before) }.unwrap();
}

#[test]
fn a_printer_does_not_tear_the_line() {
    let pty = pty();
    let terminal = terminal(&pty);
    let printer = terminal.printer();
    let mut editor = Editor::new();
    editor.set_terminal(terminal);
    printer.print("before").unwrap();
    printer.print("").unwrap();
    let mut shown = Vec::new();
    let line = read(
        &pty,
        || editor.read_line("> ").unwrap(),
        |far| {
            far.types(b"abc");
            far.until("abc");
            printer.print("from\nanother thread").unwrap();
            far.until("another thread");
            far.types(b"def");
            far.until("def");
            shown = far.shown.clone();
            far.types(b"\r");
        },
    );
    assert_eq!(line, ReadOutcome::Line("abcdef".into()));
    let mut screen = vt100::Parser::new(10, 40, 0);
    screen.process(&shown);
    assert_eq!(screen.screen().contents(), "before\n\nfrom\nanother thread\n> abcdef");
}

#[test]
fn a_loop_of_the_program_writes_above_the_line() {
    let (mut editor, mut out) = (Editor::new(), Vec::new());
    editor.resized(20, 10, &mut out);
    let _ = editor.begin("first\n\x01\x1b[1m\x02> \x01\x1b[0m\x02", &mut out);
    let _ = editor.feed(b"a line of more than one row\x01\x06", &mut out);
    for news in ["one", "two"] {
        editor.erase(&mut out);
        out.extend_from_slice(format!("{news}\r\n").as_bytes());
        editor.redisplay(&mut out);
        let _ = editor.feed(b"X", &mut out);
    }
    let mut screen = vt100::Parser::new(10, 20, 0);
    screen.process(&out);
    let shown = "one\ntwo\nfirst\n> aXX line of more than one row";
    assert_eq!((screen.screen().contents().as_str(), screen.screen().cursor_position()), (shown, (3, 5)));
}

#[test]
fn a_password_is_not_shown() {
    let pty = pty();
    let mut shown = String::new();
    let step = read(
        &pty,
        || terminal(&pty).read_password(b"> ").unwrap(),
        |far| {
            far.types("sesamé\x7fe!\r".as_bytes());
            shown = far.until("\n");
        },
    );
    assert_eq!(step, Step::Line(b"sesame!".to_vec()));
    assert!(!shown.contains("ses"), "{shown}");
}

#[test]
fn what_is_typed_behind_a_password_is_the_next_line() {
    let pty = pty();
    let (first, second) = read(
        &pty,
        || {
            let mut terminal = terminal(&pty);
            let first = terminal.read_password(b"> ").unwrap();
            (first, terminal.read_password(b"again> ").unwrap())
        },
        |far| far.types(b"secret\rnext\r"),
    );
    assert_eq!((first, second), (Step::Line(b"secret".to_vec()), Step::Line(b"next".to_vec())));
}

#[test]
fn a_key_that_begins_sequences_acts_alone_after_its_time() {
    let pty = pty();
    let mut editor = editor(&pty);
    for line in ["set editing-mode vi", "set keyseq-timeout 20"] {
        editor.parse_and_bind(line).unwrap();
    }
    let line = read(
        &pty,
        || editor.read_line("> ").unwrap(),
        |far| {
            far.types(b"abc\x1b");
            // The cursor goes back as soon as the key is understood.
            far.until("\x08");
            far.types(b"[\r");
        },
    );
    assert_eq!(line, ReadOutcome::Line("abc".into()));
}

/// Each drawing calls the highlighter once.
#[test]
fn what_waits_to_be_read_is_drawn_once() {
    let pty = pty();
    let mut editor = editor(&pty);
    let drawings = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&drawings);
    editor.set_highlighter(move |line, _| {
        count.fetch_add(1, Ordering::Relaxed);
        line.to_owned()
    });
    let _raw = line_editing(&pty.terminal).unwrap();
    let text = "text ".repeat(790);
    fd::write_all(&pty.controller, text.as_bytes(), Deadline::after(PATIENCE)).unwrap();
    fd::write_all(&pty.controller, b"\r", Deadline::after(PATIENCE)).unwrap();
    assert_eq!(editor.read_line("> ").unwrap(), ReadOutcome::Line(text));
    // The prompt, and the text; once more if the terminal had not got all of it when the line began.
    assert!(drawings.load(Ordering::Relaxed) <= 3, "{drawings:?}");
}

fn through_a_pipe(input: &[u8]) -> (Vec<Step>, Vec<u8>) {
    let (reader, writer) = pipe::pipe(pipe::Flags::empty()).unwrap();
    let (shown, output) = pipe::pipe(pipe::Flags::empty()).unwrap();
    fd::write_all(&writer, input, Deadline::after(PATIENCE)).unwrap();
    drop(writer);
    let mut terminal = Terminal::new(reader, output).unwrap();
    assert!(!terminal.is_interactive());
    let mut steps = Vec::new();
    loop {
        let step = terminal.read_password(b"\x01\x1b[1m\x02>\x01\x1b[0m\x02 ").unwrap();
        let ended = step == Step::Eof;
        steps.push(step);
        if ended {
            break;
        }
    }
    drop(terminal);
    (steps, all(&shown))
}

fn all(from: &OwnedFd) -> Vec<u8> {
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match fd::read(from, &mut buffer).unwrap() {
            0 => return text,
            len => text.extend_from_slice(&buffer[..len]),
        }
    }
}

#[test]
fn redirected_input_gives_plain_lines_and_no_sequences() {
    let (steps, shown) = through_a_pipe(b"one\x01\x7f\ntwo\xff\n\nlast");
    let lines: [&[u8]; 4] = [b"one\x01\x7f", b"two\xff", b"", b"last"];
    let expected: Vec<Step> = lines.iter().map(|line| Step::Line(line.to_vec())).chain([Step::Eof]).collect();
    assert_eq!(steps, expected);
    assert_eq!(shown, b"> > > > > ");
}
