//! A lock and those who wait, with it let go, for a change of what it guards.

use ossature_sys::futex::Limit;
use ossature_sys::scope::Shared;
use ossature_sys::shareable;
use ossature_sys::shm::Shm;
use ossature_sys::sync::bare::NotOwner;
use ossature_sys::sync::condition::{self, Wait};
use ossature_sys::sync::rlock;
use serde::{Deserialize, Serialize};

use super::RLockGuard;
use super::methods::held_by_one;
use crate::error::{Error, Result};
use crate::multiprocessing::sharedctypes::{Acquire, abandoned};
use crate::multiprocessing::transfer::memory;

shareable! {
    struct Monitor {
        lock: rlock::RLock<(), Shared>,
        changed: condition::Condition<Shared>,
    }
}

/// A lock that its holder may take again, and a queue of those who wait for a notification: Python's
/// `multiprocessing.Condition()`.
///
/// A wait lets every level of the lock go and takes them all again. Differs from Python: a notifier never waits for those it
/// has woken, so a killed one cannot stop it; [`wait_for`](Self::wait_for) does not ask on what a killed holder may have
/// left half changed. At most 120 may wait at a time.
///
/// Python's `Condition(lock)`, and several conditions over one lock, are a
/// [`condition::Condition`](crate::sys::sync::condition::Condition) beside the lock in one struct of shared memory:
///
/// ```
/// use ossature::sys::{scope::Shared, shareable, shm::Shm, sync::condition::Condition, sync::lock::Lock};
///
/// shareable! {
///     struct Buffer {
///         items: Lock<u32, Shared>,
///         not_empty: Condition<Shared>,
///         not_full: Condition<Shared>,
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let buffer = Shm::place(Buffer::init(Lock::shared(3), Condition::shared(), Condition::shared()))?;
/// let mut items = buffer.items.lock()?;
/// while *items == 0 {
///     items = buffer.not_empty.wait(items)?;
/// }
/// *items -= 1;
/// buffer.not_full.notify(1);
/// # Ok(()) }
/// ```
#[derive(Debug, Serialize, Deserialize)]
pub struct Condition(#[serde(with = "memory")] Shm<Monitor>);

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("lock", &self.lock).field("changed", &self.changed).finish()
    }
}

impl Condition {
    /// A free lock that nobody waits beside, in shared memory.
    ///
    /// # Errors
    /// As for [`Lock::new`](crate::multiprocessing::Lock::new).
    pub fn new() -> Result<Self> {
        let parts = Monitor::init(rlock::RLock::shared(()), condition::Condition::shared());
        Ok(Self(Shm::place(parts).map_err(Error::placing("a condition"))?))
    }

    /// A second mapping of the same memory, for an owner of its own.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` without descriptors, with `ENOMEM` without room for the mapping.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Lets the lock go, waits for a notification and takes the lock again, as deep as before.
    ///
    /// # Errors
    /// [`NotOwner`](crate::ErrorKind::NotOwner) when this thread does not hold the lock;
    /// [`Os`](crate::ErrorKind::Os) with `EAGAIN` when 120 wait already: it has the lock still.
    /// [`Unrecoverable`](crate::ErrorKind::Unrecoverable) when that happened to the lock meanwhile: it does not have it any more.
    /// [`Abandoned`](crate::ErrorKind::Abandoned), with the lock held, when a holder died and nobody has repaired what it left.
    pub fn wait(&self) -> Result<()> {
        self.wait_timeout(Limit::NEVER).map(drop)
    }

    /// [`wait`](Self::wait) within the limit: false when that was over without a notification. The lock is waited for as long
    /// as it takes, whatever the limit.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
        let (level, notified) = self.0.changed.wait_timeout(self.level()?, limit)?;
        if level.abandoned() {
            return Err(abandoned());
        }
        Ok(notified)
    }

    /// Waits until `ready` answers true, which is asked with the lock held, first before any wait; the answer is its last one.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait); when a holder died and nobody has repaired what it left, `ready` is not asked.
    pub fn wait_for<'c>(&self, mut ready: impl FnMut() -> bool, limit: impl Into<Limit<'c>>) -> Result<bool> {
        match self.0.changed.wait_for(self.level()?, |_| ready(), limit)? {
            (_level, Wait::Ready) => Ok(true),
            (_level, Wait::TimedOut) => Ok(false),
            (_level, Wait::Abandoned) => Err(abandoned()),
        }
    }

    /// Frees the `count` waiters that have waited longest, or as many as there are, and says how many that were.
    ///
    /// # Errors
    /// [`NotOwner`](crate::ErrorKind::NotOwner) when this thread does not hold the lock.
    pub fn notify(&self, count: u32) -> Result<u32> {
        self.check_mine()?;
        Ok(self.0.changed.notify(count))
    }

    /// Frees everybody who waits now, and says how many that were.
    ///
    /// # Errors
    /// As for [`notify`](Self::notify).
    pub fn notify_all(&self) -> Result<u32> {
        self.notify(u32::MAX)
    }

    /// One level more than this thread has, for the queue to let go and take again with the others.
    fn level(&self) -> Result<RLockGuard<'_>> {
        self.check_mine()?;
        self.lock()
    }

    fn check_mine(&self) -> Result<()> {
        if self.is_mine() {
            return Ok(());
        }
        Err(if self.0.lock.is_locked() { NotOwner::HeldByAnother } else { NotOwner::Free }.into())
    }

    fn raw(&self) -> &rlock::RLock<(), Shared> {
        &self.0.lock
    }
}

held_by_one!(Condition, RLockGuard);
