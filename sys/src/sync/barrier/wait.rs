//! A single wait, from the arrival to the end.

use super::word::{
    ACTING, ARRIVED, BROKEN, CYCLE, EMPTYING, FAILED, FILLING, MOST, PANICKED, PHASE, RESETTING, SLEEPERS, TIMED_OUT,
    arrived, changed, half, leaving,
};
use super::{Barrier, Broken};
use crate::atomic::Ordering::{Relaxed, SeqCst};
use crate::atomic::in_one_order;
use crate::futex::Limit;
use crate::sync::gate::{Gate, Woke};
use crate::sync::participants::Participants;
use crate::sync::scope::{Refused, Scope};

/// The state of a thread during its wait.
struct Visit<'b, S: Scope, const N: usize> {
    barrier: &'b Barrier<S, N>,
    slot: Option<usize>,
    is_noted: bool,
}

impl<S: Scope, const N: usize> Visit<'_, S, N> {
    /// The slot of this visit, or a new one; `None` when the caller must check the state again.
    fn slot(&mut self, near: u32) -> Result<Option<usize>, Refused> {
        if self.slot.is_none() {
            self.slot = self.barrier.claim(near)?;
        }
        Ok(self.slot)
    }

    fn note(&mut self, slot: usize) {
        if !self.is_noted {
            self.barrier.participants.enter(slot);
            self.is_noted = true;
            in_one_order();
        }
    }

    /// Records that the thread is not inside, and wakes the threads that wait for that.
    fn unnote(&mut self) {
        if let Some(slot) = self.slot.filter(|_| self.is_noted) {
            self.barrier.participants.leave(slot);
            self.is_noted = false;
            self.barrier.end_reset();
        }
    }
}

impl<S: Scope, const N: usize> Drop for Visit<'_, S, N> {
    fn drop(&mut self) {
        self.unnote();
        if let Some(slot) = self.slot {
            self.barrier.participants.release_unless_kept(slot);
        }
    }
}

impl<S: Scope, const N: usize> Barrier<S, N> {
    /// Claims a new slot; `None` if a death had to be handled first.
    pub(super) fn claim(&self, near: u32) -> Result<Option<usize>, Refused> {
        let slot = self.participants.claim(near, || self.renew())?;
        if slot.is_none() {
            self.mourn();
        }
        Ok(slot)
    }

    pub(super) fn pass<A: FnOnce() -> bool>(&self, limit: Limit<'_>, mut action: Option<A>) -> Result<u32, Broken> {
        if self.participants.acts_here() {
            return Err(Broken::WouldDeadlock);
        }
        let mine = self.participants.mine();
        if mine.is_some_and(|slot| self.participants.is_inside(slot)) {
            return Err(Broken::WouldDeadlock);
        }
        let mut visit = Visit { barrier: self, slot: mine, is_noted: false };
        loop {
            let seen = self.state.load(SeqCst);
            let number = arrived(seen);
            match seen & PHASE {
                BROKEN => return Err(Broken::because(seen)),
                FILLING if number + 1 < self.parties => {
                    if number == MOST {
                        return Err(Refused::TableFull.into());
                    }
                    let Some(slot) = visit.slot(number)? else { continue };
                    visit.note(slot);
                    if self.state.change(seen, seen + ARRIVED, SeqCst).is_ok() {
                        return self.stay(slot, seen + ARRIVED, number, limit);
                    }
                    continue;
                }
                FILLING if leaving(seen) == 0 => {
                    if self.participants.has_dead() {
                        self.mourn();
                    } else if action.is_some() {
                        let Some(slot) = visit.slot(number)? else { continue };
                        visit.note(slot);
                        if self.begin_action(seen) {
                            return action.take().map_or(Ok(number), |action| self.act(number, action));
                        }
                    } else if self.end_cycle(seen) {
                        return Ok(number);
                    }
                    continue;
                }
                _ => visit.unnote(),
            }
            // Not inside: the phase ends when others do something.
            if seen & PHASE == RESETTING && self.end_reset() {
                continue;
            }
            let woke = if limit.is_now() {
                Woke::TimedOut
            } else {
                let Some(slot) = visit.slot(number)? else { continue };
                self.sleep(seen, slot, seen & PHASE == FILLING, limit)
            };
            match woke {
                Woke::Look => {}
                Woke::PeerDied => self.mourn(),
                Woke::TimedOut => self.give_up(seen)?,
                Woke::Never => return Err(Broken::WouldDeadlock),
            }
        }
    }

    /// Waits as a party that has arrived and is not the last: `joined` is the state after its arrival.
    fn stay(&self, slot: usize, joined: u64, number: u32, limit: Limit<'_>) -> Result<u32, Broken> {
        loop {
            let seen = self.state.load(SeqCst);
            if (seen ^ joined) & CYCLE != 0 {
                self.depart();
                return Ok(number);
            }
            if matches!(seen & PHASE, BROKEN | RESETTING) {
                return Err(Broken::because(seen));
            }
            let woke = if limit.is_now() { Woke::TimedOut } else { self.sleep(seen, slot, false, limit) };
            match woke {
                Woke::Look => {}
                Woke::PeerDied => self.mourn(),
                Woke::TimedOut => self.give_up(seen)?,
                Woke::Never => {
                    self.retract();
                    return Err(Broken::WouldDeadlock);
                }
            }
        }
    }

    /// Retracts the arrival of the only thread.
    #[cold]
    fn retract(&self) {
        let mut seen = self.state.load(SeqCst);
        while let Err(now) = self.state.change(seen, seen - ARRIVED, SeqCst) {
            seen = now;
        }
    }

    /// Breaks the barrier for a party whose time is over, and returns the reason; does nothing if the state is no
    /// longer `seen`. A death that no party has seen yet takes precedence.
    #[cold]
    fn give_up(&self, seen: u64) -> Result<(), Broken> {
        self.mourn();
        if self.break_from(seen, TIMED_OUT) { Err(Broken::TimedOut) } else { Ok(()) }
    }

    /// Runs the action of the last party to arrive, and ends the cycle.
    fn act(&self, number: u32, action: impl FnOnce() -> bool) -> Result<u32, Broken> {
        let unwinding = Acting(self);
        self.participants.act();
        let done = action();
        self.participants.acted();
        core::mem::forget(unwinding);
        if !done {
            self.break_up(FAILED);
        }
        loop {
            // No other party acts before this thread has left.
            let seen = self.state.load(SeqCst);
            if seen & PHASE != ACTING {
                return Err(Broken::because(seen));
            }
            if self.end_cycle(seen) {
                return Ok(number);
            }
        }
    }

    /// Sleeps until the state is no longer `seen`. With `until_left`, also until all parties of the last cycle have
    /// left.
    fn sleep(&self, seen: u64, slot: usize, until_left: bool, limit: Limit<'_>) -> Woke {
        let is_over = |now| changed(seen, now) || until_left && leaving(now) == 0;
        if S::Gate::CAN_SPIN && self.spin.until(|| is_over(self.state.load(Relaxed))) {
            return Woke::Look;
        }
        let bits = if until_left { SLEEPERS | EMPTYING } else { SLEEPERS };
        self.gate.protected(|| {
            let expected = loop {
                let now = self.state.load(Relaxed);
                if is_over(now) {
                    return Woke::Look;
                }
                if now & bits == bits || self.state.change(now, now | bits, SeqCst).is_ok() {
                    break now | bits;
                }
            };
            let round = half(expected & !EMPTYING);
            let woke = self.participants.sleep(&self.gate, slot, self.state.upper(), half(expected), round, limit);
            if woke == Woke::PeerDied {
                // The thread that changed the phase died before all were awake.
                self.gate.wake(self.state.upper(), u32::MAX);
            }
            woke
        })
    }
}

/// Breaks the barrier when an action panics.
struct Acting<'b, S: Scope, const N: usize>(&'b Barrier<S, N>);

impl<S: Scope, const N: usize> Drop for Acting<'_, S, N> {
    fn drop(&mut self) {
        self.0.participants.acted();
        self.0.break_up(PANICKED);
    }
}
