//! A flag that one process sets and many wait for.

use ossature_sys::futex::Limit;
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::event;
use serde::{Deserialize, Serialize};

use super::methods::owner;
use crate::error::Result;
use crate::multiprocessing::transfer::{Arena, Placed};

/// A flag that one process sets and many wait for: Python's `multiprocessing.Event`.
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::Event;
///
/// let ready = Event::new()?;
/// assert!(!ready.wait_timeout(Duration::from_millis(1))?);
/// ready.set();
/// ready.wait()?;
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::Event;
///
/// let stop = Event::new()?;
/// let same = stop.try_clone()?; // for an owner of its own
/// same.set();
/// assert!(stop.is_set() && stop.wait_timeout(Duration::ZERO)?);
/// stop.clear();
/// assert!(!same.wait_timeout(Duration::from_millis(1))?, "its time ran out");
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
pub struct Event(Placed<event::Event<Shared>>);

impl Event {
    /// Makes an event in shared memory, with its flag clear.
    ///
    /// # Errors
    /// As for [`Lock::new`](crate::multiprocessing::Lock::new).
    pub fn new() -> Result<Self> {
        Placed::new(event::Event::shared(), "an event").map(Self)
    }

    /// Makes `count` events, which share one mapping and one descriptor. Each can be sent alone. The memory exists as
    /// long as any process has one of them.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Event;
    ///
    /// let events = Event::many(100)?; // one descriptor
    /// events[3].set();
    /// assert!(events[3].is_set() && !events[4].is_set());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn many(count: usize) -> Result<Vec<Self>> {
        Ok(Placed::many(count, |_| event::Event::shared(), "a block of events")?.map(Self).collect())
    }

    /// Whether the flag is set.
    #[doc(alias = "isSet")]
    pub fn is_set(&self) -> bool {
        self.0.is_set()
    }

    /// Sets the flag and wakes all waiters. If the setter is killed before it has woken them, they are woken
    /// nevertheless.
    pub fn set(&self) {
        self.0.set();
    }

    /// Clears the flag: later waits block. Waiters that were waiting when the flag was set still return.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// Waits until the flag is set.
    ///
    /// # Errors
    /// None today. The result is a `Result`, so that a later version that can fail needs no other signature.
    pub fn wait(&self) -> Result<()> {
        Ok(self.0.wait()?)
    }

    /// Waits until the flag is set, within the limit; false when the limit has passed.
    ///
    /// # Errors
    /// None today. The result is a `Result`, so that a later version that can fail needs no other signature.
    pub fn wait_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
        Ok(self.0.wait_timeout(limit)?)
    }
}

impl Arena {
    /// Makes an event in the arena, with its flag clear.
    ///
    /// # Errors
    /// As for [`value`](Self::value).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Arena;
    ///
    /// let ready = Arena::new()?.event()?;
    /// ready.set();
    /// ready.wait()?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn event(&self) -> Result<Event> {
        Placed::in_arena(self, event::Event::shared(), "an event").map(Event)
    }
}

owner!(Event, event::Event<Shared>);
