//! A queue of values.

use std::fmt;
use std::marker::PhantomData;

use ossature_sys::futex::Limit;
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::ring::{Packets, Ring};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::PutError;
use super::readiness::Readiness;
use super::users::{Handle, Item, encode, receive, send, wait_for_room, with_grace};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::memory;

/// The default room for encoded items, in bytes.
pub(super) const CAPACITY: usize = 16 << 20;

/// A queue of values between processes: Python's `multiprocessing.Queue`. See the [module](super).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::Queue;
///
/// let queue = Queue::bounded(2)?;
/// queue.put(("one".to_owned(), 1))?;
/// queue.put_timeout(("two".to_owned(), 2), Duration::from_secs(1))?;
/// assert!(queue.is_full()? && queue.try_put(("three".to_owned(), 3)).is_err());
/// assert_eq!((queue.len()?, queue.maxsize()), (2, Some(2)));
/// let there = queue.try_clone()?; // what another process would have
/// assert_eq!(there.get()?.1, 1);
/// assert_eq!(there.get_timeout(Duration::from_secs(1))?.unwrap().1, 2);
/// assert!(there.try_get()?.is_none() && queue.is_empty()?);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Queue<T> {
    handle: Handle,
    bound: Option<Bound>,
    #[serde(skip)]
    item: PhantomData<fn(T) -> T>,
}

/// The limit on the number of items.
#[derive(Serialize, Deserialize)]
struct Bound {
    most: usize,
    /// An upper bound of the number of items: the last count, and the items put since. A thread that puts an item holds
    /// this lock.
    #[serde(with = "memory")]
    at_most: Shm<Lock<u64, Shared>>,
}

/// A builder for a [`Queue`] or a [`JoinableQueue`](super::JoinableQueue) with other sizes than the default.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::{JoinableQueue, Queue, queues::QueueBuilder};
///
/// let queue: Queue<Vec<u8>> = QueueBuilder::new().capacity(1 << 20).maxsize(100).build()?;
/// assert_eq!((queue.capacity(), queue.maxsize()), (1 << 20, Some(100)));
/// let tasks: JoinableQueue<String> = QueueBuilder::new().build_joinable()?;
/// assert_eq!(tasks.maxsize(), None);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder makes nothing before `build`"]
pub struct QueueBuilder {
    maxsize: Option<usize>,
    capacity: usize,
}

impl Default for QueueBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl QueueBuilder {
    /// Makes a builder without a maximum number of items, and with room for 16 MiB of encoded items.
    pub fn new() -> Self {
        Self { maxsize: None, capacity: CAPACITY }
    }

    /// Sets the maximum number of items. 0 means no limit, as in Python.
    pub fn maxsize(mut self, items: usize) -> Self {
        self.maxsize = (items > 0).then_some(items);
        self
    }

    /// Sets the room for encoded items in bytes: 64 KiB to 4 GiB, rounded up to a power of two.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }

    /// Makes the queue.
    ///
    /// # Errors
    /// As for [`Lock::new`](crate::multiprocessing::Lock::new).
    pub fn build<T>(self) -> Result<Queue<T>> {
        let ring = Ring::pollable(self.capacity).map_err(Error::placing("a queue"))?;
        let packets = Packets::new().map_err(|errno| Error::os(errno, "cannot make the sockets of a queue"))?;
        let bound = |most| {
            let at_most = Shm::place(Lock::shared(0)).map_err(Error::placing("a queue"))?;
            Ok::<_, Error>(Bound { most, at_most })
        };
        Ok(Queue { handle: Handle::new(ring, packets), bound: self.maxsize.map(bound).transpose()?, item: PhantomData })
    }
}

impl<T> Queue<T> {
    /// Makes a queue without a maximum number of items, with room for 16 MiB of encoded items.
    ///
    /// # Errors
    /// As for [`Lock::new`](crate::multiprocessing::Lock::new).
    pub fn new() -> Result<Self> {
        QueueBuilder::new().build()
    }

    /// Makes a queue of at most `maxsize` items: Python's `Queue(maxsize)`. 0 means no limit.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn bounded(maxsize: usize) -> Result<Self> {
        QueueBuilder::new().maxsize(maxsize).build()
    }

    /// Makes a second handle of the same queue, for another owner.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EMFILE` without descriptors.
    pub fn try_clone(&self) -> Result<Self> {
        let bound = self
            .bound
            .as_ref()
            .map(|bound| Ok::<_, Error>(Bound { most: bound.most, at_most: bound.at_most.try_clone()? }));
        Ok(Self { handle: self.handle.again(), bound: bound.transpose()?, item: PhantomData })
    }

    /// The maximum number of items, if there is one.
    pub fn maxsize(&self) -> Option<usize> {
        self.bound.as_ref().map(|bound| bound.most)
    }

    /// The room for encoded items, in bytes.
    pub fn capacity(&self) -> usize {
        self.ring().capacity()
    }

    /// The number of items a moment ago: Python's `qsize()`. The time of this call grows with that number.
    ///
    /// # Errors
    /// [`Unrecoverable`](ErrorKind::Unrecoverable) if the memory holds what no process of this program writes.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<usize> {
        Ok(self.ring().len()?)
    }

    /// Whether the queue had no item a moment ago. Differs from Python: it is false as soon as `put` has returned.
    ///
    /// # Errors
    /// As for [`len`](Self::len).
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.ring().is_empty()?)
    }

    /// Whether the queue was full a moment ago; false without a maximum number of items.
    ///
    /// # Errors
    /// As for [`len`](Self::len).
    #[doc(alias = "full")]
    pub fn is_full(&self) -> Result<bool> {
        match &self.bound {
            Some(bound) => Ok(self.ring().len()? >= bound.most),
            None => Ok(false),
        }
    }

    /// Makes a descriptor that is readable while there may be an item, for
    /// [`wait`](crate::multiprocessing::connection::wait), poll, epoll and event loops.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EMFILE` without descriptors.
    ///
    /// # Examples
    /// See the example of [`Readiness`].
    pub fn readiness(&self) -> Result<Readiness> {
        self.handle.readiness(None)
    }

    /// Ends the queue: every later `put` fails, and `get` fails once the queue is empty. Calls that wait return at
    /// once. This is `shutdown()` of Python 3.13's `queue.Queue`.
    ///
    /// # Examples
    /// ```
    /// use ossature::{ErrorKind, multiprocessing::Queue};
    ///
    /// let queue = Queue::new()?;
    /// queue.put(1)?;
    /// queue.put(2)?;
    /// queue.shutdown();
    /// assert!(queue.is_shut_down() && queue.put(3).is_err());
    /// assert_eq!(queue.iter().collect::<ossature::Result<Vec<i32>>>()?, [1, 2]);
    /// assert_eq!(queue.get().unwrap_err().kind(), ErrorKind::ShutDown);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn shutdown(&self) {
        self.ring().close();
    }

    /// Ends the queue as [`shutdown`](Self::shutdown) does, and drops the items: `shutdown(immediate=True)`. Returns
    /// the number of dropped items.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// let queue = ossature::multiprocessing::Queue::new()?;
    /// queue.put(1)?;
    /// assert_eq!(queue.shutdown_now()?, 1);
    /// assert!(queue.get().is_err());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn shutdown_now(&self) -> Result<usize> {
        self.ring().close();
        super::users::discard(&self.handle)
    }

    /// Whether the queue was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.ring().is_closed()
    }

    /// The handle, for the other types of queues.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The ring, for the other types of queues.
    pub(super) fn ring(&self) -> &Ring {
        self.handle.ring()
    }
}

impl<T: Serialize> Queue<T> {
    /// Waits for room, and puts an item into the queue. When this call returns, every process can get the item.
    ///
    /// # Errors
    /// [`PutError`], with the item. [`ShutDown`](PutError::ShutDown) after a shutdown. [`Failed`](PutError::Failed) for
    /// an item that cannot be encoded, that has more than 253 descriptors in it, or for which the system has no memory
    /// or no descriptor.
    pub fn put(&self, item: T) -> std::result::Result<(), PutError<T>> {
        self.put_timeout(item, Limit::NEVER)
    }

    /// Puts an item into the queue without waiting: Python's `put_nowait`.
    ///
    /// # Errors
    /// As for [`put`](Self::put), and [`Full`](PutError::Full).
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: T) -> std::result::Result<(), PutError<T>> {
        self.put_timeout(item, Limit::NOW)
    }

    /// Puts an item into the queue within the limit.
    ///
    /// # Errors
    /// As for [`put`](Self::put), and [`Full`](PutError::Full) when the limit is over.
    pub fn put_timeout<'c>(&self, item: T, limit: impl Into<Limit<'c>>) -> std::result::Result<(), PutError<T>> {
        let limit = limit.into();
        let sent = encode(&self.handle, &item).and_then(|item| {
            let sent = match &self.bound {
                Some(bound) => self.send_within(bound, &item, limit),
                None => send(&self.handle, &item, limit),
            };
            item.recycle();
            sent
        });
        match sent {
            Ok(true) => Ok(()),
            Ok(false) => Err(PutError::Full(item)),
            Err(error) if error.kind() == ErrorKind::ShutDown => Err(PutError::ShutDown(item)),
            Err(error) => Err(PutError::Failed(item, error)),
        }
    }

    /// Sends an item unless the queue has its maximum number of items. Other threads that put wait for the lock, and no
    /// thread waits for room with the lock held.
    fn send_within(&self, bound: &Bound, item: &Item, limit: Limit<'_>) -> Result<bool> {
        let most = bound.most as u64;
        loop {
            let Some(mut at_most) = bound.at_most.lock_timeout(with_grace(limit))? else { return Ok(false) };
            if at_most.abandoned() {
                // The dead thread may have put an item and not counted it.
                *at_most = most;
                at_most.mark_consistent();
            }
            if *at_most >= most {
                *at_most = self.ring().len()? as u64;
            }
            if *at_most < most {
                let sent = send(&self.handle, item, Limit::NOW)?;
                *at_most += u64::from(sent);
                drop(at_most);
                if sent || !wait_for_room(&self.handle, item, limit)? {
                    return Ok(sent);
                }
                continue;
            }
            drop(at_most);
            if !self.ring().wait_until_below(bound.most, limit)? {
                return Ok(false);
            }
        }
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Waits for an item, and gets it.
    ///
    /// # Errors
    /// [`ShutDown`](ErrorKind::ShutDown) when the queue was shut down and is empty. [`Decode`](ErrorKind::Decode) when
    /// the item is of another type. [`Os`](ErrorKind::Os) with `EMFILE` when descriptors came with the item that this
    /// process cannot open. The item is lost then.
    pub fn get(&self) -> Result<T> {
        loop {
            if let Some(item) = self.get_timeout(Limit::NEVER)? {
                return Ok(item);
            }
        }
    }

    /// Gets an item if there is one: Python's `get_nowait`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<Option<T>> {
        self.get_timeout(Limit::NOW)
    }

    /// Gets an item within the limit; `None` when the time ran out (Python's `queue.Empty`).
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn get_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<Option<T>> {
        receive(&self.handle, limit.into(), false)
    }

    /// Iterates over the items as they come, until the queue was shut down and is empty.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }
}

/// An iterator over the items of a [`Queue`] as they come: see [`Queue::iter`].
///
/// # Examples
/// ```
/// use ossature::multiprocessing::{Queue, queues::Iter};
///
/// let queue = Queue::new()?;
/// queue.put('a')?;
/// queue.shutdown();
/// let items: Iter<'_, char> = queue.iter();
/// assert_eq!(items.count(), 1);
/// # Ok::<(), ossature::Error>(())
/// ```
pub struct Iter<'q, T> {
    queue: &'q Queue<T>,
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        match self.queue.get() {
            Err(error) if error.kind() == ErrorKind::ShutDown => None,
            item => Some(item),
        }
    }
}

impl<'q, T: DeserializeOwned> IntoIterator for &'q Queue<T> {
    type Item = Result<T>;
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
        f.debug_struct("Queue")
            .field("maxsize", &self.maxsize())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
