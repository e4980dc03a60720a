//! The calling thread's handle, made if there is none, and the handles of all living threads.

use std::sync::Arc;

use super::inner::{Inner, Kind, Thread, current_or_inherited, set_current, take_current};
use super::registry::registry;
use crate::thread::{Native, is_first};

/// Removes a thread that was started outside this module from the list when the thread ends.
struct UnregisterOnExit;

impl Drop for UnregisterOnExit {
    fn drop(&mut self) {
        let Some(inner) = take_current() else { return };
        if inner.is(Kind::Dummy) && inner.native.is_here() {
            if let Some(ident) = inner.native.ident() {
                registry().forget(ident);
            }
            inner.native.leave();
        }
    }
}

thread_local! {
    static UNREGISTER: UnregisterOnExit = const { UnregisterOnExit };
}

/// The handle of the calling thread, if it already has one and the handle belongs to this process.
pub(super) fn current_registered() -> Option<Arc<Inner>> {
    let inner = current_or_inherited()?;
    if !inner.native.is_here() {
        // In a forked child: the first use of the registry may make it the main thread.
        registry();
    }
    inner.native.is_here().then_some(inner)
}

/// The handle of the calling thread, made if there is none.
pub(super) fn current() -> Arc<Inner> {
    if let Some(inner) = current_registered() {
        return inner;
    }
    if is_first() {
        let main = registry().main.clone();
        main.native.adopt();
        set_current(main.clone());
        return main;
    }
    let dummy = Arc::new(Inner::new(Native::current(), Kind::Dummy, None, true));
    // While the thread's last values are dropped, no later destructor would remove it from the list.
    if UNREGISTER.try_with(|_| ()).is_ok() {
        set_current(dummy.clone());
        registry().put(dummy.clone());
    }
    dummy
}

/// The number of living threads: the length of the list that [`enumerate`] returns.
///
/// # Examples
/// ```
/// use ossature::threading::{Thread, active_count, current_thread, enumerate, main_thread};
///
/// let (tell, hear) = std::sync::mpsc::channel();
/// let waiting = Thread::builder().name("waiting").spawn(move || hear.recv().unwrap_or(0))?;
/// assert!(enumerate().contains(&waiting.handle()) && active_count() >= 2);
/// assert!(enumerate().contains(&main_thread()));
/// tell.send(5).unwrap();
/// assert_eq!(waiting.result()?, 5);
/// assert!(!enumerate().contains(&waiting.handle()));
/// assert!(enumerate().contains(&current_thread()));
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "activeCount")]
pub fn active_count() -> usize {
    registry().table.lock().living.len()
}

/// The living threads, in the order of their start: the main thread, daemons, and threads started elsewhere that have
/// requested their [handle](current_thread). A thread counts as living from the call of `start` to the end of its work.
///
/// May be called anywhere but in a signal handler, by a destructor or hook that another of these calls runs into as
/// well.
///
/// # Examples
/// See the example of [`active_count`].
pub fn enumerate() -> Vec<Thread> {
    registry().living().into_iter().map(Thread::of).collect()
}

/// The handle of the calling thread.
///
/// A thread that was not started with this module gets one named `Dummy-N`. It is a daemon, cannot be joined, and is
/// taken off the list when the thread ends.
#[doc(alias = "currentThread")]
pub fn current_thread() -> Thread {
    Thread::of(current())
}

/// The handle of the first thread, `MainThread`. In a forked child this is the thread that called fork, under the name
/// that it had before.
///
/// # Examples
/// See the example of [`active_count`].
pub fn main_thread() -> Thread {
    Thread::of(registry().main.clone())
}
