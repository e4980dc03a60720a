//! Mapped memory. A [`Region`] is unmapped when it is dropped, and records whether its bytes may change during a read.
//! It lends a slice only of bytes that cannot change.
//!
//! | made by | seen by | safe access |
//! | --- | --- | --- |
//! | [`Region::private`] | this process; forked children get a copy | [`as_mut_slice`](Region::as_mut_slice), copies |
//! | [`Region::anonymous`] | this process and the children it forks | copies, atomics |
//! | [`Region::shared`] | every process that has the memory file | copies, atomics |
//! | [`Region::sealed`] | every process that has the memory file; no process can write it any more | [`as_slice`](Region::as_slice), copies |
//! | [`Region::file_read`], [`Region::file_write`] | every process that opens the file | copies, atomics |
//! | [`Region::file_copy`] | this process sees its own changes | copies, atomics |
//! | [`Region::with_flags`] | as its [`Flags`] say, without a file | as for the first two |
//!
//! The types ensure that memory that others may write is never a `&[u8]`. [`copy_out`](Region::copy_out) and
//! [`copy_in`](Region::copy_in) move bytes as if each were loaded and stored by a relaxed atomic of its own, at the
//! speed of `memcpy`. What they read may be torn, it is never undefined. [`atomic_u32`](Region::atomic_u32) lends a
//! word for everything that needs order. There is one width only, because atomics of two widths must not meet on one
//! place. A copy over such a word may tear it, so give words and copied bytes places of their own.
//!
//! If a process shortens a mapped file, an access to the lost pages raises SIGBUS. Seal a memory file against that
//! ([`Seals::SHRINK`]), map only files that stay as long as they are, or copy by [`try_copy_out`](Region::try_copy_out)
//! and [`try_copy_in`](Region::try_copy_in), which return `EFAULT` instead.
//!
//! The `file_*` constructors are for programs without std. With std, `ossature::mmap::Mmap` maps files: it knows the
//! position of Python's `mmap`, and a cut file is an error of each of its calls.
//!
//! ```
//! use ossature_sys::mmap::Region;
//!
//! let region = Region::anonymous(10_000)?;
//! region.copy_in(9_990, b"0123456789")?;
//! let mut last = [0; 4];
//! region.copy_out(9_996, &mut last)?;
//! assert_eq!(&last, b"6789");
//! assert!(region.copy_in(9_991, b"0123456789").is_err());
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: mmap(2), memfd_create(2), madvise(2), mlock(2), msync(2), mremap(2), mprotect(2).

mod access;
pub(crate) mod copy;
mod flags;
mod manage;
pub(crate) mod memfd;
mod name;
mod page;
mod reference;
mod try_copy;

use core::ptr::NonNull;

use bitflags::bitflags;
use rustix::fs::FileType;
use rustix::mm::{MapFlags, ProtFlags};

use crate::errno::{Errno, Result, retry};
use crate::fd::{AsFd, BorrowedFd};
use crate::raw;

pub use flags::Flags;
pub use manage::{Advice, Discard, Inherit};
pub use memfd::{Memfd, Seals};
pub use page::page_size;
pub use reference::RegionRef;

bitflags! {
    /// The permitted access to the bytes of a [`Region`]; without any permission, every access faults.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Protection: u32 {
        /// The pages may be read.
        #[doc(alias = "PROT_READ")]
        const READ = ProtFlags::READ.bits();
        /// The pages may be written.
        #[doc(alias = "PROT_WRITE")]
        const WRITE = ProtFlags::WRITE.bits();
        /// The pages may be executed.
        #[doc(alias = "PROT_EXEC")]
        const EXEC = ProtFlags::EXEC.bits();
        const _ = !0;
    }
}

/// What a mapping is backed by, which determines what can be lent and whether the mapping can grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backing {
    /// Anonymous and private memory: no other process can access it.
    Private,
    /// Anonymous memory, shared with forked children: the kernel never lets it grow.
    Anonymous,
    /// A file, which any process may write or shorten.
    File,
    /// A memory file whose bytes and length are sealed.
    Sealed,
}

/// A mapping of this process, unmapped when dropped.
///
/// Differs from Python's `mmap`: it has no position, and an offset need not be a multiple of the page size. It is never
/// unmapped while a borrow of it lives.
///
/// # Examples
/// ```
/// use ossature_sys::mmap::{Memfd, Protection, Region};
///
/// let memory = Memfd::new(c"file")?;
/// ossature_sys::fd::write(&memory, b"some text")?;
/// let (read, written) = (Region::file_read(&memory, 5, 4)?, Region::file_write(&memory, 5, 4)?);
/// let copy = Region::file_copy(&memory, 5, 4)?;
/// copy.copy_in(0, b"copy")?; // not visible in the file
/// written.copy_in(0, b"file")?;
/// let mut bytes = [0; 4];
/// read.copy_out(0, &mut bytes)?;
/// assert_eq!(&bytes, b"file");
/// assert_eq!((read.len(), read.protection()), (4, Protection::READ));
/// assert!(!read.as_ptr().as_ptr().is_null());
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
pub struct Region {
    /// The first requested byte: up to a page after the start of the mapping.
    start: NonNull<u8>,
    len: usize,
    /// The distance of `start` from the start of the mapping.
    skew: usize,
    protection: Protection,
    backing: Backing,
    /// The page size of the mapping, a power of two.
    page: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread: any thread may use and unmap it.
unsafe impl Send for Region {}
// SAFETY: through `&Region` bytes are only reached by copies that act as relaxed atomics, by atomics, or, where no code
// can write, by `&[u8]`.
unsafe impl Sync for Region {}

impl Region {
    /// `mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)`: zeroed memory of this process
    /// alone.
    ///
    /// # Errors
    /// `EINVAL` when `len` is 0, `ENOMEM` when there is not enough memory or address space.
    ///
    /// # Examples
    /// See the example of [`as_mut_slice`](Self::as_mut_slice).
    #[doc(alias = "MAP_PRIVATE")]
    pub fn private(len: usize) -> Result<Self> {
        Self::map(None, 0, len, Protection::READ | Protection::WRITE, MapFlags::PRIVATE, Backing::Private)
    }

    /// `mmap(NULL, len, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0)`: zeroed memory of other kinds than
    /// [`private`](Self::private) and [`anonymous`](Self::anonymous).
    ///
    /// # Errors
    /// `EINVAL` when `len` is 0, when not exactly one of [`Flags::SHARED`] and [`Flags::PRIVATE`] is given, and for a
    /// flag that [`Flags`] does not name. Also for [`Flags::HUGETLB`] without a size or with [`Flags::NORESERVE`] (an
    /// access could end in SIGBUS), and for a size of pages that the machine does not have. `ENOMEM` when there is not
    /// that much memory, or when too few huge pages are set aside.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::{Flags, Region};
    ///
    /// let sparse = Region::with_flags(64 << 20, Flags::PRIVATE | Flags::NORESERVE)?;
    /// sparse.copy_in(40 << 20, b"here")?;
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn with_flags(len: usize, flags: Flags) -> Result<Self> {
        let page = flags.page()?;
        let backing = if flags.contains(Flags::SHARED) { Backing::Anonymous } else { Backing::Private };
        let (protection, flags) = (Protection::READ | Protection::WRITE, MapFlags::from_bits_retain(flags.bits()));
        Self::map_pages(None, 0, len, protection, flags, backing, page)
    }

    /// `mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)`: zeroed memory shared with children
    /// that are forked later.
    ///
    /// # Errors
    /// `EINVAL` when `len` is 0, `ENOMEM` when there is not enough memory or address space.
    #[doc(alias = "MAP_ANONYMOUS")]
    #[doc(alias = "MAP_SHARED")]
    pub fn anonymous(len: usize) -> Result<Self> {
        Self::map(None, 0, len, Protection::READ | Protection::WRITE, MapFlags::SHARED, Backing::Anonymous)
    }

    /// `mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)`: the first `len` bytes of a memory file, shared for
    /// reading and writing with all processes that map it.
    ///
    /// # Errors
    /// As [`file_write`](Self::file_write).
    ///
    /// # Examples
    /// See the example of [`Memfd`].
    pub fn shared(fd: impl AsFd, len: usize) -> Result<Self> {
        Self::file_write(fd, 0, len)
    }

    /// `mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0)`: the first `len` bytes of a memory file that is sealed with
    /// [`Seals::WRITE`] and [`Seals::SHRINK`], so that they may be lent as a slice.
    ///
    /// # Errors
    /// `EPERM` when one of the seals is missing, `EINVAL` when `len` is 0 or the descriptor takes no seals, `ERANGE`
    /// when the file is shorter.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::{Memfd, Region, Seals};
    ///
    /// let memory = Memfd::new(c"settled")?;
    /// ossature_sys::fd::write(&memory, b"for ever")?;
    /// memory.add_seals(Seals::WRITE | Seals::SHRINK)?;
    /// let region = Region::sealed(&memory, 8)?;
    /// assert_eq!(region.as_slice(), Some(&b"for ever"[..]));
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn sealed(fd: impl AsFd, len: usize) -> Result<Self> {
        let fd = fd.as_fd();
        if !memfd::seals_of(fd)?.contains(Seals::WRITE | Seals::SHRINK) {
            return Err(Errno::PERM);
        }
        // Private, because before Linux 6.7 a write-sealed file cannot be mapped shared at all.
        Self::map(Some(fd), 0, len, Protection::READ, MapFlags::PRIVATE, Backing::Sealed)
    }

    /// `mmap(NULL, len, PROT_READ, MAP_SHARED, fd, offset)`: part of a file, for reading.
    ///
    /// Differs from the C call: `offset` need not be a multiple of the page size. A range that is not within a regular
    /// file is refused instead of faulting later.
    ///
    /// # Errors
    /// `EINVAL` when `len` is 0, `ERANGE` when the range ends after the end of a regular file. `EACCES` when the
    /// descriptor is not open for reading, `ENODEV` when such a file cannot be mapped (a pipe, a directory), `ENOMEM`.
    pub fn file_read(fd: impl AsFd, offset: u64, len: usize) -> Result<Self> {
        Self::map(Some(fd.as_fd()), offset, len, Protection::READ, MapFlags::SHARED, Backing::File)
    }

    /// `mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset)`: part of a file; writes reach the file.
    ///
    /// Differs from the C call as [`file_read`](Self::file_read) does.
    ///
    /// # Errors
    /// As [`file_read`](Self::file_read); `EACCES` also when the descriptor is not open for reading and writing,
    /// `EPERM` when a seal forbids to write.
    #[doc(alias = "ACCESS_WRITE")]
    pub fn file_write(fd: impl AsFd, offset: u64, len: usize) -> Result<Self> {
        let protection = Protection::READ | Protection::WRITE;
        Self::map(Some(fd.as_fd()), offset, len, protection, MapFlags::SHARED, Backing::File)
    }

    /// `mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, offset)`: part of a file; writes stay in this process.
    ///
    /// Pages that were not written yet may still show what others write to the file. Differs from the C call as
    /// [`file_read`](Self::file_read) does.
    ///
    /// # Errors
    /// As [`file_read`](Self::file_read).
    #[doc(alias = "ACCESS_COPY")]
    pub fn file_copy(fd: impl AsFd, offset: u64, len: usize) -> Result<Self> {
        let protection = Protection::READ | Protection::WRITE;
        Self::map(Some(fd.as_fd()), offset, len, protection, MapFlags::PRIVATE, Backing::File)
    }

    fn map(
        fd: Option<BorrowedFd<'_>>,
        offset: u64,
        len: usize,
        protection: Protection,
        flags: MapFlags,
        backing: Backing,
    ) -> Result<Self> {
        Self::map_pages(fd, offset, len, protection, flags, backing, page_size())
    }

    fn map_pages(
        fd: Option<BorrowedFd<'_>>,
        offset: u64,
        len: usize,
        protection: Protection,
        flags: MapFlags,
        backing: Backing,
        page: usize,
    ) -> Result<Self> {
        if len == 0 {
            return Err(Errno::INVAL);
        }
        if let Some(fd) = fd {
            within_file(fd, offset, len)?;
        }
        // Less than a page, so it fits any usize.
        let skew = (offset % page_size() as u64) as usize;
        let whole = whole_len(skew, len, page).ok_or(Errno::NOMEM)?;
        let prot = ProtFlags::from_bits_retain(protection.bits());
        let null = core::ptr::null_mut();
        let base = retry(|| {
            raw::call("mmap", || match fd {
                // SAFETY: without MAP_FIXED the kernel chooses addresses that nothing else uses.
                Some(fd) => unsafe { rustix::mm::mmap(null, whole, prot, flags, fd, offset - skew as u64) },
                // SAFETY: as above.
                None => unsafe { rustix::mm::mmap_anonymous(null, whole, prot, flags) },
            })
        })?;
        let start = base.cast::<u8>().wrapping_add(skew);
        // Without MAP_FIXED mmap(2) never returns address 0.
        let start = NonNull::new(start).ok_or(Errno::NOMEM)?;
        Ok(Self { start, len, skew, protection, backing, page })
    }

    /// The mapping's first byte. Aligned to a page if the mapping begins at the start of a file or has no file.
    ///
    /// The memory may be written by others; see the module for what may be done with it.
    #[inline]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    /// The length in bytes, as requested and not rounded to pages; never 0.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a mapping has at least one byte")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The page size in bytes: [`page_size`], or the size of its [huge pages](Flags::HUGETLB).
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::{Region, page_size};
    ///
    /// assert_eq!(Region::private(100)?.page(), page_size());
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[inline]
    pub fn page(&self) -> usize {
        self.page
    }

    /// The permitted access to the bytes.
    #[inline]
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// Leaks the memory: it is mapped until the process ends.
    ///
    /// # Examples
    /// ```
    /// let for_ever = ossature_sys::mmap::Region::private(64)?.leak();
    /// assert_eq!(for_ever.len(), 64);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn leak(self) -> NonNull<[u8]> {
        let region = core::mem::ManuallyDrop::new(self);
        NonNull::slice_from_raw_parts(region.start, region.len)
    }

    /// The start of the mapping itself, at the start of a page.
    fn base(&self) -> *mut core::ffi::c_void {
        self.start.as_ptr().wrapping_sub(self.skew).cast()
    }

    /// The length of the mapping itself, whose end the kernel rounds to a page, but not to a huge page.
    fn whole(&self) -> usize {
        self.rounded(self.skew + self.len)
    }

    /// A length rounded up to the end of its last huge page; the kernel rounds ordinary pages.
    fn rounded(&self, len: usize) -> usize {
        // `whole_len` has found that the whole fits.
        if self.page == page_size() { len } else { len.next_multiple_of(self.page) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let (base, whole) = (self.base(), self.whole());
        // SAFETY: this value made (or moved) this mapping, and no code can use the value any more. Slices and atomics
        // lent from it borrow it, so none is left. munmap(2) changes nothing unless it succeeds, and it is called again
        // only if it failed.
        let unmap = || raw::call("munmap", || unsafe { rustix::mm::munmap(base, whole) });
        // It fails only if it would split what the kernel had merged and the process has too many mappings, which
        // another thread may be reducing. After the second failure the memory stays mapped, without further harm.
        let _ = unmap().or_else(|_| unmap());
    }
}

/// The length to map, or `None` if it exceeds the range of a pointer.
fn whole_len(skew: usize, len: usize, page: usize) -> Option<usize> {
    let whole = skew.checked_add(len)?;
    // Rust's pointers span at most isize::MAX bytes; the kernel rounds up to a page, and wants huge pages whole.
    let fits = whole <= (isize::MAX as usize).checked_sub(page)?;
    let whole = if page == page_size() { whole } else { whole.checked_next_multiple_of(page)? };
    fits.then_some(whole)
}

/// Refuses a range that exceeds a regular file, because its pages would fault.
fn within_file(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Result<()> {
    let stat = raw::call("fstat", || rustix::fs::fstat(fd))?;
    let end = offset.checked_add(len as u64).ok_or(Errno::RANGE)?;
    let size = u64::try_from(stat.st_size).map_err(|_| Errno::OVERFLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && end > size {
        return Err(Errno::RANGE);
    }
    Ok(())
}
