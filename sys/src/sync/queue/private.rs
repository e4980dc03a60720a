//! The queue of threads: a list of words on the waiters' stacks, under a small lock.

use core::cell::Cell;
use core::ptr;

use super::Queue;
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::atomic::const_unless_loom;
use crate::futex::{Limit, WordLock};
use crate::sync::gate::{Gate, PrivateGate, Woke};
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;

const WAITING: u32 = 0;
const ASLEEP: u32 = 1;
const NOTIFIED: u32 = 2;

/// One waiter, on its own stack while it is in the queue.
struct Place {
    word: AtomicU32,
    /// The waiter before this one. Guarded by the queue's lock, like the two ends.
    before: Cell<*const Place>,
    after: Cell<*const Place>,
}

/// The list.
#[derive(Debug)]
pub struct PrivateQueue {
    lock: WordLock,
    first: Cell<*const Place>,
    last: Cell<*const Place>,
    /// Whether there is a waiter: a notifier that finds none need not take the lock.
    any: AtomicU32,
    spin: Spin,
}

// SAFETY: the cells are only touched under the lock, and the places that they lead to are in the queue, so alive.
unsafe impl Send for PrivateQueue {}
// SAFETY: as for Send.
unsafe impl Sync for PrivateQueue {}

impl PrivateQueue {
    const_unless_loom! {
        pub(crate) const fn new() -> Self {
            Self {
                lock: WordLock::new(),
                first: Cell::new(ptr::null()),
                last: Cell::new(ptr::null()),
                any: AtomicU32::new(0),
                spin: Spin::new(),
            }
        }
    }

    /// Runs `change` with the list locked.
    fn alone<R>(&self, change: impl FnOnce() -> R) -> R {
        let taken = self.lock.take(Limit::NEVER);
        debug_assert!(taken, "a take without a limit succeeds");
        let answer = change();
        self.any.store(u32::from(!self.first.get().is_null()), Release);
        // SAFETY: taken in the first line: without a limit it always is.
        unsafe { self.lock.release() };
        answer
    }

    /// Adds `place` at the end. Called in [`alone`](Self::alone).
    fn enter(&self, place: &Place) {
        let last = self.last.replace(place);
        place.before.set(last);
        // SAFETY: what the list leads to is in the queue, so alive, and the lock is held.
        match unsafe { last.as_ref() } {
            Some(last) => last.after.set(place),
            None => self.first.set(place),
        }
    }

    /// Removes `place` from the queue. Called in [`alone`](Self::alone).
    fn leave(&self, place: &Place) {
        let (before, after) = (place.before.get(), place.after.get());
        // SAFETY: what the list leads to is in the queue, so alive, and the lock is held.
        match unsafe { before.as_ref() } {
            Some(before) => before.after.set(after),
            None => self.first.set(after),
        }
        // SAFETY: as above.
        match unsafe { after.as_ref() } {
            Some(after) => after.before.set(before),
            None => self.last.set(before),
        }
    }

    /// Sleeps until notified. Returns false if the limit is over and the place has left the queue.
    fn sleep(&self, place: &Place, limit: Limit<'_>) -> bool {
        if !limit.is_now() {
            if self.spin.until(|| place.word.load(Acquire) == NOTIFIED) {
                return true;
            }
            let _ = place.word.compare_exchange(WAITING, ASLEEP, Relaxed, Relaxed);
            while place.word.load(Acquire) != NOTIFIED {
                if PrivateGate.sleep(&place.word, ASLEEP, limit) == Woke::TimedOut {
                    break;
                }
            }
        }
        self.alone(|| {
            let notified = place.word.load(Acquire) == NOTIFIED;
            if !notified {
                self.leave(place);
            }
            notified
        })
    }
}

impl Queue for PrivateQueue {
    fn wait<R>(
        &self,
        limit: Limit<'_>,
        let_go: impl FnOnce(),
        take_again: impl FnOnce() -> R,
    ) -> Result<(bool, R), Refused> {
        let place =
            Place { word: AtomicU32::new(WAITING), before: Cell::new(ptr::null()), after: Cell::new(ptr::null()) };
        self.alone(|| self.enter(&place));
        let_go();
        let notified = self.sleep(&place, limit);
        Ok((notified, take_again()))
    }

    fn notify(&self, count: u32) -> u32 {
        if self.any.load(Acquire) == 0 {
            return 0;
        }
        let mut left = count;
        self.alone(|| {
            while left > 0 {
                // SAFETY: the first place is in the queue, so alive, and the lock is held.
                let Some(place) = (unsafe { self.first.get().as_ref() }) else { break };
                self.leave(place);
                left -= 1;
                if place.word.swap(NOTIFIED, Release) == ASLEEP {
                    PrivateGate.wake(&place.word, 1);
                }
            }
        });
        count - left
    }
}
