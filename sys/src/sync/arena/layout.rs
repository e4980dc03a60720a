//! The layout of an arena's memory.
//!
//! | part | bytes |
//! | --- | --- |
//! | header, [`Control`] | some hundreds, and 8 for each holder |
//! | `used` | one bit for each granule |
//! | `kinds` | 8 for each granule |
//! | rows | one bit for each granule, for each holder |
//! | data | 64 for each granule |
//!
//! All of it is mapped from the beginning. Of each part but the first the memory file has pages for the granules below
//! [`State::extent`] only, and of the rows only those of holders that there are.

use core::ptr::NonNull;
use core::slice;

use crate::atomic::{AtomicU32, AtomicU64};
use crate::mmap::Region;
use crate::shm::growing::Growing;
use crate::shm::{Fingerprint, Shareable};
use crate::sync::arena::bits::WORD;
use crate::sync::{Lock, Shared};

/// The size of a granule in bytes: an object takes a whole number of granules.
pub(super) const GRANULE: usize = 64;

/// The maximum number of holders of an arena at a time: processes, and messages in transit with objects of the arena.
pub const HOLDERS: usize = 1024;

/// The minimum and maximum numbers of granules: 64 KiB and 4 GiB of objects.
const LEAST: usize = 1 << 10;
const MOST: usize = if usize::BITS > 32 { 1 << 26 } else { 1 << 19 };

/// The highest alignment of any part of the data.
const PAGE: usize = 4096;

crate::shareable! {
    /// The state that the holder of the arena's lock may change, each field by one store.
    pub(super) plain struct State {
        /// The number of granules that have pages.
        pub(super) extent: u64,
        /// The granule at which the search for room starts.
        pub(super) cursor: u64,
        /// The number of entries that may have a holder: all holder numbers so far are below it.
        pub(super) holders: u64,
    }
}

/// The entry of the holder with this number.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Entry {
    /// [`FREE`] or [`TAKEN`].
    pub(super) state: AtomicU32,
    /// The number of words of the row that have pages.
    pub(super) backed: AtomicU32,
}

/// The row is zero and has no holder.
pub(super) const FREE: u32 = 0;
/// The row belongs to a holder, dead or alive.
pub(super) const TAKEN: u32 = 1;

/// The state that all processes share. Zero bytes are the state of a new arena, except for the lock.
#[repr(C)]
pub(super) struct Control {
    pub(super) lock: Lock<State, Shared>,
    pub(super) entries: [Entry; HOLDERS],
}

// SAFETY: atomics and a shared lock, no Drop, repr(C); every state that a killed process leaves is one of the tables'.
unsafe impl Shareable for Control {
    const FINGERPRINT: Fingerprint = Fingerprint::primitive("Arena");
    const LOCKS: bool = true;
}

/// The number of granules for that number of bytes, within the limits of an arena.
pub(super) fn granules_for(bytes: usize) -> usize {
    bytes.div_ceil(GRANULE).clamp(LEAST, MOST).next_multiple_of(WORD)
}

/// The offsets of the parts, in bytes from the beginning of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) used: usize,
    pub(super) kinds: usize,
    pub(super) rows: usize,
    pub(super) data: usize,
    pub(super) end: usize,
}

impl Parts {
    /// The parts of an arena of this size; `None` for a number of granules that no arena has.
    pub(super) fn of(granules: usize) -> Option<Self> {
        if !(LEAST..=MOST).contains(&granules) || granules % WORD != 0 {
            return None;
        }
        let used = (Growing::offset::<Control>() + size_of::<Control>()).next_multiple_of(GRANULE);
        let kinds = used.checked_add(granules / 8)?;
        let rows = kinds.checked_add(granules.checked_mul(8)?)?;
        let data = rows.checked_add((granules / 8).checked_mul(HOLDERS)?)?.checked_next_multiple_of(PAGE)?;
        let end = data.checked_add(granules.checked_mul(GRANULE)?)?;
        Some(Self { used, kinds, rows, data, end })
    }

    /// The number of bytes after the control.
    pub(super) fn more(granules: usize) -> Option<usize> {
        Some(Self::of(granules)?.end - Growing::offset::<Control>() - size_of::<Control>())
    }
}

/// The mapping, with access to each part.
#[derive(Debug)]
pub(super) struct Memory {
    region: Region,
    granules: usize,
    parts: Parts,
}

impl Memory {
    /// The memory in a region; `None` unless the region has the parts of an arena with `granules` granules.
    pub(super) fn new(region: Region, granules: usize) -> Option<Self> {
        let parts = Parts::of(granules)?;
        (region.len() >= parts.end).then_some(Self { region, granules, parts })
    }

    pub(super) fn granules(&self) -> usize {
        self.granules
    }

    pub(super) fn parts(&self) -> Parts {
        self.parts
    }

    fn at<T>(&self, offset: usize) -> NonNull<T> {
        // SAFETY: every caller's offset is within the region (`Memory::new`).
        unsafe { self.region.as_ptr().add(offset) }.cast()
    }

    /// The address of the control, which need not be initialised yet.
    pub(super) fn control_place(&self) -> NonNull<Control> {
        self.at(Growing::offset::<Control>())
    }

    pub(super) fn control(&self) -> &Control {
        // SAFETY: the control is inside the region, aligned as the header says, and was initialised before any other
        // code had the memory. It consists of atomics and a lock.
        unsafe { self.control_place().as_ref() }
    }

    /// `count` words from `offset` on.
    fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        // SAFETY: `Parts` made room for the words, at a multiple of eight in a mapping that begins a page; they are
        // atomics, for which any bytes are valid.
        unsafe { slice::from_raw_parts(self.at(offset).as_ptr(), count) }
    }

    /// A bit for each granule: whether an object may have it.
    pub(super) fn used(&self) -> &[AtomicU64] {
        self.words(self.parts.used, self.granules / WORD)
    }

    /// A word for each granule: the kind of the object that begins there, or 0.
    pub(super) fn kinds(&self) -> &[AtomicU64] {
        self.words(self.parts.kinds, self.granules)
    }

    /// The offset of the row of a holder; the number is below [`HOLDERS`].
    pub(super) fn row_offset(&self, holder: usize) -> usize {
        self.parts.rows + holder.min(HOLDERS - 1) * (self.granules / 8)
    }

    /// A bit for each granule: whether this holder has it.
    pub(super) fn row(&self, holder: usize) -> &[AtomicU64] {
        self.words(self.row_offset(holder), self.granules / WORD)
    }

    /// The address of a granule of the arena.
    pub(super) fn granule(&self, granule: usize) -> NonNull<u8> {
        self.at(self.parts.data + granule.min(self.granules - 1) * GRANULE)
    }

    /// The granule that begins at this address in the data.
    pub(super) fn granule_at<T>(&self, place: NonNull<T>) -> usize {
        (place.as_ptr().addr() - self.granule(0).as_ptr().addr()) / GRANULE
    }
}
