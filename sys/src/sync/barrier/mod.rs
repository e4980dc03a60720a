//! A place where a fixed number of parties wait for each other, again and again.
//!
//! ```
//! use ossature_sys::sync::barrier::Barrier;
//!
//! static HALVES: Barrier = Barrier::new(2);
//! # extern crate std;
//! let other = std::thread::spawn(|| HALVES.wait());
//! let mine = HALVES.wait().unwrap();
//! let other = other.join().unwrap().unwrap();
//! assert_eq!(mine + other, 1, "one is number 0, the other number 1");
//! ```
//!
//! | phase | meaning | a party that comes | one that is inside |
//! | --- | --- | --- | --- |
//! | filling | not all are there | goes inside, gets the next number | waits |
//! | acting | the last one runs its action, without the lock | waits | waits |
//! | draining | all have been there, and leave | waits | leaves with its number |
//! | doomed | draining, and broken when all have left | waits | leaves with its number |
//! | resetting | [`reset`](Barrier::reset) with somebody inside | waits | leaves: [`Broken::Reset`] |
//! | broken | until `reset` | leaves with the reason | leaves with the reason |
//!
//! | state word, bits | meaning |
//! | --- | --- |
//! | `0..3` | the phase |
//! | `3..6` | why it is broken or doomed |
//! | `6` | somebody may sleep on the word |
//! | `7..32` | how often all this has changed |
//!
//! Each change is one compare-exchange. The changes that count the parties (to come inside, to find that all have left,
//! to reset) also need an internal lock. To break the barrier needs no lock. No thread holds the lock while it sleeps
//! or runs the action. So a wait that ends during an action breaks the barrier, and the party that ran the action gets
//! an error, too.
//!
//! **When a party is stopped** (by a debugger, `SIGSTOP` or a frozen control group), it may hold the internal lock. A
//! wait with a limit still ends in time: the wait breaks the barrier, or leaves with its number, without the lock. A
//! wait with [`Limit::NOW`] tries the lock for some microseconds and does not sleep. [`abort`](Barrier::abort) and
//! dropping a [`Party`] never wait. `wait`, `join` and `reset` wait until the stopped party goes on. `join` and `reset`
//! have a form with a limit. No limit ends an action.
//!
//! **When a party is killed** (scope `Shared`) the barrier breaks at once if the party had enrolled, whether it waited
//! or computed. [`join`](Barrier::join) enrols until the [`Party`] is dropped; a wait enrols for its own time. (A
//! thread that has waited without joining and returns does not count as dead.) Those who wait watch each other, and the
//! kernel wakes one of them at the death. With nobody waiting, the next one who comes sees the death. One that dies
//! before it enrols is missed only by the deadlines of the others. One that dies in the internal lock breaks the
//! barrier, and a change that was stored but not announced is announced by whoever the kernel wakes at the gate. A
//! party that has all but left counts as dead; the others, who were all there, still get their numbers. `reset` makes
//! the barrier whole again.
//!
//! **Cost.** A wait takes the internal lock twice, and sleeps unless it is the last. A cycle is one system call for
//! each that sleeps and one that wakes them all. In `Shared` each wait looks at the slots that were ever used.
//!
//! Orderings: the internal lock orders what the parties wrote before they arrived with what they read after they left.

mod action;
mod broken;
mod party;
mod phase;

use core::fmt;
use core::marker::PhantomData;

pub use self::action::{Action, WaitError};
pub use self::broken::Broken;
pub use self::party::Party;
use self::phase::{
    ABORTED, ACTING, BROKEN, DOOMED, DRAINING, FAILED, FILLING, Held, PANICKED, PHASE, RESETTING, SLEEPERS, TIMED_OUT,
    changed, why,
};
use crate::atomic::Ordering::{Acquire, Relaxed};
use crate::atomic::{AtomicU32, const_unless_loom, spin_hint};
use crate::errno::Errno;
use crate::futex::{Limit, WordLock};
use crate::shm::{Fingerprint, Init, InitWith, Nodes, Shareable};
use crate::sync::gate::{Gate, PrivateGate, Woke};
use crate::sync::local::LocalLock;
use crate::sync::participants::SLOTS;
use crate::sync::participants::{Counter, Participants};
use crate::sync::scope::{Local, Shared};
use crate::sync::scope::{Private, RawLock, Refused, Scope};
use crate::sync::shared::SharedLock;
use crate::sync::spin::Spin;

/// A barrier for a fixed number of parties.
///
/// Differs from Python's `threading.Barrier`: the action is given to the wait, and the last one to arrive runs its own.
/// A wait that runs out of time while the cycle before drains breaks the barrier too. [`abort`](Self::abort) lets those
/// who leave a complete cycle have their success.
///
/// A party that is stopped, not dead, may delay a [`wait`](Self::wait), [`join`](Self::join) or [`reset`](Self::reset)
/// of the others. This also happens if the party has changed the barrier but has not woken the others yet. A call with
/// a limit ends in time, and [`abort`](Self::abort) never waits.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{shm::Shm, sync::{Barrier, Local, barrier::Broken}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let alone = Barrier::new(1);
/// let mut ran = 0;
/// assert_eq!(alone.wait(), Ok(0));
/// assert_eq!(alone.wait_with(|| ran += 1), Ok(0));
/// assert_eq!(alone.wait_with_timeout(Duration::from_secs(1), || ran += 1), Ok(0));
/// assert_eq!((ran, alone.parties(), alone.waiting()), (2, 1, 0));
///
/// let pair = Barrier::new(2);
/// assert_eq!(pair.wait_timeout(Duration::from_millis(1)), Err(Broken::TimedOut), "nobody else came");
/// assert!(pair.is_broken());
/// pair.reset();
/// assert!(!pair.is_broken() && pair.reset_timeout(Duration::from_secs(1)));
/// pair.abort();
/// assert_eq!(pair.wait(), Err(Broken::Aborted));
///
/// assert_eq!(Barrier::<Local>::local(1).wait(), Ok(0));
/// assert_eq!(Shm::place(Barrier::shared(1))?.wait(), Ok(0));
/// # Ok(()) }
/// ```
#[repr(C)]
pub struct Barrier<S: Scope = Private> {
    lock: S::Lock,
    state: AtomicU32,
    parties: u32,
    spin: Spin,
    gate: S::Gate,
    participants: S::Participants,
}

impl Barrier {
    const_unless_loom! {
        /// A barrier for `parties` threads, usable in a `static`.
        ///
        /// # Panics
        /// If `parties` is zero. In a `static` that is an error of the compiler.
        pub const fn new(parties: u32) -> Self {
            assert!(parties != 0, "a barrier takes one party at least, not 0");
            Self {
                lock: WordLock::new(),
                state: AtomicU32::new(FILLING),
                parties,
                spin: Spin::new(),
                gate: PrivateGate,
                participants: Counter::new(),
            }
        }
    }
}

impl Barrier<Local> {
    const_unless_loom! {
        /// A barrier for a single thread. A wait never blocks: with more than one party every wait ends at once with an
        /// error.
        ///
        /// # Panics
        /// If `parties` is zero.
        pub const fn local(parties: u32) -> Self {
            assert!(parties != 0, "a barrier takes one party at least, not 0");
            Self {
                lock: LocalLock::new(),
                state: AtomicU32::new(FILLING),
                parties,
                spin: Spin::new(),
                gate: crate::sync::gate::LocalGate,
                participants: Counter::new(),
            }
        }
    }
}

impl Barrier<Shared> {
    /// An initialiser with which [`Shm::place`](crate::shm::Shm::place) makes a shared barrier. Placing fails with
    /// `EINVAL` for no parties and for more than 120 parties, because at most 120 can watch each other.
    pub fn shared(parties: u32) -> impl Init<Self> {
        let write = move |place: *mut Self| {
            if parties == 0 || parties as usize > SLOTS {
                return Err(Errno::INVAL);
            }
            // SAFETY: the place is valid for writes of a whole barrier (the caller's obligation).
            unsafe { place.write_bytes(0, 1) };
            // SAFETY: as above, so its field is in bounds.
            let lock = unsafe { &raw mut (*place).lock };
            // SAFETY: the field lies in the shared mapping that the caller vouches for.
            unsafe { SharedLock::init(lock) }?;
            // SAFETY: as for `lock`.
            let count = unsafe { &raw mut (*place).parties };
            // SAFETY: as for `lock`.
            unsafe { count.write(parties) };
            Ok(())
        };
        // SAFETY: the lock and the number are made; of all the rest zero bytes are the beginning.
        unsafe { InitWith::new(write) }
    }
}

// SAFETY: atomics, a number that is not written again, no Drop, repr(C); any phase is one of the table's or is waited
// for, any count follows from the leases, and the lock is one that survives death.
unsafe impl Shareable for Barrier<Shared> {
    const FINGERPRINT: Fingerprint = Fingerprint::primitive("Barrier");
    const LOCKS: bool = true;

    unsafe fn nodes(place: *const Self, visit: &mut Nodes) {
        // SAFETY: `place` points to a barrier in a mapping (the caller's obligation), which may be read beside writers.
        let barrier = unsafe { &*place };
        visit.note(barrier.lock.is_linked_here());
        barrier.participants.note_nodes(visit);
    }
}

type NoAction = fn() -> bool;

/// How often a wait that may not sleep tries the internal lock: for some microseconds, as long as a running holder
/// keeps the lock.
const LOOKS: u32 = if cfg!(loom) { 0 } else { 200 };

impl<S: Scope> Barrier<S> {
    /// Enrols the calling thread until the [`Party`] is dropped: should it die meanwhile, the barrier breaks at once.
    ///
    /// Only in `Shared` is there anything to it. Whoever does not join is a party all the same while it waits.
    ///
    /// # Errors
    /// In `Shared`: [`TableFull`](Refused::TableFull) when 120 threads have joined or wait,
    /// [`TooMany`](Refused::TooMany), [`Unlisted`](Refused::Unlisted).
    pub fn join(&self) -> S::Outcome<Party<'_, S>> {
        S::outcome(loop {
            if let Some(party) = self.enrol(Limit::NEVER).transpose() {
                break party;
            }
        })
    }

    /// [`join`](Self::join) within the limit; `None` if another party was stopped in the barrier's internal lock for
    /// that long.
    ///
    /// # Errors
    /// As for `join`.
    ///
    /// # Examples
    /// See the example of [`Party`].
    pub fn join_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<Option<Party<'_, S>>> {
        S::outcome(self.enrol(limit.into()))
    }

    fn enrol(&self, limit: Limit<'_>) -> Result<Option<Party<'_, S>>, Refused> {
        let Some(_held) = self.enter(limit)? else { return Ok(None) };
        let slot = self.participants.keep(|| self.renew())?;
        Ok(Some(Party { barrier: self, slot, forks: crate::process::generation(), stays: PhantomData }))
    }

    /// Waits until all parties wait, and answers this one's number: each gets another, from 0 in order of arrival.
    ///
    /// # Errors
    /// [`Broken`], and why.
    #[inline]
    pub fn wait(&self) -> Result<u32, Broken> {
        self.pass(Limit::NEVER, None::<NoAction>)
    }

    /// Waits within the limit. Running out of time, or being [cancelled](crate::futex::Cancel), breaks the barrier for
    /// all parties. The call ends in time, whatever the other parties do.
    ///
    /// # Errors
    /// [`Broken`], and why.
    #[inline]
    pub fn wait_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<u32, Broken> {
        self.pass(limit.into(), None::<NoAction>)
    }

    /// Waits, and runs the action if this is the last to arrive, before the others are let go.
    ///
    /// An action that panics breaks the barrier, and the panic goes on. An action may answer a `Result`: its error
    /// breaks the barrier, too.
    ///
    /// ```
    /// use ossature_sys::sync::barrier::{Barrier, Broken, WaitError};
    ///
    /// let barrier = Barrier::new(1);
    /// assert_eq!(barrier.wait_with(|| ()), Ok(0));
    /// let failed = barrier.wait_with(|| "5x".parse::<u32>().map(drop)).unwrap_err();
    /// assert!(matches!(failed, WaitError::Action(_)), "the error of the action itself");
    /// assert_eq!(barrier.wait(), Err(Broken::Failed), "what all other parties are told");
    /// ```
    ///
    /// # Errors
    /// [`Broken`], and why; also after the action was run, when the barrier was broken or reset meanwhile. With an
    /// action that answers a `Result`, a [`WaitError`]: either that, or the error of the action.
    #[inline]
    pub fn wait_with<A: Action>(&self, action: impl FnOnce() -> A) -> Result<u32, A::Failure> {
        self.wait_with_timeout(Limit::NEVER, action)
    }

    /// [`wait_with`](Self::wait_with) within the limit, which does not end the action.
    ///
    /// # Errors
    /// As for `wait_with`.
    #[inline]
    pub fn wait_with_timeout<'c, A: Action>(
        &self,
        limit: impl Into<Limit<'c>>,
        action: impl FnOnce() -> A,
    ) -> Result<u32, A::Failure> {
        let mut failure = None;
        let act = || {
            failure = action().failure();
            failure.is_none()
        };
        let answer = self.pass(limit.into(), Some(act));
        match failure {
            Some(failure) => Err(failure),
            None => answer.map_err(A::Failure::from),
        }
    }

    /// Breaks the barrier: present and later waits end with [`Broken::Aborted`], until [`reset`](Self::reset).
    ///
    /// This call never waits.
    pub fn abort(&self) {
        // With the lock, if the lock is free: a death that no party has seen yet is then the first reason.
        let held = self.enter(Limit::NOW);
        self.break_up(ABORTED);
        drop(held);
    }

    /// Makes the barrier empty and whole: present waits end with [`Broken::Reset`]. Parties that arrive meanwhile wait
    /// until those have left. A complete cycle ends normally.
    ///
    /// # Errors
    /// In `Shared`: [`TooMany`](Refused::TooMany), [`Unlisted`](Refused::Unlisted).
    pub fn reset(&self) -> S::Outcome<()> {
        S::outcome(self.restart(Limit::NEVER).map(drop))
    }

    /// [`reset`](Self::reset) within the limit; false if another party was stopped in the barrier's internal lock for
    /// that long.
    ///
    /// # Errors
    /// As for `reset`.
    pub fn reset_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<bool> {
        S::outcome(self.restart(limit.into()))
    }

    fn restart(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        Ok(self.enter(limit)?.map(|held| held.reset()).is_some())
    }

    /// How many parties it takes.
    #[inline]
    pub fn parties(&self) -> u32 {
        self.parties
    }

    /// How many wait for the others, as it was a moment ago; none while a cycle drains or the barrier is broken.
    #[doc(alias = "n_waiting")]
    pub fn waiting(&self) -> u32 {
        loop {
            let seen = self.state.load(Acquire);
            let waiting = match seen & PHASE {
                FILLING | ACTING if !self.participants.has_dead() => self.participants.inside(),
                _ => 0,
            };
            if !changed(seen, self.state.load(Acquire)) {
                return waiting;
            }
        }
    }

    /// Whether it is broken, or will be when the present cycle has drained.
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        matches!(self.state.load(Acquire) & PHASE, BROKEN | DOOMED) || self.participants.has_dead()
    }

    /// Takes the internal lock within the limit, and handles deaths; `None` when the limit has passed.
    fn enter(&self, limit: Limit<'_>) -> Result<Option<Held<'_, S>>, Refused> {
        let mut looks = LOOKS;
        while !self.lock.take(limit)? {
            if limit.is_now() && looks != 0 {
                looks -= 1;
                spin_hint();
            } else if !limit.is_never() {
                return Ok(None);
            }
        }
        let held = Held(self);
        if self.lock.abandoned() || self.participants.has_dead() {
            held.mourn();
        }
        Ok(Some(held))
    }

    fn pass<A: FnOnce() -> bool>(&self, limit: Limit<'_>, action: Option<A>) -> Result<u32, Broken> {
        if self.participants.acts_here() {
            return Err(Broken::WouldDeadlock);
        }
        let Some(mut held) = self.enter(limit)? else { return self.leave_unlocked(None, None) };
        let slot = self.participants.slot(|| self.renew())?;
        if self.participants.is_inside(slot) {
            return Err(Broken::WouldDeadlock);
        }
        let mut number = None;
        loop {
            // Before the kernel's compare: a change from here on ends the sleep.
            let seen = self.state.load(Acquire);
            match (seen & PHASE, number) {
                (FILLING, None) => {
                    let next = self.participants.inside();
                    self.participants.enter(slot);
                    if next + 1 >= self.parties {
                        return self.complete(held, slot, next, limit, action);
                    }
                    number = Some(next);
                }
                (DRAINING | DOOMED, Some(number)) => {
                    held.leave(slot, true);
                    return Ok(number);
                }
                (BROKEN | RESETTING, Some(_)) | (BROKEN, None) => {
                    held.leave(slot, number.is_some());
                    return Err(why(seen));
                }
                (DRAINING | DOOMED | RESETTING, None) if held.end_empty_phase() => continue,
                _ => {}
            }
            if limit.is_now() {
                self.break_up(TIMED_OUT);
                held.leave(slot, number.is_some());
                return Err(Broken::TimedOut);
            }
            drop(held);
            let woke = self.sleep(seen, limit);
            held = match self.enter(limit) {
                Ok(Some(held)) => held,
                Ok(None) => return self.leave_unlocked(Some(slot), number),
                // A party that cannot take part any more breaks the barrier like a party whose time ran out.
                Err(refused) => {
                    return self.leave_unlocked(Some(slot), number).map_err(|_| refused.into());
                }
            };
            let ended = match woke {
                Woke::TimedOut if !changed(seen, self.state.load(Acquire)) => Broken::TimedOut,
                Woke::Never => Broken::WouldDeadlock,
                _ => continue,
            };
            if ended == Broken::TimedOut {
                self.break_up(TIMED_OUT);
            }
            held.leave(slot, number.is_some());
            return Err(ended);
        }
    }

    /// What the last to arrive does.
    fn complete<'b, A: FnOnce() -> bool>(
        &'b self,
        held: Held<'b, S>,
        slot: usize,
        number: u32,
        limit: Limit<'_>,
        mut action: Option<A>,
    ) -> Result<u32, Broken> {
        let mut held = Some(held);
        let answer = loop {
            let seen = self.state.load(Acquire);
            match seen & PHASE {
                // Should the word change meanwhile, by a late leaver of the cycle before say, the action is still to be
                // run.
                FILLING if action.is_some() => {
                    if self.change(seen, ACTING) {
                        drop(held.take());
                        action.take().into_iter().for_each(|action| self.act(slot, limit, action));
                        // To end the cycle needs no lock: no party comes inside before this thread has left.
                        held = self.enter(limit).unwrap_or_default();
                    }
                }
                FILLING | ACTING if self.change(seen, DRAINING) => break Ok(number),
                FILLING | ACTING => {}
                _ => break Err(why(seen)),
            }
        };
        self.leave(held, slot);
        answer
    }

    /// Runs the action. If it panics or answers false, the barrier breaks.
    fn act(&self, slot: usize, limit: Limit<'_>, action: impl FnOnce() -> bool) {
        let unwinding = Acting { barrier: self, slot, limit };
        self.participants.act();
        let done = action();
        self.participants.acted();
        core::mem::forget(unwinding);
        if !done {
            self.break_up(FAILED);
        }
    }

    fn leave(&self, held: Option<Held<'_, S>>, slot: usize) {
        match held {
            Some(held) => held.leave(slot, true),
            None => self.go(slot, true),
        }
    }

    fn sleep(&self, seen: u32, limit: Limit<'_>) -> Woke {
        let news = || changed(seen, self.state.load(Relaxed));
        if S::Gate::CAN_SPIN && self.spin.until(news) {
            return Woke::Look;
        }
        self.gate.protected(|| {
            loop {
                let now = self.state.load(Relaxed);
                if changed(seen, now) {
                    return Woke::Look;
                }
                if now & SLEEPERS != 0 || self.state.compare_exchange(now, now | SLEEPERS, Relaxed, Relaxed).is_ok() {
                    break;
                }
            }
            let woke = self.participants.sleep(&self.gate, &self.state, seen | SLEEPERS, limit);
            if woke == Woke::PeerDied {
                // Whoever changed the phase died before all were awake.
                self.gate.wake(&self.state, u32::MAX);
            }
            woke
        })
    }
}

/// Breaks the barrier when an action panics.
struct Acting<'b, 'l, S: Scope> {
    barrier: &'b Barrier<S>,
    slot: usize,
    limit: Limit<'l>,
}

impl<S: Scope> Drop for Acting<'_, '_, S> {
    fn drop(&mut self) {
        self.barrier.participants.acted();
        self.barrier.break_up(PANICKED);
        let held = self.barrier.enter(self.limit).unwrap_or_default();
        self.barrier.leave(held, self.slot);
    }
}

impl<S: Scope> fmt::Debug for Barrier<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who waits is not counted here: that takes the internal lock.
        let broken = matches!(self.state.load(Relaxed) & PHASE, BROKEN | DOOMED);
        f.debug_struct("Barrier").field("parties", &self.parties()).field("broken", &broken).finish_non_exhaustive()
    }
}
