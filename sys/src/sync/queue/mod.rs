//! The waiters of a [`Condition`](super::condition::Condition), in order of arrival: one type of queue for each scope.

mod local;
mod notify;
mod oldest;
mod place;
mod private;
mod shared;

use crate::futex::Limit;
use crate::sync::scope::Refused;

pub(crate) use local::LocalQueue;
pub(crate) use private::PrivateQueue;
pub(crate) use shared::SharedQueue;
#[cfg(loom)]
pub(crate) use shared::WITH_LIST;

/// A queue of waiters.
pub trait Queue {
    /// Enters the queue, calls `let_go`, waits within the limit to be notified, and calls `take_again`. Returns whether
    /// there was a notification, and the result of `take_again`.
    ///
    /// # Errors
    /// Why the thread cannot wait here; then neither was called.
    fn wait<R>(
        &self,
        limit: Limit<'_>,
        let_go: impl FnOnce(),
        take_again: impl FnOnce() -> R,
    ) -> Result<(bool, R), Refused>;

    /// Notifies the first `count` waiters of the queue. Returns how many there were.
    fn notify(&self, count: u32) -> u32;
}
