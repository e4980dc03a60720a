//! Hooks for the start, the end and a panic of started work, per OS thread.

use std::sync::Arc;
use std::time::Duration;

use super::Thread;
use super::frames::{OwnHooks, frames};
use crate::thread::Escaped;
use crate::threading::{self, TraceEvent, work_between};

/// A panic that ended a thread's work.
///
/// # Examples
/// See the example of [`set_excepthook`].
pub type PanicReport<'p> = threading::PanicReport<'p, Thread>;
/// The hook that [`set_excepthook`] accepts.
///
/// # Examples
/// See the example of [`set_excepthook`].
pub type ExceptHook = Arc<dyn Fn(&PanicReport<'_>)>;
/// The hook that [`set_trace`] accepts.
///
/// # Examples
/// See the example of [`set_trace`].
pub type TraceHook = Arc<dyn Fn(&Thread, TraceEvent)>;
/// The hook that [`set_profile`] accepts.
///
/// # Examples
/// See the example of [`set_trace`].
pub type ProfileHook = Arc<dyn Fn(&Thread, Duration)>;

/// Sets the hook for a panic that ends the work of a thread or of a timer; `None` for [`default_excepthook`]. The panic
/// goes no further, and does not reach the process's panic hook.
///
/// # Examples
/// ```
/// use std::{cell::RefCell, rc::Rc, sync::Arc};
/// use ossature::dummy_threading::{ExceptHook, PanicReport, Thread, default_excepthook, excepthook, set_excepthook};
///
/// let words = Rc::new(RefCell::new(String::new()));
/// let told = words.clone();
/// # #[allow(clippy::arc_with_non_send_sync)]
/// let hook: ExceptHook = Arc::new(move |report: &PanicReport<'_>| {
///     *told.borrow_mut() = format!("{} said {:?}", report.thread().name(), report.message());
///     default_excepthook(report); // prints it as well
/// });
/// set_excepthook(Some(hook));
/// assert!(excepthook().is_some());
/// Thread::builder().name("clerk").spawn(|| panic!("no more paper"))?;
/// assert_eq!(*words.borrow(), "clerk said Some(\"no more paper\")");
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "excepthook")]
pub fn set_excepthook(hook: Option<ExceptHook>) {
    change(|hooks| std::mem::replace(&mut hooks.except, hook));
}

/// Returns the hook that [`set_excepthook`] set.
///
/// # Examples
/// See the example of [`set_excepthook`].
pub fn excepthook() -> Option<ExceptHook> {
    frames().hooks.borrow().except.clone()
}

/// Sets the hook that is called before and after the work of each later start; `None` for no hook.
///
/// # Examples
/// ```
/// use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};
/// use ossature::dummy_threading::{ProfileHook, Thread, TraceEvent, TraceHook, profile, set_profile, set_trace, trace};
///
/// let seen = Rc::new(RefCell::new(Vec::new()));
/// let (traced, timed) = (seen.clone(), seen.clone());
/// # #[allow(clippy::arc_with_non_send_sync)]
/// let on_trace: TraceHook = Arc::new(move |thread: &Thread, event: TraceEvent| {
///     traced.borrow_mut().push(format!("{} {event:?}", thread.name()));
/// });
/// # #[allow(clippy::arc_with_non_send_sync)]
/// let on_profile: ProfileHook = Arc::new(move |thread: &Thread, _took: Duration| {
///     timed.borrow_mut().push(format!("{} took its time", thread.name()));
/// });
/// set_trace(Some(on_trace));
/// set_profile(Some(on_profile));
/// assert!(trace().is_some() && profile().is_some());
/// Thread::builder().name("clerk").spawn(|| ())?;
/// assert_eq!(*seen.borrow(), ["clerk Start", "clerk took its time", "clerk End"]);
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "settrace")]
pub fn set_trace(hook: Option<TraceHook>) {
    change(|hooks| std::mem::replace(&mut hooks.trace, hook));
}

/// Returns the hook that [`set_trace`] set.
///
/// # Examples
/// See the example of [`set_trace`].
#[doc(alias = "gettrace")]
pub fn trace() -> Option<TraceHook> {
    frames().hooks.borrow().trace.clone()
}

/// Sets the hook that is called after the work of each later start, with the time of that work; `None` for no hook.
///
/// # Examples
/// See the example of [`set_trace`].
#[doc(alias = "setprofile")]
pub fn set_profile(hook: Option<ProfileHook>) {
    change(|hooks| std::mem::replace(&mut hooks.profile, hook));
}

/// Returns the hook that [`set_profile`] set.
///
/// # Examples
/// See the example of [`set_trace`].
#[doc(alias = "getprofile")]
pub fn profile() -> Option<ProfileHook> {
    frames().hooks.borrow().profile.clone()
}

fn change<H>(replace: impl FnOnce(&mut OwnHooks) -> Option<H>) {
    let frames = frames();
    let before = replace(&mut frames.hooks.borrow_mut());
    drop(before); // no longer borrowed: what it captured may come back here
}

/// Prints the panic to standard error as Rust does; prints nothing for [`exit`](super::exit).
///
/// # Examples
/// See the example of [`set_excepthook`].
#[doc(alias = "__excepthook__")]
pub fn default_excepthook(report: &PanicReport<'_>) {
    if !report.is_exit() {
        report.print(&report.thread().name(), report.thread().native_id());
    }
}

/// Passes an escaped panic to the hook.
pub(super) fn report(thread: &Thread, escaped: &Escaped) {
    PanicReport::new(thread, escaped).tell(excepthook().as_deref(), default_excepthook);
}

/// Runs some work between the hooks that were set at its start.
pub(super) fn around(thread: &Thread, work: impl FnOnce()) {
    let OwnHooks { trace, profile, .. } = frames().hooks.borrow().clone();
    work_between(thread, trace.as_deref(), profile.as_deref(), work);
}
