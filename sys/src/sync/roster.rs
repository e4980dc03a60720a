//! Who takes part in a barrier, and who of them is inside.
//!
//! In `Private` and `Local` nobody dies alone, so a head count does. In `Shared` it is a table of seats: a
//! [lease](super::lease) each, which tells of its holder's death, and a note beside it. How many are inside is counted
//! from the leases of the living, so one that died is never a ghost that was counted in.
//!
//! | note, bit | meaning |
//! | --- | --- |
//! | `0` | inside: arrived and not gone yet |
//! | `1` | kept: the seat outlasts the wait |
//!
//! | lease | note | what it is |
//! | --- | --- | --- |
//! | free | 0 | nobody's seat |
//! | held | any | the holder's, who alone writes the note |
//! | dead | any | to be [buried](Roster::bury) under the barrier's lock: the note first, then the lease |
//!
//! **Sleepers watch every seat that was ever used**, free ones too: the kernel's wake at a death meets whoever sleeps
//! on the word, whatever it held when they fell asleep. So a thread that enrols need not wake anyone, unless it is the
//! first in its seat. A death wakes one watcher, and every watcher has a seat itself: should the chosen one be killed
//! as well, its own lease wakes the next.
//!
//! Orderings: seats are given and counted under the barrier's lock. A read without the lock is a hint, except for the
//! leases, which order themselves. A party that leaves without the lock then changes the barrier's state (`AcqRel`). So
//! a party that has seen the change does not count the leaver any more.

#[cfg(not(loom))]
use core::sync::atomic::AtomicU32 as Plain;
#[cfg(not(loom))]
use core::sync::atomic::AtomicUsize;
#[cfg(not(loom))]
use core::sync::atomic::Ordering::SeqCst;

use crate::atomic::AtomicU32;
use crate::atomic::Ordering::Relaxed;
use crate::futex::Limit;
#[cfg(not(loom))]
use crate::futex::{Reach, Waiter};
use crate::scope::Refused;
#[cfg(not(loom))]
use crate::shm::Nodes;
#[cfg(not(loom))]
use crate::sync::gate::SharedGate;
use crate::sync::gate::{Gate, Woke};
#[cfg(not(loom))]
use crate::sync::lease::{Holder, Lease};
#[cfg(not(loom))]
use crate::sync::robust::thread_pointer;

/// The parties of one barrier. The functions that give seats, count or bury are called under the barrier's lock.
pub trait Roster<G: Gate> {
    /// The calling thread's seat, or a new one. `widen` runs if sleepers do not watch that one yet, before it is taken.
    fn seat(&self, widen: impl FnOnce()) -> Result<usize, Refused>;

    /// A new seat that the thread keeps until it [forgoes](Self::forgo) it.
    fn keep(&self, widen: impl FnOnce()) -> Result<usize, Refused>;

    /// Gives up a kept seat; inside, it is given back when the wait ends. For another thread's seat this does nothing.
    fn forgo(&self, seat: usize);

    /// Gives the seat back unless it is kept. Only its holder calls this, with the lock or without.
    fn part(&self, seat: usize);

    /// Whether the seat's holder is known to be inside.
    fn is_inside(&self, seat: usize) -> bool;

    /// Counts the seat's holder in.
    fn sit(&self, seat: usize);

    /// Counts the seat's holder out. Only that holder calls this, with the lock or without.
    fn rise(&self, seat: usize);

    /// Notes that the calling thread, which is inside, begins an action. Does nothing if threads have seats.
    fn act(&self) {}

    /// Notes that the action is over.
    fn acted(&self) {}

    /// Whether the calling thread is known to be in its action, without a look at seats.
    fn acts_here(&self) -> bool {
        false
    }

    /// How many are inside.
    fn inside(&self) -> u32;

    /// Whether somebody died in its seat.
    fn has_dead(&self) -> bool;

    /// Frees the seats of the dead.
    fn bury(&self);

    /// Sleeps while the state is `expected` and nobody dies. To be called in a stretch that the gate covers.
    fn sleep(&self, gate: &G, state: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke;
}

/// The number of parties inside and the acting thread, for scopes that need no more.
#[derive(Debug)]
pub struct Headcount {
    inside: AtomicU32,
    /// The thread pointer of the thread in its action, or 0. That thread lives during its action, so no other thread
    /// has the same.
    #[cfg(not(loom))]
    actor: AtomicUsize,
}

impl Headcount {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { inside: AtomicU32::new(0), actor: AtomicUsize::new(0) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { inside: AtomicU32::new(0) }
    }
}

impl<G: Gate> Roster<G> for Headcount {
    #[inline]
    fn seat(&self, _widen: impl FnOnce()) -> Result<usize, Refused> {
        Ok(0)
    }

    #[inline]
    fn keep(&self, _widen: impl FnOnce()) -> Result<usize, Refused> {
        Ok(0)
    }

    fn forgo(&self, _seat: usize) {}

    fn part(&self, _seat: usize) {}

    fn is_inside(&self, _seat: usize) -> bool {
        false
    }

    #[inline]
    fn sit(&self, _seat: usize) {
        self.inside.fetch_add(1, Relaxed);
    }

    #[inline]
    fn rise(&self, _seat: usize) {
        self.inside.fetch_sub(1, Relaxed);
    }

    #[cfg(not(loom))]
    fn act(&self) {
        self.actor.store(thread_pointer() as usize, Relaxed);
    }

    #[cfg(not(loom))]
    fn acted(&self) {
        self.actor.store(0, Relaxed);
    }

    #[cfg(not(loom))]
    #[inline]
    fn acts_here(&self) -> bool {
        let actor = self.actor.load(Relaxed);
        actor != 0 && actor == thread_pointer() as usize
    }

    #[inline]
    fn inside(&self) -> u32 {
        self.inside.load(Relaxed)
    }

    #[inline(always)]
    fn has_dead(&self) -> bool {
        false
    }

    fn bury(&self) {}

    #[inline]
    fn sleep(&self, gate: &G, state: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke {
        gate.sleep(state, expected, limit)
    }
}

/// How many seats a table has: a sleeper watches them all, beside three words more, and the kernel takes 128.
#[cfg(not(loom))]
pub(crate) const SEATS: usize = 120;

#[cfg(not(loom))]
const INSIDE: u32 = 1;
#[cfg(not(loom))]
const KEPT: u32 = 2;

#[cfg(not(loom))]
#[derive(Debug)]
#[repr(C)]
struct Seat {
    lease: Lease,
    note: Plain,
}

#[cfg(not(loom))]
impl Seat {
    fn has_inside(&self) -> bool {
        self.note.load(SeqCst) & INSIDE != 0 && matches!(self.lease.holder(), Holder::Thread(_))
    }

    fn give_back(&self) {
        self.note.store(0, SeqCst);
        self.lease.release();
    }
}

/// The seats of a barrier between processes. Zero bytes are a table of free ones.
#[cfg(not(loom))]
#[derive(Debug)]
#[repr(C)]
pub struct Table {
    /// How many seats, from the first, were ever used.
    used: Plain,
    seats: [Seat; SEATS],
}

#[cfg(not(loom))]
impl Table {
    fn used(&self) -> &[Seat] {
        self.seats.get(..self.used.load(SeqCst) as usize).unwrap_or(&self.seats)
    }

    fn claim(&self, note: u32, widen: impl FnOnce()) -> Result<usize, Refused> {
        let mut widen = Some(widen);
        for (at, seat) in self.seats.iter().enumerate() {
            if seat.lease.holder() != Holder::Nobody {
                continue;
            }
            if at >= self.used.load(SeqCst) as usize {
                self.used.store(at as u32 + 1, SeqCst);
                if let Some(widen) = widen.take() {
                    widen();
                }
            }
            if seat.lease.claim()? {
                seat.note.store(note, SeqCst);
                return Ok(at);
            }
        }
        Err(Refused::TableFull)
    }

    pub(crate) fn note_nodes(&self, visit: &mut Nodes) {
        for seat in &self.seats {
            visit.note(seat.lease.is_linked_here());
        }
    }
}

#[cfg(not(loom))]
impl Roster<SharedGate> for Table {
    fn seat(&self, widen: impl FnOnce()) -> Result<usize, Refused> {
        match self.used().iter().position(|seat| seat.lease.is_mine()) {
            Some(seat) => Ok(seat),
            None => self.claim(0, widen),
        }
    }

    fn keep(&self, widen: impl FnOnce()) -> Result<usize, Refused> {
        self.claim(KEPT, widen)
    }

    fn forgo(&self, seat: usize) {
        let Some(seat) = self.seats.get(seat).filter(|seat| seat.lease.is_mine()) else { return };
        if seat.note.load(SeqCst) & INSIDE == 0 {
            seat.give_back();
        } else {
            seat.note.fetch_and(!KEPT, SeqCst);
        }
    }

    fn part(&self, seat: usize) {
        if let Some(seat) = self.seats.get(seat) {
            if seat.note.load(SeqCst) & KEPT == 0 && seat.lease.is_mine() {
                seat.give_back();
            }
        }
    }

    fn is_inside(&self, seat: usize) -> bool {
        self.seats.get(seat).is_some_and(Seat::has_inside)
    }

    fn sit(&self, seat: usize) {
        if let Some(seat) = self.seats.get(seat) {
            seat.note.fetch_or(INSIDE, SeqCst);
        }
    }

    fn rise(&self, seat: usize) {
        if let Some(seat) = self.seats.get(seat) {
            seat.note.fetch_and(!INSIDE, SeqCst);
        }
    }

    fn inside(&self) -> u32 {
        self.used().iter().filter(|seat| seat.has_inside()).count() as u32
    }

    fn has_dead(&self) -> bool {
        self.used().iter().any(|seat| seat.lease.holder() == Holder::Dead)
    }

    fn bury(&self) {
        for seat in self.used() {
            let lease = seat.lease.look();
            if lease.holder() == Holder::Dead {
                seat.note.store(0, SeqCst);
                seat.lease.bury(lease);
            }
        }
    }

    fn sleep(&self, gate: &SharedGate, state: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke {
        let mut words = [Waiter::new(state, expected, Reach::Shared); SEATS + 3];
        let mut count = 1;
        for (word, seat) in words.iter_mut().skip(1).zip(self.used()) {
            let lease = seat.lease.look();
            if lease.holder() == Holder::Dead {
                return Woke::Look;
            }
            *word = seat.lease.watch(lease);
            count += 1;
        }
        gate.sleep_on(&mut words, count, limit).0
    }
}
