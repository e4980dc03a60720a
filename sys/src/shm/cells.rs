//! Several racy cells at once: copies in and out, without a lock and without a reference to the data.

use core::fmt;

use super::racy::Racy;
use super::shareable::Plain;
use crate::mmap::copy;

/// Copies between ordinary memory and cells that any thread of any process may write.
///
/// Under concurrent writes, every byte that is copied out is one that was stored there. But a copy is not a single
/// operation: others may see half of it. An item that is wider than a byte may be seen half copied, too. For order or
/// whole items take a [`Lock`](crate::sync::lock::Lock).
///
/// ```
/// use ossature_sys::shm::{Racy, RacySlice, Shm};
///
/// let cells = Shm::place_slice(10, |index| Racy::new(index as u32))?;
/// cells.copy_in(2, &[20, 30, 40]).unwrap();
/// let mut four = [0; 4];
/// cells.copy_out(1, &mut four).unwrap();
/// assert_eq!(four, [1, 20, 30, 40]);
/// cells[..5].set_all(7);
/// assert_eq!((cells[4].get(), cells[5].get()), (7, 5));
///
/// let error = cells.copy_in(8, &[0; 3]).unwrap_err();
/// assert_eq!(error.to_string(), "index 10 is out of range: there are 10 items");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub trait RacySlice<T: Plain> {
    /// Copies `into.len()` items from `start` on out of the cells.
    ///
    /// # Errors
    /// [`OutOfBounds`] when they are not all there; nothing is copied then.
    fn copy_out(&self, start: usize, into: &mut [T]) -> Result<(), OutOfBounds>;

    /// Copies `items` into the cells from `start` on.
    ///
    /// # Errors
    /// [`OutOfBounds`] when there are not enough cells; nothing is copied then.
    fn copy_in(&self, start: usize, items: &[T]) -> Result<(), OutOfBounds>;

    /// Stores `value` in every cell.
    fn set_all(&self, value: T);
}

impl<T: Plain> RacySlice<T> for [Racy<T>] {
    #[inline]
    fn copy_out(&self, start: usize, into: &mut [T]) -> Result<(), OutOfBounds> {
        let cells = part(self, start, into.len())?;
        if copy::IS_ASSEMBLY {
            let (from, to) = (cells.as_ptr().cast(), into.as_mut_ptr().cast());
            // SAFETY: both have the same number of bytes (`part`) and do not overlap, since `into` is borrowed
            // exclusively. A cell has the layout of its value, of which every bit pattern is valid.
            unsafe { copy::load(from, to, size_of_val(cells)) };
        } else {
            cells.iter().zip(into).for_each(|(cell, item)| *item = cell.get());
        }
        Ok(())
    }

    #[inline]
    fn copy_in(&self, start: usize, items: &[T]) -> Result<(), OutOfBounds> {
        let cells = part(self, start, items.len())?;
        if copy::IS_ASSEMBLY {
            let (from, to) = (items.as_ptr().cast(), cells.as_ptr().cast::<u8>().cast_mut());
            // SAFETY: both have the same number of bytes (`part`). `items` is not written, so it does not overlap the
            // cells. A plain value has no padding. Cells may be written through a shared reference.
            unsafe { copy::store(from, to, size_of_val(cells)) };
        } else {
            cells.iter().zip(items).for_each(|(cell, item)| cell.set(*item));
        }
        Ok(())
    }

    fn set_all(&self, value: T) {
        self.iter().for_each(|cell| cell.set(value));
    }
}

#[inline]
fn part<T: Plain>(cells: &[Racy<T>], start: usize, count: usize) -> Result<&[Racy<T>], OutOfBounds> {
    let wanted = cells.get(start..).and_then(|rest| rest.get(..count));
    wanted.ok_or(OutOfBounds { index: start.saturating_add(count.saturating_sub(1)), len: cells.len() })
}

/// An index beyond the last item.
///
/// # Examples
/// ```
/// use ossature_sys::shm::{OutOfBounds, Racy, RacySlice};
///
/// let cells = [const { Racy::new(0_u8) }; 4];
/// assert_eq!(cells.copy_in(2, &[1; 3]), Err(OutOfBounds { index: 4, len: 4 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds {
    /// The highest requested index.
    pub index: usize,
    /// The number of items.
    pub len: usize,
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index {} is out of range: there are {} items", self.index, self.len)
    }
}

impl core::error::Error for OutOfBounds {}
