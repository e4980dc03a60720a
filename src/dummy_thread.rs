//! [`thread`](crate::thread) without threads: a started function runs at once, inside the call. Python's
//! `dummy_thread`, called `_dummy_thread` from 3.0 on.
//!
//! ```
//! use ossature::dummy_thread as thread;
//!
//! let lock = thread::allocate_lock();
//! let mut lines = Vec::new();
//! thread::start_new_thread(|| lines.push("in the thread"))?;
//! lock.with(|| lines.push("after it"))?;
//! assert_eq!(lines, ["in the thread", "after it"]);
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! **No false success, no deadlock.** Where Python's `acquire` of a taken lock succeeds, this one returns
//! [`WouldDeadlock`](ossature_sys::scope::Refused::WouldDeadlock), because no other thread runs that could release the
//! lock. A wait with a time limit returns at once, because nothing can change during the wait.
//!
//! Each OS thread has its own separate state here.
//!
//! **Not here:** `_set_sentinel`, a lock that Python's threads give to the thread that joins them.

use std::cell::Cell;
use std::time::Duration;

use ossature_sys::scope::Local;
use ossature_sys::sync::{handoff, rlock};

use crate::error::{ErrorKind, Result};
use crate::thread::report_panics;

#[doc(no_inline)]
pub use crate::error::Error;
pub use crate::thread::{Ident, exit};

/// The longest timeout that Python accepts here, 2^31 seconds. This crate accepts any `Duration`.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(1 << 31);

/// A lock that any caller may release.
///
/// Differs from Python: to acquire a taken lock is an error, where Python's `acquire` succeeds.
///
/// # Examples
/// ```
/// use ossature::dummy_thread::{LockType, RLock, allocate_lock};
///
/// let lock: LockType = allocate_lock();
/// lock.acquire().unwrap();
/// assert!(lock.acquire().is_err(), "nobody else runs who could release it");
/// lock.release().unwrap();
///
/// let again = RLock::local(5);
/// let (outer, inner) = (again.lock().unwrap(), again.lock().unwrap());
/// assert_eq!(*outer + *inner, 10);
/// ```
pub type LockType = handoff::HandoffLock<Local>;

/// A lock that its holder may take again; here every caller is the holder. Each level is a guard, so no level can be
/// released too often.
///
/// # Examples
/// See the example of [`LockType`].
pub type RLock<T = ()> = rlock::RLock<T, Local>;

thread_local! {
    // Without destructors, so that a thread's last values may still start functions.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static INTERRUPTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` before it returns. The process's panic hook reports a panic, which goes no further; [`exit`] ends `body`
/// and is not reported.
///
/// Differs from Python: returns the identifier as [`thread::start_new_thread`](crate::thread::start_new_thread) does.
/// `body` may borrow and need not be `Send`.
///
/// # Errors
/// [`ErrorKind::Interrupted`] when [`interrupt_main`] was called during the run, which still ran to its end.
pub fn start_new_thread(body: impl FnOnce()) -> Result<Ident> {
    /// Decrements the depth at the end of the run, however it ends.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get().saturating_sub(1));
        }
    }

    DEPTH.set(DEPTH.get().saturating_add(1));
    let leave = Leave;
    report_panics(body);
    drop(leave);
    if INTERRUPTED.replace(false) { Err(interrupted()) } else { Ok(get_ident()) }
}

/// Interrupts the caller that waits for the current run: [`start_new_thread`] will return an error once `body` has
/// ended.
///
/// # Errors
/// [`ErrorKind::Interrupted`] outside of any run: there the caller itself is interrupted.
///
/// ```
/// use ossature::{ErrorKind, dummy_thread};
///
/// let started = dummy_thread::start_new_thread(|| dummy_thread::interrupt_main().unwrap());
/// assert_eq!(started.unwrap_err().kind(), ErrorKind::Interrupted);
/// ```
pub fn interrupt_main() -> Result<()> {
    if DEPTH.get() == 0 {
        return Err(interrupted());
    }
    INTERRUPTED.set(true);
    Ok(())
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "interrupted: interrupt_main() was called")
}

/// The identifier of every thread here: 1.
///
/// # Examples
/// ```
/// use ossature::dummy_thread::{get_ident, set_stack_size, stack_size, start_new_thread};
///
/// assert_eq!(start_new_thread(|| assert_eq!(get_ident().get(), 1))?, get_ident());
/// assert_eq!(stack_size(), 0, "it runs on its caller's stack");
/// assert!(set_stack_size(1 << 20).is_err());
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn get_ident() -> Ident {
    Ident::MAIN
}

/// Returns a free lock.
#[doc(alias = "allocate")]
pub fn allocate_lock() -> LockType {
    LockType::local()
}

/// The stack size of a new thread: 0, because no thread has its own stack.
///
/// # Examples
/// See the example of [`get_ident`].
pub fn stack_size() -> usize {
    0
}

/// Returns an error, because a started function runs on its caller's stack.
///
/// # Errors
/// [`ErrorKind::Unsupported`], whatever the size.
///
/// # Examples
/// See the example of [`get_ident`].
pub fn set_stack_size(size: usize) -> Result<usize> {
    let message =
        format!("setting thread stack size not supported ({size} bytes): a dummy thread has no stack of its own");
    Err(Error::new(ErrorKind::Unsupported, message))
}
