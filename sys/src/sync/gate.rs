//! How waiters sleep on a word, and how a wake survives the death of the threads that pass it on.
//!
//! A word that is not a lock has no owner whose death the kernel could report. There the wake has to survive. A setter
//! may be killed between its store and its wake. A sleeper that a wake has chosen may be killed before it acts. So each
//! shared object has a *gate*, a word that is always 0. Sleepers wait on `[word, gate]`. Wakers and sleepers alike keep
//! the kernel's pending entry pointing at the gate over their critical stretch. A thread that is killed there has a
//! pending word without an owner, so the kernel wakes one sleeper at the gate. That sleeper looks at everything again
//! and does what the dead thread had to do, itself protected. A sleeper compares the word once more when it is queued
//! at the gate: see [`Order`].
//!
//! | kernel | call | how a waiter sleeps |
//! | --- | --- | --- |
//! | 5.16 and later | futex_waitv | on the word and the gate at once |
//! | before 5.16 | none | for 10 ms at a time: it sees the change late |
//!
//! If all sleepers sleep on one word only, and that word is the lower half of a [`SplitWord`] without any bit of an
//! owner, the word is its own gate. (Before Linux 6.2 the kernel did not wake at such a word unless it was 0: there
//! sleepers look every 50 ms.)
//!
//! In a thread whose list the kernel does not know, nothing can be protected. Such a thread looks every 50 ms when it
//! sleeps. If it is killed, the sleeper that it was about to wake stays asleep until the next wake.
//!
//! In `Private` no thread dies alone and in `Local` no thread sleeps, so there the gate and the protection are empty.

use core::time::Duration;

use crate::atomic::AtomicU32;
use crate::atomic::Ordering::Relaxed;
use crate::deadline::Deadline;
use crate::futex::{self, Reach, Waiter};
use crate::futex::{Limit, Wait};
use crate::robust::{RobustList, wakes_are_passed_on};
use crate::sync::split_word::SplitWord;

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woke {
    /// A wake chose this sleeper, or the word had another value: check the state again.
    Look,
    /// A peer died half-way: check the state again, and finish what the dead peer may have left undone.
    PeerDied,
    /// The time ran out or the wait was cancelled, and no wake was meant for this sleeper.
    TimedOut,
    /// Nothing could ever end this wait.
    Never,
}

/// The place where the waiters of one object sleep.
pub trait Gate {
    /// Runs a critical stretch. If the thread is killed in it, one sleeper of this gate is woken to finish its work.
    fn protected<R>(&self, critical: impl FnOnce() -> R) -> R;

    /// Sleeps while `word` holds `expected`. Must be called in a protected stretch.
    fn sleep(&self, word: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke;

    /// Like [`sleep`](Self::sleep). Between processes it sleeps only if `none` holds 0 at the start.
    fn sleep_without(&self, word: &AtomicU32, expected: u32, none: &AtomicU32, limit: Limit<'_>) -> Woke {
        let _ = none;
        self.sleep(word, expected, limit)
    }

    /// Wakes sleepers of `word`. Returns how many there were, or 1 if the number is not known.
    fn wake(&self, word: &AtomicU32, count: u32) -> u32;

    /// Runs a critical stretch whose only sleepers sleep on `state` itself. The lower half of `state` must never look
    /// as if it had an owner. If the thread is killed in the stretch, one of the sleepers is woken.
    fn protected_at<R>(state: &SplitWord, critical: impl FnOnce() -> R) -> R;

    /// Sleeps if `state` is still `announced`: a change of its upper half since then makes the call return at once.
    /// Must be called in a stretch protected by [`protected_at`](Self::protected_at).
    fn sleep_at(state: &SplitWord, announced: u64, limit: Limit<'_>) -> Woke;

    /// Wakes sleepers of `state`.
    fn wake_at(state: &SplitWord, count: u32);

    /// Whether polling for a while before sleeping can help.
    const CAN_SPIN: bool;
}

/// The gate of threads: a thread never dies without its process.
#[derive(Debug, Default)]
pub struct PrivateGate;

impl Gate for PrivateGate {
    const CAN_SPIN: bool = true;

    #[inline(always)]
    fn protected<R>(&self, critical: impl FnOnce() -> R) -> R {
        critical()
    }

    fn sleep(&self, word: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke {
        match futex::sleep(word, expected, Reach::Private, limit) {
            Wait::Woken | Wait::Changed => Woke::Look,
            Wait::TimedOut => Woke::TimedOut,
        }
    }

    fn wake(&self, word: &AtomicU32, count: u32) -> u32 {
        futex::wake(word, count, Reach::Private).unwrap_or(1)
    }

    #[inline(always)]
    fn protected_at<R>(_state: &SplitWord, critical: impl FnOnce() -> R) -> R {
        critical()
    }

    // Nothing is pending in this scope, so it can sleep on the half that every change of interest changes.
    fn sleep_at(state: &SplitWord, announced: u64, limit: Limit<'_>) -> Woke {
        Self.sleep(state.upper(), (announced >> 32) as u32, limit)
    }

    fn wake_at(state: &SplitWord, count: u32) {
        Self.wake(state.upper(), count);
    }
}

/// The gate of processes: a word that is always 0. Zero bytes are a valid gate.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct SharedGate(AtomicU32);

/// How long a sleeper sleeps at a time when no list entry covers it.
const SLICE: Duration = Duration::from_millis(50);

impl SharedGate {
    /// [`Gate::sleep`] on several words at once. Returns the index of the word that was woken (the last, if there were
    /// several), or the number of words if it was the gate.
    ///
    /// Each word after the first is one whose wake means a death, or one that nobody wakes. A wake of `bell` is like a
    /// wake of the first word, but reports no index. `words` has room after its first `count` entries for four more, or
    /// three without a bell.
    pub(crate) fn sleep_on<'w>(
        &'w self,
        words: &mut [Waiter<'w>],
        count: usize,
        bell: Option<&'w AtomicU32>,
        limit: Limit<'w>,
    ) -> (Woke, usize) {
        if limit.is_cancelled() {
            return (Woke::TimedOut, 0);
        }
        // The word is 0, but a process may have overwritten it: then a sleeper must not look all the time either.
        let always = |word: &'w AtomicU32| Waiter::new(word, word.load(Relaxed), Reach::Shared);
        let Some(order) = Order::of(words, count, [limit.watched(), bell.map(always)], always(&self.0)) else {
            return (Woke::Look, 0);
        };
        let Some(words) = words.get(..order.used) else { return (Woke::Look, 0) };
        let until = if RobustList::here().is_some() {
            limit.deadline()
        } else {
            limit.deadline().or_sooner(Deadline::after(SLICE))
        };
        match futex::wait_any_at(words, until) {
            Ok((Wait::Woken, at)) => order.woke(at, count, limit),
            Ok((Wait::TimedOut, _)) if limit.deadline().has_passed() => (Woke::TimedOut, count),
            // A refused sleep counts as a change: the waiter looks again.
            Ok((Wait::Changed | Wait::TimedOut, _)) | Err(_) => (Woke::Look, count),
        }
    }
}

/// The order of the words of [`SharedGate::sleep_on`]: a cancellation and a bell, the first word, the gate, the other
/// words, the first word again.
///
/// The kernel compares a word and queues the sleeper at it, and then does the same with the next word. A thread may
/// change a word and be killed before its wake, while the sleeper is not queued at the gate yet. The kernel's wake for
/// the dead thread then finds nobody there. So the gate comes early, and at the end the first word is compared again.
/// Each change of a word of the list comes before a comparison, or its maker's death finds the sleeper at the gate. The
/// kernel names the last word that was woken. So the wake of the gate is never hidden behind that of the first word or
/// of the bell, and a cancellation, at the front, hides none.
pub(crate) struct Order {
    gate_at: usize,
    pub(crate) used: usize,
}

impl Order {
    /// Puts the words in order.
    pub(crate) fn of<'w>(
        words: &mut [Waiter<'w>],
        count: usize,
        before: [Option<Waiter<'w>>; 2],
        gate: Waiter<'w>,
    ) -> Option<Self> {
        let first = words.first().copied()?;
        let gate_at = 1 + before.iter().flatten().count();
        let used = gate_at + count + 1;
        if used > words.len() {
            return None;
        }
        words.copy_within(1..count, gate_at + 1);
        for (place, word) in words.iter_mut().zip(before.into_iter().flatten().chain([first, gate])) {
            *place = word;
        }
        *words.get_mut(used - 1)? = first.compared();
        Some(Self { gate_at, used })
    }

    /// Why a sleep ended in which the word at this index was woken.
    pub(crate) fn woke(&self, at: usize, count: usize, limit: Limit<'_>) -> (Woke, usize) {
        match at {
            at if at == self.gate_at => (Woke::PeerDied, count),
            at if at > self.gate_at => (Woke::Look, at - self.gate_at),
            at if at + 1 == self.gate_at => (Woke::Look, 0),
            _ if limit.is_cancelled() => (Woke::TimedOut, count),
            _ => (Woke::Look, count),
        }
    }
}

impl Gate for SharedGate {
    const CAN_SPIN: bool = true;

    #[inline(always)]
    fn protected<R>(&self, critical: impl FnOnce() -> R) -> R {
        // One call of the stretch, so that the stretch is inline: see `Participant::recv_soon`.
        let here = RobustList::here();
        if let Some(here) = here {
            here.set_pending_word(&self.0);
        }
        let answer = critical();
        if let Some(here) = here {
            here.clear_pending();
        }
        answer
    }

    fn sleep(&self, word: &AtomicU32, expected: u32, limit: Limit<'_>) -> Woke {
        let waiter = Waiter::new(word, expected, Reach::Shared);
        self.sleep_on(&mut [waiter; 4], 1, None, limit).0
    }

    fn sleep_without(&self, word: &AtomicU32, expected: u32, none: &AtomicU32, limit: Limit<'_>) -> Woke {
        let waiter = Waiter::new(word, expected, Reach::Shared);
        // No thread is ever woken at this word, so the cheaper kind of word is enough.
        let none = Waiter::new(none, 0, Reach::Private);
        self.sleep_on(&mut [waiter, none, waiter, waiter, waiter], 2, None, limit).0
    }

    fn wake(&self, word: &AtomicU32, count: u32) -> u32 {
        // A wake that failed (a sandbox) woke no known sleeper, but there may be one.
        futex::wake(word, count, Reach::Shared).unwrap_or(1)
    }

    fn protected_at<R>(state: &SplitWord, critical: impl FnOnce() -> R) -> R {
        let Some(here) = RobustList::here() else { return critical() };
        here.set_pending_word(state.futex());
        let answer = critical();
        here.clear_pending();
        answer
    }

    fn sleep_at(state: &SplitWord, announced: u64, limit: Limit<'_>) -> Woke {
        let passed_on = wakes_are_passed_on() && RobustList::here().is_some();
        let until = if passed_on { limit } else { limit.or_sooner(Deadline::after(SLICE)) };
        if limit.is_cancelled() {
            return Woke::TimedOut;
        }
        // Wakes and the protection use the lower half. The upper half is compared when the sleeper is already queued at
        // the lower one. So a change that this compare misses finds a sleeper to wake.
        let lower = Waiter::new(state.futex(), announced as u32, Reach::Shared);
        // No thread is ever woken at this word, so the cheaper kind of word is enough.
        let upper = Waiter::new(state.upper(), (announced >> 32) as u32, Reach::Private);
        let ended = match limit.watched() {
            Some(watched) => futex::wait_any_at(&[watched, lower, upper], until.deadline()),
            None => futex::wait_any_at(&[lower, upper], until.deadline()),
        };
        match ended {
            Ok((Wait::TimedOut, _)) if limit.is_over() => Woke::TimedOut,
            Ok((Wait::Woken, 0)) if limit.is_cancelled() => Woke::TimedOut,
            // A refused sleep counts as a change: the waiter looks again.
            Ok(_) | Err(_) => Woke::Look,
        }
    }

    fn wake_at(state: &SplitWord, count: u32) {
        // There is no error to report: the word is mapped.
        let _ = futex::wake(state.futex(), count, Reach::Shared);
    }
}

/// The gate of a single thread: no other thread could wake a sleeper.
#[derive(Debug, Default)]
pub struct LocalGate;

impl Gate for LocalGate {
    const CAN_SPIN: bool = false;

    #[inline(always)]
    fn protected<R>(&self, critical: impl FnOnce() -> R) -> R {
        critical()
    }

    fn sleep(&self, _word: &AtomicU32, _expected: u32, limit: Limit<'_>) -> Woke {
        // With a limit the answer is known at once: nothing can happen before it.
        if limit.is_never() { Woke::Never } else { Woke::TimedOut }
    }

    fn wake(&self, _word: &AtomicU32, _count: u32) -> u32 {
        0
    }

    #[inline(always)]
    fn protected_at<R>(_state: &SplitWord, critical: impl FnOnce() -> R) -> R {
        critical()
    }

    fn sleep_at(_state: &SplitWord, _announced: u64, limit: Limit<'_>) -> Woke {
        if limit.is_never() { Woke::Never } else { Woke::TimedOut }
    }

    fn wake_at(_state: &SplitWord, _count: u32) {}
}
