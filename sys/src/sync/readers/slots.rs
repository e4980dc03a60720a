//! The shares of readers in shared memory: a table of entries that the kernel marks when their readers die. See `table`
//! for their words, and `extent` for the shares in use.
//!
//! A reader takes a share at a place that depends on its thread's number, so that readers on several processors do not
//! change the same cache line. If that share has another holder, the reader searches for another.
//!
//! A thread that has a share and wants another gets a deeper level of the one that it has, at once, also while a writer
//! waits. So a thread that reads never waits for a writer that waits for this thread. The thread finds its share by its
//! own list, because the entry of a share has the number of the share. A thread whose list is longer than a few
//! entries, and may be longer than the shares in use, goes through these instead.
//!
//! Where the locks have the [pthread form](crate::scope::LockBackend::Pthread) no word can be linked. There a
//! reader keeps the turn in place of a share, and readers exclude each other.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

use super::extent::{Extent, InTable};
use super::table::{self, Share};
use super::{ABANDONED, CLOSED, Readers};
use crate::atomic::AtomicU32;
use crate::futex::{self, Limit, Reach};
use crate::robust::word::{LockWord, OWNER};
use crate::robust::{LOCK, LockBackend, Node, RobustList, lock_backend};
use crate::sync::scope::Refused;
use crate::sync::shared::outlast;
use crate::sync::spin::Spin;

/// One share. On 64 bits the shares at even places never have a common cache line: three quarters of a line are between
/// two of them, and each begins at a quarter. On 32 bits a slot may be smaller.
#[repr(C, align(16))]
#[derive(Debug)]
pub struct Slot {
    node: Node,
}

/// The state of a shared lock, and the extent of its shares.
#[repr(C)]
#[derive(Debug)]
pub struct Table {
    state: AtomicU32,
    extent: Extent,
    spin: Spin,
}

/// The maximum length of a list that is followed, however few the shares in use are.
const SHORT: usize = 8;

/// A slot as used by a thread whose list contains nothing else.
#[derive(Clone, Copy)]
struct Only<'s> {
    slot: &'s Slot,
    here: RobustList<'s>,
    id: u32,
}

/// A slot as used by any thread.
#[derive(Clone, Copy)]
struct Among<'s> {
    slot: &'s Slot,
    /// The same node where this thread has linked it, perhaps in another mapping.
    node: &'s Node,
    here: RobustList<'s>,
    depth: u32,
}

impl Slot {
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
        self.here.link_alone(&self.slot.node, self.id);
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
        self.slot.node.deeper.store(0, Relaxed);
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
        // Once the word is free, another thread may unmap the mapping through which this thread has taken it.
        self.here.set_pending(&self.slot.node);
    }

    fn wake(&self) {
        self.slot.wake();
    }

    fn was_dead(&self) {
        self.slot.node.deeper.store(0, Relaxed);
    }
}

impl InTable for Slot {
    fn word(&self) -> &LockWord {
        &self.node.word
    }

    fn prepare(slots: &[Self], from: usize, to: usize) -> Result<(), Refused> {
        #[cfg(not(loom))] // the model has its own shares
        if slots.len() > crate::sync::participants::SLOTS {
            use crate::sync::{lease::Lease, participants::Enrolment};
            // One slot more, because the word is at the beginning of a slot, and the last slot may end in another page.
            // The last slot of all has its pages from the beginning.
            let part = slots.get(from..slots.len().min(to + 1)).unwrap_or_default();
            Lease::back(part, |slot| slot.node.futex())?;
        }
        for (number, slot) in slots.iter().enumerate().take(to).skip(from) {
            slot.node.kind.store(LOCK, Relaxed);
            slot.node.number.store(number as u32, Relaxed);
        }
        Ok(())
    }
}

impl Table {
    /// Puts the first slots into use. Called once, before any other thread uses the table, whose bytes are zero.
    ///
    /// # Errors
    /// [`NoMemory`](Refused::NoMemory).
    pub(crate) fn begin_with(&self, slots: &[Slot]) -> Result<(), Refused> {
        self.extent.add(slots, 0)
    }

    /// Whether a thread of this process has a share through this mapping.
    pub(crate) fn is_linked_here(&self, slots: &[Slot]) -> bool {
        self.extent.in_use(slots).any(|slot| slot.node.is_linked_here())
    }

    /// Takes a share the slow way: the list has other entries, the first place is taken, or the thread already reads.
    /// `turn` is the limit of the holder of the turn. Without the turn the search ends early.
    #[cold]
    #[inline(never)]
    fn take<'s>(&self, slots: &'s [Slot], turn: Option<Limit<'_>>) -> Result<Option<&'s Slot>, Refused> {
        let has_turn = turn.is_some();
        let Some((here, id)) = RobustList::current() else {
            let keeps_turn = lock_backend() == LockBackend::Pthread;
            return if keeps_turn { Ok(slots.first().filter(|_| has_turn)) } else { Err(Refused::Unlisted) };
        };
        if let Some(slot) = self.own(slots, here, id) {
            if let Some(deeper) = slot.node.deeper.load(Relaxed).checked_add(1) {
                slot.node.deeper.store(deeper, Relaxed);
                return Ok(Some(slot));
            }
        }
        if !has_turn && self.is_closed() {
            return Ok(None);
        }
        let Some(depth) = here.room() else { return Err(Refused::TooMany) };
        let enter =
            |slot: &'s Slot| table::enter(Among { slot, node: &slot.node, here, depth }, &self.state, id, has_turn);
        self.extent.take(slots, id, turn.unwrap_or(Limit::NOW), enter)
    }

    /// The calling thread's slot.
    fn own<'s>(&self, slots: &'s [Slot], here: RobustList<'s>, id: u32) -> Option<&'s Slot> {
        let mine = |slot: &&Slot| slot.node.word.futex() & OWNER == id && here.linked(&slot.node).is_some();
        // The bound of a short list may be a high number, left from a longer one.
        match if here.has_more_than(SHORT) { self.extent.if_few(slots, here.bound() as usize) } else { None } {
            Some(mut few) => few.find(mine),
            None => here.numbers().find_map(|number| slots.get(number as usize).filter(mine)),
        }
    }
}

impl Readers for Table {
    type Slot = Slot;

    #[inline]
    fn enter<'s>(&self, slots: &'s [Slot]) -> Option<&'s Slot> {
        if self.is_closed() {
            return None;
        }
        let here = RobustList::if_empty()?;
        let id = here.id();
        let slot = self.extent.first(slots, id)?;
        table::enter_free(Only { slot, here, id }, &self.state, id).then_some(slot)
    }

    fn enter_slow<'s>(&self, slots: &'s [Slot]) -> Result<Option<&'s Slot>, Refused> {
        self.take(slots, None)
    }

    fn enter_with_turn<'s>(&self, slots: &'s [Slot], limit: Limit<'_>) -> Result<Option<&'s Slot>, Refused> {
        self.take(slots, Some(limit))
    }

    fn keeps_turn() -> bool {
        lock_backend() == LockBackend::Pthread
    }

    #[inline]
    fn leave(&self, slot: &Slot) -> bool {
        let Some(here) = RobustList::if_only(&slot.node) else { return false };
        if slot.node.deeper.load(Relaxed) != 0 {
            return false;
        }
        table::leave(Only { slot, here, id: 0 }, &self.state);
        true
    }

    fn leave_slow(&self, slot: &Slot) -> bool {
        // A thread without a list has no share, nor does a forked child of the reader.
        let Some((here, _)) = RobustList::current() else { return lock_backend() != LockBackend::Pthread };
        let Some(node) = here.linked(&slot.node) else { return true };
        match slot.node.deeper.load(Relaxed) {
            0 => table::leave(Among { slot, node, here, depth: 0 }, &self.state),
            deeper => slot.node.deeper.store(deeper - 1, Relaxed),
        }
        true
    }

    fn has_own(&self, slots: &[Slot], limit: Limit<'_>) -> Result<bool, Refused> {
        if RobustList::if_empty().is_some() {
            return Ok(false);
        }
        let Some((here, id)) = RobustList::current() else { return Ok(false) };
        if self.own(slots, here, id).is_none() {
            return Ok(false);
        }
        if limit.is_never() {
            return Err(Refused::WouldDeadlock);
        }
        outlast(limit);
        Ok(true)
    }

    fn count(&self, slots: &[Slot]) -> u32 {
        self.extent.count(slots)
    }

    fn has_reader(&self, slots: &[Slot]) -> bool {
        self.extent.has_reader(slots)
    }

    #[inline(always)]
    fn is_closed(&self) -> bool {
        self.state.load(Relaxed) & CLOSED != 0
    }

    fn close(&self) {
        table::close(&self.state);
    }

    fn drain(&self, slots: &[Slot], limit: Limit<'_>) -> Result<bool, Refused> {
        let sleep = |slot: &Slot, seen| futex::sleep(slot.node.futex(), seen, Reach::Shared, limit);
        Ok(self.extent.drain(slots, &self.spin, limit, sleep))
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
