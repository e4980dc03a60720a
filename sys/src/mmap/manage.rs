//! Calls on a region: advice, locks, write-back, protection, a new length.

use core::ffi::{c_int, c_void};
use core::ptr::NonNull;

use rustix::mm::{MlockFlags, MprotectFlags, MremapFlags};

use super::{Backing, Protection, Region, whole_len};
use crate::errno::{Errno, Result, retry};
use crate::raw;

use rustix::mm::Advice as Raw;

/// How a range will be used. Such advice never changes the content.
///
/// # Examples
/// ```
/// use ossature_sys::mmap::{Advice, Region};
///
/// let region = Region::private(1 << 20)?;
/// region.advise(0, region.len(), Advice::Random)?;
/// region.advise(0, region.len(), Advice::DontDump)?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// No special treatment.
    #[doc(alias = "MADV_NORMAL")]
    Normal,
    /// Pages are accessed in random order: do not read ahead.
    #[doc(alias = "MADV_RANDOM")]
    Random,
    /// Pages are accessed in order: read far ahead, drop soon.
    #[doc(alias = "MADV_SEQUENTIAL")]
    Sequential,
    /// The range is needed soon: start to read it.
    #[doc(alias = "MADV_WILLNEED")]
    WillNeed,
    /// The kernel may merge equal pages (`EINVAL` where the kernel was built without merging).
    #[doc(alias = "MADV_MERGEABLE")]
    Mergeable,
    /// Undoes `Mergeable`.
    #[doc(alias = "MADV_UNMERGEABLE")]
    Unmergeable,
    /// Use huge pages (`EINVAL` where the kernel was built without).
    #[doc(alias = "MADV_HUGEPAGE")]
    HugePage,
    /// Do not use huge pages.
    #[doc(alias = "MADV_NOHUGEPAGE")]
    NoHugePage,
    /// Leave the range out of a core dump.
    #[doc(alias = "MADV_DONTDUMP")]
    DontDump,
    /// Undoes `DontDump`.
    #[doc(alias = "MADV_DODUMP")]
    DoDump,
    /// The range is not needed for a while: reclaim it first.
    #[doc(alias = "MADV_COLD")]
    Cold,
    /// Reclaim the range now; the next access reads it back.
    #[doc(alias = "MADV_PAGEOUT")]
    PageOut,
    /// Make the pages readable now (`EINVAL` before Linux 5.14).
    #[doc(alias = "MADV_POPULATE_READ")]
    PopulateRead,
    /// Make the pages writable now (`EINVAL` before Linux 5.14).
    #[doc(alias = "MADV_POPULATE_WRITE")]
    PopulateWrite,
}

/// Advice that discards the content of a range.
///
/// # Examples
/// ```
/// use ossature_sys::mmap::{Discard, Region};
///
/// let mut region = Region::private(4096)?;
/// region.copy_in(0, b"bones")?;
/// // SAFETY: no code relies on these bytes any more.
/// unsafe { region.discard(0, 4096, Discard::DontNeed) }?;
/// assert_eq!(region.as_mut_slice().expect("no other code reaches it")[..5], [0; 5]);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Discard {
    /// Drop the pages now: private memory reads as zero, a file is read again.
    #[doc(alias = "MADV_DONTNEED")]
    DontNeed,
    /// The pages may be dropped at any later time, until they are written: private anonymous memory only.
    #[doc(alias = "MADV_FREE")]
    Free,
    /// Remove the pages and their space in the file: a hole that reads as zero.
    #[doc(alias = "MADV_REMOVE")]
    Remove,
    /// Treat the page like broken hardware: for privileged tests.
    #[doc(alias = "MADV_HWPOISON")]
    Poison,
}

/// The content of a range in a forked child.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::{mmap::{Inherit, Region}, process::fork};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secret = Region::private(4096)?;
/// secret.copy_in(0, b"key")?;
/// // SAFETY: a forked child neither uses nor drops the region: the child ends by its closure.
/// unsafe { secret.inherit(0, 4096, Inherit::Zeros) }?;
/// assert!(fork(|| 0)?.wait()?.success());
/// let mut bytes = [0; 3];
/// secret.copy_out(0, &mut bytes)?;
/// assert_eq!(&bytes, b"key");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Inherit {
    /// The same content as in the parent: undoes `Nothing`.
    #[doc(alias = "MADV_DOFORK")]
    Pages,
    /// No mapping at all.
    #[doc(alias = "MADV_DONTFORK")]
    Nothing,
    /// Zeros: private anonymous memory only.
    #[doc(alias = "MADV_WIPEONFORK")]
    Zeros,
    /// The same content as in the parent: undoes `Zeros`.
    #[doc(alias = "MADV_KEEPONFORK")]
    Contents,
}

impl Region {
    /// `madvise(...)`: announces the use of the pages of a range. The range is widened to whole pages.
    ///
    /// # Errors
    /// `ERANGE` when the range is not within the region, `EINVAL` when the kernel does not know the advice or it does
    /// not fit this memory. `EAGAIN` and `ENOMEM` when the kernel is short of memory.
    ///
    /// # Examples
    /// See the example of [`Advice`].
    #[doc(alias = "madvise")]
    pub fn advise(&self, offset: usize, len: usize, advice: Advice) -> Result<()> {
        let advice = match advice {
            Advice::Normal => Raw::Normal,
            Advice::Random => Raw::Random,
            Advice::Sequential => Raw::Sequential,
            Advice::WillNeed => Raw::WillNeed,
            Advice::Mergeable => Raw::LinuxMergeable,
            Advice::Unmergeable => Raw::LinuxUnmergeable,
            Advice::HugePage => Raw::LinuxHugepage,
            Advice::NoHugePage => Raw::LinuxNoHugepage,
            Advice::DontDump => Raw::LinuxDontDump,
            Advice::DoDump => Raw::LinuxDoDump,
            Advice::Cold => Raw::LinuxCold,
            Advice::PageOut => Raw::LinuxPageOut,
            Advice::PopulateRead => Raw::LinuxPopulateRead,
            Advice::PopulateWrite => Raw::LinuxPopulateWrite,
        };
        let (base, len) = self.pages(offset, len)?;
        // SAFETY: the range is within this mapping and no such advice changes its contents or unmaps it.
        unsafe { madvise(base, len, advice) }
    }

    /// `madvise(...)`: discards the content of the pages of a range. The range is widened to whole pages.
    ///
    /// # Errors
    /// As [`advise`](Self::advise).
    ///
    /// # Safety
    /// * These pages contain no value that is still needed, and none will be put there until the advice has taken
    ///   effect.
    /// * With [`Discard::Poison`]: no code uses the pages again.
    ///
    /// # Examples
    /// See the example of [`Discard`].
    pub unsafe fn discard(&self, offset: usize, len: usize, how: Discard) -> Result<()> {
        let advice = match how {
            Discard::DontNeed => Raw::LinuxDontNeed,
            Discard::Free => Raw::LinuxFree,
            Discard::Remove => Raw::LinuxRemove,
            Discard::Poison => Raw::LinuxHwPoison,
        };
        let (base, len) = self.pages(offset, len)?;
        // SAFETY: the range is within this mapping; the caller is responsible for its contents.
        unsafe { madvise(base, len, advice) }
    }

    /// `madvise(...)`: sets the content of a range in a forked child. The range is widened to whole pages.
    ///
    /// # Errors
    /// As [`advise`](Self::advise).
    ///
    /// # Safety
    /// A child forked while [`Inherit::Nothing`] or [`Inherit::Zeros`] holds does not use or drop this region, or
    /// anything that is stored in it or borrows from it. Something else may be mapped there by then.
    ///
    /// # Examples
    /// See the example of [`Inherit`].
    pub unsafe fn inherit(&self, offset: usize, len: usize, how: Inherit) -> Result<()> {
        let advice = match how {
            Inherit::Pages => Raw::LinuxDoFork,
            Inherit::Nothing => Raw::LinuxDontFork,
            Inherit::Zeros => Raw::LinuxWipeOnFork,
            Inherit::Contents => Raw::LinuxKeepOnFork,
        };
        let (base, len) = self.pages(offset, len)?;
        // SAFETY: the range is within this mapping; nothing changes in this process, and the caller is responsible for
        // the child.
        unsafe { madvise(base, len, advice) }
    }

    /// `mlock(...)`: brings the pages of a range into memory and locks them there until [`unlock`](Self::unlock) or the
    /// drop.
    ///
    /// # Errors
    /// `ERANGE` when the range is not within the region. `ENOMEM` and `EAGAIN` when there is not enough memory or
    /// `RLIMIT_MEMLOCK` is reached, `EPERM` when that limit is 0.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::Region;
    ///
    /// let region = Region::private(4096)?;
    /// if region.lock(0, 4096).is_ok() {
    ///     region.unlock(0, 4096)?;
    /// }
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "mlock")]
    pub fn lock(&self, offset: usize, len: usize) -> Result<()> {
        let (base, len) = self.pages(offset, len)?;
        // SAFETY: the range is within this mapping; mlock(2) changes only where the pages are kept.
        retry(|| raw::call("mlock", || unsafe { rustix::mm::mlock(base, len) }))
    }

    /// `mlock2(..., MLOCK_ONFAULT)`: keeps each page of a range in memory from its first use on.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::Region;
    ///
    /// let region = Region::private(4096)?;
    /// if region.lock_on_use(0, 4096).is_ok() {
    ///     region.unlock(0, 4096)?;
    /// }
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "mlock2")]
    pub fn lock_on_use(&self, offset: usize, len: usize) -> Result<()> {
        let (base, len) = self.pages(offset, len)?;
        // SAFETY: as in `lock`.
        retry(|| raw::call("mlock2", || unsafe { rustix::mm::mlock_with(base, len, MlockFlags::ONFAULT) }))
    }

    /// `munlock(...)`: undoes [`lock`](Self::lock).
    ///
    /// # Errors
    /// `ERANGE` when the range is not within the region.
    #[doc(alias = "munlock")]
    pub fn unlock(&self, offset: usize, len: usize) -> Result<()> {
        let (base, len) = self.pages(offset, len)?;
        // SAFETY: as in `lock`.
        retry(|| raw::call("munlock", || unsafe { rustix::mm::munlock(base, len) }))
    }

    /// `msync(..., MS_SYNC)`: writes the pages of a range to the file and waits for the end of the writes; does nothing
    /// without a file.
    ///
    /// Differs from Python's `flush`: an offset need not be a multiple of the page size.
    ///
    /// # Errors
    /// `ERANGE` when the range is not within the region, `EIO` when the device failed.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::{Memfd, Region};
    ///
    /// let memory = Memfd::new(c"written")?;
    /// memory.set_len(4096)?;
    /// let region = Region::shared(&memory, 4096)?;
    /// region.copy_in(0, b"bones")?;
    /// region.sync_later(0, 4096)?; // begins, does not wait
    /// region.sync(0, 4096)?;
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "msync")]
    #[doc(alias = "flush")]
    pub fn sync(&self, offset: usize, len: usize) -> Result<()> {
        self.msync(offset, len, libc::MS_SYNC)
    }

    /// `msync(..., MS_ASYNC)`: requests that the pages of a range are written to the file later.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn sync_later(&self, offset: usize, len: usize) -> Result<()> {
        self.msync(offset, len, libc::MS_ASYNC)
    }

    /// Calls `msync` of libc: where rustix also uses libc, as on s390x, it takes the result -1 for the error number.
    fn msync(&self, offset: usize, len: usize, flags: c_int) -> Result<()> {
        let (base, len) = self.pages(offset, len)?;
        // SAFETY: the range is within this mapping; msync(2) without MS_INVALIDATE changes no byte of it.
        retry(|| raw::call_c("msync", || unsafe { libc::msync(base, len, flags) }).map(drop))
    }

    /// `mprotect(...)`: changes the permitted access to the whole region.
    ///
    /// # Errors
    /// `EINVAL` for bits that [`Protection`] does not name, `EPERM` to make a [sealed](Self::sealed) region writable,
    /// `EACCES` when the file was not opened for it, `ENOMEM`.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{errno::Errno, mmap::{Protection, Region}};
    ///
    /// let mut region = Region::anonymous(4096)?;
    /// region.protect(Protection::READ)?;
    /// assert_eq!(region.protection(), Protection::READ);
    /// assert_eq!(region.copy_in(0, b"x"), Err(Errno::ACCESS));
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "mprotect")]
    pub fn protect(&mut self, protection: Protection) -> Result<()> {
        if !(Protection::READ | Protection::WRITE | Protection::EXEC).contains(protection) {
            return Err(Errno::INVAL);
        }
        if self.backing == Backing::Sealed && protection.contains(Protection::WRITE) {
            return Err(Errno::PERM);
        }
        let (base, whole) = (self.base(), self.whole());
        let flags = MprotectFlags::from_bits_retain(protection.bits());
        // SAFETY: this mapping is ours; `&mut self` shows that nothing is borrowed from it, and every later access
        // checks `self.protection`.
        retry(|| raw::call("mprotect", || unsafe { rustix::mm::mprotect(base, whole, flags) }))?;
        self.protection = protection;
        Ok(())
    }

    /// `mremap(..., MREMAP_MAYMOVE)`: makes the region `len` bytes long; it may move.
    ///
    /// The content up to the shorter of both lengths is kept; new private memory is zero. A file is not made longer: do
    /// that first, or the new pages fault with SIGBUS. On an error nothing has changed.
    ///
    /// # Errors
    /// `EINVAL` when `len` is 0, or to grow a region that cannot: a shared anonymous one (the new pages would fault) or
    /// a [sealed](Self::sealed) one. `ENOMEM` when there is not enough memory or address space.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::Region;
    ///
    /// let mut region = Region::private(4096)?;
    /// region.copy_in(0, b"kept")?;
    /// region.remap(1 << 20)?;
    /// assert_eq!(region.len(), 1 << 20);
    /// assert_eq!(&region.as_mut_slice().expect("no other code reaches it")[..4], b"kept");
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "mremap")]
    #[doc(alias = "resize")]
    pub fn remap(&mut self, len: usize) -> Result<()> {
        let fixed = matches!(self.backing, Backing::Anonymous | Backing::Sealed);
        if len == 0 || (fixed && len > self.len) {
            return Err(Errno::INVAL);
        }
        let whole = whole_len(self.skew, len, self.page).ok_or(Errno::NOMEM)?;
        let (base, old) = (self.base(), self.whole());
        // SAFETY: this mapping is ours; `&mut self` shows that nothing is borrowed from it, so it may move and lose its
        // end.
        let base =
            retry(|| raw::call("mremap", || unsafe { rustix::mm::mremap(base, old, whole, MremapFlags::MAYMOVE) }))?;
        // mremap(2) never returns address 0.
        self.start = NonNull::new(base.cast::<u8>().wrapping_add(self.skew)).ok_or(Errno::NOMEM)?;
        self.len = len;
        Ok(())
    }

    /// A range extended down to the start of its first page; the kernel extends its end.
    fn pages(&self, offset: usize, len: usize) -> Result<(*mut c_void, usize)> {
        let start = self.range(offset, len, Protection::empty())?;
        let into_page = start.addr().get() & (self.page - 1);
        // The page starts within this mapping, because the mapping starts at a page.
        Ok((start.as_ptr().wrapping_sub(into_page).cast(), self.rounded(into_page + len)))
    }
}

/// # Safety
/// The range is within a mapping to which the caller may apply the advice.
unsafe fn madvise(base: *mut c_void, len: usize, advice: Raw) -> Result<()> {
    // SAFETY: the caller's promise.
    retry(|| raw::call("madvise", || unsafe { rustix::mm::madvise(base, len, advice) }))
}
