//! The log messages of this part of the crate: Python's `multiprocessing.get_logger` and `log_to_stderr`.
//!
//! All messages of this part of the crate go to the `log` crate's facade under the target [`multiprocessing`](TARGET),
//! with the texts of CPython. The logger that the program has installed there gets them; without a logger they are
//! dropped. [`log_to_stderr`] prints them too, in CPython's form and without any other crate. It does not take the
//! facade's one place for a logger, so a program can have both. A message that both take is printed twice.
//!
//! ```standalone_crate
//! use ossature::multiprocessing::Process;
//! use ossature::multiprocessing::logging::{LevelFilter, log_to_stderr};
//!
//! # fn main() -> ossature::Result<()> {
//! let logger = log_to_stderr(LevelFilter::Info);
//! logger.info("doom is near"); // [INFO/MainProcess] doom is near
//! Process::builder().name("Bob").fork(|| ())?.join()?; // [INFO/Bob] child process calling self.run() ...
//! # Ok(()) }
//! ```
//!
//! | Python | here |
//! | --- | --- |
//! | `get_logger()`, `log_to_stderr(level)` | the same names |
//! | `logger.setLevel(level)` | [`Logger::set_level`]: the level of printed records; the `log` crate has its own level |
//! | `CRITICAL` | [`Level::Error`] |
//! | `WARNING` | [`Level::Warn`], printed as `WARNING` |
//! | `util.SUBWARNING` (25) | [`SUB_WARNING`], which is `Level::Warn`: the `log` crate has no level between it and `Info` |
//! | `util.SUBDEBUG` (5) | [`SUB_DEBUG`], which is `Level::Trace`, printed as `SUBDEBUG` as in Python 2 (`Level 5` in 3) |
//!
//! **At the end.** A logger may keep thread-local values. These are dropped before the program's `atexit` callbacks
//! run, and before some other destructors. From then on this thread sends nothing to the facade. So the messages of a
//! process at its own normal end, for example that it terminates its daemons, are only printed. Children log the same
//! messages earlier, while their thread-local values live.
//!
//! A line is one write, unless it is longer than 4 KiB. Printing takes no lock that a thread of the parent may have
//! held at a fork, and no memory from the heap.

use std::cell::Cell;
use std::fmt::{self, Display, Write};
use std::io::stderr;
use std::sync::atomic::Ordering::Relaxed;

use ossature_sys::stream::write_without_sigpipe as write;

use crate::multiprocessing::state::log_setup::{LEVEL, PRINTS, SETUP};
use crate::multiprocessing::state::process_state;

pub use log::{Level, LevelFilter};

/// The target of the messages in the `log` facade.
#[doc(alias = "LOGGER_NAME")]
pub const TARGET: &str = "multiprocessing";

/// The level of messages that matter only when searching for a fault in this crate.
#[doc(alias = "SUBDEBUG")]
pub const SUB_DEBUG: Level = Level::Trace;

/// The level of messages that rarely deserve a warning.
#[doc(alias = "SUBWARNING")]
pub const SUB_WARNING: Level = Level::Warn;

/// Returns the logger of this part of the crate. Until [`log_to_stderr`] its level is not set, and it prints nothing.
///
/// # Examples
/// See the example of [`Logger`].
pub fn get_logger() -> &'static Logger {
    &Logger(())
}

/// From now on, this process prints messages to standard error as `[LEVEL/PROCESSNAME] message`. Children that it
/// starts from then on print them too, whatever the start method.
///
/// Without a level the one that was set before is kept; if none was, it is `Warn`. Differs from Python: a second call
/// changes only the level, where Python prints everything twice from then on, and `LevelFilter::Off` is off.
pub fn log_to_stderr(level: impl Into<Option<LevelFilter>>) -> &'static Logger {
    let logger = get_logger();
    if let Some(level) = level.into() {
        logger.set_level(level);
    }
    SETUP.fetch_or(PRINTS, Relaxed);
    logger
}

fn filter(state: u8) -> Option<LevelFilter> {
    LevelFilter::iter().find(|filter| *filter as u8 == state & LEVEL)
}

fn prints(level: Level) -> bool {
    let state = SETUP.load(Relaxed);
    state & PRINTS != 0 && level <= filter(state).unwrap_or(LevelFilter::Warn)
}

/// The logger of this part of the crate. The program may log its own messages with it, too.
///
/// They are given to the facade as well, if a logger is installed there.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::get_logger;
/// use ossature::multiprocessing::logging::{Level, LevelFilter, Logger, log_to_stderr};
///
/// let logger: &Logger = get_logger();
/// assert_eq!(logger.level(), None, "nothing is printed");
/// log_to_stderr(LevelFilter::Warn);
/// logger.set_level(LevelFilter::Error);
/// assert_eq!(logger.level(), Some(LevelFilter::Error));
/// logger.error("no more paper"); // [ERROR/MainProcess] no more paper
/// logger.warning("not printed");
/// logger.debug("not printed either");
/// logger.log(Level::Info, format_args!("{} sheets", 0));
/// ```
#[derive(Debug)]
pub struct Logger(());

impl Logger {
    /// The level up to which messages are printed; `None` while it is not set (Python's `NOTSET`).
    #[doc(alias = "getEffectiveLevel")]
    pub fn level(&self) -> Option<LevelFilter> {
        filter(SETUP.load(Relaxed))
    }

    /// Sets the level up to which messages are printed, once [`log_to_stderr`] was called.
    #[doc(alias = "setLevel")]
    pub fn set_level(&self, level: LevelFilter) {
        let set = |state| Some(state & !LEVEL | level as u8);
        let _ = SETUP.fetch_update(Relaxed, Relaxed, set); // `set` never says no
    }

    /// Logs `message`.
    pub fn log(&self, level: Level, message: impl Display) {
        emit(level, format_args!("{message}"));
    }

    /// Logs `message` at level `Error`.
    pub fn error(&self, message: impl Display) {
        self.log(Level::Error, message);
    }

    /// Logs `message` at level `Warn`.
    pub fn warning(&self, message: impl Display) {
        self.log(Level::Warn, message);
    }

    /// Logs `message` at level `Info`.
    pub fn info(&self, message: impl Display) {
        self.log(Level::Info, message);
    }

    /// Logs `message` at level `Debug`.
    pub fn debug(&self, message: impl Display) {
        self.log(Level::Debug, message);
    }
}

/// Prints the message if its level is printed, and passes the message to the `log` facade.
#[inline]
pub(crate) fn emit(level: Level, message: fmt::Arguments<'_>) {
    if prints(level) {
        print(level, message);
    }
    if level <= log::max_level() && !is_late() {
        log::log!(target: TARGET, level, "{message}");
    }
}

thread_local! {
    /// Whether the thread-local values of this thread may have been dropped. This value has no destructor, so a read is
    /// always allowed.
    static LATE: Cell<bool> = const { Cell::new(false) };
    static LAST: Last = const { Last };
}

/// A thread-local value that records its own drop. The value is made before the first message, so before the logger
/// makes its own values. Values made last are dropped first, so this one is dropped after those of the logger. If the
/// logger made a value earlier, that value is dropped later, and this thread stops using the facade earlier than
/// necessary.
struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        LATE.set(true);
    }
}

/// Whether the thread-local values of a logger may have been dropped.
fn is_late() -> bool {
    LATE.get() || LAST.try_with(|_| ()).is_err()
}

/// Records that the process is ending: the C library has dropped the thread-local values of the calling thread.
pub(crate) fn set_late() {
    LATE.set(true);
}

/// Logs at the level of the same name, with the arguments of `format!`.
macro_rules! debug {
    ($($message:tt)+) => {
        $crate::multiprocessing::logging::emit(log::Level::Debug, format_args!($($message)+))
    };
}

/// Logs at the level of the same name, with the arguments of `format!`.
macro_rules! info {
    ($($message:tt)+) => {
        $crate::multiprocessing::logging::emit(log::Level::Info, format_args!($($message)+))
    };
}

/// Logs at the level of the same name, with the arguments of `format!`.
macro_rules! warning {
    ($($message:tt)+) => {
        $crate::multiprocessing::logging::emit(log::Level::Warn, format_args!($($message)+))
    };
}

pub(crate) use {debug, info, warning};

/// Prints a message. A function of its own, because its line takes a page of stack, which a child that prints nothing
/// does not need.
#[cold]
#[inline(never)]
fn print(level: Level, message: fmt::Arguments<'_>) {
    let level = match level {
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        Level::Trace => "SUBDEBUG",
    };
    let mut line = Line { bytes: [0; 4096], filled: 0 };
    // If the write to standard error fails, the error cannot be reported.
    let _ = writeln!(line, "[{level}/{}] {message}", process_state().name()).and_then(|()| line.flush());
}

/// A line that is being written to standard error.
struct Line {
    bytes: [u8; 4096],
    filled: usize,
}

impl Line {
    /// Writes the line without the lock of the standard library's handle: a thread that this process lost at the fork
    /// may hold that lock.
    fn flush(&mut self) -> fmt::Result {
        let mut rest = self.bytes.get(..self.filled).unwrap_or_default();
        while !rest.is_empty() {
            let written = write(stderr(), rest).map_err(|_| fmt::Error)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        self.filled = 0;
        Ok(())
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut text = text.as_bytes();
        while !text.is_empty() {
            let room = self.bytes.get_mut(self.filled..).unwrap_or_default();
            let taken = room.len().min(text.len());
            let (now, later) = text.split_at(taken);
            room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            self.filled += taken;
            text = later;
            if self.filled == self.bytes.len() {
                self.flush()?;
            }
        }
        Ok(())
    }
}
