//! Looking for a while before sleeping, and learning whether that is any use.
//!
//! A partner on another processor that answers within some microseconds is met without a system call; on one processor
//! no look can succeed, because the partner does not run meanwhile. Each object learns which it is: a useful look
//! allows the longest next time, a useless one halves what is allowed. When none is allowed any more, one happens now
//! and then all the same, to notice that times have changed. The first two of those follow each other. Between the next
//! ones one look is left out, then three, seven and so on, up to 127. So a short disturbance costs little, and so does
//! a processor that is shared for long.
//!
//! | bits | meaning |
//! | --- | --- |
//! | `0..16` | how many pauses are allowed |
//! | `16..24` | how many looks are left out until the next one |
//! | `24..32` | how many are left out if that one is useless |
//!
//! All of it is `Relaxed` and may be lost to a race: it is a hint.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;

use crate::atomic::spin_hint;

/// The longest look, in pauses: about ten microseconds.
const PAUSES_MAX: u32 = 400;
/// The greatest number of looks in turn that are left out.
const LEFT_OUT_MAX: u32 = 127;

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
        let (allowed, left_out, next) = (learned & 0xffff, learned >> 16 & 0xff, learned >> 24);
        if allowed == 0 && left_out > 0 {
            self.learn(0, left_out - 1, next);
            return false;
        }
        for _ in 0..if allowed == 0 { PAUSES_MAX } else { allowed } {
            if found() {
                if learned != PAUSES_MAX {
                    self.learn(PAUSES_MAX, 0, 0);
                }
                return true;
            }
            spin_hint();
        }
        match allowed {
            0 => self.learn(0, next, (2 * next + 1).min(LEFT_OUT_MAX)),
            _ => self.learn(allowed / 2, 0, 0),
        }
        false
    }

    fn learn(&self, pauses: u32, left_out: u32, next: u32) {
        self.0.store(next << 24 | left_out << 16 | pauses, Relaxed);
    }
}
