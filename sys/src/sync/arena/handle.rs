//! An object of an arena, as one of its holders has it.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

use super::own::{count_down_to_one, count_up};
use super::{Arena, granules_of};
use crate::shm::{Shareable, is_linked};

/// An object in an [`Arena`]. Clones are the same object.
///
/// With the last handle of a process, the process gives the object back. If a thread of the process still holds a lock
/// in it then, by a guard that was forgotten, the object stays until the process ends.
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
    /// [`is_linked`] for this type, for the drop, which knows no bound.
    is_linked: unsafe fn(NonNull<T>) -> bool,
}

// SAFETY: a handle has an arena, which belongs to the process and not to a thread, and lends `&T`; `T` is Send and
// Sync.
unsafe impl<T: Shareable> Send for Handle<T> {}
// SAFETY: as for Send.
unsafe impl<T: Shareable> Sync for Handle<T> {}

impl<T: Shareable> Handle<T> {
    /// Of a whole object, which this process holds with one handle more than there are.
    pub(super) fn new(arena: Arena, value: NonNull<T>) -> Self {
        Self { arena, value, is_linked: is_linked::<T> }
    }

    /// Where it lies, for [`Arena::at`] in another process.
    pub fn place(&self) -> u64 {
        self.first() as u64
    }

    /// The arena that it lies in.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }
}

impl<T> Handle<T> {
    fn first(&self) -> usize {
        self.arena.memory().granule_at(self.value)
    }

    /// From which granule to which one it lies.
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
        // SAFETY: the value was whole before anyone got a handle, and nobody uses its granules for another object while
        // this process holds it. It stays mapped as long as the arena, and is Shareable: whatever the other processes
        // store there is a valid value, changed through atomics or guards only.
        unsafe { self.value.as_ref() }
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        let (first, end) = self.range();
        if self.arena.local().counts().get(first).is_some_and(count_down_to_one) {
            return;
        }
        // SAFETY: the value is mapped still, and whole.
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
