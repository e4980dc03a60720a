//! A counter of units that threads take and give back.
//!
//! ```
//! use ossature_sys::sync::semaphore::Semaphore;
//!
//! static SEATS: Semaphore = Semaphore::bounded(2);
//! let first = SEATS.permit();
//! SEATS.acquire(); // without an owner: anyone may give it back
//! assert!(!SEATS.try_acquire());
//! drop(first);
//! SEATS.release(1).unwrap();
//! assert_eq!(SEATS.value(), 2);
//! assert!(SEATS.release(1).is_err(), "beyond what it began with");
//! ```
//!
//! There are two ways to have a unit. A unit taken by [`acquire`](Semaphore::acquire) has no owner: any thread or
//! process may [`release`](Semaphore::release) it. A [`Permit`] belongs to its taker and gives the unit back on drop.
//!
//! The state word counts the free units and records whether a thread may be sleeping:
//!
//! | bits | meaning |
//! | --- | --- |
//! | `0..32` | units that any thread may take |
//! | `32` | a thread may be sleeping |
//! | `33` | a unit is being moved between the count and a slot (`Shared`) |
//! | from `34` | units in slots (`Shared`): 7 bits for 120 permits, 17 bits for 65,536 |
//! | the rest | how often a word with sleepers has changed; from bit 33 where there are no slots |
//!
//! | from | to | who |
//! | --- | --- | --- |
//! | count over 0 | one less | `acquire` |
//! | any | count more by `n` | `release(n)`, which then wakes `n` if a thread may be sleeping |
//! | count 0 | a thread may be sleeping | a waiter, before it sleeps |
//! | a thread may be sleeping | no sleepers | the release whose wake found no sleeper, if nothing happened since |
//!
//! Not fair: waiters are not served in order. A unit goes to the first taker, and a thread that is awake is faster than
//! one that sleeps.
//!
//! **When a thread is killed** (scope `Shared`):
//!
//! | the killed thread | what happens to the unit |
//! | --- | --- |
//! | has a [`Permit`] | the unit is free again at once; the next table says when a waiter sees that |
//! | has acquired the unit | the unit is lost, as with Python, because it has no owner |
//! | is releasing units | all are released, and a sleeper is woken for each; or none is released |
//! | is waiting, chosen by a wake or not | another waiter is woken in its place, at the latest after the time in the next table |
//!
//! The kernel gives a dead holder's permit back. In scope `Shared` its unit is in a slot of the semaphore. The word
//! of the slot is linked into the holder's robust list as a lock is. There can be `N` permits of one semaphore at a
//! time, and any number of units without an owner. A unit moves to a slot when a permit is wanted and no slot has a
//! free one. Until a bare unit is wanted and the count is 0, the unit stays there. Where the locks have the [pthread
//! form](crate::scope::LockBackend::Pthread) a permit's unit is like any other, and is lost with its holder.
//!
//! | slots in use, at most `N` | a death is seen by a waiter that sleeps |
//! | --- | --- |
//! | up to 120 | at once |
//! | `m`, over 120, of which a sleeper watches that slot | at once |
//! | `m`, over 120, one sleeper, which does not watch that slot | within `10 ms * ceil(m / 1000)` |
//! | the same, beside other sleepers or soon after the last other one has left | within `80 ms * ceil(m / 1000)` |
//!
//! A sleeper watches up to 120 slots, and looks at all after the time in the table. Sleepers that come one after the
//! other watch different slots. Where many sleep, each of them watches fewer, so that together they watch each slot
//! about twice. A call that does not sleep, and one that comes after the death, sees the unit at once. A permit that
//! its living holder gives back wakes a waiter at once, however many slots there are. As many slots are in use as there
//! were permits at a time, and about one in 128 more where permits come and go.
//!
//! **Limits.** In `Shared` `N` permits may exist at a time, by default 120, each with one entry of its thread's list.
//! `N` is part of the type and 65,536 at most. A semaphore for 120 takes 6 kB, and one for 8 takes 480 bytes. In
//! `Private` there is no limit.
//!
//! **When a participant is stopped** (by a debugger, `SIGSTOP` or a frozen control group), it may be moving a unit
//! between the count and a slot. A call with a limit still ends in time. A call with [`Limit::NOW`] waits some
//! microseconds for the move, and longer beside many slots: some milliseconds at 65,536. Then it reports that there is
//! no unit. These calls wait until the stopped participant goes on: [`acquire`](Semaphore::acquire) and
//! [`permit`](Semaphore::permit) without a limit if a unit must be moved for them, and [`Permit::forget`]. Giving back
//! never waits.
//!
//! A waiter that is stopped may be the one that a wake chooses, or that the kernel tells of a death. The unit is free
//! then, and any other call takes it. Waiters that already sleep see it when their limit is over, or when the next wake
//! chooses one of them. Those beside more than 120 slots see it after the time in the table above.
//!
//! **Cost.** Taking what is there and giving back are one atomic instruction each in every scope, permits included, and
//! no system call unless a thread sleeps. Moving a unit costs a lock and some more, and a look at 128 slots at most. A
//! waiter that sleeps, or whose limit is over, has looked at all slots. So has a call of [`value`](Semaphore::value).
//!
//! Orderings: releases are `Release` and takes are `Acquire`, so what was written before a release is seen after the
//! take that gets its unit.

use core::fmt;
use core::mem::offset_of;

use crate::atomic::const_unless_loom;
use crate::futex::Limit;
use crate::shm::{Fingerprint, Init, InitWith, Nodes, Shareable};
use crate::sync::gate::{LocalGate, PrivateGate, SharedGate};
use crate::sync::permits::{NoTable, Permits, SLOTS, Slot, Slots};
use crate::sync::scope::{Local, Private, Refused, Scope, Shared};
use crate::sync::shared::SharedLock;
pub use crate::sync::units::Overflow;
use crate::sync::units::{Units, count};

/// A counter of units that threads take and give back.
///
/// Differs from Python's `threading.Semaphore` and `BoundedSemaphore`: one type for both, which differ in what
/// [`release`](Self::release) refuses, and a unit can be held as a [`Permit`]. The value is at most `u32::MAX`. In
/// scope `Shared` there are at most `N` permits at a time, by default 120.
///
/// In scope `Shared` a participant that is stopped, not dead, may delay three calls without a limit:
/// [`acquire`](Self::acquire), [`permit`](Self::permit) and [`Permit::forget`]. A participant that is stopped in
/// [`release`](Self::release) may have added units without waking the sleepers. A call with a limit ends in time.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{shm::Shm, sync::{Local, Semaphore, semaphore::Overflow}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let seats = Semaphore::bounded(2);
/// seats.acquire();
/// assert!(seats.try_acquire() && seats.is_locked());
/// assert!(!seats.acquire_timeout(Duration::from_millis(1)));
/// seats.release(2)?;
/// assert_eq!((seats.value(), seats.release(1)), (2, Err(Overflow)));
///
/// let permit = seats.permit(); // comes back when it is dropped
/// let other = seats.try_permit().expect("one is left");
/// assert!(seats.permit_timeout(Duration::from_millis(1)).is_none());
/// drop((permit, other));
///
/// let here = Semaphore::<Local>::local(1);
/// assert!(here.try_acquire()? && Semaphore::<Local>::local_bounded(1).release(1).is_err());
/// let shared = Shm::place(Semaphore::shared_up_to(0, 4))?; // begins empty
/// assert!(shared.try_permit()?.is_none() && shared.release(5).is_err());
/// assert_eq!(Shm::place(Semaphore::shared_bounded(3))?.value(), 3);
/// # Ok(()) }
/// ```
#[doc(alias = "sem_t")]
#[doc(alias = "BoundedSemaphore")]
#[repr(C)]
pub struct Semaphore<S: Scope = Private, const N: usize = 120> {
    units: Units<S, N>,
    permits: S::Permits<N>,
}

impl Semaphore {
    const_unless_loom! {
        /// A semaphore for threads with `value` units; usable in a `static`.
        pub const fn new(value: u32) -> Self {
            Self { units: Units::new(value, u32::MAX, PrivateGate), permits: NoTable }
        }
    }

    const_unless_loom! {
        /// Like [`new`](Self::new), but never with more than `value` units.
        pub const fn bounded(value: u32) -> Self {
            Self { units: Units::new(value, value, PrivateGate), permits: NoTable }
        }
    }
}

impl Semaphore<Local> {
    const_unless_loom! {
        /// A semaphore for a single thread with `value` units.
        pub const fn local(value: u32) -> Self {
            Self { units: Units::new(value, u32::MAX, LocalGate), permits: NoTable }
        }
    }

    const_unless_loom! {
        /// Like [`local`](Self::local), but never with more than `value` units.
        pub const fn local_bounded(value: u32) -> Self {
            Self { units: Units::new(value, value, LocalGate), permits: NoTable }
        }
    }
}

impl Semaphore<Shared> {
    /// Returns an initialiser with which [`Shm::place`](crate::shm::Shm::place) makes a shared semaphore with `value`
    /// units, and room for 120 permits.
    ///
    /// [`shared_with_capacity`](Self::shared_with_capacity) allows more.
    pub fn shared(value: u32) -> impl Init<Self> {
        Self::shared_with_capacity(value, u32::MAX)
    }

    /// Like [`shared`](Self::shared), but never with more than `value` units.
    pub fn shared_bounded(value: u32) -> impl Init<Self> {
        Self::shared_with_capacity(value, value)
    }

    /// Like [`shared`](Self::shared), but never with more than `most` units. It begins with `most` if `value` is
    /// greater.
    pub fn shared_up_to(value: u32, most: u32) -> impl Init<Self> {
        Self::shared_with_capacity(value, most)
    }
}

impl<const N: usize> Semaphore<Shared, N> {
    /// Returns an initialiser of a shared semaphore with `value` units, never more than `most`, and room for `N`
    /// permits at a time. It begins with `most` units if `value` is greater. `N` is 65,536 at most.
    ///
    /// Each permit takes 48 bytes on 64-bit targets. A semaphore for more than 120 that is placed by itself begins with
    /// one page, and gets more when more permits are taken. In a struct or an arena, a semaphore has all its pages from
    /// the beginning.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{scope::Shared, shareable, shm::Shm, sync::{Lock, Semaphore}};
    ///
    /// let many = Shm::place(Semaphore::<Shared, 1000>::shared_with_capacity(300, u32::MAX))?;
    /// let permits: Vec<_> = (0..300).map(|_| many.permit().unwrap()).collect();
    /// assert_eq!((permits.len(), many.value()), (300, 0));
    ///
    /// shareable! {
    ///     struct Items { count: Lock<u32, Shared>, room: Semaphore<Shared, 6> }
    /// }
    /// let items = Shm::place(Items::init(Lock::shared(0), Semaphore::shared_with_capacity(6, 6)))?;
    /// assert!(items.room.release(1).is_err(), "there were never more than 6");
    /// assert!(size_of::<Items>() <= 512);
    /// # drop(permits);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    ///
    /// ```compile_fail
    /// use ossature_sys::{scope::Shared, sync::Semaphore};
    ///
    /// let _ = Semaphore::<Shared, 65_537>::shared_with_capacity(1, 1);
    /// ```
    pub fn shared_with_capacity(value: u32, most: u32) -> impl Init<Self> {
        const { assert!(N != 0 && N <= 1 << 16, "a shared semaphore has room for 1 to 65,536 permits") };
        let write = move |place: *mut Self| {
            // SAFETY: `place` is valid for writes of a whole semaphore (the caller's obligation), so its field is in
            // bounds.
            let units = unsafe { &raw mut (*place).units };
            // SAFETY: as above.
            unsafe { units.write(Units::new(value.min(most), most, SharedGate::default())) };
            // SAFETY: as for `units`.
            let permits = unsafe { &raw mut (*place).permits };
            // SAFETY: the field lies in the shared mapping that the caller vouches for, and its bytes are zero.
            unsafe { Slots::init(permits) }
        };
        // SAFETY: both fields are made. The slots are zero bytes, as `Init` promises, and none is in use.
        unsafe { InitWith::new(write) }
    }
}

// SAFETY: no pointer that anyone but a slot's holder follows, no Drop, repr(C); every state that a killed process
// leaves is one of the tables'.
unsafe impl<const N: usize> Shareable for Semaphore<Shared, N> {
    const FINGERPRINT: Fingerprint = Fingerprint::primitive_for("Semaphore", N);
    const LOCKS: bool = true;
    const BACKED: usize =
        if N > SLOTS { offset_of!(Self, permits) + Slots::<SharedLock, Slot, N>::HEAD } else { usize::MAX };

    unsafe fn nodes(place: *const Self, visit: &mut Nodes) {
        // SAFETY: `place` points to a semaphore in a mapping (the caller's obligation).
        let permits = unsafe { &raw const (*place).permits };
        // SAFETY: the field of a valid semaphore is a valid table, and its atomics may be read beside writers.
        visit.note(unsafe { &*permits }.is_linked_here());
    }
}

impl<S: Scope, const N: usize> Semaphore<S, N> {
    /// Takes a unit, and waits without a limit.
    ///
    /// # Errors
    /// In `Local`: [`WouldDeadlock`](Refused::WouldDeadlock) when there is none. In `Shared`, and only when a unit must
    /// be taken from where permits left it: [`TooMany`](Refused::TooMany), [`Unlisted`](Refused::Unlisted).
    #[doc(alias = "sem_wait")]
    #[inline]
    pub fn acquire(&self) -> S::Outcome<()> {
        S::outcome(self.units.take_within(&self.permits, Limit::NEVER).map(|_| ()))
    }

    /// Takes a unit if there is one. Returns whether there was.
    ///
    /// # Errors
    /// As for [`acquire_timeout`](Self::acquire_timeout).
    #[doc(alias = "sem_trywait")]
    #[inline]
    pub fn try_acquire(&self) -> S::Outcome<bool> {
        self.acquire_timeout(Limit::NOW)
    }

    /// Takes a unit, and waits within the limit. Returns false if the time ran out or the wait was
    /// [cancelled](crate::futex::Cancel).
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire), but never `WouldDeadlock`: in `Local` a wait with a limit answers at once.
    #[doc(alias = "sem_timedwait")]
    #[inline]
    pub fn acquire_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<bool> {
        S::outcome(self.units.take_within(&self.permits, limit.into()))
    }

    /// Gives `units` back, all or none, and wakes as many waiters. Any thread of any process may have taken them.
    ///
    /// # Errors
    /// [`Overflow`] when that would exceed what a bounded semaphore began with, or `u32::MAX`.
    #[doc(alias = "sem_post")]
    #[inline]
    pub fn release(&self, units: u32) -> Result<(), Overflow> {
        self.units.give(units)
    }

    /// The number of units that were free a moment ago.
    #[doc(alias = "get_value")]
    #[doc(alias = "sem_getvalue")]
    pub fn value(&self) -> u32 {
        count(self.units.state()).saturating_add(Permits::<S, N>::free(&self.permits))
    }

    /// Whether no unit was free a moment ago.
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.value() == 0
    }

    /// Takes a unit, and waits without a limit. Dropping the permit gives the unit back.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire), and in `Shared`: [`TableFull`](Refused::TableFull) when `N` permits exist
    /// already and another unit is free, [`NoMemory`](Refused::NoMemory), [`TooMany`](Refused::TooMany),
    /// [`Unlisted`](Refused::Unlisted).
    #[inline]
    pub fn permit(&self) -> S::Outcome<Permit<'_, S, N>> {
        S::outcome(loop {
            // Without a limit there is no other answer.
            if let Some(permit) = self.take_permit(Limit::NEVER).transpose() {
                break permit;
            }
        })
    }

    /// Like [`permit`](Self::permit), but without waiting. Returns `None` if there is no free unit.
    ///
    /// # Errors
    /// As for [`permit`](Self::permit), but never [`WouldDeadlock`](Refused::WouldDeadlock).
    #[inline]
    pub fn try_permit(&self) -> S::Outcome<Option<Permit<'_, S, N>>> {
        self.permit_timeout(Limit::NOW)
    }

    /// Like [`permit`](Self::permit), but within the limit. Returns `None` if the time ran out or the wait was
    /// [cancelled](crate::futex::Cancel).
    ///
    /// # Errors
    /// As for [`try_permit`](Self::try_permit).
    #[inline]
    pub fn permit_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<Option<Permit<'_, S, N>>> {
        S::outcome(self.take_permit(limit.into()))
    }

    #[inline]
    fn take_permit(&self, limit: Limit<'_>) -> Result<Option<Permit<'_, S, N>>, Refused> {
        let ticket = self.permits.take(&self.units, limit)?;
        Ok(ticket.map(|ticket| Permit { semaphore: self, ticket }))
    }
}

impl<S: Scope, const N: usize> fmt::Debug for Semaphore<S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("value", &self.value()).finish_non_exhaustive()
    }
}

/// A unit of a [`Semaphore`]. Dropping it gives the unit back, and in scope `Shared` so does the death of its thread.
///
/// In `Private` it may be dropped by another thread. In `Shared` it belongs to the thread that took it, as a lock's
/// guard does:
///
/// ```compile_fail
/// use ossature_sys::{shm::Shm, sync::semaphore::Semaphore};
/// let semaphore = Shm::place(Semaphore::shared(1)).unwrap();
/// let permit = semaphore.permit().unwrap();
/// std::thread::scope(|scope| scope.spawn(move || drop(permit)).join().unwrap());
/// ```
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::sync::Semaphore;
///
/// let seats = Semaphore::new(2);
/// seats.permit().forget(); // this unit comes back by a release only
/// assert!(seats.permit().forget_timeout(Duration::from_secs(1)).is_ok());
/// assert_eq!(seats.value(), 0);
/// seats.release(2).unwrap();
/// ```
#[must_use = "the unit is given back at once unless the permit is kept"]
pub struct Permit<'s, S: Scope = Private, const N: usize = 120> {
    semaphore: &'s Semaphore<S, N>,
    ticket: <S::Permits<N> as Permits<S, N>>::Ticket,
}

impl<S: Scope, const N: usize> Permit<'_, S, N> {
    /// Keeps the unit without an owner, as [`acquire`](Semaphore::acquire) does: only a [`release`](Semaphore::release)
    /// gives it back.
    ///
    /// In `Shared` this call waits while another thread moves a unit of the semaphore. A thread that holds 1,900 shared
    /// locks beside the permit cannot move the unit, and keeps the unit until the thread ends.
    pub fn forget(self) {
        core::mem::forget(self.forget_timeout(Limit::NEVER));
    }

    /// Like [`forget`](Self::forget), within the limit.
    ///
    /// # Errors
    /// In `Shared` the permit itself, which still owns its unit: another thread was moving a unit for that long, or
    /// this thread holds 1,900 other shared locks.
    pub fn forget_timeout<'c>(self, limit: impl Into<Limit<'c>>) -> Result<(), Self> {
        if !self.semaphore.permits.disown(&self.semaphore.units, &self.ticket, limit.into()) {
            return Err(self);
        }
        core::mem::forget(self);
        Ok(())
    }
}

impl<S: Scope, const N: usize> Drop for Permit<'_, S, N> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.permits.give(&self.semaphore.units, &self.ticket);
    }
}

impl<S: Scope, const N: usize> fmt::Debug for Permit<'_, S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
