//! Looking for a while before sleeping, and learning whether that is any use.
//!
//! A partner on another processor that answers within some microseconds is met without a system call; on one processor
//! no look can succeed, because the partner does not run meanwhile. Each object learns which it is: a useful look
//! allows the longest next time, a useless one halves what is allowed, and one look in [`EXPLORE_EVERY`] that is not
//! allowed any more happens all the same, to notice that times have changed.
//!
//! | bits | meaning |
//! | --- | --- |
//! | `0..16` | how many pauses are allowed |
//! | `16..32` | how many looks there were |
//!
//! All of it is `Relaxed` and may be lost to a race: it is a hint.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;

use crate::atomic::spin_hint;

/// The longest look, in pauses: about ten microseconds.
const PAUSES_MAX: u32 = 400;
/// One useless look in so many happens all the same.
const EXPLORE_EVERY: u32 = 128;

/// What an object has learned. Zero bytes are one that has not learned anything: it looks once.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Spin(AtomicU32);

impl Spin {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Looks until `found`, or for as long as it pays.
    #[inline]
    pub(crate) fn until(&self, mut found: impl FnMut() -> bool) -> bool {
        if cfg!(loom) {
            return false; // every interleaving is explored as it is
        }
        let learned = self.0.load(Relaxed);
        let (allowed, looks) = (learned & 0xffff, learned >> 16);
        let allowed = if looks % EXPLORE_EVERY == 0 { PAUSES_MAX } else { allowed };
        for _ in 0..allowed {
            if found() {
                if learned & 0xffff != PAUSES_MAX || looks % EXPLORE_EVERY == 0 {
                    self.learn(looks, PAUSES_MAX);
                }
                return true;
            }
            spin_hint();
        }
        self.learn(looks, (learned & 0xffff) / 2);
        false
    }

    fn learn(&self, looks: u32, pauses: u32) {
        self.0.store((looks.wrapping_add(1) << 16) | pauses, Relaxed);
    }
}
