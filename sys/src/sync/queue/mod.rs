//! Those who wait for a [`Condition`](super::condition::Condition), in order of arrival: one queue for each scope.

mod local;
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
    /// Enters the queue, calls `let_go`, waits to be notified within the limit, and calls `take_again`. Answers whether
    /// there was a notification, and what `take_again` answered.
    ///
    /// # Errors
    /// Why one cannot wait here; then neither was called.
    fn wait<R>(
        &self,
        limit: Limit<'_>,
        let_go: impl FnOnce(),
        take_again: impl FnOnce() -> R,
    ) -> Result<(bool, R), Refused>;

    /// Frees the first `count` of the queue, and says how many there were.
    fn notify(&self, count: u32) -> u32;
}
