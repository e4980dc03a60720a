//! The queue of a single thread: no other thread could notify a waiter.

use super::Queue;
use crate::futex::Limit;
use crate::sync::scope::Refused;

/// A queue that is always empty.
#[derive(Debug, Default)]
pub struct LocalQueue;

impl Queue for LocalQueue {
    fn wait<R>(
        &self,
        limit: Limit<'_>,
        let_go: impl FnOnce(),
        take_again: impl FnOnce() -> R,
    ) -> Result<(bool, R), Refused> {
        if limit.is_never() {
            return Err(Refused::WouldDeadlock);
        }
        let_go();
        Ok((false, take_again()))
    }

    fn notify(&self, _count: u32) -> u32 {
        0
    }
}
