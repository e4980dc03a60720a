//! Plain values in a mapped file that any process may write: copies, and single bytes as cells.

use core::mem::MaybeUninit;

use super::{Plain, Racy};
use crate::errno::Result;
use crate::mmap::{Protection, Region, copy};

/// Copies items out of a mapping, from byte `offset` on. `offset` need not be aligned.
///
/// As [`Region::copy_out`]: each byte is one that was stored there, but an item may be torn.
///
/// # Errors
/// `ERANGE` when the range is not within the region (nothing is copied), `EACCES` when it may not be read.
///
/// # Examples
/// ```
/// use ossature_sys::{mmap::Region, shm};
///
/// let region = Region::anonymous(100)?;
/// shm::copy_in(&region, 3, &[0.5, 1.5])?;
/// let mut items = [0.0_f64; 2];
/// shm::copy_out(&region, 3, &mut items)?;
/// assert_eq!(items, [0.5, 1.5]);
/// shm::cells(&region)?[0].set(7);
/// assert_eq!(shm::cells(&region)?[0].get(), 7);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn copy_out<T: Plain>(region: &Region, offset: usize, into: &mut [T]) -> Result<()> {
    let len = size_of_val(into);
    let from = region.range(offset, len, Protection::READ)?;
    // SAFETY: `range` found that many readable bytes there, mapped for as long as `region` is borrowed; `into` is ours
    // alone and as long, and every mixture of bytes is a valid item.
    unsafe { copy::load(from.as_ptr(), into.as_mut_ptr().cast(), len) };
    Ok(())
}

/// Copies items into a mapping, from byte `offset` on. `offset` need not be aligned.
///
/// # Errors
/// `ERANGE` when the range is not within the region (nothing is copied), `EACCES` when it may not be written.
///
/// # Examples
/// See the example of [`copy_out`].
pub fn copy_in<T: Plain>(region: &Region, offset: usize, items: &[T]) -> Result<()> {
    let len = size_of_val(items);
    let to = region.range(offset, len, Protection::WRITE)?;
    // SAFETY: `range` found that many writable bytes there, mapped for as long as `region` is borrowed; `items` is a
    // slice and so no shared memory, as long, and without padding.
    unsafe { copy::store(items.as_ptr().cast(), to.as_ptr(), len) };
    Ok(())
}

/// The bytes of a mapping as cells that any process may read and write at any time.
///
/// The cells are one byte wide, as the steps of a copy are.
///
/// # Errors
/// `EACCES` when the region may not be both read and written.
///
/// # Examples
/// See the example of [`copy_out`].
pub fn cells(region: &Region) -> Result<&[Racy<u8>]> {
    let start = region.range(0, region.len(), Protection::READ | Protection::WRITE)?;
    // SAFETY: `range` found that many readable and writable bytes there, mapped for as long as `region` is borrowed; a
    // cell has the layout of its byte, is only reached by atomics, and may be written through a shared reference.
    Ok(unsafe { core::slice::from_raw_parts(start.as_ptr().cast(), region.len()) })
}

/// Copies one value out of a mapping, from byte `offset` on. `offset` need not be aligned.
///
/// # Errors
/// As for [`copy_out`].
///
/// # Examples
/// ```
/// use ossature_sys::{mmap::Region, shm};
///
/// let region = Region::anonymous(100)?;
/// shm::copy_in(&region, 1, &[7_u64])?;
/// assert_eq!(shm::load::<u64>(&region, 1)?, 7);
/// assert!(shm::load::<u64>(&region, 93).is_err());
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[inline]
pub fn load<T: Plain>(region: &Region, offset: usize) -> Result<T> {
    let from = region.range(offset, size_of::<T>(), Protection::READ)?;
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: `range` found that many readable bytes there, mapped for as long as `region` is borrowed; `value` is ours
    // alone and as long.
    unsafe { copy::load(from.as_ptr(), value.as_mut_ptr().cast(), size_of::<T>()) };
    // SAFETY: every byte was written, and every mixture of bytes is a valid item.
    Ok(unsafe { value.assume_init() })
}

/// Copies one value into a mapping, from byte `offset` on. `offset` need not be aligned.
///
/// # Errors
/// As for [`copy_in`].
///
/// # Examples
/// ```
/// use ossature_sys::{mmap::Region, shm};
///
/// let region = Region::anonymous(100)?;
/// shm::store(&region, 3, [1_u16, 2, 3])?;
/// assert_eq!(shm::load::<[u16; 3]>(&region, 3)?, [1, 2, 3]);
/// assert!(shm::store(&region, 93, 7_u64).is_err());
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[inline]
pub fn store<T: Plain>(region: &Region, offset: usize, value: T) -> Result<()> {
    let to = region.range(offset, size_of::<T>(), Protection::WRITE)?;
    // SAFETY: `range` found that many writable bytes there, mapped for as long as `region` is borrowed; `value` is ours
    // alone, as long, and without padding.
    unsafe { copy::store((&raw const value).cast(), to.as_ptr(), size_of::<T>()) };
    Ok(())
}

/// The bytes of plain values.
///
/// # Examples
/// ```
/// use ossature_sys::shm;
///
/// let mut numbers = [1_u16, 2];
/// assert_eq!(shm::as_bytes(&numbers), [1_u16.to_ne_bytes(), 2_u16.to_ne_bytes()].concat());
/// shm::as_bytes_mut(&mut numbers).fill(0xff);
/// assert_eq!(numbers, [0xffff; 2]);
/// assert_eq!(shm::from_bytes::<u16>(&[7, 7]), Some(0x0707));
/// assert_eq!(shm::from_bytes::<u16>(&[7, 7, 7]), None);
/// # extern crate std;
/// ```
pub fn as_bytes<T: Plain>(items: &[T]) -> &[u8] {
    // SAFETY: the bytes are those of the slice, which is borrowed for the same time. A plain value has no padding, so
    // each byte was written.
    unsafe { core::slice::from_raw_parts(items.as_ptr().cast(), size_of_val(items)) }
}

/// The bytes of plain values as a mutable slice.
///
/// # Examples
/// See the example of [`as_bytes`].
pub fn as_bytes_mut<T: Plain>(items: &mut [T]) -> &mut [u8] {
    // SAFETY: the bytes are those of the slice, which is borrowed exclusively for the same time. A plain value has no
    // padding, and every mixture of bytes is a valid value.
    unsafe { core::slice::from_raw_parts_mut(items.as_mut_ptr().cast(), size_of_val(items)) }
}

/// The plain value of these bytes; `None` if their number is not the size of `T`.
///
/// # Examples
/// See the example of [`as_bytes`].
pub fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the number of bytes is the same, at any address, and every mixture of bytes is a valid value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}
