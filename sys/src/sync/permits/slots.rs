//! Where the units of permits are stored: in `Private` and `Local` only in the count, in `Shared` in slots that the
//! kernel marks when their holders die.
//!
//! A unit of the count has no owner, so no death can give it back. A unit in a *slot* is owned by the slot's word. The
//! word is linked into the holder's robust list as a lock is: see [`slot`](super::slot) for the values of the word.
//! Taking and giving it back change that word alone, so there is no instant at which a death finds the unit in two
//! places or in none.
//!
//! Sleepers sleep on the count's word, and watch slots: see [`watch`](super::watch).
//!
//! **On its way** a unit is only under the table's own lock, in steps: mark the slot, change the count together with
//! [`MOVING`], unmark the slot, clear `MOVING`. Whoever gets that lock abandoned finds the marked slot and by `MOVING`
//! whether the count has been changed, and so ends the move or undoes it. A waiter that sees a marked slot does not
//! sleep but takes the lock.
//!
//! **A further slot** comes into use under the same lock, when no slot is empty:
//!
//! | step | who dies after it leaves | the next to get the lock |
//! | --- | --- | --- |
//! | memory for the slot, in a table for more than 120 | a slot with memory, not in use | does the same again |
//! | the slot is empty | the same | the same |
//! | one more slot is in use | an empty slot, of which some sleepers do not know | wakes all sleepers |
//! | a new generation, and a wake of all sleepers | the same | the same |
//!
//! **The cover.** Before a waiter gives up the cover of the gate, it wakes as many others as there are units beside the
//! one that it is about to take. So its death leaves no unit that nobody knows of.
//!
//! **Clearing the sleepers' bit** after a slot was freed is not a step of the slot's word. So somebody may have come to
//! sleep meanwhile, and found the unit taken again. So everybody is woken once more when the bit has been cleared.
//!
//! **Cost.** A look at 128 slots takes constant time, so the first permits of a large table cost the same each. A taker
//! may miss a free unit and use another slot. Such looks go around the table, so in the end about one slot in 128 is
//! there beyond the permits. A permit that is given back is found by the hint.
//!
//! | linear in the slots in use | |
//! | --- | --- |
//! | each look of a waiter that is about to sleep, or whose limit is over, a call that tests once included | all slots, if none is free |
//! | a take while others sleep | counts the free units, to wake as many |
//! | a permit when the table is full, if few slots are free | looks until it finds one |
//! | a unit for the count, an empty slot for a unit | looks on from the slot of the last one |
//! | the work for a mover that died, [`value`](crate::sync::semaphore::Semaphore::value) | all slots |
//!
//! **Damaged memory.** Each number that is read from the table is only an index within bounds, or compared. A slot with
//! another value counts as held. The next thread that gets the lock removes a mark that has no mover. So no loop
//! depends on such a number, and a call with a limit ends.

use core::marker::PhantomData;
use core::mem::offset_of;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::slot::{ARRIVING, EMPTY, FREE, LEAVING, Listed, Slot, change_free, is_free, is_on_its_way};
use super::watch::{Seen, WATCHED};
use super::{NoTable, Permits};
use crate::atomic::{AtomicU32, spin_hint, step};
use crate::errno::Result as ErrnoResult;
use crate::futex::Limit;
use crate::robust::word::WAITERS;
use crate::sync::gate::{Gate, Woke};
use crate::sync::participants::WatchingGate;
use crate::sync::scope::{RawLock, Refused, Scope};
use crate::sync::shared::SharedLock;
use crate::sync::units::{MOVING, SLOTTED, Step, Units, Waiting, count, has_sleepers};

/// The default number of slots. A larger table allocates memory for a slot before its first use.
pub(crate) const SLOTS: usize = 120;

/// The slots of a shared semaphore. Slots from `used` on are not initialised yet.
#[repr(C)]
#[derive(Debug)]
pub struct Slots<K, L, const N: usize> {
    /// Held by the thread that moves a unit between the count and a slot.
    lock: K,
    pub(super) used: AtomicU32,
    /// The slot that was given back last, as a hint; [`NOWHERE`] at first.
    pub(super) hint: AtomicU32,
    /// Where the next look at some of the slots begins.
    pub(super) turn: AtomicU32,
    /// Where the next sleeper begins to watch, if there are more slots than a sleeper watches. Not reduced to a slot.
    pub(super) watched: AtomicU32,
    slots: [L; N],
}

/// A number that no slot has.
const NOWHERE: u32 = u32::MAX;

/// How many times a caller that may not sleep checks whether another thread's move has ended. It does so once more for
/// each slot in use, because a mover may look at all of them. That is long enough for a running mover.
const LOOKS: usize = 200;

/// The number of pauses between two looks of a thread that polls for a permit. Meanwhile the holders take and give back
/// many, without a transfer of the slot from core to core. With a look after each pause, two processes took twice as
/// long for each permit.
const APART: u32 = 32;

/// The number of a permit's slot; [`NOWHERE`] if its unit is from the count. The slot is linked into this thread's
/// list.
#[derive(Debug)]
pub struct Ticket {
    at: u32,
    /// Raw pointers are not Send, so neither is the ticket.
    stays: PhantomData<*const ()>,
}

// SAFETY: a shared reference to a number.
unsafe impl Sync for Ticket {}

impl Ticket {
    fn of(at: u32) -> Self {
        Self { at, stays: PhantomData }
    }
}

impl<const N: usize> Slots<SharedLock, Slot, N> {
    /// The number of bytes before the slots.
    pub(crate) const HEAD: usize = offset_of!(Self, slots);

    /// Initialises the head. No slot is in use.
    ///
    /// # Safety
    /// As for [`SharedLock::init`], with a place for all of this, whose bytes are zero.
    pub(crate) unsafe fn init(place: *mut Self) -> ErrnoResult<()> {
        // SAFETY: the place is valid, so its field is in bounds.
        let hint = unsafe { &raw mut (*place).hint };
        // SAFETY: as above.
        unsafe { hint.write(AtomicU32::new(NOWHERE)) };
        // SAFETY: as above.
        let lock = unsafe { &raw mut (*place).lock };
        // SAFETY: the caller's obligation.
        unsafe { SharedLock::init(lock) }
    }

    /// Whether a thread of this process holds a permit, or the table's lock, through this mapping.
    pub(crate) fn is_linked_here(&self) -> bool {
        self.lock.is_linked_here() || self.in_use().iter().any(Slot::is_linked_here)
    }
}

impl<K, L, const N: usize> Slots<K, L, N> {
    #[cfg(loom)]
    pub(crate) fn of(lock: K, slot: impl Fn() -> L) -> Self {
        let [used, hint, turn, watched] = [0, NOWHERE, 0, 0].map(AtomicU32::new);
        Self { lock, used, hint, turn, watched, slots: core::array::from_fn(|_| slot()) }
    }

    pub(super) fn in_use(&self) -> &[L] {
        let used = self.used.load(SeqCst) as usize;
        self.slots.get(..used).unwrap_or(&self.slots)
    }
}

impl<K: RawLock, L: Listed, const N: usize> Slots<K, L, N> {
    #[cold]
    #[inline(never)]
    fn take_slow<S>(&self, units: &Units<S, N>, limit: Limit<'_>) -> Result<Option<Ticket>, Refused>
    where
        S: Scope<Gate: WatchingGate>,
    {
        if L::is_without_lists() {
            return units.take_within(&NoTable, limit).map(|taken| taken.then(|| Ticket::of(NOWHERE)));
        }
        let Some((here, id)) = L::thread() else { return Err(Refused::Unlisted) };
        let Some(depth) = L::room(here) else { return Err(Refused::TooMany) };
        units.spin_apart_for(self, APART, limit);
        let mut waiting = Waiting::within(limit);
        loop {
            match units.gate().protected(|| self.wait(units, here, id, depth, &mut waiting)) {
                Step::Done(answer) => return answer,
                // A unit may have come to a slot while this thread waited for the table's lock.
                Step::Table if !self.bring_in(units, limit)? => {
                    return Ok(units.gate().protected(|| match self.look(true) {
                        Seen::Free(at) => self.take_from(units, here, id, depth, at),
                        Seen::Moving | Seen::Nothing => None,
                    }));
                }
                Step::Table | Step::Again => {}
            }
        }
    }

    /// The protected part of a wait for a permit.
    fn wait<S>(
        &self,
        units: &Units<S, N>,
        here: L::Thread,
        id: u32,
        depth: u32,
        waiting: &mut Waiting<'_>,
    ) -> Step<Option<Ticket>>
    where
        S: Scope<Gate: WatchingGate>,
    {
        let free = || Permits::<S, N>::free_in_slots(self);
        loop {
            let Some(is_last) = waiting.is_last() else {
                // A wake that chose this waiter may be for a unit that is there now.
                units.pass_on(free);
                return Step::Done(Ok(None));
            };
            let seen = units.state();
            match self.look(is_last && count(seen) == 0) {
                Seen::Free(at) => {
                    let taken = self.take_from(units, here, id, depth, at);
                    return taken.map_or(Step::Again, |ticket| Step::Done(Ok(Some(ticket))));
                }
                Seen::Nothing if count(seen) == 0 => {}
                Seen::Nothing | Seen::Moving => {
                    units.pass_on(free);
                    return Step::Table;
                }
            }
            if is_last {
                return Step::Done(Ok(None));
            }
            if let Some(step) = units.sleep(self, seen, waiting) {
                return step;
            }
        }
    }

    /// Takes the unit in a slot that was seen free, if it still is. Must be called in a protected stretch.
    fn take_from<S>(&self, units: &Units<S, N>, here: L::Thread, id: u32, depth: u32, at: usize) -> Option<Ticket>
    where
        S: Scope<Gate: WatchingGate>,
    {
        let slot = self.slots.get(at)?;
        // While it is pending the kernel cares for a free slot, but before Linux 6.2 not for a dead one's.
        let cared_for = u32::from(slot.half() == FREE);
        units.pass_on(|| Permits::<S, N>::free_in_slots(self).saturating_sub(cared_for));
        slot.set_pending(here);
        if !change_free(slot, id | WAITERS) {
            return None;
        }
        slot.link(here, depth);
        Some(Ticket::of(at as u32))
    }

    /// Runs `change` in a protected stretch with the table's lock held, after repairing the table if a holder died.
    /// Returns `None` if the time ran out.
    fn locked<S: Scope, R>(
        &self,
        units: &Units<S, N>,
        limit: Limit<'_>,
        change: impl FnOnce() -> R,
    ) -> Result<Option<R>, Refused> {
        let mut looks = LOOKS + if limit.is_now() { self.in_use().len() } else { 0 };
        while !self.lock.take(limit)? {
            if !limit.is_now() || looks == 0 {
                return Ok(None);
            }
            looks -= 1;
            spin_hint();
        }
        let answer = units.gate().protected(|| {
            if self.lock.abandoned() {
                self.mend(units);
            }
            change()
        });
        // SAFETY: taken above.
        unsafe { self.lock.release() };
        Ok(Some(answer))
    }

    /// Completes or undoes the move of a thread that died. The caller holds the lock.
    #[cold]
    fn mend<S: Scope>(&self, units: &Units<S, N>) {
        let counted = units.state() & MOVING != 0;
        for slot in self.in_use() {
            match slot.half() {
                ARRIVING => slot.change(ARRIVING, if counted { FREE } else { EMPTY }),
                LEAVING => slot.change(LEAVING, if counted { EMPTY } else { FREE }),
                _ => continue,
            };
            step();
        }
        units.change(|state| Some(state & !MOVING));
        step();
        // There may be a slot that they do not watch yet.
        units.wake(u32::MAX);
        self.lock.mark_consistent();
    }

    /// Moves a unit from the count to a slot, if the count has one and no slot has.
    fn bring_in<S: Scope>(&self, units: &Units<S, N>, limit: Limit<'_>) -> Result<bool, Refused> {
        let moved = self.locked(units, limit, || {
            if self.finds_free(units, false) || count(units.state()) == 0 {
                return Ok(());
            }
            let at = match self.vacate(units) {
                Ok(at) => at,
                // A look at some of the slots may have missed one.
                Err(_) if self.finds_free(units, true) => return Ok(()),
                Err(why) => return Err(why),
            };
            let Some(slot) = self.slots.get(at as usize) else { return Ok(()) };
            slot.change(EMPTY, ARRIVING);
            step();
            let to_slot = |state| (count(state) != 0).then_some((state - 1).wrapping_add(SLOTTED) | MOVING);
            if units.change(to_slot).is_none() {
                slot.change(ARRIVING, EMPTY);
                return Ok(());
            }
            step();
            slot.change(ARRIVING, FREE);
            step();
            units.change(|state| Some(state & !MOVING));
            step();
            self.hint.store(at, Relaxed);
            Ok(())
        })?;
        moved.transpose().map(|moved| moved.is_some())
    }

    /// Whether a slot has a unit that can be taken. The caller holds the lock.
    fn finds_free<S: Scope>(&self, units: &Units<S, N>, looks_at_all: bool) -> bool {
        match self.look(looks_at_all) {
            Seen::Free(at) => {
                self.hint.store(at as u32, Relaxed);
                true
            }
            Seen::Moving => {
                // Only the holder of the lock moves a unit, so something has damaged the slot.
                self.mend(units);
                false
            }
            Seen::Nothing => false,
        }
    }

    /// Finds an empty slot, or brings a further slot into use. The caller holds the lock.
    ///
    /// # Errors
    /// [`TableFull`](Refused::TableFull) and [`NoMemory`](Refused::NoMemory).
    fn vacate<S: Scope>(&self, units: &Units<S, N>) -> Result<u32, Refused> {
        let used = self.used.load(SeqCst);
        // Each unit in a slot is counted, and so are the empty slots.
        if Units::<S, N>::slotted(units.state()) < u64::from(used) {
            let mut slots = self.around(self.hint.load(Relaxed));
            if let Some((at, _)) = slots.find(|(_, slot)| slot.half() == EMPTY) {
                return Ok(at as u32);
            }
        }
        let slot = self.slots.get(used as usize).ok_or(Refused::TableFull)?;
        if N > SLOTS {
            slot.back()?;
        }
        slot.begin();
        step();
        self.used.store(used + 1, SeqCst);
        step();
        // The generation tells those who are about to sleep, the wake those who do, to watch this slot too. Those that
        // could not watch all slots before look at all again anyway.
        if used as usize <= WATCHED && units.change(Some).is_some_and(has_sleepers) {
            step();
            units.wake(u32::MAX);
        }
        Ok(used)
    }

    /// Wakes a sleeper, if there is one, because a slot is free again.
    #[cold]
    #[inline(never)]
    fn wake_one<S: Scope>(units: &Units<S, N>) {
        units.gate().protected(|| units.wake_for_slot());
    }

    #[cold]
    #[inline(never)]
    fn give_slow<S: Scope>(&self, units: &Units<S, N>, at: u32) {
        let Some(slot) = self.slots.get(at as usize) else {
            let _ = units.give(1);
            return;
        };
        // A thread without a list holds nothing, nor does a forked child of the holder.
        let Some((here, _)) = L::thread() else { return };
        // A thread with the number of a dead thread whose death was not reported does not own the slot either.
        if slot.leave(here) {
            self.free_slot(units, here, slot, at);
        }
    }

    /// Frees this thread's slot, which is unlinked and pending, and wakes one waiter.
    #[inline(always)]
    fn free_slot<S: Scope>(&self, units: &Units<S, N>, here: L::Thread, slot: &L, at: u32) {
        slot.free();
        step();
        // A store would take the cache line from the threads that only read it.
        if self.hint.load(Relaxed) != at {
            self.hint.store(at, Relaxed);
        }
        if has_sleepers(units.state()) {
            return Self::wake_one(units);
        }
        L::clear_pending(here);
    }
}

impl<S, K, L, const N: usize> Permits<S, N> for Slots<K, L, N>
where
    S: Scope<Gate: WatchingGate>,
    K: RawLock,
    L: Listed,
{
    type Ticket = Ticket;

    const TABLED: bool = true;

    fn free_in_slots(&self) -> u32 {
        self.halves().filter(|&half| is_free(half) || is_on_its_way(half)).count() as u32
    }

    fn has_free(&self, looks_at_all: bool) -> bool {
        self.look(looks_at_all) != Seen::Nothing
    }

    fn seems_free(&self) -> bool {
        self.glance()
    }

    fn free(&self) -> u32 {
        self.halves().filter(|&half| is_free(half)).count() as u32
    }

    #[inline]
    fn take(&self, units: &Units<S, N>, limit: Limit<'_>) -> Result<Option<Ticket>, Refused> {
        let at = self.hint.load(Relaxed);
        // All slots of a small table have memory.
        let slots = if N > SLOTS { self.in_use() } else { &self.slots };
        if slots.get(at as usize).is_some_and(L::take_alone) {
            return Ok(Some(Ticket::of(at)));
        }
        self.take_slow(units, limit)
    }

    #[inline]
    fn give(&self, units: &Units<S, N>, ticket: &Ticket) {
        if let Some(slot) = self.slots.get(ticket.at as usize) {
            if let Some(here) = slot.leave_alone() {
                return self.free_slot(units, here, slot, ticket.at);
            }
        }
        self.give_slow(units, ticket.at);
    }

    fn disown(&self, units: &Units<S, N>, ticket: &Ticket, limit: Limit<'_>) -> bool {
        let Some(slot) = self.slots.get(ticket.at as usize) else { return true };
        let Some((here, id)) = L::thread() else { return true };
        let Some(unlink) = slot.linked(here) else { return true };
        let moved = self.locked(units, limit, || {
            // What is linked and not this thread's by its word is nothing to the kernel.
            slot.change(id | WAITERS, LEAVING);
            step();
            unlink();
            units.change(|state| Some(state.wrapping_sub(SLOTTED) | MOVING));
            step();
            slot.change(LEAVING, EMPTY);
            step();
            units.change(|state| Some(state & !MOVING));
            step();
            self.hint.store(ticket.at, Relaxed);
        });
        matches!(moved, Ok(Some(())))
    }

    fn move_to_count(&self, units: &Units<S, N>, limit: Limit<'_>) -> Result<bool, Refused> {
        let moved = self.locked(units, limit, || {
            if !self.finds_free(units, true) {
                return;
            }
            let mut slots = self.around(self.hint.load(Relaxed));
            let Some((at, slot)) = slots.find(|(_, slot)| is_free(slot.half()) && change_free(*slot, LEAVING)) else {
                return;
            };
            step();
            units.change(|state| Some((state + 1).wrapping_sub(SLOTTED) | MOVING));
            step();
            slot.change(LEAVING, EMPTY);
            step();
            units.change(|state| Some(state & !MOVING));
            step();
            self.hint.store(at as u32, Relaxed);
        })?;
        Ok(moved.is_some())
    }

    fn may_need_mending(&self) -> bool {
        self.used.load(SeqCst) != 0
    }

    #[cold]
    fn sleep(&self, units: &Units<S, N>, expected: u32, waiting: &mut Waiting<'_>) -> Option<Woke> {
        self.look_and_sleep(units, expected, waiting)
    }
}
