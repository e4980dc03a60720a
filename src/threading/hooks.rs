//! The hooks that are called when a thread starts, ends or panics.

use std::sync::atomic::Ordering::{Relaxed, Release};

use super::hook_types::{ExceptHook, OwnHooks, PanicReport, ProfileHook, TraceHook, work_between};
use super::inner::Thread;
use super::registry::registry;
use crate::thread::Escaped;

/// Sets the hook for a panic that ends the work of a thread or a timer; `None` restores [`default_excepthook`]. The
/// hook runs in that thread. Other threads and the exit code are not affected.
///
/// Such a panic does not reach the process's panic hook. If this hook itself panics, the process's panic hook gets the
/// second panic, and [`default_excepthook`] prints the first one. The thread then ends as usual. A panic that the
/// thread catches is not reported at all. A panic that aborts the process goes to the process's panic hook, after the
/// panic to be reported is printed. With `panic = "abort"` every panic aborts the process.
///
/// ```
/// use std::sync::{Arc, mpsc};
/// use ossature::threading::{self, Thread};
///
/// let (tell, hear) = mpsc::channel();
/// threading::set_excepthook(Some(Arc::new(move |report| {
///     let _ = tell.send(format!("{} said {:?}", report.thread().name(), report.message()));
/// })));
/// let thread = Thread::builder().name("clerk").spawn(|| panic!("no more paper"))?;
/// thread.join()?;
/// assert_eq!(hear.recv().unwrap(), "clerk said Some(\"no more paper\")");
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "excepthook")]
pub fn set_excepthook(hook: Option<ExceptHook>) {
    change(|hooks| std::mem::replace(&mut hooks.except, hook));
}

/// The hook that [`set_excepthook`] set.
///
/// # Examples
/// See the example of [`PanicReport`].
pub fn excepthook() -> Option<ExceptHook> {
    registry().hooks.lock().except.clone()
}

/// Sets the hook that every thread that starts later calls before and after its work; `None` removes it. Rust has no
/// events for lines or calls, so there are no other events.
///
/// # Examples
/// ```standalone_crate
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
/// use ossature::threading::{ProfileHook, Thread, TraceEvent, TraceHook, profile, set_profile, set_trace, trace};
///
/// let seen = Arc::new(Mutex::new(Vec::new()));
/// let (traced, timed) = (seen.clone(), seen.clone());
/// let on_trace: TraceHook = Arc::new(move |thread: &Thread, event: TraceEvent| {
///     traced.lock().unwrap().push(format!("{} {event:?}", thread.name()));
/// });
/// let on_profile: ProfileHook = Arc::new(move |thread: &Thread, took: Duration| {
///     assert!(took < Duration::from_secs(60));
///     timed.lock().unwrap().push(format!("{} took its time", thread.name()));
/// });
/// set_trace(Some(on_trace));
/// set_profile(Some(on_profile));
/// assert!(trace().is_some() && profile().is_some());
///
/// Thread::builder().name("clerk").spawn(|| ())?.join()?;
/// assert_eq!(*seen.lock().unwrap(), ["clerk Start", "clerk took its time", "clerk End"]);
/// set_trace(None);
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "settrace")]
pub fn set_trace(hook: Option<TraceHook>) {
    change(|hooks| std::mem::replace(&mut hooks.trace, hook));
}

/// The hook that [`set_trace`] set.
///
/// # Examples
/// See the example of [`set_trace`].
#[doc(alias = "gettrace")]
pub fn trace() -> Option<TraceHook> {
    registry().hooks.lock().trace.clone()
}

/// Sets the hook that every thread that starts later calls after its work, with the time that the work took; `None`
/// removes it.
///
/// # Examples
/// See the example of [`set_trace`].
#[doc(alias = "setprofile")]
pub fn set_profile(hook: Option<ProfileHook>) {
    change(|hooks| std::mem::replace(&mut hooks.profile, hook));
}

/// The hook that [`set_profile`] set.
///
/// # Examples
/// See the example of [`set_trace`].
#[doc(alias = "getprofile")]
pub fn profile() -> Option<ProfileHook> {
    registry().hooks.lock().profile.clone()
}

fn change<H>(replace: impl FnOnce(&mut OwnHooks) -> Option<H>) {
    let registry = registry();
    let mut hooks = registry.hooks.lock();
    let before = replace(&mut hooks);
    registry.hooked.store(hooks.any(), Release);
    drop(hooks);
    drop(before); // outside the lock: what it captured may come back here
}

/// Prints the panic to standard error as Rust does. Prints nothing for [`exit`](super::exit), or when there is no
/// standard error.
///
/// Python's `__excepthook__`: call it from a hook of your own to have both.
///
/// # Examples
/// See the example of [`PanicReport`].
#[doc(alias = "__excepthook__")]
pub fn default_excepthook(report: &PanicReport<'_>) {
    if report.is_exit() {
        return;
    }
    report.print(&report.thread().name(), report.thread().native_id());
}

/// Passes the panic that ended the calling thread's work to the hook.
pub(super) fn report(thread: &Thread, escaped: &Escaped) {
    PanicReport::new(thread, escaped).tell(excepthook().as_deref(), default_excepthook);
}

/// Runs the work of a thread between the hooks that were set at its start.
pub(super) fn around(thread: &Thread, work: impl FnOnce()) {
    let registry = registry();
    if !registry.hooked.load(Relaxed) {
        return work();
    }
    let OwnHooks { trace, profile, .. } = registry.hooks.lock().clone();
    work_between(thread, trace.as_deref(), profile.as_deref(), work);
}
