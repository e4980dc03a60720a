//! The hold of a shared lock without its guard, for a struct that also owns the lock.
//!
//! ```
//! use ossature_sys::{scope::Shared, shm::Shm, sync::hold::Hold, sync::lock::Lock};
//!
//! struct Session {
//!     total: Shm<Lock<u32, Shared>>,
//!     hold: Option<Hold>, // no borrow of `total`
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut session = Session { total: Shm::place(Lock::shared(5))?, hold: None };
//! session.hold = Some(session.total.lock()?.into_hold());
//! if let Some(hold) = &mut session.hold {
//!     *session.total.held_mut(hold)? += 1;
//! }
//! let guard = session.hold.take().map(|hold| session.total.resume(hold)).unwrap().unwrap();
//! assert_eq!(*guard, 6); // dropping the guard releases the lock
//! # Ok(()) }
//! ```
//!
//! A hold may move to another thread, where it can only be kept: the lock belongs to the thread that took it. A hold
//! that is dropped leaves the lock held until that thread ends, as a leaked guard does.

use core::mem;

use crate::process::generation;
use crate::sync::lock::{Guard, Lock};
use crate::sync::scope::{NotOwner, RawLock, Shared};
use crate::sync::thread_number;

/// The hold of one shared lock by one thread.
///
/// It can be used with the lock at the same address only: not with another mapping of the same memory.
///
/// # Examples
/// ```
/// use ossature_sys::{scope::NotOwner, shm::Shm, sync::{Lock, hold::Hold}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (one, two) = (Shm::place(Lock::shared(5_u32))?, Shm::place(Lock::shared(6_u32))?);
/// let hold: Hold = one.lock()?.into_hold();
/// assert_eq!((one.held(&hold), two.held(&hold)), (Ok(&5), Err(NotOwner::Free)));
/// assert!(one.is_mine() && !one.is_abandoned(&hold)?);
/// assert!(one.resume(hold).is_ok()); // the guard is dropped
/// assert!(!one.is_locked());
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a hold that is dropped leaves the lock held"]
pub struct Hold {
    /// The address of the lock. A lock that a living thread holds stays mapped, so no other lock gets that address.
    lock: usize,
    /// The number of the thread that took the lock. Thread numbers are never reused.
    thread: u64,
    /// The process of the hold: a forked child has a copy of the thread's number.
    forks: u32,
}

impl<T: ?Sized> Guard<'_, T, Shared> {
    /// Ends the borrow and leaves the lock held: [`resume`](Lock::resume) turns the hold into a guard again.
    pub fn into_hold(self) -> Hold {
        let hold = self.lock.hold_now();
        mem::forget(self);
        hold
    }
}

impl<T: ?Sized> Lock<T, Shared> {
    fn hold_now(&self) -> Hold {
        Hold { lock: (&raw const self.raw).addr(), thread: thread_number::mine(), forks: generation() }
    }

    fn check_hold(&self, hold: &Hold) -> Result<(), NotOwner> {
        let mine = hold.lock == (&raw const self.raw).addr()
            && hold.thread == thread_number::known()
            && hold.forks == generation();
        if mine {
            return Ok(());
        }
        Err(match (self.is_mine(), self.is_locked()) {
            (true, _) => NotOwner::HeldByGuard,
            (false, true) => NotOwner::HeldByAnother,
            (false, false) => NotOwner::Free,
        })
    }

    /// Turns a hold into a guard again.
    ///
    /// # Errors
    /// The hold comes back if it is of another lock, another mapping or another thread.
    pub fn resume(&self, hold: Hold) -> Result<Guard<'_, T, Shared>, Hold> {
        // The thread took the lock at this address, and the hold is the only right to it: it is consumed.
        if self.check_hold(&hold).is_ok() { Ok(self.guard()) } else { Err(hold) }
    }

    /// Whether a holder died and nobody has repaired the data since. Only the owner of a hold can call this.
    ///
    /// # Errors
    /// As for [`held`](Self::held).
    ///
    /// # Examples
    /// See the example of [`Hold`].
    pub fn is_abandoned(&self, hold: &Hold) -> Result<bool, NotOwner> {
        self.check_hold(hold)?;
        Ok(self.raw.abandoned())
    }

    /// Lends the data to the owner of the hold.
    ///
    /// # Errors
    /// [`NotOwner`] if the hold is of another lock, another mapping or another thread.
    pub fn held<'h>(&'h self, hold: &'h Hold) -> Result<&'h T, NotOwner> {
        self.check_hold(hold)?;
        // SAFETY: this thread holds the lock, and only the owner of the hold may use its data. The hold is borrowed for
        // the same time, so it makes no guard and no `&mut` meanwhile.
        Ok(unsafe { &*self.data.get() })
    }

    /// Lends the data mutably to the owner of the hold.
    ///
    /// # Errors
    /// As for [`held`](Self::held).
    pub fn held_mut<'h>(&'h self, hold: &'h mut Hold) -> Result<&'h mut T, NotOwner> {
        self.check_hold(hold)?;
        // SAFETY: as for `held`, and the hold is borrowed mutably.
        Ok(unsafe { &mut *self.data.get() })
    }
}
