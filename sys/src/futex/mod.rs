//! Waits on a word of memory: a thread sleeps while the word holds a value, and another wakes it.
//!
//! The kernel keeps no object; a futex is any aligned 32-bit word. [`wait`] compares and falls asleep in one step, so a
//! change made before the [`wake`] is never missed. A wait may also end for no reason, so callers must test the word
//! again.
//!
//! [`Reach`] determines which threads may sleep on the word: those of this process, or of every process that maps it.
//!
//! ```
//! use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
//! use ossature_sys::{deadline::Deadline, futex::{Reach, Wait, wait, wake}};
//!
//! static READY: AtomicU32 = AtomicU32::new(0);
//! # extern crate std;
//! let waiter = std::thread::spawn(|| {
//!     while READY.load(SeqCst) == 0 {
//!         wait(&READY, 0, Reach::Private, Deadline::NEVER).unwrap();
//!     }
//! });
//! READY.store(1, SeqCst);
//! wake(&READY, 1, Reach::Private).unwrap();
//! waiter.join().unwrap();
//! assert_eq!(wait(&READY, 0, Reach::Private, Deadline::NOW), Ok(Wait::Changed));
//! ```
//!
//! Source: futex(2), futex_waitv in the kernel's userspace-api/futex2.

#[cfg(not(loom))]
mod kernel;
mod limit;
mod lock;
mod reach;

use crate::deadline::Deadline;
use crate::errno::Result;
#[cfg(loom)]
use crate::model::futex as kernel;

pub(crate) use kernel::{FutexWord, give_way, touch, wait_any_at, wait_as, waits_on_several, wake_one_of};
pub use kernel::{Waiter, wait, wake};
pub use limit::{Cancel, Limit};
pub use lock::WordLock;
pub use reach::{Reach, WAIT_ANY_MAX, Wait};

/// `futex_waitv(waiters, n, 0, timeout, CLOCK_MONOTONIC)`: sleeps while every word holds its expected value.
///
/// Returns `Woken` when a sleeper of any of the words was woken. Before Linux 5.16 there is no such call. Then the wait
/// is for the first word, in slices of at most 10 ms, with a check of the other words in between. So a change of
/// another word is seen late, never missed.
///
/// # Errors
/// `EINVAL` for no words or more than [`WAIT_ANY_MAX`].
///
/// # Examples
/// See the example of [`Waiter`].
#[doc(alias = "futex_waitv")]
pub fn wait_any(waiters: &[Waiter<'_>], timeout: impl Into<Deadline>) -> Result<Wait> {
    wait_any_at(waiters, timeout.into()).map(|(ended, _)| ended)
}

/// Sleeps on `word` while it holds `expected`, within the limit.
///
/// `TimedOut`, by the clock or by cancellation, means that no wake of the word reached this sleeper.
pub(crate) fn sleep(word: &FutexWord, expected: u32, reach: Reach, limit: Limit<'_>) -> Wait {
    // The only errors are a word outside the address space, which a reference excludes, and a sandbox that forbids the
    // call. The sleeper looks again, which is right after any wake.
    let Some(watched) = limit.watched() else {
        let deadline = limit.deadline();
        // The timer of futex(2) may come late by the thread's timer slack, usually 50 us. The timer of futex_waitv has
        // no slack.
        let ended = if deadline != Deadline::NEVER && waits_on_several() {
            wait_any(&[Waiter::new(word, expected, reach)], deadline)
        } else {
            wait(word, expected, reach, deadline)
        };
        return ended.unwrap_or(Wait::Changed);
    };
    if limit.is_cancelled() {
        return Wait::TimedOut;
    }
    // The word is last, so that the other word's wake does not hide its wake.
    match wait_any_at(&[watched, Waiter::new(word, expected, reach)], limit.deadline()) {
        Ok((Wait::Woken, 0)) if limit.is_cancelled() => Wait::TimedOut,
        Ok((Wait::Woken, 0)) | Err(_) => Wait::Changed,
        Ok((ended, _)) => ended,
    }
}
