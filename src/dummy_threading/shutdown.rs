//! The orderly end: callbacks, and nobody to wait for.

use super::frames::frames;
use crate::error::{Error, ErrorKind, Result};
use crate::thread::report_panics;

fn shutting_down(what: &str) -> Error {
    Error::new(ErrorKind::ShuttingDown, format!("{what}: shutdown has begun"))
}

/// Whether something may be started.
pub(super) fn admit() -> Result<()> {
    if frames().end.borrow().closed { Err(shutting_down("can't start new thread")) } else { Ok(()) }
}

/// Has `callback` called when [`shutdown`] begins, the last registered first.
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
/// let end = ShutdownGuard::new(); // in a program this stands at the begin of main
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

/// Calls what [`at_shutdown`] registered in this thread of the system; afterwards nothing can be started in it. There
/// is nobody to wait for. Panics of callbacks are reported by the process's panic hook.
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

/// Calls [`shutdown`] when it is dropped: keep one in `main`.
///
/// # Examples
/// See the example of [`at_shutdown`].
#[derive(Debug)]
#[must_use = "shutdown happens where this is dropped"]
pub struct ShutdownGuard(());

impl ShutdownGuard {
    /// A guard that calls [`shutdown`] when it is dropped.
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
