//! A queue between threads.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ossature_sys::deadline::Deadline;

use crate::error::{Error, ErrorKind, Result};

/// A queue between threads, with or without a bound. Clones are the same queue.
///
/// Differs from Python's: an item that finds no room comes back, and a get that finds none by its deadline is `None`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::dummy::Queue;
///
/// let queue = Queue::bounded(2);
/// queue.put("one");
/// assert_eq!(queue.put_timeout("two", Duration::from_secs(1)), Ok(()));
/// assert_eq!(queue.put_timeout("three", Duration::ZERO), Err("three"));
/// assert!(queue.is_full() && !queue.is_empty() && queue.len() == 2);
/// assert_eq!((queue.get(), queue.get_timeout(Duration::ZERO)), ("one", Some("two")));
/// assert_eq!(queue.get_timeout(Duration::from_millis(1)), None);
///
/// queue.task_done()?;
/// assert!(!queue.join_timeout(Duration::ZERO), "one of two is done");
/// queue.task_done()?;
/// queue.join();
/// assert!(queue.task_done().is_err(), "more than there were");
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "SimpleQueue")]
pub struct Queue<T>(Arc<Inner<T>>);

/// [`Queue`], which counts what is done.
///
/// # Examples
/// See the example of [`Queue`].
pub type JoinableQueue<T> = Queue<T>;

struct Inner<T> {
    state: Mutex<State<T>>,
    /// Something came, or went, or was done.
    changed: Condvar,
    most: usize,
}

struct State<T> {
    items: VecDeque<T>,
    /// How many items were put and not done.
    unfinished: usize,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Queue<T> {
    /// Without a bound.
    pub fn new() -> Self {
        Self::bounded(usize::MAX)
    }

    /// With room for so many items; 0 is no bound.
    #[doc(alias = "maxsize")]
    pub fn bounded(most: usize) -> Self {
        let most = if most == 0 { usize::MAX } else { most };
        let state = Mutex::new(State { items: VecDeque::new(), unfinished: 0 });
        Self(Arc::new(Inner { state, changed: Condvar::new(), most }))
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner) // no change leaves it half made
    }

    /// Waits until `is_so`; `None` when the time ran out.
    fn when(&self, deadline: Deadline, is_so: impl Fn(&State<T>) -> bool) -> Option<MutexGuard<'_, State<T>>> {
        let mut state = self.state();
        while !is_so(&state) {
            state = match deadline.remaining() {
                None => self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return None,
                Some(left) => self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        Some(state)
    }

    /// Puts an item behind the others, and waits for room.
    pub fn put(&self, item: T) {
        let _ = self.put_timeout(item, Deadline::NEVER); // without a deadline there is room in the end
    }

    /// The same until the deadline.
    ///
    /// # Errors
    /// The item, when there was no room.
    #[doc(alias = "put_nowait")]
    pub fn put_timeout(&self, item: T, timeout: impl Into<Deadline>) -> std::result::Result<(), T> {
        let Some(mut state) = self.when(timeout.into(), |state| state.items.len() < self.0.most) else {
            return Err(item);
        };
        state.items.push_back(item);
        state.unfinished += 1;
        drop(state);
        self.0.changed.notify_all();
        Ok(())
    }

    /// Takes the first item, and waits for one.
    pub fn get(&self) -> T {
        loop {
            if let Some(item) = self.get_timeout(Deadline::NEVER) {
                return item;
            }
        }
    }

    /// The same until the deadline; `None` when no item came.
    #[doc(alias = "get_nowait")]
    pub fn get_timeout(&self, timeout: impl Into<Deadline>) -> Option<T> {
        let item = self.when(timeout.into(), |state| !state.items.is_empty())?.items.pop_front();
        self.0.changed.notify_all();
        item
    }

    /// Whether an item comes before the deadline; it stays.
    pub(super) fn wait_for_item(&self, timeout: impl Into<Deadline>) -> bool {
        self.when(timeout.into(), |state| !state.items.is_empty()).is_some()
    }

    /// How many items there are.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.state().items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is room for no more.
    pub fn is_full(&self) -> bool {
        self.len() >= self.0.most
    }

    /// Says that an item that was taken is done.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when it is called more often than items were put.
    pub fn task_done(&self) -> Result<()> {
        let mut state = self.state();
        let left = state.unfinished.checked_sub(1);
        state.unfinished =
            left.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "task_done() called too many times"))?;
        drop(state);
        self.0.changed.notify_all();
        Ok(())
    }

    /// Waits until every item that was put is done.
    pub fn join(&self) {
        self.join_timeout(Deadline::NEVER);
    }

    /// The same until the deadline; false when the time ran out.
    pub fn join_timeout(&self, timeout: impl Into<Deadline>) -> bool {
        self.when(timeout.into(), |state| state.unfinished == 0).is_some()
    }
}

impl<T> Queue<Option<T>> {
    /// Whether the last item is the end.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state().items.back(), Some(None))
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).finish_non_exhaustive()
    }
}
