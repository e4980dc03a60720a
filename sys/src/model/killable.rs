//! A scope whose participants may die: the gate of processes, with a model of the kernel's part.
//!
//! A participant dies between any two steps of its critical stretch at which others can notice. These are: when it has
//! been protected, before and after each sleep and each wake, before its cover ends. The kernel then wakes one sleeper
//! at the gate that was pending, as it does for a word without an owner. A participant may also stop there forever:
//! then no sleeper is woken.

use super::std;
use core::cell::Cell;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::vec::Vec;

use super::futex::Sleepable;
use super::kernel::{address, sleep_any, wait_at, wake_at, wake_on};
use super::rwlock::forget_pending;
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::SeqCst;
use crate::futex::{Limit, Wait};
use crate::sync::event::Event;
use crate::sync::gate::{Gate, Woke};
use crate::sync::participants::Counter;
use crate::sync::permits::NoTable;
use crate::sync::split_word::SplitWord;
use crate::sync::units::Units;

/// A scope whose participants may die. Only the counter differs, and the store of the units of permits:
/// `$participants` and `$permits` may name their number, `N`.
macro_rules! killable_scope {
    ($(#[$doc:meta])* $name:ident, $participants:ty) => {
        $crate::model::killable::killable_scope! {
            $(#[$doc])* $name, $participants, $crate::sync::permits::NoTable
        }
    };
    ($(#[$doc:meta])* $name:ident, $participants:ty, $permits:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl $crate::sync::scope::sealed::Sealed for $name {}

        impl $crate::sync::scope::Scope for $name {
            type Lock = $crate::futex::WordLock;
            type RLock = $crate::sync::rlock::OwnedWord;
            type Gate = $crate::model::killable::KillableGate;
            type Queue<const N: usize> = $crate::sync::queue::PrivateQueue;
            type Participants<const N: usize> = $participants;
            type Permits<const N: usize> = $permits;
            type Readers = $crate::sync::readers::Counted<$crate::model::killable::KillableGate>;
            type Outcome<G> = Result<G, $crate::sync::scope::Refused>;

            fn outcome<G>(result: Self::Outcome<G>) -> Self::Outcome<G> {
                result
            }

            fn settle<G>(outcome: Self::Outcome<G>) -> Self::Outcome<G> {
                outcome
            }
        }
    };
}
pub(super) use killable_scope;

killable_scope! {
    /// The waiting of participants that may die.
    Killable, Counter
}

impl Event<Killable> {
    /// An event for participants that may die, not set.
    pub fn killable() -> Self {
        Self::unset()
    }
}

/// A gate, of which only the address matters.
#[derive(Debug, Default)]
pub struct KillableGate(u32);

loom::thread_local! {
    /// The number of steps that are left to this participant, if it is to die.
    static LEFT: Cell<Option<u32>> = Cell::new(None);
    /// The gate that is pending in this participant.
    static PENDING: Cell<usize> = Cell::new(0);
    /// The function that reports this participant's death to the others, before any is woken.
    static WILL: core::cell::RefCell<Option<Box<dyn FnOnce()>>> = core::cell::RefCell::new(None);
    /// Whether this participant stops forever after its last step, instead of dying.
    static STOPS: Cell<bool> = Cell::new(false);
}

struct Died;

/// Runs `body` in this thread until it has made `steps` steps, and kills it at the next. `None` if it died.
pub fn doomed<R>(steps: u32, body: impl FnOnce() -> R) -> Option<R> {
    LEFT.with(|left| left.set(Some(steps)));
    let ended = catch_unwind(AssertUnwindSafe(body));
    LEFT.with(|left| left.set(None));
    match ended {
        Ok(answer) => Some(answer),
        Err(panic) if panic.is::<Died>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// [`doomed`] of a participant whose death `told` reports to the others, before any is woken.
pub fn mourned<R>(steps: u32, told: impl FnOnce() + 'static, body: impl FnOnce() -> R) -> Option<R> {
    WILL.with(|will| *will.borrow_mut() = Some(Box::new(told)));
    let answer = doomed(steps, body);
    WILL.with(|will| will.borrow_mut().take());
    answer
}

/// Runs `body` in this thread until it has made `steps` steps, and stops it there forever. `None` if it stopped.
pub fn stopped<R>(steps: u32, body: impl FnOnce() -> R) -> Option<R> {
    STOPS.with(|stops| stops.set(true));
    let answer = doomed(steps, body);
    STOPS.with(|stops| stops.set(false));
    answer
}

pub(crate) fn step() {
    match LEFT.with(Cell::get) {
        None => {}
        Some(0) => {
            LEFT.with(|left| left.set(None));
            let gate = PENDING.with(|pending| pending.replace(0));
            if let Some(told) = WILL.with(|will| will.borrow_mut().take()) {
                told();
            }
            if gate != 0 && !STOPS.with(Cell::get) {
                wake_on(gate, 1);
            }
            resume_unwind(Box::new(Died));
        }
        Some(more) => LEFT.with(|left| left.set(Some(more - 1))),
    }
}

/// Runs `critical` with that word as the pending one.
pub(super) fn covered_by<R>(word: usize, critical: impl FnOnce() -> R) -> R {
    // A thread has one pending entry, this word or one of its list.
    forget_pending();
    PENDING.with(|pending| pending.set(word));
    step();
    let answer = critical();
    step();
    uncover();
    forget_pending();
    answer
}

/// Ends the cover of the word that is pending, because another entry is pending from now on.
pub(super) fn uncover() {
    PENDING.with(|pending| pending.set(0));
}

/// Kills the participant, which is [doomed](doomed), at this step.
pub fn die() {
    LEFT.with(|left| left.set(Some(0)));
    step();
}

impl Sleepable for KillableGate {
    fn value(&self) -> u32 {
        self.0
    }
}

impl KillableGate {
    /// [`Gate::sleep`] while `holds` returns true.
    pub(super) fn sleep_while(&self, key: usize, holds: impl FnOnce() -> bool, limit: Limit<'_>) -> Woke {
        step();
        if limit.is_cancelled() {
            return Woke::TimedOut;
        }
        let cancelling = limit.watched().map(|watched| watched.address());
        let words: Vec<usize> = cancelling.into_iter().chain([key, address(self)]).collect();
        let woken = sleep_any(&words, || holds() && !limit.is_cancelled());
        step();
        match woken {
            Some(at) if at + 1 == words.len() => Woke::PeerDied,
            Some(at) if at + 2 == words.len() => Woke::Look,
            Some(_) if limit.is_cancelled() => Woke::TimedOut,
            Some(_) | None => Woke::Look,
        }
    }
}

impl Gate for KillableGate {
    const CAN_SPIN: bool = false;

    fn protected<R>(&self, critical: impl FnOnce() -> R) -> R {
        covered_by(address(self), critical)
    }

    fn sleep(&self, word: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke {
        self.sleep_while(address(word), || word.load(SeqCst) == expected, limit)
    }

    fn wake(&self, word: &AtomicU32, count: u32) -> u32 {
        step();
        let woken = wake_on(address(word), count);
        step();
        woken
    }

    fn protected_at<R>(state: &SplitWord, critical: impl FnOnce() -> R) -> R {
        covered_by(address(state), critical)
    }

    fn sleep_at(state: &SplitWord, announced: u64, limit: Limit<'_>) -> Woke {
        step();
        let ended = wait_at(state, |now| now == announced, limit);
        step();
        match ended {
            Wait::Woken | Wait::Changed => Woke::Look,
            Wait::TimedOut => Woke::TimedOut,
        }
    }

    fn wake_at(state: &SplitWord, count: u32) {
        step();
        wake_at(state, count);
        step();
    }
}

/// The units of a semaphore between participants that may die.
#[derive(Debug)]
pub struct KillableUnits(Units<Killable>);

impl KillableUnits {
    /// A semaphore of `value` units.
    pub fn new(value: u32) -> Self {
        Self(Units::new(value, u32::MAX, KillableGate::default()))
    }

    /// Takes one unit, within the limit.
    pub fn take(&self, limit: Limit<'_>) -> bool {
        self.0.take_within(&NoTable, limit) == Ok(true)
    }

    /// Releases units.
    pub fn give(&self, units: u32) {
        let given = self.0.give(units);
        assert!(given.is_ok(), "there is no bound");
    }

    /// The number of free units.
    pub fn value(&self) -> u32 {
        crate::sync::units::count(self.0.state())
    }
}
