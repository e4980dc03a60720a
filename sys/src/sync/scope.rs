//! Which threads may wait on a primitive: one source, three scopes.
//!
//! | scope | which threads may wait | where it may be | when a holder dies | `lock()` returns |
//! | --- | --- | --- | --- | --- |
//! | [`Private`] | the threads of this process | anywhere, `static` too | the process dies with it | the guard |
//! | [`Shared`] | every process that maps it | only in a [`Shm`](crate::shm::Shm) | the next taker gets it at once, marked as abandoned | the guard, or the cause |
//! | [`Local`] | one thread, which never sleeps | anywhere in that thread | cannot happen | the guard, or the cause |
//!
//! `Private` cannot fail, so it returns the bare guard. The other two return a `Result`. A holder may have marked a
//! `Shared` object as unrecoverable, and a `Local` wait would never end. [`Scope::settle`] turns each of them into a
//! `Result` for code that is generic over the scope.
//!
//! ```
//! use ossature_sys::{scope::{Local, Shared}, shm::Shm, sync::Lock};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! static THREADS: Lock<u32> = Lock::new(0);
//! *THREADS.lock() += 1; // the bare guard
//! let processes = Shm::place(Lock::<u32, Shared>::shared(0))?;
//! *processes.lock()? += 1; // or an error
//! let one: Lock<u32, Local> = Lock::local(0);
//! *one.lock()? += 1; // or an error
//! # Ok(()) }
//! ```

use core::fmt;

use crate::futex::{Limit, WordLock};
pub use crate::robust::LockBackend;
use crate::sync::gate::{Gate, PrivateGate};
use crate::sync::gate::{LocalGate, SharedGate};
use crate::sync::lease::Lease;
use crate::sync::participants::SlotTable;
use crate::sync::participants::{Counter, Participants};
use crate::sync::permits::{NoTable, Permits, Slot};
use crate::sync::queue::{LocalQueue, SharedQueue};
use crate::sync::queue::{PrivateQueue, Queue};
use crate::sync::readers::{Counted, Readers};
use crate::sync::{local::LocalLock, permits::Slots, readers, rlock::OwnedWord, shared::SharedLock};

/// Waiting within this process.
///
/// # Examples
/// ```
/// use ossature_sys::sync::{Lock, Private};
///
/// static TOTAL: Lock<u32, Private> = Lock::new(0);
/// *TOTAL.lock() += 1;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Private {}

/// Waiting between processes that share memory, even if any of them dies.
///
/// # Examples
/// ```
/// use ossature_sys::{scope::{LockBackend, Shared}, shm::Shm, sync::Lock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// if Shared::backend() != LockBackend::Unsupported {
///     *Shm::place(Lock::<u32, Shared>::shared(1))?.lock()? += 1;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {}

impl Shared {
    /// How the locks of this scope survive a death in this process.
    ///
    /// It is [`LockBackend::Node`] on x86_64, aarch64, riscv64, s390x, i686 and armv7 with glibc or musl under a Linux
    /// kernel. It is [`LockBackend::Pthread`] or [`LockBackend::Unsupported`] under emulators that do not return where
    /// libc's list is.
    ///
    /// The backend is determined once, by a call of the kernel. Processes with different backends cannot attach to each
    /// other's memory.
    pub fn backend() -> LockBackend {
        crate::robust::lock_backend()
    }
}

/// No waiting: for one thread, which could never be woken.
///
/// # Examples
/// ```
/// use ossature_sys::{scope::Refused, sync::{Local, Lock}};
///
/// let lock: Lock<u32, Local> = Lock::local(0);
/// let _held = lock.lock()?;
/// assert_eq!(lock.lock().unwrap_err(), Refused::WouldDeadlock);
/// # Ok::<(), Refused>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {}

pub(crate) mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Private {}
    impl Sealed for super::Shared {}
    impl Sealed for super::Local {}
}

/// One of [`Private`], [`Shared`], [`Local`].
///
/// # Examples
/// ```
/// use ossature_sys::scope::{Refused, Scope};
/// use ossature_sys::sync::{Local, Lock};
///
/// fn increment<S: Scope>(count: &Lock<u32, S>) -> Result<(), Refused> {
///     *S::settle(count.lock())? += 1;
///     Ok(())
/// }
/// increment(&Lock::new(0))?;
/// increment(&Lock::<u32, Local>::local(0))?;
/// # Ok::<(), Refused>(())
/// ```
pub trait Scope: sealed::Sealed + Sized + 'static {
    /// The raw lock of this scope.
    type Lock: RawLock;
    /// The raw lock of this scope that knows its holder, for a lock that its holder may take again.
    type RLock: Owned;
    /// How a waiter of this scope sleeps, and what covers its waker's death half-way.
    #[doc(hidden)]
    type Gate: Gate + Send + Sync;
    /// Where the units of a semaphore's permits are stored: at most `N`, where permits have slots.
    #[doc(hidden)]
    type Permits<const N: usize>: Permits<Self, N> + Send + Sync;
    /// The shares of a lock's readers, except the slots of the shares.
    #[doc(hidden)]
    type Readers: Readers + Send + Sync;
    /// The waiters of a condition of this scope: at most `N`, where waiters have places.
    #[doc(hidden)]
    type Queue<const N: usize>: Queue + Send + Sync;
    /// The threads that take part in a barrier of this scope: at most `N`, where threads have slots.
    #[doc(hidden)]
    type Participants<const N: usize>: Participants<Self::Gate>;
    /// The result of an operation that may wait: `G`, or a `Result` where the operation can be refused.
    type Outcome<G>;

    /// Converts a result to this scope's outcome.
    ///
    /// # Panics
    /// Never for a result that this scope's own lock gave: `Private` locks do not refuse.
    #[doc(hidden)]
    fn outcome<G>(result: Result<G, Refused>) -> Self::Outcome<G>;

    /// Converts this scope's outcome to a result.
    ///
    /// # Errors
    /// Why the operation was refused; never in [`Private`].
    fn settle<G>(outcome: Self::Outcome<G>) -> Result<G, Refused>;
}

/// The outcome in a scope whose locks may refuse: the result itself.
macro_rules! refusing {
    () => {
        type Outcome<G> = Result<G, Refused>;

        #[inline(always)]
        fn outcome<G>(result: Result<G, Refused>) -> Result<G, Refused> {
            result
        }

        #[inline(always)]
        fn settle<G>(outcome: Result<G, Refused>) -> Result<G, Refused> {
            outcome
        }
    };
}

impl Scope for Private {
    type Lock = WordLock;
    type RLock = OwnedWord;
    type Gate = PrivateGate;
    type Permits<const N: usize> = NoTable;
    type Readers = Counted<PrivateGate>;
    type Queue<const N: usize> = PrivateQueue;
    type Participants<const N: usize> = Counter;
    type Outcome<G> = G;

    #[inline(always)]
    fn outcome<G>(result: Result<G, Refused>) -> G {
        match result {
            Ok(guard) => guard,
            Err(refused) => unreachable!("a private lock refused: {refused}"),
        }
    }

    #[inline(always)]
    fn settle<G>(outcome: G) -> Result<G, Refused> {
        Ok(outcome)
    }
}

impl Scope for Shared {
    type Lock = SharedLock;
    type RLock = SharedLock;
    type Gate = SharedGate;
    type Permits<const N: usize> = Slots<SharedLock, Slot, N>;
    type Readers = readers::Table;
    type Queue<const N: usize> = SharedQueue<Lease, SharedGate, N>;
    type Participants<const N: usize> = SlotTable<Lease, N>;
    refusing!();
}

impl Scope for Local {
    type Lock = LocalLock;
    type RLock = LocalLock;
    type Gate = LocalGate;
    type Permits<const N: usize> = NoTable;
    type Readers = Counted<LocalGate>;
    type Queue<const N: usize> = LocalQueue;
    type Participants<const N: usize> = Counter;
    refusing!();
}

/// Why a primitive refuses a caller, however long the caller would wait.
///
/// # Examples
/// ```
/// use ossature_sys::{scope::Refused, shm::Shm, sync::Lock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lock = Shm::place(Lock::shared(0_u32))?;
/// let _held = lock.lock()?;
/// match lock.lock() {
///     Err(Refused::WouldDeadlock) => println!("this thread holds it"),
///     other => panic!("{other:?}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// A holder died, and the next holder marked the object as beyond repair.
    Unrecoverable,
    /// The calling thread holds the lock itself, so the wait would never end.
    WouldDeadlock,
    /// The kernel does not know the robust list of this thread (a sandbox forbids it), so it could not report the
    /// thread's death.
    Unlisted,
    /// This thread holds 1,900 shared locks, permits and leases, about as many as the kernel would clean up after its
    /// death.
    TooMany,
    /// The object has no room for one more participant. Most objects have room for 120 at a time, or for the `N` of
    /// their type.
    TableFull,
    /// The object has no memory for one more participant.
    NoMemory,
    /// The calling thread does not hold the lock whose guard it passed to a wait: the lock was released by name.
    NotOwner(NotOwner),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unrecoverable => {
                "the shared object was marked as unrecoverable after its holder died: make a new one"
            }
            Self::WouldDeadlock => {
                "this thread already holds the lock, so the wait would never end: use the guard that the thread has, drop \
                 that guard first, or take an RLock"
            }
            Self::Unlisted => {
                "the kernel does not know this thread's robust list: allow set_robust_list in the sandbox"
            }
            Self::TableFull => {
                "the shared object has no room for one more participant: wait until another participant is done, or give \
                 the object more room by the parameter `N` of its type, if that has one"
            }
            Self::NoMemory => "the shared object has no memory for one more participant: free some first",
            Self::TooMany => "this thread holds 1,900 shared locks, permits and leases already: release some first",
            Self::NotOwner(why) => return why.fmt(f),
        })
    }
}

/// A thread tried to release a lock that it does not hold, or to wait or notify with such a lock. Nothing was done.
///
/// # Examples
/// ```
/// use ossature_sys::{scope::NotOwner, sync::RLock};
///
/// static LOCK: RLock<()> = RLock::new(());
/// assert_eq!(LOCK.release(), Err(NotOwner::Free));
/// LOCK.acquire();
/// let other = std::thread::spawn(|| LOCK.release()).join().unwrap();
/// assert_eq!(other, Err(NotOwner::HeldByAnother));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOwner {
    /// No thread holds the lock.
    Free,
    /// Another thread holds the lock, in this process or in another process.
    HeldByAnother,
    /// The calling thread holds the lock by a guard, which releases it.
    HeldByGuard,
}

impl fmt::Display for NotOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free => {
                "no thread holds the lock, so this thread can neither release it nor wait or notify with it: \
                 take it first"
            }
            Self::HeldByAnother => {
                "another thread holds the lock, so this one can neither release it nor wait or notify with it: \
                 a lock that another may release is a HandoffLock"
            }
            Self::HeldByGuard => {
                "this thread holds the lock by a guard, and not by acquire: drop the guard to release it"
            }
        })
    }
}

impl core::error::Error for NotOwner {}

impl From<NotOwner> for Refused {
    fn from(why: NotOwner) -> Self {
        Self::NotOwner(why)
    }
}

impl core::error::Error for Refused {}

/// A lock without data. [`Lock`](crate::sync::lock::Lock) adds the data.
///
/// # Safety
/// After `take` has returned `Ok(true)`, and until `release`, every other `take` of the same object waits or returns
/// another result. What the holder wrote before `release` is seen by the next taker.
///
/// # Examples
/// ```
/// use ossature_sys::{futex::{Limit, WordLock}, scope::RawLock};
///
/// fn with<R>(lock: &impl RawLock, body: impl FnOnce() -> R) -> Option<R> {
///     if lock.take(Limit::NOW) != Ok(true) {
///         return None;
///     }
///     let answer = body();
///     // SAFETY: this thread took the lock above.
///     unsafe { lock.release() };
///     Some(answer)
/// }
/// let lock = WordLock::new();
/// assert_eq!(with(&lock, || RawLock::is_held(&lock)), Some(true));
/// assert!(!RawLock::is_held(&lock));
/// ```
pub unsafe trait RawLock {
    /// Takes the lock, and waits within the limit. Returns `Ok(false)` if the time ran out or the wait was cancelled.
    ///
    /// # Errors
    /// [`Refused`], when a wait makes no sense.
    fn take(&self, limit: Limit<'_>) -> Result<bool, Refused>;

    /// Gives the lock back.
    ///
    /// # Safety
    /// The calling thread took it and has not released it since. (A forked child that inherited a guard may call this:
    /// it does nothing there, since the child is not the owner.)
    unsafe fn release(&self);

    /// Whether a thread held the lock a moment ago.
    fn is_held(&self) -> bool;

    /// Checks that the calling thread holds the lock. A lock that does not know its holder trusts the guard.
    ///
    /// # Errors
    /// [`Refused::NotOwner`], or the error of a lock that was marked as unrecoverable meanwhile.
    #[inline]
    fn check(&self) -> Result<(), Refused> {
        Ok(())
    }

    /// Marks the data as abandoned, as if the holder had died. Called by the holder.
    fn mark_abandoned(&self) {}

    /// Whether a holder died and nobody has repaired the data since.
    fn abandoned(&self) -> bool {
        false
    }

    /// Marks the data as consistent again. Called by the holder.
    fn mark_consistent(&self) {}

    /// Whether [`mark_unrecoverable`](Self::mark_unrecoverable) does more than release.
    const CAN_BE_UNRECOVERABLE: bool = false;

    /// Releases the lock for good: every later `take` fails, in a scope whose locks can refuse.
    ///
    /// # Safety
    /// As for [`release`](Self::release).
    unsafe fn mark_unrecoverable(&self) {
        // SAFETY: same obligation, passed on.
        unsafe { self.release() }
    }
}

/// A raw lock that knows its holder.
///
/// # Safety
/// `is_mine` returns `true` only in the thread that took the lock and has not released it since, and for shared memory
/// not in its forked child. (Of a private lock the child has a copy, which the child holds.)
///
/// # Examples
/// ```
/// use ossature_sys::scope::{NotOwner, Owned, Scope};
/// use ossature_sys::sync::{Local, Lock};
///
/// fn release_late<S: Scope>(lock: &Lock<(), S>) -> Result<(), NotOwner>
/// where
///     S::Lock: Owned,
/// {
///     lock.release()
/// }
/// let lock: Lock<(), Local> = Lock::local(());
/// assert_eq!(release_late(&lock), Err(NotOwner::Free));
/// assert!(lock.acquire().is_ok() && release_late(&lock).is_ok());
/// ```
pub unsafe trait Owned: RawLock {
    /// Whether the calling thread holds the lock.
    fn is_mine(&self) -> bool;

    /// Like [`check`](RawLock::check), for a lock that knows its holder.
    ///
    /// # Errors
    /// [`NotOwner`], which shows whether another thread holds the lock.
    #[inline]
    fn check_holder(&self) -> Result<(), NotOwner> {
        if self.is_mine() {
            return Ok(());
        }
        Err(if self.is_held() { NotOwner::HeldByAnother } else { NotOwner::Free })
    }

    /// Takes the lock, unless the calling thread holds it and `again` returns true. Returns `Ok(None)` in that case.
    ///
    /// # Errors
    /// As for [`take`](RawLock::take).
    #[inline]
    fn take_unless(&self, again: impl FnOnce() -> bool, limit: Limit<'_>) -> Result<Option<bool>, Refused> {
        if self.is_mine() && again() { Ok(None) } else { self.take(limit).map(Some) }
    }
}
