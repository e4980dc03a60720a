//! Mutual exclusion between processes, by a plain or a reentrant lock.

use ossature_sys::futex::Limit;
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::{lock, rlock};
use serde::{Deserialize, Serialize};

use super::methods::{held_by_one, owner};
use crate::error::Result;
use crate::multiprocessing::sharedctypes::{Acquire, abandoned};
use crate::multiprocessing::transfer::{Arena, Placed};

/// A lock that one thread in all processes holds: Python's `multiprocessing.Lock`.
///
/// Differs from Python: the lock belongs to the thread that took it, so no other thread can release it; any thread can
/// release a [`HandoffLock`]. Taking the lock twice without a limit is an error instead of a hang. The death of its
/// holder frees it. A [`Value`](crate::multiprocessing::Value) is a lock together with the data that it guards.
///
/// ```
/// use std::time::Duration;
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::Lock;
///
/// let lock = Lock::new()?;
/// lock.acquire()?;
/// assert!(lock.locked());
/// assert!(!lock.try_acquire()?, "held, by this very thread");
/// assert_eq!(lock.acquire().unwrap_err().kind(), ErrorKind::WouldDeadlock);
/// lock.release()?;
/// assert_eq!(lock.release().unwrap_err().kind(), ErrorKind::NotOwner);
///
/// let guard = lock.lock()?; // released at the end of the block, however that ends
/// let other = std::thread::scope(|scope| scope.spawn(|| lock.acquire_timeout(Duration::from_millis(1))).join().unwrap());
/// assert!(!other?, "its time ran out");
/// drop(guard);
/// assert_eq!(lock.with(|| 5)?, 5);
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// Guards, and the lock inside its shared memory:
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::{Lock, sync::LockGuard};
///
/// let lock = Lock::new()?;
/// let guard: LockGuard<'_> = lock.lock()?;
/// assert!(lock.is_mine() && lock.try_lock()?.is_none());
/// assert!(lock.lock_timeout(Duration::from_millis(1))?.is_none(), "its time ran out");
/// drop(guard);
///
/// let same = lock.try_clone()?; // another handle of the same lock
/// let _guard = same.lock()?;
/// assert!(lock.as_raw().is_locked());
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// [`HandoffLock`]: crate::multiprocessing::HandoffLock
#[derive(Debug, Serialize, Deserialize)]
pub struct Lock(Placed<lock::Lock<(), Shared>>);

/// The hold of a [`Lock`]; dropping it releases the lock.
///
/// # Examples
/// See the example of [`Lock`].
pub type LockGuard<'l> = lock::Guard<'l, (), Shared>;

impl Lock {
    /// Makes a free lock in shared memory.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` or `ENFILE` without descriptors, with `ENOMEM` or `ENOSPC` without
    /// memory. Also with `EOPNOTSUPP` if the system has no robust lists, as under some emulators: no lock would survive
    /// a death there.
    pub fn new() -> Result<Self> {
        Placed::new(lock::Lock::shared(()), "a lock").map(Self)
    }

    /// Makes `count` locks, which share one mapping and one descriptor. Each can be sent alone. The memory exists as
    /// long as any process has one of them.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Lock;
    ///
    /// let locks = Lock::many(10_000)?; // one descriptor
    /// let held = locks[3].lock()?;
    /// assert!(locks[3].locked() && !locks[4].locked());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn many(count: usize) -> Result<Vec<Self>> {
        Ok(Placed::many(count, |_| lock::Lock::shared(()), "a block of locks")?.map(Self).collect())
    }
}

owner!(Lock, lock::Lock<(), Shared>);
held_by_one!(Lock, LockGuard);

impl Arena {
    /// Makes a free lock in the arena.
    ///
    /// # Errors
    /// As for [`value`](Self::value).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Arena;
    ///
    /// let lock = Arena::new()?.lock()?; // which keeps the arena
    /// assert_eq!(lock.with(|| 5)?, 5);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn lock(&self) -> Result<Lock> {
        Placed::in_arena(self, lock::Lock::shared(()), "a lock").map(Lock)
    }

    /// Makes a free reentrant lock in the arena.
    ///
    /// # Errors
    /// As for [`value`](Self::value).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Arena;
    ///
    /// let lock = Arena::new()?.rlock()?;
    /// lock.with(|| lock.with(|| assert_eq!(lock.depth(), 2)))??;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn rlock(&self) -> Result<RLock> {
        Placed::in_arena(self, rlock::RLock::shared(()), "an rlock").map(RLock)
    }
}

/// A reentrant lock, which its holder may take again: Python's `multiprocessing.RLock`.
///
/// It is free when it was released as often as it was taken. Differs from Python: the death of its holder frees it.
///
/// ```
/// use ossature::multiprocessing::RLock;
///
/// let lock = RLock::new()?;
/// lock.acquire()?;
/// lock.with(|| assert_eq!(lock.depth(), 2))?;
/// lock.release()?;
/// assert!(!lock.locked());
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::{RLock, sync::RLockGuard};
///
/// let lock = RLock::new()?;
/// let outer: RLockGuard<'_> = lock.lock()?;
/// let inner = lock.try_lock()?.expect("the holder may take it again");
/// let third = lock.lock_timeout(Duration::from_millis(1))?;
/// assert!(lock.is_mine() && third.is_some() && lock.depth() == 3);
/// drop((outer, inner, third));
/// assert!(lock.try_acquire()? && lock.acquire_timeout(Duration::from_millis(1))?);
/// assert_eq!(lock.depth(), 2);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
pub struct RLock(Placed<rlock::RLock<(), Shared>>);

/// One level of an [`RLock`] or of a [`Condition`](crate::multiprocessing::Condition)'s lock; dropping it releases the
/// level.
///
/// # Examples
/// See the example of [`RLock`].
pub type RLockGuard<'l> = rlock::RLockGuard<'l, (), Shared>;

impl RLock {
    /// Makes a free lock in shared memory.
    ///
    /// # Errors
    /// As for [`Lock::new`].
    pub fn new() -> Result<Self> {
        Placed::new(rlock::RLock::shared(()), "an rlock").map(Self)
    }

    /// Makes `count` locks, which share one mapping and one descriptor. Each can be sent alone. The memory exists as
    /// long as any process has one of them.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::RLock;
    ///
    /// let locks = RLock::many(100)?; // one descriptor
    /// locks[3].acquire()?;
    /// assert_eq!((locks[3].depth(), locks[4].depth()), (1, 0));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn many(count: usize) -> Result<Vec<Self>> {
        Ok(Placed::many(count, |_| rlock::RLock::shared(()), "a block of rlocks")?.map(Self).collect())
    }

    /// The number of levels that the calling thread holds.
    pub fn depth(&self) -> u32 {
        self.0.depth()
    }
}

owner!(RLock, rlock::RLock<(), Shared>);
held_by_one!(RLock, RLockGuard);
