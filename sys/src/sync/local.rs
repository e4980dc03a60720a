//! The raw lock of a single thread: a flag without atomics, and without waits that nothing could end.

use core::cell::Cell;

use crate::futex::Limit;
use crate::sync::scope::{Owned, RawLock, Refused};

/// A flag that cannot leave its thread.
#[derive(Debug, Default)]
pub struct LocalLock(Cell<bool>);

impl LocalLock {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(false))
    }
}

// SAFETY: `Cell` is not Sync, so only one thread ever sees the object; the flag is set from take to release, and a take
// that finds it set never returns `Ok(true)`.
unsafe impl RawLock for LocalLock {
    fn take(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        if !self.0.replace(true) {
            return Ok(true);
        }
        // No other thread can run and release the lock meanwhile: with a limit the answer is known at once.
        if limit.is_never() { Err(Refused::WouldDeadlock) } else { Ok(false) }
    }

    unsafe fn release(&self) {
        self.0.set(false);
    }

    fn is_held(&self) -> bool {
        self.0.get()
    }

    #[inline]
    fn check(&self) -> Result<(), Refused> {
        Ok(self.check_holder()?)
    }
}

// SAFETY: there is one thread, so the caller is the holder.
unsafe impl Owned for LocalLock {
    fn is_mine(&self) -> bool {
        self.0.get()
    }
}
