//! The threads that take part in a barrier, and which of them may be inside.
//!
//! In `Private` and `Local` no thread dies alone, so a count is enough. In `Shared` the participants are a
//! [table](table) of slots, which shows the deaths of their holders.

mod table;

use core::sync::atomic::AtomicUsize;

use crate::atomic::AtomicU32;
use crate::atomic::Ordering::{Relaxed, SeqCst};
use crate::atomic::const_unless_loom;
use crate::futex::Limit;
use crate::robust::thread_pointer;
use crate::sync::gate::{Gate, Woke};
use crate::sync::scope::Refused;

pub(crate) use table::{Enrolment, SLOTS, SlotTable, WatchingGate};

/// The parties of one barrier.
pub trait Participants<G: Gate> {
    /// The slot that the calling thread already holds. If the thread is inside in one of its slots, that slot.
    fn mine(&self) -> Option<usize>;

    /// Claims a new slot, `near` this place if one is free there. Returns `None` if slots of dead holders are in the
    /// way. Calls `widen` before it takes a slot that no sleeper watches yet.
    ///
    /// # Errors
    /// Why the thread cannot have a slot.
    fn claim(&self, near: u32, widen: impl Fn()) -> Result<Option<usize>, Refused>;

    /// Reserves a slot that was just claimed until the thread [releases](Self::release_kept) it.
    fn keep(&self, slot: usize);

    /// Gives up a kept slot. If the holder is inside, the slot is given back when its wait ends. Does nothing for
    /// another thread's slot.
    fn release_kept(&self, slot: usize);

    /// Gives the slot back unless it is kept. Only its holder calls this.
    fn release_unless_kept(&self, slot: usize);

    /// Whether the slot's holder is inside.
    fn is_inside(&self, slot: usize) -> bool;

    /// Records that the slot's holder may be inside from now on. Only that holder calls this.
    fn enter(&self, slot: usize);

    /// Records that the slot's holder is not inside any more. Only that holder calls this.
    fn leave(&self, slot: usize);

    /// Records that the calling thread, which is inside, begins an action. Does nothing if threads have slots.
    fn act(&self) {}

    /// Records that the action is over.
    fn acted(&self) {}

    /// Whether the calling thread is known to be running its action. Does not read slots.
    fn acts_here(&self) -> bool {
        false
    }

    /// The number of threads that may be inside, by their own records.
    fn inside(&self) -> u32;

    /// Whether a holder died in its slot.
    fn has_dead(&self) -> bool;

    /// Frees the slots of dead holders.
    fn reclaim(&self);

    /// Sleeps while `state` is `expected` and no holder is seen to die. Must be called in a stretch that the gate
    /// protects. Sleepers with the same `round` sleep on the same state.
    fn sleep(&self, gate: &G, slot: usize, state: &AtomicU32, expected: u32, round: u32, limit: Limit<'_>) -> Woke;
}

/// The number of parties inside and the acting thread. Scopes without slots need nothing else.
#[derive(Debug)]
pub struct Counter {
    inside: AtomicU32,
    /// The thread pointer of the thread in its action, or 0. That thread lives during its action, so no other thread
    /// has the same pointer.
    actor: AtomicUsize,
}

impl Counter {
    const_unless_loom! {
        pub(crate) const fn new() -> Self {
            Self { inside: AtomicU32::new(0), actor: AtomicUsize::new(0) }
        }
    }
}

impl<G: Gate> Participants<G> for Counter {
    #[inline(always)]
    fn mine(&self) -> Option<usize> {
        None
    }

    #[inline(always)]
    fn claim(&self, _near: u32, _widen: impl Fn()) -> Result<Option<usize>, Refused> {
        Ok(Some(0))
    }

    fn keep(&self, _slot: usize) {}

    fn release_kept(&self, _slot: usize) {}

    #[inline(always)]
    fn release_unless_kept(&self, _slot: usize) {}

    #[inline(always)]
    fn is_inside(&self, _slot: usize) -> bool {
        false
    }

    #[inline]
    fn enter(&self, _slot: usize) {
        self.inside.fetch_add(1, SeqCst);
    }

    #[inline]
    fn leave(&self, _slot: usize) {
        self.inside.fetch_sub(1, SeqCst);
    }

    fn act(&self) {
        self.actor.store(thread_pointer() as usize, Relaxed);
    }

    fn acted(&self) {
        self.actor.store(0, Relaxed);
    }

    #[inline]
    fn acts_here(&self) -> bool {
        let actor = self.actor.load(Relaxed);
        // The threads of a model are all of one thread of libc.
        !cfg!(loom) && actor != 0 && actor == thread_pointer() as usize
    }

    #[inline]
    fn inside(&self) -> u32 {
        self.inside.load(SeqCst)
    }

    #[inline(always)]
    fn has_dead(&self) -> bool {
        false
    }

    fn reclaim(&self) {}

    #[inline]
    fn sleep(&self, gate: &G, _slot: usize, state: &AtomicU32, expected: u32, _: u32, limit: Limit<'_>) -> Woke {
        gate.sleep(state, expected, limit)
    }
}
