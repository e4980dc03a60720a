//! The settings of a pool before its start.

use std::time::Duration;

use ossature_sys::sched::CpuSet;

use super::ground::Setup;
use super::hub::Hub;
use super::{Pool, board};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context::{Context, get_start_method};
use crate::multiprocessing::process::{Termination, usable_cpus};
use crate::multiprocessing::tasks::{Arguments, Form, Target, registered};
use crate::multiprocessing::transfer::{Packed, pack};

/// A builder of a pool: the number of its workers, and their settings.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::{Context, Pool, Tasks, Value, freeze_support, pool::PoolBuilder, tasks};
/// use std::sync::OnceLock;
///
/// static STARTED: OnceLock<Value<u32>> = OnceLock::new();
///
/// fn remember(started: Value<u32>) -> ossature::Result<()> {
///     started.with(|count| *count += 1)?;
///     let _ = STARTED.set(started);
///     Ok(())
/// }
///
/// fn started() -> ossature::Result<u32> {
///     STARTED.get().expect("the initializer ran first").get()
/// }
///
/// fn sleep() {
///     std::thread::sleep(Duration::from_secs(60));
/// }
///
/// static TASKS: Tasks = tasks![remember, started, sleep];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let count = Value::new(0)?;
///     let builder: PoolBuilder = Pool::builder();
///     let pool = builder
///         .workers(2)
///         .context(Context::Spawn)
///         .initializer(remember, (count.try_clone()?,))?
///         .max_tasks_per_child(100)
///         .task_timeout(Duration::from_millis(50))
///         .build()?;
///     assert!(pool.apply_result(started, ())? >= 1);
///     let error = pool.apply(sleep, ()).unwrap_err();
///     assert_eq!(error.kind(), ErrorKind::WorkerDied, "it took too long, and its worker was killed");
///     Ok(())
/// }
/// ```
#[must_use = "nothing runs until the pool is built"]
#[derive(Debug)]
pub struct PoolBuilder {
    workers: Option<usize>,
    context: Option<Context>,
    initializer: Option<(String, Packed)>,
    max_chunks: Option<u32>,
    timeout: Option<Duration>,
    retries: u32,
    affinity: Option<Vec<CpuSet>>,
    max_memory: Option<u64>,
    idle: Option<Duration>,
    forwards_logs: bool,
    for_strangers: bool,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            workers: None,
            context: None,
            initializer: None,
            max_chunks: None,
            timeout: None,
            retries: 0,
            affinity: None,
            max_memory: None,
            idle: None,
            forwards_logs: false,
            for_strangers: false,
        }
    }

    /// Limits the cost of decoding the arguments of a call, as for a message from an untrusted peer.
    pub(in crate::multiprocessing) fn for_strangers(mut self) -> Self {
        self.for_strangers = true;
        self
    }

    /// Sets the number of workers; the default is the number of [usable processors](usable_cpus).
    #[doc(alias = "processes")]
    #[doc(alias = "max_workers")]
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = Some(count);
        self
    }

    /// Sets the start method of the pool's processes, instead of the default method.
    ///
    /// One process, the *supervisor*, is started in this way. The supervisor forks the workers, and starts another one
    /// for each that dies, also while this process computes. With [`Fork`](Context::Fork) the supervisor is a copy of
    /// this process as it is when the pool is built. If such a supervisor is killed while this process has threads, no
    /// other can be forked, and the pool is broken. In a test of libtest the supervisor has a second thread, and starts
    /// its workers by [`Spawn`](Context::Spawn).
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Makes each worker first run `target` with `args`, which may contain locks, shared memory and open files.
    ///
    /// A worker that starts later gets the same arguments again. So the name of a
    /// [`SharedMemory`](crate::multiprocessing::shared_memory::SharedMemory) in them must stay as long as the pool.
    /// After `unlink` a new worker cannot open the block, and the pool breaks as described below. An
    /// [`Array`](crate::multiprocessing::Array) or a [`Value`](crate::multiprocessing::Value) has no name that could
    /// go.
    ///
    /// A worker whose initializer panics, or makes an exit code other than 0, ends. After five such workers in turn the
    /// pool is broken: every call fails with [`StartFailed`](ErrorKind::StartFailed) and the reason.
    ///
    /// Differs from Python, which replaces such workers forever.
    ///
    /// # Errors
    /// As [`Process::spawn`](crate::multiprocessing::Process::spawn) for the task and its arguments.
    #[doc(alias = "initargs")]
    pub fn initializer<F, Args>(mut self, target: F, args: Args) -> Result<Self>
    where
        F: Target<Args>,
        F::Output: Termination,
        Args: Arguments + Send + 'static,
    {
        let task = registered(target, Form::Code)?;
        self.initializer = Some((task.name.to_owned(), pack(&args)?));
        Ok(self)
    }

    /// Makes each worker end after `chunks` chunks, and starts another worker in its place. A call of
    /// [`apply`](Pool::apply) is a chunk, and a call of [`map`](Pool::map) has several.
    #[doc(alias = "maxtasksperchild")]
    #[doc(alias = "max_tasks")]
    pub fn max_tasks_per_child(mut self, chunks: u32) -> Self {
        self.max_chunks = Some(chunks);
        self
    }

    /// Kills a worker whose call takes longer than `limit`, including the decoding of its arguments. The call fails
    /// with [`WorkerDied`](ErrorKind::WorkerDied); the other calls continue, and another worker starts.
    ///
    /// Python has no such limit. Zero is refused by [`build`](Self::build).
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Runs a task again, at most `count` times, when its worker died while it ran the task. The default is 0: a task
    /// runs at most once.
    pub fn retries(mut self, count: u32) -> Self {
        self.retries = count;
        self
    }

    /// Sets the processors on which the workers run. The first worker runs on those of the first set, and so on; after
    /// the last set the first set follows again. A replacement of a worker runs on the same processors.
    ///
    /// A worker whose set has no usable processor ends before it is ready, like a worker whose initializer fails.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};
    /// use ossature::sys::sched::{CpuSet, affinity};
    ///
    /// fn processors() -> Vec<usize> {
    ///     affinity(None).map_or(Vec::new(), |set| set.iter().collect())
    /// }
    ///
    /// static TASKS: Tasks = tasks![processors];
    ///
    /// fn main() -> ossature::Result<()> {
    ///     freeze_support(TASKS);
    ///     let usable: Vec<usize> = affinity(None)?.iter().collect();
    ///     // One processor for each worker.
    ///     let sets = usable.iter().map(|cpu| CpuSet::of([*cpu]));
    ///     let pool = Pool::builder().workers(usable.len().min(4)).affinity(sets).build()?;
    ///     assert_eq!(pool.apply(processors, ())?.len(), 1);
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "sched_setaffinity")]
    #[doc(alias = "cpu_affinity")]
    pub fn affinity(mut self, sets: impl IntoIterator<Item = CpuSet>) -> Self {
        self.affinity = Some(sets.into_iter().collect());
        self
    }

    /// Ends a worker after a chunk if the worker ever had more than `bytes` of memory. Another worker starts in its
    /// place.
    ///
    /// The measure is the greatest resident memory that the worker ever had (`ru_maxrss`), including pages that it
    /// shares with its parent. A call that needs more memory than the system has fails with
    /// [`WorkerDied`](ErrorKind::WorkerDied). Python has no such limit.
    ///
    /// # Examples
    /// See the example of [`WorkerStats`](super::WorkerStats).
    #[doc(alias = "memory_limit")]
    pub fn max_memory_per_child(mut self, bytes: u64) -> Self {
        self.max_memory = Some(bytes);
        self
    }

    /// Ends a worker that has waited for a call longer than `limit`. As many workers start again as calls are waiting.
    ///
    /// The supervisor stays, so the first call after that costs a fork. Python's workers stay.
    ///
    /// # Examples
    /// See the example of [`WorkerStats`](super::WorkerStats).
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }

    /// Sends log records of the workers to the logger of this process. These are the records of the crate `log`, up to
    /// the maximum level of this process at the time of the build.
    ///
    /// A record arrives when this process next waits for the pool, asks it for a result, joins it or drops it, before
    /// the outcome of the call. A worker that is killed loses none. A record has at most 4 KiB, longer texts are cut. A
    /// worker waits while 64 KiB of records have not been taken in.
    ///
    /// With [`Fork`](Context::Fork) the workers have a copy of a logger that is installed already, which writes for
    /// itself.
    ///
    /// Python's way is a `QueueHandler` in each worker, and a `QueueListener` here.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use log::{LevelFilter, Log, Metadata, Record};
    /// use ossature::multiprocessing::{Context, Pool, Tasks, freeze_support, tasks};
    ///
    /// fn work() {
    ///     log::info!("half of it is done");
    /// }
    ///
    /// static TASKS: Tasks = tasks![work];
    ///
    /// struct Logger; // as the program has it
    ///
    /// impl Log for Logger {
    ///     fn enabled(&self, _: &Metadata<'_>) -> bool {
    ///         true
    ///     }
    ///     fn log(&self, record: &Record<'_>) {
    ///         println!("{}: {}", record.level(), record.args());
    ///     }
    ///     fn flush(&self) {}
    /// }
    ///
    /// fn main() -> ossature::Result<()> {
    ///     freeze_support(TASKS);
    ///     let _ = log::set_logger(&Logger);
    ///     log::set_max_level(LevelFilter::Info);
    ///     let pool = Pool::builder().workers(1).context(Context::Spawn).forward_logs().build()?;
    ///     pool.apply(work, ())?; // INFO: half of it is done
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "QueueHandler")]
    #[doc(alias = "QueueListener")]
    pub fn forward_logs(mut self) -> Self {
        self.forwards_logs = true;
        self
    }

    /// Starts the pool.
    ///
    /// # Errors
    /// * [`InvalidInput`](ErrorKind::InvalidInput) for no workers or more than 1024, and for
    ///   [`max_tasks_per_child`](Self::max_tasks_per_child) or a [`task_timeout`](Self::task_timeout) of 0. Also for no
    ///   sets or an empty set of processors.
    /// * [`Interrupted`](ErrorKind::Interrupted) when a signal came meanwhile for which the program has called
    ///   [`interrupt_on`](crate::thread::interrupt_on).
    /// * [`NotAllowed`](ErrorKind::NotAllowed) in a worker of a pool, and in every other daemon: it may have no
    ///   children.
    /// * [`Unsupported`](ErrorKind::Unsupported) with [`Thread`](Context::Thread).
    /// * Those of [`ProcessBuilder::start`](crate::multiprocessing::process::ProcessBuilder::start), and with
    ///   [`Fork`](Context::Fork) of [`ProcessBuilder::fork`](crate::multiprocessing::process::ProcessBuilder::fork).
    /// * [`Os`](ErrorKind::Os) without memory or descriptors.
    pub fn build(self) -> Result<Pool> {
        let workers = match self.workers {
            Some(count) => count,
            None => usable_cpus()?.min(board::WORKERS_MAX),
        };
        let invalid = |text: &'static str| Err(Error::new(ErrorKind::InvalidInput, text));
        if workers == 0 {
            return invalid("number of processes must be at least 1");
        }
        if workers > board::WORKERS_MAX {
            return invalid("number of processes must be at most 1024");
        }
        if self.max_chunks == Some(0) {
            return invalid("max_tasks_per_child must be a positive number");
        }
        if self.timeout == Some(Duration::ZERO) {
            return invalid("task_timeout must be above zero: leave it out for calls without a limit");
        }
        if self.affinity.as_ref().is_some_and(|sets| sets.is_empty() || sets.iter().any(CpuSet::is_empty)) {
            return invalid("affinity must have at least one set, and each set at least one processor");
        }
        let context = self.context.unwrap_or_else(get_start_method);
        let prefix = match context {
            Context::Fork => "ForkPoolWorker",
            Context::Spawn => "SpawnPoolWorker",
            Context::Forkserver => "ForkServerPoolWorker",
            Context::Thread => {
                return Err(Error::new(ErrorKind::Unsupported, "a Pool cannot use threads: make a ThreadPool"));
            }
        };
        let (name, arguments) = self.initializer.unzip();
        let numbers = |set: &CpuSet| set.iter().map(|cpu| cpu as u32).collect();
        let setup = Setup {
            initializer: name,
            max_chunks: self.max_chunks,
            timeout: self.timeout,
            affinity: self.affinity.iter().flatten().map(numbers).collect(),
            max_memory: self.max_memory,
            idle: self.idle,
            for_strangers: self.for_strangers,
            log: self.forwards_logs.then(|| log::max_level() as u8),
            ..Setup::new(prefix)
        };
        Ok(Pool(Hub::start(workers, context, setup, arguments, self.retries, None)?))
    }
}
