//! Who takes part in a barrier, and who of them is inside.
//!
//! In `Private` and `Local` nobody dies alone, so a head count does. In `Shared` it is a table of slots: a
//! [lease](super::lease) each, which tells of its holder's death, and a note beside it. How many are inside is counted
//! from the leases of the living, so one that died is never a ghost that was counted in.
//!
//! | note, bit | meaning |
//! | --- | --- |
//! | `0` | inside: arrived and not gone yet |
//! | `1` | kept: the slot outlasts the wait |
//!
//! | lease | note | what it is |
//! | --- | --- | --- |
//! | free | 0 | nobody's slot |
//! | held | any | the holder's, who alone writes the note |
//! | dead | any | to be [reclaimed](Participants::reclaim) under the barrier's lock: the note first, then the lease |
//!
//! **Sleepers watch every slot that was ever used**, free ones too: the kernel's wake at a death meets whoever sleeps
//! on the word, whatever it held when they fell asleep. So a thread that enrols need not wake anyone, unless it is the
//! first in its slot. A death wakes one watcher, and every watcher has a slot itself: should the chosen one be killed
//! as well, its own lease wakes the next.
//!
//! Orderings: slots are given and counted under the barrier's lock. A read without the lock is a hint, except for the
//! leases, which order themselves. A party that leaves without the lock then changes the barrier's state (`AcqRel`). So
//! a party that has seen the change does not count the leaver any more.

use core::sync::atomic::AtomicU32 as Plain;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::SeqCst;

use crate::atomic::AtomicU32;
use crate::atomic::Ordering::Relaxed;
use crate::atomic::const_unless_loom;
use crate::futex::Limit;
use crate::futex::{Reach, Waiter};
use crate::robust::thread_pointer;
use crate::shm::Nodes;
use crate::sync::gate::SharedGate;
use crate::sync::gate::{Gate, Woke};
use crate::sync::lease::{Holder, Lease};
use crate::sync::scope::Refused;

/// The parties of one barrier. The functions that give slots, count or reclaim are called under the barrier's lock.
pub trait Participants<G: Gate> {
    /// The calling thread's slot, or a new one. `widen` runs if sleepers do not watch that one yet, before it is taken.
    fn slot(&self, widen: impl FnOnce()) -> Result<usize, Refused>;

    /// A new slot that the thread keeps until it [releases](Self::release_kept) it.
    fn keep(&self, widen: impl FnOnce()) -> Result<usize, Refused>;

    /// Gives up a kept slot; inside, it is given back when the wait ends. For another thread's slot this does nothing.
    fn release_kept(&self, slot: usize);

    /// Gives the slot back unless it is kept. Only its holder calls this, with the lock or without.
    fn release_unless_kept(&self, slot: usize);

    /// Whether the slot's holder is known to be inside.
    fn is_inside(&self, slot: usize) -> bool;

    /// Counts the slot's holder in.
    fn enter(&self, slot: usize);

    /// Counts the slot's holder out. Only that holder calls this, with the lock or without.
    fn leave(&self, slot: usize);

    /// Notes that the calling thread, which is inside, begins an action. Does nothing if threads have slots.
    fn act(&self) {}

    /// Notes that the action is over.
    fn acted(&self) {}

    /// Whether the calling thread is known to be in its action, without a look at slots.
    fn acts_here(&self) -> bool {
        false
    }

    /// How many are inside.
    fn inside(&self) -> u32;

    /// Whether somebody died in its slot.
    fn has_dead(&self) -> bool;

    /// Frees the slots of the dead.
    fn reclaim(&self);

    /// Sleeps while the state is `expected` and nobody dies. To be called in a stretch that the gate covers.
    fn sleep(&self, gate: &G, state: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke;
}

/// The number of parties inside and the acting thread, for scopes that need no more.
#[derive(Debug)]
pub struct Counter {
    inside: AtomicU32,
    /// The thread pointer of the thread in its action, or 0. That thread lives during its action, so no other thread
    /// has the same.
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
    #[inline]
    fn slot(&self, _widen: impl FnOnce()) -> Result<usize, Refused> {
        Ok(0)
    }

    #[inline]
    fn keep(&self, _widen: impl FnOnce()) -> Result<usize, Refused> {
        Ok(0)
    }

    fn release_kept(&self, _seat: usize) {}

    fn release_unless_kept(&self, _seat: usize) {}

    fn is_inside(&self, _seat: usize) -> bool {
        false
    }

    #[inline]
    fn enter(&self, _seat: usize) {
        self.inside.fetch_add(1, Relaxed);
    }

    #[inline]
    fn leave(&self, _seat: usize) {
        self.inside.fetch_sub(1, Relaxed);
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
        self.inside.load(Relaxed)
    }

    #[inline(always)]
    fn has_dead(&self) -> bool {
        false
    }

    fn reclaim(&self) {}

    #[inline]
    fn sleep(&self, gate: &G, state: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke {
        gate.sleep(state, expected, limit)
    }
}

/// How many slots a table has: a sleeper watches them all, beside three words more, and the kernel takes 128.
pub(crate) const SLOTS: usize = 120;

const INSIDE: u32 = 1;
const KEPT: u32 = 2;

#[derive(Debug)]
#[repr(C)]
struct Slot {
    lease: Lease,
    note: Plain,
}

impl Slot {
    fn has_inside(&self) -> bool {
        self.note.load(SeqCst) & INSIDE != 0 && matches!(self.lease.holder(), Holder::Thread(_))
    }

    fn give_back(&self) {
        self.note.store(0, SeqCst);
        self.lease.release();
    }
}

/// The slots of a barrier between processes. Zero bytes are a table of free ones.
#[derive(Debug)]
#[repr(C)]
pub struct SlotTable {
    /// How many slots, from the first, were ever used.
    used: Plain,
    slots: [Slot; SLOTS],
}

impl SlotTable {
    fn used(&self) -> &[Slot] {
        self.slots.get(..self.used.load(SeqCst) as usize).unwrap_or(&self.slots)
    }

    fn claim(&self, note: u32, widen: impl FnOnce()) -> Result<usize, Refused> {
        let mut widen = Some(widen);
        for (at, slot) in self.slots.iter().enumerate() {
            if slot.lease.holder() != Holder::Nobody {
                continue;
            }
            if at >= self.used.load(SeqCst) as usize {
                self.used.store(at as u32 + 1, SeqCst);
                if let Some(widen) = widen.take() {
                    widen();
                }
            }
            if slot.lease.claim()? {
                slot.note.store(note, SeqCst);
                return Ok(at);
            }
        }
        Err(Refused::TableFull)
    }

    pub(crate) fn note_nodes(&self, visit: &mut Nodes) {
        for slot in &self.slots {
            visit.note(slot.lease.is_linked_here());
        }
    }
}

impl Participants<SharedGate> for SlotTable {
    fn slot(&self, widen: impl FnOnce()) -> Result<usize, Refused> {
        match self.used().iter().position(|slot| slot.lease.is_mine()) {
            Some(slot) => Ok(slot),
            None => self.claim(0, widen),
        }
    }

    fn keep(&self, widen: impl FnOnce()) -> Result<usize, Refused> {
        self.claim(KEPT, widen)
    }

    fn release_kept(&self, slot: usize) {
        let Some(slot) = self.slots.get(slot).filter(|slot| slot.lease.is_mine()) else { return };
        if slot.note.load(SeqCst) & INSIDE == 0 {
            slot.give_back();
        } else {
            slot.note.fetch_and(!KEPT, SeqCst);
        }
    }

    fn release_unless_kept(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            if slot.note.load(SeqCst) & KEPT == 0 && slot.lease.is_mine() {
                slot.give_back();
            }
        }
    }

    fn is_inside(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(Slot::has_inside)
    }

    fn enter(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            slot.note.fetch_or(INSIDE, SeqCst);
        }
    }

    fn leave(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            slot.note.fetch_and(!INSIDE, SeqCst);
        }
    }

    fn inside(&self) -> u32 {
        self.used().iter().filter(|slot| slot.has_inside()).count() as u32
    }

    fn has_dead(&self) -> bool {
        self.used().iter().any(|slot| slot.lease.holder() == Holder::Dead)
    }

    fn reclaim(&self) {
        for slot in self.used() {
            let lease = slot.lease.look();
            if lease.holder() == Holder::Dead {
                slot.note.store(0, SeqCst);
                slot.lease.reclaim(lease);
            }
        }
    }

    fn sleep(&self, gate: &SharedGate, state: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke {
        let mut words = [Waiter::new(state, expected, Reach::Shared); SLOTS + 3];
        let mut count = 1;
        for (word, slot) in words.iter_mut().skip(1).zip(self.used()) {
            let lease = slot.lease.look();
            if lease.holder() == Holder::Dead {
                return Woke::Look;
            }
            *word = slot.lease.watch(lease);
            count += 1;
        }
        gate.sleep_on(&mut words, count, limit).0
    }
}
