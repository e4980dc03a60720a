//! What is called when something that was started begins, ends or panics: hooks of the calling thread of the system.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Thread;
use super::frames::frames;
use crate::thread::{Escaped, aloud};
use crate::threading::{self, TraceEvent};

/// A panic that ended a thread's work.
pub type PanicReport<'p> = threading::PanicReport<'p, Thread>;
/// What [`set_excepthook`] takes.
pub type ExceptHook = Arc<dyn Fn(&PanicReport<'_>)>;
/// What [`set_trace`] takes.
pub type TraceHook = Arc<dyn Fn(&Thread, TraceEvent)>;
/// What [`set_profile`] takes.
pub type ProfileHook = Arc<dyn Fn(&Thread, Duration)>;

#[derive(Clone, Default)]
pub(super) struct Hooks {
    except: Option<ExceptHook>,
    trace: Option<TraceHook>,
    profile: Option<ProfileHook>,
}

/// Says what is called when a panic ends the work of a thread or of a timer; `None` for [`default_excepthook`]. The panic goes no
/// further, and the process's panic hook does not hear of it.
#[doc(alias = "excepthook")]
pub fn set_excepthook(hook: Option<ExceptHook>) {
    change(|hooks| std::mem::replace(&mut hooks.except, hook));
}

/// What [`set_excepthook`] set.
pub fn excepthook() -> Option<ExceptHook> {
    frames().hooks.borrow().except.clone()
}

/// Says what is called before and after the work of everything that is started later; `None` for nothing.
#[doc(alias = "settrace")]
pub fn set_trace(hook: Option<TraceHook>) {
    change(|hooks| std::mem::replace(&mut hooks.trace, hook));
}

/// What [`set_trace`] set.
#[doc(alias = "gettrace")]
pub fn trace() -> Option<TraceHook> {
    frames().hooks.borrow().trace.clone()
}

/// Says what is called after the work of everything that is started later, with the time that took; `None` for nothing.
#[doc(alias = "setprofile")]
pub fn set_profile(hook: Option<ProfileHook>) {
    change(|hooks| std::mem::replace(&mut hooks.profile, hook));
}

/// What [`set_profile`] set.
#[doc(alias = "getprofile")]
pub fn profile() -> Option<ProfileHook> {
    frames().hooks.borrow().profile.clone()
}

fn change<H>(replace: impl FnOnce(&mut Hooks) -> Option<H>) {
    let frames = frames();
    let before = replace(&mut frames.hooks.borrow_mut());
    drop(before); // no longer borrowed: what it captured may come back here
}

/// Prints the panic to standard error as Rust does; nothing for [`exit`](super::exit).
#[doc(alias = "__excepthook__")]
pub fn default_excepthook(report: &PanicReport<'_>) {
    if !report.is_exit() {
        report.print(&report.thread().name(), report.thread().native_id());
    }
}

/// Tells the hook what escaped.
pub(super) fn report(thread: &Thread, escaped: &Escaped) {
    let report = PanicReport::new(thread, escaped);
    // A hook that panics has reported nothing, so both panics are printed.
    if !excepthook().is_some_and(|hook| aloud(|| hook(&report))) {
        aloud(|| default_excepthook(&report));
    }
}

/// Runs some work between the hooks that were there at its start.
pub(super) fn around(thread: &Thread, work: impl FnOnce()) {
    let Hooks { trace, profile, .. } = frames().hooks.borrow().clone();
    let tell = |moment| {
        if let Some(trace) = &trace {
            aloud(|| trace(thread, moment));
        }
    };
    tell(TraceEvent::Start);
    let start = Instant::now();
    work();
    if let Some(profile) = &profile {
        let took = start.elapsed();
        aloud(|| profile(thread, took));
    }
    tell(TraceEvent::End);
}
