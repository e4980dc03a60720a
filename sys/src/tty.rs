//! Terminals: raw mode that is restored, the window's size, pseudo-terminals, the foreground process group.
//!
//! [`raw`] and [`cbreak`] return a guard that restores the former settings when it is dropped. So a panic or an early
//! return never leaves the user's terminal without echo.
//!
//! ```
//! use ossature_sys::tty::{self, Pty, WindowSize};
//!
//! let pty = Pty::open()?;
//! let raw = tty::raw(&pty.terminal)?;
//! tty::set_window_size(&pty.controller, WindowSize { rows: 24, columns: 80, ..WindowSize::default() })?;
//! assert_eq!(tty::window_size(&pty.terminal)?.columns, 80);
//! drop(raw);
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: termios(3), ioctl_tty(2), pty(7).

use core::fmt;

use rustix::process::Pid;
use rustix::pty::OpenptFlags;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, Winsize,
};

use crate::errno::{Errno, Result, retry};
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::raw as foreign;

/// `isatty(fd)`: returns whether the descriptor is a terminal.
///
/// # Examples
/// ```
/// use ossature_sys::{eventfd::EventFd, tty::{Pty, is_terminal}};
///
/// assert!(is_terminal(&Pty::open()?.terminal));
/// assert!(!is_terminal(EventFd::counter(0)?));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "isatty")]
#[doc(alias = "os.isatty")]
pub fn is_terminal(fd: impl AsFd) -> bool {
    let answer = || if rustix::termios::isatty(fd.as_fd()) { Ok(()) } else { Err(Errno::NOTTY) };
    foreign::call("isatty", answer).is_ok()
}

/// `cfmakeraw` and `tcsetattr(fd, TCSADRAIN, ...)`: makes the terminal raw until the result is dropped. Every byte
/// arrives as typed; nothing is echoed, translated or turned into a signal.
///
/// Differs from Python's `tty.setraw`: input that was typed already is kept (Python's default discards it), and the
/// call returns a guard.
///
/// # Errors
/// `ENOTTY` when it is not a terminal, `EIO` for a process in an orphaned background group.
#[doc(alias = "cfmakeraw")]
#[doc(alias = "tty.setraw")]
pub fn raw(fd: &(impl AsFd + ?Sized)) -> Result<Restore<'_>> {
    Restore::after(fd.as_fd(), |settings| {
        settings.input_modes -= InputModes::IGNBRK
            | InputModes::BRKINT
            | InputModes::PARMRK
            | InputModes::ISTRIP
            | InputModes::INLCR
            | InputModes::IGNCR
            | InputModes::ICRNL
            | InputModes::IXON;
        settings.output_modes -= OutputModes::OPOST;
        settings.local_modes -=
            LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        settings.control_modes -= ControlModes::CSIZE | ControlModes::PARENB;
        settings.control_modes |= ControlModes::CS8;
        byte_by_byte(settings);
    })
}

/// `tcsetattr(fd, TCSADRAIN, ...)`: turns `ICANON` and `ECHO` off until the result is dropped. Every byte arrives as
/// typed and is not echoed; Ctrl-C and the like still send signals.
///
/// Differs from Python's `tty.setcbreak` like [`raw`] from `tty.setraw`.
///
/// # Errors
/// `ENOTTY` when it is not a terminal, `EIO` for a process in an orphaned background group.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, tty::{Pty, cbreak}};
///
/// let pty = Pty::open()?;
/// let settings = cbreak(&pty.terminal)?;
/// fd::write(&pty.controller, b"q")?; // no Enter
/// assert_eq!(fd::read(&pty.terminal, &mut [0; 8])?, 1);
/// settings.restore()?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "tty.setcbreak")]
pub fn cbreak(fd: &(impl AsFd + ?Sized)) -> Result<Restore<'_>> {
    Restore::after(fd.as_fd(), |settings| {
        settings.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
        byte_by_byte(settings);
    })
}

/// `tcsetattr(fd, TCSADRAIN, ...)`: sets the terminal for line editing until the result is dropped. Every byte arrives
/// as typed, also those that would send signals, and nothing is echoed.
///
/// Flow control (`IXON`) and the translation of output (`OPOST`) stay as the user set them. The characters that are not
/// signals any more are those of [`special_characters`].
///
/// # Errors
/// `ENOTTY` when it is not a terminal, `EIO` for a process in an orphaned background group.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, tty::{Pty, line_editing, special_characters}};
///
/// let pty = Pty::open()?;
/// let interrupt = special_characters(&pty.terminal)?.interrupt;
/// let settings = line_editing(&pty.terminal)?;
/// fd::write(&pty.controller, b"\x03")?;
/// let mut typed = [0; 8];
/// assert_eq!(fd::read(&pty.terminal, &mut typed)?, 1);
/// assert_eq!(Some(typed[0]), interrupt);
/// settings.restore()?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn line_editing(fd: &(impl AsFd + ?Sized)) -> Result<Restore<'_>> {
    Restore::after(fd.as_fd(), |settings| {
        settings.input_modes -= InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::ISTRIP;
        settings.local_modes -=
            LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG | LocalModes::IEXTEN;
        byte_by_byte(settings);
    })
}

/// The special characters of a terminal, `c_cc` of `struct termios`; `None` for those that the user disabled.
///
/// # Examples
/// See the example of [`line_editing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[doc(alias = "c_cc")]
pub struct SpecialCharacters {
    /// Sends SIGINT: Ctrl-C.
    #[doc(alias = "VINTR")]
    pub interrupt: Option<u8>,
    /// Sends SIGQUIT: Ctrl-\.
    #[doc(alias = "VQUIT")]
    pub quit: Option<u8>,
    /// Sends SIGTSTP: Ctrl-Z.
    #[doc(alias = "VSUSP")]
    pub suspend: Option<u8>,
    /// Ends the input: Ctrl-D.
    #[doc(alias = "VEOF")]
    pub end_of_file: Option<u8>,
    /// Erases a character: Backspace.
    #[doc(alias = "VERASE")]
    pub erase: Option<u8>,
    /// Erases the line: Ctrl-U.
    #[doc(alias = "VKILL")]
    pub kill: Option<u8>,
    /// Erases a word: Ctrl-W.
    #[doc(alias = "VWERASE")]
    pub word_erase: Option<u8>,
    /// Takes the next character as it is: Ctrl-V.
    #[doc(alias = "VLNEXT")]
    pub literal_next: Option<u8>,
}

/// `tcgetattr(fd, ...)`: returns the special characters of the terminal.
///
/// # Errors
/// `ENOTTY` when it is not a terminal.
///
/// # Examples
/// See the example of [`line_editing`].
pub fn special_characters(fd: impl AsFd) -> Result<SpecialCharacters> {
    let fd = fd.as_fd();
    let settings = retry(|| foreign::call("tcgetattr", || rustix::termios::tcgetattr(fd)))?;
    // 0 is `_POSIX_VDISABLE`.
    let code = |index| Some(settings.special_codes[index]).filter(|code| *code != 0);
    let signal = |index| code(index).filter(|_| settings.local_modes.contains(LocalModes::ISIG));
    Ok(SpecialCharacters {
        interrupt: signal(SpecialCodeIndex::VINTR),
        quit: signal(SpecialCodeIndex::VQUIT),
        suspend: signal(SpecialCodeIndex::VSUSP),
        end_of_file: code(SpecialCodeIndex::VEOF),
        erase: code(SpecialCodeIndex::VERASE),
        kill: code(SpecialCodeIndex::VKILL),
        word_erase: code(SpecialCodeIndex::VWERASE),
        literal_next: code(SpecialCodeIndex::VLNEXT),
    })
}

/// Makes a read wait for one byte, without a time limit.
fn byte_by_byte(settings: &mut Termios) {
    settings.special_codes[SpecialCodeIndex::VMIN] = 1;
    settings.special_codes[SpecialCodeIndex::VTIME] = 0;
}

/// Changed settings of a terminal. Dropping this value restores the former settings.
///
/// # Examples
/// ```
/// use ossature_sys::tty::{Pty, Restore, raw};
///
/// let pty = Pty::open()?;
/// let settings: Restore<'_> = raw(&pty.terminal)?;
/// settings.restore()?; // now, with an answer; a drop does it silently
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[must_use = "dropping this value restores the former settings"]
pub struct Restore<'fd> {
    fd: BorrowedFd<'fd>,
    before: Termios,
}

impl<'fd> Restore<'fd> {
    fn after(fd: BorrowedFd<'fd>, change: impl FnOnce(&mut Termios)) -> Result<Self> {
        let before = retry(|| foreign::call("tcgetattr", || rustix::termios::tcgetattr(fd)))?;
        let mut wanted = before.clone();
        change(&mut wanted);
        set(fd, OptionalActions::Drain, &wanted)?;
        Ok(Self { fd, before })
    }

    /// Restores the former settings now, and returns whether that worked (a drop cannot).
    ///
    /// # Errors
    /// `EIO` when the terminal has hung up.
    pub fn restore(self) -> Result<()> {
        let this = core::mem::ManuallyDrop::new(self);
        this.put_back()
    }

    fn put_back(&self) -> Result<()> {
        // Not after a drain: a terminal that the user stopped with Ctrl-S would hold the caller there.
        set(self.fd, OptionalActions::Now, &self.before)
    }
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        // A terminal that has hung up has no settings to restore.
        let _ = self.put_back();
    }
}

impl fmt::Debug for Restore<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restore").field("fd", &self.fd).finish_non_exhaustive()
    }
}

fn set(fd: BorrowedFd<'_>, when: OptionalActions, settings: &Termios) -> Result<()> {
    retry(|| foreign::call("tcsetattr", || rustix::termios::tcsetattr(fd, when, settings)))
}

/// The size of a terminal's window. Unknown values are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[doc(alias = "winsize")]
#[doc(alias = "os.terminal_size")]
pub struct WindowSize {
    /// The number of lines.
    pub rows: u16,
    /// The number of characters in a line.
    pub columns: u16,
    /// The width in pixels; usually 0.
    pub x_pixels: u16,
    /// The height in pixels; usually 0.
    pub y_pixels: u16,
}

/// `ioctl(fd, TIOCGWINSZ, ...)`: returns the size of the window.
///
/// # Errors
/// `ENOTTY` when it is not a terminal.
#[doc(alias = "TIOCGWINSZ")]
#[doc(alias = "os.get_terminal_size")]
pub fn window_size(fd: impl AsFd) -> Result<WindowSize> {
    let size = foreign::call("tcgetwinsize", || rustix::termios::tcgetwinsize(fd.as_fd()))?;
    Ok(WindowSize { rows: size.ws_row, columns: size.ws_col, x_pixels: size.ws_xpixel, y_pixels: size.ws_ypixel })
}

/// `ioctl(fd, TIOCSWINSZ, ...)`: sets the size. The foreground group gets SIGWINCH if the size differs.
///
/// # Errors
/// `ENOTTY` when it is not a terminal.
#[doc(alias = "TIOCSWINSZ")]
pub fn set_window_size(fd: impl AsFd, size: WindowSize) -> Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: size.x_pixels, ws_ypixel: size.y_pixels };
    foreign::call("tcsetwinsize", || rustix::termios::tcsetwinsize(fd.as_fd(), size))
}

/// `tcgetpgrp(fd)`: returns the process group that reads from the terminal, or `None` if there is none.
///
/// # Errors
/// `ENOTTY` when it is not a terminal, or not the one that controls this session.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::{process::{fork, id, new_session}, tty::{self, Pty}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pty = Pty::open()?;
/// let mut child = fork(|| {
///     new_session().unwrap();
///     tty::make_controlling(&pty.terminal).unwrap();
///     tty::set_foreground(&pty.terminal, id()).unwrap();
///     u8::from(tty::foreground(&pty.terminal) == Ok(Some(id())))
/// })?;
/// assert_eq!(child.wait()?.code(), Some(1));
/// # Ok(()) }
/// ```
#[doc(alias = "tcgetpgrp")]
#[doc(alias = "os.tcgetpgrp")]
pub fn foreground(fd: impl AsFd) -> Result<Option<Pid>> {
    match foreign::call("tcgetpgrp", || rustix::termios::tcgetpgrp(fd.as_fd())) {
        // The wrapper's value for the kernel's group 0.
        Err(Errno::OPNOTSUPP) => Ok(None),
        done => done.map(Some),
    }
}

/// `tcsetpgrp(fd, group)`: gives the terminal to a process group of this session.
///
/// From a background group this sends SIGTTOU to the group, unless the signal is blocked or ignored.
///
/// # Errors
/// `ENOTTY` when it does not control this session, `EPERM` when the group is not in this session, `ESRCH` when there is
/// no such group.
///
/// # Examples
/// See the example of [`foreground`].
#[doc(alias = "tcsetpgrp")]
#[doc(alias = "os.tcsetpgrp")]
pub fn set_foreground(fd: impl AsFd, group: Pid) -> Result<()> {
    let fd = fd.as_fd();
    retry(|| foreign::call("tcsetpgrp", || rustix::termios::tcsetpgrp(fd, group)))
}

/// `ioctl(fd, TIOCSCTTY, 0)`: makes the terminal the controlling terminal of this session. The caller must be the
/// session leader.
///
/// # Errors
/// `EPERM` when the caller leads no session, has a terminal already, or the terminal controls another session; `ENOTTY`
/// when it is not a terminal.
///
/// # Examples
/// See the example of [`foreground`].
#[doc(alias = "TIOCSCTTY")]
pub fn make_controlling(fd: impl AsFd) -> Result<()> {
    foreign::call("ioctl", || rustix::process::ioctl_tiocsctty(fd.as_fd()))
}

/// A pseudo-terminal: bytes written to one side are read from the other.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, tty::Pty};
///
/// let pty = Pty::open()?;
/// fd::write(&pty.controller, b"typed\n")?;
/// let mut line = [0; 16];
/// assert_eq!(fd::read(&pty.terminal, &mut line)?, 6);
/// assert_eq!(&line[..6], b"typed\n");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
#[doc(alias = "openpty")]
#[doc(alias = "os.openpty")]
pub struct Pty {
    /// The side of the program that emulates the terminal.
    #[doc(alias = "master")]
    pub controller: OwnedFd,
    /// The side that programs use as their terminal.
    #[doc(alias = "slave")]
    pub terminal: OwnedFd,
}

impl Pty {
    /// `posix_openpt`, `grantpt`, `unlockpt` and `ioctl(fd, TIOCGPTPEER, ...)`: opens both sides of a new
    /// pseudo-terminal, closed on exec.
    ///
    /// It does not become the controlling terminal. The far side is opened through the near one, not by its name, so
    /// it is right in any mount namespace.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `EAGAIN` when no pseudo-terminal is left, `ENOENT` without
    /// `/dev/ptmx`.
    pub fn open() -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = retry(|| foreign::call("posix_openpt", || rustix::pty::openpt(flags)))?;
        foreign::call("grantpt", || rustix::pty::grantpt(&controller))?;
        foreign::call("unlockpt", || rustix::pty::unlockpt(&controller))?;
        let terminal = retry(|| foreign::call("ioctl", || rustix::pty::ioctl_tiocgptpeer(&controller, flags)))?;
        Ok(Self { controller, terminal })
    }
}
