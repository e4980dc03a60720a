//! The raw lock of processes: the word of `word`, linked into the list of `robust`.
//!
//! **A take.** Look for room in the list, name the node as pending, take the word, link the node, clear pending. A word
//! that is not free leads to the slow path, through which the node stays pending, the sleep included. If the thread is
//! killed after a wake has chosen it, the kernel passes the wake on.
//!
//! **A release.** Name the node as pending, unlink it, free the word, wake one sleeper if the word had `WAITERS`, clear
//! pending.
//!
//! **Abandonment** is a flag beside the word. The taker that finds the word marked by the kernel sets the flag before
//! any code sees the data. If the taker is killed before that, the kernel marks the word again. The flag stays until a
//! holder repairs the data. A lock that was **marked as unrecoverable** stays in the state `DIED + WAITERS`, which no
//! fast path takes. A thread that takes it in the slow path sees the flag, restores the state, wakes the next and
//! returns the refusal.
//!
//! **The holder** is the thread that has the node in its list. The number alone proves nothing: a death that the kernel
//! did not report (see [`RobustList::room`]) leaves the number in the word, and the kernel gives the number to another
//! thread. That thread waits like all others and does not get the lock. But if that thread dies while it waits, its
//! death frees the lock.
//!
//! **A released lock** goes to the first taker that tries, until a waiter has waited for very long: see [`overdue`].
//!
//! **Spinning** tries less and less often, because each try takes the cache line from the holder. Between failed tries
//! the holder works at full speed. A thread that takes the lock all the time gets it in runs of some dozen turns, and
//! does not pay for moving the line at each turn. Each lock records, for all processes, whether spinning pays: a useful
//! spin allows the longest span, a useless one halves the allowed span. On one core no spin can succeed, so the span
//! soon is 0. One slow take in thirty-two spins anyway, to notice changes.

use core::num::NonZeroU32;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;

use crate::atomic::spin_hint;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result as ErrnoResult};
use crate::futex::{Limit, Reach, Wait, wait_as, wake_one_of};
use crate::robust::fallback;
use crate::robust::word::{DIED, OWNER, Take, WaitPolicy};
use crate::robust::{LOCK, LockBackend, Node, RobustList, gettid, lock_backend, wakes_are_passed_on};
use crate::sync::overdue::{self, Claim, LEFT_FOR, Marked, OVERDUE_AFTER};
use crate::sync::scope::{Owned, RawLock, Refused};

/// A lock for every process that maps it. It can only be placed in a [`Shm`](crate::shm::Shm).
#[repr(C)]
#[derive(Debug)]
pub struct SharedLock {
    /// The node of the lock. With the pthread backend, the `pthread_mutex_t` is here instead.
    node: Node,
    flags: AtomicU32,
    /// The lock's record of spins; with the pthread backend, the thread that took it last and did not release it.
    spin: AtomicU32,
}

/// In `flags`: a holder died, and nobody has repaired the data since.
const ABANDONED: u32 = 1;
/// In `flags`: the lock was given up, and refuses every caller.
const GIVEN_UP: u32 = 2;
/// In `flags`: a waiter may have waited for very long. Threads that do not hold the lock set and clear this flag, too.
const OVERDUE: u32 = 4;

/// The kinds of sleepers.
const ANY_WAITER: NonZeroU32 = NonZeroU32::new(1).unwrap();
const OVERDUE_WAITER: NonZeroU32 = NonZeroU32::new(2).unwrap();

impl SharedLock {
    /// # Safety
    /// `place` is valid for writes of a `SharedLock`, is in shared memory and stays mapped while the lock is linked.
    pub(crate) unsafe fn init(place: *mut Self) -> ErrnoResult<()> {
        // SAFETY: all-zero bytes are a free lock: each field is an atomic number, or padding.
        unsafe { place.write_bytes(0, 1) };
        match lock_backend() {
            LockBackend::Node => {
                // SAFETY: the place was just made a valid lock.
                let lock = unsafe { &*place };
                lock.node.kind.store(LOCK, Relaxed);
                // As after a first useless spin: a lock that is rarely contended is rarely spun on.
                lock.spin.store(1 << 16, Relaxed);
                Ok(())
            }
            // SAFETY: the node is at least as large as a mutex and as aligned (asserted there), and stays where it is.
            LockBackend::Pthread => unsafe { fallback::init(place.cast()) },
            LockBackend::Unsupported => Err(Errno::OPNOTSUPP),
        }
    }

    /// Whether a thread of this process holds the lock through this mapping, which must then stay mapped.
    pub(crate) fn is_linked_here(&self) -> bool {
        match lock_backend() {
            LockBackend::Node => self.node.is_linked_here(),
            LockBackend::Pthread | LockBackend::Unsupported => fallback::holds_any(),
        }
    }

    /// Takes the lock in the general case: the list is not empty, the word is not free, or nothing is known yet.
    #[cold]
    #[inline(never)]
    fn take_slow(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        match self.take_of_others(limit) {
            // The holder itself waits, and no other thread can release the lock. Only the limit ends this wait.
            Err(Refused::WouldDeadlock) if !limit.is_never() => {
                outlast(limit);
                Ok(false)
            }
            answer => answer,
        }
    }

    /// Takes the lock like [`take`](RawLock::take), but fails at once if this thread holds it.
    fn take_of_others(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        if lock_backend() == LockBackend::Pthread {
            // SAFETY: with this backend.
            return unsafe { self.take_fallback(limit) };
        }
        let Some((here, id)) = RobustList::current() else { return Err(Refused::Unlisted) };
        let Some(depth) = here.room() else { return Err(Refused::TooMany) };
        here.set_pending(&self.node);
        let answer = self.take_pending(here, id, limit);
        if answer == Ok(true) {
            here.link(&self.node, depth);
        }
        here.clear_pending();
        answer
    }

    /// Takes the word. The node is pending before and after.
    fn take_pending(&self, here: RobustList<'_>, id: u32, limit: Limit<'_>) -> Result<bool, Refused> {
        match self.node.word.take(id, &mut Sleeper::new(self, here, limit)) {
            Take::Taken { died } => self.taken(died),
            Take::Own => Err(Refused::WouldDeadlock),
            Take::TimedOut => Ok(false),
        }
    }

    /// Returns whether the lock, whose word this thread has just taken, may be used.
    fn taken(&self, died: bool) -> Result<bool, Refused> {
        let flags = self.flags.load(Relaxed);
        if flags & GIVEN_UP != 0 {
            self.free_contended(DIED);
            return Err(Refused::Unrecoverable);
        }
        if died {
            self.flags.store(flags | ABANDONED, Relaxed);
        }
        Ok(true)
    }

    /// Frees a word that may have sleepers, and wakes one. `leave` is the rest of the word.
    fn free_contended(&self, leave: u32) {
        self.node.word.release_contended(leave, || overdue::wake_next(self));
    }

    /// Releases the lock in the general case: the node is not alone in the list, or the word must keep a flag.
    #[cold]
    #[inline(never)]
    fn release_slow(&self, leave: u32) {
        if lock_backend() == LockBackend::Pthread {
            if self.spin.load(Relaxed) == gettid() {
                self.spin.store(0, Relaxed);
            }
            // SAFETY: with this backend `init` made a mutex at this place.
            return unsafe { fallback::release(self.mutex()) };
        }
        // A thread without a list took nothing: it is a forked child's, which inherited the guard.
        let Some((here, _)) = RobustList::current() else { return };
        // A forked child is not the owner, and neither is a thread that has the number of an owner whose death was not
        // reported.
        let Some(linked) = here.linked(&self.node) else { return };
        here.set_pending(linked);
        here.unlink(linked);
        // Once the word is free, another thread may unmap the mapping through which this thread has taken it.
        here.set_pending(&self.node);
        if leave != 0 || !self.node.word.release_free() {
            self.free_contended(leave);
        }
        here.clear_pending();
    }

    /// Completes a release whose node is unlinked while threads wait for the word.
    #[cold]
    #[inline(never)]
    fn release_contended(&self, here: RobustList<'_>) {
        self.free_contended(0);
        here.clear_pending();
    }

    /// # Safety
    /// Only where the backend is `Pthread`.
    #[cold]
    #[inline(never)]
    unsafe fn take_fallback(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        // SAFETY: with this backend `init` made a mutex at this place.
        match unsafe { fallback::take(self.mutex(), limit) } {
            Ok(fallback::Taken::No) => return Ok(false),
            Ok(fallback::Taken::Yes) => {}
            Ok(fallback::Taken::AfterDeath) => self.flags.store(self.flags.load(Relaxed) | ABANDONED, Relaxed),
            Err(Errno::DEADLK) => return Err(Refused::WouldDeadlock),
            Err(_) => return Err(Refused::Unrecoverable),
        }
        if self.flags.load(Relaxed) & GIVEN_UP == 0 {
            self.spin.store(gettid(), Relaxed);
            return Ok(true);
        }
        // SAFETY: this thread has just taken it.
        unsafe { fallback::release(self.mutex()) };
        Err(Refused::Unrecoverable)
    }

    /// Implements [`is_mine`](Owned::is_mine) when the list has several entries, or nothing is known yet.
    #[inline(never)]
    fn is_mine_among_others(&self) -> bool {
        match RobustList::current() {
            // The number comes first: it is wrong for nearly every calling thread that is not the holder.
            Some((here, id)) => self.node.word.futex() & OWNER == id && here.linked(&self.node).is_some(),
            None if lock_backend() == LockBackend::Pthread && self.spin.load(Relaxed) == gettid() => {
                // SAFETY: with this backend.
                unsafe { self.confirms_fallback() }
            }
            None => false,
        }
    }

    /// Whether this thread, whose number is recorded, holds the mutex. If a dead thread had the number, the mutex can
    /// be taken, and the flag shows that from here on.
    ///
    /// # Safety
    /// Only where the backend is `Pthread`.
    #[cold]
    unsafe fn confirms_fallback(&self) -> bool {
        // SAFETY: the same obligation, passed on.
        match unsafe { self.take_fallback(Limit::NOW) } {
            Ok(true) => {
                self.release_slow(0);
                false
            }
            // musl reports the thread's own mutex as busy.
            Ok(false) | Err(Refused::WouldDeadlock) => true,
            Err(_) => false,
        }
    }

    fn mutex(&self) -> *mut libc::pthread_mutex_t {
        (&raw const self.node).cast_mut().cast()
    }
}

/// Sleeps until the limit is over.
pub(crate) fn outlast(limit: Limit<'_>) {
    let nobody = AtomicU32::new(0);
    while !limit.is_over() {
        // No other thread knows the word, so there is no wake to pass on.
        let _ = crate::futex::sleep(&nobody, 0, Reach::Private, limit);
    }
}

/// One taker of one lock while it waits.
struct Sleeper<'l> {
    lock: &'l SharedLock,
    here: RobustList<'l>,
    limit: Limit<'l>,
    learned: u32,
    paused: u32,
    gap: u32,
    /// When this taker becomes overdue, once it has slept.
    overdue_at: Option<Deadline>,
    claim: Claim,
}

impl<'l> Sleeper<'l> {
    fn new(lock: &'l SharedLock, here: RobustList<'l>, limit: Limit<'l>) -> Self {
        let learned = lock.spin.load(Relaxed);
        let (overdue_at, claim) = (None, Claim::default());
        Self { lock, here, limit, learned, paused: 0, gap: FIRST_GAP, overdue_at, claim }
    }

    /// Returns how many pauses to allow, from the lock's record of spins, and the number of spins so far.
    fn budget(&self) -> (u32, u32) {
        (self.learned & 0xffff, self.learned >> 16)
    }

    fn learn(&self, pauses: u32) {
        let (_, spins) = self.budget();
        self.lock.spin.store((spins.wrapping_add(1) << 16) | pauses, Relaxed);
    }
}

impl WaitPolicy for Sleeper<'_> {
    fn sleep(&mut self, expected: u32) -> Wait {
        self.claim.sleeps(self.lock);
        self.overdue_at.get_or_insert_with(|| Deadline::after(OVERDUE_AFTER));
        if self.limit.is_never() && wakes_are_passed_on() {
            let kinds = if self.claim.is_overdue() { ANY_WAITER | OVERDUE_WAITER } else { ANY_WAITER };
            let ended = wait_as(self.lock.node.futex(), expected, Reach::Shared, Deadline::NEVER, kinds);
            return ended.unwrap_or(Wait::Changed); // a refused sleep counts as a change: the taker looks again
        }
        let limit = if wakes_are_passed_on() { self.limit } else { self.limit.or_sooner(Deadline::after(SLICE)) };
        match crate::futex::sleep(self.lock.node.futex(), expected, Reach::Shared, limit) {
            Wait::TimedOut if !self.limit.is_over() => Wait::Changed,
            ended => ended,
        }
    }

    fn pause(&mut self) -> bool {
        let (pauses, spins) = self.budget();
        let allowed = if self.claim.is_overdue() || spins % EXPLORE_EVERY == 0 { PAUSES_MAX } else { pauses };
        if self.paused >= allowed {
            self.learn(pauses / 2);
            return false;
        }
        if self.claim.yields(self.lock) {
            return false;
        }
        for _ in 0..self.gap {
            spin_hint();
        }
        self.paused += self.gap;
        self.gap = (2 * self.gap).min(LONGEST_GAP);
        true
    }

    fn won(&mut self) {
        self.learn(PAUSES_MAX);
    }

    fn leaves(&mut self, free: u32) -> bool {
        let (lock, limit) = (self.lock, self.limit);
        !limit.is_now()
            && self.claim.leave(lock, || {
                let until = limit.or_sooner(Deadline::after(LEFT_FOR)).deadline();
                let _ = wait_as(lock.node.futex(), free, Reach::Shared, until, ANY_WAITER); // however it ends
            })
    }

    fn woken(&mut self) -> bool {
        self.claim.is_chosen();
        if !self.claim.is_overdue() && self.overdue_at.is_none_or(|at| !at.has_passed()) {
            return false;
        }
        self.claim.becomes_overdue();
        (self.paused, self.gap) = (0, FIRST_GAP);
        true
    }

    fn is_nonblocking(&self) -> bool {
        self.limit.is_now()
    }

    fn is_holder(&self) -> bool {
        self.here.linked(&self.lock.node).is_some()
    }
}

/// The maximum time of one sleep on a kernel that may fail to pass a wake on.
const SLICE: Duration = Duration::from_millis(50);

/// The longest spin, in pauses.
const PAUSES_MAX: u32 = 400;
/// The number of pauses before the first retry.
const FIRST_GAP: u32 = 6;
/// The maximum number of pauses between two tries.
const LONGEST_GAP: u32 = 64;
/// Once in this many slow takes, the taker spins for the maximum time.
const EXPLORE_EVERY: u32 = 32;

impl Marked for SharedLock {
    fn is_marked(&self) -> bool {
        self.flags.load(Relaxed) & OVERDUE != 0
    }

    fn mark(&self) {
        self.flags.fetch_or(OVERDUE, Relaxed);
    }

    fn unmark(&self) {
        self.flags.fetch_and(!OVERDUE, Relaxed);
    }

    fn wake_overdue(&self) -> bool {
        wake_one_of(self.node.futex(), Reach::Shared, OVERDUE_WAITER).unwrap_or(false)
    }

    fn wake_one(&self) -> u32 {
        // A wake that failed (a sandbox, no memory) woke no sleeper, but there may be one: the bit stays.
        crate::futex::wake(self.node.futex(), 1, Reach::Shared).unwrap_or(1)
    }
}

// SAFETY: the word has one owner from its take to its release, since a take only succeeds on a word without one, and
// the kernel clears an owner only after its death. Takes are Acquire and releases Release.
unsafe impl RawLock for SharedLock {
    #[inline]
    fn take(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        if let Some(here) = RobustList::if_empty() {
            let id = here.id();
            here.set_pending(&self.node);
            if self.node.word.take_free(id) {
                here.link_alone(&self.node, id);
                here.clear_pending();
                return Ok(true);
            }
        }
        self.take_slow(limit)
    }

    #[inline]
    unsafe fn release(&self) {
        let Some(here) = RobustList::if_only(&self.node) else {
            return self.release_slow(0);
        };
        here.set_pending(&self.node);
        here.unlink_alone();
        if !self.node.word.release_free() {
            return self.release_contended(here);
        }
        here.clear_pending();
    }

    fn is_held(&self) -> bool {
        match lock_backend() {
            LockBackend::Node => self.node.word.futex() & OWNER != 0,
            LockBackend::Pthread | LockBackend::Unsupported => self.spin.load(Relaxed) != 0,
        }
    }

    #[inline]
    fn check(&self) -> Result<(), Refused> {
        self.check_holder().map_err(|why| match self.flags.load(Relaxed) & GIVEN_UP {
            0 => why.into(),
            _ => Refused::Unrecoverable,
        })
    }

    fn abandoned(&self) -> bool {
        self.flags.load(Relaxed) & ABANDONED != 0
    }

    fn mark_consistent(&self) {
        if !self.is_mine() {
            return;
        }
        self.flags.store(self.flags.load(Relaxed) & !ABANDONED, Relaxed);
    }

    #[cold]
    fn mark_abandoned(&self) {
        if !self.is_mine() {
            return;
        }
        self.flags.store(self.flags.load(Relaxed) | ABANDONED, Relaxed);
    }

    const CAN_BE_UNRECOVERABLE: bool = true;

    #[cold]
    unsafe fn mark_unrecoverable(&self) {
        // A guard that was left over when its lock was released by another name has no effect.
        if !self.is_mine() {
            return;
        }
        self.flags.store(self.flags.load(Relaxed) | GIVEN_UP, Relaxed);
        self.release_slow(DIED);
    }
}

// SAFETY: a node is in the calling thread's list from its take to its release, and in no other's; and libc gives a
// forked child an empty list (with musl `robust` does).
unsafe impl Owned for SharedLock {
    #[inline]
    fn is_mine(&self) -> bool {
        if RobustList::if_empty().is_some() {
            return false;
        }
        RobustList::if_only(&self.node).is_some() || self.is_mine_among_others()
    }
}
