//! The atomics of the waiting primitives: those of core, or the model checker's under `--cfg loom`.
//!
//! All code that differs under the model checker is here, in [`futex`](crate::futex) and in `model`.

#[cfg(loom)]
pub(crate) use crate::model::atomic::{AtomicU32, AtomicU64, expect_to_write, half, in_one_order, spin_hint};
#[cfg(loom)]
pub(crate) use crate::model::step;

pub(crate) use core::sync::atomic::Ordering;
#[cfg(not(loom))]
pub(crate) use ordinary::*;

#[cfg(not(loom))]
mod ordinary {
    pub(crate) use core::hint::spin_loop as spin_hint;
    pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64};

    /// Marks two `SeqCst` steps whose order matters, for the model checker, which gives such steps no order of their
    /// own.
    #[inline(always)]
    pub(crate) fn in_one_order() {}

    /// Marks a step before which the model checker may kill the participant.
    #[inline(always)]
    pub(crate) fn step() {}

    /// Prefetches the cache line of `place` for a write. Otherwise the first read fetches the line as shared, and the
    /// write requests it a second time. No memory changes, and no address faults.
    #[inline(always)]
    pub(crate) fn expect_to_write<T>(place: *const T) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: a prefetch neither faults nor changes memory, whatever the address. A processor that lacks
        // the instruction executes a no-op.
        unsafe {
            core::arch::asm!("prefetchw [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
        }
        #[cfg(all(target_arch = "aarch64", not(miri)))]
        // SAFETY: a prefetch neither faults nor changes memory, whatever the address.
        unsafe {
            core::arch::asm!("prfm pstl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
        }
        #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
        let _ = place;
    }

    /// The lower or the upper half of a 64-bit state, for the kernel only.
    #[inline(always)]
    pub(crate) fn half(state: &AtomicU64, upper: bool) -> &AtomicU32 {
        let at = usize::from(upper == cfg!(target_endian = "little"));
        let half = core::ptr::from_ref(state).cast::<u32>().cast_mut().wrapping_add(at);
        // SAFETY: the half is inside the state and is aligned for u32; nothing is accessed through the reference but
        // by the kernel's own atomic instructions.
        unsafe { AtomicU32::from_ptr(half) }
    }
}

/// Declares functions that are `const`, except under the model checker, whose atomics are made at run time.
macro_rules! const_unless_loom {
    ($($(#[$attribute:meta])* $visible:vis const fn $name:ident($($parameters:tt)*) -> Self $body:block)+) => {$(
        #[cfg(not(loom))]
        $(#[$attribute])*
        $visible const fn $name($($parameters)*) -> Self $body

        #[cfg(loom)]
        $(#[$attribute])*
        $visible fn $name($($parameters)*) -> Self $body
    )+};
}
pub(crate) use const_unless_loom;
