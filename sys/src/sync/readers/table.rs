//! The shares of readers that may die at any instruction, as a protocol of its own: no list, no system call.
//!
//! | futex half of a share's word | meaning |
//! | --- | --- |
//! | `0` free | no holder |
//! | thread id + `WAITERS` | that thread's, in whose list it is linked |
//! | `DIED`, usually + `WAITERS` | its reader died: the same as free |
//!
//! | from | to | changed by |
//! | --- | --- | --- |
//! | free, dead | thread's | a reader |
//! | thread's | free | the same reader, which then wakes the writer if the lock is closed |
//! | thread's | dead | the kernel, which then wakes the writer if it sleeps there |
//!
//! A reader takes a share with `WAITERS` set, so the writer need not change it to be woken.
//!
//! **What is pending.** The share's word is the kernel's pending entry:
//!
//! | reader | from | until | killed in between |
//! | --- | --- | --- | --- |
//! | enters | before the word is taken | it is linked | the word is dead |
//! | backs out | the same | the word is free, and the writer awake | the word is dead, or free and the kernel wakes the writer |
//! | leaves | before the word is unlinked | the same | the same |
//!
//! A writer's turn is linked all the time, so nothing is pending while it waits for shares: its death is handled by the
//! turn.
//!
//! **The writer** goes through the shares in use, and sleeps at each until it is free. No new reader gets
//! in meanwhile: a reader that does not know of the writer yet backs out. So the writer need not look at a share twice,
//! or watch two at once. The kernel sets no limit to the number of shares.

use crate::atomic::Ordering::{Relaxed, Release, SeqCst};
use crate::atomic::{AtomicU32, in_one_order};
use crate::futex::{Limit, Wait};
use crate::robust::word::{DIED, LockWord, OWNER, WAITERS};
use crate::sync::readers::{ABANDONED, CLOSED, WRITING};

const FREE: u32 = 0;
/// The word that the kernel leaves after a death, and the word that musl leaves.
const DEAD: [u32; 2] = [DIED | WAITERS, DIED];

/// One share, as seen by the thread that wants to change it. The model checker has its own implementation.
pub(crate) trait Share: Copy {
    /// The share's word.
    fn word(&self) -> &LockWord;
    /// Makes the share the pending entry of the thread's list for the steps that follow.
    fn set_pending(&self);
    /// Clears the pending entry after these steps.
    fn clear_pending(&self);
    /// Links the share into the thread's list.
    fn link(&self);
    /// Unlinks the share from the thread's list.
    fn unlink(&self);
    /// Wakes the writer, if it sleeps on the share.
    fn wake(&self);
    /// Called after each change of a word: the model's participants die here.
    #[inline(always)]
    fn changed(&self) {}
    /// Called when the share's reader was found dead.
    #[inline(always)]
    fn was_dead(&self) {}
}

/// The result of an attempt to take a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Entered,
    /// The lock is closed; the thread holds nothing.
    Closed,
    /// Another reader has the share.
    Taken,
}

/// Whether the word has no owner.
#[inline(always)]
pub(crate) fn is_free(futex: u32) -> bool {
    futex & OWNER == 0
}

#[inline(always)]
fn is_closed(state: &AtomicU32) -> bool {
    in_one_order();
    state.load(SeqCst) & CLOSED != 0
}

/// Takes the share for the thread with this id, and gives it back if the lock is closed. The holder of the turn need
/// not check.
#[inline(always)]
pub(crate) fn enter(share: impl Share, state: &AtomicU32, id: u32, has_turn: bool) -> Entry {
    share.set_pending();
    if !share.word().swap_half(FREE, id | WAITERS) {
        if !DEAD.iter().any(|&dead| share.word().swap_half(dead, id | WAITERS)) {
            share.clear_pending();
            return Entry::Taken;
        }
        share.was_dead();
    }
    if keep(share, state, has_turn) { Entry::Entered } else { Entry::Closed }
}

/// [`enter`] for a share that is free, without the turn. Returns whether the thread has the share.
#[inline(always)]
pub(crate) fn enter_free(share: impl Share, state: &AtomicU32, id: u32) -> bool {
    share.set_pending();
    if !share.word().swap_half(FREE, id | WAITERS) {
        share.clear_pending();
        return false;
    }
    keep(share, state, false)
}

/// Keeps a share that was just taken, unless the lock is closed.
#[inline(always)]
fn keep(share: impl Share, state: &AtomicU32, has_turn: bool) -> bool {
    share.changed();
    if !has_turn && is_closed(state) {
        return back_out(share, state);
    }
    share.link();
    share.clear_pending();
    true
}

/// Gives the share back, and returns false. The callers have nothing left to do, so they save no registers.
#[cold]
#[inline(never)]
fn back_out(share: impl Share, state: &AtomicU32) -> bool {
    give(share, state);
    false
}

/// Gives the share back.
#[inline(always)]
pub(crate) fn leave(share: impl Share, state: &AtomicU32) {
    share.set_pending();
    share.unlink();
    give(share, state);
}

/// Frees the share, which is pending, and ends that.
#[inline(always)]
fn give(share: impl Share, state: &AtomicU32) {
    share.word().free();
    share.changed();
    if is_closed(state) {
        return give_to_writer(share);
    }
    share.clear_pending();
}

#[cold]
#[inline(never)]
fn give_to_writer(share: impl Share) {
    share.wake();
    share.clear_pending();
}

/// Sleeps on the share until it has no owner. Returns false if the limit is over. The lock is closed.
pub(crate) fn wait_until_free(word: &LockWord, limit: Limit<'_>, mut sleep: impl FnMut(u32) -> Wait) -> bool {
    loop {
        let futex = word.futex_ordered();
        if is_free(futex) {
            return true;
        }
        if limit.is_now() || sleep(futex) == Wait::TimedOut {
            return false;
        }
    }
}

/// Admits no new reader. Only the holder of the turn changes the state.
#[inline]
pub(crate) fn close(state: &AtomicU32) {
    state.swap(state.load(Relaxed) | CLOSED, SeqCst);
    in_one_order();
}

/// Records that the writer may change the data from now on.
#[inline]
pub(crate) fn begin(state: &AtomicU32) {
    state.store(state.load(Relaxed) | WRITING, Relaxed);
    // A kill between two instructions is seen in program order, which the compiler has to keep.
    core::sync::atomic::compiler_fence(SeqCst);
}

/// Admits readers. They find the data abandoned if it was, or if `abandon` is set.
#[inline]
pub(crate) fn open(state: &AtomicU32, abandon: bool) {
    let kept = state.load(Relaxed) & ABANDONED;
    state.store(if abandon { ABANDONED } else { kept }, Release);
}

/// Repairs the state after the last holder of the turn died. The data is abandoned if that holder was writing, and the
/// lock is open.
#[cold]
pub(crate) fn mend(state: &AtomicU32) {
    let abandon = state.load(Relaxed) & WRITING != 0;
    open(state, abandon);
}
