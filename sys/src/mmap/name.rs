//! A name for memory without a file, shown in /proc.

use core::ffi::{CStr, c_ulong};

use super::Region;
use crate::errno::Result;
use crate::raw;

const PR_SET_VMA: i32 = 0x53_56_4d_41;
const PR_SET_VMA_ANON_NAME: c_ulong = 0;

impl Region {
    /// `prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, ...)`: the name of memory without a file in `/proc/PID/maps`, as
    /// `[anon:name]`, or `[anon_shmem:name]` if the memory is shared.
    ///
    /// # Errors
    /// `EINVAL` when the name is longer than 79 bytes, has one of the characters ``[]\$` `` or one that cannot be
    /// printed. Also when the kernel was built without such names, as kernels before Linux 5.17 are. `EBADF` when there
    /// is a file behind the memory, or the memory is shared and the kernel older than Linux 6.2. `ENOMEM`.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{errno::Errno, mmap::Region};
    ///
    /// let region = Region::private(4096)?;
    /// match region.set_name(c"bones") {
    ///     Ok(()) | Err(Errno::INVAL) => {} // the second without CONFIG_ANON_VMA_NAME
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "PR_SET_VMA_ANON_NAME")]
    #[doc(alias = "prctl")]
    pub fn set_name(&self, name: &CStr) -> Result<()> {
        let (start, len) = (self.base().addr() as c_ulong, self.whole().next_multiple_of(self.page) as c_ulong);
        let name = name.as_ptr().addr() as c_ulong;
        // SAFETY: the kernel reads the name, which is borrowed; the range is this mapping, and only its name changes.
        let set = || unsafe { libc::prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, len, name) };
        raw::call_c("prctl", set).map(drop)
    }
}
