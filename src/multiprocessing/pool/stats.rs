//! What each worker of a pool has done.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use ossature_sys::process::Pid;

use super::Pool;
use crate::error::Result;

/// What the workers of one place have done: a worker, and those that it has replaced.
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
    /// The worker that is there now; `None` before it has started, and while there is none.
    pub pid: Option<Pid>,
    /// How many workers have started in this place.
    pub started: u32,
    /// How many calls have ended.
    pub tasks: u64,
    /// How long the workers had calls to make: the time from the first call of a chunk until there was no other chunk.
    pub busy: Duration,
}

impl Pool {
    /// What each worker has done since the pool began, in the order of the workers' places.
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
