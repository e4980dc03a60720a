//! A queue between threads.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ossature_sys::deadline::Deadline;

use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::queues::PutError;

/// A queue between threads, with or without a limit. Clones refer to the same queue.
///
/// The calls are those of the [`Queue`](crate::multiprocessing::Queue) between processes. Those that cannot fail here
/// have no `Result`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::dummy::Queue;
///
/// let queue = Queue::bounded(2);
/// queue.put("one")?;
/// queue.put_timeout("two", Duration::from_secs(1))?;
/// assert_eq!(queue.try_put("three").unwrap_err().into_inner(), "three");
/// assert!(queue.is_full() && !queue.is_empty() && queue.len() == 2);
/// assert_eq!((queue.get()?, queue.try_get()?), ("one", Some("two")));
/// assert_eq!(queue.get_timeout(Duration::from_millis(1))?, None);
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

/// A [`Queue`], which also counts finished items.
///
/// # Examples
/// See the example of [`Queue`].
pub type JoinableQueue<T> = Queue<T>;

struct Inner<T> {
    state: Mutex<Buffer<T>>,
    /// Signals that an item was put, taken or finished.
    changed: Condvar,
    most: usize,
}

struct Buffer<T> {
    items: VecDeque<T>,
    /// The number of items that were put and are not finished.
    unfinished: usize,
    shut_down: bool,
    /// The number of threads that wait for a change.
    sleepers: usize,
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
    /// Makes a queue without a limit.
    pub fn new() -> Self {
        Self::bounded(usize::MAX)
    }

    /// Makes a queue with room for `most` items; 0 means no limit.
    #[doc(alias = "maxsize")]
    pub fn bounded(most: usize) -> Self {
        let most = if most == 0 { usize::MAX } else { most };
        let state = Mutex::new(Buffer { items: VecDeque::new(), unfinished: 0, shut_down: false, sleepers: 0 });
        Self(Arc::new(Inner { state, changed: Condvar::new(), most }))
    }

    fn state(&self) -> MutexGuard<'_, Buffer<T>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner) // no change leaves it half made
    }

    /// Waits until `is_so` is true; `None` when the time ran out.
    fn when(&self, deadline: Deadline, is_so: impl Fn(&Buffer<T>) -> bool) -> Option<MutexGuard<'_, Buffer<T>>> {
        let mut state = self.state();
        while !is_so(&state) {
            let left = deadline.remaining();
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            state.sleepers += 1;
            state = match left {
                None => self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.sleepers -= 1;
        }
        Some(state)
    }

    /// Wakes the waiting threads after a change. Without waiting threads it skips the system call, which the standard
    /// library's condition variable would make.
    fn tell(&self, state: MutexGuard<'_, Buffer<T>>) {
        let wakes = state.sleepers > 0;
        drop(state);
        if wakes {
            self.0.changed.notify_all();
        }
    }

    /// Waits for room, and appends an item.
    ///
    /// # Errors
    /// [`ShutDown`](PutError::ShutDown), with the item.
    pub fn put(&self, item: T) -> std::result::Result<(), PutError<T>> {
        self.put_timeout(item, Deadline::NEVER)
    }

    /// Appends an item without waiting: Python's `put_nowait`.
    ///
    /// # Errors
    /// As for [`put_timeout`](Self::put_timeout).
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: T) -> std::result::Result<(), PutError<T>> {
        self.put_timeout(item, Deadline::NOW)
    }

    /// Waits for room until the deadline, and appends an item.
    ///
    /// # Errors
    /// [`Full`](PutError::Full) when there was no room, and [`ShutDown`](PutError::ShutDown), with the item.
    pub fn put_timeout(&self, item: T, timeout: impl Into<Deadline>) -> std::result::Result<(), PutError<T>> {
        let may_go_on = |state: &Buffer<T>| state.shut_down || state.items.len() < self.0.most;
        let Some(mut state) = self.when(timeout.into(), may_go_on) else { return Err(PutError::Full(item)) };
        if state.shut_down {
            return Err(PutError::ShutDown(item));
        }
        state.items.push_back(item);
        state.unfinished += 1;
        self.tell(state);
        Ok(())
    }

    /// Takes the first item, and waits for one.
    ///
    /// # Errors
    /// [`ShutDown`](ErrorKind::ShutDown) when the queue was shut down and is empty.
    pub fn get(&self) -> Result<T> {
        self.get_timeout(Deadline::NEVER)?.ok_or_else(ended)
    }

    /// Takes the first item if there is one: Python's `get_nowait`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<Option<T>> {
        self.get_timeout(Deadline::NOW)
    }

    /// Takes the first item, and waits for one until the deadline; `None` when no item came.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn get_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<T>> {
        let Some(mut state) = self.when(timeout.into(), Buffer::has_news) else { return Ok(None) };
        let item = state.items.pop_front().ok_or_else(ended)?;
        self.tell(state);
        Ok(Some(item))
    }

    /// Iterates over the items as they come, until the queue was shut down and is empty.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }

    /// Ends the queue: every later put fails, and a get fails once the queue is empty. Calls that wait return at once.
    /// This is `shutdown()` of Python 3.13's `queue.Queue`.
    ///
    /// # Examples
    /// ```
    /// use ossature::{ErrorKind, multiprocessing::dummy::Queue};
    ///
    /// let queue = Queue::new();
    /// queue.put(1)?;
    /// queue.put(2)?;
    /// queue.shutdown();
    /// assert!(queue.is_shut_down() && queue.put(3).is_err());
    /// assert_eq!(queue.iter().collect::<Vec<i32>>(), [1, 2]);
    /// assert_eq!(queue.get().unwrap_err().kind(), ErrorKind::ShutDown);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn shutdown(&self) {
        let mut state = self.state();
        state.shut_down = true;
        self.tell(state);
    }

    /// Ends the queue as [`shutdown`](Self::shutdown) does, and drops the items: `shutdown(immediate=True)`. The
    /// dropped items count as finished. Returns the number of dropped items.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::dummy::JoinableQueue;
    ///
    /// let queue = JoinableQueue::new();
    /// queue.put(1)?;
    /// assert_eq!(queue.shutdown_now(), 1);
    /// queue.join();
    /// assert!(queue.get().is_err());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn shutdown_now(&self) -> usize {
        let mut state = self.state();
        state.shut_down = true;
        let items = std::mem::take(&mut state.items);
        // An item may have been called done before its get.
        state.unfinished = state.unfinished.saturating_sub(items.len());
        self.tell(state);
        items.len() // the items are dropped without the lock, for the drop of an item may use the queue
    }

    /// Whether the queue was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.state().shut_down
    }

    /// Waits until an item or the end of the queue comes. Returns whether one came by the deadline. The item stays in
    /// the queue.
    pub(super) fn wait_for_change(&self, timeout: impl Into<Deadline>) -> bool {
        self.when(timeout.into(), Buffer::has_news).is_some()
    }

    /// The number of items.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.state().items.len()
    }

    /// Whether the queue has no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the queue has no room for another item.
    pub fn is_full(&self) -> bool {
        self.len() >= self.0.most
    }

    /// Reports that an item that was taken is finished.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when it is called more often than items were put.
    pub fn task_done(&self) -> Result<()> {
        let mut state = self.state();
        let left = state.unfinished.checked_sub(1);
        state.unfinished =
            left.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "task_done() called too many times"))?;
        self.tell(state);
        Ok(())
    }

    /// Waits until every item that was put is finished.
    pub fn join(&self) {
        self.join_timeout(Deadline::NEVER);
    }

    /// Does what [`join`](Self::join) does until the deadline; false when the time ran out.
    pub fn join_timeout(&self, timeout: impl Into<Deadline>) -> bool {
        self.when(timeout.into(), |state| state.unfinished == 0).is_some()
    }
}

impl<T> Buffer<T> {
    /// Whether there is an item, or the queue has ended.
    fn has_news(&self) -> bool {
        !self.items.is_empty() || self.shut_down
    }
}

/// An iterator over the items of a [`Queue`] as they come: see [`Queue::iter`].
///
/// # Examples
/// See the example of [`Queue::shutdown`].
pub struct Iter<'q, T> {
    queue: &'q Queue<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.queue.get().ok() // the only error is the end
    }
}

impl<'q, T> IntoIterator for &'q Queue<T> {
    type Item = T;
    type IntoIter = Iter<'q, T>;

    fn into_iter(self) -> Iter<'q, T> {
        self.iter()
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("queue", self.queue).finish()
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cold]
fn ended() -> Error {
    Error::new(ErrorKind::ShutDown, "the queue is shut down and empty")
}
