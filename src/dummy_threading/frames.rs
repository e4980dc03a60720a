//! The frames that run: the calling OS thread, and the threads that it has started, nested in each other.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::thread::report_panics;
use crate::threading::{Hooks, PanicReport, TraceEvent};

/// The value or the panic of a thread's work.
pub(super) type Left<T> = std::thread::Result<T>;

/// A thread that runs inside [`start`](Self::start). Clones are the same thread.
///
/// ```
/// use ossature::dummy_threading::Thread;
///
/// let thread = Thread::new(|| 6 * 7);
/// thread.start()?;
/// assert!(!thread.is_alive(), "it is over");
/// assert_eq!(thread.result()?, 42);
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// From its preparation to its end:
///
/// ```
/// use std::time::Duration;
/// use ossature::dummy_threading::Thread;
/// use ossature::thread::get_native_id;
///
/// let thread = Thread::builder().name("adder").prepare(|| 6 + 7);
/// thread.set_name("the adder");
/// thread.set_daemon(true)?; // before its start
/// assert!(thread.daemon() && thread.native_id().is_none());
///
/// thread.start()?; // the work is done when this returns
/// thread.join()?;
/// assert!(thread.join_timeout(Duration::ZERO)?);
/// assert_eq!(thread.native_id(), Some(get_native_id()), "it ran in the caller's thread");
/// assert_eq!((thread.handle().name(), thread.handle() == thread), ("the adder".to_owned(), true));
/// assert_eq!(thread.take().unwrap().unwrap(), 13); // as std gives it
/// # Ok::<(), ossature::Error>(())
/// ```
pub struct Thread<T = ()> {
    pub(super) inner: Rc<Inner>,
    /// The result of the work; `None` in a handle that was not made with the closure.
    pub(super) left: Option<Rc<RefCell<Option<Left<T>>>>>,
}

impl<T> Clone for Thread<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), left: self.left.clone() }
    }
}

impl Thread {
    pub(super) fn of(inner: Rc<Inner>) -> Self {
        Self { inner, left: None }
    }
}

/// The work of a thread.
pub(super) type Body = Box<dyn FnOnce(&Thread)>;

/// The local values of one frame, by the number of their `Local`.
type Values = RefCell<BTreeMap<u64, Rc<dyn Any>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Initial,
    Started,
    Stopped,
}

/// The state that the handles of one thread share.
pub(super) struct Inner {
    number: u32,
    name: RefCell<Option<Arc<str>>>,
    pub(super) daemon: Cell<bool>,
    pub(super) stack: usize,
    pub(super) phase: Cell<Phase>,
    pub(super) body: RefCell<Option<Body>>,
    pub(super) values: Values,
}

impl Inner {
    pub(super) fn new(name: Option<Arc<str>>, daemon: bool, stack: usize) -> Self {
        let number = if name.is_none() { frames().count() } else { 0 };
        Self {
            number,
            name: RefCell::new(name),
            daemon: Cell::new(daemon),
            stack,
            phase: Cell::new(Phase::Initial),
            body: RefCell::new(None),
            values: Values::default(),
        }
    }

    pub(super) fn name(&self) -> String {
        let name = self.name.borrow();
        name.as_deref().map_or_else(|| format!("Thread-{}", self.number), str::to_owned)
    }

    pub(super) fn set_name(&self, name: Arc<str>) {
        self.name.replace(Some(name));
    }

    /// Drops the local values, and repeats this a few times for values that their destructors make.
    fn clear(&self) {
        const ROUNDS: u32 = 4;
        for _ in 0..ROUNDS {
            let values = self.values.take();
            if values.is_empty() {
                return;
            }
            for value in values.into_values() {
                report_panics(|| drop(value));
            }
        }
    }
}

/// The hooks, of the types that `hooks` names.
pub(super) type OwnHooks =
    Hooks<Arc<dyn Fn(&PanicReport<'_, Thread>)>, Arc<dyn Fn(&Thread, TraceEvent)>, Arc<dyn Fn(&Thread, Duration)>>;

/// The work of a shutdown.
#[derive(Default)]
pub(super) struct ShutdownState {
    pub(super) began: bool,
    pub(super) closed: bool,
    pub(super) callbacks: Vec<Box<dyn FnOnce()>>,
}

/// The state of this module for one OS thread.
pub(super) struct Frames {
    main: Rc<Inner>,
    /// The threads that have started and not ended, the innermost last.
    nested: RefCell<Vec<Rc<Inner>>>,
    numbers: Cell<u32>,
    pub(super) hooks: RefCell<OwnHooks>,
    pub(super) end: RefCell<ShutdownState>,
}

thread_local!(static FRAMES: Rc<Frames> = Rc::new(Frames::new()));

/// Returns the state of the calling OS thread; after that thread's end, a temporary state.
pub(super) fn frames() -> Rc<Frames> {
    living().unwrap_or_else(|| Rc::new(Frames::new()))
}

/// Returns the state of the calling OS thread, or `None` after that thread's end.
pub(super) fn living() -> Option<Rc<Frames>> {
    FRAMES.try_with(Rc::clone).ok()
}

impl Frames {
    fn new() -> Self {
        let main = Inner {
            number: 0,
            name: RefCell::new(Some("MainThread".into())),
            daemon: Cell::new(false),
            stack: 0,
            phase: Cell::new(Phase::Started),
            body: RefCell::new(None),
            values: Values::default(),
        };
        Self {
            main: Rc::new(main),
            nested: RefCell::default(),
            numbers: Cell::new(0),
            hooks: RefCell::default(),
            end: RefCell::default(),
        }
    }

    /// Returns the next N of "Thread-N".
    fn count(&self) -> u32 {
        self.numbers.set(self.numbers.get().wrapping_add(1));
        self.numbers.get()
    }

    /// Returns the innermost thread.
    pub(super) fn current(&self) -> Rc<Inner> {
        self.nested.borrow().last().unwrap_or(&self.main).clone()
    }

    /// Returns all threads, the outermost first.
    pub(super) fn all(&self) -> Vec<Rc<Inner>> {
        let nested = self.nested.borrow();
        std::iter::once(&self.main).chain(nested.iter()).cloned().collect()
    }

    /// Runs `work` in its own frame.
    pub(super) fn within(&self, inner: Rc<Inner>, work: impl FnOnce()) {
        /// Ends the frame on drop.
        struct Leave<'f>(&'f Frames, Rc<Inner>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.1.clear();
                drop(self.0.nested.borrow_mut().pop());
                self.1.phase.set(Phase::Stopped);
            }
        }
        inner.phase.set(Phase::Started);
        self.nested.borrow_mut().push(inner.clone());
        let _leave = Leave(self, inner);
        work();
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // A value may hold a handle of its own thread.
        self.main.clear();
    }
}

/// The number of living threads: always 1, the running one.
///
/// # Examples
/// ```
/// use ossature::dummy_threading::{Thread, active_count, current_thread, enumerate, main_thread};
///
/// let thread = Thread::builder().name("inner").spawn(|| {
///     assert_eq!(current_thread().name(), "inner");
///     assert_eq!((active_count(), enumerate()), (1, vec![current_thread()]));
///     main_thread().name()
/// })?;
/// assert_eq!(thread.result()?, "MainThread");
/// assert_eq!(current_thread(), main_thread());
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "activeCount")]
pub fn active_count() -> usize {
    1
}

/// Returns the only running thread.
///
/// # Examples
/// See the example of [`active_count`].
pub fn enumerate() -> Vec<Thread> {
    vec![current_thread()]
}

/// Returns the running thread: the one that was started last and has not ended, or `MainThread`.
///
/// Differs from Python, which loses the main thread after the first start and always returns `Dummy-1` from then on.
///
/// # Examples
/// See the example of [`active_count`].
#[doc(alias = "currentThread")]
pub fn current_thread() -> Thread {
    Thread::of(frames().current())
}

/// Returns `MainThread`; every OS thread has its own.
///
/// # Examples
/// See the example of [`active_count`].
pub fn main_thread() -> Thread {
    Thread::of(frames().main.clone())
}
