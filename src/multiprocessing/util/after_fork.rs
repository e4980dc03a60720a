//! Callbacks that run at the beginning of a child.

use std::sync::{Arc, Weak};

use crate::multiprocessing::state::{Callback, ProcessState, process_state};
use crate::thread::report_panics;

struct Weakly<T, F>(Weak<T>, F);

impl<T: Send + Sync, F: Fn(&T) + Send + Sync> Callback for Weakly<T, F> {
    fn call(&self) -> bool {
        let Some(object) = self.0.upgrade() else { return false };
        // The process's panic hook reports it, and the next one is called.
        report_panics(|| (self.1)(&object));
        true
    }
}

/// Registers `callback`, to be called with `object` at the beginning of every child that this module forks from now on,
/// and of their children. Callbacks run in the order of registration. This does not keep `object` alive: once it is
/// dropped, its callback no longer runs.
///
/// Not called in a child that was forked by other means, nor in a spawned one, which is not a copy. A panic is reported
/// and stops no other.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
/// use ossature::multiprocessing::util;
///
/// let served = Arc::new(AtomicU32::new(3));
/// util::register_after_fork(&served, |served| served.store(0, SeqCst)); // a child has served no client yet
/// ```
pub fn register_after_fork<T: Send + Sync + 'static>(object: &Arc<T>, callback: impl Fn(&T) + Send + Sync + 'static) {
    let callback = Arc::new(Weakly(Arc::downgrade(object), callback));
    process_state().after_fork.lock().push(callback);
}

/// Runs the callbacks, in a child that has just begun.
#[inline]
pub(crate) fn run_after_fork(state: &ProcessState) {
    if !state.after_fork.lock().is_empty() {
        call_all(state);
    }
}

#[cold]
fn call_all(state: &ProcessState) {
    // Outside the lock: they may register others, which are for children of this one.
    let mut callbacks = std::mem::take(&mut *state.after_fork.lock());
    callbacks.retain(|callback| callback.call());
    let mut list = state.after_fork.lock();
    callbacks.append(&mut list);
    *list = callbacks;
}
