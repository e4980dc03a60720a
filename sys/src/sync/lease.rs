//! One participant's entry beside a shared object: a word that shows when the participant's thread dies.
//!
//! | futex half of the word | meaning |
//! | --- | --- |
//! | `0` | free: no holder |
//! | thread id + `WAITERS` | held by that thread, in whose list it is linked |
//! | `DIED`, usually + `WAITERS` | its holder died; the word stays so until a thread [reclaims](Lease::reclaim) the lease |
//!
//! | from | to | changed by |
//! | --- | --- | --- |
//! | free | held, next generation | [`claim`](Lease::claim) |
//! | held | free | its holder |
//! | held | dead | the kernel, or musl, which wakes one sleeper on the word |
//! | dead | free, next generation | the thread that has handled the death |
//! | dead | held, next generation | [`inherit`](Lease::inherit), by a thread that takes over what the dead one had |
//!
//! A claim sets `WAITERS`, so a watcher need not change the word. A death wakes only one watcher. That watcher looks at
//! everything, and wakes the next one if there is more to do.
//!
//! **The holder** of a lease is identified by its robust list, not only by its number: see [`RobustList::linked`]. A
//! lease whose holder's death was not reported stays held. A later thread with the same number is not mistaken for the
//! holder.
//!
//! A participant is a *thread*, because the kernel's list belongs to a thread: a lease of a thread that returns counts
//! as a death. A forked child holds no lease of its parent. Where the locks have the [pthread
//! form](crate::robust::LockBackend::Pthread), nothing is linked and no death is seen.
//!
//! Orderings: claims are `Acquire`, releases are `Release`, looks for deaths are `Acquire`.

use crate::futex::{self, Reach, Waiter};
use crate::robust::word::{DIED, LockWord, OWNER, WAITERS, half};
use crate::robust::{LEASE, LockBackend, Node, RobustList, gettid, lock_backend};
use crate::sync::scope::Refused;

/// The state of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Nobody,
    /// The living thread with this id.
    Thread(u32),
    /// A participant that died.
    Dead,
}

/// The state of a lease at one instant. Two looks are equal if no thread has freed or taken the lease between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look(u64);

impl Look {
    /// Reads the word of a lease.
    #[inline]
    pub(crate) fn at(word: &LockWord) -> Self {
        Self(word.acquired())
    }

    /// The half of the word on which a futex call waits.
    #[inline]
    pub(crate) fn futex(self) -> u32 {
        half(self.0)
    }

    /// Mixes this look into the number of the earlier looks. Two lists of looks differ if their numbers differ.
    #[inline]
    pub(crate) fn number(self, before: u64) -> u64 {
        (before.rotate_left(23) ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Takes the word for `owner` if it has not changed since this look and its holder died.
    pub(crate) fn inherit(self, word: &LockWord, owner: u32) -> bool {
        self.holder() == Holder::Dead && word.take_from(self.0, owner | WAITERS)
    }

    /// Frees the word if it has not changed since this look and its holder died.
    pub(crate) fn reclaim(self, word: &LockWord) -> bool {
        self.holder() == Holder::Dead && word.reset_from(self.0)
    }

    #[inline]
    pub(crate) fn holder(self) -> Holder {
        let futex = half(self.0);
        match futex & OWNER {
            0 if futex & DIED != 0 => Holder::Dead,
            0 => Holder::Nobody,
            id => Holder::Thread(id),
        }
    }
}

/// The entry. Zero bytes are a free lease.
#[repr(C)]
#[derive(Debug)]
pub struct Lease(Node);

impl Lease {
    /// Takes the lease for the calling thread. Returns false if it is not free.
    ///
    /// # Errors
    /// [`Unlisted`](Refused::Unlisted) and [`TooMany`](Refused::TooMany), before anything is taken.
    pub(crate) fn claim(&self) -> Result<bool, Refused> {
        self.take(|word, id| word.swap_half(0, id | WAITERS))
    }

    /// Takes the lease of a holder that was seen dead for the calling thread, in one step. Returns false if the lease
    /// has changed since.
    ///
    /// # Errors
    /// As for [`claim`](Self::claim).
    pub(crate) fn inherit(&self, seen: Look) -> Result<bool, Refused> {
        self.take(|word, id| seen.inherit(word, id))
    }

    /// Takes the lease by `step`, which gets the id of the calling thread and returns whether it took the word.
    #[inline(always)]
    fn take(&self, step: impl FnOnce(&LockWord, u32) -> bool) -> Result<bool, Refused> {
        let Some((here, id)) = RobustList::current() else { return self.take_unlinked(step) };
        let Some(depth) = here.room() else { return Err(Refused::TooMany) };
        here.set_pending(&self.0);
        let taken = step(&self.0.word, id);
        if taken {
            self.0.kind.store(LEASE, core::sync::atomic::Ordering::Relaxed);
            here.link(&self.0, depth);
        }
        here.clear_pending();
        Ok(taken)
    }

    #[cold]
    fn take_unlinked(&self, step: impl FnOnce(&LockWord, u32) -> bool) -> Result<bool, Refused> {
        if lock_backend() == LockBackend::Node {
            return Err(Refused::Unlisted);
        }
        Ok(step(&self.0.word, gettid()))
    }

    /// Whether the calling thread holds the lease.
    pub(crate) fn is_mine(&self) -> bool {
        match RobustList::current() {
            Some((here, id)) => self.0.word.futex() & OWNER == id && here.linked(&self.0).is_some(),
            None => lock_backend() == LockBackend::Pthread && self.0.word.futex() & OWNER == gettid(),
        }
    }

    /// Returns which of `count` leases, `size` bytes apart, the calling thread may hold, as indices. These are all of
    /// them if the thread holds a lease elsewhere, because that may be the same lease in another mapping.
    pub(crate) fn may_be_mine(first: &Self, size: usize, count: usize) -> impl Iterator<Item = usize> {
        let begin = core::ptr::from_ref(first) as usize;
        let place = move |lease: usize| lease.checked_sub(begin).map(|offset| offset / size).filter(|&at| at < count);
        let here = RobustList::current().map(|(here, _)| here);
        let all = here.is_none_or(|here| here.leases().any(|lease| place(lease).is_none()));
        let listed = here.into_iter().flat_map(|here| here.leases()).filter_map(place);
        (0..if all { count } else { 0 }).chain(listed.take(if all { 0 } else { count }))
    }

    /// Gives the lease back. Does nothing in any other thread than its holder, for example in a forked child.
    pub(crate) fn release(&self) {
        let Some((here, id)) = RobustList::current() else {
            if lock_backend() != LockBackend::Node {
                self.0.word.swap_half(gettid() | WAITERS, 0);
            }
            return;
        };
        let Some(linked) = here.linked(&self.0) else { return };
        here.set_pending(linked);
        here.unlink(linked);
        // Once the word is free, another thread may unmap the mapping through which this thread has taken it.
        here.set_pending(&self.0);
        self.0.word.swap_half(id | WAITERS, 0);
        here.clear_pending();
    }

    /// Reads the lease. A decision about it, to reclaim or to sleep, uses this one look, so that it applies to the
    /// holder that was seen and no other.
    #[inline]
    pub(crate) fn look(&self) -> Look {
        Look::at(&self.0.word)
    }

    /// The holder of the lease.
    #[inline]
    pub(crate) fn holder(&self) -> Holder {
        self.look().holder()
    }

    /// Frees the lease of a holder that was seen dead, once its death has been dealt with. Returns false if another
    /// thread has freed it.
    pub(crate) fn reclaim(&self, seen: Look) -> bool {
        seen.reclaim(&self.0.word)
    }

    /// Declares the holder in `seen` dead, when its death is known but the kernel did not report it. Returns false if
    /// the lease has changed since.
    pub(crate) fn declare_dead(&self, seen: Look) -> bool {
        let dead = self.0.word.kill_from(seen.0);
        if dead {
            self.wake_watchers();
        }
        dead
    }

    /// Records whether the holder has exclusive access, which forbids a fork. Called by the holder.
    pub(crate) fn set_exclusive(&self, exclusive: bool) {
        let kind = if exclusive { crate::robust::LOCK } else { LEASE };
        self.0.kind.store(kind, core::sync::atomic::Ordering::Relaxed);
    }

    /// Returns what to sleep on until the holder in `seen` dies. The sleep ends at once if the lease has changed since.
    pub(crate) fn watch(&self, seen: Look) -> Waiter<'_> {
        Waiter::new(self.0.futex(), seen.futex(), Reach::Shared)
    }

    /// Wakes all sleepers on the lease, regardless of its state when they fell asleep.
    pub(crate) fn wake_watchers(&self) {
        // Cannot fail: the word is mapped.
        let _ = futex::wake(self.0.futex(), u32::MAX, Reach::Shared);
    }

    /// Whether a thread of this process holds the lease through this mapping, which must then stay mapped.
    pub(crate) fn is_linked_here(&self) -> bool {
        lock_backend() == LockBackend::Node && self.0.is_linked_here()
    }
}
