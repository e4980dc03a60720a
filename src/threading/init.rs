//! Initialises an object once, in the first thread that needs it, with an error where a plain lock would deadlock.
//!
//! Some threads would wait forever. Examples are two threads that initialise each other's objects, and a thread that
//! needs the value that it is making. A third is a thread that waits for a thread that waits for the object. Here the
//! thread that closes the circle gets [`ErrorKind::WouldDeadlock`], and can undo what it holds.
//!
//! ```
//! use ossature::{ErrorKind, Result};
//! use ossature::threading::init::Once;
//!
//! static CONFIG: Once<String> = Once::new();
//! static PARSER: Once<usize> = Once::new();
//!
//! fn config() -> Result<&'static String> {
//!     CONFIG.get_or_try_init(|| Ok(format!("parsed by {}", parser()?)))
//! }
//! fn parser() -> Result<&'static usize> {
//!     PARSER.get_or_try_init(|| Ok(config()?.len()))
//! }
//! assert_eq!(config().unwrap_err().kind(), ErrorKind::WouldDeadlock);
//! ```
//!
//! Python's import lock is the same idea: one lock a module, with the circles found out. There the module is visible
//! half made instead, which is not possible in Rust.

use std::cell::Cell;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use ossature_sys::thread_bound::StaysInItsThread;

use super::graph::Awaited;
use super::registry::{registry, shutting_down};
use crate::error::{Error, ErrorKind, Result};
use crate::thread::{Ident, get_ident};

thread_local! {
    /// The number of init locks that the thread holds. A thread that holds none cannot close a circle by a join.
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// A lock that is held while an object is initialised, and that detects circles of waiting threads.
///
/// ```
/// use ossature::ErrorKind;
/// use ossature::threading::init::InitLock;
///
/// static LOCK: InitLock = InitLock::new();
/// let held = LOCK.acquire()?;
/// assert_eq!(LOCK.acquire().unwrap_err().kind(), ErrorKind::WouldDeadlock);
/// drop(held);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct InitLock {
    /// The lock's key in the graph, given at the first use.
    key: AtomicU64,
}

/// The right to initialise. Dropping the guard releases the lock.
///
/// # Examples
/// ```
/// use ossature::threading::init::{InitGuard, InitLock};
///
/// let lock = InitLock::new();
/// let guard: InitGuard<'_> = lock.acquire()?;
/// assert!(lock.is_held());
/// drop(guard);
/// assert!(!lock.is_held());
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the lock is released at once if this is not kept"]
pub struct InitGuard<'l> {
    lock: &'l InitLock,
    stays: std::marker::PhantomData<StaysInItsThread>,
}

impl InitLock {
    /// A free lock.
    pub const fn new() -> Self {
        Self { key: AtomicU64::new(0) }
    }

    fn key(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        match self.key.load(Relaxed) {
            0 => {
                let fresh = NEXT.fetch_add(1, Relaxed);
                self.key.compare_exchange(0, fresh, Relaxed, Relaxed).map_or_else(|taken| taken, |_| fresh)
            }
            key => key,
        }
    }

    /// Takes the lock, waiting until it is free.
    ///
    /// # Errors
    /// * [`ErrorKind::WouldDeadlock`] when the calling thread holds it, or when its holder waits for the calling
    ///   thread. The holder may wait for a lock of that thread, for its end, or for another thread that does.
    /// * [`ErrorKind::ShuttingDown`] once [`shutdown`](super::shutdown()) has begun.
    pub fn acquire(&self) -> Result<InitGuard<'_>> {
        let (registry, me, key) = (registry(), get_ident(), self.key());
        let mut graph = registry.graph.lock();
        loop {
            graph.waiting.remove(&me);
            if registry.ending.load(Acquire) {
                return Err(shutting_down("can't initialise"));
            }
            if let Entry::Vacant(free) = graph.holders.entry(key) {
                free.insert(me);
                HELD.set(HELD.get() + 1);
                return Ok(InitGuard { lock: self, stays: std::marker::PhantomData });
            }
            if graph.leads_to(me, Awaited::Lock(key)) {
                return Err(circle("what is being initialised"));
            }
            graph.waiting.insert(me, Awaited::Lock(key));
            graph = registry.released.wait(graph);
        }
    }

    /// Whether any thread holds the lock now.
    ///
    /// # Examples
    /// See the example of [`InitGuard`].
    pub fn is_held(&self) -> bool {
        registry().graph.lock().holders.contains_key(&self.key())
    }
}

impl Drop for InitGuard<'_> {
    fn drop(&mut self) {
        HELD.set(HELD.get() - 1);
        let registry = registry();
        if let Entry::Occupied(held) = registry.graph.lock().holders.entry(self.lock.key()) {
            if *held.get() == get_ident() {
                held.remove();
            }
        }
        registry.released.notify_all();
    }
}

fn circle(what: &str) -> Error {
    let message = format!("{what} waits for this thread, which would wait for it: initialise it before, or elsewhere");
    Error::new(ErrorKind::WouldDeadlock, message)
}

/// A wait for the end of a thread, while an init lock is held.
pub(super) struct Joining(Ident);

impl Drop for Joining {
    fn drop(&mut self) {
        registry().graph.lock().waiting.remove(&self.0);
    }
}

/// Records that the calling thread is about to wait for the end of `thread`.
pub(super) fn joining(thread: Ident) -> Result<Option<Joining>> {
    if HELD.get() == 0 {
        return Ok(None);
    }
    let me = get_ident();
    let mut graph = registry().graph.lock();
    if graph.leads_to(me, Awaited::End(thread)) {
        return Err(circle("the thread to be joined"));
    }
    graph.waiting.insert(me, Awaited::End(thread));
    Ok(Some(Joining(me)))
}

/// A value that is made at its first use.
///
/// Unlike std's `OnceLock` and `LazyLock`, asking for it in a circle is an error instead of a hang or a panic.
///
/// # Examples
/// ```
/// use ossature::threading::init::Once;
///
/// static TABLE: Once<Vec<u32>> = Once::new();
///
/// assert!(TABLE.get().is_none(), "nobody has asked for it");
/// assert_eq!(TABLE.get_or_init(|| vec![1, 2])?, &[1, 2]);
/// assert_eq!(TABLE.get_or_init(|| vec![3])?, &[1, 2], "made once");
/// assert!(TABLE.get().is_some());
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Default)]
pub struct Once<T> {
    lock: InitLock,
    value: OnceLock<T>,
}

impl<T> Once<T> {
    /// An object without a value.
    pub const fn new() -> Self {
        Self { lock: InitLock::new(), value: OnceLock::new() }
    }

    /// The value, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, made by `make` if there is none. Other threads wait meanwhile; if `make` panics, the next caller
    /// makes the value.
    ///
    /// # Errors
    /// * [`ErrorKind::WouldDeadlock`] when the thread that makes the value waits for the calling thread, or is the
    ///   calling thread.
    /// * [`ErrorKind::ShuttingDown`] when there is none and [`shutdown`](super::shutdown()) has begun.
    #[inline]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> Result<&T> {
        self.get_or_try_init(|| Ok(make()))
    }

    /// The value, made by `make` if there is none; if `make` fails, the next caller makes the value.
    ///
    /// # Errors
    /// The error of `make`, and as for [`get_or_init`](Self::get_or_init).
    #[inline]
    pub fn get_or_try_init<E: From<Error>>(
        &self,
        make: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<&T, E> {
        match self.value.get() {
            Some(value) => Ok(value),
            None => self.init(make),
        }
    }

    #[cold]
    fn init<E: From<Error>>(&self, make: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<&T, E> {
        let _guard = self.lock.acquire()?;
        match self.value.get() {
            Some(value) => Ok(value),
            None => {
                let value = make()?;
                Ok(self.value.get_or_init(|| value))
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Once").field(&self.get()).finish()
    }
}
