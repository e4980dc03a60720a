//! The raw lock of threads: one futex word.
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

use crate::atomic::{AtomicU32, spin_hint};
use crate::deadline::Deadline;
use crate::futex::Wait;
use crate::scope::{RawLock, Refused};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// How often a waiter looks before it sleeps: about as long as a sleep and a wake cost on one core.
const LOOKS: u32 = 100;

/// A word on which the threads of one process wait.
#[derive(Debug)]
pub struct PrivateLock(AtomicU32);

impl PrivateLock {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(FREE))
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(FREE))
    }

    #[cold]
    fn take_slow(&self, deadline: Deadline) -> Result<bool, Refused> {
        if deadline == Deadline::NOW {
            return Ok(false);
        }
        let mut seen = self.look();
        if seen == FREE {
            match self.0.compare_exchange(FREE, HELD, Acquire, Relaxed) {
                Ok(_) => return Ok(true),
                Err(now) => seen = now,
            }
        }
        loop {
            // Whoever has slept takes the word as contended: others may sleep still.
            if seen != CONTENDED && self.0.swap(CONTENDED, Acquire) == FREE {
                return Ok(true);
            }
            if self.sleep(deadline) == Wait::TimedOut {
                return Ok(self.0.compare_exchange(FREE, CONTENDED, Acquire, Relaxed).is_ok());
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

    fn sleep(&self, deadline: Deadline) -> Wait {
        crate::sync::wait_private(&self.0, CONTENDED, deadline)
    }

    #[cold]
    fn wake(&self) {
        crate::sync::wake_private(&self.0, 1);
    }
}

// SAFETY: the word leaves FREE only by the compare-exchange or swap of one taker, which alone then sees FREE before, and
// returns to FREE only in release. Acquire on the way in and Release on the way out order what the holders write.
unsafe impl RawLock for PrivateLock {
    #[inline]
    fn take(&self, deadline: Deadline) -> Result<bool, Refused> {
        if self.0.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok() {
            return Ok(true);
        }
        self.take_slow(deadline)
    }

    #[inline]
    unsafe fn release(&self) {
        if self.0.swap(FREE, Release) == CONTENDED {
            self.wake();
        }
    }
}
