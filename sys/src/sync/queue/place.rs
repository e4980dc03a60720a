//! One waiter's place in the queue of processes. The table of [`shared`](super::shared) explains its states.

use crate::atomic::Ordering::{AcqRel, Acquire, SeqCst};
use crate::atomic::step;
use crate::sync::lease::{Holder, Look};
use crate::sync::participants::Enrolment;
use crate::sync::split_word::SplitWord;

/// In the futex half: in the queue, awake.
pub(super) const WAITING: u32 = 1 << 30;
/// In the futex half: in the queue, asleep.
pub(super) const ASLEEP: u32 = 1 << 31;
/// In the futex half: in the queue, woken to check again.
pub(super) const NUDGED: u32 = WAITING | ASLEEP;
/// In the futex half, with [`ASLEEP`] only: a ring of the bell wakes the sleeper too. No thread id has this bit.
pub(super) const BELL: u32 = 1 << 29;
/// In the futex half, with [`BELL`] only: the sleeper watches all waiters that may be before it. No thread id has this
/// bit.
pub(super) const COVERS: u32 = 1 << 28;
/// The word of a place without a waiter.
pub(super) const NONE: u64 = 0;

/// The word of a waiter. A half of 0 means that the waiter was notified.
pub(super) const fn word(ticket: u32, half: u32) -> u64 {
    ((ticket as u64) << 32) | half as u64
}

pub(super) const fn ticket_of(word: u64) -> u32 {
    (word >> 32) as u32
}

/// Whether a place with this word is in the queue.
pub(super) const fn waits(word: u64) -> bool {
    word as u32 != 0
}

pub(super) const fn is_notified(word: u64) -> bool {
    word != NONE && word as u32 == 0
}

/// Returns how many tickets before `now` a waiter arrived; 0 if it arrived later.
pub(super) const fn age(word: u64, now: u32) -> u32 {
    let age = now.wrapping_sub(ticket_of(word));
    if age > u32::MAX / 2 { 0 } else { age }
}

/// One waiter's place.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Place<L> {
    pub(super) lease: L,
    pub(super) word: SplitWord,
}

impl<L> Place<L> {
    #[cfg(loom)]
    pub(super) fn new(lease: L) -> Self {
        Self { lease, word: SplitWord::new(NONE) }
    }
}

impl<L: Enrolment> Place<L> {
    pub(super) fn is_notified(&self) -> bool {
        is_notified(self.word.load(Acquire))
    }

    /// Reads the lease and then the word. So the word is that of the holder, or of a later holder. For a dead holder
    /// the word is the dead holder's own. The caller may clear that word, but never the word of a later waiter, which
    /// would then never be notified.
    pub(super) fn look(&self) -> (Look, u64) {
        loop {
            let lease = self.lease.look();
            let word = self.word.load(SeqCst);
            if lease.holder() != Holder::Dead || self.lease.look() == lease {
                return (lease, word);
            }
        }
    }

    /// Frees a place whose holder died and for which nothing is left to do. `lease` and `word` are the values that were
    /// read.
    pub(super) fn reclaim(&self, lease: Look, word: u64) {
        // While the place still belongs to the dead: the woken sleepers see that, and look again.
        self.lease.wake_watchers();
        step();
        // The word first: a free place has no word. If this thread loses one of these two races, another has done it.
        let _ = self.word.change(word, NONE, AcqRel);
        if self.word.load(Acquire) == NONE {
            self.lease.reclaim(lease);
        }
    }
}
