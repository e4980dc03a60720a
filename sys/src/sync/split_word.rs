//! A state of 64 bits; threads can sleep on either half.
//!
//! One compare-exchange covers what the kernel compares and what distinguishes two uses of the same value. The lower
//! half may itself be the kernel's pending entry, if it has none of the bits of an owner (the lower 30) while a wake is
//! owed. When a thread dies then, the kernel wakes one sleeper there.

use crate::atomic::{AtomicU32, AtomicU64, Ordering, const_unless_loom, half};

/// The state. Zero bytes are 0.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct SplitWord(AtomicU64);

impl SplitWord {
    const_unless_loom! {
        pub(crate) const fn new(state: u64) -> Self {
            Self(AtomicU64::new(state))
        }
    }

    #[inline(always)]
    pub(crate) fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    #[inline(always)]
    pub(crate) fn store(&self, state: u64, order: Ordering) {
        self.0.store(state, order);
    }

    #[inline(always)]
    pub(crate) fn change(&self, from: u64, to: u64, order: Ordering) -> Result<u64, u64> {
        // With `SeqCst`, the load of a failed exchange is `SeqCst` too.
        let lost = if matches!(order, Ordering::SeqCst) { order } else { Ordering::Relaxed };
        self.0.compare_exchange(from, to, order, lost)
    }

    /// The lower half, for the kernel only: all other code reads and writes the whole.
    pub(crate) fn futex(&self) -> &AtomicU32 {
        half(&self.0, false)
    }

    /// The upper half, for the kernel only.
    pub(crate) fn upper(&self) -> &AtomicU32 {
        half(&self.0, true)
    }
}
