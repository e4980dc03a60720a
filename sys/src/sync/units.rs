//! The count of a semaphore: the state word, the operations that change it, and its sleepers.
//!
//! The word has 64 bits, so that one compare-exchange covers the count and everything that decides whether a thread
//! must be woken:
//!
//! | half | bits | meaning |
//! | --- | --- | --- |
//! | count | `0..32` | units that any thread may take here |
//! | futex | `0` [`SLEEPERS`] | a thread may sleep on this half |
//! | futex | `1` [`MOVING`] | a unit is being moved between the count and a slot of the [table](super::permits) |
//! | futex | from `2` slotted | units in slots of the table, taken or free: as many bits as the number of slots needs |
//! | futex | the rest: generation | counts the changes of a word with sleepers; from bit 1 if there is no table |
//!
//! | slots | slotted | bits of the generation |
//! | --- | --- | --- |
//! | 120 | `2..9` | 23 |
//! | 1,000 | `2..12` | 20 |
//! | 65,536 | `2..19` | 13 |
//!
//! | from | to | changed by |
//! | --- | --- | --- |
//! | count over 0 | one less | a taker |
//! | any | count more by `n`, within the bound | a release, which then wakes `n` if the bit is set |
//! | count 0 | sleepers' bit | a waiter, before it sleeps |
//! | sleepers' bit | none, same generation | a thread that gave a unit back, if its wake found no sleeper |
//! | count | slotted, and back | the thread that moves a unit, with the table's lock held |
//!
//! Every change of a word with the sleepers' bit starts a new generation, except the clearing of the bit. Setting the
//! bit starts one, too. So no step restores a state on which an earlier waiter may be about to sleep.
//!
//! **Why no wake is lost.** A waiter sleeps only on the very state in which it saw the count at 0, and each release
//! issues as many wakes as it adds units. Only a release whose wake found no sleeper clears the bit, and only from the
//! state that it left, in which the count is not 0. No thread can have fallen asleep on that state. So the bit is set
//! while any thread sleeps. (If a [slot](super::permits) was freed, the count shows nothing, and all sleepers are woken
//! once more after the clearing.)
//!
//! **Why the generation may wrap.** A waiter can be delayed between its read and the kernel's compare while others
//! change the word so often that the generation has the same value again. Between processes the generation has 13 to
//! 23 bits, which wrap in milliseconds to seconds of full load. There the sleeper also passes the count to the kernel,
//! and does not sleep unless the count is still 0. The kernel first queues the sleeper at the futex half and then
//! compares the count. So a unit that comes before that compare prevents the sleep. The wake for a unit that comes
//! later finds the sleeper in the queue. (Before Linux 5.16 the sleeper looks every 10 ms.) A freed slot that the
//! sleeper watches is compared in the same way, and so is the number of slots. A sleeper that does not watch all slots
//! looks at them again soon. A release can be delayed, too, between its wake and the clearing of the bit. Beside more
//! than 120 slots it therefore wakes all sleepers after the clearing. Between threads the kernel compares one word. The
//! generation has 31 bits there, like the other counters of this crate, and wraps only if a waiter is delayed for
//! minutes.
//!
//! **Why a limit holds.** A waiter reads the clock before each look at the units. If the limit was over before a look
//! that finds none, the waiter gives up, regardless of why its last sleep ended. A waiter whose limit is over also
//! gives up after [`LAST_TRIES`] looks at units that others take first.
//!
//! **When a thread is killed** half-way (a releaser before its wakes, or a waiter that a wake has chosen), the kernel
//! wakes a sleeper at the gate. That sleeper sets the bit again, takes a unit if there is one, and issues a wake for
//! each unit left.
//!
//! Orderings: takes are `Acquire`, releases `Release`. The steps that decide about sleeping are `SeqCst`, because a
//! slot of the table is freed beside this word. Either its holder sees the bit, or the waiter sees the slot free.

use core::fmt;

use crate::atomic::AtomicU32;
use crate::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::atomic::const_unless_loom;
use crate::futex::Limit;
use crate::sync::gate::{Gate, Woke};
use crate::sync::permits::{Permits, Rounds, SLOTS};
use crate::sync::scope::{Refused, Scope};
use crate::sync::spin::Spin;
use crate::sync::split_word::SplitWord;

const SLEEPERS: u64 = 1 << 32;
pub(crate) const MOVING: u64 = 1 << 33;
/// One unit in the table.
pub(crate) const SLOTTED: u64 = 1 << 34;
/// How often a waiter whose limit is over tries to take a unit that it has seen.
const LAST_TRIES: u32 = 100;

/// The number of units in the count of a state.
#[inline(always)]
pub(crate) const fn count(state: u64) -> u32 {
    state as u32
}

/// The futex half of a state.
#[inline(always)]
const fn half(state: u64) -> u32 {
    (state >> 32) as u32
}

/// Whether a thread may be sleeping.
#[inline(always)]
pub(crate) const fn has_sleepers(state: u64) -> bool {
    state & SLEEPERS != 0
}

/// A release would have made the value too great. Nothing was released.
///
/// # Examples
/// See the example of [`Semaphore`](crate::sync::semaphore::Semaphore).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("semaphore released too many times: its value would exceed its bound, and nothing was released")
    }
}

impl core::error::Error for Overflow {}

/// The count with its bound, and the gate where its waiters sleep. `N` units may be in slots.
#[derive(Debug)]
#[repr(C)]
pub struct Units<S: Scope, const N: usize = 120> {
    state: SplitWord,
    bound: AtomicU32,
    spin: Spin,
    gate: S::Gate,
}

/// A wait for a unit.
#[derive(Debug)]
pub struct Waiting<'c> {
    pub(crate) limit: Limit<'c>,
    /// The number of looks that are left when the limit is over.
    left: u32,
    /// Whether the waiter does the work of a thread that died.
    inherits: bool,
    /// What the table keeps between two sleeps.
    pub(crate) rounds: Rounds,
}

impl<'c> Waiting<'c> {
    pub(crate) fn within(limit: Limit<'c>) -> Self {
        Self { limit, left: LAST_TRIES, inherits: false, rounds: Rounds::default() }
    }

    /// Begins a look at the units. Returns whether the waiter gives up if it finds none, because the limit is over.
    /// Returns `None` if that was so at too many looks already.
    pub(crate) fn is_last(&mut self) -> Option<bool> {
        if !self.limit.is_over() {
            return Some(false);
        }
        self.left = self.left.checked_sub(1)?;
        Some(true)
    }
}

/// What a waiter does next, after it has given up its cover.
pub(crate) enum Step<R> {
    Done(Result<R, Refused>),
    /// A unit must be moved or repaired before a thread can take it.
    Table,
    /// Check the state again.
    Again,
}

impl<S: Scope, const N: usize> Units<S, N> {
    const IS_TABLED: bool = <S::Permits<N> as Permits<S, N>>::TABLED;
    /// The number of bits that hold any number of slots.
    const SLOTTED_BITS: u32 = usize::BITS - N.leading_zeros();
    /// The number of bits between the sleepers' bit and the generation.
    const ABOVE: u32 = if Self::IS_TABLED { SLOTTED.trailing_zeros() - 32 + Self::SLOTTED_BITS } else { 1 };

    const_unless_loom! {
        #[inline]
        pub(crate) const fn new(value: u32, bound: u32, gate: S::Gate) -> Self {
            Self { state: SplitWord::new(value as u64), bound: AtomicU32::new(bound), spin: Spin::new(), gate }
        }
    }

    /// The number of units in slots, from the state.
    #[inline(always)]
    pub(crate) const fn slotted(state: u64) -> u64 {
        if Self::IS_TABLED { (state / SLOTTED) % (1 << Self::SLOTTED_BITS) } else { 0 }
    }

    /// Returns the state in its next generation, if there are sleepers. The carry out of the word is dropped.
    #[inline(always)]
    const fn bump_generation(state: u64) -> u64 {
        state.wrapping_add((state & SLEEPERS) << Self::ABOVE)
    }

    /// Reads the state. `SeqCst`.
    #[inline(always)]
    pub(crate) fn state(&self) -> u64 {
        self.state.load(SeqCst)
    }

    #[inline(always)]
    pub(crate) fn gate(&self) -> &S::Gate {
        &self.gate
    }

    /// The half of the state on which waiters sleep, for the kernel only.
    pub(crate) fn word(&self) -> &AtomicU32 {
        self.state.upper()
    }

    /// The other half, the count, which the kernel compares with 0.
    pub(crate) fn count_word(&self) -> &AtomicU32 {
        self.state.futex()
    }

    /// Takes a unit from the count, if there is one.
    #[inline(always)]
    pub(crate) fn take(&self) -> bool {
        let mut seen = self.state.load(Relaxed);
        while count(seen) != 0 {
            match self.state.change(seen, Self::bump_generation(seen - 1), Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Takes a unit, and waits within the limit.
    #[inline(always)]
    pub(crate) fn take_within<T: Permits<S, N>>(&self, table: &T, limit: Limit<'_>) -> Result<bool, Refused> {
        if self.take() { Ok(true) } else { self.take_slow(table, limit) }
    }

    #[cold]
    fn take_slow<T: Permits<S, N>>(&self, table: &T, limit: Limit<'_>) -> Result<bool, Refused> {
        self.spin_for(table, limit);
        let mut waiting = Waiting::within(limit);
        loop {
            match self.gate.protected(|| self.wait(table, &mut waiting)) {
                Step::Done(answer) => return answer,
                // A unit may have come to the count while this thread waited for the table's lock.
                Step::Table if !table.move_to_count(self, limit)? => return Ok(self.take()),
                Step::Table | Step::Again => {}
            }
        }
    }

    /// Spins while there is no unit to take, if that pays.
    fn spin_for<T: Permits<S, N>>(&self, table: &T, limit: Limit<'_>) {
        self.spin_apart_for(table, 1, limit);
    }

    /// Like [`spin_for`](Self::spin_for), with that many pauses between two looks.
    pub(crate) fn spin_apart_for<T: Permits<S, N>>(&self, table: &T, apart: u32, limit: Limit<'_>) {
        if S::Gate::CAN_SPIN && !limit.is_now() {
            self.spin.until_apart(apart, || count(self.state.load(Relaxed)) != 0 || table.seems_free());
        }
    }

    /// The protected part of a wait.
    fn wait<T: Permits<S, N>>(&self, table: &T, waiting: &mut Waiting<'_>) -> Step<bool> {
        loop {
            let Some(is_last) = waiting.is_last() else {
                // A wake that chose this waiter may be for a unit that is there now.
                self.pass_on(|| table.free_in_slots());
                return Step::Done(Ok(false));
            };
            let seen = self.state();
            if count(seen) != 0 {
                let left = Self::bump_generation((seen - 1) | if waiting.inherits { SLEEPERS } else { 0 });
                if self.state.change(seen, left, Acquire).is_err() {
                    continue;
                }
                if waiting.inherits {
                    self.wake(count(left).saturating_add(table.free_in_slots()));
                }
                return Step::Done(Ok(true));
            }
            if table.has_free(is_last) {
                self.pass_on(|| table.free_in_slots());
                return Step::Table;
            }
            if is_last {
                return Step::Done(Ok(false));
            }
            if let Some(step) = self.sleep(table, seen, waiting) {
                return step;
            }
        }
    }

    /// Sleeps on a state in which there was no unit to take. Returns `None` if the caller must check again. Must be
    /// called in a protected stretch, within the limit.
    pub(crate) fn sleep<T: Permits<S, N>, R: Default>(
        &self,
        table: &T,
        seen: u64,
        waiting: &mut Waiting<'_>,
    ) -> Option<Step<R>> {
        let announced = if seen & SLEEPERS != 0 { seen } else { Self::bump_generation(seen | SLEEPERS) };
        if announced != seen && self.state.change(seen, announced, SeqCst).is_err() {
            return None;
        }
        let Some(woke) = table.sleep(self, half(announced), waiting) else {
            self.pass_on(|| table.free_in_slots());
            return Some(Step::Table);
        };
        match woke {
            Woke::Look => None,
            Woke::PeerDied => {
                waiting.inherits = true;
                // The dead thread may have cleared the bit without waking the threads that had just come to sleep.
                self.change(|state| Some(state | SLEEPERS));
                if !table.may_need_mending() {
                    return None;
                }
                self.pass_on(|| table.free_in_slots());
                Some(Step::Table)
            }
            // A unit may be there whose giver was stopped before its wake. The limit is over, so this look is the last.
            Woke::TimedOut if Self::IS_TABLED || count(self.state()) != 0 => None,
            Woke::TimedOut => Some(Step::Done(Ok(R::default()))),
            Woke::Never => Some(Step::Done(Err(Refused::WouldDeadlock))),
        }
    }

    /// Wakes other waiters for the free units, because the caller is about to give up its cover.
    pub(crate) fn pass_on(&self, free_in_slots: impl FnOnce() -> u32) {
        // The current state: a thread that came to sleep since the caller's last look may not have seen that unit.
        let seen = self.state();
        if !has_sleepers(seen) {
            return;
        }
        let units = count(seen);
        // If it wakes fewer, nobody is left to wake. To count the free units of a large table takes long.
        if self.wake(units) >= units {
            self.wake(free_in_slots());
        }
    }

    /// Wakes sleepers. Returns how many there were.
    pub(crate) fn wake(&self, sleepers: u32) -> u32 {
        if sleepers == 0 {
            return 0;
        }
        self.gate.wake(self.word(), sleepers)
    }

    /// Whether `units` more would exceed the bound.
    #[inline(always)]
    fn is_beyond(&self, seen: u64, units: u32) -> bool {
        u64::from(count(seen)) + Self::slotted(seen) + u64::from(units) > u64::from(self.bound.load(Relaxed))
    }

    /// Adds units to the count.
    #[inline(always)]
    pub(crate) fn give(&self, units: u32) -> Result<(), Overflow> {
        let mut seen = self.state.load(Relaxed);
        while seen & SLEEPERS == 0 {
            if self.is_beyond(seen, units) {
                return Err(Overflow);
            }
            match self.state.change(seen, seen + u64::from(units), Release) {
                Ok(_) => return Ok(()),
                Err(now) => seen = now,
            }
        }
        self.give_and_wake(units)
    }

    #[cold]
    fn give_and_wake(&self, units: u32) -> Result<(), Overflow> {
        self.gate.protected(|| {
            let mut seen = self.state.load(Relaxed);
            let left = loop {
                if self.is_beyond(seen, units) {
                    return Err(Overflow);
                }
                let left = Self::bump_generation(seen + u64::from(units));
                match self.state.change(seen, left, Release) {
                    Ok(_) => break left,
                    Err(now) => seen = now,
                }
            };
            if units != 0 && left & SLEEPERS != 0 && self.wake(units) == 0 {
                // Losing this race leaves the bit, which costs a later release a system call.
                let is_cleared = self.state.change(left, left & !SLEEPERS, SeqCst).is_ok();
                if is_cleared && Self::IS_TABLED && N > SLOTS {
                    // The state may be that of a later generation with the same number, with sleepers.
                    self.wake(u32::MAX);
                }
            }
            Ok(())
        })
    }

    /// Wakes one sleeper because a slot was freed. Must be called in a protected stretch.
    pub(crate) fn wake_for_slot(&self) {
        let seen = self.state();
        if !has_sleepers(seen) || self.wake(1) != 0 {
            return;
        }
        match self.state.change(seen, seen & !SLEEPERS, SeqCst) {
            // A thread may have come to sleep meanwhile, when the slot was taken again.
            Ok(_) => self.wake(u32::MAX),
            // A thread that compared the state before this change is queued by now. Any other compares it again.
            Err(_) => self.wake(1),
        };
    }

    /// Replaces the state by the result of `change`, in the next generation. Returns `None` if `change` does. `SeqCst`.
    pub(crate) fn change(&self, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut seen = self.state();
        loop {
            let left = Self::bump_generation(change(seen)?);
            match self.state.change(seen, left, SeqCst) {
                Ok(_) => return Some(left),
                Err(now) => seen = now,
            }
        }
    }
}
