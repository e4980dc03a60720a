//! What the waiting primitives are made of: core's atomics, or the model checker's under `--cfg loom`.
//!
//! Whatever differs under the model checker stands here, in [`futex`](crate::futex) and in `model`.

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

    /// Stands between two steps that are both `SeqCst`, for the model checker, which gives such steps no order of their
    /// own.
    #[inline(always)]
    pub(crate) fn in_one_order() {}

    /// Stands before a step at which the model checker may kill the participant.
    #[inline(always)]
    pub(crate) fn step() {}

    /// Asks for the cache line of `place`, to be changed soon. Otherwise the first look brings the line to be read, and
    /// the change asks for it a second time. Changes nothing, and no address faults.
    #[inline(always)]
    pub(crate) fn expect_to_write<T>(place: *const T) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: a prefetch neither faults nor changes memory, whatever the address. A processor that lacks
        // the instruction does nothing at its place.
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

    /// The lower or the upper half of a state of 64 bits, for the kernel alone.
    #[inline(always)]
    pub(crate) fn half(state: &AtomicU64, upper: bool) -> &AtomicU32 {
        let at = usize::from(upper == cfg!(target_endian = "little"));
        let half = core::ptr::from_ref(state).cast::<u32>().cast_mut().wrapping_add(at);
        // SAFETY: the half lies inside the state and is aligned for u32; nothing is accessed through the reference but
        // by the kernel's own atomic instructions.
        unsafe { AtomicU32::from_ptr(half) }
    }
}

/// Functions that are `const`, except under the model checker: its atomics are made as the program runs.
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
