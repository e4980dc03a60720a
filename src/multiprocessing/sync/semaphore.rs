//! A number of units that processes take and give back.

use std::ops::Deref;

use ossature_sys::futex::Limit;
use ossature_sys::scope::{Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::semaphore;
use serde::{Deserialize, Serialize};

use super::methods::{owner, unless_full};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::{Arena, Placed};

/// The largest value of a semaphore, as in POSIX.
pub const SEM_VALUE_MAX: u32 = i32::MAX as u32;

/// One unit of a [`Semaphore`]; dropping it gives the unit back.
///
/// # Examples
/// See the example of [`Semaphore`].
pub type Permit<'s, const N: usize = 120> = semaphore::Permit<'s, Shared, N>;

/// A number of units that many processes take and give back: Python's `multiprocessing.Semaphore`.
///
/// At most `N` permits may exist at a time, by default 120, and any number of units without an owner.
///
/// A process that is stopped, not dead, may delay three calls without a limit: [`acquire`](Self::acquire),
/// [`permit`](Self::permit) and [`Permit::forget`](semaphore::Permit::forget). A call with a limit ends in time, and a
/// `try_` call never sleeps.
///
/// ```
/// use ossature::multiprocessing::Semaphore;
///
/// let seats = Semaphore::new(2)?;
/// seats.acquire()?; // without an owner: any process may release it
/// let seat = seats.permit()?; // given back when it is dropped
/// assert!(seats.locked() && !seats.try_acquire()?);
/// drop(seat);
/// seats.release()?;
/// assert_eq!(seats.get_value(), 2);
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// With limits, and several units at a time:
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::{Semaphore, sync::Permit};
///
/// let limit = Duration::from_millis(1);
/// let seats = Semaphore::new(2)?;
/// let seat: Option<Permit<'_>> = seats.permit_timeout(limit)?;
/// assert!(seat.is_some() && seats.acquire_timeout(limit)?);
/// assert!(seats.try_permit()?.is_none(), "both are taken");
/// drop(seat);
/// seats.release_many(3)?;
///
/// let same = seats.try_clone()?; // another handle of the same semaphore
/// assert_eq!((same.get_value(), same.as_raw().value()), (4, 4));
/// assert_eq!(same.with(|| seats.get_value())?, 3);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
pub struct Semaphore<const N: usize = 120>(Placed<semaphore::Semaphore<Shared, N>>);

impl Semaphore {
    /// Makes a semaphore with `value` units in shared memory.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for more than [`SEM_VALUE_MAX`]; otherwise as for
    /// [`Lock::new`](crate::multiprocessing::Lock::new).
    pub fn new(value: u32) -> Result<Self> {
        checked(value)?;
        Placed::new(semaphore::Semaphore::shared_up_to(value, SEM_VALUE_MAX), "a semaphore").map(Self)
    }

    /// Makes `count` semaphores of `value` units each, which share one mapping and one descriptor. Each can be sent
    /// alone. The memory exists as long as any process has one of them.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Semaphore;
    ///
    /// let seats = Semaphore::many(100, 2)?; // one descriptor
    /// seats[3].acquire()?;
    /// assert_eq!((seats[3].get_value(), seats[4].get_value()), (1, 2));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn many(count: usize, value: u32) -> Result<Vec<Self>> {
        checked(value)?;
        let init = |_| semaphore::Semaphore::shared_up_to(value, SEM_VALUE_MAX);
        Ok(Placed::many(count, init, "a block of semaphores")?.map(Self).collect())
    }
}

impl<const N: usize> Semaphore<N> {
    /// Makes a semaphore with `value` units in shared memory, with room for `N` permits at a time. `N` is 65,536 at
    /// most.
    ///
    /// A semaphore with `N` above 120 begins with little memory. It takes more when more permits are taken at a time.
    ///
    /// # Errors
    /// As for [`new`](Semaphore::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Semaphore;
    ///
    /// let seats = Semaphore::<1000>::with_capacity(300)?;
    /// let permits: Vec<_> = (0..300).map(|_| seats.permit()).collect::<Result<_, _>>()?;
    /// assert!(permits.len() == 300 && seats.try_permit()?.is_none());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn with_capacity(value: u32) -> Result<Self> {
        checked(value)?;
        let init = semaphore::Semaphore::shared_with_capacity(value, SEM_VALUE_MAX);
        Placed::new(init, "a semaphore").map(Self)
    }

    /// Takes a unit; waits without a time limit.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EAGAIN` when this thread holds 1,900 shared locks and permits, with `EPERM` where a
    /// sandbox hides its robust list. Both are possible only after permits of the semaphore were taken.
    pub fn acquire(&self) -> Result<()> {
        Ok(self.0.acquire()?)
    }

    /// Takes a unit if one is free; returns whether it did: Python's `acquire(False)`.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<bool> {
        Ok(self.0.try_acquire()?)
    }

    /// Takes a unit, waiting within the limit; false when the limit has passed. Python's `acquire(timeout=...)`.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    pub fn acquire_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
        Ok(self.0.acquire_timeout(limit)?)
    }

    /// Gives a unit back, whichever thread took it.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when that is one too many (Python's `ValueError`); nothing was
    /// released.
    pub fn release(&self) -> Result<()> {
        self.release_many(1)
    }

    /// Gives `units` units back, all or none.
    ///
    /// # Errors
    /// As for [`release`](Self::release).
    pub fn release_many(&self, units: u32) -> Result<()> {
        Ok(self.0.release(units)?)
    }

    /// The number of free units a moment ago.
    #[doc(alias = "value")]
    pub fn get_value(&self) -> u32 {
        self.0.value()
    }

    /// Whether no unit was free a moment ago.
    #[doc(alias = "is_locked")]
    pub fn locked(&self) -> bool {
        self.0.is_locked()
    }

    /// Takes a unit that is given back when the returned permit is dropped.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire), and `EAGAIN` when `N` permits exist already and another unit is free.
    /// [`Os`](ErrorKind::Os) with `ENOMEM` without memory for one more permit.
    pub fn permit(&self) -> Result<Permit<'_, N>> {
        self.0.permit().map_err(full::<N>())
    }

    /// Takes a unit like [`permit`](Self::permit) if one is free; otherwise returns `None`.
    ///
    /// # Errors
    /// As for [`permit`](Self::permit).
    pub fn try_permit(&self) -> Result<Option<Permit<'_, N>>> {
        self.0.try_permit().map_err(full::<N>())
    }

    /// Takes a unit like [`permit`](Self::permit), waiting within the limit; `None` when the limit has passed.
    ///
    /// # Errors
    /// As for [`permit`](Self::permit).
    pub fn permit_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<Option<Permit<'_, N>>> {
        self.0.permit_timeout(limit).map_err(full::<N>())
    }

    /// Runs `body` with a unit, which is given back on unwinding too: Python's `with`.
    ///
    /// # Errors
    /// As for [`permit`](Self::permit); `body` has not run then.
    pub fn with<R>(&self, body: impl FnOnce() -> R) -> Result<R> {
        let _unit = self.permit()?;
        Ok(body())
    }
}

fn full<const N: usize>() -> impl Fn(Refused) -> Error {
    let larger = ", make a semaphore with more room, up to 65,536, as `Semaphore::<65536>::with_capacity(value)`";
    unless_full("this semaphore of processes", N, "permits", larger, ", or take units without an owner by `acquire`")
}

impl Arena {
    /// Makes a semaphore with `value` units in the arena.
    ///
    /// # Errors
    /// As for [`value`](Self::value), and as for [`Semaphore::new`].
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Arena;
    ///
    /// let seats = Arena::new()?.semaphore(2)?;
    /// seats.acquire()?;
    /// assert_eq!(seats.get_value(), 1);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn semaphore(&self, value: u32) -> Result<Semaphore> {
        checked(value)?;
        let init = semaphore::Semaphore::shared_up_to(value, SEM_VALUE_MAX);
        Placed::in_arena(self, init, "a semaphore").map(Semaphore)
    }

    /// Makes a semaphore that never has more than `value` units, in the arena.
    ///
    /// # Errors
    /// As for [`value`](Self::value), and as for [`Semaphore::new`].
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Arena;
    ///
    /// let seats = Arena::new()?.bounded_semaphore(2)?;
    /// assert!(seats.release().is_err(), "it is full");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn bounded_semaphore(&self, value: u32) -> Result<BoundedSemaphore> {
        checked(value)?;
        let init = semaphore::Semaphore::shared_bounded(value);
        Placed::in_arena(self, init, "a semaphore").map(Semaphore).map(BoundedSemaphore)
    }
}

owner!(Semaphore, semaphore::Semaphore<Shared, N>, N);

/// A semaphore that never has more units than at its creation: Python's `multiprocessing.BoundedSemaphore`. It has the
/// methods of [`Semaphore`].
///
/// Differs from Python: the bound is kept by one atomic step, so it holds however many release at a time.
///
/// The bound is in the shared memory, whose type is that of a [`Semaphore`]. So a process can receive this value as a
/// `Semaphore`, and the bound holds there too. A `Semaphore` that is received as a `BoundedSemaphore` has no bound:
/// send and receive the same type.
///
/// ```
/// use ossature::multiprocessing::BoundedSemaphore;
///
/// let seats = BoundedSemaphore::new(2)?;
/// seats.with(|| assert_eq!(seats.get_value(), 1))?;
/// assert_eq!(seats.release().unwrap_err().kind(), ossature::ErrorKind::InvalidInput);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
pub struct BoundedSemaphore<const N: usize = 120>(Semaphore<N>);

impl BoundedSemaphore {
    /// Makes a semaphore with `value` units, and never more, in shared memory.
    ///
    /// # Errors
    /// As for [`Semaphore::new`].
    pub fn new(value: u32) -> Result<Self> {
        checked(value)?;
        Placed::new(semaphore::Semaphore::shared_bounded(value), "a semaphore").map(Semaphore).map(Self)
    }

    /// Makes `count` semaphores of `value` units each, which share one mapping and one descriptor. Each can be sent
    /// alone. The memory exists as long as any process has one of them.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::BoundedSemaphore;
    ///
    /// let seats = BoundedSemaphore::many(100, 2)?; // one descriptor
    /// assert!(seats[3].release().is_err(), "no more than two");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn many(count: usize, value: u32) -> Result<Vec<Self>> {
        checked(value)?;
        let init = |_| semaphore::Semaphore::shared_bounded(value);
        Ok(Placed::many(count, init, "a block of semaphores")?.map(Semaphore).map(Self).collect())
    }
}

impl<const N: usize> BoundedSemaphore<N> {
    /// Makes a semaphore with `value` units, and never more, in shared memory, with room for `N` permits at a time. `N`
    /// is 65,536 at most.
    ///
    /// # Errors
    /// As for [`Semaphore::with_capacity`].
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::BoundedSemaphore;
    ///
    /// let seats = BoundedSemaphore::<1000>::with_capacity(300)?;
    /// assert!(seats.release().is_err(), "it is full");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn with_capacity(value: u32) -> Result<Self> {
        checked(value)?;
        let init = semaphore::Semaphore::shared_with_capacity(value, value);
        Placed::new(init, "a semaphore").map(Semaphore).map(Self)
    }

    /// Maps the same memory again, for another owner.
    ///
    /// # Errors
    /// As for [`Semaphore::try_clone`].
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::BoundedSemaphore;
    ///
    /// let seats = BoundedSemaphore::new(1)?;
    /// let same = seats.try_clone()?;
    /// same.acquire()?;
    /// assert!(seats.locked());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn try_clone(&self) -> Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl<const N: usize> Deref for BoundedSemaphore<N> {
    type Target = Semaphore<N>;

    fn deref(&self) -> &Semaphore<N> {
        &self.0
    }
}

fn checked(value: u32) -> Result<()> {
    if value > SEM_VALUE_MAX {
        let message = format!("a semaphore can have at most {SEM_VALUE_MAX} units, not {value}");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}
