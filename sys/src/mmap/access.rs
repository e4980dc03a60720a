//! Access to the bytes: checked ranges, copies, atomics, and slices where no other code can write.
//!
//! Safe code reaches a byte that others may write in two ways only. *Copies* act as if each byte were a relaxed atomic
//! of its own, in assembly where that is faster. *Atomics* have one width, four bytes at multiples of four, so two of
//! them are the same place or do not overlap. The language does not define overlapping atomics of different widths. A
//! copy beside an atomic on the same bytes may read or write half of a word, and orders nothing. Finish one kind of
//! access before using the other.

use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;

use super::{Backing, Protection, Region, copy};
use crate::errno::{Errno, Result};

impl Region {
    /// Copies `into.len()` bytes from `offset` on out of the memory.
    ///
    /// Sound under concurrent writes: each byte is one that was stored there, but a value of several bytes may be torn.
    ///
    /// # Errors
    /// `ERANGE` when the range is not within the region (nothing is copied), `EACCES` when it may not be read.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::Region;
    ///
    /// let region = Region::anonymous(100)?;
    /// region.fill(0, 100, b'.')?;
    /// region.copy_in(2, b"bones")?;
    /// let mut start = [0; 8];
    /// region.copy_out(0, &mut start)?;
    /// assert_eq!(&start, b"..bones.");
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[inline]
    pub fn copy_out(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        let from = self.range(offset, into.len(), Protection::READ)?;
        // SAFETY: `range` found that many readable bytes there, mapped for as long as `self` is borrowed; `into` is
        // ours alone.
        unsafe { copy::load(from.as_ptr(), into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Copies `bytes` into the memory from `offset` on.
    ///
    /// Sound under concurrent reads and writes; others may see the bytes arrive in any order.
    ///
    /// # Errors
    /// `ERANGE` when the range is not within the region (nothing is copied), `EACCES` when it may not be written.
    #[inline]
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        let to = self.range(offset, bytes.len(), Protection::WRITE)?;
        // SAFETY: `range` found that many writable bytes there, mapped for as long as `self` is borrowed; `bytes` is a
        // slice and so no shared memory.
        unsafe { copy::store(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Stores `byte` in `len` bytes from `offset` on.
    ///
    /// # Errors
    /// `ERANGE` when the range is not within the region (nothing is stored), `EACCES` when it may not be written.
    ///
    /// # Examples
    /// See the example of [`copy_out`](Self::copy_out).
    #[inline]
    pub fn fill(&self, offset: usize, len: usize, byte: u8) -> Result<()> {
        let to = self.range(offset, len, Protection::WRITE)?;
        // SAFETY: `range` found that many writable bytes there, mapped for as long as `self` is borrowed.
        unsafe { copy::fill(to.as_ptr(), len, byte) };
        Ok(())
    }

    /// The four bytes at `offset` as an atomic number, in the byte order of this machine.
    ///
    /// # Errors
    /// `ERANGE` when they are not within the region, `EINVAL` when their address is not a multiple of 4, `EACCES` when
    /// they may not be both read and written.
    ///
    /// # Examples
    /// ```
    /// use core::sync::atomic::Ordering::SeqCst;
    ///
    /// let region = ossature_sys::mmap::Region::anonymous(64)?;
    /// region.atomic_u32(8)?.fetch_add(7, SeqCst);
    /// assert_eq!(region.atomic_u32(8)?.load(SeqCst), 7);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[inline]
    pub fn atomic_u32(&self, offset: usize) -> Result<&AtomicU32> {
        let place = self.aligned::<AtomicU32>(offset)?;
        // SAFETY: readable, writable and aligned, says `aligned`; every number is valid; mapped for as long as `self`
        // is borrowed; in safe code bytes are reached only by atomics of this width and by copies that act as atomics.
        Ok(unsafe { place.as_ref() })
    }

    /// `N` numbers of four bytes each from `offset` on, found with one check.
    ///
    /// # Errors
    /// As for [`atomic_u32`](Self::atomic_u32).
    #[inline]
    pub(crate) fn atomics_u32<const N: usize>(&self, offset: usize) -> Result<&[AtomicU32; N]> {
        let place = self.aligned::<[AtomicU32; N]>(offset)?;
        // SAFETY: as in `atomic_u32`; an array has the alignment of its items, and no bytes between them.
        Ok(unsafe { place.as_ref() })
    }

    /// The bytes as a slice, if they cannot change: only for [`Region::sealed`].
    #[inline]
    pub fn as_slice(&self) -> Option<&[u8]> {
        let settled = self.backing == Backing::Sealed && self.protection.contains(Protection::READ);
        // SAFETY: the file was found sealed against writing and shrinking, and seals are never taken back; the mapping
        // is private and `protect` never makes it writable.
        settled.then(|| unsafe { self.as_slice_unchecked() })
    }

    /// The bytes as a mutable slice, if no other code can access them: only for [`Region::private`] while it is
    /// readable and writable.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::Region;
    ///
    /// let mut region = Region::private(100)?;
    /// region.as_mut_slice().expect("no other code reaches it")[..5].copy_from_slice(b"bones");
    /// assert!(Region::anonymous(100)?.as_mut_slice().is_none(), "a forked child reaches it");
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[inline]
    pub fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        let ours = self.backing == Backing::Private && self.protection.contains(Protection::READ | Protection::WRITE);
        // SAFETY: anonymous private memory is seen by no other process, and `&mut self` excludes every other way to it
        // here.
        ours.then(|| unsafe { self.as_mut_slice_unchecked() })
    }

    /// The bytes of any region as a slice.
    ///
    /// # Safety
    /// While the slice lives:
    /// * the region may be read;
    /// * nothing writes these bytes: no other process, no other mapping of the same file, no [`copy_in`](Self::copy_in)
    ///   and no atomic;
    /// * nothing shortens the file.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::{Memfd, Region};
    ///
    /// let memory = Memfd::new(c"alone")?;
    /// memory.set_len(100)?;
    /// let mut region = Region::shared(&memory, 100)?;
    /// // SAFETY: no other code has the descriptor, so nothing reads, writes or shortens the file.
    /// let bytes = unsafe { region.as_mut_slice_unchecked() };
    /// bytes[0] = 7;
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { region.as_slice_unchecked() }[..2], [7, 0]);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[inline]
    pub unsafe fn as_slice_unchecked(&self) -> &[u8] {
        // SAFETY: mapped for as long as `self` is borrowed, at most isize::MAX bytes, initialised by the kernel;
        // unchanged, as the caller promises.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes of any region as a mutable slice.
    ///
    /// # Safety
    /// While the slice lives:
    /// * the region may be read and written;
    /// * nothing else reads or writes these bytes: no other process and no other mapping of the same file;
    /// * nothing shortens the file.
    ///
    /// # Examples
    /// See the example of [`as_slice_unchecked`](Self::as_slice_unchecked).
    #[inline]
    pub unsafe fn as_mut_slice_unchecked(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice_unchecked`; no other code reaches the bytes, as the caller promises.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The start of `len` bytes at `offset`, if they are within the region and allow `access`.
    #[inline]
    pub(crate) fn range(&self, offset: usize, len: usize, access: Protection) -> Result<NonNull<u8>> {
        if offset > self.len || len > self.len - offset {
            return Err(Errno::RANGE);
        }
        if !self.protection.contains(access) {
            return Err(Errno::ACCESS);
        }
        // SAFETY: `offset` is at most the length of this one mapping, which is at most isize::MAX.
        Ok(unsafe { self.start.add(offset) })
    }

    #[inline]
    fn aligned<T>(&self, offset: usize) -> Result<NonNull<T>> {
        let place = self.range(offset, size_of::<T>(), Protection::READ | Protection::WRITE)?.cast::<T>();
        if place.is_aligned() { Ok(place) } else { Err(Errno::INVAL) }
    }
}
