//! The shares of readers in shared memory: a table of entries that the kernel marks when their readers die. See `table`
//! for their words.
//!
//! A reader takes a share at a place that depends on its thread's number, so that readers on several processors do not
//! change the same cache line. If that share has another holder, the reader takes any other. If all shares in use are
//! taken, it starts to use one more. It announces the new share before it takes the share, so a writer that has closed
//! the lock sees it.
//!
//! A thread that has a share and wants another gets a deeper level of the one that it has, at once, also while a writer
//! waits. So a thread that reads never waits for a writer that waits for this thread.
//!
//! Where the locks have the [pthread form](crate::scope::LockBackend::Pthread) no word can be linked. There a
//! reader keeps the turn in place of a share, and readers exclude each other.

use core::marker::PhantomData;
use core::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use core::sync::atomic::compiler_fence;

use super::table::{self, Entry, Share};
use super::{ABANDONED, CLOSED, Readers};
use crate::atomic::AtomicU32;
use crate::futex::{self, Limit, Reach};
use crate::robust::word::{LockWord, OWNER};
use crate::robust::{LOCK, LockBackend, Node, RobustList, lock_backend};
use crate::sync::scope::Refused;
use crate::sync::shared::outlast;
use crate::sync::spin::Spin;

/// The number of threads that can read at a time. Nothing else depends on this number: a writer waits for one share
/// after the other.
pub(crate) const READERS: usize = 120;

/// One share. Each has its own cache line.
#[repr(C, align(64))]
#[derive(Debug)]
struct Slot {
    node: Node,
    /// How many times its reader has taken the share beyond the first.
    deeper: AtomicU32,
}

/// The shares of a shared lock, and its state. Slots from `used` on are not initialised yet.
#[repr(C)]
#[derive(Debug)]
pub struct Slots {
    state: AtomicU32,
    /// The number of slots, from the first, that were ever used: at least one.
    used: AtomicU32,
    spin: Spin,
    slots: [Slot; READERS],
}

/// The number of a reader's slot; [`TURN`] if it has the turn instead. The slot is linked into this thread's list.
#[derive(Debug)]
pub struct Ticket {
    at: u32,
    /// Raw pointers are not Send, so neither is the ticket.
    stays: PhantomData<*const ()>,
}

// SAFETY: a shared reference to a number.
unsafe impl Sync for Ticket {}

/// A number that no slot has.
const TURN: u32 = u32::MAX;

/// A slot as used by a thread whose list contains nothing else.
struct Only<'s> {
    slot: &'s Slot,
    here: RobustList<'s>,
}

/// A slot as used by any thread.
struct Among<'s> {
    slot: &'s Slot,
    /// The same node where this thread has linked it, perhaps in another mapping.
    node: &'s Node,
    here: RobustList<'s>,
    depth: u32,
}

impl Slot {
    #[inline(always)]
    fn is_another(&self) -> bool {
        !table::is_free(self.node.word.futex_ordered())
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        // There is no error to report: the word is mapped.
        let _ = futex::wake(self.node.futex(), 1, Reach::Shared);
    }
}

impl Share for Only<'_> {
    #[inline(always)]
    fn word(&self) -> &LockWord {
        &self.slot.node.word
    }

    #[inline(always)]
    fn set_pending(&self) {
        self.here.set_pending(&self.slot.node);
    }

    #[inline(always)]
    fn clear_pending(&self) {
        self.here.clear_pending();
    }

    #[inline(always)]
    fn link(&self) {
        self.here.link_alone(&self.slot.node);
    }

    #[inline(always)]
    fn unlink(&self) {
        self.here.unlink_alone();
    }

    #[inline(always)]
    fn wake(&self) {
        self.slot.wake();
    }

    #[inline(always)]
    fn was_dead(&self) {
        self.slot.deeper.store(0, Relaxed);
    }
}

impl Share for Among<'_> {
    fn word(&self) -> &LockWord {
        &self.slot.node.word
    }

    fn set_pending(&self) {
        self.here.set_pending(self.node);
    }

    fn clear_pending(&self) {
        self.here.clear_pending();
    }

    fn link(&self) {
        self.here.link(self.node, self.depth);
    }

    fn unlink(&self) {
        self.here.unlink(self.node);
    }

    fn wake(&self) {
        self.slot.wake();
    }

    fn was_dead(&self) {
        self.slot.deeper.store(0, Relaxed);
    }
}

/// The place among `used` slots where a thread searches first.
#[inline(always)]
fn place(id: u32, used: u32) -> u32 {
    // The upper bits of the product are well mixed, also for numbers that follow each other.
    ((u64::from(id.wrapping_mul(0x9e37_79b9)) * u64::from(used)) >> 32) as u32
}

impl Ticket {
    fn of(at: u32) -> Self {
        Self { at, stays: PhantomData }
    }
}

impl Slots {
    /// # Safety
    /// `place` is valid for writes of all of this, is in shared memory and stays mapped while a slot is linked.
    pub(crate) unsafe fn init(place: *mut Self) {
        // SAFETY: all-zero bytes are an open table: every field is made of atomic numbers, or padding.
        unsafe { place.write_bytes(0, 1) };
        // SAFETY: the place was just made a valid table.
        unsafe { &*place }.use_one_more(0);
    }

    /// Adds `slots[at]` to the slots in use.
    fn use_one_more(&self, at: usize) -> Option<&Slot> {
        let slot = self.slots.get(at)?;
        slot.node.kind.store(LOCK, Relaxed);
        self.used.fetch_max(at as u32 + 1, SeqCst);
        Some(slot)
    }

    fn in_use(&self) -> &[Slot] {
        let used = self.used.load(SeqCst) as usize;
        self.slots.get(..used).unwrap_or(&self.slots)
    }

    /// Whether a thread of this process has a share through this mapping.
    pub(crate) fn is_linked_here(&self) -> bool {
        self.in_use().iter().any(|slot| slot.node.is_linked_here())
    }

    /// The calling thread's slot, and its node where the thread linked it.
    fn own<'s>(&'s self, here: RobustList<'s>, id: u32) -> Option<(u32, &'s Slot)> {
        let mine = |slot: &Slot| slot.node.word.futex() & OWNER == id && here.linked(&slot.node).is_some();
        self.in_use().iter().enumerate().find(|(_, slot)| mine(slot)).map(|(at, slot)| (at as u32, slot))
    }

    /// Takes a share the slow way: the list has other entries, the first place is taken, or the thread already reads.
    #[cold]
    #[inline(never)]
    fn enter_slow(&self, has_turn: bool) -> Result<Option<Ticket>, Refused> {
        if lock_backend() == LockBackend::Pthread {
            return Ok(has_turn.then(|| Ticket::of(TURN)));
        }
        let Some((here, id)) = RobustList::current() else { return Err(Refused::Unlisted) };
        if let Some((at, slot)) = self.own(here, id) {
            if let Some(deeper) = slot.deeper.load(Relaxed).checked_add(1) {
                slot.deeper.store(deeper, Relaxed);
                return Ok(Some(Ticket::of(at)));
            }
        }
        if !has_turn && self.is_closed() {
            return Ok(None);
        }
        let Some(depth) = here.room() else { return Err(Refused::TooMany) };
        let enter = |slot| table::enter(&Among { slot, node: &slot.node, here, depth }, &self.state, id, has_turn);
        let (before, from) = {
            let used = self.in_use();
            used.split_at(used.len().min(place(id, used.len() as u32) as usize))
        };
        let skipped = before.len() as u32;
        let behind = from.iter().enumerate().map(|(at, slot)| (at as u32 + skipped, slot));
        for (at, slot) in behind.chain(before.iter().enumerate().map(|(at, slot)| (at as u32, slot))) {
            if slot.is_another() {
                continue;
            }
            match enter(slot) {
                Entry::Entered => return Ok(Some(Ticket::of(at))),
                Entry::Closed => return Ok(None),
                Entry::Taken => {}
            }
        }
        loop {
            let at = self.used.load(SeqCst);
            let Some(slot) = self.use_one_more(at as usize) else { return Err(Refused::TableFull) };
            match enter(slot) {
                Entry::Entered => return Ok(Some(Ticket::of(at))),
                Entry::Closed => return Ok(None),
                Entry::Taken => {}
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_slow(&self, slot: &Slot) {
        // A thread without a list has no share, nor does a forked child of the reader.
        let Some((here, _)) = RobustList::current() else { return };
        let Some(node) = here.linked(&slot.node) else { return };
        match slot.deeper.load(Relaxed) {
            0 => table::leave(&Among { slot, node, here, depth: 0 }, &self.state),
            deeper => slot.deeper.store(deeper - 1, Relaxed),
        }
    }
}

impl Readers for Slots {
    type Ticket = Ticket;

    #[inline]
    fn enter(&self) -> Result<Option<Ticket>, Refused> {
        if let (false, Some(here)) = (self.is_closed(), RobustList::if_empty()) {
            let id = here.id();
            let at = place(id, self.used.load(Acquire));
            if let Some(slot) = self.slots.get(at as usize) {
                if table::enter(&Only { slot, here }, &self.state, id, false) == Entry::Entered {
                    return Ok(Some(Ticket::of(at)));
                }
            }
        }
        self.enter_slow(false)
    }

    fn enter_with_turn(&self, _limit: Limit<'_>) -> Result<Option<Ticket>, Refused> {
        self.enter_slow(true)
    }

    #[inline(always)]
    fn is_turn(ticket: &Ticket) -> bool {
        ticket.at == TURN
    }

    #[inline]
    fn leave(&self, ticket: &Ticket) {
        let Some(slot) = self.slots.get(ticket.at as usize) else { return };
        match RobustList::if_only(&slot.node) {
            Some(here) if slot.deeper.load(Relaxed) == 0 => table::leave(&Only { slot, here }, &self.state),
            _ => self.leave_slow(slot),
        }
    }

    fn has_own(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        if RobustList::if_empty().is_some() {
            return Ok(false);
        }
        let Some((here, id)) = RobustList::current() else { return Ok(false) };
        if self.own(here, id).is_none() {
            return Ok(false);
        }
        if limit.is_never() {
            return Err(Refused::WouldDeadlock);
        }
        outlast(limit);
        Ok(true)
    }

    fn count(&self) -> u32 {
        self.in_use().iter().filter(|slot| slot.is_another()).count() as u32
    }

    #[inline(always)]
    fn is_closed(&self) -> bool {
        self.state.load(Relaxed) & CLOSED != 0
    }

    fn close(&self) {
        table::close(&self.state);
    }

    fn drain(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        if self.count() == 0 {
            return Ok(true);
        }
        if !limit.is_now() {
            self.spin.until(|| self.count() == 0);
        }
        Ok(self.in_use().iter().all(|slot| {
            let sleep = |expected| futex::sleep(slot.node.futex(), expected, Reach::Shared, limit);
            table::wait_until_free(&slot.node.word, limit, sleep)
        }))
    }

    fn begin(&self) {
        table::begin(&self.state);
    }

    fn open(&self, abandon: bool) {
        table::open(&self.state, abandon);
        // What follows is another step: a kill in between finds the lock open.
        compiler_fence(SeqCst);
    }

    fn mend(&self) {
        table::mend(&self.state);
    }

    #[inline]
    fn abandoned(&self) -> bool {
        self.state.load(Relaxed) & ABANDONED != 0
    }

    fn mark_consistent(&self) {
        self.state.store(self.state.load(Relaxed) & !ABANDONED, Relaxed);
    }
}
