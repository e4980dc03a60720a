//! One value behind a lock.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use ossature_sys::futex::Limit;
use ossature_sys::scope::Shared;
use ossature_sys::shm::{Init, Shareable, Shm};
use ossature_sys::sync::lock::Lock;
use serde::{Deserialize, Serialize};

use super::held::{Guarded, OwnedGuard, Slot, held};
use super::{Number, TypeCode};
use crate::error::Result;
use crate::multiprocessing::transfer::{Arena, Placed};

/// A value in shared memory behind a lock of its own: Python's `multiprocessing.Value`.
///
/// It is a [`Lock`] for every process that maps it, and has the methods of a lock. [`lock`](Lock::lock) is Python's
/// `get_lock()` and gives a guard that lends the data. [`try_lock`](Lock::try_lock) and
/// [`lock_timeout`](Lock::lock_timeout) do so if they can. The methods here take and release the lock themselves, so
/// two calls are two turns.
///
/// A process gets a value as an argument, by [`try_clone`](Self::try_clone): `Process::spawn(task,
/// (count.try_clone()?,))`. The task takes a `Value<T>`, not a reference.
///
/// Structs made with [`shareable!`](crate::sys::shareable) are placed by their `init`; those that are `plain`, like
/// numbers, by themselves:
///
/// ```
/// use ossature::multiprocessing::Value;
/// use ossature::sys::shareable;
///
/// shareable! {
///     #[derive(Clone, Copy, Debug, PartialEq)]
///     struct Sample { channel: u8, volts: f64 } // with padding between the two
/// }
/// shareable! {
///     plain struct Point { x: i32, y: i32 }
/// }
///
/// let sample = Value::new(Sample::init(3, 0.5))?;
/// sample.with(|sample| sample.volts *= 2.0)?;
/// assert_eq!(sample.get()?, Sample { channel: 3, volts: 1.0 });
/// let point = Value::new(Point { x: 1, y: 2 })?;
/// point.lock()?.x += 1;
/// assert_eq!(point.get()?.x, 2);
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```
/// use ossature::multiprocessing::Value;
///
/// let count = Value::new(5_u64)?;
/// let same = count.try_clone()?; // another handle of the same value
/// same.with(|count| *count *= 2)?;
/// assert_eq!((count.get()?, *count.lock()?), (10, 10));
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// Its lock by name, as in Python, and by a guard that borrows nothing:
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use ossature::multiprocessing::Value;
///
/// let total = Arc::new(Value::new(5_u32)?);
/// total.acquire()?;
/// assert!(!total.try_acquire()? && !total.acquire_timeout(Duration::from_millis(1))?, "held already");
/// total.set(total.get()? + 1)?; // within the hold
/// total.release()?;
///
/// let mut guard = total.lock_owned_timeout(Duration::from_secs(60))?.expect("nobody holds it");
/// assert!(!guard.abandoned());
/// *guard += 1;
/// guard.mark_consistent(); // after a repair; here there was none
/// drop(guard);
/// assert_eq!(total.get()?, 7);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "T: Shareable")]
#[doc(alias = "SynchronizedBase")]
pub struct Value<T>(Placed<Lock<T, Shared>>, #[serde(skip)] Slot);

held!(Value, T);

impl<T: Shareable> Value<T> {
    /// Makes a value in shared memory.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` or `ENFILE` without descriptors, with `ENOMEM` or `ENOSPC` without
    /// memory, with `EOPNOTSUPP` if the system has no robust lists, as under some emulators.
    pub fn new(init: impl Init<T>) -> Result<Self> {
        Placed::new(Lock::<T, Shared>::shared(init), "a value").map(Self::over)
    }

    /// Makes `count` values, which share one mapping and one descriptor. The value at `index` is `init(index)`. Each
    /// value can be sent alone. The memory exists as long as any process has one of the values.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Value;
    ///
    /// let counts = Value::many(10_000, |index| index as u64)?; // one descriptor
    /// counts[3].with(|count| *count += 1)?;
    /// assert_eq!((counts[3].get()?, counts[4].get()?), (4, 4));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn many<I: Init<T>>(count: usize, mut init: impl FnMut(usize) -> I) -> Result<Vec<Self>> {
        let init = |index| Lock::<T, Shared>::shared(init(index));
        Ok(Placed::many(count, init, "a block of values")?.map(Self::over).collect())
    }

    fn over(placed: Placed<Lock<T, Shared>>) -> Self {
        Self(placed, Slot::default())
    }

    /// Runs `change` on the data with the lock held.
    ///
    /// # Errors
    /// [`Abandoned`](crate::ErrorKind::Abandoned), [`Unrecoverable`](crate::ErrorKind::Unrecoverable),
    /// [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock) when this thread holds the lock already; `change` has not run
    /// then.
    #[inline]
    pub fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R> {
        self.1.turn(&self.0, change)
    }

    /// Returns another handle of the same value, for another owner. The handle has a mapping of its own, unless the
    /// value was made together with others.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` without descriptors, with `ENOMEM` without room for the mapping.
    pub fn try_clone(&self) -> Result<Self> {
        self.0.try_clone("a value").map(Self::over)
    }
}

impl Arena {
    /// Makes a value in the arena; [`Value::new`] makes one in separate memory.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `ENOSPC` when the arena is full, with `ENOMEM` or `ENOSPC` without memory;
    /// after a fork, as for [`in_use`](Self::in_use).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Arena;
    ///
    /// let arena = Arena::new()?;
    /// let (count, limits) = (arena.value(5_i32)?, arena.value([0.5, 1.5])?);
    /// count.with(|count| *count += 1)?;
    /// assert_eq!((count.get()?, limits.lock()?[1]), (6, 1.5));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn value<T: Shareable>(&self, init: impl Init<T>) -> Result<Value<T>> {
        Placed::in_arena(self, Lock::<T, Shared>::shared(init), "a value").map(Value::over)
    }
}

impl<T: Shareable + Copy> Value<T> {
    /// Returns the value, with the lock held: Python's `v.value`.
    ///
    /// # Errors
    /// [`Abandoned`](crate::ErrorKind::Abandoned), [`Unrecoverable`](crate::ErrorKind::Unrecoverable),
    /// [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock) when this thread holds the lock already.
    #[inline]
    pub fn get(&self) -> Result<T> {
        self.1.turn(&self.0, |value| *value)
    }

    /// Replaces the value, with the lock held: Python's `v.value = ...`. The whole value is replaced, so an abandoned
    /// value is consistent again.
    ///
    /// # Errors
    /// [`Unrecoverable`](crate::ErrorKind::Unrecoverable), [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock) when this
    /// thread holds the lock already.
    #[inline]
    pub fn set(&self, value: T) -> Result<()> {
        self.1.locked(&self.0, |guard| {
            **guard = value;
            if guard.abandoned() {
                guard.mark_consistent();
            }
        })
    }
}

impl<T: Number> Value<T> {
    /// Makes a value like [`new`](Self::new), with a [type code](TypeCode) that must be the code of `T`.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`InvalidInput`](crate::ErrorKind::InvalidInput) for an unknown code, or that of another
    /// type.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Value;
    ///
    /// let count = Value::typed('i', 5)?; // the code does not choose the type, it only checks it: i32 comes from below
    /// let _: i32 = count.get()?;
    /// assert!(Value::typed('d', 5_i32).is_err());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn typed(code: char, value: T) -> Result<Self> {
        TypeCode::checked::<T>(code)?;
        Self::new(value)
    }
}

impl<T: Shareable> From<Shm<Lock<T, Shared>>> for Value<T> {
    fn from(shm: Shm<Lock<T, Shared>>) -> Self {
        Self::over(shm.into())
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.0).field(&self.1).finish()
    }
}

impl<T: Shareable> Deref for Value<T> {
    type Target = Lock<T, Shared>;

    #[inline]
    fn deref(&self) -> &Lock<T, Shared> {
        &self.0
    }
}
