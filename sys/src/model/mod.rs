//! The waiting primitives for the model checker: a futex of modelled parts, and the raw protocols.
//!
//! Present only under `--cfg loom`. `sys/tests/loom` holds the models.

extern crate std;

pub mod arena;
pub(crate) mod atomic;
pub mod barrier;
pub mod condition;
pub mod exchange;
pub(crate) mod futex;
mod kernel;
mod killable;
pub mod overdue;
pub mod permits;
#[doc(hidden)]
#[path = "../kqueue/linux/sleepers.rs"]
pub mod queue_sleepers;
pub mod ring;
pub mod rwlock;

use core::cell::Cell;

use self::kernel::{sleep_any, wake_on};
use crate::futex::{Limit, Wait, WordLock};
use crate::robust::word::{LockWord, Take, WAITERS, WaitPolicy};
use crate::sync::queue::{PrivateQueue, Queue};
use crate::sync::scope::Refused;

pub use self::kernel::{pass_time, sleepers, urgent, wait, wake, word_by_word};
pub(crate) use self::killable::step;
pub use self::killable::{Killable, KillableUnits, die, doomed, mourned, stopped};

/// The lock between threads.
#[derive(Debug)]
pub struct Private(WordLock);

impl Private {
    /// A free lock.
    #[allow(clippy::new_without_default, reason = "a model has no defaults")]
    pub fn new() -> Self {
        Self(WordLock::new())
    }

    /// Takes the lock.
    pub fn take(&self) -> bool {
        self.0.take(Limit::NEVER)
    }

    /// Releases the lock.
    pub fn release(&self) {
        // SAFETY: the models release what they took.
        unsafe { self.0.release() }
    }
}

/// The word of the lock that survives a death, with the kernel's part in [`Robust::die`].
#[derive(Debug)]
pub struct Robust(LockWord);

/// The result of a participant's attempt to take the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The thread holds the word.
    Yes,
    /// The thread holds the word, and the previous holder died.
    AfterDeath,
    /// The thread was killed after a wake had chosen it and before it acted.
    KilledWhenChosen,
}

struct Participant<'w> {
    word: &'w LockWord,
    dies_when_chosen: bool,
    killed: bool,
    paused: bool,
}

impl WaitPolicy for Participant<'_> {
    fn sleep(&mut self, expected: u32) -> Wait {
        let ended = match sleep_any(&[core::ptr::from_ref(self.word) as usize], || self.word.futex() == expected) {
            Some(_) => Wait::Woken,
            None => Wait::Changed,
        };
        if self.dies_when_chosen && ended == Wait::Woken {
            self.killed = true;
            return Wait::TimedOut; // leaves the loop without touching the word
        }
        ended
    }

    fn pause(&mut self) -> bool {
        let first = !core::mem::replace(&mut self.paused, true);
        if first {
            crate::atomic::spin_hint();
        }
        first
    }

    fn won(&mut self) {}

    fn leaves(&mut self, _free: u32) -> bool {
        false
    }

    fn woken(&mut self) -> bool {
        false
    }

    fn is_nonblocking(&self) -> bool {
        false
    }

    fn is_holder(&self) -> bool {
        true
    }
}

impl Robust {
    /// A free lock.
    #[allow(clippy::new_without_default, reason = "a model has no defaults")]
    pub fn new() -> Self {
        Self(LockWord::new())
    }

    /// Takes the lock as participant `id`, the fast path first.
    pub fn take(&self, id: u32) -> Taken {
        self.take_as(id, false)
    }

    /// Takes the lock as participant `id`, which is killed if it sleeps and is woken: between the kernel's choice and
    /// its next instruction.
    pub fn take_or_die_when_chosen(&self, id: u32) -> Taken {
        self.take_as(id, true)
    }

    fn take_as(&self, id: u32, dies_when_chosen: bool) -> Taken {
        if self.0.take_free(id) {
            return Taken::Yes;
        }
        let mut participant = Participant { word: &self.0, dies_when_chosen, killed: false, paused: false };
        match self.0.take(id, &mut participant) {
            Take::Taken { died: false } => Taken::Yes,
            Take::Taken { died: true } => Taken::AfterDeath,
            Take::TimedOut if participant.killed => {
                self.die(id);
                Taken::KilledWhenChosen
            }
            other => unreachable!("{other:?}"),
        }
    }

    /// Releases the lock.
    pub fn release(&self) {
        if !self.0.release_free() {
            self.0.release_contended(0, || self.wake_one());
        }
    }

    /// Stores the release of a contended word and is killed before the wake, as `id`.
    pub fn release_and_die_before_the_wake(&self, id: u32) {
        if !self.0.release_free() {
            let left = Cell::new(false);
            self.0.release_contended(0, || {
                left.set(true);
                self.die(id);
                1 // the dead do not clear the bit
            });
            assert!(left.get());
        }
    }

    /// The kernel's action when `id` dies with the node pending: it marks the word, or passes a wake on.
    pub fn die(&self, id: u32) {
        if self.0.owner_dies(id, false) {
            self.wake_one();
        }
    }

    /// The action of musl when the holder `id` ends normally: musl marks the word, without a check for waiters, and
    /// wakes one thread.
    pub fn end(&self, id: u32) {
        if self.0.owner_dies(id, true) {
            self.wake_one();
        }
    }

    /// Whether the word shows possible sleepers.
    pub fn has_waiters(&self) -> bool {
        self.0.futex() & WAITERS != 0
    }

    fn wake_one(&self) -> u32 {
        wake_on(core::ptr::from_ref(&self.0) as usize, 1)
    }
}

/// The queue of a condition among threads.
#[derive(Debug)]
pub struct Waiters(PrivateQueue);

impl Waiters {
    /// An empty queue.
    #[allow(clippy::new_without_default, reason = "a model has no defaults")]
    pub fn new() -> Self {
        Self(PrivateQueue::new())
    }

    /// Releases `lock`, waits to be notified within the limit, and takes `lock` again. Returns whether there was a
    /// notification.
    pub fn wait(&self, lock: &Private, limit: Limit<'_>) -> bool {
        let refused = Cell::new(false);
        let take_again = || refused.set(!lock.take());
        let waited: Result<_, Refused> = self.0.wait(limit, || lock.release(), take_again);
        assert!(!refused.get(), "a private lock refuses nobody");
        matches!(waited, Ok((true, ())))
    }

    /// Frees the first `count` waiters, and returns their number.
    pub fn notify(&self, count: u32) -> u32 {
        self.0.notify(count)
    }
}
