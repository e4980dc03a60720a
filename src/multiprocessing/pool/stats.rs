//! The statistics of the workers of a pool.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use ossature_sys::process::Pid;

use super::Pool;
use crate::error::Result;

/// The statistics of one place of a pool: of its worker and of the workers before it.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::multiprocessing::pool::WorkerStats;
/// use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};
///
/// fn work(millis: u64) {
///     std::thread::sleep(Duration::from_millis(millis));
/// }
///
/// static TASKS: Tasks = tasks![work];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let pool = Pool::builder()
///         .workers(2)
///         .max_memory_per_child(1 << 30) // another worker after 1 GiB
///         .idle_timeout(Duration::from_secs(60)) // no worker after a minute without work
///         .build()?;
///     pool.map(work, [5; 10])?;
///     let stats: Vec<WorkerStats> = pool.stats()?;
///     assert_eq!(stats.iter().map(|worker| worker.tasks).sum::<u64>(), 10);
///     assert!(stats.iter().map(|worker| worker.busy).sum::<Duration>() >= Duration::from_millis(50));
///     for (place, worker) in stats.iter().enumerate() {
///         println!("{place}: process {:?}, {} tasks in {:?}", worker.pid, worker.tasks, worker.busy);
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WorkerStats {
    /// The current worker; `None` before it has started, and while there is none.
    pub pid: Option<Pid>,
    /// The number of workers that have started in this place.
    pub started: u32,
    /// The number of ended calls.
    pub tasks: u64,
    /// The time during which the workers had calls to make: from the first call of a chunk until no other chunk was
    /// left.
    pub busy: Duration,
}

impl Pool {
    /// Returns the statistics of each worker since the start of the pool, in the order of the workers' places.
    ///
    /// # Errors
    /// [`NotAllowed`](crate::ErrorKind::NotAllowed) in another process than the pool's.
    ///
    /// # Examples
    /// See the example of [`WorkerStats`].
    pub fn stats(&self) -> Result<Vec<WorkerStats>> {
        drop(self.0.lock()?);
        let count = self.workers() as u32;
        let stats = self.0.ground.entries().iter().map(|entry| WorkerStats {
            pid: i32::try_from(entry.pid.load(SeqCst)).ok().and_then(Pid::from_raw),
            started: entry.ticket.load(SeqCst) / count,
            tasks: entry.calls.load(Relaxed),
            busy: Duration::from_nanos(entry.busy_nanos()),
        });
        Ok(stats.collect())
    }
}
