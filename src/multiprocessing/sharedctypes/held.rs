//! Ways to hold a value's lock without a borrow: by `acquire` and `release`, and by a guard that keeps the value.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use ossature_sys::scope::{NotOwner, Refused, Shared};
use ossature_sys::sync::hold::Hold;
use ossature_sys::sync::lock::{Guard, Lock};
use ossature_sys::thread_bound::StaysInItsThread;

use crate::error::{Error, ErrorKind, Result};

/// The hold that `acquire` took through this handle and `release` gives back.
#[derive(Default)]
pub(super) struct Slot(Lock<Option<Hold>>);

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

impl Slot {
    fn keep<T: ?Sized>(&self, guard: Guard<'_, T, Shared>) {
        // An earlier hold in the slot is useless: its thread has ended.
        *self.0.lock() = Some(guard.into_hold());
    }

    /// Takes the hold that the calling thread has by `acquire`, if there is one.
    fn take<'l, T: ?Sized>(&self, lock: &'l Lock<T, Shared>) -> Option<Guard<'l, T, Shared>> {
        let mut slot = self.0.lock();
        match lock.resume(slot.take()?) {
            Ok(guard) => Some(guard),
            Err(others) => {
                *slot = Some(others);
                None
            }
        }
    }

    /// Stores the hold of the guard that `acquire` obtained, unless the data is abandoned.
    pub(super) fn acquired<T: ?Sized>(&self, guard: Option<Guard<'_, T, Shared>>) -> Result<bool> {
        match guard {
            Some(guard) if guard.abandoned() => Err(abandoned()),
            Some(guard) => {
                self.keep(guard);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Releases the hold that `acquire` took.
    pub(super) fn release<T: ?Sized>(&self, lock: &Lock<T, Shared>) -> Result<()> {
        match self.take(lock) {
            Some(_guard) => Ok(()),
            None if lock.is_mine() => Err(NotOwner::HeldByGuard.into()),
            None if lock.is_locked() => Err(NotOwner::HeldByAnother.into()),
            None => Err(NotOwner::Free.into()),
        }
    }

    /// Runs `body` with the lock held, either by an earlier `acquire` or for this call.
    #[inline]
    pub(super) fn locked<T: ?Sized, O>(
        &self,
        lock: &Lock<T, Shared>,
        body: impl FnOnce(&mut Guard<'_, T, Shared>) -> O,
    ) -> Result<O> {
        match lock.lock() {
            Ok(mut guard) => Ok(body(&mut guard)),
            Err(refused) => self.within(lock, refused, body),
        }
    }

    /// Like [`locked`](Self::locked), but fails if the data is abandoned.
    #[inline]
    pub(super) fn turn<T: ?Sized, O>(&self, lock: &Lock<T, Shared>, body: impl FnOnce(&mut T) -> O) -> Result<O> {
        self.locked(lock, |guard| if guard.abandoned() { Err(abandoned()) } else { Ok(body(guard)) })?
    }

    #[cold]
    fn within<T: ?Sized, O>(
        &self,
        lock: &Lock<T, Shared>,
        refused: Refused,
        body: impl FnOnce(&mut Guard<'_, T, Shared>) -> O,
    ) -> Result<O> {
        let guard = if refused == Refused::WouldDeadlock { self.take(lock) } else { None };
        // The hold is not in its place while the body runs, so the body cannot come here again, nor release the lock.
        let mut borrowed = Borrowed { slot: self, guard };
        match &mut borrowed.guard {
            Some(guard) => Ok(body(guard)),
            None => Err(refused.into()),
        }
    }
}

/// A hold that returns to its slot on drop, on unwinding too.
struct Borrowed<'s, 'l, T: ?Sized> {
    slot: &'s Slot,
    guard: Option<Guard<'l, T, Shared>>,
}

impl<T: ?Sized> Drop for Borrowed<'_, '_, T> {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            self.slot.keep(guard);
        }
    }
}

mod sealed {
    use super::{Lock, Shared};

    pub trait Guarded {
        type Data: ?Sized;
        fn raw(&self) -> &Lock<Self::Data, Shared>;
    }
}

pub(super) use sealed::Guarded;

/// A hold of a [`Value`](super::Value) or an [`Array`](super::Array) that keeps the value instead of borrowing it;
/// dropping it releases the lock. It gives access to the data.
///
/// Not `Send`: the lock belongs to the thread that took it.
///
/// ```
/// use std::sync::Arc;
/// use ossature::multiprocessing::{Value, sharedctypes::OwnedGuard};
///
/// struct Turn {
///     total: OwnedGuard<Value<u32>>, // no lifetime
/// }
///
/// let total = Arc::new(Value::new(5_u32)?);
/// let mut turn = Turn { total: total.lock_owned()? };
/// *turn.total += 1;
/// drop(turn);
/// assert_eq!(total.get()?, 6);
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```compile_fail,E0277
/// # use std::sync::Arc;
/// # use ossature::multiprocessing::Value;
/// let total = Arc::new(Value::new(5_u32).unwrap());
/// let guard = total.lock_owned().unwrap();
/// std::thread::spawn(move || drop(guard)); // a guard does not cross threads
/// ```
#[must_use = "the lock is released at once unless the guard is kept"]
pub struct OwnedGuard<V: Guarded> {
    value: Arc<V>,
    /// `None` only while it is dropped.
    hold: Option<Hold>,
    stays: PhantomData<StaysInItsThread>,
}

impl<V: Guarded> OwnedGuard<V> {
    pub(super) fn new(value: &Arc<V>, guard: Guard<'_, V::Data, Shared>) -> Self {
        Self { value: Arc::clone(value), hold: Some(guard.into_hold()), stays: PhantomData }
    }

    /// Whether a holder of the lock died and the data was not repaired since.
    pub fn abandoned(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| self.value.raw().is_abandoned(hold) == Ok(true))
    }

    /// Marks the data as consistent again, after an abandonment; repairs nothing itself.
    pub fn mark_consistent(&mut self) {
        if let Some(mut guard) = self.hold.take().and_then(|hold| self.value.raw().resume(hold).ok()) {
            guard.mark_consistent();
            self.hold = Some(guard.into_hold());
        }
    }
}

const KEPT: &str = "a guard keeps its hold and stays in the thread that took the lock";

impl<V: Guarded> Deref for OwnedGuard<V> {
    type Target = V::Data;

    fn deref(&self) -> &V::Data {
        let hold = self.hold.as_ref().expect(KEPT);
        self.value.raw().held(hold).expect(KEPT)
    }
}

impl<V: Guarded> DerefMut for OwnedGuard<V> {
    fn deref_mut(&mut self) -> &mut V::Data {
        let hold = self.hold.as_mut().expect(KEPT);
        self.value.raw().held_mut(hold).expect(KEPT)
    }
}

impl<V: Guarded> Drop for OwnedGuard<V> {
    fn drop(&mut self) {
        // In a forked child the hold is the parent's, and nothing is released.
        if let Some(hold) = self.hold.take() {
            let _ = self.value.raw().resume(hold).map(drop);
        }
    }
}

impl<V: Guarded<Data: fmt::Debug>> fmt::Debug for OwnedGuard<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedGuard").field(&&**self).finish()
    }
}

/// The methods of `Value` and `Array` that take the lock and borrow nothing.
macro_rules! held {
    ($Face:ident, $Data:ty) => {
        impl<T: Shareable> Guarded for $Face<T> {
            type Data = $Data;

            fn raw(&self) -> &Lock<$Data, Shared> {
                &self.0
            }
        }

        impl<T: Shareable> $Face<T> {
            /// Takes the lock without a time limit, to be released by [`release`](Self::release): Python's `acquire()`.
            ///
            /// Meanwhile the methods here work within this hold in the thread that took it, and
            /// [`lock`](Lock::lock) is refused. Another handle of the same memory does not know of the hold.
            ///
            /// # Errors
            /// [`Abandoned`](crate::ErrorKind::Abandoned), [`Unrecoverable`](crate::ErrorKind::Unrecoverable),
            /// [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock) when this thread holds the lock already.
            pub fn acquire(&self) -> Result<()> {
                self.1.acquired(Some(self.0.lock()?)).map(drop)
            }

            /// Takes the lock like [`acquire`](Self::acquire), without waiting; returns whether it succeeded: Python's
            /// `acquire(False)`.
            ///
            /// # Errors
            /// As for [`acquire`](Self::acquire), but never `WouldDeadlock`.
            pub fn try_acquire(&self) -> Result<bool> {
                self.1.acquired(self.0.try_lock()?)
            }

            /// Takes the lock like [`acquire`](Self::acquire), within the limit; returns false when the limit has
            /// passed.
            ///
            /// # Errors
            /// As for [`acquire`](Self::acquire), but `WouldDeadlock` only for a limit that never ends.
            pub fn acquire_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
                self.1.acquired(self.0.lock_timeout(limit)?)
            }

            /// Releases the lock that [`acquire`](Self::acquire) took: Python's `release()`.
            ///
            /// # Errors
            /// [`NotOwner`](crate::ErrorKind::NotOwner) if this thread did not take the lock by `acquire`, through this
            /// handle. What a guard holds is released by dropping the guard.
            pub fn release(&self) -> Result<()> {
                self.1.release(&self.0)
            }

            /// Takes the lock like [`lock`](Lock::lock); the guard keeps the value instead of borrowing it, for a
            /// struct without a lifetime.
            ///
            /// # Errors
            /// As for [`lock`](Lock::lock).
            pub fn lock_owned(self: &Arc<Self>) -> Result<OwnedGuard<Self>> {
                Ok(OwnedGuard::new(self, self.0.lock()?))
            }

            /// Takes the lock like [`lock_owned`](Self::lock_owned), within the limit; `None` when the limit has
            /// passed.
            ///
            /// # Errors
            /// As for [`lock`](Lock::lock), but `WouldDeadlock` only for a limit that never ends.
            pub fn lock_owned_timeout<'c>(
                self: &Arc<Self>,
                limit: impl Into<Limit<'c>>,
            ) -> Result<Option<OwnedGuard<Self>>> {
                Ok(self.0.lock_timeout(limit)?.map(|guard| OwnedGuard::new(self, guard)))
            }
        }
    };
}

pub(super) use held;

/// Takes the lock, and fails if the data is abandoned.
#[inline]
pub(super) fn whole<T: ?Sized>(lock: &Lock<T, Shared>) -> Result<Guard<'_, T, Shared>> {
    let guard = lock.lock()?;
    if guard.abandoned() { Err(abandoned()) } else { Ok(guard) }
}

#[cold]
pub(in crate::multiprocessing) fn abandoned() -> Error {
    Error::new(
        ErrorKind::Abandoned,
        "the data may be half changed, because a process died while it held the lock: take lock(), repair the data, call mark_consistent()",
    )
}
