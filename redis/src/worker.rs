//! A worker: one process on a machine, which claims chunks of calls from the server and runs them in a local pool.

use std::process::ExitCode;
use std::time::Duration;

use ossature::multiprocessing::pool::engine;
use ossature::multiprocessing::{Context, Pool, usable_cpus};
use ossature::sys::signal::{self, Signal};
use ossature::{ErrorKind, Result};

use crate::builder::{LEASE, LEASES, build_label, host, unique, version_label};
use crate::engine::{Described, Engine, Fault, Serving};
use crate::life::Life;
use crate::link::Link;

/// The settings of a worker before it runs, as `prog worker --url URL --pool NAME` has them.
///
/// For a program that has its own command line; otherwise see [`worker_support`](crate::worker_support).
///
/// # Examples
/// ```no_run
/// use ossature::multiprocessing::{Tasks, freeze_support, tasks};
/// use ossature_redis::Worker;
///
/// fn square(number: u64) -> u64 {
///     number * number
/// }
///
/// static TASKS: Tasks = tasks![square];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     Worker::new("redis://broker/", "render")?.processes(8).run()
/// }
/// ```
#[must_use = "the worker claims no calls until `run`"]
#[derive(Clone, Debug)]
pub struct Worker {
    url: String,
    name: String,
    processes: Option<usize>,
    context: Option<Context>,
    versions: Vec<String>,
    lease: Duration,
    outage: Duration,
}

impl Worker {
    /// Creates a worker of the pool `name` at `url`: see [`Pool::connect`](crate::Pool::connect).
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a text that is not an address or not a name.
    pub fn new(url: &str, name: &str) -> Result<Self> {
        Link::new(url, name)?;
        Ok(Self {
            url: url.to_owned(),
            name: name.to_owned(),
            processes: None,
            context: None,
            versions: Vec::new(),
            lease: LEASE,
            outage: Duration::from_secs(600),
        })
    }

    /// Sets the number of processes that run calls. The default is the number of [usable processors](usable_cpus).
    pub fn processes(mut self, count: usize) -> Self {
        self.processes = Some(count);
        self
    }

    /// Sets how the processes start; the default is [`Spawn`](Context::Spawn). See
    /// [`PoolBuilder::context`](ossature::multiprocessing::pool::PoolBuilder::context).
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Accepts the calls of programs that [accept](crate::PoolBuilder::accept) this version, too.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for other texts than up to 100 letters, digits, dots, dashes and
    /// underscores.
    pub fn accept(mut self, version: &str) -> Result<Self> {
        self.versions.push(version_label(version)?);
        Ok(self)
    }

    /// As [`PoolBuilder::lease`](crate::PoolBuilder::lease).
    pub fn lease(mut self, limit: Duration) -> Self {
        self.lease = limit;
        self
    }

    /// Sets how long the server may be unavailable before the worker ends with an error. The default is ten minutes.
    pub fn outage(mut self, limit: Duration) -> Self {
        self.outage = limit;
        self
    }

    /// Claims and runs calls until `SIGTERM` or `SIGINT` arrives, then ends the running calls, and returns.
    ///
    /// The process must have one thread, and those signals at their default.
    ///
    /// # Errors
    /// * [`Closed`](ErrorKind::Closed) when the server is unavailable for longer than [`outage`](Self::outage);
    ///   [`Auth`](ErrorKind::Auth) and [`Unsupported`](ErrorKind::Unsupported) as for a pool.
    /// * [`StartFailed`](ErrorKind::StartFailed) when the local pool can start no process any more. Other workers make
    ///   the calls that had not begun.
    /// * Those of a local pool's [`build`](ossature::multiprocessing::pool::PoolBuilder::build).
    pub fn run(self) -> Result<()> {
        let link = Link::new(&self.url, &self.name)?;
        let mut labels = self.versions;
        match build_label() {
            Ok(label) => labels.insert(0, label),
            Err(error) if labels.is_empty() => return Err(error),
            Err(_) => {}
        }
        let failed = |fault: Fault| link.error(&fault);
        // Connects before it starts processes: a wrong address is the usual mistake.
        let limit = self.outage.min(Duration::from_secs(60));
        let mut engine = link.open_within(limit, || false).map_err(failed)?;
        let processes = match self.processes {
            Some(count) => count,
            None => usable_cpus()?,
        };
        // A supervisor that is killed can be spawned again beside the threads of this process.
        let pool = Pool::builder().workers(processes).context(self.context.unwrap_or(Context::Spawn)).build()?;
        let ends = [Signal::TERM, Signal::INT];
        signal::block(ends)?.keep(); // before there are threads, so that they all do
        let is = Described { labels, processes, pid: std::process::id(), calls: 0, running: 0, host: host() };
        let me = Serving { id: unique(), lease: self.lease, ttl: self.lease * LEASES };
        engine.beat(&me, &is, &[]).map_err(failed)?;
        let life = Life::new(link.clone(), me.clone(), is, self.outage, pool);
        let ended = std::thread::scope(|threads| {
            let lives = [threads.spawn(|| life.take()), threads.spawn(|| life.answer()), threads.spawn(|| life.beat())];
            // Ends by itself once the others have.
            threads.spawn(|| life.heed(ends));
            lives.map(|life| life.join())
        });
        let _ = engine.retire(&me).or_else(|_| link.open().and_then(|mut engine| engine.retire(&me)));
        if let Some(why) = life.broken() {
            return Err(engine::error(ErrorKind::StartFailed, why));
        }
        for ended in ended {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => return Err(link.error(&fault)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    }
}

/// Prints how a worker ended, and returns its exit code.
pub(crate) fn exit_code(ended: Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}
