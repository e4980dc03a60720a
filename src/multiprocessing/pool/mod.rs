//! Workers that run tasks: Python's `multiprocessing.pool`.
//!
//! ```standalone_crate
//! use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};
//!
//! fn square(number: u64) -> u64 {
//!     number * number
//! }
//!
//! static TASKS: Tasks = tasks![square]; // what workers may run
//!
//! fn main() -> ossature::Result<()> {
//!     freeze_support(TASKS); // first in main
//!     let pool = Pool::new(4)?;
//!     assert_eq!(pool.map(square, 0..5)?, [0, 1, 4, 9, 16]);
//!     assert_eq!(pool.apply(square, (12,))?, 144);
//!     Ok(())
//! }
//! ```
//!
//! The other calls:
//!
//! ```standalone_crate
//! use ossature::multiprocessing::{Context, Pool, Tasks, freeze_support, tasks};
//!
//! fn parse(text: String) -> Result<u32, std::num::ParseIntError> {
//!     text.parse()
//! }
//!
//! fn half(number: u32) -> u32 {
//!     number / 2
//! }
//!
//! fn add(a: u32, b: u32) -> u32 {
//!     a + b
//! }
//!
//! static TASKS: Tasks = tasks![parse, half, add];
//!
//! fn main() -> ossature::Result<()> {
//!     freeze_support(TASKS);
//!     let pool = Pool::builder().workers(2).context(Context::Fork).retries(1).build()?;
//!     assert_eq!(pool.apply_result(parse, ("12".to_owned(),))?, 12);
//!     let (halves, sums) = (pool.map_async(half, [2, 4])?, pool.starmap_async(add, [(1, 2)])?);
//!     assert_eq!(sums.get()?, [3]);
//!     while halves.ended()? < 2 {} // a progress bar would be drawn here
//!     assert_eq!(halves.get()?, [1, 2]);
//!     for half in pool.imap(half, 0..100)? {
//!         assert!(half? < 50);
//!     }
//!     let sum: u32 = pool.chunksize(10)?.imap_unordered(half, 0..4)?.sum::<ossature::Result<u32>>()?;
//!     assert_eq!(sum + pool.imap_unordered(half, [8])?.sum::<ossature::Result<u32>>()?, 6);
//!     Ok(())
//! }
//! ```
//!
//! **No call hangs.** If a worker is killed, the call that it was running ends at once, as
//! [`WorkerDied`](crate::ErrorKind::WorkerDied) with the worker's number and signal. Other workers get the calls that
//! it had taken and not begun; the outcomes that it had reported are kept. So each call ends exactly once. Another
//! worker starts in its place, even while this process computes and makes no call of the pool.
//!
//! **The supervisor.** The pool starts one process, its *supervisor*, by the method of its
//! [context](PoolBuilder::context). The supervisor has one thread. It forks the workers and waits for their ends.
//! Workers end with their supervisor, and the supervisor ends with the process that made the pool. If the supervisor is
//! killed, the calls that were running end as `WorkerDied`. The next call of the pool, or one that waits, starts
//! another supervisor.
//!
//! **Descriptors.** A call and its result may contain open files, locks, values, connections and queues, at most 253
//! descriptors: see [`transfer`](crate::multiprocessing::transfer). Such a call is sent to a worker separately, and may
//! begin before earlier calls.
//!
//! **No thread in this process**, except for callbacks. A thread that waits for a result collects the results of all
//! threads. If a process makes no call for long, a worker waits once its uncollected results take 128 KiB.
//!
//! | Python | here |
//! | --- | --- |
//! | `Pool(4, init, (x,), 100)` | `Pool::builder().workers(4).initializer(init, (x,))?.max_tasks_per_child(100).build()?` |
//! | `pool.apply(f, (x, y))` | `pool.apply(f, (x, y))?` |
//! | `pool.map(f, items, chunksize=10)` | `pool.chunksize(10)?.map(f, items)?` |
//! | `pool.apply_async(f, (x,)).get(timeout=1)` | `pool.apply_async(f, (x,))?.get_timeout(Duration::from_secs(1))?` |
//! | `for y in pool.imap(f, items)` | `for y in pool.imap(f, items)?` |
//! | `pool.close(); pool.join()` | `pool.close()?; pool.join()?` |
//! | `with Pool(4) as pool:` | a block: the drop of a pool terminates it |
//! | `ThreadPool(4)` | [`ThreadPool::new(4)?`](ThreadPool) takes closures |
//! | (none) | [`fork_map`]: a closure that borrows |
//! | `concurrent.futures` | [`futures`] |

// For those who change this module: its files.
//
// | file | idea |
// | --- | --- |
// | `word`, `claims` | the state of a chunk in one word; the steps on the words of the board |
// | `board`, `exits`, `arena` | the memory in which chunks are published, claimed, and reclaimed after a death; room for arguments |
// | `logs` | log records on their way to the parent |
// | `stream`, `packets` | outcomes on their way to the parent; descriptors of arguments and results |
// | `ground` | all of these together, as they are sent to another process |
// | `worker`, `supervisor`, `looks` | the main loops of the two kinds of processes; the looks before a sleep |
// | `chunk`, `job`, `handles`, `names`, `values`, `kept`, `together`, `failure`, `refusal` | the parent's data about published calls, their outcomes, and the reason why no more calls are accepted |
// | `hub`, `wanted`, `waits`, `collect`, `series`, `asks` | the parent: waiting and ending; what a thread waits for, and which news wakes it; outcomes, deaths and publishing; the chunks of a series; cancelling and callbacks |
// | `ends`, `fallen`, `succession` | the parent: the end of the pool; a supervisor that has ended; the start of the next one |
// | `drawers`, `admitted` | maps with items to draw, which go on in a closed pool; calls on their way in |
// | `handle` | a pool, and its end |
// | `builder`, `chunked`, `result`, `imap`, `futures`, `fork_map`, `readiness`, `stats` | the public faces beside `Pool` |
// | `plain` | maps without serialisation |
// | `opaque`, `engine` | calls whose arguments and values are bytes, for the pool of a manager and for `ossature-redis` |
// | `threads`, `thread_calls`, `gathered` | the pool of threads, its calls and their outcomes, without processes and shared memory |

mod admitted;
mod arena;
mod asks;
mod board;
mod builder;
mod chunk;
mod chunked;
mod claims;
mod collect;
mod drawers;
mod ends;
pub mod engine;
mod exits;
mod failure;
mod fallen;
mod fork_map;
pub mod futures;
mod gathered;
mod ground;
mod handle;
mod handles;
mod hub;
mod imap;
mod job;
mod kept;
mod logs;
mod looks;
mod names;
mod opaque;
mod packets;
mod plain;
mod readiness;
mod refusal;
mod result;
mod series;
mod stats;
mod stream;
mod succession;
mod supervisor;
mod thread_calls;
mod threads;
mod together;
mod values;
mod waits;
mod wanted;
mod word;
mod worker;

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, atomic}; // `claims` asks for `super::atomic`: the model checker has its own

use ossature_sys::deadline::Deadline;
use ossature_sys::shm::Plain;

use self::chunk::Chunk;
use self::handle::name;
use self::job::{Job, Keep};
use self::kept::Pieces;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::tasks::{Arguments, Form, Target};
use crate::multiprocessing::transfer::{Transfer, Writing};

#[doc(inline)]
pub use builder::PoolBuilder;
#[doc(inline)]
pub use chunked::Chunked;
#[doc(inline)]
pub use fork_map::fork_map;
#[doc(inline)]
pub use handle::Pool;
#[doc(inline)]
pub use imap::IMapIterator;
#[doc(inline)]
pub use readiness::Readiness;
#[doc(inline)]
pub use result::{AsyncResult, MapResult};
#[doc(inline)]
pub use stats::WorkerStats;
#[doc(inline)]
pub use threads::{ThreadIMap, ThreadMapResult, ThreadPool, ThreadResult};

pub(in crate::multiprocessing) use opaque::Opaque;
pub(in crate::multiprocessing) use supervisor::{supervise, work};

impl Pool {
    /// Starts a pool of `workers` workers with the default method.
    ///
    /// # Errors
    /// As [`PoolBuilder::build`].
    pub fn new(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).build()
    }

    /// Makes a builder for a pool: the number of its workers, and their settings.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.0.workers()
    }

    /// Runs `target` with `args` in a worker, and waits for its value.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async) and [`AsyncResult::get`].
    pub fn apply<F, Args>(&self, target: F, args: Args) -> Result<F::Output>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
    {
        self.give_one(target, args, Form::Value, true)?.get()
    }

    /// Does what [`apply`](Self::apply) does, for a function that returns a `Result`. Returns its value, or an error
    /// with the text of its error, which may have any type that is `Debug`.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), and [`TaskFailed`](ErrorKind::TaskFailed) with the text of the function's error.
    pub fn apply_result<F, Args, T, E>(&self, target: F, args: Args) -> Result<T>
    where
        F: Target<Args, Output = std::result::Result<T, E>>,
        T: Transfer,
        E: Debug,
        Args: Arguments,
    {
        self.give_one(target, args, Form::Result, true)?.get()
    }

    /// Sends a call of `target` with `args` to a worker. Does not wait.
    ///
    /// # Errors
    /// * [`UnknownTask`](ErrorKind::UnknownTask) when no table of tasks contains `target`.
    /// * [`InvalidInput`](ErrorKind::InvalidInput) when `args` cannot be serialised, or hold more than 253 descriptors.
    /// * [`ShutDown`](ErrorKind::ShutDown) after [`close`](Self::close) or [`terminate`](Self::terminate).
    /// * [`StartFailed`](ErrorKind::StartFailed) when the pool cannot start workers.
    /// * [`NotAllowed`](ErrorKind::NotAllowed) in another process than the pool's.
    pub fn apply_async<F, Args>(&self, target: F, args: Args) -> Result<AsyncResult<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
    {
        self.give_one(target, args, Form::Value, false)
    }

    /// Does what [`apply_async`](Self::apply_async) does, and passes the value or the error to `callback`, in a thread
    /// that the pool starts for its callbacks. The returned result keeps a copy of the value, which is decoded again.
    /// Files and shared memory in the two values are the same files and memory. Their descriptors stay open until the
    /// result is taken or dropped. If the value contains a proxy of a manager, the callback's copy keeps the object. If
    /// the callback drops that copy before the result is taken, the result is an error.
    ///
    /// As in Python, the result is available once the callback has returned, and [`join`](Self::join) waits for all
    /// callbacks. Callbacks are called one after the other, so inside a callback no wait includes callbacks.
    ///
    /// A panic of a callback is printed, and the other callbacks are called. The pool starts the thread at the first
    /// call with a callback, and from then on the program cannot fork. The thread ends after the last callback of a
    /// dropped or terminated pool. The drop of a pool does not wait for callbacks.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async); `EAGAIN` when the system has no room for the thread. The callback gets
    /// `EMFILE` when no descriptor is left for its copy of a value with descriptors.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use std::sync::mpsc;
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
    ///     let pool = Pool::new(1)?;
    ///     let (tell, hear) = mpsc::channel();
    ///     let all = tell.clone();
    ///     let one = pool.apply_async_with(half, (8,), move |half| drop(tell.send(half.into_iter().collect())))?;
    ///     assert_eq!(hear.recv(), Ok(vec![4]));
    ///     assert_eq!(one.get()?, 4);
    ///     let _ = pool.map_async_with(half, [2, 4], move |halves| drop(all.send(halves.unwrap_or_default())))?;
    ///     assert_eq!(hear.recv(), Ok(vec![1, 2]));
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "callback")]
    #[doc(alias = "error_callback")]
    pub fn apply_async_with<F, Args>(
        &self,
        target: F,
        args: Args,
        callback: impl FnOnce(Result<F::Output>) + Send + 'static,
    ) -> Result<AsyncResult<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
    {
        let result = self.apply_async(target, args)?;
        let job = result.job.clone();
        let take = move || callback(job.take_value().and_then(|outcome| job.decode(outcome)));
        self.0.call_back_before(&result.job, take)?;
        Ok(result)
    }

    /// Does what [`map_async`](Self::map_async) does, and passes all values or the error to `callback`: see
    /// [`apply_async_with`](Self::apply_async_with).
    ///
    /// # Errors
    /// As [`apply_async_with`](Self::apply_async_with).
    ///
    /// # Examples
    /// See the example of [`apply_async_with`](Self::apply_async_with).
    pub fn map_async_with<F, A, I>(
        &self,
        target: F,
        items: I,
        callback: impl FnOnce(Result<Vec<F::Output>>) + Send + 'static,
    ) -> Result<MapResult<F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        let result = self.map_async(target, items)?;
        let job = result.job.clone();
        self.0.call_back_before(&result.job, move || callback(job.take_all(Pieces::new())))?;
        Ok(result)
    }

    fn give_one<F, Args, R>(&self, target: F, args: Args, form: Form, waits: bool) -> Result<AsyncResult<R>>
    where
        F: Target<Args>,
        Args: Arguments,
    {
        self.0.check()?;
        let job = Arc::new(Job::new(name(target, form)?, Keep::Each));
        let mut chunk = Chunk::new(&job, form);
        chunk.push(&Writing::begin(), &args)?; // the first call of a chunk may be alone
        chunk.base = job.give(1);
        self.0.submit_one(chunk, waits)?;
        Ok(AsyncResult { hub: self.0.clone(), job, kind: PhantomData })
    }

    /// Calls `target` with each item, in the workers, and waits for all values, in the order of the items.
    ///
    /// Workers receive the items in chunks, by default four chunks for each worker; [`chunksize`](Self::chunksize) sets
    /// the size of a chunk. Every call is made, also after another call has failed. (Python skips the calls after a
    /// failed one in the same chunk.)
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async), and as [`AsyncResult::get`] of the first item in order that has no value.
    pub fn map<F, A, I>(&self, target: F, items: I) -> Result<Vec<F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        self.map_async(target, items)?.get()
    }

    /// Does what [`map`](Self::map) does, without the wait. All items are drawn in this call. Chunks are published once
    /// they have 16 KiB of arguments together. So the first calls of a long map start while later items are drawn. If
    /// there is no [`chunksize`](Self::chunksize) and no exact `size_hint`, all items are drawn first.
    ///
    /// The chunks that no worker has are cancelled when an item cannot be serialised, the iterator panics, or the pool
    /// is terminated meanwhile. A worker still makes the calls of the chunk that it has. All values of this map are
    /// lost then.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async).
    pub fn map_async<F, A, I>(&self, target: F, items: I) -> Result<MapResult<F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        self.whole().map_async(target, items)
    }

    /// Does what [`map`](Self::map) does, for numbers and plain structs. Items and values are copied byte by byte
    /// through shared memory, without serialisation. For short calls this is several times faster.
    ///
    /// The items of a chunk and their values have 16 MiB at most, whatever the chunk size. When a worker dies, only the
    /// running call fails, as with `map`.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};
    ///
    /// fn root(number: f64) -> f64 {
    ///     number.sqrt()
    /// }
    ///
    /// static TASKS: Tasks = tasks![root];
    ///
    /// fn main() -> ossature::Result<()> {
    ///     freeze_support(TASKS);
    ///     let pool = Pool::new(2)?;
    ///     assert_eq!(pool.map_plain(root, &[1.0, 4.0, 9.0])?, [1.0, 2.0, 3.0]);
    ///     assert_eq!(pool.chunksize(2)?.map_plain(root, &[16.0; 5])?, [4.0; 5]);
    ///     Ok(())
    /// }
    /// ```
    pub fn map_plain<F, A, R>(&self, target: F, items: &[A]) -> Result<Vec<R>>
    where
        F: Target<(A,), Output = R>,
        A: Plain,
        R: Plain,
    {
        self.whole().map_plain(target, items)
    }

    /// Does what [`map`](Self::map) does, with items that are tuples of the arguments.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn starmap<F, Args, I>(&self, target: F, items: I) -> Result<Vec<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
    {
        self.starmap_async(target, items)?.get()
    }

    /// Does what [`starmap`](Self::starmap) does, without the wait.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async).
    pub fn starmap_async<F, Args, I>(&self, target: F, items: I) -> Result<MapResult<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
    {
        self.whole().starmap_async(target, items)
    }

    /// Calls `target` with each item, one item to a chunk. The iterator yields the values in the order of the items.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async), for the items that this call draws.
    pub fn imap<F, A, I>(&self, target: F, items: I) -> Result<IMapIterator<I::IntoIter, F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        self.whole().imap(target, items)
    }

    /// Does what [`imap`](Self::imap) does, but yields the values in the order in which they come.
    ///
    /// # Errors
    /// As [`imap`](Self::imap).
    pub fn imap_unordered<F, A, I>(&self, target: F, items: I) -> Result<IMapIterator<I::IntoIter, F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        self.whole().imap_unordered(target, items)
    }

    /// Returns the maps of this pool with `items` items to a chunk.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for 0. (Python's `map` then returns no results.)
    pub fn chunksize(&self, items: usize) -> Result<Chunked<'_>> {
        if items == 0 {
            return Err(Error::new(ErrorKind::InvalidInput, "chunksize must be 1 or more"));
        }
        Ok(Chunked { chunksize: Some(items), ..self.whole() })
    }

    fn whole(&self) -> Chunked<'_> {
        Chunked { pool: self, chunksize: None, lookahead: None }
    }

    /// Closes the pool, which then refuses further calls. The workers make the calls that the pool has, and then end. A
    /// second call does nothing.
    ///
    /// As in Python, a map or [`imap`](Self::imap) that began before goes on to its last item.
    ///
    /// The supervisor process ends once this process has received the result of the last call: in
    /// [`join`](Self::join), in a wait for a result, or at the drop of the pool.
    ///
    /// # Errors
    /// [`NotAllowed`](ErrorKind::NotAllowed) in another process than the pool's.
    pub fn close(&self) -> Result<()> {
        self.0.close()
    }

    /// Ends all workers, whatever they do: by `SIGTERM`, and five seconds later by `SIGKILL`. The supervisor process
    /// sends both, so the workers stay while that process is stopped. Unfinished calls are
    /// [`Cancelled`](ErrorKind::Cancelled) at once.
    ///
    /// Differs from Python, where a wait for the result of such a call never ends.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn terminate(&self) -> Result<()> {
        self.0.terminate()
    }

    /// Waits until a closed or terminated pool has made its calls, and its workers and callbacks have ended. The call
    /// also waits until the iterators of [`imap`](Self::imap) that other threads use are exhausted or dropped, forever
    /// if they never are: [`join_timeout`](Self::join_timeout) has a limit.
    ///
    /// An iterator draws its items in the thread that uses it, and the calling thread draws none while it joins. So the
    /// items that its own iterators have not drawn are left out: after the results of the drawn items, such an iterator
    /// returns [`ShutDown`](ErrorKind::ShutDown). Take the results before the join. (In Python a thread of the pool
    /// draws the items.) An iterator belongs to the thread that used it last, and at first to the thread that made it.
    /// Undrawn items of an iterator whose thread has ended are left out too. Inside a callback, those of all iterators
    /// are left out.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a pool that still takes calls,
    /// [`NotAllowed`](ErrorKind::NotAllowed) in another process than the pool's.
    pub fn join(&self) -> Result<()> {
        self.join_timeout(Deadline::NEVER).map(drop)
    }

    /// Does what [`join`](Self::join) does until the deadline. Returns false when the time ran out.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    ///
    /// # Examples
    /// ```standalone_crate
    /// use std::time::Duration;
    /// use ossature::ErrorKind;
    /// use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};
    ///
    /// fn rest() {
    ///     std::thread::sleep(Duration::from_secs(60));
    /// }
    ///
    /// static TASKS: Tasks = tasks![rest];
    ///
    /// fn main() -> ossature::Result<()> {
    ///     freeze_support(TASKS);
    ///     let pool = Pool::new(1)?;
    ///     let resting = pool.apply_async(rest, ())?;
    ///     pool.close()?;
    ///     assert!(!pool.join_timeout(Duration::from_millis(20))?, "it goes on");
    ///     pool.terminate()?;
    ///     pool.join()?;
    ///     assert_eq!(resting.get().unwrap_err().kind(), ErrorKind::Cancelled);
    ///     Ok(())
    /// }
    /// ```
    pub fn join_timeout(&self, timeout: impl Into<Deadline>) -> Result<bool> {
        self.0.join(timeout.into())
    }
}
