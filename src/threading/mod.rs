//! Threads with names, handles and an orderly end; timers, per-thread values: Python's `threading`.
//!
//! ```
//! use std::sync::Arc;
//! use ossature::threading::{self, Lock, ShutdownGuard, Thread};
//!
//! fn main() -> ossature::Result<()> {
//!     let _end = ShutdownGuard::new(); // waits for every thread that is not a daemon
//!     let sum = Arc::new(Lock::new(0));
//!     let workers = (1..=4).map(|n| {
//!         let sum = Arc::clone(&sum);
//!         Thread::builder().name(format!("worker {n}")).spawn(move || *sum.lock() += n)
//!     });
//!     for worker in workers.collect::<Result<Vec<_>, _>>()? {
//!         worker.join()?;
//!     }
//!     assert_eq!(*sum.lock(), 10);
//!     assert_eq!(threading::current_thread().name(), "MainThread");
//!     Ok(())
//! }
//! ```
//!
//! **After a fork** the thread that called it is the main thread of the child, and the only one. Every other handle is
//! of a thread that has ended. Timers of the parent do not fire, and callbacks of its shutdown are not called.
//!
//! **Not here:** tracing of single lines (Rust has none), and applying a hook to threads that run already. Python 2's
//! `verbose` argument is `Debug` on everything.

// For those who change this module: its files.
//
// | file | idea |
// | --- | --- |
// | `thread` | the handle and the life of a thread |
// | `inner` | the data that the handles of one thread share; the calling thread's data |
// | `registry` | the living threads; the data that a forked child makes anew |
// | `current` | the calling thread's handle, made if there is none; the handles of all living threads |
// | `hooks`, `hook_types` | functions called at a start, an end, a panic; the types of the hooks |
// | `shutdown` | callbacks, then waiting for all threads |
// | `timer` | one set of all timers |
// | `local` | values of which each thread has its own |
// | `init`, `graph` | initialisation that runs once and cannot deadlock; which thread holds which lock for that |

mod current;
mod graph;
mod hook_types;
mod hooks;
pub mod init;
mod inner;
pub mod local;
mod registry;
mod shutdown;
mod thread;
mod timer;

#[doc(inline)]
pub use ossature_sys::sync::barrier::Barrier;
#[doc(inline)]
pub use ossature_sys::sync::condition::Condition;
#[doc(inline)]
pub use ossature_sys::sync::event::Event;
#[doc(inline)]
pub use ossature_sys::sync::handoff::HandoffLock;
#[doc(inline)]
pub use ossature_sys::sync::lock::Lock;
#[doc(inline)]
pub use ossature_sys::sync::rlock::RLock;
#[doc(inline)]
pub use ossature_sys::sync::rwlock::RwLock;
#[doc(inline)]
pub use ossature_sys::sync::semaphore::Semaphore;

/// The error of this crate, under the name of Python's `threading.ThreadError`.
///
/// # Examples
/// ```
/// use ossature::threading::{Thread, ThreadError};
///
/// let thread = Thread::new(|| ());
/// let error: ThreadError = thread.join().unwrap_err();
/// assert_eq!(error.kind(), ossature::ErrorKind::NotStarted);
/// ```
pub type ThreadError = crate::Error;
#[doc(inline)]
pub use crate::thread::{Ident, Pid, TIMEOUT_MAX, exit, get_ident, get_native_id, set_stack_size, stack_size};
#[doc(inline)]
pub use current::{active_count, current_thread, enumerate, main_thread};
#[doc(inline)]
pub use hook_types::{ExceptHook, PanicReport, ProfileHook, TraceEvent, TraceHook};
#[doc(inline)]
pub use hooks::{default_excepthook, excepthook, profile, set_excepthook, set_profile, set_trace, trace};
#[doc(inline)]
pub use inner::Thread;
#[doc(inline)]
pub use local::Local;
#[doc(no_inline)]
pub use ossature_sys::sync::barrier::Broken as BrokenBarrierError;
#[doc(inline)]
pub use shutdown::{ShutdownGuard, at_shutdown, shutdown};
#[doc(inline)]
pub use thread::ThreadBuilder;
#[doc(inline)]
pub use timer::Timer;

pub(crate) use hook_types::{Hooks, work_between};
#[cfg(feature = "multiprocessing")]
pub(crate) use shutdown::shutdown_if_begun;
