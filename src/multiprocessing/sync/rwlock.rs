//! Data that many processes may read at a time, or one process may write.

use std::fmt;

use ossature_sys::futex::Limit;
use ossature_sys::scope::{Refused, Shared};
use ossature_sys::shm::{Init, Shareable, Shm};
use ossature_sys::sync::rwlock;
use serde::{Deserialize, Serialize};

use super::methods::unless_full;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::{Arena, Placed};

/// Data in shared memory that many threads may read at a time, or one thread may write. Python has no such lock.
///
/// A share, and the right to write, belong to the thread that took them. The death of a reader gives its share back;
/// the death of a writer leaves the data marked as abandoned. [`sys::sync::rwlock`](crate::sys::sync::rwlock) describes
/// the order of waiting threads, and what a thread may take twice. At most `N` threads read at a time, by default 120.
///
/// ```
/// use std::time::Duration;
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::RwLock;
///
/// let limits = RwLock::new([10_u64, 20])?;
/// let (one, two) = (limits.read()?, limits.read()?); // at the same time
/// assert_eq!(one[0] + two[1], 30);
/// assert_eq!(limits.write().unwrap_err().kind(), ErrorKind::WouldDeadlock, "a reader does not become the writer");
/// assert!(limits.try_write()?.is_none() && limits.write_timeout(Duration::from_millis(1))?.is_none());
/// drop((one, two));
/// assert!(!limits.locked());
///
/// limits.write()?[1] = 30; // alone
/// assert_eq!(limits.with_read(|limits| limits[1])?, 30);
/// limits.with_write(|limits| limits[0] = 15)?;
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// Between processes, as an argument:
///
/// ```standalone_crate
/// use ossature::multiprocessing::{Process, RwLock, Tasks, freeze_support, tasks};
///
/// fn raise(limit: RwLock<u64>) -> ossature::Result<()> {
///     limit.with_write(|limit| *limit += 1)
/// }
///
/// static TASKS: Tasks = tasks![raise];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let limit = RwLock::new(5_u64)?;
///     let raises = Process::spawn(raise, (limit.try_clone()?,))?;
///     assert!(raises.join()?.success());
///     assert_eq!(*limit.read()?, 6);
///     Ok(())
/// }
/// ```
///
/// Guards, and the lock inside its shared memory:
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::RwLock;
/// use ossature::multiprocessing::sync::{ReadGuard, WriteGuard};
///
/// let lock = RwLock::new(5_u32)?;
/// let write: WriteGuard<'_, u32> = lock.write()?;
/// assert!(lock.try_read()?.is_none() && lock.read_timeout(Duration::from_millis(1))?.is_none());
/// drop(write);
/// let same = lock.try_clone()?; // another handle of the same lock
/// let read: ReadGuard<'_, u32> = same.read()?;
/// assert!(!read.abandoned());
/// assert_eq!(lock.as_raw().readers(), 1);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "T: Shareable")]
pub struct RwLock<T, const N: usize = 120>(Placed<rwlock::RwLock<T, Shared, N>>);

/// Read access to an [`RwLock`]; dropping the guard ends it.
///
/// # Examples
/// See the example of [`RwLock`].
pub type ReadGuard<'l, T> = rwlock::ReadGuard<'l, T, Shared>;

/// Write access to an [`RwLock`]; dropping the guard ends it and lets others take the lock.
///
/// # Examples
/// See the example of [`RwLock`].
pub type WriteGuard<'l, T> = rwlock::WriteGuard<'l, T, Shared>;

impl<T: Shareable> RwLock<T> {
    /// Makes a free lock around data in shared memory.
    ///
    /// # Errors
    /// As for [`Lock::new`](super::Lock::new).
    pub fn new(init: impl Init<T>) -> Result<Self> {
        Placed::new(rwlock::RwLock::<T, Shared>::shared(init), "an rwlock").map(Self)
    }

    /// Makes `count` locks, which share one mapping and one descriptor. The data of the lock at `index` is
    /// `init(index)`. Each can be sent alone. The memory exists as long as any process has one of them.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::RwLock;
    ///
    /// let locks = RwLock::many(100, |index| index as u32)?; // one descriptor
    /// *locks[3].write()? += 1;
    /// assert_eq!((*locks[3].read()?, *locks[4].read()?), (4, 4));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn many<I: Init<T>>(count: usize, mut init: impl FnMut(usize) -> I) -> Result<Vec<Self>> {
        let init = |index| rwlock::RwLock::<T, Shared>::shared(init(index));
        Ok(Placed::many(count, init, "a block of rwlocks")?.map(Self).collect())
    }
}

impl<T: Shareable, const N: usize> RwLock<T, N> {
    /// Makes a free lock around data in shared memory, with room for `N` readers at a time. `N` is 65,536 at most.
    ///
    /// A lock with `N` above 120 begins with memory for its data and a few readers. It takes more memory when more
    /// readers come.
    ///
    /// # Errors
    /// As for [`new`](RwLock::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::RwLock;
    ///
    /// let limits = RwLock::<_, 10_000>::with_capacity([10_u64, 20])?;
    /// assert_eq!(limits.read()?[1], 20);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn with_capacity(init: impl Init<T>) -> Result<Self> {
        Placed::new(rwlock::RwLock::<T, Shared, N>::shared_with_capacity(init), "an rwlock").map(Self)
    }

    /// Takes the lock for reading; waits while a writer has the lock or waits for it, without a time limit.
    ///
    /// # Errors
    /// [`Unrecoverable`](ErrorKind::Unrecoverable), [`WouldDeadlock`](ErrorKind::WouldDeadlock) when this thread
    /// writes; [`Os`](ErrorKind::Os) with `EAGAIN` when `N` threads read, or when this thread holds 1,900 shared
    /// locks, and with `ENOMEM` without memory for one more reader.
    #[inline]
    pub fn read(&self) -> Result<ReadGuard<'_, T>> {
        self.0.read().map_err(refused::<N>())
    }

    /// Takes the lock like [`read`](Self::read), without waiting; `None` if a writer has the lock or waits for it.
    ///
    /// # Errors
    /// As for [`read`](Self::read), but never `WouldDeadlock`.
    #[inline]
    pub fn try_read(&self) -> Result<Option<ReadGuard<'_, T>>> {
        self.0.try_read().map_err(refused::<N>())
    }

    /// Takes the lock like [`read`](Self::read), within the limit; `None` when the limit has passed.
    ///
    /// # Errors
    /// As for [`read`](Self::read), but `WouldDeadlock` only for a limit that never ends.
    #[inline]
    pub fn read_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<Option<ReadGuard<'_, T>>> {
        self.0.read_timeout(limit).map_err(refused::<N>())
    }

    /// Takes the lock for writing; waits while another writer or a reader has it, without a time limit.
    ///
    /// # Errors
    /// [`Unrecoverable`](ErrorKind::Unrecoverable), [`WouldDeadlock`](ErrorKind::WouldDeadlock) when this thread
    /// reads or writes; [`Os`](ErrorKind::Os) with `EAGAIN` when this thread holds 1,900 shared locks.
    #[inline]
    pub fn write(&self) -> Result<WriteGuard<'_, T>> {
        self.0.write().map_err(refused::<N>())
    }

    /// Takes the lock like [`write`](Self::write), without waiting; `None` if a thread reads or writes.
    ///
    /// # Errors
    /// As for [`write`](Self::write), but never `WouldDeadlock`.
    #[inline]
    pub fn try_write(&self) -> Result<Option<WriteGuard<'_, T>>> {
        Ok(self.0.try_write()?)
    }

    /// Takes the lock like [`write`](Self::write), within the limit; `None` when the limit has passed.
    ///
    /// # Errors
    /// As for [`write`](Self::write), but `WouldDeadlock` only for a limit that never ends.
    #[inline]
    pub fn write_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<Option<WriteGuard<'_, T>>> {
        self.0.write_timeout(limit).map_err(refused::<N>())
    }

    /// Runs `body` on the data with read access.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and [`Abandoned`](ErrorKind::Abandoned) if a writer died and the data was not
    /// repaired since; `body` has not run then.
    pub fn with_read<R>(&self, body: impl FnOnce(&T) -> R) -> Result<R> {
        let guard = self.read()?;
        if guard.abandoned() { Err(half_written()) } else { Ok(body(&guard)) }
    }

    /// Runs `body` on the data with write access.
    ///
    /// # Errors
    /// As for [`write`](Self::write), and [`Abandoned`](ErrorKind::Abandoned) if a writer died and the data was not
    /// repaired since; `body` has not run then.
    pub fn with_write<R>(&self, body: impl FnOnce(&mut T) -> R) -> Result<R> {
        let mut guard = self.write()?;
        if guard.abandoned() { Err(half_written()) } else { Ok(body(&mut guard)) }
    }

    /// Whether a thread was reading or writing a moment ago.
    #[doc(alias = "is_locked")]
    pub fn locked(&self) -> bool {
        self.0.is_locked()
    }

    /// Returns another handle of the same lock, for another owner. The handle has a mapping of its own, unless the lock
    /// is one of many that were made together.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EMFILE` without descriptors, with `ENOMEM` without room for the mapping.
    pub fn try_clone(&self) -> Result<Self> {
        self.0.try_clone("this RwLock").map(Self)
    }

    /// The lock in shared memory, for methods that only the lower crate's type has.
    pub fn as_raw(&self) -> &rwlock::RwLock<T, Shared, N> {
        &self.0
    }
}

fn refused<const N: usize>() -> impl Fn(Refused) -> Error {
    let larger = ", or make an rwlock with more room, up to 65,536, as `RwLock::<_, 65536>::with_capacity(data)`";
    let unless_full = unless_full("this rwlock of processes", N, "readers", larger, "");
    move |refused| if refused == Refused::WouldDeadlock { held_already(refused) } else { unless_full(refused) }
}

#[cold]
fn held_already(refused: Refused) -> Error {
    Error::from(refused).with_message(
        "this thread already reads or writes with this rwlock, so the wait would never end: use the guard that the \
         thread has, or drop that guard first",
    )
}

#[cold]
fn half_written() -> Error {
    Error::new(
        ErrorKind::Abandoned,
        "the data may be half changed, because a process died while it wrote: take write(), repair the data, call mark_consistent()",
    )
}

impl Arena {
    /// Makes a lock in the arena around data that many may read or one may write.
    ///
    /// # Errors
    /// As for [`value`](Self::value).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Arena;
    ///
    /// let limit = Arena::new()?.rwlock(5_u32)?;
    /// *limit.write()? += 1;
    /// assert_eq!(*limit.read()?, 6);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn rwlock<T: Shareable>(&self, init: impl Init<T>) -> Result<RwLock<T>> {
        Placed::in_arena(self, rwlock::RwLock::<T, Shared>::shared(init), "an rwlock").map(RwLock)
    }
}

impl<T: Shareable + fmt::Debug, const N: usize> fmt::Debug for RwLock<T, N> {
    /// Prints the data if it can be read without waiting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl<T: Shareable, const N: usize> From<Shm<rwlock::RwLock<T, Shared, N>>> for RwLock<T, N> {
    fn from(shm: Shm<rwlock::RwLock<T, Shared, N>>) -> Self {
        Self(shm.into())
    }
}
