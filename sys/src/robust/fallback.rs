//! The raw lock between processes where libc's robust list cannot be used: a pthread robust mutex.
//!
//! The fallback is used if the kernel does not return where the list is (some emulators), or if the list has another
//! form than our node was built for. This is decided at start-up. The promise is weaker. If a sleeper that a release
//! has chosen is killed before it takes the lock, the others may stay asleep beside a free lock.
//!
//! Source: pthread_mutex_lock(3p), pthread_mutexattr_setrobust(3).

use core::mem::MaybeUninit;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;

use libc::pthread_mutex_t;
use static_assertions::const_assert;

use super::node::Node;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::futex::Limit;
use crate::raw::{self, pthread::Attributes};

const_assert!(size_of::<pthread_mutex_t>() <= size_of::<Node>());
const_assert!(align_of::<pthread_mutex_t>() <= align_of::<Node>());

/// How many of these mutexes this process holds. A thread that forks is alone, so this count is the thread's own, or
/// larger. A thread that ended with a leaked guard is not subtracted. Then fork is refused and mappings stay, which is
/// safe.
static HELD: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn holds_any() -> bool {
    HELD.load(Relaxed) != 0
}

/// The result of an attempt to take the mutex.
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
    let wanted = Attributes {
        kind: libc::PTHREAD_MUTEX_ERRORCHECK,
        robust: libc::PTHREAD_MUTEX_ROBUST,
        protocol: libc::PTHREAD_PRIO_NONE,
    };
    // SAFETY: the same obligation, passed on.
    unsafe { raw::pthread::init(place, &wanted) }
}

/// Takes the mutex, and makes it consistent at once if its holder died: only the caller's flag is permanent. `EDEADLK`
/// means that this thread holds it, `ENOTRECOVERABLE` that no thread can take it any more.
///
/// # Safety
/// `mutex` was made by [`init`].
pub(crate) unsafe fn take(mutex: *mut pthread_mutex_t, limit: Limit<'_>) -> Result<Taken> {
    loop {
        // SAFETY: the mutex is initialised.
        let answer = match unsafe { wait(mutex, limit) } {
            Ok(()) => Taken::Yes,
            Err(Errno::OWNERDEAD) => {
                // SAFETY: this thread holds it, in the state that the call is for.
                let whole = || unsafe { libc::pthread_mutex_consistent(mutex) };
                // It fails for a mutex that is whole already, which does no harm.
                let _ = raw::call_errno("pthread_mutex_consistent", whole);
                Taken::AfterDeath
            }
            Err(why @ (Errno::DEADLK | Errno::NOTRECOVERABLE)) => return Err(why),
            Err(Errno::BUSY) => return Ok(Taken::No),
            // ETIMEDOUT at the end of one slice, or of the whole wait.
            Err(_) if limit.is_over() => return Ok(Taken::No),
            Err(_) => continue,
        };
        HELD.fetch_add(1, Relaxed);
        return Ok(answer);
    }
}

/// The longest wait by the wall clock, so that a change of that clock is noticed.
const SLICE: Duration = Duration::from_secs(1);
/// The longest wait that may have to be cancelled.
const LOOK: Duration = Duration::from_millis(10);

/// # Safety
/// `mutex` was made by [`init`].
unsafe fn wait(mutex: *mut pthread_mutex_t, limit: Limit<'_>) -> Result<()> {
    // A wait for a mutex cannot include another object, so the loop checks regularly whether the wait was cancelled.
    let slice = if limit.watched().is_some() { LOOK } else { SLICE };
    let deadline = limit.deadline();
    match if deadline == Deadline::NEVER && slice == LOOK { Some(LOOK) } else { deadline.remaining() } {
        // SAFETY: the mutex is initialised.
        None => raw::call_errno("pthread_mutex_lock", || unsafe { libc::pthread_mutex_lock(mutex) }),
        Some(left) if left.is_zero() => {
            // SAFETY: the mutex is initialised.
            raw::call_errno("pthread_mutex_trylock", || unsafe { libc::pthread_mutex_trylock(mutex) })
        }
        Some(left) => {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            let slice = left.min(slice);
            let nanos = now.tv_nsec as u64 + u64::from(slice.subsec_nanos());
            // Whichever width `time_t` has here, libc's own clock fits it.
            let until = libc::timespec {
                tv_sec: (now.tv_sec as u64 + slice.as_secs() + nanos / 1_000_000_000) as _,
                tv_nsec: (nanos % 1_000_000_000) as _,
            };
            // SAFETY: the mutex is initialised and the time is a valid one.
            let wait = || unsafe { libc::pthread_mutex_timedlock(mutex, &raw const until) };
            raw::call_errno("pthread_mutex_timedlock", wait)
        }
    }
}

/// # Safety
/// `mutex` was made by [`init`].
pub(crate) unsafe fn release(mutex: *mut pthread_mutex_t) {
    // SAFETY: the mutex is initialised; for any thread but the owner the call fails and changes nothing.
    if raw::call_errno("pthread_mutex_unlock", || unsafe { libc::pthread_mutex_unlock(mutex) }) == Ok(()) {
        HELD.fetch_sub(1, Relaxed);
    }
}

/// Whether the C library can make a robust mutex. On some machines glibc refuses if the kernel has no robust lists.
pub(crate) fn can_be_made() -> bool {
    let mut mutex = MaybeUninit::<pthread_mutex_t>::zeroed();
    let mutex = mutex.as_mut_ptr();
    // SAFETY: the place is this function's own and outlives the use.
    if unsafe { init(mutex) } != Ok(()) {
        return false;
    }
    // SAFETY: initialised above, and not locked, so this does not fail.
    let _ = raw::call_errno("pthread_mutex_destroy", || unsafe { libc::pthread_mutex_destroy(mutex) });
    true
}

/// Takes and releases a robust mutex once, so that musl registers the calling thread's list.
pub(crate) fn take_one_robust_mutex() {
    let mut mutex = MaybeUninit::<pthread_mutex_t>::zeroed();
    let mutex = mutex.as_mut_ptr();
    // SAFETY: the place is this function's own and outlives the use.
    if unsafe { init(mutex) } != Ok(()) {
        return;
    }
    // SAFETY: initialised above; no other code knows it.
    if raw::call_errno("pthread_mutex_lock", || unsafe { libc::pthread_mutex_lock(mutex) }) == Ok(()) {
        // SAFETY: locked in the line before. The owner's unlock does not fail.
        let _ = raw::call_errno("pthread_mutex_unlock", || unsafe { libc::pthread_mutex_unlock(mutex) });
    }
    // SAFETY: initialised above, and not locked, so this does not fail.
    let _ = raw::call_errno("pthread_mutex_destroy", || unsafe { libc::pthread_mutex_destroy(mutex) });
}
