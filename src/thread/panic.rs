//! Unwinding out of a thread: what panicked and where, kept until somebody reports it, and the quiet way out.
//!
//! std prints a panic when it happens, whoever catches it. A thread of [`threading`](crate::threading) reports what escaped
//! from it, once, at its end. So one hook stands before the one that was installed: in such a thread it keeps place and
//! backtrace and stays silent, in every other it passes the panic on.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::atomic::{
    AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// Where and how a panic began.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) location: String,
    pub(crate) backtrace: Backtrace,
}

/// What unwound out of a closure.
pub(crate) struct Escaped {
    pub(crate) payload: Box<dyn Any + Send>,
    /// `None` when no hook saw it: an unwinding that was resumed.
    pub(crate) place: Option<Place>,
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<(Place, String)>> = const { RefCell::new(None) };
}

/// Runs `body`, keeping panics silent, and gives back what escaped.
pub(crate) fn catch<R>(body: impl FnOnce() -> R) -> Result<R, Escaped> {
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    QUIET.set(before);
    result.map_err(|payload| {
        let place = LAST.take().map(|(place, _)| place).filter(|_| !payload.is::<Exit>());
        Escaped { payload, place }
    })
}

/// Runs `body` with panics going to the process's hook as they happen, and swallows them.
pub(crate) fn aloud(body: impl FnOnce()) {
    let before = QUIET.replace(false);
    let _ = catch_unwind(AssertUnwindSafe(body)); // the hook has reported it
    QUIET.set(before);
}

/// Where our newest hook is, 0 while there is none.
static INSTALLED: AtomicUsize = AtomicUsize::new(0);

/// Part of our hook: clears [`INSTALLED`] when that is dropped, for the next one may get its place.
struct Mark;

impl Drop for Mark {
    fn drop(&mut self) {
        INSTALLED.store(0, Release);
    }
}

/// Whether ours was put before the program's in this process or an ancestor that it is a copy of.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Puts our hook before the one that is there, once in a process.
pub(crate) fn install() {
    // A hook cannot be set while the thread unwinds; the next start will.
    if BEGUN.load(Relaxed) || std::thread::panicking() || BEGUN.swap(true, AcqRel) {
        return;
    }
    install_anew();
}

/// Puts our hook before the one that is there, unless that is ours: at the birth of a process, whose parent may have set
/// another since.
pub(crate) fn install_anew() {
    if std::thread::panicking() {
        return;
    }
    BEGUN.store(true, Relaxed);
    let before = take_hook();
    let hook = if place(&before) == INSTALLED.load(Acquire) { before } else { ours(before) };
    set_hook(hook);
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

fn place(hook: &Hook) -> usize {
    (&raw const **hook).cast::<()>().addr()
}

/// Our hook, with another behind it.
fn ours(before: Hook) -> Hook {
    let mark = Mark;
    let hook: Hook = Box::new(move |info| {
        let _ = &mark;
        if !QUIET.try_with(Cell::get).unwrap_or(false) {
            return before(info);
        }
        let message = text(info.payload()).unwrap_or("Box<dyn Any>").to_owned();
        if message.starts_with("panic in a ") {
            // The process is about to abort, so the panic that led to it will find nobody to report it.
            if let Ok(Some((place, message))) = LAST.try_with(RefCell::take) {
                let _ = writeln!(std::io::stderr(), "panicked at {}:\n{message}", place.location);
            }
            return before(info);
        }
        keep(info, message);
    });
    INSTALLED.store(place(&hook), Release);
    hook
}

fn keep(info: &PanicHookInfo<'_>, message: String) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let place = Place { location, backtrace: Backtrace::capture() };
    let _ = LAST.try_with(|last| last.replace(Some((place, message))));
}

/// The words of a panic, if it has any.
pub(crate) fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied())
}

/// The payload of [`exit`].
struct Exit;

/// Whether it was [`exit`] that unwound.
pub(crate) fn is_exit(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Exit>()
}

/// Ends the calling thread: unwinds its stack, so that every value is dropped, and prints nothing.
///
/// Like Python's `SystemExit` this is a panic that nobody reports: `catch_unwind` stops it. In the first thread of a program
/// it unwinds `main`, and the program ends with code 101; `std::process::exit` ends the process from any thread (Python's
/// `sys.exit` in a thread ends that thread only, as this does).
///
/// ```
/// let thread = ossature::threading::Thread::spawn(|| -> u32 { ossature::thread::exit() })?;
/// thread.join()?;
/// assert!(thread.result().is_err(), "left without a value");
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "SystemExit")]
#[doc(alias = "exit_thread")]
pub fn exit() -> ! {
    resume_unwind(Box::new(Exit))
}
