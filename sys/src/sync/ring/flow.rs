//! The protocol of the records together with its waits: written once for the ring in shared memory and for the model
//! checker.
//!
//! Every function here runs in a protected stretch, from the first look to the last wake. A thread that is killed in it
//! has the kernel wake one sleeper, who [inherits](inherit).
//!
//! | waits | until | woken by |
//! | --- | --- | --- |
//! | a sender, for room | a record is done | whoever ends a record; the death of whom it waits for |
//! | a receiver, for a message | a message is published | its sender |

use super::event_count::EventCount;
use super::receipt::Receipt;
use super::take::Taking;
use super::track::{Blocked, Claim, Reader, Recovered, Track};
use super::trim::trim;
use super::watch::{Seen, Watch};
use super::word::State;
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::SeqCst;
use crate::atomic::in_one_order;
use crate::deadline::Deadline;
use crate::futex::Limit;
use crate::sync::gate::{Gate, Woke};
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;

/// What the protocol needs of a ring.
pub(crate) trait Flow {
    /// How its participants sleep.
    type Gate: Gate;

    fn track(&self) -> Track<'_>;
    fn gate(&self) -> &Self::Gate;
    /// Where receivers sleep.
    fn messages(&self) -> &EventCount;
    /// Where senders sleep.
    fn room(&self) -> &EventCount;
    /// Where those sleep who wait until all is done.
    fn idle(&self) -> &EventCount;
    /// Whether the participant with this number has died.
    fn is_dead(&self, who: u32) -> bool;
    /// Finds memory for so many granules.
    fn grow(&self, least: u64) -> bool;
    /// Gives the memory back that is not [kept](super::track::KEEP). The caller has reserved all of it.
    fn shrink(&self) {}
    /// When a receiver that sleeps has slept so long that it [gives memory back](trim), if there is any.
    fn trims_at(&self) -> Option<Deadline> {
        None
    }
    /// Whether descriptors watch it.
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
fn tell(ring: &impl Flow, recovered: Recovered) {
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

/// Moves `head`, so that memory can be used again, or else finds memory for at least so many granules.
#[cold]
fn make_room(ring: &impl Flow, least: u64) -> bool {
    let before = ring.track().head();
    // A walk that fails here fails again where it can be told.
    let _ = reclaim(ring);
    ring.track().head() != before || ring.grow(least)
}

fn try_reserve(ring: &impl Flow, cursor: &mut u64, granules: u64, who: u32) -> Result<Result<Claim, Blocked>, Stop> {
    let track = ring.track();
    loop {
        if let Some(claim) = track.reserve(cursor, granules, who, |least| make_room(ring, least))? {
            return unless_closed(ring, claim).map(Ok);
        }
        let before = track.head();
        let blocked = reclaim(ring)?;
        if track.head() == before {
            return Ok(Err(blocked));
        }
    }
}

/// Gives a record up that was reserved in a closed ring. A receiver that finds the ring closed afterwards sees the
/// record of a sender that found it open here, since the record was reserved before.
#[inline]
fn unless_closed(ring: &impl Flow, claim: Claim) -> Result<Claim, Stop> {
    if !ring.is_closed() {
        return Ok(claim);
    }
    let _ = finish(ring, claim);
    wake_receivers(ring, u32::MAX);
    Err(Stop::Closed)
}

/// Reserves the record at the frontier, if the ring is open and that record has room as it stands.
#[inline(always)]
pub(crate) fn reserve_next(ring: &impl Flow, cursor: &mut u64, granules: u64, who: u32) -> Option<Claim> {
    let claim = ring.track().reserve_next(cursor, granules, who)?;
    if ring.is_closed() { unless_closed(ring, claim).ok() } else { Some(claim) }
}

/// Reserves a record within the limit.
#[inline]
pub(crate) fn reserve(
    ring: &impl Flow,
    cursor: &mut u64,
    spin: &Spin,
    granules: u64,
    who: u32,
    limit: Limit<'_>,
) -> Result<Claim, Stop> {
    match ring.track().reserve(cursor, granules, who, |least| make_room(ring, least))? {
        Some(claim) => unless_closed(ring, claim),
        None => reserve_slow(ring, cursor, spin, granules, who, limit),
    }
}

#[cold]
fn reserve_slow(
    ring: &impl Flow,
    cursor: &mut u64,
    spin: &Spin,
    granules: u64,
    who: u32,
    limit: Limit<'_>,
) -> Result<Claim, Stop> {
    let mut spun = false;
    loop {
        if let Ok(claim) = try_reserve(ring, cursor, granules, who)? {
            return Ok(claim);
        }
        if ring.is_closed() {
            return Err(Stop::Closed);
        }
        if limit.is_over() {
            return Err(Stop::Over);
        }
        if !core::mem::replace(&mut spun, true) && spin.until(|| ring.track().head_is_done()) {
            continue;
        }
        let expected = ring.room().announce();
        let blocked = match try_reserve(ring, cursor, granules, who)? {
            Ok(claim) => return Ok(claim),
            // Nobody has what it waits for.
            Err(Blocked::Empty) if granules > ring.track().backed() && !ring.grow(granules) => {
                return Err(Stop::NoMemory);
            }
            Err(Blocked::Empty) => continue,
            Err(blocked) => blocked,
        };
        if ring.is_closed() {
            return Err(Stop::Closed);
        }
        if ring.sleep(ring.room(), expected, blocked, limit) == Woke::PeerDied {
            inherit(ring)?;
        }
    }
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

/// Wakes so many receivers, if any sleep.
#[inline]
pub(crate) fn wake_receivers(ring: &impl Flow, count: u32) {
    if ring.messages().has_sleepers() {
        ring.messages().notify(ring.gate(), count);
    }
}

fn try_take<T>(
    ring: &impl Flow,
    reader: &mut Reader,
    how: &mut impl FnMut(Claim) -> Taking<T>,
) -> Result<Option<T>, Refused> {
    let mut recovered = Recovered::default();
    let taken = ring.track().take(reader, how, |other| ring.is_dead(other), &mut recovered);
    if recovered != Recovered::default() {
        tell(ring, recovered);
    }
    taken
}

/// Receives the record where the reader looks next, if it is a message that `copy` copies: most receipts need no more.
/// `copy` gets the record and its info while the record is anybody's, and its copy counts as in
/// [`Track::receive`].
#[inline(always)]
pub(crate) fn receive_next<T>(
    ring: &impl Flow,
    reader: &mut Reader,
    copy: impl FnOnce(Claim, u64) -> Option<T>,
) -> Option<T> {
    let track = ring.track();
    track.hear_now_and_then(reader);
    let seen = track.next(reader)?;
    let behind = track.step(seen.at, seen.word).ok()?;
    let copied = copy(seen, track.info(seen))?;
    track.change(seen, seen.word.becomes(State::Done, 0)).ok()?;
    track.took(reader, behind);
    received(ring);
    Some(copied)
}

/// Looks for the next message for as long as it pays. To be called before a [`take`], which looks no more if this has
/// looked in vain.
#[inline]
pub(crate) fn comes_soon(ring: &impl Flow, reader: &mut Reader, spin: &Spin, limit: Limit<'_>) -> bool {
    reader.looked = false;
    let in_stream = reader.is_in_stream();
    // There is something to take, or to do for others.
    if !in_stream && ring.track().has_come(reader) || ring.room().has_sleepers() || limit.is_over() {
        return false;
    }
    let mut pauses = 0;
    let comes = spin.until(|| {
        pauses += 1;
        let looks = match pauses {
            ..=PATIENT if in_stream => 0,
            ..=OFTEN => LOOKS,
            _ => 1,
        };
        (0..looks).any(|_| ring.track().has_come(reader))
    });
    reader.looked = !comes;
    comes
}

/// Between two of the first pauses it looks more than once: an answer of one who is awake takes a few pauses in all.
const LOOKS: u32 = 8;
/// How many pauses are the first ones.
const OFTEN: u32 = 32;
/// How many pauses pass without a look in a [stream](Reader::is_in_stream): less than a microsecond. Each look fetches
/// the cache line that the sender still writes, and the sender fetches it back. After these pauses the reader is some
/// lines behind the sender.
const PATIENT: u32 = 32;

/// Takes a message within the limit, as `how` says.
#[inline]
pub(crate) fn take<T>(
    ring: &impl Flow,
    reader: &mut Reader,
    spin: &Spin,
    who: u32,
    mut how: impl FnMut(Claim) -> Taking<T>,
    limit: Limit<'_>,
) -> Result<T, Stop> {
    let looked = core::mem::take(&mut reader.looked);
    // A walk that finds nothing moves `head`, which producers read. So most takes look at the next record first.
    if cfg!(loom) || reader.has_told() || ring.track().has_come(reader) {
        if let Some(taken) = try_take(ring, reader, &mut how)? {
            return Ok(taken);
        }
    }
    take_slow(ring, reader, spin, who, &mut how, limit, looked)
}

#[cold]
fn take_slow<T>(
    ring: &impl Flow,
    reader: &mut Reader,
    spin: &Spin,
    who: u32,
    how: &mut impl FnMut(Claim) -> Taking<T>,
    limit: Limit<'_>,
    looked: bool,
) -> Result<T, Stop> {
    let mut spun = looked;
    let mut trimmed = false;
    loop {
        if ring.room().has_sleepers() {
            // There is nothing to read, so all the room is theirs.
            ring.room().notify(ring.gate(), u32::MAX);
        }
        let over = limit.is_over();
        let found = !core::mem::replace(&mut spun, true) && !over && spin.until(|| ring.track().has_come(reader));
        let expected = (!found && !over).then(|| ring.messages().announce());
        let closed = ring.is_closed();
        if let Some(taken) = try_take(ring, reader, how)? {
            return Ok(taken);
        }
        // Whoever dies with a message wakes a sleeper; one that is about to sleep watches the lease.
        let mut blocked = reader.blocked();
        if closed {
            // Whoever reserved a record before the closing may still publish it.
            let behind = reclaim(ring)?;
            if blocked == Blocked::Empty {
                blocked = behind;
            }
            match behind {
                Blocked::Empty => return Err(Stop::Closed),
                // Another receives a packet, and wakes this one behind it.
                Blocked::Unread if reader.went_past() => {}
                Blocked::Unread => continue,
                Blocked::By(_) => {}
            }
        }
        if over {
            return Err(Stop::Over);
        }
        if let Some(expected) = expected {
            let trims_at = ring.trims_at().filter(|_| !core::mem::replace(&mut trimmed, true));
            let until = trims_at.map_or(limit, |at| limit.or_sooner(at));
            match ring.sleep(ring.messages(), expected, blocked, until) {
                Woke::PeerDied => inherit(ring)?,
                Woke::TimedOut if trims_at.is_some() && !limit.is_over() => {
                    trim(ring, who)?;
                }
                Woke::Look | Woke::TimedOut | Woke::Never => {}
            }
        }
        if let Some(taken) = try_take(ring, reader, how)? {
            return Ok(taken);
        }
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
