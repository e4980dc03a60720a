//! Foreign calls and C layouts. No item here is public outside the crate.
//!
//! Every call that leaves this crate, whether through rustix or libc, passes [`call`] (or one of its shapes) under the
//! name of the C function. Without `--cfg ossature_faults` that compiles to the call itself; with it, the one hook of
//! [`faults`](crate::faults) may fail, shorten, delay or kill there.
//!
//! The exceptions can neither fail in use nor lose anything. They are `clock_gettime`, `getpid`, `getppid`, `getuid`,
//! `geteuid`, `getgid`, `getegid`, `gettid`, `pthread_self`, `sched_yield`, `sched_getcpu`, `sysconf`, `getauxval` and
//! `umask`. So are the `flock` that releases a lock, the pause of `nanosleep`, `_exit`, and the `kill` by which a
//! process ends itself. The functions on a `sigset_t` are not system calls. The calls of the hook itself and of its
//! sweep are exceptions too.

pub(crate) mod image;
pub(crate) mod process;
pub(crate) mod pthread;
pub(crate) mod sched;
pub(crate) mod signal;
pub(crate) mod vfork;

use core::ffi::c_int;

use crate::errno::{Errno, Result};

/// Makes one foreign call that returns a `Result`.
#[inline(always)]
pub(crate) fn call<T>(name: &'static str, foreign: impl FnOnce() -> Result<T>) -> Result<T> {
    crate::faults::call(name, foreign)
}

/// Makes one foreign call that returns -1 and sets errno on an error.
#[inline(always)]
pub(crate) fn call_c(name: &'static str, foreign: impl FnOnce() -> c_int) -> Result<c_int> {
    call(name, || match foreign() {
        -1 => Err(last_errno()),
        answer => Ok(answer),
    })
}

/// Makes one foreign call of the pthread kind, which returns the error number itself.
#[inline(always)]
pub(crate) fn call_errno(name: &'static str, foreign: impl FnOnce() -> c_int) -> Result<()> {
    call(name, || match foreign() {
        0 => Ok(()),
        error => Err(Errno::from_raw_os_error(error)),
    })
}

/// Makes one `libc::syscall`, which returns -1 and sets errno on an error.
#[inline(always)]
pub(crate) fn call_long(name: &'static str, foreign: impl FnOnce() -> core::ffi::c_long) -> Result<core::ffi::c_long> {
    call(name, || match foreign() {
        -1 => Err(last_errno()),
        answer => Ok(answer),
    })
}

/// The number of bytes that the next call of `name` may move: `len`, or fewer if the fault hook shortens the call.
///
/// Never makes a non-empty transfer empty, because that would read as end of file.
#[inline(always)]
pub(crate) fn allowed(name: &'static str, len: usize) -> usize {
    crate::faults::allowed(name, len)
}

/// The calling thread's errno.
#[cold]
pub(crate) fn last_errno() -> Errno {
    // SAFETY: __errno_location(3) has no preconditions and returns the calling thread's own errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the pointer is valid for the life of the thread, and no other thread writes there.
    Errno::from_raw_os_error(unsafe { *place })
}

/// Sets the calling thread's errno, for a caller in C.
#[cfg(ossature_faults)]
pub(crate) fn set_errno(errno: Errno) {
    // SAFETY: as in `last_errno`.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as there; errno is the calling thread's own.
    unsafe { *place = errno.raw_os_error() };
}
