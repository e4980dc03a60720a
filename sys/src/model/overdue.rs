//! The lock of processes with its mark for a waiter that has waited for very long. The participants may die at any
//! change of a word.
//!
//! In the model every wake of an impatient participant comes very late. A taker leaves the lock to another until a
//! wake, or until the model says that the time is over.

use super::std;
use std::vec::Vec;

use loom::cell::UnsafeCell;

use super::kernel::{address, sleep_as, wake_of, wake_on};
use super::killable::{mourned, step};
use super::rwlock::{become_participant, clear_pending, has_linked, link, me, set_pending, unlink, walk};
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::Relaxed;
use crate::futex::{Cancel, Limit, Wait};
use crate::robust::word::{LockWord, OWNER, Take, WAITERS, WaitPolicy};
use crate::sync::overdue::{Claim, Marked, wake_next};

/// A lock with a number as its data.
#[derive(Debug)]
pub struct Lock {
    word: LockWord,
    mark: AtomicU32,
    /// Cancelled when the time is over for which a taker leaves a free lock to another participant.
    over: Cancel,
    number: UnsafeCell<u32>,
}

// SAFETY: only the holder of the word touches the number, and loom itself checks that.
unsafe impl Sync for Lock {}
// SAFETY: as for Sync.
unsafe impl Send for Lock {}

impl Marked for Lock {
    fn is_marked(&self) -> bool {
        self.mark.load(Relaxed) != 0
    }

    fn mark(&self) {
        self.mark.store(1, Relaxed);
        step();
    }

    fn unmark(&self) {
        step();
        self.mark.store(0, Relaxed);
        step();
    }

    fn wake_overdue(&self) -> bool {
        step();
        let woken = wake_of(OVERDUE_WAITER, address(&self.word), 1);
        step();
        woken != 0
    }

    fn wake_one(&self) -> u32 {
        step();
        let woken = wake_on(address(&self.word), 1);
        step();
        woken
    }
}

const ANY_WAITER: u32 = 1;
const OVERDUE_WAITER: u32 = 2;

struct Waits<'l> {
    lock: &'l Lock,
    is_impatient: bool,
    claim: Claim,
}

impl WaitPolicy for Waits<'_> {
    fn sleep(&mut self, expected: u32) -> Wait {
        let word = &self.lock.word;
        let kinds = if self.claim.is_overdue() { ANY_WAITER | OVERDUE_WAITER } else { ANY_WAITER };
        self.claim.sleeps(self.lock);
        step();
        let woken = sleep_as(kinds, &[address(word)], || word.futex() == expected);
        step();
        woken.map_or(Wait::Changed, |_| Wait::Woken)
    }

    fn pause(&mut self) -> bool {
        false
    }

    fn won(&mut self) {}

    fn leaves(&mut self, free: u32) -> bool {
        let Lock { word, over, .. } = self.lock;
        self.claim.leave(self.lock, || {
            step();
            let time = Limit::from(over).watched().map(|watched| watched.address());
            let words: Vec<usize> = time.into_iter().chain([address(word)]).collect();
            sleep_as(ANY_WAITER, &words, || word.futex() == free && !over.is_cancelled());
            step();
        })
    }

    fn woken(&mut self) -> bool {
        self.claim.is_chosen();
        if self.is_impatient {
            self.claim.becomes_overdue();
        }
        self.is_impatient
    }

    fn is_nonblocking(&self) -> bool {
        false
    }

    fn is_holder(&self) -> bool {
        has_linked(&self.lock.word)
    }
}

impl Lock {
    /// A free lock.
    #[allow(clippy::new_without_default, reason = "a model has no defaults")]
    pub fn new() -> Self {
        Self { word: LockWord::new(), mark: AtomicU32::new(0), over: Cancel::new(), number: UnsafeCell::new(0) }
    }

    /// Takes the lock as the participant `id`. If the participant is impatient, the others yield to it once it was
    /// woken. Returns whether the previous holder died.
    pub fn take(&self, id: u32, is_impatient: bool) -> bool {
        become_participant(id);
        set_pending(&self.word);
        let mut died = false;
        if !self.word.take_free(me()) {
            let mut waits = Waits { lock: self, is_impatient, claim: Claim::default() };
            let taken = self.word.take(me(), &mut waits);
            step();
            let Take::Taken { died: told } = taken else { unreachable!("nothing else ends the take: {taken:?}") };
            died = told;
        }
        link(&self.word);
        clear_pending();
        died
    }

    /// Adds 1 to the number, as the holder.
    pub fn add_one(&self) {
        // SAFETY: the caller holds the lock; loom fails the model if another thread is here too.
        self.number.with_mut(|number| unsafe { *number += 1 });
    }

    /// The number, for the holder.
    pub fn number(&self) -> u32 {
        // SAFETY: as above.
        self.number.with(|number| unsafe { *number })
    }

    /// Releases the lock.
    pub fn release(&self) {
        set_pending(&self.word);
        unlink(&self.word);
        if !self.word.release_free() {
            self.word.release_contended(0, || wake_next(self));
        }
        clear_pending();
    }

    /// Takes the lock, adds 1 to the number and releases the lock.
    pub fn turn(&self, id: u32, is_impatient: bool) {
        self.take(id, is_impatient);
        self.add_one();
        self.release();
    }

    /// Makes takers stop leaving the lock to another participant.
    pub fn time_is_over(&self) {
        self.over.cancel();
    }

    /// Runs `body` in this thread until the thread has made `steps` steps, and kills the participant at the next.
    /// `None` if it died.
    pub fn doomed<R>(steps: u32, body: impl FnOnce() -> R) -> Option<R> {
        mourned(steps, walk, body)
    }

    /// Whether the lock is free, and whether the word shows waiters.
    pub fn rest(&self) -> (bool, bool) {
        let word = self.word.futex();
        (word & OWNER == 0, word & WAITERS != 0)
    }
}
