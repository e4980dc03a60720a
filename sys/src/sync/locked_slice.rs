//! One lock around a slice in shared memory, whose length is chosen at run time.

use core::ptr::{NonNull, slice_from_raw_parts_mut};

use super::lock::Lock;
use super::scope::Shared;
use crate::errno::{Errno, Result};
use crate::fd::OwnedFd;
use crate::mmap::Region;
use crate::shm::{AttachError, Header, Init, Shareable, Shm, attach, len_of, make, value_in};

/// The header of a memory file with one lock around `len` values.
fn header_of<T: Shareable>(len: usize) -> Header {
    let layout = Lock::<[T], Shared>::layout(len);
    Header::of_unsized::<T, Lock<[T], Shared>>(layout, len, align_of::<Lock<T, Shared>>())
}

impl<T: Shareable> Shm<Lock<[T], Shared>> {
    /// Makes shared memory with one lock around `len` values; `init(index)` makes the value at `index`.
    ///
    /// # Errors
    /// As for [`place`](Shm::place); `ENOMEM` also when the length cannot be addressed.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::shm::Shm;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let squares = Shm::place_locked_slice(10, |index| (index * index) as u64)?;
    /// squares.lock()?[3..6].reverse();
    /// assert_eq!(squares.lock()?[2..7], [4, 25, 16, 9, 36]);
    /// # Ok(()) }
    /// ```
    pub fn place_locked_slice<I: Init<T>>(len: usize, init: impl FnMut(usize) -> I) -> Result<Self> {
        let header = header_of::<T>(len);
        if header.size == u64::MAX {
            return Err(Errno::NOMEM);
        }
        let (memory, region) = make(header)?;
        let value = locked_in::<T>(&region, len);
        // SAFETY: the region is new, large enough and aligned for a header and this lock (`header_of`), and
        // no other code has it.
        unsafe { Lock::init_slice(value.as_ptr(), init) }?;
        Ok(Self::over(value, region, memory))
    }

    /// Attaches to a locked slice that another process made. The maker chose the length.
    ///
    /// # Errors
    /// As for [`from_fd`](Shm::from_fd).
    ///
    /// # Safety
    /// As for [`from_fd`](Shm::from_fd).
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{fd::duplicate, shm::Shm, sync::{Lock, Shared}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let list = Shm::place_locked_slice(4, |index| index as u32)?;
    /// // SAFETY: the descriptor stays in this program, which maps it as what it is.
    /// let memory = duplicate(unsafe { list.descriptor() })?;
    /// // SAFETY: as above.
    /// let same = unsafe { Shm::<Lock<[u32], Shared>>::locked_slice_from_fd(memory) }?;
    /// list.lock()?[0] = 9;
    /// assert_eq!(same.lock()?[..], [9, 1, 2, 3]);
    /// # Ok(()) }
    /// ```
    pub unsafe fn locked_slice_from_fd(memory: OwnedFd) -> core::result::Result<Self, AttachError> {
        let len = len_of(&memory)?;
        let (memory, region) = attach(memory, header_of::<T>(len))?;
        Ok(Self::over(locked_in::<T>(&region, len), region, memory))
    }

    /// Maps the same memory a second time.
    ///
    /// # Errors
    /// `EMFILE` without descriptors, `ENOMEM` without room for the mapping.
    pub fn try_clone(&self) -> Result<Self> {
        let (memory, region) = self.map_again()?;
        Ok(Self::over(locked_in::<T>(&region, self.len()), region, memory))
    }
}

/// The lock around `len` values, after the header. `header_of` made room for it.
fn locked_in<T: Shareable>(region: &Region, len: usize) -> NonNull<Lock<[T], Shared>> {
    // The lock of one value is as aligned as that of a slice.
    let place = value_in::<Lock<T, Shared>>(region).as_ptr();
    // A pointer to a lock around a slice is its address and the slice's length.
    let place = slice_from_raw_parts_mut(place.cast::<T>(), len) as *mut Lock<[T], Shared>;
    // SAFETY: the address is that of a `NonNull`.
    unsafe { NonNull::new_unchecked(place) }
}
