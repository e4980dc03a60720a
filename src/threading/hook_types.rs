//! The types of the hooks and of their arguments.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inner::Thread;
use crate::thread::{Escaped, Pid, Place, is_exit, report_panics, text};

/// The type of the hook for [`set_excepthook`](super::set_excepthook).
///
/// # Examples
/// See the example of [`PanicReport`].
pub type ExceptHook = Arc<dyn Fn(&PanicReport<'_>) + Send + Sync>;
/// The type of the hook for [`set_trace`](super::set_trace).
///
/// # Examples
/// See the example of [`set_trace`](super::set_trace).
pub type TraceHook = Arc<dyn Fn(&Thread, TraceEvent) + Send + Sync>;
/// The type of the hook for [`set_profile`](super::set_profile).
///
/// # Examples
/// See the example of [`set_trace`](super::set_trace).
pub type ProfileHook = Arc<dyn Fn(&Thread, Duration) + Send + Sync>;

/// The moment at which the [`TraceHook`] is called: before or after a thread's work.
///
/// # Examples
/// See the example of [`set_trace`](super::set_trace).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "Moment")]
pub enum TraceEvent {
    /// Before the thread's work.
    Start,
    /// After the thread's work, by return or by panic.
    End,
}

/// The hooks of this module, or of [`dummy_threading`](crate::dummy_threading), whose hooks stay in their thread.
#[derive(Clone)]
pub(crate) struct Hooks<E, T, P> {
    pub(crate) except: Option<E>,
    pub(crate) trace: Option<T>,
    pub(crate) profile: Option<P>,
}

impl<E, T, P> Default for Hooks<E, T, P> {
    fn default() -> Self {
        Self { except: None, trace: None, profile: None }
    }
}

pub(super) type OwnHooks = Hooks<ExceptHook, TraceHook, ProfileHook>;

impl OwnHooks {
    pub(super) fn any(&self) -> bool {
        self.trace.is_some() || self.profile.is_some()
    }
}

/// A panic that ended a thread's work.
///
/// `H` is the kind of handle: [`dummy_threading`](crate::dummy_threading) has its own.
///
/// # Examples
/// ```standalone_crate
/// use std::sync::{Arc, mpsc};
/// use ossature::threading::{ExceptHook, PanicReport, Thread, default_excepthook, excepthook, set_excepthook};
///
/// let (tell, hear) = mpsc::channel();
/// let hook: ExceptHook = Arc::new(move |report: &PanicReport<'_>| {
///     if report.is_exit() {
///         return; // the thread called exit(), which is not a fault
///     }
///     let traced = report.backtrace().is_some();
///     let code = report.payload().downcast_ref::<u32>().copied();
///     let place = report.location().map(str::to_owned);
///     let _ = tell.send((report.thread().name(), report.message().is_some(), code, place, traced));
///     default_excepthook(report); // prints it as well
/// });
/// set_excepthook(Some(hook));
/// assert!(excepthook().is_some());
///
/// Thread::builder().name("clerk").spawn(|| std::panic::panic_any(7_u32))?.join()?;
/// let (name, has_text, code, place, _) = hear.recv().unwrap();
/// assert_eq!((name.as_str(), has_text, code), ("clerk", false, Some(7)));
/// assert!(place.is_some_and(|place| place.contains(".rs:")));
/// # Ok::<(), ossature::Error>(())
/// ```
pub struct PanicReport<'p, H = Thread> {
    thread: &'p H,
    payload: &'p (dyn Any + Send),
    place: Option<&'p Place>,
}

impl<'p, H> PanicReport<'p, H> {
    pub(crate) fn new(thread: &'p H, escaped: &'p Escaped) -> Self {
        Self { thread, payload: &*escaped.payload, place: escaped.place.as_ref() }
    }

    /// Prints the report in the format of Rust's own panic message.
    pub(crate) fn print(&self, name: &str, native: Option<Pid>) {
        let mut text = format!("\nthread '{name}'");
        if let Some(native) = native {
            let _ = write!(text, " ({})", native.as_raw_nonzero());
        }
        let _ = match self.location() {
            Some(location) => writeln!(text, " panicked at {location}:"),
            None => writeln!(text, " panicked:"),
        };
        let _ = writeln!(text, "{}", self.message().unwrap_or("Box<dyn Any>"));
        let _ = match self.backtrace() {
            Some(backtrace) => writeln!(text, "stack backtrace:\n{backtrace}"),
            None => writeln!(text, "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace"),
        };
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// The thread that panicked, which is the calling thread.
    pub fn thread(&self) -> &H {
        self.thread
    }

    /// The payload of the panic.
    #[doc(alias = "exc_value")]
    pub fn payload(&self) -> &(dyn Any + Send) {
        self.payload
    }

    /// The text of the panic; `None` when the payload is not a string.
    pub fn message(&self) -> Option<&str> {
        text(self.payload)
    }

    /// The file, line and column of the panic. `None` after `resume_unwind`, or when the process's panic hook was
    /// replaced meanwhile.
    pub fn location(&self) -> Option<&str> {
        self.place.map(|place| place.location.as_str())
    }

    /// The backtrace of the panic, if `RUST_BACKTRACE` requests one.
    #[doc(alias = "exc_traceback")]
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.place.map(|place| &place.backtrace).filter(|backtrace| backtrace.status() == BacktraceStatus::Captured)
    }

    /// Whether the thread left by [`exit`](super::exit) (Python's `SystemExit`), which is not an error.
    pub fn is_exit(&self) -> bool {
        is_exit(self.payload)
    }
}

impl<H: fmt::Debug> fmt::Debug for PanicReport<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PanicReport")
            .field("thread", self.thread)
            .field("message", &self.message())
            .field("location", &self.location())
            .finish_non_exhaustive()
    }
}

impl<H> PanicReport<'_, H> {
    /// Calls `hook`, or `default` if there is no hook.
    pub(crate) fn tell(&self, hook: Option<impl Fn(&PanicReport<'_, H>)>, default: impl Fn(&PanicReport<'_, H>)) {
        // A hook that panics has reported nothing, so both panics are printed.
        if !hook.is_some_and(|hook| report_panics(|| hook(self))) {
            report_panics(|| default(self));
        }
    }
}

/// Runs `work` between the hooks.
pub(crate) fn work_between<H>(
    thread: &H,
    trace: Option<impl Fn(&H, TraceEvent)>,
    profile: Option<impl Fn(&H, Duration)>,
    work: impl FnOnce(),
) {
    let tell = |event| {
        if let Some(trace) = &trace {
            report_panics(|| trace(thread, event));
        }
    };
    tell(TraceEvent::Start);
    let start = Instant::now();
    work();
    if let Some(profile) = &profile {
        let took = start.elapsed();
        report_panics(|| profile(thread, took));
    }
    tell(TraceEvent::End);
}
