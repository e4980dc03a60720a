//! The pool: the calls of [`ossature::multiprocessing::Pool`], made by workers on any machine that can reach the
//! server.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ossature::multiprocessing::Target;
use ossature::multiprocessing::pool::engine::{self, Wants};
use ossature::multiprocessing::tasks::Arguments;
use ossature::multiprocessing::transfer::Transfer;
use ossature::sys::deadline::Deadline;
use ossature::{ErrorKind, Result};

use crate::engine::Engine;
use crate::hub::{Hub, Packed};
use crate::imap::IMapIterator;
use crate::job::{Manner, is_in_callback};
use crate::receiver::receive;
use crate::result::{AsyncResult, Held, MapResult};
use crate::state::Mode;
use crate::streams::Streams;
use crate::wire::Calls;

/// A pool of workers on any number of machines: see the [crate](crate).
///
/// The calls are those of the [local pool](ossature::multiprocessing::Pool), whose documentation describes them. The
/// documentation here describes the differences.
///
/// Any thread may use the pool; another process may not. Dropping the pool [terminates](Self::terminate) it.
///
/// # Examples
/// See the example of the [crate](crate).
pub struct Pool {
    pub(crate) hub: Arc<Hub>,
    pub(crate) manner: Manner,
    receiver: Option<JoinHandle<()>>,
}

/// The description that a worker gives of itself: a worker is one start of `prog worker` on one machine.
///
/// # Examples
/// See the example of [`Pool::hosts`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HostStats {
    /// The name of the machine.
    pub host: String,
    /// The process id of `prog worker` on that machine.
    pub pid: u32,
    /// The number of processes that run calls there.
    pub processes: usize,
    /// The number of running chunks of calls.
    pub running: usize,
    /// The number of calls that have ended since the worker started.
    pub calls: u64,
    /// The builds and versions whose calls the worker runs.
    pub builds: Vec<String>,
}

/// A chunk of calls that no worker could run: see [`Pool::dead_letters`].
///
/// # Examples
/// See the example of [`Pool::dead_letters`].
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The letter's id in the list.
    pub id: String,
    /// The reason why the letter is in the list.
    pub why: String,
    /// The build of the program that submitted it, or the version.
    pub build: String,
    /// The task; `None` for bytes of another format.
    pub task: Option<String>,
    /// The number of calls of the task.
    pub calls: usize,
    body: Vec<u8>,
}

/// The function that submits calls: at once, or in the wait for them.
type Give = fn(&Hub, u64, &[u8], &[usize]) -> Result<()>;

impl Pool {
    pub(crate) fn start(hub: Arc<Hub>, manner: Manner) -> Result<Self> {
        let theirs = hub.clone();
        let name = "PoolReceiver".to_owned();
        let receiver = std::thread::Builder::new().name(name).spawn(move || receive(&theirs))?;
        Ok(Self { hub, manner, receiver: Some(receiver) })
    }

    /// Runs `target` with `args` on any machine, and waits for its value.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async) and [`AsyncResult::get`].
    pub fn apply<F, Args>(&self, target: F, args: Args) -> Result<F::Output>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
    {
        self.one(target, args, Wants::Value, Hub::give_at_wait)?.get()
    }

    /// As [`apply`](Self::apply), for a function that returns a `Result`: its value, or an error with the text of its
    /// error.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), and [`TaskFailed`](ErrorKind::TaskFailed) with the text of the function's error.
    pub fn apply_result<F, Args, T, E>(&self, target: F, args: Args) -> Result<T>
    where
        F: Target<Args, Output = std::result::Result<T, E>>,
        T: Transfer,
        E: fmt::Debug,
        Args: Arguments,
    {
        self.one(target, args, Wants::Result, Hub::give_at_wait)?.get()
    }

    /// Submits a call of `target` with `args` to a worker. Does not wait.
    ///
    /// # Errors
    /// * [`UnknownTask`](ErrorKind::UnknownTask) when `target` is in no table of tasks.
    /// * [`InvalidInput`](ErrorKind::InvalidInput) when `args` cannot be serialised,
    ///   [`Unsupported`](ErrorKind::Unsupported) when they hold a descriptor or shared memory,
    ///   [`TooLong`](ErrorKind::TooLong) above 512 MiB.
    /// * [`ShutDown`](ErrorKind::ShutDown) after [`close`](Self::close) or [`terminate`](Self::terminate).
    /// * [`Closed`](ErrorKind::Closed) when the server is unavailable for longer than an outage may last.
    /// * [`NotAllowed`](ErrorKind::NotAllowed) in another process than the pool's.
    pub fn apply_async<F, Args>(&self, target: F, args: Args) -> Result<AsyncResult<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
    {
        self.one(target, args, Wants::Value, Hub::give)
    }

    /// As the local pool's [`apply_async_with`](ossature::multiprocessing::Pool::apply_async_with).
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async); `EAGAIN` when the system has no room for the thread.
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
        let result = self.one(target, args, Wants::Value, Hub::give)?;
        let before = result.held.hold_back();
        self.hub.call_back(result.held.job, move || callback(before.held().one()))?;
        Ok(result)
    }

    fn one<F, Args, R>(&self, target: F, args: Args, wants: Wants, give: Give) -> Result<AsyncResult<R>>
    where
        F: Target<Args>,
        Args: Arguments,
    {
        let task = engine::name_of(target, wants)?;
        let mut packed = Packed::new();
        packed.push(task, &args)?;
        let job = self.hub.begin(task, Manner { wants, ..self.manner }, false)?;
        let result = AsyncResult { held: Held { hub: self.hub.clone(), job, task }, kind: PhantomData };
        give(&self.hub, job, &packed.bytes, &packed.ends)?;
        Ok(result)
    }

    /// Calls `target` with each item, and waits for all values, which come in the order of the items.
    ///
    /// Workers receive items in chunks that take about 20 ms each, estimated from earlier calls;
    /// [`chunksize`](Self::chunksize) sets another size. Every call is made, even after another has failed.
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
        self.many(target, items.into_iter().map(|item| (item,)), Hub::give_at_wait)?.get()
    }

    /// As the local pool's [`map_async`](ossature::multiprocessing::Pool::map_async), in the chunks of
    /// [`map`](Self::map).
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
        self.starmap_async(target, items.into_iter().map(|item| (item,)))
    }

    /// As the local pool's [`map_async_with`](ossature::multiprocessing::Pool::map_async_with).
    ///
    /// # Errors
    /// As [`apply_async_with`](Self::apply_async_with).
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
        let before = result.held.hold_back();
        self.hub.call_back(result.held.job, move || callback(before.held().all()))?;
        Ok(result)
    }

    /// As the local pool's [`starmap`](ossature::multiprocessing::Pool::starmap).
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
        self.many(target, items, Hub::give_at_wait)?.get()
    }

    /// As the local pool's [`starmap_async`](ossature::multiprocessing::Pool::starmap_async).
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
        self.many(target, items, Hub::give)
    }

    fn many<F, Args, I>(&self, target: F, items: I, give: Give) -> Result<MapResult<F::Output>>
    where
        F: Target<Args>,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
    {
        let task = engine::name_of(target, Wants::Value)?;
        let mut packed = Packed::new();
        items.into_iter().try_for_each(|args| packed.push(task, &args))?;
        let job = self.hub.begin(task, self.manner, false)?;
        let result = MapResult { held: Held { hub: self.hub.clone(), job, task }, kind: PhantomData };
        give(&self.hub, job, &packed.bytes, &packed.ends)?;
        Ok(result)
    }

    /// Calls `target` with each item. The values come one after the other, in the order of the items; items are drawn
    /// as values are taken.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async), for the items that are drawn at once.
    pub fn imap<F, A, I>(&self, target: F, items: I) -> Result<IMapIterator<I::IntoIter, F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        let task = engine::name_of(target, Wants::Value)?;
        IMapIterator::begin(self.hub.clone(), task, self.manner, false, items.into_iter())
    }

    /// As the local pool's [`imap_unordered`](ossature::multiprocessing::Pool::imap_unordered).
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
        let task = engine::name_of(target, Wants::Value)?;
        IMapIterator::begin(self.hub.clone(), task, self.manner, true, items.into_iter())
    }

    /// Returns the maps of this pool with `items` items to a chunk.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for 0.
    pub fn chunksize(&self, items: usize) -> Result<Chunked<'_>> {
        if items == 0 {
            return Err(engine::error(ErrorKind::InvalidInput, "chunksize must be 1 or more".into()));
        }
        let manner = Manner { chunksize: Some(items), ..self.manner };
        Ok(Chunked { pool: Self { hub: self.hub.clone(), manner, receiver: None }, of: PhantomData })
    }

    /// The number of processes of all workers of this build, as the workers report.
    pub fn workers(&self) -> usize {
        let state = self.hub.state();
        let ours = state.hosts.iter().filter(|is| is.labels.contains(&self.hub.me.label));
        ours.map(|is| is.processes).sum()
    }

    /// The living workers, as they reported within the last second.
    ///
    /// # Examples
    /// ```no_run
    /// # fn main() -> ossature::Result<()> {
    /// let pool = ossature_redis::Pool::connect("redis://broker/", "render")?;
    /// for host in pool.hosts() {
    ///     println!("{}: {} processes, {} calls ended", host.host, host.processes, host.calls);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn hosts(&self) -> Vec<HostStats> {
        self.hub.state().hosts.iter().cloned().map(HostStats::from).collect()
    }

    /// How often chunks were submitted again because the server had lost them.
    pub fn healed(&self) -> u64 {
        self.hub.state().healed
    }

    /// The chunks of this pool that no worker could run, the oldest first. Their bytes are not of this protocol, or
    /// they lost a host at each permitted attempt.
    ///
    /// Returns at most a thousand. The server keeps at least the last thousand, and somewhat more at times.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) when the server is unavailable.
    ///
    /// # Examples
    /// ```no_run
    /// # fn main() -> ossature::Result<()> {
    /// let pool = ossature_redis::Pool::connect("redis://broker/", "render")?;
    /// for letter in pool.dead_letters()? {
    ///     println!("{}: {:?}, {} calls: {}", letter.id, letter.task, letter.calls, letter.why);
    ///     if letter.task.is_some() {
    ///         pool.put_back(&letter)?; // the workers run it again; no caller waits for the values
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        drop(self.hub.lock()?);
        let letters = self.ask(|engine| engine.dead(1000))?;
        let letters = letters.into_iter().map(|letter| {
            let calls = Calls::read(&letter.body);
            let task = calls.as_ref().map(|calls| calls.task.to_owned());
            let count = calls.map_or(0, |calls| calls.arguments.len());
            DeadLetter { id: letter.id, why: letter.why, build: letter.label, task, calls: count, body: letter.body }
        });
        Ok(letters.collect())
    }

    /// Submits the calls of a dead letter again, as calls of this pool whose values no caller awaits, and removes the
    /// letter from the list.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) for bytes of another program, [`NoResult`](ErrorKind::NoResult) when another
    /// caller has removed the letter, [`UnknownTask`](ErrorKind::UnknownTask) for a task that this program does not
    /// have, and those of [`apply_async`](Self::apply_async).
    ///
    /// # Examples
    /// See the example of [`dead_letters`](Self::dead_letters).
    pub fn put_back(&self, letter: &DeadLetter) -> Result<()> {
        let Some(calls) = Calls::read(&letter.body) else {
            let text = format!("the dead letter {} has no calls: {}", letter.id, letter.why);
            return Err(engine::error(ErrorKind::Decode, text));
        };
        let task = engine::known_name(calls.task)?;
        if !self.ask(|engine| engine.exhume(&letter.id))? {
            let text = format!("the dead letter {} is not in the list any more", letter.id);
            return Err(engine::error(ErrorKind::NoResult, text));
        }
        let manner = Manner { wants: calls.wants, limit: calls.limit, ..self.manner };
        let job = self.hub.begin(task, manner, false)?;
        let mut end = 0;
        let ends: Vec<usize> = calls
            .arguments
            .iter()
            .map(|arguments| {
                end += arguments.len();
                end
            })
            .collect();
        self.hub.give(job, &calls.arguments.concat(), &ends)?;
        self.hub.let_go(job);
        Ok(())
    }

    /// Runs `ask` over its own connection.
    fn ask<T>(&self, mut ask: impl FnMut(&mut Streams) -> crate::engine::Outcome<T>) -> Result<T> {
        let limit = Duration::from_secs(5).min(self.hub.settings.outage);
        let answer = self.hub.link.open_within(limit, || false).and_then(|mut engine| ask(&mut engine));
        answer.map_err(|fault| self.hub.link.error(&fault))
    }

    /// Closes the pool, which accepts no more calls. The calls already submitted are run.
    ///
    /// # Errors
    /// [`NotAllowed`](ErrorKind::NotAllowed) in another process than the pool's.
    pub fn close(&self) -> Result<()> {
        let mut state = self.hub.lock()?;
        if state.mode == Mode::Open {
            state.mode = Mode::Closed;
        }
        Ok(())
    }

    /// Cancels all calls that have not ended. Waiting calls are withdrawn; the processes of running calls are killed
    /// within a second. The workers stay.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn terminate(&self) -> Result<()> {
        let mut state = self.hub.lock()?;
        if state.mode != Mode::Ended {
            state.mode = Mode::Terminated;
        }
        drop(state);
        self.hub.fail(&engine::error(ErrorKind::Cancelled, "the pool was terminated before the call ended".into()));
        Ok(())
    }

    /// Waits until a closed pool has finished its calls, and their callbacks have returned. The call does not wait for
    /// items that an [`imap`](Self::imap) has not drawn: their calls may follow. (A local pool waits for such an
    /// iterator if another thread uses it.)
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a pool that still takes calls, and as [`close`](Self::close).
    pub fn join(&self) -> Result<()> {
        self.join_timeout(Deadline::NEVER).map(drop)
    }

    /// Waits until a closed pool has finished its calls, or until the deadline. Returns `false` at the deadline.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: impl Into<Deadline>) -> Result<bool> {
        if self.hub.lock()?.mode == Mode::Open {
            return Err(engine::error(ErrorKind::InvalidInput, "the pool still accepts calls: close it first".into()));
        }
        let until = timeout.into();
        let ended = self.hub.wait(until, |state| (!state.has_calls()).then_some(()))?;
        Ok(ended.is_some() && self.hub.wait_here(until, |state| state.callbacks == 0 || is_in_callback())?)
    }
}

impl From<crate::engine::Described> for HostStats {
    fn from(is: crate::engine::Described) -> Self {
        let crate::engine::Described { labels: builds, processes, pid, calls, running, host } = is;
        Self { host, pid, processes, running, calls, builds }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let Some(receiver) = self.receiver.take() else { return };
        if self.hub.lock().is_err() {
            return; // a copy in a forked process
        }
        let busy = self.hub.state().has_calls();
        if busy {
            log::warn!("dropping a pool cancels its unfinished calls: close and join the pool first");
        }
        let _ = self.terminate();
        self.hub.state().mode = Mode::Ended;
        self.hub.work.notify_one();
        self.hub.turn.notify_all();
        let _ = receiver.join();
        self.hub.end_callbacks();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.hub.link.name())
            .field("at", &self.hub.link.shown())
            .finish_non_exhaustive()
    }
}

/// The calls of a pool with a fixed chunk size.
///
/// # Examples
/// ```no_run
/// # use ossature::multiprocessing::{Tasks, tasks, freeze_support};
/// # fn half(number: u32) -> u32 { number / 2 }
/// # static TASKS: Tasks = tasks![half];
/// # fn main() -> ossature::Result<()> {
/// # freeze_support(TASKS);
/// let pool = ossature_redis::Pool::connect("redis://broker/", "render")?;
/// let halves = pool.chunksize(50)?.map(half, 0..1_000_000)?;
/// # assert_eq!(halves.len(), 1_000_000);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Chunked<'p> {
    pool: Pool,
    of: PhantomData<&'p Pool>,
}

impl std::ops::Deref for Chunked<'_> {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}
