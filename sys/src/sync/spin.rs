//! Polling for a while before sleeping, and recording whether that pays.
//!
//! A partner on another processor that answers within some microseconds is seen without a system call. On one processor
//! no look can succeed, because the partner does not run meanwhile. Each object records which case it has: a useful
//! look allows the longest next time, a useless one halves the allowed length. If no look is allowed any more,
//! occasional looks still notice changes. The first two of these follow each other. Between the later ones, one look is
//! skipped, then three, seven and so on, up to 127. So a short disturbance costs little, and so does a processor that
//! is shared for long.
//!
//! **When both partners sleep** each of them takes longer to wake than a look lasts, so no look of that length would
//! ever succeed again. One in eight of the looks that only notice changes is therefore four times as long: longer than
//! a wake takes. While such looks succeed they stay allowed. Then the partner's answer is there at the next look,
//! however short that look is, and both partners are awake.
//!
//! | bits | meaning |
//! | --- | --- |
//! | `0..11` | how many pauses are allowed |
//! | `11..14` | the number of looks that only notice changes, modulo 8 |
//! | `16..24` | how many looks are skipped until the next one |
//! | `24..32` | how many are skipped if that one is useless |
//!
//! All of it is `Relaxed` and may be lost to a race: it is a hint.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;

use crate::atomic::spin_hint;

/// The longest usual spin, in pauses: about ten microseconds.
const PAUSES_MAX: u32 = 400;
/// The length of a spin for a peer that must wake up first, in pauses.
const PAUSES_LONG: u32 = 4 * PAUSES_MAX;
/// The bits that hold the number of pauses.
const PAUSES: u32 = (1 << 11) - 1;
/// Among the spins that only measure whether spinning pays, one in this many is long.
const LONG_EVERY: u32 = 8;
/// The maximum number of consecutive spins that are skipped.
const LEFT_OUT_MAX: u32 = 127;

/// The spin statistics of one object. Zero bytes are empty statistics: the object spins once.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Spin(AtomicU32);

impl Spin {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Polls until `found` returns true, or until further polling is unlikely to pay.
    #[inline]
    pub(crate) fn until(&self, found: impl FnMut() -> bool) -> bool {
        self.until_apart(1, found)
    }

    /// Like [`until`](Self::until), with that many pauses between two looks. A look takes the cache line from the
    /// processor of the thread that will change it.
    #[inline]
    pub(crate) fn until_apart(&self, apart: u32, mut found: impl FnMut() -> bool) -> bool {
        if cfg!(loom) {
            return false; // every interleaving is explored as it is
        }
        let learned = self.0.load(Relaxed);
        let (allowed, left_out, next) = (learned & PAUSES, learned >> 16 & 0xff, learned >> 24);
        if allowed == 0 && left_out > 0 {
            self.0.store(learned - (1 << 16), Relaxed);
            return false;
        }
        let turn = learned >> 11 & (LONG_EVERY - 1);
        let most = match allowed {
            0 if turn == LONG_EVERY - 1 => PAUSES_LONG,
            0 => PAUSES_MAX,
            allowed => allowed,
        };
        let mut paused = 0;
        while paused < most {
            if found() {
                let useful = if paused < PAUSES_MAX { PAUSES_MAX } else { PAUSES_LONG };
                if learned != useful {
                    self.0.store(useful, Relaxed);
                }
                return true;
            }
            for _ in 0..apart {
                spin_hint();
            }
            paused += apart;
        }
        self.0.store(
            match allowed {
                0 => (2 * next + 1).min(LEFT_OUT_MAX) << 24 | next << 16 | ((turn + 1) % LONG_EVERY) << 11,
                _ => allowed / 2,
            },
            Relaxed,
        );
        false
    }
}
