//! Values whose number is known at run time.

use core::ptr::NonNull;

use super::header::{self, Header};
use super::{AttachError, Init, Shareable, Shm, attach, make, value_in};
use crate::errno::{Errno, Result};
use crate::fd::OwnedFd;

impl<T: Shareable> Shm<[T]> {
    /// Makes shared memory with `len` values in it: `init(index)` returns the initialiser of the value at `index`.
    ///
    /// # Errors
    /// As for [`place`](Shm::place); `ENOMEM` also when the length cannot be addressed.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{fd::duplicate, shm::{Racy, Shm}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let squares = Shm::place_slice(10, |index| Racy::new((index * index) as u32))?;
    /// // SAFETY: the descriptor stays in this program, which maps it as what it is.
    /// let memory = duplicate(unsafe { squares.descriptor() })?;
    /// // SAFETY: as above.
    /// let same = unsafe { Shm::<[Racy<u32>]>::slice_from_fd(memory) }?;
    /// squares[3].set(7);
    /// assert_eq!((same.len(), same[3].get(), same.try_clone()?[9].get()), (10, 7, 81));
    /// # Ok(()) }
    /// ```
    pub fn place_slice<I: Init<T>>(len: usize, mut init: impl FnMut(usize) -> I) -> Result<Self> {
        let header = Header::of_slice::<T>(len);
        if header.size == u64::MAX {
            return Err(Errno::NOMEM);
        }
        let (memory, region) = make(header)?;
        let first = value_in::<T>(&region);
        for index in 0..len {
            // SAFETY: the region has room for `len` values, and `index` is below it.
            let place = unsafe { first.add(index) };
            // SAFETY: as in `place`.
            unsafe { init(index).init(place.as_ptr()) }?;
        }
        Ok(Self::over(NonNull::slice_from_raw_parts(first, len), region, memory))
    }

    /// Attaches to a slice that another process made; the maker has set the length.
    ///
    /// # Errors
    /// As for [`from_fd`](Shm::from_fd).
    ///
    /// # Safety
    /// As for [`from_fd`](Shm::from_fd).
    ///
    /// # Examples
    /// See the example of [`place_slice`](Shm::place_slice).
    pub unsafe fn slice_from_fd(memory: OwnedFd) -> core::result::Result<Self, AttachError> {
        let len = header::len_of(&memory)?;
        let (memory, region) = attach(memory, Header::of_slice::<T>(len))?;
        let value = NonNull::slice_from_raw_parts(value_in::<T>(&region), len);
        Ok(Self::over(value, region, memory))
    }

    /// A second mapping of the same memory.
    ///
    /// # Errors
    /// `EMFILE` without descriptors, `ENOMEM` without room for the mapping.
    pub fn try_clone(&self) -> Result<Self> {
        let (memory, region) = self.map_again()?;
        let value = NonNull::slice_from_raw_parts(value_in::<T>(&region), self.len());
        Ok(Self::over(value, region, memory))
    }
}
