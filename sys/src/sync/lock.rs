//! Mutual exclusion around data.
//!
//! One implementation for three scopes. `Lock<T>` is for threads and works in a `static`. `Lock<T, Shared>` lives in a
//! [`Shm`](crate::shm::Shm) and survives the death of any process at any instruction. `Lock<T, Local>` is for code that
//! is generic over the scope but runs in one thread.
//!
//! ```
//! use ossature_sys::sync::lock::Lock;
//!
//! static TOTAL: Lock<u64> = Lock::new(0);
//! *TOTAL.lock() += 5;
//! assert_eq!(*TOTAL.lock(), 5);
//! ```
//!
//! Between processes:
//!
//! ```standalone_crate
//! use ossature_sys::{process::fork, scope::Shared, shm::Shm, sync::lock::Lock};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let total = Shm::place(Lock::<u64, Shared>::shared(40))?;
//! let mut child = fork(|| {
//!     *total.lock().unwrap() += 2;
//!     0
//! })?;
//! child.wait()?;
//! assert_eq!(*total.lock()?, 42);
//! # Ok(()) }
//! ```
//!
//! **When a holder is killed** (scope `Shared`) the next taker gets the lock at once. Its guard is
//! [`abandoned`](Guard::abandoned), and so is every later guard until one of them calls
//! [`mark_consistent`](Guard::mark_consistent). A holder that cannot repair the data calls
//! [`mark_unrecoverable`](Guard::mark_unrecoverable), and every later call to lock fails.
//!
//! ```standalone_crate
//! use ossature_sys::{process::fork, shm::Shm, signal::{Signal, raise}, sync::{Lock, Shared}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pair = Shm::place(Lock::<[u64; 2], Shared>::shared([1, 1]))?;
//! fork(|| {
//!     let mut pair = pair.lock().unwrap();
//!     pair[0] = 2;
//!     let _ = raise(Signal::KILL); // the process dies with the lock held
//!     0
//! })?
//! .wait()?;
//! let mut pair = pair.lock()?;
//! assert!(pair.abandoned());
//! pair[1] = pair[0]; // whatever repairs the data
//! pair.mark_consistent();
//! # Ok(()) }
//! ```
//!
//! Only a death abandons. A guard that is dropped by a panic is an ordinary release, as with other locks that do not
//! poison. Where that matters, call [`abandon`](Guard::abandon) on the way out.
//!
//! **What it cannot see.** A guard that is leaked (`mem::forget`) holds the lock until its thread ends, and that end
//! counts as a death. Do not keep a reference to the data beyond it. A holder whose data another thread works on must
//! outlive that work. A signal handler must not take a shared lock: it would overwrite what the interrupted take has
//! announced. A holder that dumps core gives the lock up when the dump is written. A holder that runs out of memory may
//! lose its list to the kernel's reaper.
//!
//! | scope | state word, bits | meaning |
//! | --- | --- | --- |
//! | `Private` | all | 0 free; 1 held; 2 held, and a thread may sleep |
//! | `Shared` | `0..30` | the kernel's id of the thread that holds it, 0 when it is free |
//! | `Shared` | `30` | the kernel found the holder dead |
//! | `Shared` | `31` | a thread may sleep on the word |
//! | `Shared` | `32..64` | how often a word that was not plainly free was taken |
//! | `Local` | all | held or not |
//!
//! **Cost.** A free lock is taken and released with one atomic compare-exchange each, in every scope but `Local`, and
//! without a system call.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use crate::atomic::const_unless_loom;
use crate::errno::Result as ErrnoResult;
use crate::futex::{Limit, WordLock};
use crate::shm::{Fingerprint, Init, Nodes, Shareable};
use crate::sync::condition::Held;
use crate::sync::local::LocalLock;
use crate::sync::scope::{Local, Owned, Private, RawLock, Refused, Scope, Shared};
use crate::sync::shared::SharedLock;
use crate::thread_bound::StaysInItsThread;

/// Data that one thread at a time may use.
///
/// Differs from Python's `threading.Lock`: the data is inside, and dropping the guard releases the lock. In scope
/// [`Shared`] it belongs to the thread that took it.
///
/// A holder that is stopped, not dead, keeps the lock: a take without a limit waits until the holder continues.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{shm::Shm, sync::{Local, Lock}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut list = Lock::new(vec![1]);
/// list.lock().push(2);
/// let held = list.lock();
/// assert!(list.is_locked() && list.try_lock().is_none());
/// assert!(list.lock_timeout(Duration::from_millis(1)).is_none());
/// drop(held);
/// list.get_mut().push(3); // no other code has the lock
/// assert_eq!(list.into_inner(), [1, 2, 3]);
///
/// let here: Lock<u32, Local> = Lock::local(5); // for one thread
/// assert_eq!(*here.lock()?, 5);
/// let shared = Shm::place_locked_slice(10, |index| index as u32)?; // for processes
/// assert!(shared.len() == 10 && !shared.is_empty());
/// assert_eq!(shared.lock()?[9], 9);
/// assert!(!shared.is_mine());
/// # Ok(()) }
/// ```
#[doc(alias = "Mutex")]
#[repr(C)]
pub struct Lock<T: ?Sized, S: Scope = Private> {
    pub(super) raw: S::Lock,
    pub(super) data: UnsafeCell<T>,
}

// SAFETY: the data goes to one thread at a time (the contract of RawLock), so it need only be Send; the raw lock says
// itself whether it may be shared.
unsafe impl<T: ?Sized + Send, S: Scope> Sync for Lock<T, S> where S::Lock: Sync {}

impl<T> Lock<T> {
    const_unless_loom! {
        /// A free lock for threads, usable in a `static`.
        pub const fn new(data: T) -> Self {
            Self { raw: WordLock::new(), data: UnsafeCell::new(data) }
        }
    }
}

impl<T> Lock<T, Local> {
    /// A free lock for a single thread.
    pub const fn local(data: T) -> Self {
        Self { raw: LocalLock::new(), data: UnsafeCell::new(data) }
    }
}

impl<T> Lock<T, Shared> {
    /// Returns an initialiser with which [`Shm::place`](crate::shm::Shm::place) makes a free shared lock.
    ///
    /// A shared lock on the stack or on the heap cannot exist: it would be unmapped while the kernel still knows it.
    ///
    /// ```compile_fail
    /// use ossature_sys::{scope::Shared, sync::lock::Lock};
    /// let stray: Lock<u32, Shared> = Lock::shared(0); // an initialiser is not a lock
    /// ```
    ///
    /// The data is lent as `&mut`, so it could be moved. A lock must not be moved, so the data contains no locks. Put
    /// the locks beside each other.
    ///
    /// ```compile_fail
    /// use ossature_sys::{scope::Shared, shm::Shm, sync::lock::Lock};
    /// let nested = Shm::place(Lock::<Lock<u32, Shared>, Shared>::shared(Lock::shared(0)));
    /// ```
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{shm::Shm, sync::{Lock, Shared, lock::SharedInit}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let init: SharedInit<u64> = Lock::<u64, Shared>::shared(40);
    /// let total = Shm::place(init)?;
    /// *total.lock()? += 2;
    /// assert_eq!(*total.lock()?, 42);
    /// # Ok(()) }
    /// ```
    pub fn shared<I: Init<T>>(data: I) -> SharedInit<I>
    where
        T: Shareable, // here and not above, so that the compiler says what may live in shared memory
    {
        const {
            assert!(
                !T::LOCKS,
                "a shared lock cannot contain another lock, which must not move: place the locks beside each other"
            )
        };
        SharedInit(data)
    }
}

impl<T: Shareable> Lock<[T], Shared> {
    /// The size and alignment of a lock around `len` values; `None` if they exceed the address space.
    pub(crate) fn layout(len: usize) -> Option<Layout> {
        const {
            assert!(
                !T::LOCKS,
                "a shared lock cannot contain another lock, which must not move: place the locks beside each other"
            )
        };
        let (both, _) = Layout::new::<SharedLock>().extend(Layout::array::<T>(len).ok()?).ok()?;
        Some(both.pad_to_align())
    }

    /// Makes a free lock around the slice in `place`, which has the slice's length.
    ///
    /// # Safety
    /// As for [`Init::init`], of as many bytes as [`layout`](Self::layout) says.
    pub(crate) unsafe fn init_slice<I: Init<T>>(place: *mut Self, mut init: impl FnMut(usize) -> I) -> ErrnoResult<()> {
        // SAFETY: `place` is valid for writes of a whole lock (the caller's obligation), so its field is in bounds.
        let raw = unsafe { &raw mut (*place).raw };
        // SAFETY: the field is in the shared mapping that the caller vouches for.
        unsafe { SharedLock::init(raw) }?;
        // SAFETY: as for `raw`.
        let data = UnsafeCell::raw_get(unsafe { &raw const (*place).data });
        for index in 0..data.len() {
            let item = data.cast::<T>().wrapping_add(index);
            // SAFETY: the item is inside the slice, whose place meets the conditions of `Init::init`.
            unsafe { init(index).init(item) }?;
        }
        Ok(())
    }
}

/// An initialiser that makes a shared [`Lock`] where a [`Shm`](crate::shm::Shm) puts it.
///
/// # Examples
/// See the example of [`Lock::shared`].
#[derive(Clone, Copy, Debug)]
#[must_use = "an initialiser does nothing until it is placed"]
pub struct SharedInit<I>(I);

// SAFETY: both fields are written, so the place holds a valid lock on success.
unsafe impl<T: Shareable, I: Init<T>> Init<Lock<T, Shared>> for SharedInit<I> {
    unsafe fn init(self, place: *mut Lock<T, Shared>) -> ErrnoResult<()> {
        // SAFETY: `place` is valid for writes of a whole lock (the caller's obligation), so its field is in bounds.
        let raw = unsafe { &raw mut (*place).raw };
        // SAFETY: the field is in the shared mapping that the caller vouches for.
        unsafe { SharedLock::init(raw) }?;
        // SAFETY: as for `raw`.
        let data = unsafe { &raw mut (*place).data };
        // SAFETY: `UnsafeCell<T>` has the layout of `T`, and the place is valid for writes of it.
        unsafe { self.0.init(data.cast()) }
    }
}

// SAFETY: a shared lock holds no pointer that any thread but its holder follows, has no Drop, is repr(C), and any state
// that a killed process leaves is one of the states of the word's table; the data is Shareable itself.
unsafe impl<T: ?Sized + Shareable> Shareable for Lock<T, Shared> {
    const FINGERPRINT: Fingerprint = Fingerprint::primitive_around("Lock", T::FINGERPRINT);
    const LOCKS: bool = true;

    unsafe fn nodes(place: *const Self, visit: &mut Nodes) {
        // SAFETY: `place` points to a lock in a mapping (the caller's obligation).
        let raw = unsafe { &raw const (*place).raw };
        // SAFETY: the field of a valid lock is a valid raw lock, and its atomics may be read beside writers.
        let raw = unsafe { &*raw };
        visit.note(raw.is_linked_here());
        // SAFETY: as for `raw`.
        let data = unsafe { &raw const (*place).data };
        // SAFETY: `UnsafeCell<T>` has the layout of `T`; nested nodes are atomics too.
        unsafe { T::nodes(UnsafeCell::raw_get(data), visit) };
    }
}

impl<T: ?Sized, S: Scope> Lock<T, S> {
    /// Takes the lock, and waits without a limit.
    ///
    /// # Errors
    /// In `Shared`: [`Unrecoverable`](crate::scope::Refused::Unrecoverable),
    /// [`WouldDeadlock`](crate::scope::Refused::WouldDeadlock) when this thread holds it already,
    /// [`TooMany`](crate::scope::Refused::TooMany). In `Local`: `WouldDeadlock`, since no thread could release it
    /// meanwhile.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> S::Outcome<Guard<'_, T, S>> {
        S::outcome(match self.raw.take(Limit::NEVER) {
            Ok(_) => Ok(self.guard()),
            Err(refused) => Err(refused),
        })
    }

    /// Takes the lock if it is free. Returns `None` if a thread holds it, also if the caller does.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock), but never [`WouldDeadlock`](crate::scope::Refused::WouldDeadlock).
    #[inline]
    pub fn try_lock(&self) -> S::Outcome<Option<Guard<'_, T, S>>> {
        self.lock_timeout(Limit::NOW)
    }

    /// Takes the lock, and waits within the limit. Returns `None` if the time ran out or the wait was
    /// [cancelled](crate::futex::Cancel). The holder itself also gets `None`: in `Local` at once, elsewhere after its
    /// time.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock), but [`WouldDeadlock`](crate::scope::Refused::WouldDeadlock) only for a limit that
    /// never ends.
    #[inline]
    pub fn lock_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<Option<Guard<'_, T, S>>> {
        S::outcome(self.raw.take(limit.into()).map(|taken| taken.then(|| self.guard())))
    }

    /// Whether a thread held the lock a moment ago.
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.raw.is_held()
    }

    #[inline]
    pub(super) fn guard(&self) -> Guard<'_, T, S> {
        Guard { lock: self, stays: PhantomData }
    }
}

impl<T: ?Sized, S: Scope> Lock<T, S>
where
    S::Lock: Owned,
{
    /// Whether the calling thread holds the lock.
    #[doc(alias = "_is_owned")]
    #[inline]
    pub fn is_mine(&self) -> bool {
        self.raw.is_mine()
    }
}

impl<T, S: Scope> Lock<[T], S> {
    /// The number of values in the lock. It never changes, so the caller need not hold the lock.
    #[inline]
    pub fn len(&self) -> usize {
        // The length is in the pointer: nothing of the data is read.
        (core::ptr::from_ref(self) as *const [T]).len()
    }

    /// Whether the lock contains no values.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Lock<T> {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}

impl<T> Lock<T> {
    /// Returns the data without locking: the lock is consumed, so no other thread has it.
    pub fn into_inner(self) -> T {
        self.data.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// Returns the data without locking: no other reference can exist.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}

impl<T: ?Sized + fmt::Debug, S: Scope> fmt::Debug for Lock<T, S> {
    /// Shows the data if the lock is free; never waits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Lock");
        match S::settle(self.try_lock()) {
            Ok(Some(guard)) => shown.field("data", &&*guard),
            Ok(None) => shown.field("data", &format_args!("<locked>")),
            Err(refused) => shown.field("data", &format_args!("<{refused:?}>")),
        }
        .finish()
    }
}

/// Access to the data of a [`Lock`]; dropping the guard releases the lock.
///
/// Not `Send`: the lock belongs to the thread that took it.
///
/// ```compile_fail
/// use ossature_sys::sync::lock::Lock;
/// static LOCK: Lock<u32> = Lock::new(0);
/// let guard = LOCK.lock();
/// std::thread::spawn(move || drop(guard)); // a guard does not cross threads
/// ```
///
/// # Examples
/// ```
/// use ossature_sys::{scope::Refused, shm::Shm, sync::Lock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counts = Shm::place(Lock::shared([1_u64, 1]))?;
/// let mut guard = counts.lock()?;
/// guard[0] = 2;
/// guard.abandon(); // this holder cannot finish what it began
/// let mut guard = counts.lock()?;
/// assert!(guard.abandoned());
/// guard[1] = 2;
/// guard.mark_consistent();
/// drop(guard);
/// counts.lock()?.mark_unrecoverable();
/// assert_eq!(counts.lock().unwrap_err(), Refused::Unrecoverable);
/// # Ok(()) }
/// ```
#[must_use = "the lock is released at once unless the guard is kept"]
pub struct Guard<'l, T: ?Sized, S: Scope = Private> {
    pub(super) lock: &'l Lock<T, S>,
    /// Raw pointers are not Send, so neither is the guard.
    stays: PhantomData<StaysInItsThread>,
}

// SAFETY: a shared guard lends `&T`, and lets others ask the lock, which may itself be bound to its thread.
unsafe impl<T: ?Sized + Sync, S: Scope> Sync for Guard<'_, T, S> where S::Lock: Sync {}

impl<T: ?Sized, S: Scope> Guard<'_, T, S> {
    /// Whether a holder of the lock died and nobody has repaired the data since. Always `false` outside `Shared`.
    #[doc(alias = "poison")]
    #[doc(alias = "EOWNERDEAD")]
    #[inline]
    pub fn abandoned(&self) -> bool {
        self.lock.raw.abandoned()
    }

    /// Marks the data as consistent again after a holder died. It repairs nothing itself.
    #[doc(alias = "clear_poison")]
    #[doc(alias = "pthread_mutex_consistent")]
    #[doc(alias = "repair")]
    #[inline]
    pub fn mark_consistent(&mut self) {
        self.lock.raw.mark_consistent();
    }

    /// Releases the lock with its data marked as abandoned, as if this holder had died. A holder calls this when it
    /// cannot finish a change. In the other scopes, where a thread never dies alone, this is a plain release.
    pub fn abandon(self) {
        self.lock.raw.mark_abandoned();
    }

    /// Releases the lock and marks the data as unrecoverable: in `Shared` every later call to lock it fails with
    /// [`Unrecoverable`](crate::scope::Refused::Unrecoverable). In the other scopes, where a thread never dies alone,
    /// this is a plain release.
    #[doc(alias = "give_up")]
    #[doc(alias = "ENOTRECOVERABLE")]
    pub fn mark_unrecoverable(self) {
        let lock = self.lock;
        core::mem::forget(self);
        // SAFETY: the guard proves that this thread took the lock; it is forgotten, so it releases no second time.
        unsafe { lock.raw.mark_unrecoverable() };
    }
}

impl<T: ?Sized, S: Scope> Deref for Guard<'_, T, S> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: while the guard lives the lock is held, so no other code has a mutable reference.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized, S: Scope> DerefMut for Guard<'_, T, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: while the guard lives the lock is held, and the guard itself is borrowed mutably.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized, S: Scope> Drop for Guard<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard proves that this thread took the lock and has not released it; of a lock around nothing,
        // whose `release` may have been called meanwhile, see there.
        unsafe { self.lock.raw.release() };
    }
}

impl<T: ?Sized + fmt::Debug, S: Scope> fmt::Debug for Guard<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&&**self).finish()
    }
}

// SAFETY: the guard proves that this thread holds the lock; letting go releases it, and taking again is an ordinary
// take.
unsafe impl<T: ?Sized, S: Scope> Held for Guard<'_, T, S> {
    type Scope = S;
    // A lock of threads does not know its holder, so a wait with its guard is never refused. Around nothing the lock
    // can be released by name beside the guard, and the guard lends nothing then.
    type Answer<A> = S::Outcome<A>;

    fn answer<A>(result: Result<A, Refused>) -> S::Outcome<A> {
        S::outcome(result)
    }

    fn check(&self) -> Result<(), Refused> {
        self.lock.raw.check()
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned()
    }

    unsafe fn let_go(&self) -> u32 {
        // SAFETY: the caller does not use the guard until the lock is taken again.
        unsafe { self.lock.raw.release() };
        1
    }

    unsafe fn take_again(&self, _levels: u32) -> Result<(), Refused> {
        self.lock.raw.take(Limit::NEVER).map(drop)
    }
}
