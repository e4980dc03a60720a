//! The one error of the lower half: the kernel's number, as a newtype that knows its names.
//!
//! Source: errno(3).

pub use rustix::io::Errno;

use crate::deadline::{Deadline, Timespec};

/// What every fallible call of this crate returns.
pub type Result<T> = core::result::Result<T, Errno>;

/// Repeats `call` while a signal handler interrupts it (EINTR).
///
/// # Errors
/// Whatever `call` returns, other than `EINTR`.
#[inline]
pub fn retry<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Repeats `call` while a signal handler interrupts it, handing it what is left of the deadline each time.
///
/// `None` stands for [`Deadline::NEVER`]; once the deadline has passed `call` is given zero, so that it looks once more
/// and does not sleep.
///
/// # Errors
/// Whatever `call` returns, other than `EINTR`.
#[inline]
pub fn retry_until<T>(deadline: Deadline, mut call: impl FnMut(Option<&Timespec>) -> Result<T>) -> Result<T> {
    loop {
        let left = deadline.timespec_left();
        match call(left.as_ref()) {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}
