//! Where the units of permits are stored: in `Private` and `Local` only in the count, in `Shared` in slots that the
//! kernel marks when their holders die.
//!
//! A unit of the count has no owner, so no death can give it back. A unit in a *slot* is owned by the slot's word,
//! which is linked into the holder's robust list as a lock is. Taking and giving it back change that word alone, so
//! there is no instant at which a death finds the unit in two places or in none.
//!
//! | futex half of a slot | meaning |
//! | --- | --- |
//! | `0` free | a unit lies here, nobody's |
//! | thread id + `WAITERS` | a unit, that thread's |
//! | `DIED`, mostly + `WAITERS` | a unit, whose holder died: as good as free |
//! | [`EMPTY`] | no unit |
//! | [`ARRIVING`], [`LEAVING`] | a unit is on its way from the count, or to it |
//!
//! | from | to | who |
//! | --- | --- | --- |
//! | free, dead | thread's | a taker |
//! | thread's | free | its holder, who then wakes a sleeper if somebody may sleep |
//! | thread's | dead | the kernel, which then wakes one who watches the slot |
//! | empty | arriving, then free | whoever wants a permit and finds units in the count only |
//! | free, dead | leaving, then empty | whoever wants a bare unit and finds units in slots only |
//! | thread's | leaving, then empty | a holder that [forgets](super::semaphore::Permit::forget) its permit |
//!
//! Sleepers sleep on the count's word and watch every slot in use.
//!
//! **On its way** a unit is only under the table's own lock, in steps: mark the slot, change the count together with
//! [`MOVING`], unmark the slot, clear `MOVING`. Whoever gets that lock abandoned finds the marked slot and by `MOVING`
//! whether the count has been changed, and so ends the move or undoes it. A waiter that sees a marked slot does not
//! sleep but takes the lock.
//!
//! **The cover.** Before a waiter gives up the cover of the gate, it wakes as many others as there are units beside the
//! one that it is about to take. So its death leaves no unit that nobody knows of.
//!
//! **Clearing the sleepers' bit** after a slot was freed is not a step of the slot's word. So somebody may have come to
//! sleep meanwhile, and found the unit taken again. So everybody is woken once more when the bit has been cleared.

use core::marker::PhantomData;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::{NoTable, Permits};
use crate::atomic::spin_hint;
use crate::errno::Result as ErrnoResult;
use crate::futex::{Limit, Reach, Waiter};
use crate::robust::word::{DIED, OWNER, WAITERS};
use crate::robust::{LOCK, LockBackend, Node, RobustList, lock_backend};
use crate::sync::gate::{Gate, Woke};
use crate::sync::scope::{RawLock, Refused, Shared};
use crate::sync::shared::SharedLock;
use crate::sync::units::{MOVING, SLOTTED, Step, Units, count};

/// The maximum number of permits of one semaphore at a time: one sleeper can watch this many slots.
pub(crate) const SLOTS: usize = 120;

const FREE: u32 = 0;
/// The word that the kernel leaves after a death, and the word that musl leaves.
const DEAD: [u32; 2] = [DIED | WAITERS, DIED];
// Owners that no thread can be: the kernel's ids end at 2^22.
const EMPTY: u32 = OWNER;
const ARRIVING: u32 = OWNER - 1;
const LEAVING: u32 = OWNER - 2;

fn is_free(half: u32) -> bool {
    half & OWNER == 0
}

/// Changes a slot that is free, or whose holder died. Returns false for any other slot.
fn change_free(slot: &Node, to: u32) -> bool {
    slot.word.swap_half(FREE, to) || DEAD.iter().any(|&dead| slot.word.swap_half(dead, to))
}

fn is_on_its_way(half: u32) -> bool {
    half == ARRIVING || half == LEAVING
}

/// The slots of a shared semaphore. Slots from `used` on are not initialised yet.
#[repr(C)]
#[derive(Debug)]
pub struct Slots {
    /// Held by the thread that moves a unit between the count and a slot.
    lock: SharedLock,
    used: AtomicU32,
    /// The slot that was given back last, as a hint; [`NOWHERE`] at first.
    hint: AtomicU32,
    slots: [Node; SLOTS],
}

/// A number that no slot has.
const NOWHERE: u32 = u32::MAX;

/// How many times a caller that may not sleep checks whether another thread's move has ended. This takes some
/// microseconds, enough for a running mover.
const LOOKS: u32 = 200;

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

impl Slots {
    /// # Safety
    /// As for [`SharedLock::init`], with a place for all of this.
    pub(crate) unsafe fn init(place: *mut Self) -> ErrnoResult<()> {
        // SAFETY: all-zero bytes are a table with no slot in use: every field is made of atomic numbers, or padding.
        unsafe { place.write_bytes(0, 1) };
        // SAFETY: the place was just made a valid table.
        unsafe { &*place }.hint.store(NOWHERE, Relaxed);
        // SAFETY: the place is valid, so its field is in bounds.
        let lock = unsafe { &raw mut (*place).lock };
        // SAFETY: the caller's obligation.
        unsafe { SharedLock::init(lock) }
    }

    /// Whether a thread of this process holds a permit, or the table's lock, through this mapping.
    pub(crate) fn is_linked_here(&self) -> bool {
        self.lock.is_linked_here() || self.in_use().iter().any(Node::is_linked_here)
    }

    fn in_use(&self) -> &[Node] {
        let used = self.used.load(SeqCst) as usize;
        self.slots.get(..used).unwrap_or(&self.slots)
    }

    fn halves(&self) -> impl Iterator<Item = u32> {
        self.in_use().iter().map(|slot| slot.word.futex_ordered())
    }

    /// Finds a slot that is free, or whose holder died; tries the hinted slot first.
    fn find_free(&self) -> Option<u32> {
        let hint = self.hint.load(Relaxed);
        let hinted = self.in_use().get(hint as usize).is_some_and(|slot| is_free(slot.word.futex_ordered()));
        if hinted { Some(hint) } else { self.halves().position(is_free).map(|at| at as u32) }
    }

    #[cold]
    #[inline(never)]
    fn take_slow(&self, units: &Units<Shared>, limit: Limit<'_>) -> Result<Option<Ticket>, Refused> {
        if lock_backend() == LockBackend::Pthread {
            return units.take_within(&NoTable, limit).map(|taken| taken.then(|| Ticket::of(NOWHERE)));
        }
        let Some((here, id)) = RobustList::current() else { return Err(Refused::Unlisted) };
        let Some(depth) = here.room() else { return Err(Refused::TooMany) };
        units.spin_for(self, limit);
        let mut inherited = false;
        loop {
            match units.gate().protected(|| self.wait(units, here, id, depth, limit, &mut inherited)) {
                Step::Done(answer) => return answer,
                Step::Table if !self.bring_in(units, limit)? => return Ok(None),
                Step::Table | Step::Again => {}
            }
        }
    }

    /// The protected part of a wait for a permit.
    fn wait(
        &self,
        units: &Units<Shared>,
        here: RobustList<'_>,
        id: u32,
        depth: u32,
        limit: Limit<'_>,
        inherited: &mut bool,
    ) -> Step<Option<Ticket>> {
        loop {
            let seen = units.state();
            let free_in_slots = self.free_in_slots();
            if let Some((at, slot)) = self.find_free().and_then(|at| Some((at, self.slots.get(at as usize)?))) {
                // While it is pending the kernel cares for a free slot, but before Linux 6.2 not for a dead one's.
                let cared_for = u32::from(slot.word.futex_ordered() == FREE);
                units.pass_on(free_in_slots.saturating_sub(cared_for));
                here.set_pending(slot);
                if change_free(slot, id | WAITERS) {
                    here.link(slot, depth);
                    return Step::Done(Ok(Some(Ticket::of(at))));
                }
                return Step::Again;
            }
            if count(seen) != 0 || free_in_slots != 0 {
                units.pass_on(free_in_slots);
                return Step::Table;
            }
            if let Some(step) = units.sleep(self, seen, limit, inherited) {
                return step;
            }
        }
    }

    /// Runs `change` in a protected stretch with the table's lock held, after repairing the table if a holder died.
    /// Returns `None` if the time ran out.
    fn locked<R>(
        &self,
        units: &Units<Shared>,
        limit: Limit<'_>,
        change: impl FnOnce() -> R,
    ) -> Result<Option<R>, Refused> {
        let mut looks = LOOKS;
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
    fn mend(&self, units: &Units<Shared>) {
        let counted = units.state() & MOVING != 0;
        for slot in self.in_use() {
            slot.word.swap_half(ARRIVING, if counted { FREE } else { EMPTY });
            slot.word.swap_half(LEAVING, if counted { EMPTY } else { FREE });
        }
        units.change(|state| Some(state & !MOVING));
        // There may be a slot that they do not watch yet.
        units.wake(u32::MAX);
        self.lock.mark_consistent();
    }

    /// Moves a unit from the count to a slot, if the count has one and no slot has.
    fn bring_in(&self, units: &Units<Shared>, limit: Limit<'_>) -> Result<bool, Refused> {
        let moved = self.locked(units, limit, || {
            if self.find_free().is_some() || count(units.state()) == 0 {
                return Ok(());
            }
            let Some(at) = self.vacate(units) else { return Err(Refused::TableFull) };
            let Some(slot) = self.slots.get(at as usize) else { return Ok(()) };
            if units.change(|state| (count(state) != 0).then_some((state + SLOTTED - 1) | MOVING)).is_none() {
                slot.word.swap_half(ARRIVING, EMPTY);
                return Ok(());
            }
            slot.word.swap_half(ARRIVING, FREE);
            units.change(|state| Some(state & !MOVING));
            self.hint.store(at, Relaxed);
            Ok(())
        })?;
        moved.transpose().map(|moved| moved.is_some())
    }

    /// Finds an empty slot and marks it as the target of a move. Returns `None` if all are in use. The caller holds the
    /// lock.
    fn vacate(&self, units: &Units<Shared>) -> Option<u32> {
        let used = self.used.load(SeqCst);
        if let Some((at, slot)) = self.in_use().iter().enumerate().find(|(_, slot)| slot.word.futex() == EMPTY) {
            slot.word.swap_half(EMPTY, ARRIVING);
            return Some(at as u32);
        }
        let slot = self.slots.get(used as usize)?;
        slot.kind.store(LOCK, Relaxed);
        slot.word.reset_half(ARRIVING);
        self.used.store(used + 1, SeqCst);
        // The generation tells those who are about to sleep, the wake those who do, to watch this slot too.
        if units.change(Some).is_some_and(crate::sync::units::has_sleepers) {
            units.wake(u32::MAX);
        }
        Some(used)
    }

    /// Wakes a sleeper, if there is one, because a slot is free again.
    #[cold]
    #[inline(never)]
    fn wake_one(units: &Units<Shared>) {
        units.gate().protected(|| units.wake_for_slot());
    }

    #[cold]
    #[inline(never)]
    fn give_slow(&self, units: &Units<Shared>, at: u32) {
        let Some(slot) = self.slots.get(at as usize) else {
            let _ = units.give(1);
            return;
        };
        // A thread without a list holds nothing, nor does a forked child of the holder.
        let Some((here, _)) = RobustList::current() else { return };
        // A thread with the number of a dead thread whose death was not reported does not own the slot either.
        let Some(slot) = here.linked(slot) else { return };
        here.set_pending(slot);
        here.unlink(slot);
        self.free_slot(units, here, slot, at);
    }

    /// Frees this thread's slot, which is unlinked and pending, and wakes one waiter.
    #[inline(always)]
    fn free_slot(&self, units: &Units<Shared>, here: RobustList<'_>, slot: &Node, at: u32) {
        slot.word.free();
        self.hint.store(at, Relaxed);
        if crate::sync::units::has_sleepers(units.state()) {
            return Self::wake_one(units);
        }
        here.clear_pending();
    }
}

impl Permits<Shared> for Slots {
    type Ticket = Ticket;

    const TABLED: bool = true;

    fn free_in_slots(&self) -> u32 {
        self.halves().filter(|&half| is_free(half) || is_on_its_way(half)).count() as u32
    }

    fn free(&self) -> u32 {
        self.halves().filter(|&half| is_free(half)).count() as u32
    }

    #[inline]
    fn take(&self, units: &Units<Shared>, limit: Limit<'_>) -> Result<Option<Ticket>, Refused> {
        let at = self.hint.load(Relaxed);
        if let (Some(slot), Some(here)) = (self.slots.get(at as usize), RobustList::if_empty()) {
            here.set_pending(slot);
            if slot.word.take_free(here.id() | WAITERS) {
                here.link_alone(slot);
                here.clear_pending();
                return Ok(Some(Ticket::of(at)));
            }
            here.clear_pending();
        }
        self.take_slow(units, limit)
    }

    #[inline]
    fn give(&self, units: &Units<Shared>, ticket: &Ticket) {
        if let Some(slot) = self.slots.get(ticket.at as usize) {
            if let Some(here) = RobustList::if_only(slot) {
                here.set_pending(slot);
                here.unlink_alone();
                return self.free_slot(units, here, slot, ticket.at);
            }
        }
        self.give_slow(units, ticket.at);
    }

    fn disown(&self, units: &Units<Shared>, ticket: &Ticket, limit: Limit<'_>) -> bool {
        let Some(slot) = self.slots.get(ticket.at as usize) else { return true };
        let Some((here, id)) = RobustList::current() else { return true };
        let Some(slot) = here.linked(slot) else { return true };
        let moved = self.locked(units, limit, || {
            // What is linked and not this thread's by its word is nothing to the kernel.
            slot.word.swap_half(id | WAITERS, LEAVING);
            here.unlink(slot);
            units.change(|state| Some((state - SLOTTED) | MOVING));
            slot.word.swap_half(LEAVING, EMPTY);
            units.change(|state| Some(state & !MOVING));
        });
        matches!(moved, Ok(Some(())))
    }

    fn move_to_count(&self, units: &Units<Shared>, limit: Limit<'_>) -> Result<bool, Refused> {
        let moved = self.locked(units, limit, || {
            let free = self.in_use().iter().find(|slot| change_free(slot, LEAVING));
            let Some(slot) = free else { return };
            units.change(|state| Some((state - SLOTTED + 1) | MOVING));
            slot.word.swap_half(LEAVING, EMPTY);
            units.change(|state| Some(state & !MOVING));
        })?;
        Ok(moved.is_some())
    }

    fn may_need_mending(&self) -> bool {
        self.used.load(SeqCst) != 0
    }

    #[cold]
    fn sleep(&self, units: &Units<Shared>, expected: u32, limit: Limit<'_>) -> Woke {
        let slots = self.in_use();
        if slots.is_empty() {
            return units.gate().sleep_without(units.word(), expected, units.count_word(), limit);
        }
        let mut words = [Waiter::new(units.word(), expected, Reach::Shared); SLOTS + 4];
        for (slot, watched) in slots.iter().zip(words.iter_mut().skip(1)) {
            let half = slot.word.futex_ordered();
            if is_free(half) || is_on_its_way(half) {
                return Woke::Look;
            }
            *watched = Waiter::new(slot.futex(), half, Reach::Shared);
        }
        if let Some(none) = words.get_mut(1 + slots.len()) {
            *none = Waiter::new(units.count_word(), 0, Reach::Private);
        }
        match units.gate().sleep_on(&mut words, 2 + slots.len(), limit) {
            // A holder's death wakes one who watches its slot.
            (Woke::Look, at) if (1..=slots.len()).contains(&at) => Woke::PeerDied,
            (woke, _) => woke,
        }
    }
}
