//! The raw lock of processes where libc's robust list cannot be used: a pthread robust mutex.
//!
//! Chosen at start-up when the kernel does not tell where the list is (some emulators), or when the list's form is not
//! the one that our node was built for. The promise is weaker: a sleeper that was chosen by a release and is killed
//! before it takes the lock can leave the others asleep beside a free lock.
//!
//! Source: pthread_mutex_lock(3p), pthread_mutexattr_setrobust(3).

use core::mem::MaybeUninit;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;

use libc::{pthread_mutex_t, pthread_mutexattr_t};
use static_assertions::const_assert;

use crate::deadline::Deadline;
use crate::errno::Result;
use crate::raw;
use crate::scope::Refused;
use crate::sync::robust::Node;

const_assert!(size_of::<pthread_mutex_t>() <= size_of::<Node>());
const_assert!(align_of::<pthread_mutex_t>() <= align_of::<Node>());

/// How many of these mutexes this process holds. A thread that forks is alone, so its own count is this.
static HELD: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn holds_any() -> bool {
    HELD.load(Relaxed) != 0
}

/// How a take ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    AfterDeath,
    No,
}

/// Makes a robust, error-checking mutex for all processes.
///
/// # Safety
/// `place` is valid for writes of a mutex and is not moved or unmapped while it is in use.
pub(crate) unsafe fn init(place: *mut pthread_mutex_t) -> Result<()> {
    let mut attributes = MaybeUninit::<pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: the place is valid for writes.
    raw::call_errno("pthread_mutexattr_init", || unsafe { libc::pthread_mutexattr_init(attributes) })?;
    // SAFETY: the attributes are initialised.
    raw::call_errno("pthread_mutexattr_setpshared", || unsafe {
        libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED)
    })?;
    // SAFETY: the attributes are initialised.
    raw::call_errno("pthread_mutexattr_setrobust", || unsafe {
        libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST)
    })?;
    // SAFETY: the attributes are initialised.
    raw::call_errno("pthread_mutexattr_settype", || unsafe {
        libc::pthread_mutexattr_settype(attributes, libc::PTHREAD_MUTEX_ERRORCHECK)
    })?;
    // SAFETY: the caller vouches for the place; the attributes are initialised.
    raw::call_errno("pthread_mutex_init", || unsafe { libc::pthread_mutex_init(place, attributes) })
    // Attributes own nothing in glibc or musl: there is nothing to destroy.
}

/// Takes the mutex, and makes it consistent at once if its holder died: what is sticky is the caller's flag.
///
/// # Safety
/// `mutex` was made by [`init`].
pub(crate) unsafe fn take(mutex: *mut pthread_mutex_t, deadline: Deadline) -> core::result::Result<Taken, Refused> {
    loop {
        // SAFETY: the mutex is initialised.
        let answer = match unsafe { wait(mutex, deadline) } {
            0 => Taken::Yes,
            libc::EOWNERDEAD => {
                // SAFETY: this thread holds it, in the state that the call is for.
                unsafe { libc::pthread_mutex_consistent(mutex) };
                Taken::AfterDeath
            }
            libc::EDEADLK => return Err(Refused::WouldDeadlock),
            libc::ENOTRECOVERABLE => return Err(Refused::GivenUp),
            libc::EBUSY => return Ok(Taken::No),
            // ETIMEDOUT of one slice, or of all of it.
            _ if deadline.has_passed() => return Ok(Taken::No),
            _ => continue,
        };
        HELD.fetch_add(1, Relaxed);
        return Ok(answer);
    }
}

/// The longest wait by the wall clock, so that setting that clock back is noticed.
const SLICE: Duration = Duration::from_secs(1);

/// # Safety
/// `mutex` was made by [`init`].
unsafe fn wait(mutex: *mut pthread_mutex_t, deadline: Deadline) -> i32 {
    match deadline.remaining() {
        // SAFETY: the mutex is initialised.
        None => unsafe { libc::pthread_mutex_lock(mutex) },
        // SAFETY: the mutex is initialised.
        Some(left) if left.is_zero() => unsafe { libc::pthread_mutex_trylock(mutex) },
        Some(left) => {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            let slice = left.min(SLICE);
            let nanos = now.tv_nsec as u64 + u64::from(slice.subsec_nanos());
            let until = libc::timespec {
                tv_sec: now.tv_sec as libc::time_t
                    + slice.as_secs() as libc::time_t
                    + (nanos / 1_000_000_000) as libc::time_t,
                tv_nsec: (nanos % 1_000_000_000) as _,
            };
            // SAFETY: the mutex is initialised and the time is a valid one.
            unsafe { libc::pthread_mutex_timedlock(mutex, &raw const until) }
        }
    }
}

/// # Safety
/// `mutex` was made by [`init`].
pub(crate) unsafe fn release(mutex: *mut pthread_mutex_t) {
    // SAFETY: the mutex is initialised; for anyone but its owner the call fails and changes nothing.
    if unsafe { libc::pthread_mutex_unlock(mutex) } == 0 {
        HELD.fetch_sub(1, Relaxed);
    }
}

/// Takes and releases a robust mutex once: after that musl has registered the calling thread's list.
pub(crate) fn take_one_robust_mutex() {
    let mut mutex = MaybeUninit::<pthread_mutex_t>::zeroed();
    let mutex = mutex.as_mut_ptr();
    // SAFETY: the place is this function's own and outlives the use.
    if unsafe { init(mutex) } != Ok(()) {
        return;
    }
    // SAFETY: initialised above; nobody else knows it.
    if unsafe { libc::pthread_mutex_lock(mutex) } == 0 {
        // SAFETY: locked in the line before.
        unsafe { libc::pthread_mutex_unlock(mutex) };
    }
    // SAFETY: initialised above, and not locked.
    unsafe { libc::pthread_mutex_destroy(mutex) };
}
