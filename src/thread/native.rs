//! A thread of the system: its start, its number, its end and the waits for it. Shared by `thread` and `threading`.

use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::thread::{Builder, JoinHandle};

use ossature_sys::errno::Errno;
use ossature_sys::futex::Limit;
use ossature_sys::process::generation;
use ossature_sys::sync::event::Event;
use ossature_sys::sync::lock::Lock;

use super::ident::{Ident, Pid, adopt_ident, get_ident, get_native_id};
use crate::error::{Error, ErrorKind, Result};

const INITIAL: u32 = 0;
const STARTED: u32 = 1;

/// One thread of the system, before, during and after its life.
pub(crate) struct Native {
    phase: AtomicU32,
    ident: AtomicU64,
    /// The kernel's number of the thread, 0 until the thread has reported it.
    tid: AtomicU32,
    /// Set when the number has been reported, or never will be.
    reported: Event,
    /// The generation of the process that the thread runs in: a forked child has the handle and not the thread.
    generation: AtomicU32,
    done: Event,
    /// Whether this library did not start the thread: it ran already, or it continues in a forked child.
    adopted: AtomicBool,
    os: Lock<Option<JoinHandle<()>>>,
}

impl Native {
    /// Makes a thread that is not started.
    pub(crate) const fn new() -> Self {
        Self {
            phase: AtomicU32::new(INITIAL),
            ident: AtomicU64::new(0),
            tid: AtomicU32::new(0),
            reported: Event::new(),
            generation: AtomicU32::new(0),
            done: Event::new(),
            adopted: AtomicBool::new(false),
            os: Lock::new(None),
        }
    }

    /// Makes a `Native` for the calling thread, however it was started.
    pub(crate) fn current() -> Self {
        let native = Self::new();
        native.adopt();
        native
    }

    /// Makes a `Native` for the first thread of this process, seen from another.
    pub(crate) fn first() -> Self {
        let native = Self::new();
        native.ident.store(Ident::MAIN.get(), Relaxed);
        native.tid.store(number(ossature_sys::process::id()), Relaxed);
        native.generation.store(generation(), Relaxed);
        native.phase.store(STARTED, Release);
        native
    }

    /// Makes this the calling thread's: the thread that called fork continues in the child.
    pub(crate) fn adopt(&self) {
        self.adopted.store(true, Relaxed);
        self.ident.store(get_ident().get(), Relaxed);
        self.tid.store(number(get_native_id()), Relaxed);
        self.generation.store(generation(), Relaxed);
        self.phase.store(STARTED, Release);
    }

    /// Starts the thread, unless `admit` rejects the number that it will run under. `body` must call
    /// [`enter`](Self::enter) first and [`leave`](Self::leave) last.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyStarted`], the error of `admit`, or `EAGAIN` when the system has no room for another thread
    /// or its stack. After the last two the thread can be started again.
    pub(crate) fn start(
        &self,
        plan: Plan,
        admit: impl FnOnce(Ident) -> Result<()>,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<Ident> {
        let again = || Error::new(ErrorKind::AlreadyStarted, "the thread was already started: make a new thread");
        if self.is_started() {
            return Err(again()); // without the lock, which a joining thread holds
        }
        // Held during the start, so that a joining thread finds the handle, or finds that the start failed.
        let mut os = self.os.lock();
        if self.is_started() {
            return Err(again());
        }
        let ident = Ident::fresh();
        self.reported.clear();
        self.generation.store(generation(), Relaxed);
        self.ident.store(ident.get(), Release);
        self.phase.store(STARTED, Release);
        match admit(ident).and_then(|()| plan.spawn(body)) {
            Ok(handle) => {
                *os = Some(handle);
                Ok(ident)
            }
            Err(error) => {
                self.phase.store(INITIAL, Release);
                self.ident.store(0, Relaxed);
                self.reported.set();
                Err(error)
            }
        }
    }

    /// Must be called first in the new thread.
    pub(crate) fn enter(&self) {
        if let Some(ident) = self.ident() {
            adopt_ident(ident);
        }
        self.tid.store(number(get_native_id()), Release);
        self.reported.set();
    }

    /// Wakes the waiters; must be called last in the thread.
    pub(crate) fn leave(&self) {
        self.done.set();
    }

    /// The thread's number: `None` before the start.
    pub(crate) fn ident(&self) -> Option<Ident> {
        Ident::from_number(self.ident.load(Acquire))
    }

    /// The kernel's number: `None` before the start. Waits for a thread that is about to report it.
    pub(crate) fn native_id(&self) -> Option<Pid> {
        self.ident()?;
        if self.tid.load(Acquire) == 0 && self.is_alive() {
            self.reported.wait();
        }
        Pid::from_raw(self.tid.load(Acquire) as i32)
    }

    pub(crate) fn is_started(&self) -> bool {
        self.phase.load(Acquire) == STARTED
    }

    /// Whether the thread belongs to this process, not to the process that this process was forked from.
    pub(crate) fn is_here(&self) -> bool {
        self.generation.load(Relaxed) == generation()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.is_set()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.is_started() && !self.is_done() && self.is_here()
    }

    /// Waits for the thread's end within the limit; returns whether it has ended. In a forked child it has.
    ///
    /// Without a limit this waits until the kernel is done with it; with one, until its own work is.
    pub(crate) fn join(&self, limit: Limit<'_>) -> bool {
        if !self.is_here() {
            return true;
        }
        // In a forked child, a parent's thread that was joining holds the lock forever.
        if !limit.is_never() || self.adopted.load(Relaxed) {
            return self.done.wait_timeout(limit);
        }
        // One of the waiting threads joins by the kernel, which costs the joined thread nothing at its end. The others
        // wait here.
        let mut os = self.os.lock();
        if let Some(handle) = os.take() {
            let _ = handle.join(); // what it panicked with was reported where it was caught
            return true;
        }
        drop(os);
        self.is_started() && self.done.wait_timeout(Limit::NEVER)
    }
}

/// The system's settings for a new thread.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) name: Option<String>,
    /// The size of the stack; 0 for the default.
    pub(crate) stack: usize,
}

impl Plan {
    fn spawn(self, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
        let mut builder = Builder::new();
        // A name with a null in it is one that std refuses.
        if let Some(name) = self.name.filter(|name| !name.contains('\0')) {
            builder = builder.name(name);
        }
        builder = match self.stack {
            0 => builder,
            // More than C libraries take without failing in ways that std does not expect.
            huge if huge > usize::MAX / 8 => return Err(refused(Errno::AGAIN)),
            size => builder.stack_size(size),
        };
        builder
            .spawn(body)
            .map_err(|error| refused(error.raw_os_error().map_or(Errno::AGAIN, Errno::from_raw_os_error)))
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        if self.generation.load(Relaxed) != generation() || *self.adopted.get_mut() {
            // The C library of a forked child does not know the thread any more, so no call may name it.
            std::mem::forget(self.os.get_mut().take());
        }
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match (self.is_started(), self.is_alive()) {
            (false, _) => "initial",
            (true, true) => "started",
            (true, false) => "stopped",
        };
        f.write_str(phase)
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get() as u32
}

fn refused(errno: Errno) -> Error {
    Error::os(errno, "can't start new thread")
}

static STACK: AtomicUsize = AtomicUsize::new(0);

/// The smallest stack size that [`set_stack_size`] accepts.
const SMALLEST: usize = 32 * 1024;

/// The stack size of threads that are started later, in bytes; 0 is the default of Rust, 2 MiB unless `RUST_MIN_STACK`
/// is set.
///
/// # Examples
/// ```standalone_crate
/// use ossature::thread::{set_stack_size, stack_size};
///
/// let before = set_stack_size(256 * 1024)?; // of threads that are started later
/// assert_eq!((before, stack_size()), (0, 256 * 1024));
/// assert!(set_stack_size(1000).is_err(), "too small");
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn stack_size() -> usize {
    STACK.load(Relaxed)
}

/// Sets the stack size of threads that are started later, in bytes, and returns the previous size. 0 is the default of
/// Rust, 2 MiB unless `RUST_MIN_STACK` is set (Python's is that of the C library, 8 MiB). Rounded up to pages.
///
/// Too large is not found out here: the next start fails.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] below 32,768 bytes; the size stays as it was.
///
/// # Examples
/// See the example of [`stack_size`].
pub fn set_stack_size(size: usize) -> Result<usize> {
    checked(size)?;
    Ok(STACK.swap(size, Relaxed))
}

/// Returns the size, if it is valid for a stack.
pub(crate) fn checked(size: usize) -> Result<usize> {
    if size != 0 && size < SMALLEST {
        let message = format!("a stack of {size} bytes is too small: size not valid, use 0 or at least {SMALLEST}");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(size)
}

/// The number of running threads that this library started: the generation of the process above, the count below.
static COUNT: AtomicU64 = AtomicU64::new(0);

fn change(by: i64, floor: u64) -> u64 {
    let now = u64::from(generation()) << 32;
    let step = |before: u64| {
        // In a forked child the other threads do not exist.
        let count = if before & !0xFFFF_FFFF == now { before & 0xFFFF_FFFF } else { floor };
        Some(now | count.saturating_add_signed(by))
    };
    let before = COUNT.fetch_update(SeqCst, SeqCst, step).unwrap_or_default();
    step(before).unwrap_or_default() & 0xFFFF_FFFF
}

thread_local!(static COUNTED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });

/// A counted thread, from its start to its end.
#[derive(Debug)]
pub(crate) struct Counted {
    entered: bool,
}

impl Counted {
    pub(crate) fn new() -> Self {
        change(1, survivors());
        Self { entered: false }
    }

    /// Records that the new thread runs; called in that thread.
    pub(crate) fn enter(&mut self) {
        self.entered = true;
        COUNTED.set(true);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        change(-1, survivors());
        if self.entered {
            COUNTED.set(false);
        }
    }
}

/// How many counted threads a fork leaves in the child: one if the calling thread is counted, otherwise none.
fn survivors() -> u64 {
    u64::from(COUNTED.get())
}

/// The number of running threads that were started with this module or with [`threading`](crate::threading), without
/// the first thread.
///
/// # Examples
/// See the example of [`Handle`](super::Handle).
#[doc(alias = "_count")]
pub fn count() -> usize {
    change(0, survivors()) as usize
}
