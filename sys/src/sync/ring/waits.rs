//! Reserving a record and taking a message, with their waits, over the steps of [`flow`](super::flow).
//!
//! | waiter | waits until | woken by |
//! | --- | --- | --- |
//! | a sender, for room | a record is done | the participant that ends a record; the death of the participant that it waits for |
//! | a receiver, for a message | a message is published | its sender |
//!
//! If the participant that would wake a waiter is killed before the wake, the kernel wakes a sleeper at the gate. A
//! waiter that is not queued there yet sees the change by its [grounds](super::grounds).

use super::event_count::EventCount;
use super::flow::{CLOSED, Flow, Stop, finish, inherit, received, reclaim, tell, wake_receivers};
use super::grounds::Grounds;
use super::take::Taking;
use super::track::{Blocked, Claim, Reader, Recovered};
use super::trim::trim;
use super::word::RecordState;
use crate::deadline::Deadline;
use crate::futex::Limit;
use crate::sync::gate::Woke;
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;

/// Moves `head`, so that memory can be used again, or else allocates memory for at least `least` granules.
#[cold]
fn make_room(ring: &impl Flow, least: u64) -> bool {
    let before = ring.track().head();
    // A walk that fails here fails again where the caller gets the error.
    let _ = reclaim(ring);
    ring.track().head() != before || ring.grow(least)
}

fn try_reserve(ring: &impl Flow, cursor: &mut u64, granules: u64, who: u32) -> Result<Result<Claim, Blocked>, Stop> {
    let track = ring.track();
    loop {
        // Before the reservation: another participant may move `head` after it, and wakes nobody for that.
        let before = track.head();
        if let Some(claim) = track.reserve(cursor, granules, who, |least| make_room(ring, least))? {
            return unless_closed(ring, claim).map(Ok);
        }
        let blocked = reclaim(ring)?;
        if track.head() == before {
            return Ok(Err(blocked));
        }
    }
}

/// Gives up a record that was reserved in a closed ring. If the sender found the ring open here, a receiver that finds
/// it closed later sees the record, because the record was reserved before.
#[inline]
fn unless_closed(ring: &impl Flow, claim: Claim) -> Result<Claim, Stop> {
    if !ring.is_closed() {
        return Ok(claim);
    }
    let _ = finish(ring, claim);
    wake_receivers(ring, u32::MAX);
    Err(Stop::Closed)
}

/// Reserves the record at the frontier, if the ring is open and the record has room.
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
        let closing = ring.closing();
        if closing == CLOSED {
            return Err(Stop::Closed);
        }
        let blocked = match try_reserve(ring, cursor, granules, who)? {
            Ok(claim) => return Ok(claim),
            // No participant has what the waiter waits for.
            Err(Blocked::Empty) if granules > ring.track().backed() && !ring.grow(granules) => {
                return Err(Stop::NoMemory);
            }
            Err(Blocked::Empty) => continue,
            Err(blocked) => blocked,
        };
        let mut grounds = Grounds::new();
        grounds.word(ring.closed(), closing);
        grounds.blocked(ring.track(), blocked);
        if ring.sleep(ring.room(), expected, &grounds, limit) == Woke::PeerDied {
            inherit(ring)?;
        }
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

/// Receives the record at the reader's place, if it is a message that `copy` copies. Most receipts need no more. `copy`
/// gets the record and its info while the record has no owner, and its copy counts as in
/// [`Track::receive`](super::track::Track::receive).
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
    track.change(seen, seen.word.becomes(RecordState::Done, 0)).ok()?;
    track.took(reader, behind);
    received(ring);
    Some(copied)
}

/// Polls for the next message for as long as that pays. Called before a [`take`], which does not poll if this function
/// found nothing.
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

/// The number of checks between two of the first pauses: a reply of a peer that is awake takes only a few pauses.
const LOOKS: u32 = 8;
/// The number of first pauses.
const OFTEN: u32 = 32;
/// The number of pauses without a check in a [stream](Reader::is_in_stream): less than a microsecond. Each check
/// fetches the cache line that the sender still writes, and the sender fetches it back. After these pauses the reader
/// is some lines behind the sender.
const PATIENT: u32 = 32;

/// Takes a message within the limit, in the way that `how` decides.
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
    let mut slept = false;
    let mut trims_at = None;
    loop {
        if ring.room().has_sleepers() {
            // There is nothing to read, so the producers have all the room.
            ring.room().notify(ring.gate(), u32::MAX);
        }
        let over = limit.is_over();
        let found = !core::mem::replace(&mut spun, true) && !over && spin.until(|| ring.track().has_come(reader));
        let expected = (!found && !over).then(|| ring.messages().announce());
        let closing = ring.closing();
        reader.rests = expected.is_some();
        let taken = try_take(ring, reader, how);
        reader.rests = false;
        if let Some(taken) = taken? {
            return Ok(taken);
        }
        // A producer that reserved a record before the closing may still publish it.
        let mut behind = Blocked::Empty;
        if closing == CLOSED {
            behind = reclaim(ring)?;
            match behind {
                Blocked::Empty => return Err(Stop::Closed),
                // Another participant receives a packet, and wakes this one afterwards.
                Blocked::Unread(_) if reader.went_past() => {}
                Blocked::Unread(_) => continue,
                Blocked::By(_) => {}
            }
        }
        if over {
            return Err(Stop::Over);
        }
        if let Some(expected) = expected {
            let mut grounds = reader.grounds(ring.track());
            grounds.word(ring.closed(), closing);
            grounds.blocked(ring.track(), behind);
            if !core::mem::replace(&mut slept, true) {
                trims_at = ring.trims_at();
            }
            let until = trims_at.map_or(limit, |at| limit.or_sooner(at));
            match ring.sleep(ring.messages(), expected, &grounds, until) {
                Woke::PeerDied => inherit(ring)?,
                Woke::TimedOut if trims_at.is_some_and(Deadline::has_passed) && !limit.is_over() => {
                    trims_at = None;
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

/// Waits until a condition is met, within the limit. Returns false if the time ran out or the wait was cancelled.
/// `look` returns the grounds on which the condition is not met, or `None` if it is. Must be called in a protected
/// stretch.
pub(crate) fn wait_until<'r>(
    ring: &'r impl Flow,
    event_count: &'r EventCount,
    look: impl Fn() -> Result<Option<Grounds<'r>>, Stop>,
    limit: Limit<'r>,
) -> Result<bool, Stop> {
    loop {
        if look()?.is_none() {
            return Ok(true);
        }
        if limit.is_over() {
            return Ok(false);
        }
        let expected = event_count.announce();
        let Some(grounds) = look()? else { return Ok(true) };
        if ring.sleep(event_count, expected, &grounds, limit) == Woke::PeerDied {
            inherit(ring)?;
        }
    }
}

/// Looks whether fewer than `most` messages are unread, for a participant that [waits](wait_until) for that.
pub(crate) fn unless_below(ring: &impl Flow, most: usize) -> Result<Option<Grounds<'_>>, Stop> {
    let closing = ring.closing();
    if closing == CLOSED {
        return Err(Stop::Closed);
    }
    let (count, mut grounds) = ring.track().count_on(most)?;
    if count < most {
        return Ok(None);
    }
    grounds.word(ring.closed(), closing);
    Ok(Some(grounds))
}
