//! A pool of threads: the methods of a pool of processes, for closures and without serialisation.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ossature_sys::deadline::Deadline;

use super::chunk::default_chunksize;
use super::drawers::CHECK;
use super::gathered::{Gathered, taken};
use super::refusal::Refusal;
use super::thread_calls::{Admitted, Call, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::process::{unreported, usable_cpus};
use crate::thread;
use crate::threading::Thread;

/// Threads that run closures: Python's `multiprocessing.pool.ThreadPool`.
///
/// Values go from thread to thread as they are. A panic of a call is the error of its result, of the kind
/// [`Remote`](ErrorKind::Remote), and its thread continues.
///
/// A thread cannot be ended from outside. [`terminate`](Self::terminate) cancels what has not begun.
/// [`join`](Self::join) and the drop of the pool wait for the calls that run.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::pool::ThreadPool;
///
/// let pool = ThreadPool::new(2)?;
/// let words = vec!["seven".to_owned(), "and".to_owned()];
/// assert_eq!(pool.map(|word| word.len(), words)?, [5, 3]);
/// assert_eq!(pool.apply(|| 6 * 7)?, 42);
/// let mut later = pool.apply_async(|| "said")?;
/// assert_eq!(later.get_timeout(Duration::from_secs(60))?, Some("said"));
/// assert_eq!(pool.imap(|number| number * number, 1..)?.take(3).collect::<Result<Vec<_>, _>>()?, [1, 4, 9]);
/// let mut any: Vec<i32> = pool.imap_unordered(|number| -number, 1..4)?.collect::<Result<_, _>>()?;
/// any.sort();
/// assert_eq!(any, [-3, -2, -1]);
/// assert!(pool.map_async(|number| number, 0..3)?.wait(Duration::from_secs(60)));
/// assert_eq!(pool.workers(), 2);
/// pool.close();
/// pool.join()?;
/// # Ok::<(), ossature::Error>(())
/// ```
pub struct ThreadPool {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
}

impl ThreadPool {
    /// Starts a pool of `workers` threads.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for none, `EAGAIN` when the system has no room for another.
    pub fn new(workers: usize) -> Result<Self> {
        Self::with_initializer(workers, || ())
    }

    /// Starts a pool of as many threads as there are [usable processors](usable_cpus).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::pool::ThreadPool;
    ///
    /// assert!(ThreadPool::with_usable_cpus()?.workers() >= 1);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn with_usable_cpus() -> Result<Self> {
        Self::new(usable_cpus()?)
    }

    /// Starts a pool of `workers` threads. Each thread first runs `initializer`. A panic there is printed, and the
    /// thread continues.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use std::cell::Cell;
    /// use ossature::multiprocessing::pool::ThreadPool;
    ///
    /// thread_local! { static BASE: Cell<u32> = const { Cell::new(0) } }
    ///
    /// let pool = ThreadPool::with_initializer(2, || BASE.set(10))?;
    /// assert_eq!(pool.apply(|| BASE.get() + 1)?, 11);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn with_initializer(workers: usize, initializer: impl Fn() + Send + Sync + 'static) -> Result<Self> {
        if workers == 0 {
            return Err(Error::new(ErrorKind::InvalidInput, "number of threads must be at least 1"));
        }
        let shared = Arc::new(Shared::new());
        let initializer = Arc::new(initializer);
        // Dropped with an error, it ends those that were started.
        let mut pool = Self { shared, threads: Vec::new() };
        for number in 1..=workers {
            let (shared, initializer) = (pool.shared.clone(), initializer.clone());
            let body = move || {
                thread::report_panics(|| initializer());
                shared.work();
            };
            pool.threads.push(Thread::builder().name(format!("ThreadPoolWorker-{number}")).daemon(true).spawn(body)?);
        }
        Ok(pool)
    }

    /// Returns the number of threads.
    pub fn workers(&self) -> usize {
        self.threads.len()
    }

    /// Runs `call` in a thread of the pool, and waits for its value.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async) and [`ThreadResult::get`].
    pub fn apply<R: Send + 'static>(&self, call: impl FnOnce() -> R + Send + 'static) -> Result<R> {
        self.apply_async(call)?.get()
    }

    /// Sends `call` to a thread of the pool. Does not wait.
    ///
    /// # Errors
    /// [`ShutDown`](ErrorKind::ShutDown) after [`close`](Self::close) or [`terminate`](Self::terminate).
    pub fn apply_async<R: Send + 'static>(&self, call: impl FnOnce() -> R + Send + 'static) -> Result<ThreadResult<R>> {
        let gathered = Arc::new(Gathered::new());
        let index = gathered.give(1);
        let inner = gathered.clone();
        let call: Call = Box::new(move |runs| run_or_cancel(&inner, index, runs, call));
        self.shared.submit([call])?;
        Ok(ThreadResult { gathered })
    }

    /// Calls `f` with each item, and waits for all values, in the order of the items.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async), and the first error in the order of the items.
    pub fn map<A, R, I>(&self, f: impl Fn(A) -> R + Send + Sync + 'static, items: I) -> Result<Vec<R>>
    where
        A: Send + 'static,
        R: Send + 'static,
        I: IntoIterator<Item = A>,
    {
        self.map_async(f, items)?.get()
    }

    /// Does what [`map`](Self::map) does, without the wait. The threads receive the items in chunks of CPython's
    /// default size. For Python's `starmap` pass a closure over a tuple: `|(a, b)| ...`.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async).
    #[doc(alias = "starmap")]
    pub fn map_async<A, R, I>(&self, f: impl Fn(A) -> R + Send + Sync + 'static, items: I) -> Result<ThreadMapResult<R>>
    where
        A: Send + 'static,
        R: Send + 'static,
        I: IntoIterator<Item = A>,
    {
        let admitted = Admitted::new(&self.shared)?;
        let items: Vec<A> = items.into_iter().collect();
        let size = default_chunksize(items.len(), self.workers());
        let (gathered, f) = (Arc::new(Gathered::new()), Arc::new(f));
        let mut calls: Vec<Call> = Vec::new();
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let chunk: Vec<A> = items.by_ref().take(size).collect();
            calls.push(chunk_of(&gathered, &f, chunk));
        }
        self.shared.submit_for(Some(&admitted), calls)?;
        Ok(ThreadMapResult { gathered })
    }

    /// Calls `f` with each item. The iterator yields the values in the order of the items. It draws items as values are
    /// taken, at most four for each thread ahead.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async).
    pub fn imap<A, R, F, I>(&self, f: F, items: I) -> Result<ThreadIMap<I::IntoIter, F, R>>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
    {
        self.results(f, items, true)
    }

    /// Does what [`imap`](Self::imap) does, but yields the values in the order in which they come.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async).
    pub fn imap_unordered<A, R, F, I>(&self, f: F, items: I) -> Result<ThreadIMap<I::IntoIter, F, R>>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
    {
        self.results(f, items, false)
    }

    fn results<A, R, F, I>(&self, f: F, items: I, ordered: bool) -> Result<ThreadIMap<I::IntoIter, F, R>>
    where
        A: Send + 'static,
        R: Send + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        I: IntoIterator<Item = A>,
    {
        let mut results = ThreadIMap {
            gathered: Arc::new(Gathered::new()),
            f: Arc::new(f),
            admitted: Some(Admitted::new(&self.shared)?),
            items: Some(items.into_iter()),
            ahead: 4 * self.workers(),
            under_way: 0,
            ordered,
            refusal: None,
        };
        results.draw();
        match results.refusal.take() {
            Some(refusal) if results.under_way == 0 => Err(refusal.come()),
            refusal => Ok(ThreadIMap { refusal, ..results }),
        }
    }

    /// Closes the pool, which then refuses further calls. The threads make the calls that the pool has, and then end. A
    /// map or [`imap`](Self::imap) that began before goes on to its last item.
    pub fn close(&self) {
        self.shared.state().closed = true;
        self.shared.ready.notify_all();
    }

    /// Closes the pool, and cancels the calls that have not started: their results are
    /// [`Cancelled`](ErrorKind::Cancelled).
    ///
    /// # Examples
    /// ```
    /// use ossature::ErrorKind;
    /// use ossature::multiprocessing::pool::ThreadPool;
    ///
    /// let pool = ThreadPool::new(1)?;
    /// pool.terminate();
    /// assert_eq!(pool.apply(|| 1).unwrap_err().kind(), ErrorKind::ShutDown);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn terminate(&self) {
        let mut state = self.shared.state();
        state.closed = true;
        state.drawers.cut_all();
        let calls = std::mem::take(&mut state.calls);
        drop(state);
        self.shared.ready.notify_all();
        for call in calls {
            thread::report_panics(|| call(false)); // the drop of an item may panic, and the others are to be cancelled
        }
    }

    /// Waits until the threads of a closed or terminated pool have ended. The call also waits until the iterators of
    /// [`imap`](Self::imap) that other threads use are exhausted or dropped, forever if they never are. Items of the
    /// calling thread's own iterators are left out, as by [`Pool::join`](super::Pool::join).
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a pool that still takes calls,
    /// [`WouldDeadlock`](ErrorKind::WouldDeadlock) in a thread of the pool.
    pub fn join(&self) -> Result<()> {
        let mut state = self.shared.state();
        if !state.closed {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "cannot join the pool: it is still running; close or terminate it first",
            ));
        }
        loop {
            state.drawers.cut_own();
            let has_drawers = !state.drawers.is_empty();
            drop(state);
            self.shared.ready.notify_all();
            let Some(thread) = self.threads.first().filter(|_| has_drawers) else { break };
            thread.join_timeout(CHECK)?; // a thread that draws may end meanwhile
            state = self.shared.state();
        }
        self.threads.iter().try_for_each(Thread::join)
    }
}

/// Waits for the running calls, and cancels the others.
impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.terminate();
        let _ = self.join(); // in a thread of its own it cannot wait for itself
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("workers", &self.workers()).finish_non_exhaustive()
    }
}

/// Runs a call, and converts a panic to an error.
fn run<R>(call: impl FnOnce() -> R) -> Result<R> {
    thread::catch(call).map_err(|escaped| {
        let error = Error::caused(ErrorKind::Remote, None, unreported(&escaped));
        thread::report_panics(|| drop(escaped)); // the drop of a payload may panic, too
        error
    })
}

/// Runs a call, or cancels it. The outcome of a cancelled call is stored before its drop, which may panic.
fn run_or_cancel<R>(gathered: &Gathered<R>, index: usize, runs: bool, call: impl FnOnce() -> R) {
    if runs {
        gathered.resolve(index, Some(run(call)));
    } else {
        gathered.resolve(index, None);
        thread::report_panics(|| drop(call));
    }
}

/// Combines the calls of one chunk into one call.
fn chunk_of<A, R, F>(gathered: &Arc<Gathered<R>>, f: &Arc<F>, chunk: Vec<A>) -> Call
where
    A: Send + 'static,
    R: Send + 'static,
    F: Fn(A) -> R + Send + Sync + 'static,
{
    let (first, gathered, f) = (gathered.give(chunk.len()), gathered.clone(), f.clone());
    Box::new(move |runs| {
        for (item, index) in chunk.into_iter().zip(first..) {
            run_or_cancel(&gathered, index, runs, || f(item));
        }
    })
}

/// The result of one call in a thread.
///
/// # Examples
/// See the example of [`ThreadPool`].
#[must_use = "dropping the result loses the value"]
pub struct ThreadResult<R> {
    gathered: Arc<Gathered<R>>,
}

/// The results of the calls of one map, in the order of the items.
///
/// # Examples
/// See the example of [`ThreadPool`].
#[must_use = "dropping the result loses the values"]
pub struct ThreadMapResult<R> {
    gathered: Arc<Gathered<R>>,
}

macro_rules! waits {
    ($Result:ident, $Value:ty) => {
        impl<R> $Result<R> {
            /// Waits until the result is available, or until the deadline. Returns whether the result is available.
            ///
            /// # Examples
            /// See the example of [`ThreadPool`].
            pub fn wait(&self, timeout: impl Into<Deadline>) -> bool {
                self.gathered.wait(timeout.into(), |state| state.waiting == 0).is_some()
            }

            /// Whether the result is available, a value or an error.
            ///
            /// # Examples
            /// See the example of [`ThreadPool`].
            pub fn ready(&self) -> bool {
                self.gathered.state().waiting == 0
            }

            /// Waits for the value.
            ///
            /// # Errors
            /// [`Remote`](ErrorKind::Remote) when the call panicked, [`Cancelled`](ErrorKind::Cancelled) when the pool
            /// ended before the call began, [`NoResult`](ErrorKind::NoResult) when the value was given before.
            pub fn get(mut self) -> Result<$Value> {
                self.get_timeout(Deadline::NEVER)?.ok_or_else(taken)
            }
        }

        impl<R> fmt::Debug for $Result<R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Result)).field("ready", &self.ready()).finish()
            }
        }
    };
}

waits!(ThreadResult, R);
waits!(ThreadMapResult, Vec<R>);

impl<R> ThreadResult<R> {
    /// Waits for the value until the deadline. Returns `None` when the time ran out.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: impl Into<Deadline>) -> Result<Option<R>> {
        match self.gathered.wait(timeout.into(), |state| state.waiting == 0) {
            None => Ok(None),
            Some(mut state) => state.take_next(true).ok_or_else(taken)?.map(Some),
        }
    }
}

impl<R> ThreadMapResult<R> {
    /// Waits for the values until the deadline. Returns `None` when the time ran out.
    ///
    /// # Errors
    /// As [`get`](Self::get), of the first item in order that has no value.
    pub fn get_timeout(&mut self, timeout: impl Into<Deadline>) -> Result<Option<Vec<R>>> {
        let Some(mut state) = self.gathered.wait(timeout.into(), |state| state.waiting == 0) else { return Ok(None) };
        if state.places.is_empty() && state.first > 0 {
            return Err(taken());
        }
        let places = std::mem::take(&mut state.places);
        state.first += places.len();
        drop(state);
        let values: Result<Vec<R>> = places.into_iter().map(|place| place.flatten().ok_or_else(taken)?).collect();
        values.map(Some)
    }
}

/// The results of [`ThreadPool::imap`] and [`ThreadPool::imap_unordered`].
///
/// # Examples
/// See the example of [`ThreadPool`].
#[must_use = "results are computed as they are taken"]
pub struct ThreadIMap<I, F, R> {
    gathered: Arc<Gathered<R>>,
    f: Arc<F>,
    items: Option<I>,
    /// The right to give items, while there are items.
    admitted: Option<Admitted>,
    ahead: usize,
    under_way: usize,
    ordered: bool,
    /// The reason why no more items are drawn; it follows the results of the items before.
    refusal: Option<Refusal>,
}

impl<I, F, A, R> ThreadIMap<I, F, R>
where
    I: Iterator<Item = A>,
    A: Send + 'static,
    R: Send + 'static,
    F: Fn(A) -> R + Send + Sync + 'static,
{
    fn draw(&mut self) {
        let Some(admitted) = self.admitted.take() else { return };
        admitted.drawer.draws_here();
        while self.under_way < self.ahead && self.refusal.is_none() {
            let item = match catch_unwind(AssertUnwindSafe(|| self.items.as_mut().and_then(Iterator::next))) {
                Ok(Some(item)) => item,
                Ok(None) => {
                    self.items = None;
                    break;
                }
                Err(payload) => {
                    self.refusal = Some(Refusal::panicked(payload));
                    break;
                }
            };
            let call = chunk_of(&self.gathered, &self.f, vec![item]);
            if let Err(error) = admitted.shared.submit_for(Some(&admitted), [call]) {
                self.refusal = Some(error.into());
                self.items = None; // last, for the drop of an iterator may panic
                break;
            }
            self.under_way += 1;
        }
        self.admitted = Some(admitted).filter(|_| self.items.is_some());
    }

    /// Waits for the next result until the deadline. Returns `Some(Ok(None))` when the time ran out, and `None` after
    /// the last result.
    ///
    /// # Errors
    /// As [`ThreadResult::get`], for one call. When the pool takes no more calls, that error is the last.
    ///
    /// # Panics
    /// When the iterator over the items panics, after the results of the items before. The pool continues, and so does
    /// the iteration if the caller catches the panic.
    pub fn next_timeout(&mut self, timeout: impl Into<Deadline>) -> Option<Result<Option<R>>> {
        self.draw();
        if self.under_way == 0 {
            return self.refusal.take().map(|refusal| Err(refusal.come()));
        }
        let ordered = self.ordered;
        let Some(mut state) = self.gathered.wait(timeout.into(), |state| state.has_next(ordered)) else {
            return Some(Ok(None));
        };
        let outcome = state.take_next(ordered)?;
        drop(state);
        self.under_way -= 1;
        Some(outcome.map(Some))
    }
}

impl<I, F, A, R> Iterator for ThreadIMap<I, F, R>
where
    I: Iterator<Item = A>,
    A: Send + 'static,
    R: Send + 'static,
    F: Fn(A) -> R + Send + Sync + 'static,
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        match self.next_timeout(Deadline::NEVER)? {
            Ok(value) => value.map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

impl<I, F, R> fmt::Debug for ThreadIMap<I, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadIMap").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}
