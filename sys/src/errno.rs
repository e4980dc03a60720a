//! The only error type of the lower half: the kernel's number, as a newtype with the C names.
//!
//! ```
//! use ossature_sys::{errno::Errno, pipe};
//!
//! let error = pipe::capacity(std::fs::File::open("/").unwrap()).unwrap_err();
//! assert_eq!(error, Errno::BADF);
//! assert_eq!(std::io::Error::from(error).raw_os_error(), Some(Errno::BADF.raw_os_error()));
//! ```
//!
//! Source: errno(3).

pub use rustix::io::Errno;

/// The result of every fallible call of this crate.
///
/// # Examples
/// ```
/// use ossature_sys::errno::{Errno, Result};
///
/// fn half(number: u32) -> Result<u32> {
///     if number % 2 == 0 { Ok(number / 2) } else { Err(Errno::INVAL) }
/// }
/// assert_eq!((half(4), half(5)), (Ok(2), Err(Errno::INVAL)));
/// ```
pub type Result<T> = core::result::Result<T, Errno>;

/// Repeats `call` while a signal handler interrupts it (EINTR).
///
/// # Errors
/// Whatever `call` returns, other than `EINTR`.
///
/// # Examples
/// ```
/// use ossature_sys::errno::{Errno, retry};
///
/// let mut answers = [Err(Errno::INTR), Err(Errno::INTR), Ok(7)].into_iter();
/// assert_eq!(retry(|| answers.next().unwrap()), Ok(7));
/// ```
#[inline]
pub fn retry<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}
