//! Locks without data, taken and released without a guard. They protect resources outside of memory, such as a file, or
//! are taken in one function and released in another.
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
//! The lock belongs to the thread that took it: no other thread can release it, and when that thread ends the lock is
//! free and [abandoned](super::lock::Guard::abandoned). For a lock that one thread takes and another releases, use a
//! [`HandoffLock`].
//!
//! A `Lock` of scope `Private` does not know its holder. As with Python's `threading.Lock`, any thread may release it:
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::{sync::bare::NotOwner, sync::lock::Lock};
//!
//! static TURN: Lock<()> = Lock::new(());
//! TURN.acquire();
//! assert!(!TURN.acquire_timeout(Duration::from_millis(1)), "its time ran out");
//! assert_eq!([TURN.release(), TURN.release()], [Ok(()), Err(NotOwner::Free)]);
//! ```
//!
//! A [`Condition`](super::condition::Condition) waits with such a hold by [`ByName`], for which no guard is needed:
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::{sync::condition::Condition, sync::rlock::RLock};
//!
//! static LOCK: RLock<()> = RLock::new(());
//! static CHANGED: Condition = Condition::new();
//! LOCK.acquire();
//! let (_, notified) = CHANGED.wait_timeout(LOCK.by_name()?, Duration::from_millis(1))?;
//! assert!(!notified && LOCK.depth() == 1, "the time ran out, and the lock is held again");
//! LOCK.release()?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! An [`RLock`] is released as often as it was taken:
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::sync::RLock;
//!
//! static FILE: RLock<()> = RLock::new(());
//! FILE.acquire();
//! assert!(FILE.try_acquire() && FILE.acquire_timeout(Duration::from_secs(1)), "the same thread: at once");
//! for _level in 0..3 {
//!     FILE.release()?;
//! }
//! assert!(!FILE.is_mine());
//! # Ok::<(), ossature_sys::sync::bare::NotOwner>(())
//! ```

use core::fmt;
use core::marker::PhantomData;

use crate::futex::Limit;
use crate::sync::condition::Held;
use crate::sync::handoff::HandoffLock;
use crate::sync::lock::Lock;
use crate::sync::rlock::RLock;
pub use crate::sync::scope::NotOwner;
use crate::sync::scope::{Owned, Private, RawLock, Refused, Scope};
use crate::thread_bound::StaysInItsThread;

/// The methods of `Lock` and `RLock`.
macro_rules! acquire {
    () => {
        /// Takes the lock, waiting without a timeout, until [`release`](Self::release).
        ///
        /// # Errors
        /// As for [`lock`](Self::lock).
        #[inline]
        pub fn acquire(&self) -> S::Outcome<()> {
            S::outcome(S::settle(self.lock()).map(core::mem::forget))
        }

        /// Takes the lock without waiting, and returns whether it succeeded.
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

/// The method that all locks without data have.
macro_rules! by_name {
    () => {
        /// The hold that [`acquire`](Self::acquire) took, for a wait with a
        /// [`Condition`](crate::sync::condition::Condition). Dropping it releases nothing.
        ///
        /// # Errors
        /// [`NotOwner`] if this thread does not hold the lock, as far as the lock knows its holder.
        #[inline]
        pub fn by_name(&self) -> Result<ByName<'_, Self>, NotOwner> {
            self.check_held()?;
            Ok(ByName { lock: self, stays: PhantomData })
        }
    };
}

impl<S: Scope> Lock<(), S> {
    acquire!();
}

impl<S: Scope> Lock<(), S>
where
    S::Lock: Owned,
{
    by_name!();

    /// Releases the lock that this thread holds, by [`acquire`](Self::acquire) or by a guard. A guard that is dropped
    /// later releases this thread's next hold of the lock, if there is one.
    ///
    /// # Errors
    /// [`NotOwner`] in any other thread; the error shows whether another thread holds the lock. In scope `Shared` also
    /// in a forked child of the holder.
    #[inline]
    pub fn release(&self) -> Result<(), NotOwner> {
        self.raw.check_holder()?;
        // SAFETY: this thread took the lock and has not released it since: that is what `is_mine` says. Guards of it
        // that live still lend nothing, for the data is `()`. When they are dropped the raw lock is released by a
        // thread that may not hold it any more, which no lock of this kind minds: one of scope `Shared` looks at its
        // owner first (and a robust mutex refuses), one of scope `Local` is a flag of this thread.
        unsafe { self.raw.release() };
        Ok(())
    }
}

impl Lock<()> {
    by_name!();

    /// Releases the lock, regardless of the thread that took it. A guard that is dropped later releases the next hold
    /// of the lock, if there is one.
    ///
    /// # Errors
    /// [`NotOwner::Free`] if no thread holds the lock.
    #[inline]
    pub fn release(&self) -> Result<(), NotOwner> {
        // SAFETY: no code relies on exclusive access: the data is `()`, which may always be lent.
        if unsafe { self.raw.release_if_held() } { Ok(()) } else { Err(NotOwner::Free) }
    }
}

impl<S: Scope> HandoffLock<S> {
    by_name!();
}

impl<S: Scope> RLock<(), S> {
    acquire!();
    by_name!();

    /// Releases one level that this thread holds, by [`acquire`](Self::acquire) or by a guard. A guard that is dropped
    /// later releases another level, if there is one.
    ///
    /// # Errors
    /// [`NotOwner`] in any other thread; the error shows whether another thread holds the lock. In scope `Shared` also
    /// in a forked child of the holder.
    #[inline]
    pub fn release(&self) -> Result<(), NotOwner> {
        self.raw.check_holder()?;
        self.leave();
        Ok(())
    }
}

/// The hold of a lock without data and without a guard, which a [`Condition`](super::condition::Condition) releases and
/// takes again. Dropping it releases nothing.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::sync::{Condition, HandoffLock, bare::{ByName, NotOwner}};
///
/// static TURN: HandoffLock = HandoffLock::new();
/// static CHANGED: Condition = Condition::new();
/// assert_eq!(TURN.by_name().unwrap_err(), NotOwner::Free);
/// TURN.acquire();
/// let hold: ByName<'_, HandoffLock> = TURN.by_name()?;
/// let (_hold, notified) = CHANGED.wait_timeout(hold, Duration::from_millis(1))?;
/// assert!(!notified && TURN.locked(), "the lock is held again");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[must_use = "only a wait does anything with the hold"]
pub struct ByName<'l, L: ?Sized> {
    lock: &'l L,
    /// A marker that keeps the hold in its thread.
    stays: PhantomData<StaysInItsThread>,
}

impl<L: ?Sized> fmt::Debug for ByName<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByName").finish_non_exhaustive()
    }
}

/// A lock without data: [`Lock<()>`](Lock), [`RLock<()>`](RLock) and [`HandoffLock`].
///
/// # Safety
/// As for [`Held`]; and no code relies on exclusive access while the lock is held.
///
/// # Examples
/// ```
/// use ossature_sys::sync::{Lock, RLock, bare::Named};
///
/// fn is_held<L: Named>(lock: &L) -> bool {
///     lock.check_held().is_ok()
/// }
/// let (lock, nested) = (Lock::new(()), RLock::new(()));
/// lock.acquire();
/// assert!(is_held(&lock) && !is_held(&nested));
/// ```
pub unsafe trait Named {
    /// The scope of the lock: which threads may wait for it.
    type Scope: Scope;

    /// Checks that the calling thread holds the lock, as far as the lock knows.
    ///
    /// # Errors
    /// [`NotOwner`].
    #[doc(hidden)]
    fn check_held(&self) -> Result<(), NotOwner>;

    #[doc(hidden)]
    fn is_abandoned(&self) -> bool;

    /// Releases the lock, all levels of it, and returns their number. Called after a check.
    #[doc(hidden)]
    fn let_go(&self) -> u32;

    /// Takes the lock again, with the same number of levels as before.
    ///
    /// # Errors
    /// The lock was marked as unrecoverable meanwhile.
    #[doc(hidden)]
    fn take_again(&self, levels: u32) -> Result<(), Refused>;
}

// SAFETY: letting go releases the lock, if this thread holds it, and taking again is an ordinary take; the data is
// `()`.
unsafe impl<S: Scope> Named for Lock<(), S>
where
    S::Lock: Owned,
{
    type Scope = S;

    fn check_held(&self) -> Result<(), NotOwner> {
        self.raw.check_holder()
    }

    fn is_abandoned(&self) -> bool {
        self.raw.abandoned()
    }

    fn let_go(&self) -> u32 {
        u32::from(self.release().is_ok())
    }

    fn take_again(&self, _levels: u32) -> Result<(), Refused> {
        self.raw.take(Limit::NEVER).map(drop)
    }
}

// SAFETY: as above; the lock does not know its holder.
unsafe impl Named for Lock<()> {
    type Scope = Private;

    fn check_held(&self) -> Result<(), NotOwner> {
        if self.is_locked() { Ok(()) } else { Err(NotOwner::Free) }
    }

    fn is_abandoned(&self) -> bool {
        false
    }

    fn let_go(&self) -> u32 {
        u32::from(self.release().is_ok())
    }

    fn take_again(&self, _levels: u32) -> Result<(), Refused> {
        RawLock::take(&self.raw, Limit::NEVER).map(drop)
    }
}

// SAFETY: as above, with every level; guards of other levels lend `()`.
unsafe impl<S: Scope> Named for RLock<(), S> {
    type Scope = S;

    fn check_held(&self) -> Result<(), NotOwner> {
        self.raw.check_holder()
    }

    fn is_abandoned(&self) -> bool {
        self.raw.abandoned()
    }

    fn let_go(&self) -> u32 {
        if !self.raw.is_mine() {
            return 0;
        }
        // SAFETY: this thread holds the lock, and no code relies on a hold around nothing.
        unsafe { Self::let_go(self) }
    }

    fn take_again(&self, levels: u32) -> Result<(), Refused> {
        Self::take_again(self, levels)
    }
}

// SAFETY: letting go releases the lock, and taking again is an ordinary take; there is no data.
unsafe impl<S: Scope> Named for HandoffLock<S> {
    type Scope = S;

    fn check_held(&self) -> Result<(), NotOwner> {
        if self.locked() { Ok(()) } else { Err(NotOwner::Free) }
    }

    fn is_abandoned(&self) -> bool {
        false
    }

    fn let_go(&self) -> u32 {
        u32::from(self.release().is_ok())
    }

    fn take_again(&self, _levels: u32) -> Result<(), Refused> {
        S::settle(self.acquire())
    }
}

// SAFETY: passes on what the lock promises by `Named`.
unsafe impl<L: ?Sized + Named> Held for ByName<'_, L> {
    type Scope = L::Scope;
    type Answer<A> = Result<A, Refused>;

    fn answer<A>(result: Result<A, Refused>) -> Result<A, Refused> {
        result
    }

    fn is_abandoned(&self) -> bool {
        self.lock.is_abandoned()
    }

    fn check(&self) -> Result<(), Refused> {
        Ok(self.lock.check_held()?)
    }

    unsafe fn let_go(&self) -> u32 {
        self.lock.let_go()
    }

    unsafe fn take_again(&self, levels: u32) -> Result<(), Refused> {
        self.lock.take_again(levels)
    }
}
