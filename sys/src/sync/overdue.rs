//! Which waiter of a shared lock gets the lock next once a waiter has waited for a very long time.
//!
//! A release wakes the sleeper that came first, and does not keep the lock for it. The holder may have the lock again
//! at once, which costs least: a hand-over at each release would cost a sleep and a wake each. A sleeper that finds the
//! lock taken goes behind the others. So with many processes a sleeper may find the lock taken many times. A waiter
//! that is woken [`OVERDUE_AFTER`] after it first slept, or later, is *overdue*. An overdue waiter marks the lock.
//!
//! | thread | when | action |
//! | --- | --- | --- |
//! | overdue waiter | woken, and finds the lock taken | spins for the longest span |
//! | overdue waiter | about to sleep | sets the mark |
//! | releaser | the mark is set | wakes an overdue sleeper |
//! | releaser | the mark is set, and there is no overdue sleeper | clears the mark, wakes any sleeper |
//! | other taker | the lock is free, the mark is set, no wake has chosen this taker yet | sleeps for [`LEFT_FOR`], once in a take |
//! | other taker | spins while the mark is set | sleeps |
//!
//! The kernel distinguishes overdue sleepers from the others only if they sleep without a limit, from Linux 6.2 on. A
//! wake for an overdue sleeper may choose any other sleeper, which then takes the lock as it would without the mark.
//!
//! So all overdue waiters get the lock one after another. Each waiter does so at most once in [`OVERDUE_AFTER`], which
//! bounds the cost of these hand-overs.
//!
//! **Figures** of `cargo bench --bench locks -- crowd`: processes on two cores did nothing but take and release the
//! lock, for two seconds. The table has the longest time without a turn, and the time divided by the turns of all
//! processes. Each figure is the median of five runs:
//!
//! | processes | without the mark | with it | pthread's robust mutex |
//! | --- | --- | --- | --- |
//! | 16 | 108 ms | 80 ms, 51 ns | 80 ms, 68 ns |
//! | 64 | 968 ms | 212 ms, 55 ns | 544 ms, 66 ns |
//!
//! In the recorded run (`benches/record/2026-11-30-locks.md`) the longest times were 88 ms beside pthread's 68 ms, and
//! 232 ms beside pthread's 224 ms.
//!
//! Half of the 212 ms comes from the scheduler: each of the 32 processes on a core may run for 4 ms. The longest time
//! is 420 ms if a taker that leaves the lock wakes an overdue sleeper too. It is 500 ms if [`OVERDUE_AFTER`] is 100 ms.
//!
//! **States.** The word of the lock is held or free; a free word here still has `WAITERS`. The node of each party below
//! is pending. So if a party is killed after it met a free word, the kernel wakes a sleeper.
//!
//! | mark | word | step | then | if the party is killed right after the step |
//! | --- | --- | --- | --- | --- |
//! | any | held | an overdue waiter sets the mark | mark, held | the mark stays; a later release clears it |
//! | yes | held | the holder frees the word | mark, free | the kernel wakes a sleeper |
//! | yes | free | the releaser wakes an overdue sleeper | mark, free | the woken sleeper looks |
//! | yes | free | the releaser finds no overdue sleeper, and clears the mark | no mark, free | the kernel wakes a sleeper |
//! | no | free | the releaser wakes a sleeper | no mark, free | the woken sleeper looks |
//! | yes | free | another taker sleeps until a wake or the end of the span | mark, free | the kernel wakes a sleeper |
//! | any | free | a waiter takes the word, overdue or not | held | the word is `DIED`, and a sleeper is woken |
//!
//! The mark and all its effects are hints, and last for a bounded time. A holder that changes the other flags may clear
//! the mark, and so may a release that another taker overtakes. Then the overdue waiter sets it again at its next late
//! wake. A mark that no waiter needs makes one taker sleep once in vain. So no step above depends on the party for
//! which the lock is left.

use core::time::Duration;

/// How long a waiter waits, from its first sleep, before the others let it go first.
pub(crate) const OVERDUE_AFTER: Duration = Duration::from_millis(20);
/// How long the others leave a free lock to an overdue waiter.
pub(crate) const LEFT_FOR: Duration = Duration::from_millis(1);

/// The mark beside a lock's word, and the sleepers on that word.
pub(crate) trait Marked {
    /// Whether a waiter may be overdue.
    fn is_marked(&self) -> bool;
    /// Sets the mark.
    fn mark(&self);
    /// Clears the mark.
    fn unmark(&self);
    /// Wakes one overdue sleeper. Returns whether there was one.
    fn wake_overdue(&self) -> bool;
    /// Wakes one sleeper. Returns how many there were.
    fn wake_one(&self) -> u32;
}

/// One taker of the lock while it waits.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    is_overdue: bool,
    /// Whether the taker has left a free lock to another, or must not leave it because a wake has chosen this taker.
    has_left: bool,
}

impl Claim {
    /// Whether this taker is overdue itself.
    pub(crate) fn is_overdue(&self) -> bool {
        self.is_overdue
    }

    /// Whether this taker, which is not overdue, must let another taker go first.
    pub(crate) fn yields(&self, lock: &impl Marked) -> bool {
        !self.is_overdue && lock.is_marked()
    }

    /// Leaves a free lock once to an overdue waiter by running `sleep`. Called when the lock is free and may have
    /// sleepers. It wakes no sleeper: the release has woken one, and more would compete with the takers that are on
    /// their way.
    pub(crate) fn leave(&mut self, lock: &impl Marked, sleep: impl FnOnce()) -> bool {
        if self.has_left || !self.yields(lock) {
            return false;
        }
        self.has_left = true;
        sleep();
        true
    }

    /// Records that a wake has chosen this taker. The taker then leaves the lock to no other, because there may be no
    /// other wake.
    pub(crate) fn is_chosen(&mut self) {
        self.has_left = true;
    }

    /// Records that a wake came so late that the others must let this taker go first from now on.
    pub(crate) fn becomes_overdue(&mut self) {
        self.is_overdue = true;
    }

    /// Sets the mark if this taker is overdue. Called when the taker is about to sleep.
    pub(crate) fn sleeps(&self, lock: &impl Marked) {
        if self.is_overdue {
            lock.mark();
        }
    }
}

/// Wakes one sleeper of a lock that was just freed. Returns how many sleepers there were.
pub(crate) fn wake_next(lock: &impl Marked) -> u32 {
    if lock.is_marked() {
        if lock.wake_overdue() {
            return 1;
        }
        lock.unmark();
    }
    lock.wake_one()
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use std::cell::{Cell, RefCell};
    use std::vec::Vec;

    use super::{Claim, Marked, wake_next};

    /// A lock with overdue and other sleepers. It records which sleepers were woken.
    #[derive(Default)]
    struct Lock {
        is_marked: Cell<bool>,
        overdue: Cell<u32>,
        others: Cell<u32>,
        woken: RefCell<Vec<&'static str>>,
    }

    fn take_one(sleepers: &Cell<u32>) -> bool {
        let count = sleepers.get();
        sleepers.set(count.saturating_sub(1));
        count > 0
    }

    impl Marked for Lock {
        fn is_marked(&self) -> bool {
            self.is_marked.get()
        }

        fn mark(&self) {
            self.is_marked.set(true);
        }

        fn unmark(&self) {
            self.is_marked.set(false);
        }

        fn wake_overdue(&self) -> bool {
            let woke = take_one(&self.overdue);
            self.woken.borrow_mut().extend(woke.then_some("overdue"));
            woke
        }

        fn wake_one(&self) -> u32 {
            let woke = take_one(&self.others);
            self.woken.borrow_mut().extend(woke.then_some("other"));
            woke.into()
        }
    }

    #[test]
    fn overdue_sleepers_are_woken_first_then_the_mark_goes() {
        let lock = Lock::default();
        lock.overdue.set(2);
        lock.others.set(2);
        lock.mark();
        assert_eq!([(); 5].map(|()| wake_next(&lock)), [1, 1, 1, 1, 0]);
        assert_eq!(lock.woken.take(), ["overdue", "overdue", "other", "other"]);
        assert!(!lock.is_marked());
    }

    #[test]
    fn without_a_mark_whoever_came_first_is_woken() {
        let lock = Lock::default();
        lock.overdue.set(1);
        lock.others.set(1);
        assert_eq!(wake_next(&lock), 1);
        assert_eq!(lock.woken.take(), ["other"]);
    }

    #[test]
    fn free_lock_is_left_once_to_an_overdue_waiter_and_never_by_one() {
        let lock = Lock::default();
        lock.overdue.set(2);
        let (mut taker, mut late) = (Claim::default(), Claim::default());
        assert!(!taker.leave(&lock, || unreachable!("nobody is overdue")));
        late.sleeps(&lock);
        assert!(!lock.is_marked(), "it is not overdue yet");
        late.becomes_overdue();
        late.sleeps(&lock);
        assert!(lock.is_marked() && taker.yields(&lock) && !late.yields(&lock));
        assert!(!late.leave(&lock, || unreachable!("it is overdue itself")));
        let slept = Cell::new(0);
        assert!(taker.leave(&lock, || slept.set(slept.get() + 1)));
        assert!(!taker.leave(&lock, || slept.set(slept.get() + 1)), "once in each take");
        assert_eq!((slept.get(), lock.woken.take().len()), (1, 0), "the taker that leaves it wakes nobody");
        let mut chosen = Claim::default();
        chosen.is_chosen();
        assert!(!chosen.leave(&lock, || unreachable!("the wake may be the only one")));
    }
}
