//! Raw objects behind a separate lock.

use ossature_sys::scope::Shared;
use ossature_sys::shm::{Plain, Shareable, Shm};
use ossature_sys::sync::lock::Lock;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::held::whole;
use super::{Array, Index, RawArray, RawValue, Span, Value};
use crate::error::{Error, Result};
use crate::multiprocessing::transfer::{Memory, memory};

mod sealed {
    use ossature_sys::shm::Plain;

    pub trait Sealed {}
    impl<T: Plain> Sealed for super::RawValue<T> {}
    impl<T: Plain> Sealed for super::RawArray<T> {}
}

/// An object that has no lock yet: a [`RawValue`] or a [`RawArray`].
///
/// # Examples
/// See the example of [`synchronized`].
pub trait Raw: sealed::Sealed {}

impl<T: Plain> Raw for RawValue<T> {}
impl<T: Plain> Raw for RawArray<T> {}

/// A lock, or an object with a lock, which one party at a time can hold: Python requires `acquire` and `release`.
///
/// A lock in shared memory implements it, whatever the lock guards. So does a [`Value`] or [`Array`] that has a lock.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::{Lock, Value, sharedctypes::Acquire};
///
/// fn in_turn(lock: impl Acquire, work: impl FnOnce() -> u32) -> ossature::Result<u32> {
///     lock.holding(work)
/// }
///
/// let (lock, value) = (Lock::new()?, Value::new(0_u32)?);
/// assert_eq!(in_turn(&lock, || 5)? + in_turn(&value, || 6)?, 11);
/// # Ok::<(), ossature::Error>(())
/// ```
pub trait Acquire {
    /// Runs `body` while it holds the lock.
    ///
    /// # Errors
    /// [`Abandoned`](crate::ErrorKind::Abandoned) when a holder died and the guarded data was not repaired,
    /// [`Unrecoverable`](crate::ErrorKind::Unrecoverable), [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock) when this
    /// thread holds it. `body` has not run then.
    fn holding<O>(&self, body: impl FnOnce() -> O) -> Result<O>;
}

impl<T: ?Sized> Acquire for Lock<T, Shared> {
    #[inline]
    fn holding<O>(&self, body: impl FnOnce() -> O) -> Result<O> {
        let _held = whole(self)?;
        Ok(body())
    }
}

impl<T: Shareable> Acquire for Value<T> {
    #[inline]
    fn holding<O>(&self, body: impl FnOnce() -> O) -> Result<O> {
        self.with(|_| body())
    }
}

impl<T: Shareable> Acquire for Array<T> {
    #[inline]
    fn holding<O>(&self, body: impl FnOnce() -> O) -> Result<O> {
        self.with(|_| body())
    }
}

impl<T: ?Sized + Shareable + Acquire> Acquire for Shm<T> {
    #[inline]
    fn holding<O>(&self, body: impl FnOnce() -> O) -> Result<O> {
        (**self).holding(body)
    }
}

impl<A: ?Sized + Acquire> Acquire for &A {
    #[inline]
    fn holding<O>(&self, body: impl FnOnce() -> O) -> Result<O> {
        (**self).holding(body)
    }
}

/// A raw object and the lock that every access through this type takes: Python's `Synchronized` and
/// `SynchronizedArray`.
///
/// Other code may have the raw object too, so the data is only copied in and out, and never lent. If no code needs the
/// raw object, use [`Value`] and [`Array`]: their lock and data are in one memory, and their guards lend the data.
///
/// If the lock is its own, object and lock can be [sent](crate::multiprocessing::transfer) together.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::RawArray;
/// use ossature::multiprocessing::sharedctypes::{Synchronized, synchronized};
///
/// let counts: Synchronized<RawArray<u32>> = synchronized(RawArray::new(3)?)?;
/// counts.set_slice(.., &[1, 2, 3])?;
/// counts.with(0, |count| *count += 9)?;
/// let held = counts.lock().lock()?; // several accesses in one turn
/// assert_eq!(counts.raw().to_vec(), [10, 2, 3]);
/// drop(held);
/// assert_eq!(counts.get(-1)?, 3);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug)]
pub struct Synchronized<R, L = Shm<Lock<u8, Shared>>> {
    raw: R,
    lock: L,
}

/// The parts that are sent.
#[derive(Serialize, Deserialize)]
struct Parts<R, L>(R, L);

impl<R: Serialize> Serialize for Synchronized<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Parts(&self.raw, Borrowed(&self.lock)).serialize(serializer)
    }
}

impl<'de, R: Deserialize<'de>> Deserialize<'de> for Synchronized<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let Parts(raw, Memory(lock)) = Deserialize::deserialize(deserializer)?;
        Ok(Self { raw, lock })
    }
}

/// A [`Memory`] that borrows its [`Shm`], to be serialised.
#[derive(Serialize)]
struct Borrowed<'s>(#[serde(serialize_with = "memory::serialize")] &'s Shm<Lock<u8, Shared>>);

/// Puts a raw object behind a new lock: Python's `synchronized(obj)`. Clones share the object, not this lock. A party
/// that should wait for this lock uses this `Synchronized`.
///
/// ```
/// use ossature::multiprocessing::{RawArray, sharedctypes::synchronized};
///
/// let counts = synchronized(RawArray::<u32>::new(5)?)?;
/// counts.set(2, 9)?;
/// counts.with(3, |count| *count += 1)?;
/// assert_eq!((counts.slice(1..4)?, counts.raw().get(2)?), (vec![0, 9, 1], 9));
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// An object that has a lock already cannot get a second lock:
///
/// ```compile_fail
/// use ossature::multiprocessing::{RawValue, sharedctypes::synchronized};
/// let twice = synchronized(synchronized(RawValue::new(5_u32).unwrap()).unwrap());
/// ```
///
/// # Errors
/// As [`Value::new`]: the lock needs shared memory of its own.
pub fn synchronized<R: Raw>(raw: R) -> Result<Synchronized<R>> {
    let lock = Shm::place(Lock::<u8, Shared>::shared(0)).map_err(Error::placing("a lock"))?;
    Ok(synchronized_with(raw, lock))
}

/// Puts a raw object behind an existing lock: Python's `synchronized(obj, lock)` and the argument `lock` of `Value` and
/// `Array`.
///
/// ```
/// use ossature::multiprocessing::{RawValue, Value, sharedctypes::synchronized_with};
///
/// let first = Value::new(5)?;
/// let second = synchronized_with(RawValue::new(0.5)?, &first); // the holder of the first holds both
/// let held = first.lock()?;
/// assert_eq!(second.get().unwrap_err().kind(), ossature::ErrorKind::WouldDeadlock);
/// drop(held);
/// assert_eq!(second.get()?, 0.5);
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```compile_fail
/// use ossature::multiprocessing::{RawValue, sharedctypes::synchronized_with};
/// let value = synchronized_with(RawValue::new(5).unwrap(), "no value"); // nothing that could be acquired
/// ```
pub fn synchronized_with<R: Raw, L: Acquire>(raw: R, lock: L) -> Synchronized<R, L> {
    Synchronized { raw, lock }
}

impl<R, L> Synchronized<R, L> {
    /// The object without its lock: Python's `get_obj()`.
    #[doc(alias = "get_obj")]
    pub fn raw(&self) -> &R {
        &self.raw
    }

    /// The lock: Python's `get_lock()`. While you hold it, use [`raw`](Self::raw).
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> &L {
        &self.lock
    }
}

/// The methods of a value: each takes the lock once, with the [errors](Acquire::holding) of the lock.
impl<T: Plain, L: Acquire> Synchronized<RawValue<T>, L> {
    /// The value.
    ///
    /// # Errors
    /// [`Acquire::holding`].
    pub fn get(&self) -> Result<T> {
        self.lock.holding(|| self.raw.get())
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`Acquire::holding`].
    pub fn set(&self, value: T) -> Result<()> {
        self.lock.holding(|| self.raw.set(value))
    }

    /// Runs `change` on a copy of the value and stores the copy.
    ///
    /// # Errors
    /// [`Acquire::holding`].
    pub fn with<O>(&self, change: impl FnOnce(&mut T) -> O) -> Result<O> {
        self.lock.holding(|| {
            let mut value = self.raw.get();
            let answer = change(&mut value);
            self.raw.set(value);
            answer
        })
    }
}

/// The methods of an array: each takes the lock once, with the [errors](Acquire::holding) of the lock and those of
/// [`RawArray`].
impl<T: Plain, L: Acquire> Synchronized<RawArray<T>, L> {
    /// Returns one item.
    ///
    /// # Errors
    /// [`Acquire::holding`], [`RawArray::get`].
    pub fn get(&self, index: impl Index) -> Result<T> {
        self.lock.holding(|| self.raw.get(index))?
    }

    /// Replaces one item.
    ///
    /// # Errors
    /// [`Acquire::holding`], [`RawArray::set`].
    pub fn set(&self, index: impl Index, value: T) -> Result<()> {
        self.lock.holding(|| self.raw.set(index, value))?
    }

    /// Runs `change` on a copy of one item and stores the copy.
    ///
    /// # Errors
    /// [`Acquire::holding`], [`RawArray::get`].
    pub fn with<O>(&self, index: impl Index, change: impl FnOnce(&mut T) -> O) -> Result<O> {
        self.lock.holding(|| {
            let mut value = self.raw.get(index)?;
            let answer = change(&mut value);
            self.raw.set(index, value)?;
            Ok(answer)
        })?
    }

    /// Returns the items of a range, without the indices out of range.
    ///
    /// # Errors
    /// [`Acquire::holding`].
    ///
    /// # Examples
    /// See the example of [`synchronized`].
    pub fn slice(&self, span: impl Span) -> Result<Vec<T>> {
        self.lock.holding(|| self.raw.slice(span))
    }

    /// Replaces the items of a range.
    ///
    /// # Errors
    /// [`Acquire::holding`], [`RawArray::set_slice`].
    pub fn set_slice(&self, span: impl Span, items: &[T]) -> Result<()> {
        self.lock.holding(|| self.raw.set_slice(span, items))?
    }
}
