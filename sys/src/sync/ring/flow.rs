//! The protocol of the records, with wakes and deaths. It is written once for the ring in shared memory and for the
//! model checker. The waits are in [`waits`](super::waits).
//!
//! Every function here runs in a protected stretch, from the first look to the last wake. If a thread is killed in it,
//! the kernel wakes one sleeper, which [inherits](inherit).

use super::event_count::EventCount;
use super::grounds::Grounds;
use super::receipt::Receipt;
use super::track::{Blocked, Claim, Recovered, Track};
use super::watch::{Seen, Watch};
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::SeqCst;
use crate::atomic::in_one_order;
use crate::deadline::Deadline;
use crate::futex::Limit;
use crate::sync::gate::{Gate, Woke};
use crate::sync::scope::Refused;

/// The operations that the protocol needs from a ring.
pub(crate) trait Flow {
    /// The gate at which its participants sleep.
    type Gate: Gate;

    fn track(&self) -> Track<'_>;
    fn gate(&self) -> &Self::Gate;
    /// Where receivers sleep.
    fn messages(&self) -> &EventCount;
    /// Where senders sleep.
    fn room(&self) -> &EventCount;
    /// Where participants sleep until all messages are done.
    fn idle(&self) -> &EventCount;
    /// Whether the participant with this number has died.
    fn is_dead(&self, who: u32) -> bool;
    /// Allocates memory for at least `least` granules.
    fn grow(&self, least: u64) -> bool;
    /// Returns the memory that is not [kept](super::track::KEEP) to the system. The caller has reserved all of it.
    fn shrink(&self) {}
    /// When a sleeping receiver [gives memory back](super::trim), if there is memory to give back.
    fn trims_at(&self) -> Option<Deadline> {
        None
    }
    /// The record of which descriptors watch the ring.
    fn watch(&self) -> &Watch;
    /// Makes the descriptors readable.
    fn raise(&self);
    /// The word that says which participant receives the next packet.
    fn receipt(&self) -> &Receipt;
    /// [`OPEN`], [`CLOSING`] or [`CLOSED`].
    fn closed(&self) -> &AtomicU32;
    /// The value of [`closed`](Self::closed).
    #[inline]
    fn closing(&self) -> u32 {
        in_one_order();
        let closing = self.closed().load(SeqCst);
        in_one_order();
        closing
    }
    /// Whether sending has ended.
    #[inline]
    fn is_closed(&self) -> bool {
        self.closing() == CLOSED
    }
    /// Sleeps while the event count holds `expected` and the grounds still hold.
    fn sleep<'r>(&'r self, event_count: &'r EventCount, expected: u32, grounds: &Grounds<'r>, limit: Limit<'r>)
    -> Woke;
}

/// Messages may be sent.
pub(crate) const OPEN: u32 = 0;
/// A participant is about to close the ring; until then messages may be sent.
pub(crate) const CLOSING: u32 = 1;
/// No more messages may be sent.
pub(crate) const CLOSED: u32 = 2;

/// Why a participant gets no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The time ran out, or the wait was cancelled.
    Over,
    /// The ring is closed, and for a receiver empty as well.
    Closed,
    /// There is no memory for the record, and no other record whose memory it could use.
    NoMemory,
    Refused(Refused),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// The other participants took this one for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// Moves `head` over the records that are done. Returns why it stopped.
pub(crate) fn reclaim(ring: &impl Flow) -> Result<Blocked, Refused> {
    let mut recovered = Recovered::default();
    let blocked = ring.track().reclaim(|who| ring.is_dead(who), &mut recovered)?;
    tell(ring, recovered);
    Ok(blocked)
}

/// Wakes the participants that wait for what was recovered.
pub(super) fn tell(ring: &impl Flow, recovered: Recovered) {
    if recovered.messages {
        wake_receivers(ring, u32::MAX);
        announce(ring);
    }
    if recovered.room {
        record_is_done(ring);
    }
}

/// Wakes the participants that wait for a record to be done: for its room, the last task or the end of a closed ring.
#[inline]
fn record_is_done(ring: &impl Flow) {
    for event_count in [ring.room(), ring.idle()] {
        if event_count.has_sleepers() {
            event_count.notify(ring.gate(), u32::MAX);
        }
    }
    if ring.is_closed() {
        wake_receivers(ring, u32::MAX);
        announce(ring);
    }
}

/// Notifies the participants that watch the ring by a descriptor. Either the change comes after this call, and [`look`]
/// covers a death in between. Or the change came before, and the watchers check again by themselves.
#[inline(always)]
pub(crate) fn announce(ring: &impl Flow) {
    ring.watch().announce(|| ring.raise());
}

/// Lets no receiver fall asleep that has passed a record, before the record is published: see
/// [`grounds`](super::grounds).
pub(super) fn warn_receivers(ring: &impl Flow) {
    if ring.messages().has_sleepers() {
        ring.messages().touch();
    }
}

/// Completes what a participant that died half-way left undone: its records, and any wake that it owed.
#[cold]
pub(crate) fn inherit(ring: &impl Flow) -> Result<(), Refused> {
    ring.track().recover_all(|who| ring.is_dead(who))?;
    ring.receipt().recover(|who| ring.is_dead(who));
    wake_all(ring);
    Ok(())
}

/// Publishes a record, and wakes a receiver.
#[inline]
pub(crate) fn publish(ring: &impl Flow, claim: Claim, info: u64) -> Result<(), Lost> {
    let published = ring.track().publish(claim, info, || announce(ring), || warn_receivers(ring));
    published_one(ring, published)
}

/// Publishes a record with a message [beside](super::word::RecordWord::beside) its word, and wakes a receiver.
#[inline]
pub(crate) fn publish_beside(ring: &impl Flow, claim: Claim, len: usize, message: u64) -> Result<(), Lost> {
    let published = ring.track().publish_beside(claim, len, message, || announce(ring), || warn_receivers(ring));
    published_one(ring, published)
}

#[inline]
fn published_one(ring: &impl Flow, published: bool) -> Result<(), Lost> {
    if !published {
        return Err(Lost);
    }
    wake_receivers(ring, 1);
    Ok(())
}

/// Wakes at most `count` receivers, if any sleep.
#[inline]
pub(crate) fn wake_receivers(ring: &impl Flow, count: u32) {
    if ring.messages().has_sleepers() {
        ring.messages().notify(ring.gate(), count);
    }
}

/// Wakes the participants that wait for room, after a message was [received](Track::receive).
#[inline]
pub(crate) fn received(ring: &impl Flow) {
    record_is_done(ring);
}

/// Gives a record back, and wakes the participants that wait for room.
#[inline]
pub(crate) fn finish(ring: &impl Flow, claim: Claim) -> Result<(), Lost> {
    let finished = ring.track().finish(claim);
    record_is_done(ring);
    if finished { Ok(()) } else { Err(Lost) }
}

/// Closes the ring for sending.
pub(crate) fn close(ring: &impl Flow) {
    let _ = ring.closed().compare_exchange(OPEN, CLOSING, SeqCst, SeqCst);
    // Before the closing: if this thread is killed here, a watcher looks, and closes the ring.
    announce(ring);
    end_sending(ring);
}

fn end_sending(ring: &impl Flow) {
    ring.closed().store(CLOSED, SeqCst);
    in_one_order();
    wake_all(ring);
}

/// What a watcher must do after it has cleared its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing.
    Done,
    /// Make the descriptor readable: there is a message, or the ring has ended.
    Readable,
    /// Check again after a short time.
    Again,
}

/// Checks all records, for a watcher that has cleared its descriptor. See [`watch`](super::watch).
#[cold]
pub(crate) fn look(ring: &impl Flow) -> Result<Look, Refused> {
    ring.watch().cleared();
    if ring.closed().load(SeqCst) == CLOSING {
        end_sending(ring);
    }
    // Before the records: in a closed ring there are no more of them.
    let closed = ring.is_closed();
    let mut recovered = Recovered::default();
    let seen = ring.track().pass_all(|who| ring.is_dead(who), &mut recovered);
    tell(ring, recovered);
    let Seen { message, copying, open } = seen?;
    Ok(match (message, closed) {
        (true, _) => Look::Readable,
        (false, true) if !open => Look::Readable,
        (false, true) => Look::Again,
        (false, false) if copying => Look::Again,
        (false, false) => Look::Done,
    })
}

/// Wakes all sleepers, regardless of the event counts.
pub(crate) fn wake_all(ring: &impl Flow) {
    for event_count in [ring.messages(), ring.room(), ring.idle()] {
        event_count.notify(ring.gate(), u32::MAX);
    }
}

/// Puts a message back and wakes a receiver.
#[cold]
pub(crate) fn put_back(ring: &impl Flow, claim: Claim) {
    ring.track().put_back(claim);
    wake_receivers(ring, 1);
    announce(ring);
}
