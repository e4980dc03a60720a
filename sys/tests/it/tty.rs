//! Terminals, emulated by pseudo-terminals.

use std::fs::File;

use ossature_sys::errno::Errno;
use ossature_sys::fd::{OwnedFd, is_cloexec, read, set_nonblocking, write};
use ossature_sys::tty::{
    Pty, WindowSize, cbreak, foreground, is_terminal, line_editing, make_controlling, raw, set_foreground,
    set_window_size, special_characters, window_size,
};

use crate::support::soon;

/// All bytes of the next read, as text.
fn text(fd: &OwnedFd) -> String {
    let mut buffer = [0; 256];
    let len = soon(|| read(fd, &mut buffer)).unwrap();
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

#[test]
fn both_sides_are_terminals_closed_on_exec() {
    let pty = Pty::open().unwrap();
    assert!(is_terminal(&pty.controller) && is_terminal(&pty.terminal));
    assert!(is_cloexec(&pty.controller).unwrap() && is_cloexec(&pty.terminal).unwrap());
    assert!(!is_terminal(File::open("/dev/null").unwrap()));
}

#[test]
fn cooked_terminal_echoes_and_gives_whole_lines() {
    let pty = Pty::open().unwrap();
    write(&pty.controller, b"word\r").unwrap();
    assert_eq!(text(&pty.controller), "word\r\n");
    assert_eq!(text(&pty.terminal), "word\n");
}

#[test]
fn raw_terminal_gives_every_byte_as_it_is_and_echoes_nothing() {
    let pty = Pty::open().unwrap();
    let guard = raw(&pty.terminal).unwrap();
    write(&pty.controller, b"a\r\x03\x04").unwrap();
    assert_eq!(text(&pty.terminal), "a\r\x03\x04");
    write(&pty.terminal, b"\n").unwrap();
    assert_eq!(text(&pty.controller), "\n", "no echo came before it and nothing was translated");
    drop(guard);
    write(&pty.controller, b"b\r").unwrap();
    assert_eq!(text(&pty.controller), "b\r\n", "the echo is back");
    assert_eq!(text(&pty.terminal), "b\n");
}

#[test]
fn line_editing_gives_signals_as_bytes_and_keeps_the_output() {
    let pty = Pty::open().unwrap();
    let special = special_characters(&pty.terminal).unwrap();
    assert_eq!((special.interrupt, special.suspend, special.quit), (Some(3), Some(26), Some(28)));
    assert_eq!((special.end_of_file, special.erase, special.kill), (Some(4), Some(127), Some(21)));
    assert_eq!((special.word_erase, special.literal_next), (Some(23), Some(22)));
    let guard = line_editing(&pty.terminal).unwrap();
    write(&pty.controller, b"a\r\x03\x1a\x16").unwrap();
    assert_eq!(text(&pty.terminal), "a\r\x03\x1a\x16");
    write(&pty.terminal, b"\n").unwrap();
    assert_eq!(text(&pty.controller), "\r\n", "no echo came before it, and output is translated as ever");
    // Nothing is a signal while the line is edited.
    assert_eq!(special_characters(&pty.terminal).unwrap().interrupt, None);
    guard.restore().unwrap();
    assert_eq!(special_characters(&pty.terminal).unwrap(), special);
}

#[test]
fn cbreak_gives_every_byte_and_still_translates() {
    let pty = Pty::open().unwrap();
    let guard = cbreak(&pty.terminal).unwrap();
    write(&pty.controller, b"a\r").unwrap();
    assert_eq!(text(&pty.terminal), "a\n");
    guard.restore().unwrap();
    write(&pty.controller, b"b\r").unwrap();
    assert_eq!(text(&pty.controller), "b\r\n");
}

#[test]
fn what_was_typed_before_raw_mode_is_kept() {
    let pty = Pty::open().unwrap();
    write(&pty.controller, b"early\r").unwrap();
    // Once it is echoed it has arrived.
    assert_eq!(text(&pty.controller), "early\r\n");
    let _guard = raw(&pty.terminal).unwrap();
    assert_eq!(text(&pty.terminal), "early\n");
}

#[test]
fn unwinding_puts_the_settings_back() {
    let pty = Pty::open().unwrap();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = raw(&pty.terminal).unwrap();
        std::panic::resume_unwind(Box::new("as if something went wrong"));
    }));
    assert!(unwound.is_err());
    write(&pty.controller, b"x\r").unwrap();
    assert_eq!(text(&pty.controller), "x\r\n");
}

#[test]
fn window_size_is_seen_from_both_sides() {
    let pty = Pty::open().unwrap();
    assert_eq!(window_size(&pty.terminal).unwrap(), WindowSize::default());
    let size = WindowSize { rows: 50, columns: u16::MAX, x_pixels: 3, y_pixels: 4 };
    set_window_size(&pty.controller, size).unwrap();
    assert_eq!(window_size(&pty.terminal), Ok(size));
    assert_eq!(window_size(&pty.controller), Ok(size));
}

#[test]
fn what_is_no_terminal_is_refused() {
    let null = File::open("/dev/null").unwrap();
    assert_eq!(raw(&null).map(drop), Err(Errno::NOTTY));
    assert_eq!(cbreak(&null).map(drop), Err(Errno::NOTTY));
    assert_eq!(window_size(&null), Err(Errno::NOTTY));
    assert_eq!(set_window_size(&null, WindowSize::default()), Err(Errno::NOTTY));
    assert_eq!(foreground(&null), Err(Errno::NOTTY));
}

#[test]
fn terminal_of_another_session_has_no_foreground_here() {
    let pty = Pty::open().unwrap();
    assert_eq!(foreground(&pty.controller), Ok(None));
    assert_eq!(foreground(&pty.terminal), Err(Errno::NOTTY));
    let group = ossature_sys::signal::Pid::from_raw(std::process::id() as i32).unwrap();
    assert_eq!(set_foreground(&pty.terminal, group), Err(Errno::NOTTY));
}

#[test]
fn session_leader_gets_a_terminal_and_is_its_foreground() {
    let pty = Pty::open().unwrap();
    // SAFETY: the child makes system calls only and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: setsid takes nothing.
        let session = unsafe { libc::setsid() };
        let itself = ossature_sys::signal::Pid::from_raw(session);
        let wrong = match (make_controlling(&pty.terminal), itself) {
            (Ok(()), Some(itself)) if foreground(&pty.terminal) != Ok(Some(itself)) => 2,
            (Ok(()), Some(itself)) if set_foreground(&pty.terminal, itself).is_err() => 3,
            (Ok(()), Some(itself)) if foreground(&pty.controller) != Ok(Some(itself)) => 4,
            (Ok(()), Some(_)) => 0,
            _ => 1,
        };
        // SAFETY: _exit does not return and runs no destructor.
        unsafe { libc::_exit(wrong) };
    }
    let mut status = -1;
    // SAFETY: `status` is valid for a write.
    soon(|| assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child));
    assert_eq!(status, 0);
}

#[test]
fn hung_up_terminal_reads_as_an_error() {
    let Pty { controller, terminal } = Pty::open().unwrap();
    drop(terminal);
    set_nonblocking(&controller).unwrap();
    assert_eq!(soon(|| read(&controller, &mut [0; 8])), Err(Errno::IO));
}
