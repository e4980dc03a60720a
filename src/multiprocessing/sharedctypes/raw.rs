//! Values and arrays without a lock.

use std::ops::Deref;

use ossature_sys::shm::{Plain, Racy, RacySlice, Shm, Zeroed};
use serde::{Deserialize, Serialize};

use super::index::{other_length, place};
use super::{Index, Items, Number, Span, TypeCode};
use crate::error::{Error, Result};
use crate::multiprocessing::transfer::{Arena, Placed, memory};

/// A value in shared memory without a lock: Python's `RawValue`, and `Value(..., lock=False)`.
///
/// It is a [`Racy`] cell. [`get`](Racy::get) and [`set`](Racy::set) are one atomic load or store each, of a whole value
/// up to the width of a machine word. A wider one may be seen half old and half new. Nothing waits and nothing can be
/// abandoned; reading, adding and writing back loses what others wrote meanwhile.
///
/// A struct with padding is refused, because the bytes between the fields have no value that could be copied. Name them
/// as fields: the layout stays the same, also for a C program.
///
/// ```
/// use ossature::multiprocessing::RawValue;
/// use ossature::sys::shareable;
///
/// shareable! {
///     #[derive(Debug, PartialEq)]
///     plain struct Sample { channel: u8, _padding: [u8; 7], volts: f64 } // ctypes: c_uint8, c_double
/// }
///
/// let sample = RawValue::new(Sample { channel: 3, _padding: [0; 7], volts: 0.5 })?;
/// assert_eq!((sample.get().volts, size_of::<Sample>()), (0.5, 16));
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// # Examples
/// ```
/// use ossature::multiprocessing::RawValue;
///
/// let progress = RawValue::new(0.25)?;
/// let same = progress.try_clone()?; // another handle of the same value
/// same.set(0.5);
/// assert_eq!((progress.get(), same.get()), (0.5, 0.5));
/// assert_eq!(RawValue::typed('i', 7)?.get(), 7);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct RawValue<T: Plain>(Placed<Racy<T>>);

impl Arena {
    /// Makes a value without a lock in the arena.
    ///
    /// # Errors
    /// As for [`value`](Self::value).
    ///
    /// # Examples
    /// ```
    /// let progress = ossature::multiprocessing::Arena::new()?.raw_value(0.25)?; // which keeps the arena
    /// progress.set(0.5);
    /// assert_eq!(progress.get(), 0.5);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn raw_value<T: Plain>(&self, value: T) -> Result<RawValue<T>> {
        Placed::in_arena(self, Racy::new(value), "a value").map(RawValue)
    }
}

impl<T: Plain> RawValue<T> {
    /// Makes a value in shared memory.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` or `ENFILE` without descriptors, with `ENOMEM` or `ENOSPC` without
    /// memory.
    pub fn new(value: T) -> Result<Self> {
        Placed::new(Racy::new(value), "a value").map(Self)
    }

    /// Makes `count` values, which share one mapping and one descriptor. The value at `index` is `init(index)`. Each
    /// value can be sent alone. The memory exists as long as any process has one of the values.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::RawValue;
    ///
    /// let counts = RawValue::many(10_000, |index| index as u64)?; // one descriptor
    /// counts[3].set(9);
    /// assert_eq!((counts[3].get(), counts[4].get()), (9, 4));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn many(count: usize, mut init: impl FnMut(usize) -> T) -> Result<Vec<Self>> {
        Ok(Placed::many(count, |index| Racy::new(init(index)), "a block of values")?.map(Self).collect())
    }

    /// Returns another handle of the same value, for another owner. The handle has a mapping of its own, unless the
    /// value was made together with others.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` without descriptors, with `ENOMEM` without room for the mapping.
    pub fn try_clone(&self) -> Result<Self> {
        self.0.try_clone("a value").map(Self)
    }
}

impl<T: Number> RawValue<T> {
    /// Makes a value like [`new`](Self::new), with a [type code](TypeCode) that must be the code of `T`.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`InvalidInput`](crate::ErrorKind::InvalidInput) for an unknown code, or that of another
    /// type.
    pub fn typed(code: char, value: T) -> Result<Self> {
        TypeCode::checked::<T>(code)?;
        Self::new(value)
    }
}

impl<T: Plain> From<Shm<Racy<T>>> for RawValue<T> {
    fn from(shm: Shm<Racy<T>>) -> Self {
        Self(shm.into())
    }
}

impl<T: Plain> Deref for RawValue<T> {
    type Target = Racy<T>;

    #[inline]
    fn deref(&self) -> &Racy<T> {
        &self.0
    }
}

/// An array in shared memory without a lock: Python's `RawArray`, and `Array(..., lock=False)`.
///
/// It is a slice of [`Racy`] cells, so `raw[3].get()` works as well as `raw.get(3)?`, and so do `iter()` and `len()`.
/// Single items are atomic loads and stores. Ranges are [copied](RacySlice) at the speed of any copy. A copy beside a
/// write may see a half of it, in the middle of an item too.
///
/// [`Index`]es and [ranges](Span) may be negative, counted from the end.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::RawArray;
///
/// let samples = RawArray::<u16>::new(4)?;
/// samples.set_all(1);
/// samples.set(-1, 9)?;
/// samples.set_slice(..2, &[5, 6])?;
/// assert_eq!((samples.get(0)?, samples.slice(1..), samples.to_vec()), (5, vec![6, 1, 9], vec![5, 6, 1, 9]));
///
/// let same = samples.try_clone()?; // another mapping of the same memory
/// assert_eq!(same.as_shm().len(), 4);
/// assert_eq!(RawArray::typed('d', vec![0.5, 1.5])?.to_vec(), [0.5, 1.5]);
/// assert_eq!(RawArray::from_slice(b"ab")?.to_vec(), b"ab");
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct RawArray<T: Plain>(#[serde(with = "memory")] Shm<[Racy<T>]>);

impl<T: Plain> RawArray<T> {
    /// Makes an array of `len` zeroes.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` or `ENFILE` without descriptors, with `ENOMEM` or `ENOSPC` without
    /// memory.
    pub fn new(len: usize) -> Result<Self> {
        let memory = Shm::<[Racy<T>]>::place_slice(len, |_| Zeroed);
        Ok(Self(memory.map_err(Error::placing("an array"))?))
    }

    /// Makes an array of these items.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_slice(items: &[T]) -> Result<Self> {
        // One item for each index below the length.
        let memory = Shm::place_slice(items.len(), |index| Racy::new(items[index]));
        Ok(Self(memory.map_err(Error::placing("an array"))?))
    }

    /// Returns one item: Python's `a[index]`.
    ///
    /// # Errors
    /// [`OutOfRange`](crate::ErrorKind::OutOfRange) for an index out of range.
    #[inline]
    pub fn get(&self, index: impl Index) -> Result<T> {
        Ok(self[place(index, self.len())?].get())
    }

    /// Replaces one item: Python's `a[index] = value`.
    ///
    /// # Errors
    /// [`OutOfRange`](crate::ErrorKind::OutOfRange) for an index out of range.
    #[inline]
    pub fn set(&self, index: impl Index, value: T) -> Result<()> {
        self[place(index, self.len())?].set(value);
        Ok(())
    }

    /// Returns the items of a range, without the indices out of range: Python's `a[2:5]`.
    pub fn slice(&self, span: impl Span) -> Vec<T> {
        let cells = &self[span.resolve(self.len())];
        let Some(first) = cells.first() else { return Vec::new() };
        let mut items = vec![first.get(); cells.len()];
        let copied = cells.copy_out(0, &mut items);
        debug_assert!(copied.is_ok(), "there are as many places as cells");
        items
    }

    /// Replaces the items of a range: Python's `a[2:5] = items`.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when there are more or fewer items than places, because an
    /// array keeps its size. Nothing is changed then.
    #[inline]
    pub fn set_slice(&self, span: impl Span, items: &[T]) -> Result<()> {
        let range = span.resolve(self.len());
        if range.len() != items.len() {
            return Err(other_length(range.len(), items.len()));
        }
        Ok(self.copy_in(range.start, items)?)
    }

    /// Stores `value` in every place.
    pub fn set_all(&self, value: T) {
        RacySlice::set_all(&**self, value);
    }

    /// Returns all items: Python's `a[:]`.
    pub fn to_vec(&self) -> Vec<T> {
        self.slice(..)
    }

    /// Maps the same memory again, for another owner.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` without descriptors, with `ENOMEM` without room for the mapping.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self(self.0.try_clone().map_err(Error::cloning("an array"))?))
    }

    /// The shared memory itself, for methods that only [`Shm`] has.
    pub fn as_shm(&self) -> &Shm<[Racy<T>]> {
        &self.0
    }
}

impl<T: Number> RawArray<T> {
    /// Makes an array of zeroes or of the given items, with a [type code](TypeCode) that must be the code of `T`.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`InvalidInput`](crate::ErrorKind::InvalidInput) for an unknown code, or that of another
    /// type.
    pub fn typed(code: char, items: impl Items<T>) -> Result<Self> {
        TypeCode::checked::<T>(code)?;
        items.given().map_or_else(|len| Self::new(len), Self::from_slice)
    }
}

impl<T: Plain> From<Shm<[Racy<T>]>> for RawArray<T> {
    fn from(shm: Shm<[Racy<T>]>) -> Self {
        Self(shm)
    }
}

impl<T: Plain> Deref for RawArray<T> {
    type Target = [Racy<T>];

    #[inline]
    fn deref(&self) -> &[Racy<T>] {
        &self.0
    }
}
