//! A barrier between participants that may die at any change of a word: the slots, their watchers, and the gate.

use super::std;
use std::vec::Vec;

use super::kernel::{CLOCK, address, sleep_each, wait_while, wake};
use super::killable::{KillableGate, covered_by, killable_scope, mourned, step};
use super::rwlock::{become_participant, clear_pending, has_linked, link, me, set_pending, unlink, walk};
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::SeqCst;
use crate::deadline::Deadline;
use crate::futex::{Limit, Reach, Wait, Waiter};
use crate::robust::word::{LockWord, WAITERS};
use crate::sync::barrier::{self, Broken};
use crate::sync::gate::{Order, Woke};
use crate::sync::lease::Look;
use crate::sync::participants::{Enrolment, SlotTable, WatchingGate};
use crate::sync::scope::Refused;

/// The maximum number of participants.
const MOST: usize = 3;

/// A lease whose list the model keeps.
#[derive(Debug)]
pub struct Place(pub(super) LockWord);

impl Place {
    fn take(&self, step: impl FnOnce(&LockWord) -> bool) -> bool {
        set_pending(&self.0);
        let taken = step(&self.0);
        if taken {
            link(&self.0);
        }
        clear_pending();
        taken
    }
}

impl Enrolment for Place {
    fn claim(&self) -> Result<bool, Refused> {
        Ok(self.take(|word| word.swap_half(0, me() | WAITERS)))
    }

    fn inherit(&self, seen: Look) -> Result<bool, Refused> {
        Ok(self.take(|word| seen.inherit(word, me())))
    }

    fn release(&self) {
        set_pending(&self.0);
        unlink(&self.0);
        self.0.swap_half(me() | WAITERS, 0);
        clear_pending();
    }

    fn is_mine(&self) -> bool {
        has_linked(&self.0)
    }

    fn look(&self) -> Look {
        Look::at(&self.0)
    }

    fn reclaim(&self, seen: Look) {
        seen.reclaim(&self.0);
    }

    fn watch(&self, seen: Look) -> Waiter<'_> {
        Waiter::new(&self.0, seen.futex(), Reach::Shared)
    }

    fn wake_watchers(&self) {
        wake(&self.0, u32::MAX);
    }

    fn may_be_mine(_first: &Self, _size: usize, count: usize) -> impl Iterator<Item = usize> {
        0..count
    }

    fn back<T>(_part: &[T], _word: impl Fn(&T) -> &AtomicU32) -> Result<(), Refused> {
        Ok(())
    }
}

impl WatchingGate for KillableGate {
    fn sleep_on<'w>(
        &'w self,
        words: &mut [Waiter<'w>],
        count: usize,
        bell: Option<&'w AtomicU32>,
        limit: Limit<'w>,
    ) -> (Woke, usize) {
        step();
        if limit.is_cancelled() {
            return (Woke::TimedOut, count);
        }
        let always = |word: &'w AtomicU32| Waiter::new(word, word.load(SeqCst), Reach::Shared);
        let before = [limit.watched(), bell.map(always)];
        let order = Order::of(words, count, before, Waiter::new(self, 0, Reach::Shared)).unwrap();
        let clock = (limit.deadline() != Deadline::NEVER).then_some(CLOCK);
        let woken = sleep_each(&words[..order.used], clock);
        step();
        match woken.map(|at| at.checked_sub(usize::from(clock.is_some()))) {
            Some(Some(at)) => order.woke(at, count, limit),
            Some(None) => (Woke::TimedOut, count),
            None => (Woke::Look, count),
        }
    }

    fn sleep_alone(word: &AtomicU32, expected: u32, limit: Limit<'_>) -> Option<Woke> {
        step();
        let ended = wait_while(address(word), || word.load(SeqCst) == expected, limit);
        step();
        Some(if ended == Wait::TimedOut { Woke::TimedOut } else { Woke::Look })
    }

    fn protected_word<R>(word: &AtomicU32, critical: impl FnOnce() -> R) -> R {
        covered_by(address(word), critical)
    }
}

killable_scope! {
    /// The scope of participants that may die in a slot.
    KillableInSlot, SlotTable<Place, N>
}

/// The barrier.
#[derive(Debug)]
pub struct Barrier {
    barrier: barrier::Barrier<KillableInSlot, MOST>,
    /// The number of participants that are enrolled and watched.
    enrolled: AtomicU32,
}

impl Barrier {
    /// A barrier for `parties` parties.
    pub fn new(parties: u32) -> Self {
        let table = SlotTable::of(parties, || Place(LockWord::new()));
        let barrier = barrier::Barrier::of(parties, KillableGate::default(), table);
        Self { barrier, enrolled: AtomicU32::new(0) }
    }

    /// Waits as the participant `id`.
    ///
    /// # Errors
    /// Those of the barrier.
    pub fn wait(&self, id: u32) -> Result<u32, Broken> {
        become_participant(id);
        self.barrier.wait()
    }

    /// Joins as the participant `id`, waits `times` times, and leaves.
    pub fn join_and_wait(&self, id: u32, times: u32) -> Vec<Result<u32, Broken>> {
        become_participant(id);
        let party = self.barrier.join().unwrap();
        self.enrolled.fetch_add(1, SeqCst);
        (0..times).map(|_| party.wait()).collect()
    }

    /// [`reset`](barrier::Barrier::reset).
    pub fn reset(&self) {
        self.barrier.reset().unwrap();
        self.enrolled.fetch_add(1, SeqCst);
    }

    /// Runs `body` in this thread until it has made `steps` steps, and kills the participant at the next. `None` if
    /// it died. Nothing detects the death of a participant that was not watched yet, so the barrier is aborted.
    pub fn doomed<R>(&self, steps: u32, body: impl FnOnce() -> R) -> Option<R> {
        let answer = mourned(steps, walk, body);
        if answer.is_none() && self.enrolled.load(SeqCst) == 0 {
            self.barrier.abort();
        }
        answer
    }

    /// [`abort`](barrier::Barrier::abort).
    pub fn abort(&self) {
        self.barrier.abort();
    }

    /// Whether the barrier can be repaired.
    pub fn is_made_whole(&self) -> bool {
        self.reset();
        !self.barrier.is_broken() && self.barrier.waiting() == 0
    }

    /// Whether the barrier is broken.
    pub fn is_broken(&self) -> bool {
        self.barrier.is_broken()
    }
}
