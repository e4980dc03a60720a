//! An arena of two granules with holders that may die at any change of a word.
//!
//! The arena's lock is the word of the robust lock: the kernel marks it when its holder dies. Only then does the kernel
//! close the dead process's descriptor, so a holder counts as alive a little longer.

use core::array::from_fn;

use loom::cell::UnsafeCell;

use super::Robust;
use super::killable::{doomed, step};
use crate::atomic::AtomicU64;
use crate::atomic::Ordering::{Acquire, Release};
use crate::sync::arena::bits;
use crate::sync::arena::holders::free_unheld;

/// The number of granules. An object takes one.
const GRANULES: usize = 2;

/// The words that holders share.
#[derive(Debug)]
pub struct Arena {
    lock: Robust,
    used: [AtomicU64; 1],
    kinds: [AtomicU64; GRANULES],
    rows: [[AtomicU64; 1]; 3],
    /// Whether the kernel keeps the holder's lock.
    alive: [AtomicU64; 3],
    /// The content of each granule: the checker detects if two holders use it at once.
    data: [UnsafeCell<usize>; GRANULES],
}

impl Arena {
    /// An empty arena with three holders.
    #[allow(clippy::new_without_default, reason = "a model has no defaults")]
    pub fn new() -> Self {
        Self {
            lock: Robust::new(),
            used: [AtomicU64::new(0)],
            kinds: from_fn(|_| AtomicU64::new(0)),
            rows: from_fn(|_| [AtomicU64::new(0)]),
            alive: from_fn(|_| AtomicU64::new(1)),
            data: from_fn(|_| UnsafeCell::new(0)),
        }
    }

    fn free(&self) -> usize {
        let of = |(row, alive): (&[AtomicU64; 1], &AtomicU64)| {
            if alive.load(Acquire) == 0 { 0 } else { row[0].load(Acquire) }
        };
        let held = |_| self.rows.iter().zip(&self.alive).map(of).fold(0, |held, bits| held | bits);
        let beyond = 64 - GRANULES;
        free_unheld(&self.used, &self.kinds, 1, held) - beyond
    }

    /// Runs `body` with the lock held.
    fn locked<R>(&self, who: usize, body: impl FnOnce() -> R) -> R {
        self.lock.take(who as u32 + 1);
        step();
        let answer = body();
        step();
        self.lock.release();
        step();
        answer
    }

    /// Frees the granules without a holder, and returns the number of free granules.
    pub fn sweep(&self, who: usize) -> usize {
        self.locked(who, || self.free())
    }

    /// Makes an object of this holder; `None` when there is no room.
    pub fn make(&self, who: usize) -> Option<usize> {
        let at = self.locked(who, || {
            let find = || bits::find_clear(&self.used, 0, GRANULES, 1, 1);
            let at = find().or_else(|| {
                self.free();
                find()
            })?;
            bits::set(&self.used, at, at + 1);
            bits::set(&self.rows[who], at, at + 1);
            Some(at)
        })?;
        // SAFETY: the checker checks that no other thread uses the granule.
        self.data[at].with_mut(|data| unsafe { *data = who + 1 });
        step();
        self.kinds[at].store(1, Release);
        step();
        Some(at)
    }

    /// Takes over the object of another holder; false if there is none.
    pub fn take(&self, who: usize, at: usize) -> bool {
        self.locked(who, || {
            let is_there = self.kinds[at].load(Acquire) != 0;
            if is_there {
                bits::set(&self.rows[who], at, at + 1);
            }
            is_there
        })
    }

    /// The holder that made the object at this place.
    pub fn look(&self, at: usize) -> usize {
        // SAFETY: as for `make`.
        self.data[at].with(|data| unsafe { *data }) - 1
    }

    /// Releases an object.
    pub fn give_back(&self, who: usize, at: usize) {
        bits::clear(&self.rows[who], at, at + 1);
        step();
    }

    /// Runs `body` as this holder, which is killed after `steps` steps; `None` if it died.
    pub fn doomed<R>(&self, who: usize, steps: u32, body: impl FnOnce(&Self) -> R) -> Option<R> {
        let answer = doomed(steps, || body(self));
        if answer.is_none() {
            self.lock.die(who as u32 + 1);
            self.alive[who].store(0, Release);
        }
        answer
    }
}
