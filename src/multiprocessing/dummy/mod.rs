//! Threads with the interface of processes: Python's `multiprocessing.dummy`.
//!
//! The names are those of processes, for a program that is tried with threads first. The calls differ where threads
//! need less: closures take the place of tasks, and values move without serialisation.
//!
//! | Python | here |
//! | --- | --- |
//! | `Process(target=f).start()` | [`spawn`]`(f)?`: a handle with an exit code and no number |
//! | `current_process()`, `active_children()` | [`current_process`], [`active_children`] |
//! | `Lock`, `RLock`, `Semaphore`, `Event`, `Condition`, `Barrier` | those of [`threading`](crate::threading); `BoundedSemaphore(n)` is `Semaphore::bounded(n)` |
//! | `Queue`, `JoinableQueue` | [`Queue`], which has `task_done`, `join` and `shutdown` |
//! | `Pipe()` | [`pipe()`]: two ends that send values without serialisation |
//! | `Listener`, `Client` | [`connection::Listener`], [`connection::connect`]: a rendezvous by name |
//! | `Pool` | [`Pool`], which is the [`ThreadPool`](crate::multiprocessing::pool::ThreadPool) |
//! | `Value(code, v)`, `Array`, `Namespace`, `dict`, `list` | a [`Lock`] around the value: `Arc<Lock<T>>` |
//! | `freeze_support()`, `Manager()`, `shutdown()` | nothing is needed, because no process starts and nothing is managed |
//!
//! ```
//! use std::sync::Arc;
//! use ossature::multiprocessing::dummy::{Lock, Queue, active_children, pipe, spawn};
//!
//! let (total, queue) = (Arc::new(Lock::new(0)), Queue::new());
//! let (near, far) = pipe();
//! let process = spawn({
//!     let (total, queue) = (total.clone(), queue.clone());
//!     move || {
//!         *total.lock() += queue.get().expect("nobody shuts it down");
//!         far.send("done").expect("somebody listens");
//!     }
//! })?;
//! queue.put(7)?;
//! assert_eq!(near.recv()?, "done");
//! process.join()?;
//! assert_eq!((process.exit_code(), process.pid(), *total.lock()), (Some(0), None, 7));
//! assert!(active_children().is_empty());
//! # Ok::<(), ossature::Error>(())
//! ```

pub mod connection;
mod queue;

use crate::error::Result;
use crate::multiprocessing::context::Context;
use crate::multiprocessing::process::{self, Process, Termination};

#[doc(inline)]
pub use crate::multiprocessing::pool::ThreadPool as Pool;
#[doc(inline)]
pub use crate::threading::{Barrier, Condition, Event, Lock, RLock, Semaphore, current_thread as current_process};
#[doc(inline)]
pub use connection::{Connection, pipe};
#[doc(inline)]
pub use queue::{Iter, JoinableQueue, Queue};

/// Starts a thread that runs `body`, and returns a process handle for it.
///
/// # Errors
/// As [`ProcessBuilder::thread`](crate::multiprocessing::process::ProcessBuilder::thread).
///
/// # Examples
/// See the example of [the module](self).
#[doc(alias = "Process")]
#[doc(alias = "DummyProcess")]
pub fn spawn<R: Termination>(body: impl FnOnce() -> R + Send + 'static) -> Result<Process> {
    Process::builder().context(Context::Thread).thread(body)
}

/// Lists the threads that were started as processes and have not ended.
///
/// Differs from Python, which lists those of the calling thread only.
///
/// # Examples
/// See the example of [the module](self).
pub fn active_children() -> Vec<Process> {
    process::active_children().into_iter().filter(|child| child.pid().is_none()).collect()
}
