//! An arena for shared objects of different types in one memory file, behind one descriptor.
//!
//! ```standalone_crate
//! use ossature_sys::{process::fork, sync::{Lock, Shared, arena::Arena}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let arena = Arena::new(1 << 20)?;
//! let total = arena.place(Lock::<u64, Shared>::shared(40))?;
//! let ratio = arena.place(ossature_sys::shm::Racy::new(0.5_f64))?;
//! let mut child = fork(|| {
//!     *total.lock().unwrap() += 2;
//!     ratio.set(1.5);
//!     0
//! })?;
//! child.wait()?;
//! assert_eq!((*total.lock()?, ratio.get()), (42, 1.5));
//! # Ok(()) }
//! ```
//!
//! [`Arena::place`] makes an object and returns a [`Handle`] to it. Handles are cloned and dropped like an `Arc`,
//! without a system call. An object exists as long as any process, or any message in transit, has a handle to it.
//! Objects that only a killed process had are freed. The memory of an object is reused when an arena runs out of
//! memory, or when it is [swept](Arena::sweep).
//!
//! **Who holds an object.** A *holder* is an open file description of the memory file with a lock of the kernel on one
//! byte, whose offset is the holder's number. The kernel releases the lock when the last descriptor is closed, for
//! example because the process ends, or the message that carries the descriptor is received or lost. Each holder has a
//! row with a bit for each 64 bytes of the arena. A process with all of its threads is one holder, and a message with
//! handles is another ([`Carrier`]).
//!
//! **A forked child** has copies of its parent's handles and of its descriptor. So after a fork the kernel's lock shows
//! only that one of the two exists, and neither may free an object of the other. Before one of them changes
//! anything, it becomes a new holder of all its objects and closes its copy of the old descriptor. A child that changes
//! nothing holds its parent's objects from the time of the fork until its own end.
//!
//! **When a process is killed**, at any instruction, the others carry on:
//!
//! | killed | left behind | completed by |
//! | --- | --- | --- |
//! | while it makes an object, before the bits in `used` are set | nothing | |
//! | between setting these bits and the bits in its row | used granules without a holder | the next sweep |
//! | before the object's kind is written | granules of a dead holder, to which no handle can refer | the next sweep |
//! | while it has handles | granules of a dead holder | the next sweep, unless other holders have them too |
//! | while it drops its last handle | some bits of its row | the next sweep |
//! | while it becomes a holder | a free entry, or the entry of a dead holder | the next search for a free entry |
//! | while it sweeps | objects without a kind and without a holder, which can be neither taken nor overwritten | the next sweep |
//! | while it allocates pages | unused pages | the next process that allocates pages |
//! | with the arena's lock held | any of the above | the next holder of the lock; all states of the memory are valid |
//!
//! | word | bits | meaning |
//! | --- | --- | --- |
//! | `used` | 1 for each granule | an object may be here; set with the arena's lock held, cleared by a sweep only |
//! | a row | 1 for each granule | this holder uses the granule; set by the holder, cleared by it or, after its death, by a sweep |
//! | `kinds` | 64 for each granule | 0, or the kind of the object that begins here: set when the object is complete, zero again before its bits in `used` are cleared |
//!
//! So a granule is free when no living holder has its bit. There is no list of free memory that a death could corrupt.
//! A place from a message is accepted only if an object of exactly that type begins there. The arena's lock is held
//! meanwhile, so no sweep runs in between.
//!
//! **Memory.** The capacity is reserved as addresses only. Pages are allocated as they are needed, twice as many each
//! time, up to 4 MiB at once. They are not freed before the arena ends.
//!
//! **Cost.** Making an object takes some ten atomic instructions and no system call, unless pages must be allocated. A
//! message with handles opens the memory file again, and so does the first change after a fork. A sweep reads each
//! holder and a bit for each granule. Without `/proc` no file can be opened again, so arenas are not available.
//!
//! Source: fcntl_locking(2) for locks of open file descriptions.

// For maintainers: the files of this module.
//
// | file | idea |
// | --- | --- |
// | `layout` | the layout of the memory |
// | `bits` | ranges of bits, and finding room |
// | `holders` | becoming a holder, finding the dead, freeing objects without a holder |
// | `own` | what this process has: which holder it is, and its counts of handles |
// | `handle` | an object of the arena |
// | `carrier` | handles in transit in a message |
//
// The arena's lock is taken before that of `own`, and never the other way round. Both are held for a few instructions
// and system calls, and no code of a caller runs meanwhile.

pub(crate) mod bits;
mod carrier;
mod handle;
pub(crate) mod holders;
mod layout;
mod own;

use core::fmt;
use core::ptr::NonNull;

pub use self::carrier::Carrier;
pub use self::handle::Handle;
use self::layout::{Control, GRANULE, Memory, Parts, State, granules_for};
use self::own::{Local, Own};
pub use layout::HOLDERS;

use crate::atomic::Ordering::{Acquire, Release};
use crate::errno::{Errno, Result};
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::generation::forks;
use crate::mmap::memfd;
use crate::shm::growing::Growing;
use crate::shm::{AttachError, FileId, Init};
use crate::sync::lock::Guard;
use crate::sync::scope::Refused;
use crate::sync::{Lock, Private, Shared};

/// The minimum number of granules that get pages at once. The maximum is [`MOST_AT_ONCE`], unless an object needs more.
const FIRST: usize = 256;
const MOST_AT_ONCE: usize = (4 << 20) / GRANULE;

/// Memory for shared objects of different types. See the [module](self).
///
/// Clones refer to the same arena. The memory of this process is unmapped when the last clone and the last handle are
/// dropped.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::{errno::Errno, shm::Racy, sync::arena::Arena};
///
/// let arena = Arena::new(64 << 10)?;
/// let cells = arena.place(Racy::new([0_u8; 60_000]))?;
/// assert_eq!(arena.place(Racy::new([0_u8; 60_000])).unwrap_err(), Errno::NOSPC, "it is full");
/// drop(cells);
/// arena.place(Racy::new([0_u8; 60_000]))?;
/// assert_eq!((arena.sweep()?, arena.capacity()), (0, 64 << 10));
/// # Ok::<(), Errno>(())
/// ```
pub struct Arena {
    local: NonNull<Local>,
}

// SAFETY: the parts of an arena belong to the process and not to a thread: mappings, a descriptor, atomics and locks.
unsafe impl Send for Arena {}
// SAFETY: as for Send.
unsafe impl Sync for Arena {}

impl Arena {
    /// Makes an arena with room for `capacity` bytes of objects: at least 64 KiB, at most 4 GiB (32 MiB on 32-bit
    /// machines). Each object takes a whole number of 64 bytes.
    ///
    /// # Errors
    /// As for [`Shm::place`](crate::shm::Shm::place). The capacity costs addresses (`ENOMEM` if there are not enough of
    /// them), and pages only as they are used. `ENOMEM` also if this process cannot count its forks. `ENOENT` without
    /// /proc.
    pub fn new(capacity: usize) -> Result<Self> {
        let forks = forks().ok_or(Errno::NOMEM)?;
        let granules = granules_for(capacity);
        let growing = Growing::make::<Control>(Parts::more(granules).ok_or(Errno::NOMEM)?, granules)?;
        growing.back(Growing::offset::<Control>(), size_of::<Control>())?;
        let (region, fd) = growing.into_parts();
        let memory = region.and_then(|region| Memory::new(region, granules)).ok_or(Errno::NOMEM)?;
        let control = memory.control_place().as_ptr();
        // SAFETY: the control is inside the memory, so its field is in bounds.
        let lock = unsafe { &raw mut (*control).lock };
        let state = Lock::<State, Shared>::shared(State { extent: 0, cursor: 0, holders: 0 });
        // SAFETY: the place is new and has pages; the memory stays mapped while any code uses the lock, which no thread
        // holds beyond a method of `Arena`.
        unsafe { Init::init(state, lock) }?;
        Self::over(memory, fd, forks)
    }

    /// Attaches to the arena that another process made: it opens the memory behind the descriptor again.
    ///
    /// # Errors
    /// As for [`Shm::from_fd`](crate::shm::Shm::from_fd). `ENOENT` without /proc. `ETOOMANYREFS` when there are
    /// [`HOLDERS`] already.
    ///
    /// # Safety
    /// Every process that has the descriptor uses the memory through `Arena` only.
    ///
    /// # Examples
    /// See the example of [`Carrier`].
    pub unsafe fn from_fd(memory: impl AsFd) -> core::result::Result<Self, AttachError> {
        let forks = forks().ok_or(AttachError::Os(Errno::NOMEM))?;
        let fd = reopen(memory.as_fd()).map_err(AttachError::Os)?;
        let (growing, granules) = Growing::attach::<Control>(fd, Parts::more)?;
        let (region, fd) = growing.into_parts();
        let memory = region.and_then(|region| Memory::new(region, granules)).ok_or(AttachError::OtherType)?;
        Self::over(memory, fd, forks).map_err(AttachError::Os)
    }

    /// The mapping keeps the open file description through which it was made, and would keep its lock. So the lock is
    /// on another open file description.
    fn over(memory: Memory, mapped: OwnedFd, forks: u32) -> Result<Self> {
        let fd = reopen(mapped.as_fd())?;
        drop(mapped);
        let mut state = enter(&memory)?;
        let extent = extent(&memory, &state);
        let holder = holders::become_one(&memory, &mut state, extent, fd.as_fd())?;
        drop(state);
        Local::place(memory, Own { fd, holder, forks }).map(|local| Self { local })
    }

    fn local(&self) -> &Local {
        // SAFETY: `self` has a reference, so it is there.
        unsafe { self.local.as_ref() }
    }

    fn memory(&self) -> &Memory {
        &self.local().memory
    }

    /// This process as a holder, which it does not share with a child; the caller holds the arena's lock.
    ///
    /// # Errors
    /// After a fork, as for [`from_fd`](Self::from_fd).
    fn own(&self, state: &mut State) -> Result<Guard<'_, Own, Private>> {
        let mut own = self.local().own.lock();
        let now = forks().ok_or(Errno::NOMEM)?;
        if own.forks != now {
            self.renew(state, &mut own, now)?;
        }
        Ok(own)
    }

    /// Becomes a new holder of the old one's objects, because after a fork parent and child share the old holder.
    #[cold]
    fn renew(&self, state: &mut State, own: &mut Own, now: u32) -> Result<()> {
        let memory = self.memory();
        let extent = extent(memory, state);
        let fd = reopen(own.fd.as_fd())?;
        let holder = holders::become_one(memory, state, extent, fd.as_fd())?;
        let rows = memory.row(holder).iter().zip(memory.row(own.holder)).zip(self.local().later());
        for ((new, old), later) in rows.take(extent.div_ceil(bits::WORD)) {
            new.store(old.load(Acquire) & !later.load(Acquire), Release);
            later.store(0, Release);
        }
        *own = Own { fd, holder, forks: now };
        Ok(())
    }

    /// Reserves free granules for this process, with one handle.
    fn reserve(&self, count: usize, step: usize) -> Result<usize> {
        let memory = self.memory();
        let mut state = enter(memory)?;
        let own = self.own(&mut state)?;
        let first = match find(memory, &state, count, step) {
            Some(first) => first,
            None => make_room(memory, &mut state, &own, count, step)?,
        };
        bits::set(memory.used(), first, first + count);
        bits::set(memory.row(own.holder), first, first + count);
        state.cursor = (first + count) as u64;
        if let Some(handles) = self.local().counts().get(first) {
            handles.store(1, Release);
        }
        Ok(first)
    }

    /// Releases the last handle of an object of this process, unless another handle was made meanwhile.
    fn release(&self, first: usize, count: usize) {
        let local = self.local();
        let own = local.own.lock();
        let Some(handles) = local.counts().get(first) else { return };
        if own::count_down_to_one(handles) {
            return;
        }
        handles.store(0, Release);
        if forks() == Some(own.forks) {
            return bits::clear(local.memory.row(own.holder), first, first + count);
        }
        // A child is this holder too. It may still have the object, so first this process becomes another holder.
        bits::set(local.later(), first, first + count);
        drop(own);
        if let Ok(Some(mut state)) = local.memory.control().lock.try_lock() {
            mark_consistent(&mut state);
            // If that fails now, the next change does it.
            let _ = self.own(&mut state);
        }
    }

    /// Frees the objects without a holder, and returns the number of bytes in use.
    ///
    /// The arena does this itself before it takes more pages.
    ///
    /// # Errors
    /// As for [`at`](Self::at).
    pub fn sweep(&self) -> Result<usize> {
        let memory = self.memory();
        let mut state = enter(memory)?;
        let extent = extent(memory, &state);
        let own = self.own(&mut state)?;
        let free = holders::sweep(memory, &state, extent, own.holder, &own.fd)?;
        state.cursor = 0;
        Ok(extent.saturating_sub(free) * GRANULE)
    }

    /// The number of bytes of objects for which the arena has room.
    pub fn capacity(&self) -> usize {
        self.memory().granules() * GRANULE
    }

    /// The number of bytes of objects that have pages.
    ///
    /// # Errors
    /// As for a [lock](crate::sync::Lock::lock).
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{shm::Racy, sync::arena::Arena};
    ///
    /// let arena = Arena::new(1 << 20)?;
    /// assert_eq!(arena.backed()?, 0);
    /// let cell = arena.place(Racy::new(0_u8))?;
    /// assert_eq!(arena.backed()?, 16 << 10);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn backed(&self) -> Result<usize> {
        let memory = self.memory();
        Ok(extent(memory, &*enter(memory)?) * GRANULE)
    }

    /// The identity of the memory file.
    ///
    /// # Errors
    /// As for [`FileId::of`].
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::sync::arena::Arena;
    ///
    /// let arena = Arena::new(1 << 20)?;
    /// assert_eq!(arena.file_id()?, arena.clone().file_id()?);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn file_id(&self) -> Result<FileId> {
        FileId::of(&self.local().own.lock().fd)
    }

    /// Whether both are the same arena, in the same mapping.
    fn is(&self, other: &Self) -> bool {
        self.local == other.local
    }
}

impl Clone for Arena {
    fn clone(&self) -> Self {
        self.local().refer();
        Self { local: self.local }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: this value's reference, which is not used afterwards.
        unsafe { Local::release(self.local) };
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

/// The number of granules for an object of this type.
fn granules_of<T>() -> usize {
    size_of::<T>().div_ceil(GRANULE)
}

/// Takes the arena's lock.
fn enter(memory: &Memory) -> Result<Guard<'_, State, Shared>> {
    let mut state = memory.control().lock.lock().map_err(errno)?;
    mark_consistent(&mut state);
    Ok(state)
}

/// Marks the state of an arena as consistent: all states of the memory are valid, so there is nothing to repair.
fn mark_consistent(state: &mut Guard<'_, State, Shared>) {
    if state.abandoned() {
        state.mark_consistent();
    }
}

#[cold]
fn errno(refused: Refused) -> Errno {
    match refused {
        Refused::Unrecoverable => Errno::NOTRECOVERABLE,
        Refused::WouldDeadlock => Errno::DEADLK,
        Refused::Unlisted => Errno::OPNOTSUPP,
        Refused::NoMemory => Errno::NOMEM,
        Refused::TooMany | Refused::TableFull | Refused::NotOwner(_) => Errno::AGAIN,
    }
}

/// The number of granules that have pages, at most the number of granules.
fn extent(memory: &Memory, state: &State) -> usize {
    let granules = memory.granules();
    usize::try_from(state.extent).unwrap_or(granules).min(granules)
}

/// A new open file description of the same memory.
fn reopen(memory: BorrowedFd<'_>) -> Result<OwnedFd> {
    let again = memfd::reopen(memory)?;
    // In a changed root, /proc may be anything.
    if FileId::of(&again)? == FileId::of(memory)? { Ok(again) } else { Err(Errno::NOENT) }
}

/// Searches for room after the last object, and then from the beginning.
fn find(memory: &Memory, state: &State, count: usize, step: usize) -> Option<usize> {
    let extent = extent(memory, state);
    let cursor = usize::try_from(state.cursor).unwrap_or(0).min(extent);
    let (used, step) = (memory.used(), step.max(1));
    bits::find_clear(used, cursor, extent, count, step)
        .or_else(|| bits::find_clear(used, 0, (cursor + count).min(extent), count, step))
}

/// Sweeps, and allocates pages for more granules if less than a quarter is free then.
#[cold]
fn make_room(memory: &Memory, state: &mut State, own: &Own, count: usize, step: usize) -> Result<usize> {
    let before = extent(memory, state);
    let free = holders::sweep(memory, state, before, own.holder, &own.fd)?;
    state.cursor = 0;
    let found = if free * 4 >= before { find(memory, state, count, step) } else { None };
    if let Some(found) = found {
        return Ok(found);
    }
    let least = before.checked_add(count).and_then(|least| least.checked_add(step)).ok_or(Errno::NOSPC)?;
    let after = (before + before.clamp(FIRST, MOST_AT_ONCE)).max(least).next_multiple_of(bits::WORD);
    let after = after.min(memory.granules());
    if before < after {
        match back(memory, state, own, before, after) {
            Ok(()) => state.extent = after as u64,
            // There may be room without them.
            Err(errno) => return find(memory, state, count, step).ok_or(errno),
        }
    }
    find(memory, state, count, step).ok_or(Errno::NOSPC)
}

/// Allocates pages for the granules from `before` to `after`, in every part of the memory.
fn back(memory: &Memory, state: &State, own: &Own, before: usize, after: usize) -> Result<()> {
    let (fd, parts) = (own.fd.as_fd(), memory.parts());
    let part = |start: usize, numerator: usize, denominator: usize| {
        let offset = |granules: usize| (start + granules * numerator / denominator) as u64;
        memfd::allocate(fd, offset(before), offset(after))
    };
    part(parts.used, 1, 8)?;
    part(parts.kinds, 8, 1)?;
    part(parts.data, GRANULE, 1)?;
    for (number, entry) in memory.control().entries.iter().enumerate().take(holders::most(state)) {
        if entry.state.load(Acquire) == layout::TAKEN {
            holders::back_row(memory, number, after, fd)?;
        }
    }
    Ok(())
}
