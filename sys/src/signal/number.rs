//! Signals by their numbers.

use rustix::process::Signal;

/// The signal with this number; `None` for a number that is not a signal or that is reserved for libc.
///
/// # Examples
/// ```
/// use ossature_sys::signal::{Signal, numbered};
///
/// assert_eq!(numbered(9), Some(Signal::KILL));
/// assert_eq!(numbered(0), None);
/// assert_eq!(numbered(32), None, "libc's threads use it");
/// ```
#[doc(alias = "signal.Signals")]
pub fn numbered(number: i32) -> Option<Signal> {
    if let Some(named) = Signal::from_named_raw(number) {
        return Some(named);
    }
    if number < libc::SIGRTMIN() || number > libc::SIGRTMAX() {
        return None;
    }
    // SAFETY: the number is in the real-time range that libc leaves to programs, so it is valid and not reserved.
    Some(unsafe { Signal::from_raw_unchecked(number) })
}
