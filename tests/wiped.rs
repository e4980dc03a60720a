//! A password leaves no copy in memory: an allocator checks every block that is freed.
#![cfg(feature = "readline")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ossature::readline::{Editor, ReadOutcome, Step, Terminal};
use ossature::sys::deadline::Deadline;
use ossature::sys::fd::{self, OwnedFd};
use ossature::sys::pipe;
use ossature::sys::tty::{Pty, line_editing};

/// A part of every password in this file.
const NEEDLE: &[u8] = b"correct horse";

/// The number of freed blocks that contained it.
static FOUND: AtomicUsize = AtomicUsize::new(0);

struct Watching;

// SAFETY: every call is System's with the caller's own arguments. Blocks are zeroed at first, so that all bytes can be
// read.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's obligation is System's own.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's still, and was zeroed when it was made.
        let bytes = unsafe { std::slice::from_raw_parts(place, layout.size()) };
        if bytes.windows(NEEDLE.len()).any(|part| part == NEEDLE) {
            FOUND.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's obligation is System's own, and alloc's memory was System's.
        unsafe { System.dealloc(place, layout) }
    }
    // `realloc` is the default one, which copies to another block and gives this one back.
}

#[global_allocator]
static WATCHING: Watching = Watching;

fn terminal(pty: &Pty) -> Terminal {
    Terminal::new(fd::duplicate(&pty.terminal).unwrap(), fd::duplicate(&pty.terminal).unwrap()).unwrap()
}

/// Overwrites the line, as the caller of `read_password` may.
#[track_caller]
fn is_the_password(step: Step) {
    let Step::Line(mut line) = step else { panic!("no line") };
    let is_right = line.windows(NEEDLE.len()).any(|part| part == NEEDLE);
    line.fill(0);
    assert!(is_right);
}

fn write(to: &OwnedFd, bytes: &[u8]) {
    fd::write_all(to, bytes, Deadline::NEVER).unwrap();
}

/// The tests of this file are one test, because they share the count.
#[test]
fn no_copy_of_a_password_is_left_in_memory_that_was_given_back() {
    // The allocator sees what it should.
    drop(std::hint::black_box(NEEDLE.to_vec()));
    assert_eq!(FOUND.swap(0, Ordering::Relaxed), 1);

    // From a terminal: a line that grows, is erased, is typed anew, and has something behind it.
    let pty = Pty::open().unwrap();
    let mut one = terminal(&pty);
    let raw = line_editing(&pty.terminal).unwrap();
    let filler = [b'x'; 1500];
    for part in [NEEDLE, &filler, NEEDLE, b"\x15", NEEDLE, b"!\x7f\rnext ", NEEDLE, b"\r"] {
        write(&pty.controller, part);
    }
    is_the_password(one.read_password(b"> ").unwrap());
    is_the_password(one.read_password(b"> ").unwrap());
    // A password that is given up, and a terminal that ends with one ahead.
    write(&pty.controller, NEEDLE);
    write(&pty.controller, b"\r");
    write(&pty.controller, NEEDLE);
    is_the_password(one.read_password(b"> ").unwrap());
    drop(one);
    assert_eq!(FOUND.load(Ordering::Relaxed), 0, "blocks had the password");
    drop(raw);
    drop(pty);

    // From a pipe, in pieces.
    let (input, typed) = pipe::pipe(pipe::Flags::empty()).unwrap();
    let (_shown, output) = pipe::pipe(pipe::Flags::empty()).unwrap();
    let mut plain = Terminal::new(input, output).unwrap();
    for part in [&filler[..], NEEDLE, b"\n", NEEDLE, b"\n", NEEDLE] {
        write(&typed, part);
    }
    drop(typed);
    for _ in 0..3 {
        is_the_password(plain.read_password(b"> ").unwrap());
    }
    drop(plain);
    assert_eq!(FOUND.load(Ordering::Relaxed), 0, "blocks had the password");

    // The editor that reads the next line knows nothing of it: no yank, no undo, no history, no search finds it.
    let pty = Pty::open().unwrap();
    let _raw = line_editing(&pty.terminal).unwrap();
    write(&pty.controller, NEEDLE);
    write(&pty.controller, b"\r");
    is_the_password(terminal(&pty).read_password(b"> ").unwrap());
    let mut editor = Editor::new();
    editor.set_terminal(terminal(&pty));
    write(&pty.controller, b"\x19\x1f\x10\x12correct\x07next\r");
    assert_eq!(editor.read_line("> ").unwrap(), ReadOutcome::Line("next".into()));
    assert_eq!(editor.history().iter().collect::<Vec<_>>(), [&b"next"[..]]);
    drop(editor);
    assert_eq!(FOUND.load(Ordering::Relaxed), 0, "blocks had the password");
}
