//! The phases of a barrier: what may follow what, in one word that changes under the internal lock.
//!
//! | from | to | who |
//! | --- | --- | --- |
//! | filling | draining, or acting first | the last to arrive |
//! | acting | draining | the same one, after its action |
//! | draining, resetting | filling | the last to leave |
//! | doomed | broken | the last to leave |
//! | filling, acting, resetting | broken | `abort`, a timeout, an action's panic, whoever sees a death |
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

use crate::atomic::Ordering::{AcqRel, Relaxed};
use crate::scope::{RawLock, Scope};
use crate::sync::barrier::{Barrier, Broken};
use crate::sync::gate::Gate;
use crate::sync::roster::Roster;

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

pub(super) const SLEEPERS: u32 = 1 << 6;
pub(super) const CHANGE: u32 = 1 << 7;

/// Whether the two states differ in more than who sleeps.
pub(super) fn changed(one: u32, other: u32) -> bool {
    (one ^ other) & !SLEEPERS != 0
}

pub(super) fn why(state: u32) -> Broken {
    if state & PHASE == RESETTING { Broken::Reset } else { Broken::because(state) }
}

/// The internal lock, taken.
pub(super) struct Held<'b, S: Scope>(pub(super) &'b Barrier<S>);

impl<S: Scope> Held<'_, S> {
    /// Goes to another phase, and tells those who sleep.
    pub(super) fn change(&self, to: u32) {
        let Barrier { state, gate, .. } = self.0;
        gate.covered(|| {
            let next = (state.load(Relaxed) & !(PHASE | REASON | SLEEPERS)).wrapping_add(CHANGE) | to;
            if state.swap(next, AcqRel) & SLEEPERS != 0 {
                gate.wake(state, u32::MAX);
            }
        });
    }

    /// Has everyone who sleeps look again.
    pub(super) fn renew(&self) {
        self.change(self.0.state.load(Relaxed) & (PHASE | REASON));
    }

    pub(super) fn break_up(&self, reason: u32) {
        match self.0.state.load(Relaxed) & PHASE {
            BROKEN | DOOMED => {}
            DRAINING => self.change(DOOMED | reason),
            _ => self.change(BROKEN | reason),
        }
    }

    /// Deals with deaths. Breaking comes first: should this thread be killed too, the dead are still there to be seen.
    #[cold]
    pub(super) fn mourn(&self) {
        self.break_up(DIED);
        self.0.roster.bury();
        self.settle();
        self.0.lock.repair();
    }

    /// Ends a phase in which some leave, when all have left.
    pub(super) fn settle(&self) {
        let seen = self.0.state.load(Relaxed);
        let next = match seen & PHASE {
            DRAINING | RESETTING => FILLING,
            DOOMED => BROKEN | (seen & REASON),
            _ => return,
        };
        if self.0.roster.inside() == 0 {
            self.change(next);
        }
    }

    pub(super) fn leave(&self, seat: usize, inside: bool) {
        if inside {
            self.0.roster.rise(seat);
            self.settle();
        }
        self.0.roster.part(seat);
    }
}

impl<S: Scope> Drop for Held<'_, S> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `enter` made this of a lock that it had just taken, and it stays in the thread.
        unsafe { self.0.lock.release() };
    }
}
