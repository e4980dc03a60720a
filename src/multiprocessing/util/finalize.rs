//! A callback that runs once, when an object is dropped or the process ends.

use std::fmt;

use super::arm;
use crate::multiprocessing::state::{Entry, OwnState, process_state};
use crate::thread::report_panics;

/// A callback that runs at most once, and only in the process that registered it. It runs when it is
/// [called](Self::call) or dropped, or with a priority at the end of the process.
///
/// Keep it in the object that it is for, and it runs when that is dropped; a forked child's copy does nothing.
///
/// ```
/// use ossature::multiprocessing::util::Finalize;
///
/// let path = std::env::temp_dir().join(format!("ossature-finalize-{}", std::process::id()));
/// std::fs::create_dir(&path)?;
/// let doomed = path.clone();
/// let finalize = Finalize::new(move || drop(std::fs::remove_dir(doomed)));
/// assert!(finalize.call() && !path.exists());
/// assert!(!finalize.call(), "once");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Differs from Python in that it owns nothing and no collector calls it: the object owns it.
///
/// Not at all, or only at the end:
///
/// ```
/// use ossature::multiprocessing::util::Finalize;
///
/// let never = Finalize::new(|| unreachable!("cancelled"));
/// assert!(never.is_active());
/// never.cancel();
/// assert!(!never.is_active() && !never.call());
///
/// let last = Finalize::at_exit(-10, || println!("after the children were waited for"));
/// last.leave(); // without this it would run here, as it is dropped
/// ```
#[must_use = "dropping the finalizer runs the callback: keep it, or `leave` it to the end of the process"]
pub struct Finalize {
    number: u64,
    state: &'static OwnState,
}

impl Finalize {
    /// Makes a finalizer that runs when it is called or dropped, not at the process's end.
    pub fn new(callback: impl FnOnce() + Send + 'static) -> Self {
        Self::register(None, Box::new(callback))
    }

    /// Makes a finalizer that runs when it is called or dropped, or else at the normal end of the process. Higher
    /// priorities run before lower ones, and newer before older ones. Those of 0 and above run before the wait for the
    /// children, the others after it.
    pub fn at_exit(priority: i32, callback: impl FnOnce() + Send + 'static) -> Self {
        let _ = arm(); // without memory for that, children that end by themselves still come by
        Self::register(Some(priority), Box::new(callback))
    }

    fn register(priority: Option<i32>, callback: Box<dyn FnOnce() + Send>) -> Self {
        let state = process_state();
        let mut finalizers = state.finalizers.lock();
        let number = finalizers.next;
        finalizers.next += 1;
        finalizers.list.insert(number, Entry { priority, callback });
        Self { number, state }
    }

    /// Runs the callback now; returns whether it did: `false` when it ran before, was cancelled, or belongs to another
    /// process. A panic is reported by the process's panic hook.
    pub fn call(&self) -> bool {
        self.take().map(|entry| report_panics(entry.callback)).is_some()
    }

    /// Drops the callback without running it.
    pub fn cancel(&self) {
        drop(self.take());
    }

    /// Whether the callback is still to run, in this process.
    #[doc(alias = "still_active")]
    pub fn is_active(&self) -> bool {
        self.is_ours() && self.state.finalizers.lock().list.contains_key(&self.number)
    }

    /// Leaves the finalizer to the end of the process. A finalizer without a priority is never run then.
    pub fn leave(self) {
        std::mem::forget(self);
    }

    fn is_ours(&self) -> bool {
        self.state.is_current()
    }

    fn take(&self) -> Option<Entry> {
        // In a forked child the list is the parent's, and so is its lock.
        if !self.is_ours() {
            return None;
        }
        self.state.finalizers.lock().list.remove(&self.number)
    }
}

impl Drop for Finalize {
    fn drop(&mut self) {
        self.call();
    }
}

impl fmt::Debug for Finalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let priority = match self.is_ours() {
            true => self.state.finalizers.lock().list.get(&self.number).map(|entry| entry.priority),
            false => None,
        };
        match priority {
            None => f.write_str("<Finalize object, dead>"),
            Some(None) => f.write_str("<Finalize object>"),
            Some(Some(priority)) => write!(f, "<Finalize object, exitpriority={priority}>"),
        }
    }
}
