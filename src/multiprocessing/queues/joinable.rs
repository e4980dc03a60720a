//! A queue of tasks, with a wait until all tasks are finished.

use std::fmt;

use ossature_sys::futex::Limit;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::PutError;
use super::queue::{Queue, QueueBuilder};
use super::readiness::Readiness;
use super::users::{receive, task_done};
use crate::error::{Error, ErrorKind, Result};

/// A queue that can be joined: Python's `multiprocessing.JoinableQueue`.
///
/// Each item that was put is unfinished until the thread that got the item calls [`task_done`](Self::task_done).
/// [`join`](Self::join) waits until no item is unfinished. If a thread or a process ends with items that were not
/// finished, these items do not count. So a join does not wait for a dead process. In Python the join waits forever.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::JoinableQueue;
///
/// let tasks = JoinableQueue::new()?;
/// tasks.put(1)?;
/// assert!(!tasks.join_timeout(Duration::from_millis(1))?);
/// let task: i32 = tasks.get()?;
/// assert_eq!((task, tasks.unfinished()?), (1, 1));
/// tasks.task_done()?;
/// tasks.join()?;
/// assert!(tasks.task_done().is_err(), "once for each item");
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// The greatest number of items, waits with limits, and the end:
///
/// ```
/// use std::time::Duration;
/// use ossature::{ErrorKind, multiprocessing::JoinableQueue};
///
/// let tasks = JoinableQueue::bounded(1)?;
/// tasks.put_timeout(1, Duration::from_secs(1))?;
/// assert!(tasks.try_put(2).is_err() && tasks.is_full()?);
/// let there = tasks.try_clone()?;
/// assert_eq!(there.get_timeout(Duration::from_secs(1))?, Some(1));
/// assert_eq!(there.try_get()?, None);
/// assert_eq!((tasks.len()?, tasks.maxsize(), tasks.is_empty()?), (0, Some(1), true));
/// tasks.put(3)?;
/// assert_eq!(tasks.shutdown_now()?, 1, "one was there");
/// assert!(tasks.is_shut_down());
/// tasks.shutdown(); // again, which changes nothing
/// assert_eq!(there.get().unwrap_err().kind(), ErrorKind::ShutDown);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct JoinableQueue<T>(Queue<T>);

impl QueueBuilder {
    /// Makes a queue that can be joined.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn build_joinable<T>(self) -> Result<JoinableQueue<T>> {
        self.build().map(JoinableQueue::from)
    }
}

impl<T> From<Queue<T>> for JoinableQueue<T> {
    fn from(queue: Queue<T>) -> Self {
        Self(queue)
    }
}

impl<T> JoinableQueue<T> {
    /// Makes a queue without a maximum number of items.
    ///
    /// # Errors
    /// As for [`Queue::new`].
    pub fn new() -> Result<Self> {
        Queue::new().map(Self)
    }

    /// Makes a queue of at most `maxsize` items. 0 means no limit.
    ///
    /// # Errors
    /// As for [`Queue::new`].
    pub fn bounded(maxsize: usize) -> Result<Self> {
        QueueBuilder::new().maxsize(maxsize).build_joinable()
    }

    /// Makes a second handle of the same queue, for another owner.
    ///
    /// # Errors
    /// As for [`Queue::try_clone`].
    pub fn try_clone(&self) -> Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// The number of items that were unfinished a moment ago.
    ///
    /// # Errors
    /// As for [`Queue::len`].
    pub fn unfinished(&self) -> Result<usize> {
        Ok(self.0.ring().unfinished()?)
    }

    /// Reports that one of the items that this thread got is finished.
    ///
    /// Differs from Python: only the thread that got the item can report this.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when this thread has already finished all items that it got.
    pub fn task_done(&self) -> Result<()> {
        if task_done(self.0.handle())? {
            return Ok(());
        }
        let message = "task_done() was called more often than this thread got items: call it once for each item, in the thread \
                       that got the item";
        Err(Error::new(ErrorKind::InvalidInput, message))
    }

    /// Waits until no item is unfinished.
    ///
    /// # Errors
    /// As for [`Queue::len`].
    pub fn join(&self) -> Result<()> {
        self.join_timeout(Limit::NEVER).map(drop)
    }

    /// Waits until no item is unfinished, within the limit; false when the time ran out.
    ///
    /// # Errors
    /// As for [`Queue::len`].
    pub fn join_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
        Ok(self.0.ring().wait_until_done(limit)?)
    }
}

impl<T: Serialize> JoinableQueue<T> {
    /// Waits for room, and puts an item into the queue.
    ///
    /// # Errors
    /// As for [`Queue::put`].
    pub fn put(&self, item: T) -> std::result::Result<(), PutError<T>> {
        self.0.put(item)
    }

    /// Puts an item into the queue without waiting.
    ///
    /// # Errors
    /// As for [`Queue::try_put`].
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: T) -> std::result::Result<(), PutError<T>> {
        self.0.try_put(item)
    }

    /// Puts an item into the queue within the limit.
    ///
    /// # Errors
    /// As for [`Queue::put_timeout`].
    pub fn put_timeout<'c>(&self, item: T, limit: impl Into<Limit<'c>>) -> std::result::Result<(), PutError<T>> {
        self.0.put_timeout(item, limit)
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Waits for an item, and gets it.
    ///
    /// # Errors
    /// As for [`Queue::get`].
    pub fn get(&self) -> Result<T> {
        loop {
            if let Some(item) = self.get_timeout(Limit::NEVER)? {
                return Ok(item);
            }
        }
    }

    /// Gets an item if there is one.
    ///
    /// # Errors
    /// As for [`Queue::get`].
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<Option<T>> {
        self.get_timeout(Limit::NOW)
    }

    /// Gets an item within the limit; `None` when the time ran out.
    ///
    /// # Errors
    /// As for [`Queue::get`].
    pub fn get_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<Option<T>> {
        receive(self.0.handle(), limit.into(), true)
    }
}

/// The methods that do not count tasks work as in [`Queue`].
impl<T> JoinableQueue<T> {
    /// The maximum number of items, if there is one.
    pub fn maxsize(&self) -> Option<usize> {
        self.0.maxsize()
    }

    /// The number of items that were waiting a moment ago.
    ///
    /// # Errors
    /// As for [`Queue::len`].
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<usize> {
        self.0.len()
    }

    /// Whether no item was waiting a moment ago.
    ///
    /// # Errors
    /// As for [`Queue::len`].
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> Result<bool> {
        self.0.is_empty()
    }

    /// Makes a descriptor that is readable while there may be an item, as [`Queue::readiness`].
    ///
    /// # Errors
    /// As for [`Queue::readiness`].
    ///
    /// # Examples
    /// See the example of [`Readiness`].
    pub fn readiness(&self) -> Result<Readiness> {
        self.0.readiness()
    }

    /// Whether the queue was full a moment ago.
    ///
    /// # Errors
    /// As for [`Queue::len`].
    #[doc(alias = "full")]
    pub fn is_full(&self) -> Result<bool> {
        self.0.is_full()
    }

    /// Ends the queue, as [`Queue::shutdown`] does.
    pub fn shutdown(&self) {
        self.0.shutdown();
    }

    /// Ends the queue, and drops the items, which then count as finished. Returns the number of dropped items.
    ///
    /// # Errors
    /// As for [`Queue::shutdown_now`].
    pub fn shutdown_now(&self) -> Result<usize> {
        self.0.shutdown_now()
    }

    /// Whether the queue was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.0.is_shut_down()
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinableQueue").field(&self.0).finish()
    }
}
