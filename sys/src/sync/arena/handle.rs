//! The handle of an object in an arena.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

use super::layout::GRANULE;
use super::own::{count_down_to_one, count_up};
use super::{Arena, bits, enter, extent, granules_of};
use crate::atomic::Ordering::{Acquire, Release};
use crate::errno::Result;
use crate::shm::{Init, Shareable, fits_in_shared_memory, is_linked, kind_of};

/// A handle of an object in an [`Arena`]. Clones refer to the same object.
///
/// When a process drops its last handle, it gives the object back. If a thread of the process still holds a lock in it
/// then, by a guard that was forgotten, the object stays until the process ends.
///
/// # Examples
/// ```
/// use ossature_sys::{shm::Racy, sync::arena::{Arena, Handle}};
///
/// let cell: Handle<Racy<u32>> = Arena::new(1 << 20)?.place(Racy::new(5))?; // keeps the arena
/// let same = cell.clone();
/// same.set(7);
/// drop(same);
/// assert_eq!((cell.get(), cell.arena().sweep()?), (7, 64));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
// The bound is on the methods and not here, as for `Shm`.
pub struct Handle<T> {
    arena: Arena,
    value: NonNull<T>,
    /// [`is_linked`] for this type, for the drop, which has no bound on the type.
    is_linked: unsafe fn(NonNull<T>) -> bool,
}

// SAFETY: a handle has an arena, which belongs to the process and not to a thread, and lends `&T`; `T` is Send and
// Sync.
unsafe impl<T: Shareable> Send for Handle<T> {}
// SAFETY: as for Send.
unsafe impl<T: Shareable> Sync for Handle<T> {}

impl<T: Shareable> Handle<T> {
    /// Makes a handle of a complete object. The caller has already counted the handle.
    pub(super) fn new(arena: Arena, value: NonNull<T>) -> Self {
        Self { arena, value, is_linked: is_linked::<T> }
    }

    /// The place of the object, for [`Arena::at`] in another process.
    pub fn place(&self) -> u64 {
        self.first() as u64
    }

    /// The arena of the object.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }
}

impl<T> Handle<T> {
    fn first(&self) -> usize {
        self.arena.memory().granule_at(self.value)
    }

    /// The first granule of the object, and the granule after its last.
    pub(super) fn range(&self) -> (usize, usize) {
        let first = self.first();
        (first, first + granules_of::<T>())
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        if let Some(handles) = self.arena.local().counts().get(self.first()) {
            count_up(handles);
        }
        Self { arena: self.arena.clone(), value: self.value, is_linked: self.is_linked }
    }
}

impl<T: Shareable> Deref for Handle<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value was complete before any code got a handle, and its granules are not used for another object
        // while this process holds it. It stays mapped as long as the arena, and is Shareable: other processes store
        // only valid values there, through atomics or guards.
        unsafe { self.value.as_ref() }
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        let (first, end) = self.range();
        if self.arena.local().counts().get(first).is_some_and(count_down_to_one) {
            return;
        }
        // SAFETY: the value is still mapped, and complete.
        if unsafe { (self.is_linked)(self.value) } {
            // The kernel and this process's threads still know addresses in here, so the mapping stays too.
            let _never_dropped = ManuallyDrop::new(self.arena.clone());
            return;
        }
        self.arena.release(first, end - first);
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&**self).finish()
    }
}

impl Arena {
    /// Makes an object.
    ///
    /// # Errors
    /// `ENOSPC` when the arena is full, `ENOSPC` and `ENOMEM` without memory; `EOPNOTSUPP` and others as for
    /// [`Shm::place`](crate::shm::Shm::place); after a fork, as for [`from_fd`](Self::from_fd).
    pub fn place<T: Shareable>(&self, init: impl Init<T>) -> Result<Handle<T>> {
        const { fits_in_shared_memory::<T>() };
        /// Frees the granules if the object is not made.
        struct Unfinished<'a>(&'a Arena, usize, usize);
        impl Drop for Unfinished<'_> {
            fn drop(&mut self) {
                self.0.release(self.1, self.2);
            }
        }
        let count = granules_of::<T>();
        let first = self.reserve(count, align_of::<T>().div_ceil(GRANULE))?;
        let unfinished = Unfinished(self, first, count);
        let value = self.memory().granule(first).cast::<T>();
        if T::LOCKS {
            // SAFETY: `reserve` found granules without a holder, enough for a `T`.
            unsafe { value.as_ptr().write_bytes(0, 1) };
        }
        // SAFETY: `reserve` found granules without a holder, enough and aligned for a `T`; they stay mapped as long as
        // any code uses the value, because the handle has a reference to the arena.
        unsafe { init.init(value.as_ptr()) }?;
        core::mem::forget(unfinished);
        if let Some(kind) = self.memory().kinds().get(first) {
            kind.store(kind_of::<T>(), Release);
        }
        Ok(Handle::new(self.clone(), value))
    }

    /// A handle of the object of this type that begins at this [place](Handle::place); `None` if there is none.
    ///
    /// The process that sent the place must hold the object meanwhile. Otherwise the place may have another object of
    /// the same type.
    ///
    /// # Errors
    /// As for [`place`](Self::place), but for a full arena.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{shm::Racy, sync::arena::Arena};
    ///
    /// let arena = Arena::new(1 << 20)?;
    /// let cell = arena.place(Racy::new(5_u32))?;
    /// let again = arena.at::<Racy<u32>>(cell.place())?.expect("it is there");
    /// cell.set(7);
    /// assert_eq!(again.get(), 7);
    /// assert!(arena.at::<Racy<u64>>(cell.place())?.is_none(), "another type");
    /// assert!(arena.at::<Racy<u32>>(cell.place() + 1)?.is_none(), "no object begins there");
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn at<T: Shareable>(&self, place: u64) -> Result<Option<Handle<T>>> {
        const { fits_in_shared_memory::<T>() };
        let memory = self.memory();
        let mut state = enter(memory)?;
        let extent = extent(memory, &state);
        let own = self.own(&mut state)?;
        let count = granules_of::<T>();
        let first =
            usize::try_from(place).ok().filter(|first| first.checked_add(count).is_some_and(|end| end <= extent));
        // If the kind of a whole object is there, the object is, too; a sweep would need the lock.
        let is_there =
            |first: &usize| memory.kinds().get(*first).is_some_and(|kind| kind.load(Acquire) == kind_of::<T>());
        let Some(first) = first.filter(is_there) else { return Ok(None) };
        if self.local().counts().get(first).is_some_and(|handles| count_up(handles) == 0) {
            bits::set(memory.row(own.holder), first, first + count);
        }
        let value = memory.granule(first).cast::<T>();
        drop(own);
        Ok(Some(Handle::new(self.clone(), value)))
    }
}
