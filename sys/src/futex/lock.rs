//! The small private lock: one word, for the threads of one process.
//!
//! | word | meaning |
//! | --- | --- |
//! | 0 | free |
//! | 1 | held, nobody sleeps |
//! | 2 | held, somebody may sleep: the release must wake one |
//!
//! Orderings: a take is `Acquire`, a release is `Release`, so the critical sections follow each other. Looking at the
//! word while spinning is `Relaxed`: it only decides whether to try, and the try orders.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::Wait;
use crate::atomic::{AtomicU32, spin_hint};
use crate::deadline::Deadline;

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// How often a waiter looks before it sleeps: about as long as a sleep and a wake cost on one core.
const LOOKS: u32 = 100;

/// A lock without data, for building others: [`sync::lock::Lock`](crate::sync::lock::Lock) is the one with data.
///
/// ```
/// use ossature_sys::{deadline::Deadline, futex::WordLock};
///
/// static LOCK: WordLock = WordLock::new();
/// assert!(LOCK.take(Deadline::NEVER));
/// assert!(!LOCK.take(Deadline::NOW), "held");
/// // SAFETY: taken two lines above.
/// unsafe { LOCK.release() };
/// ```
#[derive(Debug)]
pub struct WordLock(AtomicU32);

impl Default for WordLock {
    fn default() -> Self {
        Self::new()
    }
}

impl WordLock {
    /// A free lock.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self(AtomicU32::new(FREE))
    }

    /// A free lock.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self(AtomicU32::new(FREE))
    }

    /// Takes the lock, waiting until the deadline at most; false when the time ran out.
    ///
    /// A thread that holds it already waits for itself.
    #[inline]
    #[must_use = "the lock was not taken if this is false"]
    pub fn take(&self, deadline: Deadline) -> bool {
        self.0.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok() || self.take_slow(deadline)
    }

    /// Gives the lock back and wakes one who waits for it.
    ///
    /// # Safety
    /// It was taken, and not released since, by whoever releases it: others rely on being alone after a take.
    #[inline]
    pub unsafe fn release(&self) {
        if self.0.swap(FREE, Release) == CONTENDED {
            self.wake();
        }
    }

    #[cold]
    fn take_slow(&self, deadline: Deadline) -> bool {
        if deadline == Deadline::NOW {
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
            // Whoever has slept takes the word as contended: others may sleep still.
            if seen != CONTENDED && self.0.swap(CONTENDED, Acquire) == FREE {
                return true;
            }
            if self.sleep(deadline) == Wait::TimedOut {
                return self.0.compare_exchange(FREE, CONTENDED, Acquire, Relaxed).is_ok();
            }
            seen = self.look();
        }
    }

    /// Looks a while for the word to become free, stopping early when others sleep already.
    fn look(&self) -> u32 {
        for _ in 0..LOOKS {
            let seen = self.0.load(Relaxed);
            if seen != HELD {
                return seen;
            }
            spin_hint();
        }
        self.0.load(Relaxed)
    }

    #[cfg(not(loom))]
    fn sleep(&self, deadline: Deadline) -> Wait {
        // The only error is a word outside the address space, which a reference excludes; should a kernel invent another, the
        // taker looks again, which is right after any wake.
        super::wait(&self.0, CONTENDED, super::Reach::Private, deadline).unwrap_or(Wait::Changed)
    }

    #[cfg(loom)]
    fn sleep(&self, _deadline: Deadline) -> Wait {
        crate::model::wait(&self.0, CONTENDED)
    }

    #[cold]
    fn wake(&self) {
        // As for sleep: there is no error to hear of.
        #[cfg(not(loom))]
        let _ = super::wake(&self.0, 1, super::Reach::Private);
        #[cfg(loom)]
        crate::model::wake(&self.0, 1);
    }
}
