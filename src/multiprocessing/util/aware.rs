//! A lock and a thread-local value that are new in a forked child.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use ossature_sys::process::generation;
use ossature_sys::sync::lock::{Guard, Lock};

use crate::per_process::PerProcess;

/// A lock for the threads of one process. It is free in every forked child, whichever thread held it in the parent.
///
/// It has no data inside: what it would guard may be half changed in the child.
///
/// ```
/// use ossature::multiprocessing::util::ForkAwareLock;
///
/// static LOCK: ForkAwareLock = ForkAwareLock::new();
/// let held = LOCK.lock();
/// assert!(LOCK.try_lock().is_none());
/// ```
#[doc(alias = "ForkAwareThreadLock")]
pub struct ForkAwareLock(PerProcess<Lock<()>>);

impl ForkAwareLock {
    /// Makes a free lock.
    pub const fn new() -> Self {
        Self(PerProcess::new())
    }

    /// Takes the lock; waits without a time limit.
    pub fn lock(&self) -> Guard<'_, ()> {
        self.own().lock()
    }

    /// Takes the lock unless another thread of this process has it.
    pub fn try_lock(&self) -> Option<Guard<'_, ()>> {
        self.own().try_lock()
    }

    fn own(&self) -> &Lock<()> {
        self.0.get_or_init(|_| Lock::new(()))
    }
}

impl Default for ForkAwareLock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ForkAwareLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkAwareLock").field("locked", &self.try_lock().is_none()).finish()
    }
}

/// A value of each thread. A forked child has no value at first: its first use makes a new one.
///
/// ```
/// use std::cell::Cell;
/// use ossature::multiprocessing::util::ForkAwareLocal;
///
/// thread_local!(static CALLS: ForkAwareLocal<Cell<u32>> = const { ForkAwareLocal::new(|| Cell::new(0)) });
/// CALLS.with(|calls| calls.with(|calls| calls.set(7)));
/// CALLS.with(|calls| calls.with(|calls| assert_eq!(calls.get(), 7)));
/// ```
pub struct ForkAwareLocal<T, F = fn() -> T> {
    init: F,
    made: RefCell<Option<(u32, Rc<T>)>>,
}

impl<T, F: Fn() -> T> ForkAwareLocal<T, F> {
    /// Makes the object for a `thread_local!`: the value comes from `init`.
    pub const fn new(init: F) -> Self {
        Self { init, made: RefCell::new(None) }
    }

    /// Calls `look` with the calling thread's value.
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        let now = generation();
        let kept = self.made.borrow().as_ref().filter(|(made_in, _)| *made_in == now).map(|(_, value)| value.clone());
        let value = kept.unwrap_or_else(|| {
            // The initialiser may use this one.
            let value = Rc::new((self.init)());
            let before = self.made.replace(Some((now, value.clone())));
            // The copied value owns resources of the parent: it is leaked, not dropped.
            if let Some((made_in, value)) = before {
                if made_in != now {
                    std::mem::forget(value);
                }
            }
            value
        });
        look(&value)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for ForkAwareLocal<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkAwareLocal").finish_non_exhaustive()
    }
}
