//! Features that an emulator may lack. A test that needs a feature checks for it first, and skips itself if the feature
//! is missing. scripts/portability counts the line that reports it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::Write;
use std::ptr::null;

use ossature_sys::pthread::Options;
use ossature_sys::scope::{LockBackend, Shared};

/// Ends the test if this feature is missing: `needs!(robust_lists);`.
macro_rules! needs {
    ($what:ident) => {
        if !crate::needs::$what() {
            return;
        }
    };
}

/// A lock in shared memory, in either form.
#[must_use]
pub fn shared_locks() -> bool {
    there("lock in shared memory", Shared::backend() != LockBackend::Unsupported)
}

/// Locks that are entries of the thread's own list.
#[must_use]
pub fn own_nodes() -> bool {
    there("list of a known form", Shared::backend() == LockBackend::Node)
}

/// Locks that may be released through another mapping of their memory. In the pthread form glibc for 32 bits looks for
/// the mutex in the thread's list under the address of the release, for ever.
#[must_use]
pub fn other_mappings() -> bool {
    there(
        "release through another mapping",
        match Shared::backend() {
            LockBackend::Node => true,
            LockBackend::Pthread => cfg!(target_pointer_width = "64"),
            LockBackend::Unsupported => false,
        },
    )
}

/// A pthread mutex that is robust, at least by its declared type.
#[must_use]
pub fn robust_mutexes() -> bool {
    there("robust mutex", Options::new().robust().leak().is_ok())
}

/// A kernel that walks the list of a thread that dies. The check registers no list: the kernel refuses a head without a
/// size.
#[must_use]
pub fn robust_lists() -> bool {
    // SAFETY: set_robust_list(2) looks at the size first, and reads nothing there at all.
    let answer = unsafe { libc::syscall(libc::SYS_set_robust_list, null::<u8>(), 0_usize) };
    let errno = std::io::Error::last_os_error().raw_os_error();
    there("robust list", (answer, errno) == (-1, Some(libc::EINVAL)))
}

/// Filters of system calls: a kernel with filters reports a filter at no address as a bad address.
#[must_use]
pub fn seccomp_filters() -> bool {
    // SAFETY: prctl(2) with PR_SET_SECCOMP reads the filter in the kernel, which answers EFAULT for this address.
    let answer = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, null::<u8>()) };
    let errno = std::io::Error::last_os_error().raw_os_error();
    there("filter of system calls", (answer, errno) == (-1, Some(libc::EFAULT)))
}

/// A program that can execute itself: under an emulator the kernel cannot do that.
#[must_use]
pub fn own_program() -> bool {
    there("program that the kernel itself executes", std::env::var_os("OSSATURE_EMULATED").is_none())
}

fn there(what: &str, found: bool) -> bool {
    if !found {
        // Not eprintln!, which the harness would keep to itself.
        let thread = std::thread::current();
        let _ = writeln!(std::io::stderr(), "LEFT OUT: {}: no {what} here", thread.name().unwrap_or("?"));
    }
    found
}
