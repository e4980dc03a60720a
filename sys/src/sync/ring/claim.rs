//! Messages that are written and read in place.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

use super::bytes::Received;
use super::error::RingError;
use super::memory::Ring;
use super::participant::Participant;
use crate::futex::Limit;

/// A message that is being written. [`publish`](Self::publish) sends the message, and a drop gives it up.
///
/// The bytes are at first those of earlier messages, or zero. While a record is open, [`fork`](crate::process::fork())
/// refuses.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::sync::ring::Ring;
///
/// let ring = Ring::new(1 << 16)?;
/// let mut user = ring.join()?;
/// drop(user.reserve(5)?); // never sent
/// let mut record = user.reserve(5)?;
/// record.copy_from_slice(b"hello");
/// record.set_tag(1);
/// record.truncate(5); // no less
/// record.publish()?;
/// let message = user.read()?;
/// assert_eq!((&*message, message.tag()), (&b"hello"[..], 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the message is given up unless it is published"]
pub struct Record<'p, R: Deref<Target = Ring>> {
    participant: &'p mut Participant<R>,
    len: usize,
    tag: u32,
}

impl<'p, R: Deref<Target = Ring>> Record<'p, R> {
    pub(super) fn new(participant: &'p mut Participant<R>, len: usize) -> Self {
        Self { participant, len, tag: 0 }
    }

    /// Sets the tag that the receiver gets with the message.
    pub fn set_tag(&mut self, tag: u32) {
        self.tag = tag;
    }

    /// Shortens the message to its first `len` bytes. The record keeps its room. A greater length changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Sends the message.
    ///
    /// # Errors
    /// [`Lost`](RingError::Lost) if the others took this thread for dead meanwhile.
    pub fn publish(self) -> Result<(), RingError> {
        let mut record = ManuallyDrop::new(self);
        let (len, tag) = (record.len, record.tag);
        record.participant.publish_claim(len, tag)
    }
}

impl<R: Deref<Target = Ring>> Deref for Record<'_, R> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        bytes(self.participant, self.len)
    }
}

impl<R: Deref<Target = Ring>> DerefMut for Record<'_, R> {
    fn deref_mut(&mut self) -> &mut [u8] {
        let (Some(claim), Some(ring)) = (self.participant.claim, self.participant.here()) else { return &mut [] };
        let start = ring.message_at(claim);
        // SAFETY: the record is at least that long and this participant's alone until it is published: no other thread
        // has its number, and no other process has this guard, since fork refuses. Its bytes were written before, or
        // are zero.
        unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), self.len) }
    }
}

impl<R: Deref<Target = Ring>> Drop for Record<'_, R> {
    fn drop(&mut self) {
        self.participant.finish_claim();
    }
}

impl<R: Deref<Target = Ring>> fmt::Debug for Record<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("len", &self.len).field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// A message that is being read in place. Dropping it frees its room.
///
/// While the message is open, [`fork`](crate::process::fork()) refuses.
///
/// # Examples
/// See the example of [`Record`].
#[must_use = "the message is lost unless it is read"]
pub struct Message<'p, R: Deref<Target = Ring>> {
    participant: &'p mut Participant<R>,
    received: Received,
}

impl<'p, R: Deref<Target = Ring>> Message<'p, R> {
    pub(super) fn new(participant: &'p mut Participant<R>, received: Received) -> Self {
        Self { participant, received }
    }

    /// Returns the tag that the sender gave the message.
    pub fn tag(&self) -> u32 {
        self.received.tag
    }
}

impl<R: Deref<Target = Ring>> Deref for Message<'_, R> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        bytes(self.participant, self.received.len)
    }
}

impl<R: Deref<Target = Ring>> Drop for Message<'_, R> {
    fn drop(&mut self) {
        self.participant.finish_claim();
    }
}

impl<R: Deref<Target = Ring>> fmt::Debug for Message<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("len", &self.received.len).field("tag", &self.tag()).finish_non_exhaustive()
    }
}

/// Messages in place.
impl<R: Deref<Target = Ring>> Participant<R> {
    /// Reserves a message of `len` bytes to be written in place. Waits for room.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::sync::ring::Ring;
    ///
    /// let ring = Ring::new(1 << 16)?;
    /// let mut user = ring.join()?;
    /// let mut record = user.reserve(1000)?;
    /// record.fill(7);
    /// record.publish()?;
    /// assert!(user.read()?.iter().all(|&byte| byte == 7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&mut self, len: usize) -> Result<Record<'_, R>, RingError> {
        self.reserve_claim(len, Limit::NEVER)?;
        Ok(Record::new(self, len))
    }

    /// Reserves a message of `len` bytes within the limit. Returns `None` if the time ran out or the wait was
    /// cancelled.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn reserve_timeout<'c>(
        &mut self,
        len: usize,
        limit: impl Into<Limit<'c>>,
    ) -> Result<Option<Record<'_, R>>, RingError> {
        let reserved = self.reserve_claim(len, limit.into())?;
        Ok(reserved.then(|| Record::new(self, len)))
    }

    /// Waits for the next message and takes it, to be read in place. If this thread is killed meanwhile, the message is
    /// lost.
    ///
    /// # Errors
    /// [`Refused`](RingError::Refused) as for a lock.
    pub fn read(&mut self) -> Result<Message<'_, R>, RingError> {
        let received = loop {
            if let Some(received) = self.read_claim(Limit::NEVER)? {
                break received;
            }
        };
        Ok(Message::new(self, received))
    }

    /// Takes the next message within the limit. Returns `None` if the time ran out or the wait was cancelled.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn read_timeout<'c>(&mut self, limit: impl Into<Limit<'c>>) -> Result<Option<Message<'_, R>>, RingError> {
        let received = self.read_claim(limit.into())?;
        Ok(received.map(|received| Message::new(self, received)))
    }
}

fn bytes<R: Deref<Target = Ring>>(participant: &Participant<R>, len: usize) -> &[u8] {
    let (Some(claim), Some(ring)) = (participant.claim, participant.here()) else { return &[] };
    let start = ring.message_at(claim);
    // SAFETY: the record is at least that long (checked when it was reserved or taken) and this participant's alone
    // until the guard is dropped: no other thread has its number, and no other process has this guard, since fork
    // refuses.
    unsafe { core::slice::from_raw_parts(start.as_ptr(), len) }
}
