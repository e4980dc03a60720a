//! A lock that any thread may release, like Python's.
//!
//! ```
//! use ossature_sys::sync::handoff::HandoffLock;
//!
//! static TURN: HandoffLock = HandoffLock::new();
//! TURN.acquire();
//! # extern crate std;
//! std::thread::spawn(|| TURN.release()).join().unwrap().unwrap(); // by another thread than the one that took it
//! assert!(!TURN.locked());
//! assert!(TURN.release().is_err(), "it is free");
//! ```
//!
//! It guards no data and knows no owner: [`Lock`](super::lock::Lock) does both, and guards data between threads and
//! processes. This lock is for turns that one party takes and another gives back.
//!
//! The state is that of a [`Semaphore`](super::semaphore) of one unit that never has two.
//!
//! **When a holder is killed** (scope `Shared`) the lock stays taken, because any thread may release it. When a thread
//! is killed while it releases or waits, another waiter is woken in its place.
//!
//! **Cost.** As for a semaphore: one atomic instruction each way.

use core::fmt;

use crate::atomic::const_unless_loom;
use crate::futex::Limit;
use crate::shm::{Fingerprint, Init, InitWith, Shareable};
use crate::sync::gate::{LocalGate, PrivateGate, SharedGate};
use crate::sync::permits::NoTable;
use crate::sync::scope::{Local, Private, Refused, Scope, Shared};
use crate::sync::units::{Units, count};

/// A lock without an owner.
///
/// A thread that is stopped in [`release`](Self::release), not dead, may have freed the lock without waking the
/// sleeper. The sleeper sleeps until that thread continues, or until its limit.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{shm::Shm, sync::{HandoffLock, Local, handoff::NotLocked}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let turn = HandoffLock::new();
/// turn.acquire();
/// assert!(turn.locked() && !turn.try_acquire());
/// assert!(!turn.acquire_timeout(Duration::from_millis(1)));
/// turn.release()?;
/// assert_eq!(turn.release(), Err(NotLocked));
/// assert_eq!(turn.with(|| 6 * 7), 42);
///
/// let here = HandoffLock::<Local>::local();
/// assert!(here.try_acquire()? && here.acquire().is_err());
/// let shared = Shm::place(HandoffLock::shared())?;
/// assert!(shared.acquire_timeout(Duration::from_secs(1))?);
/// # Ok(()) }
/// ```
#[doc(alias = "allocate_lock")]
#[repr(C)]
pub struct HandoffLock<S: Scope = Private> {
    units: Units<S>,
}

/// The error of releasing a lock that is not held.
///
/// # Examples
/// See the example of [`HandoffLock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLocked;

impl fmt::Display for NotLocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is not locked, so it cannot be released: acquire it first")
    }
}

impl core::error::Error for NotLocked {}

impl HandoffLock {
    const_unless_loom! {
        /// A free lock for threads, usable in a `static`.
        pub const fn new() -> Self {
            Self { units: Units::new(1, 1, PrivateGate) }
        }
    }
}

impl Default for HandoffLock {
    fn default() -> Self {
        Self::new()
    }
}

impl HandoffLock<Local> {
    const_unless_loom! {
        /// A free lock for a single thread.
        pub const fn local() -> Self {
            Self { units: Units::new(1, 1, LocalGate) }
        }
    }
}

impl HandoffLock<Shared> {
    /// Returns an initialiser with which [`Shm::place`](crate::shm::Shm::place) makes a free shared lock.
    pub fn shared() -> impl Init<Self> {
        let write = |place: *mut Self| {
            // SAFETY: `place` is valid for writes of a whole lock (the caller's obligation).
            unsafe { place.write(Self { units: Units::new(1, 1, SharedGate::default()) }) };
            Ok(())
        };
        // SAFETY: the whole value is written.
        unsafe { InitWith::new(write) }
    }
}

// SAFETY: atomics only, no Drop, repr(C); every state that a killed process leaves is one of the table of `units`.
unsafe impl Shareable for HandoffLock<Shared> {
    const FINGERPRINT: Fingerprint = Fingerprint::primitive("HandoffLock");
    const LOCKS: bool = true;
}

impl<S: Scope> HandoffLock<S> {
    /// Takes the lock, and waits without a limit.
    ///
    /// # Errors
    /// In `Local`: [`WouldDeadlock`](Refused::WouldDeadlock) when it is taken. In `Shared` none.
    #[inline]
    pub fn acquire(&self) -> S::Outcome<()> {
        S::outcome(self.take(Limit::NEVER).map(|_| ()))
    }

    /// Takes the lock if it is free. Returns whether it was.
    ///
    /// # Errors
    /// None.
    #[inline]
    pub fn try_acquire(&self) -> S::Outcome<bool> {
        S::outcome(self.take(Limit::NOW))
    }

    /// Takes the lock, and waits within the limit. Returns false if the time ran out or the wait was
    /// [cancelled](crate::futex::Cancel).
    ///
    /// # Errors
    /// None: in `Local` a wait with a limit returns at once.
    #[inline]
    pub fn acquire_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<bool> {
        S::outcome(self.take(limit.into()))
    }

    /// Frees the lock, whichever thread took it, and wakes one waiter.
    ///
    /// # Errors
    /// [`NotLocked`] when it is free.
    #[inline]
    pub fn release(&self) -> Result<(), NotLocked> {
        self.units.give(1).map_err(|_| NotLocked)
    }

    /// Whether the lock is taken; the answer may be outdated.
    #[doc(alias = "is_locked")]
    pub fn locked(&self) -> bool {
        count(self.units.state()) == 0
    }

    /// Runs `body` with the lock taken. Releases it afterwards, also on unwinding, unless `body` has released it.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire); `body` has not run then.
    pub fn with<R>(&self, body: impl FnOnce() -> R) -> S::Outcome<R> {
        S::outcome(self.take(Limit::NEVER).map(|_| {
            let _releases = Releases(self);
            body()
        }))
    }

    #[inline]
    fn take(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        self.units.take_within(&NoTable, limit)
    }
}

/// A guard that releases the lock when dropped.
struct Releases<'l, S: Scope>(&'l HandoffLock<S>);

impl<S: Scope> Drop for Releases<'_, S> {
    fn drop(&mut self) {
        let _ = self.0.release();
    }
}

impl<S: Scope> fmt::Debug for HandoffLock<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoffLock").field("locked", &self.locked()).finish_non_exhaustive()
    }
}
