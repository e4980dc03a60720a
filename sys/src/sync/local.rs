//! The raw lock of a single thread: a flag, no atomics, and no wait that could only end by itself.

use core::cell::Cell;

use crate::deadline::Deadline;
use crate::scope::{RawLock, Refused};

/// A flag that cannot leave its thread.
#[derive(Debug, Default)]
pub struct LocalLock(Cell<bool>);

impl LocalLock {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(false))
    }
}

// SAFETY: `Cell` is not Sync, so only one thread ever sees the object; the flag is set from take to release, and a take
// that finds it set never answers `Ok(true)`.
unsafe impl RawLock for LocalLock {
    fn take(&self, deadline: Deadline) -> Result<bool, Refused> {
        if !self.0.replace(true) {
            return Ok(true);
        }
        // Nobody else can run, so nobody can release it meanwhile: with a deadline the answer is known at once.
        if deadline == Deadline::NEVER { Err(Refused::WouldDeadlock) } else { Ok(false) }
    }

    unsafe fn release(&self) {
        self.0.set(false);
    }
}
