//! `read_line` on a terminal, and on input that is not a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;

use ossature::ErrorKind;
use ossature::readline::{Editor, ReadOutcome, Terminal};
use ossature::sys::deadline::Deadline;
use ossature::sys::fd::duplicate;
use ossature::sys::pipe::{Flags, pipe};
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::tty::{self, Pty, WindowSize};

fn line(text: &str) -> ReadOutcome {
    ReadOutcome::Line(text.to_owned())
}

#[test]
fn a_line_is_edited_on_a_terminal() {
    let pty = Pty::open().unwrap();
    tty::set_window_size(&pty.terminal, WindowSize { rows: 24, columns: 80, ..WindowSize::default() }).unwrap();
    let mut editor = Editor::new();
    editor.set_terminal(Terminal::new(duplicate(&pty.terminal).unwrap(), duplicate(&pty.terminal).unwrap()).unwrap());
    let _raw = tty::line_editing(&pty.terminal).unwrap(); // what is typed ahead is no control character of the terminal
    let mut keyboard = File::from(pty.controller);
    keyboard.write_all(b"wrld\x02\x02\x02o\rtwo\r\x10\x10!\r\x04").unwrap();
    assert_eq!(editor.read_line("> ").unwrap(), line("world"));
    assert_eq!(editor.read_line("> ").unwrap(), line("two"), "typed ahead");
    assert_eq!(editor.read_line("> ").unwrap(), line("world!"));
    assert_eq!(editor.read_line("> ").unwrap(), ReadOutcome::Eof);
    let (mut shown, mut part) = (Vec::new(), [0; 4096]);
    while poll(&mut [PollFd::new(&keyboard, PollFlags::IN)], Deadline::NOW).unwrap() > 0 {
        let count = keyboard.read(&mut part).unwrap();
        shown.extend_from_slice(&part[..count]);
    }
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("> world!"), "{shown:?}");
}

#[test]
fn what_is_no_terminal_is_read_as_it_is() {
    let (input, writer) = pipe(Flags::empty()).unwrap();
    let (screen, output) = pipe(Flags::empty()).unwrap();
    let mut editor = Editor::new();
    editor.set_terminal(Terminal::new(input, output).unwrap());
    File::from(duplicate(&writer).unwrap()).write_all(b"a\x02b\tc\n\xff\nlast").unwrap();
    drop(writer);
    assert_eq!(editor.read_line("> ").unwrap(), line("a\x02b\tc"));
    assert_eq!(editor.read_line("> ").unwrap_err().kind(), ErrorKind::Decode);
    match editor.read_line_os("> ").unwrap() {
        ReadOutcome::Line(last) => assert_eq!(last.as_bytes(), b"last"),
        other => panic!("{other:?}"),
    }
    assert_eq!(editor.read_line("> ").unwrap(), ReadOutcome::Eof);
    assert!(editor.history().is_empty(), "plain lines are no history");
    drop(editor);
    let mut shown = String::new();
    File::from(screen).read_to_string(&mut shown).unwrap();
    assert!(!shown.contains('\x1b'), "{shown:?}");
}
