//! A barrier at which a fixed number of processes wait for each other.

use ossature_sys::errno::Errno;
use ossature_sys::futex::Limit;
use ossature_sys::scope::{Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::barrier::{self, Action, Party};
use serde::{Deserialize, Serialize};

use super::methods::{owner, unless_full};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::{Arena, Placed};

/// A barrier at which a fixed number of parties wait for each other, repeatedly: Python's `multiprocessing.Barrier`.
///
/// Differs from Python: the action is given to the wait, and the last party to arrive runs its own. The death of a
/// party that waits or has [joined](Self::join) breaks the barrier at once. A barrier has at most `N` parties, by
/// default 120.
///
/// A party that is stopped, not dead, may delay a [`wait`](Self::wait) of the others. A wait with a limit ends in time,
/// and [`join`](Self::join), [`reset`](Self::reset) and [`abort`](Self::abort) never wait.
///
/// ```
/// use ossature::multiprocessing::Barrier;
///
/// let step = Barrier::new(2)?;
/// let numbers = std::thread::scope(|scope| {
///     let other = scope.spawn(|| step.wait());
///     Ok::<_, ossature::Error>([step.wait()?, other.join().unwrap()?])
/// })?;
/// assert!(numbers == [0, 1] || numbers == [1, 0]);
/// step.abort();
/// assert_eq!(step.wait().unwrap_err().kind(), ossature::ErrorKind::Broken);
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// With limits, an action and a reset:
///
/// ```
/// use std::time::Duration;
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::Barrier;
///
/// let limit = Duration::from_millis(1);
/// let alone = Barrier::new(1)?;
/// let place = alone.join_timeout(limit)?.expect("nobody is in the way"); // its death would break the barrier
/// assert_eq!(alone.wait_with(|| println!("everybody is here"))?, 0);
/// assert_eq!(alone.wait_with_timeout(limit, || ())?, 0);
/// drop(place);
///
/// let pair = Barrier::new(2)?;
/// assert_eq!((pair.parties(), pair.n_waiting()), (2, 0));
/// assert_eq!(pair.wait_timeout(limit).unwrap_err().kind(), ErrorKind::Broken);
/// assert!(pair.broken(), "its time ran out");
/// pair.reset()?;
/// assert!(!pair.broken() && pair.reset_timeout(limit)?);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
pub struct Barrier<const N: usize = 120>(Placed<barrier::Barrier<Shared, N>>);

impl Barrier {
    /// Makes a barrier for `parties` parties in shared memory.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for no parties and for more than 120;
    /// [`with_capacity`](Self::with_capacity) takes more. Otherwise as for
    /// [`Lock::new`](crate::multiprocessing::Lock::new).
    pub fn new(parties: u32) -> Result<Self> {
        Self::with_capacity(parties)
    }

    /// Makes `count` barriers for `parties` parties, which share one mapping and one descriptor. Each can be sent
    /// alone. The memory exists as long as any process has one of them.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Barrier;
    ///
    /// let barriers = Barrier::many(100, 2)?; // one descriptor
    /// assert_eq!((barriers.len(), barriers[3].parties()), (100, 2));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn many(count: usize, parties: u32) -> Result<Vec<Self>> {
        let barriers = Placed::many(count, |_| barrier::Barrier::shared(parties), "a block of barriers");
        Ok(barriers.map_err(named::<120>(parties))?.map(Self).collect())
    }
}

impl<const N: usize> Barrier<N> {
    /// Makes a barrier for `parties` parties in shared memory, with room for `N` participants: the threads that have
    /// [joined](Self::join) and those that wait. `N` is 65,536 at most.
    ///
    /// A barrier with `N` above 120 begins with memory for its parties. It takes more memory when more participants
    /// come.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for no parties and for more than `N`; otherwise as for
    /// [`Lock::new`](crate::multiprocessing::Lock::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Barrier;
    ///
    /// let step = Barrier::<10_000>::with_capacity(500)?;
    /// assert_eq!(step.parties(), 500);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn with_capacity(parties: u32) -> Result<Self> {
        let init = barrier::Barrier::shared_with_capacity(parties);
        Placed::new(init, "a barrier").map(Self).map_err(named::<N>(parties))
    }

    /// Enrols the calling thread until the returned [`Party`] is dropped. If the thread dies before that, the barrier
    /// breaks at once, whether the thread was waiting or not.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EAGAIN` when `N` threads have joined or wait, or when this thread holds 1,900 shared
    /// locks. [`Os`](ErrorKind::Os) with `ENOMEM` without memory for one more participant.
    pub fn join(&self) -> Result<Party<'_, Shared, N>> {
        self.0.join().map_err(full::<N>())
    }

    /// Does the same as [`join`](Self::join), which needs no limit: the result is never `None`.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    pub fn join_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<Option<Party<'_, Shared, N>>> {
        self.0.join_timeout(limit).map_err(full::<N>())
    }

    /// Waits until all parties wait, and returns this party's number: from 0 in order of arrival.
    ///
    /// # Errors
    /// [`Broken`](ErrorKind::Broken): the [source](std::error::Error::source) is a
    /// [`Broken`](crate::sys::sync::barrier::Broken) that contains the cause.
    pub fn wait(&self) -> Result<u32> {
        Ok(self.0.wait()?)
    }

    /// Waits within the limit. Running out of time breaks the barrier for all parties. The call ends in time, whatever
    /// the other parties do.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<u32> {
        Ok(self.0.wait_timeout(limit)?)
    }

    /// Waits, and runs the action if this party is the last to arrive, before the others are released. The action
    /// returns `()`, or a `Result<(), E>`.
    ///
    /// ```
    /// use ossature::{ErrorKind, multiprocessing::Barrier};
    ///
    /// let step = Barrier::new(1)?;
    /// let failed = step.wait_with(|| std::fs::write("/nonexistent/step", "1")).unwrap_err();
    /// assert_eq!(failed.kind(), ErrorKind::Broken);
    /// assert!(failed.to_string().contains("No such file"), "{failed}");
    /// assert!(step.broken(), "for all parties");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`wait`](Self::wait). An action that panics breaks the barrier, and the panic continues. An action that
    /// returns an error breaks the barrier, and its error is the [source](std::error::Error::source) of this one. The
    /// other parties get [`Broken::Failed`](crate::sys::sync::barrier::Broken::Failed).
    pub fn wait_with<A: Action<Failure: Into<Error>>>(&self, action: impl FnOnce() -> A) -> Result<u32> {
        self.wait_with_timeout(Limit::NEVER, action)
    }

    /// Does the same as [`wait_with`](Self::wait_with) within the limit, which does not end the action.
    ///
    /// # Errors
    /// As for [`wait_with`](Self::wait_with).
    pub fn wait_with_timeout<'c, A: Action<Failure: Into<Error>>>(
        &self,
        limit: impl Into<Limit<'c>>,
        action: impl FnOnce() -> A,
    ) -> Result<u32> {
        self.0.wait_with_timeout(limit, action).map_err(Into::into)
    }

    /// Breaks the barrier: present and later waits end with an error, until [`reset`](Self::reset). This call never
    /// waits.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Resets the barrier to empty and whole: present waits end with an error.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EAGAIN` when this thread holds 1,900 shared locks.
    pub fn reset(&self) -> Result<()> {
        Ok(self.0.reset()?)
    }

    /// Does the same as [`reset`](Self::reset), which needs no limit: the result is always true.
    ///
    /// # Errors
    /// As for [`reset`](Self::reset).
    pub fn reset_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
        Ok(self.0.reset_timeout(limit)?)
    }

    /// The number of parties that the barrier needs.
    pub fn parties(&self) -> u32 {
        self.0.parties()
    }

    /// The number of waiting parties a moment ago; 0 while the barrier is broken. Parties that leave a complete cycle
    /// do not count.
    pub fn n_waiting(&self) -> u32 {
        self.0.waiting()
    }

    /// Whether the barrier is broken.
    #[doc(alias = "is_broken")]
    pub fn broken(&self) -> bool {
        self.0.is_broken()
    }
}

impl Arena {
    /// Makes a barrier for `parties` parties in the arena.
    ///
    /// # Errors
    /// As for [`value`](Self::value), and as for [`Barrier::new`].
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Arena;
    ///
    /// let alone = Arena::new()?.barrier(1)?;
    /// assert_eq!(alone.wait()?, 0);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn barrier(&self, parties: u32) -> Result<Barrier> {
        let barrier = Placed::in_arena(self, barrier::Barrier::shared(parties), "a barrier");
        barrier.map(Barrier).map_err(named::<120>(parties))
    }
}

owner!(Barrier, barrier::Barrier<Shared, N>, N);

fn full<const N: usize>() -> impl Fn(Refused) -> Error {
    let larger = ", or make a barrier with more room, up to 65,536, as `Barrier::<65536>::with_capacity(parties)`";
    unless_full("this barrier of processes", N, "participants", larger, "")
}

/// Names the number of parties in the error, if that number is the cause.
fn named<const N: usize>(parties: u32) -> impl Fn(Error) -> Error {
    move |error| match error.errno() {
        Some(Errno::INVAL) => {
            let remedy = match parties {
                0 => "use at least 1",
                65_537.. => "use at most 65,536",
                _ => {
                    "make a barrier for up to 65,536 by `with_capacity`, as `Barrier::<65536>::with_capacity(parties)`"
                }
            };
            let message = format!("this barrier of processes takes 1 to {N} parties, not {parties}: {remedy}");
            Error::new(ErrorKind::InvalidInput, message)
        }
        _ => error,
    }
}
