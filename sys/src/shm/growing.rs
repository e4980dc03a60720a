//! Memory of a fixed size whose pages are allocated when they are needed.
//!
//! The file has its whole size from the beginning and is sealed, so every process can map all of it at once. But only
//! the parts that were [backed](Growing::back) have pages. A part must be backed before its use, so a full machine is
//! an error there and not a SIGBUS later.

use core::ffi::c_void;
use core::ptr::NonNull;

use super::header::{self, Header, SEALS, attach};
use super::{AttachError, Shareable};
use crate::errno::{Errno, Result, retry};
use crate::fd::{AsFd, BorrowedFd, OwnedFd, above_standard, duplicate};
use crate::mmap::{Memfd, Region, memfd, page_size};
use crate::process::{Resource, rlimit};
use crate::raw;

/// The memory: a header, a `T`, and more bytes after it.
#[derive(Debug)]
pub(crate) struct Growing {
    region: Option<Region>,
    memory: OwnedFd,
}

impl Growing {
    /// Makes memory for a `T` and `more` bytes after it, all zero. Attaching processes read `len`. Only the header has
    /// pages at first.
    pub(crate) fn make<T: Shareable>(more: usize, len: usize) -> Result<Self> {
        let header = Header::of_growing::<T>(more, len);
        let bytes =
            usize::try_from(header.size).ok().filter(|&bytes| bytes <= isize::MAX as usize).ok_or(Errno::NOMEM)?;
        let memory = Memfd::new(c"ossature")?;
        if rlimit(Resource::Fsize)?.current.is_some_and(|most| header.size > most) {
            return Err(Errno::FBIG);
        }
        memory.set_len(header.size)?;
        let region = Region::shared(&memory, bytes)?;
        let memory = Self { region: Some(region), memory: above_standard(memory.into())? };
        memory.back(0, size_of::<Header>())?;
        // SAFETY: the region is new, page-aligned and longer than a header, which has pages.
        unsafe { memory.start().cast::<Header>().write(header) };
        retry(|| raw::call("fcntl", || rustix::fs::fcntl_add_seals(&memory.memory, rustix_seals())))?;
        header::own(memory.memory.as_fd());
        Ok(memory)
    }

    /// Makes memory for only a `T`, with pages for the first `T::BACKED` bytes of the `T`, and for the bytes from
    /// `T::BACKED_FROM` on.
    pub(super) fn make_for<T: Shareable>() -> Result<(OwnedFd, Region)> {
        let memory = Self::make::<T>(0, 1)?;
        memory.back(Self::offset::<T>(), T::BACKED.min(size_of::<T>()))?;
        if let Some(last @ 1..) = size_of::<T>().checked_sub(T::BACKED_FROM) {
            memory.back(Self::offset::<T>() + T::BACKED_FROM, last)?;
        }
        let Self { region, memory } = memory;
        Ok((memory, region.ok_or(Errno::NOMEM)?))
    }

    /// Attaches to such memory that another process made, and returns the `len` of its maker. `more` computes the
    /// number of bytes after the `T`.
    pub(crate) fn attach<T: Shareable>(
        memory: OwnedFd,
        more: impl FnOnce(usize) -> Option<usize>,
    ) -> core::result::Result<(Self, usize), AttachError> {
        let len = header::len_of(&memory)?;
        let more = more(len).ok_or(AttachError::OtherType)?;
        let (memory, region) = attach(memory, Header::of_growing::<T>(more, len))?;
        Ok((Self { region: Some(region), memory }, len))
    }

    /// The mapping and the descriptor.
    pub(crate) fn into_parts(self) -> (Option<Region>, OwnedFd) {
        (self.region, self.memory)
    }

    /// A second mapping of the same memory.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let memory = above_standard(duplicate(&self.memory)?)?;
        let region = Region::shared(&memory, self.region.as_ref().map_or(0, Region::len))?;
        Ok(Self { region: Some(region), memory })
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    fn start(&self) -> NonNull<u8> {
        self.region.as_ref().map_or(NonNull::dangling(), Region::as_ptr)
    }

    /// The address of the `T`.
    pub(crate) fn value<T>(&self) -> NonNull<T> {
        // SAFETY: the region is longer than the value's offset (`Header::of_growing`).
        unsafe { self.start().add(Self::offset::<T>()) }.cast()
    }

    /// The offset of the `T` in the file.
    pub(crate) const fn offset<T>() -> usize {
        Header::value_offset(align_of::<T>())
    }

    /// `fallocate(memory, 0, offset, len)`: allocates pages for a part of the file, in steps. Existing content does not
    /// change.
    ///
    /// # Errors
    /// `ENOSPC` and `ENOMEM` without memory.
    pub(crate) fn back(&self, offset: usize, len: usize) -> Result<()> {
        let (offset, len) = (offset as u64, len as u64);
        memfd::allocate(self.memory.as_fd(), offset, offset.saturating_add(len))
    }

    /// `fallocate(memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len)`: frees the pages of a part of the
    /// file, which then reads as zero.
    ///
    /// # Errors
    /// `ENOMEM` without memory for the kernel itself.
    pub(crate) fn punch(&self, offset: usize, len: usize) -> Result<()> {
        let end = offset.saturating_add(len);
        memfd::punch(self.memory.as_fd(), offset as u64, end as u64)
    }

    /// Never unmaps the memory: the kernel still knows addresses in it.
    pub(crate) fn leak(&mut self) {
        self.region.take().map(Region::leak);
    }
}

/// Allocates the pages of mapped memory before its first use: `madvise(part, len, MADV_POPULATE_WRITE)`.
///
/// # Errors
/// `ENOMEM`, or `EFAULT` where a touch would end in SIGBUS: there is not enough memory. `EINVAL` before Linux 5.14.
pub(crate) fn populate<T>(part: &[T]) -> Result<()> {
    let range = part.as_ptr_range();
    let skew = range.start.addr() % page_size();
    let base = range.start.cast::<c_void>().wrapping_byte_sub(skew).cast_mut();
    let len = range.end.addr() - range.start.addr() + skew;
    let populate = || {
        // SAFETY: the pages are mapped, because the part is in them, and their contents stay.
        unsafe { rustix::mm::madvise(base, len, rustix::mm::Advice::LinuxPopulateWrite) }
    };
    if part.is_empty() { Ok(()) } else { retry(|| raw::call("madvise", populate)) }
}

fn rustix_seals() -> rustix::fs::SealFlags {
    rustix::fs::SealFlags::from_bits_retain(SEALS.bits())
}
