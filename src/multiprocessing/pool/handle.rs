//! The handle of a pool of processes.

use std::fmt;
use std::sync::Arc;

use super::hub::Hub;
use crate::error::Result;
use crate::multiprocessing::logging::warning;
use crate::multiprocessing::tasks::{Form, Target, nameable, registered};

/// Worker processes that run the program's [tasks](crate::tasks!).
///
/// Any thread may use the pool. Another process may not: a pool is not an argument of a process, and in a forked child
/// every call is [`NotAllowed`](crate::ErrorKind::NotAllowed). A worker is a daemon, which may have no children, so a
/// task that makes a pool gets that error too.
///
/// Dropping the pool [terminates](Self::terminate) it and waits for its workers, as Python's `with` does. A warning is
/// logged if a call was still running.
///
/// # Examples
/// ```standalone_crate
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};
/// use ossature::sys::{process::Signal, signal::raise};
///
/// fn add(a: u32, b: u32) -> u32 {
///     a + b
/// }
///
/// fn die() {
///     raise(Signal::KILL).expect("a process may kill itself");
/// }
///
/// static TASKS: Tasks = tasks![add, die];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let pool = Pool::new(2)?;
///     let error = pool.apply(die, ()).unwrap_err();
///     assert_eq!(error.kind(), ErrorKind::WorkerDied);
///     assert!(error.pid().is_some() && error.exit_status().is_some_and(|exit| exit.signal() == Some(9)));
///     assert_eq!(pool.starmap(add, [(1, 2), (3, 4)])?, [3, 7], "the pool goes on");
///     assert_eq!(pool.workers(), 2);
///     pool.close()?;
///     pool.join()?;
///     Ok(())
/// }
/// ```
pub struct Pool(pub(super) Arc<Hub>);

impl Drop for Pool {
    fn drop(&mut self) {
        if self.0.is_busy() {
            warning!("dropping a pool cancels its unfinished calls: close and join the pool first");
        }
        self.0.end();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("workers", &self.0.workers()).finish_non_exhaustive()
    }
}

/// Returns the name of a task, if a table contains it.
pub(super) fn name<F: Target<Args>, Args>(target: F, form: Form) -> Result<&'static str> {
    nameable::<F>();
    registered(target, form).map(|task| task.name)
}
