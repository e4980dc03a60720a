//! Process-shared pthread mutexes, for memory that programs in other languages use too.
//!
//! This module is for memory whose other side is C. Between Rust programs the locks of [`sync`](crate::sync) promise
//! more. If a thread dies before it wakes with a pthread mutex, the mutex can stay unlocked beside a sleeping waiter.
//!
//! A [`Mutex`] has no constructor, because it must never move: libc's list of held robust mutexes points into it. It is
//! set up in place, in shared memory ([`Options::init_at`]) or for the life of the process ([`Options::leak`]), or
//! found where another program set it up ([`Mutex::from_ptr`]).
//!
//! | the owner died | [`robust`](Options::robust) | otherwise |
//! | --- | --- | --- |
//! | the next taker | gets a guard with [`owner_died`](Guard::owner_died) set | waits forever |
//! | after [`make_consistent`](Guard::make_consistent) | all is as before | |
//! | after a drop without it | every taker gets `ENOTRECOVERABLE` | |
//!
//! ```
//! use ossature_sys::pthread::{Kind, Options};
//!
//! let mutex = Options::new().kind(Kind::ErrorChecking).robust().leak()?;
//! let guard = mutex.lock()?;
//! assert!(!guard.owner_died());
//! drop(guard);
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! **Fork.** [`process::fork`](crate::process::fork()) refuses while any guard exists in the process. After
//! [`fork_unchecked`](crate::process::fork_unchecked) the child's copies of guards do nothing: the mutex is the
//! parent's.
//!
//! **How many.** When a thread dies, the kernel walks 2,048 entries of its list, and skips the entries that were taken
//! first. Robust mutexes and the [locks of this crate](crate::sync) are entries of one list. So they have one limit,
//! 1,900 for each thread, and a take beyond that fails with `ENOLCK`. (With musl, recursive and error-checking mutexes
//! are entries as well.) Robust mutexes that other libraries lock count, but this limit does not stop them.
//!
//! Source: pthread_mutex_lock(3p), pthread_mutexattr_setrobust(3).

use core::cell::UnsafeCell;
use core::marker::{PhantomData, PhantomPinned};
use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;

use libc::pthread_mutex_t;

use crate::deadline::{Deadline, Timespec};
use crate::errno::{Errno, Result};
use crate::generation::generation;
use crate::mmap::Region;
use crate::raw;
use crate::robust;
use crate::thread_bound::StaysInItsThread;

/// The behaviour when the owner locks again, and when another thread unlocks.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, pthread::{Kind, Options}};
///
/// let mutex = Options::new().kind(Kind::Recursive).leak()?;
/// let (once, twice) = (mutex.lock()?, mutex.lock()?);
/// drop((once, twice));
/// let mutex = Options::new().kind(Kind::ErrorChecking).leak()?;
/// let _held = mutex.lock()?;
/// assert_eq!(mutex.lock().unwrap_err(), Errno::DEADLK);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Locking again deadlocks.
    #[default]
    #[doc(alias = "PTHREAD_MUTEX_NORMAL")]
    Normal,
    /// Locking again succeeds, and needs an unlock for each lock.
    #[doc(alias = "PTHREAD_MUTEX_RECURSIVE")]
    Recursive,
    /// Locking again returns the error `EDEADLK`.
    #[doc(alias = "PTHREAD_MUTEX_ERRORCHECK")]
    ErrorChecking,
}

/// The attributes of a mutex: configured, then used by [`init_at`](Self::init_at) or [`leak`](Self::leak).
///
/// # Examples
/// ```
/// use core::ptr::NonNull;
/// use ossature_sys::{errno::Errno, mmap::Region, pthread::Options};
///
/// match Options::new().priority_inheritance().leak() {
///     Ok(mutex) => drop(mutex.lock()?),
///     Err(errno) => assert_eq!(errno, Errno::NOTSUP),
/// }
///
/// let place: NonNull<_> = Region::anonymous(4096)?.leak();
/// // SAFETY: a fresh mapping at the start of a page, which is never unmapped and which no other code uses.
/// let mutex = unsafe { Options::new().robust().init_at(place.cast()) }?;
/// drop(mutex.lock()?);
/// // SAFETY: no code uses the mutex any more.
/// unsafe { mutex.destroy() }?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[doc(alias = "pthread_mutexattr_t")]
pub struct Options {
    kind: Kind,
    robust: bool,
    inherit: bool,
}

impl Options {
    /// A normal mutex, neither robust nor with priority inheritance.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the kind of the mutex.
    pub fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Makes the mutex robust: the next lock after the death of an owner reports that death.
    #[doc(alias = "PTHREAD_MUTEX_ROBUST")]
    pub fn robust(self) -> Self {
        Self { robust: true, ..self }
    }

    /// Enables priority inheritance: an owner runs at the highest priority of its waiters.
    #[doc(alias = "PTHREAD_PRIO_INHERIT")]
    pub fn priority_inheritance(self) -> Self {
        Self { inherit: true, ..self }
    }

    /// `pthread_mutex_init(place, attributes)`: initialises a process-shared mutex at its final address.
    ///
    /// # Errors
    /// `ENOTSUP` when this libc or kernel has no priority inheritance, `ENOMEM`. Nothing is set up then.
    ///
    /// # Safety
    /// For all of `'a`, and in every process that maps the place:
    /// * it is readable and writable, aligned for `pthread_mutex_t`, and large enough;
    /// * it is not moved, unmapped or written except by pthread calls; also not after `'a`, as long as a thread holds
    ///   the mutex or has not returned from unlocking it;
    /// * at the time of the call, no thread uses it as a mutex;
    /// * all those processes use the same libc in the same word size.
    pub unsafe fn init_at<'a>(self, place: NonNull<Mutex>) -> Result<&'a Mutex> {
        // SAFETY: the caller's promise: in bounds, aligned, and lasting for 'a; the contents are in an UnsafeCell.
        let mutex = unsafe { place.as_ref() };
        let wanted = raw::pthread::Attributes {
            kind: match self.kind {
                Kind::Normal => libc::PTHREAD_MUTEX_NORMAL,
                Kind::Recursive => libc::PTHREAD_MUTEX_RECURSIVE,
                Kind::ErrorChecking => libc::PTHREAD_MUTEX_ERRORCHECK,
            },
            robust: if self.robust { libc::PTHREAD_MUTEX_ROBUST } else { libc::PTHREAD_MUTEX_STALLED },
            protocol: if self.inherit { libc::PTHREAD_PRIO_INHERIT } else { libc::PTHREAD_PRIO_NONE },
        };
        // SAFETY: writable and not yet a mutex, as the caller promises.
        unsafe { raw::pthread::init(mutex.raw.get(), &wanted) }?;
        Ok(mutex)
    }

    /// A mutex in shared memory of its own, which is never freed: for this process and the children that it forks.
    ///
    /// # Errors
    /// As [`init_at`](Self::init_at), and `ENOMEM` when there is no memory to map.
    pub fn leak(self) -> Result<&'static Mutex> {
        let region = Region::anonymous(size_of::<Mutex>())?;
        let place = region.as_ptr().cast();
        // SAFETY: a fresh mapping at the start of a page, large enough; no other code knows it; leaked below, and if
        // that is not reached it was not set up. Forked children run the same program.
        let mutex = unsafe { self.init_at(place) }?;
        region.leak();
        Ok(mutex)
    }
}

/// The last second of the wall clock that C's time type can represent on this machine: in 2038 where it has 32 bits.
const LAST_SECOND: i64 = if size_of::<libc::timespec>() == 8 { i32::MAX as i64 } else { i64::MAX };

/// The offset of the kind of a mutex in libc. The offset is part of the ABI, because static initialisers contain it.
const KIND_AT: usize = match (cfg!(target_env = "musl"), size_of::<usize>()) {
    (true, _) => 0,
    (false, 8) => 16,
    (false, _) => 12,
};
/// The bits in the kind of a mutex that libc keeps in its holder's list; at least one of them is set. With glibc this
/// is the robust bit, with musl the bits of every kind but the normal one.
const LISTED: u32 = if cfg!(target_env = "musl") { 15 } else { 16 };

/// A process-shared pthread mutex at its address: shared with C as `pthread_mutex_t`.
///
/// The mutex contains no data; the program determines what it protects.
///
/// # Examples
/// ```
/// use core::{ptr::NonNull, time::Duration};
/// use ossature_sys::pthread::{Mutex, Options};
///
/// let mutex = Options::new().leak()?;
/// let held = mutex.lock()?;
/// assert!(mutex.try_lock()?.is_none());
/// assert!(mutex.lock_timeout(Duration::from_millis(1))?.is_none());
/// drop(held);
///
/// let address = NonNull::new(mutex.as_ptr()).expect("a reference is not null"); // to and from C
/// // SAFETY: the mutex is set up, and it is never moved or unmapped.
/// let same = unsafe { Mutex::from_ptr(address) };
/// assert!(same.try_lock()?.is_some());
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[repr(transparent)]
#[doc(alias = "pthread_mutex_t")]
pub struct Mutex {
    raw: UnsafeCell<pthread_mutex_t>,
    _never_moved: PhantomPinned,
}

static_assertions::assert_eq_size!(Mutex, pthread_mutex_t);
static_assertions::assert_eq_align!(Mutex, pthread_mutex_t);

// SAFETY: any thread may call any pthread mutex function on a mutex at any time.
unsafe impl Sync for Mutex {}

impl Mutex {
    /// A mutex that was initialised elsewhere, in this program or another.
    ///
    /// # Safety
    /// As [`Options::init_at`], except that it was set up before, process-shared if it is shared between processes.
    pub unsafe fn from_ptr<'a>(mutex: NonNull<pthread_mutex_t>) -> &'a Self {
        // SAFETY: the caller's promise; the type has the layout of the C type.
        unsafe { mutex.cast::<Self>().as_ref() }
    }

    /// The mutex's address, for C.
    pub fn as_ptr(&self) -> *mut pthread_mutex_t {
        self.raw.get()
    }

    /// `pthread_mutex_lock(mutex)`: waits for the mutex without a timeout.
    ///
    /// # Errors
    /// `EDEADLK` when this thread holds it and it checks errors, `EAGAIN` when it is recursive and held too often.
    /// `ENOTRECOVERABLE` when an owner died and no thread made the mutex consistent. `ENOLCK` when it is robust and
    /// this thread holds 1,900 robust mutexes and shared locks already.
    #[doc(alias = "pthread_mutex_lock")]
    pub fn lock(&self) -> Result<Guard<'_>> {
        self.check_room()?;
        // SAFETY: set up and in its place, as the code that made this reference promised.
        let answer = raw::call_errno("pthread_mutex_lock", || unsafe { libc::pthread_mutex_lock(self.as_ptr()) });
        self.taken(answer)
    }

    /// `pthread_mutex_trylock(mutex)`: takes the mutex if it is free.
    ///
    /// With glibc the call is `pthread_mutex_clocklock` with a time long past: if `pthread_mutex_trylock` returns
    /// `ENOTRECOVERABLE` there, it leaves the mutex locked, and every later `pthread_mutex_lock` hangs.
    ///
    /// # Errors
    /// As [`lock`](Self::lock), but a mutex that this thread holds is `None`, unless it is recursive.
    #[doc(alias = "pthread_mutex_trylock")]
    pub fn try_lock(&self) -> Result<Option<Guard<'_>>> {
        self.check_room()?;
        match self.lock_at_once() {
            Err(Errno::BUSY | Errno::TIMEDOUT | Errno::DEADLK) => Ok(None),
            answer => self.taken(answer).map(Some),
        }
    }

    /// Checks the limit, because the kernel would no longer see an earlier lock beyond its own limit.
    fn check_room(&self) -> Result<()> {
        if self.is_listed_when_held() && !robust::has_room() && !robust::lists(self.as_ptr() as usize) {
            return Err(Errno::NOLCK);
        }
        Ok(())
    }

    /// Whether libc has the mutex in its holder's robust list.
    fn is_listed_when_held(&self) -> bool {
        let kind = self.as_ptr().cast::<u8>().wrapping_add(KIND_AT).cast::<u32>();
        // SAFETY: the field is inside the mutex, aligned, and is set before the mutex is used; libc itself reads it
        // without a lock, and may set bits in it later, none of these.
        let kind = unsafe { AtomicU32::from_ptr(kind) }.load(Relaxed);
        kind & LISTED != 0
    }

    #[cfg(target_env = "gnu")]
    fn lock_at_once(&self) -> Result<()> {
        match self.lock_by_steady_clock(Deadline::NOW) {
            Err(Errno::INVAL) => self.lock_by_wall_clock(Timespec { tv_sec: 0, tv_nsec: 0 }),
            answer => answer,
        }
    }

    #[cfg(not(target_env = "gnu"))]
    fn lock_at_once(&self) -> Result<()> {
        // SAFETY: as in `lock`.
        raw::call_errno("pthread_mutex_trylock", || unsafe { libc::pthread_mutex_trylock(self.as_ptr()) })
    }

    /// `pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, deadline)`: waits for the mutex until the deadline; `None` when
    /// it has passed.
    ///
    /// libc (musl) or the kernel (with priority inheritance, before Linux 5.14) may know the wall clock only. Then the
    /// wait is by the wall clock, and is repeated if the clock was set forward. A clock that is set back makes the wait
    /// longer by as much.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    #[doc(alias = "pthread_mutex_clocklock")]
    #[doc(alias = "pthread_mutex_timedlock")]
    pub fn lock_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<Guard<'_>>> {
        match timeout.into() {
            Deadline::NEVER => self.lock().map(Some),
            Deadline::NOW => self.try_lock(),
            deadline => self.lock_until(deadline),
        }
    }

    fn lock_until(&self, deadline: Deadline) -> Result<Option<Guard<'_>>> {
        self.check_room()?;
        loop {
            let answer = match self.lock_by_steady_clock(deadline) {
                Err(Errno::INVAL | Errno::NOSYS) => self.lock_by_wall_clock(on_the_wall(deadline)),
                answer => answer,
            };
            match answer {
                // The wall clock was put forward, or the instant was beyond the range of C's time.
                Err(Errno::TIMEDOUT) if !deadline.has_passed() => {}
                Err(Errno::TIMEDOUT) => return Ok(None),
                answer => return self.taken(answer).map(Some),
            }
        }
    }

    #[cfg(target_env = "gnu")]
    fn lock_by_steady_clock(&self, deadline: Deadline) -> Result<()> {
        let at = on_the_steady_clock(deadline);
        raw::call_errno("pthread_mutex_clocklock", || {
            // SAFETY: as in `lock`; `at` lives across the call.
            unsafe { raw::pthread::pthread_mutex_clocklock(self.as_ptr(), libc::CLOCK_MONOTONIC, &at) }
        })
    }

    #[cfg(not(target_env = "gnu"))]
    fn lock_by_steady_clock(&self, _: Deadline) -> Result<()> {
        Err(Errno::NOSYS)
    }

    fn lock_by_wall_clock(&self, until: Timespec) -> Result<()> {
        let at = in_c(until);
        raw::call_errno("pthread_mutex_timedlock", || {
            // SAFETY: as in `lock`; `at` lives across the call.
            unsafe { libc::pthread_mutex_timedlock(self.as_ptr(), &at) }
        })
    }

    fn taken(&self, answer: Result<()>) -> Result<Guard<'_>> {
        let owner_died = match answer {
            Ok(()) => false,
            Err(Errno::OWNERDEAD) => true,
            Err(error) => return Err(error),
        };
        Ok(Guard { mutex: self, owner_died, generation: count_taken(), _this_thread: PhantomData })
    }

    /// `pthread_mutex_destroy(mutex)`: ends the use of the mutex.
    ///
    /// # Errors
    /// `EBUSY` when a thread holds the mutex, which then stays usable.
    ///
    /// # Safety
    /// No process uses the mutex any more, unless it is initialised again.
    ///
    /// # Examples
    /// See the example of [`Options`].
    #[doc(alias = "pthread_mutex_destroy")]
    pub unsafe fn destroy(&self) -> Result<()> {
        // SAFETY: set up and in its place; the caller promises that no code uses it later.
        raw::call_errno("pthread_mutex_destroy", || unsafe { libc::pthread_mutex_destroy(self.as_ptr()) })
    }
}

/// The instant of a deadline that is not [`Deadline::NEVER`], in the form for `pthread_mutex_clocklock` and similar
/// functions.
#[cfg(target_env = "gnu")]
pub(crate) fn on_the_steady_clock(deadline: Deadline) -> raw::pthread::LongTimespec {
    let at = deadline.timespec_at().unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
    // A `long` may have 32 bits, which count the seconds since boot for 68 years; beyond that the caller's loop waits
    // again.
    let tv_sec = at.tv_sec.min(i64::from(i32::MAX)) as _;
    raw::pthread::LongTimespec { tv_sec, tv_nsec: at.tv_nsec as _ }
}

/// An instant in C's form.
#[allow(clippy::unnecessary_min_or_max, reason = "elsewhere `time_t` has 32 bits")]
pub(crate) fn in_c(until: Timespec) -> libc::timespec {
    // SAFETY: all zeros is a value of this C structure of numbers, which has padding on some machines.
    let mut at: libc::timespec = unsafe { core::mem::zeroed() };
    at.tv_sec = until.tv_sec.min(LAST_SECOND) as _;
    at.tv_nsec = until.tv_nsec as _;
    at
}

/// The instant of a deadline on the wall clock, if nothing sets that clock.
pub(crate) fn on_the_wall(deadline: Deadline) -> Timespec {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let left = deadline.remaining().unwrap_or(Duration::MAX);
    // Both are below 10^9.
    let nanos = now.tv_nsec as u64 + u64::from(left.subsec_nanos());
    let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX).saturating_add((nanos / 1_000_000_000) as i64);
    Timespec { tv_sec: now.tv_sec.saturating_add(seconds), tv_nsec: (nanos % 1_000_000_000) as _ }
}

impl core::fmt::Debug for Mutex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // The fields belong to libc, and reading them would race.
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// The number of guards (lower half) of the process with the generation in the upper half. A forked child starts with
/// none, regardless of what it inherits.
///
/// Relaxed everywhere: fork reads this when there is no second thread.
static GUARDS: AtomicU64 = AtomicU64::new(0);

/// Counts one more guard; returns its generation.
fn count_taken() -> u32 {
    let here = generation();
    // A program cannot have 2^32 guards: each is several bytes long, and a leaked one is followed by a deadlock or an
    // error.
    let more = |guards| Some(if of_generation(guards, here) { guards + 1 } else { u64::from(here) << 32 | 1 });
    let _ = GUARDS.fetch_update(Relaxed, Relaxed, more);
    here
}

fn of_generation(guards: u64, generation: u32) -> bool {
    (guards >> 32) as u32 == generation
}

/// Whether any guard exists in this process, of any thread, or was leaked.
pub(crate) fn holds_any() -> bool {
    let guards = GUARDS.load(Relaxed);
    guards as u32 != 0 && of_generation(guards, generation())
}

/// A held mutex, unlocked when dropped. A guard stays in its thread, like the mutex.
///
/// In a forked child a copy of the guard does nothing, and its calls return `EPERM`.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, pthread::{Guard, Options}};
///
/// let mutex = Options::new().robust().leak()?;
/// std::thread::spawn(|| core::mem::forget(mutex.lock())).join().unwrap(); // ends with the mutex held
/// let mut guard: Guard<'_> = mutex.lock()?;
/// assert!(guard.owner_died());
/// guard.make_consistent()?; // after what it guards was repaired
/// assert_eq!(guard.make_consistent(), Err(Errno::INVAL), "said already");
/// guard.unlock()?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[must_use = "dropping this unlocks the mutex"]
#[derive(Debug)]
pub struct Guard<'a> {
    mutex: &'a Mutex,
    owner_died: bool,
    generation: u32, // of the process that took it
    _this_thread: PhantomData<StaysInItsThread>,
}

impl Guard<'_> {
    /// Whether the previous owner died with the mutex held, so that the protected data may be half-written.
    #[doc(alias = "EOWNERDEAD")]
    pub fn owner_died(&self) -> bool {
        self.owner_died
    }

    /// `pthread_mutex_consistent(mutex)`: declares that the protected data is consistent again.
    ///
    /// Without it a mutex whose owner died is unusable forever as soon as this guard is dropped.
    ///
    /// # Errors
    /// `EINVAL` when the previous owner did not die, or the mutex was marked already; `EPERM` in a forked child.
    #[doc(alias = "pthread_mutex_consistent")]
    pub fn make_consistent(&mut self) -> Result<()> {
        self.check_process()?;
        let mutex = self.mutex.as_ptr();
        // SAFETY: as in `Mutex::lock`.
        raw::call_errno("pthread_mutex_consistent", || unsafe { libc::pthread_mutex_consistent(mutex) })?;
        self.owner_died = false;
        Ok(())
    }

    /// `pthread_mutex_unlock(mutex)`: unlocks like a drop, and returns the result.
    ///
    /// # Errors
    /// `EPERM` when this thread is not the owner, as in a forked child.
    #[doc(alias = "pthread_mutex_unlock")]
    pub fn unlock(self) -> Result<()> {
        core::mem::ManuallyDrop::new(self).release()
    }

    /// Checks the process: a mutex that does not check errors would let the child unlock the parent's lock.
    fn check_process(&self) -> Result<()> {
        if self.generation == generation() { Ok(()) } else { Err(Errno::PERM) }
    }

    fn release(&self) -> Result<()> {
        self.check_process()?;
        let mutex = self.mutex.as_ptr();
        // SAFETY: as in `Mutex::lock`; this thread took it, for a guard never leaves its thread or process.
        raw::call_errno("pthread_mutex_unlock", || unsafe { libc::pthread_mutex_unlock(mutex) })?;
        // It was counted in this generation, so the lower half is not zero.
        GUARDS.fetch_sub(1, Relaxed);
        Ok(())
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // EPERM in a forked child: the mutex still belongs to the parent.
        let _ = self.release();
    }
}
