//! The orderly end of a program: callbacks first, then every thread that is not a daemon.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Release;

use ossature_sys::futex::Limit;

#[cfg(feature = "multiprocessing")]
use super::registry::begun;
use super::registry::{registry, shutting_down};
use crate::error::Result;
use crate::thread::{get_ident, is_first};

/// Registers `callback` for the start of [`shutdown`], before it waits for threads; the callback that was registered
/// last runs first. A pool stops its workers there, for example.
///
/// A forked child does not have its parent's callbacks.
///
/// # Errors
/// [`ErrorKind::ShuttingDown`](crate::ErrorKind::ShuttingDown) once shutdown has begun.
///
/// # Examples
/// ```standalone_crate
/// use std::sync::mpsc;
/// use ossature::threading::{Thread, at_shutdown, shutdown};
///
/// let (work, queue) = mpsc::channel::<u32>();
/// let worker = Thread::spawn(move || queue.iter().sum::<u32>())?;
/// work.send(7).unwrap();
/// at_shutdown(move || drop(work))?; // this ends the worker's queue
///
/// shutdown(); // calls that, and waits for the worker
/// assert!(!worker.is_alive());
/// assert!(at_shutdown(|| ()).is_err(), "too late");
/// assert_eq!(worker.result()?, 7);
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "_register_atexit")]
pub fn at_shutdown(callback: impl FnOnce() + Send + 'static) -> Result<()> {
    let mut end = registry().end.lock();
    if end.began {
        return Err(shutting_down("can't register a callback"));
    }
    end.callbacks.push(Box::new(callback));
    Ok(())
}

/// Ends the program's threads in order: calls what [`at_shutdown`] registered, then waits for every thread and timer
/// that is not a daemon. Call it at the end of `main`, or use a [`ShutdownGuard`]. Without it, Rust ends the process
/// when `main` returns and stops all threads at once.
///
/// From its beginning nothing can be registered or [lazily initialised](super::init) any more. Threads can be started
/// until the last one that is waited for has ended, and then no more. Panics of callbacks are reported by the process's
/// panic hook. A second call waits as well.
///
/// # Examples
/// See the example of [`at_shutdown`].
#[doc(alias = "_shutdown")]
pub fn shutdown() {
    let registry = registry();
    let callbacks = {
        let mut end = registry.end.lock();
        end.began = true;
        registry.ending.store(true, Release);
        std::mem::take(&mut end.callbacks)
    };
    for callback in callbacks.into_iter().rev() {
        let _ = catch_unwind(AssertUnwindSafe(callback)); // the panic hook has reported it
    }
    if is_first() {
        // A thread that joins the main thread need not wait any longer.
        registry.main.native.leave();
    }
    let me = Some(get_ident());
    loop {
        let mut table = registry.table.lock();
        if let Some(inner) = table.awaited(&registry.main, me) {
            drop(table);
            inner.native.join(Limit::NEVER);
            continue;
        }
        if registry.wheel.close() {
            table.closed = true;
            return;
        }
        drop(table);
        // A timer is to fire still.
        registry.wheel.wait_until_calm();
    }
}

/// Calls [`shutdown`], unless nothing of this module was used in this process.
#[cfg(feature = "multiprocessing")]
pub(crate) fn shutdown_if_begun() {
    if begun().is_some() {
        shutdown();
    }
}

/// A guard that calls [`shutdown`] on drop: keep it in `main`.
///
/// ```
/// use ossature::threading::{ShutdownGuard, Thread};
///
/// fn main() -> ossature::Result<()> {
///     let _end = ShutdownGuard::new();
///     Thread::spawn(|| println!("printed, though nobody joins"))?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[must_use = "shutdown runs where the guard is dropped"]
pub struct ShutdownGuard(());

impl ShutdownGuard {
    /// Creates a guard that calls [`shutdown`] on drop.
    #[expect(clippy::new_without_default, reason = "what matters is where it is kept")]
    pub fn new() -> Self {
        Self(())
    }
}

impl Drop for ShutdownGuard {
    fn drop(&mut self) {
        shutdown();
    }
}
