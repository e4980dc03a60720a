//! The size of a page.

/// `sysconf(_SC_PAGESIZE)`: the size of a page on this machine, in bytes; a power of two.
///
/// # Examples
/// ```
/// assert!(ossature_sys::mmap::page_size().is_power_of_two());
/// ```
#[doc(alias = "PAGESIZE")]
#[doc(alias = "ALLOCATIONGRANULARITY")]
pub fn page_size() -> usize {
    // SAFETY: sysconf(3) has no preconditions; this name is known on every Linux, so the result is never -1.
    (unsafe { libc::sysconf(libc::_SC_PAGESIZE) }) as usize
}
