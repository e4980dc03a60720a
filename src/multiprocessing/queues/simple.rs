//! A queue with the smallest set of methods.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::PutError;
use super::queue::Queue;
use super::readiness::Readiness;
use crate::error::Result;

/// A queue of values between processes: Python's `multiprocessing.SimpleQueue`.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::SimpleQueue;
///
/// let queue = SimpleQueue::new()?;
/// queue.put(vec![1, 2, 3])?;
/// let there = queue.try_clone()?;
/// assert!(!there.is_empty()?);
/// assert_eq!(there.get()?, [1, 2, 3]);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct SimpleQueue<T>(Queue<T>);

impl<T> SimpleQueue<T> {
    /// Makes an empty queue with room for 16 MiB of encoded items.
    ///
    /// # Errors
    /// As for [`Queue::new`].
    pub fn new() -> Result<Self> {
        Queue::new().map(Self)
    }

    /// Gets an item if there is one.
    ///
    /// Python's class has no such method; a program that waits for the descriptor needs it.
    ///
    /// # Errors
    /// As for [`Queue::get`].
    ///
    /// # Examples
    /// ```
    /// let queue = ossature::multiprocessing::SimpleQueue::new()?;
    /// let readiness = queue.readiness()?;
    /// queue.put(1)?;
    /// assert_eq!(ossature::multiprocessing::connection::wait(&[&readiness], None)?, [0]);
    /// assert_eq!([queue.try_get()?, queue.try_get()?], [Some(1), None]);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn try_get(&self) -> Result<Option<T>>
    where
        T: DeserializeOwned,
    {
        self.0.try_get()
    }

    /// Makes a second handle of the same queue, for another owner.
    ///
    /// # Errors
    /// As for [`Queue::try_clone`].
    pub fn try_clone(&self) -> Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Whether the queue had no item a moment ago.
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
}

impl<T: Serialize> SimpleQueue<T> {
    /// Waits for room, and puts an item into the queue.
    ///
    /// # Errors
    /// As for [`Queue::put`].
    pub fn put(&self, item: T) -> std::result::Result<(), PutError<T>> {
        self.0.put(item)
    }
}

impl<T: DeserializeOwned> SimpleQueue<T> {
    /// Waits for an item, and gets it.
    ///
    /// # Errors
    /// As for [`Queue::get`].
    pub fn get(&self) -> Result<T> {
        self.0.get()
    }
}

impl<T> fmt::Debug for SimpleQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimpleQueue").field(&self.0).finish()
    }
}
