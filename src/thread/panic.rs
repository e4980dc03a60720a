//! Unwinding out of a thread: panics with their locations, which are kept until they are reported, and the quiet exit.
//!
//! std prints a panic when it happens, even if the panic is caught. A thread of [`threading`](crate::threading) reports
//! an escaped panic once, at its end. A process of [`multiprocessing`](crate::multiprocessing) prints a panic as std
//! does, but under its name, and sends an escaped panic to its parent. So this module installs a hook before the hook
//! of the program. In such a thread the hook keeps message, location and backtrace of a panic; in every other thread it
//! passes the panic to the next hook. If a panic is about to abort the process, the hook passes on all kept panics and
//! then this one, because no code could report them later.

use std::any::{Any, TypeId};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::atomic::{
    AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

use crate::error::{self, Error, ErrorKind};

/// The location of a panic, and its backtrace.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) location: String,
    pub(crate) backtrace: Backtrace,
}

/// The payload and place of an unwinding that left a closure.
pub(crate) struct Escaped {
    pub(crate) payload: Box<dyn Any + Send>,
    /// The place; `None` when this library's hook did not see the panic, because an unwinding was resumed or another
    /// hook is set.
    pub(crate) place: Option<Place>,
}

/// A panic that this library's hook saw.
struct Kept {
    /// Whether it was printed.
    reported: bool,
    kind: TypeId,
    message: String,
    place: Place,
}

impl Kept {
    fn of(info: &PanicHookInfo<'_>, reported: bool) -> Self {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let place = Place { location, backtrace: Backtrace::capture() };
        let message = text(info.payload()).unwrap_or("Box<dyn Any>").to_owned();
        Self { reported, kind: info.payload().type_id(), message, place }
    }

    /// Whether this panic unwound with `payload`. The hook saw the payload at another address, so only type and text
    /// are compared.
    fn is(&self, payload: &(dyn Any + Send)) -> bool {
        self.kind == payload.type_id() && text(payload).is_none_or(|words| words == self.message)
    }

    fn print(&self) {
        let thread = std::thread::current();
        let mut words = match thread.name() {
            Some(name) => format!("\nthread '{name}' panicked at {}:\n{}\n", self.place.location, self.message),
            None => format!("\nthread panicked at {}:\n{}\n", self.place.location, self.message),
        };
        if self.place.backtrace.status() == BacktraceStatus::Captured {
            words.push_str(&format!("stack backtrace:\n{}\n", self.place.backtrace));
        }
        let _ = std::io::stderr().write_all(words.as_bytes()); // without a standard error nobody listens
    }
}

/// The parts of a process's panic to print.
#[cfg_attr(not(feature = "multiprocessing"), expect(dead_code, reason = "only processes label their panics"))]
pub(crate) enum PanicPart<'p> {
    /// The message and place of the panic, which no other code prints.
    Whole(&'p str, &'p Place),
    /// The name of the process only, before the program's hook prints the panic.
    Name,
    /// The name of the process; the message and place are those of the panic that ends the process, or of the one
    /// before it.
    Last(&'p str, &'p Place),
}

/// Prints a panic of a process under the name of the process, and sends the last one to the parent.
pub(crate) type PanicLabel = fn(PanicPart<'_>);

/// The state of the hook in a thread. It is one value without allocations, because every new child accesses it.
#[derive(Clone, Copy)]
struct HookState {
    /// The label of the process, if this is its first thread and this library started the process.
    label: Option<PanicLabel>,
    /// Whether a panic is kept.
    keeps: bool,
    /// Whether a panic that is kept is also reported at once.
    reports: bool,
    /// The length of [`KEPT`] when the innermost [`catch`] began.
    floor: u32,
    /// The length of [`KEPT`], so that an empty list is not accessed.
    kept: u32,
}

/// The maximum number of panics that the hook keeps in one [`catch`]: enough for a destructor, but bounded in a loop
/// that catches its own panics.
const MANY: u32 = 8;

thread_local! {
    static STATE: Cell<HookState> =
        const { Cell::new(HookState { label: None, keeps: false, reports: false, floor: 0, kept: 0 }) };
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` without printing panics; returns the panic that escaped.
pub(crate) fn catch<R>(body: impl FnOnce() -> R) -> Result<R, Escaped> {
    caught(false, body)
}

/// Drops the panics that were kept since the innermost [`catch`] began, all of which were caught within it.
#[cfg(feature = "multiprocessing")]
#[inline]
pub(crate) fn forget_panics() {
    let HookState { floor, kept, .. } = STATE.get();
    if kept > floor {
        forget_kept(floor);
    }
}

#[cfg(feature = "multiprocessing")]
#[cold]
fn forget_kept(floor: u32) {
    let forgotten = KEPT.with_borrow_mut(|kept| kept.split_off(kept.len().min(floor as usize)));
    STATE.set(HookState { kept: floor, ..STATE.get() });
    drop(forgotten);
}

/// Runs `body`, reports panics under the [label](set_panic_label) as they happen, and returns the one that escaped.
/// Only a panic without a place is still to be reported.
#[cfg(feature = "multiprocessing")]
pub(crate) fn catch_and_report<R>(body: impl FnOnce() -> R) -> Result<R, Escaped> {
    caught(true, body)
}

fn caught<R>(reports: bool, body: impl FnOnce() -> R) -> Result<R, Escaped> {
    let before = STATE.get();
    STATE.set(HookState { keeps: true, reports, floor: before.kept, ..before });
    let result = catch_unwind(AssertUnwindSafe(body));
    let after = STATE.replace(before);
    // Nearly always. A child that was just forked would pay for the code behind it.
    if after.kept <= before.kept {
        return result.map_err(|payload| Escaped { payload, place: None });
    }
    with_place(result, before.kept)
}

/// Takes the panics that were kept beyond the first `floor`, and finds among them the place of the one that escaped.
#[cold]
fn with_place<R>(result: std::thread::Result<R>, floor: u32) -> Result<R, Escaped> {
    let seen = KEPT.with_borrow_mut(|kept| kept.split_off(kept.len().min(floor as usize)));
    result.map_err(|payload| {
        let escaped = seen.into_iter().rev().find(|kept| kept.is(&*payload));
        Escaped { payload, place: escaped.map(|kept| kept.place) }
    })
}

/// Makes the calling thread the first of a process, from now on: its panics are printed with the name of that process.
#[cfg(feature = "multiprocessing")]
#[inline]
pub(crate) fn set_panic_label(label: PanicLabel) {
    STATE.set(HookState { label: Some(label), keeps: false, reports: false, ..STATE.get() });
}

/// Runs `body`, passes its panics to the process's hook as they happen, and discards them; returns whether there was
/// none.
pub(crate) fn report_panics(body: impl FnOnce()) -> bool {
    let before = STATE.get();
    STATE.set(HookState { keeps: false, ..before });
    let ended = catch_unwind(AssertUnwindSafe(body)); // the hook has reported it
    // The drop of a payload may panic with another payload, which is not dropped.
    let ended = ended.map_err(|payload| catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget));
    STATE.set(before);
    ended.is_ok()
}

/// The address of this library's newest hook; 0 while there is none.
static INSTALLED: AtomicUsize = AtomicUsize::new(0);

/// A part of this library's hook. It clears [`INSTALLED`] on drop, because the next hook may have the same address.
struct Mark;

impl Drop for Mark {
    fn drop(&mut self) {
        INSTALLED.store(0, Release);
    }
}

/// Whether this library's hook was installed in this process or in an ancestor that it is a copy of.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Installs this library's hook before the present hook, once in a process.
pub(crate) fn install() {
    // A hook cannot be set while the thread unwinds; the next start will.
    if BEGUN.load(Relaxed) || std::thread::panicking() || BEGUN.swap(true, AcqRel) {
        return;
    }
    install_anew();
}

/// Installs this library's hook before the present hook, unless that is this library's: at the start of a process,
/// whose parent may have set another since.
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

/// Makes this library's hook, which calls the hook `before` after it.
fn ours(before: Hook) -> Hook {
    let mark = Mark;
    let hook: Hook = Box::new(move |info| {
        let _ = &mark;
        let state = STATE.get();
        let ends = cfg!(panic = "abort") || aborts(info);
        if state.keeps && !ends {
            return keep(state, info);
        }
        let mut seen = Vec::new();
        if ends {
            seen = KEPT.try_with(RefCell::take).unwrap_or_default();
            seen.iter().filter(|kept| !kept.reported).for_each(Kept::print);
        }
        match state.label {
            Some(label) if ends => {
                // The first is why there were others.
                let first = seen.into_iter().next().unwrap_or_else(|| Kept::of(info, true));
                label(PanicPart::Last(&first.message, &first.place));
            }
            Some(label) => label(PanicPart::Name),
            None => {}
        }
        before(info);
    });
    INSTALLED.store(place(&hook), Release);
    hook
}

/// Whether the process ends with this panic: a panic that cannot unwind cannot be caught, such as a panic out of a
/// destructor during an unwinding. Only the `Debug` form of `info` shows this in every case.
fn aborts(info: &PanicHookInfo<'_>) -> bool {
    const WORDS: [&str; 2] = ["panic in a destructor during cleanup", "panic in a function that cannot unwind"];
    text(info.payload()).is_some_and(|words| WORDS.contains(&words))
        || format!("{info:?}").contains("can_unwind: false")
}

fn keep(state: HookState, info: &PanicHookInfo<'_>) {
    let label = state.label.filter(|_| state.reports);
    let kept = Kept::of(info, label.is_some());
    if let Some(label) = label {
        label(PanicPart::Whole(&kept.message, &kept.place));
    }
    let _ = KEPT.try_with(|list| {
        let mut list = list.borrow_mut();
        if state.kept - state.floor == MANY {
            list.remove(state.floor as usize);
        }
        list.push(kept);
        STATE.set(HookState { kept: list.len() as u32, ..state });
    });
}

/// Returns the text of a panic, if it has one.
pub(crate) fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied())
}

/// The payload of [`exit`].
struct Exit;

/// Whether [`exit`] caused the unwinding.
pub(crate) fn is_exit(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Exit>()
}

/// Returns the result of an ended thread, or the error that there is no result.
pub(crate) fn result_of<T>(left: Option<std::thread::Result<T>>, name: impl FnOnce() -> String) -> error::Result<T> {
    match left {
        Some(Ok(value)) => Ok(value),
        Some(Err(payload)) if is_exit(&*payload) => {
            Err(Error::new(ErrorKind::NoResult, format!("thread {} left by exit()", name())))
        }
        Some(Err(payload)) => {
            let words = text(&*payload).unwrap_or("with a payload that is not a text");
            Err(Error::new(ErrorKind::Panicked, format!("thread {} panicked: {words}", name())))
        }
        None => {
            let message =
                format!("thread {} has no result here: it was taken before, or the handle never had one", name());
            Err(Error::new(ErrorKind::NoResult, message))
        }
    }
}

/// Ends the calling thread: unwinds its stack, so that every value is dropped, and prints nothing.
///
/// Like Python's `SystemExit` this is a panic without a report: `catch_unwind` stops it. In the first thread of a
/// program it unwinds `main`, and the program ends with code 101. `std::process::exit` ends the process from any
/// thread. Python's `sys.exit` in a thread ends that thread only, as this does.
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

#[cfg(all(test, feature = "multiprocessing"))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_that_was_forgotten_lends_its_place_to_no_other() {
        install();
        let caught_before = |forgets: bool| {
            catch(|| {
                let _ = catch_unwind(|| panic!("no more paper"));
                if forgets {
                    forget_panics();
                }
                resume_unwind(Box::new("no more paper")) // no hook sees that
            })
        };
        let place = |caught: Result<(), Escaped>| caught.err().and_then(|escaped| escaped.place);
        assert!(place(caught_before(false)).is_some(), "it could be that one");
        assert!(place(caught_before(true)).is_none());
        assert!(place(catch(|| panic!("no more ink"))).is_some(), "later ones are kept");
    }
}
