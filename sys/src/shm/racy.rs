//! A cell in shared memory for use without a lock.
//!
//! [`RacySlice`](super::RacySlice) reads and writes several at a time.
//!
//! Reads and writes go through atomics of one fixed width, so a race is not undefined behaviour. The width is the
//! type's alignment, at most that of the machine word. A value of that width is read whole; a wider one may be seen
//! half old and half new.

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use super::fingerprint::{Description, Fingerprint};
use super::shareable::{Init, Plain, Shareable, Zeroed};
use crate::errno::Result;

/// A plain value that any thread of any process may read and write at any time.
///
/// Differs from Python's `RawValue` only in that a value wider than a machine word may be seen torn, as it may there.
///
/// # Examples
/// ```
/// use ossature_sys::shm::{Racy, Shm};
///
/// let progress = Shm::place(Racy::new(0.0_f64))?;
/// progress.set(0.5);
/// assert_eq!(progress.try_clone()?.get(), 0.5);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[repr(transparent)]
pub struct Racy<T: Plain>(UnsafeCell<T>);

// SAFETY: every access goes through atomics, and any mixture of bytes is a valid `T`.
unsafe impl<T: Plain> Sync for Racy<T> {}

// SAFETY: transparent around a Plain value.
unsafe impl<T: Plain> Shareable for Racy<T> {
    const FINGERPRINT: Fingerprint = Description::of("racy").part(T::FINGERPRINT).fingerprint();
}

// SAFETY: transparent around a plain value, for which zeroes are valid.
unsafe impl<T: Plain> Init<Racy<T>> for Zeroed {
    unsafe fn init(self, place: *mut Racy<T>) -> Result<()> {
        // SAFETY: the caller's obligation; the cell has the layout of its value.
        unsafe { Init::<T>::init(self, place.cast()) }
    }
}

// SAFETY: the cell is moved into the place.
unsafe impl<T: Plain> Init<Racy<T>> for Racy<T> {
    unsafe fn init(self, place: *mut Racy<T>) -> Result<()> {
        // SAFETY: the caller's obligation.
        unsafe { place.write(self) };
        Ok(())
    }
}

macro_rules! by_width {
    ($align:expr, $do:ident!($($argument:tt)*)) => {
        match $align {
            1 => $do!(AtomicU8, $($argument)*),
            2 => $do!(AtomicU16, $($argument)*),
            4 => $do!(AtomicU32, $($argument)*),
            _ => $do!(AtomicU64, $($argument)*),
        }
    };
}

impl<T: Plain> Racy<T> {
    /// A cell with this value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The current value.
    #[inline]
    pub fn get(&self) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        let (from, to) = (self.0.get(), value.as_mut_ptr());
        macro_rules! read {
            ($atomic:ident, $from:ident, $to:ident) => {
                for index in 0..size_of::<T>() / size_of::<$atomic>() {
                    let place = $from.cast::<$atomic>().wrapping_add(index);
                    // SAFETY: inside the cell, aligned as the cell is, and only ever accessed by atomics of this width.
                    let part = unsafe { &*place }.load(Relaxed);
                    // SAFETY: inside `value`, which is as large and as aligned.
                    unsafe { $to.cast::<$atomic>().wrapping_add(index).write($atomic::new(part)) };
                }
            };
        }
        by_width!(align_of::<T>(), read!(from, to));
        // SAFETY: size is a multiple of alignment, so every byte was written; every bit pattern is a `T`.
        unsafe { value.assume_init() }
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&self, value: T) {
        let (from, to) = (&raw const value, self.0.get());
        macro_rules! write {
            ($atomic:ident, $from:ident, $to:ident) => {
                for index in 0..size_of::<T>() / size_of::<$atomic>() {
                    // SAFETY: inside `value`; a plain value has no padding, so every byte is initialised.
                    let part = unsafe { $from.cast::<$atomic>().wrapping_add(index).read() }.into_inner();
                    let place = $to.cast::<$atomic>().wrapping_add(index);
                    // SAFETY: as in `get`.
                    unsafe { &*place }.store(part, Relaxed);
                }
            };
        }
        by_width!(align_of::<T>(), write!(from, to));
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Racy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Racy").field(&self.get()).finish()
    }
}
