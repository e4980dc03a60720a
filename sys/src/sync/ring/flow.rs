//! The protocol of the records, with wakes and deaths. It is written once for the ring in shared memory and for the
//! model checker. The waits are in [`waits`](super::waits).
//!
//! Every function here runs in a protected stretch, from the first look to the last wake. A thread that is killed in it
//! has the kernel wake one sleeper, who [inherits](inherit).

use super::event_count::EventCount;
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
    /// Who receives a packet.
    fn receipt(&self) -> &Receipt;
    /// [`OPEN`], [`CLOSING`] or [`CLOSED`].
    fn closed(&self) -> &AtomicU32;
    /// Whether nobody may send any more.
    #[inline]
    fn is_closed(&self) -> bool {
        in_one_order();
        let closed = self.closed().load(SeqCst) == CLOSED;
        in_one_order();
        closed
    }
    /// Sleeps while that word is as expected and while the one by whom the ring is blocked lives.
    fn sleep(&self, event_count: &EventCount, expected: u32, blocked: Blocked, limit: Limit<'_>) -> Woke;
}

/// Messages may be sent.
pub(crate) const OPEN: u32 = 0;
/// Somebody is about to close the ring; until then messages may be sent.
pub(crate) const CLOSING: u32 = 1;
/// No more messages may be sent.
pub(crate) const CLOSED: u32 = 2;

/// Why a record is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The time ran out, or the wait was cancelled.
    Over,
    /// The ring is closed, and for a receiver empty as well.
    Closed,
    /// There is no memory for the record, and nothing whose memory it could use.
    NoMemory,
    Refused(Refused),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// The others took this participant for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// Moves `head`, and says why it stopped.
pub(crate) fn reclaim(ring: &impl Flow) -> Result<Blocked, Refused> {
    let mut recovered = Recovered::default();
    let blocked = ring.track().reclaim(|who| ring.is_dead(who), &mut recovered)?;
    tell(ring, recovered);
    Ok(blocked)
}

/// Wakes those for whom something was recovered.
pub(super) fn tell(ring: &impl Flow, recovered: Recovered) {
    if recovered.messages {
        wake_receivers(ring, u32::MAX);
        announce(ring);
    }
    if recovered.room {
        record_is_done(ring);
    }
}

/// Wakes those who wait for a record to be done: for its room, for the last task, for the end of a closed ring.
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

/// Tells those who watch the ring by a descriptor. What they are told of comes after this, and who was killed in
/// between is protected by [`look`]; or it came before, and they look again by themselves.
#[inline(always)]
pub(crate) fn announce(ring: &impl Flow) {
    ring.watch().announce(|| ring.raise());
}

/// Does what one that died half-way left undone: its records, and any wake, whatever it was about to do.
#[cold]
pub(crate) fn inherit(ring: &impl Flow) -> Result<(), Refused> {
    ring.track().recover_all(|who| ring.is_dead(who))?;
    ring.receipt().recover(|who| ring.is_dead(who));
    wake_all(ring);
    Ok(())
}

/// Publishes a record and wakes a receiver.
#[inline]
pub(crate) fn publish(ring: &impl Flow, claim: Claim, info: u64) -> Result<(), Lost> {
    let published = ring.track().publish(claim, info, || announce(ring));
    published_one(ring, published)
}

/// Publishes a record with a message [beside](super::word::RecordWord::beside) its word, and wakes a receiver.
#[inline]
pub(crate) fn publish_beside(ring: &impl Flow, claim: Claim, len: usize, message: u64) -> Result<(), Lost> {
    let published = ring.track().publish_beside(claim, len, message, || announce(ring));
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

/// A message was [received](Track::receive): wakes those who wait for room.
#[inline]
pub(crate) fn received(ring: &impl Flow) {
    record_is_done(ring);
}

/// Gives a record back and wakes those who wait for room.
#[inline]
pub(crate) fn finish(ring: &impl Flow, claim: Claim) -> Result<(), Lost> {
    let finished = ring.track().finish(claim);
    record_is_done(ring);
    if finished { Ok(()) } else { Err(Lost) }
}

/// Ends the sending.
pub(crate) fn close(ring: &impl Flow) {
    let _ = ring.closed().compare_exchange(OPEN, CLOSING, SeqCst, SeqCst);
    // Before the closing: whoever is killed here leaves a watcher that looks, and closes.
    announce(ring);
    end_sending(ring);
}

fn end_sending(ring: &impl Flow) {
    ring.closed().store(CLOSED, SeqCst);
    in_one_order();
    wake_all(ring);
}

/// What a watcher has to do that has cleared its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing.
    Done,
    /// Make the descriptor readable: there is a message, or the end.
    Readable,
    /// Look again after a short time.
    Again,
}

/// Looks at everything, for a watcher that has cleared its descriptor. See [`watch`](super::watch).
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

/// Wakes everybody, whatever the event counts say of sleepers.
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
