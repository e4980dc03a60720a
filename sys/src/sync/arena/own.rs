//! The state of one process for an arena: the mapping, its holder, and the number of its handles of each object.

use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicU32, AtomicUsize, fence};

use super::bits::WORD;
use super::layout::{GRANULE, Memory};
use crate::atomic::AtomicU64;
use crate::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::errno::Result;
use crate::fd::OwnedFd;
use crate::mmap::Region;
use crate::sync::Lock;

/// The holder that this process is.
#[derive(Debug)]
pub(super) struct Own {
    /// The open file description whose lock shows that the holder exists.
    pub(super) fd: OwnedFd,
    pub(super) holder: usize,
    /// The number of forks when this process became the holder. After another fork, parent and child share this holder.
    pub(super) forks: u32,
}

/// The number of references from which they are not counted any more, so that their object is never freed.
const MANY: u32 = u32::MAX / 2;

/// Counts one more reference. The caller already has a reference, or no other thread counts now.
pub(super) fn count_up(count: &AtomicU32) -> u32 {
    let before = count.load(Relaxed);
    if before < MANY { count.fetch_add(1, Relaxed) } else { before }
}

/// Counts one reference less, unless it is the last; returns whether it did.
pub(super) fn count_down_to_one(count: &AtomicU32) -> bool {
    let fewer = |count| if count >= MANY { Some(count) } else { (count > 1).then(|| count - 1) };
    count.fetch_update(Release, Relaxed, fewer).is_ok()
}

/// The part in private memory, before the counts.
#[derive(Debug)]
pub(super) struct Local {
    /// The number of [`Arena`](super::Arena)s and handles that refer to this value.
    references: AtomicUsize,
    pub(super) memory: Memory,
    /// The lock of the holder. A thread that takes both locks takes the arena's lock first.
    pub(super) own: Lock<Own>,
    home: Region,
}

/// The offset of the counts.
const COUNTS: usize = size_of::<Local>().next_multiple_of(GRANULE);

impl Local {
    /// Places the value in memory of its own, with one reference.
    pub(super) fn place(memory: Memory, own: Own) -> Result<NonNull<Self>> {
        let granules = memory.granules();
        let home = Region::private(COUNTS + granules * size_of::<AtomicU32>() + granules / 8)?;
        let place = home.as_ptr().cast::<Self>();
        let local = Self { references: AtomicUsize::new(1), memory, own: Lock::new(own), home };
        // SAFETY: the region is new, begins a page, and has `COUNTS` bytes and more.
        unsafe { place.write(local) };
        Ok(place)
    }

    fn behind<T>(&self, offset: usize, count: usize) -> &[T] {
        // SAFETY: `place` made the region long enough.
        let start = unsafe { self.home.as_ptr().add(COUNTS + offset) };
        // SAFETY: only this module calls, with the two parts of the region after `Local`, which are aligned for their
        // atomics; those are valid with any bytes, and live as long as `self`.
        unsafe { slice::from_raw_parts(start.cast::<T>().as_ptr(), count) }
    }

    /// For each granule, the number of this process's handles of the object that begins there.
    pub(super) fn counts(&self) -> &[AtomicU32] {
        self.behind(0, self.memory.granules())
    }

    /// A bit for each granule that this process does not need any more, though the bit in its row is still set.
    pub(super) fn later(&self) -> &[AtomicU64] {
        let granules = self.memory.granules();
        self.behind(granules * size_of::<AtomicU32>(), granules / WORD)
    }

    pub(super) fn refer(&self) {
        self.references.fetch_add(1, Relaxed);
    }

    /// Drops a reference; the last one unmaps everything and closes the descriptor.
    ///
    /// # Safety
    /// The caller owned the reference, and does not use `this` any more.
    pub(super) unsafe fn release(this: NonNull<Self>) {
        // SAFETY: the caller's reference keeps it there.
        if unsafe { this.as_ref() }.references.fetch_sub(1, Release) != 1 {
            return;
        }
        fence(Acquire);
        // SAFETY: it was the last reference, so no other code reads it, and the moved parts are not used there again.
        let Self { memory, own, home, .. } = unsafe { this.read() };
        // The memory before the descriptor, and this value's own place last.
        drop(memory);
        drop(own);
        drop(home);
    }
}
