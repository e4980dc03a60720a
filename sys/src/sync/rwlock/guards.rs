//! The guards of a reader and of a writer. They do not depend on the capacity of the lock.

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use crate::sync::readers::{Readers, Turns};
use crate::sync::scope::{Private, Scope};
use crate::thread_bound::StaysInItsThread;

/// The part of a lock that does not depend on its capacity or its data.
pub(super) type Raw<S> = Turns<<S as Scope>::Lock, <S as Scope>::Readers>;

/// The place of one reader's share.
pub(super) type Slot<S> = <<S as Scope>::Readers as Readers>::Slot;

/// What both guards have: the data, which this thread may read as long as the value lives.
pub(super) struct Held<'l, T: ?Sized, S: Scope> {
    pub(super) raw: &'l Raw<S>,
    pub(super) data: &'l UnsafeCell<T>,
    /// Raw pointers are not Send, so neither are the guards.
    pub(super) stays: PhantomData<StaysInItsThread>,
}

// SAFETY: a shared guard lends `&T`, and lets others ask the lock, which may itself be bound to its thread.
unsafe impl<T: ?Sized + Sync, S: Scope> Sync for Held<'_, T, S> where S::Lock: Sync {}

impl<T: ?Sized, S: Scope> Held<'_, T, S> {
    #[inline]
    fn abandoned(&self) -> bool {
        self.raw.readers.abandoned()
    }

    #[inline]
    fn data(&self) -> &T {
        // SAFETY: this thread has a share, so no code has a mutable reference. Or the thread is the only writer, whose
        // guard is not borrowed mutably, because this value is borrowed from it.
        unsafe { &*self.data.get() }
    }
}

/// Read access to the data of an [`RwLock`](super::RwLock); dropping the guard gives the share back.
///
/// Not `Send`: the share belongs to the thread that took it.
///
/// ```compile_fail
/// use ossature_sys::sync::rwlock::RwLock;
/// static LOCK: RwLock<u32> = RwLock::new(0);
/// let guard = LOCK.read();
/// std::thread::spawn(move || drop(guard)); // a guard does not cross threads
/// ```
///
/// # Examples
/// ```
/// use ossature_sys::sync::{ReadGuard, RwLock};
///
/// static LOCK: RwLock<u32> = RwLock::new(5);
/// let guard: ReadGuard<'_, u32> = LOCK.read();
/// assert!(*guard == 5 && !guard.abandoned());
/// ```
#[must_use = "the share is given back at once unless the guard is kept"]
pub struct ReadGuard<'l, T: ?Sized, S: Scope = Private> {
    pub(super) held: Held<'l, T, S>,
    pub(super) slot: &'l Slot<S>,
}

impl<T: ?Sized, S: Scope> ReadGuard<'_, T, S> {
    /// Whether a writer died while it was writing and nobody has repaired the data since. Always `false` outside
    /// `Shared`.
    ///
    /// # Examples
    /// See the example of [`WriteGuard`].
    #[doc(alias = "poison")]
    #[inline]
    pub fn abandoned(&self) -> bool {
        self.held.abandoned()
    }
}

impl<T: ?Sized, S: Scope> Deref for ReadGuard<'_, T, S> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.held.data()
    }
}

impl<T: ?Sized, S: Scope> Drop for ReadGuard<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        self.held.raw.leave(self.slot);
    }
}

impl<T: ?Sized + fmt::Debug, S: Scope> fmt::Debug for ReadGuard<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadGuard").field(&&**self).finish()
    }
}

/// Write access to the data of an [`RwLock`](super::RwLock); dropping the guard releases the lock.
///
/// Not `Send`: the lock belongs to the thread that took it.
///
/// ```compile_fail
/// use ossature_sys::sync::rwlock::RwLock;
/// static LOCK: RwLock<u32> = RwLock::new(0);
/// let guard = LOCK.write();
/// std::thread::spawn(move || drop(guard)); // a guard does not cross threads
/// ```
///
/// # Examples
/// ```
/// use ossature_sys::{scope::Refused, shm::Shm, sync::{RwLock, Shared, WriteGuard}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counts = Shm::place(RwLock::shared([1_u64, 1]))?;
/// let mut guard: WriteGuard<'_, [u64; 2], Shared> = counts.write()?;
/// guard[0] = 2;
/// guard.abandon(); // this writer cannot finish what it began
/// assert!(counts.read()?.abandoned());
/// let mut guard = counts.write()?;
/// assert!(guard.abandoned());
/// guard[1] = 2;
/// guard.mark_consistent();
/// drop(guard);
/// assert!(!counts.read()?.abandoned());
/// counts.write()?.mark_unrecoverable();
/// assert_eq!(counts.read().unwrap_err(), Refused::Unrecoverable);
/// # Ok(()) }
/// ```
#[must_use = "the lock is released at once unless the guard is kept"]
pub struct WriteGuard<'l, T: ?Sized, S: Scope = Private> {
    pub(super) held: Held<'l, T, S>,
}

impl<T: ?Sized, S: Scope> WriteGuard<'_, T, S> {
    /// Whether a writer died while it was writing and nobody has repaired the data since. Always `false` outside
    /// `Shared`.
    #[doc(alias = "poison")]
    #[inline]
    pub fn abandoned(&self) -> bool {
        self.held.abandoned()
    }

    /// Marks the data as consistent again after a writer died. It repairs nothing itself.
    #[doc(alias = "clear_poison")]
    #[doc(alias = "repair")]
    pub fn mark_consistent(&mut self) {
        self.held.raw.mark_consistent();
    }

    /// Releases the lock with its data marked as abandoned, as if this writer had died. A writer calls this when it
    /// cannot finish a change. In the other scopes, where a thread never dies alone, this is a plain release.
    pub fn abandon(self) {
        self.held.raw.finish(true);
        core::mem::forget(self);
    }

    /// Releases the lock and marks the data as unrecoverable: in `Shared` every later call to read or to write fails
    /// with [`Unrecoverable`](crate::scope::Refused::Unrecoverable). In the other scopes, where a thread never dies
    /// alone, this is a plain release.
    #[doc(alias = "give_up")]
    pub fn mark_unrecoverable(self) {
        self.held.raw.finish_for_good();
        core::mem::forget(self);
    }
}

impl<T: ?Sized, S: Scope> Deref for WriteGuard<'_, T, S> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.held.data()
    }
}

impl<T: ?Sized, S: Scope> DerefMut for WriteGuard<'_, T, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this thread is the only writer and no thread reads, and the guard itself is borrowed mutably.
        unsafe { &mut *self.held.data.get() }
    }
}

impl<T: ?Sized, S: Scope> Drop for WriteGuard<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        self.held.raw.finish(false);
    }
}

impl<T: ?Sized + fmt::Debug, S: Scope> fmt::Debug for WriteGuard<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteGuard").field(&&**self).finish()
    }
}
