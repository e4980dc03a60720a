//! The orderly shutdown: callbacks, and no threads to wait for.

use super::frames::frames;
use crate::error::{Error, ErrorKind, Result};
use crate::thread::report_panics;

fn shutting_down(what: &str) -> Error {
    Error::new(ErrorKind::ShuttingDown, format!("{what}: shutdown has begun"))
}

/// Checks that new work may start.
pub(super) fn admit() -> Result<()> {
    if frames().end.borrow().closed { Err(shutting_down("can't start new thread")) } else { Ok(()) }
}

/// Registers `callback` to run when [`shutdown`] begins; the last registered runs first.
///
/// # Errors
/// [`ErrorKind::ShuttingDown`] once shutdown has begun.
///
/// # Examples
/// ```
/// use std::{cell::RefCell, rc::Rc};
/// use ossature::dummy_threading::{ShutdownGuard, Thread, at_shutdown, shutdown};
///
/// let lines = Rc::new(RefCell::new(Vec::new()));
/// for line in ["first", "second"] {
///     let lines = lines.clone();
///     at_shutdown(move || lines.borrow_mut().push(line))?;
/// }
/// let end = ShutdownGuard::new(); // in a program: at the beginning of main
/// drop(end);
/// assert_eq!(*lines.borrow(), ["second", "first"]);
/// assert!(Thread::spawn(|| ()).is_err(), "nothing can be started any more");
/// shutdown(); // a second time does nothing
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "_register_atexit")]
pub fn at_shutdown(callback: impl FnOnce() + 'static) -> Result<()> {
    let frames = frames();
    let mut end = frames.end.borrow_mut();
    if end.began {
        return Err(shutting_down("can't register a callback"));
    }
    end.callbacks.push(Box::new(callback));
    Ok(())
}

/// Calls the callbacks that [`at_shutdown`] registered in this OS thread; afterwards no work can start in it. There are
/// no threads to wait for. The process's panic hook reports panics of callbacks.
///
/// # Examples
/// See the example of [`at_shutdown`].
#[doc(alias = "_shutdown")]
pub fn shutdown() {
    let frames = frames();
    let callbacks = {
        let mut end = frames.end.borrow_mut();
        end.began = true;
        std::mem::take(&mut end.callbacks)
    };
    for callback in callbacks.into_iter().rev() {
        report_panics(callback);
    }
    frames.end.borrow_mut().closed = true;
}

/// A guard that calls [`shutdown`] on drop: keep it in `main`.
///
/// # Examples
/// See the example of [`at_shutdown`].
#[derive(Debug)]
#[must_use = "shutdown runs where the guard is dropped"]
pub struct ShutdownGuard(());

impl ShutdownGuard {
    /// Creates a guard that calls [`shutdown`] on drop.
    #[expect(clippy::new_without_default, reason = "shutdown runs where the guard is dropped")]
    pub fn new() -> Self {
        Self(())
    }
}

impl Drop for ShutdownGuard {
    fn drop(&mut self) {
        shutdown();
    }
}
