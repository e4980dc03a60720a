//! Waiting for a change of data: a wait releases the lock, until another thread or process sends a notification.
//!
//! ```
//! use ossature_sys::sync::{condition::Condition, lock::Lock};
//!
//! static ITEMS: Lock<u32> = Lock::new(0);
//! static CHANGED: Condition = Condition::new();
//! # extern crate std;
//!
//! let consumer = std::thread::spawn(|| {
//!     let mut items = ITEMS.lock();
//!     while *items == 0 {
//!         items = CHANGED.wait(items);
//!     }
//!     *items -= 1;
//! });
//! *ITEMS.lock() += 1; // under the lock
//! CHANGED.notify(1); // and after it
//! consumer.join().unwrap();
//! assert_eq!(*ITEMS.lock(), 0);
//! ```
//!
//! A wait takes the guard and returns it, so that the caller cannot use the data meanwhile. Every level of an
//! [`RLock`](super::rlock::RLock) is released and taken again. Waiters are in a queue in order of arrival, and each has
//! a word of its own:
//!
//! | word, bits | meaning | ends with |
//! | --- | --- | --- |
//! | waiting: `30` in `Shared`, 0 in `Private` | in the queue, looking | going to sleep; a notification; its limit |
//! | asleep: `31` in `Shared`, perhaps with `29` or `28` too, 1 in `Private` | in the queue, sleeping on the word | a notification, which wakes it; its limit |
//! | notified: 0 beside a ticket in `Shared`, 2 in `Private` | out of the queue, on its way to the lock | taking the lock |
//!
//! So a notification goes to exactly one waiter, the one that has waited longest, and the waiter returns for no other
//! reason. A waiter whose time ran out leaves the queue by one step of its own word, so it never takes a notification
//! with it. (In `Shared`, `30` and `31` are both set when another participant has woken the sleeper to check the queue
//! again.)
//!
//! **When a waiter is killed** (scope `Shared`) before it was notified, notifications pass it over. If it was notified
//! and had not got the lock yet, the next waiter in the queue gets the notification, or else the next waiter that
//! comes. The notification may be given twice if two participants pass it on at once, or if the participant that passes
//! it on is killed too. That is the only case of a wake without a notification. A waiter that is stopped on its way to
//! the lock may delay the notification of an earlier waiter that has died. **When a notifier is killed** half-way, the
//! waiters that it had chosen are woken anyway. [`wait_for`](Condition::wait_for) returns early if the lock is
//! abandoned when it is taken again, before it calls `ready`.
//!
//! **One lock for each condition.** All threads that wait for a condition at the same time must use the same lock.
//! Otherwise the order of the queue is undefined, and in `Shared` a death may lose a notification.
//!
//! **Limits.** In `Shared` `N` participants may wait at a time, by default 120, each with one entry of its thread's
//! list. `N` is part of the type and 65,536 at most. A condition for 120 takes 7 kB, and one for 8 takes 512 bytes. In
//! `Private` there is no limit: a waiter's word is on its stack.
//!
//! **Cost.** A notification without a waiter only reads the queue, without a system call. A notification of a waiter
//! that is still looking makes no system call either. In `Private`, `notify_all` makes one system call for each
//! sleeper. In `Shared` it makes one for all sleepers, and one more for a waiter that had no waiter before it or is
//! just going to sleep. (Before Linux 5.16 it makes one for each sleeper there too.) In `Shared` a sleeper watches the
//! waiter before it. The first sleeper watches the notified waiters that are not done, at most 120 at a time. If there
//! are more, it checks all places every 10 ms. So the cost of a sleep hardly grows with the number of waiters. A waiter
//! reads the table when it comes and when it leaves. If there are more than 16 waiters, a notifier that reads the table
//! leaves a list of up to 255 next waiters. Later notifiers read the list.
//!
//! Orderings: a notification is `Release`, and the waiter reads it with `Acquire`. The lock orders the data.

use core::fmt;
use core::mem::offset_of;

use crate::atomic::const_unless_loom;
use crate::futex::Limit;
use crate::shm::{Fingerprint, Init, InitWith, Nodes, Shareable};
use crate::sync::gate::SharedGate;
use crate::sync::lease::Lease;
use crate::sync::participants::SLOTS;
use crate::sync::queue::{PrivateQueue, Queue, SharedQueue};
use crate::sync::scope::{Local, Shared};
use crate::sync::scope::{Private, Refused, Scope};

/// A queue of waiters for a change of the data that a lock protects.
///
/// Differs from Python's `threading.Condition`: it does not own the lock, which is a separate object. So several
/// conditions may share one, and notifying does not need it. The data of the condition must be changed under the lock;
/// notify after its release, so that the waiter does not block on it.
///
/// A participant that is stopped, not dead, may delay others:
/// * A holder of the lock delays every return from a wait, because no limit applies to taking the lock again.
/// * A notifier delays the waiters that it has chosen but not woken, until their limit.
/// * In scope [`Shared`] a notified waiter may delay the notification of an earlier waiter that has died.
/// * In scope [`Shared`] the death of a notifier wakes one waiter, which wakes the others that the notifier has chosen.
///   That waiter may delay the others, until their limit.
/// * In scope [`Private`] a debugger may stop a thread in the queue's own lock. Waits and notifications take that lock
///   without a limit.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{shm::Shm, sync::{Condition, Local, Lock, condition::Wait}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (lock, changed) = (Lock::new(0), Condition::new());
/// let (guard, notified) = changed.wait_timeout(lock.lock(), Duration::from_millis(1));
/// assert!(!notified, "no thread did");
/// let (guard, end) = changed.wait_for(guard, |items| **items > 0, Duration::from_millis(1));
/// assert_eq!(end, Wait::TimedOut);
/// drop(guard);
/// assert_eq!((changed.notify(1), changed.notify_all()), (0, 0), "no thread waits");
///
/// let here = Condition::<Local>::local();
/// let only = Lock::<u32, Local>::local(0);
/// assert!(here.wait(only.lock()?).is_err(), "no other thread could notify");
/// let shared = Shm::place(Condition::shared())?;
/// assert_eq!(shared.notify_all(), 0);
/// # Ok(()) }
/// ```
#[doc(alias = "Condvar")]
#[repr(C)]
pub struct Condition<S: Scope = Private, const N: usize = 120> {
    queue: S::Queue<N>,
}

/// The result of [`Condition::wait_for`].
///
/// # Examples
/// See the example of [`Condition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "only `Ready` says that the condition holds"]
pub enum Wait {
    /// The condition holds.
    Ready,
    /// The time ran out, or the wait was [cancelled](crate::futex::Cancel), and the condition does not hold.
    TimedOut,
    /// A holder of the lock died, and no thread has repaired the data since. `ready` was not called again.
    Abandoned,
}

impl Condition {
    const_unless_loom! {
        /// A condition for threads, usable in a `static`.
        pub const fn new() -> Self {
            Self { queue: PrivateQueue::new() }
        }
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self::new()
    }
}

impl Condition<Local> {
    /// A condition for a single thread.
    pub const fn local() -> Self {
        Self { queue: crate::sync::queue::LocalQueue }
    }
}

impl Condition<Shared> {
    /// An initialiser with which [`Shm::place`](crate::shm::Shm::place) makes a shared condition with room for 120
    /// waiters.
    ///
    /// [`shared_with_capacity`](Self::shared_with_capacity) allows more.
    pub fn shared() -> impl Init<Self> {
        Self::shared_with_capacity()
    }
}

impl<const N: usize> Condition<Shared, N> {
    /// An initialiser of a shared condition with room for `N` waiters. `N` is 65,536 at most.
    ///
    /// Each waiter takes 60 bytes. A condition for more than 120 that is placed by itself begins with one page, and
    /// gets more when more waiters come. In a struct or an arena, a condition has all its pages from the beginning.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{scope::Shared, shareable, shm::Shm, sync::{Condition, Lock}};
    ///
    /// let many = Shm::place(Condition::<Shared, 1000>::shared_with_capacity())?;
    /// assert_eq!(many.notify_all(), 0);
    ///
    /// shareable! {
    ///     struct Items { count: Lock<u32, Shared>, more: Condition<Shared, 6> }
    /// }
    /// let items = Shm::place(Items::init(Lock::shared(0), Condition::shared_with_capacity()))?;
    /// assert_eq!(items.more.notify(1), 0);
    /// assert!(size_of::<Items>() <= 512);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    ///
    /// ```compile_fail
    /// use ossature_sys::{scope::Shared, sync::Condition};
    ///
    /// let _ = Condition::<Shared, 65_537>::shared_with_capacity();
    /// ```
    pub fn shared_with_capacity() -> impl Init<Self> {
        const { assert!(N != 0 && N <= 1 << 16, "a shared condition has room for 1 to 65,536 waiters") };
        // SAFETY: the place has zero bytes, as `Init` promises. Zero bytes are a condition without waiters.
        unsafe { InitWith::new(|_| Ok(())) }
    }
}

// SAFETY: atomics only, no Drop, repr(C); the others complete every state that a killed process leaves.
unsafe impl<const N: usize> Shareable for Condition<Shared, N> {
    const FINGERPRINT: Fingerprint = Fingerprint::primitive_for("Condition", N);
    const LOCKS: bool = true;
    const BACKED: usize =
        if N > SLOTS { offset_of!(Self, queue) + SharedQueue::<Lease, SharedGate, N>::HEAD } else { usize::MAX };

    unsafe fn nodes(place: *const Self, visit: &mut Nodes) {
        // SAFETY: `place` points to a condition in a mapping (the caller's obligation); atomics may be read beside
        // writers.
        visit.note(unsafe { &*place }.queue.is_linked_here());
    }
}

impl<S: Scope, const N: usize> fmt::Debug for Condition<S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").finish_non_exhaustive()
    }
}

/// A guard whose lock a [`Condition`] releases and takes again: [`Guard`](super::lock::Guard) and
/// [`RLockGuard`](super::rlock::RLockGuard).
///
/// # Safety
/// After `let_go` other threads may take the lock, and after `take_again` has returned `Ok` none may, as if the guard
/// had just been made.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::sync::condition::{Condition, Held};
/// use ossature_sys::sync::{Lock, Private, RLock};
///
/// fn pause<G: Held<Scope = Private>>(changed: &Condition, guard: G) {
///     drop(changed.wait_timeout(guard, Duration::from_millis(1)));
/// }
/// pause(&Condition::new(), Lock::new(1).lock());
/// pause(&Condition::new(), RLock::new(1).lock());
/// ```
pub unsafe trait Held: Sized {
    /// The scope of the lock.
    type Scope: Scope;

    /// The result of a wait with this guard: `A`, or a `Result` if the wait can be refused. A wait with a guard of an
    /// [`RLock`](super::rlock::RLock) can be refused in every scope, because its level may have been released by
    /// [name](super::bare).
    type Answer<A>;

    /// Converts a result to the result of this guard's wait.
    #[doc(hidden)]
    fn answer<A>(result: Result<A, Refused>) -> Self::Answer<A>;

    /// Whether a holder of the lock died, and no thread has repaired the data since.
    #[doc(hidden)]
    fn is_abandoned(&self) -> bool;

    /// Checks that the calling thread holds the lock, as far as the lock knows. The check fails for a guard whose level
    /// was released by name.
    #[doc(hidden)]
    fn check(&self) -> Result<(), Refused>;

    /// Releases the lock, all levels of it, and returns their number.
    ///
    /// # Safety
    /// The guard is neither used nor dropped until `take_again` has returned `Ok`.
    #[doc(hidden)]
    unsafe fn let_go(&self) -> u32;

    /// Takes the lock again, with the same number of levels as before.
    ///
    /// # Errors
    /// The lock was marked as unrecoverable meanwhile.
    ///
    /// # Safety
    /// `let_go` was called and returned `levels`.
    #[doc(hidden)]
    unsafe fn take_again(&self, levels: u32) -> Result<(), Refused>;
}

impl<S: Scope, const N: usize> Condition<S, N> {
    /// Releases the lock, waits for a notification and takes the lock again.
    ///
    /// Differs from Python: a thread that does not hold the lock has no guard to call it with, unless it released the
    /// lock by [name](super::bare) and kept the guard.
    ///
    /// # Errors
    /// The lock is released then. If this thread no longer holds the lock: [`NotOwner`](Refused::NotOwner). In
    /// `Shared`: [`Unrecoverable`](Refused::Unrecoverable) if the lock was marked as unrecoverable meanwhile,
    /// [`TableFull`](Refused::TableFull) when `N` participants wait already, [`NoMemory`](Refused::NoMemory),
    /// [`TooMany`](Refused::TooMany). In `Local`:
    /// [`WouldDeadlock`](Refused::WouldDeadlock), because no other thread could notify meanwhile.
    pub fn wait<G: Held<Scope = S>>(&self, guard: G) -> G::Answer<G> {
        G::answer(self.wait_within(guard, Limit::NEVER).map(|(guard, _)| guard))
    }

    /// [`wait`](Self::wait) within the limit: the result beside the guard is false when the time ran out, or the wait
    /// was [cancelled](crate::futex::Cancel), without a notification.
    ///
    /// The limit is for the notification; the wait for the lock has no limit. A limit that is over already still
    /// releases the lock and takes it again.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait), but in `Local` the result is false at once.
    pub fn wait_timeout<'c, G: Held<Scope = S>>(&self, guard: G, limit: impl Into<Limit<'c>>) -> G::Answer<(G, bool)> {
        G::answer(self.wait_within(guard, limit.into()))
    }

    /// Waits until `ready` returns true. `ready` is called with the lock held: before any wait, after each
    /// notification, and once when the time has run out.
    ///
    /// # Errors
    /// As for [`wait_timeout`](Self::wait_timeout); in `Local` [`WouldDeadlock`](Refused::WouldDeadlock) without a
    /// limit.
    #[doc(alias = "wait_while")]
    pub fn wait_for<'c, G: Held<Scope = S>>(
        &self,
        guard: G,
        mut ready: impl FnMut(&mut G) -> bool,
        limit: impl Into<Limit<'c>>,
    ) -> G::Answer<(G, Wait)> {
        let limit = limit.into();
        let mut guard = guard;
        let mut in_time = true;
        G::answer(loop {
            if let Err(why) = guard.check() {
                break Err(why);
            }
            if guard.is_abandoned() {
                break Ok((guard, Wait::Abandoned));
            }
            if ready(&mut guard) {
                break Ok((guard, Wait::Ready));
            }
            if !in_time {
                break Ok((guard, Wait::TimedOut));
            }
            match self.wait_within(guard, limit) {
                Ok((again, notified)) => {
                    guard = again;
                    in_time = notified;
                }
                Err(refused) => break Err(refused),
            }
        })
    }

    /// Frees the `count` waiters that have waited longest, or all if there are fewer, and returns their number.
    #[doc(alias = "notify_one")]
    #[doc(alias = "signal")]
    #[inline]
    pub fn notify(&self, count: u32) -> u32 {
        self.queue.notify(count)
    }

    /// Frees all waiters, and returns their number.
    #[doc(alias = "broadcast")]
    #[doc(alias = "notifyAll")]
    #[inline]
    pub fn notify_all(&self) -> u32 {
        self.queue.notify(u32::MAX)
    }

    fn wait_within<G: Held<Scope = S>>(&self, guard: G, limit: Limit<'_>) -> Result<(G, bool), Refused> {
        guard.check()?;
        let levels = core::cell::Cell::new(0);
        // SAFETY: the queue calls this once, and the guard is used again only after `take_again`.
        let let_go = || levels.set(unsafe { guard.let_go() });
        // SAFETY: called after `let_go`, with its result.
        let take_again = || unsafe { guard.take_again(levels.get()) };
        match self.queue.wait(limit, let_go, take_again)? {
            (notified, Ok(())) => Ok((guard, notified)),
            (_, Err(refused)) => {
                // This thread does not hold the lock any more, so there is nothing to release.
                core::mem::forget(guard);
                Err(refused)
            }
        }
    }
}
