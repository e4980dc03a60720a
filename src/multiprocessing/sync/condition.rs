//! A lock, and the waiters that release it and wait for a change of its data.

use std::fmt;
use std::ops::Deref;

use ossature_sys::futex::Limit;
use ossature_sys::scope::{Refused, Shared};
use ossature_sys::shareable;
use ossature_sys::shm::Init;
use ossature_sys::sync::bare::{ByName, Named, NotOwner};
use ossature_sys::sync::condition::{self, Held as _, Wait};
use ossature_sys::sync::{handoff, lock, rlock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::methods::{held_by_one, unless_full};
use super::{HandoffLock, Lock, RLock, RLockGuard};
use crate::error::{Error, Result};
use crate::multiprocessing::sharedctypes::{Acquire, abandoned};
use crate::multiprocessing::transfer::{Arena, Placed};

shareable! {
    struct Monitor {
        lock: rlock::RLock<(), Shared>,
        changed: condition::Condition<Shared>,
    }
}

/// A reentrant lock, and a queue of waiters for a notification: Python's `multiprocessing.Condition()`.
///
/// A wait lets every level of the lock go and takes them all again. Differs from Python: a notifier never waits for the
/// threads that it has woken, so a killed one cannot stop it. [`wait_for`](Self::wait_for) does not call its predicate
/// on what a killed holder may have left half changed. At most `N` threads may wait at a time, by default 120.
///
/// Python's `Condition(lock)`, also several conditions over one lock, is [`with_lock`](Self::with_lock). Where the lock
/// guards data in memory, a [`condition::Condition`](crate::sys::sync::condition::Condition) beside the lock in one
/// struct of shared memory does better:
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
///
/// Its own lock, and a wait for a state:
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::{Condition, RawValue};
///
/// let (changed, items) = (Condition::new()?, RawValue::new(0_u32)?);
/// std::thread::scope(|scope| {
///     let consumer = scope.spawn(|| {
///         let _held = changed.lock()?;
///         changed.wait_for(|| items.get() > 0, Duration::from_secs(60))
///     });
///     changed.with(|| {
///         items.set(1);
///         changed.notify_all()
///     })??;
///     assert!(consumer.join().unwrap()?);
///     Ok::<(), ossature::Error>(())
/// })?;
///
/// changed.acquire()?;
/// assert!(!changed.wait_timeout(Duration::from_millis(1))?, "nobody notifies");
/// changed.release()?;
/// let same = changed.try_clone()?; // another handle of the same condition
/// assert!(same.try_acquire()? && changed.locked());
/// same.release()?;
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Condition<L: ConditionLock<N> = OwnLock, const N: usize = 120> {
    lock: L,
    queue: L::Queue,
}

/// The lock of a [`Condition`] for `N` waiters: a [`Lock`], an [`RLock`], a [`HandoffLock`], or a lock of its own.
///
/// # Examples
/// See the example of [`Condition::with_lock`].
pub trait ConditionLock<const N: usize = 120>: fmt::Debug + Serialize + DeserializeOwned + sealed::Sealed {
    /// The lock in shared memory.
    #[doc(hidden)]
    type Raw: Named<Scope = Shared>;
    /// The queue of the waiters.
    #[doc(hidden)]
    type Queue: Serialize + DeserializeOwned;

    #[doc(hidden)]
    fn by_name(&self) -> std::result::Result<ByName<'_, Self::Raw>, NotOwner>;
    #[doc(hidden)]
    fn queue<'q>(&'q self, beside: &'q Self::Queue) -> &'q condition::Condition<Shared, N>;
    #[doc(hidden)]
    fn again(&self, beside: &Self::Queue) -> Result<(Self, Self::Queue)>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::OwnLock {}
    impl Sealed for super::Lock {}
    impl Sealed for super::RLock {}
    impl Sealed for super::HandoffLock {}
}

/// The lock that [`Condition::new`] makes, which is beside the queue in the same memory.
///
/// # Examples
/// See the example of [`Condition`].
#[derive(Debug, Serialize, Deserialize)]
pub struct OwnLock(Placed<Monitor>);

/// The queue of a condition over another lock, in separate memory.
///
/// # Examples
/// See the example of [`Condition::with_lock`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Queue<const N: usize = 120>(Placed<condition::Condition<Shared, N>>);

impl ConditionLock for OwnLock {
    type Raw = rlock::RLock<(), Shared>;
    type Queue = ();

    fn by_name(&self) -> std::result::Result<ByName<'_, Self::Raw>, NotOwner> {
        self.0.lock.by_name()
    }

    fn queue<'q>(&'q self, (): &'q ()) -> &'q condition::Condition<Shared> {
        &self.0.changed
    }

    fn again(&self, (): &()) -> Result<(Self, ())> {
        Ok((Self(self.0.try_clone("this Condition")?), ()))
    }
}

macro_rules! condition_lock {
    ($($Face:ty, $Raw:ty;)+) => {$(
        impl<const N: usize> ConditionLock<N> for $Face {
            type Raw = $Raw;
            type Queue = Queue<N>;

            fn by_name(&self) -> std::result::Result<ByName<'_, Self::Raw>, NotOwner> {
                self.as_raw().by_name()
            }

            fn queue<'q>(&'q self, beside: &'q Queue<N>) -> &'q condition::Condition<Shared, N> {
                &beside.0
            }

            fn again(&self, beside: &Queue<N>) -> Result<(Self, Queue<N>)> {
                let queue = beside.0.try_clone("this Condition")?;
                Ok((self.try_clone()?, Queue(queue)))
            }
        }
    )+};
}

condition_lock! {
    Lock, lock::Lock<(), Shared>;
    RLock, rlock::RLock<(), Shared>;
    HandoffLock, handoff::HandoffLock<Shared>;
}

impl<L: ConditionLock<N>, const N: usize> fmt::Debug for Condition<L, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("lock", &self.lock).finish_non_exhaustive()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("lock", &self.lock).field("changed", &self.changed).finish()
    }
}

impl Condition {
    /// Makes a condition with a free lock and no waiters in shared memory.
    ///
    /// # Errors
    /// As for [`Lock::new`](crate::multiprocessing::Lock::new).
    pub fn new() -> Result<Self> {
        Ok(Self { lock: OwnLock(Placed::new(parts(), "a condition")?), queue: () })
    }

    /// Makes `count` conditions, each with a lock of its own, which share one mapping and one descriptor. Each can be
    /// sent alone. The memory exists as long as any process has one of them.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Condition;
    ///
    /// let changed = Condition::many(10)?; // one descriptor
    /// changed[3].acquire()?;
    /// assert!(changed[3].locked() && !changed[4].locked());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn many(count: usize) -> Result<Vec<Self>> {
        let monitors = Placed::many(count, |_| parts(), "a block of conditions")?;
        Ok(monitors.map(|monitor| Self { lock: OwnLock(monitor), queue: () }).collect())
    }

    /// The number of levels of the lock that the calling thread holds.
    ///
    /// # Examples
    /// ```
    /// let changed = ossature::multiprocessing::Condition::new()?;
    /// changed.acquire()?;
    /// assert_eq!(changed.with(|| changed.depth())?, 2);
    /// changed.release()?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn depth(&self) -> u32 {
        self.as_raw().depth()
    }

    fn as_raw(&self) -> &rlock::RLock<(), Shared> {
        &self.lock.0.lock
    }
}

fn parts() -> impl Init<Monitor> {
    Monitor::init(rlock::RLock::shared(()), condition::Condition::shared())
}

held_by_one!(Condition, RLockGuard);

impl Arena {
    /// Makes a condition with a lock of its own in the arena.
    ///
    /// # Errors
    /// As for [`value`](Self::value).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Arena;
    ///
    /// let changed = Arena::new()?.condition()?;
    /// changed.acquire()?;
    /// assert_eq!(changed.notify_all()?, 0);
    /// changed.release()?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn condition(&self) -> Result<Condition> {
        let monitor = Placed::in_arena(self, parts(), "a condition")?;
        Ok(Condition { lock: OwnLock(monitor), queue: () })
    }
}

impl<const N: usize> Condition<RLock, N> {
    /// Makes a condition in shared memory, with an [`RLock`] of its own and with room for `N` waiters. `N` is 65,536 at
    /// most.
    ///
    /// A condition with `N` above 120 takes more memory when more waiters come. [`new`](Condition::new) makes a
    /// condition for 120 waiters.
    ///
    /// # Errors
    /// As for [`Lock::new`](crate::multiprocessing::Lock::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Condition;
    ///
    /// let changed = Condition::<_, 10_000>::with_capacity()?;
    /// changed.acquire()?;
    /// assert_eq!(changed.notify_all()?, 0);
    /// changed.release()?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn with_capacity() -> Result<Self> {
        Self::with_lock_and_capacity(RLock::new()?)
    }
}

impl<L: ConditionLock> Condition<L> {
    /// Makes a condition over an existing lock: Python's `Condition(lock)`. The condition has the lock's methods, too.
    ///
    /// For several conditions over one lock, give each a [clone](Lock::try_clone) of the lock: a second mapping of the
    /// same lock. With a [`HandoffLock`] any process may release what another took, as in Python.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ossature::multiprocessing::{Condition, Lock};
    ///
    /// let lock = Lock::new()?;
    /// let not_empty = Condition::with_lock(lock.try_clone()?)?;
    /// let not_full = Condition::with_lock(lock.try_clone()?)?;
    ///
    /// lock.acquire()?;
    /// assert!(not_empty.is_mine() && not_full.is_mine(), "one lock");
    /// assert!(!not_empty.wait_timeout(Duration::from_millis(1))?); // the lock was released meanwhile
    /// not_full.notify(1)?;
    /// lock.release()?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Lock::new`].
    pub fn with_lock(lock: L) -> Result<Self>
    where
        L: ConditionLock<Queue = Queue>,
    {
        Self::with_lock_and_capacity(lock)
    }
}

impl<L: ConditionLock<N>, const N: usize> Condition<L, N> {
    /// Makes a condition like [`with_lock`](Condition::with_lock), with room for `N` waiters. `N` is 65,536 at most.
    ///
    /// # Errors
    /// As for [`Lock::new`].
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::{Condition, Lock};
    ///
    /// let lock = Lock::new()?;
    /// let changed = Condition::<_, 1000>::with_lock_and_capacity(lock.try_clone()?)?;
    /// lock.acquire()?;
    /// assert_eq!(changed.notify(1)?, 0);
    /// lock.release()?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn with_lock_and_capacity(lock: L) -> Result<Self>
    where
        L: ConditionLock<N, Queue = Queue<N>>,
    {
        let queue = Placed::new(condition::Condition::shared_with_capacity(), "a condition")?;
        Ok(Self { lock, queue: Queue(queue) })
    }

    /// Returns another handle of the same condition, for another owner. The handle has a mapping of its own, unless the
    /// condition is one of many that were made together.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` without descriptors, with `ENOMEM` without room for the mapping.
    pub fn try_clone(&self) -> Result<Self> {
        let (lock, queue) = self.lock.again(&self.queue)?;
        Ok(Self { lock, queue })
    }

    /// Releases the lock, waits for a notification and takes the lock again, with as many levels as before.
    ///
    /// # Errors
    /// [`NotOwner`](crate::ErrorKind::NotOwner) when this thread does not hold the lock. [`Os`](crate::ErrorKind::Os)
    /// with `EAGAIN` when `N` threads wait already, and with `ENOMEM` without memory for one more waiter. The thread
    /// still has the lock then. [`Unrecoverable`](crate::ErrorKind::Unrecoverable) when the lock was marked so
    /// meanwhile: the thread does not have the lock any more.
    /// [`Abandoned`](crate::ErrorKind::Abandoned), with the lock held, when a holder died and the data was not
    /// repaired.
    pub fn wait(&self) -> Result<()> {
        self.wait_timeout(Limit::NEVER).map(drop)
    }

    /// Does the same as [`wait`](Self::wait) within the limit; false when the limit has passed without a notification.
    /// Taking the lock again has no limit.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
        let (held, notified) = self.queue().wait_timeout(self.lock.by_name()?, limit).map_err(full::<N>())?;
        if held.is_abandoned() {
            return Err(abandoned());
        }
        Ok(notified)
    }

    /// Waits until `ready` returns true, and returns its last result. Calls `ready` with the lock held, for the first
    /// time before any wait.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait); when a holder died and its data was not repaired, `ready` is not called.
    pub fn wait_for<'c>(&self, mut ready: impl FnMut() -> bool, limit: impl Into<Limit<'c>>) -> Result<bool> {
        match self.queue().wait_for(self.lock.by_name()?, |_| ready(), limit).map_err(full::<N>())? {
            (_held, Wait::Ready) => Ok(true),
            (_held, Wait::TimedOut) => Ok(false),
            (_held, Wait::Abandoned) => Err(abandoned()),
        }
    }

    /// Wakes the `count` waiters that have waited longest, or all if there are fewer; returns how many it woke.
    ///
    /// # Errors
    /// [`NotOwner`](crate::ErrorKind::NotOwner) when this thread does not hold the lock.
    pub fn notify(&self, count: u32) -> Result<u32> {
        let _held = self.lock.by_name()?;
        Ok(self.queue().notify(count))
    }

    /// Wakes all present waiters; returns how many it woke.
    ///
    /// # Errors
    /// As for [`notify`](Self::notify).
    pub fn notify_all(&self) -> Result<u32> {
        self.notify(u32::MAX)
    }

    fn queue(&self) -> &condition::Condition<Shared, N> {
        self.lock.queue(&self.queue)
    }
}

fn full<const N: usize>() -> impl Fn(Refused) -> Error {
    let larger = ", or make a condition with more room, up to 65,536, as `Condition::<_, 65536>::with_capacity()`, or \
                  over a lock by `with_lock_and_capacity`";
    unless_full("this condition of processes", N, "waiters", larger, "")
}

/// Gives the methods of the lock that the condition was made [over](Condition::with_lock).
impl<L: ConditionLock<N>, const N: usize> Deref for Condition<L, N> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.lock
    }
}
