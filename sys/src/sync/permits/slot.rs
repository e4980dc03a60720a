//! One slot of a semaphore's table: the values of its word, and the thread's list that it is linked into.
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
//! | empty | arriving, then free | whoever wants a permit and finds no free slot, but units in the count |
//! | free, dead | leaving, then empty | whoever wants a bare unit and finds units in slots only |
//! | thread's | leaving, then empty | a holder that [forgets](crate::sync::semaphore::Permit::forget) its permit |

use core::sync::atomic::Ordering::Relaxed;

use crate::errno::Errno;
use crate::futex::{Reach, Waiter, touch};
use crate::mmap::page_size;
use crate::robust::word::{DIED, OWNER, WAITERS};
use crate::robust::{LOCK, LockBackend, Node, RobustList, lock_backend};
use crate::shm::growing::populate;
use crate::sync::scope::Refused;

pub(crate) const FREE: u32 = 0;
/// The word that the kernel leaves after a death, and the word that musl leaves.
const DEAD: [u32; 2] = [DIED | WAITERS, DIED];
// Owners that no thread can be: the kernel's ids end at 2^22.
pub(crate) const EMPTY: u32 = OWNER;
pub(crate) const ARRIVING: u32 = OWNER - 1;
pub(crate) const LEAVING: u32 = OWNER - 2;

/// Whether a thread can take the unit. A damaged word that [`change_free`] could not change is not free.
#[inline]
pub(crate) fn is_free(half: u32) -> bool {
    half == FREE || DEAD.contains(&half)
}

#[inline]
pub(crate) fn is_on_its_way(half: u32) -> bool {
    half == ARRIVING || half == LEAVING
}

/// Changes a slot that is free, or whose holder died. Returns false for any other slot.
pub(crate) fn change_free(slot: &impl Listed, to: u32) -> bool {
    slot.change(FREE, to) || DEAD.iter().any(|&dead| slot.change(dead, to))
}

/// A word that a thread owns by its list. The model checker has its own implementation.
pub trait Listed: Sized {
    /// The calling thread, with its list.
    type Thread: Copy;

    /// Whether the locks have a form without lists.
    fn is_without_lists() -> bool;
    /// The calling thread and its id. Returns `None` if the kernel does not know its list.
    fn thread() -> Option<(Self::Thread, u32)>;
    /// The number of entries of the thread's list with one more. Returns `None` if the list has no room.
    fn room(thread: Self::Thread) -> Option<u32>;
    /// Clears the thread's pending entry.
    fn clear_pending(thread: Self::Thread);

    /// The futex half, in the order of all `SeqCst` operations.
    fn half(&self) -> u32;
    /// Changes the futex half from `from` to `to`. Returns false if it has another value.
    fn change(&self, from: u32, to: u32) -> bool;
    /// Frees a word that the calling thread owns.
    fn free(&self);
    /// Allocates memory for a slot that was never used. The bytes before the slot have memory.
    ///
    /// # Errors
    /// [`NoMemory`](Refused::NoMemory).
    fn back(&self) -> Result<(), Refused>;
    /// Marks a slot that was never used as empty. No other thread uses the slot yet.
    fn begin(&self);
    /// What to sleep on until the half differs from `seen`, or the owner dies.
    fn watch(&self, seen: u32) -> Waiter<'_>;

    /// Takes a word that is plainly free, if the calling thread's list is known and empty.
    fn take_alone(&self) -> bool;
    /// Unlinks the word, if it is the only entry of the calling thread's list. The word is pending then.
    fn leave_alone(&self) -> Option<Self::Thread>;
    /// Makes the word the pending entry of the thread's list.
    fn set_pending(&self, thread: Self::Thread);
    /// Links the pending word, which the thread owns.
    fn link(&self, thread: Self::Thread, depth: u32);
    /// Returns what unlinks the word if the thread has linked it, through any mapping of it. Another entry is pending
    /// at that time. Through another mapping the word is found only while the thread owns it, so the caller asks before
    /// it changes the word.
    fn linked(&self, thread: Self::Thread) -> Option<impl FnOnce()>;
    /// Makes the word pending and unlinks it. Returns false, and does nothing, if the thread has not linked it.
    fn leave(&self, thread: Self::Thread) -> bool;
}

/// A slot in shared memory. Zero bytes are a slot that was never used.
#[derive(Debug)]
#[repr(transparent)]
pub struct Slot(Node);

/// A thread, and the list that its C library has registered.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a list has nothing to show")]
pub struct Here(RobustList<'static>);

impl Slot {
    /// Whether a thread of this process has the slot in its list, through this mapping of it.
    pub(crate) fn is_linked_here(&self) -> bool {
        self.0.is_linked_here()
    }
}

impl Listed for Slot {
    type Thread = Here;

    #[inline]
    fn is_without_lists() -> bool {
        lock_backend() == LockBackend::Pthread
    }

    #[inline]
    fn thread() -> Option<(Here, u32)> {
        RobustList::current().map(|(here, id)| (Here(here), id))
    }

    #[inline]
    fn room(thread: Here) -> Option<u32> {
        thread.0.room()
    }

    #[inline(always)]
    fn clear_pending(thread: Here) {
        thread.0.clear_pending();
    }

    #[inline(always)]
    fn half(&self) -> u32 {
        self.0.word.futex_ordered()
    }

    #[inline]
    fn change(&self, from: u32, to: u32) -> bool {
        self.0.word.swap_half(from, to)
    }

    #[inline(always)]
    fn free(&self) {
        self.0.word.free();
    }

    fn back(&self) -> Result<(), Refused> {
        let (first, page) = (core::ptr::from_ref(self).addr(), page_size());
        if (first - 1) / page == (first + size_of::<Self>() - 1) / page {
            return Ok(());
        }
        match populate(core::slice::from_ref(self)) {
            Ok(()) => Ok(()),
            Err(Errno::NOMEM | Errno::FAULT) => Err(Refused::NoMemory),
            // The kernel does not know the call, or a sandbox forbids it.
            Err(_) => touch(self.0.end()).map_err(|_| Refused::NoMemory),
        }
    }

    fn begin(&self) {
        self.0.kind.store(LOCK, Relaxed);
        self.0.word.reset_half(EMPTY);
    }

    #[inline]
    fn watch(&self, seen: u32) -> Waiter<'_> {
        Waiter::new(self.0.futex(), seen, Reach::Shared)
    }

    #[inline(always)]
    fn take_alone(&self) -> bool {
        let Some(here) = RobustList::if_empty() else { return false };
        let id = here.id();
        here.set_pending(&self.0);
        let is_taken = self.0.word.take_free(id | WAITERS);
        if is_taken {
            here.link_alone(&self.0, id);
        }
        here.clear_pending();
        is_taken
    }

    #[inline(always)]
    fn leave_alone(&self) -> Option<Here> {
        let here = RobustList::if_only(&self.0)?;
        here.set_pending(&self.0);
        here.unlink_alone();
        Some(Here(here))
    }

    #[inline]
    fn set_pending(&self, thread: Here) {
        thread.0.set_pending(&self.0);
    }

    #[inline]
    fn link(&self, thread: Here, depth: u32) {
        thread.0.link(&self.0, depth);
    }

    #[inline]
    fn linked(&self, thread: Here) -> Option<impl FnOnce()> {
        thread.0.linked(&self.0).map(|node| move || thread.0.unlink(node))
    }

    #[inline]
    fn leave(&self, thread: Here) -> bool {
        let Some(node) = thread.0.linked(&self.0) else { return false };
        thread.0.set_pending(node);
        thread.0.unlink(node);
        // Once the word is free, another thread may unmap the mapping through which this thread has taken it.
        thread.0.set_pending(&self.0);
        true
    }
}
