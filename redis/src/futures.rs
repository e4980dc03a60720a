//! The pool as an executor, whose calls are futures: the calls of [`ossature::multiprocessing::pool::futures`].

use std::fmt;
use std::marker::PhantomData;

use ossature::multiprocessing::tasks::{Arguments, Target};
use ossature::multiprocessing::transfer::Transfer;
use ossature::sys::deadline::Deadline;
use ossature::{Error, Result};

use crate::imap::IMapIterator;
use crate::job::Failure;
use crate::pool::Pool;
use crate::result::{AsyncResult, Held};
use crate::state::HubState;

/// A pool as an executor: the program submits calls and waits for their futures.
///
/// Dropping it waits until every call has ended, as that of a local executor does.
///
/// # Examples
/// ```no_run
/// use ossature::multiprocessing::{Tasks, freeze_support, tasks};
/// use ossature_redis::{Executor, Pool, worker_support};
///
/// fn square(number: u64) -> u64 {
///     number * number
/// }
///
/// static TASKS: Tasks = tasks![square];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     worker_support();
///     let executor = Executor::from(Pool::connect("redis://broker/", "render")?); // in place of Executor::new(8)
///     let (four, nine) = (executor.submit(square, (2,))?, executor.submit(square, (3,))?);
///     assert_eq!(four.result()? + nine.result()?, 13);
///     executor.shutdown()
/// }
/// ```
#[doc(alias = "ProcessPoolExecutor")]
#[derive(Debug)]
pub struct Executor(Pool);

impl Executor {
    /// The pool, for its other calls.
    pub fn pool(&self) -> &Pool {
        &self.0
    }

    /// Submits a call of `target` with `args` to a worker. Does not wait.
    ///
    /// # Errors
    /// As [`Pool::apply_async`].
    pub fn submit<F, Args>(&self, target: F, args: Args) -> Result<Future<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
    {
        self.0.apply_async(target, args).map(Future::from)
    }

    /// The results of `target` for each item, in the order of the items: see [`Pool::imap`].
    ///
    /// # Errors
    /// As [`Pool::imap`].
    pub fn map<F, A, I>(&self, target: F, items: I) -> Result<IMapIterator<I::IntoIter, F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        self.0.imap(target, items)
    }

    /// Accepts no more calls, and does not wait for the existing ones.
    ///
    /// # Errors
    /// As [`Pool::close`].
    pub fn close(&self) -> Result<()> {
        self.0.close()
    }

    /// Accepts no more calls, and waits until all have ended.
    ///
    /// # Errors
    /// As [`Pool::join`].
    pub fn shutdown(&self) -> Result<()> {
        self.0.close()?;
        self.0.join()
    }
}

impl From<Pool> for Executor {
    fn from(pool: Pool) -> Self {
        Self(pool)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let _ = self.shutdown(); // in a forked child it is another process's
    }
}

/// A call, and its future value. Clones refer to the same future.
///
/// The value stays as bytes until the last clone is dropped, and each [`result`](Self::result) decodes it anew.
///
/// # Examples
/// See the example of [`Executor`].
pub struct Future<R> {
    held: Held,
    kind: PhantomData<fn() -> R>,
}

impl<R> From<AsyncResult<R>> for Future<R> {
    fn from(result: AsyncResult<R>) -> Self {
        Self { held: result.held, kind: PhantomData }
    }
}

impl<R> Clone for Future<R> {
    fn clone(&self) -> Self {
        Self { held: self.held.twin(), kind: PhantomData }
    }
}

impl<R> Future<R> {
    fn wait(&self, until: Deadline) -> Result<bool> {
        let done = |state: &mut HubState| state.job(self.held.job).is_none_or(|job| job.is_done()).then_some(());
        self.held.hub.wait(until, done).map(|done| done.is_some())
    }

    fn failure(&self) -> Result<Option<Failure>> {
        Ok(self.held.hub.lock()?.job(self.held.job).and_then(|job| job.failure()))
    }

    /// Cancels the call, unless it has ended. Returns whether the call is cancelled.
    ///
    /// Differs from a local executor, which leaves a call that runs: such a call ends here with its process, as by
    /// [`AsyncResult::cancel`].
    ///
    /// # Errors
    /// [`NotAllowed`](ossature::ErrorKind::NotAllowed) in another process than the executor's.
    pub fn cancel(&self) -> Result<bool> {
        self.held.hub.cancel(self.held.job)?;
        self.cancelled()
    }

    /// Returns whether the call was cancelled.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub fn cancelled(&self) -> Result<bool> {
        Ok(matches!(self.failure()?, Some(Failure::Cancelled)))
    }

    /// Returns whether the call has ended: with a value, with an error or cancelled.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub fn done(&self) -> Result<bool> {
        self.wait(Deadline::NOW)
    }

    /// Waits for the end of the call. Returns its error, or `None` if the call has a value.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub fn exception(&self) -> Result<Option<Error>> {
        Ok(self.exception_timeout(Deadline::NEVER)?.flatten())
    }

    /// Waits for the end of the call until the deadline. Returns `None` at the deadline.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub fn exception_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<Option<Error>>> {
        if !self.wait(timeout.into())? {
            return Ok(None);
        }
        Ok(Some(self.failure()?.map(|failure| failure.into_error(self.held.task))))
    }

    /// Calls `callback` with this future once the call has ended, in the pool's thread for callbacks. If the call has
    /// already ended, `callback` runs in that thread too.
    ///
    /// # Errors
    /// `EAGAIN` when the system has no room for the thread.
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + Send + 'static) -> Result<()>
    where
        R: 'static,
    {
        let future = self.clone();
        self.held.hub.call_back(self.held.job, move || callback(&future))
    }
}

impl<R: Transfer> Future<R> {
    /// Waits for the value. Each call returns a value of its own.
    ///
    /// # Errors
    /// As [`AsyncResult::get`].
    pub fn result(&self) -> Result<R> {
        self.wait(Deadline::NEVER)?;
        self.held.one_again()
    }

    /// Waits for the value until the deadline. Returns `None` at the deadline.
    ///
    /// # Errors
    /// As [`AsyncResult::get`].
    pub fn result_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<R>> {
        if !self.wait(timeout.into())? {
            return Ok(None);
        }
        self.held.one_again().map(Some)
    }
}

impl<R> fmt::Debug for Future<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Future").field("task", &self.held.task).finish_non_exhaustive()
    }
}
