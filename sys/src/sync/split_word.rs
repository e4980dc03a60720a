//! A state of 64 bits, either half of which can be slept on.
//!
//! One compare-exchange covers what the kernel compares and what tells one use of it from the next. The lower half may
//! itself be the kernel's pending entry, if it never has any of the bits of an owner (the lower 30). When a thread dies
//! then, the kernel wakes one sleeper there.

use crate::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use core::sync::atomic::AtomicU32;

/// The state. Zero bytes are 0.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct SplitWord(AtomicU64);

impl SplitWord {
    #[cfg(not(loom))]
    pub(crate) const fn new(state: u64) -> Self {
        Self(AtomicU64::new(state))
    }

    #[cfg(loom)]
    pub(crate) fn new(state: u64) -> Self {
        Self(AtomicU64::new(state))
    }

    #[inline(always)]
    pub(crate) fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn store(&self, state: u64, order: Ordering) {
        self.0.store(state, order);
    }

    #[inline(always)]
    pub(crate) fn change(&self, from: u64, to: u64, order: Ordering) -> Result<u64, u64> {
        // Where everything is in one order, so is what is learned from losing.
        let lost = if matches!(order, Ordering::SeqCst) { order } else { Ordering::Relaxed };
        self.0.compare_exchange(from, to, order, lost)
    }

    /// Sets bits, whatever the rest. `SeqCst`.
    #[inline]
    pub(crate) fn set(&self, bits: u64) {
        self.0.fetch_or(bits, Ordering::SeqCst);
    }

    /// The lower half, for the kernel alone: everybody else reads and writes the whole.
    #[cfg(not(loom))]
    pub(crate) fn futex(&self) -> &AtomicU32 {
        self.half(if cfg!(target_endian = "little") { 0 } else { 1 })
    }

    /// The upper half, for the kernel alone.
    #[cfg(not(loom))]
    pub(crate) fn upper(&self) -> &AtomicU32 {
        self.half(if cfg!(target_endian = "little") { 1 } else { 0 })
    }

    #[cfg(not(loom))]
    fn half(&self, at: usize) -> &AtomicU32 {
        let half = (&raw const self.0).cast::<u32>().cast_mut().wrapping_add(at);
        // SAFETY: the half lies inside the state and is aligned for u32; nothing is accessed through the reference but
        // by the kernel's own atomic instructions.
        unsafe { AtomicU32::from_ptr(half) }
    }
}
