//! No child at all: a thread of this process with the manners of one.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{AboveStandard, AsFd, BorrowedFd};
use ossature_sys::process::ExitStatus;

use super::Started;
use crate::error::Result;
use crate::multiprocessing::process::passport::Passport;
use crate::multiprocessing::process::{PanicReport, current_process, panic};
use crate::thread::{Ident, catch_telling, get_ident, is_exit, speak_as};
use crate::threading::Thread;

/// What the thread tells of itself.
pub(crate) struct Life {
    /// Above zero from the end on.
    ended: EventFd,
    exit: OnceLock<ExitStatus>,
    panic: OnceLock<PanicReport>,
    thread: OnceLock<Thread>,
    here: OnceLock<Ident>,
}

impl Life {
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.exit.get().copied()
    }

    /// Waits until the thread, which has reported its end, is gone and has dropped its thread-local values. Their
    /// destructors may ask for the thread's own handle, so this call holds no lock. The thread itself does not wait,
    /// and gets false.
    pub(crate) fn part(&self) -> bool {
        let elsewhere = !self.is_here();
        if elsewhere {
            let _ = self.thread.get().map(Thread::join);
        }
        elsewhere
    }

    pub(crate) fn panic(&self) -> Option<PanicReport> {
        self.panic.get().cloned()
    }

    /// Whether the calling thread is this one.
    pub(crate) fn is_here(&self) -> bool {
        self.here.get() == Some(&get_ident())
    }

    fn end(&self, code: u8) {
        let _ = self.exit.set(ExitStatus::Code(code)); // the one time
        let _ = self.ended.try_add(1); // 1 fits above 0
    }
}

impl AsFd for Life {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

thread_local! {
    static GUISE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The name of the process that the calling thread is in the guise of, otherwise of this process.
pub(crate) fn name_here() -> String {
    // Asked in a panic of whatever moment: also when the thread's values are being dropped.
    let guise = GUISE.try_with(|name| name.borrow().clone()).ok().flatten();
    guise.unwrap_or_else(|| current_process().name())
}

/// Starts a thread that does `body`.
pub(crate) fn thread(passport: Passport, body: impl FnOnce() -> u8 + Send + 'static) -> Result<Started> {
    let life = Life {
        ended: EventFd::counter(0)
            .and_then(EventFd::above_standard)
            .map_err(super::shortage::of("cannot start a thread: no eventfd for its end"))?,
        exit: OnceLock::new(),
        panic: OnceLock::new(),
        thread: OnceLock::new(),
        here: OnceLock::new(),
    };
    let life = Arc::new(life);
    let (inner, name) = (life.clone(), passport.name.clone());
    let thread = Thread::builder().name(passport.name).daemon(passport.daemon).spawn(move || {
        let _ = inner.here.set(get_ident()); // the one time
        GUISE.set(Some(name));
        speak_as(panic::voice);
        let code = match catch_telling(body) {
            Ok(code) => code,
            Err(escaped) if is_exit(&*escaped.payload) => 0,
            Err(escaped) => {
                let _ = inner.panic.set(panic::told(&escaped)); // the one time
                1
            }
        };
        inner.end(code);
    })?;
    let _ = life.thread.set(thread); // the one time
    Ok(Started { life: super::Life::Thread(life), report: None })
}
