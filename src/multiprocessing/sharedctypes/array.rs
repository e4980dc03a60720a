//! An array of values behind one lock.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use ossature_sys::futex::Limit;
use ossature_sys::scope::Shared;
use ossature_sys::shm::{Init, Plain, Shareable, Shm, Zeroed};
use ossature_sys::sync::lock::Lock;
use serde::{Deserialize, Serialize};

use super::held::{Guarded, OwnedGuard, Slot, held};
use super::index::{other_length, place};
use super::{Index, Items, Number, Span, TypeCode};
use crate::error::{Error, Result};
use crate::multiprocessing::transfer::memory;

/// An array in shared memory behind a lock of its own: Python's `multiprocessing.Array`.
///
/// It is a [`Lock`] for every process that maps it, and has the methods of a lock. [`lock`](Lock::lock) is Python's
/// `get_lock()`. It gives a guard that lends the data as a slice, which is also how to iterate. [`len`](Lock::len)
/// takes no lock. The methods here take and release the lock themselves, so two calls are two turns.
///
/// [`Index`]es and [ranges](Span) may be negative, counted from the end.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::Array;
///
/// let squares = Array::<u64>::from_fn(5, |n| (n * n) as u64)?;
/// assert_eq!((squares.get(2)?, squares.get(-1)?), (4, 16));
/// squares.set(0, 7)?;
/// squares.set_slice(1..3, &[8, 9])?;
/// assert_eq!(squares.slice(..3)?, [7, 8, 9]);
/// squares.with(|items| items.sort())?; // in one turn of the lock
/// assert_eq!(squares.to_vec()?, [7, 8, 9, 9, 16]);
///
/// let same = squares.try_clone()?; // another mapping of the same memory
/// same.lock()?[0] += 1;
/// assert_eq!(squares.as_shm().lock()?[0], 8);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "T: Shareable")]
#[doc(alias = "SynchronizedArray")]
pub struct Array<T>(#[serde(with = "memory")] Shm<Lock<[T], Shared>>, #[serde(skip)] Slot);

held!(Array, [T]);

impl<T: Shareable> Array<T> {
    /// Makes an array of `len` items in shared memory. Each item is the result of `init(index)`.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` or `ENFILE` without descriptors, with `ENOMEM` or `ENOSPC` without
    /// memory, with `EOPNOTSUPP` if the system has no robust lists, as under some emulators.
    pub fn from_fn<I: Init<T>>(len: usize, init: impl FnMut(usize) -> I) -> Result<Self> {
        Ok(Self(Shm::place_locked_slice(len, init).map_err(Error::placing("an array"))?, Slot::default()))
    }

    /// Runs `change` on the items with the lock held.
    ///
    /// # Errors
    /// [`Abandoned`](crate::ErrorKind::Abandoned), [`Unrecoverable`](crate::ErrorKind::Unrecoverable),
    /// [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock) when this thread holds the lock already; `change` has not run
    /// then.
    #[inline]
    pub fn with<R>(&self, change: impl FnOnce(&mut [T]) -> R) -> Result<R> {
        self.1.turn(&self.0, change)
    }

    /// Makes a second mapping of the same memory, for another owner.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` without descriptors, with `ENOMEM` without room for the mapping.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self(self.0.try_clone().map_err(Error::cloning("an array"))?, Slot::default()))
    }

    /// The underlying shared memory, for the operations that only [`Shm`] has.
    pub fn as_shm(&self) -> &Shm<Lock<[T], Shared>> {
        &self.0
    }
}

impl<T: Plain> Array<T> {
    /// Makes an array of `len` zeroes.
    ///
    /// # Errors
    /// As [`from_fn`](Self::from_fn).
    pub fn new(len: usize) -> Result<Self> {
        Self::from_fn(len, |_| Zeroed)
    }
}

impl<T: Shareable + Copy + Init<T>> Array<T> {
    /// Makes an array of these items.
    ///
    /// # Errors
    /// As [`from_fn`](Self::from_fn).
    pub fn from_slice(items: &[T]) -> Result<Self> {
        // One item for each index below the length.
        Self::from_fn(items.len(), |index| items[index])
    }
}

/// Each of these methods takes the lock once.
///
/// # Errors
/// All methods: [`OutOfRange`](crate::ErrorKind::OutOfRange) for an index out of range,
/// [`Abandoned`](crate::ErrorKind::Abandoned), [`Unrecoverable`](crate::ErrorKind::Unrecoverable),
/// [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock) when this thread already holds the lock. Nothing is changed then.
impl<T: Shareable + Copy> Array<T> {
    /// Returns one item: Python's `a[index]`.
    ///
    /// # Errors
    /// The errors of all methods.
    #[inline]
    pub fn get(&self, index: impl Index) -> Result<T> {
        let index = place(index, self.len())?;
        self.1.turn(&self.0, |items| items[index])
    }

    /// Replaces one item: Python's `a[index] = value`.
    ///
    /// # Errors
    /// The errors of all methods.
    #[inline]
    pub fn set(&self, index: impl Index, value: T) -> Result<()> {
        let index = place(index, self.len())?;
        self.1.turn(&self.0, |items| items[index] = value)
    }

    /// Returns the items of a range, without the indices out of range: Python's `a[2:5]`.
    ///
    /// # Errors
    /// The errors of all methods.
    pub fn slice(&self, span: impl Span) -> Result<Vec<T>> {
        let range = span.resolve(self.len());
        self.1.turn(&self.0, |items| items[range].to_vec())
    }

    /// Replaces the items of a range: Python's `a[2:5] = items`.
    ///
    /// # Errors
    /// The errors of all methods; [`InvalidInput`](crate::ErrorKind::InvalidInput) when there are more or fewer items
    /// than places, because an array keeps its size.
    pub fn set_slice(&self, span: impl Span, items: &[T]) -> Result<()> {
        let range = span.resolve(self.len());
        if range.len() != items.len() {
            return Err(other_length(range.len(), items.len()));
        }
        self.1.turn(&self.0, |places| places[range].copy_from_slice(items))
    }

    /// Returns all items: Python's `a[:]`.
    ///
    /// # Errors
    /// The errors of all methods.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        self.slice(..)
    }
}

impl<T: Number> Array<T> {
    /// Makes an array of zeroes for a length, or of the given items. The [type code](TypeCode) must match `T`.
    ///
    /// # Errors
    /// As [`from_fn`](Self::from_fn); [`InvalidInput`](crate::ErrorKind::InvalidInput) for an unknown code, or that of
    /// another type.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Array;
    ///
    /// let zeroes: Array<f64> = Array::typed('d', 10)?;
    /// let ones = Array::typed('h', &[1_i16, 1, 1])?;
    /// assert_eq!((zeroes.len(), ones.len()), (10, 3));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn typed(code: char, items: impl Items<T>) -> Result<Self> {
        TypeCode::checked::<T>(code)?;
        items.given().map_or_else(|len| Self::new(len), Self::from_slice)
    }
}

impl<T: Shareable> From<Shm<Lock<[T], Shared>>> for Array<T> {
    fn from(shm: Shm<Lock<[T], Shared>>) -> Self {
        Self(shm, Slot::default())
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Array").field(&self.0).field(&self.1).finish()
    }
}

impl<T: Shareable> Deref for Array<T> {
    type Target = Lock<[T], Shared>;

    #[inline]
    fn deref(&self) -> &Lock<[T], Shared> {
        &self.0
    }
}
