//! [`threading`](crate::threading) without threads: started work runs at once, inside `start`. Python's
//! `dummy_threading`.
//!
//! Use it on a system without threads, or for a test that must run in a fixed order. It also shows whether the threads
//! of a program wait for each other. It has the names of `threading`, so a program chooses by its imports:
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
//! **No false success, no deadlock.** A wait that another thread would have to end returns
//! [`WouldDeadlock`](ossature_sys::scope::Refused::WouldDeadlock). A wait with a time limit times out at once:
//!
//! | | Python 2.7 | here |
//! | --- | --- | --- |
//! | `acquire` of a taken lock | succeeds | refused |
//! | `acquire` of an empty semaphore | hangs | refused |
//! | `Condition.wait()` | returns at once | refused |
//! | `Event.wait()`, flag clear | returns at once | refused |
//! | any of these with a timeout | sleeps, then fails | fails at once |
//! | a barrier of several parties | hangs (3.2) | refused |
//! | `join` of a running thread | returns at once | refused |
//! | a read from a pipe that a later thread would fill | hangs | hangs, because the kernel waits |
//!
//! So the primitives are those of scope [`Local`](ossature_sys::scope::Local): their waits return a `Result`, where
//! those of `threading` return the value. [`Backend`] has the constructors of both, for code that is generic over them.
//!
//! **Separate state.** Every OS thread has its own state here, with its main thread, its numbers, its hooks and its
//! shutdown. A program may also use [`threading`](crate::threading), which does not see this state.
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
use ossature_sys::sync::{barrier, condition, event, handoff, lock, rlock, rwlock, semaphore};

#[doc(inline)]
pub use crate::dummy_thread::{Ident, TIMEOUT_MAX, exit, get_ident, set_stack_size, stack_size};
/// The error of this crate, under the name of Python's `threading.ThreadError`.
///
/// # Examples
/// ```
/// use ossature::dummy_threading::{Thread, ThreadError};
///
/// let thread = Thread::new(|| ());
/// let error: ThreadError = thread.join().unwrap_err();
/// assert_eq!(error.kind(), ossature::ErrorKind::NotStarted);
/// ```
pub type ThreadError = crate::Error;
#[doc(inline)]
pub use crate::thread::{Pid, get_native_id};
#[doc(inline)]
pub use crate::threading::TraceEvent;
#[doc(inline)]
pub use backend::{Backend, Inline, Native};
#[doc(inline)]
pub use frames::{Thread, active_count, current_thread, enumerate, main_thread};
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
pub use thread::ThreadBuilder;
#[doc(inline)]
pub use timer::Timer;

/// A lock around data; a second acquire returns an error.
///
/// # Examples
/// ```
/// use ossature::dummy_threading::{Lock, RLock};
///
/// let lock = Lock::local(5);
/// let mut held = lock.lock().unwrap();
/// *held += 1;
/// assert!(lock.lock().is_err(), "nobody else runs who could release it");
/// drop(held);
///
/// let again = RLock::local(*lock.lock().unwrap());
/// let (outer, inner) = (again.lock().unwrap(), again.lock().unwrap());
/// assert_eq!(*outer + *inner, 12);
/// ```
pub type Lock<T = ()> = lock::Lock<T, scope::Local>;
/// A lock around data that its holder may take again.
///
/// # Examples
/// See the example of [`Lock`].
pub type RLock<T = ()> = rlock::RLock<T, scope::Local>;
/// Data with several readers at once; a write beside a reader returns an error.
///
/// # Examples
/// ```
/// use ossature::dummy_threading::RwLock;
///
/// let lock = RwLock::local(5);
/// let (one, two) = (lock.read().unwrap(), lock.read().unwrap());
/// assert!(*one + *two == 10 && lock.write().is_err());
/// drop((one, two));
/// *lock.write().unwrap() += 1;
/// ```
pub type RwLock<T = ()> = rwlock::RwLock<T, scope::Local>;
/// A lock without data that any caller may release.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::dummy_threading::{Barrier, Condition, Event, HandoffLock, Lock, Semaphore};
///
/// let lock = HandoffLock::local();
/// lock.acquire().unwrap();
/// assert!(lock.acquire().is_err() && lock.release().is_ok());
///
/// let units = Semaphore::local(1);
/// units.acquire().unwrap();
/// assert!(units.acquire().is_err(), "none is left");
///
/// let flag = Event::local();
/// assert!(flag.wait().is_err(), "nobody else runs who could set it");
/// flag.set();
/// flag.wait().unwrap();
///
/// assert!(Barrier::local(1).wait().is_ok() && Barrier::local(2).wait().is_err());
///
/// let (data, changed) = (Lock::local(0), Condition::local());
/// assert!(changed.wait(data.lock().unwrap()).is_err(), "nobody else runs who could notify");
/// assert_eq!(changed.notify(1), 0);
/// # let _ = Duration::ZERO;
/// ```
pub type HandoffLock = handoff::HandoffLock<scope::Local>;
/// A condition; a wait needs a limit, and always times out.
///
/// # Examples
/// See the example of [`HandoffLock`].
pub type Condition = condition::Condition<scope::Local>;
/// A flag; a wait for a clear flag returns an error.
///
/// # Examples
/// See the example of [`HandoffLock`].
pub type Event = event::Event<scope::Local>;
/// A number of units; an acquire without a free unit returns an error.
///
/// # Examples
/// See the example of [`HandoffLock`].
#[doc(alias = "BoundedSemaphore")]
pub type Semaphore = semaphore::Semaphore<scope::Local>;
/// A barrier; a single party passes, and with more parties a wait returns an error.
///
/// # Examples
/// See the example of [`HandoffLock`].
pub type Barrier = barrier::Barrier<scope::Local>;
