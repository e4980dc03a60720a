//! Mutual exclusion with a lock that its holder may take again.
//!
//! ```
//! use core::cell::Cell;
//! use ossature_sys::sync::rlock::RLock;
//!
//! let depth = RLock::new(Cell::new(0));
//! let outer = depth.lock();
//! let inner = depth.lock(); // the same thread: at once
//! outer.set(inner.get() + 1);
//! assert_eq!(depth.lock().get(), 1);
//! ```
//!
//! A holder may have several guards at a time, so a guard lends `&T`, never `&mut T`. Data that is to change is a
//! `Cell`, an atomic, or in shared memory a [`Racy`](crate::shm::Racy).
//!
//! A wait for a [`Condition`](super::condition::Condition) releases every level, as in Python, while the thread's other
//! guards still lend the data. So the data must be `Sync` for a wait. Use atomics instead of a `Cell`, or put the
//! `Cell` into a [`Lock`](super::lock::Lock), which has only one guard.
//!
//! ```compile_fail,E0277
//! use core::cell::Cell;
//! use ossature_sys::sync::{condition::Condition, rlock::RLock};
//!
//! let lock = RLock::new(Cell::new(0));
//! let lent = lock.lock();
//! let _ = Condition::new().wait(lock.lock()); // `Cell` is not Sync, and `lent` still lends it
//! lent.set(1);
//! ```
//!
//! | field | meaning |
//! | --- | --- |
//! | the scope's raw lock | taken at the first level, given back at the last; knows its holder |
//! | depth | the number of levels that the holder has; without meaning while the lock is free |
//!
//! **When a holder is killed** (scope `Shared`) the next taker gets the lock at once, at its first level, and its guard
//! is [`abandoned`](RLockGuard::abandoned), as with [`Lock`](super::lock::Lock).
//!
//! **A forgotten guard** (`mem::forget`) keeps its level. In `Private` the lock stays taken after such a thread has
//! ended: no later thread is mistaken for the holder.
//!
//! **Cost.** The first level is the raw lock's cost; each further level is a look at the holder and a store.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::atomic::const_unless_loom;
use crate::futex::{Limit, WordLock};
use crate::shm::{Fingerprint, Init, InitWith, Nodes, Shareable};
use crate::sync::condition::Held;
use crate::sync::local::LocalLock;
use crate::sync::scope::{Local, Owned, Private, RawLock, Refused, Scope, Shared};
use crate::sync::shared::SharedLock;
use crate::sync::thread_number;
use crate::thread_bound::StaysInItsThread;

/// The raw lock of threads that knows its holder, by the number (see `thread_number`) of the holder's thread.
///
/// # Examples
/// ```
/// use ossature_sys::scope::{Owned, Private, Scope};
/// use ossature_sys::sync::rlock::OwnedWord;
///
/// fn is_held_here(lock: &OwnedWord) -> bool {
///     lock.is_mine()
/// }
/// let _: fn(&<Private as Scope>::RLock) -> bool = is_held_here; // the raw lock of this scope
/// ```
#[derive(Debug)]
pub struct OwnedWord {
    word: WordLock,
    owner: AtomicU64,
}

/// The number that means no thread. It differs from the value for a thread without a number, too.
const NOBODY: u64 = u64::MAX;

impl OwnedWord {
    const_unless_loom! {
        const fn new() -> Self {
            Self { word: WordLock::new(), owner: AtomicU64::new(NOBODY) }
        }
    }
}

// SAFETY: the word excludes; the owner beside it is only stored by the holder.
unsafe impl RawLock for OwnedWord {
    #[inline]
    fn take(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        let taken = self.word.take(limit);
        if taken {
            self.owner.store(thread_number::mine(), Relaxed);
        }
        Ok(taken)
    }

    #[inline]
    unsafe fn release(&self) {
        self.owner.store(NOBODY, Relaxed);
        // SAFETY: the same obligation, passed on.
        unsafe { self.word.release() };
    }

    fn is_held(&self) -> bool {
        self.word.is_held()
    }

    #[inline]
    fn check(&self) -> Result<(), Refused> {
        Ok(self.check_holder()?)
    }
}

// SAFETY: a thread finds its own number there only if it stored it itself and has not cleared it since: no other thread
// of the process ever has that number, and `NOBODY` is none.
unsafe impl Owned for OwnedWord {
    #[inline]
    fn is_mine(&self) -> bool {
        self.owner.load(Relaxed) == thread_number::known()
    }

    // With one look at the number.
    #[inline]
    fn take_unless(&self, again: impl FnOnce() -> bool, limit: Limit<'_>) -> Result<Option<bool>, Refused> {
        let me = thread_number::mine();
        if self.owner.load(Relaxed) == me && again() {
            return Ok(None);
        }
        let taken = self.word.take(limit);
        if taken {
            self.owner.store(me, Relaxed);
        }
        Ok(Some(taken))
    }
}

/// Data that one thread at a time may read; the thread may take the lock again, to any depth.
///
/// Differs from Python's `threading.RLock`: the data is inside, and a level is given back by dropping its guard. So
/// another thread cannot give it back.
///
/// A holder that is stopped, not dead, keeps the lock: a take without a limit waits until the holder continues.
///
/// # Examples
/// ```
/// use core::{cell::Cell, time::Duration};
/// use ossature_sys::{shm::Shm, sync::{Local, RLock}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut lock = RLock::new(Cell::new(1));
/// let outer = lock.lock();
/// let inner = lock.try_lock().expect("this thread holds it");
/// let third = lock.lock_timeout(Duration::from_secs(1)).expect("as above");
/// assert!(lock.depth() == 3 && lock.is_mine() && lock.is_locked());
/// third.set(2);
/// drop((outer, inner, third)); // in any order
/// lock.get_mut().set(3);
/// assert_eq!(lock.into_inner().get(), 3);
///
/// let here: RLock<u32, Local> = RLock::local(5);
/// assert_eq!(*here.lock()?, 5);
/// let shared = Shm::place(RLock::shared(7_u32))?;
/// assert_eq!(*shared.lock()?, 7);
/// # Ok(()) }
/// ```
#[doc(alias = "ReentrantMutex")]
#[repr(C)]
pub struct RLock<T: ?Sized, S: Scope = Private> {
    pub(super) raw: S::RLock,
    depth: AtomicU32,
    data: T,
}

// SAFETY: only one thread at a time gets a reference, so the data need only be Send; the raw lock says itself whether
// it may be shared.
unsafe impl<T: ?Sized + Send, S: Scope> Sync for RLock<T, S> where S::RLock: Sync {}

impl<T> RLock<T> {
    const_unless_loom! {
        /// A free lock for threads, usable in a `static`.
        pub const fn new(data: T) -> Self {
            Self { raw: OwnedWord::new(), depth: AtomicU32::new(0), data }
        }
    }

    /// Returns the data without locking: the lock is consumed, so no other thread has it.
    pub fn into_inner(self) -> T {
        self.data
    }
}

impl<T: ?Sized> RLock<T> {
    /// Returns the data without locking: no other reference can exist.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

impl<T: Default> Default for RLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> RLock<T, Local> {
    /// A free lock for a single thread.
    pub const fn local(data: T) -> Self {
        Self { raw: LocalLock::new(), depth: AtomicU32::new(0), data }
    }
}

impl<T> RLock<T, Shared> {
    /// Returns an initialiser with which [`Shm::place`](crate::shm::Shm::place) makes a free shared lock.
    pub fn shared<I: Init<T>>(data: I) -> impl Init<Self>
    where
        T: Shareable, // here and not above, so that the compiler says what may live in shared memory
    {
        let write = move |place: *mut Self| {
            // SAFETY: `place` is valid for writes of a whole lock (the caller's obligation), so its field is in bounds.
            let raw = unsafe { &raw mut (*place).raw };
            // SAFETY: the field is in the shared mapping that the caller vouches for.
            unsafe { SharedLock::init(raw) }?;
            // SAFETY: as for `raw`.
            let depth = unsafe { &raw mut (*place).depth };
            // SAFETY: as for `raw`.
            unsafe { depth.write(AtomicU32::new(0)) };
            // SAFETY: as for `raw`.
            let inner = unsafe { &raw mut (*place).data };
            // SAFETY: the place is valid for writes of the data.
            unsafe { data.init(inner) }
        };
        // SAFETY: every field is made.
        unsafe { InitWith::new(write) }
    }
}

// SAFETY: as for `Lock`: no pointer that any thread but the holder follows, no Drop, repr(C), any state of the raw lock
// is one of its table's, any depth is overwritten by the next taker. The data is Shareable itself, and never lent
// mutably.
unsafe impl<T: Shareable> Shareable for RLock<T, Shared> {
    const FINGERPRINT: Fingerprint = Fingerprint::primitive_around("RLock", T::FINGERPRINT);
    const LOCKS: bool = true;

    unsafe fn nodes(place: *const Self, visit: &mut Nodes) {
        // SAFETY: `place` points to a lock in a mapping (the caller's obligation).
        let raw = unsafe { &raw const (*place).raw };
        // SAFETY: the field of a valid lock is a valid raw lock, and its atomics may be read beside writers.
        let raw = unsafe { &*raw };
        visit.note(raw.is_linked_here());
        // SAFETY: as for `raw`.
        let data = unsafe { &raw const (*place).data };
        // SAFETY: the data is in the mapping that the caller vouches for.
        unsafe { T::nodes(data, visit) };
    }
}

impl<T: ?Sized, S: Scope> RLock<T, S> {
    /// Takes a level, and waits without a limit while another thread holds the lock.
    ///
    /// # Errors
    /// In `Shared`: [`Unrecoverable`](Refused::Unrecoverable), [`TooMany`](Refused::TooMany). Beyond 2^32 - 1 levels
    /// this thread counts as another thread. The thread waits for itself in `Private`, and gets
    /// [`WouldDeadlock`](Refused::WouldDeadlock) in the others.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> S::Outcome<RLockGuard<'_, T, S>> {
        S::outcome(self.enter(Limit::NEVER).map(|_| self.guard()))
    }

    /// Takes a level if the lock is free or held by this thread. Returns `None` if another thread holds it.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> S::Outcome<Option<RLockGuard<'_, T, S>>> {
        self.lock_timeout(Limit::NOW)
    }

    /// Takes a level, and waits within the limit. Returns `None` if the time ran out or the wait was
    /// [cancelled](crate::futex::Cancel).
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    #[inline]
    pub fn lock_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<Option<RLockGuard<'_, T, S>>> {
        S::outcome(self.enter(limit.into()).map(|taken| taken.then(|| self.guard())))
    }

    /// Whether a thread held the lock a moment ago.
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.raw.is_held()
    }

    /// Whether the calling thread holds the lock.
    #[doc(alias = "_is_owned")]
    pub fn is_mine(&self) -> bool {
        self.raw.is_mine()
    }

    /// The number of levels that the calling thread holds.
    pub fn depth(&self) -> u32 {
        if self.raw.is_mine() { self.depth.load(Relaxed) } else { 0 }
    }

    #[inline]
    fn guard(&self) -> RLockGuard<'_, T, S> {
        RLockGuard { lock: self, stays: PhantomData }
    }

    #[inline]
    fn enter(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        let again = || {
            let deeper = self.depth.load(Relaxed).wrapping_add(1);
            // Beyond 2^32 - 1 levels the raw lock returns the error.
            let there_is_one = deeper != 0;
            if there_is_one {
                self.depth.store(deeper, Relaxed);
            }
            there_is_one
        };
        match self.raw.take_unless(again, limit)? {
            None => Ok(true),
            Some(taken) => {
                if taken {
                    self.depth.store(1, Relaxed);
                }
                Ok(taken)
            }
        }
    }

    #[inline]
    pub(super) fn leave(&self) {
        // Not so in a forked child that inherited a guard: the lock is its parent's.
        if !self.raw.is_mine() {
            return;
        }
        let depth = self.depth.load(Relaxed);
        if depth > 1 {
            return self.depth.store(depth - 1, Relaxed);
        }
        // SAFETY: this thread is the holder, and this was its last level.
        unsafe { self.raw.release() };
    }
}

impl<T: ?Sized + Sync, S: Scope> RLock<T, S> {
    /// Releases all levels. Returns how many there were.
    ///
    /// # Safety
    /// The calling thread holds the lock. No code relies on that until [`take_again`](Self::take_again).
    pub(super) unsafe fn let_go(&self) -> u32 {
        let levels = self.depth.swap(0, Relaxed);
        // SAFETY: this thread is the holder (the caller's obligation).
        unsafe { self.raw.release() };
        levels
    }

    /// Takes the lock again with the same number of levels as before.
    pub(super) fn take_again(&self, levels: u32) -> Result<(), Refused> {
        self.raw.take(Limit::NEVER)?;
        self.depth.store(levels, Relaxed);
        Ok(())
    }
}

impl<T: ?Sized + fmt::Debug, S: Scope> fmt::Debug for RLock<T, S> {
    /// Shows the data if the lock is free or held by this thread; never waits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RLock");
        match S::settle(self.try_lock()) {
            Ok(Some(guard)) => shown.field("data", &&*guard),
            Ok(None) => shown.field("data", &format_args!("<locked>")),
            Err(refused) => shown.field("data", &format_args!("<{refused:?}>")),
        }
        .finish()
    }
}

/// One level of an [`RLock`]; dropping it gives the level back.
///
/// Not `Send`: the lock belongs to the thread that took it.
///
/// ```compile_fail
/// use ossature_sys::sync::rlock::RLock;
/// static LOCK: RLock<u32> = RLock::new(0);
/// let guard = LOCK.lock();
/// std::thread::spawn(move || drop(guard)); // a guard does not cross threads
/// ```
///
/// # Examples
/// ```
/// use ossature_sys::{scope::Refused, shm::Shm, sync::RLock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lock = Shm::place(RLock::shared(7_u32))?;
/// lock.lock()?.abandon();
/// let guard = lock.lock()?;
/// assert!(guard.abandoned());
/// guard.mark_consistent();
/// assert!(!guard.abandoned());
/// guard.mark_unrecoverable();
/// assert_eq!(lock.lock().unwrap_err(), Refused::Unrecoverable);
/// # Ok(()) }
/// ```
#[must_use = "the level is given back at once unless the guard is kept"]
pub struct RLockGuard<'l, T: ?Sized, S: Scope = Private> {
    lock: &'l RLock<T, S>,
    /// Raw pointers are not Send, so neither is the guard.
    stays: PhantomData<StaysInItsThread>,
}

// SAFETY: a shared guard lends `&T`, and lets others ask the lock, which may itself be bound to its thread.
unsafe impl<T: ?Sized + Sync, S: Scope> Sync for RLockGuard<'_, T, S> where S::RLock: Sync {}

impl<T: ?Sized, S: Scope> RLockGuard<'_, T, S> {
    /// Whether a holder of the lock died and nobody has repaired the data since. Always `false` outside `Shared`.
    #[inline]
    pub fn abandoned(&self) -> bool {
        self.lock.raw.abandoned()
    }

    /// Marks the data as consistent again after a holder died. It repairs nothing itself.
    #[doc(alias = "repair")]
    #[inline]
    pub fn mark_consistent(&self) {
        self.lock.raw.mark_consistent();
    }

    /// Gives this level back with the data marked as abandoned, as if the holder had died. In the other scopes, where a
    /// thread never dies alone, the data is not marked.
    pub fn abandon(self) {
        self.lock.raw.mark_abandoned();
    }

    /// Releases all levels of the lock and marks the data as unrecoverable: in `Shared` every later call to lock it
    /// fails with [`Unrecoverable`](Refused::Unrecoverable). In the other scopes, where a thread never dies alone, this
    /// gives one level back.
    #[doc(alias = "give_up")]
    pub fn mark_unrecoverable(self) {
        if S::RLock::CAN_BE_UNRECOVERABLE {
            // SAFETY: the guard proves that this thread holds the lock. Guards of other levels give access to this
            // thread only, since no other thread gets in any more. When they are dropped, they find that they no longer
            // hold the lock.
            unsafe { self.lock.raw.mark_unrecoverable() };
        }
    }
}

impl<T: ?Sized, S: Scope> Deref for RLockGuard<'_, T, S> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.lock.data
    }
}

impl<T: ?Sized, S: Scope> Drop for RLockGuard<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        self.lock.leave();
    }
}

impl<T: ?Sized + fmt::Debug, S: Scope> fmt::Debug for RLockGuard<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RLockGuard").field(&&**self).finish()
    }
}

// SAFETY: `check` says whether this thread holds the lock; letting go releases every level of it. Guards of other
// levels continue to lend `&T` while another thread has the lock and is lent it as well: `T` is `Sync`.
unsafe impl<T: ?Sized + Sync, S: Scope> Held for RLockGuard<'_, T, S> {
    type Scope = S;
    type Answer<A> = Result<A, Refused>;

    fn answer<A>(result: Result<A, Refused>) -> Result<A, Refused> {
        result
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned()
    }

    fn check(&self) -> Result<(), Refused> {
        self.lock.raw.check()
    }

    unsafe fn let_go(&self) -> u32 {
        // SAFETY: this thread is the holder, and none of its guards is used until the lock is taken again.
        unsafe { self.lock.let_go() }
    }

    unsafe fn take_again(&self, levels: u32) -> Result<(), Refused> {
        self.lock.take_again(levels)
    }
}
