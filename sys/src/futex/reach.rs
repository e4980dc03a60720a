//! The reach of a futex, and the results of a wait.

/// The threads that may sleep on a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Threads of this process: the kernel finds the sleepers by virtual address, which is faster.
    Private,
    /// The threads of every process that maps the memory of the word.
    Shared,
}

/// The result of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a wake that was taken must be acted upon or passed on"]
pub enum Wait {
    /// A wake arrived. It may have been meant for an earlier use of the word, so the caller must test the word again.
    Woken,
    /// The word did not hold the expected value, so the thread did not sleep.
    Changed,
    /// The deadline passed.
    TimedOut,
}

/// The maximum number of words for [`wait_any`](super::wait_any).
///
/// # Examples
/// ```
/// use core::sync::atomic::AtomicU32;
/// use ossature_sys::futex::{Reach, WAIT_ANY_MAX, Waiter, wait_any};
///
/// let word = AtomicU32::new(0);
/// let waiters = vec![Waiter::new(&word, 1, Reach::Private); WAIT_ANY_MAX + 1];
/// assert!(wait_any(&waiters, None).is_err());
/// ```
pub const WAIT_ANY_MAX: usize = 128;
