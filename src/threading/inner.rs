//! The state that all handles of a thread share, and the handle of the calling thread.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use ossature_sys::sync::lock::Lock;

use crate::thread::{self, Native, is_first};

/// The result of a thread: its return value, or the payload of its panic.
pub(super) type Left<T> = std::thread::Result<T>;

/// A thread: a handle that names the thread, waits for it and takes its result. Clones refer to the same thread.
///
/// Dropping the handle does not stop the thread; then only [`shutdown`](super::shutdown()) waits for it.
///
/// ```
/// use ossature::threading::Thread;
///
/// let thread = Thread::new(|| 6 * 7);
/// thread.start()?;
/// thread.join()?;
/// assert!(!thread.is_alive());
/// assert_eq!(thread.result()?, 42);
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// Differs from Python: the work is a closure, which has its arguments in it. So there is nothing to override, no
/// `args`, and no name of the target in the thread's name. [`result`](Self::result) gives what the closure returns.
///
/// From its preparation to its end:
///
/// ```
/// use std::time::Duration;
/// use ossature::threading::{Thread, current_thread};
///
/// let thread = Thread::builder().name("adder").prepare(|| 6 + 7);
/// thread.set_name("the adder");
/// thread.set_daemon(true)?; // before its start
/// assert!(thread.daemon() && thread.ident().is_none() && thread.native_id().is_none());
///
/// thread.start()?;
/// assert!(thread.join_timeout(Duration::from_secs(60))?, "it ends at once");
/// assert_ne!(thread.ident(), current_thread().ident());
/// assert_eq!((thread.handle().name(), thread.handle() == thread), ("the adder".to_owned(), true));
/// assert_eq!(thread.take().unwrap().unwrap(), 13); // as std gives it
/// assert!(thread.take().is_none(), "once");
/// # Ok::<(), ossature::Error>(())
/// ```
pub struct Thread<T = ()> {
    pub(super) inner: Arc<Inner>,
    /// `None` in a handle that was not made with the closure.
    pub(super) left: Option<Arc<Lock<Option<Left<T>>>>>,
}

impl<T> Clone for Thread<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), left: self.left.clone() }
    }
}

impl Thread {
    pub(super) fn of(inner: Arc<Inner>) -> Self {
        Self { inner, left: None }
    }
}

/// The work that a thread runs.
pub(super) type Body = Box<dyn FnOnce(&Thread) + Send>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// Started by this module.
    Ours,
    /// The first thread of the process.
    Main,
    /// Started outside this module, and seen here.
    Dummy,
    /// A thread of this library, which is not listed.
    Service,
}

pub(super) struct Inner {
    pub(super) native: Native,
    kind: AtomicU8,
    /// The number N of "Thread-N".
    number: u32,
    name: Lock<Option<Arc<str>>>,
    pub(super) daemon: AtomicBool,
    pub(super) stack: Option<usize>,
    pub(super) body: Lock<Option<Body>>,
}

impl Inner {
    pub(super) fn new(native: Native, kind: Kind, name: Option<Arc<str>>, daemon: bool) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        let number = if name.is_none() { COUNTER.fetch_add(1, Relaxed) } else { 0 };
        Self {
            native,
            kind: AtomicU8::new(kind as u8),
            number,
            name: Lock::new(name),
            daemon: AtomicBool::new(daemon),
            stack: None,
            body: Lock::new(None),
        }
    }

    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind.load(Relaxed) == kind as u8
    }

    /// In a forked child, turns the handle of a thread that was started outside this module into that of the main
    /// thread.
    pub(super) fn become_main(&self) {
        self.native.adopt();
        if self.is(Kind::Dummy) {
            self.kind.store(Kind::Main as u8, Relaxed);
            self.set_name("MainThread".into());
            self.daemon.store(false, Relaxed);
        }
    }

    pub(super) fn given_name(&self) -> Option<Arc<str>> {
        self.name.lock().clone()
    }

    pub(super) fn name(&self) -> String {
        match self.given_name() {
            Some(name) => name.as_ref().to_owned(),
            None if self.is(Kind::Dummy) => format!("Dummy-{}", self.number),
            None => format!("Thread-{}", self.number),
        }
    }

    /// Gives this thread, which is the calling one, its name in the kernel. std has set a name that was given, but may
    /// have cut it within a character.
    pub(super) fn name_in_kernel(&self) {
        // A sandbox may forbid it, and the name is for the eye only.
        let _ = match self.given_name() {
            Some(name) if name.is_char_boundary(name.len().min(15)) && !name.contains('\0') => Ok(()),
            Some(name) => thread::set_name(&name),
            None => {
                let mut room = [0_u8; 24];
                let mut rest = &mut room[..];
                let _ = write!(rest, "Thread-{}", self.number);
                let len = 24 - rest.len();
                thread::set_name(std::str::from_utf8(&room[..len]).unwrap_or_default())
            }
        };
    }

    pub(super) fn set_name(&self, name: Arc<str>) {
        let before = self.name.lock().replace(name);
        drop(before);
    }
}

/// The calling thread's handle. It has no destructor, because each thread would have to register one. A thread of this
/// module takes the handle out at its end; other threads do so in the [destructor](super::current) of a thread-local.
type Handle = RefCell<Option<ManuallyDrop<Arc<Inner>>>>;

/// The daemon flag that a new thread inherits from the calling thread.
const UNKNOWN: u8 = 0;
const DAEMON: u8 = 1;
const FOREGROUND: u8 = 2;

thread_local! {
    static HERE: Handle = const { RefCell::new(None) };
    static INHERITED: Cell<u8> = const { Cell::new(UNKNOWN) };
}

/// Makes `inner` the handle of the calling thread.
pub(super) fn set_current(inner: Arc<Inner>) {
    set_inherited(inner.daemon.load(Relaxed));
    let before = HERE.replace(Some(ManuallyDrop::new(inner)));
    drop(before.map(ManuallyDrop::into_inner));
}

/// Takes the handle out of the calling thread.
pub(super) fn take_current() -> Option<Arc<Inner>> {
    HERE.take().map(ManuallyDrop::into_inner)
}

/// Whether new threads of the calling thread are daemons by default.
pub(super) fn inherited() -> bool {
    match INHERITED.get() {
        UNKNOWN => {
            // A thread that other code started is a daemon, because this library does not wait for it.
            let daemon = !is_first();
            set_inherited(daemon);
            daemon
        }
        known => known == DAEMON,
    }
}

pub(super) fn set_inherited(daemon: bool) {
    INHERITED.set(if daemon { DAEMON } else { FOREGROUND });
}

/// The handle that the calling thread has, or had before its process was forked.
pub(super) fn current_or_inherited() -> Option<Arc<Inner>> {
    HERE.with_borrow(|here| here.as_deref().cloned())
}
