//! Locks around nothing, taken and released without a guard: for what lies outside of memory, a file for one, and where the
//! release stands in another function than the take.
//!
//! ```
//! use ossature_sys::{shm::Shm, sync::bare::NotOwner, sync::lock::Lock};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let turn = Shm::place(Lock::shared(()))?;
//! turn.acquire()?;
//! assert!(turn.is_mine());
//! turn.release()?;
//! assert_eq!(turn.release(), Err(NotOwner::Free), "released already");
//! # Ok(()) }
//! ```
//!
//! The lock belongs to the thread that took it: nobody else can release it, and when that thread ends the lock is free and
//! [abandoned](super::lock::Guard::abandoned). What one takes and another releases is a
//! [`HandoffLock`](super::handoff::HandoffLock).
//!
//! A `Lock` of scope `Private` does not know its holder, so it is released by its guard only; use an
//! [`RLock`] or a `HandoffLock` there.

use crate::futex::Limit;
pub use crate::scope::NotOwner;
use crate::scope::{Owned, RawLock, Scope};
use crate::sync::lock::Lock;
use crate::sync::rlock::RLock;

/// What both have.
macro_rules! acquire {
    () => {
        /// Takes the lock, waiting for as long as it takes, until [`release`](Self::release).
        ///
        /// # Errors
        /// As for [`lock`](Self::lock).
        #[inline]
        pub fn acquire(&self) -> S::Outcome<()> {
            S::outcome(S::settle(self.lock()).map(core::mem::forget))
        }

        /// Takes the lock without waiting, and says whether it succeeded.
        ///
        /// # Errors
        /// As for [`try_lock`](Self::try_lock).
        #[inline]
        pub fn try_acquire(&self) -> S::Outcome<bool> {
            self.acquire_timeout(Limit::NOW)
        }

        /// Takes the lock, waiting within the limit; false when the time ran out or the wait was
        /// [cancelled](crate::futex::Cancel).
        ///
        /// # Errors
        /// As for [`lock_timeout`](Self::lock_timeout).
        #[inline]
        pub fn acquire_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<bool> {
            S::outcome(S::settle(self.lock_timeout(limit)).map(|guard| guard.map(core::mem::forget).is_some()))
        }
    };
}

impl<S: Scope> Lock<(), S>
where
    S::Lock: Owned,
{
    acquire!();

    /// Whether the calling thread holds the lock.
    #[inline]
    pub fn is_mine(&self) -> bool {
        self.raw.is_mine()
    }

    /// Releases the lock that this thread holds, by [`acquire`](Self::acquire) or by a guard. A guard that is dropped
    /// later releases this thread's next hold of the lock, if there is one.
    ///
    /// # Errors
    /// [`NotOwner`] in any other thread; the error says whether another thread holds the lock. In scope `Shared` also
    /// in a forked child of the holder.
    #[inline]
    pub fn release(&self) -> Result<(), NotOwner> {
        self.raw.check_holder()?;
        // SAFETY: this thread took the lock and has not released it since: that is what `is_mine` says. Guards of it that live
        // still lend nothing, for the data is `()`. When they are dropped the raw lock is released by a thread that may not
        // hold it any more, which no lock of this kind minds: one of scope `Shared` looks at its owner first (and a robust
        // mutex refuses), one of scope `Local` is a flag of this thread.
        unsafe { self.raw.release() };
        Ok(())
    }
}

impl<S: Scope> RLock<(), S> {
    acquire!();

    /// Releases one level that this thread holds, by [`acquire`](Self::acquire) or by a guard. A guard that is dropped
    /// later releases another level, if there is one.
    ///
    /// # Errors
    /// [`NotOwner`] in any other thread; the error says whether another thread holds the lock. In scope `Shared` also
    /// in a forked child of the holder.
    #[inline]
    pub fn release(&self) -> Result<(), NotOwner> {
        self.raw.check_holder()?;
        self.leave();
        Ok(())
    }
}
