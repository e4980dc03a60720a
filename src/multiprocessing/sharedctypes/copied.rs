//! Copies of objects into new shared memory.

use ossature_sys::shm::{Plain, Racy, RacySlice, Shm};

use super::held::whole;
use super::{Array, RawArray, RawValue, Value};
use crate::error::{Error, Result};

/// An object that [`copy`] can copy.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::sharedctypes::{Copied, copy};
/// use ossature::multiprocessing::{Array, RawArray};
///
/// /// The object as it is now, beside the object.
/// fn snapshot<O: Copied>(object: O) -> ossature::Result<(O, O::Raw)> {
///     let raw = copy(&object)?;
///     Ok((object, raw))
/// }
///
/// let (array, before): (Array<u8>, RawArray<u8>) = snapshot(Array::from_slice(&[1, 2])?)?;
/// array.set(0, 9)?;
/// assert_eq!(before.to_vec(), [1, 2]);
/// # Ok::<(), ossature::Error>(())
/// ```
pub trait Copied {
    /// The same type without a lock.
    type Raw;

    /// The copy; see [`copy`].
    ///
    /// # Errors
    /// See [`copy`].
    fn copied(&self) -> Result<Self::Raw>;
}

/// Returns a new object, without a lock, with the current content of `object`: Python's `sharedctypes.copy`.
///
/// # Errors
/// [`Os`](crate::ErrorKind::Os) when there is no memory, as for [`RawValue::new`]; for an object with a lock also
/// [`Abandoned`](crate::ErrorKind::Abandoned), [`Unrecoverable`](crate::ErrorKind::Unrecoverable) and
/// [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock).
///
/// # Examples
/// ```
/// use ossature::multiprocessing::{Value, sharedctypes::copy};
///
/// let count = Value::new(5_u64)?;
/// let before = copy(&count)?;
/// *count.lock()? += 1;
/// assert_eq!((before.get(), count.get()?), (5, 6));
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn copy<O: Copied>(object: &O) -> Result<O::Raw> {
    object.copied()
}

impl<T: Plain> Copied for Value<T> {
    type Raw = RawValue<T>;

    fn copied(&self) -> Result<RawValue<T>> {
        RawValue::new(self.get()?)
    }
}

impl<T: Plain> Copied for RawValue<T> {
    type Raw = Self;

    fn copied(&self) -> Result<Self> {
        Self::new(self.get())
    }
}

impl<T: Plain> Copied for Array<T> {
    type Raw = RawArray<T>;

    fn copied(&self) -> Result<RawArray<T>> {
        let new = RawArray::new(self.len())?;
        new.copy_in(0, &whole(self)?)?;
        Ok(new)
    }
}

impl<T: Plain> Copied for RawArray<T> {
    type Raw = Self;

    fn copied(&self) -> Result<Self> {
        // Item by item: nothing but the new memory is needed.
        let memory = Shm::place_slice(self.len(), |index| Racy::new(self[index].get()));
        Ok(memory.map_err(Error::placing("an array"))?.into())
    }
}
