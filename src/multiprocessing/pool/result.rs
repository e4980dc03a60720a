//! The results of `apply_async` and `map_async`, which may not be available yet.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use ossature_sys::deadline::Deadline;

use super::hub::Hub;
use super::job::Job;
use super::kept::Pieces;
use super::readiness::Readiness;
use super::wanted::Wanted;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::Transfer;

/// The result of one call, which a worker process makes.
///
/// Dropping the result does not stop the call. The value is lost then.
///
/// Differs from Python: a value is given once. In Python [`get`](Self::get) may be called again.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::{Pool, Tasks, freeze_support, pool::AsyncResult, tasks};
///
/// fn add(a: i32, b: i32) -> i32 {
///     a + b
/// }
///
/// fn fail(text: String) -> i32 {
///     panic!("{text}")
/// }
///
/// static TASKS: Tasks = tasks![add, fail];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let pool = Pool::new(2)?;
///     let mut sum: AsyncResult<i32> = pool.apply_async(add, (1, 2))?;
///     assert_eq!(sum.get_timeout(Duration::from_secs(60))?, Some(3));
///
///     let failed = pool.apply_async(fail, ("no more paper".to_owned(),))?;
///     assert!(failed.wait(Duration::from_secs(60))? && failed.ready()?);
///     assert!(!failed.successful()?);
///     let error = failed.get().unwrap_err();
///     assert_eq!(error.kind(), ErrorKind::Remote);
///     assert!(error.to_string().contains("no more paper"));
///     Ok(())
/// }
/// ```
#[doc(alias = "ApplyResult")]
#[must_use = "dropping the result loses the value"]
pub struct AsyncResult<R> {
    pub(super) hub: Arc<Hub>,
    pub(super) job: Arc<Job>,
    pub(super) kind: PhantomData<fn() -> R>,
}

/// The results of the calls of one map, in the order of the items.
///
/// Every call is made, also after another has failed.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::multiprocessing::{Pool, Tasks, freeze_support, pool::MapResult, tasks};
///
/// fn length(text: String) -> usize {
///     text.len()
/// }
///
/// static TASKS: Tasks = tasks![length];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let pool = Pool::new(2)?;
///     let mut lengths: MapResult<usize> = pool.map_async(length, ["a", "bc"].map(str::to_owned))?;
///     assert_eq!(lengths.get_timeout(Duration::from_secs(60))?, Some(vec![1, 2]));
///     assert!(lengths.get().is_err(), "they were given");
///     Ok(())
/// }
/// ```
#[must_use = "dropping the result loses the values"]
pub struct MapResult<R> {
    pub(super) hub: Arc<Hub>,
    pub(super) job: Arc<Job>,
    pub(super) kind: PhantomData<fn() -> R>,
}

macro_rules! waits {
    ($Result:ident) => {
        impl<R> $Result<R> {
            /// Waits until the result is available, or until the deadline. Returns whether the result is available.
            ///
            /// # Errors
            /// [`NotAllowed`](ErrorKind::NotAllowed) in another process than the pool's.
            pub fn wait(&self, timeout: impl Into<Deadline>) -> Result<bool> {
                self.hub.wait_for(&self.job, timeout.into(), || false)
            }

            /// Whether the result is available, a value or an error.
            ///
            /// # Errors
            /// As [`wait`](Self::wait).
            pub fn ready(&self) -> Result<bool> {
                if !self.hub.has_result(&self.job) {
                    self.hub.look()?;
                }
                Ok(self.hub.has_result(&self.job))
            }

            /// Makes a descriptor that is readable once the result is available, for a poll together with other
            /// descriptors.
            ///
            /// # Errors
            /// `EMFILE` when no descriptor is left, and as [`wait`](Self::wait).
            ///
            /// # Examples
            /// See the example of [`Readiness`](super::Readiness).
            pub fn readiness(&self) -> Result<Readiness> {
                Readiness::of(&self.hub, &self.job)
            }

            /// Whether every call has returned a value.
            ///
            /// # Errors
            /// [`InvalidInput`](ErrorKind::InvalidInput) before the result is [ready](Self::ready) (Python's
            /// `ValueError`).
            pub fn successful(&self) -> Result<bool> {
                if !self.ready()? {
                    return Err(Error::new(ErrorKind::InvalidInput, format!("{} is not ready yet", self.job.task)));
                }
                Ok(self.job.has_only_values())
            }

            /// Cancels the unfinished calls. A running call ends with its worker. The result is
            /// [`Cancelled`](ErrorKind::Cancelled), unless every call had already ended.
            ///
            /// Differs from Python, whose pool has no such call.
            ///
            /// # Errors
            /// As [`wait`](Self::wait).
            pub fn cancel(&self) -> Result<()> {
                self.hub.cancel(&self.job)
            }
        }

        impl<R> fmt::Debug for $Result<R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Result))
                    .field("task", &self.job.task)
                    .field("done", &self.job.is_done())
                    .finish()
            }
        }
    };
}

waits!(AsyncResult);
waits!(MapResult);

impl<R: Transfer> AsyncResult<R> {
    /// Waits for the value.
    ///
    /// # Errors
    /// * [`Remote`](ErrorKind::Remote) when the task panicked. The [source](std::error::Error::source) is the
    ///   [`PanicReport`](crate::multiprocessing::process::PanicReport), with place and backtrace.
    /// * [`WorkerDied`](ErrorKind::WorkerDied) when its worker was killed or ended while it ran the task. The text has
    ///   the words of a panic that ended the worker: one that cannot unwind, or any in a program that is built with
    ///   `panic = "abort"`.
    /// * [`TaskFailed`](ErrorKind::TaskFailed) with the text of the error that a task started as
    ///   [`apply_result`](super::Pool::apply_result) returned.
    /// * [`InvalidInput`](ErrorKind::InvalidInput) when the value cannot be serialised (Python's `MaybeEncodingError`).
    /// * [`Cancelled`](ErrorKind::Cancelled) after [`cancel`](Self::cancel) or the pool's end.
    /// * [`StartFailed`](ErrorKind::StartFailed) when the pool cannot start workers.
    /// * [`Interrupted`](ErrorKind::Interrupted) when a signal came for which the program has called
    ///   [`interrupt_on`](crate::thread::interrupt_on). The pool has ended then.
    /// * [`NoResult`](ErrorKind::NoResult) when an earlier call returned the value.
    /// * [`NotAllowed`](ErrorKind::NotAllowed) in another process than the pool's.
    pub fn get(mut self) -> Result<R> {
        let value = self.get_timeout(Deadline::NEVER)?;
        value.ok_or_else(|| self.job.taken())
    }

    /// Waits for the value until the deadline. Returns `None` when the time ran out.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: impl Into<Deadline>) -> Result<Option<R>> {
        if !self.wait(timeout)? {
            return Ok(None);
        }
        let outcome = self.job.take_value()?;
        self.job.decode(outcome).map(Some)
    }
}

impl<R: Transfer> MapResult<R> {
    /// Waits for all values.
    ///
    /// # Errors
    /// As [`AsyncResult::get`], of the first item in order that has no value.
    pub fn get(self) -> Result<Vec<R>> {
        let (job, mut pieces) = (&self.job, Pieces::new());
        // Values are read while workers make others.
        loop {
            self.hub.wait_for(job, Deadline::NEVER, || job.has_many())?;
            if self.hub.has_result(job) || !job.take_some(&mut pieces) {
                return job.take_all(pieces);
            }
        }
    }

    /// Waits for the values until the deadline. Returns `None` when the time ran out.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: impl Into<Deadline>) -> Result<Option<Vec<R>>> {
        if !self.wait(timeout)? {
            return Ok(None);
        }
        self.job.take_all(Pieces::new()).map(Some)
    }

    /// Does what [`get`](Self::get) does, and passes the number of ended calls to `progress`, first 0, then after each
    /// change.
    ///
    /// With a bar of the crate indicatif this is one line:
    /// `pool.map_async(f, items)?.get_with_progress(|ended| bar.set_position(ended as u64))?`. Results of
    /// [`imap`](super::Pool::imap) come one by one: `for result in bar.wrap_iter(pool.imap(f, items)?)`.
    ///
    /// `progress` may call the pool. It is called in this thread, and less often than calls end if that is faster.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};
    ///
    /// fn half(number: u32) -> u32 {
    ///     number / 2
    /// }
    ///
    /// static TASKS: Tasks = tasks![half];
    ///
    /// fn main() -> ossature::Result<()> {
    ///     freeze_support(TASKS);
    ///     let pool = Pool::new(2)?;
    ///     let mut seen = Vec::new();
    ///     let halves = pool.map_async(half, 0..100)?.get_with_progress(|ended| seen.push(ended))?;
    ///     assert_eq!((halves.len(), seen.first(), seen.last()), (100, Some(&0), Some(&100)));
    ///     Ok(())
    /// }
    /// ```
    pub fn get_with_progress(self, mut progress: impl FnMut(usize)) -> Result<Vec<R>> {
        let mut seen = 0;
        progress(seen);
        while !self.job.is_done() {
            self.hub.wait(Deadline::NEVER, Wanted::Each, || self.job.ended() > seen || self.job.is_done())?;
            if self.job.ended() > seen {
                seen = self.job.ended();
                progress(seen);
            }
        }
        if self.job.ended() > seen {
            progress(self.job.ended());
        }
        self.get()
    }

    /// The number of ended calls, for a progress bar.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn ended(&self) -> Result<usize> {
        self.hub.look()?;
        Ok(self.job.ended())
    }
}
