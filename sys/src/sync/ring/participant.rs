//! Sending and receiving, with their waits.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::sync::atomic::Ordering::SeqCst;

use super::bytes::{Received, beside, copy_out, granules_in, info, measured};
use super::error::{RingError, in_time};
use super::flow::{Flow, finish, publish, publish_beside, put_back, received};
use super::memory::{Control, Ring};
use super::track::{Claim, Reader};
use super::trim::trim;
use super::waits::{comes_soon, receive_next, reserve, reserve_next, take};
use super::word::RecordState;
use crate::futex::Limit;
use crate::mmap::copy;
use crate::process::generation;
use crate::sync::gate::Gate;
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;
use crate::thread_bound::StaysInItsThread;

/// A thread that sends to a [`Ring`] and receives from it. `R` keeps the ring: it is a reference, or a pointer that
/// owns one.
///
/// A participant stays in the thread that [joined](Ring::join), because the others detect that thread's death. In a
/// forked child the first use enrols the child's thread.
///
/// # Examples
/// ```
/// use ossature_sys::sync::ring::{Participant, Ring};
///
/// let ring = std::sync::Arc::new(Ring::new(1 << 16)?);
/// let mut user = Participant::new(ring)?; // keeps the ring
/// user.send(b"to myself")?;
/// assert_eq!(&*user.read()?, b"to myself");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With limits:
///
/// ```
/// use core::time::Duration;
/// use ossature_sys::{futex::Limit, sync::ring::{Participant, Received, Ring, RingError}};
///
/// let ring = Ring::new(1 << 16)?;
/// let limit = Duration::from_millis(5);
/// let Some(mut user) = Participant::new_timeout(&ring, limit)? else { return Ok(()) };
/// assert!(user.send_timeout(b"plain", limit)? && user.send_tagged(b"numbered", 7, limit)?);
/// let mut bytes = [0; 6];
/// assert_eq!(user.recv_timeout(&mut bytes, limit)?, Some(Received { len: 5, tag: 0 }));
/// assert_eq!(user.recv_timeout(&mut bytes, limit), Err(RingError::TooSmall { needed: 8 }));
/// assert_eq!(user.read_timeout(limit)?.map(|message| message.tag()), Some(7));
/// if let Some(mut record) = user.reserve_timeout(100, Limit::NOW)? {
///     record.truncate(2); // less than was reserved
///     record.publish()?;
/// }
/// assert_eq!(user.recv(&mut bytes)?.len, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Participant<R: Deref<Target = Ring>> {
    pub(super) ring: R,
    /// The address of the ring's memory. The caller supplies `R`, so each operation dereferences it once, and compares.
    pub(super) base: *const Control,
    pub(super) who: u32,
    /// The process in which the thread was enrolled.
    pub(super) forks: u32,
    /// The position of its last reservation.
    pub(super) cursor: u64,
    pub(super) reader: Reader,
    /// The record that it writes or reads in place.
    pub(super) claim: Option<Claim>,
    pub(super) room_spin: Spin,
    pub(super) message_spin: Spin,
    stays: PhantomData<StaysInItsThread>,
}

/// The maximum number of granules of a message that is received in one step. A copy that comes too late costs less than
/// a second change of the record.
pub(super) const AT_ONCE: u64 = 16;

impl<R: Deref<Target = Ring>> Participant<R> {
    /// Enrols the calling thread.
    ///
    /// # Errors
    /// As for [`Ring::join`].
    pub fn new(ring: R) -> Result<Self, RingError> {
        Self::new_timeout(ring, Limit::NEVER)?.ok_or(RingError::Refused(Refused::TableFull))
    }

    /// Enrols the calling thread within the limit. Returns `None` if the time ran out or the wait was cancelled.
    ///
    /// # Errors
    /// As for [`Ring::join`].
    pub fn new_timeout<'c>(ring: R, limit: impl Into<Limit<'c>>) -> Result<Option<Self>, RingError> {
        let target: &Ring = &ring;
        let base = core::ptr::from_ref(target.control());
        let forks = generation();
        let Some(who) = target.enrol(limit.into())? else { return Ok(None) };
        let reader = target.track().reader();
        Ok(Some(Self {
            ring,
            base,
            who,
            forks,
            cursor: 0,
            reader,
            claim: None,
            room_spin: Spin::new(),
            message_spin: Spin::new(),
            stays: PhantomData,
        }))
    }

    /// Returns the reference or the pointer that keeps the ring.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use ossature_sys::sync::ring::{Participant, Ring};
    ///
    /// let user = Participant::new(Arc::new(Ring::new(1 << 16)?))?;
    /// assert_eq!(Arc::strong_count(user.keeper()), 1, "no other code has the ring");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keeper(&self) -> &R {
        &self.ring
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Sends a message. Waits for room.
    ///
    /// # Errors
    /// [`TooLong`](RingError::TooLong); [`Refused`](RingError::Refused) as for a lock.
    pub fn send(&mut self, message: &[u8]) -> Result<(), RingError> {
        self.send_tagged(message, 0, Limit::NEVER).map(|_| ())
    }

    /// Sends a message within the limit. Returns false if the time ran out or the wait was cancelled.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn send_timeout<'c>(&mut self, message: &[u8], limit: impl Into<Limit<'c>>) -> Result<bool, RingError> {
        self.send_tagged(message, 0, limit)
    }

    /// Sends a message with a tag of the caller's choice, within the limit.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn send_tagged<'c>(
        &mut self,
        message: &[u8],
        tag: u32,
        limit: impl Into<Limit<'c>>,
    ) -> Result<bool, RingError> {
        let limit = limit.into();
        if !self.enter(limit)? {
            return Ok(false);
        }
        let Self { ring, base, who, cursor, room_spin, .. } = self;
        let ring = same(ring, *base)?;
        let granules = granules_in(ring, message.len())?;
        let beside = if tag == 0 { beside(message) } else { None };
        ring.gate().protected(|| {
            let claim = match reserve_next(ring, cursor, granules, *who) {
                Some(claim) => claim,
                None => match in_time(reserve(ring, cursor, room_spin, granules, *who, limit))? {
                    Some(claim) => claim,
                    None => return Ok(false),
                },
            };
            if let Some(bytes) = beside {
                publish_beside(ring, claim, message.len(), bytes)?;
                return Ok(true);
            }
            // SAFETY: the record is this participant's, and as many granules long as the message needs.
            unsafe { copy::store(message.as_ptr(), ring.message_at(claim).as_ptr(), message.len()) };
            publish(ring, claim, info(message.len(), tag))?;
            Ok(true)
        })
    }

    /// Waits for the next message, and receives it into `bytes`.
    ///
    /// # Errors
    /// [`TooSmall`](RingError::TooSmall), and the message stays; [`Refused`](RingError::Refused) as for a lock.
    pub fn recv(&mut self, bytes: &mut [u8]) -> Result<Received, RingError> {
        loop {
            if let Some(received) = self.recv_timeout(bytes, Limit::NEVER)? {
                return Ok(received);
            }
        }
    }

    /// Receives the next message into `bytes` within the limit. Returns `None` if the time ran out or the wait was
    /// cancelled.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    #[inline]
    pub fn recv_timeout<'c>(
        &mut self,
        bytes: &mut [u8],
        limit: impl Into<Limit<'c>>,
    ) -> Result<Option<Received>, RingError> {
        self.recv_counted(bytes, limit.into(), false)
    }

    /// Receives the next message, if it is short and is there or comes soon.
    ///
    /// All of it is inline and in registers: most receipts end here. The result of a call would go through memory, in
    /// parts of other widths than it was written in, and that takes as long as the rest.
    #[inline(always)]
    pub(super) fn recv_soon(&mut self, bytes: &mut [u8], limit: Limit<'_>) -> Option<Received> {
        if self.claim.is_some() || self.forks != generation() {
            return None;
        }
        let Self { ring, base, reader, message_spin, .. } = self;
        let ring = same(ring, *base).ok()?;
        let mut looked = false;
        loop {
            let received = ring.gate().protected(|| {
                receive_next(ring, reader, |seen, info| {
                    (seen.word.granules() <= AT_ONCE).then(|| copy_out(ring, seen, info, bytes).ok()).flatten()
                })
            });
            if received.is_some() || looked || !comes_soon(ring, reader, message_spin, limit) {
                return received;
            }
            looked = true;
        }
    }

    pub(super) fn recv_counted(
        &mut self,
        bytes: &mut [u8],
        limit: Limit<'_>,
        as_task: bool,
    ) -> Result<Option<Received>, RingError> {
        if !as_task {
            if let Some(received) = self.recv_soon(bytes, limit) {
                return Ok(Some(received));
            }
        }
        self.recv_slow(bytes, limit, as_task)
    }

    #[cold]
    fn recv_slow(&mut self, bytes: &mut [u8], limit: Limit<'_>, as_task: bool) -> Result<Option<Received>, RingError> {
        loop {
            match self.recv_once(bytes, limit, as_task) {
                // Another participant took this one for an earlier one with its number, which died in the same record.
                // The message can be received again.
                Err(RingError::Lost) if self.is_enrolled() => {}
                received => return received,
            }
        }
    }

    /// Whether the other participants have no reason to take this one for dead.
    #[cold]
    pub(super) fn is_enrolled(&self) -> bool {
        let entry = self.here().and_then(|ring| ring.table().get(self.who));
        entry.is_some_and(|entry| entry.lease.is_mine())
    }

    fn recv_once(&mut self, bytes: &mut [u8], limit: Limit<'_>, as_task: bool) -> Result<Option<Received>, RingError> {
        if !self.enter(limit)? {
            return Ok(None);
        }
        let Self { ring, base, who, reader, message_spin, .. } = self;
        let ring = same(ring, *base)?;
        ring.gate().protected(|| {
            let track = ring.track();
            let how = |seen: Claim| {
                if !as_task && seen.word.granules() <= AT_ONCE {
                    return track.receive(seen, |info| copy_out(ring, seen, info, bytes)).map(Got::Whole);
                }
                track.claim(seen, RecordState::Copying, *who).map(Got::Claim)
            };
            let claim = match in_time(take(ring, reader, message_spin, *who, how, limit))? {
                None => return Ok(None),
                Some(Got::Claim(claim)) => claim,
                Some(Got::Whole(Ok(whole))) => {
                    received(ring);
                    return Ok(Some(whole));
                }
                Some(Got::Whole(Err(error))) => return Err(error),
            };
            let whole = match copy_out(ring, claim, track.info(claim), bytes) {
                Ok(whole) => whole,
                // The buffer is too small, or the length is damaged. In both cases the message stays.
                Err(error) => {
                    put_back(ring, claim);
                    return Err(error);
                }
            };
            done_with(ring, claim, *who, as_task)?;
            Ok(Some(whole))
        })
    }

    pub(super) fn reserve_claim(&mut self, len: usize, limit: Limit<'_>) -> Result<bool, RingError> {
        if !self.enter(limit)? {
            return Ok(false);
        }
        let Self { ring, base, who, cursor, claim, room_spin, .. } = self;
        let ring = same(ring, *base)?;
        let granules = granules_in(ring, len)?;
        let reserved = ring.gate().protected(|| reserve(ring, cursor, room_spin, granules, *who, limit));
        *claim = in_time(reserved)?;
        mark_exclusive(ring, *who, claim.is_some());
        Ok(claim.is_some())
    }

    pub(super) fn read_claim(&mut self, limit: Limit<'_>) -> Result<Option<Received>, RingError> {
        if !self.enter(limit)? {
            return Ok(None);
        }
        let Self { ring, base, who, reader, claim, message_spin, .. } = self;
        let ring = same(ring, *base)?;
        let taken = ring.gate().protected(|| {
            let how = |seen| ring.track().claim(seen, RecordState::Held, *who);
            let taken = take(ring, reader, message_spin, *who, how, limit);
            if taken.is_ok() {
                // A participant that waits for the record now waits for this one, and watches its lease.
                ring.wake_watchers();
            }
            taken
        });
        let Some(taken) = in_time(taken)? else { return Ok(None) };
        *claim = Some(taken);
        mark_exclusive(ring, *who, true);
        let info = ring.track().info(taken);
        if let Some(len) = taken.word.beside() {
            let bytes = info.to_ne_bytes();
            // SAFETY: the record is this participant's, and a granule is longer than these bytes.
            unsafe { copy::store(bytes.as_ptr(), ring.message_at(taken).as_ptr(), bytes.len()) };
            return Ok(Some(Received { len, tag: 0 }));
        }
        measured(taken, info).map(Some)
    }

    /// Returns memory above 1 MiB to the system if the ring has no message. Returns false if it has one, or if there is
    /// no such memory. Other participants can continue meanwhile, in that first MiB.
    ///
    /// A receiver that sleeps for a second in an empty ring does the same.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{futex::Limit, sync::ring::Ring};
    ///
    /// let ring = Ring::new(16 << 20)?;
    /// let mut user = ring.join()?;
    /// for _ in 0..8 {
    ///     user.send(&[1; 1 << 20])?;
    /// }
    /// assert!(ring.backed() >= 8 << 20 && !user.trim()?, "there are messages");
    /// while user.read_timeout(Limit::NOW)?.is_some() {}
    /// assert!(user.trim()?);
    /// assert_eq!(ring.backed(), 1 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trim(&mut self) -> Result<bool, RingError> {
        if !self.enter(Limit::NEVER)? {
            return Ok(false);
        }
        let ring = same(&self.ring, self.base)?;
        Ok(ring.gate().protected(|| trim(ring, self.who))?)
    }

    /// The ring, if neither the process nor the ring has changed since the thread was enrolled.
    pub(super) fn here(&self) -> Option<&Ring> {
        same(&self.ring, self.base).ok().filter(|_| self.forks == generation())
    }

    /// Publishes the record that was reserved.
    pub(super) fn publish_claim(&mut self, len: usize, tag: u32) -> Result<(), RingError> {
        let Self { ring, base, forks, who, claim, .. } = self;
        let ring = same(ring, *base)?;
        if *forks != generation() {
            return Err(RingError::Lost);
        }
        let Some(claim) = claim.take() else { return Err(RingError::Lost) };
        mark_exclusive(ring, *who, false);
        ring.gate().protected(|| publish(ring, claim, info(len, tag)))?;
        Ok(())
    }

    /// Gives up the record that was reserved or taken. A record of another ring, or of the parent, is left alone.
    pub(super) fn finish_claim(&mut self) {
        let Self { ring, base, forks, who, claim, .. } = self;
        let Ok(ring) = same(ring, *base) else { return };
        if *forks != generation() {
            return;
        }
        let Some(claim) = claim.take() else { return };
        mark_exclusive(ring, *who, false);
        // An error means that the record was given up already.
        let _ = ring.gate().protected(|| finish(ring, claim));
    }

    /// Begins an operation. In a forked child it enrols again; it also gives up a record whose guard was forgotten.
    /// Returns false if the time ran out.
    #[inline]
    pub(super) fn enter(&mut self, limit: Limit<'_>) -> Result<bool, RingError> {
        if self.claim.is_none() && self.forks == generation() {
            return Ok(true);
        }
        self.enter_slow(limit)
    }

    #[cold]
    fn enter_slow(&mut self, limit: Limit<'_>) -> Result<bool, RingError> {
        let current = generation();
        let Self { ring, base, forks, who, cursor, reader, claim, .. } = self;
        let ring = same(ring, *base)?;
        if *forks != current {
            *claim = None;
            let Some(number) = ring.enrol(limit)? else { return Ok(false) };
            *who = number;
            *forks = current;
            *cursor = 0;
            *reader = ring.track().reader();
        }
        self.finish_claim();
        Ok(true)
    }
}

/// Joining a ring.
impl Ring {
    /// Enrols the calling thread.
    ///
    /// # Errors
    /// [`TableFull`](Refused::TableFull) beyond [`PARTICIPANTS`](super::PARTICIPANTS) threads,
    /// [`Unlisted`](Refused::Unlisted) and [`TooMany`](Refused::TooMany) as for a lock.
    pub fn join(&self) -> Result<Participant<&Self>, RingError> {
        Participant::new(self)
    }

    /// Enrols the calling thread within the limit. Returns `None` if the time ran out or the wait was cancelled.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    pub fn join_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<Option<Participant<&Self>>, RingError> {
        Participant::new_timeout(self, limit)
    }
}

impl<R: Deref<Target = Ring>> Drop for Participant<R> {
    fn drop(&mut self) {
        self.finish_claim();
        let Some(ring) = self.here() else { return };
        if let Some(entry) = ring.table().get(self.who) {
            // Its tasks do not count any more. The number is free only after that.
            ring.gate().protected(|| {
                if entry.in_hand.swap(0, SeqCst) != 0 {
                    ring.idle().notify(ring.gate(), u32::MAX);
                }
            });
            entry.lease.release();
        }
    }
}

impl<R: Deref<Target = Ring>> fmt::Debug for Participant<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Participant").field("number", &self.who).finish_non_exhaustive()
    }
}

/// Dereferences `keeper` once. Returns the ring, if its memory is still at `base`.
pub(super) fn same<R: Deref<Target = Ring>>(keeper: &R, base: *const Control) -> Result<&Ring, RingError> {
    let ring: &Ring = keeper;
    if core::ptr::from_ref(ring.control()) == base { Ok(ring) } else { Err(RingError::OtherRing) }
}

/// Marks the participant's entry as exclusive while a record is lent as a slice. A fork would lend the slice twice, so
/// fork refuses then.
fn mark_exclusive(ring: &Ring, who: u32, exclusive: bool) {
    if let Some(entry) = ring.table().get(who) {
        entry.lease.set_exclusive(exclusive);
    }
}

/// Gives back the record of a message that was copied. A task counts as received from here on.
#[inline]
pub(super) fn done_with(ring: &Ring, claim: Claim, who: u32, as_task: bool) -> Result<(), RingError> {
    let entry = ring.table().get(who).filter(|_| as_task);
    if let Some(entry) = entry {
        // Before the record is given back: see `tasks`.
        entry.in_hand.fetch_add(1, SeqCst);
        ring.received().fetch_add(1, SeqCst);
    }
    let finished = finish(ring, claim);
    if let (Some(entry), Err(_)) = (entry, finished) {
        entry.in_hand.fetch_sub(1, SeqCst);
    }
    Ok(finished?)
}

/// What a receiver received.
enum Got {
    /// The message, or the error for which it stays in the ring.
    Whole(Result<Received, RingError>),
    /// A record that must be copied and given back.
    Claim(Claim),
}
