//! The raw lock of threads: the small private lock of `futex`, which never refuses.

use crate::futex::{Limit, WordLock};
use crate::sync::scope::{RawLock, Refused};

// SAFETY: the word leaves free only by the compare-exchange or swap of one taker, which alone then sees it free before,
// and returns to free only in release. Acquire on the way in and Release on the way out order what the holders write.
unsafe impl RawLock for WordLock {
    #[inline]
    fn take(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        Ok(WordLock::take(self, limit))
    }

    #[inline]
    unsafe fn release(&self) {
        // SAFETY: the same obligation, passed on.
        unsafe { WordLock::release(self) };
    }

    fn is_held(&self) -> bool {
        WordLock::is_held(self)
    }
}
