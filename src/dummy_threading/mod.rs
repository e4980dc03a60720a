//! [`threading`](crate::threading) without threads: what is started runs at once, inside `start`. Python's `dummy_threading`.
//!
//! For a system where threads cannot be had, a test that must run in one order, or a program that wants to find out whether its
//! threads wait for each other. It has the names of `threading`, so a program chooses by what it imports:
//!
//! ```
//! macro_rules! sum_of_four {
//!     ($threading:ident, $Here:ident) => {{
//!         // The choice; all the rest reads the same.
//!         use ossature::$threading as threading;
//!         use ossature::dummy_threading::{Backend, $Here as Here};
//!         use ossature::sys::scope::Scope;
//!
//!         let sum = std::sync::Arc::new(Here::lock(0));
//!         let workers = (1..=4).map(|n| {
//!             let sum = sum.clone();
//!             threading::Thread::builder().name(format!("worker {n}")).spawn(move || -> ossature::Result<()> {
//!                 *Here::settle(sum.lock())? += n;
//!                 Ok(())
//!             })
//!         });
//!         for worker in workers.collect::<Result<Vec<_>, _>>()? {
//!             worker.result()??;
//!         }
//!         let total = *Here::settle(sum.lock())?;
//!         total
//!     }};
//! }
//!
//! assert_eq!(sum_of_four!(threading, Native), 10);
//! assert_eq!(sum_of_four!(dummy_threading, Inline), 10);
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! **Nothing lies and nothing hangs.** A wait that another thread would have to end is refused with
//! [`WouldDeadlock`](ossature_sys::scope::Refused::WouldDeadlock); one with a time limit says at once that the time ran out:
//!
//! | | Python 2.7 | here |
//! | --- | --- | --- |
//! | `acquire` of a taken lock | says it was acquired | refused |
//! | `acquire` of an empty semaphore | hangs | refused |
//! | `Condition.wait()` | returns at once | refused |
//! | `Event.wait()`, flag down | returns at once | refused |
//! | any of these with a timeout | sleeps, then fails | fails at once |
//! | a barrier of more than one | hangs (3.2) | refused |
//! | `join` of what still runs | returns at once | refused |
//! | a read from a pipe that a later thread would fill | hangs | hangs: the kernel is not asked what it waits for |
//!
//! So the primitives are those of scope [`Local`](ossature_sys::scope::Local): their waits answer a `Result`, where those of
//! `threading` answer the value. [`Backend`] has the constructors of both and makes code that is generic over them.
//!
//! **Apart from the rest.** Every thread of the system has a world of its own here, with its main thread, its numbers, its
//! hooks and its shutdown; none of it is seen in [`threading`](crate::threading), which may be used beside it.
//!
//! **Not here:** [`threading::init`](crate::threading::init), whose values all threads share.

mod backend;
mod frames;
mod hooks;
mod local;
mod shutdown;
mod thread;
mod timer;

use ossature_sys::scope;
use ossature_sys::sync::{barrier, condition, event, handoff, lock, rlock, semaphore};

#[doc(inline)]
pub use crate::dummy_thread::{Ident, TIMEOUT_MAX, exit, get_ident, set_stack_size, stack_size};
/// The error of this crate, under the name of Python's `threading.ThreadError`.
pub type ThreadError = crate::Error;
#[doc(inline)]
pub use crate::thread::{Pid, get_native_id};
#[doc(inline)]
pub use crate::threading::TraceEvent;
#[doc(inline)]
pub use backend::{Backend, Inline, Native};
#[doc(inline)]
pub use frames::{active_count, current_thread, enumerate, main_thread};
#[doc(inline)]
pub use hooks::{
    ExceptHook, PanicReport, ProfileHook, TraceHook, default_excepthook, excepthook, profile, set_excepthook,
    set_profile, set_trace, trace,
};
#[doc(inline)]
pub use local::Local;
#[doc(no_inline)]
pub use ossature_sys::sync::barrier::Broken as BrokenBarrierError;
#[doc(inline)]
pub use shutdown::{ShutdownGuard, at_shutdown, shutdown};
#[doc(inline)]
pub use thread::{Thread, ThreadBuilder};
#[doc(inline)]
pub use timer::Timer;

/// A lock around data: taking it twice is refused.
pub type Lock<T = ()> = lock::Lock<T, scope::Local>;
/// A lock around data that may be taken again.
pub type RLock<T = ()> = rlock::RLock<T, scope::Local>;
/// A lock without data that any frame may release.
pub type HandoffLock = handoff::HandoffLock<scope::Local>;
/// Something to wait for: only with a limit, and in vain.
pub type Condition = condition::Condition<scope::Local>;
/// A flag: waiting for it while it is down is refused.
pub type Event = event::Event<scope::Local>;
/// A number of units: taking one that is not there is refused.
#[doc(alias = "BoundedSemaphore")]
pub type Semaphore = semaphore::Semaphore<scope::Local>;
/// A barrier: one of a single party is passed, any other is refused.
pub type Barrier = barrier::Barrier<scope::Local>;
