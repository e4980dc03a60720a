//! Copies that fail where an access would raise SIGBUS: the kernel makes them, and returns `EFAULT`.

use core::ffi::c_void;

use super::{Protection, Region};
use crate::errno::{Errno, Result, retry};
use crate::raw;

impl Region {
    /// `process_vm_readv(getpid(), ...)`: like [`copy_out`](Self::copy_out), but a page that no longer exists is an
    /// error.
    ///
    /// A file that was cut short keeps the rest of its last page as zeros, which are copied. Compare with the length of
    /// the file afterwards where that matters.
    ///
    /// # Errors
    /// `ERANGE` when the range is not within the region, `EACCES` when it may not be read. `EFAULT` when a page is not
    /// there: the file was cut short, the device failed, or the pages of this device cannot be copied. `into` may hold
    /// the bytes before that page then. `ENOSYS` and `EPERM` when the kernel was built without the call, or a sandbox
    /// forbids the call.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{errno::Errno, mmap::{Memfd, Region, page_size}};
    ///
    /// let memory = Memfd::new(c"cut")?;
    /// memory.set_len(2 * page_size() as u64)?;
    /// let region = Region::file_write(&memory, 0, 2 * page_size())?;
    /// match region.try_copy_in(page_size(), b"bones") {
    ///     Err(Errno::NOSYS | Errno::PERM) => return Ok(()), // in a sandbox
    ///     done => done?,
    /// }
    /// memory.set_len(1)?;
    /// assert_eq!(region.try_copy_out(page_size(), &mut [0; 5]), Err(Errno::FAULT));
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "process_vm_readv")]
    pub fn try_copy_out(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        let from = self.range(offset, into.len(), Protection::READ)?;
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let len = raw::allowed("process_vm_readv", rest.len());
            let ours = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: len };
            let theirs = libc::iovec { iov_base: from.as_ptr().wrapping_add(done).cast(), iov_len: len };
            done += copied(retry(|| {
                // SAFETY: `ours` is borrowed for writing. `theirs` is within this mapping, and the kernel, which makes
                // the copy, returns EFAULT for pages that are not there.
                raw::call_long("process_vm_readv", || unsafe {
                    libc::process_vm_readv(myself(), &raw const ours, 1, &raw const theirs, 1, 0) as _
                })
            }))?;
        }
        Ok(())
    }

    /// `process_vm_writev(getpid(), ...)`: like [`copy_in`](Self::copy_in), but a page that no longer exists is an
    /// error.
    ///
    /// # Errors
    /// As [`try_copy_out`](Self::try_copy_out); `EACCES` when the region may not be written. `EFAULT` also when the
    /// file system has no room for a page of a sparse file. The bytes before that page may be written then.
    ///
    /// # Examples
    /// See the example of [`try_copy_out`](Self::try_copy_out).
    #[doc(alias = "process_vm_writev")]
    pub fn try_copy_in(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        let to = self.range(offset, bytes.len(), Protection::WRITE)?;
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let len = raw::allowed("process_vm_writev", rest.len());
            let ours = libc::iovec { iov_base: rest.as_ptr().cast::<c_void>().cast_mut(), iov_len: len };
            let theirs = libc::iovec { iov_base: to.as_ptr().wrapping_add(done).cast(), iov_len: len };
            done += copied(retry(|| {
                // SAFETY: the kernel only reads `ours`, which is borrowed. `theirs` is within this mapping, of which
                // safe code has no slice while it may be written. The kernel returns EFAULT for pages that are not
                // there.
                raw::call_long("process_vm_writev", || unsafe {
                    libc::process_vm_writev(myself(), &raw const ours, 1, &raw const theirs, 1, 0) as _
                })
            }))?;
        }
        Ok(())
    }
}

/// The id of this process, which may always copy its own memory.
fn myself() -> libc::pid_t {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// The number of bytes that a call copied; 0 bytes mean a missing page.
fn copied(answer: Result<core::ffi::c_long>) -> Result<usize> {
    usize::try_from(answer?).ok().filter(|&len| len > 0).ok_or(Errno::FAULT)
}
