//! The phases of a barrier and their order, in one word that changes by compare-exchange.
//!
//! | from | to | changed by |
//! | --- | --- | --- |
//! | filling, one party is missing | filling, the next cycle | the last to arrive, once all of the previous cycle have left |
//! | filling, one party is missing | acting | the same party, if it has an action |
//! | acting | filling, the next cycle | the same party, after its action |
//! | filling, acting, resetting | broken | `abort`, a timeout, an action's panic or error, a party that sees a death |
//! | filling, acting, broken | resetting | `reset` |
//! | resetting | filling, the same cycle | a party that finds no party inside any more |

use crate::atomic::Ordering::SeqCst;
use crate::atomic::in_one_order;
use crate::sync::barrier::Barrier;
use crate::sync::barrier::word::{
    ACTING, BROKEN, CHANGE, COUNTS, CYCLE, DIED, EMPTYING, FILLING, LEAVING, PHASE, REASON, RESETTING, SLEEPERS,
    arrived, changed, leaving,
};
use crate::sync::gate::Gate;
use crate::sync::participants::Participants;
use crate::sync::scope::Scope;

impl<S: Scope, const N: usize> Barrier<S, N> {
    /// Changes the state and wakes the sleepers; false if the upper half has changed since it was read. `to` computes
    /// the new counts, cycle, phase and reason from the old ones.
    pub(super) fn change(&self, seen: u64, to: impl Fn(u64) -> u64) -> bool {
        self.gate.protected(|| {
            let mut now = seen;
            loop {
                let next = (to(now) & !(SLEEPERS | EMPTYING)).wrapping_add(CHANGE);
                match self.state.change(now, next, SeqCst) {
                    Ok(before) => {
                        if before & SLEEPERS != 0 {
                            self.gate.wake(self.state.upper(), u32::MAX);
                        }
                        return true;
                    }
                    Err(other) if changed(seen, other) => return false,
                    Err(other) => now = other,
                }
            }
        })
    }

    /// Changes to another phase.
    fn turn(&self, seen: u64, phase: u64) -> bool {
        self.change(seen, |now| now & !(PHASE | REASON) | phase)
    }

    /// Wakes all sleepers so that they check the state again.
    pub(super) fn renew(&self) {
        while !self.change(self.state.load(SeqCst), |now| now) {}
    }

    /// Starts the action of the last party to arrive.
    pub(super) fn begin_action(&self, seen: u64) -> bool {
        self.turn(seen, ACTING)
    }

    /// Ends the cycle, so that all parties that have arrived may leave.
    pub(super) fn end_cycle(&self, seen: u64) -> bool {
        self.change(seen, |now| {
            let leaving = u64::from(arrived(now)) * LEAVING;
            (now & !(COUNTS | PHASE | REASON) | leaving) ^ CYCLE
        })
    }

    /// Breaks the barrier if its state is still `seen`; returns false if it has changed.
    pub(super) fn break_from(&self, seen: u64, reason: u64) -> bool {
        self.turn(seen, BROKEN | reason)
    }

    /// Breaks the barrier, unless it is broken already: the first reason is kept.
    pub(super) fn break_up(&self, reason: u64) {
        loop {
            let seen = self.state.load(SeqCst);
            if seen & PHASE == BROKEN || self.break_from(seen, reason) {
                return;
            }
        }
    }

    /// Breaks the barrier if a participant has died. The break comes before the cleanup, so that others find the dead
    /// participant if this thread is killed too. It changes only the state from before it saw the death, because in a
    /// later state the death may have been handled.
    #[cold]
    pub(super) fn mourn(&self) {
        loop {
            let seen = self.state.load(SeqCst);
            if !self.participants.has_dead() {
                return;
            }
            if seen & PHASE == BROKEN || self.break_from(seen, DIED) {
                return self.participants.reclaim();
            }
        }
    }

    /// Ends a reset once no party is inside, and returns whether it did. No party enters during a reset, so a count of
    /// zero remains zero.
    pub(super) fn end_reset(&self) -> bool {
        loop {
            in_one_order();
            let seen = self.state.load(SeqCst);
            if seen & PHASE != RESETTING || self.participants.inside() != 0 {
                return false;
            }
            if self.participants.has_dead() {
                self.mourn();
                return false;
            }
            if self.change(seen, |now| now & !(COUNTS | PHASE | REASON)) {
                return true;
            }
        }
    }

    /// Makes the barrier empty and whole, or starts a reset.
    pub(super) fn restart(&self) {
        loop {
            let seen = self.state.load(SeqCst);
            let is_whole = seen & PHASE == FILLING && arrived(seen) == 0;
            if is_whole || seen & PHASE == RESETTING || self.turn(seen, RESETTING) {
                break;
            }
        }
        self.end_reset();
    }

    /// Counts one party of a complete cycle as departed.
    pub(super) fn depart(&self) {
        loop {
            let seen = self.state.load(SeqCst);
            if matches!(seen & PHASE, BROKEN | RESETTING) {
                return;
            }
            let left = seen - LEAVING;
            let gone = if leaving(left) == 0 && seen & EMPTYING != 0 {
                self.change(seen, |now| now - LEAVING)
            } else {
                self.state.change(seen, left, SeqCst).is_ok()
            };
            if gone {
                return;
            }
        }
    }
}
