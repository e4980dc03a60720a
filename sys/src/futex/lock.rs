//! The small private lock: one word, for the threads of one process.
//!
//! | word | meaning |
//! | --- | --- |
//! | 0 | free |
//! | 1 | held, no thread sleeps |
//! | 2 | held, threads may sleep: the release must wake one |
//!
//! **A waiter tests the word less and less often.** Each test takes the cache line from the holder, which has to fetch
//! it again for the release. So between two tests there are 1, 2, 4, 8 and then 16 pauses. Before the last test there
//! are 5, which makes 100 in all, and then the waiter sleeps. A thread that wants the lock all the time gets it for
//! several turns, without moving the line at each turn. (Two such threads on near cores need 15 ns a turn, and 26 ns
//! with a test after each pause.) The price is that a waiter may see a release 16 pauses late, which is less than half
//! a microsecond. The price is visible if the lock is held nearly always. It is up to 9 % of the time if the lock is
//! held for 0.3 µs, and wanted again after 0.3 µs.
//!
//! Orderings: a take is `Acquire`, a release is `Release`, so the critical sections follow each other. Looking at the
//! word while spinning is `Relaxed`: it only decides whether to try, and the try orders.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::{Limit, Wait};
use crate::atomic::{AtomicU32, const_unless_loom, spin_hint};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// The number of pauses in which a waiter tests the word before it sleeps: about the cost of a sleep and a wake on one
/// core.
const PAUSES: u32 = 100;
/// The maximum number of pauses between two tests.
const LONGEST_GAP: u32 = 16;

/// A lock without data, a building block; [`sync::lock::Lock`](crate::sync::lock::Lock) is the lock with data.
///
/// ```
/// use ossature_sys::futex::{Limit, WordLock};
///
/// static LOCK: WordLock = WordLock::new();
/// assert!(LOCK.take(Limit::NEVER));
/// assert!(!LOCK.take(Limit::NOW), "held");
/// // SAFETY: taken two lines above.
/// unsafe { LOCK.release() };
/// ```
///
/// # Examples
/// ```
/// use ossature_sys::futex::{Limit, WordLock};
///
/// let lock = WordLock::new();
/// assert!(!lock.is_held() && lock.take(Limit::NOW) && lock.is_held());
/// // SAFETY: taken in the line above.
/// unsafe { lock.release() };
/// assert!(!lock.is_held());
/// ```
#[derive(Debug)]
pub struct WordLock(AtomicU32);

impl Default for WordLock {
    fn default() -> Self {
        Self::new()
    }
}

impl WordLock {
    const_unless_loom! {
        /// A free lock.
        pub const fn new() -> Self {
            Self(AtomicU32::new(FREE))
        }
    }

    /// Takes the lock, waiting within the limit; false when the time ran out or the wait was cancelled.
    ///
    /// A thread that holds it already waits for itself.
    #[inline]
    #[must_use = "the lock was not taken if this is false"]
    pub fn take(&self, limit: Limit<'_>) -> bool {
        self.0.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok() || self.take_slow(limit)
    }

    /// Releases the lock and wakes one waiter.
    ///
    /// # Safety
    /// The caller took the lock and has not released it since: other threads rely on exclusive access after a take.
    #[inline]
    pub unsafe fn release(&self) {
        if self.0.swap(FREE, Release) == CONTENDED {
            self.wake();
        }
    }

    /// [`release`](Self::release) of a word that may be free; returns false if it was free.
    ///
    /// # Safety
    /// No thread relies on exclusive access after a take.
    #[inline]
    pub(crate) unsafe fn release_if_held(&self) -> bool {
        let before = self.0.swap(FREE, Release);
        if before == CONTENDED {
            self.wake();
        }
        before != FREE
    }

    /// Whether any thread holds the lock; the answer may be outdated.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.0.load(Relaxed) != FREE
    }

    #[cold]
    fn take_slow(&self, limit: Limit<'_>) -> bool {
        if limit.is_now() {
            return false;
        }
        let mut seen = self.look();
        if seen == FREE {
            match self.0.compare_exchange(FREE, HELD, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        loop {
            // A thread that has slept takes the word as contended: others may still sleep.
            if seen != CONTENDED && self.0.swap(CONTENDED, Acquire) == FREE {
                return true;
            }
            if self.sleep(limit) == Wait::TimedOut {
                return self.0.compare_exchange(FREE, CONTENDED, Acquire, Relaxed).is_ok();
            }
            seen = self.look();
        }
    }

    /// Tests the word for a short time, less and less often, and stops early when other threads sleep already.
    fn look(&self) -> u32 {
        let (mut left, mut gap) = (PAUSES, 1);
        loop {
            let seen = self.0.load(Relaxed);
            if seen != HELD || left == 0 {
                return seen;
            }
            for _ in 0..gap {
                spin_hint();
            }
            left -= gap;
            gap = (2 * gap).min(LONGEST_GAP).min(left);
        }
    }

    fn sleep(&self, limit: Limit<'_>) -> Wait {
        super::sleep(&self.0, CONTENDED, super::Reach::Private, limit)
    }

    #[cold]
    fn wake(&self) {
        // As for sleep: there is no error to report.
        let _ = super::wake(&self.0, 1, super::Reach::Private);
    }
}
