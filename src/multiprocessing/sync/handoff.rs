//! The lock between processes that any process may release.

use ossature_sys::futex::Limit;
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::handoff;
use serde::{Deserialize, Serialize};

use super::methods::owner;
use crate::error::Result;
use crate::multiprocessing::transfer::{Arena, Placed};

/// A lock without an owner: Python's `multiprocessing.Lock` when one process acquires it and another releases it.
///
/// The lock does not record its holder, so it stays taken when its holder is killed. If the thread that takes it also
/// releases it, use a [`Lock`](crate::multiprocessing::Lock).
///
/// ```
/// use ossature::multiprocessing::HandoffLock;
///
/// let turn = HandoffLock::new()?;
/// turn.acquire()?;
/// std::thread::scope(|scope| scope.spawn(|| turn.release()).join().unwrap())?; // or by another process
/// assert!(!turn.locked());
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::HandoffLock;
///
/// let lock = HandoffLock::new()?;
/// assert!(lock.try_acquire()?);
/// assert!(!lock.acquire_timeout(Duration::from_millis(1))?, "its time ran out");
/// std::thread::scope(|scope| scope.spawn(|| lock.release()).join()).unwrap()?; // any thread may
/// assert!(!lock.locked());
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
pub struct HandoffLock(Placed<handoff::HandoffLock<Shared>>);

impl HandoffLock {
    /// Makes a free lock in shared memory.
    ///
    /// # Errors
    /// As for [`Lock::new`](crate::multiprocessing::Lock::new).
    pub fn new() -> Result<Self> {
        Placed::new(handoff::HandoffLock::shared(), "a handoff lock").map(Self)
    }

    /// Makes `count` locks, which share one mapping and one descriptor. Each can be sent alone. The memory exists as
    /// long as any process has one of them.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::HandoffLock;
    ///
    /// let locks = HandoffLock::many(100)?; // one descriptor
    /// locks[3].acquire()?;
    /// assert!(locks[3].locked() && !locks[4].locked());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn many(count: usize) -> Result<Vec<Self>> {
        Ok(Placed::many(count, |_| handoff::HandoffLock::shared(), "a block of handoff locks")?.map(Self).collect())
    }

    /// Takes the lock; waits without a time limit.
    ///
    /// # Errors
    /// None today. The result is a `Result`, so that a later version that can fail needs no other signature.
    pub fn acquire(&self) -> Result<()> {
        Ok(self.0.acquire()?)
    }

    /// Takes the lock if it is free; returns whether it was.
    ///
    /// # Errors
    /// None today. The result is a `Result`, so that a later version that can fail needs no other signature.
    pub fn try_acquire(&self) -> Result<bool> {
        Ok(self.0.try_acquire()?)
    }

    /// Takes the lock, waiting within the limit; false when the limit has passed.
    ///
    /// # Errors
    /// None today. The result is a `Result`, so that a later version that can fail needs no other signature.
    pub fn acquire_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
        Ok(self.0.acquire_timeout(limit)?)
    }

    /// Releases the lock, whichever thread took it.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when it is free (Python's `ValueError`).
    pub fn release(&self) -> Result<()> {
        Ok(self.0.release()?)
    }

    /// Runs `body` with the lock held; the lock is released on unwinding too.
    ///
    /// # Errors
    /// None today. The result is a `Result`, so that a later version that can fail needs no other signature.
    pub fn with<R>(&self, body: impl FnOnce() -> R) -> Result<R> {
        Ok(self.0.with(body)?)
    }

    /// Whether the lock was held a moment ago.
    #[doc(alias = "is_locked")]
    pub fn locked(&self) -> bool {
        self.0.locked()
    }
}

impl Arena {
    /// Makes a free lock in the arena, which any thread may release.
    ///
    /// # Errors
    /// As for [`value`](Self::value).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Arena;
    ///
    /// let turn = Arena::new()?.handoff_lock()?;
    /// turn.acquire()?;
    /// turn.release()?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn handoff_lock(&self) -> Result<HandoffLock> {
        Placed::in_arena(self, handoff::HandoffLock::shared(), "a handoff lock").map(HandoffLock)
    }
}

owner!(HandoffLock, handoff::HandoffLock<Shared>);
