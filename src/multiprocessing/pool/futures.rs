//! The pool in the form of Python's `concurrent.futures`: an executor whose calls are futures.
//!
//! ```standalone_crate
//! use std::time::Duration;
//! use ossature::multiprocessing::pool::futures::{Executor, ReturnWhen, as_completed, wait};
//! use ossature::multiprocessing::{Tasks, freeze_support, tasks};
//!
//! fn square(number: u64) -> u64 {
//!     number * number
//! }
//!
//! static TASKS: Tasks = tasks![square];
//!
//! fn main() -> ossature::Result<()> {
//!     freeze_support(TASKS);
//!     let executor = Executor::new(2)?;
//!     let futures = [executor.submit(square, (2,))?, executor.submit(square, (3,))?];
//!     let waited = wait(&futures, Duration::from_secs(60), ReturnWhen::AllCompleted)?;
//!     assert_eq!((waited.done, waited.not_done), (vec![0, 1], vec![]));
//!     let mut sum = 0;
//!     for future in as_completed(futures) {
//!         sum += future?.result()?;
//!     }
//!     assert_eq!(sum, 13);
//!     Ok(())
//! }
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use ossature_sys::deadline::Deadline;

use super::hub::Hub;
use super::job::Job;
use super::wanted::Wanted;
use super::{AsyncResult, IMapIterator, Pool, Readiness};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::tasks::{Arguments, Target};
use crate::multiprocessing::transfer::Transfer;

/// A pool as an executor: it takes calls and returns futures.
///
/// Dropping an executor waits until every published call has ended. Items that an iterator of [`map`](Self::map) has
/// not drawn by then, in this or another thread, are left out: after the results of the drawn items, the iterator
/// returns [`ShutDown`](ErrorKind::ShutDown). Python's `with` waits for all items, as [`shutdown`](Self::shutdown) does
/// for iterators of other threads.
///
/// A closed executor does not open again. A new executor costs a process start, and a fork for each worker.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::pool::futures::Executor;
/// use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};
///
/// fn half(number: u32) -> u32 {
///     number / 2
/// }
///
/// fn rest() {
///     std::thread::sleep(Duration::from_secs(60));
/// }
///
/// static TASKS: Tasks = tasks![half, rest];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let executor = Executor::from(Pool::builder().workers(1).build()?);
///     assert_eq!(executor.map(half, [4, 6])?.collect::<ossature::Result<Vec<_>>>()?, [2, 3]);
///     assert_eq!(executor.pool().workers(), 1);
///     executor.shutdown()?;
///     assert_eq!(executor.submit(half, (4,)).unwrap_err().kind(), ErrorKind::ShutDown);
///
///     for end in [Executor::terminate_workers, Executor::kill_workers] {
///         let executor = Executor::new(1)?;
///         let resting = executor.submit(rest, ())?;
///         end(&executor)?;
///         assert_eq!(resting.result().unwrap_err().kind(), ErrorKind::Cancelled);
///     }
///     let executor = Executor::new(1)?;
///     let halves = [executor.submit(half, (2,))?, executor.submit(half, (2,))?];
///     executor.shutdown_now()?; // those that have not begun are cancelled
///     assert!(halves.iter().all(|half| half.done().unwrap_or(false)));
///     Executor::new(1)?.close()?; // without a wait
///     Ok(())
/// }
/// ```
#[doc(alias = "ProcessPoolExecutor")]
#[derive(Debug)]
pub struct Executor(Pool);

impl Executor {
    /// Starts an executor of `workers` workers with the default method. [`Pool::builder`] has more settings.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn new(workers: usize) -> Result<Self> {
        Pool::new(workers).map(Self)
    }

    /// The underlying pool, for its other methods.
    pub fn pool(&self) -> &Pool {
        &self.0
    }

    /// Sends a call of `target` with `args` to a worker. Does not wait.
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

    /// Calls `target` with each item, and returns an iterator over the results in the order of the items: see
    /// [`Pool::imap`]. For a limit on one result use [`next_timeout`](IMapIterator::next_timeout). Python's `chunksize`
    /// and `buffersize` are [`chunksize`](Pool::chunksize) and [`lookahead`](super::Chunked::lookahead) of the
    /// [pool](Self::pool).
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

    /// Refuses further calls, and does not wait for the calls that it has.
    ///
    /// # Errors
    /// As [`Pool::close`].
    #[doc(alias = "wait")]
    pub fn close(&self) -> Result<()> {
        self.0.close()
    }

    /// Refuses further calls, and waits until all calls and their callbacks have ended. Like [`Pool::join`], it also
    /// waits until the iterators of [`map`](Self::map) that other threads use are exhausted or dropped.
    ///
    /// # Errors
    /// As [`Pool::join`].
    pub fn shutdown(&self) -> Result<()> {
        self.0.close()?;
        self.0.join()
    }

    /// Does what [`shutdown`](Self::shutdown) does, but cancels the calls that have not started.
    ///
    /// # Errors
    /// As [`Pool::join`].
    #[doc(alias = "cancel_futures")]
    pub fn shutdown_now(&self) -> Result<()> {
        self.0.close()?;
        self.0.0.cancel_waiting()?;
        self.0.join()
    }

    /// Ends all workers by `SIGTERM`, whatever they do: see [`Pool::terminate`].
    ///
    /// # Errors
    /// As [`Pool::terminate`].
    pub fn terminate_workers(&self) -> Result<()> {
        self.0.terminate()
    }

    /// Ends all workers by `SIGKILL`, whatever they do. Unfinished calls are [`Cancelled`](ErrorKind::Cancelled).
    ///
    /// # Errors
    /// As [`Pool::terminate`].
    pub fn kill_workers(&self) -> Result<()> {
        self.0.0.kill()
    }
}

impl From<Pool> for Executor {
    fn from(pool: Pool) -> Self {
        Self(pool)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // In a forked child it is another process's, and a pool that cannot be waited for is ended by its own drop.
        let _ = self.close();
        let _ = self.0.0.cut_all(); // no thread may draw from them any more
        let _ = self.0.join();
    }
}

/// A call and its future value. Clones refer to the same call.
///
/// The value stays as bytes until the last clone is dropped, and each [`result`](Self::result) decodes it anew.
///
/// # Examples
/// ```standalone_crate
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::pool::futures::{Executor, Future};
/// use ossature::multiprocessing::{Tasks, freeze_support, tasks};
///
/// fn parse(text: String) -> u32 {
///     text.parse().expect("a number")
/// }
///
/// static TASKS: Tasks = tasks![parse];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let executor = Executor::new(1)?;
///     let future: Future<u32> = executor.submit(parse, ("12".to_owned(),))?;
///     let (tell, hear) = mpsc::channel();
///     future.add_done_callback(move |future| drop(tell.send(future.result_timeout(Duration::ZERO))))?;
///     assert_eq!(hear.recv().expect("is called")?, Some(12));
///     assert!(future.done()? && !future.running()? && !future.cancelled()?);
///
///     let failed = executor.submit(parse, ("twelve".to_owned(),))?;
///     assert_eq!(failed.exception()?.map(|error| error.kind()), Some(ErrorKind::Remote));
///     assert!(!failed.cancel()?, "it has ended");
///     assert_eq!(failed.exception_timeout(Duration::ZERO)?.flatten().map(|error| error.kind()), Some(ErrorKind::Remote));
///     Ok(())
/// }
/// ```
pub struct Future<R> {
    hub: Arc<Hub>,
    job: Arc<Job>,
    kind: PhantomData<fn() -> R>,
}

impl<R> From<AsyncResult<R>> for Future<R> {
    fn from(result: AsyncResult<R>) -> Self {
        let AsyncResult { hub, job, kind } = result;
        Self { hub, job, kind }
    }
}

impl<R> Clone for Future<R> {
    fn clone(&self) -> Self {
        Self { hub: self.hub.clone(), job: self.job.clone(), kind: PhantomData }
    }
}

impl<R> Future<R> {
    /// Cancels the call, unless the call runs or has ended. Returns whether the call is cancelled.
    ///
    /// # Errors
    /// [`NotAllowed`](ErrorKind::NotAllowed) in another process than the executor's.
    pub fn cancel(&self) -> Result<bool> {
        self.hub.cancel_unless_begun(&self.job)?;
        Ok(self.job.is_done() && self.job.is_cancelled())
    }

    /// Whether the call was cancelled.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub fn cancelled(&self) -> Result<bool> {
        Ok(self.done()? && self.job.is_cancelled())
    }

    /// Whether a worker has started the call and not ended it.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub fn running(&self) -> Result<bool> {
        self.hub.is_running(&self.job)
    }

    /// Whether the call has ended: with a value, with an error or cancelled.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub fn done(&self) -> Result<bool> {
        if !self.job.is_done() {
            self.hub.look()?;
        }
        Ok(self.job.is_done())
    }

    /// Makes a descriptor that is readable once the call has ended, for a poll together with other descriptors. A
    /// program that finds the descriptor readable calls [`done`](Self::done).
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left, and as [`cancel`](Self::cancel).
    ///
    /// # Examples
    /// See the example of [`Readiness`].
    pub fn readiness(&self) -> Result<Readiness> {
        Readiness::of(&self.hub, &self.job)
    }

    /// Waits for the end of the call. Returns its error, or `None` if the call has a value.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub fn exception(&self) -> Result<Option<Error>> {
        Ok(self.exception_timeout(Deadline::NEVER)?.flatten())
    }

    /// Waits for the end of the call until the deadline. Returns `None` when the time ran out.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub fn exception_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<Option<Error>>> {
        if !self.hub.wait(timeout.into(), Wanted::Job(&self.job), || self.job.is_done())? {
            return Ok(None);
        }
        Ok(Some(self.job.failure().map(|failure| failure.into_error(self.job.task))))
    }

    /// Registers `callback`, which is called with this future once the call has ended. A thread that the executor
    /// starts for its callbacks calls it, also if the call has already ended. A panic of a callback is printed, and the
    /// other callbacks are called.
    ///
    /// An executor has this thread from the first callback on, so the program cannot fork. The thread ends after the
    /// last callback of an executor that was dropped.
    ///
    /// Differs from Python, where such a callback is called at once, by the caller.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel); `EAGAIN` when the system has no room for the thread.
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + Send + 'static) -> Result<()>
    where
        R: 'static,
    {
        let future = self.clone();
        self.hub.call_back(&self.job, Box::new(move || callback(&future)))
    }
}

impl<R: Transfer> Future<R> {
    /// Waits for the value. Each call returns a value of its own. Files and shared memory in these values are the same
    /// files and memory. Their descriptors stay open in this process until the last clone of the future is dropped.
    ///
    /// If the value contains a proxy of a manager, the first returned value keeps the object. If that value is dropped
    /// before the next call, the next call fails.
    ///
    /// # Errors
    /// As [`AsyncResult::get`]. `EMFILE` when no descriptor is left for a value with descriptors.
    pub fn result(&self) -> Result<R> {
        self.result_timeout(Deadline::NEVER)?.ok_or_else(|| self.job.taken())
    }

    /// Waits for the value until the deadline. Returns `None` when the time ran out.
    ///
    /// # Errors
    /// As [`AsyncResult::get`].
    pub fn result_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<R>> {
        if !self.hub.wait(timeout.into(), Wanted::Job(&self.job), || self.job.is_done())? {
            return Ok(None);
        }
        let outcome = self.job.outcome()?;
        self.job.decode(outcome).map(Some)
    }
}

impl<R> fmt::Debug for Future<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Future").field("task", &self.job.task).field("done", &self.job.is_done()).finish()
    }
}

/// The condition on which [`wait`] returns.
///
/// # Examples
/// See the example of [the module](self).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReturnWhen {
    /// One future has ended.
    #[doc(alias = "FIRST_COMPLETED")]
    FirstCompleted,
    /// One future has ended with an error, or all have ended.
    #[doc(alias = "FIRST_EXCEPTION")]
    FirstException,
    /// All have ended.
    #[doc(alias = "ALL_COMPLETED")]
    AllCompleted,
}

/// The indices of the futures in the slice passed to [`wait`].
///
/// # Examples
/// See the example of [the module](self).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Waited {
    /// The futures that have ended.
    pub done: Vec<usize>,
    /// The other futures.
    pub not_done: Vec<usize>,
}

/// Waits for futures of one executor, at most until the deadline.
///
/// # Errors
/// [`NotAllowed`](ErrorKind::NotAllowed) in another process than the executor's,
/// [`InvalidInput`](ErrorKind::InvalidInput) for futures of several executors.
///
/// # Examples
/// See the example of [the module](self).
pub fn wait<R>(futures: &[Future<R>], timeout: impl Into<Deadline>, when: ReturnWhen) -> Result<Waited> {
    let done = |future: &&Future<R>| future.job.is_done();
    if let Some(first) = futures.first() {
        if futures.iter().any(|future| !Arc::ptr_eq(&future.hub, &first.hub)) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the futures belong to several executors: wait for the futures of each executor separately",
            ));
        }
        first.hub.wait(timeout.into(), Wanted::Each, || {
            let all = || futures.iter().all(|future| done(&future));
            match when {
                ReturnWhen::FirstCompleted => futures.iter().any(|future| done(&future)),
                ReturnWhen::FirstException => {
                    all() || futures.iter().any(|future| done(&future) && future.job.failure().is_some())
                }
                ReturnWhen::AllCompleted => all(),
            }
        })?;
    }
    let (done, not_done) = (0..futures.len()).partition(|at| futures.get(*at).is_some_and(|future| done(&future)));
    Ok(Waited { done, not_done })
}

/// Iterates over futures of one executor, as they end.
///
/// # Examples
/// See the example of [the module](self).
pub fn as_completed<R>(futures: impl IntoIterator<Item = Future<R>>) -> AsCompleted<R> {
    AsCompleted { futures: futures.into_iter().collect() }
}

/// An iterator over futures as they end, made by [`as_completed`].
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::multiprocessing::pool::futures::{AsCompleted, Executor, as_completed};
/// use ossature::multiprocessing::{Tasks, freeze_support, tasks};
///
/// fn rest(millis: u64) -> u64 {
///     std::thread::sleep(Duration::from_millis(millis));
///     millis
/// }
///
/// static TASKS: Tasks = tasks![rest];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let executor = Executor::new(2)?;
///     let mut ended: AsCompleted<u64> = as_completed([executor.submit(rest, (200,))?, executor.submit(rest, (0,))?]);
///     assert_eq!(ended.next().transpose()?.map(|future| future.result()).transpose()?, Some(0));
///     assert!(matches!(ended.next_timeout(Duration::ZERO), Some(Ok(None))));
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[must_use = "the iterator waits for nothing until `next` is called"]
pub struct AsCompleted<R> {
    futures: Vec<Future<R>>,
}

impl<R> AsCompleted<R> {
    /// Waits for the next future that ends, until the deadline. Returns `Some(Ok(None))` when the time ran out, and
    /// `None` after the last future.
    ///
    /// # Errors
    /// As [`wait`]; then no future follows.
    pub fn next_timeout(&mut self, timeout: impl Into<Deadline>) -> Option<Result<Option<Future<R>>>> {
        if self.futures.is_empty() {
            return None;
        }
        match wait(&self.futures, timeout, ReturnWhen::FirstCompleted) {
            Ok(waited) => Some(Ok(waited.done.first().map(|at| self.futures.remove(*at)))),
            Err(error) => {
                self.futures.clear();
                Some(Err(error))
            }
        }
    }
}

impl<R> Iterator for AsCompleted<R> {
    type Item = Result<Future<R>>;

    fn next(&mut self) -> Option<Result<Future<R>>> {
        match self.next_timeout(Deadline::NEVER)? {
            Ok(future) => future.map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}
