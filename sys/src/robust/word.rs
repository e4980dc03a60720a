//! The state word of the lock that survives death, as a protocol without a list or a system call.
//!
//! The word has 64 bits, so that one compare-exchange covers the futex word, which the kernel knows, and a generation:
//!
//! | half | bits | meaning |
//! | --- | --- | --- |
//! | futex | `0..30` owner | the kernel's id of the thread that holds it; 0: free |
//! | futex | `30` [`DIED`] | set by the kernel when it cleared a dead owner |
//! | futex | `31` [`WAITERS`] | threads may sleep on the word |
//! | generation | all | counts the takes of a word that was not plainly free |
//!
//! | from | to | changed by |
//! | --- | --- | --- |
//! | `0` | owner | a taker, at once |
//! | `WAITERS`, `DIED`, both | owner, `WAITERS`, next generation | a taker |
//! | owner | owner + `WAITERS` | a waiter, before it sleeps |
//! | owner | `0` | the holder's release |
//! | owner + `WAITERS` | `WAITERS` | the holder's release, which then wakes one sleeper |
//! | `WAITERS` | `0`, same generation | that release, if its wake found no sleeper |
//! | owner (+ `WAITERS`) | `DIED` (+ `WAITERS`) | the kernel, which then wakes one sleeper |
//! | owner (+ `WAITERS`) | `DIED` | musl, in a thread that ends normally; it then wakes one sleeper |
//! | `DIED` + `WAITERS` | the same, forever | the takers of a lock that was marked as unrecoverable |
//!
//! **Why a contended release leaves `WAITERS`, not 0.** The sleeper that the release chose may be killed before it
//! takes the word. If another thread took it meanwhile, the kernel does nothing at that death. So this other thread's
//! release must wake the next sleeper: it inherits the bit.
//!
//! **Why there is a generation.** The bit has to be cleared some time, or every later release pays a system call. A
//! release whose wake found no sleeper may clear it, but only if the word was not taken in between. Otherwise it could
//! clear the bit of another thread's release. The sleeper that this release chose might then die beside a third holder
//! that does not know of the others. Taking from `WAITERS` starts a new generation, which the clearing compare-exchange
//! sees. So the bit is always set while a thread sleeps, and a taker that has slept need not set it again.
//!
//! **How long a generation lasts.** The clearing compare-exchange is wrong only in one case. The releaser is stopped
//! between its wake and that step while exactly 2^32 such takes (2^31 with musl) are made, or a multiple. Each of these
//! takes a word that was contended or whose holder died, so each comes from the slow path. At ten million takes a
//! second, more than two cores can pass a cache line back and forth, that takes seven minutes (musl: four). The wrong
//! step does harm only if the sleeper that another release has chosen is killed before it takes the word. The
//! probability of exactly that number of takes is 2^-32 for each such stop, and no process outside the protocol can
//! cause it.
//!
//! **A free word may be left to another taker.** A waiter that has waited for very long sets a mark beside the word.
//! The other takers then leave a free word with `WAITERS` to that waiter for a bounded time, once in each take. The
//! mark is a hint: a taker that has left the word takes it afterwards. A taker that a wake chooses meanwhile tries
//! again at once, as after any sleep. So no step above depends on the waiter for which the word was left, and that
//! waiter may die.
//!
//! **`DIED` implies `WAITERS`.** The kernel keeps the `WAITERS` bit when it marks a word. musl, which marks the words
//! of a thread that ends normally, does not. So a taker of a word with `DIED` sets `WAITERS`, and its release looks for
//! sleepers.
//!
//! **With musl the lower half is a mutex's type** (it is before the futex word). musl reads one bit of the type when a
//! thread ends. Without [`SHARED_TYPE`] musl would wake only sleepers at the private kind of futex, and no thread
//! sleeps so here. So that bit is set in every state, and the generation counts in the other 31.
//!
//! Orderings: takes are `Acquire`, releases `Release`. Announcing a waiter and clearing the bit are `Relaxed`: they
//! carry no data, and the kernel's compare in the futex call orders itself with both.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crate::atomic::AtomicU64;
use crate::futex::Wait;

/// The word may have sleepers (the kernel's `FUTEX_WAITERS`).
pub(crate) const WAITERS: u32 = 0x8000_0000;
/// The owner died (the kernel's `FUTEX_OWNER_DIED`).
pub(crate) const DIED: u32 = 0x4000_0000;
/// The owner's thread id (the kernel's `FUTEX_TID_MASK`).
pub(crate) const OWNER: u32 = 0x3fff_ffff;

/// The byte offset of the futex half in the word: 0 with glibc, 4 with musl.
pub(crate) const FUTEX_AT: usize = if cfg!(target_env = "musl") { 4 } else { 0 };

/// The number of bits by which the futex half is shifted in the number.
const SHIFT: u32 = if (FUTEX_AT == 0) == cfg!(target_endian = "little") { 0 } else { 32 };
const GENERATION: u64 = 1 << (32 - SHIFT);
const FUTEX: u64 = (u32::MAX as u64) << SHIFT;

/// musl's bit for a mutex that processes share. For musl, the generation's half is the type of a mutex, and this is its
/// bit 7.
const SHARED_TYPE: u64 = if cfg!(target_env = "musl") { 128 * GENERATION } else { 0 };

/// The futex half of a state.
#[inline(always)]
pub(crate) const fn half(state: u64) -> u32 {
    (state >> SHIFT) as u32
}

#[inline(always)]
const fn with_half(state: u64, half: u32) -> u64 {
    (state & !FUTEX) | ((half as u64) << SHIFT) | SHARED_TYPE
}

/// The next generation. A carry out of the generation's half is lost. A carry within it passes through [`SHARED_TYPE`],
/// which [`with_half`] sets again.
#[inline(always)]
const fn next_generation(state: u64) -> u64 {
    (state & FUTEX) | ((state | SHARED_TYPE).wrapping_add(GENERATION) & !FUTEX)
}

/// The part of a free word that a taker keeps.
#[inline(always)]
const fn inherited(futex: u32) -> u32 {
    const { assert!(DIED << 1 == WAITERS) };
    (futex | futex << 1) & WAITERS
}

/// The result of a single attempt to take the word.
enum Try {
    Taken { died: bool },
    Held(u32),
}

/// The result of an attempt to take the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// The caller holds the word; `died` means that the kernel cleared a dead owner.
    Taken { died: bool },
    /// The caller already holds the lock: a wait would never end.
    Own,
    /// The time ran out.
    TimedOut,
}

/// The operations of a taker except changes of the word: the model checker has its own.
pub(crate) trait WaitPolicy {
    /// Sleeps while the futex half is `expected`, unless there is no time.
    fn sleep(&mut self, expected: u32) -> Wait;
    /// Pauses before another attempt, each time longer; false when the taker must sleep.
    fn pause(&mut self) -> bool;
    /// Records that an attempt after such a pause took the word.
    fn won(&mut self);
    /// Leaves the free word to another waiter, and sleeps for a bounded time; returns whether it did. A taker leaves
    /// the word at most once.
    fn leaves(&mut self, free: u32) -> bool;
    /// Records a wake. Returns whether to pause again before the next sleep, if the word is held by then.
    fn woken(&mut self) -> bool;
    /// Whether there is no time to wait at all.
    fn is_nonblocking(&self) -> bool;
    /// Whether this taker is really the holder of a word that has its number. Another thread may have had the number
    /// before, and its death may not have been reported.
    fn is_holder(&self) -> bool;
}

/// The state word. Zero bytes are a free word.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct LockWord(AtomicU64);

impl LockWord {
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The current futex half.
    #[inline(always)]
    pub(crate) fn futex(&self) -> u32 {
        half(self.0.load(Relaxed))
    }

    /// The current state, with everything that its writer wrote before (acquire order).
    #[inline(always)]
    pub(crate) fn acquired(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// Clears the futex half if the state is still `seen`, generation included.
    pub(crate) fn reset_from(&self, seen: u64) -> bool {
        self.take_from(seen, 0)
    }

    /// Marks the owner as dead, like the kernel, if the state is still `seen`.
    pub(crate) fn kill_from(&self, seen: u64) -> bool {
        self.0.compare_exchange(seen, with_half(seen, DIED | WAITERS), SeqCst, Relaxed).is_ok()
    }

    /// Sets the futex half if the state is still `seen`, generation included, and starts a generation.
    pub(crate) fn take_from(&self, seen: u64, to: u32) -> bool {
        self.0.compare_exchange(seen, with_half(next_generation(seen), to), SeqCst, Relaxed).is_ok()
    }

    /// The current futex half, in the order of all `SeqCst` operations.
    #[inline(always)]
    pub(crate) fn futex_ordered(&self) -> u32 {
        half(self.0.load(SeqCst))
    }

    /// Sets the futex half of a word that no other thread uses yet.
    pub(crate) fn reset_half(&self, to: u32) {
        self.0.store(with_half(0, to), Relaxed);
    }

    /// Frees a word that the caller holds, regardless of its bits; later loads are not moved before it.
    #[inline(always)]
    pub(crate) fn free(&self) {
        self.0.fetch_and(!FUTEX, SeqCst);
    }

    /// Changes the futex half from `from` to `to`, and starts a generation; false when it has another value. For
    /// [leases](crate::sync::lease) and [slots](crate::sync::permits), whose transitions are single steps.
    #[inline]
    pub(crate) fn swap_half(&self, from: u32, to: u32) -> bool {
        let mut seen = self.0.load(Relaxed);
        while half(seen) == from {
            match self.0.compare_exchange_weak(seen, with_half(next_generation(seen), to), SeqCst, Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Takes a word that is free and has no other bits: the fast path.
    #[inline(always)]
    pub(crate) fn take_free(&self, owner: u32) -> bool {
        let seen = self.0.load(Relaxed);
        half(seen) == 0 && self.0.compare_exchange(seen, with_half(seen, owner), Acquire, Relaxed).is_ok()
    }

    /// Takes the word, regardless of its bits, waiting while another thread holds it. The caller keeps the node pending
    /// throughout.
    pub(crate) fn take(&self, owner: u32, waiter: &mut impl WaitPolicy) -> Take {
        let mut spun = false;
        loop {
            let seen = self.futex();
            if seen & OWNER == 0 && seen & WAITERS != 0 && waiter.leaves(seen) {
                continue;
            }
            let held = match self.try_take(owner) {
                Try::Taken { died } => return Take::Taken { died },
                Try::Held(futex) => futex,
            };
            if held & OWNER == owner && waiter.is_holder() {
                return Take::Own;
            }
            if waiter.is_nonblocking() {
                return Take::TimedOut;
            }
            if !spun {
                spun = true;
                let mut seen = self.0.load(Relaxed);
                while waiter.pause() {
                    if let Try::Taken { died } = self.try_unseen(owner, &mut seen) {
                        waiter.won();
                        return Take::Taken { died };
                    }
                }
                continue;
            }
            if !self.announce(held) {
                continue;
            }
            match waiter.sleep(held | WAITERS) {
                // No wake chose this thread, so no thread depends on it: it may leave.
                Wait::TimedOut => return Take::TimedOut,
                Wait::Woken => spun = !waiter.woken(),
                Wait::Changed => {}
            }
        }
    }

    /// Takes a word that no thread holds, together with its `WAITERS`.
    fn try_take(&self, owner: u32) -> Try {
        let mut seen = self.0.load(Relaxed);
        loop {
            let futex = half(seen);
            if futex & OWNER != 0 {
                return Try::Held(futex);
            }
            let taken = with_half(next_generation(seen), inherited(futex) | owner);
            match self.0.compare_exchange_weak(seen, taken, Acquire, Relaxed) {
                Ok(_) => return Try::Taken { died: futex & DIED != 0 },
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a word that is free and has no other bits, without a read first. A read would fetch the cache line once to
    /// read and once more to write. The holder could have the word again in between. `seen` is the last known state,
    /// and is updated.
    fn try_unseen(&self, owner: u32, seen: &mut u64) -> Try {
        let free = with_half(*seen, 0);
        match self.0.compare_exchange(free, with_half(free, owner), Acquire, Relaxed) {
            Ok(_) => Try::Taken { died: false },
            Err(now) if half(now) & OWNER == 0 => self.try_take(owner),
            Err(now) => {
                *seen = now;
                Try::Held(half(now))
            }
        }
    }

    /// Sets `WAITERS` on a held word; false when the word has changed from `seen`.
    fn announce(&self, seen: u32) -> bool {
        if seen & WAITERS != 0 {
            return true;
        }
        let now = self.0.load(Relaxed);
        half(now) == seen && self.0.compare_exchange(now, with_half(now, seen | WAITERS), Relaxed, Relaxed).is_ok()
    }

    /// Releases a word that the caller holds and that has no waiters; returns false, and does not release it, if there
    /// are waiters.
    #[inline(always)]
    pub(crate) fn release_free(&self) -> bool {
        let seen = self.0.load(Relaxed);
        half(seen) & WAITERS == 0 && self.0.compare_exchange(seen, with_half(seen, 0), Release, Relaxed).is_ok()
    }

    /// Releases a word that may have waiters: leaves `WAITERS` and the bits of `leave`, and wakes one thread. The bit
    /// is cleared if there was no thread to wake and the word was not taken since.
    pub(crate) fn release_contended(&self, leave: u32, wake_one: impl FnOnce() -> u32) {
        let mut seen = self.0.load(Relaxed);
        let left = loop {
            let left = with_half(seen, WAITERS | leave);
            match self.0.compare_exchange_weak(seen, left, Release, Relaxed) {
                Ok(_) => break left,
                Err(now) => seen = now,
            }
        };
        if wake_one() == 0 && leave == 0 {
            // If this fails, a taker came meanwhile, and now handles the bit.
            let _ = self.0.compare_exchange(left, with_half(left, 0), Relaxed, Relaxed);
        }
    }

    /// Changes a word like the kernel when the thread `owner` dies, or like musl when the thread ends: for the model
    /// only. Returns whether a thread is woken.
    #[cfg(loom)]
    pub(crate) fn owner_dies(&self, owner: u32, by_itself: bool) -> bool {
        let mut seen = self.0.load(Relaxed);
        loop {
            let futex = half(seen);
            if futex & OWNER == 0 {
                return true;
            }
            if futex & OWNER != owner {
                return false;
            }
            let kept = if by_itself { 0 } else { futex & WAITERS };
            let dead = with_half(seen, kept | DIED);
            match self.0.compare_exchange(seen, dead, SeqCst, Relaxed) {
                Ok(_) => return by_itself || futex & WAITERS != 0,
                Err(now) => seen = now,
            }
        }
    }
}
