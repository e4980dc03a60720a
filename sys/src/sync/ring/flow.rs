//! The protocol of the records together with its waits: written once for the ring in shared memory and for the model checker.
//!
//! Every function here runs in a covered stretch, from the first look to the last wake. A thread that is killed in it has
//! the kernel wake one sleeper, who [inherits](inherit).
//!
//! | waits | until | woken by |
//! | --- | --- | --- |
//! | a sender, for room | a record is done | a receiver that finds a quarter of the ring free, or nothing to read; the death of whom it waits for |
//! | a receiver, for a message | a message is published | its sender |

use super::bell::Bell;
use super::track::{Blocked, Claim, Reader, Recovered, Track};
use super::word::State;
use crate::futex::Limit;
use crate::scope::Refused;
use crate::sync::gate::{Gate, Woke};
use crate::sync::spin::Spin;

/// What the protocol needs of a ring.
pub(crate) trait Flow {
    /// How its participants sleep.
    type Gate: Gate;

    fn track(&self) -> Track<'_>;
    fn gate(&self) -> &Self::Gate;
    /// Where receivers sleep.
    fn messages(&self) -> &Bell;
    /// Where senders sleep.
    fn room(&self) -> &Bell;
    /// Whether the participant with this number has died.
    fn is_dead(&self, who: u32) -> bool;
    /// Finds memory for so many granules.
    fn grow(&self, least: u64) -> bool;
    /// Sleeps while `room` is as expected and while the one by whom the ring is blocked lives.
    fn sleep_for_room(&self, expected: u32, blocked: Blocked, limit: Limit<'_>) -> Woke;
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
    if recovered.messages && ring.messages().has_sleepers() {
        ring.messages().ring(ring.gate(), u32::MAX);
    }
    if recovered.room && ring.room().has_sleepers() {
        ring.room().ring(ring.gate(), u32::MAX);
    }
}

/// Does what one that died half-way left undone.
#[cold]
pub(crate) fn inherit(ring: &impl Flow) -> Result<(), Refused> {
    let track = ring.track();
    track.recover_all(|who| ring.is_dead(who))?;
    let messages = track.count(1)? != 0;
    tell(ring, Recovered { messages, room: true });
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

fn try_reserve(ring: &impl Flow, cursor: &mut u64, granules: u64, who: u32) -> Result<Result<Claim, Blocked>, Refused> {
    let track = ring.track();
    loop {
        if let Some(claim) = track.reserve(cursor, granules, who, |least| make_room(ring, least))? {
            return Ok(Ok(claim));
        }
        let before = track.head();
        let blocked = reclaim(ring)?;
        if track.head() == before {
            return Ok(Err(blocked));
        }
    }
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
) -> Result<Option<Claim>, Refused> {
    match ring.track().reserve(cursor, granules, who, |least| make_room(ring, least))? {
        Some(claim) => Ok(Some(claim)),
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
) -> Result<Option<Claim>, Refused> {
    let mut spun = false;
    loop {
        if let Ok(claim) = try_reserve(ring, cursor, granules, who)? {
            return Ok(Some(claim));
        }
        if limit.is_over() {
            return Ok(None);
        }
        if !core::mem::replace(&mut spun, true) && spin.until(|| ring.track().head_is_done()) {
            continue;
        }
        let expected = ring.room().announce();
        let blocked = match try_reserve(ring, cursor, granules, who)? {
            Ok(claim) => return Ok(Some(claim)),
            Err(blocked) => blocked,
        };
        if ring.sleep_for_room(expected, blocked, limit) == Woke::Inherit {
            inherit(ring)?;
        }
    }
}

/// Publishes a record and wakes a receiver.
#[inline]
pub(crate) fn publish(ring: &impl Flow, claim: Claim, info: u64) -> Result<(), Lost> {
    if !ring.track().publish(claim, info) {
        return Err(Lost);
    }
    wake_receivers(ring, 1);
    Ok(())
}

/// Wakes so many receivers, if any sleep.
#[inline]
pub(crate) fn wake_receivers(ring: &impl Flow, count: u32) {
    if ring.messages().has_sleepers() {
        ring.messages().ring(ring.gate(), count);
    }
}

fn try_take(ring: &impl Flow, reader: &mut Reader, state: State, who: u32) -> Result<Option<Claim>, Refused> {
    let mut recovered = Recovered::default();
    let taken = ring.track().take(reader, state, who, |other| ring.is_dead(other), &mut recovered);
    if recovered != Recovered::default() {
        tell(ring, recovered);
    }
    taken
}

/// Takes a message within the limit.
#[inline]
pub(crate) fn take(
    ring: &impl Flow,
    reader: &mut Reader,
    spin: &Spin,
    state: State,
    who: u32,
    limit: Limit<'_>,
) -> Result<Option<Claim>, Refused> {
    match try_take(ring, reader, state, who)? {
        Some(claim) => Ok(Some(claim)),
        None => take_slow(ring, reader, spin, state, who, limit),
    }
}

#[cold]
fn take_slow(
    ring: &impl Flow,
    reader: &mut Reader,
    spin: &Spin,
    state: State,
    who: u32,
    limit: Limit<'_>,
) -> Result<Option<Claim>, Refused> {
    let mut spun = false;
    loop {
        if ring.room().has_sleepers() {
            // There is nothing to read, so all the room is theirs.
            ring.room().ring(ring.gate(), u32::MAX);
        }
        if limit.is_over() {
            return Ok(None);
        }
        let found = !core::mem::replace(&mut spun, true) && spin.until(|| ring.track().has_come(reader));
        let expected = (!found).then(|| ring.messages().announce());
        if let Some(claim) = try_take(ring, reader, state, who)? {
            return Ok(Some(claim));
        }
        if let Some(expected) = expected {
            if ring.gate().sleep(ring.messages().word(), expected, limit) == Woke::Inherit {
                inherit(ring)?;
            }
        }
        if let Some(claim) = try_take(ring, reader, state, who)? {
            return Ok(Some(claim));
        }
    }
}

/// Gives a record back and wakes those who wait for room.
#[inline]
pub(crate) fn finish(ring: &impl Flow, claim: Claim) -> Result<(), Lost> {
    let finished = ring.track().finish(claim);
    if ring.room().has_sleepers() {
        give_room(ring);
    }
    if finished { Ok(()) } else { Err(Lost) }
}

/// Wakes those who wait for room once a quarter is free: a wake for each record would cost more than the records.
#[cold]
fn give_room(ring: &impl Flow) {
    // A walk that fails here fails again where it can be told.
    let _ = reclaim(ring);
    let track = ring.track();
    if track.in_use() <= track.lap_len() / 4 * 3 {
        ring.room().ring(ring.gate(), u32::MAX);
    }
}

/// Puts a message back and wakes a receiver.
#[cold]
pub(crate) fn put_back(ring: &impl Flow, claim: Claim) {
    ring.track().put_back(claim);
    wake_receivers(ring, 1);
}
