//! Sending several messages at once: one record is reserved and split when it is published.

use core::ops::Deref;

use super::bytes::{granules_for, info};
use super::error::{RingError, in_time};
use super::flow::{Flow, announce, wake_receivers, warn_receivers};
use super::memory::{GRANULE, Ring};
use super::participant::{Participant, same};
use super::waits::reserve;
use crate::futex::Limit;
use crate::mmap::copy;
use crate::sync::gate::Gate;

impl<R: Deref<Target = Ring>> Participant<R> {
    /// Sends the messages that fit together, and returns their number. Waits, within the limit, until there is
    /// room for the first. All become visible at once, in their order.
    ///
    /// # Errors
    /// As for [`send`](Self::send), before any is sent.
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::sync::ring::Ring;
    ///
    /// let ring = Ring::new(1 << 16)?;
    /// let mut user = ring.join()?;
    /// assert_eq!(user.send_batch(&[b"a".as_slice(), b"bc", b""], Duration::ZERO)?, 3);
    /// assert_eq!(user.recv(&mut [0; 8])?.len, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_batch<'c>(
        &mut self,
        messages: &[impl AsRef<[u8]>],
        limit: impl Into<Limit<'c>>,
    ) -> Result<usize, RingError> {
        let limit = limit.into();
        // The messages may return other bytes at each call, so each one is called once.
        const AT_ONCE: usize = 32;
        let mut bytes: [&[u8]; AT_ONCE] = [&[]; AT_ONCE];
        let (most, max) = {
            let ring = same(&self.ring, self.base)?;
            ((ring.max_message() / GRANULE) as u64, ring.max_message())
        };
        let mut sent = 0;
        while sent < messages.len() {
            let mut total = 0;
            let mut count = 0;
            for (place, message) in bytes.iter_mut().zip(messages.iter().skip(sent)) {
                let message = message.as_ref();
                if message.len() > max && sent + count == 0 {
                    return Err(RingError::TooLong { len: message.len(), max });
                }
                let granules = granules_for(message.len());
                if message.len() > max || total + granules > most {
                    break;
                }
                *place = message;
                total += granules;
                count += 1;
            }
            if count == 0 {
                break;
            }
            let limit = if sent == 0 { limit } else { Limit::NOW };
            let batch = bytes.get(..count).unwrap_or_default();
            match if count > 1 { self.send_together(batch, total) } else { Ok(false) } {
                Ok(true) => {
                    sent += count;
                    continue;
                }
                Ok(false) => {}
                Err(error) => return if sent > 0 { Ok(sent) } else { Err(error) },
            }
            // No room for all of them: one at a time.
            for (at, message) in batch.iter().enumerate() {
                let limit = if at == 0 { limit } else { Limit::NOW };
                match self.send_tagged(message, 0, limit) {
                    Ok(true) => sent += 1,
                    Err(error) if sent == 0 => return Err(error),
                    Ok(false) | Err(_) => return Ok(sent),
                }
            }
        }
        Ok(sent)
    }

    fn send_together(&mut self, messages: &[&[u8]], granules: u64) -> Result<bool, RingError> {
        if !self.enter(Limit::NOW)? {
            return Ok(false);
        }
        let Self { ring, base, who, cursor, room_spin, .. } = self;
        let ring = same(ring, *base)?;
        ring.gate().protected(|| {
            let reserved = reserve(ring, cursor, room_spin, granules, *who, Limit::NOW);
            let Some(claim) = in_time(reserved)? else { return Ok(false) };
            let mut at = 0;
            for message in messages {
                // SAFETY: the record is this participant's, and as long as the granules of all its messages together.
                let place = unsafe { ring.message_at(claim).add(at * GRANULE) };
                // SAFETY: as above.
                unsafe { copy::store(message.as_ptr(), place.as_ptr(), message.len()) };
                at += granules_for(message.len()) as usize;
            }
            let parts = messages.iter().map(|message| (granules_for(message.len()), info(message.len(), 0)));
            if !ring.track().publish_all(claim, parts, || announce(ring), || warn_receivers(ring)) {
                return Err(RingError::Lost);
            }
            wake_receivers(ring, messages.len() as u32);
            Ok(true)
        })
    }
}
