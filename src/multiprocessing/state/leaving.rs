//! Abandoned processes that have not ended yet. A later start, or a later call about children, reaps them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Result;
use ossature_sys::process::Child;

/// A list of abandoned processes.
pub(crate) struct Leaving {
    list: Mutex<Vec<Child>>,
    /// Whether there was ever a process in the list. Without one, a look writes nothing: after a fork, the first write
    /// to a page is a page fault in either process.
    used: AtomicBool,
}

impl Leaving {
    const fn new() -> Self {
        Self { list: Mutex::new(Vec::new()), used: AtomicBool::new(false) }
    }

    pub(crate) fn add(&self, child: Child) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(child);
        self.used.store(true, Relaxed);
    }

    /// Reaps the processes that have ended.
    fn reap(&self) {
        if !self.used.load(Relaxed) {
            return;
        }
        let mut leaving = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        // A forked child that inherited the list only sees the ends. It drops its copies; the processes stay its
        // parent's.
        leaving.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }

    /// Closes, in a forked child, the descriptors of its parent's children.
    #[inline]
    fn let_go_in_child(&self) {
        if self.used.load(Relaxed) {
            self.close_all();
        }
    }

    /// Not in the caller's code, because most children have nothing to close.
    #[cold]
    #[inline(never)]
    fn close_all(&self) {
        let leaving = self.list.try_lock().map(|mut leaving| std::mem::take(&mut *leaving));
        drop(leaving);
    }

    /// Waits until all processes have ended; returns false when the time ran out.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<bool> {
        loop {
            let last = self.list.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut child) = last else { return Ok(true) };
            match child.wait_timeout(deadline) {
                Ok(Some(_)) => {}
                other => {
                    self.add(child);
                    return other.map(|_| false);
                }
            }
        }
    }
}

/// The children that were killed before their task began and have not ended yet, because they are in an uninterruptible
/// sleep or a tracer holds them.
pub(crate) static STUCK: Leaving = Leaving::new();

/// The fork servers that this process has disconnected from and that have not ended yet.
pub(crate) static SERVERS: Leaving = Leaving::new();

/// Reaps the ended children that have no handle.
pub(super) fn reap() {
    STUCK.reap();
    SERVERS.reap();
}

/// Closes, in a forked child, the descriptors of its parent's children that have no handle.
#[inline]
pub(super) fn let_go_in_child() {
    STUCK.let_go_in_child();
    SERVERS.let_go_in_child();
}
