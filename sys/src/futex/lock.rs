//! The small private lock: one word, for the threads of one process.
//!
//! | word | meaning |
//! | --- | --- |
//! | 0 | free |
//! | 1 | held, no thread sleeps |
//! | 2 | held, threads may sleep: the release must wake one |
//!
//! **A waiter tests the word rarely, and yields between the tests.** Each test takes the cache line from the holder,
//! which has to fetch it again for the release. So there are 4 pauses before the second test and 8 before the third. A
//! lock that is held for less than half a microsecond is seen free there. Before each of the next 7 tests the waiter
//! yields its processor, and then the waiter sleeps. So a thread that wants the lock all the time gets it for many
//! turns, without moving the line at each turn. Where the holder waits for the same processor, the yield lets it run.
//!
//! Figures on two hyperthreads of one core: two such threads need 14 ns a turn, and 42 ns with 100 pauses in place of
//! the yields. Eight such threads need 15 ns, and 35 ns with pauses. The longest time without a turn is 7 ms, and 26 ms
//! with pauses.
//!
//! The price: a waiter that yields to another program may lose its processor for a slice at each yield, though the lock
//! is free soon. With a busy thread beside each of two takers, which hold the lock half of the time, a turn takes
//! 2.3 µs, and 1.8 µs with pauses.
//!
//! Orderings: a take is `Acquire`, a release is `Release`, so the critical sections follow each other. Looking at the
//! word while spinning is `Relaxed`: it only decides whether to try, and the try orders.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::{Limit, Wait};
use crate::atomic::{AtomicU32, const_unless_loom, spin_hint};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// The pauses between the first tests of a waiter.
const GAPS: [u32; 2] = [4, 8];
/// The number of later tests, each after a yield. All of them last about as long as a sleep and a wake on one core.
const YIELDS: usize = 7;

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
        let mut seen = self.look(limit);
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
            seen = self.look(limit);
        }
    }

    /// Tests the word for a short time, and stops early when other threads sleep already. A yield may take long, so
    /// there is none after the limit.
    fn look(&self, limit: Limit<'_>) -> u32 {
        for test in 0..GAPS.len() + YIELDS {
            let seen = self.0.load(Relaxed);
            if seen != HELD {
                return seen;
            }
            match GAPS.get(test) {
                Some(&gap) => (0..gap).for_each(|_| spin_hint()),
                None if limit.is_over() => break,
                None => super::give_way(),
            }
        }
        self.0.load(Relaxed)
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
