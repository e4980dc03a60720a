//! Threads without names, handles or lists: Python's `_thread`, called `thread` until Python 2.
//!
//! What [`threading`](crate::threading) is built on: a start, a number, an end.
//!
//! ```
//! use ossature::thread;
//!
//! let handle = thread::start_joinable_thread(|| println!("in thread {}", thread::get_ident()))?;
//! handle.join()?;
//! assert!(handle.is_done());
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! A panic in such a thread is reported by the process's panic hook and ends that thread only.
//!
//! | Python's caveat | here |
//! | --- | --- |
//! | `sys.exit` in a thread ends the thread | [`exit`] does; `std::process::exit` ends the process |
//! | the main thread's end ends the process | the same: other threads are stopped at once, without destructors |
//! | standard files are flushed at that point | only Rust's `stdout` is flushed |
//! | signal handlers run in the main thread | a handler runs in any thread that does not block the signal |
//!
//! Source: pthreads(7), gettid(2), prctl(2).

mod ident;
mod interrupt;
mod native;
mod panic;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ossature_sys::futex::Limit;
#[doc(inline)]
pub use ossature_sys::sync::handoff::HandoffLock as LockType;

use crate::error::{ErrorKind, Result};

#[doc(no_inline)]
pub use crate::error::Error;
#[doc(inline)]
pub use ident::{Ident, Pid, get_ident, get_native_id, set_name};
#[doc(inline)]
pub use interrupt::{interrupt_main, interrupt_on, interrupts, take_interrupt};
#[doc(inline)]
pub use native::{count, set_stack_size, stack_size};
#[doc(inline)]
pub use panic::exit;

pub(crate) use ident::is_first;
#[cfg(feature = "multiprocessing")]
pub(crate) use interrupt::interrupt_event;
pub(crate) use native::{Counted, Native, Plan, checked};
pub(crate) use panic::{Escaped, Place, catch, install, is_exit, report_panics, result_of, text};
#[cfg(feature = "multiprocessing")]
pub(crate) use panic::{PanicPart, catch_and_report, forget_panics, install_anew, set_panic_label};

/// The longest timeout that Python accepts, 292 years: it refuses longer ones. Here any `Duration` is a timeout, and a
/// duration beyond the clock's range (584 years) means no limit.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(9_223_372_036);

/// Whether a thread may run that the process does not wait for at its end: always true, because there are no
/// sub-interpreters.
///
/// # Examples
/// ```
/// assert!(ossature::thread::daemon_threads_allowed());
/// ```
pub const fn daemon_threads_allowed() -> bool {
    true
}

/// Makes a free lock without an owner, which any thread may release: Python's.
///
/// For data, [`threading::Lock`](crate::threading::Lock) is the one that cannot be misused.
///
/// ```
/// let lock = ossature::thread::allocate_lock();
/// lock.acquire();
/// assert!(lock.locked() && !lock.try_acquire());
/// std::thread::scope(|scope| scope.spawn(|| lock.release().unwrap()).join().unwrap());
/// assert!(lock.release().is_err(), "nobody holds it");
/// ```
#[doc(alias = "allocate")]
pub const fn allocate_lock() -> LockType {
    LockType::new()
}

/// Starts a thread that cannot be joined, and returns its number. The thread may not have run yet.
///
/// The process does not wait for such a thread at its end: the thread stops wherever it is then.
///
/// # Errors
/// `EAGAIN` when the system has no room for another thread, or for its [stack](set_stack_size).
///
/// # Examples
/// ```
/// let (tell, hear) = std::sync::mpsc::channel();
/// let ident = ossature::thread::start_new_thread(move || tell.send(ossature::thread::get_ident()).unwrap())?;
/// assert_eq!(hear.recv().unwrap(), ident);
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "start_new")]
pub fn start_new_thread(body: impl FnOnce() + Send + 'static) -> Result<Ident> {
    start(body).map(|(ident, _)| ident)
}

/// Starts a thread that can be joined; it continues when its handle is dropped.
///
/// # Errors
/// `EAGAIN` when the system has no room for another thread, or for its [stack](set_stack_size).
pub fn start_joinable_thread(body: impl FnOnce() + Send + 'static) -> Result<Handle> {
    start(body).map(|(_, native)| Handle(native))
}

fn start(body: impl FnOnce() + Send + 'static) -> Result<(Ident, Arc<Native>)> {
    /// A guard whose drop reports the end of the thread, by return or by panic.
    struct Leave(Arc<Native>, Option<Counted>);
    impl Drop for Leave {
        fn drop(&mut self) {
            drop(self.1.take());
            self.0.leave();
        }
    }

    let native = Arc::new(Native::new());
    let (mut counted, inner) = (Counted::new(), native.clone());
    let plan = Plan { name: None, stack: stack_size() };
    let ident = native.start(
        plan,
        |_| Ok(()),
        move || {
            inner.enter();
            counted.enter();
            let _leave = Leave(inner, Some(counted));
            body();
        },
    )?;
    Ok((ident, native))
}

/// A thread that was started with [`start_joinable_thread`].
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::thread::{Handle, count, get_ident, start_joinable_thread};
///
/// let (tell, hear) = std::sync::mpsc::channel();
/// let handle: Handle = start_joinable_thread(move || tell.send(get_ident()).unwrap())?;
/// assert_eq!(hear.recv().unwrap(), handle.ident());
/// assert!(handle.join_timeout(Duration::from_secs(60))?, "it ends at once");
/// handle.join()?; // until the kernel is done with it
/// assert!(handle.is_done());
/// assert_eq!(count(), 0, "no thread of this module runs");
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone)]
pub struct Handle(Arc<Native>);

impl Handle {
    /// The thread's number.
    pub fn ident(&self) -> Ident {
        // The number is assigned at the start, before a handle exists.
        self.0.ident().unwrap_or(Ident::MAIN)
    }

    /// Waits for the thread's end, by return or by panic.
    ///
    /// # Errors
    /// [`ErrorKind::WouldDeadlock`] in the thread itself.
    pub fn join(&self) -> Result<()> {
        self.join_timeout(Limit::NEVER).map(drop)
    }

    /// Waits for the thread's end within the limit; returns whether it has ended.
    ///
    /// # Errors
    /// [`ErrorKind::WouldDeadlock`] in the thread itself.
    pub fn join_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
        if self.0.is_here() && self.ident() == get_ident() {
            return Err(joins_itself("the thread"));
        }
        Ok(self.0.join(limit.into()))
    }

    /// Whether the thread has ended.
    pub fn is_done(&self) -> bool {
        !self.0.is_alive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({}, {:?})", self.ident(), self.0)
    }
}

pub(crate) fn joins_itself(what: &str) -> Error {
    Error::new(ErrorKind::WouldDeadlock, format!("{what} would wait for its own end: join it from another thread"))
}
