//! The phases of a barrier and their order, in one word that changes by compare-exchange.
//!
//! The changes that count the parties need the internal lock: to come inside, to end a phase in which some leave, to
//! reset. To break the barrier and to leave late need no lock.
//!
//! | from | to | who |
//! | --- | --- | --- |
//! | filling | draining, or acting first | the last to arrive |
//! | acting | draining | the same one, after its action |
//! | draining, resetting | filling | the last to leave, or a party that waits for that |
//! | doomed | broken | the same |
//! | filling, acting, resetting | broken | `abort`, a timeout, an action's panic or error, whoever sees a death |
//! | draining | doomed | the same |
//! | filling, acting, broken | resetting, or filling if nobody is inside | `reset` |
//! | doomed | draining | `reset` |
//!
//! | state word, bits | meaning |
//! | --- | --- |
//! | `0..3` | the phase |
//! | `3..6` | why it is broken or doomed |
//! | `6` | somebody may sleep on the word |
//! | `7..32` | how often all this has changed |

use crate::atomic::Ordering::{AcqRel, Acquire};
use crate::sync::barrier::{Barrier, Broken};
use crate::sync::gate::Gate;
use crate::sync::participants::Participants;
use crate::sync::scope::{RawLock, Scope};

pub(super) const PHASE: u32 = 0b111;
pub(super) const FILLING: u32 = 0;
pub(super) const ACTING: u32 = 1;
pub(super) const DRAINING: u32 = 2;
pub(super) const DOOMED: u32 = 3;
pub(super) const RESETTING: u32 = 4;
pub(super) const BROKEN: u32 = 5;

pub(super) const REASON: u32 = 0b111 << 3;
pub(super) const TIMED_OUT: u32 = 1 << 3;
pub(super) const ABORTED: u32 = 2 << 3;
pub(super) const DIED: u32 = 3 << 3;
pub(super) const PANICKED: u32 = 4 << 3;
pub(super) const FAILED: u32 = 5 << 3;

pub(super) const SLEEPERS: u32 = 1 << 6;
pub(super) const CHANGE: u32 = 1 << 7;

/// Whether the two states differ in more than who sleeps.
pub(super) fn changed(one: u32, other: u32) -> bool {
    (one ^ other) & !SLEEPERS != 0
}

pub(super) fn why(state: u32) -> Broken {
    if state & PHASE == RESETTING { Broken::Reset } else { Broken::because(state) }
}

impl<S: Scope> Barrier<S> {
    /// Goes to another phase, and wakes the sleepers; false if the state has changed since it was read.
    pub(super) fn change(&self, seen: u32, to: u32) -> bool {
        self.gate.protected(|| {
            let next = (seen & !(PHASE | REASON | SLEEPERS)).wrapping_add(CHANGE) | to;
            let mut now = seen;
            loop {
                match self.state.compare_exchange(now, next, AcqRel, Acquire) {
                    Ok(before) => {
                        if before & SLEEPERS != 0 {
                            self.gate.wake(&self.state, u32::MAX);
                        }
                        return true;
                    }
                    Err(other) if changed(seen, other) => return false,
                    Err(other) => now = other,
                }
            }
        })
    }

    /// Has everyone who sleeps look again.
    pub(super) fn renew(&self) {
        loop {
            let seen = self.state.load(Acquire);
            if self.change(seen, seen & (PHASE | REASON)) {
                return;
            }
        }
    }

    /// Breaks the barrier, unless it is broken: the first reason stays.
    pub(super) fn break_up(&self, reason: u32) {
        loop {
            let seen = self.state.load(Acquire);
            let to = match seen & PHASE {
                BROKEN | DOOMED => return,
                DRAINING => DOOMED,
                _ => BROKEN,
            };
            if self.change(seen, to | reason) {
                return;
            }
        }
    }

    /// Ends a wait that cannot take the internal lock in time, in one step that depends on the state.
    #[cold]
    pub(super) fn leave_unlocked(&self, slot: Option<usize>, number: Option<u32>) -> Result<u32, Broken> {
        let answer = loop {
            let seen = self.state.load(Acquire);
            let to = match (seen & PHASE, number) {
                (DRAINING | DOOMED, Some(number)) => break Ok(number),
                (BROKEN, _) | (RESETTING, Some(_)) => break Err(why(seen)),
                (DOOMED, None) => break Err(Broken::TimedOut),
                (DRAINING, None) => DOOMED,
                _ => BROKEN,
            };
            if self.change(seen, to | TIMED_OUT) {
                break Err(Broken::TimedOut);
            }
        };
        if let Some(slot) = slot {
            self.go(slot, number.is_some());
        }
        answer
    }

    /// Leaves without the internal lock. This wakes the parties that wait until all have left. The first of them that
    /// takes the lock sees that this party has left.
    pub(super) fn go(&self, slot: usize, inside: bool) {
        if inside {
            self.participants.leave(slot);
            self.renew();
        }
        self.participants.release_unless_kept(slot);
    }
}

/// The internal lock, taken.
pub(super) struct Held<'b, S: Scope>(pub(super) &'b Barrier<S>);

impl<S: Scope> Held<'_, S> {
    /// Deals with deaths. Breaking comes first: should this thread be killed too, the dead are still there to be seen.
    #[cold]
    pub(super) fn mourn(&self) {
        self.0.break_up(DIED);
        self.0.participants.reclaim();
        self.end_empty_phase();
        self.0.lock.mark_consistent();
    }

    /// Ends a phase in which some leave once all have left, and says whether it did. No party comes inside in such a
    /// phase, so a count of zero stays true.
    pub(super) fn end_empty_phase(&self) -> bool {
        loop {
            let seen = self.0.state.load(Acquire);
            let next = match seen & PHASE {
                DRAINING | RESETTING => FILLING,
                DOOMED => BROKEN | (seen & REASON),
                _ => return false,
            };
            if self.0.participants.inside() != 0 {
                return false;
            }
            if self.0.change(seen, next) {
                return true;
            }
        }
    }

    /// Makes the barrier empty and whole, or begins to.
    pub(super) fn reset(&self) {
        loop {
            let seen = self.0.state.load(Acquire);
            let to = match seen & PHASE {
                FILLING if self.0.participants.inside() == 0 => break,
                FILLING | ACTING | BROKEN => RESETTING,
                DOOMED => DRAINING,
                _ => break,
            };
            if self.0.change(seen, to) {
                break;
            }
        }
        self.end_empty_phase();
    }

    pub(super) fn leave(&self, slot: usize, inside: bool) {
        if inside {
            self.0.participants.leave(slot);
            self.end_empty_phase();
        }
        self.0.participants.release_unless_kept(slot);
    }
}

impl<S: Scope> Drop for Held<'_, S> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `enter` made this of a lock that it had just taken, and it stays in the thread.
        unsafe { self.0.lock.release() };
    }
}
