//! Terminals with failing system calls.

use ossature_sys::errno::Errno;
use ossature_sys::tty::{
    Pty, WindowSize, cbreak, foreground, line_editing, make_controlling, raw, set_foreground, set_window_size,
    special_characters, window_size,
};

use crate::sweep::{alone, fails_with, survives, sweep};

#[test]
fn everything_about_a_terminal_ends_and_leaks_nothing() {
    sweep("tty", &["posix_openpt", "tcgetattr", "tcsetattr"], || {
        let pty = Pty::open()?;
        raw(&pty.terminal)?.restore()?;
        drop(cbreak(&pty.terminal)?);
        special_characters(&pty.terminal)?;
        line_editing(&pty.terminal)?.restore()?;
        set_window_size(&pty.terminal, WindowSize::default())?;
        window_size(&pty.controller)?;
        foreground(&pty.controller).map(drop)
    });
}

#[test]
fn refusals_come_back() {
    let _alone = alone();
    for errno in [Errno::MFILE, Errno::AGAIN, Errno::NOENT] {
        fails_with("posix_openpt", errno, Pty::open);
    }
    fails_with("grantpt", Errno::ACCESS, Pty::open);
    fails_with("unlockpt", Errno::NOTTY, Pty::open);
    fails_with("ioctl", Errno::MFILE, Pty::open);
    let pty = Pty::open().unwrap();
    fails_with("tcsetattr", Errno::IO, || raw(&pty.terminal).map(drop));
    fails_with("tcgetattr", Errno::IO, || cbreak(&pty.terminal).map(drop));
    fails_with("tcgetattr", Errno::IO, || special_characters(&pty.terminal));
    fails_with("tcsetattr", Errno::IO, || line_editing(&pty.terminal).map(drop));
    fails_with("tcsetwinsize", Errno::IO, || set_window_size(&pty.terminal, WindowSize::default()));
    fails_with("tcgetwinsize", Errno::IO, || window_size(&pty.terminal));
    let itself = ossature_sys::signal::Pid::from_raw(std::process::id() as i32).unwrap();
    fails_with("tcsetpgrp", Errno::PERM, || set_foreground(&pty.terminal, itself));
    fails_with("tcgetpgrp", Errno::IO, || foreground(&pty.terminal));
    fails_with("ioctl", Errno::PERM, || make_controlling(&pty.terminal));
}

#[test]
fn interrupted_change_is_made_again() {
    let _alone = alone();
    let pty = Pty::open().unwrap();
    survives("tcsetattr", Errno::INTR, || raw(&pty.terminal)?.restore());
    survives("posix_openpt", Errno::INTR, || Pty::open().map(drop));
}
