//! Who may sleep on a word, and how a wait ends.

/// Who may sleep on a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Threads of this process: the kernel finds the sleepers by virtual address, which is faster.
    Private,
    /// Every process that maps the memory the word lies in.
    Shared,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a wake that was taken must be acted upon or passed on"]
pub enum Wait {
    /// Somebody called wake. It may have been meant for an earlier use of the word: look again.
    Woken,
    /// The word did not hold the expected value, so nobody slept.
    Changed,
    /// The deadline passed.
    TimedOut,
}

/// The most words that [`wait_any`](super::wait_any) takes.
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
