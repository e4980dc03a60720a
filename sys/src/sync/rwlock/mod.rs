//! A lock around data with many readers or one writer at a time.
//!
//! One implementation for three scopes, as for [`Lock`](super::lock::Lock). Any participant of an `RwLock<T, Shared>`
//! may be killed at any instruction, and the others continue.
//!
//! ```
//! use ossature_sys::sync::rwlock::RwLock;
//!
//! static TABLE: RwLock<[u32; 2]> = RwLock::new([1, 2]);
//! let (one, two) = (TABLE.read(), TABLE.read()); // at the same time
//! assert_eq!(one[0] + two[1], 3);
//! drop((one, two));
//! TABLE.write()[0] = 5; // alone
//! assert_eq!(TABLE.read()[0], 5);
//! ```
//!
//! Between processes:
//!
//! ```standalone_crate
//! use ossature_sys::{process::fork, scope::Shared, shm::Shm, sync::rwlock::RwLock};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = Shm::place(RwLock::<[u64; 2], Shared>::shared([10, 20]))?;
//! let mut child = fork(|| {
//!     limits.write().unwrap()[1] = 30;
//!     0
//! })?;
//! child.wait()?;
//! assert_eq!(*limits.read()?, [10, 30]);
//! # Ok(()) }
//! ```
//!
//! **Order.** A lock has one *turn*, which a writer has from its beginning to its end. While a writer has the turn,
//! even if it still waits for readers, no new reader is admitted. So readers never keep a writer waiting forever. A
//! reader that comes meanwhile waits for the turn too, on equal terms with other readers and writers. So writers do not
//! keep a reader waiting forever: threads take the turn as they take a [`Lock`](super::lock::Lock). There is no strict
//! order.
//!
//! **A second share of one thread.** A thread that reads and calls [`read`](RwLock::read) again:
//!
//! | scope | no writer waits | a writer waits |
//! | --- | --- | --- |
//! | `Private` | reads twice | waits forever: for the writer, which waits for this thread |
//! | `Shared` | reads twice | reads twice |
//! | `Local` | reads twice | impossible |
//!
//! **A reader cannot become the writer** while it reads. Two readers that wanted that would wait for each other. So
//! drop the read guard, take a write guard, and check the data again. A thread that calls [`write`](RwLock::write)
//! while it reads gets [`WouldDeadlock`](Refused::WouldDeadlock) in `Shared` and `Local`, and waits forever in
//! `Private`. The same holds for a thread that has a write guard and takes another guard.
//!
//! **When a participant is killed** (scope `Shared`):
//!
//! | the killed participant | what happens to the lock |
//! | --- | --- |
//! | reads | its share is returned at once, and a waiting writer continues; the data is unchanged |
//! | writes | the next participant gets the lock at once; the data is [`abandoned`](ReadGuard::abandoned) |
//! | waits to read or to write, chosen by a wake or not | the others continue; the data is unchanged |
//!
//! The data stays abandoned until a writer calls [`mark_consistent`](WriteGuard::mark_consistent). A reader sees that
//! the data is abandoned, but cannot repair it. A writer that cannot repair the data calls
//! [`mark_unrecoverable`](WriteGuard::mark_unrecoverable), and every later call fails. As with
//! [`Lock`](super::lock::Lock) only a death abandons; a panic is an ordinary release.
//!
//! ```standalone_crate
//! use ossature_sys::{process::fork, shm::Shm, signal::{Signal, raise}, sync::{RwLock, Shared}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pair = Shm::place(RwLock::<[u64; 2], Shared>::shared([1, 1]))?;
//! fork(|| {
//!     let mut pair = pair.write().unwrap();
//!     pair[0] = 2;
//!     let _ = raise(Signal::KILL); // the process dies while it writes
//!     0
//! })?
//! .wait()?;
//! assert!(pair.read()?.abandoned());
//! let mut pair = pair.write()?;
//! pair[1] = pair[0]; // whatever repairs the data
//! pair.mark_consistent();
//! # Ok(()) }
//! ```
//!
//! **Limits.** In `Shared` `N` threads can read at a time, by default 120; one more gets
//! [`TableFull`](Refused::TableFull). `N` is part of the type and 65,536 at most. A lock for 120 readers takes 6 kB,
//! and one for 8 takes 512 bytes with up to 48 bytes of data. Where the locks have the [pthread
//! form](crate::scope::LockBackend::Pthread), readers exclude each other, and a thread that reads cannot read twice. In
//! `Private` and `Local` there can be 1,073,741,823 read guards; one more waits for a guard to be dropped, and is
//! refused in `Local`.
//!
//! **Beside others.** The reader-writer locks of POSIX have no robust form: a killed reader of a `pthread_rwlock_t`
//! blocks writers forever, and a killed writer blocks all others. Three kinds of tests show that this lock survives.
//! One is a model with a death at every change of a word (`sys/tests/loom/rwlock.rs`). The others are a kill after
//! every instruction, and kills at random instants (`examples/storm`, `rwlock --step` and `rwlock`).
//!
//! What a [`Lock`](super::lock::Lock) cannot see, this lock cannot see either.
//!
//! **Cost.** Reading is one atomic instruction to begin and one to end, and no system call unless a writer is there. In
//! `Shared` readers on different processors usually change different cache lines. Writing is two to begin and two to
//! end, and a look at each share in use. Their number is at most about three times the maximum number of simultaneous
//! readers, and at most `N`. A reader looks at few shares unless nearly `N` threads read. A writer sleeps until one
//! reader after the other has left.
//!
//! | part of a shared lock | meaning |
//! | --- | --- |
//! | the turn | a word in the robust list of the writer, as in a `Lock` |
//! | the state | closed to new readers or not, written by a writer or not, abandoned or not |
//! | the shares | a word for each of up to `N` readers, in that reader's robust list |
//! | the data | |
//!
//! It contains no pointers to the outside, except for the links of the lists, which only the list's own thread follows.
//! The source of the private module `readers` describes the protocol, step by step, and the state after each death.

mod guards;

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::mem::offset_of;

use crate::atomic::const_unless_loom;
use crate::errno::Errno;
use crate::futex::{Limit, WordLock};
use crate::shm::{Fingerprint, Init, InitWith, Nodes, Shareable};
use crate::sync::gate::{LocalGate, PrivateGate};
use crate::sync::local::LocalLock;
use crate::sync::participants::SLOTS;
use crate::sync::readers::{Counted, Readers, Turns};
use crate::sync::scope::{Local, Private, RawLock, Refused, Scope, Shared};
use crate::sync::shared::SharedLock;

use guards::{Held, Raw, Slot};
pub use guards::{ReadGuard, WriteGuard};

/// Data that many threads may read at a time, or one thread may write.
///
/// Python has no such lock. In scope [`Shared`] a share and the right to write belong to the thread that took them.
///
/// A participant that is stopped, not dead, keeps what it has: a call without a limit waits until it continues.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{shm::Shm, sync::{Local, RwLock}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut list = RwLock::new(vec![1]);
/// list.write().push(2);
/// let reads = list.read();
/// assert!(list.try_read().is_some() && list.read_timeout(Duration::from_secs(1)).is_some());
/// assert!(list.try_write().is_none() && list.write_timeout(Duration::from_millis(1)).is_none());
/// assert_eq!((list.readers(), list.is_locked(), list.is_writing()), (1, true, false));
/// drop(reads);
/// list.get_mut().push(3); // no other code has the lock
/// assert_eq!(list.into_inner(), [1, 2, 3]);
///
/// let here: RwLock<u32, Local> = RwLock::local(5); // for one thread
/// assert_eq!(*here.read()?, 5);
/// let shared = Shm::place(RwLock::shared(7_u32))?; // for processes
/// *shared.write()? += 1;
/// assert_eq!(*shared.read()?, 8);
/// # Ok(()) }
/// ```
///
/// The data is lent to many threads at a time, so it must be `Sync`:
///
/// ```compile_fail,E0277
/// use core::cell::Cell;
/// use ossature_sys::sync::RwLock;
/// static LOCK: RwLock<Cell<u32>> = RwLock::new(Cell::new(0));
/// ```
#[doc(alias = "pthread_rwlock_t")]
#[doc(alias = "shared_mutex")]
#[repr(C)]
pub struct RwLock<T: ?Sized, S: Scope = Private, const N: usize = 120> {
    raw: Raw<S>,
    slots: [Slot<S>; N],
    data: UnsafeCell<T>,
}

// SAFETY: many threads may have `&T` at a time, and one at a time `&mut T`; the raw lock says itself whether it may be
// shared, and the shares may.
unsafe impl<T: ?Sized + Send + Sync, S: Scope, const N: usize> Sync for RwLock<T, S, N> where S::Lock: Sync {}

impl<T> RwLock<T> {
    const_unless_loom! {
        /// A free lock for threads, usable in a `static`.
        pub const fn new(data: T) -> Self {
            let raw = Turns { readers: Counted::new(PrivateGate), turn: WordLock::new() };
            Self { raw, slots: [(); 120], data: UnsafeCell::new(data) }
        }
    }

    /// Returns the data without locking: the lock is consumed, so no other thread has it.
    pub fn into_inner(self) -> T {
        self.data.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Returns the data without locking: no other reference can exist.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}

impl<T> RwLock<T, Local> {
    const_unless_loom! {
        /// A free lock for a single thread.
        pub const fn local(data: T) -> Self {
            let raw = Turns { readers: Counted::new(LocalGate), turn: LocalLock::new() };
            Self { raw, slots: [(); 120], data: UnsafeCell::new(data) }
        }
    }
}

impl<T> RwLock<T, Shared> {
    /// Returns an initialiser with which [`Shm::place`](crate::shm::Shm::place) makes a free shared lock with room for
    /// 120 readers.
    ///
    /// [`shared_with_capacity`](Self::shared_with_capacity) allows more. As with
    /// [`Lock::shared`](super::lock::Lock::shared), a shared lock on the stack or on the heap cannot exist, and there
    /// are no locks inside the data.
    ///
    /// ```compile_fail
    /// use ossature_sys::{shm::Shm, sync::{Lock, RwLock, Shared}};
    /// let nested = Shm::place(RwLock::<Lock<u32, Shared>, Shared>::shared(Lock::shared(0)));
    /// ```
    pub fn shared<I: Init<T>>(data: I) -> impl Init<Self>
    where
        T: Shareable, // here and not above, so that the compiler says what may live in shared memory
    {
        Self::shared_with_capacity(data)
    }
}

impl<T, const N: usize> RwLock<T, Shared, N> {
    /// Returns an initialiser of a shared lock with room for `N` readers. `N` is 65,536 at most.
    ///
    /// Each reader takes 48 bytes. A lock for more than 120 that is placed by itself begins with memory for its data
    /// and a few readers, and gets more when more readers come. In a struct or an arena, a lock has all its memory from
    /// the beginning.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{scope::Shared, shareable, shm::Shm, sync::RwLock};
    ///
    /// let many = Shm::place(RwLock::<u64, Shared, 1000>::shared_with_capacity(7))?;
    /// assert_eq!(*many.read().unwrap(), 7);
    ///
    /// shareable! {
    ///     struct Limits { limits: RwLock<[u32; 4], Shared, 8> }
    /// }
    /// let limits = Shm::place(Limits::init(RwLock::shared_with_capacity([1, 2, 3, 4])))?;
    /// assert_eq!(limits.limits.read().unwrap()[3], 4);
    /// assert!(size_of::<Limits>() <= 512);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    ///
    /// ```compile_fail
    /// use ossature_sys::{scope::Shared, sync::RwLock};
    ///
    /// let _ = RwLock::<u64, Shared, 65_537>::shared_with_capacity(0);
    /// ```
    pub fn shared_with_capacity<I: Init<T>>(data: I) -> impl Init<Self>
    where
        T: Shareable,
    {
        const {
            assert!(
                !T::LOCKS,
                "a shared lock cannot contain another lock, which must not move: place the locks beside each other"
            );
            assert!(N != 0 && N <= 1 << 16, "a shared reader-writer lock has room for 1 to 65,536 readers");
        };
        let write = move |place: *mut Self| {
            // SAFETY: `place` is valid for writes of a whole lock (the caller's obligation), so its field is in bounds.
            let turn = unsafe { &raw mut (*place).raw.turn };
            // SAFETY: the field is in the shared mapping that the caller vouches for.
            unsafe { SharedLock::init(turn) }?;
            // SAFETY: as for `turn`.
            let readers = unsafe { &raw const (*place).raw.readers };
            // SAFETY: the bytes of the place are zero (`Init`), and zero bytes are a table that no thread uses.
            let readers = unsafe { &*readers };
            // SAFETY: as for `turn`.
            let slots = unsafe { &raw const (*place).slots };
            // SAFETY: as for `readers`: zero bytes are free slots, because a slot consists of atomic numbers.
            let slots = unsafe { &*slots };
            readers.begin_with(slots).map_err(|_| Errno::NOMEM)?;
            // SAFETY: as for `turn`.
            let inner = unsafe { &raw mut (*place).data };
            // SAFETY: `UnsafeCell<T>` has the layout of `T`, and the place is valid for writes of it.
            unsafe { data.init(inner.cast()) }
        };
        // SAFETY: every field is made.
        unsafe { InitWith::new(write) }
    }
}

// SAFETY: as for `Lock`: no pointer that any thread but a share's or the turn's holder follows, no Drop, repr(C), and
// any state that a killed process leaves is one of the states of the tables. The data is Shareable itself.
unsafe impl<T: Shareable, const N: usize> Shareable for RwLock<T, Shared, N> {
    const FINGERPRINT: Fingerprint = Fingerprint::primitive_around_for("RwLock", T::FINGERPRINT, N);
    const LOCKS: bool = true;
    const BACKED: usize = if N > SLOTS { offset_of!(Self, slots) } else { usize::MAX };
    // From the last slot on.
    const BACKED_FROM: usize =
        if N > SLOTS { offset_of!(Self, slots) + (N - 1) * size_of::<Slot<Shared>>() } else { usize::MAX };

    unsafe fn nodes(place: *const Self, visit: &mut Nodes) {
        // SAFETY: `place` points to a lock in a mapping (the caller's obligation).
        let raw = unsafe { &raw const (*place).raw };
        // SAFETY: the field of a valid lock is a valid raw lock, and its atomics may be read beside writers.
        let raw = unsafe { &*raw };
        // SAFETY: as for `raw`.
        let slots = unsafe { &raw const (*place).slots };
        // SAFETY: as for the raw lock.
        let slots = unsafe { &*slots };
        visit.note(raw.turn.is_linked_here() || raw.readers.is_linked_here(slots));
        // SAFETY: as for `raw`.
        let data = unsafe { &raw const (*place).data };
        // SAFETY: `UnsafeCell<T>` has the layout of `T`; nested nodes are atomics too.
        unsafe { T::nodes(UnsafeCell::raw_get(data), visit) };
    }
}

impl<T: ?Sized, S: Scope, const N: usize> RwLock<T, S, N> {
    /// Takes the lock for reading, and waits without a limit while there is a writer.
    ///
    /// # Errors
    /// In `Shared`: [`Unrecoverable`](Refused::Unrecoverable), [`WouldDeadlock`](Refused::WouldDeadlock) when this
    /// thread writes, [`TableFull`](Refused::TableFull) when `N` threads read already,
    /// [`NoMemory`](Refused::NoMemory), [`TooMany`](Refused::TooMany), [`Unlisted`](Refused::Unlisted). In `Local`:
    /// `WouldDeadlock` when this thread writes.
    #[doc(alias = "pthread_rwlock_rdlock")]
    #[inline]
    pub fn read(&self) -> S::Outcome<ReadGuard<'_, T, S>> {
        S::outcome(match self.raw.readers.enter(&self.slots) {
            Some(slot) => Ok(self.reader(slot)),
            None => self.read_slow(),
        })
    }

    #[cold]
    #[inline(never)]
    fn read_slow(&self) -> Result<ReadGuard<'_, T, S>, Refused> {
        loop {
            // Without a limit there is no other result.
            if let Some(slot) = self.raw.read_slow(&self.slots, Limit::NEVER)? {
                return Ok(self.reader(slot));
            }
        }
    }

    /// Takes the lock for reading if there is no writer. Returns `None` if there is one, also if it still waits for
    /// readers. In `Shared` also if two passes over the table find no free share because readers come and go.
    ///
    /// # Errors
    /// As for [`read`](Self::read), but never [`WouldDeadlock`](Refused::WouldDeadlock).
    #[doc(alias = "pthread_rwlock_tryrdlock")]
    #[inline]
    pub fn try_read(&self) -> S::Outcome<Option<ReadGuard<'_, T, S>>> {
        self.read_timeout(Limit::NOW)
    }

    /// Takes the lock for reading, and waits within the limit. Returns `None` if the time ran out or the wait was
    /// [cancelled](crate::futex::Cancel). A thread that writes also gets `None`: in `Local` at once, elsewhere after
    /// its time.
    ///
    /// # Errors
    /// As for [`read`](Self::read), but [`WouldDeadlock`](Refused::WouldDeadlock) only for a limit that never ends.
    #[doc(alias = "pthread_rwlock_timedrdlock")]
    #[inline]
    pub fn read_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<Option<ReadGuard<'_, T, S>>> {
        S::outcome(self.reading(limit.into()))
    }

    #[inline]
    fn reading(&self, limit: Limit<'_>) -> Result<Option<ReadGuard<'_, T, S>>, Refused> {
        Ok(self.raw.read(&self.slots, limit)?.map(|slot| self.reader(slot)))
    }

    #[inline]
    fn reader<'l>(&'l self, slot: &'l Slot<S>) -> ReadGuard<'l, T, S> {
        ReadGuard { held: self.held(), slot }
    }

    /// Takes the lock for writing, and waits without a limit while there are readers or another writer.
    ///
    /// # Errors
    /// In `Shared`: [`Unrecoverable`](Refused::Unrecoverable), [`WouldDeadlock`](Refused::WouldDeadlock) when this
    /// thread reads or writes, [`TooMany`](Refused::TooMany), [`Unlisted`](Refused::Unlisted). In `Local`:
    /// `WouldDeadlock` when this thread reads or writes.
    #[doc(alias = "pthread_rwlock_wrlock")]
    #[inline]
    pub fn write(&self) -> S::Outcome<WriteGuard<'_, T, S>> {
        S::outcome(match self.raw.write(&self.slots, Limit::NEVER) {
            Ok(_) => Ok(self.writer()),
            Err(refused) => Err(refused),
        })
    }

    /// Takes the lock for writing if it is free. Returns `None` if it is not: also if the calling thread has it, or if
    /// a reader is just entering.
    ///
    /// # Errors
    /// As for [`write`](Self::write), but never [`WouldDeadlock`](Refused::WouldDeadlock).
    #[doc(alias = "pthread_rwlock_trywrlock")]
    #[inline]
    pub fn try_write(&self) -> S::Outcome<Option<WriteGuard<'_, T, S>>> {
        self.write_timeout(Limit::NOW)
    }

    /// Takes the lock for writing, and waits within the limit. Returns `None` if the time ran out or the wait was
    /// [cancelled](crate::futex::Cancel). A thread that reads or writes also gets `None`: in `Local` at once, elsewhere
    /// after its time.
    ///
    /// # Errors
    /// As for [`write`](Self::write), but [`WouldDeadlock`](Refused::WouldDeadlock) only for a limit that never ends.
    #[doc(alias = "pthread_rwlock_timedwrlock")]
    #[inline]
    pub fn write_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> S::Outcome<Option<WriteGuard<'_, T, S>>> {
        S::outcome(self.raw.write(&self.slots, limit.into()).map(|taken| taken.then(|| self.writer())))
    }

    #[inline]
    fn writer(&self) -> WriteGuard<'_, T, S> {
        WriteGuard { held: self.held() }
    }

    /// The part of a guard, for a thread that has a share or is the writer.
    #[inline]
    fn held(&self) -> Held<'_, T, S> {
        Held { raw: &self.raw, data: &self.data, stays: PhantomData }
    }

    /// Whether a reader or a writer had the lock a moment ago.
    pub fn is_locked(&self) -> bool {
        self.raw.turn.is_held() || self.readers() != 0
    }

    /// Whether a writer wrote, or waited for the readers to leave, a moment ago.
    pub fn is_writing(&self) -> bool {
        self.raw.turn.is_held() && self.raw.readers.is_closed()
    }

    /// The number of readers a moment ago. In `Shared` a thread that reads twice counts once.
    pub fn readers(&self) -> u32 {
        self.raw.readers.count(&self.slots)
    }
}

impl<T: ?Sized + fmt::Debug, S: Scope, const N: usize> fmt::Debug for RwLock<T, S, N> {
    /// Shows the data if it can be read without waiting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RwLock");
        match self.reading(Limit::NOW) {
            Ok(Some(guard)) => shown.field("data", &&*guard),
            Ok(None) => shown.field("data", &format_args!("<locked>")),
            Err(refused) => shown.field("data", &format_args!("<{refused:?}>")),
        }
        .finish()
    }
}
