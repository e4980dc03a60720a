//! The start of a child as a thread of this process, which behaves like a process.

use std::sync::{Arc, OnceLock};

use ossature_sys::errno::{self, Errno};
use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{AboveStandard, AsFd, BorrowedFd};
use ossature_sys::process::{ExitStatus, Pid, Signal};

use crate::error::Result;
use crate::multiprocessing::state::ChildConfig;
use crate::multiprocessing::state::{ChildHandle, PanicReport, Started, panic, set_process_name_of_thread};
use crate::thread::{Ident, catch_and_report, get_ident, is_exit, set_panic_label};
use crate::threading::Thread;

/// A thread that represents a process, as its starter sees it.
struct ThreadChild {
    /// An eventfd whose count is above zero from the thread's end on.
    ended: EventFd,
    exit: OnceLock<ExitStatus>,
    panic: OnceLock<PanicReport>,
    thread: OnceLock<Thread>,
    here: OnceLock<Ident>,
}

impl ThreadChild {
    fn end(&self, code: u8) {
        let _ = self.exit.set(ExitStatus::Code(code)); // the one time
        let _ = self.ended.try_add(1); // 1 fits above 0
    }
}

impl ChildHandle for ThreadChild {
    fn pid(&self) -> Option<Pid> {
        None
    }

    fn reap(&self) -> errno::Result<Option<ExitStatus>> {
        Ok(self.exit.get().copied())
    }

    /// Does nothing, because a signal is for a whole process.
    fn signal(&self, _: Signal) -> errno::Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// Waits until the thread, which has reported its end, has exited and has dropped its thread-local values. Their
    /// destructors may request the thread's own handle. The thread itself does not wait.
    fn join_thread(&self) -> bool {
        let elsewhere = !self.is_this_thread();
        if elsewhere {
            let _ = self.thread.get().map(Thread::join);
        }
        elsewhere
    }

    fn is_this_thread(&self) -> bool {
        self.here.get() == Some(&get_ident())
    }

    fn panic(&self) -> Option<PanicReport> {
        self.panic.get().cloned()
    }
}

impl AsFd for ThreadChild {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

/// Starts a thread that runs `body`.
pub(crate) fn thread(config: ChildConfig, body: impl FnOnce() -> u8 + Send + 'static) -> Result<Started> {
    let child = ThreadChild {
        ended: EventFd::counter(0)
            .and_then(EventFd::above_standard)
            .map_err(super::shortage::of("cannot start a thread: cannot create an eventfd for its end"))?,
        exit: OnceLock::new(),
        panic: OnceLock::new(),
        thread: OnceLock::new(),
        here: OnceLock::new(),
    };
    let child = Arc::new(child);
    let (inner, name) = (child.clone(), config.name.clone());
    let thread = Thread::builder().name(config.name).daemon(config.daemon).spawn(move || {
        let _ = inner.here.set(get_ident()); // the one time
        set_process_name_of_thread(name);
        set_panic_label(panic::label);
        let code = match catch_and_report(body) {
            Ok(code) => code,
            Err(escaped) if is_exit(&*escaped.payload) => 0,
            Err(escaped) => {
                let _ = inner.panic.set(panic::reported(&escaped)); // the one time
                1
            }
        };
        inner.end(code);
    })?;
    let _ = child.thread.set(thread); // the one time
    Ok(Started { handle: child, report: None })
}
