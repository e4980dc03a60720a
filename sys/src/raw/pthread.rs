//! Calls of libc's mutexes, each returning the error number itself, and the call that the libc crate does not declare.

use core::ffi::{c_int, c_long};
use core::mem::MaybeUninit;

use libc::{pthread_mutex_t, pthread_mutexattr_t};

use crate::errno::Result;
use crate::raw::call_errno;

/// The attributes that `pthread_mutexattr_*` set.
pub(crate) struct Attributes {
    pub(crate) kind: c_int,
    pub(crate) robust: c_int,
    pub(crate) protocol: c_int,
}

/// Initialises a mutex that processes share.
///
/// # Safety
/// `mutex` is writable and no thread uses it as a mutex.
pub(crate) unsafe fn init(mutex: *mut pthread_mutex_t, wanted: &Attributes) -> Result<()> {
    let mut place = MaybeUninit::<pthread_mutexattr_t>::uninit();
    let attr = place.as_mut_ptr();
    // SAFETY: `attr` is writable.
    call_errno("pthread_mutexattr_init", || unsafe { libc::pthread_mutexattr_init(attr) })?;
    // SAFETY: `attr` is initialised, here and in the closures below.
    let shared = || unsafe { libc::pthread_mutexattr_setpshared(attr, libc::PTHREAD_PROCESS_SHARED) };
    // SAFETY: as above.
    let kind = || unsafe { libc::pthread_mutexattr_settype(attr, wanted.kind) };
    // SAFETY: as above.
    let robust = || unsafe { libc::pthread_mutexattr_setrobust(attr, wanted.robust) };
    // SAFETY: as above.
    let protocol = || unsafe { libc::pthread_mutexattr_setprotocol(attr, wanted.protocol) };
    // SAFETY: as above; the caller vouches for `mutex`.
    let init = || unsafe { libc::pthread_mutex_init(mutex, attr) };
    let done = call_errno("pthread_mutexattr_setpshared", shared)
        .and_then(|()| call_errno("pthread_mutexattr_settype", kind))
        .and_then(|()| call_errno("pthread_mutexattr_setrobust", robust))
        .and_then(|()| call_errno("pthread_mutexattr_setprotocol", protocol))
        .and_then(|()| call_errno("pthread_mutex_init", init));
    // SAFETY: `attr` is initialised and not used after this.
    let _ = call_errno("pthread_mutexattr_destroy", || unsafe { libc::pthread_mutexattr_destroy(attr) });
    done
}

/// A time in the form of the call below: the C type `long` twice, regardless of the width of `time_t` in the libc
/// crate. The plain name of the symbol has the old layout on 32-bit machines.
#[repr(C)]
#[cfg_attr(not(target_env = "gnu"), allow(dead_code, reason = "only glibc has the call"))]
pub(crate) struct LongTimespec {
    pub(crate) tv_sec: c_long,
    pub(crate) tv_nsec: c_long,
}

// SAFETY: the declaration of glibc's pthread.h, with the `struct timespec` of the plain symbol name.
#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// `pthread_mutex_clocklock`, since glibc 2.30.
    pub(crate) fn pthread_mutex_clocklock(
        mutex: *mut pthread_mutex_t,
        clock: libc::clockid_t,
        at: *const LongTimespec,
    ) -> c_int;

    /// `sem_clockwait`, since glibc 2.30. The plain name has the old layout of the time here, too.
    pub(crate) fn sem_clockwait(sem: *mut libc::sem_t, clock: libc::clockid_t, at: *const LongTimespec) -> c_int;
}
