//! The protocol of a lock with many readers or one writer: the *turn*, and the *shares* of readers.
//!
//! The turn is a lock of the scope. A writer has the turn from its beginning to its end. A reader has a share, and the
//! turn at most for an instant. The scope determines where a share is stored:
//!
//! | scope | a share is | [`CLOSED`] is | the file |
//! | --- | --- | --- | --- |
//! | `Private`, `Local` | one unit of a count | a bit of the count's word | `counted` |
//! | `Shared` | a word in the reader's robust list | a bit of a separate state word | `table`, `extent`, `slots` |
//!
//! | state | set by | meaning |
//! | --- | --- | --- |
//! | open | the holder of the turn | a reader may take a share, with or without the turn |
//! | [`CLOSED`] | the holder of the turn | no new reader gets in; a writer waits until all shares are returned |
//! | [`CLOSED`] and [`WRITING`] | the holder of the turn | all shares are returned; the writer may have changed the data |
//! | [`ABANDONED`], beside the others | the holder of the turn | a writer died while it was writing, and nobody has repaired the data |
//!
//! **A reader** takes a share if the state is open, and then looks at the state again. If it was closed meanwhile, the
//! reader returns the share. A reader that finds the lock closed waits for the turn. With the turn it takes a share (no
//! other thread can close), and releases the turn.
//!
//! **A writer** takes the turn, closes, waits until each share has been returned once, and writes. At its end it opens,
//! and releases the turn. A returned share is not taken again while the lock is closed, so one pass over the shares is
//! enough.
//!
//! **Why a reader and a writer do not miss each other.** The reader changes its share and then looks at the state. The
//! writer changes the state and then looks at the shares. All four steps are `SeqCst`, so at least one of the two sees
//! the other. The same holds at the reader's end: it returns its share and then looks whether a writer has closed and
//! must be woken.
//!
//! **Each step is one change of one word.** After a death (`Shared`):
//!
//! | killed | what is left | what follows |
//! | --- | --- | --- |
//! | a reader with a share | a dead share | the share counts as free at once; the kernel wakes the writer that waits for it |
//! | a reader that returns its share, or backs out | a dead share, or a free one | as above: the kernel wakes at a free word as well |
//! | a reader with the turn | a dead turn, an open state | the next taker of the turn has nothing to repair |
//! | a writer with the turn, before it closes or after it opens | the same | the same |
//! | a writer that waits for shares | a dead turn, [`CLOSED`] | the next taker of the turn opens |
//! | a writer that writes | a dead turn, [`WRITING`] | the next taker of the turn marks the data as [`ABANDONED`] and opens, in one store |
//!
//! Only the writer that has the turn sleeps on a share. So a wake at a share cannot be lost with the thread that it
//! chose. If the writer dies, its turn is dead, and the next writer looks at all shares again. All other threads sleep
//! on the turn, which passes wakes on by itself (see [`shared`](super::shared)).
//!
//! **Policy.** The turn decides between writers, and readers that came while a writer had it. Once a writer with the
//! turn has closed, no reader gets in before it, so readers never keep a writer out. A reader that waits competes for
//! the turn with writers on equal terms. It is passed over no more often than a taker of a [`Lock`](super::lock::Lock).
//! There is no strict order.
//!
//! Orderings: taking a share is `Acquire` or stronger, returning it is `Release`, opening is `Release`. So later
//! readers see what a writer wrote, and a reader has read before a later writer writes.

mod counted;
pub(crate) mod extent;
mod slots;
pub(crate) mod table;

use crate::futex::Limit;
use crate::sync::scope::{RawLock, Refused};

pub(crate) use counted::Counted;
pub(crate) use slots::Table;

/// No new reader is admitted: a writer has the turn.
pub(crate) const CLOSED: u32 = 1;
/// The writer may have changed the data.
pub(crate) const WRITING: u32 = 2;
/// A writer died while it was writing, and nobody has repaired the data since.
pub(crate) const ABANDONED: u32 = 4;

/// The shares of one lock's readers, and whether the lock is open to them. The slots of the shares are an array of the
/// lock, whose length is part of the lock's type.
pub trait Readers {
    /// The place of one share, which a reader keeps.
    type Slot: Send + Sync + core::fmt::Debug;

    /// Takes a share in the usual case: the lock is open, and the first attempt finds a share.
    fn enter<'s>(&self, slots: &'s [Self::Slot]) -> Option<&'s Self::Slot>;

    /// Takes a share after [`enter`](Self::enter) took none. Returns `None` if the lock is closed, or if a share can
    /// only be taken with the turn. The same holds for a search that is long because others take shares all the time.
    ///
    /// # Errors
    /// Why a share cannot be taken.
    fn enter_slow<'s>(&self, _slots: &'s [Self::Slot]) -> Result<Option<&'s Self::Slot>, Refused> {
        Ok(None)
    }

    /// Takes a share for the holder of the turn, for which the lock is open. Returns `None` if the limit is over.
    ///
    /// # Errors
    /// As for [`enter_slow`](Self::enter_slow).
    fn enter_with_turn<'s>(&self, slots: &'s [Self::Slot], limit: Limit<'_>)
    -> Result<Option<&'s Self::Slot>, Refused>;

    /// Whether readers have the turn in place of a share.
    fn keeps_turn() -> bool {
        false
    }

    /// Gives the share back in the usual case. Returns false, and does nothing, in any other.
    fn leave(&self, slot: &Self::Slot) -> bool;

    /// Gives the share back after [`leave`](Self::leave) did not. In a forked child of its reader this does nothing.
    /// Returns false if the reader has the turn in its place, which the caller then releases.
    fn leave_slow(&self, _slot: &Self::Slot) -> bool {
        true
    }

    /// Whether the calling thread is known to have a share, which stops it from becoming the writer. If so, waits until
    /// the limit is over.
    ///
    /// # Errors
    /// [`Refused::WouldDeadlock`] if so and the limit never ends.
    fn has_own(&self, slots: &[Self::Slot], limit: Limit<'_>) -> Result<bool, Refused>;

    /// The number of shares.
    fn count(&self, slots: &[Self::Slot]) -> u32;

    /// Whether a thread has a share.
    #[inline]
    fn has_reader(&self, slots: &[Self::Slot]) -> bool {
        self.count(slots) != 0
    }

    /// Whether a writer has closed the lock.
    fn is_closed(&self) -> bool;

    /// Admits no new reader. Must be called with the turn, like all methods below.
    fn close(&self);

    /// Waits until every share has been given back. Returns false if the limit is over.
    ///
    /// # Errors
    /// [`Refused::WouldDeadlock`] if no thread could return a share.
    fn drain(&self, slots: &[Self::Slot], limit: Limit<'_>) -> Result<bool, Refused>;

    /// Records that the writer may change the data from now on.
    fn begin(&self) {}

    /// Admits readers; `abandon` marks the data as if the writer had died.
    fn open(&self, abandon: bool);

    /// Completes what the last holder of the turn began before it died.
    fn mend(&self) {}

    /// Whether a writer died and nobody has repaired the data since.
    fn abandoned(&self) -> bool {
        false
    }

    /// Marks the data as consistent again.
    fn mark_consistent(&self) {}
}

/// The turn, and the state of the shares: a reader-writer lock without its slots and data.
///
/// The turn is between the state and the slots, so that a reader's slot is never in the cache line of the state.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Turns<L, R> {
    pub(crate) readers: R,
    pub(crate) turn: L,
}

impl<L: RawLock, R: Readers> Turns<L, R> {
    /// Takes a share, and waits within the limit. Returns `None` if the limit is over.
    #[inline]
    pub(crate) fn read<'s>(&self, slots: &'s [R::Slot], limit: Limit<'_>) -> Result<Option<&'s R::Slot>, Refused> {
        match self.readers.enter(slots) {
            None => self.read_slow(slots, limit),
            share => Ok(share),
        }
    }

    /// [`read`](Self::read) after [`enter`](Readers::enter) took no share.
    #[cold]
    #[inline(never)]
    pub(crate) fn read_slow<'s>(&self, slots: &'s [R::Slot], limit: Limit<'_>) -> Result<Option<&'s R::Slot>, Refused> {
        let share = self.readers.enter_slow(slots)?;
        if share.is_some() || !self.take_turn(limit)? {
            return Ok(share);
        }
        let entered = self.readers.enter_with_turn(slots, limit);
        if !matches!(entered, Ok(Some(_)) if R::keeps_turn()) {
            // SAFETY: taken above.
            unsafe { self.turn.release() };
        }
        entered
    }

    /// Gives a share back.
    #[inline]
    pub(crate) fn leave(&self, slot: &R::Slot) {
        if !self.readers.leave(slot) {
            self.leave_slow(slot);
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_slow(&self, slot: &R::Slot) {
        if !self.readers.leave_slow(slot) {
            // SAFETY: the reader has had the turn since it began to read; in a forked child this does nothing.
            unsafe { self.turn.release() };
        }
    }

    /// Becomes the writer, and waits within the limit. Returns false if the limit is over.
    #[inline]
    pub(crate) fn write(&self, slots: &[R::Slot], limit: Limit<'_>) -> Result<bool, Refused> {
        if self.readers.has_own(slots, limit)?
            || limit.is_now() && self.readers.has_reader(slots)
            || !self.take_turn(limit)?
        {
            return Ok(false);
        }
        self.readers.close();
        let drained = self.readers.drain(slots, limit);
        if drained == Ok(true) {
            self.readers.begin();
        } else {
            self.give_up();
        }
        drained
    }

    /// Opens the lock again, for a writer that did not get all shares back in time.
    #[cold]
    fn give_up(&self) {
        self.readers.open(false);
        // SAFETY: the caller has the turn.
        unsafe { self.turn.release() };
    }

    #[inline]
    fn take_turn(&self, limit: Limit<'_>) -> Result<bool, Refused> {
        let taken = self.turn.take(limit)?;
        if taken && self.turn.abandoned() {
            self.mend();
        }
        Ok(taken)
    }

    #[cold]
    fn mend(&self) {
        self.readers.mend();
        self.turn.mark_consistent();
    }

    /// Ends the writer's access. In a forked child of the writer this does nothing.
    #[inline]
    pub(crate) fn finish(&self, abandon: bool) {
        if self.turn.check().is_ok() {
            self.readers.open(abandon);
            // SAFETY: `check` has shown that this thread has the turn, or the lock of its scope trusts the guard.
            unsafe { self.turn.release() };
        }
    }

    /// Ends the writer's access for good, where the turn can refuse every caller. The state stays closed, so that
    /// readers ask for the turn.
    #[cold]
    pub(crate) fn finish_for_good(&self) {
        if !L::CAN_BE_UNRECOVERABLE {
            return self.finish(false);
        }
        // SAFETY: the writer has the turn; in a forked child of the writer this does nothing.
        unsafe { self.turn.mark_unrecoverable() };
    }

    /// Marks the data as consistent again, for the writer.
    pub(crate) fn mark_consistent(&self) {
        if self.turn.check().is_ok() {
            self.readers.mark_consistent();
        }
    }
}
